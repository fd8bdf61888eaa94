//! Requests on terminals.
//!
//! [`argument`] says for a request what its argument is, so that the decoder of system calls can bring the bytes; [`Ttys::ioctl`]
//! then works on bytes alone.

use super::{Caller, MASTER_READ_MAX, Side, Tty, TtyEffect, TtyFile, TtyId, Ttys};
use crate::abi::tty::*;
use crate::{Errno, KResult};

/// What the third argument of a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Argument {
    /// Unused, or a number.
    Value,
    /// A pointer to this many bytes that are read.
    In(usize),
    /// A pointer to this many bytes that are written.
    Out(usize),
}

/// What a request is answered with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Returns 0.
    Done,
    /// Returns 0 after these bytes went to the argument.
    Bytes(Vec<u8>),
    /// `TIOCGPTPEER`: returns a new descriptor of this file, opened with these flags.
    Open(TtyFile, u32),
}

const REQUESTS: &[(u32, Argument)] = &[
    (TCGETS, Argument::Out(TERMIOS_SIZE)),
    (TCSETS, Argument::In(TERMIOS_SIZE)),
    (TCSETSW, Argument::In(TERMIOS_SIZE)),
    (TCSETSF, Argument::In(TERMIOS_SIZE)),
    (TCGETS2, Argument::Out(TERMIOS2_SIZE)),
    (TCSETS2, Argument::In(TERMIOS2_SIZE)),
    (TCSETSW2, Argument::In(TERMIOS2_SIZE)),
    (TCSETSF2, Argument::In(TERMIOS2_SIZE)),
    (TCGETA, Argument::Out(TERMIO_SIZE)),
    (TCSETA, Argument::In(TERMIO_SIZE)),
    (TCSETAW, Argument::In(TERMIO_SIZE)),
    (TCSETAF, Argument::In(TERMIO_SIZE)),
    (TIOCGLCKTRMIOS, Argument::Out(TERMIOS_SIZE)),
    (TIOCSLCKTRMIOS, Argument::In(TERMIOS_SIZE)),
    (TIOCGPGRP, Argument::Out(4)),
    (TIOCSPGRP, Argument::In(4)),
    (TIOCGSID, Argument::Out(4)),
    (TIOCOUTQ, Argument::Out(4)),
    (FIONREAD, Argument::Out(4)),
    (TIOCSTI, Argument::In(1)),
    (TIOCGWINSZ, Argument::Out(8)),
    (TIOCSWINSZ, Argument::In(8)),
    (TIOCGSOFTCAR, Argument::Out(4)),
    (TIOCSSOFTCAR, Argument::In(4)),
    (TIOCPKT, Argument::In(4)),
    (TIOCGPKT, Argument::Out(4)),
    (TIOCSETD, Argument::In(4)),
    (TIOCGETD, Argument::Out(4)),
    (TIOCGPTN, Argument::Out(4)),
    (TIOCSPTLCK, Argument::In(4)),
    (TIOCGPTLCK, Argument::Out(4)),
    (TIOCGDEV, Argument::Out(4)),
    (TIOCGEXCL, Argument::Out(4)),
];

/// What the argument of this request is.
pub fn argument(request: u32) -> Argument {
    REQUESTS
        .iter()
        .find(|(r, _)| *r == request)
        .map_or(Argument::Value, |(_, a)| *a)
}

/// How `TCSETS*` treats the queues.
struct Set {
    flush: bool,
    merge: bool,
}

