//! The door to a guest that writes down what goes through it.

use std::sync::Arc;

use turncoat_cover::past::refused::Refused;
use turncoat_event::{SessionId, Time};
use turncoat_kernel::BadDisk;

use super::checkpoint::{self, Checkpoint};
use super::codec::write;
use super::{Birth, Entry, Left, SLICE};
use crate::auth::Accounts;
use crate::worlds::{Conn, Door, Guest, Input, NotConnected, Open, Opened, Produced, Target, Wants};

/// While a world has work, its clock is read this often.
const STAMP_NS: i64 = 10_000_000;
/// Bytes that wait at most before they are handed to the record, if nothing that was made asks for it sooner.
const CHUNK: usize = 16 << 10;
/// What ran for itself and made nothing is handed over this long after the last time, when there is a pause.
const LATE_NS: i64 = 1_000_000_000;
/// Bytes of a disk in one entry.
const PIECE: usize = 1 << 20;

/// A guest, and the journal of everything that went into it.
pub struct Journaled {
    guest: Box<dyn Guest>,
    made: Vec<Produced>,
    /// What stands beside the guest.
    left: Left,
    /// What the last seal said of it.
    sealed: u64,
    /// Written and not yet taken.
    bytes: Vec<u8>,
    /// Bytes that the journal may still grow.
    room: u64,
    full: bool,
    /// Slices at `stamp` that are not written yet.
    slices: u64,
    stamp: Time,
    busy: bool,
    fresh: bool,
    /// Something came in since the last seal.
    unsealed: bool,
    /// The clock at the last seal.
    sealed_at: Time,
    /// Bytes of the journal's file so far.
    length: u64,
    /// Instructions at the last checkpoint, or where this life began.
    point: u64,
    /// What a journal of this birth begins with.
    head: Vec<u8>,
    /// Bytes that the journal may have in all.
    most: u64,
}

/// What a journal's file loses: everything before a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The first byte of the file that stays: where the checkpoint stands.
    pub from: u64,
    /// What stands before it instead; the checkpoint then stands at its end.
    pub head: Vec<u8>,
}

impl Journaled {
    /// A guest that nothing has reached yet. `most` bounds the journal in bytes.
    pub fn new(guest: Box<dyn Guest>, birth: &Birth, most: u64) -> Journaled {
        let bytes = birth.head();
        Journaled {
            head: bytes.clone(),
            most,
            guest,
            made: Vec::new(),
            left: Left::new(birth),
            sealed: 0,
            room: most.saturating_sub(bytes.len() as u64),
            length: bytes.len() as u64,
            point: 0,
            bytes,
            full: most == 0,
            slices: 0,
            stamp: Time(i64::MIN),
            busy: false,
            fresh: true,
            unsealed: true,
            sealed_at: Time(0),
        }
    }

    /// Its journal lies behind `used` bytes of other lives in one file.
    pub fn behind(mut self, used: u64) -> Journaled {
        self.length += used;
        self
    }

    /// A guest that has run a journal to its end, and goes on writing there. What was open then is closed. `most` bounds the whole
    /// journal in bytes, of which `used` are written.
    pub fn again(guest: Box<dyn Guest>, left: Left, birth: &Birth, used: u64, most: u64) -> Journaled {
        let (doors, open) = (left.doors.clone(), left.open.clone());
        let mut j = Journaled {
            head: birth.head(),
            most,
            point: guest.retired(),
            guest,
            made: Vec::new(),
            sealed: left.sum.count,
            length: used,
            bytes: Vec::new(),
            room: most.saturating_sub(used),
            full: false,
            slices: 0,
            stamp: left.last,
            busy: false,
            fresh: true,
            unsealed: true,
            sealed_at: left.last,
            left,
        };
        for id in doors {
            j.unlisten(id);
        }
        for conn in open {
            j.input(conn, Input::Close);
        }
        j
    }

    /// Gives a guest that nothing has reached yet the disk of a life before, and boots it at `now`.
    ///
    /// # Errors
    /// The bytes are no disk; the guest is of no use then.
    pub fn restore(&mut self, disk: &[u8], now: Time) -> Result<(), BadDisk> {
        let now = Time(now.0 / 1000 * 1000);
        self.fresh = true;
        for piece in disk.chunks(PIECE) {
            self.write(&Entry::Disk(piece.to_vec()));
        }
        self.write(&Entry::Boots(now));
        self.guest.restore(disk, now)
    }

    /// Nothing more is written: what was written before cannot be gone on with.
    pub fn unwritten(&mut self) {
        self.full = true;
        self.bytes.clear();
    }

    /// True if the run can be made again from what was written.
    pub fn is_written(&self) -> bool {
        !self.full
    }

