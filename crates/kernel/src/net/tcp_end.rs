//! The end of a TCP connection: shutdown, close, reset, and what stays behind.

use super::Net;
use super::tcp::{LEFT_BEHIND, LEFT_BEHIND_MAX, Peer, Phase, State, TimeWait};
use crate::abi::net::*;
use crate::{Errno, KResult};
use std::net::IpAddr;

impl Net {
    pub(super) fn tcp_shutdown(&mut self, id: u32, read: bool, write: bool) -> KResult<()> {
        let t = self.tcp_mut(id)?;
        if t.phase == Phase::Connecting {
            let early = matches!(t.state, State::SynSent | State::Close);
            t.phase = if early {
                Phase::Disconnecting
            } else {
                Phase::Connected
            };
        }
        match t.state {
            // Refused, and yet remembered.
            State::Close => {
                let s = self.sock_mut(id)?;
                s.shut_read |= read;
                s.shut_write |= write;
                self.wake(id);
                return Err(Errno::ENOTCONN);
            }
            State::Listen if !read => return Ok(()),
            State::Listen | State::SynSent => {
                self.abandon_backlog(id);
                return self.tcp_disconnect(id);
            }
            _ => {}
        }
        let s = self.sock_mut(id)?;
        s.shut_read |= read;
        let first = write && !s.shut_write;
        s.shut_write |= write;
        if first {
            self.tcp_fin(id);
        }
        self.wake(id);
        Ok(())
    }

    /// This side says that it will send no more.
    fn tcp_fin(&mut self, id: u32) {
        let Ok(t) = self.tcp(id) else { return };
        let (state, peer, local, remote) = (t.state, t.peer, t.local, t.remote);
        let next = match state {
            State::Established => State::FinWait2,
            State::CloseWait => State::Close,
            _ => return,
        };
        if let Ok(t) = self.tcp_mut(id) {
            t.state = next;
        }
        if next == State::Close {
            self.release(id);
        }
        match peer {
            Peer::Socket(p) => self.tcp_fin_arrives(p),
            Peer::Host(h) => self.host_eof(h),
            Peer::Sink(_) | Peer::Resolver => self.tcp_fin_arrives(id),
            // An orphan on the other side waits for this.
            Peer::Nobody => {
                let (until, now_state) = (self.now + LEFT_BEHIND, State::TimeWait);
                for w in &mut self.time_wait {
                    if w.state == State::FinWait2
                        && Some(w.local.0) == remote.0
                        && w.local.1 == remote.1
                        && w.remote.1 == local.1
                    {
                        w.state = now_state;
                        w.until = until;
                    }
                }
            }
        }
    }

    /// The peer of this socket said that it will send no more.
    pub(super) fn tcp_fin_arrives(&mut self, id: u32) {
        let Ok(s) = self.sock_mut(id) else { return };
        s.shut_read = true;
        let family = s.family;
        let Ok(t) = self.tcp_mut(id) else { return };
        t.fin = true;
        match t.state {
            State::Established => t.state = State::CloseWait,
            State::FinWait2 => {
                t.state = State::Close;
                let (local, remote) = (t.local, t.remote);
                self.leave_behind(State::TimeWait, local, remote, family == AF_INET6);
                self.release(id);
            }
            _ => {}
        }
        self.wake(id);
    }

    fn leave_behind(
        &mut self,
        state: State,
        local: (Option<IpAddr>, u16),
        remote: (Option<IpAddr>, u16),
        v6: bool,
    ) {
        let (Some(lip), Some(rip)) = (local.0, remote.0) else {
            return;
        };
        if self.time_wait.len() >= LEFT_BEHIND_MAX {
            self.time_wait.pop_front();
        }
        let until = self.now + LEFT_BEHIND;
        self.time_wait.push_back(TimeWait {
            state,
            local: (lip, local.1),
            remote: (rip, remote.1),
            v6,
            until,
        });
    }

    /// The connection of this socket was reset by the peer.
    pub(super) fn tcp_was_reset(&mut self, id: u32) {
        let Ok(t) = self.tcp_mut(id) else { return };
        let e = match t.state {
            State::SynSent => Errno::ECONNREFUSED,
            State::CloseWait => Errno::EPIPE,
            State::Close => return,
            _ => Errno::ECONNRESET,
        };
        t.state = State::Close;
        t.peer = Peer::Nobody;
        if let Ok(s) = self.sock_mut(id) {
            s.err = Some(e);
            (s.shut_read, s.shut_write) = (true, true);
        }
        self.release(id);
        self.wake(id);
    }

    /// Resets the connection of this socket: its peer hears of it.
    pub(super) fn tcp_reset_peer(&mut self, id: u32) {
        let Ok(t) = self.tcp_mut(id) else { return };
        match std::mem::take(&mut t.peer) {
            Peer::Socket(p) => self.tcp_was_reset(p),
            Peer::Host(h) => self.host_eof(h),
            _ => {}
        }
    }

    pub(super) fn abandon_backlog(&mut self, id: u32) {
        let waiting = self
            .tcp_mut(id)
            .map(|t| std::mem::take(&mut t.accept))
            .unwrap_or_default();
        for new in waiting {
            self.tcp_reset_peer(new);
            self.unbind(new);
            self.socks.remove(new);
        }
    }

    pub(super) fn tcp_close(&mut self, id: u32) {
        self.abandon_backlog(id);
        let Ok(s) = self.sock(id) else { return };
        let (abort, family) = (s.opts.abortive(), s.family);
        let Ok(t) = self.tcp(id) else { return };
        if t.has_peer() || t.state == State::FinWait2 {
            if !t.recv.is_empty() || abort {
                self.tcp_reset_peer(id);
            } else {
                let (peer, local, remote) = (t.peer, t.local, t.remote);
                if matches!(t.state, State::Established) {
                    self.tcp_fin(id);
                    // Now FIN_WAIT2 without a socket, unless the peer closed at once.
                    if self.tcp(id).is_ok_and(|t| t.state == State::FinWait2) {
                        self.leave_behind(State::FinWait2, local, remote, family == AF_INET6);
                    }
                } else if matches!(t.state, State::FinWait2) {
                    self.leave_behind(State::FinWait2, local, remote, family == AF_INET6);
                } else {
                    self.tcp_fin(id);
                }
                if let Peer::Socket(p) = peer
                    && let Ok(t) = self.tcp_mut(p)
                {
                    t.peer = Peer::Nobody;
                }
            }
        }
        self.unbind(id);
        self.socks.remove(id);
    }
}
