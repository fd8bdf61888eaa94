//! Messages of the name system (RFC 1035): the question of a query, and answers to it. Compression is not followed in questions.

use super::facts::{OtherNames, Resolver};
use super::mix;
use std::net::{IpAddr, Ipv4Addr};

/// The one question of a query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// The name in lower case without a final dot.
    pub name: String,
    /// Type: 1 A, 28 AAAA, 12 PTR …
    pub kind: u16,
    /// Length of header and question.
    end: usize,
}

/// The question of a query; `None` if this is none.
pub fn question(b: &[u8]) -> Option<Question> {
    if b.len() < 17 || b[2] & 0x80 != 0 || b[4..6] != [0, 1] {
        return None;
    }
    let (mut name, mut at) = (String::new(), 12);
    loop {
        let n = usize::from(*b.get(at)?);
        at += 1;
        if n == 0 {
            break;
        }
        if n > 63 || name.len() > 253 {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        for c in b.get(at..at + n)? {
            match c.to_ascii_lowercase() {
                c @ (b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_') => name.push(char::from(c)),
                c => name.push_str(&format!("\\{c:03}")),
            }
        }
        at += n;
    }
    let kind = u16::from_be_bytes([*b.get(at)?, *b.get(at + 1)?]);
    b.get(at + 3)?;
    Some(Question {
        name,
        kind,
        end: at + 4,
    })
}

/// Addresses that the resolver has for a name; `Err` holds the response code (2 failure, 3 no such name).
pub fn addresses(r: &Resolver, name: &str, seed: u64) -> Result<Vec<IpAddr>, u8> {
    if name == "localhost" {
        return Ok(vec![Ipv4Addr::LOCALHOST.into()]);
    }
    if let Some(known) = r.names.get(name) {
        return Ok(known.clone());
    }
    match r.others {
        OtherNames::NxDomain => Err(3),
        OtherNames::ServFail | OtherNames::Silent => Err(2),
        OtherNames::Invent => match plausible(name) {
            true => Ok(vec![invented(name, seed).into()]),
            false => Err(3),
        },
    }
}

/// Could a name be registered? Two labels at least, an alphabetic top label, and none that looks drawn at random.
fn plausible(name: &str) -> bool {
    let labels: Vec<&str> = name.split('.').collect();
    let Some((top, rest)) = labels.split_last() else {
        return false;
    };
    let reserved = [
        "local",
        "localdomain",
        "lan",
        "home",
        "internal",
        "invalid",
        "test",
        "example",
        "arpa",
        "corp",
        "onion",
    ];
    if rest.is_empty()
        || top.len() < 2
        || !top.bytes().all(|c| c.is_ascii_lowercase())
        || reserved.contains(top)
    {
        return false;
    }
    !rest.iter().any(|l| {
        let vowels = l.bytes().filter(|c| b"aeiouy0123456789".contains(c)).count();
        let digits = l.bytes().filter(u8::is_ascii_digit).count();
        l.is_empty() || l.len() >= 9 && (vowels * 6 < l.len() || digits * 2 > l.len() && digits < l.len())
    })
}

/// An address for a name: the same for one seed, public, in ranges that hosting uses, no network or broadcast address.
fn invented(name: &str, seed: u64) -> Ipv4Addr {
    let h = name.bytes().fold(seed, |h, c| mix(h ^ u64::from(c)));
    const FIRST: [u8; 16] = [
        23, 31, 37, 45, 51, 62, 77, 80, 85, 91, 94, 104, 138, 151, 185, 193,
    ];
    let b = h.to_le_bytes();
    let second = match (FIRST[usize::from(b[0] & 15)], b[1]) {
        // Shared or documentation space lies in these; stay clear of it.
        (51 | 193, x) => x & 0x7f | 0x10,
        (_, x) => x,
    };
    Ipv4Addr::new(FIRST[usize::from(b[0] & 15)], second, b[2], b[3] % 253 + 1)
}

/// The answer to a query, `None` for silence. `name` is set to the name asked for.
pub fn answer(query: &[u8], r: &Resolver, seed: u64) -> Option<(Question, Vec<u8>, Vec<IpAddr>)> {
    let q = question(query)?;
    let found = addresses(r, &q.name, seed);
    if r.others == OtherNames::Silent && found.is_err() {
        return Some((q, Vec::new(), Vec::new()));
    }
    let mut out = query[..q.end].to_vec();
    let (code, all) = match &found {
        Ok(v) => (0, v.clone()),
        Err(c) => (*c, Vec::new()),
    };
    out[2] = 0x80 | query[2] & 0x79;
    out[3] = 0x80 | code;
    out[6..12].fill(0);
    let mut count = 0u16;
    for ip in &all {
        let data: Vec<u8> = match (ip, q.kind) {
            (IpAddr::V4(ip), 1 | 255) => ip.octets().to_vec(),
            (IpAddr::V6(ip), 28 | 255) => ip.octets().to_vec(),
            _ => continue,
        };
        let kind: u16 = if data.len() == 4 { 1 } else { 28 };
        let ttl = (mix(seed ^ u64::from(data[0]) ^ u64::from(data[3])) % 3000 + 60) as u32;
        out.extend([0xc0, 0x0c]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        out.extend(ttl.to_be_bytes());
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
        count += 1;
    }
    out[6..8].copy_from_slice(&count.to_be_bytes());
    Some((q, out, all))
}