    /// Until when the machine is down, while it is.
    pub fn away(&self) -> Option<Time> {
        self.guest.away()
    }

    /// What its disk holds beyond what it began with.
    pub fn disk(&mut self) -> Option<Vec<u8>> {
        self.guest.disk()
    }

    fn write(&mut self, entry: &Entry) {
        if self.full {
            return;
        }
        if self.slices > 0 {
            let run = Entry::Run {
                now: self.stamp,
                slices: std::mem::take(&mut self.slices),
            };
            self.put(&run);
        }
        self.unsealed |= !matches!(entry, Entry::Seal { .. });
        self.put(entry);
    }

    fn put(&mut self, entry: &Entry) {
        if self.full {
            return;
        }
        let (before, stamp) = (self.bytes.len(), self.left.last);
        write(entry, &mut self.left.last, &mut self.bytes);
        let grown = (self.bytes.len() - before) as u64;
        if grown > self.room {
            self.bytes.truncate(before);
            self.left.last = stamp;
            self.full = true;
            write(&Entry::Full, &mut self.left.last, &mut self.bytes);
        } else {
            self.room -= grown;
            self.length += grown;
        }
    }

    /// Opens a login.
    ///
    /// # Errors
    /// Why the machine refuses.
    pub fn open(&mut self, open: &Open, session: Option<SessionId>, channel: u16) -> Result<Conn, String> {
        self.fresh = true;
        self.write(&Entry::Open {
            session,
            channel,
            open: Box::new(open.clone()),
        });
        let conn = self.guest.open(open)?;
        self.left.open.insert(conn);
        Ok(conn)
    }

    /// Lets the guest learn what the clock says before something comes in that it keeps the time of.
    pub fn catch_up(&mut self, now: Time) {
        if now.since(self.stamp) >= STAMP_NS {
            self.run(now);
        }
    }

    /// The machine refused these passwords by `now`.
    pub fn refused(&mut self, refused: Vec<Refused>, now: Time) {
        self.fresh = true;
        self.guest.refused(&refused, now);
        self.write(&Entry::Refused(now, refused));
    }

    /// Gives input to a login.
    pub fn input(&mut self, conn: Conn, input: Input) {
        self.fresh = true;
        if matches!(input, Input::Close) {
            self.left.closed(conn);
        }
        let entry = Entry::Input(conn, input);
        self.write(&entry);
        if let Entry::Input(_, input) = entry {
            self.guest.input(conn, input);
        }
    }

    /// Bytes of input that a login takes now.
    pub fn room(&self, conn: Conn) -> usize {
        self.guest.room(conn)
    }

    /// Sets the password of an account.
    pub fn set_password(&mut self, user: &[u8], hash: &str) {
        self.fresh = true;
        self.write(&Entry::Password {
            user: user.to_vec(),
            hash: hash.to_owned(),
        });
        self.guest.set_password(user, hash);
    }

    /// Adds a line to an account's `authorized_keys`.
    pub fn add_key(&mut self, user: &[u8], line: &[u8]) {
        self.fresh = true;
        self.write(&Entry::Key {
            user: user.to_vec(),
            line: line.to_vec(),
        });
        self.guest.add_key(user, line);
    }

