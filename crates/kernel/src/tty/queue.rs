//! The input queue of a terminal: bytes with line marks, as canonical and raw readers see them.

use std::collections::VecDeque;
use turncoat_freeze::Freeze;

/// Slots of the queue (N_TTY_BUF_SIZE).
pub const SIZE: usize = 4096;
/// How much one internal step of a read takes; it shows when VMIN is larger.
pub const CHUNK: usize = 64;
/// Ends a line (on a byte 0: an end-of-file mark that is not itself read).
const MARK: u16 = 0x100;

/// Bytes received and not read. The first `complete` of them belong to finished lines (or, in raw mode, are ready); the rest is
/// the line being edited.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Freeze)]
pub struct Input {
    bytes: VecDeque<u16>,
    /// Where the line being edited begins (canonical mode).
    complete: usize,
    /// Bytes that a raw reader may have.
    committed: usize,
    /// The mark at the end was set by a change of mode, not by a line end.
    push: bool,
}

impl Input {
    /// Bytes in the queue.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Length of the line being edited.
    pub fn editing(&self) -> usize {
        self.bytes.len() - self.complete
    }

    /// The byte at distance `i` from the start of the line being edited.
    pub fn edited(&self, i: usize) -> u8 {
        self.bytes.get(self.complete + i).map_or(0, |b| *b as u8)
    }

    /// Appends a byte; a full queue drops it.
    pub fn put(&mut self, c: u8) {
        if self.bytes.len() < SIZE {
            self.bytes.push_back(u16::from(c));
        }
    }

    /// Appends a byte that ends a line.
    pub fn put_end(&mut self, c: u8) {
        if self.bytes.len() < SIZE {
            self.bytes.push_back(u16::from(c) | MARK);
        } else if let Some(b) = self.bytes.back_mut() {
            *b = u16::from(c) | MARK;
        }
        self.complete = self.bytes.len();
    }

    /// Shortens the line being edited to `n` bytes.
    pub fn cut(&mut self, n: usize) {
        self.bytes.truncate(self.complete + n);
    }

    /// In raw mode, what was received becomes readable.
    pub fn commit(&mut self) {
        self.committed = self.bytes.len();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Input::default();
    }

    /// The mode changed between lines and bytes.
    pub fn change_mode(&mut self, canonical: bool) {
        for b in &mut self.bytes {
            *b &= 0xff;
        }
        self.push = false;
        self.complete = 0;
        if canonical && let Some(last) = self.bytes.back_mut() {
            *last |= MARK;
            self.complete = self.bytes.len();
            self.push = true;
        }
        self.committed = self.bytes.len();
    }

    /// True if a canonical read would return.
    pub fn has_line(&self) -> bool {
        self.complete > 0
    }

    /// Bytes that a raw read may have.
    pub fn ready_bytes(&self) -> usize {
        self.committed.min(self.bytes.len())
    }

    /// Takes up to `max` (not 0) bytes of the first line; `None` if there is no finished line.
    pub fn read_line(&mut self, max: usize) -> Option<Vec<u8>> {
        if self.complete == 0 {
            return None;
        }
        let mut line = Vec::new();
        while line.len() < max && self.complete > 0 {
            let b = self.pop();
            if b & MARK == 0 {
                line.push(b as u8);
                continue;
            }
            if b != MARK {
                line.push(b as u8);
            }
            return Some(line);
        }
        // The buffer is full. An end-of-file mark right behind belongs to this read.
        if self.complete > 0 && self.bytes.front() == Some(&MARK) {
            self.pop();
        }
        Some(line)
    }

    /// The first finished line as a reader will get it, not taken.
    pub fn first_line(&self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        for b in self.bytes.iter().take(self.complete) {
            if *b != MARK {
                line.push(*b as u8);
            }
            if b & MARK != 0 {
                return Some(line);
            }
        }
        None
    }

    /// What a raw reader may have, not taken.
    pub fn ready(&self) -> Vec<u8> {
        let ready = self.bytes.iter().take(self.ready_bytes());
        ready.map(|b| *b as u8).collect()
    }

    /// Takes up to `max` bytes.
    pub fn read_bytes(&mut self, max: usize) -> Vec<u8> {
        let n = max.min(self.ready_bytes());
        (0..n).map(|_| self.pop() as u8).collect()
    }

    /// Bytes that `FIONREAD` tells of.
    pub fn count(&self, canonical: bool) -> usize {
        match canonical {
            true => self
                .bytes
                .iter()
                .take(self.complete)
                .filter(|b| **b != MARK)
                .count(),
            false => self.ready_bytes(),
        }
    }

    fn pop(&mut self) -> u16 {
        let b = self.bytes.pop_front().unwrap_or(0);
        self.complete = self.complete.saturating_sub(1);
        self.committed = self.committed.saturating_sub(1);
        if self.bytes.is_empty() {
            self.bytes.shrink_to(64);
        }
        b
    }
}
