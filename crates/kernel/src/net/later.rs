//! What happens later: connections that are decided, bytes and errors that arrive.

use super::{Net, SOCKETS_MAX, tcp, udp};
use crate::Errno;
use turncoat_freeze::Freeze;

/// Something that happens later.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Freeze)]
pub(crate) enum Timer {
    /// A connection attempt is decided.
    Connect {
        sock: u32,
        inode: u64,
        outcome: Result<tcp::Peer, Errno>,
    },
    /// A connection attempt that found a full backlog is tried again.
    Retry { sock: u32, inode: u64, tries: u8 },
    /// A datagram arrives.
    Datagram {
        sock: u32,
        inode: u64,
        datagram: udp::Datagram,
    },
    /// Bytes arrive on a stream.
    Bytes { sock: u32, inode: u64, data: Vec<u8> },
    /// A datagram socket hears of an error.
    Error { sock: u32, inode: u64, errno: Errno },
}

impl Net {
    /// When [`Net::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn later(&mut self, delay: u64, timer: Timer) {
        if self.timers.len() >= 2 * SOCKETS_MAX {
            return;
        }
        self.next_timer += 1;
        self.timers.insert((self.now + delay, self.next_timer), timer);
    }

    /// Lets happen what was due by [`Net::now`].
    pub fn tick(&mut self) {
        while let Some(e) = self.timers.first_entry()
            && e.key().0 <= self.now
        {
            // What was due earlier arrived earlier: its time stamp says so, however late this is called.
            let late = self.now - e.key().0;
            let real = self.real;
            let timer = e.remove();
            self.real = real.saturating_sub(late);
            match timer {
                Timer::Connect { sock, inode, outcome } if self.still(sock, inode) => {
                    self.tcp_decided(sock, outcome);
                }
                Timer::Retry { sock, inode, tries } if self.still(sock, inode) => self.tcp_retry(sock, tries),
                Timer::Datagram {
                    sock,
                    inode,
                    datagram,
                } if self.still(sock, inode) => {
                    self.udp_arrives(sock, datagram);
                }
                Timer::Bytes { sock, inode, data } if self.still(sock, inode) => {
                    self.tcp_arrives(sock, &data);
                }
                Timer::Error { sock, inode, errno } if self.still(sock, inode) => {
                    if let Some(s) = self.socks.get_mut(sock) {
                        s.err = Some(errno);
                    }
                    self.wake(sock);
                }
                _ => {}
            }
            self.real = real;
        }
        while self.time_wait.front().is_some_and(|t| t.until <= self.now) {
            self.time_wait.pop_front();
        }
    }

    fn still(&self, sock: u32, inode: u64) -> bool {
        self.socks.get(sock).is_some_and(|s| s.inode == inode)
    }
}
