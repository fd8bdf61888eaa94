//! The interface on which an intruder of an internal network reaches us: what the cover takes over, so that `ip a` in a world and ARP
//! outside agree.
//!
//! Nothing is sent: the kernel's tables are read, and it is asked which address it would use.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use turncoat_cover::network::Receiving;

/// A line of `/proc/net/route`: interface, network, gateway and mask as addresses.
struct Route<'a> {
    interface: &'a str,
    network: Ipv4Addr,
    gateway: Ipv4Addr,
    mask: Ipv4Addr,
}

fn routes(text: &str) -> Vec<Route<'_>> {
    let address = |w: Option<&&str>| {
        let n = u32::from_str_radix(w?, 16).ok()?;
        Some(Ipv4Addr::from(n.to_ne_bytes()))
    };
    let one = |line: &'_ str| -> Option<(Ipv4Addr, Ipv4Addr, Ipv4Addr)> {
        let w: Vec<&str> = line.split_whitespace().collect();
        Some((address(w.get(1))?, address(w.get(2))?, address(w.get(7))?))
    };
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let (network, gateway, mask) = one(line)?;
            Some(Route {
                interface: line.split_whitespace().next()?,
                network,
                gateway,
                mask,
            })
        })
        .collect()
}

/// What the tables say of the interface that has `own`. `hardware` gives an interface's address as `/sys` has it.
fn of(own: Ipv4Addr, table: &str, hardware: impl Fn(&str) -> Option<String>, resolvers: &str) -> Receiving {
    let all = routes(table);
    let inside = |r: &&Route<'_>| {
        r.gateway.is_unspecified()
            && !r.mask.is_unspecified()
            && u32::from(own) & u32::from(r.mask) == u32::from(r.network)
    };
    let Some(link) = all.iter().filter(inside).max_by_key(|r| u32::from(r.mask)) else {
        return Receiving::default();
    };
    let mac = hardware(link.interface).and_then(|text| {
        let bytes: Vec<u8> = text
            .trim()
            .split(':')
            .filter_map(|b| u8::from_str_radix(b, 16).ok())
            .collect();
        <[u8; 6]>::try_from(bytes).ok().filter(|m| *m != [0; 6])
    });
    Receiving {
        ipv4: Some((own, u32::from(link.mask).count_ones() as u8)),
        gateway: all
            .iter()
            .find(|r| r.interface == link.interface && !r.gateway.is_unspecified())
            .map(|r| r.gateway),
        mac,
        resolvers: resolvers
            .lines()
            .filter_map(|l| l.strip_prefix("nameserver")?.trim().parse::<Ipv4Addr>().ok())
            .filter(|a| !a.is_loopback())
            .take(3)
            .collect(),
    }
}

/// What this machine knows of the interface that has the address on which it listens, or of the one towards everybody.
/// Empty if there is none, or if it is loopback.
pub fn interface(listen: &[SocketAddr]) -> Receiving {
    let named = listen.iter().find_map(|a| match a.ip() {
        IpAddr::V4(a) if !a.is_unspecified() => Some(a),
        _ => None,
    });
    // An address of the documentation: connecting a datagram socket only asks for the route.
    let towards = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
        match socket.local_addr().ok()?.ip() {
            IpAddr::V4(a) => Some(a),
            IpAddr::V6(_) => None,
        }
    };
    let Some(own) = named.or_else(towards).filter(|a| !a.is_loopback()) else {
        return Receiving::default();
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    of(
        own,
        &read("/proc/net/route"),
        |i| std::fs::read_to_string(format!("/sys/class/net/{i}/address")).ok(),
        &read("/etc/resolv.conf"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_read() {
        let word = |a: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(a));
        let row = |i: &str, n, g, m| {
            format!(
                "{i}\t{}\t{}\t0003\t0\t0\t0\t{}\t0\t0\t0\n",
                word(n),
                word(g),
                word(m)
            )
        };
        let table = String::from("Iface\tDestination\tGateway\tFlags\n")
            + &row("eth1", [0; 4], [10, 7, 0, 1], [0; 4])
            + &row("eth1", [10, 7, 0, 0], [0; 4], [255, 255, 252, 0])
            + &row("eth2", [172, 16, 0, 0], [0; 4], [255, 255, 0, 0]);
        let mac = |i: &str| (i == "eth1").then(|| "02:00:5e:10:00:01\n".to_string());
        let r = of(
            [10, 7, 1, 9].into(),
            &table,
            mac,
            "nameserver 127.0.0.53\nnameserver 10.7.0.2\n",
        );
        assert_eq!(r.ipv4, Some(([10, 7, 1, 9].into(), 22)));
        assert_eq!(r.gateway, Some([10, 7, 0, 1].into()));
        assert_eq!(r.mac, Some([2, 0, 0x5e, 0x10, 0, 1]));
        assert_eq!(r.resolvers, [Ipv4Addr::new(10, 7, 0, 2)]);
        assert_eq!(of([192, 0, 2, 1].into(), &table, mac, ""), Receiving::default());
        assert_eq!(
            of([10, 7, 1, 9].into(), "junk\n\u{0}\u{1} x\n", mac, ""),
            Receiving::default()
        );
    }

    #[test]
    fn loopback_is_nobodys_interface() {
        assert_eq!(
            interface(&["127.0.0.1:22".parse().unwrap()]),
            Receiving::default()
        );
    }
}
