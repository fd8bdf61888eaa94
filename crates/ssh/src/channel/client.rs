//! What the client says: global requests, and messages of the channel layer.

use super::*;
use crate::algo::wildcard;
use crate::api::*;
use crate::server::{End, Handled, Server, Waiting};
use crate::wire::{Malformed, Reader};
use std::sync::Arc;

/// Environment variables of one session.
const MAX_ENV: u32 = 128;

/// Signals that a client may have delivered (name2sig in session.c).
const SIGNALS: [&str; 7] = ["HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2"];

impl Server {
    /// hostkeys-00@openssh.com: all our keys.
    pub(crate) fn announce_host_keys(&mut self) {
        if self.quirks.no_hostkeys {
            return;
        }
        let mut m = vec![msg::GLOBAL_REQUEST];
        m.put_string(b"hostkeys-00@openssh.com").put_u8(0);
        for k in &self.config.host_keys {
            m.put_string(k.blob());
        }
        self.send(&m);
    }

    pub(crate) fn send_keepalive(&mut self) {
        let open = self
            .ch
            .slots
            .iter()
            .flatten()
            // Also one that has no program yet (channel_find_open in channels.c).
            .find(|c| matches!(c.state, State::Open | State::Larval))
            .map(|c| c.remote_id);
        let m = match open {
            Some(id) => channel_request(id, "keepalive@openssh.com", true),
            None => {
                let mut m = vec![msg::GLOBAL_REQUEST];
                m.put_string(b"keepalive@openssh.com").put_u8(1);
                m
            }
        };
        self.send(&m);
    }

    pub(crate) fn on_global(&mut self, r: &mut Reader) -> Handled {
        let name = r.cstring()?.to_vec();
        let want_reply = r.u8()? != 0;
        let fwd = self.config.forwarding.clone();
        let mut any_port = false;
        let event = match name.as_slice() {
            b"tcpip-forward" => {
                let (address, port) = (r.cstring()?.to_vec(), r.u32()?);
                any_port = port == 0;
                if !fwd.tcp_remote || (!want_reply && any_port) {
                    self.debug_message("Server has disabled port forwarding.");
                    None
                } else {
                    Some(GlobalEvent::Listen { address, port })
                }
            }
            b"cancel-tcpip-forward" => Some(GlobalEvent::CancelListen {
                address: r.cstring()?.to_vec(),
                port: r.u32()?,
            }),
            b"streamlocal-forward@openssh.com" => {
                let path = r.cstring()?.to_vec();
                if fwd.streamlocal_remote {
                    Some(GlobalEvent::ListenLocal { path })
                } else {
                    self.debug_message("Server has disabled streamlocal forwarding.");
                    None
                }
            }
            b"cancel-streamlocal-forward@openssh.com" => Some(GlobalEvent::CancelListenLocal {
                path: r.cstring()?.to_vec(),
            }),
            b"no-more-sessions@openssh.com" => {
                self.ch.no_more_sessions = true;
                self.answer_global(want_reply, Some(&[]));
                return Ok(());
            }
            b"hostkeys-prove-00@openssh.com" => {
                let proof = self.prove_host_keys(r);
                self.answer_global(want_reply, proof.as_deref());
                return Ok(());
            }
            _ => None,
        };
        match event {
            Some(e) => {
                self.acts.push_back(Act::Global(e));
                self.waiting = Some(Waiting::Global { want_reply, any_port });
            }
            None => {
                self.acts.push_back(Act::Fact(Fact::RequestRefused { name }));
                self.answer_global(want_reply, None);
            }
        }
        Ok(())
    }

    fn answer_global(&mut self, want_reply: bool, success: Option<&[u8]>) {
        if !want_reply {
            return;
        }
        let mut m = vec![if success.is_some() {
            msg::REQUEST_SUCCESS
        } else {
            msg::REQUEST_FAILURE
        }];
        m.extend_from_slice(success.unwrap_or_default());
        self.send(&m);
        self.flush();
    }

    pub(crate) fn on_global_reply(&mut self, want_reply: bool, any_port: bool, reply: GlobalReply) {
        match reply {
            GlobalReply::Done(port) if any_port => self.answer_global(want_reply, Some(&port.to_be_bytes())),
            GlobalReply::Done(_) => self.answer_global(want_reply, Some(&[])),
            GlobalReply::Failed => self.answer_global(want_reply, None),
        }
    }

