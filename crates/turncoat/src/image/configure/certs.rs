//! `update-ca-certificates`, update-ca-certificates(8): the links, the bundle, and the links by hash that OpenSSL looks for.

use sha1::{Digest, Sha1};

use super::{BuildError, Draft};

const FROM: &str = "/usr/share/ca-certificates";
const TO: &str = "/etc/ssl/certs";
const HEADER: &str = "/etc/ca-certificates.conf";

/// Installs all certificates; returns how many have no hash link because they could not be read.
pub(super) fn install(draft: &mut Draft) -> Result<usize, BuildError> {
    let mut all = Vec::new();
    for dir in draft.names(FROM) {
        for name in draft.names(&format!("{FROM}/{dir}")) {
            if name.ends_with(".crt") {
                all.push(format!("{dir}/{name}"));
            }
        }
    }
    if all.is_empty() {
        return Ok(0);
    }
    draft.dir(TO, 0o755)?;
    let conf =
        draft.text(HEADER)?.unwrap_or_default() + &all.iter().map(|c| format!("{c}\n")).collect::<String>();
    draft.file(HEADER, 0o644, conf)?;
    let mut bundle = Vec::new();
    let mut odd = 0;
    let mut links: Vec<(String, String)> = Vec::new();
    for cert in &all {
        let pem = draft.read(&format!("{FROM}/{cert}"))?.unwrap_or_default();
        let base = cert.rsplit('/').next().unwrap_or(cert).trim_end_matches(".crt");
        let name = base.replace([' ', ','], "_").replace(['(', ')'], "=") + ".pem";
        draft.link(&format!("{TO}/{name}"), &format!("{FROM}/{cert}"))?;
        match subject_hash(&pem) {
            Some(hash) => links.push((hash, name)),
            None => odd += 1,
        }
        bundle.extend(&pem);
        if !bundle.ends_with(b"\n") {
            bundle.push(b'\n');
        }
    }
    links.sort();
    let mut previous = (String::new(), 0);
    for (hash, name) in links {
        let n = if previous.0 == hash { previous.1 + 1 } else { 0 };
        draft.link(&format!("{TO}/{hash}.{n}"), &name)?;
        previous = (hash, n);
    }
    draft.file(&format!("{TO}/ca-certificates.crt"), 0o644, bundle)?;
    Ok(odd)
}

/// OpenSSL's `X509_NAME_hash`: SHA-1 over the canonical form of the subject, its first four bytes as a number.
fn subject_hash(pem: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(pem).ok()?;
    let body = text
        .split_once("-----BEGIN CERTIFICATE-----")?
        .1
        .split_once("-----END")?
        .0;
    let der = base64(body)?;
    let certificate = Der(&der).expect(0x30)?;
    let mut tbs = Der(Der(certificate).expect(0x30)?);
    if tbs.0.first() == Some(&0xa0) {
        tbs.next()?; // version
    }
    for _ in 0..4 {
        tbs.next()?; // serial number, algorithm, issuer, validity
    }
    let subject = tbs.expect(0x30)?;
    let mut canonical = Vec::new();
    let mut names = Der(subject);
    while !names.0.is_empty() {
        let mut set = Der(names.expect(0x31)?);
        let mut out = Vec::new();
        while !set.0.is_empty() {
            let mut pair = Der(set.expect(0x30)?);
            let (oid_tag, oid) = pair.next()?;
            let (tag, value) = pair.next()?;
            let mut item = encode(oid_tag, oid);
            item.extend(canonical_value(tag, value)?);
            out.extend(encode(0x30, &item));
        }
        canonical.extend(encode(0x31, &out));
    }
    let digest = Sha1::digest(&canonical);
    let mut first = [0; 4];
    first.copy_from_slice(digest.get(..4)?);
    Some(format!("{:08x}", u32::from_le_bytes(first)))
}

/// Strings become UTF-8, lower case, without spaces at the ends and with single ones within; anything else stays.
fn canonical_value(tag: u8, value: &[u8]) -> Option<Vec<u8>> {
    let text = match tag {
        12 | 19 | 22 | 26 => String::from_utf8(value.to_vec()).ok()?,
        20 => value.iter().map(|&b| char::from(b)).collect(),
        30 => {
            let units: Vec<u16> = value
                .as_chunks::<2>()
                .0
                .iter()
                .map(|c| u16::from_be_bytes(*c))
                .collect();
            String::from_utf16(&units).ok()?
        }
        _ => return Some(encode(tag, value)),
    };
    let text = text
        .split([' ', '\t', '\n', '\r', '\x0b', '\x0c'])
        .filter(|w| !w.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    Some(encode(12, text.to_ascii_lowercase().as_bytes()))
}

fn encode(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let len = value.len();
    if len < 0x80 {
        out.push(len as u8);
    } else {
        let bytes: Vec<u8> = len.to_be_bytes().into_iter().skip_while(|&b| b == 0).collect();
        out.push(0x80 | bytes.len() as u8);
        out.extend(bytes);
    }
    out.extend(value);
    out
}

/// Values of DER one after the other, X.690.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if bytes.len() > 4 {
                return None;
            }
            (bytes.iter().fold(0usize, |n, &b| n << 8 | usize::from(b)), rest)
        };
        let (value, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, value))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(t, _)| *t == tag).map(|(_, v)| v)
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for b in text.bytes().filter(|b| !b.is_ascii_whitespace() && *b != b'=') {
        let v = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(v);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}
