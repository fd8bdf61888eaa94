//! What a reader asks for.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use turncoat_event::{SessionId, Time};

/// One source, or a network of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    address: IpAddr,
    prefix: u8,
}

impl Source {
    /// True when this address is meant.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => shared(&a.octets(), &b.octets(), self.prefix),
            (IpAddr::V6(a), IpAddr::V6(b)) => shared(&a.octets(), &b.octets(), self.prefix),
            _ => false,
        }
    }

    /// The one address, where it is no network.
    pub fn single(&self) -> Option<IpAddr> {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        (self.prefix == whole).then_some(self.address)
    }
}

fn shared(a: &[u8], b: &[u8], prefix: u8) -> bool {
    let mut left = u32::from(prefix);
    a.iter().zip(b).all(|(x, y)| {
        let bits = left.min(8);
        left -= bits;
        bits == 0 || (x ^ y) >> (8 - bits) == 0
    })
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Source {
        Source {
            address,
            prefix: if address.is_ipv4() { 32 } else { 128 },
        }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let expected =
            || "expected an address or a network such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64".to_owned();
        let address: IpAddr = address.parse().map_err(|_| expected())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        match prefix.map(str::parse::<u8>) {
            None => Ok(Source {
                address,
                prefix: most,
            }),
            Some(Ok(prefix)) if prefix <= most => Ok(Source { address, prefix }),
            Some(_) => Err(expected()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(address) => write!(f, "{address}"),
            None => write!(f, "{}/{}", self.address, self.prefix),
        }
    }
}

/// Which events. Everything left out means "any". All conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only events with a higher number.
    pub after: Option<u64>,
    /// Only events with a lower number.
    pub before: Option<u64>,
    /// Only this session's.
    pub session: Option<SessionId>,
    /// Only from this source.
    pub source: Option<Source>,
    /// Only these kinds: exact names, or a prefix that ends in a dot, such as `auth.`.
    pub kinds: Vec<String>,
    /// Only from this decoy.
    pub decoy: Option<String>,
    /// Only where what was typed and named has all these words.
    pub text: Option<String>,
    /// Only from this time on.
    pub since: Option<Time>,
    /// Only before this time.
    pub until: Option<Time>,
    /// Of sessions, only those that got in.
    pub entered: bool,
    /// Newest first.
    pub newest_first: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses_only() {
        let net: Source = "192.0.2.64/26".parse().unwrap();
        assert!(net.contains("192.0.2.127".parse().unwrap()));
        assert!(!net.contains("192.0.2.128".parse().unwrap()));
        assert!(!net.contains("::1".parse().unwrap()));
        let net: Source = "2001:db8::/64".parse().unwrap();
        assert!(net.contains("2001:db8::ffff".parse().unwrap()));
        assert!(!net.contains("2001:db8:0:1::".parse().unwrap()));
        assert!(
            "0.0.0.0/0"
                .parse::<Source>()
                .unwrap()
                .contains("9.9.9.9".parse().unwrap())
        );
        for bad in ["", "x", "1.2.3.4/33", "1.2.3/24", "1.2.3.4/"] {
            assert!(bad.parse::<Source>().is_err(), "{bad}");
        }
    }
}
