//! Terminals: pty pairs and consoles with the N_TTY line discipline, as Linux has them.
//!
//! Owns every terminal's state (termios, queues, column, flow control, foreground group, session). Knows nothing of tasks: who
//! calls is said by [`Caller`], what must happen to tasks is handed back as [`TtyEffect`] (take them with
//! [`Ttys::take_effects`] after each call). Open files hold a [`TtyFile`]; the owner of open file descriptions calls
//! [`Ttys::close`] when the last reference to one is gone.
//!
//! - `queue`: the input queue with line marks, and bounds.
//! - `input`: what arrives from the master becomes lines, echo and signals.
//! - `output`: output processing and the echo queue.
//! - [`ioctl`]: the requests.
//! - [`control`]: controlling terminals, job control, hangup.
//!
//! Calls never block: `EAGAIN` means "wait for [`TtyFile::wait_key`] and try again" to a caller that may block.
//! The model is drivers/tty/{n_tty,pty,tty_io,tty_jobctrl}.c of Linux 6.1, described in our own structure.

pub mod control;
mod input;
pub mod ioctl;
mod output;
mod queue;
#[cfg(test)]
mod tests;

use crate::abi::tty::*;
use crate::slab::Slab;
use crate::wait::WaitKey;
use crate::{Errno, KResult};
use output::Output;
use queue::Input;
use std::collections::{BTreeMap, VecDeque};
use turncoat_freeze::Freeze;

/// Bytes that wait on the way from the master to a full line discipline.
pub(crate) const FLIP_MAX: usize = 11265;
/// Bytes of output that may wait for the master's reader.
pub(crate) const OUT_MAX: usize = 4095 + FLIP_MAX;
/// Most bytes that one read of the master returns.
const MASTER_READ_MAX: usize = 4095;
/// Default bound on pty pairs in one world (`/proc/sys/kernel/pty/max`).
pub const PTY_MAX: usize = 4096;
/// Set in a [`TtyId`] that names a console.
const CONSOLE_BIT: u32 = 1 << 31;

/// A terminal: the number of a pty (`/dev/pts/N`), or a console.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Freeze)]
pub struct TtyId(pub u32);

impl TtyId {
    /// The console with this minor of major 4 (`/dev/tty1` is 1, `/dev/ttyS0` is 64).
    pub fn console(minor: u32) -> TtyId {
        TtyId(CONSOLE_BIT | minor & 0xfffff)
    }

    /// Device number (major, minor) of the slave side.
    pub fn device(self) -> (u32, u32) {
        match self.0 & CONSOLE_BIT {
            0 => (136 + (self.0 >> 8), self.0 & 0xff),
            _ => (4, self.0 & !CONSOLE_BIT),
        }
    }

    /// What ps calls it: `pts/0`, `tty1`, `ttyS0`.
    pub fn name(self) -> String {
        match (self.0 & CONSOLE_BIT, self.0 & !CONSOLE_BIT) {
            (0, n) => format!("pts/{n}"),
            (_, n) if n >= 64 => format!("ttyS{}", n - 64),
            (_, n) => format!("tty{n}"),
        }
    }
}

/// Which end of a pair an open file is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Freeze)]
pub enum Side {
    /// `/dev/ptmx`: what the terminal emulator or sshd holds.
    Master,
    /// `/dev/pts/N`: what programs hold.
    Slave,
}

/// What an open file description of a terminal holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Freeze)]
pub struct TtyFile {
    /// The terminal.
    pub tty: TtyId,
    /// Which end.
    pub side: Side,
    /// The terminal's hangup count when this was opened; an older one is hung up.
    generation: u32,
}

impl TtyFile {
    /// What to wait for when a call on this file said `EAGAIN`.
    pub fn wait_key(&self) -> WaitKey {
        key(self.tty, self.side)
    }
}

