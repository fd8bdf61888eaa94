//! What the machine's network looks like: plain data that the cover fills in, and what programs may change.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use turncoat_freeze::Freeze;

/// Traffic counters of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Freeze)]
#[allow(missing_docs)]
pub struct Counters {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub multicast: u64,
}

/// One address of an interface.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Length of its network's prefix.
    pub prefix: u8,
    /// RT_SCOPE_*: 0 global, 253 link, 254 host.
    pub scope: u8,
    /// Seconds that are left of a lease (`None`: forever), at the time the world was booted.
    pub lease: Option<u32>,
    /// Address was configured by DHCP or a router (IFA_F_PERMANENT is not set).
    pub dynamic: bool,
    /// Label (`eth0`), IPv4 only.
    pub label: String,
}

/// One interface.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub struct Interface {
    /// Number, from 1.
    pub index: u32,
    /// Name (`lo`, `ens18`).
    pub name: String,
    /// Other names (`enp0s18`), shown as altname.
    pub altnames: Vec<String>,
    /// Ethernet address (zeros on lo).
    pub mac: [u8; 6],
    /// IFF_* flags.
    pub flags: u32,
    /// Largest packet.
    pub mtu: u32,
    /// Length of the transmit queue.
    pub txqlen: u32,
    /// Queueing discipline (`noqueue`, `fq_codel`, `pfifo_fast`, `mq`).
    pub qdisc: String,
    /// Driver (`virtio_net`, `e1000`), for SIOCETHTOOL.
    pub driver: String,
    /// Speed in Mbit/s, if the driver knows it.
    pub speed: Option<u32>,
    /// Transmit and receive queues.
    pub queues: u32,
    /// Name of the parent's bus and the device there (`pci`, `0000:00:12.0`).
    pub parent: Option<(String, String)>,
    /// Addresses in order.
    pub addresses: Vec<Address>,
    /// Counters at boot.
    pub counters: Counters,
}

/// IFF_UP.
pub const IFF_UP: u32 = 1;
/// IFF_BROADCAST.
pub const IFF_BROADCAST: u32 = 2;
/// IFF_LOOPBACK.
pub const IFF_LOOPBACK: u32 = 8;
/// IFF_RUNNING.
pub const IFF_RUNNING: u32 = 0x40;
/// IFF_MULTICAST.
pub const IFF_MULTICAST: u32 = 0x1000;
/// IFF_LOWER_UP.
pub const IFF_LOWER_UP: u32 = 0x10000;

/// One route of the main table.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub struct Route {
    /// Destination network; an unspecified address with prefix 0 is the default route.
    pub dst: IpAddr,
    /// Length of the prefix.
    pub prefix: u8,
    /// Next hop.
    pub via: Option<IpAddr>,
    /// Interface.
    pub dev: u32,
    /// Preferred source.
    pub src: Option<IpAddr>,
    /// Metric (0: none).
    pub metric: u32,
    /// RTPROT_*: 2 kernel, 3 boot, 4 static, 9 ra, 16 dhcp.
    pub protocol: u8,
    /// RT_SCOPE_*: 0 universe, 253 link.
    pub scope: u8,
}

/// A neighbour (ARP or NDP cache).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub struct Neighbour {
    /// Its address.
    pub ip: IpAddr,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Interface.
    pub dev: u32,
    /// NUD_*: 2 reachable, 4 stale, 0x80 permanent.
    pub state: u16,
    /// It is a router (NTF_ROUTER).
    pub router: bool,
}

/// What happens to a connection that would leave the machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Freeze)]
pub enum Outside {
    /// A router says that there is no way.
    Unreachable,
    /// Nobody answers.
    #[default]
    Timeout,
    /// The other side refuses.
    Refused,
    /// A stand-in peer accepts; what is said to it is recorded.
    Sink,
}

