//! The bytes of a journal.

use std::borrow::Cow;
use std::fmt;

use turncoat_cover::past::refused::Refused;
use turncoat_event::{SessionId, Time};

use super::Birth;
use crate::worlds::{Conn, Door, Input, Open, Target};

/// First bytes of a journal.
pub const MAGIC: &[u8] = b"turncoat journal 1\n";

/// The longest field that is read, in bytes: longer than anything that a connection hands over at once.
const LONGEST: usize = 4 << 20;

/// Codes of entries.
mod code {
    pub const OPEN: u8 = 1;
    pub const DATA: u8 = 2;
    pub const EOF: u8 = 3;
    pub const RESIZE: u8 = 4;
    pub const SIGNAL: u8 = 5;
    pub const CLOSE: u8 = 6;
    pub const PASSWORD: u8 = 7;
    pub const RUN: u8 = 8;
    pub const SEAL: u8 = 9;
    pub const FULL: u8 = 10;
    pub const KEY: u8 = 11;
    pub const CONNECT: u8 = 12;
    pub const LISTEN: u8 = 13;
    pub const UNLISTEN: u8 = 14;
    pub const HOLD: u8 = 15;
    pub const GO_ON: u8 = 16;
    pub const DISK: u8 = 17;
    pub const BOOTS: u8 = 18;
    pub const ANSWER: u8 = 19;
    pub const SPOIL: u8 = 20;
    pub const HANGUP: u8 = 21;
    pub const REFUSED: u8 = 22;
    pub const CHECKPOINT: u8 = 23;
    pub const CUT: u8 = 24;
}

/// One thing that came into a world, or a check of what came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A login of this session, on this channel of it.
    Open {
        /// The session.
        session: Option<SessionId>,
        /// Its channel.
        channel: u16,
        /// The login.
        open: Box<Open>,
    },
    /// Input for a login.
    Input(Conn, Input),
    /// The policy wrote a password.
    Password {
        /// Whose.
        user: Vec<u8>,
        /// As `/etc/shadow` has it.
        hash: String,
    },
    /// The policy wrote a key.
    Key {
        /// Whose.
        user: Vec<u8>,
        /// As `authorized_keys` has it.
        line: Vec<u8>,
    },
    /// Passwords that the machine has refused by this reading of the clock.
    Refused(Time, Vec<Refused>),
    /// A connection reached into the world, as a user.
    Connect(Vec<u8>, Target),
    /// A connection had the world listen, as a user.
    Listen(Vec<u8>, Door),
    /// It does not any more.
    Unlisten(u32),
    /// A stream is held back, or goes on.
    Hold(Conn, bool),
    /// A piece of the disk that the machine has from a life before.
    Disk(Vec<u8>),
    /// The disk is whole: the machine boots with it, at this reading of the clock.
    Boots(Time),
    /// So many slices ran, all at this reading of the clock.
    Run {
        /// The reading.
        now: Time,
        /// Slices.
        slices: u64,
    },
    /// What had been retired and made up to here.
    Seal {
        /// Instructions.
        retired: u64,
        /// The first half of the SHA-256 over everything that the world made so far.
        digest: [u8; 16],
    },
    /// A checkpoint stands here. From here on what the world makes is counted anew, beginning with the digest of what it made before.
    Checkpoint,
    /// What followed the birth was dropped; a checkpoint stands here.
    Cut,
    /// The journal reached its bound; the world ran on without it.
    Full,
}

/// Not a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged(pub &'static str);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the journal is damaged: {}", self.0)
    }
}
impl std::error::Error for Damaged {}

fn number(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn bytes(b: &[u8], out: &mut Vec<u8>) {
    number(b.len() as u64, out);
    out.extend_from_slice(b);
}

/// What a journal begins with.
pub(super) fn write_birth(birth: &Birth, out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC);
    // Plain data with a derived written form: writing it to memory cannot fail.
    bytes(&serde_json::to_vec(birth).unwrap_or_default(), out);
}

