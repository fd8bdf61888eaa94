//! Requests on sockets: bytes waiting, and interfaces as ifconfig asks for them.

use super::facts::{IFF_LOOPBACK, IFF_UP};
use super::{Body, Caller, Net, NetEffect, SockId};
use crate::abi::net::*;
use crate::{Errno, KResult};
use std::net::{IpAddr, Ipv4Addr};

/// What the third argument of a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Argument {
    /// A pointer to this many bytes, read and (unless the answer is `None`) written.
    InOut(usize),
    /// A pointer to `struct ifconf`: a length and a pointer to that many bytes.
    IfConf,
    /// Not a socket request.
    Unknown,
}

const FIONREAD: u32 = 0x541b;
const TIOCOUTQ: u32 = 0x5411;
const SIOCATMARK: u32 = 0x8905;
const SIOCGSTAMP: u32 = 0x8906;
/// SIOCGIFCONF: see [`Net::interface_list`].
pub const SIOCGIFCONF: u32 = 0x8912;
const SIOCETHTOOL: u32 = 0x8946;

/// What the argument of this request is.
pub fn argument(request: u32) -> Argument {
    match request {
        FIONREAD | TIOCOUTQ | SIOCATMARK => Argument::InOut(4),
        SIOCGSTAMP => Argument::InOut(16),
        SIOCGIFCONF => Argument::IfConf,
        0x890b | 0x890c => Argument::InOut(120),
        0x8953..=0x8955 => Argument::InOut(68),
        0x8910..=0x89ff => Argument::InOut(40),
        _ => Argument::Unknown,
    }
}

impl Net {
    /// `SIOCGIFCONF`: a `struct ifreq` (40 bytes) for each interface with an IPv4 address.
    pub fn interface_list(&self) -> Vec<u8> {
        let mut v = Vec::new();
        for i in &self.facts.interfaces {
            for a in &i.addresses {
                if let IpAddr::V4(ip) = a.ip {
                    let label = if a.label.is_empty() { &i.name } else { &a.label };
                    let mut r = name_bytes(label).to_vec();
                    r.extend(SockAddr::V4(ip, 0).to_bytes());
                    r.resize(40, 0);
                    v.extend(r);
                }
            }
        }
        v
    }

