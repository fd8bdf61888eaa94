//! The texts of `/proc/net`, as the kernel prints them.

use super::facts::{Counters, IFF_LOOPBACK, IFF_UP, Interface};
use super::tcp::State;
use super::unix::Name;
use super::{Body, Net};
use crate::abi::net::*;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use turncoat_freeze::Freeze;

/// What moved since boot.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Freeze)]
pub struct Stats {
    lo_bytes: u64,
    lo_packets: u64,
    /// What the idle machine has moved: bytes and packets in, bytes and packets out.
    pub(crate) idle: [u64; 4],
}

impl Stats {
    /// Bytes went over the loopback interface, behind headers of that many bytes.
    pub(super) fn loopback(&mut self, bytes: usize, headers: u64) {
        self.lo_bytes += bytes as u64 + headers;
        self.lo_packets += 1;
    }

    /// Counters of an interface now.
    pub(super) fn counters(&self, i: &Interface) -> Counters {
        let mut c = i.counters;
        if i.flags & IFF_LOOPBACK == 0 && i.flags & IFF_UP != 0 {
            let [rx_bytes, rx_packets, tx_bytes, tx_packets] = self.idle;
            c.rx_bytes += rx_bytes;
            c.rx_packets += rx_packets;
            c.tx_bytes += tx_bytes;
            c.tx_packets += tx_packets;
        }
        if i.flags & IFF_LOOPBACK != 0 {
            c.rx_bytes += self.lo_bytes;
            c.tx_bytes += self.lo_bytes;
            c.rx_packets += self.lo_packets;
            c.tx_packets += self.lo_packets;
        }
        c
    }
}

/// Names under `/proc/net` that [`Net::proc_net`] has.
pub const NAMES: &[&str] = &[
    "arp",
    "dev",
    "dev_mcast",
    "fib_trie",
    "if_inet6",
    "igmp",
    "igmp6",
    "ipv6_route",
    "netlink",
    "netstat",
    "packet",
    "protocols",
    "psched",
    "raw",
    "raw6",
    "route",
    "rt_cache",
    "snmp",
    "snmp6",
    "sockstat",
    "sockstat6",
    "tcp",
    "tcp6",
    "udp",
    "udp6",
    "udplite",
    "udplite6",
    "unix",
    "wireless",
    "xfrm_stat",
    "icmp",
    "icmp6",
    "ptype",
    "softnet_stat",
];

/// An address as `/proc/net/tcp` prints it: words in the machine's order.
fn hex(ip: IpAddr, v6: bool) -> String {
    let word = |b: &[u8]| format!("{:08X}", b.try_into().map_or(0, u32::from_le_bytes));
    match ip {
        IpAddr::V4(ip) if v6 => ip.to_ipv6_mapped().octets().chunks(4).map(word).collect(),
        IpAddr::V4(ip) => word(&ip.octets()),
        IpAddr::V6(ip) => ip.octets().chunks(4).map(word).collect(),
    }
}

fn plain_hex(ip: &Ipv6Addr) -> String {
    ip.octets().iter().map(|b| format!("{b:02x}")).collect()
}

