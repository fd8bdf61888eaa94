//! An open connection: bytes between its network side and its terminal or pipes, and how it ends.

use crate::Errno;
use crate::abi::sig::{self, SigInfo};
use crate::world::{Conn, ConnState, Input, Out, Output, World};

/// Most input bytes kept for a program that does not read.
const BACKLOG: usize = 64 << 10;

impl World {
    /// Bytes that the network side may still give to this connection now.
    pub fn room(&self, conn: Conn) -> usize {
        self.conns
            .get(&conn)
            .map_or(0, |c| BACKLOG.saturating_sub(c.backlog.len()))
    }

    /// Stops or resumes taking output of a connection whose network side is slow.
    pub fn pause(&mut self, conn: Conn, on: bool) {
        match self.conns.get_mut(&conn) {
            Some(c) if c.paused != on => c.paused = on,
            _ => return,
        }
        self.rise();
        self.pump();
    }

    /// Something came in from the network side.
    pub fn input(&mut self, conn: Conn, input: Input) {
        self.rise();
        self.seq += 1;
        let Some(c) = self.conns.get_mut(&conn) else {
            return;
        };
        match input {
            Input::Data(b) => {
                let n = b.len().min(BACKLOG.saturating_sub(c.backlog.len()));
                c.backlog.extend(&b[..n]);
            }
            Input::Eof => c.eof_in = true,
            Input::Resize {
                rows,
                cols,
                xpixel,
                ypixel,
            } => {
                if let Some(m) = c.master {
                    self.ttys.resize(
                        m.tty,
                        crate::abi::tty::WinSize {
                            rows,
                            cols,
                            xpixel,
                            ypixel,
                        },
                    );
                    self.tty_effects();
                }
            }
            Input::Signal(name) => {
                let want = [b"SIG", &name[..]].concat();
                let leader = c.leader;
                let s = (1..32u8).find(|s| sig::name(*s).as_bytes() == want);
                if let Some(s) = s {
                    let pg = self.p(leader).map_or(0, |p| p.pgid);
                    self.send_pgrp(pg, SigInfo::user(s, 0, 0));
                }
            }
            Input::Hangup => {
                self.feed(conn);
                self.conn_hangs_up(conn);
            }
            Input::Close => self.conn_close(conn),
            Input::Answer { spoil } => self.guard_answer(conn, spoil),
        }
        self.pump();
    }

    /// Moves bytes between connections and their terminals or pipes.
    pub(crate) fn pump(&mut self) {
        self.inetd_accept();
        let conns: Vec<Conn> = self.conns.keys().copied().collect();
        for k in conns {
            self.feed(k);
            self.collect(k);
        }
    }

    fn feed(&mut self, conn: Conn) {
        let Some(c) = self.conns.get_mut(&conn) else {
            return;
        };
        if c.stream.is_some() {
            return self.feed_stream(conn);
        }
        let (master, stdin) = (c.master, c.stdin);
        while let Some(c) = self.conns.get_mut(&conn)
            && !c.backlog.is_empty()
        {
            let chunk: Vec<u8> = c.backlog.iter().copied().take(4096).collect();
            let n = if let Some(m) = master {
                let who = crate::tty::Caller::default();
                self.ttys.write(&m, &who, &chunk).unwrap_or(0)
            } else if let Some(p) = stdin.and_then(|s| self.pipes.get_mut(s)) {
                if p.readers == 0 {
                    chunk.len()
                } else {
                    let n = p.room().min(chunk.len());
                    p.buf.extend(&chunk[..n]);
                    n
                }
            } else {
                chunk.len()
            };
            if n == 0 {
                break;
            }
            if let Some(c) = self.conns.get_mut(&conn) {
                c.backlog.drain(..n);
            }
            if let Some(s) = stdin {
                self.wake(crate::wait::WaitKey::Pipe(s));
            }
        }
        self.tty_effects();
        if let Some(c) = self.conns.get_mut(&conn)
            && c.eof_in
            && c.backlog.is_empty()
            && let Some(s) = c.stdin.take()
        {
            self.pipe_close(s, false, true);
        }
    }

