//! The network a machine shows: interface, address, routes, resolver, neighbours.

use crate::hardware::Platform;
use crate::seed::Stream;
use serde::Serialize;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What is known about the interface that an intruder reaches us on.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, Serialize)]
#[serde(default)]
pub struct Receiving {
    /// IPv4 address and prefix length.
    pub ipv4: Option<(Ipv4Addr, u8)>,
    /// Gateway.
    pub gateway: Option<Ipv4Addr>,
    /// Hardware address.
    pub mac: Option<[u8; 6]>,
    /// Resolvers.
    pub resolvers: Vec<Ipv4Addr>,
}

/// The network of a cover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Interface name: `ens18`, `enp1s0`, `ens192`, `eth0`.
    pub interface: String,
    /// Alternative name as udev gives (`enp0s18`), if any.
    pub altname: Option<String>,
    /// Hardware address.
    pub mac: [u8; 6],
    /// IPv4 address.
    pub ipv4: Ipv4Addr,
    /// Prefix length.
    pub prefix: u8,
    /// Default gateway.
    pub gateway: Ipv4Addr,
    /// Hardware address of the gateway.
    pub gateway_mac: [u8; 6],
    /// Link-local IPv6 address (EUI-64 of the hardware address).
    pub link_local: Ipv6Addr,
    /// Resolvers as in `/etc/resolv.conf`.
    pub resolvers: Vec<Ipv4Addr>,
    /// Hosts of the same network that the machine knows: (name, address, hardware address).
    pub neighbours: Vec<(String, Ipv4Addr, [u8; 6])>,
    /// True if the address came from DHCP.
    pub dhcp: bool,
}

impl Network {
    /// The network address.
    pub fn network(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.ipv4) & mask(self.prefix))
    }

    /// The broadcast address.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.ipv4) | !mask(self.prefix))
    }

    /// `aa:bb:cc:dd:ee:ff`.
    pub fn mac_text(mac: [u8; 6]) -> String {
        mac.map(|b| format!("{b:02x}")).join(":")
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

/// Draws the network; what `receiving` knows is taken over.
pub fn draw(s: &mut Stream, platform: Platform, receiving: &Receiving, names: &[String]) -> Network {
    let (interface, altname) = match platform {
        Platform::QemuPc => ("ens18", Some("enp0s18")),
        Platform::QemuQ35 => ("enp1s0", None),
        Platform::Vmware => ("ens192", Some("enp11s0")),
    };
    let prefix_bytes: [u8; 3] = match platform {
        Platform::Vmware => [0x00, 0x50, 0x56],
        _ if s.chance(50) => [0xbc, 0x24, 0x11],
        _ => [0x52, 0x54, 0x00],
    };
    let nic = |s: &mut Stream, p: [u8; 3]| {
        let mut m = [p[0], p[1], p[2], s.byte(), s.byte(), s.byte()];
        if p == [0x00, 0x50, 0x56] {
            m[3] = 0x80 | m[3] & 0x3f; // the range that a VMware management server hands out
        }
        m
    };
    let drawn_mac = nic(s, prefix_bytes);
    let usable = receiving
        .ipv4
        .filter(|(a, _)| !a.is_loopback() && !a.is_unspecified());
    let (ipv4, prefix) = usable.unwrap_or_else(|| {
        let net = match s.weighted(&[5, 3, 4]) {
            0 => Ipv4Addr::new(10, s.range(0, 250) as u8, s.range(0, 250) as u8, 0),
            1 => Ipv4Addr::new(172, s.range(16, 31) as u8, s.range(0, 250) as u8, 0),
            _ => Ipv4Addr::new(192, 168, s.range(2, 250) as u8, 0),
        };
        (Ipv4Addr::from(u32::from(net) | s.range(10, 240) as u32), 24)
    });
    let base = u32::from(ipv4) & mask(prefix);
    let gateway = receiving.gateway.unwrap_or_else(|| {
        let first = Ipv4Addr::from(base | 1);
        if first == ipv4 || s.chance(15) {
            Ipv4Addr::from(base | (!mask(prefix) - 1))
        } else {
            first
        }
    });
    let switch: [u8; 3] = *s.pick(&[
        [0x00, 0x1b, 0x17],
        [0x00, 0x09, 0x0f],
        [0x74, 0x83, 0xc2],
        [0x4c, 0x5e, 0x0c],
        [0xd0, 0x21, 0xf9],
    ]);
    let mac = receiving.mac.unwrap_or(drawn_mac);
    let mut neighbours = Vec::new();
    let mut taken = vec![u32::from(ipv4), u32::from(gateway)];
    for name in names {
        let span = u64::from(!mask(prefix)).clamp(4, 254);
        let at = base | (2 + s.below(span - 3)) as u32;
        if !taken.contains(&at) {
            taken.push(at);
            neighbours.push((name.clone(), Ipv4Addr::from(at), nic(s, prefix_bytes)));
        }
    }
    let resolvers = if receiving.resolvers.is_empty() {
        let mut r = vec![gateway];
        if s.chance(40) {
            r = neighbours.first().map(|n| vec![n.1]).unwrap_or(r);
        }
        r
    } else {
        receiving.resolvers.clone()
    };
    let e = mac;
    let link_local = Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        u16::from(e[0] ^ 2) << 8 | u16::from(e[1]),
        u16::from(e[2]) << 8 | 0xff,
        0xfe00 | u16::from(e[3]),
        u16::from(e[4]) << 8 | u16::from(e[5]),
    );
    Network {
        interface: interface.into(),
        altname: altname.map(Into::into),
        mac,
        ipv4,
        prefix,
        gateway,
        gateway_mac: nic(s, switch),
        link_local,
        resolvers,
        neighbours,
        dhcp: s.chance(30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn what_the_interface_knows_is_taken_over() {
        let r = Receiving {
            ipv4: Some((Ipv4Addr::new(10, 9, 8, 7), 22)),
            gateway: Some(Ipv4Addr::new(10, 9, 8, 1)),
            mac: Some([2, 3, 4, 5, 6, 7]),
            resolvers: vec![],
        };
        let n = draw(
            &mut Seed([1; 32]).stream("n"),
            Platform::QemuPc,
            &r,
            &["a".into(), "b".into()],
        );
        assert_eq!(
            (n.ipv4, n.prefix, n.gateway, n.mac),
            (
                Ipv4Addr::new(10, 9, 8, 7),
                22,
                Ipv4Addr::new(10, 9, 8, 1),
                [2, 3, 4, 5, 6, 7]
            )
        );
        assert_eq!(n.network(), Ipv4Addr::new(10, 9, 8, 0));
        assert_eq!(n.broadcast(), Ipv4Addr::new(10, 9, 11, 255));
        assert_eq!(n.link_local.to_string(), "fe80::3:4ff:fe05:607");
    }

    #[test]
    fn otherwise_it_is_private_and_whole() {
        for i in 0..100u8 {
            let n = draw(
                &mut Seed([i; 32]).stream("n"),
                Platform::Vmware,
                &Receiving::default(),
                &["a".into(), "b".into(), "c".into()],
            );
            assert!(n.ipv4.is_private());
            assert_ne!(n.ipv4, n.gateway);
            for (_, a, _) in &n.neighbours {
                assert_eq!(u32::from(*a) & 0xffff_ff00, u32::from(n.network()));
            }
        }
    }
}
