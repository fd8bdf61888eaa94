//! NETLINK_ROUTE: interfaces, addresses, routes, neighbours, rules, queueing disciplines, in the layout of Linux 6.1.

use super::super::facts::{
    Address, Counters, IFF_LOOPBACK, IFF_LOWER_UP, IFF_RUNNING, IFF_UP, Interface, Neighbour, Route,
};
use super::super::{Caller, Net, NetEffect};
use super::{Answer, Message, ROUTE, Request};
use crate::abi::net::*;
use crate::{Errno, KResult};
use std::net::IpAddr;

const NEWLINK: u16 = 16;
const NEWADDR: u16 = 20;
const NEWROUTE: u16 = 24;
const NEWNEIGH: u16 = 28;
const NEWRULE: u16 = 32;
const NEWQDISC: u16 = 36;
const TABLE_MAIN: u8 = 254;
const TABLE_LOCAL: u8 = 255;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;

fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() {
        AF_INET as u8
    } else {
        AF_INET6 as u8
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn ip_of(b: &[u8]) -> Option<IpAddr> {
    match b.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(b).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(b).ok()?)),
        _ => None,
    }
}

fn text(b: &[u8]) -> String {
    String::from_utf8_lossy(b.split(|c| *c == 0).next().unwrap_or(&[])).into_owned()
}