/// Appends the written form of an entry. `last` is the last reading of the clock that was written.
pub(super) fn write(entry: &Entry, last: &mut Time, out: &mut Vec<u8>) {
    let conn = |c: u8, conn: &Conn, out: &mut Vec<u8>| {
        out.push(c);
        number(conn.0.into(), out);
    };
    match entry {
        Entry::Open {
            session,
            channel,
            open,
        } => {
            out.push(code::OPEN);
            bytes(session.as_ref().map_or(&[][..], |s| &s.0), out);
            number((*channel).into(), out);
            bytes(&serde_json::to_vec(open).unwrap_or_default(), out);
        }
        Entry::Input(c, Input::Data(b)) => {
            conn(code::DATA, c, out);
            bytes(b, out);
        }
        Entry::Input(c, Input::Eof) => conn(code::EOF, c, out),
        Entry::Input(c, Input::Resize(cols, rows, (x, y))) => {
            conn(code::RESIZE, c, out);
            [cols, rows, x, y]
                .into_iter()
                .for_each(|n| number((*n).into(), out));
        }
        Entry::Input(c, Input::Signal(name)) => {
            conn(code::SIGNAL, c, out);
            bytes(name.as_bytes(), out);
        }
        Entry::Input(c, Input::Hangup) => conn(code::HANGUP, c, out),
        Entry::Input(c, Input::Close) => conn(code::CLOSE, c, out),
        Entry::Input(c, Input::Answer { spoil }) => {
            conn(if *spoil { code::SPOIL } else { code::ANSWER }, c, out);
        }
        Entry::Password { user, hash } => {
            out.push(code::PASSWORD);
            bytes(user, out);
            bytes(hash.as_bytes(), out);
        }
        Entry::Key { user, line } => {
            out.push(code::KEY);
            bytes(user, out);
            bytes(line, out);
        }
        Entry::Refused(now, refused) => {
            out.push(code::REFUSED);
            out.extend_from_slice(&now.0.to_le_bytes());
            bytes(&serde_json::to_vec(refused).unwrap_or_default(), out);
        }
        Entry::Connect(user, to) => {
            out.push(code::CONNECT);
            bytes(user, out);
            bytes(&serde_json::to_vec(to).unwrap_or_default(), out);
        }
        Entry::Listen(user, door) => {
            out.push(code::LISTEN);
            bytes(user, out);
            bytes(&serde_json::to_vec(door).unwrap_or_default(), out);
        }
        Entry::Unlisten(id) => {
            out.push(code::UNLISTEN);
            number((*id).into(), out);
        }
        Entry::Hold(c, on) => conn(if *on { code::HOLD } else { code::GO_ON }, c, out),
        Entry::Disk(piece) => {
            out.push(code::DISK);
            bytes(piece, out);
        }
        Entry::Boots(now) => {
            out.push(code::BOOTS);
            out.extend_from_slice(&now.0.to_le_bytes());
        }
        Entry::Run { now, slices } => {
            out.push(code::RUN);
            // Readings are whole microseconds and mostly go forward: as a number whose lowest bit is the sign.
            let step = now.0.wrapping_sub(last.0) / 1000;
            number((step.unsigned_abs() << 1) | u64::from(step < 0), out);
            number(*slices, out);
            *last = *now;
        }
        Entry::Seal { retired, digest } => {
            out.push(code::SEAL);
            number(*retired, out);
            out.extend_from_slice(digest);
        }
        Entry::Checkpoint => out.push(code::CHECKPOINT),
        Entry::Cut => out.push(code::CUT),
        Entry::Full => out.push(code::FULL),
    }
}

/// Reads a journal that lies in memory: one life of its world, up to where the next begins.
#[derive(Clone)]
pub struct Reader<'a> {
    bytes: Cow<'a, [u8]>,
    at: usize,
    last: Time,
    birth: Birth,
}

