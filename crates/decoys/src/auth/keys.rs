//! `authorized_keys` as sshd reads it (AUTHORIZED_KEYS FILE FORMAT in sshd(8); auth2-pubkeyfile.c and auth-options.c of OpenSSH).

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A line longer than this is passed over (`SSH_MAX_PUBKEY_BYTES`).
const LONGEST: usize = 16 << 10;
/// Lines of one file that are looked at.
const LINES: usize = 1_000;
/// Values of one option of a line that are kept (`SSH_AUTHOPT_ENV_MAX`, `SSH_AUTHOPT_PERMIT_MAX` are larger).
const VALUES: usize = 128;

/// One key that lets somebody in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLine {
    /// Key blob (RFC 4253 section 6.6).
    pub blob: Vec<u8>,
    /// Number of the line, from 1.
    pub line: usize,
    /// What holds for whoever uses it.
    pub options: KeyOptions,
}

/// What a line allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOptions {
    /// `command=`: what runs, whatever was asked for.
    pub command: Option<Vec<u8>>,
    /// `from=`: patterns of source addresses.
    pub from: Option<Vec<u8>>,
    /// `environment=` (only with PermitUserEnvironment, which Debian leaves off).
    pub environment: bool,
    /// `permitopen=`.
    pub permit_open: Vec<Vec<u8>>,
    /// `permitlisten=`.
    pub permit_listen: Vec<Vec<u8>>,
    /// `expiry-time=`, seconds since the epoch; 0: never.
    pub expires: i64,
    /// Agent forwarding.
    pub agent: bool,
    /// Port forwarding.
    pub ports: bool,
    /// A terminal.
    pub pty: bool,
    /// `~/.ssh/rc` is run.
    pub user_rc: bool,
    /// X11 forwarding.
    pub x11: bool,
}

impl Default for KeyOptions {
    fn default() -> KeyOptions {
        KeyOptions {
            command: None,
            from: None,
            environment: false,
            permit_open: Vec::new(),
            permit_listen: Vec::new(),
            expires: 0,
            agent: true,
            ports: true,
            pty: true,
            user_rc: true,
            x11: true,
        }
    }
}

impl KeyOptions {
    /// What `ssh -v` shows of the key that was taken (`auth_log_authopts`).
    pub fn describe(&self) -> String {
        let words = [
            (self.agent, " agent-forwarding"),
            (self.command.is_some(), " command"),
            (self.environment, " environment"),
            (self.expires != 0, "expires"),
            (!self.permit_open.is_empty(), " permitopen"),
            (!self.permit_listen.is_empty(), " permitlisten"),
            (self.ports, " port-forwarding"),
            (self.pty, " pty"),
            (self.user_rc, " user-rc"),
            (self.x11, " x11-forwarding"),
        ];
        let on: String = words.iter().filter(|w| w.0).map(|w| w.1).collect();
        format!("key options:{on}")
    }

    /// Whether somebody from `source` may use the key at this time (seconds since the epoch).
    pub fn permits(&self, source: IpAddr, now: i64) -> bool {
        let expired = self.expires != 0 && self.expires < now;
        !expired
            && self
                .from
                .as_ref()
                .is_none_or(|list| address_matches(list, source))
    }

    /// Whether a forwarding to this host and port is allowed.
    pub fn may_open(&self, host: &[u8], port: u32) -> bool {
        self.ports
            && (self.permit_open.is_empty()
                || self.permit_open.iter().any(|p| {
                    let at = p.iter().rposition(|b| *b == b':').unwrap_or(p.len());
                    let (h, n) = (
                        p.get(..at).unwrap_or_default(),
                        p.get(at + 1..).unwrap_or_default(),
                    );
                    let h = h
                        .strip_prefix(b"[")
                        .and_then(|h| h.strip_suffix(b"]"))
                        .unwrap_or(h);
                    h == host && (n == b"*" || n == port.to_string().as_bytes())
                }))
    }
}

/// `match_host_and_ip` without names: comma-separated patterns, `!` denies, CIDR networks, `*` and `?`.
fn address_matches(list: &[u8], source: IpAddr) -> bool {
    let text = source.to_string();
    let mut found = false;
    for pattern in list.split(|b| *b == b',') {
        let (denies, pattern) = match pattern.strip_prefix(b"!") {
            Some(p) => (true, p),
            None => (false, pattern),
        };
        if in_network(pattern, source) || turncoat_ssh::wildcard(text.as_bytes(), pattern) {
            if denies {
                return false;
            }
            found = true;
        }
    }
    found
}

