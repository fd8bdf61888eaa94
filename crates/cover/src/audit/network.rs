//! Addresses, routes, names.

use super::{Check, Seen, c, hold, same};
use std::net::Ipv4Addr;

/// Interface, address and prefix length of the machine's own address.
fn own(s: &Seen) -> Result<(&str, Ipv4Addr, u8), String> {
    s.lines("addr")?
        .into_iter()
        .find_map(|l| {
            let w: Vec<&str> = l.split_whitespace().collect();
            let at = w.iter().position(|x| *x == "inet")?;
            let (a, p) = w.get(at + 1)?.split_once('/')?;
            (w.get(1) != Some(&"lo")).then_some((*w.get(1)?, a.parse().ok()?, p.parse().ok()?))
        })
        .ok_or("ip addr shows no address".into())
}

fn inside(a: Ipv4Addr, net: Ipv4Addr, prefix: u8) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    u32::from(a) & mask == u32::from(net) & mask
}

/// The client's address and port, and the machine's.
pub(super) fn connection(s: &Seen) -> Result<Vec<&str>, String> {
    let words: Vec<&str> = s.value("env", "SSH_CONNECTION")?.split(' ').collect();
    hold(words.len() == 4, || format!("SSH_CONNECTION is {words:?}"))?;
    Ok(words)
}

pub(super) const CHECKS: &[Check] = &[
    c(
        "net-gateway",
        "the gateway is in the network of the address",
        |s| {
            let (dev, a, p) = own(s)?;
            let line = s
                .lines("route")?
                .into_iter()
                .find(|l| l.starts_with("default via "))
                .ok_or("no default route")?;
            let w: Vec<&str> = line.split_whitespace().collect();
            let via: Ipv4Addr = w.get(2).and_then(|v| v.parse().ok()).ok_or("no gateway")?;
            same("ip addr", dev, "ip route", w.get(4).copied().unwrap_or(""))?;
            hold(inside(via, a, p) && via != a, || {
                format!("{via} is not beside {a}/{p}")
            })
        },
    ),
    c(
        "net-route",
        "the network's route has the address as its source",
        |s| {
            let (_, a, p) = own(s)?;
            let line = s
                .lines("route")?
                .into_iter()
                .find(|l| l.contains("scope link src"))
                .ok_or("no route of the network")?;
            let net: Option<(Ipv4Addr, u8)> = line
                .split_once('/')
                .and_then(|(n, rest)| Some((n.parse().ok()?, rest.split(' ').next()?.parse().ok()?)));
            let (net, prefix) = net.ok_or_else(|| line.to_string())?;
            hold(
                inside(a, net, prefix) && p == prefix && line.trim_end().ends_with(&format!("src {a}")),
                || line.into(),
            )
        },
    ),
    c(
        "net-interfaces",
        "/etc/network/interfaces has the interface, and its address where it is static",
        |s| {
            let (dev, a, p) = own(s)?;
            let text = s.get("interfaces")?;
            hold(text.contains(&format!("allow-hotplug {dev}\n")), || {
                format!("no {dev} in interfaces")
            })?;
            match s.value("interfaces", "address") {
                Ok(set) => same("ip addr", format!("{a}/{p}").as_str(), "interfaces", set),
                Err(_) => hold(text.contains(&format!("iface {dev} inet dhcp")), || {
                    "neither static nor dhcp".into()
                }),
            }
        },
    ),
    c(
        "net-lease",
        "an address is dynamic if and only if it came by DHCP",
        |s| {
            let dynamic = s.get("addr")?.contains(" dynamic ");
            let dhcp = s.get("interfaces")?.contains("inet dhcp");
            hold(dynamic == dhcp, || {
                format!("ip addr: dynamic {dynamic}, interfaces: dhcp {dhcp}")
            })?;
            let client = s.get("ps")?.contains("dhclient");
            hold(client == dhcp, || {
                format!("dhclient runs: {client}, interfaces: dhcp {dhcp}")
            })
        },
    ),
    c(
        "net-hardware",
        "ip link and /sys have one hardware address",
        |s| {
            let (dev, ..) = own(s)?;
            let line = s
                .lines("link")?
                .into_iter()
                .find(|l| l.contains(&format!(": {dev}: ")))
                .ok_or("no link")?;
            let mac = line
                .split("link/ether ")
                .nth(1)
                .and_then(|t| t.split(' ').next())
                .unwrap_or("");
            same("ip link", mac, "/sys", s.line("nic")?)
        },
    ),
    c(
        "net-hardware-link-local",
        "the link-local address is made of the hardware address",
        |s| {
            let mac: Vec<u8> = s
                .line("nic")?
                .split(':')
                .filter_map(|b| u8::from_str_radix(b, 16).ok())
                .collect();
            let [a, b, cc, d, e, f] = mac.as_slice() else {
                return Err("no hardware address".into());
            };
            let want: std::net::Ipv6Addr = [
                0xfe80,
                0,
                0,
                0,
                u16::from(a ^ 2) << 8 | u16::from(*b),
                u16::from(*cc) << 8 | 0xff,
                0xfe00 | u16::from(*d),
                u16::from(*e) << 8 | u16::from(*f),
            ]
            .into();
            hold(s.get("addr")?.contains(&format!("inet6 {want}/64")), || {
                format!("ip addr has no {want}")
            })
        },
    ),
    c(
        "net-names",
        "the resolver searches the machine's own domain",
        |s| {
            let full = s.line("hostname.f")?;
            let domain = full.split_once('.').map_or("", |p| p.1);
            let search = s.value("resolv", "search").unwrap_or("");
            same("hostname -f", domain, "/etc/resolv.conf", search)?;
            hold(
                s.value("resolv", "nameserver")
                    .is_ok_and(|n| n.parse::<Ipv4Addr>().is_ok()),
                || "no name server".into(),
            )
        },
    ),
    c(
        "net-neighbours",
        "neighbours are in the network, and /etc/hosts knows only such",
        |s| {
            let (_, a, p) = own(s)?;
            for r in s.table("neigh")? {
                let n: Ipv4Addr = r[0].parse().map_err(|_| format!("neighbour {}", r[0]))?;
                hold(inside(n, a, p) && n != a, || {
                    format!("{n} is no neighbour of {a}/{p}")
                })?;
            }
            Ok(())
        },
    ),
    c("net-counters", "the interface counts in /proc/net/dev", |s| {
        let (dev, ..) = own(s)?;
        let rx = s.number("net.dev", dev)?;
        hold(rx > 0, || format!("{dev} has received nothing"))
    }),
    c(
        "net-address",
        "the address that a connection reached is on an interface",
        |s| {
            let reached = connection(s)?[2];
            hold(s.get("addr")?.contains(&format!(" {reached}/")), || {
                format!("{reached} is on no interface")
            })
        },
    ),
    c(
        "net-connection",
        "ss shows the connection that we came by, with sshd",
        |s| {
            let w = connection(s)?;
            let (theirs, ours) = (format!("{}:{}", w[0], w[1]), format!("{}:{}", w[2], w[3]));
            let line = s
                .lines("conns")?
                .into_iter()
                .find(|l| l.contains(&theirs))
                .ok_or_else(|| format!("ss has no {theirs}"))?;
            hold(line.contains(&ours) && line.contains("\"sshd\""), || {
                line.split_whitespace().collect::<Vec<_>>().join(" ")
            })
        },
    ),
];
