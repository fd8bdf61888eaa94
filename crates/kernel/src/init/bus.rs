//! One who has connected to a bus: how he says who he is (D-Bus specification, "Authentication Protocol"), and his messages.

use super::wire::{self, MESSAGE_MAX, Message, Read};
use turncoat_freeze::Freeze;

/// Longest line before the messages begin, and most lines.
const LINE_MAX: usize = 1024;
const LINES_MAX: u32 = 32;

/// Where a conversation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Freeze)]
enum Phase {
    /// The zero byte that comes first.
    Nul,
    /// Lines.
    Lines {
        /// `DATA` is awaited.
        asked: bool,
        /// He is who he says.
        known: bool,
    },
    Messages,
}

/// The reading half of a connection.
#[derive(Clone, Debug, Freeze)]
pub struct Talk {
    phase: Phase,
    uid: u32,
    lines: u32,
    buf: Vec<u8>,
}

/// He did not speak the protocol: the connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nonsense;

impl Talk {
    /// With somebody of whom the kernel says that he is this user.
    pub fn new(uid: u32) -> Talk {
        Talk {
            phase: Phase::Nul,
            uid,
            lines: 0,
            buf: Vec::new(),
        }
    }

    /// Takes what he said; `say` gets what is answered to lines at once. Gives his messages.
    ///
    /// # Errors
    /// He is to be hung up on.
    pub fn hear(&mut self, bytes: &[u8], guid: &str, say: &mut Vec<u8>) -> Result<Vec<Message>, Nonsense> {
        self.buf.extend_from_slice(bytes);
        let mut out = Vec::new();
        let mut at = 0;
        loop {
            let rest = self.buf.get(at..).unwrap_or_default();
            match self.phase {
                Phase::Nul => match rest.first() {
                    None => break,
                    Some(0) => {
                        at += 1;
                        self.phase = Phase::Lines {
                            asked: false,
                            known: false,
                        };
                    }
                    Some(_) => return Err(Nonsense),
                },
                Phase::Lines { asked, known } => {
                    let Some(n) = rest.windows(2).position(|w| w == b"\r\n") else {
                        if rest.len() > LINE_MAX {
                            return Err(Nonsense);
                        }
                        break;
                    };
                    let line = String::from_utf8_lossy(&rest[..n]).into_owned();
                    at += n + 2;
                    self.lines += 1;
                    if n > LINE_MAX || self.lines > LINES_MAX {
                        return Err(Nonsense);
                    }
                    self.phase = self.line(&line, asked, known, guid, say)?;
                }
                Phase::Messages => match wire::read(rest) {
                    Read::Whole(m, n) => {
                        out.push(*m);
                        at += n;
                    }
                    Read::More => break,
                    Read::Bad => return Err(Nonsense),
                },
            }
        }
        self.buf.drain(..at);
        if self.buf.len() > 2 * MESSAGE_MAX {
            return Err(Nonsense);
        }
        Ok(out)
    }

    fn line(
        &self,
        line: &str,
        asked: bool,
        known: bool,
        guid: &str,
        say: &mut Vec<u8>,
    ) -> Result<Phase, Nonsense> {
        let lines = |asked, known| Phase::Lines { asked, known };
        let mut words = line.split(' ');
        let (answer, next) = match (words.next(), words.next(), words.next()) {
            (Some("AUTH"), Some("EXTERNAL"), None) => ("DATA".into(), lines(true, false)),
            (Some("AUTH"), Some("EXTERNAL"), Some(who)) if self.is(who) => {
                (format!("OK {guid}"), lines(false, true))
            }
            (Some("DATA"), who, None) if asked && who.is_none_or(|w| w.is_empty() || self.is(w)) => {
                (format!("OK {guid}"), lines(false, true))
            }
            (Some("AUTH" | "DATA" | "CANCEL" | "ERROR"), ..) => {
                ("REJECTED EXTERNAL".into(), lines(false, false))
            }
            (Some("NEGOTIATE_UNIX_FD"), None, _) if known => ("AGREE_UNIX_FD".into(), lines(asked, known)),
            (Some("BEGIN"), None, _) if known => return Ok(Phase::Messages),
            (Some("BEGIN"), ..) => return Err(Nonsense),
            _ => ("ERROR".into(), lines(asked, known)),
        };
        say.extend_from_slice(answer.as_bytes());
        say.extend_from_slice(b"\r\n");
        Ok(next)
    }

    /// Whether this is the user's number in hexadecimal of its decimal digits.
    fn is(&self, hex: &str) -> bool {
        let want: String = self.uid.to_string().bytes().map(|b| format!("{b:02x}")).collect();
        hex == want
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn talk(uid: u32, said: &[u8]) -> (Result<Vec<Message>, Nonsense>, String) {
        let mut say = Vec::new();
        let r = Talk::new(uid).hear(said, "abc", &mut say);
        (r, String::from_utf8(say).unwrap())
    }

    #[test]
    fn both_forms_of_external_are_taken() {
        let (r, said) = talk(0, b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n");
        assert_eq!((r, &*said), (Ok(vec![]), "DATA\r\nOK abc\r\nAGREE_UNIX_FD\r\n"));
        let (r, said) = talk(1000, b"\0AUTH EXTERNAL 31303030\r\nBEGIN\r\n");
        assert_eq!((r, &*said), (Ok(vec![]), "OK abc\r\n"));
        let (_, said) = talk(1000, b"\0AUTH EXTERNAL 30\r\nAUTH\r\nWHAT\r\n");
        assert_eq!(said, "REJECTED EXTERNAL\r\nREJECTED EXTERNAL\r\nERROR\r\n");
        assert_eq!(talk(0, b"\0BEGIN\r\n").0, Err(Nonsense));
        assert_eq!(talk(0, b"AUTH\r\n").0, Err(Nonsense));
    }

    #[test]
    fn any_conversation_ends_well() {
        const PIECES: [&[u8]; 6] = [
            b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n",
            b"\0AUTH EXTERNAL 30\r\n",
            b"BEGIN\r\n",
            b"l\x01\0\x01\0\0\0\0\x01\0\0\0\0\0\0\0",
            b"NEGOTIATE_UNIX_FD\r\n",
            b"\xff\xfe",
        ];
        let mut rng = Rng::new([8; 32]);
        for _ in 0..5_000 {
            let (mut t, mut say) = (Talk::new(0), Vec::new());
            for _ in 0..rng.u64() % 8 {
                let piece = PIECES[rng.u64() as usize % PIECES.len()];
                if t.hear(piece, "abc", &mut say).is_err() {
                    break;
                }
            }
        }
    }
}