    /// Signatures for the keys asked about; `None` if one of them is not ours.
    fn prove_host_keys(&mut self, r: &mut Reader) -> Option<Vec<u8>> {
        let config = Arc::clone(&self.config);
        let mut out = Vec::new();
        // Each signature costs; a client has no use for more than it was told of.
        let mut budget = config.host_keys.len() * 2;
        while !r.rest().is_empty() {
            budget = budget.checked_sub(1)?;
            let blob = r.string().ok()?;
            let key = config.host_keys.iter().find(|k| k.blob() == blob)?;
            let mut data = Vec::new();
            data.put_string(b"hostkeys-prove-00@openssh.com")
                .put_string(&self.kex.session_id)
                .put_string(blob);
            let algorithms = key.algorithms();
            let alg = if algorithms.len() > 1 {
                if algorithms.contains(&self.kex.host_key_alg.as_str()) {
                    self.kex.host_key_alg.clone()
                } else if self.kex.rsa512 {
                    "rsa-sha2-512".to_owned()
                } else if self.kex.rsa256 {
                    "rsa-sha2-256".to_owned()
                } else {
                    "ssh-rsa".to_owned()
                }
            } else {
                algorithms[0].to_owned()
            };
            out.put_string(&key.sign(&alg, &data, &mut *self.rng)?);
        }
        Some(out)
    }

    pub(crate) fn on_open(&mut self, r: &mut Reader) -> Handled {
        let kind = r.cstring()?.to_vec();
        let (remote_id, window, max) = (r.u32()?, r.u32()?, r.u32()?);
        let mut reason = 2;
        let opened: Option<(Channel, ChannelEvent)> = match kind.as_slice() {
            b"session" => {
                r.end()?;
                if self.ch.no_more_sessions {
                    return Err(End::disconnect(
                        "Possible attack: attempt to open a session after additional sessions disabled"
                            .to_owned(),
                    ));
                }
                (self.ch.sessions() < self.config.max_sessions).then(|| {
                    (
                        Channel::new(Kind::Session, State::Larval, 0, PACKET),
                        ChannelEvent::Session,
                    )
                })
            }
            b"direct-tcpip" => {
                let (host, port) = (r.cstring()?.to_vec(), r.u32()?);
                let (origin_host, origin_port) = (r.cstring()?.to_vec(), r.u32()?);
                r.end()?;
                if port > 0xffff {
                    reason = 1;
                    None
                } else if self.config.forwarding.tcp_local {
                    let event = DirectTcp {
                        host,
                        port,
                        origin_host,
                        origin_port,
                    };
                    Some((
                        Channel::new(Kind::Tcp, State::Connecting, WINDOW, PACKET),
                        ChannelEvent::DirectTcp(event),
                    ))
                } else {
                    reason = 1;
                    None
                }
            }
            b"direct-streamlocal@openssh.com" => {
                let path = r.cstring()?.to_vec();
                r.cstring()?;
                r.u32()?;
                r.end()?;
                self.config.forwarding.streamlocal_local.then(|| {
                    (
                        Channel::new(Kind::Tcp, State::Connecting, WINDOW, PACKET),
                        ChannelEvent::DirectStreamLocal { path },
                    )
                })
            }
            b"tun@openssh.com" => {
                let mode = r.u32()?;
                let text = if matches!(mode, 1 | 2) {
                    "Server has rejected tunnel device forwarding"
                } else {
                    "Unsupported tunnel device mode."
                };
                self.debug_message(text);
                None
            }
            _ => None,
        };
        if let Some((mut c, event)) = opened {
            (c.remote_id, c.remote_window, c.remote_max) = (remote_id, window, max);
            let confirm = (c.state == State::Larval).then_some((c.local_window, c.local_max));
            if let Some(id) = self.ch.add(c) {
                if let Some((window, max)) = confirm {
                    let mut m = channel_message(msg::CHANNEL_OPEN_CONFIRMATION, remote_id);
                    m.put_u32(id).put_u32(window).put_u32(max);
                    self.send(&m);
                }
                self.acts.push_back(Act::Channel(ChannelId(id), event));
                return Ok(());
            }
        }
        self.acts.push_back(Act::Fact(Fact::ChannelRefused { kind }));
        self.send_open_failure(remote_id, reason, "open failed");
        Ok(())
    }

    pub(super) fn send_open_failure(&mut self, remote_id: u32, reason: u32, text: &str) {
        let mut m = channel_message(msg::CHANNEL_OPEN_FAILURE, remote_id);
        m.put_u32(reason).put_string(text.as_bytes()).put_string(b"");
        self.send(&m);
    }