fn key(tty: TtyId, side: Side) -> WaitKey {
    match side {
        Side::Master => WaitKey::TtyMaster(tty.0),
        Side::Slave => WaitKey::TtySlave(tty.0),
    }
}

/// The task that makes a call, as far as terminals care.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Caller {
    /// Its thread group.
    pub tgid: u32,
    /// Its process group.
    pub pgrp: u32,
    /// Its session.
    pub session: u32,
    /// True if it leads its session.
    pub leader: bool,
    /// Its controlling terminal.
    pub ctty: Option<TtyId>,
    /// SIGTTIN is blocked or ignored.
    pub ignores_ttin: bool,
    /// SIGTTOU is blocked or ignored.
    pub ignores_ttou: bool,
    /// Its process group is orphaned.
    pub orphaned: bool,
    /// CAP_SYS_ADMIN.
    pub admin: bool,
}

/// What a call on a terminal does to tasks; the caller applies it in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Freeze)]
pub enum TtyEffect {
    /// Send `sig` to every process of the group.
    Signal {
        /// The process group.
        pgrp: u32,
        /// The signal number.
        sig: u8,
    },
    /// Send `sig` to the leader of the session.
    SignalLeader {
        /// The session.
        session: u32,
        /// The signal number.
        sig: u8,
    },
    /// Tasks that wait for this key are to try again.
    Wake(WaitKey),
    /// The terminal is now the controlling terminal of this process.
    SetTty {
        /// The process (thread group).
        tgid: u32,
        /// The terminal.
        tty: TtyId,
    },
    /// This process has no controlling terminal any more.
    DropTty {
        /// The process (thread group).
        tgid: u32,
    },
    /// No process of the session has a controlling terminal any more.
    DropSessionTty {
        /// The session.
        session: u32,
    },
    /// `/dev/pts/N` appeared (true) or is gone (false).
    Node {
        /// The pty.
        tty: TtyId,
        /// It appeared.
        present: bool,
    },
}

/// What a read keeps between its tries; fresh for every read call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Freeze)]
pub struct ReadCall {
    /// Descriptor has O_NONBLOCK.
    pub nonblock: bool,
    /// A signal ended the wait: give what there is, or `EINTR`.
    pub interrupted: bool,
    /// When to stop waiting (VTIME), in nanoseconds of the clock passed in; set by a try that says `EAGAIN`.
    pub deadline: Option<u64>,
    /// Bytes that waited at the last try, to restart the inter-byte timer.
    pub seen: u32,
}

/// One terminal. For a console the master side is nobody: output is dropped, input never comes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub struct Tty {
    pub(crate) termios: Termios,
    pub(crate) locked: Termios,
    pub(crate) winsize: WinSize,
    pub(crate) input: Input,
    /// Bytes on the way to `input` that did not fit.
    pub(crate) flip: VecDeque<u8>,
    pub(crate) out: Output,
    pub(crate) lnext: bool,
    pub(crate) erasing: bool,
    pub(crate) stopped: bool,
    pub(crate) tco_stopped: bool,
    pub(crate) packet: bool,
    pub(crate) pktstatus: u8,
    pub(crate) pgrp: Option<u32>,
    pub(crate) session: Option<u32>,
    pub(crate) exclusive: bool,
    pub(crate) pts_locked: bool,
    pub(crate) masters: u32,
    pub(crate) slaves: u32,
    /// The last slave closed (until the next open): a drained master reads EIO.
    pub(crate) slave_gone: bool,
    pub(crate) generation: u32,
    console: bool,
}

