//! Telnet (RFC 854, 855): what a stream says beside its text.
//!
//! The decoy's telnetd and `login` are programs of the world, which negotiate by themselves. This reader looks at what passes, for the
//! record: the text as a terminal has it, and what a client says of itself (window, terminal, variables, which options it knows).
//! It takes and gives bytes as telnetd of inetutils does (`telrcv` in telnetd/state.c): a subnegotiation is cut at 512 bytes, and
//! one that is broken off counts up to there. No I/O; memory is bounded.

/// Interpret as command.
pub const IAC: u8 = 255;
/// The sender wants the other to stop an option.
pub const DONT: u8 = 254;
/// The sender wants the other to begin an option.
pub const DO: u8 = 253;
/// The sender will not use an option.
pub const WONT: u8 = 252;
/// The sender wants to use an option.
pub const WILL: u8 = 251;
const SB: u8 = 250;
const SE: u8 = 240;

/// Terminal type (RFC 1091).
pub const TTYPE: u8 = 24;
/// Negotiate about window size (RFC 1073).
pub const NAWS: u8 = 31;
/// Environment, in the form of RFC 1408.
pub const OLD_ENVIRON: u8 = 36;
/// Environment (RFC 1572).
pub const NEW_ENVIRON: u8 = 39;

/// Bytes of a subnegotiation that are kept.
const LONGEST: usize = 512;

/// Who speaks on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client: the line end that it sends is one key, CR.
    Client,
    /// The server: what follows a CR that is no line end is a zero.
    Server,
}

/// One thing that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Text, as a terminal types or shows it.
    Text(Vec<u8>),
    /// WILL, WONT, DO or DONT, and the option.
    Option(u8, u8),
    /// A subnegotiation: its option, and what it holds.
    Sub(u8, Vec<u8>),
    /// Another command, such as interrupt (244) or break (243).
    Command(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    AfterCr,
    Iac,
    Verb(u8),
    Sub,
    SubIac,
}

/// Reads one direction of a connection.
#[derive(Debug, Clone)]
pub struct Reader {
    side: Side,
    state: State,
    sub: Vec<u8>,
}

impl Reader {
    /// A reader at the beginning of a stream.
    pub fn new(side: Side) -> Reader {
        Reader {
            side,
            state: State::Text,
            sub: Vec::new(),
        }
    }

    /// Takes the next bytes of the stream; gives what they say, in order. Pieces of text next to each other come as one.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Said> {
        let mut out = Vec::new();
        for b in bytes {
            self.byte(*b, &mut out);
        }
        out
    }

    /// The text alone.
    pub fn text(&mut self, bytes: &[u8]) -> Vec<u8> {
        let said = self.read(bytes).into_iter();
        let texts = said.filter_map(|s| match s {
            Said::Text(t) => Some(t),
            _ => None,
        });
        texts.flatten().collect()
    }

    fn byte(&mut self, b: u8, out: &mut Vec<Said>) {
        match self.state {
            State::AfterCr => {
                self.state = State::Text;
                let dropped = b == 0 || (b == b'\n' && self.side == Side::Client);
                if !dropped {
                    self.byte(b, out);
                }
            }
            State::Text if b == IAC => self.state = State::Iac,
            State::Text => {
                if b == b'\r' {
                    self.state = State::AfterCr;
                }
                text(b, out);
            }
            State::Iac => self.command(b, out),
            State::Verb(verb) => {
                self.state = State::Text;
                out.push(Said::Option(verb, b));
            }
            State::Sub if b == IAC => self.state = State::SubIac,
            State::Sub => self.keep(b),
            State::SubIac => match b {
                SE => {
                    self.state = State::Text;
                    self.end_sub(out);
                }
                IAC => {
                    self.state = State::Sub;
                    self.keep(b);
                }
                _ => {
                    self.end_sub(out);
                    self.command(b, out);
                }
            },
        }
    }

    fn command(&mut self, b: u8, out: &mut Vec<Said>) {
        self.state = State::Text;
        match b {
            IAC => text(b, out),
            SB => {
                self.sub.clear();
                self.state = State::Sub;
            }
            WILL | WONT | DO | DONT => self.state = State::Verb(b),
            b => out.push(Said::Command(b)),
        }
    }

    fn keep(&mut self, b: u8) {
        if self.sub.len() < LONGEST {
            self.sub.push(b);
        }
    }

    fn end_sub(&mut self, out: &mut Vec<Said>) {
        let sub = std::mem::take(&mut self.sub);
        if let Some((option, rest)) = sub.split_first() {
            out.push(Said::Sub(*option, rest.to_vec()));
        }
    }
}

