//! Numbers, texts, addresses.

use crate::{Damaged, Freeze, In, Out};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

macro_rules! unsigned {
    ($($t:ty)*) => {$(
        impl Freeze for $t {
            fn put(&self, _: Option<&Self>, out: &mut Out) {
                out.number(*self as u64);
            }
            fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
                <$t>::try_from(from.number()?).map_err(|_| Damaged("a number is too large"))
            }
        }
    )*};
}
unsigned!(u16 u32 u64 usize);

macro_rules! signed {
    ($($t:ty)*) => {$(
        impl Freeze for $t {
            fn put(&self, _: Option<&Self>, out: &mut Out) {
                let n = *self as i64;
                out.number((n << 1 ^ n >> 63) as u64);
            }
            fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
                let n = from.number()?;
                let n = (n >> 1) as i64 ^ -((n & 1) as i64);
                <$t>::try_from(n).map_err(|_| Damaged("a number is too large"))
            }
        }
    )*};
}
signed!(i8 i16 i32 i64);

impl Freeze for u8 {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        out.byte(*self);
    }
    fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        from.byte()
    }
    fn put_all(all: &[Self], _: Option<&[Self]>, out: &mut Out) {
        out.raw(all);
    }
    fn take_all(n: usize, _: Option<&[Self]>, from: &mut In<'_>) -> Result<Vec<Self>, Damaged> {
        from.raw(n).map(<[u8]>::to_vec)
    }
}

impl Freeze for bool {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        out.byte(u8::from(*self));
    }
    fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        match from.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damaged("neither true nor false")),
        }
    }
}

impl Freeze for u128 {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        out.raw(&self.to_le_bytes());
    }
    fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        let bytes = from.raw(16)?.try_into().map_err(|_| Damaged("cut off"))?;
        Ok(u128::from_le_bytes(bytes))
    }
}

impl Freeze for f64 {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        self.to_bits().put(None, out);
    }
    fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        u64::take(None, from).map(f64::from_bits)
    }
}

impl Freeze for char {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        u32::from(*self).put(None, out);
    }
    fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        char::from_u32(u32::take(None, from)?).ok_or(Damaged("no such character"))
    }
}

impl Freeze for () {
    // One byte: nothing that is counted takes none.
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        out.byte(0);
    }
    fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        from.byte().map(|_| ())
    }
}

/// Bytes with their number.
fn bytes<'a>(from: &mut In<'a>) -> Result<&'a [u8], Damaged> {
    let n = from.count()?;
    from.raw(n)
}

fn text<'a>(from: &mut In<'a>) -> Result<&'a str, Damaged> {
    std::str::from_utf8(bytes(from)?).map_err(|_| Damaged("no text"))
}

pub(crate) fn put_text(s: &str, out: &mut Out) {
    out.number(s.len() as u64);
    out.raw(s.as_bytes());
}

pub(crate) fn take_text(from: &mut In<'_>) -> Result<String, Damaged> {
    text(from).map(str::to_owned)
}

impl Freeze for String {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        put_text(self, out);
    }
    fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        take_text(from)
    }
}

/// Words of the program that states hold: few, and each made once for the life of the process.
static WORDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
/// Most of them, and the longest.
const WORDS_MAX: (usize, usize) = (4096, 256);

impl Freeze for &'static str {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        put_text(self, out);
    }
    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        let word = text(from)?;
        if let Some(same) = base.filter(|b| **b == word) {
            return Ok(same);
        }
        let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = words.get(word) {
            return Ok(known);
        }
        if words.len() >= WORDS_MAX.0 || word.len() > WORDS_MAX.1 {
            return Err(Damaged("no word of the program"));
        }
        let new: &'static str = Box::leak(word.to_owned().into_boxed_str());
        words.insert(new);
        Ok(new)
    }
}

impl Freeze for Ipv4Addr {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        out.raw(&self.octets());
    }
    fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        <[u8; 4]>::take(None, from).map(Ipv4Addr::from)
    }
}

impl Freeze for Ipv6Addr {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        out.raw(&self.octets());
    }
    fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        <[u8; 16]>::take(None, from).map(Ipv6Addr::from)
    }
}

impl Freeze for IpAddr {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        match self {
            IpAddr::V4(a) => {
                out.byte(4);
                a.put(None, out);
            }
            IpAddr::V6(a) => {
                out.byte(6);
                a.put(None, out);
            }
        }
    }
    fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        match from.byte()? {
            4 => Ipv4Addr::take(None, from).map(IpAddr::V4),
            6 => Ipv6Addr::take(None, from).map(IpAddr::V6),
            _ => Err(Damaged("no family of addresses")),
        }
    }
}

impl Freeze for SocketAddr {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        self.ip().put(None, out);
        self.port().put(None, out);
        if let SocketAddr::V6(a) = self {
            a.flowinfo().put(None, out);
            a.scope_id().put(None, out);
        }
    }
    fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        let ip = IpAddr::take(None, from)?;
        let port = u16::take(None, from)?;
        Ok(match ip {
            IpAddr::V4(a) => SocketAddrV4::new(a, port).into(),
            IpAddr::V6(a) => {
                let flow = u32::take(None, from)?;
                SocketAddrV6::new(a, port, flow, u32::take(None, from)?).into()
            }
        })
    }
}

impl Freeze for Duration {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        self.as_secs().put(None, out);
        self.subsec_nanos().put(None, out);
    }
    fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        let seconds = u64::take(None, from)?;
        let nanos = u32::take(None, from)?;
        if nanos < 1_000_000_000 {
            Ok(Duration::new(seconds, nanos))
        } else {
            Err(Damaged("more than a second of nanoseconds"))
        }
    }
}