/// Why a field was not read.
enum Stop {
    /// The bytes end here.
    Short,
    Bad(&'static str),
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn byte(&mut self) -> Result<u8, Stop> {
        let (b, rest) = self.0.split_first().ok_or(Stop::Short)?;
        self.0 = rest;
        Ok(*b)
    }
    fn number(&mut self) -> Result<u64, Stop> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let b = self.byte()?;
            n |= u64::from(b & 0x7f) << shift;
            if b & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(Stop::Bad("a number is too long"))
    }
    fn short<T: TryFrom<u64>>(&mut self) -> Result<T, Stop> {
        T::try_from(self.number()?).map_err(|_| Stop::Bad("a number is too large"))
    }
    fn bytes(&mut self) -> Result<&'a [u8], Stop> {
        let n: usize = self.short()?;
        if n > LONGEST {
            return Err(Stop::Bad("a field is too long"));
        }
        let (b, rest) = self.0.split_at_checked(n).ok_or(Stop::Short)?;
        self.0 = rest;
        Ok(b)
    }
    fn text(&mut self) -> Result<String, Stop> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Stop::Bad("a text is not UTF-8"))
    }
}

impl<'a> Reader<'a> {
    /// Reads the birth.
    ///
    /// # Errors
    /// [`Damaged`]: it does not begin like a journal.
    pub fn new(journal: impl Into<Cow<'a, [u8]>>) -> Result<Reader<'a>, Damaged> {
        let bytes = journal.into();
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or(Damaged("it does not begin like one"))?;
        let mut c = Cursor(rest);
        let birth = match c.bytes() {
            Ok(b) => serde_json::from_slice(b)
                .map_err(|_| Damaged("it does not say what its world was made from"))?,
            Err(Stop::Short) => return Err(Damaged("it ends before it begins")),
            Err(Stop::Bad(why)) => return Err(Damaged(why)),
        };
        let at = bytes.len() - c.0.len();
        Ok(Reader {
            bytes,
            at,
            last: Time(0),
            birth,
        })
    }

    /// What the world was made from.
    pub fn birth(&self) -> &Birth {
        &self.birth
    }

    /// Goes on behind the checkpoint or the cut that stands in front of byte `at`, where `last` was the last reading of the clock.
    ///
    /// # Errors
    /// [`Damaged`]: none stands there.
    pub(super) fn skip_to(&mut self, at: usize, last: Time) -> Result<(), Damaged> {
        let before = at.checked_sub(1).filter(|b| *b >= self.at);
        let stands = before.and_then(|b| self.bytes.get(b));
        if !stands.is_some_and(|c| [code::CHECKPOINT, code::CUT].contains(c)) {
            return Err(Damaged("no checkpoint stands there"));
        }
        (self.at, self.last) = (at, last);
        Ok(())
    }

    /// Where the next entry begins, counted from where this life does.
    pub fn position(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// True where nothing follows; not where the end cuts an entry, or another life begins.
    pub fn ended(&self) -> bool {
        self.rest().is_empty()
    }

    /// The next entry; `None` at the end of this life, also where the end cuts an entry.
    ///
    /// # Errors
    /// [`Damaged`]: nothing behind this point can be read.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Damaged> {
        if self.rest().starts_with(MAGIC) {
            return Ok(None);
        }
        let mut c = Cursor(self.rest());
        match entry(self.last, &mut c) {
            Ok(e) => {
                self.at = self.bytes.len() - c.0.len();
                if let Entry::Run { now, .. } = &e {
                    self.last = *now;
                }
                Ok(Some(e))
            }
            Err(Stop::Short) => Ok(None),
            Err(Stop::Bad(why)) => Err(Damaged(why)),
        }
    }
}

/// The lives that a world had: where in its journal each begins. A world whose memory could not be brought back begins another one
/// with the disk of the last.
pub fn lives(journal: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = journal.get(at..)
        && let Ok(mut reader) = Reader::new(rest)
    {
        found.push(at);
        while let Ok(Some(_)) = reader.next_entry() {}
        at += reader.at;
    }
    found
}

/// Reads one entry; `last` is the reading of the clock before it.
fn entry(last: Time, c: &mut Cursor<'_>) -> Result<Entry, Stop> {
    Ok(match c.byte()? {
        code::OPEN => {
            let id = c.bytes()?;
            let session = match <[u8; 16]>::try_from(id) {
                Ok(id) => Some(SessionId(id)),
                Err(_) if id.is_empty() => None,
                Err(_) => return Err(Stop::Bad("a session has no id")),
            };
            let channel = c.short()?;
            let open = serde_json::from_slice(c.bytes()?);
            let open = open.map_err(|_| Stop::Bad("a login is not one"))?;
            Entry::Open {
                session,
                channel,
                open,
            }
        }
        code::DATA => Entry::Input(Conn(c.short()?), Input::Data(c.bytes()?.to_vec())),
        code::EOF => Entry::Input(Conn(c.short()?), Input::Eof),
        code::RESIZE => Entry::Input(
            Conn(c.short()?),
            Input::Resize(c.short()?, c.short()?, (c.short()?, c.short()?)),
        ),
        code::SIGNAL => Entry::Input(Conn(c.short()?), Input::Signal(c.text()?)),
        code::HANGUP => Entry::Input(Conn(c.short()?), Input::Hangup),
        code::CLOSE => Entry::Input(Conn(c.short()?), Input::Close),
        code::ANSWER => Entry::Input(Conn(c.short()?), Input::Answer { spoil: false }),
        code::SPOIL => Entry::Input(Conn(c.short()?), Input::Answer { spoil: true }),
        code::PASSWORD => Entry::Password {
            user: c.bytes()?.to_vec(),
            hash: c.text()?,
        },
        code::KEY => Entry::Key {
            user: c.bytes()?.to_vec(),
            line: c.bytes()?.to_vec(),
        },
        code::REFUSED => {
            let (now, rest) = c.0.split_first_chunk::<8>().ok_or(Stop::Short)?;
            c.0 = rest;
            let refused = serde_json::from_slice(c.bytes()?);
            let refused = refused.map_err(|_| Stop::Bad("refused passwords are none"))?;
            Entry::Refused(Time(i64::from_le_bytes(*now)), refused)
        }
        code::CONNECT => {
            let user = c.bytes()?.to_vec();
            let to = serde_json::from_slice(c.bytes()?);
            Entry::Connect(user, to.map_err(|_| Stop::Bad("a place to connect to is none"))?)
        }
        code::LISTEN => {
            let user = c.bytes()?.to_vec();
            let door = serde_json::from_slice(c.bytes()?);
            Entry::Listen(user, door.map_err(|_| Stop::Bad("a place to listen at is none"))?)
        }
        code::UNLISTEN => Entry::Unlisten(c.short()?),
        code::HOLD => Entry::Hold(Conn(c.short()?), true),
        code::GO_ON => Entry::Hold(Conn(c.short()?), false),
        code::DISK => Entry::Disk(c.bytes()?.to_vec()),
        code::BOOTS => {
            let (now, rest) = c.0.split_first_chunk::<8>().ok_or(Stop::Short)?;
            c.0 = rest;
            Entry::Boots(Time(i64::from_le_bytes(*now)))
        }
        code::RUN => {
            let step = c.number()?;
            let ns = i64::try_from(step >> 1)
                .ok()
                .and_then(|s| s.checked_mul(1000))
                .ok_or(Stop::Bad("a reading of the clock is too far"))?;
            let now = Time(last.0.wrapping_add(if step & 1 == 0 { ns } else { -ns }));
            Entry::Run {
                now,
                slices: c.number()?,
            }
        }
        code::SEAL => {
            let retired = c.number()?;
            let (digest, rest) = c.0.split_first_chunk::<16>().ok_or(Stop::Short)?;
            c.0 = rest;
            Entry::Seal {
                retired,
                digest: *digest,
            }
        }
        code::CHECKPOINT => Entry::Checkpoint,
        code::CUT => Entry::Cut,
        code::FULL => Entry::Full,
        _ => return Err(Stop::Bad("an entry is of no known kind")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worlds::{Program, Terminal};

    fn samples() -> Vec<Entry> {
        let a = "[2001:db8::1]:5".parse().unwrap();
        let open = Open {
            link: 1,
            user: b"ro\xffot".to_vec(),
            program: Program::Command(b"ls".to_vec()),
            terminal: Some(Terminal::default()),
            env: vec![(b"LANG".to_vec(), b"C".to_vec())],
            peer: a,
            local: a,
            method: "password",
            sshd: Some(4_711),
        };
        let refused = Refused {
            from: a,
            by: Default::default(),
            pid: u32::MAX,
            tries: Vec::new(),
            ended: Some(7),
            how: Default::default(),
        };
        let c = Conn(700);
        vec![
            Entry::Open {
                session: Some(SessionId([9; 16])),
                channel: 3,
                open: Box::new(open),
            },
            Entry::Run {
                now: Time(1_700_000_000_000_000_000),
                slices: 1,
            },
            Entry::Input(c, Input::Data(b"\x00\xffx".to_vec())),
            Entry::Input(c, Input::Resize(80, 24, (0, 9))),
            Entry::Input(c, Input::Signal("INT".into())),
            Entry::Run {
                now: Time(1_600_000_000_000_000_000),
                slices: 1 << 40,
            },
            Entry::Input(c, Input::Eof),
            Entry::Input(c, Input::Hangup),
            Entry::Input(c, Input::Close),
            Entry::Input(c, Input::Answer { spoil: false }),
            Entry::Input(c, Input::Answer { spoil: true }),
            Entry::Password {
                user: b"u".to_vec(),
                hash: "$y$".into(),
            },
            Entry::Key {
                user: b"u".to_vec(),
                line: b"ssh-ed25519 x".to_vec(),
            },
            Entry::Refused(Time(7), vec![refused]),
            Entry::Connect(b"u".to_vec(), Target::Tcp(b"localhost".to_vec(), 22)),
            Entry::Listen(b"u".to_vec(), Door::Path(b"/s".to_vec())),
            Entry::Unlisten(9),
            Entry::Hold(c, true),
            Entry::Hold(c, false),
            Entry::Disk(vec![1; 300]),
            Entry::Boots(Time(-5)),
            Entry::Seal {
                retired: u64::MAX,
                digest: [7; 16],
            },
            Entry::Checkpoint,
            Entry::Cut,
            Entry::Full,
        ]
    }

    fn written() -> Vec<u8> {
        let mut out = Vec::new();
        write_birth(&crate::journal::birth_for_tests(), &mut out);
        let mut last = Time(0);
        samples().iter().for_each(|e| write(e, &mut last, &mut out));
        out
    }

    fn read(bytes: &[u8]) -> Result<Vec<Entry>, Damaged> {
        let mut r = Reader::new(bytes)?;
        let mut all = Vec::new();
        while let Some(e) = r.next_entry()? {
            all.push(e);
        }
        Ok(all)
    }

    #[test]
    fn entries_come_back_and_a_torn_end_is_left_out() {
        let bytes = written();
        assert_eq!(read(&bytes).unwrap(), samples());
        let first = bytes.len() - {
            let mut r = Reader::new(&bytes).unwrap();
            r.next_entry().unwrap();
            r.rest().len()
        };
        for cut in first..bytes.len() {
            let some = read(&bytes[..cut]).unwrap();
            assert!(some.len() < samples().len());
            assert_eq!(some, samples()[..some.len()]);
        }
    }

    #[test]
    fn a_journal_may_hold_several_lives() {
        let one = written();
        let all = [&one[..], &one, &one[..one.len() - 3]].concat();
        assert_eq!(lives(&all), [0, one.len(), 2 * one.len()]);
        assert_eq!(read(&all).unwrap(), samples());
        assert!(lives(b"x").is_empty());
    }

    #[test]
    fn no_bytes_break_the_reader() {
        let good = written();
        let mut state = 11u64;
        for round in 0..20_000 {
            let mut bad = good.clone();
            for _ in 0..1 + round % 5 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let at = (state >> 33) as usize % bad.len();
                bad[at] = (state >> 56) as u8;
            }
            let _ = read(&bad);
        }
    }
}