fn text(b: u8, out: &mut Vec<Said>) {
    match out.last_mut() {
        Some(Said::Text(t)) => t.push(b),
        _ => out.push(Said::Text(vec![b])),
    }
}

/// Columns and rows of a NAWS subnegotiation.
pub fn window(sub: &[u8]) -> Option<(u16, u16)> {
    match sub {
        [a, b, c, d, ..] => Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))),
        _ => None,
    }
}

/// The name in a TTYPE subnegotiation that answers (`IS`), in small letters as telnetd takes it.
pub fn terminal(sub: &[u8]) -> Option<Vec<u8>> {
    let (0, name) = sub.split_first().map(|(a, b)| (*a, b))? else {
        return None;
    };
    Some(name.to_ascii_lowercase())
}

/// The variables of an environment subnegotiation that tells (`IS`, `INFO`): names and values; without a value it is taken away.
pub fn variables(sub: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    const VAR: u8 = 0;
    const VALUE: u8 = 1;
    const ESC: u8 = 2;
    const USERVAR: u8 = 3;
    let mut all: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
    let Some((0 | 2, rest)) = sub.split_first().map(|(a, b)| (*a, b)) else {
        return all;
    };
    let mut rest = rest.iter();
    while let Some(b) = rest.next() {
        let b = match *b {
            VAR | USERVAR => {
                all.push((Vec::new(), None));
                continue;
            }
            VALUE => {
                if let Some((_, value)) = all.last_mut() {
                    *value = Some(Vec::new());
                }
                continue;
            }
            ESC => match rest.next() {
                Some(b) => *b,
                None => break,
            },
            b => b,
        };
        if let Some((name, value)) = all.last_mut() {
            value.as_mut().unwrap_or(name).push(b);
        }
    }
    all
}

/// The name of an option, or its number (the registry of IANA, as far as clients use it).
pub fn option_name(option: u8) -> String {
    let name = match option {
        0 => "BINARY",
        1 => "ECHO",
        3 => "SGA",
        5 => "STATUS",
        6 => "TM",
        TTYPE => "TTYPE",
        NAWS => "NAWS",
        32 => "TSPEED",
        33 => "LFLOW",
        34 => "LINEMODE",
        35 => "XDISPLOC",
        OLD_ENVIRON => "OLD-ENVIRON",
        37 => "AUTHENTICATION",
        38 => "ENCRYPT",
        NEW_ENVIRON => "NEW-ENVIRON",
        42 => "CHARSET",
        n => return n.to_string(),
    };
    name.into()
}