impl Tty {
    fn new(console: bool) -> Tty {
        let mut termios = Termios::default();
        let mut winsize = WinSize::default();
        if console {
            termios.cflag |= HUPCL;
            winsize = WinSize {
                rows: 25,
                cols: 80,
                xpixel: 0,
                ypixel: 0,
            };
        }
        Tty {
            termios,
            locked: Termios {
                iflag: 0,
                oflag: 0,
                cflag: 0,
                lflag: 0,
                line: 0,
                cc: [0; NCCS],
                ispeed: 0,
                ospeed: 0,
            },
            winsize,
            input: Input::default(),
            flip: VecDeque::new(),
            out: Output::default(),
            lnext: false,
            erasing: false,
            stopped: false,
            tco_stopped: false,
            packet: false,
            pktstatus: 0,
            pgrp: None,
            session: None,
            exclusive: false,
            pts_locked: true,
            masters: 0,
            slaves: 0,
            slave_gone: false,
            generation: 0,
            console,
        }
    }

    pub(crate) fn i(&self, flag: u32) -> bool {
        self.termios.iflag & flag != 0
    }

    pub(crate) fn o(&self, flag: u32) -> bool {
        self.termios.oflag & flag != 0
    }

    pub(crate) fn l(&self, flag: u32) -> bool {
        self.termios.lflag & flag != 0
    }

    /// True if `c` is the control character in this place (a place set to 0 is disabled).
    pub(crate) fn is(&self, c: u8, place: usize) -> bool {
        c != 0 && self.termios.cc[place] == c
    }

    /// Reads lines rather than bytes.
    pub(crate) fn by_line(&self) -> bool {
        self.l(ICANON) && !self.l(EXTPROC)
    }

    /// Current settings.
    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    /// The first line that waits to be read, with its end. Where the other end edits lines (`EXTPROC`) it is finished when its end
    /// has come.
    pub fn first_line(&self) -> Option<Vec<u8>> {
        if self.by_line() {
            return self.input.first_line();
        }
        let mut ready = self.input.ready();
        let end = ready.iter().position(|b| matches!(b, b'\n' | b'\r'))?;
        ready.truncate(end + 1);
        Some(ready)
    }

    /// Whether bytes wait that a raw reader would get.
    pub fn has_bytes(&self) -> bool {
        !self.by_line() && self.input.ready_bytes() > 0
    }

    /// Foreground process group.
    pub fn foreground(&self) -> Option<u32> {
        self.pgrp
    }

    /// The session it controls.
    pub fn session(&self) -> Option<u32> {
        self.session
    }
}

/// All terminals of a world.
#[derive(Clone, Default, Freeze)]
pub struct Ttys {
    ptys: Slab<Tty>,
    consoles: BTreeMap<u32, Tty>,
    effects: Vec<TtyEffect>,
}

impl Ttys {
    /// No terminals.
    pub fn new() -> Ttys {
        Ttys::default()
    }

    /// The terminal, if it exists.
    pub fn tty(&self, id: TtyId) -> Option<&Tty> {
        match id.0 & CONSOLE_BIT {
            0 => self.ptys.get(id.0),
            _ => self.consoles.get(&id.0),
        }
    }

    pub(crate) fn tty_mut(&mut self, id: TtyId) -> Option<&mut Tty> {
        match id.0 & CONSOLE_BIT {
            0 => self.ptys.get_mut(id.0),
            _ => self.consoles.get_mut(&id.0),
        }
    }

    /// Ptys whose master is open, for a listing of `/dev/pts`.
    pub fn pts(&self) -> impl Iterator<Item = TtyId> {
        self.ptys
            .iter()
            .filter(|(_, t)| t.masters > 0)
            .map(|(i, _)| TtyId(i))
    }

    /// What the calls so far did to tasks.
    pub fn take_effects(&mut self) -> Vec<TtyEffect> {
        std::mem::take(&mut self.effects)
    }

    /// True if there are effects to take.
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    pub(crate) fn effect(&mut self, e: TtyEffect) {
        if !(matches!(e, TtyEffect::Wake(_)) && self.effects.contains(&e)) {
            self.effects.push(e);
        }
    }

    pub(crate) fn wake(&mut self, tty: TtyId, side: Side) {
        self.effect(TtyEffect::Wake(key(tty, side)));
    }

