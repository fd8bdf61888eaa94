//! The identification exchange (RFC 4253 section 4.2) as kex_exchange_identification in OpenSSH's kex.c reads it, and
//! what is known of clients by their names (compat.c).

use crate::algo::wildcard;

/// Longest line.
const MAX_LINE: usize = 8192;

/// Reading state: the line so far.
#[derive(Debug, Default)]
pub struct Ident {
    line: Vec<u8>,
    cr: bool,
}

/// What a byte led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Go on reading.
    More,
    /// A good identification.
    Done(Vec<u8>),
    /// sshd says this and ends.
    Refuse(&'static str),
    /// sshd ends without a word (a known prober).
    Leave(&'static str),
}

impl Ident {
    /// Takes one byte.
    pub fn push(&mut self, c: u8) -> Step {
        match c {
            b'\r' => self.cr = true,
            b'\n' => return self.finish(),
            0 => return Step::Refuse(INVALID),
            _ if self.cr => return Step::Refuse(INVALID),
            _ => {
                self.line.push(c);
                if self.line.len() > MAX_LINE {
                    return Step::Refuse(INVALID);
                }
            }
        }
        Step::More
    }

    fn finish(&mut self) -> Step {
        let line = std::mem::take(&mut self.line);
        if line.len() <= 4 || !line.starts_with(b"SSH-") {
            return Step::Refuse(INVALID);
        }
        let Some((major, minor, software)) = scan(&line[4..]) else {
            return Step::Refuse(INVALID);
        };
        if !(major == 2 || (major == 1 && minor == 99)) {
            return Step::Refuse("Protocol major versions differ.");
        }
        if wildcard(software, b"Probe-*") || wildcard(software, b"*SSH_Version_Mapper*") {
            // Older patterns stand before these two in the table; none of them can match the same name.
            return Step::Leave("probed");
        }
        Step::Done(line)
    }
}

const INVALID: &str = "Invalid SSH identification string.";

/// `%d.%d-%[^\n]` of scanf.
fn scan(mut s: &[u8]) -> Option<(i32, i32, &[u8])> {
    let major = scan_int(&mut s)?;
    s = s.strip_prefix(b".")?;
    let minor = scan_int(&mut s)?;
    s = s.strip_prefix(b"-")?;
    (!s.is_empty()).then_some((major, minor, s))
}

/// `%d`: white space, a sign, digits; too large saturates as strtol does and is cut to an int.
fn scan_int(s: &mut &[u8]) -> Option<i32> {
    let blank = s
        .iter()
        .take_while(|c| matches!(c, b' ' | b'\t' | b'\x0b' | b'\x0c'))
        .count();
    *s = &s[blank..];
    let negative = s.first() == Some(&b'-');
    if negative || s.first() == Some(&b'+') {
        *s = &s[1..];
    }
    let digits = s.iter().take_while(|c| c.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let limit = if negative {
        i128::from(i64::MIN)
    } else {
        i128::from(i64::MAX)
    };
    let n = s[..digits].iter().fold(0i128, |n, c| {
        let n = n * 10 + i128::from(c - b'0');
        n.min(i128::from(i64::MAX) + 1)
    });
    *s = &s[digits..];
    let n = if negative { (-n).max(limit) } else { n.min(limit) };
    Some(n as i32)
}

/// What a client's name says about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Knows OpenSSH's extensions (`eow@openssh.com`).
    pub openssh: bool,
    /// Pads X25519 wrongly: `curve25519-sha256@libssh.org` is not offered.
    pub bad_curve25519: bool,
    /// Old group exchange: those methods are not offered.
    pub old_gex: bool,
    /// Stumbles over `hostkeys-00@openssh.com`.
    pub no_hostkeys: bool,
    /// Says a wrong signature type: it is not compared.
    pub loose_sigtype: bool,
    /// Extended data may follow EOF.
    pub ext_after_eof: bool,
    /// Cannot exchange keys again.
    pub no_rekey: bool,
}

const NONE: Quirks = Quirks {
    openssh: false,
    bad_curve25519: false,
    old_gex: false,
    no_hostkeys: false,
    loose_sigtype: false,
    ext_after_eof: false,
    no_rekey: false,
};

/// Patterns and what they stand for, first match wins (compat.c of 9.2).
const TABLE: &[(&[&str], Quirks)] = &[
    (
        &["OpenSSH_2.*", "OpenSSH_3.0*", "OpenSSH_3.1*"],
        Quirks {
            ext_after_eof: true,
            loose_sigtype: true,
            ..NONE
        },
    ),
    (
        &["OpenSSH_3.*"],
        Quirks {
            loose_sigtype: true,
            ..NONE
        },
    ),
    (
        &["Sun_SSH_1.0*"],
        Quirks {
            no_rekey: true,
            ext_after_eof: true,
            loose_sigtype: true,
            ..NONE
        },
    ),
    (
        &["OpenSSH_2*", "OpenSSH_3*", "OpenSSH_4*"],
        Quirks {
            loose_sigtype: true,
            ..NONE
        },
    ),
    (
        &["OpenSSH_5*"],
        Quirks {
            openssh: true,
            loose_sigtype: true,
            ..NONE
        },
    ),
    (
        &["OpenSSH_6.6.1*"],
        Quirks {
            openssh: true,
            loose_sigtype: true,
            ..NONE
        },
    ),
    (
        &["OpenSSH_6.5*", "OpenSSH_6.6*"],
        Quirks {
            openssh: true,
            bad_curve25519: true,
            loose_sigtype: true,
            ..NONE
        },
    ),
    (
        &[
            "OpenSSH_7.4*",
            "OpenSSH_7.0*",
            "OpenSSH_7.1*",
            "OpenSSH_7.2*",
            "OpenSSH_7.3*",
            "OpenSSH_7.5*",
            "OpenSSH_7.6*",
            "OpenSSH_7.7*",
        ],
        Quirks {
            openssh: true,
            loose_sigtype: true,
            ..NONE
        },
    ),
    (
        &["OpenSSH*"],
        Quirks {
            openssh: true,
            ..NONE
        },
    ),
    (&["*MindTerm*"], NONE),
    (
        &["Cisco-1.*"],
        Quirks {
            no_hostkeys: true,
            ..NONE
        },
    ),
    (
        &[
            "PuTTY_Local:*",
            "PuTTY-Release-0.5*",
            "PuTTY_Release_0.5*",
            "PuTTY_Release_0.60*",
            "PuTTY_Release_0.61*",
            "PuTTY_Release_0.62*",
            "PuTTY_Release_0.63*",
            "PuTTY_Release_0.64*",
            "FuTTY*",
        ],
        Quirks {
            old_gex: true,
            ..NONE
        },
    ),
    (
        &[
            "TeraTerm SSH*",
            "TTSSH/1.5.*",
            "TTSSH/2.1*",
            "TTSSH/2.2*",
            "TTSSH/2.3*",
            "TTSSH/2.4*",
            "TTSSH/2.5*",
            "TTSSH/2.6*",
            "TTSSH/2.70*",
            "TTSSH/2.71*",
            "TTSSH/2.72*",
        ],
        Quirks {
            no_hostkeys: true,
            ..NONE
        },
    ),
    (
        &[
            "WinSCP_release_4*",
            "WinSCP_release_5.0*",
            "WinSCP_release_5.1",
            "WinSCP_release_5.1.*",
            "WinSCP_release_5.5",
            "WinSCP_release_5.5.*",
            "WinSCP_release_5.6",
            "WinSCP_release_5.6.*",
            "WinSCP_release_5.7",
            "WinSCP_release_5.7.1",
            "WinSCP_release_5.7.2",
            "WinSCP_release_5.7.3",
            "WinSCP_release_5.7.4",
        ],
        Quirks {
            old_gex: true,
            ..NONE
        },
    ),
];

/// The quirks of a client that sent this identification line.
pub fn quirks(line: &[u8]) -> Quirks {
    let Some((_, _, software)) = line.get(4..).and_then(scan) else {
        return NONE;
    };
    TABLE
        .iter()
        .find(|(patterns, _)| patterns.iter().any(|p| wildcard(software, p.as_bytes())))
        .map_or(NONE, |(_, q)| *q)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Step {
        let mut i = Ident::default();
        for b in bytes {
            match i.push(*b) {
                Step::More => {}
                s => return s,
            }
        }
        Step::More
    }

    #[test]
    fn lines() {
        assert_eq!(read(b"SSH-2.0-x\r\n"), Step::Done(b"SSH-2.0-x".to_vec()));
        assert_eq!(read(b"SSH-2.0-x\n"), Step::Done(b"SSH-2.0-x".to_vec()));
        assert_eq!(read(b"SSH-1.99-x\n"), Step::Done(b"SSH-1.99-x".to_vec()));
        assert_eq!(read(b"SSH- +2. 0-x\n"), Step::Done(b"SSH- +2. 0-x".to_vec()));
        for bad in [
            &b"SSH-2.0-\n"[..],
            b"GET / HTTP/1.0\r\n",
            b"SSH-2.0\r\n",
            b"\n",
            b"SSH-2.0-a\rb",
            b"SSH-2\0",
        ] {
            assert_eq!(read(bad), Step::Refuse(INVALID));
        }
        assert_eq!(
            read(b"SSH-1.5-x\n"),
            Step::Refuse("Protocol major versions differ.")
        );
        assert_eq!(read(&[b'a'; 9000]), Step::Refuse(INVALID));
    }

    #[test]
    fn names() {
        assert!(quirks(b"SSH-2.0-OpenSSH_9.2p1 Debian").openssh);
        assert!(quirks(b"SSH-2.0-OpenSSH_6.6").bad_curve25519);
        assert!(!quirks(b"SSH-2.0-OpenSSH_6.6.1p1").bad_curve25519);
        assert_eq!(quirks(b"SSH-2.0-PuTTY_Release_0.78"), NONE);
    }
}
