//! Networks: an address with a prefix length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 or IPv6 network. Bits behind the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Net {
    address: IpAddr,
    prefix: u8,
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            let m = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(a) & m).into()
        }
        IpAddr::V6(a) => {
            let m = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from(u128::from(a) & m).into()
        }
    }
}

impl Net {
    /// The network of `address` with this prefix; a prefix that is too long is cut. Mapped IPv4 addresses are IPv4.
    pub fn new(address: IpAddr, prefix: u8) -> Net {
        let address = address.to_canonical();
        let prefix = prefix.min(if address.is_ipv4() { 32 } else { 128 });
        Net { address: masked(address, prefix), prefix }
    }

    /// What is blocked for a source: the IPv4 address, or the IPv6 /64.
    pub fn of_source(source: IpAddr) -> Net {
        match source.to_canonical() {
            a @ IpAddr::V4(_) => Net::new(a, 32),
            a @ IpAddr::V6(_) => Net::new(a, 64),
        }
    }

    /// First address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Prefix length.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The address is inside.
    pub fn contains(&self, a: IpAddr) -> bool {
        let a = a.to_canonical();
        a.is_ipv4() == self.address.is_ipv4() && masked(a, self.prefix) == self.address
    }

    /// The two share addresses.
    pub fn overlaps(&self, other: &Net) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// One address only.
    pub fn single(&self) -> bool {
        self.prefix == if self.address.is_ipv4() { 32 } else { 128 }
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.single() { write!(f, "{}", self.address) } else { write!(f, "{}/{}", self.address, self.prefix) }
    }
}

impl std::str::FromStr for Net {
    type Err = String;
    fn from_str(s: &str) -> Result<Net, String> {
        let bad = || format!("{s:?} is no address or network; write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32");
        let (a, p) = match s.split_once('/') {
            Some((a, p)) => (a, Some(p.parse::<u8>().map_err(|_| bad())?)),
            None => (s, None),
        };
        let address: IpAddr = a.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = p.unwrap_or(most);
        if prefix > most {
            return Err(bad());
        }
        Ok(Net::new(address, prefix))
    }
}

impl serde::Serialize for Net {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Net {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Net, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let n = |s: &str| s.parse::<Net>().unwrap();
        assert_eq!(n("10.1.2.3/8").to_string(), "10.0.0.0/8");
        assert!(n("10.0.0.0/8").contains("::ffff:10.9.9.9".parse().unwrap()));
        assert!(n("0.0.0.0/0").contains("1.2.3.4".parse().unwrap()) && !n("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(n("2001:db8::/64").overlaps(&n("2001:db8::5")) && !n("2001:db8::/64").overlaps(&n("2001:db8:0:1::/64")));
        assert_eq!(Net::of_source("2001:db8::5".parse().unwrap()).to_string(), "2001:db8::/64");
        assert!("10.0.0.0/33".parse::<Net>().is_err() && "x".parse::<Net>().is_err());
    }
}