impl Outside {
    const NAMES: [(Outside, &'static str); 4] = [
        (Outside::Unreachable, "unreachable"),
        (Outside::Timeout, "timeout"),
        (Outside::Refused, "refused"),
        (Outside::Sink, "sink"),
    ];

    /// Its name in configuration and journals.
    pub fn name(self) -> &'static str {
        Outside::NAMES
            .iter()
            .find(|(o, _)| *o == self)
            .map_or("timeout", |(_, n)| n)
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Outside> {
        Outside::NAMES.iter().find(|(_, n)| *n == name).map(|(o, _)| *o)
    }
}

/// What the stage's name server says.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Freeze)]
pub struct Resolver {
    /// Names that are known, in lower case without a final dot.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// What it says of other names.
    pub others: OtherNames,
    /// How long an answer takes, in nanoseconds.
    pub delay: u64,
}

/// What the name server says of names that it was not told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Freeze)]
pub enum OtherNames {
    /// An invented public address, the same for the same name; names that cannot be are still not found.
    #[default]
    Invent,
    /// No such name.
    NxDomain,
    /// The server failed.
    ServFail,
    /// No answer.
    Silent,
}

/// All of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub struct Facts {
    /// Interfaces in index order; the first is lo.
    pub interfaces: Vec<Interface>,
    /// Routes of the main table.
    pub routes: Vec<Route>,
    /// Neighbours.
    pub neighbours: Vec<Neighbour>,
    /// The addresses in resolv.conf.
    pub nameservers: Vec<IpAddr>,
    /// What they answer.
    pub resolver: Resolver,
    /// What happens to connections outwards.
    pub outside: Outside,
    /// Exceptions by port.
    pub outside_ports: BTreeMap<u16, Outside>,
    /// Seed of round-trip times, sequence numbers and ports.
    pub seed: u64,
    /// Round trip to the gateway, in nanoseconds.
    pub gateway_rtt: u64,
    /// Round trip to the rest of the world, in nanoseconds.
    pub outside_rtt: u64,
    /// Hosts outside answer echo requests.
    pub outside_pings: bool,
    /// Users' groups that may open ping sockets (`net.ipv4.ping_group_range`).
    pub ping_groups: (u32, u32),
    /// First socket inode.
    pub first_inode: u64,
    /// Netfilter sockets answer (an empty rule set) rather than refuse.
    pub netfilter: bool,
}

impl Default for Facts {
    /// A virtual machine with lo and one interface, for tests.
    fn default() -> Self {
        let v4 = |ip: [u8; 4], prefix, label: &str, scope| Address {
            ip: Ipv4Addr::from(ip).into(),
            prefix,
            scope,
            lease: None,
            dynamic: false,
            label: label.into(),
        };
        let v6 = |ip: Ipv6Addr, prefix, scope| Address {
            ip: ip.into(),
            prefix,
            scope,
            lease: None,
            dynamic: false,
            label: String::new(),
        };
        let lo = Interface {
            index: 1,
            name: "lo".into(),
            altnames: vec![],
            mac: [0; 6],
            flags: IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_LOWER_UP,
            mtu: 65536,
            txqlen: 1000,
            qdisc: "noqueue".into(),
            driver: String::new(),
            speed: None,
            queues: 1,
            parent: None,
            addresses: vec![
                v4([127, 0, 0, 1], 8, "lo", 254),
                v6(Ipv6Addr::LOCALHOST, 128, 254),
            ],
            counters: Counters::default(),
        };
        let ens = Interface {
            index: 2,
            name: "ens3".into(),
            altnames: vec!["enp0s3".into()],
            mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
            flags: IFF_UP | IFF_BROADCAST | IFF_RUNNING | IFF_MULTICAST | IFF_LOWER_UP,
            mtu: 1500,
            txqlen: 1000,
            qdisc: "fq_codel".into(),
            driver: "virtio_net".into(),
            speed: None,
            queues: 1,
            parent: Some(("virtio".into(), "virtio0".into())),
            addresses: vec![
                v4([192, 0, 2, 15], 24, "ens3", 0),
                v6(
                    Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe12, 0x3456),
                    64,
                    253,
                ),
            ],
            counters: Counters {
                rx_bytes: 81_234_567,
                rx_packets: 61_234,
                tx_bytes: 4_123_456,
                tx_packets: 31_234,
                ..Default::default()
            },
        };
        let gateway = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let own = ens.addresses[0].ip;
        let route = |dst, prefix, via, src, scope, protocol| Route {
            dst,
            prefix,
            via,
            dev: 2,
            src,
            metric: 0,
            protocol,
            scope,
        };
        Facts {
            routes: vec![
                route(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, Some(gateway), None, 0, 3),
                route(
                    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 0)),
                    24,
                    None,
                    Some(own),
                    253,
                    2,
                ),
                Route {
                    metric: 256,
                    ..route("fe80::".parse().unwrap_or(own), 64, None, None, 0, 2)
                },
            ],
            neighbours: vec![Neighbour {
                ip: gateway,
                mac: [0x52, 0x55, 0x0a, 0, 2, 2],
                dev: 2,
                state: 2,
                router: false,
            }],
            interfaces: vec![lo, ens],
            nameservers: vec![gateway],
            resolver: Resolver {
                delay: 9_000_000,
                ..Default::default()
            },
            outside: Outside::Timeout,
            outside_ports: BTreeMap::new(),
            seed: 1,
            gateway_rtt: 410_000,
            outside_rtt: 18_000_000,
            outside_pings: false,
            ping_groups: (0, 2_147_483_647),
            first_inode: 12_000,
            netfilter: true,
        }
    }
}