    /// The channel that a packet speaks of.
    fn known(&mut self, r: &mut Reader, what: &str) -> Result<u32, End> {
        let id = r.u32().map_err(|_| invalid(what))?;
        if id > i32::MAX as u32 {
            return Err(End::disconnect(format!("Invalid {what} channel id")));
        }
        if self.ch.get(id).is_none() {
            return Err(End::disconnect(format!(
                "{what} packet referred to nonexistent channel {id}"
            )));
        }
        Ok(id)
    }

    pub(crate) fn on_open_confirmation(&mut self, r: &mut Reader) -> Handled {
        let id = self.known(r, "open confirmation")?;
        let Some(c) = self.ch.get(id).filter(|c| c.state == State::Opening) else {
            return Err(End::disconnect(format!(
                "Received open confirmation for non-opening channel {id}."
            )));
        };
        let mut numbers = || -> Result<_, Malformed> {
            let n = (r.u32()?, r.u32()?, r.u32()?);
            r.end()?;
            Ok(n)
        };
        (c.remote_id, c.remote_window, c.remote_max) = numbers().map_err(|_| invalid("open confirmation"))?;
        c.state = State::Open;
        self.acts
            .push_back(Act::Channel(ChannelId(id), ChannelEvent::Opened));
        Ok(())
    }

    pub(crate) fn on_open_failure(&mut self, r: &mut Reader) -> Handled {
        let id = self.known(r, "open failure")?;
        if self.ch.get(id).is_none_or(|c| c.state != State::Opening) {
            return Err(End::disconnect(format!(
                "Received open failure for non-opening channel {id}."
            )));
        }
        let mut parts = || -> Result<_, Malformed> {
            let parts = (r.u32()?, r.cstring()?.to_vec());
            r.cstring()?;
            r.end()?;
            Ok(parts)
        };
        let (reason, text) = parts().map_err(|_| invalid("open failure"))?;
        self.ch.slots[id as usize] = None;
        self.acts.push_back(Act::Channel(
            ChannelId(id),
            ChannelEvent::OpenFailed { reason, text },
        ));
        Ok(())
    }

    pub(crate) fn on_window_adjust(&mut self, r: &mut Reader) -> Handled {
        let id = r.u32().map_err(|_| invalid("window adjust"))?;
        if id > i32::MAX as u32 {
            return Err(End::disconnect("Invalid window adjust channel id"));
        }
        let Some(c) = self.ch.get(id) else { return Ok(()) };
        let add = r.u32().map_err(|_| invalid("window adjust"))?;
        r.end().map_err(|_| invalid("window adjust"))?;
        c.remote_window = c
            .remote_window
            .checked_add(add)
            .ok_or_else(|| End::Silent(format!("channel {id}: adjust {add} overflows remote window")))?;
        Ok(())
    }

    pub(crate) fn on_data(&mut self, r: &mut Reader) -> Handled {
        let id = self.known(r, "data")?;
        let Some(c) = self.ch.get(id).filter(|c| c.state == State::Open) else {
            return Ok(());
        };
        let data = r.string()?;
        r.end()?;
        let n = data.len() as u32;
        if c.ostate != Half::Open {
            c.local_window = c.local_window.wrapping_sub(n);
            c.consumed = c.consumed.saturating_add(n);
            return Ok(());
        }
        if n > c.local_max {
            return Ok(());
        }
        if n > c.local_window {
            c.exceeded = c.exceeded.saturating_add(n - c.local_window);
            c.local_window = 0;
            if c.exceeded > c.local_window_max / 10 {
                return Err(End::disconnect(format!(
                    "channel {id}: peer ignored channel window"
                )));
            }
        } else {
            c.local_window -= n;
            c.exceeded = 0;
        }
        if n > 0 {
            c.unconsumed = c.unconsumed.saturating_add(n);
            self.acts
                .push_back(Act::Channel(ChannelId(id), ChannelEvent::Data(data.to_vec())));
        }
        Ok(())
    }

    pub(crate) fn on_extended_data(&mut self, r: &mut Reader) -> Handled {
        let id = self.known(r, "extended data")?;
        let quirk = self.quirks.ext_after_eof;
        let Some(c) = self.ch.get(id).filter(|c| c.state == State::Open) else {
            return Ok(());
        };
        if c.eof_rcvd && !quirk {
            return Err(End::disconnect(format!(
                "Received extended_data after EOF on channel {id}."
            )));
        }
        // Nothing here reads an extended stream.
        r.u32().map_err(|_| invalid("extended_data"))?;
        Ok(())
    }