/// The name of one of the four verbs.
pub fn verb_name(verb: u8) -> &'static str {
    match verb {
        WILL => "WILL",
        WONT => "WONT",
        DO => "DO",
        _ => "DONT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_the_terminal_has() {
        let mut client = Reader::new(Side::Client);
        assert_eq!(
            client.text(b"root\r\nls\r\0a\xff\xffb\rc"),
            b"root\rls\ra\xffb\rc"
        );
        let mut server = Reader::new(Side::Server);
        assert_eq!(server.text(b"a\r\nb\r\0c\xff\xff"), b"a\r\nb\rc\xff");
    }

    #[test]
    fn what_a_client_says_of_itself() {
        let mut r = Reader::new(Side::Client);
        let said =
            r.read(b"\xff\xfb\x1f\xff\xfa\x1f\0\x50\0\x18\xff\xf0x\xff\xf4\xff\xfa\x18\0XTERM\xff\xf0");
        assert_eq!(
            said,
            [
                Said::Option(WILL, NAWS),
                Said::Sub(NAWS, vec![0, 80, 0, 24]),
                Said::Text(b"x".to_vec()),
                Said::Command(244),
                Said::Sub(TTYPE, b"\0XTERM".to_vec()),
            ]
        );
        assert_eq!(window(&[0, 80, 0, 24]), Some((80, 24)));
        assert_eq!(window(&[0, 80, 0]), None);
        assert_eq!(terminal(b"\0XTERM"), Some(b"xterm".to_vec()));
        assert_eq!(terminal(b"\x01"), None);
        assert_eq!(
            variables(b"\0\0USER\x01-f root\x03A\x02\x01B\0C"),
            [
                (b"USER".to_vec(), Some(b"-f root".to_vec())),
                (b"A\x01B".to_vec(), None),
                (b"C".to_vec(), None),
            ]
        );
        assert_eq!(variables(b"\x01\0USER"), []);
    }

    #[test]
    fn a_subnegotiation_that_breaks_off_counts_up_to_there() {
        let mut r = Reader::new(Side::Client);
        let said = r.read(b"\xff\xfa\x18\0vt\xff\xfb\x01x");
        assert_eq!(
            said,
            [
                Said::Sub(TTYPE, b"\0vt".to_vec()),
                Said::Option(WILL, 1),
                Said::Text(b"x".to_vec()),
            ]
        );
        let long = [b"\xff\xfa\x18".to_vec(), vec![b'a'; 5000], b"\xff\xf0".to_vec()].concat();
        let [Said::Sub(TTYPE, sub)] = &r.read(&long)[..] else {
            panic!("one subnegotiation")
        };
        assert_eq!(sub.len(), LONGEST - 1);
    }

    /// Joins pieces of text that stand next to each other.
    fn joined(said: Vec<Said>) -> Vec<Said> {
        let mut out: Vec<Said> = Vec::new();
        for s in said {
            match (out.last_mut(), s) {
                (Some(Said::Text(a)), Said::Text(b)) => a.extend(b),
                (_, s) => out.push(s),
            }
        }
        out
    }

    #[test]
    fn any_bytes_in_any_pieces_say_the_same_within_bounds() {
        let mut state = 7u64;
        let mut rand = move |n: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        const LIKELY: [u8; 12] = [255, 250, 240, 251, 252, 253, 254, 24, 31, 39, b'\r', 0];
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..rand(80))
                .map(|_| match rand(3) {
                    0 => rand(256) as u8,
                    _ => LIKELY[rand(12) as usize],
                })
                .collect();
            for side in [Side::Client, Side::Server] {
                let whole = Reader::new(side).read(&bytes);
                let texts: usize = whole
                    .iter()
                    .map(|s| match s {
                        Said::Text(t) => t.len(),
                        Said::Sub(_, s) => s.len(),
                        _ => 0,
                    })
                    .sum();
                assert!(texts <= bytes.len());
                let mut r = Reader::new(side);
                let mut pieces = Vec::new();
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let (a, b) = rest.split_at(1 + rand(rest.len() as u64) as usize);
                    pieces.extend(r.read(a));
                    rest = b;
                }
                assert_eq!(joined(pieces), whole);
                for s in &whole {
                    if let Said::Sub(_, sub) = s {
                        let told: usize = variables(sub)
                            .iter()
                            .map(|(n, v)| n.len() + v.as_ref().map_or(0, Vec::len))
                            .sum();
                        assert!(told <= sub.len());
                        let _ = (window(sub), terminal(sub));
                    }
                }
            }
        }
    }
}