impl Net {
    pub(super) fn route_request(&mut self, who: &Caller, r: &Request<'_>) -> Answer {
        // Types come in fours: new, delete, get, set. All but "get" need the privilege.
        if r.kind % 4 != 2 && !who.net_admin {
            return Err(Errno::EPERM);
        }
        let fits = |f: u8| r.u8_at(0) == 0 || r.u8_at(0) == f;
        match r.kind {
            18 if r.dump() => Ok(self.facts.interfaces.iter().map(|i| self.link(i)).collect()),
            18 => Ok(vec![self.link(self.named(r)?)]),
            16 if r.u32_at(4) == 0 && r.attribute(16, 3).is_none() => Err(Errno::ENODEV),
            16 | 19 => self.change_link(who, r),
            17 => Err(Errno::EOPNOTSUPP),
            22 => {
                let index = r.u32_at(4);
                let mut v = Vec::new();
                for (f, four) in [(AF_INET as u8, true), (AF_INET6 as u8, false)] {
                    for i in self
                        .facts
                        .interfaces
                        .iter()
                        .filter(|i| fits(f) && (index == 0 || index == i.index))
                    {
                        v.extend(
                            i.addresses
                                .iter()
                                .filter(|a| a.ip.is_ipv4() == four)
                                .map(|a| self.address_message(NEWADDR, i, a)),
                        );
                    }
                }
                Ok(v)
            }
            20 | 21 => self.change_address(who, r),
            26 if r.dump() => Ok(self.routes(r)),
            26 => self.route_get(who, r),
            24 | 25 => self.change_route(who, r),
            30 => Ok(self
                .facts
                .neighbours
                .iter()
                .filter(|n| fits(family(n.ip)) && (r.u32_at(4) == 0 || r.u32_at(4) == n.dev))
                .map(neighbour)
                .collect()),
            28 | 29 => self.change_neighbour(r),
            34 => Ok([AF_INET as u8, AF_INET6 as u8]
                .into_iter()
                .filter(|f| fits(*f))
                .flat_map(rules)
                .collect()),
            38 => Ok(self
                .facts
                .interfaces
                .iter()
                .map(|i| qdisc(i, &self.counters(i)))
                .collect()),
            // Classes, filters, address labels, multicast tables, statistics and the like: none.
            k if k % 4 == 2 && r.dump() => Ok(Vec::new()),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// The interface that a link request names by number, name or other name.
    fn named(&self, r: &Request<'_>) -> KResult<&Interface> {
        match (r.u32_at(4), r.attribute(16, 3).or(r.attribute(16, 53))) {
            (0, Some(name)) => self.facts.interface_named(&text(name)),
            (0, None) => return Err(Errno::EINVAL),
            (index, _) => self.facts.interface(index),
        }
        .ok_or(Errno::ENODEV)
    }

    /// RTM_NEWLINK, attributes in the kernel's order.
    fn link(&self, i: &Interface) -> Message {
        let lo = i.flags & IFF_LOOPBACK != 0;
        let up = i.flags & IFF_UP != 0;
        let mut head = vec![0, 0];
        head.extend((if lo { 772u16 } else { 1 }).to_le_bytes());
        head.extend(i.index.to_le_bytes());
        head.extend(i.flags.to_le_bytes());
        head.extend([0; 4]);
        let c = self.counters(i);
        let mut m = Message::new(NEWLINK, &head);
        m.put_str(3, &i.name);
        m.put_u32(13, i.txqlen);
        m.put_u8(
            16,
            if lo {
                0
            } else if up {
                6
            } else {
                2
            },
        );
        m.put_u8(17, 0);
        m.put_u32(4, i.mtu);
        m.put_u32(50, if lo { 0 } else { 68 });
        m.put_u32(
            51,
            if lo {
                0
            } else if i.driver == "e1000" {
                16110
            } else {
                65535
            },
        );
        for (kind, n) in [
            (27, 0),
            (30, 0),
            (61, 0),
            (31, i.queues),
            (40, 65535),
            (41, 65536),
            (58, 65536),
            (59, if lo { 524_280 } else { 65536 }),
            (60, 65535),
            (32, i.queues),
        ] {
            m.put_u32(kind, n);
        }
        m.put_u8(33, u8::from(up));
        m.put_str(6, if up || lo { &i.qdisc } else { "noop" });
        let changes = if lo { 0 } else { 2 };
        m.put_u32(35, changes);
        m.put_u32(47, changes / 2);
        m.put_u32(48, changes / 2);
        m.put_u8(39, 0);
        m.put(14, &[0; 32]);
        m.put(1, &i.mac);
        m.put(2, if lo { &[0; 6] } else { &[255; 6] });
        let all = [
            c.rx_packets,
            c.tx_packets,
            c.rx_bytes,
            c.tx_bytes,
            0,
            0,
            c.rx_dropped,
            0,
            c.multicast,
        ];
        m.put(
            23,
            &(0..25)
                .flat_map(|k| all.get(k).copied().unwrap_or(0).to_le_bytes())
                .collect::<Vec<u8>>(),
        );
        m.put(
            7,
            &(0..24)
                .flat_map(|k| (all.get(k).copied().unwrap_or(0) as u32).to_le_bytes())
                .collect::<Vec<u8>>(),
        );
        m.nest(43, |m| m.put_u8(2, 0));
        if !lo {
            m.put(54, &i.mac);
        }
        m.nest(26, |m| {
            m.nest(2, |m| m.put(1, &[0; 132]));
            m.nest(10, |m| {
                m.put_u32(1, 0x8000_0000);
                m.put(5, &[255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                m.put(2, &[0; 240]);
                m.put(7, &[0; 16]);
                m.put_u8(8, 0);
            });
        });
        if let Some((bus, dev)) = &i.parent {
            m.put_str(56, dev);
            m.put_str(57, bus);
        }
        if !i.altnames.is_empty() {
            m.nest(52 | 0x8000, |m| i.altnames.iter().for_each(|n| m.put_str(53, n)));
        }
        m
    }

    /// Counters at boot and what was moved since.
    pub(crate) fn counters(&self, i: &Interface) -> Counters {
        self.stats.counters(i)
    }

    fn address_message(&self, kind: u16, i: &Interface, a: &Address) -> Message {
        let flags: u32 = if a.dynamic { 0 } else { 0x80 };
        let mut m = Message::new(kind, &[family(a.ip), a.prefix, flags as u8, a.scope]);
        m.0.extend(i.index.to_le_bytes());
        let lease = a
            .lease
            .map_or(u32::MAX, |s| s.saturating_sub((self.now / 1_000_000_000) as u32));
        let stamp = 500u32 + i.index * 7;
        let cache: Vec<u8> = [lease, lease, stamp, stamp]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        match a.ip {
            IpAddr::V4(ip) => {
                m.put(1, &ip.octets());
                m.put(2, &ip.octets());
                if i.flags & IFF_LOOPBACK == 0 && a.prefix < 31 {
                    m.put(
                        4,
                        &(ip.to_bits() | u32::MAX.checked_shr(a.prefix.into()).unwrap_or(0)).to_be_bytes(),
                    );
                }
                m.put_str(3, &a.label);
                m.put_u32(8, flags);
                m.put(6, &cache);
            }
            IpAddr::V6(ip) => {
                m.put(1, &ip.octets());
                m.put(6, &cache);
                m.put_u32(8, flags);
            }
        }
        m
    }

    fn routes(&self, r: &Request<'_>) -> Vec<Message> {
        let want = r.u8_at(0);
        let table = r
            .attribute(12, 15)
            .and_then(|b| b.try_into().ok())
            .map_or(u32::from(r.u8_at(4)), u32::from_le_bytes);
        let mut v = Vec::new();
        for four in [true, false] {
            if want != 0 && (want == AF_INET as u8) != four {
                continue;
            }
            let main = table == 0 || table == u32::from(TABLE_MAIN);
            let sorted = self.facts.sorted_routes();
            let fit = |x: &&Route| main && x.dst.is_ipv4() == four;
            v.extend(sorted.into_iter().filter(fit).map(|x| route(NEWROUTE, x)));
            if table == 0 || table == u32::from(TABLE_LOCAL) {
                for i in &self.facts.interfaces {
                    for a in i.addresses.iter().filter(|a| a.ip.is_ipv4() == four) {
                        v.extend(local_routes(i, a));
                    }
                }
            }
        }
        v
    }

    /// `ip route get`: the route that a packet would take.
    fn route_get(&self, who: &Caller, r: &Request<'_>) -> Answer {
        let to = r.attribute(12, 1).and_then(ip_of).ok_or(Errno::EINVAL)?;
        let own = self.facts.is_own(to);
        let found = self.facts.route(to);
        let (dev, via) = match (own, found) {
            (true, _) => (1, None),
            (false, Some(x)) => (x.dev, x.via),
            (false, None) => return Err(Errno::ENETUNREACH),
        };
        let bits = if to.is_ipv4() { 32 } else { 128 };
        // Without rules of one's own Linux keeps the local table inside the main one, and says so.
        let (table, kind) = (TABLE_MAIN, if own { 2 } else { 1 });
        let mut m = Message::new(NEWROUTE, &[family(to), bits, 0, 0, table, 0, 0, kind, 0, 2, 0, 0]);
        m.put_u32(15, table.into());
        m.put(1, &octets(to));
        m.put_u32(4, dev);
        if let Some(src) = self.facts.source(to) {
            m.put(7, &octets(src));
        }
        if let Some(via) = via {
            m.put(5, &octets(via));
        }
        m.put_u32(25, who.uid);
        m.put(12, &[0; 32]);
        Ok(vec![m])
    }

    fn changed(&mut self, who: &Caller, what: String) {
        self.effect(NetEffect::Changed { pid: who.pid, what });
    }

    fn change_link(&mut self, who: &Caller, r: &Request<'_>) -> Answer {
        if r.attribute(16, 18).is_some() && r.u32_at(4) == 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let index = self.named(r)?.index;
        let (flags, mask) = (r.u32_at(8), r.u32_at(12));
        let number = |kind| {
            r.attribute(16, kind)
                .and_then(|b| b.try_into().ok())
                .map(u32::from_le_bytes)
        };
        let (mtu, txqlen) = (number(4), number(13));
        let mac = r.attribute(16, 1).and_then(|b| <[u8; 6]>::try_from(b).ok());
        let name = r.attribute(16, 3).map(text).filter(|_| r.u32_at(4) != 0);
        let facts = self.facts_mut();
        let Some(i) = facts.interfaces.iter_mut().find(|i| i.index == index) else {
            return Err(Errno::ENODEV);
        };
        if mtu.is_some_and(|m| !(68..=65535).contains(&m)) && i.flags & IFF_LOOPBACK == 0 {
            return Err(Errno::EINVAL);
        }
        i.mtu = mtu.unwrap_or(i.mtu);
        i.txqlen = txqlen.unwrap_or(i.txqlen);
        i.mac = mac.unwrap_or(i.mac);
        let mut what = format!("link set {}", i.name);
        if let Some(n) = name {
            if i.flags & IFF_UP != 0 && n != i.name {
                return Err(Errno::EBUSY);
            }
            if !n.is_empty() && n.len() < 16 {
                i.name = n;
            }
        }
        if mask & IFF_UP != 0 && (flags ^ i.flags) & IFF_UP != 0 {
            let live = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
            i.flags = if flags & IFF_UP != 0 {
                i.flags | live
            } else {
                i.flags & !live
            };
            what += if flags & IFF_UP != 0 { " up" } else { " down" };
            if flags & IFF_UP == 0 {
                facts.routes.retain(|x| x.dev != index);
                facts.neighbours.retain(|x| x.dev != index);
            }
        }
        if let Some(m) = self.facts.interface(index).map(|i| self.link(i)) {
            self.netlink_multicast(ROUTE, 1, m);
        }
        self.changed(who, what);
        Ok(Vec::new())
    }

    fn change_address(&mut self, who: &Caller, r: &Request<'_>) -> Answer {
        let (prefix, scope, index) = (r.u8_at(1), r.u8_at(3), r.u32_at(4));
        let ip = r
            .attribute(8, 2)
            .or(r.attribute(8, 1))
            .and_then(ip_of)
            .ok_or(Errno::EINVAL)?;
        let label = r.attribute(8, 3).map(text);
        let add = r.kind == NEWADDR;
        if prefix > if ip.is_ipv4() { 32 } else { 128 } {
            return Err(Errno::EINVAL);
        }
        let facts = self.facts_mut();
        let Some(i) = facts.interfaces.iter_mut().find(|i| i.index == index) else {
            return Err(Errno::ENODEV);
        };
        let at = i.addresses.iter().position(|a| a.ip == ip);
        let name = i.name.clone();
        let net = network(ip, prefix);
        match (add, at) {
            (true, Some(_)) if r.flags & NLM_F_REPLACE == 0 => return Err(Errno::EEXIST),
            (true, Some(_)) => {}
            (true, None) => {
                if i.addresses.len() >= 256 {
                    return Err(Errno::ENOBUFS);
                }
                let label = label.unwrap_or_else(|| name.clone());
                i.addresses.push(Address {
                    ip,
                    prefix,
                    scope,
                    lease: None,
                    dynamic: false,
                    label,
                });
                let full = prefix == if ip.is_ipv4() { 32 } else { 128 };
                if i.flags & IFF_UP != 0 && !full {
                    let src = ip.is_ipv4().then_some(ip);
                    let metric = if ip.is_ipv4() { 0 } else { 256 };
                    facts.routes.push(Route {
                        dst: net,
                        prefix,
                        via: None,
                        dev: index,
                        src,
                        metric,
                        protocol: 2,
                        scope: 253,
                    });
                }
            }
            (false, Some(at)) => {
                i.addresses.remove(at);
                facts.routes.retain(|x| {
                    !(x.dev == index && x.protocol == 2 && x.dst == net && x.prefix == prefix)
                        && x.src != Some(ip)
                });
            }
            (false, None) => return Err(Errno::EADDRNOTAVAIL),
        }
        self.changed(
            who,
            format!(
                "addr {} {ip}/{prefix} dev {name}",
                if add { "add" } else { "del" }
            ),
        );
        Ok(Vec::new())
    }

    fn change_route(&mut self, who: &Caller, r: &Request<'_>) -> Answer {
        let (fam, prefix, protocol) = (r.u8_at(0), r.u8_at(1), r.u8_at(5));
        let any = if fam == AF_INET as u8 {
            IpAddr::from([0; 4])
        } else {
            IpAddr::from([0; 16])
        };
        let dst = r.attribute(12, 1).and_then(ip_of).unwrap_or(any);
        let via = r.attribute(12, 5).and_then(ip_of);
        let number = |kind| {
            r.attribute(12, kind)
                .and_then(|b| b.try_into().ok())
                .map(u32::from_le_bytes)
        };
        let metric = number(6).unwrap_or(if dst.is_ipv4() { 0 } else { 1024 });
        let kind = r.u8_at(7);
        let dev = match (number(4), via) {
            (Some(d), _) => d,
            (None, Some(via)) => {
                self.facts
                    .route(via)
                    .filter(|x| x.via.is_none())
                    .ok_or(Errno::ENETUNREACH)?
                    .dev
            }
            // Blackholes and the like have no interface; they are taken and forgotten.
            (None, None) if kind > 1 => return Ok(Vec::new()),
            (None, None) if r.kind == NEWROUTE => return Err(Errno::ENODEV),
            (None, None) => 0,
        };
        if r.kind != NEWROUTE {
            let facts = self.facts_mut();
            let hit = |x: &Route| {
                x.dst == dst
                    && x.prefix == prefix
                    && (dev == 0 || x.dev == dev)
                    && via.is_none_or(|v| x.via == Some(v))
                    && (number(6).is_none() || x.metric == metric)
            };
            let Some(at) = facts.routes.iter().position(hit) else {
                return Err(Errno::ESRCH);
            };
            facts.routes.remove(at);
            self.changed(who, format!("route del {dst}/{prefix}"));
            return Ok(Vec::new());
        }
        let Some(i) = self.facts.interface(dev) else {
            return Err(Errno::ENODEV);
        };
        if i.flags & IFF_UP == 0 {
            return Err(Errno::ENETDOWN);
        }
        if network(dst, prefix) != dst {
            return Err(Errno::EINVAL);
        }
        let new = Route {
            dst,
            prefix,
            via,
            dev,
            src: r.attribute(12, 7).and_then(ip_of),
            metric,
            protocol,
            scope: r.u8_at(6),
        };
        let facts = self.facts_mut();
        let same = facts
            .routes
            .iter()
            .position(|x| x.dst == dst && x.prefix == prefix && x.metric == metric);
        match same {
            Some(at) if r.flags & NLM_F_REPLACE != 0 => facts.routes[at] = new,
            Some(_) if r.flags & NLM_F_EXCL != 0 => return Err(Errno::EEXIST),
            _ if facts.routes.len() >= 1024 => return Err(Errno::ENOBUFS),
            _ => facts.routes.push(new),
        }
        self.changed(who, format!("route add {dst}/{prefix}"));
        Ok(Vec::new())
    }

    fn change_neighbour(&mut self, r: &Request<'_>) -> Answer {
        let ip = r.attribute(12, 1).and_then(ip_of).ok_or(Errno::EINVAL)?;
        let dev = r.u32_at(4);
        let facts = self.facts_mut();
        let at = facts.neighbours.iter().position(|n| n.ip == ip && n.dev == dev);
        if r.kind != NEWNEIGH {
            facts.neighbours.remove(at.ok_or(Errno::ENOENT)?);
            return Ok(Vec::new());
        }
        let mac = r
            .attribute(12, 2)
            .and_then(|b| <[u8; 6]>::try_from(b).ok())
            .ok_or(Errno::EINVAL)?;
        let state = u16::from(r.u8_at(8)) | u16::from(r.u8_at(9)) << 8;
        let n = Neighbour {
            ip,
            mac,
            dev,
            state,
            router: r.u8_at(10) & 0x80 != 0,
        };
        match at {
            Some(at) => facts.neighbours[at] = n,
            None if facts.neighbours.len() >= 1024 => return Err(Errno::ENOBUFS),
            None => facts.neighbours.push(n),
        }
        Ok(Vec::new())
    }
}

/// The network that an address is in.
fn network(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v) => IpAddr::V4(
            (v.to_bits() & u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)).into(),
        ),
        IpAddr::V6(v) => IpAddr::V6(
            (v.to_bits()
                & u128::MAX
                    .checked_shl(128 - u32::from(prefix.min(128)))
                    .unwrap_or(0))
            .into(),
        ),
    }
}

fn route(kind: u16, x: &Route) -> Message {
    let mut m = Message::new(
        kind,
        &[
            family(x.dst),
            x.prefix,
            0,
            0,
            TABLE_MAIN,
            x.protocol,
            x.scope,
            1,
            0,
            0,
            0,
            0,
        ],
    );
    m.put_u32(15, TABLE_MAIN.into());
    if x.prefix > 0 {
        m.put(1, &octets(x.dst));
    }
    if x.metric != 0 {
        m.put_u32(6, x.metric);
    }
    if let Some(src) = x.src {
        m.put(7, &octets(src));
    }
    if let Some(via) = x.via {
        m.put(5, &octets(via));
    }
    m.put_u32(4, x.dev);
    if x.dst.is_ipv6() {
        m.put(12, &[0; 32]);
        m.put_u8(20, 0);
    }
    m
}

/// Routes of the local table that an address brings.
fn local_routes(i: &Interface, a: &Address) -> Vec<Message> {
    let lo = i.flags & IFF_LOOPBACK != 0;
    let one = |dst: IpAddr, prefix: u8, scope: u8, kind: u8| {
        let mut m = Message::new(
            NEWROUTE,
            &[family(dst), prefix, 0, 0, TABLE_LOCAL, 2, scope, kind, 0, 0, 0, 0],
        );
        m.put_u32(15, TABLE_LOCAL.into());
        m.put(1, &octets(dst));
        if dst.is_ipv4() {
            m.put(7, &octets(a.ip));
        } else {
            m.put_u32(6, 0);
        }
        m.put_u32(4, i.index);
        if dst.is_ipv6() {
            m.put(12, &[0; 32]);
            m.put_u8(20, 0);
        }
        m
    };
    let full = if a.ip.is_ipv4() { 32 } else { 128 };
    let mut v = Vec::new();
    if lo && a.ip.is_ipv4() {
        v.push(one(network(a.ip, a.prefix), a.prefix, 254, 2));
    }
    v.push(one(a.ip, full, if a.ip.is_ipv4() { 254 } else { 0 }, 2));
    if let (IpAddr::V4(ip), true) = (a.ip, a.prefix < 31) {
        let last = ip.to_bits() | u32::MAX.checked_shr(a.prefix.into()).unwrap_or(0);
        v.push(one(IpAddr::V4(last.into()), 32, 253, 3));
    }
    v
}

fn neighbour(n: &Neighbour) -> Message {
    let mut head = vec![family(n.ip), 0, 0, 0];
    head.extend(n.dev.to_le_bytes());
    head.extend(n.state.to_le_bytes());
    head.extend([if n.router { 0x80 } else { 0 }, 1]);
    let mut m = Message::new(NEWNEIGH, &head);
    m.put(1, &octets(n.ip));
    m.put(2, &n.mac);
    m.put_u32(4, 1);
    m.put(
        3,
        &[1200u32, 1200, 3100, 0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect::<Vec<u8>>(),
    );
    m
}

fn rules(f: u8) -> Vec<Message> {
    let all: &[(u32, u8)] = if f == AF_INET as u8 {
        &[(0, 255), (32766, 254), (32767, 253)]
    } else {
        &[(0, 255), (32766, 254)]
    };
    all.iter()
        .map(|(priority, table)| {
            let mut m = Message::new(NEWRULE, &[f, 0, 0, 0, *table, 0, 0, 1, 0, 0, 0, 0]);
            m.put_u32(15, (*table).into());
            m.put_u32(14, u32::MAX);
            m.put_u8(21, 2);
            if *priority != 0 {
                m.put_u32(6, *priority);
            }
            m
        })
        .collect()
}

fn qdisc(i: &Interface, c: &Counters) -> Message {
    let mut head = vec![0; 4];
    head.extend(i.index.to_le_bytes());
    head.extend([0; 4]);
    head.extend(u32::MAX.to_le_bytes());
    head.extend(2u32.to_le_bytes());
    let mut m = Message::new(NEWQDISC, &head);
    m.put_str(1, &i.qdisc);
    m.put_u8(12, 0);
    let basic = [
        c.tx_bytes.to_le_bytes(),
        (c.tx_packets & 0xffff_ffff).to_le_bytes(),
    ]
    .concat();
    m.nest(7, |m| {
        m.put(1, &basic);
        m.put(3, &[0; 20]);
    });
    let mut old = basic;
    old.resize(40, 0);
    m.put(3, &old);
    m
}