impl Facts {
    /// True if packets to this address stay on the machine.
    pub fn is_own(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(v4) if v4.is_loopback() => return true,
            _ => {}
        }
        self.interfaces
            .iter()
            .any(|i| i.flags & IFF_UP != 0 && i.addresses.iter().any(|a| a.ip == ip))
    }

    /// The best route to an address, unless there is none.
    pub fn route(&self, to: IpAddr) -> Option<&Route> {
        let up = |r: &&Route| self.interface(r.dev).is_some_and(|i| i.flags & IFF_UP != 0);
        self.routes
            .iter()
            .filter(|r| in_net(to, r.dst, r.prefix))
            .filter(up)
            .min_by_key(|r| (std::cmp::Reverse(r.prefix), r.metric))
    }

    /// Routes in the order in which the kernel lists them.
    pub fn sorted_routes(&self) -> Vec<&Route> {
        let mut v: Vec<&Route> = self.routes.iter().collect();
        v.sort_by_key(|r| (r.dst, std::cmp::Reverse(r.prefix), r.metric));
        v
    }

    /// The address that packets to `to` are sent from.
    pub fn source(&self, to: IpAddr) -> Option<IpAddr> {
        if to.is_unspecified() {
            return Some(match to {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        if self.is_own(to) {
            return Some(match to {
                IpAddr::V4(v4) if v4.is_loopback() => Ipv4Addr::LOCALHOST.into(),
                ip => ip,
            });
        }
        let r = self.route(to)?;
        let dev = self.interface(r.dev)?;
        r.src.or_else(|| {
            let fit = |a: &&Address| a.ip.is_ipv4() == to.is_ipv4();
            let mut same = dev.addresses.iter().filter(fit);
            let first = same.next()?;
            let link = |ip: IpAddr| matches!(ip, IpAddr::V6(v) if v.segments()[0] & 0xffc0 == 0xfe80);
            if link(first.ip) && !link(to) {
                same.find(|a| !link(a.ip)).map(|a| a.ip)
            } else {
                Some(first.ip)
            }
        })
    }

    /// The interface with this number.
    pub fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.index == index)
    }

    /// The interface with this name or other name.
    pub fn interface_named(&self, name: &str) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|i| i.name == name || i.altnames.iter().any(|a| a == name))
    }

    /// True if the address is a router that some route goes through.
    pub fn is_gateway(&self, ip: IpAddr) -> bool {
        self.routes.iter().any(|r| r.via == Some(ip))
    }

    /// What happens to a connection to this port outside.
    pub fn outside(&self, port: u16) -> Outside {
        self.outside_ports.get(&port).copied().unwrap_or(self.outside)
    }
}

/// True if `ip` is in the network `net/prefix`.
pub fn in_net(ip: IpAddr, net: IpAddr, prefix: u8) -> bool {
    match (ip, net) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            let shift = 32 - u32::from(prefix.min(32));
            u64::from(a.to_bits()) >> shift == u64::from(n.to_bits()) >> shift
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            let shift = 128 - u32::from(prefix.min(128));
            shift == 128 || a.to_bits() >> shift == n.to_bits() >> shift
        }
        _ => false,
    }
}