    /// Opens `/dev/ptmx`: a new pair, locked until `TIOCSPTLCK` says otherwise. `ENOSPC` past [`PTY_MAX`].
    pub fn open_master(&mut self) -> KResult<TtyFile> {
        if self.ptys.len() >= PTY_MAX {
            return Err(Errno::ENOSPC);
        }
        let mut t = Tty::new(false);
        t.masters = 1;
        let tty = TtyId(self.ptys.insert(t));
        self.effect(TtyEffect::Node { tty, present: true });
        Ok(TtyFile {
            tty,
            side: Side::Master,
            generation: 0,
        })
    }

    /// Opens `/dev/pts/N` or a console. `noctty`: O_NOCTTY was given; `readable`: the open allows reading.
    /// `EIO` if the pair is locked or its master is gone, `EBUSY` in exclusive mode, `ENXIO` if there is none.
    pub fn open_slave(&mut self, tty: TtyId, who: &Caller, noctty: bool, readable: bool) -> KResult<TtyFile> {
        if tty.0 & CONSOLE_BIT != 0 {
            self.consoles.entry(tty.0).or_insert_with(|| Tty::new(true));
        }
        let t = self.tty_mut(tty).ok_or(Errno::ENXIO)?;
        if !t.console && (t.masters == 0 || t.pts_locked) {
            return Err(Errno::EIO);
        }
        if t.exclusive && !who.admin {
            return Err(Errno::EBUSY);
        }
        t.slaves += 1;
        t.slave_gone = false;
        let file = TtyFile {
            tty,
            side: Side::Slave,
            generation: t.generation,
        };
        let take = !noctty && readable && t.session.is_none() && who.leader && who.ctty.is_none();
        if take {
            self.set_controlling(tty, who);
        }
        Ok(file)
    }

    /// Drops an open file. The master's end hangs up the slave's side; the last slave's end shows as EIO on the master.
    pub fn close(&mut self, f: &TtyFile) {
        let Some(t) = self.tty_mut(f.tty) else { return };
        match f.side {
            Side::Master => {
                t.masters = t.masters.saturating_sub(1);
                if t.masters == 0 {
                    self.effect(TtyEffect::Node {
                        tty: f.tty,
                        present: false,
                    });
                    self.hangup(f.tty, false);
                }
            }
            Side::Slave => {
                t.slaves = t.slaves.saturating_sub(1);
                if t.slaves == 0 && !t.console {
                    t.slave_gone = true;
                    self.wake(f.tty, Side::Master);
                }
            }
        }
        let done = self
            .ptys
            .get(f.tty.0)
            .is_some_and(|t| t.masters == 0 && t.slaves == 0);
        if done {
            self.ptys.remove(f.tty.0);
        }
    }

    /// True if this open file was hung up: it reads nothing and writes fail.
    pub fn hung_up(&self, f: &TtyFile) -> bool {
        match self.tty(f.tty) {
            Some(t) => {
                f.side == Side::Slave && (t.generation != f.generation || t.masters == 0 && !t.console)
            }
            None => true,
        }
    }

    /// Reads up to `max` bytes. `EAGAIN`: nothing yet (a blocking caller waits, at most until `call.deadline`, and calls
    /// again with the same `call`). Job control as in [`control`]. An empty result is end of file.
    pub fn read(
        &mut self,
        f: &TtyFile,
        who: &Caller,
        max: usize,
        call: &mut ReadCall,
        now: u64,
    ) -> KResult<Vec<u8>> {
        if self.hung_up(f) {
            return Ok(Vec::new());
        }
        match f.side {
            Side::Master => self.master_read(f.tty, max, call),
            Side::Slave => {
                self.check_change(f.tty, who, SIGTTIN)?;
                self.slave_read(f.tty, max, call, now)
            }
        }
    }

