//! What arrives from the master: mapping, signals, flow control, line editing, echo (`n_tty_receive_*`).

use super::output::{Echo, is_cntrl, lower};
use super::queue::SIZE;
use super::{MASTER_READ_MAX, Tty};
use crate::abi::tty::*;

impl Tty {
    /// Takes bytes from the front queue while the line discipline has room; returns the signals that were typed.
    pub(crate) fn receive_flip(&mut self) -> Vec<u8> {
        let mut signals = Vec::new();
        self.out.settled = self.out.queue.len();
        while !self.flip.is_empty() {
            let used = self.input.len() + 1;
            let room = if self.i(PARMRK) {
                (SIZE + 2 - (used - 1)) / 3
            } else {
                SIZE - (used - 1)
            };
            // In an over-long line further characters replace the last one, so that its end can still be typed.
            if room <= 1 {
                if !self.by_line() || self.input.has_line() {
                    break;
                }
                if self.input.len() >= SIZE {
                    self.input.cut(self.input.editing().saturating_sub(1));
                }
            }
            let Some(c) = self.flip.pop_front() else { break };
            self.receive(c, &mut signals);
        }
        self.out.settled = usize::MAX;
        if self.flip.is_empty() {
            self.flip.shrink_to(64);
        }
        if !self.by_line() {
            self.input.commit();
        }
        signals
    }

    fn receive(&mut self, c: u8, signals: &mut Vec<u8>) {
        let mut c = c;
        let literal = std::mem::take(&mut self.lnext);
        if self.i(ISTRIP) {
            c &= 0x7f;
        }
        if self.i(IUCLC) && self.l(IEXTEN) {
            c = lower(c);
        }
        if literal {
            self.receive_plain(c);
        } else if self.l(EXTPROC) {
            self.input.put(c);
        } else if self.is_special(c) {
            self.receive_special(c, signals);
        } else {
            self.receive_plain(c);
        }
    }

    /// True if the settings give this character a meaning of its own.
    fn is_special(&self, c: u8) -> bool {
        if c == 0 {
            return false;
        }
        let any = |places: &[usize]| places.iter().any(|p| self.is(c, *p));
        c == b'\r' && self.i(IGNCR | ICRNL)
            || c == b'\n' && (self.i(INLCR) || self.l(ICANON))
            || self.l(ICANON) && any(&[VERASE, VKILL, VEOF, VEOL])
            || self.l(ICANON) && self.l(IEXTEN) && any(&[VWERASE, VLNEXT, VEOL2])
            || self.l(ICANON) && self.l(IEXTEN) && self.l(ECHO) && any(&[VREPRINT])
            || self.i(IXON) && any(&[VSTART, VSTOP])
            || self.l(ISIG) && any(&[VINTR, VQUIT, VSUSP])
    }

    /// IXANY: any character restarts output.
    fn restart_on_any(&mut self) {
        if self.stopped && !self.tco_stopped && self.i(IXON) && self.i(IXANY) {
            self.start();
            self.process_echoes();
        }
    }

    fn receive_plain(&mut self, c: u8) {
        self.restart_on_any();
        if self.l(ECHO) {
            self.finish_erasing();
            self.echo_typed(c);
            self.commit_echoes();
        }
        self.put_marked(c);
    }

    /// Echo of a character that becomes part of the line.
    fn echo_typed(&mut self, c: u8) {
        if self.input.editing() == 0 {
            self.echo(Echo::SetCanonCol);
        }
        self.echo_char(c);
    }

    /// PARMRK: 0xff is doubled.
    fn put_marked(&mut self, c: u8) {
        if c == 0xff && self.i(PARMRK) {
            self.input.put(c);
        }
        self.input.put(c);
    }

    fn receive_special(&mut self, c: u8, signals: &mut Vec<u8>) {
        if self.i(IXON) {
            if self.is(c, VSTART) {
                self.start();
                self.process_echoes();
                return;
            }
            if self.is(c, VSTOP) {
                self.stop();
                return;
            }
        }
        if self.l(ISIG) {
            for (place, sig) in [(VINTR, SIGINT), (VQUIT, SIGQUIT), (VSUSP, SIGTSTP)] {
                if self.is(c, place) {
                    signals.push(sig);
                    self.typed_signal(c);
                    return;
                }
            }
        }
        self.restart_on_any();
        let mut c = c;
        if c == b'\r' {
            if self.i(IGNCR) {
                return;
            }
            if self.i(ICRNL) {
                c = b'\n';
            }
        } else if c == b'\n' && self.i(INLCR) {
            c = b'\r';
        }
        if self.l(ICANON) && self.receive_editing(c) {
            return;
        }
        if self.l(ECHO) {
            self.finish_erasing();
            if c == b'\n' {
                self.echo_raw(c)
            } else {
                self.echo_typed(c)
            }
            self.commit_echoes();
        }
        self.put_marked(c);
    }

    /// What a typed signal does to the queues; the signal itself is the caller's.
    fn typed_signal(&mut self, c: u8) {
        if !self.l(NOFLSH) {
            self.out.drop_echoes();
            self.flush_output();
            self.flush_input();
        }
        if self.i(IXON) {
            self.start();
        }
        if self.l(ECHO) {
            self.echo_char(c);
            self.commit_echoes();
        } else {
            self.process_echoes();
        }
    }