    pub(crate) fn on_channel_eof(&mut self, r: &mut Reader) -> Handled {
        let id = self.known(r, "ieof")?;
        r.end().map_err(|_| invalid("ieof"))?;
        if let Some(c) = self.ch.get(id) {
            c.eof_rcvd = true;
            if c.ostate == Half::Open {
                c.ostate = if c.unconsumed == 0 {
                    Half::Closed
                } else {
                    Half::Drain
                };
                if c.state == State::Open {
                    self.acts
                        .push_back(Act::Channel(ChannelId(id), ChannelEvent::Eof));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn on_channel_close(&mut self, r: &mut Reader) -> Handled {
        let id = self.known(r, "oclose")?;
        r.end().map_err(|_| invalid("oclose"))?;
        if let Some(c) = self.ch.get(id) {
            let first = !c.close_rcvd;
            c.close_rcvd = true;
            c.istate = Half::Closed;
            c.input.clear();
            c.stderr.clear();
            if c.state == State::Larval || c.unconsumed == 0 || c.running {
                c.ostate = Half::Closed;
            } else if c.ostate == Half::Open {
                c.ostate = Half::Drain;
            }
            if first && c.state == State::Open && (c.running || c.kind != Kind::Session) {
                self.acts
                    .push_back(Act::Channel(ChannelId(id), ChannelEvent::Hangup));
            }
        }
        Ok(())
    }

    pub(crate) fn on_channel_request(&mut self, r: &mut Reader) -> Handled {
        let id = r.u32()?;
        let name = r.cstring()?.to_vec();
        let want_reply = r.u8()? != 0;
        let Some(c) = self.ch.get(id) else {
            return Err(End::disconnect(format!(
                "server_input_channel_req: unknown channel {}",
                id as i32
            )));
        };
        let session =
            c.kind == Kind::Session && matches!(c.state, State::Larval | State::Open) && !c.detached;
        let outcome = if name == b"eow@openssh.com" {
            r.end()?;
            if c.istate == Half::Open {
                c.istate = Half::Closed;
                c.input.clear();
                self.acts
                    .push_back(Act::Channel(ChannelId(id), ChannelEvent::OutputClosed));
            }
            Outcome::Failed
        } else if session {
            self.session_request(id, &name, r)?
        } else {
            Outcome::Failed
        };
        match outcome {
            Outcome::Ask(event, start) => {
                self.acts.push_back(Act::Channel(ChannelId(id), event));
                self.waiting = Some(Waiting::Request {
                    id,
                    want_reply,
                    start,
                });
            }
            Outcome::Done => self.answer_request(id, want_reply, true),
            Outcome::Failed => {
                self.acts.push_back(Act::Fact(Fact::RequestRefused { name }));
                self.answer_request(id, want_reply, false);
            }
        }
        Ok(())
    }

    /// session_input_channel_req in session.c.
    fn session_request(&mut self, id: u32, name: &[u8], r: &mut Reader) -> Result<Outcome, End> {
        let config = Arc::clone(&self.config);
        let agent_asked = self.ch.agent_asked;
        let Some(c) = self.ch.get(id) else {
            return Ok(Outcome::Failed);
        };
        let larval = c.state == State::Larval;
        Ok(match name {
            b"shell" if larval => {
                r.end()?;
                Outcome::Ask(ChannelEvent::Shell, true)
            }
            b"exec" if larval => {
                let command = r.cstring()?.to_vec();
                r.end()?;
                Outcome::Ask(ChannelEvent::Exec { command }, true)
            }
            b"subsystem" if larval => {
                let name = r.cstring()?.to_vec();
                r.end()?;
                if config.subsystems.iter().any(|s| s.as_bytes() == name) {
                    Outcome::Ask(ChannelEvent::Subsystem { name }, true)
                } else {
                    Outcome::Failed
                }
            }
            b"pty-req" if larval => {
                if !config.permit_tty {
                    return Ok(Outcome::Failed);
                }
                if c.has_pty {
                    return Err(End::disconnect(
                        "Protocol error: you already have a pty.".to_owned(),
                    ));
                }
                let term = r.cstring()?.to_vec();
                let [cols, rows, width, height] = [r.u32()?, r.u32()?, r.u32()?, r.u32()?];
                let modes = r.string()?.to_vec();
                r.end()?;
                if cut_off(&modes) {
                    return Err(End::Silent("modes of a terminal that are cut off".to_owned()));
                }
                let size = WindowSize {
                    cols,
                    rows,
                    width,
                    height,
                };
                c.has_pty = true;
                Outcome::Ask(ChannelEvent::Pty(Pty { term, size, modes }), false)
            }
            b"x11-req" if larval => {
                if c.has_x11 {
                    return Ok(Outcome::Failed);
                }
                let single = r.u8()? != 0;
                let (protocol, cookie) = (r.cstring()?.to_vec(), r.cstring()?.to_vec());
                let screen = r.u32()?;
                r.end()?;
                if !config.forwarding.x11 {
                    return Ok(Outcome::Failed);
                }
                c.asks_x11 = true;
                Outcome::Ask(
                    ChannelEvent::X11(X11 {
                        single,
                        protocol,
                        cookie,
                        screen,
                    }),
                    false,
                )
            }
            b"auth-agent-req@openssh.com" if larval => {
                r.end()?;
                if agent_asked || !config.forwarding.agent {
                    return Ok(Outcome::Failed);
                }
                self.ch.agent_asked = true;
                Outcome::Ask(ChannelEvent::Agent, false)
            }
            b"env" if larval => {
                let (name, value) = (r.cstring()?.to_vec(), r.cstring()?.to_vec());
                r.end()?;
                let passes = config.accept_env.iter().any(|p| wildcard(&name, p.as_bytes()));
                if c.env > MAX_ENV || !passes {
                    return Ok(Outcome::Failed);
                }
                c.env += 1;
                self.acts
                    .push_back(Act::Channel(ChannelId(id), ChannelEvent::Env { name, value }));
                Outcome::Done
            }
            b"window-change" => {
                let [cols, rows, width, height] = [r.u32()?, r.u32()?, r.u32()?, r.u32()?];
                r.end()?;
                let size = WindowSize {
                    cols,
                    rows,
                    width,
                    height,
                };
                self.acts
                    .push_back(Act::Channel(ChannelId(id), ChannelEvent::WindowChange(size)));
                Outcome::Done
            }
            b"break" => {
                let ms = r.u32()?;
                r.end()?;
                if c.has_pty {
                    Outcome::Ask(ChannelEvent::Break { ms }, false)
                } else {
                    Outcome::Failed
                }
            }
            b"signal" => {
                // Here a malformed request is only refused.
                let Ok(name) = r.cstring() else {
                    return Ok(Outcome::Failed);
                };
                if r.end().is_err() {
                    return Ok(Outcome::Failed);
                }
                let name = String::from_utf8_lossy(name).into_owned();
                if c.running && SIGNALS.contains(&name.as_str()) {
                    Outcome::Ask(ChannelEvent::Signal { name }, false)
                } else {
                    Outcome::Failed
                }
            }
            _ => Outcome::Failed,
        })
    }

    fn answer_request(&mut self, id: u32, want_reply: bool, ok: bool) {
        let Some(c) = self.ch.get(id) else { return };
        if want_reply && !c.close_sent {
            let m = channel_message(
                if ok {
                    msg::CHANNEL_SUCCESS
                } else {
                    msg::CHANNEL_FAILURE
                },
                c.remote_id,
            );
            self.send(&m);
        }
    }

    pub(crate) fn on_request_reply(&mut self, id: u32, want_reply: bool, start: bool, ok: bool) {
        // What was refused may be asked for again (session_x11_req in session.c).
        if let Some(c) = self.ch.get(id)
            && std::mem::take(&mut c.asks_x11)
        {
            c.has_x11 = ok;
        }
        if start
            && ok
            && let Some(c) = self.ch.get(id)
        {
            c.state = State::Open;
            c.running = true;
            (c.local_window, c.local_window_max) = (WINDOW, WINDOW);
            let mut m = channel_message(msg::CHANNEL_WINDOW_ADJUST, c.remote_id);
            m.put_u32(WINDOW);
            self.send(&m);
        }
        self.answer_request(id, want_reply, ok);
    }
}

/// Whether encoded modes (RFC 4254 section 8) end within one (ssh_tty_parse_modes in ttymodes.c).
fn cut_off(modes: &[u8]) -> bool {
    let mut rest = modes;
    while let [1..=159, more @ ..] = rest {
        match more.get(4..) {
            Some(behind) => rest = behind,
            None => return true,
        }
    }
    false
}

fn invalid(what: &str) -> End {
    End::disconnect(format!("Invalid {what} message"))
}

enum Outcome {
    /// The host decides; true if success starts a program.
    Ask(ChannelEvent, bool),
    Done,
    Failed,
}
