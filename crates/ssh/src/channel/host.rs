//! What the host says: output and ends of programs, connections made and offered.

use super::*;
use crate::api::ChannelId;
use crate::server::Server;

impl Server {
    /// Bytes that a program wrote to its terminal or standard output. They are sent as the client's window allows;
    /// a host should not give more than [`sendable`](Server::sendable).
    pub fn channel_data(&mut self, id: ChannelId, bytes: &[u8]) {
        if let Some(c) = self
            .ch
            .get(id.0)
            .filter(|c| c.istate == Half::Open && c.state == State::Open)
        {
            c.input.extend_from_slice(bytes);
        }
    }

    /// Bytes that a program wrote to standard error (without a terminal).
    pub fn channel_ext_data(&mut self, id: ChannelId, bytes: &[u8]) {
        if let Some(c) = self
            .ch
            .get(id.0)
            .filter(|c| c.istate == Half::Open && c.state == State::Open)
        {
            c.stderr.extend_from_slice(bytes);
        }
    }

    /// How many bytes the client's window has room for beyond what is queued; 0 for a channel that takes none.
    pub fn sendable(&self, id: ChannelId) -> usize {
        self.ch
            .slots
            .get(id.0 as usize)
            .and_then(|c| c.as_deref())
            .filter(|c| c.state == State::Open && c.istate == Half::Open)
            .map_or(0, |c| {
                (c.remote_window as usize).saturating_sub(c.input.len() + c.stderr.len())
            })
    }

    /// The program has taken so many bytes of `ChannelEvent::Data`; the client may send more in time.
    pub fn consumed(&mut self, id: ChannelId, bytes: usize) {
        if let Some(c) = self.ch.get(id.0) {
            let n = (bytes as u64).min(u64::from(c.unconsumed)) as u32;
            c.unconsumed -= n;
            c.consumed = c.consumed.saturating_add(n);
            if c.unconsumed == 0 && c.ostate == Half::Drain {
                c.ostate = Half::Closed;
            }
        }
    }

    /// The program's output has ended (after everything given so far).
    pub fn channel_eof(&mut self, id: ChannelId) {
        if let Some(c) = self.ch.get(id.0).filter(|c| c.istate == Half::Open) {
            c.istate = Half::Drain;
        }
    }

    /// The program has exited. Output that is still to come may follow; CLOSE is sent after [`channel_eof`](Server::channel_eof).
    pub fn channel_exit_status(&mut self, id: ChannelId, status: u32) {
        self.program_ended(id, |remote_id| {
            let mut m = channel_request(remote_id, "exit-status", false);
            m.put_u32(status);
            m
        });
    }

    /// The program was killed by a signal (name without `SIG`).
    pub fn channel_exit_signal(&mut self, id: ChannelId, signal: &str, core_dumped: bool) {
        self.program_ended(id, |remote_id| {
            let mut m = channel_request(remote_id, "exit-signal", false);
            m.put_string(signal.as_bytes())
                .put_u8(u8::from(core_dumped))
                .put_string(b"")
                .put_string(b"");
            m
        });
    }

    /// session_exit_message in session.c.
    fn program_ended(&mut self, id: ChannelId, message: impl FnOnce(u32) -> Vec<u8>) {
        let openssh = self.quirks.openssh;
        let Some(c) = self.ch.get(id.0).filter(|c| c.running) else {
            return;
        };
        c.running = false;
        c.detached = true;
        let remote_id = c.remote_id;
        let eow = c.ostate != Half::Closed && openssh;
        c.ostate = Half::Closed;
        self.send_channel_output(id.0);
        let m = message(remote_id);
        self.send(&m);
        if eow {
            let m = channel_request(remote_id, "eow@openssh.com", false);
            self.send(&m);
        }
    }

    /// The connection behind a forwarded channel is gone in both directions.
    pub fn channel_close(&mut self, id: ChannelId) {
        if let Some(c) = self.ch.get(id.0) {
            if c.istate == Half::Open {
                c.istate = Half::Drain;
            }
            c.ostate = Half::Closed;
            c.running = false;
            c.detached = true;
        }
    }

    /// A `direct-...` channel is connected.
    pub fn open_confirm(&mut self, id: ChannelId) {
        let Some(c) = self.ch.get(id.0).filter(|c| c.state == State::Connecting) else {
            return;
        };
        c.state = State::Open;
        let mut m = channel_message(msg::CHANNEL_OPEN_CONFIRMATION, c.remote_id);
        m.put_u32(id.0).put_u32(c.local_window).put_u32(c.local_max);
        self.send(&m);
    }

    /// A `direct-...` channel could not be connected: reason 2 and the system's words, e.g. `Connection refused`.
    pub fn open_fail(&mut self, id: ChannelId, reason: u32, text: &str) {
        let Some(c) = self.ch.get(id.0).filter(|c| c.state == State::Connecting) else {
            return;
        };
        let remote_id = c.remote_id;
        self.ch.slots[id.0 as usize] = None;
        self.send_open_failure(remote_id, reason, text);
    }

    /// A connection came in at a port the client had us listen on. `ChannelEvent::Opened` or
    /// `ChannelEvent::OpenFailed` follows. `None` if there are too many channels.
    pub fn open_forwarded_tcp(
        &mut self,
        address: &str,
        port: u16,
        origin: &str,
        origin_port: u16,
    ) -> Option<ChannelId> {
        let mut tail = Vec::new();
        tail.put_string(address.as_bytes())
            .put_u32(port.into())
            .put_string(origin.as_bytes())
            .put_u32(origin_port.into());
        self.open_channel("forwarded-tcpip", Kind::Tcp, WINDOW, PACKET, &tail)
    }

    /// As above for a Unix socket.
    pub fn open_forwarded_local(&mut self, path: &str) -> Option<ChannelId> {
        let mut tail = Vec::new();
        tail.put_string(path.as_bytes()).put_string(b"");
        self.open_channel(
            "forwarded-streamlocal@openssh.com",
            Kind::Tcp,
            WINDOW,
            PACKET,
            &tail,
        )
    }

    /// A program connected to the forwarded agent's socket.
    pub fn open_agent(&mut self) -> Option<ChannelId> {
        self.open_channel("auth-agent@openssh.com", Kind::Tcp, 4 * 16 * 1024, PACKET, &[])
    }

    /// A program connected to the forwarded display.
    pub fn open_x11(&mut self, origin: &str, origin_port: u16) -> Option<ChannelId> {
        let mut tail = Vec::new();
        tail.put_string(origin.as_bytes()).put_u32(origin_port.into());
        self.open_channel("x11", Kind::X11, 4 * 16 * 1024, 16 * 1024, &tail)
    }

    fn open_channel(
        &mut self,
        name: &str,
        kind: Kind,
        window: u32,
        max: u32,
        tail: &[u8],
    ) -> Option<ChannelId> {
        let id = self.ch.add(Channel::new(kind, State::Opening, window, max))?;
        let mut m = vec![msg::CHANNEL_OPEN];
        m.put_string(name.as_bytes())
            .put_u32(id)
            .put_u32(window)
            .put_u32(max);
        m.extend_from_slice(tail);
        self.send(&m);
        Some(ChannelId(id))
    }
}