fn in_network(pattern: &[u8], source: IpAddr) -> bool {
    let Ok(text) = std::str::from_utf8(pattern) else {
        return false;
    };
    let Some((net, bits)) = text.split_once('/') else {
        return false;
    };
    let (Ok(net), Ok(bits)) = (net.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    match (net, source) {
        (IpAddr::V4(n), IpAddr::V4(s)) if bits <= 32 => {
            let shift = 32 - bits;
            u64::from(n.to_bits()) >> shift == u64::from(s.to_bits()) >> shift
        }
        (IpAddr::V6(n), IpAddr::V6(s)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            n.to_bits() & mask == s.to_bits() & mask
        }
        _ => false,
    }
}

/// The keys of a file, in order. Lines that sshd would not take are left out.
pub fn authorized_keys(text: &[u8]) -> Vec<KeyLine> {
    text.split(|b| *b == b'\n')
        .take(LINES)
        .enumerate()
        .filter_map(|(i, line)| {
            if line.len() > LONGEST {
                return None;
            }
            let line = line.trim_ascii_start();
            if line.is_empty() || line.starts_with(b"#") {
                return None;
            }
            let (blob, options) = match key(line) {
                Some(blob) => (blob, KeyOptions::default()),
                None => {
                    let end = end_of_options(line);
                    let (options, rest) = line.split_at(end);
                    (key(rest.trim_ascii_start())?, parse_options(options)?)
                }
            };
            Some(KeyLine {
                blob,
                line: i + 1,
                options,
            })
        })
        .collect()
}

/// Where the options end: at the first blank outside quotes.
fn end_of_options(line: &[u8]) -> usize {
    let mut quoted = false;
    let mut i = 0;
    while let Some(b) = line.get(i) {
        match b {
            b' ' | b'\t' if !quoted => break,
            b'\\' if line.get(i + 1) == Some(&b'"') => i += 1,
            b'"' => quoted = !quoted,
            _ => {}
        }
        i += 1;
    }
    i.min(line.len())
}

/// A key: its type, and the blob in base 64 that must be of that type.
fn key(line: &[u8]) -> Option<Vec<u8>> {
    let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r');
    let end = line.iter().position(blank)?;
    let (kind, rest) = line.split_at(end);
    let rest = rest.trim_ascii_start();
    let rest = rest.get(..rest.iter().position(blank).unwrap_or(rest.len()))?;
    let blob = turncoat_ssh::unbase64(std::str::from_utf8(rest).ok()?)?;
    let (length, name) = blob.split_first_chunk::<4>()?;
    let name = name.get(..u32::from_be_bytes(*length) as usize)?;
    (name == kind && !kind.is_empty()).then_some(blob)
}

/// `name`, `no-name` or `name="value"`, separated by commas. `None`: sshd refuses the line.
fn parse_options(text: &[u8]) -> Option<KeyOptions> {
    let mut o = KeyOptions::default();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|b| matches!(b, b'=' | b','))
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let value;
        (value, rest) = match after.strip_prefix(b"=") {
            Some(v) => {
                let (value, more) = quoted(v)?;
                (Some(value), more)
            }
            None => (None, after),
        };
        rest = match rest.split_first() {
            Some((b',', more)) if !more.is_empty() => more,
            Some(_) => return None,
            None => rest,
        };
        set_option(&mut o, &name, value)?;
    }
    Some(o)
}

fn set_option(o: &mut KeyOptions, name: &str, value: Option<Vec<u8>>) -> Option<()> {
    let positive = name.strip_prefix("no-").unwrap_or(name);
    let on = positive == name;
    match (positive, value) {
        ("restrict", None) if on => {
            (o.agent, o.ports, o.pty, o.user_rc, o.x11) = (false, false, false, false, false);
        }
        ("cert-authority" | "touch-required" | "verify-required", None) => {
            // Certificates are not ours to take; the others concern hardware keys.
            if name == "cert-authority" {
                return None;
            }
        }
        ("port-forwarding", None) => o.ports = on,
        ("agent-forwarding", None) => o.agent = on,
        ("x11-forwarding", None) => o.x11 = on,
        ("pty", None) => o.pty = on,
        ("user-rc", None) => o.user_rc = on,
        ("command", Some(v)) if on && o.command.is_none() => o.command = Some(v),
        ("from", Some(v)) if on && o.from.is_none() => o.from = Some(v),
        ("environment", Some(v)) if on && v.contains(&b'=') => o.environment = true,
        ("permitopen", Some(v)) if on && v.contains(&b':') && o.permit_open.len() < VALUES => {
            o.permit_open.push(v);
        }
        ("permitlisten", Some(v)) if on && o.permit_listen.len() < VALUES => o.permit_listen.push(v),
        ("expiry-time", Some(v)) if on => o.expires = expiry(&v)?,
        ("principals" | "tunnel", Some(_)) if on => {}
        _ => return None,
    }
    Some(())
}

