//! Controlling terminals, job control and hangup (drivers/tty/tty_jobctrl.c).

use super::{Caller, Side, TtyEffect, TtyId, Ttys};
use crate::abi::tty::*;
use crate::{Errno, KResult};

impl Ttys {
    /// May `who`, perhaps in the background, do what would be answered with `sig` (SIGTTIN, SIGTTOU)?
    /// `ERESTARTSYS` after its group was signalled; `EIO` for a reader that ignores the signal or whose group is orphaned.
    pub(crate) fn check_change(&mut self, tty: TtyId, who: &Caller, sig: u8) -> KResult<()> {
        let foreground = self.tty(tty).and_then(|t| t.pgrp);
        if who.ctty != Some(tty) || foreground.is_none_or(|p| p == who.pgrp) {
            return Ok(());
        }
        let ignored = if sig == SIGTTIN {
            who.ignores_ttin
        } else {
            who.ignores_ttou
        };
        if ignored {
            return if sig == SIGTTIN { Err(Errno::EIO) } else { Ok(()) };
        }
        if who.orphaned {
            return Err(Errno::EIO);
        }
        self.effect(TtyEffect::Signal { pgrp: who.pgrp, sig });
        Err(Errno::ERESTARTSYS)
    }

    pub(crate) fn set_controlling(&mut self, tty: TtyId, who: &Caller) {
        if let Some(t) = self.tty_mut(tty) {
            t.session = Some(who.session);
            t.pgrp = Some(who.pgrp);
            self.effect(TtyEffect::SetTty { tgid: who.tgid, tty });
        }
    }

    /// `TIOCSCTTY`. `readable`: the descriptor allows reading. `EPERM` as Linux.
    pub(crate) fn take_controlling(
        &mut self,
        tty: TtyId,
        who: &Caller,
        force: bool,
        readable: bool,
    ) -> KResult<()> {
        let holder = self.tty(tty).ok_or(Errno::EIO)?.session;
        if who.leader && holder == Some(who.session) {
            return Ok(());
        }
        if !who.leader || who.ctty.is_some() {
            return Err(Errno::EPERM);
        }
        if let Some(session) = holder {
            if !force || !who.admin {
                return Err(Errno::EPERM);
            }
            self.effect(TtyEffect::DropSessionTty { session });
        }
        if !readable && !who.admin {
            return Err(Errno::EPERM);
        }
        self.set_controlling(tty, who);
        Ok(())
    }

    /// A session leader exits (`exiting`) or gives its terminal up (`TIOCNOTTY`): the foreground group hears SIGHUP, and in the
    /// second case SIGCONT; no process of the session keeps the terminal.
    pub fn session_ends(&mut self, tty: TtyId, session: u32, exiting: bool) {
        let Some(t) = self.tty_mut(tty) else { return };
        if t.session != Some(session) {
            return;
        }
        if exiting && t.is_console() {
            self.hangup(tty, true);
            return;
        }
        t.session = None;
        if let Some(pgrp) = t.pgrp.take() {
            self.effect(TtyEffect::Signal { pgrp, sig: SIGHUP });
            if !exiting {
                self.effect(TtyEffect::Signal { pgrp, sig: SIGCONT });
            }
        }
        self.effect(TtyEffect::DropSessionTty { session });
    }

    /// Hangs the terminal up: its session's leader and foreground group hear SIGHUP and SIGCONT, open slave files are dead.
    pub fn hangup(&mut self, tty: TtyId, leader_exits: bool) {
        let Some(t) = self.tty_mut(tty) else { return };
        t.generation = t.generation.wrapping_add(1);
        let (session, pgrp) = (t.session.take(), t.pgrp.take());
        t.flip.clear();
        t.input.clear();
        t.out.drop_echoes();
        t.out.reset_columns();
        t.packet = false;
        t.pktstatus = 0;
        t.stopped = false;
        t.tco_stopped = false;
        t.exclusive = false;
        if t.masters > 0 {
            t.slave_gone = true;
        } else {
            t.out.drop_queue();
        }
        if let Some(session) = session {
            self.effect(TtyEffect::SignalLeader { session, sig: SIGHUP });
            self.effect(TtyEffect::SignalLeader {
                session,
                sig: SIGCONT,
            });
            self.effect(TtyEffect::DropSessionTty { session });
        }
        if let Some(pgrp) = pgrp {
            self.effect(TtyEffect::Signal { pgrp, sig: SIGHUP });
            if !leader_exits {
                self.effect(TtyEffect::Signal { pgrp, sig: SIGCONT });
            }
        }
        self.wake(tty, Side::Slave);
        self.wake(tty, Side::Master);
    }
}