    /// One request; `input` is what the argument points to. The bytes to write back, if any.
    pub fn ioctl(
        &mut self,
        id: SockId,
        who: &Caller,
        request: u32,
        input: &[u8],
    ) -> KResult<Option<Vec<u8>>> {
        let number = |n: usize| Ok(Some((n as u32).to_le_bytes().to_vec()));
        let s = self.sock(id.0)?;
        match (request, &s.body) {
            (FIONREAD, Body::Unix(u)) if u.backlog.is_some() => Err(Errno::EINVAL),
            (FIONREAD, Body::Unix(u)) if s.kind != SOCK_DGRAM => {
                number(u.queue.iter().map(|m| m.unread()).sum())
            }
            (FIONREAD, Body::Unix(u)) => number(u.queue.front().map_or(0, |m| m.unread())),
            (FIONREAD, Body::Tcp(t)) if t.backlog.is_some() => Err(Errno::EINVAL),
            (FIONREAD, Body::Tcp(t)) => number(self.urgent_at(id.0).unwrap_or(t.unread())),
            (FIONREAD, Body::Udp(u)) => number(u.queue.front().map_or(0, |d| d.data.len())),
            (FIONREAD, _) => Err(Errno::ENOTTY),
            (TIOCOUTQ, Body::Tcp(_) | Body::Unix(_) | Body::Udp(_)) => number(0),
            (SIOCATMARK, Body::Tcp(_)) => number(usize::from(self.urgent_at(id.0) == Some(0))),
            (SIOCATMARK, _) => Err(Errno::ENOTTY),
            (SIOCGSTAMP, _) => Err(Errno::ENOENT),
            (0x8910..=0x89ff, _) => self.interface_request(who, request, input),
            (0x890b | 0x890c, _) if !who.net_admin => Err(Errno::EPERM),
            (0x890b | 0x890c, _) => self.old_route(who, request == 0x890b, input),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn interface_request(&mut self, who: &Caller, request: u32, input: &[u8]) -> KResult<Option<Vec<u8>>> {
        let mut r = input.to_vec();
        r.resize(40.max(input.len()), 0);
        let name = String::from_utf8_lossy(r[..16].split(|c| *c == 0).next().unwrap_or(&[])).into_owned();
        let value = u32::from_le_bytes([r[16], r[17], r[18], r[19]]);
        if request == 0x8910 {
            let i = self.facts.interface(value).ok_or(Errno::ENODEV)?;
            r[..16].copy_from_slice(&name_bytes(&i.name));
            return Ok(Some(r));
        }
        if (0x8953..=0x8955).contains(&request) {
            return self.arp_request(request, r);
        }
        let base = name.split(':').next().unwrap_or(&name);
        let i = self.facts.interface_named(base).ok_or(Errno::ENODEV)?;
        let index = i.index;
        let v4 = i.addresses.iter().find_map(|a| match a.ip {
            IpAddr::V4(ip) if a.label == name || base == name => Some((ip, a.prefix)),
            _ => None,
        });
        let mask = |p: u8| Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(p.min(32))).unwrap_or(0));
        let mut data = vec![0u8; r.len() - 16];
        let mut put = |b: &[u8]| data[..b.len()].copy_from_slice(b);
        let sets = [0x8914, 0x8916, 0x891a, 0x891c, 0x8922, 0x8924, 0x8943];
        if sets.contains(&request) && !who.net_admin {
            return Err(Errno::EPERM);
        }
        let new_ip = Ipv4Addr::new(r[20], r[21], r[22], r[23]);
        match request {
            0x8913 => put(&((i.flags & 0xffff) as u16).to_le_bytes()),
            0x8915 => put(&SockAddr::V4(v4.ok_or(Errno::EADDRNOTAVAIL)?.0, 0).to_bytes()),
            0x8919 => {
                let (ip, prefix) = v4.ok_or(Errno::EADDRNOTAVAIL)?;
                let lo = i.flags & IFF_LOOPBACK != 0;
                let last = Ipv4Addr::from(ip.to_bits() | u32::MAX.checked_shr(prefix.into()).unwrap_or(0));
                put(&SockAddr::V4(if lo { Ipv4Addr::UNSPECIFIED } else { last }, 0).to_bytes());
            }
            0x8917 => put(&SockAddr::V4(v4.ok_or(Errno::EADDRNOTAVAIL)?.0, 0).to_bytes()),
            0x891b => put(&SockAddr::V4(mask(v4.ok_or(Errno::EADDRNOTAVAIL)?.1), 0).to_bytes()),
            0x891d => put(&0u32.to_le_bytes()),
            0x8921 => put(&i.mtu.to_le_bytes()),
            0x8927 => {
                let kind: u16 = if i.flags & IFF_LOOPBACK != 0 { 772 } else { 1 };
                put(&kind.to_le_bytes());
                data[2..8].copy_from_slice(&i.mac);
            }
            0x8933 => put(&i.index.to_le_bytes()),
            0x8942 => put(&i.txqlen.to_le_bytes()),
            0x8970 => {}
            // Wireless and private requests, media registers, ethtool: not on this driver.
            SIOCETHTOOL | 0x8947 | 0x8948 => return Err(Errno::EOPNOTSUPP),
            0x8914 | 0x8922 | 0x8943 | 0x8916 | 0x891c | 0x8924 => {
                let facts = self.facts_mut();
                let Some(i) = facts.interfaces.iter_mut().find(|i| i.index == index) else {
                    return Err(Errno::ENODEV);
                };
                match request {
                    0x8914 => {
                        let up = value & 1 != 0;
                        let live = IFF_UP | super::facts::IFF_RUNNING | super::facts::IFF_LOWER_UP;
                        i.flags = if up { i.flags | live } else { i.flags & !live };
                        if !up {
                            facts.routes.retain(|x| x.dev != index);
                        }
                    }
                    0x8922 => i.mtu = value.clamp(68, 65535),
                    0x8943 => i.txqlen = value,
                    0x8924 => i.mac.copy_from_slice(&r[18..24]),
                    0x8916 => {
                        if let Some(a) = i.addresses.iter_mut().find(|a| a.ip.is_ipv4()) {
                            a.ip = new_ip.into();
                        } else if !new_ip.is_unspecified() {
                            let label = i.name.clone();
                            i.addresses.push(super::facts::Address {
                                ip: new_ip.into(),
                                prefix: 24,
                                scope: 0,
                                lease: None,
                                dynamic: false,
                                label,
                            });
                        }
                    }
                    _ => {
                        let prefix = new_ip.to_bits().leading_ones() as u8;
                        if let Some(a) = i.addresses.iter_mut().find(|a| a.ip.is_ipv4()) {
                            a.prefix = prefix;
                        }
                    }
                }
                self.effect(NetEffect::Changed {
                    pid: who.pid,
                    what: format!("ioctl {request:#x} {name}"),
                });
                return Ok(None);
            }
            0x891a => return Ok(None),
            _ => return Err(Errno::EINVAL),
        }
        r[16..].copy_from_slice(&data);
        Ok(Some(r))
    }