impl Ttys {
    /// One request. `arg` is the raw third argument, `input` the bytes behind it if [`argument`] says `In`. `readable`: the
    /// descriptor allows reading. `session_of` gives the session of a process group, if there is such a group.
    #[allow(clippy::too_many_arguments)]
    pub fn ioctl(
        &mut self,
        f: &TtyFile,
        who: &Caller,
        request: u32,
        arg: u64,
        input: &[u8],
        readable: bool,
        session_of: &dyn Fn(u32) -> Option<u32>,
    ) -> KResult<Answer> {
        if self.hung_up(f) {
            return Err(if request == TIOCSPGRP {
                Errno::ENOTTY
            } else {
                Errno::EIO
            });
        }
        let (id, master) = (f.tty, f.side == Side::Master);
        let t = self.tty_mut(id).ok_or(Errno::EIO)?;
        let value = WinSize::from_bytes(input);
        let value = u32::from(value.rows) | u32::from(value.cols) << 16;
        let number = |n: u32| Ok(Answer::Bytes(n.to_le_bytes().to_vec()));
        match request {
            TCGETS => Ok(Answer::Bytes(t.termios.to_bytes()[..TERMIOS_SIZE].to_vec())),
            TCGETS2 => Ok(Answer::Bytes(t.termios.to_bytes().to_vec())),
            TCGETA => Ok(Answer::Bytes(t.termios.to_termio().to_vec())),
            TCSETS | TCSETSW | TCSETS2 | TCSETSW2 => self.set_termios(
                id,
                who,
                master,
                input,
                Set {
                    flush: false,
                    merge: false,
                },
            ),
            TCSETSF | TCSETSF2 => self.set_termios(
                id,
                who,
                master,
                input,
                Set {
                    flush: true,
                    merge: false,
                },
            ),
            TCSETA | TCSETAW => self.set_termios(
                id,
                who,
                master,
                input,
                Set {
                    flush: false,
                    merge: true,
                },
            ),
            TCSETAF => self.set_termios(
                id,
                who,
                master,
                input,
                Set {
                    flush: true,
                    merge: true,
                },
            ),
            TIOCGLCKTRMIOS => Ok(Answer::Bytes(t.locked.to_bytes()[..TERMIOS_SIZE].to_vec())),
            TIOCSLCKTRMIOS if !who.admin => Err(Errno::EPERM),
            TIOCSLCKTRMIOS => {
                t.locked = Termios::from_bytes(input);
                Ok(Answer::Done)
            }
            TCSBRK | TCSBRKP | TIOCSBRK | TIOCCBRK => {
                if !master {
                    self.check_change(id, who, SIGTTOU)?;
                }
                Ok(Answer::Done)
            }
            TCXONC | TCFLSH => {
                if !master {
                    self.check_change(id, who, SIGTTOU)?;
                }
                if request == TCXONC {
                    self.flow(id, master, arg)
                } else {
                    self.flush(id, master, arg)
                }
            }
            TIOCEXCL | TIOCNXCL => {
                t.exclusive = request == TIOCEXCL;
                Ok(Answer::Done)
            }
            TIOCGEXCL => number(t.exclusive.into()),
            TIOCSCTTY if master && who.leader && who.ctty.is_none() => Err(Errno::EIO),
            TIOCSCTTY if master => Err(Errno::EPERM),
            TIOCSCTTY => self
                .take_controlling(id, who, arg == 1, readable)
                .map(|()| Answer::Done),
            TIOCNOTTY => {
                if who.ctty != Some(id) || master {
                    return Err(Errno::ENOTTY);
                }
                match who.leader {
                    true => self.session_ends(id, who.session, false),
                    false => self.effect(TtyEffect::DropTty { tgid: who.tgid }),
                }
                Ok(Answer::Done)
            }
            TIOCGPGRP | TIOCGSID if !master && who.ctty != Some(id) => Err(Errno::ENOTTY),
            TIOCGPGRP => number(t.pgrp.unwrap_or(0)),
            TIOCGSID => number(t.session.ok_or(Errno::ENOTTY)?),
            TIOCSPGRP => {
                match self.check_change(id, who, SIGTTOU) {
                    Err(Errno::EIO) => return Err(Errno::ENOTTY),
                    other => other?,
                }
                let t = self.tty_mut(id).ok_or(Errno::EIO)?;
                if who.ctty != Some(id) || t.session != Some(who.session) {
                    return Err(Errno::ENOTTY);
                }
                if value as i32 <= 0 {
                    return Err(if value == 0 { Errno::ESRCH } else { Errno::EINVAL });
                }
                match session_of(value) {
                    None => Err(Errno::ESRCH),
                    Some(s) if s != who.session => Err(Errno::EPERM),
                    Some(_) => {
                        t.pgrp = Some(value);
                        Ok(Answer::Done)
                    }
                }
            }
            TIOCOUTQ => number(0),
            FIONREAD if master => number(t.out.queue.len() as u32),
            FIONREAD => number(t.input.count(t.by_line()) as u32),
            TIOCSTI => {
                if (master || who.ctty != Some(id)) && !who.admin {
                    return Err(Errno::EPERM);
                }
                let c = input.first().copied().unwrap_or(0);
                match master {
                    true => t.out.queue.push_back(c),
                    false => t.flip.push_back(c),
                }
                self.refill(id);
                Ok(Answer::Done)
            }
            TIOCGWINSZ => Ok(Answer::Bytes(t.winsize.to_bytes().to_vec())),
            TIOCSWINSZ => {
                self.resize(id, WinSize::from_bytes(input));
                Ok(Answer::Done)
            }
            TIOCGSOFTCAR => number((t.termios.cflag & CLOCAL != 0).into()),
            TIOCSSOFTCAR => {
                t.termios.cflag = t.termios.cflag & !CLOCAL | if value != 0 { CLOCAL } else { 0 };
                Ok(Answer::Done)
            }
            TIOCPKT if master => {
                if value != 0 && !t.packet {
                    t.pktstatus = 0;
                }
                t.packet = value != 0;
                Ok(Answer::Done)
            }
            TIOCGPKT if master => number(t.packet.into()),
            TIOCSPTLCK if master => {
                t.pts_locked = value != 0;
                Ok(Answer::Done)
            }
            TIOCGPTLCK if master => number(t.pts_locked.into()),
            TIOCGPTN if master => number(id.0),
            TIOCGPTPEER if master => {
                let noctty = arg & 0o400 != 0;
                let readable = arg & 3 != 1;
                self.open_slave(id, who, noctty, readable)
                    .map(|f| Answer::Open(f, arg as u32))
            }
            TIOCSIG if master => match arg as u32 as u8 {
                sig @ (SIGINT | SIGQUIT | SIGTSTP) if arg < 64 => {
                    if let Some(pgrp) = t.pgrp {
                        self.effect(TtyEffect::Signal { pgrp, sig });
                    }
                    Ok(Answer::Done)
                }
                _ => Err(Errno::EINVAL),
            },
            TIOCSETD if value == 0 => Ok(Answer::Done),
            TIOCSETD => Err(Errno::EINVAL),
            TIOCGETD => number(0),
            TIOCGDEV if master => number(5 << 8 | 2),
            TIOCGDEV => {
                let (major, minor) = id.device();
                number(minor & 0xff | major << 8 | (minor & !0xff) << 12)
            }
            TIOCVHANGUP if !who.admin => Err(Errno::EPERM),
            TIOCVHANGUP => {
                self.hangup(id, false);
                Ok(Answer::Done)
            }
            TIOCCONS if !who.admin => Err(Errno::EPERM),
            TIOCCONS => Ok(Answer::Done),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn set_termios(
        &mut self,
        id: TtyId,
        who: &Caller,
        master: bool,
        input: &[u8],
        set: Set,
    ) -> KResult<Answer> {
        if !master {
            self.check_change(id, who, SIGTTOU)?;
        }
        let t = self.tty_mut(id).ok_or(Errno::EIO)?;
        let mut new = t.termios;
        if set.merge {
            new.merge_termio(input);
        } else {
            new = Termios::from_bytes(input);
        }
        if set.flush {
            t.flush_input();
        }
        t.apply_termios(new);
        self.refill(id);
        self.wake(id, Side::Slave);
        self.wake(id, Side::Master);
        Ok(Answer::Done)
    }

    fn flow(&mut self, id: TtyId, master: bool, arg: u64) -> KResult<Answer> {
        let t = self.tty_mut(id).ok_or(Errno::EIO)?;
        match arg {
            TCOOFF | TCOON if master => {}
            TCOOFF => {
                if !t.tco_stopped {
                    t.tco_stopped = true;
                    t.stop();
                }
            }
            TCOON => {
                if t.tco_stopped {
                    t.tco_stopped = false;
                    t.start();
                }
            }
            TCIOFF | TCION => {
                let c = t.termios.cc[if arg == TCIOFF { VSTOP } else { VSTART }];
                match (c, master) {
                    (0, _) => {}
                    (_, false) if t.tco_stopped => {}
                    (c, false) => t.out.queue.push_back(c),
                    (c, true) => t.flip.push_back(c),
                }
            }
            _ => return Err(Errno::EINVAL),
        }
        self.refill(id);
        self.wake(id, Side::Slave);
        self.wake(id, Side::Master);
        Ok(Answer::Done)
    }

    fn flush(&mut self, id: TtyId, master: bool, arg: u64) -> KResult<Answer> {
        if arg > TCIOFLUSH {
            return Err(Errno::EINVAL);
        }
        let t = self.tty_mut(id).ok_or(Errno::EIO)?;
        // Input: what is in this side's own queue. Output: what has not come into the other side's queue.
        if arg != TCOFLUSH {
            match master {
                true => {
                    let own = t.out.queue.len().min(MASTER_READ_MAX);
                    t.out.queue.drain(..own);
                }
                false => t.flush_input(),
            }
        }
        if arg != TCIFLUSH {
            match master {
                true => t.flip.clear(),
                false => t.flush_output(),
            }
        }
        self.refill(id);
        self.wake(id, Side::Slave);
        self.wake(id, Side::Master);
        Ok(Answer::Done)
    }
}

impl Tty {
    /// New settings take hold: locked bits stay, a change between lines and bytes re-marks the queue.
    fn apply_termios(&mut self, new: Termios) {
        let old = self.termios;
        let keep = |old: u32, new: u32, locked: u32| old & locked | new & !locked;
        let mut t = new;
        t.iflag = keep(old.iflag, t.iflag, self.locked.iflag);
        t.oflag = keep(old.oflag, t.oflag, self.locked.oflag);
        t.cflag = keep(old.cflag, t.cflag, self.locked.cflag);
        t.lflag = keep(old.lflag, t.lflag, self.locked.lflag);
        for (i, c) in t.cc.iter_mut().enumerate() {
            if self.locked.cc[i] != 0 {
                *c = old.cc[i];
            }
        }
        if !self.is_console() {
            t.cflag = t.cflag & !(CSIZE | PARENB) | CS8 | CREAD;
        }
        self.termios = t;
        if (old.lflag ^ t.lflag) & (ICANON | EXTPROC) != 0 {
            self.input.change_mode(t.lflag & ICANON != 0);
            self.erasing = false;
            self.lnext = false;
        }
        let flow = |t: &Termios| t.iflag & IXON != 0 && t.cc[VSTOP] == 0x13 && t.cc[VSTART] == 0x11;
        match (flow(&old), flow(&t)) {
            (false, true) => self.packet_status(TIOCPKT_DOSTOP, TIOCPKT_NOSTOP),
            (true, false) => self.packet_status(TIOCPKT_NOSTOP, TIOCPKT_DOSTOP),
            _ => {}
        }
        if (old.lflag | t.lflag) & EXTPROC != 0 {
            self.packet_status(TIOCPKT_IOCTL, 0);
        }
        if old.iflag & IXON != 0 && t.iflag & IXON == 0 && !self.tco_stopped {
            self.start();
            self.process_echoes();
        }
    }
}