    /// Canonical mode's own characters; false if this is none of them.
    fn receive_editing(&mut self, c: u8) -> bool {
        let extended = self.l(IEXTEN);
        if self.is(c, VERASE) || self.is(c, VKILL) || extended && self.is(c, VWERASE) {
            self.erase(c);
            self.commit_echoes();
            return true;
        }
        if extended && self.is(c, VLNEXT) {
            self.lnext = true;
            if self.l(ECHO) {
                self.finish_erasing();
                if self.l(ECHOCTL) {
                    self.echo_raw(b'^');
                    self.echo_raw(8);
                    self.commit_echoes();
                }
            }
            return true;
        }
        if extended && self.is(c, VREPRINT) && self.l(ECHO) {
            self.finish_erasing();
            self.echo_char(c);
            self.echo_raw(b'\n');
            for i in 0..self.input.editing() {
                self.echo_char(self.input.edited(i));
            }
            self.commit_echoes();
            return true;
        }
        if c == b'\n' {
            if self.l(ECHO | ECHONL) {
                self.echo_raw(c);
                self.commit_echoes();
            }
            self.input.put_end(c);
            return true;
        }
        if self.is(c, VEOF) {
            self.input.put_end(0);
            return true;
        }
        if self.is(c, VEOL) || extended && self.is(c, VEOL2) {
            if self.l(ECHO) {
                self.echo_typed(c);
                self.commit_echoes();
            }
            if c == 0xff && self.i(PARMRK) {
                self.input.put(c);
            }
            self.input.put_end(c);
            return true;
        }
        false
    }

    /// ECHOPRT: the text being erased is closed with a slash.
    fn finish_erasing(&mut self) {
        if std::mem::take(&mut self.erasing) {
            self.echo_raw(b'/');
        }
    }

    fn erase(&mut self, c: u8) {
        if self.input.editing() == 0 {
            return;
        }
        let (one, word) = (
            self.is(c, VERASE),
            !self.is(c, VERASE) && self.l(IEXTEN) && self.is(c, VWERASE),
        );
        if !one && !word {
            if !self.l(ECHO) {
                self.input.cut(0);
                return;
            }
            if !self.l(ECHOK) || !self.l(ECHOKE) || !self.l(ECHOE) {
                self.input.cut(0);
                self.finish_erasing();
                self.echo_char(self.termios.cc[VKILL]);
                if self.l(ECHOK) {
                    self.echo_raw(b'\n');
                }
                return;
            }
        }
        let mut seen_word = false;
        while self.input.editing() > 0 {
            let end = self.input.editing();
            let mut head = end - 1;
            while head > 0 && self.is_continuation(self.input.edited(head)) {
                head -= 1;
            }
            let c = self.input.edited(head);
            if self.is_continuation(c) {
                break;
            }
            if word {
                if is_alnum(c) || c == b'_' {
                    seen_word = true;
                } else if seen_word {
                    break;
                }
            }
            if self.l(ECHO) {
                self.echo_erase(head, end, one);
            }
            self.input.cut(head);
            if one {
                break;
            }
        }
        if self.input.editing() == 0 && self.l(ECHO) {
            self.finish_erasing();
        }
    }

    /// Shows that the character at `head..end` of the line is gone.
    fn echo_erase(&mut self, head: usize, end: usize, one: bool) {
        let c = self.input.edited(head);
        if self.l(ECHOPRT) {
            if !self.erasing {
                self.echo_raw(b'\\');
                self.erasing = true;
            }
            self.echo_char(c);
            for i in head + 1..end {
                self.echo_raw(self.input.edited(i));
                self.echo(Echo::MoveBack);
            }
        } else if one && !self.l(ECHOE) {
            self.echo_char(self.termios.cc[VERASE]);
        } else if c == b'\t' {
            let (mut chars, mut after_tab) = (0, false);
            for i in (0..head).rev() {
                let c = self.input.edited(i);
                if c == b'\t' {
                    after_tab = true;
                    break;
                }
                if is_cntrl(c) {
                    chars += if self.l(ECHOCTL) { 2 } else { 0 };
                } else if !self.is_continuation(c) {
                    chars += 1;
                }
            }
            self.echo(Echo::EraseTab {
                chars: chars & 7,
                after_tab,
            });
        } else {
            let cells = match is_cntrl(c) {
                true if self.l(ECHOCTL) => 2,
                true => 0,
                false => 1,
            };
            for _ in 0..cells {
                for e in [8, b' ', 8] {
                    self.echo_raw(e);
                }
            }
        }
    }

    /// Stops output (VSTOP or TCOOFF).
    pub(crate) fn stop(&mut self) {
        if !self.stopped {
            self.stopped = true;
            self.packet_status(TIOCPKT_STOP, TIOCPKT_START);
        }
    }

    /// Goes on with output unless TCOOFF holds it.
    pub(crate) fn start(&mut self) {
        if self.stopped && !self.tco_stopped {
            self.stopped = false;
            self.packet_status(TIOCPKT_START, TIOCPKT_STOP);
        }
    }

    /// Tells a master in packet mode.
    pub(crate) fn packet_status(&mut self, set: u8, clear: u8) {
        if self.packet {
            self.pktstatus = self.pktstatus & !clear | set;
        }
    }

    /// Forgets input (TCIFLUSH, typed signals).
    pub(crate) fn flush_input(&mut self) {
        self.input.clear();
        self.erasing = false;
        self.packet_status(TIOCPKT_FLUSHREAD, 0);
    }

    /// Forgets output that has not come as far as the master's own queue (TCOFLUSH, typed signals).
    pub(crate) fn flush_output(&mut self) {
        self.out.queue.truncate(MASTER_READ_MAX.min(self.out.settled));
        self.packet_status(TIOCPKT_FLUSHWRITE, 0);
    }
}

/// Letters and digits as the kernel's ctype (Latin-1) has them.
fn is_alnum(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c >= 0xc0 && c != 0xd7 && c != 0xf7
}
