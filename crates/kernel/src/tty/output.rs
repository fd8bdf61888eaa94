//! Output processing (OPOST and its flags) and the queue of echoes that wait for room.

use super::{OUT_MAX, Tty};
use crate::abi::tty::*;
use std::collections::VecDeque;
use turncoat_freeze::Freeze;

/// Bytes of echo that may wait while output is stopped or full; older echoes are dropped.
const ECHO_MAX: usize = ECHO_SIZE - (ECHO_BLOCK + 32);
const ECHO_SIZE: usize = 4096;
const ECHO_BLOCK: usize = 256;

/// What is to be echoed once there is room.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Freeze)]
pub enum Echo {
    /// A character, through output processing.
    Char(u8),
    /// A control character as `^X`.
    Ctrl(u8),
    /// The byte 0xff, which output processing does not see.
    Ff,
    /// The line being edited starts in this column.
    SetCanonCol,
    /// The last character took no column.
    MoveBack,
    /// Go back over a tab: columns used by the characters before it, and whether they are counted from an earlier tab.
    EraseTab { chars: usize, after_tab: bool },
}

impl Echo {
    fn size(self) -> usize {
        match self {
            Echo::Char(_) => 1,
            Echo::EraseTab { .. } => 3,
            _ => 2,
        }
    }
}

/// The side of a terminal that goes to the master.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub struct Output {
    /// Bytes that the master has not read.
    pub queue: VecDeque<u8>,
    /// While input is received: how much of `queue` was there before. The rest is lost if a signal is typed.
    pub settled: usize,
    column: usize,
    canon_column: usize,
    echoes: VecDeque<Echo>,
    echo_bytes: usize,
    /// Of `echo_bytes`, those of complete characters.
    echo_mark: usize,
    /// Of `echo_bytes`, those that were to be sent when they were last looked at.
    echo_committed: usize,
}

impl Default for Output {
    fn default() -> Self {
        Output {
            queue: VecDeque::new(),
            settled: usize::MAX,
            column: 0,
            canon_column: 0,
            echoes: VecDeque::new(),
            echo_bytes: 0,
            echo_mark: 0,
            echo_committed: 0,
        }
    }
}

impl Output {
    /// Forgets echoes that were not sent.
    pub fn drop_echoes(&mut self) {
        self.echoes.clear();
        self.echo_bytes = 0;
        self.echo_mark = 0;
        self.echo_committed = 0;
    }

    /// Forgets what was sent and not read.
    pub fn drop_queue(&mut self) {
        self.queue = VecDeque::new();
    }

    pub(super) fn reset_columns(&mut self) {
        self.column = 0;
        self.canon_column = 0;
    }
}

/// Control characters as the kernel's ctype has them.
pub(super) fn is_cntrl(c: u8) -> bool {
    c < 32 || c == 127
}

/// Upper case as the kernel's ctype (Latin-1) has it.
fn upper(c: u8) -> u8 {
    match c {
        b'a'..=b'z' | 0xdf..=0xf6 | 0xf8..=0xff => c - 32,
        _ => c,
    }
}

/// Lower case as the kernel's ctype (Latin-1) has it.
pub(super) fn lower(c: u8) -> u8 {
    match c {
        b'A'..=b'Z' | 0xc0..=0xd6 | 0xd8..=0xde => c + 32,
        _ => c,
    }
}

impl Tty {
    /// Bytes that output may still add.
    pub(crate) fn out_room(&self) -> usize {
        if self.stopped {
            0
        } else {
            OUT_MAX.saturating_sub(self.out.queue.len())
        }
    }

    pub(super) fn is_continuation(&self, c: u8) -> bool {
        self.i(IUTF8) && c & 0xc0 == 0x80
    }

    /// A program's output: returns how many bytes were taken.
    pub(crate) fn write_output(&mut self, bytes: &[u8]) -> usize {
        self.process_echoes();
        if !self.o(OPOST) {
            let n = bytes.len().min(self.out_room());
            self.out.queue.extend(&bytes[..n]);
            return n;
        }
        bytes.iter().take_while(|c| self.output_char(**c)).count()
    }