    fn master_read(&mut self, id: TtyId, max: usize, call: &ReadCall) -> KResult<Vec<u8>> {
        let t = self.tty_mut(id).ok_or(Errno::EIO)?;
        if max == 0 {
            return Ok(Vec::new());
        }
        if t.packet && t.pktstatus != 0 {
            return Ok(vec![std::mem::take(&mut t.pktstatus)]);
        }
        if t.out.queue.is_empty() {
            return Err(match (t.slave_gone, call.interrupted) {
                (true, _) => Errno::EIO,
                (_, true) => Errno::EINTR,
                _ => Errno::EAGAIN,
            });
        }
        let mut bytes = Vec::new();
        if t.packet {
            bytes.push(TIOCPKT_DATA);
        }
        let n = (max - bytes.len()).min(t.out.queue.len()).min(MASTER_READ_MAX);
        bytes.extend(t.out.queue.drain(..n));
        if t.out.queue.is_empty() {
            t.out.queue.shrink_to(256);
        }
        self.wake(id, Side::Slave);
        Ok(bytes)
    }

    fn slave_read(&mut self, id: TtyId, max: usize, call: &mut ReadCall, now: u64) -> KResult<Vec<u8>> {
        let t = self.tty_mut(id).ok_or(Errno::EIO)?;
        if max == 0 {
            return Ok(Vec::new());
        }
        if t.by_line() {
            let Some(line) = t.input.read_line(max) else {
                return Err(if call.interrupted {
                    Errno::EINTR
                } else {
                    Errno::EAGAIN
                });
            };
            self.refill(id);
            return Ok(line);
        }
        let (min, time) = (
            usize::from(t.termios.cc[VMIN]),
            u64::from(t.termios.cc[VTIME]) * 100_000_000,
        );
        let have = t.input.ready_bytes();
        let (mut enough, mut give_up) = (have >= min.max(1).min(max).min(queue::CHUNK), false);
        if !enough && !call.nonblock && time > 0 {
            // VMIN 0: one timer for the call. VMIN > 0: a timer between bytes, which starts with the first one.
            let restart = call.deadline.is_none() || min > 0 && have as u32 != call.seen;
            if restart {
                call.deadline = (min == 0 || have > 0).then_some(now + time);
                call.seen = have as u32;
            }
            give_up = call.deadline.is_some_and(|d| now >= d);
        }
        if min == 0 && time == 0 {
            give_up = true;
        }
        if call.nonblock || call.interrupted || give_up {
            enough = have > 0;
        }
        if enough {
            let n = if min > queue::CHUNK {
                max.min(queue::CHUNK)
            } else {
                max
            };
            let bytes = t.input.read_bytes(n);
            self.refill(id);
            return Ok(bytes);
        }
        match (give_up, call.interrupted) {
            (true, _) => Ok(Vec::new()),
            (_, true) => Err(Errno::EINTR),
            _ => Err(Errno::EAGAIN),
        }
    }

    /// Writes as much as there is room for and says how much that was; `EAGAIN` if nothing fits (a blocking caller waits and
    /// goes on behind what was taken). `EIO` on a terminal that was hung up.
    pub fn write(&mut self, f: &TtyFile, who: &Caller, bytes: &[u8]) -> KResult<usize> {
        if self.hung_up(f) {
            return Err(Errno::EIO);
        }
        match f.side {
            Side::Master => self.master_write(f.tty, bytes),
            Side::Slave => {
                if self.tty(f.tty).is_some_and(|t| t.l(TOSTOP)) {
                    self.check_change(f.tty, who, SIGTTOU)?;
                }
                let t = self.tty_mut(f.tty).ok_or(Errno::EIO)?;
                let before = t.out.queue.len();
                let n = t.write_output(bytes);
                let t = self.tty_mut(f.tty).ok_or(Errno::EIO)?;
                if t.console {
                    t.out.queue.clear();
                } else if t.out.queue.len() != before {
                    self.wake(f.tty, Side::Master);
                }
                if n == 0 && !bytes.is_empty() {
                    Err(Errno::EAGAIN)
                } else {
                    Ok(n)
                }
            }
        }
    }