    fn collect(&mut self, k: Conn) {
        let Some(c) = self.conns.get(&k) else { return };
        if c.stream.is_some() {
            return self.collect_stream(k);
        }
        let (master, out, err, status) = (c.master, c.stdout, c.stderr, c.status);
        let mut ended = true;
        if let Some(m) = master {
            loop {
                let full = self
                    .conns
                    .get(&k)
                    .is_none_or(|c| c.paused || c.unread >= self.limits.output);
                if full {
                    ended = false;
                    break;
                }
                let who = crate::tty::Caller::default();
                let mut call = crate::tty::ReadCall {
                    nonblock: true,
                    ..Default::default()
                };
                match self.ttys.read(&m, &who, 16384, &mut call, 0) {
                    Ok(b) if !b.is_empty() => self.emit(
                        k,
                        Out::Data {
                            stderr: false,
                            bytes: b,
                        },
                    ),
                    Err(Errno::EAGAIN) => {
                        // With a terminal, the end of the shell is the end.
                        ended = status.is_some();
                        break;
                    }
                    _ => break,
                }
            }
            self.tty_effects();
        }
        for (p, stderr) in [(out, false), (err, true)] {
            let Some(id) = p else { continue };
            loop {
                let full = self
                    .conns
                    .get(&k)
                    .is_none_or(|c| c.paused || c.unread >= self.limits.output);
                if full {
                    ended = false;
                    break;
                }
                match self.pipe_read(id, 16384) {
                    Ok(Some(b)) if !b.is_empty() => self.emit(k, Out::Data { stderr, bytes: b }),
                    Ok(None) => {
                        ended = false;
                        break;
                    }
                    _ => break,
                }
            }
        }
        if let Some(s) = status
            && (ended || master.is_none())
        {
            let first = self
                .conns
                .get_mut(&k)
                .is_some_and(|c| !std::mem::replace(&mut c.sent_status, true));
            if first {
                let out = match s & 0x7f {
                    0 => Out::Exit {
                        status: (s >> 8) as u8,
                    },
                    n => Out::Signal {
                        sig: n as u8,
                        core: s & 0x80 != 0,
                    },
                };
                self.emit(k, out);
            }
        }
        if ended && status.is_some() {
            let first = self
                .conns
                .get_mut(&k)
                .is_some_and(|c| !std::mem::replace(&mut c.sent_eof, true));
            if first {
                self.emit(k, Out::Eof);
                self.emit(k, Out::Close);
                self.conn_close(k);
            }
        }
    }

    pub(super) fn say(&mut self, conn: Conn, b: &[u8]) {
        self.emit(
            conn,
            Out::Data {
                stderr: false,
                bytes: b.to_vec(),
            },
        );
    }

    pub(crate) fn emit(&mut self, conn: Conn, out: Out) {
        let watermark = self.seq;
        if let Out::Data { bytes, stderr } = &out {
            if let Some(c) = self.conns.get_mut(&conn) {
                c.unread += bytes.len();
            }
            if let Some(Output {
                conn: k,
                watermark: m,
                out: Out::Data { stderr: e, bytes: b },
            }) = self.outputs.last_mut()
                && *k == conn
                && e == stderr
                && b.len() < 32 << 10
            {
                b.extend_from_slice(bytes);
                *m = watermark;
                return;
            }
        }
        self.outputs.push(Output { conn, watermark, out });
    }

    /// Connections that are open.
    pub fn connections(&self) -> Vec<Conn> {
        self.conns.keys().copied().collect()
    }

    pub(crate) fn conn_exit(&mut self, tgid: u32, status: i32) {
        for c in self.conns.values_mut() {
            if c.leader == tgid {
                c.status = Some(status);
            }
        }
    }

    /// What channel_rcv_oclose in OpenSSH's channels.c and session_close_by_channel in session.c do: no terminal and no output any more,
    /// input ends behind what came. The connection lives until its program has ended.
    fn conn_hangs_up(&mut self, k: Conn) {
        let Some(c) = self.conns.get_mut(&k) else { return };
        c.eof_in = true;
        let (leader, master) = (c.leader, c.master.take());
        let outputs = [c.stdout.take(), c.stderr.take()];
        if let Some(m) = master {
            self.write_logout_records(leader, m.tty);
            self.ttys.close(&m);
            self.tty_effects();
        }
        for p in outputs.into_iter().flatten() {
            self.pipe_close(p, true, false);
        }
    }

    /// A connection is over: its terminal hangs up, its pipes close, its server processes are gone.
    pub(crate) fn conn_close(&mut self, k: Conn) {
        let Some(c) = self.conns.remove(&k) else { return };
        if let Some(h) = c.stream {
            self.net_clock();
            self.net.host_close(h);
            self.net_effects();
            return;
        }
        if !self.conns.values().any(|o| o.peer == c.peer) {
            self.log_logout(&c, k);
        }
        self.conn_ends(c);
    }

    /// Every connection ends because the machine goes down.
    pub(crate) fn drop_connections(&mut self) {
        for c in std::mem::take(&mut self.conns).into_values() {
            self.conn_ends(c);
        }
    }

    fn conn_ends(&mut self, c: ConnState) {
        if let Some(m) = c.master {
            self.write_logout_records(c.leader, m.tty);
            self.ttys.close(&m);
            self.tty_effects();
        }
        if let Some(s) = c.stdin {
            self.pipe_close(s, false, true);
        }
        for p in [c.stdout, c.stderr].into_iter().flatten() {
            self.pipe_close(p, true, false);
        }
        for h in c.helpers.iter().rev() {
            self.group_exit(*h, 0);
        }
    }
}