    /// Connects to something inside.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn connect(&mut self, user: &[u8], to: &Target) -> Result<Conn, NotConnected> {
        self.fresh = true;
        self.write(&Entry::Connect(user.to_vec(), to.clone()));
        let conn = self.guest.connect(user, to)?;
        self.left.open.insert(conn);
        Ok(conn)
    }

    /// Listens inside.
    pub fn listen(&mut self, user: &[u8], door: &Door) -> Option<Opened> {
        self.fresh = true;
        self.write(&Entry::Listen(user.to_vec(), door.clone()));
        let opened = self.guest.listen(user, door)?;
        self.left.doors.insert(opened.id);
        Some(opened)
    }

    /// Ends what was listened at.
    pub fn unlisten(&mut self, id: u32) {
        self.fresh = true;
        self.left.doors.remove(&id);
        self.write(&Entry::Unlisten(id));
        self.guest.unlisten(id);
    }

    /// Holds back what a login or a stream says, or lets it come again; false where that cannot be. Written when it changes.
    pub fn hold(&mut self, conn: Conn, on: bool) -> bool {
        if on == self.left.held.contains(&conn) {
            return self.guest.hold(conn, on);
        }
        if !self.guest.hold(conn, on) {
            return false;
        }
        self.left.holds(conn, on);
        self.fresh = true;
        self.write(&Entry::Hold(conn, on));
        true
    }

    /// Whether a login or a stream is held back.
    pub fn holds(&self, conn: Conn) -> bool {
        self.left.held.contains(&conn)
    }

    /// Who may log in.
    pub fn accounts(&self) -> Arc<Accounts> {
        self.guest.accounts()
    }

    /// Runs one slice; `now` is what the clock says, which the guest learns at its inputs and every 10 ms.
    pub fn run(&mut self, now: Time) -> Wants {
        let now = Time(now.0 / 1000 * 1000);
        if self.fresh || !self.busy || now.since(self.stamp) >= STAMP_NS || now < self.stamp {
            if self.slices > 0 && self.stamp != now {
                let run = Entry::Run {
                    now: self.stamp,
                    slices: std::mem::take(&mut self.slices),
                };
                self.put(&run);
            }
            self.stamp = now;
        }
        self.fresh = false;
        self.slices += 1;
        let wants = self.guest.run(SLICE, self.stamp);
        self.busy = wants == Wants::Run;
        let first = self.made.len();
        self.guest.drain(&mut self.made);
        for p in self.made.get(first..).unwrap_or_default() {
            self.left.saw(p);
        }
        wants
    }

    /// Hands out what the guest made since the last call, in order.
    pub fn drain(&mut self, out: &mut Vec<Produced>) {
        out.append(&mut self.made);
    }

    /// Lays the guest to rest until something happens. No input: it is not written.
    pub fn rest(&mut self) {
        self.guest.rest();
        self.bytes.shrink_to_fit();
        self.made.shrink_to_fit();
    }

    /// Instructions that the guest has retired.
    pub fn retired(&self) -> u64 {
        self.guest.retired()
    }

    /// What is to be recorded before anything that the guest made may leave, and when it has done with an input; empty if nothing is due.
    pub fn take(&mut self) -> Vec<u8> {
        let made = self.left.sum.count != self.sealed;
        let late = self.pending() && self.stamp.since(self.sealed_at) >= LATE_NS;
        let due = made || !self.busy && (self.unsealed || late);
        if !due && self.bytes.len() < CHUNK {
            return Vec::new();
        }
        self.seal()
    }

    fn pending(&self) -> bool {
        self.slices > 0 || !self.bytes.is_empty()
    }

    /// What is not taken yet of a world that is quiet; empty if there is nothing.
    pub fn rest_of_it(&mut self) -> Vec<u8> {
        if self.pending() { self.seal() } else { Vec::new() }
    }

    /// Everything that is not taken yet, with a seal behind it: for the end.
    pub fn seal(&mut self) -> Vec<u8> {
        self.write_seal();
        std::mem::take(&mut self.bytes)
    }

    /// Instructions retired since a checkpoint was last tried, or since this life began: what a rerun would run again.
    pub fn since_checkpoint(&self) -> u64 {
        self.guest.retired().saturating_sub(self.point)
    }

    /// Writes down that a checkpoint stands here, and gives it. `None` where the guest cannot be written in `most` bytes, or nobody
    /// could run from there on; or what it made is not taken yet. The guest goes on as if nothing had been.
    pub fn checkpoint(&mut self, most: usize) -> Option<Checkpoint> {
        if self.full || !self.made.is_empty() {
            return None;
        }
        self.point = self.guest.retired();
        let guest = self.guest.freeze(most.min(checkpoint::LONGEST))?;
        self.write_seal();
        self.write(&Entry::Checkpoint);
        self.left.sum.fold();
        if self.full {
            return None;
        }
        Checkpoint::new(self.length, &self.left, &guest)
    }

    /// Whether the journal has taken more than half of what it may have: the part before the next checkpoint is to be dropped.
    pub fn is_crowded(&self) -> bool {
        !self.full && self.room < self.most / 2
    }

    /// Drops everything before a checkpoint that was made of this guest, and tells it where it stands now. `None` where that makes no
    /// room.
    pub fn cut(&mut self, checkpoint: &mut Checkpoint) -> Option<Cut> {
        let mut head = self.head.clone();
        write(&Entry::Cut, &mut Time(0), &mut head);
        let from = checkpoint.at;
        let gone = from.checked_sub(head.len() as u64).filter(|gone| *gone > 0)?;
        if self.full || from > self.length {
            return None;
        }
        self.room = (self.room + gone).min(self.most);
        self.length -= gone;
        checkpoint.at = head.len() as u64;
        Some(Cut { from, head })
    }

    fn write_seal(&mut self) {
        let seal = Entry::Seal {
            retired: self.guest.retired(),
            digest: self.left.sum.digest(),
        };
        self.write(&seal);
        self.sealed = self.left.sum.count;
        self.unsealed = false;
        self.sealed_at = self.stamp;
    }
}