impl Net {
    /// The text of a file under `/proc/net`.
    pub fn proc_net(&self, name: &str) -> Option<String> {
        let heading = |s: &str| Some(format!("{s}\n"));
        match name {
            "tcp" => Some(self.streams(false)),
            "tcp6" => Some(self.streams(true)),
            "udp" => Some(self.datagrams(AF_INET, IPPROTO_UDP)),
            "udp6" => Some(self.datagrams(AF_INET6, IPPROTO_UDP)),
            "udplite" => Some(self.datagrams(AF_INET, IPPROTO_UDPLITE)),
            "udplite6" => Some(self.datagrams(AF_INET6, IPPROTO_UDPLITE)),
            "raw" => Some(self.datagrams(AF_INET, 0)),
            "raw6" => Some(self.datagrams(AF_INET6, 0)),
            "icmp" => Some(self.datagrams(AF_INET, IPPROTO_ICMP)),
            "icmp6" => Some(self.datagrams(AF_INET6, IPPROTO_ICMPV6)),
            "unix" => Some(self.unix_sockets()),
            "netlink" => Some(self.netlink_sockets()),
            "packet" => heading("sk               RefCnt Type Proto  Iface R Rmem   User   Inode"),
            "dev" => Some(self.devices()),
            "route" => Some(self.route_table()),
            "ipv6_route" => Some(self.route_table6()),
            "arp" => Some(self.arp()),
            "if_inet6" => Some(self.addresses6()),
            "sockstat" => Some(self.sockstat()),
            "sockstat6" => Some(self.sockstat6()),
            "dev_mcast" => Some(self.multicast()),
            "igmp" => Some(self.igmp()),
            "igmp6" => Some(self.igmp6()),
            "fib_trie" => Some(self.fib_trie()),
            "snmp" => Some(self.snmp()),
            "snmp6" => Some(String::new()),
            "netstat" => Some(self.netstat()),
            "protocols" => Some(self.protocols()),
            "wireless" => Some(
                "Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE\n \
                 face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22\n"
                    .into(),
            ),
            "psched" => heading("000003e8 00000040 000f4240 3b9aca00"),
            "rt_cache" => heading(
                "Iface\tDestination\tGateway \tFlags\t\tRefCnt\tUse\tMetric\tSource\t\tMTU\tWindow\tIRTT\tTOS\tHHRef\tHHUptod\tSpecDst",
            ),
            "ptype" => heading(
                "Type Device      Function\n0800          ip_rcv\n0806          arp_rcv\n86dd          ipv6_rcv",
            ),
            "softnet_stat" => heading(
                "00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000",
            ),
            "xfrm_stat" => Some(String::new()),
            _ => None,
        }
    }