    /// Shows bytes that no process wrote; what there is no room for is lost.
    pub fn say(&mut self, id: TtyId, bytes: &[u8]) {
        let Some(t) = self.tty_mut(id) else { return };
        t.write_output(bytes);
        if t.console {
            t.out.queue.clear();
        } else {
            self.wake(id, Side::Master);
        }
    }

    fn master_write(&mut self, id: TtyId, bytes: &[u8]) -> KResult<usize> {
        let t = self.tty_mut(id).ok_or(Errno::EIO)?;
        let n = bytes.len().min(FLIP_MAX.saturating_sub(t.flip.len()));
        if n == 0 && !bytes.is_empty() {
            return Err(Errno::EAGAIN);
        }
        t.flip.extend(&bytes[..n]);
        self.refill(id);
        Ok(n)
    }

    /// Moves what waits in front of the line discipline into it, as far as it fits.
    fn refill(&mut self, id: TtyId) {
        let Some(t) = self.tty_mut(id) else { return };
        if t.flip.is_empty() {
            return;
        }
        let (queued, status, out, flip) = (t.input.len(), t.pktstatus, t.out.queue.len(), t.flip.len());
        let signals = t.receive_flip();
        // Echoes that were held by stopped output come with the next input or output, not with the start itself.
        if t.l(ECHO | ECHONL) {
            t.flush_echoes();
        }
        let pgrp = t.pgrp;
        let (input, output) = (
            t.input.len() != queued || t.flip.len() != flip,
            t.out.queue.len() != out,
        );
        let (status, room) = (t.pktstatus != status, t.flip.len() < flip);
        for sig in signals {
            if let Some(pgrp) = pgrp {
                self.effect(TtyEffect::Signal { pgrp, sig });
            }
        }
        if input || output {
            self.wake(id, Side::Slave);
        }
        if output || status || room {
            self.wake(id, Side::Master);
        }
    }

    /// Poll bits (`POLLIN` and so on) that hold now.
    pub fn poll(&self, f: &TtyFile) -> u32 {
        let all = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLHUP | POLLERR;
        if self.hung_up(f) {
            return all;
        }
        let Some(t) = self.tty(f.tty) else { return all };
        let mut bits = 0;
        match f.side {
            Side::Master => {
                if !t.out.queue.is_empty() {
                    bits |= POLLIN | POLLRDNORM;
                }
                if t.packet && t.pktstatus != 0 {
                    bits |= POLLPRI | POLLIN | POLLRDNORM;
                }
                if t.slave_gone {
                    bits |= POLLHUP;
                }
                if t.flip.len() < FLIP_MAX {
                    bits |= POLLOUT | POLLWRNORM;
                }
            }
            Side::Slave => {
                let need = match (t.termios.cc[VTIME], t.termios.cc[VMIN]) {
                    (0, m) if m > 0 => usize::from(m),
                    _ => 1,
                };
                let ready = if t.by_line() {
                    t.input.has_line()
                } else {
                    t.input.ready_bytes() >= need
                };
                if ready {
                    bits |= POLLIN | POLLRDNORM;
                }
                if t.out_room() > 0 {
                    bits |= POLLOUT | POLLWRNORM;
                }
            }
        }
        bits
    }

    /// The emulator's window changed (what sshd does with `TIOCSWINSZ` on the master).
    pub fn resize(&mut self, id: TtyId, size: WinSize) {
        let Some(t) = self.tty_mut(id) else { return };
        if t.winsize != size {
            t.winsize = size;
            if let Some(pgrp) = t.pgrp {
                self.effect(TtyEffect::Signal { pgrp, sig: SIGWINCH });
            }
        }
    }
}

impl Tty {
    pub(crate) fn is_console(&self) -> bool {
        self.console
    }
}
