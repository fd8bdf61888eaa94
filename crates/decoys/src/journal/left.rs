//! What stands beside a guest while its journal is written or run: the same on both sides.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use turncoat_event::Time;
use turncoat_freeze::{Damaged, Freeze, In, Out};

use super::Birth;
use crate::worlds::{Conn, Produced};

/// What a run leaves beside its guest, for whoever goes on from there.
pub struct Left {
    /// Over everything that the guest made.
    pub(super) sum: Sum,
    /// The last reading of the clock that is written.
    pub(super) last: Time,
    /// Logins and streams that nobody has closed.
    pub(super) open: BTreeSet<Conn>,
    /// What is listened at.
    pub(super) doors: BTreeSet<u32>,
    /// Logins and streams that are held back.
    pub(super) held: BTreeSet<Conn>,
    /// Names the birth: a checkpoint belongs to one.
    pub(super) birth: [u8; 16],
}

impl Left {
    /// Of a guest that nothing has reached yet.
    pub(super) fn new(birth: &Birth) -> Left {
        Left {
            sum: Sum::default(),
            last: Time(0),
            open: BTreeSet::new(),
            doors: BTreeSet::new(),
            held: BTreeSet::new(),
            birth: half(Sha256::digest(birth.head())),
        }
    }

    /// The guest made this.
    pub(super) fn saw(&mut self, p: &Produced) {
        self.sum.add(p);
        match p {
            Produced::Inbound { conn, .. } => drop(self.open.insert(*conn)),
            Produced::Down => {
                self.open.clear();
                self.doors.clear();
            }
            _ => {}
        }
    }

    /// A login or stream is closed.
    pub(super) fn closed(&mut self, conn: Conn) {
        self.open.remove(&conn);
        self.held.remove(&conn);
    }

    /// A login or stream is held back, or goes on.
    pub(super) fn holds(&mut self, conn: Conn, on: bool) {
        if on {
            self.held.insert(conn);
        } else {
            self.held.remove(&conn);
        }
    }

    /// Writes all but the birth, behind a checkpoint.
    pub(super) fn put(&self, out: &mut Out) {
        let Left {
            sum,
            last,
            open,
            doors,
            held,
            birth: _,
        } = self;
        sum.folded.put(None, out);
        sum.count.put(None, out);
        last.0.put(None, out);
        open.put(None, out);
        doors.put(None, out);
        held.put(None, out);
    }

    /// Takes it back.
    pub(super) fn take(birth: &Birth, from: &mut In<'_>) -> Result<Left, Damaged> {
        let left = Left::new(birth);
        let sum = Sum::folded(Freeze::take(None, from)?, u64::take(None, from)?);
        Ok(Left {
            sum,
            last: Time(i64::take(None, from)?),
            open: Freeze::take(None, from)?,
            doors: Freeze::take(None, from)?,
            held: Freeze::take(None, from)?,
            ..left
        })
    }
}

/// The first half of a digest.
pub(super) fn half(whole: impl IntoIterator<Item = u8>) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
    half
}

/// The running digest over what a world made.
#[derive(Clone, Default)]
pub(super) struct Sum {
    hash: Sha256,
    /// What it began with at the last checkpoint.
    folded: [u8; 16],
    /// Things counted.
    pub count: u64,
}

impl Sum {
    /// Begins anew with a digest of what was counted before.
    fn folded(folded: [u8; 16], count: u64) -> Sum {
        let mut hash = Sha256::new();
        hash.update(folded);
        Sum { hash, folded, count }
    }

    /// Begins anew where a checkpoint stands: the state of a hash is nothing that can be written.
    pub fn fold(&mut self) {
        *self = Sum::folded(self.digest(), self.count);
    }

    /// Counts one thing.
    pub fn add(&mut self, p: &Produced) {
        let mut part = |code: u8, conn: Option<Conn>, bytes: &[u8]| {
            self.hash.update([code]);
            self.hash
                .update(conn.map_or(u64::MAX, |c| c.0.into()).to_le_bytes());
            self.hash.update((bytes.len() as u64).to_le_bytes());
            self.hash.update(bytes);
        };
        match p {
            Produced::Data { conn, stderr, bytes } => part(u8::from(*stderr), Some(*conn), bytes),
            Produced::Eof { conn } => part(2, Some(*conn), &[]),
            Produced::Exit { conn, status } => part(3, Some(*conn), &status.to_le_bytes()),
            Produced::Killed { conn, signal, core } => {
                part(4 + u8::from(*core), Some(*conn), signal.as_bytes());
            }
            // Made by the one who feeds the guest, not by the guest.
            Produced::Took { .. } => return,
            Produced::Event { conn, kind } => {
                part(6, *conn, &serde_json::to_vec(kind).unwrap_or_default());
            }
            Produced::Artifact { sha256, .. } => part(7, None, &sha256.0),
            Produced::Secret { conn, user, secret } => {
                part(10, Some(*conn), user);
                part(11, Some(*conn), secret);
            }
            Produced::Entered { conn } => part(12, Some(*conn), &[]),
            Produced::Down => part(8, None, &[]),
            Produced::Inbound { conn, .. } => part(9, Some(*conn), format!("{p:?}").as_bytes()),
        }
        self.count += 1;
    }

    /// What was counted so far.
    pub fn digest(&self) -> [u8; 16] {
        half(self.hash.clone().finalize())
    }
}