    fn streams(&self, v6: bool) -> String {
        let pad = if v6 { "                               " } else { "" };
        let mut out = if v6 {
            "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n".to_string()
        } else {
            format!(
                "{:<149}\n",
                "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
            )
        };
        let _ = pad;
        let any = if v6 {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        let mut n = 0;
        let mut line = |text: String| {
            let row = format!("{n:4}: {text}");
            out += &if v6 {
                format!("{row}\n")
            } else {
                format!("{row:<149}\n")
            };
            n += 1;
        };
        let mut list: Vec<_> = self
            .sockets()
            .filter_map(|(_, s)| {
                if let Body::Tcp(t) = &s.body {
                    Some((s, t))
                } else {
                    None
                }
            })
            .collect();
        list.retain(|(s, t)| (s.family == AF_INET6) == v6 && t.state != State::Close && t.local.1 != 0);
        list.sort_by_key(|(_, t)| t.state != State::Listen);
        for (s, t) in list {
            let listen = t.state == State::Listen;
            let (tx, rx) = if listen {
                (0, t.waiting().0)
            } else {
                (0, t.unread())
            };
            let (lip, rip) = (t.local.0.unwrap_or(any), t.remote.0.unwrap_or(any));
            let tail = if listen { "100 0 0 10 0" } else { "20 4 30 10 -1" };
            line(format!(
                "{}:{:04X} {}:{:04X} {:02X} {tx:08X}:{rx:08X} 00:00000000 00000000 {:5}        0 {} 1 {:016x} {tail}",
                hex(lip, v6),
                t.local.1,
                hex(rip, v6),
                t.remote.1,
                t.state as u8,
                s.uid,
                s.inode,
                0
            ));
        }
        for w in self.time_wait.iter().filter(|w| w.v6 == v6) {
            let left = w.until.saturating_sub(self.now) / 10_000_000;
            line(format!(
                "{}:{:04X} {}:{:04X} {:02X} 00000000:00000000 03:{left:08X} 00000000     0        0 0 3 {:016x}",
                hex(w.local.0, v6),
                w.local.1,
                hex(w.remote.0, v6),
                w.remote.1,
                w.state as u8,
                0
            ));
        }
        out
    }

    /// UDP or ping sockets of a protocol; protocol 0: raw sockets.
    fn datagrams(&self, family: u16, protocol: u32) -> String {
        let v6 = family == AF_INET6;
        let mut out = if v6 {
            "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n".to_string()
        } else {
            format!(
                "{:<127}\n",
                "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops"
            )
        };
        let any = if v6 {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        for (id, s) in self.sockets() {
            let Body::Udp(u) = &s.body else { continue };
            let raw = s.kind == SOCK_RAW;
            if s.family != family
                || raw != (protocol == 0)
                || !raw && (s.protocol != protocol || u.local.1 == 0)
            {
                continue;
            }
            let port = if raw { s.protocol as u16 } else { u.local.1 };
            let remote = u.remote.unwrap_or((any, 0));
            let state = if u.remote.is_some() { 1 } else { 7 };
            let waiting: usize = u.queue.iter().map(|d| super::cost_of(d.data.len())).sum();
            let row = format!(
                "{:5}: {}:{port:04X} {}:{:04X} {state:02X} 00000000:{waiting:08X} 00:00000000 00000000 {:5}        0 {} 2 {:016x} {}",
                slot(port, id.0),
                hex(u.local.0.unwrap_or(any), v6),
                hex(remote.0, v6),
                remote.1,
                s.uid,
                s.inode,
                0,
                u.drops
            );
            out += &if v6 {
                format!("{row}\n")
            } else {
                format!("{row:<127}\n")
            };
        }
        out
    }

    fn unix_sockets(&self) -> String {
        let mut out = String::from("Num       RefCount Protocol Flags    Type St Inode Path\n");
        for (_, s) in self.sockets() {
            let Body::Unix(u) = &s.body else { continue };
            let (flags, state) = match (u.backlog, u.connected) {
                (Some(_), _) => (0x10000, 1),
                (_, true) => (0, 3),
                _ => (0, 1),
            };
            let refs = 2 + usize::from(u.connected);
            let _ = write!(
                out,
                "{:016x}: {refs:08X} 00000000 {flags:08X} {:04X} {state:02X} {:5}",
                0, s.kind, s.inode
            );
            match &u.name {
                Some(Name::Path(p, _)) => {
                    let _ = write!(out, " {}", String::from_utf8_lossy(p));
                }
                Some(Name::Abstract(n)) => {
                    let text: String = n
                        .iter()
                        .map(|c| if *c == 0 { '@' } else { char::from(*c) })
                        .collect();
                    let _ = write!(out, " @{text}");
                }
                None => {}
            }
            out.push('\n');
        }
        out
    }

    fn netlink_sockets(&self) -> String {
        let mut out = String::from(
            "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n",
        );
        for (_, s) in self.sockets() {
            if let Body::Netlink(n) = &s.body {
                let _ = writeln!(
                    out,
                    "{:016x} {:<3} {:<10} {:08x} {:<8} {:<8} {:<5} {:<8} {:<8} {:<8}",
                    0, s.protocol, n.port, n.groups, 0, 0, 0, 2, 0, s.inode
                );
            }
        }
        out
    }

    fn devices(&self) -> String {
        let mut out = String::from(
            "Inter-|   Receive                                                |  Transmit\n \
             face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n",
        );
        for i in &self.facts.interfaces {
            let c = self.counters(i);
            let _ = writeln!(
                out,
                "{:>6}: {:7} {:7} {:4} {:4} {:4} {:5} {:10} {:9} {:8} {:7} {:4} {:4} {:4} {:5} {:7} {:10}",
                i.name,
                c.rx_bytes,
                c.rx_packets,
                0,
                c.rx_dropped,
                0,
                0,
                0,
                c.multicast,
                c.tx_bytes,
                c.tx_packets,
                0,
                0,
                0,
                0,
                0,
                0
            );
        }
        out
    }

    fn name_of(&self, index: u32) -> &str {
        self.facts.interface(index).map_or("*", |i| &i.name)
    }

    fn route_table(&self) -> String {
        let pad = |s: String| format!("{s:<127}\n");
        let mut out =
            pad("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT".into());
        for r in self.facts.sorted_routes() {
            let IpAddr::V4(dst) = r.dst else { continue };
            let via = match r.via {
                Some(IpAddr::V4(v)) => v,
                _ => Ipv4Addr::UNSPECIFIED,
            };
            let mask = Ipv4Addr::from(
                u32::MAX
                    .checked_shl(32 - u32::from(r.prefix.min(32)))
                    .unwrap_or(0),
            );
            let flags = 1 + if r.via.is_some() { 2 } else { 0 } + if r.prefix == 32 { 4 } else { 0 };
            let h = |ip: Ipv4Addr| hex(ip.into(), false);
            out += &pad(format!(
                "{}\t{}\t{}\t{flags:04X}\t0\t0\t{}\t{}\t0\t0\t0",
                self.name_of(r.dev),
                h(dst),
                h(via),
                r.metric,
                h(mask)
            ));
        }
        out
    }

    fn route_table6(&self) -> String {
        let mut out = String::new();
        let zero = Ipv6Addr::UNSPECIFIED;
        let mut row = |dst: &Ipv6Addr, prefix: u8, via: &Ipv6Addr, metric: u32, flags: u32, dev: &str| {
            let _ = writeln!(
                out,
                "{} {prefix:02x} {} 00 {} {metric:08x} {:08x} {:08x} {flags:08x} {dev:>8}",
                plain_hex(dst),
                plain_hex(&zero),
                plain_hex(via),
                1,
                0
            );
        };
        for r in &self.facts.routes {
            if let IpAddr::V6(dst) = r.dst {
                let via = if let Some(IpAddr::V6(v)) = r.via { v } else { zero };
                row(
                    &dst,
                    r.prefix,
                    &via,
                    r.metric,
                    if r.via.is_some() { 3 } else { 1 },
                    self.name_of(r.dev),
                );
            }
        }
        for i in &self.facts.interfaces {
            for a in &i.addresses {
                if let IpAddr::V6(ip) = a.ip {
                    row(&ip, 128, &zero, 0, 0x8020_0001, &i.name);
                }
            }
            if i.flags & IFF_LOOPBACK == 0 && i.flags & IFF_UP != 0 {
                row(
                    &Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0),
                    8,
                    &zero,
                    256,
                    1,
                    &i.name,
                );
            }
        }
        row(&zero, 0, &zero, u32::MAX, 0x0020_0200, "lo");
        out
    }

    fn arp(&self) -> String {
        let mut out =
            String::from("IP address       HW type     Flags       HW address            Mask     Device\n");
        for n in self.facts.neighbours.iter().filter(|n| n.ip.is_ipv4()) {
            let flags = if n.state & 0x80 != 0 { 6 } else { 2 };
            let _ = writeln!(
                out,
                "{:<16} 0x{:<10x}0x{:<10x}{:<17}     *        {}",
                n.ip,
                1,
                flags,
                mac(&n.mac, ":"),
                self.name_of(n.dev)
            );
        }
        out
    }

    fn addresses6(&self) -> String {
        let mut out = String::new();
        for i in &self.facts.interfaces {
            for a in &i.addresses {
                if let IpAddr::V6(ip) = a.ip {
                    let scope = match a.scope {
                        254 => 0x10,
                        253 => 0x20,
                        _ => 0,
                    };
                    let flags = if a.dynamic { 0 } else { 0x80 };
                    let _ = writeln!(
                        out,
                        "{} {:02x} {:02x} {scope:02x} {flags:02x} {:>8}",
                        plain_hex(&ip),
                        i.index,
                        a.prefix,
                        i.name
                    );
                }
            }
        }
        out
    }

    fn count(&self, f: impl Fn(&super::Socket) -> bool) -> usize {
        self.sockets().filter(|(_, s)| f(s)).count()
    }

    fn sockstat(&self) -> String {
        let tcp = self.count(|s| s.protocol == IPPROTO_TCP && s.family == AF_INET);
        let udp = self.count(|s| s.protocol == IPPROTO_UDP && s.family == AF_INET);
        let raw = self.count(|s| s.kind == SOCK_RAW && s.family == AF_INET);
        format!(
            "sockets: used {}\nTCP: inuse {tcp} orphan 0 tw {} alloc {} mem 1\nUDP: inuse {udp} mem 0\nUDPLITE: inuse 0\nRAW: inuse {raw}\nFRAG: inuse 0 memory 0\n",
            self.socks.len(),
            self.time_wait.len(),
            self.count(|s| s.protocol == IPPROTO_TCP)
        )
    }

    fn sockstat6(&self) -> String {
        let tcp = self.count(|s| s.protocol == IPPROTO_TCP && s.family == AF_INET6);
        let udp = self.count(|s| s.protocol == IPPROTO_UDP && s.family == AF_INET6);
        let raw = self.count(|s| s.kind == SOCK_RAW && s.family == AF_INET6);
        format!(
            "TCP6: inuse {tcp}\nUDP6: inuse {udp}\nUDPLITE6: inuse 0\nRAW6: inuse {raw}\nFRAG6: inuse 0 memory 0\n"
        )
    }

    fn multicast(&self) -> String {
        let mut out = String::new();
        for i in self
            .facts
            .interfaces
            .iter()
            .filter(|i| i.flags & IFF_LOOPBACK == 0)
        {
            let m = i.mac;
            for g in [
                "333300000001".to_string(),
                "01005e000001".into(),
                format!("3333ff{:02x}{:02x}{:02x}", m[3], m[4], m[5]),
            ] {
                let _ = writeln!(out, "{:<4} {:<15} {:<5} {:<5} {g}", i.index, i.name, 1, 0);
            }
        }
        out
    }

    fn igmp(&self) -> String {
        let mut out = String::from("Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n");
        for i in &self.facts.interfaces {
            let _ = writeln!(
                out,
                "{}\t{:<10}: {:5} {:7}\n\t\t\t\t010000E0     1 0:00000000\t\t0",
                i.index, i.name, 1, "V3"
            );
        }
        out
    }

    fn igmp6(&self) -> String {
        let mut out = String::new();
        for i in &self.facts.interfaces {
            for g in [
                "ff020000000000000000000000000001",
                "ff010000000000000000000000000001",
            ] {
                let _ = writeln!(out, "{:<4} {:<15} {g} {:5} {:08X} {}", i.index, i.name, 1, 12, 0);
            }
        }
        out
    }

    /// Tables as a flat trie: every network under the root.
    fn fib_trie(&self) -> String {
        let mut out = String::new();
        for table in ["Main", "Local"] {
            let _ = writeln!(out, "{table}:\n  +-- 0.0.0.0/0 3 0 5");
            for r in &self.facts.routes {
                if let IpAddr::V4(dst) = r.dst {
                    let scope = if r.via.is_some() { "universe" } else { "link" };
                    let _ = writeln!(out, "     |-- {dst}\n        /{} {scope} UNICAST", r.prefix);
                }
            }
            for i in &self.facts.interfaces {
                for a in &i.addresses {
                    if let IpAddr::V4(ip) = a.ip {
                        let _ = writeln!(out, "     |-- {ip}\n        /32 host LOCAL");
                    }
                }
            }
        }
        out
    }

    /// Totals that follow from the interfaces' counters.
    fn totals(&self) -> (u64, u64) {
        self.facts
            .interfaces
            .iter()
            .map(|i| self.counters(i))
            .fold((0, 0), |(r, t), c| (r + c.rx_packets, t + c.tx_packets))
    }

    fn snmp(&self) -> String {
        let (rx, tx) = self.totals();
        let established = self.count(
            |s| matches!(&s.body, Body::Tcp(t) if matches!(t.state, State::Established | State::CloseWait)),
        );
        let (segs_in, segs_out) = (rx * 9 / 10, tx * 9 / 10);
        format!(
            "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates OutTransmits\n\
             Ip: 2 64 {rx} 0 0 0 0 0 {rx} {tx} 0 0 0 0 0 0 0 0 0 {tx}\n\
             Icmp: InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects InEchos InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors OutRateLimitGlobal OutRateLimitHost OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps OutTimestamps OutTimestampReps OutAddrMasks OutAddrMaskReps\n\
             Icmp: 12 0 0 12 0 0 0 0 0 0 0 0 0 0 12 0 0 0 12 0 0 0 0 0 0 0 0 0 0\n\
             IcmpMsg: InType3 OutType3\nIcmpMsg: 12 12\n\
             Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n\
             Tcp: 1 200 120000 -1 {} {} {} {} {established} {segs_in} {segs_out} {} 0 {} 0\n\
             Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n\
             Udp: {} 12 0 {} 0 0 0 0 0\n\
             UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n\
             UdpLite: 0 0 0 0 0 0 0 0 0\n",
            tx / 97,
            rx / 83,
            rx / 5100,
            rx / 1900,
            tx / 700,
            tx / 900,
            rx / 20,
            tx / 20
        )
    }

    fn netstat(&self) -> String {
        let (rx, tx) = self.totals();
        format!(
            "TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts PruneCalled RcvPruned OfoPruned OutOfWindowIcmps LockDroppedIcmps ArpFilter TW TWRecycled TWKilled PAWSActive PAWSEstab DelayedACKs DelayedACKLocked DelayedACKLost ListenOverflows ListenDrops TCPHPHits TCPPureAcks TCPHPAcks\n\
             TcpExt: 0 0 0 0 0 0 0 0 0 0 {} 0 0 0 0 {} 0 0 0 0 {} {} {}\n\
             IpExt: InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InBcastPkts OutBcastPkts InOctets OutOctets InMcastOctets OutMcastOctets InBcastOctets OutBcastOctets InCsumErrors InNoECTPkts InECT1Pkts InECT0Pkts InCEPkts ReasmOverlaps\n\
             IpExt: 0 0 0 0 0 0 {} {} 0 0 0 0 0 {rx} 0 0 0 0\n",
            tx / 400,
            rx / 40,
            rx / 3,
            rx / 4,
            rx / 5,
            rx * 700,
            tx * 200
        )
    }

    fn protocols(&self) -> String {
        let mut out = String::from(
            "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re sp bi br ha uh gp em\n",
        );
        let flags = |s: &str| s.chars().map(|c| format!(" {c}")).collect::<String>();
        let rows: [(&str, u32, usize, i32, u32, &str); 8] = [
            (
                "PACKET",
                1472,
                self.count(|s| s.family == AF_PACKET),
                -1,
                0,
                "nnnnnnnnnnnnnnnnnnn",
            ),
            (
                "UNIX",
                1024,
                self.count(|s| s.family == AF_UNIX),
                -1,
                0,
                "nnnnnnnnnnnnnnnnnnn",
            ),
            ("PING", 944, 0, -1, 0, "yyynnynnyyyynyyyyyn"),
            (
                "RAW",
                952,
                self.count(|s| s.kind == SOCK_RAW && s.family == AF_INET),
                -1,
                0,
                "yyyyynyyynyyyyyynn",
            ),
            (
                "UDP",
                1088,
                self.count(|s| s.protocol == IPPROTO_UDP && s.family == AF_INET),
                0,
                0,
                "yyynynyyyynyyyyynn",
            ),
            (
                "TCP",
                2248,
                self.count(|s| s.protocol == IPPROTO_TCP && s.family == AF_INET),
                1,
                320,
                "yyyyyyyyyyyyynyyyyy",
            ),
            (
                "TCPv6",
                2408,
                self.count(|s| s.protocol == IPPROTO_TCP && s.family == AF_INET6),
                1,
                320,
                "yyyyyyyyyyyyynyyyyy",
            ),
            (
                "NETLINK",
                1096,
                self.count(|s| s.family == AF_NETLINK),
                -1,
                0,
                "nnnnnnnnnnnnnnnnnnn",
            ),
        ];
        for (name, size, n, memory, head, f) in rows {
            let _ = writeln!(
                out,
                "{name:<9} {size:4} {n:6}  {memory:6}   {:<3} {head:6}   yes  kernel     {}",
                "no",
                flags(f)
            );
        }
        out
    }
}

/// The hash slot that stands in front of a datagram socket's line.
fn slot(port: u16, id: u32) -> u32 {
    (u32::from(port) * 7 + id) % 1024
}

fn mac(m: &[u8; 6], by: &str) -> String {
    m.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(by)
}