    /// One character through output processing; false if there is no room.
    fn output_char(&mut self, c: u8) -> bool {
        let room = self.out_room();
        if room == 0 {
            return false;
        }
        let mut c = c;
        match c {
            b'\n' => {
                if self.o(ONLRET) {
                    self.out.column = 0;
                }
                if self.o(ONLCR) {
                    if room < 2 {
                        return false;
                    }
                    self.out.reset_columns();
                    self.out.queue.extend(b"\r\n");
                    return true;
                }
                self.out.canon_column = self.out.column;
            }
            b'\r' => {
                if self.o(ONOCR) && self.out.column == 0 {
                    return true;
                }
                if self.o(OCRNL) {
                    c = b'\n';
                }
                if !self.o(OCRNL) || self.o(ONLRET) {
                    self.out.reset_columns();
                }
            }
            b'\t' => {
                let spaces = 8 - (self.out.column & 7);
                if self.termios.oflag & TABDLY == XTABS {
                    if room < spaces {
                        return false;
                    }
                    self.out.column += spaces;
                    self.out.queue.extend(std::iter::repeat_n(b' ', spaces));
                    return true;
                }
                self.out.column += spaces;
            }
            8 => self.out.column = self.out.column.saturating_sub(1),
            _ if !is_cntrl(c) => {
                if self.o(OLCUC) {
                    c = upper(c);
                }
                if !self.is_continuation(c) {
                    self.out.column += 1;
                }
            }
            _ => {}
        }
        self.out.queue.push_back(c);
        true
    }

    /// Echoes a typed character: control characters as `^X` if ECHOCTL.
    pub(super) fn echo_char(&mut self, c: u8) {
        self.echo(match c {
            0xff => Echo::Ff,
            c if self.l(ECHOCTL) && is_cntrl(c) && c != b'\t' => Echo::Ctrl(c),
            c => Echo::Char(c),
        });
    }

    /// Echoes a character as it is.
    pub(super) fn echo_raw(&mut self, c: u8) {
        self.echo(if c == 0xff { Echo::Ff } else { Echo::Char(c) });
    }

    pub(super) fn echo(&mut self, e: Echo) {
        self.out.echoes.push_back(e);
        self.out.echo_bytes += e.size();
        while self.out.echo_bytes > ECHO_SIZE {
            self.drop_echo();
        }
    }

    /// The echoes of one typed character are complete. They are sent when the input at hand is done, or each time another
    /// block of them has gathered.
    pub(super) fn commit_echoes(&mut self) {
        let (all, before) = (self.out.echo_bytes, self.out.echo_committed);
        self.out.echo_mark = all;
        if all >= ECHO_BLOCK && all % ECHO_BLOCK <= before % ECHO_BLOCK {
            self.process_echoes();
        }
    }

    /// Sends all echoes, as far as there is room.
    pub(crate) fn flush_echoes(&mut self) {
        self.out.echo_mark = self.out.echo_bytes;
        self.process_echoes();
    }

    /// Sends the echoes of complete characters, as far as there is room.
    pub(crate) fn process_echoes(&mut self) {
        self.out.echo_committed = self.out.echo_mark;
        while self.out.echo_committed > 0
            && let Some(e) = self.out.echoes.front().copied()
            && self.send_echo(e)
        {
            self.drop_echo();
        }
        while self.out.echo_committed >= ECHO_MAX {
            self.drop_echo();
        }
        if self.out.echoes.is_empty() {
            self.out.echoes.shrink_to(32);
        }
    }

    fn drop_echo(&mut self) {
        let Some(e) = self.out.echoes.pop_front() else {
            self.out.drop_echoes();
            return;
        };
        for n in [
            &mut self.out.echo_bytes,
            &mut self.out.echo_committed,
            &mut self.out.echo_mark,
        ] {
            *n = n.saturating_sub(e.size());
        }
    }

    fn send_echo(&mut self, e: Echo) -> bool {
        let room = self.out_room();
        match e {
            Echo::SetCanonCol => self.out.canon_column = self.out.column,
            Echo::MoveBack => self.out.column = self.out.column.saturating_sub(1),
            Echo::Char(c) if self.o(OPOST) => return self.output_char(c),
            Echo::Char(c) if room > 0 => self.out.queue.push_back(c),
            Echo::Ctrl(c) if room > 1 => {
                self.out.queue.extend([b'^', c ^ 0x40]);
                self.out.column += 2;
            }
            Echo::Ff if room > 0 => {
                self.out.queue.push_back(0xff);
                self.out.column += 1;
            }
            Echo::EraseTab { chars, after_tab } => {
                let used = if after_tab {
                    chars
                } else {
                    chars + self.out.canon_column
                };
                let back = 8 - (used & 7);
                if back > room {
                    return false;
                }
                self.out.queue.extend(std::iter::repeat_n(8, back));
                self.out.column = self.out.column.saturating_sub(back);
            }
            _ => return false,
        }
        true
    }
}