    /// SIOCGARP and its fellows: `struct arpreq` (68 bytes).
    fn arp_request(&mut self, request: u32, mut r: Vec<u8>) -> KResult<Option<Vec<u8>>> {
        if request != 0x8954 {
            return Err(Errno::EPERM);
        }
        r.resize(68, 0);
        let ip = IpAddr::V4(Ipv4Addr::new(r[4], r[5], r[6], r[7]));
        let n = self
            .facts
            .neighbours
            .iter()
            .find(|n| n.ip == ip)
            .ok_or(Errno::ENXIO)?;
        r[16..18].copy_from_slice(&1u16.to_le_bytes());
        r[18..24].copy_from_slice(&n.mac);
        r[32..36].copy_from_slice(&2u32.to_le_bytes());
        let name = self
            .facts
            .interface(n.dev)
            .map_or([0; 16], |i| name_bytes(&i.name));
        r[52..68].copy_from_slice(&name);
        Ok(Some(r))
    }

    /// SIOCADDRT and SIOCDELRT: `struct rtentry` with its addresses (the device is taken from the gateway's route).
    fn old_route(&mut self, who: &Caller, add: bool, input: &[u8]) -> KResult<Option<Vec<u8>>> {
        let at = |i: usize| {
            input
                .get(i + 4..i + 8)
                .and_then(|b| <[u8; 4]>::try_from(b).ok())
                .map(Ipv4Addr::from)
        };
        let (dst, via, mask) = (
            at(8).ok_or(Errno::EINVAL)?,
            at(24).ok_or(Errno::EINVAL)?,
            at(40).ok_or(Errno::EINVAL)?,
        );
        let prefix = mask.to_bits().leading_ones() as u8;
        let dev = self.facts.route(via.into()).map_or(2, |x| x.dev);
        let facts = self.facts_mut();
        let same = facts
            .routes
            .iter()
            .position(|x| x.dst == IpAddr::V4(dst) && x.prefix == prefix);
        match (add, same) {
            (true, Some(_)) => return Err(Errno::EEXIST),
            (true, None) if facts.routes.len() < 1024 => facts.routes.push(super::facts::Route {
                dst: dst.into(),
                prefix,
                via: (!via.is_unspecified()).then_some(via.into()),
                dev,
                src: None,
                metric: 0,
                protocol: 3,
                scope: if via.is_unspecified() { 253 } else { 0 },
            }),
            (true, None) => return Err(Errno::ENOBUFS),
            (false, Some(i)) => {
                facts.routes.remove(i);
            }
            (false, None) => return Err(Errno::ESRCH),
        }
        let verb = if add { "add" } else { "del" };
        self.effect(NetEffect::Changed {
            pid: who.pid,
            what: format!("route {verb} {dst}/{prefix}"),
        });
        Ok(None)
    }
}

fn name_bytes(name: &str) -> [u8; 16] {
    let mut b = [0; 16];
    for (d, s) in b.iter_mut().take(15).zip(name.bytes()) {
        *d = s;
    }
    b
}
