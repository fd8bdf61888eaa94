//! The cover's network as the stage that programs see.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use turncoat_cover::Cover;
use turncoat_cover::hardware::Platform;
use turncoat_kernel::net::facts::{Address, Counters, Facts, Interface, Neighbour, Outside, Route};

/// Interfaces, routes, neighbours, name servers. `outside` decides about connections that would leave.
pub fn facts(cover: &Cover, outside: Outside) -> Facts {
    let n = &cover.network;
    let mut f = Facts::default();
    let mut s = cover.stream("traffic");
    if let Some(i) = f.interfaces.get_mut(1) {
        let bus = match cover.hardware.platform {
            Platform::Vmware => "pci",
            Platform::QemuPc | Platform::QemuQ35 => "virtio",
        };
        let rx = 30_000_000 + s.below(4_000_000_000);
        let tx = rx / (3 + s.below(9));
        *i = Interface {
            name: n.interface.clone(),
            altnames: n.altname.iter().cloned().collect(),
            mac: n.mac,
            driver: if cover.hardware.platform == Platform::Vmware {
                "vmxnet3"
            } else {
                "virtio_net"
            }
            .into(),
            parent: Some((bus.into(), cover.hardware.interface())),
            qdisc: if cover.hardware.platform == Platform::Vmware && cover.hardware.cores > 1 {
                "mq"
            } else {
                "fq_codel"
            }
            .into(),
            addresses: vec![
                Address {
                    ip: n.ipv4.into(),
                    prefix: n.prefix,
                    scope: 0,
                    lease: n.dhcp.then(|| 3600 + s.below(80_000) as u32),
                    dynamic: n.dhcp,
                    label: n.interface.clone(),
                },
                Address {
                    ip: n.link_local.into(),
                    prefix: 64,
                    scope: 253,
                    lease: None,
                    dynamic: false,
                    label: String::new(),
                },
            ],
            counters: Counters {
                rx_bytes: rx,
                rx_packets: rx / 700,
                tx_bytes: tx,
                tx_packets: tx / 400,
                ..Counters::default()
            },
            ..i.clone()
        };
    }
    let gateway = IpAddr::V4(n.gateway);
    f.routes = vec![
        Route {
            dst: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            prefix: 0,
            via: Some(gateway),
            dev: 2,
            src: None,
            metric: 0,
            protocol: 3,
            scope: 0,
        },
        Route {
            dst: n.network().into(),
            prefix: n.prefix,
            via: None,
            dev: 2,
            src: Some(n.ipv4.into()),
            metric: 0,
            protocol: 2,
            scope: 253,
        },
        Route {
            dst: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)),
            prefix: 64,
            via: None,
            dev: 2,
            src: None,
            metric: 256,
            protocol: 2,
            scope: 0,
        },
    ];
    f.neighbours = vec![Neighbour {
        ip: gateway,
        mac: n.gateway_mac,
        dev: 2,
        state: 2,
        router: false,
    }];
    for (i, (_, ip, mac)) in n.neighbours.iter().enumerate() {
        if i % 2 == 0 {
            f.neighbours.push(Neighbour {
                ip: (*ip).into(),
                mac: *mac,
                dev: 2,
                state: 4,
                router: false,
            });
        }
    }
    for (name, ip, _) in &n.neighbours {
        f.resolver.names.insert(name.clone(), vec![(*ip).into()]);
        if !cover.host.domain.is_empty() {
            f.resolver
                .names
                .insert(format!("{name}.{}", cover.host.domain), vec![(*ip).into()]);
        }
    }
    f.resolver.names.insert(cover.host.fqdn(), vec![n.ipv4.into()]);
    f.nameservers = n.resolvers.iter().map(|r| (*r).into()).collect();
    f.outside = outside;
    f.seed = s.u64();
    f.gateway_rtt = 150_000 + s.below(900_000);
    f.outside_rtt = 4_000_000 + s.below(40_000_000);
    f
}
