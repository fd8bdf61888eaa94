//! What happens between batches: data, EOF, windows and CLOSE that are due.

use super::*;
use crate::api::{Act, ChannelEvent, ChannelId};
use crate::server::Server;

impl Server {
    /// Data, EOF, window and CLOSE messages that are due, then one write (the rounds of server_loop2).
    pub(crate) fn flush_channels(&mut self) {
        for id in 0..self.ch.slots.len() as u32 {
            // Not before the client's NEWKEYS has come (ssh_packet_is_rekeying).
            if !self.kex.init_sent {
                self.send_channel_output(id);
            }
            self.adjust_window(id);
            self.collect(id);
        }
        while self.ch.slots.last().is_some_and(Option::is_none) {
            self.ch.slots.pop();
        }
        self.flush();
    }

    pub(super) fn send_channel_output(&mut self, id: u32) {
        loop {
            let Some(c) = self.ch.get(id).filter(|c| c.state == State::Open) else {
                return;
            };
            if !matches!(c.istate, Half::Open | Half::Drain) {
                return;
            }
            let extended = c.input.is_empty() && !c.stderr.is_empty();
            let source = if extended { &mut c.stderr } else { &mut c.input };
            if source.is_empty() {
                if c.istate == Half::Drain {
                    c.istate = Half::Closed;
                    let m = channel_message(msg::CHANNEL_EOF, c.remote_id);
                    self.send(&m);
                }
                return;
            }
            let n = source
                .len()
                .min(c.remote_window as usize)
                .min(c.remote_max as usize);
            if n == 0 {
                return;
            }
            let data: Vec<u8> = source.drain(..n).collect();
            c.remote_window -= n as u32;
            let mut m = channel_message(
                if extended {
                    msg::CHANNEL_EXTENDED_DATA
                } else {
                    msg::CHANNEL_DATA
                },
                c.remote_id,
            );
            if extended {
                m.put_u32(1);
            }
            m.put_string(&data);
            self.send(&m);
        }
    }

    /// channel_check_window in channels.c.
    fn adjust_window(&mut self, id: u32) {
        let Some(c) = self
            .ch
            .get(id)
            .filter(|c| c.state == State::Open && !c.close_sent && !c.close_rcvd)
        else {
            return;
        };
        let used = c.local_window_max.wrapping_sub(c.local_window);
        if c.consumed > 0 && (used > c.local_max * 3 || c.local_window < c.local_window_max / 2) {
            let mut m = channel_message(msg::CHANNEL_WINDOW_ADJUST, c.remote_id);
            m.put_u32(c.consumed);
            c.local_window = c.local_window.wrapping_add(c.consumed);
            c.consumed = 0;
            self.send(&m);
        }
    }

    /// channel_garbage_collect and chan_is_dead.
    fn collect(&mut self, id: u32) {
        let Some(c) = self.ch.get(id) else { return };
        if c.state == State::Opening || c.state == State::Connecting {
            return;
        }
        if c.istate != Half::Closed || c.ostate != Half::Closed || c.running {
            return;
        }
        if !c.detached && !c.close_rcvd {
            // A session that never ran anything ends only when the client closes it.
            return;
        }
        c.detached = true;
        let remote_id = c.remote_id;
        let gone = c.close_rcvd;
        if !c.close_sent {
            c.close_sent = true;
            let m = channel_message(msg::CHANNEL_CLOSE, remote_id);
            self.send(&m);
        }
        if gone {
            self.ch.slots[id as usize] = None;
            self.acts
                .push_back(Act::Channel(ChannelId(id), ChannelEvent::Closed));
        }
    }

    /// The connection is over.
    pub(crate) fn close_all_channels(&mut self) {
        for (id, slot) in self.ch.slots.iter_mut().enumerate() {
            if slot.take().is_some() {
                self.acts
                    .push_back(Act::Channel(ChannelId(id as u32), ChannelEvent::Closed));
            }
        }
    }
}