/// A quoted value, in which `\"` stands for a quote; and what follows it.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = text.strip_prefix(b"\"")?;
    let mut out = Vec::new();
    loop {
        match rest {
            [b'\\', b'"', more @ ..] => {
                out.push(b'"');
                rest = more;
            }
            [b'"', more @ ..] => return Some((out, more)),
            [b, more @ ..] => {
                out.push(*b);
                rest = more;
            }
            [] => return None,
        }
    }
}

/// `YYYYMMDD[Z]` or `YYYYMMDDHHMM[SS][Z]`, here always UTC as the machine's clock is.
fn expiry(text: &[u8]) -> Option<i64> {
    let text = text.strip_suffix(b"Z").unwrap_or(text);
    if !matches!(text.len(), 8 | 12 | 14) || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n = |a: usize, b: usize| {
        text.get(a..b)
            .map_or(0, |d| d.iter().fold(0i64, |v, c| v * 10 + i64::from(c - b'0')))
    };
    let (year, month, day) = (n(0, 4), n(4, 6), n(6, 8));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day
        - 1
        - 719_468;
    Some(days * 86_400 + n(8, 10) * 3_600 + n(10, 12) * 60 + n(12, 14))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDhiwFjTJzOKdzYcWF+2q4FLFv1ZOaMTdvvmzmQ6zOGr";

    fn lines(text: &str) -> Vec<KeyLine> {
        authorized_keys(text.as_bytes())
    }

    #[test]
    fn keys_with_and_without_options() {
        let text = format!(
            "# who\n\n  {KEY} me@here\nnot a key\nssh-rsa {}\nno-pty,command=\"echo \\\"a b\\\"\" {KEY}\r\nrestrict,pty,from=\"192.0.2.0/24,!192.0.2.9\" {KEY}\nbogus {KEY}\n",
            KEY.split(' ').nth(1).unwrap()
        );
        let l = lines(&text);
        assert_eq!(l.iter().map(|k| k.line).collect::<Vec<_>>(), [3, 6, 7]);
        assert_eq!(l[0].blob.len(), 51);
        assert_eq!(
            l[0].options.describe(),
            "key options: agent-forwarding port-forwarding pty user-rc x11-forwarding"
        );
        assert_eq!(l[1].options.command.as_deref(), Some(&b"echo \"a b\""[..]));
        assert!(!l[1].options.pty && l[1].options.ports);
        let o = &l[2].options;
        assert!(o.pty && !o.ports && !o.agent);
        let from = |a: &str| o.permits(a.parse().unwrap(), 0);
        assert!(from("192.0.2.1") && !from("192.0.2.9") && !from("198.51.100.1"));
    }

    #[test]
    fn options_that_sshd_refuses_refuse_the_line() {
        for bad in [
            "command=unquoted",
            "command=\"open",
            "command=\"a\"x",
            "nonsense",
            "expiry-time=\"2023\"",
            "no-pty,",
            "cert-authority",
            "no-command=\"x\"",
        ] {
            assert!(lines(&format!("{bad} {KEY}")).is_empty(), "{bad}");
        }
    }

    #[test]
    fn times_and_places() {
        let l = lines(&format!(
            "expiry-time=\"20240229120000Z\",permitopen=\"localhost:80\",permitopen=\"[::1]:*\" {KEY}"
        ));
        let o = &l[0].options;
        assert_eq!(o.expires, 1_709_208_000);
        let anyone = "192.0.2.1".parse().unwrap();
        assert!(o.permits(anyone, 1_709_207_999) && !o.permits(anyone, 1_709_208_001));
        assert!(o.may_open(b"localhost", 80) && o.may_open(b"::1", 9) && !o.may_open(b"localhost", 81));
    }

    /// Whatever the bytes, it ends and takes nothing that it was not given.
    #[test]
    fn any_bytes_are_read_within_bounds() {
        let mut seed = 1u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize
        };
        let words: Vec<&[u8]> = vec![
            KEY.as_bytes(),
            b"command=\"",
            b"\\\"",
            b"\"",
            b",",
            b"=",
            b" ",
            b"\n",
            b"no-pty",
            b"from=\"*\"",
            b"\xff",
            b"expiry-time=\"99999999\"",
            b"AAAA",
        ];
        for _ in 0..20_000 {
            let text: Vec<u8> = (0..next() % 12)
                .flat_map(|_| words[next() % words.len()].to_vec())
                .collect();
            for l in authorized_keys(&text) {
                assert!(l.blob.len() <= text.len() && l.line <= LINES);
            }
        }
    }
}
