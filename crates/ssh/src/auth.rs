//! User authentication (RFC 4252, RFC 4256) as auth2*.c of OpenSSH does it. Decisions are the host's.

use crate::algo::has;
use crate::api::*;
use crate::config::PermitRootLogin;
use crate::keys::{PublicKey, fingerprint, key_type_of};
use crate::msg;
use crate::server::{End, Handled, Handler, Server, Waiting};
use crate::wire::{Put, Reader};
use sha2::{Digest, Sha512};
use std::time::Duration;

/// Longest password that reaches PAM (auth-passwd.c).
const MAX_PASSWORD: usize = 1024;
/// Attempts of any kind, successful queries included, before sshd ends.
const MAX_ATTEMPTS: u32 = 1024;

/// The state of authentication.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    attempt: u32,
    failures: u32,
    user: Vec<u8>,
    style: Option<Vec<u8>>,
    service: Vec<u8>,
    method: Vec<u8>,
    none_tried: bool,
    /// When the request that is being decided came.
    started: Time,
    pending: Option<Pending>,
    /// Prompts that the client has to answer.
    prompts: Option<Asked>,
    /// What remains after a partial success.
    remaining: Option<Vec<String>>,
    partial: bool,
}

#[derive(Debug)]
enum Pending {
    Plain(&'static str),
    Query { algorithm: Vec<u8>, blob: Vec<u8> },
    Interactive,
}

#[derive(Debug, Clone, Copy)]
enum Asked {
    /// So many; the host judges the answers.
    Host(u32),
    /// None: PAM's last message after success, an empty answer lets in.
    Final,
}

impl Server {
    /// The first keys are in place: services may be asked for.
    /// A client's EXT_INFO is not among what is expected: 9.2 answers UNIMPLEMENTED.
    pub(crate) fn begin_auth(&mut self) {
        self.handle(0..=255, Handler::Unimplemented);
        self.handlers[usize::from(msg::SERVICE_REQUEST)] = Handler::Service;
    }

    pub(crate) fn on_service(&mut self, r: &mut Reader) -> Handled {
        let service = r.cstring()?;
        r.end()?;
        if service != b"ssh-userauth" {
            return Err(End::disconnect([b"bad service request ", service].concat()));
        }
        self.handlers[usize::from(msg::USERAUTH_REQUEST)] = Handler::Userauth;
        let mut m = vec![msg::SERVICE_ACCEPT];
        m.put_string(service);
        self.send(&m);
        self.flush();
        Ok(())
    }

    pub(crate) fn on_userauth(&mut self, r: &mut Reader) -> Handled {
        let (user, service, method) = (r.cstring()?, r.cstring()?, r.cstring()?);
        self.auth.started = self.now;
        self.acts.push_back(Act::Fact(Fact::AuthAttempt {
            user: user.to_vec(),
            service: service.to_vec(),
            method: method.to_vec(),
        }));
        if self.auth.attempt >= MAX_ATTEMPTS {
            return Err(too_many());
        }
        let (name, style) = match user.iter().position(|c| *c == b':') {
            Some(at) => (&user[..at], Some(user[at + 1..].to_vec())),
            None => (user, None),
        };
        self.auth.attempt += 1;
        if self.auth.attempt == 1 {
            self.auth.user = name.to_vec();
            self.auth.service = service.to_vec();
            self.auth.style = style;
            if let Some(banner) = self.config.banner.clone() {
                let mut m = vec![msg::USERAUTH_BANNER];
                m.put_string(&banner).put_string(b"");
                self.send(&m);
            }
        } else if name != self.auth.user || service != self.auth.service {
            let mut text = b"Change of username or service not allowed: (".to_vec();
            for part in [
                &self.auth.user[..],
                b",",
                &self.auth.service,
                b") -> (",
                name,
                b",",
                service,
                b")",
            ] {
                text.extend_from_slice(part);
            }
            return Err(End::Disconnect(text));
        }
        self.auth.prompts = None;
        self.handlers[usize::from(msg::USERAUTH_INFO_RESPONSE)] = Handler::Unimplemented;
        self.auth.method = method.to_vec();
        self.auth.partial = false;
        if self.auth.failures >= self.config.max_auth_tries {
            return self.auth_failed();
        }
        let on = &self.config.auth;
        match method {
            b"none" if !self.auth.none_tried => {
                self.auth.none_tried = true;
                r.end()?;
                if on.empty_passwords && on.password {
                    return self.ask(Pending::Plain("none"), AuthMethod::None, false);
                }
                self.auth_failed()
            }
            b"password" if on.password => self.on_password(r),
            b"publickey" if on.pubkey => self.on_publickey(r, false),
            b"publickey-hostbound-v00@openssh.com" if on.pubkey => self.on_publickey(r, true),
            b"keyboard-interactive" if on.keyboard_interactive => {
                let (_language, devices) = (r.cstring()?, r.cstring()?.to_vec());
                r.end()?;
                // With UsePAM the one device is PAM; hints that name other devices find none.
                let known = devices.is_empty() || has(&String::from_utf8_lossy(&devices), "pam");
                if !known {
                    return self.auth_failed();
                }
                self.ask(
                    Pending::Interactive,
                    AuthMethod::Interactive { submethods: devices },
                    false,
                )
            }
            _ => self.auth_failed(),
        }
    }

    fn on_password(&mut self, r: &mut Reader) -> Handled {
        let change = r.u8()? != 0;
        let password = r.cstring()?.to_vec();
        if change {
            r.cstring()?;
        }
        r.end()?;
        if change {
            return self.auth_failed();
        }
        let forbidden = password.len() > MAX_PASSWORD;
        self.ask(
            Pending::Plain("password"),
            AuthMethod::Password { password },
            forbidden,
        )
    }

    fn on_publickey(&mut self, r: &mut Reader, hostbound: bool) -> Handled {
        let has_signature = r.u8()? != 0;
        let algorithm = r.cstring()?;
        let blob = r.string()?;
        if hostbound {
            let host_key = r.string()?;
            if PublicKey::parse(host_key).is_none() || host_key != self.kex.first_host_key {
                return Err(End::Silent(
                    "hostbound packet contained wrong host key".to_owned(),
                ));
            }
        }
        let name = String::from_utf8_lossy(algorithm).into_owned();
        let Some(kind) = key_type_of(&name) else {
            return self.auth_failed();
        };
        let Some(key) = PublicKey::parse(blob).filter(|k| k.kind == kind) else {
            return self.auth_failed();
        };
        let accepted = self.config.pubkey_accepted.contains(&name)
            && key.rsa_bits().is_none_or(|b| b >= self.config.required_rsa_size);
        if !accepted {
            return self.auth_failed();
        }
        let offer = PublicKeyOffer {
            algorithm: name.clone(),
            blob: blob.to_vec(),
            fingerprint: fingerprint(blob),
        };
        if !has_signature {
            r.end()?;
            if !key.usable() {
                return self.auth_failed();
            }
            let pending = Pending::Query {
                algorithm: algorithm.to_vec(),
                blob: blob.to_vec(),
            };
            return self.ask(pending, AuthMethod::PublicKeyQuery(offer), false);
        }
        let signature = r.string()?;
        r.end()?;
        let mut signed = Vec::new();
        signed
            .put_string(&self.kex.session_id)
            .put_u8(msg::USERAUTH_REQUEST);
        let mut user = self.auth.user.clone();
        if let Some(style) = &self.auth.style {
            user.push(b':');
            user.extend_from_slice(style);
        }
        signed
            .put_string(&user)
            .put_string(&self.auth.service)
            .put_string(&self.auth.method)
            .put_u8(1)
            .put_string(algorithm)
            .put_string(blob);
        if hostbound {
            signed.put_string(&self.kex.first_host_key);
        }
        let verified = if self.quirks.loose_sigtype {
            let said = Reader::new(signature)
                .cstring()
                .ok()
                .map(|s| String::from_utf8_lossy(s).into_owned());
            said.is_some_and(|s| key_type_of(&s) == Some(kind) && key.verify(&s, signature, &signed))
        } else {
            key.verify(&name, signature, &signed)
        };
        if !verified {
            return self.auth_failed();
        }
        self.ask(Pending::Plain("publickey"), AuthMethod::PublicKey(offer), false)
    }

    /// Leaves the decision to the host.
    fn ask(&mut self, pending: Pending, method: AuthMethod, forbidden: bool) -> Handled {
        let is_key = matches!(method, AuthMethod::PublicKey(_) | AuthMethod::PublicKeyQuery(_));
        let root = self.auth.user == b"root"
            && match self.config.permit_root_login {
                PermitRootLogin::Yes => false,
                PermitRootLogin::No => true,
                PermitRootLogin::ProhibitPassword | PermitRootLogin::ForcedCommandsOnly => !is_key,
            };
        let forbidden = forbidden || root || self.auth.service != b"ssh-connection";
        self.auth.pending = Some(pending);
        self.waiting = Some(Waiting::Auth);
        self.acts.push_back(Act::Auth(AuthRequest {
            user: self.auth.user.clone(),
            forbidden,
            method,
        }));
        // The decision's own time is not part of the shortest refusal's.
        if forbidden {
            self.auth.partial = false;
        }
        Ok(())
    }

    fn decision_forbidden(&self, key: bool) -> bool {
        let root = self.auth.user == b"root"
            && match self.config.permit_root_login {
                PermitRootLogin::Yes => false,
                PermitRootLogin::No => true,
                _ => !key,
            };
        root || self.auth.service != b"ssh-connection"
    }

    pub(crate) fn on_auth_reply(&mut self, reply: AuthReply) -> Handled {
        let Some(pending) = self.auth.pending.take() else {
            return Ok(());
        };
        let key = matches!(pending, Pending::Query { .. } | Pending::Plain("publickey"));
        let reply = match reply {
            AuthReply::Accept | AuthReply::Partial(_) if self.decision_forbidden(key) => AuthReply::Reject,
            other => other,
        };
        match (pending, reply) {
            (Pending::Query { algorithm, blob }, AuthReply::Accept) => {
                let mut m = vec![msg::USERAUTH_PK_OK];
                m.put_string(&algorithm).put_string(&blob);
                self.send(&m);
                self.flush();
                Ok(())
            }
            (Pending::Plain(method), AuthReply::Accept) => self.auth_succeeded(method),
            (Pending::Interactive, AuthReply::Accept) => {
                // PAM has accepted: an empty round follows (sshpam_query in auth-pam.c).
                self.prompt(&Prompt::default());
                self.auth.prompts = Some(Asked::Final);
                Ok(())
            }
            (Pending::Interactive, AuthReply::Prompt(p)) => {
                self.prompt(&p);
                self.auth.prompts = Some(Asked::Host(p.prompts.len() as u32));
                Ok(())
            }
            (_, AuthReply::Partial(remaining)) => {
                self.auth.remaining = Some(remaining);
                self.auth.partial = true;
                self.auth_failed_now()
            }
            _ => self.auth_failed(),
        }
    }

    fn prompt(&mut self, p: &Prompt) {
        let mut m = vec![msg::USERAUTH_INFO_REQUEST];
        m.put_string(p.name.as_bytes())
            .put_string(p.instruction.as_bytes())
            .put_string(b"")
            .put_u32(p.prompts.len() as u32);
        for (text, echo) in &p.prompts {
            m.put_string(text.as_bytes()).put_u8(u8::from(*echo));
        }
        self.send(&m);
        self.flush();
        self.handlers[usize::from(msg::USERAUTH_INFO_RESPONSE)] = Handler::InfoResponse;
    }

    pub(crate) fn on_info_response(&mut self, r: &mut Reader) -> Handled {
        let Some(asked) = self.auth.prompts else {
            return Ok(());
        };
        self.auth.started = self.now;
        let n = r.u32()?;
        let want = match asked {
            Asked::Host(n) => n,
            Asked::Final => 0,
        };
        if n != want || n > 100 {
            return Err(End::Silent("wrong number of replies".to_owned()));
        }
        let mut responses = Vec::new();
        for _ in 0..n {
            responses.push(r.cstring()?.to_vec());
        }
        r.end()?;
        self.auth.prompts = None;
        self.handlers[usize::from(msg::USERAUTH_INFO_RESPONSE)] = Handler::Unimplemented;
        match asked {
            Asked::Final => self.auth_succeeded("keyboard-interactive"),
            Asked::Host(_) => self.ask(
                Pending::Interactive,
                AuthMethod::InteractiveAnswer { responses },
                false,
            ),
        }
    }

    /// A refusal, at the earliest when the shortest time for one has passed.
    fn auth_failed(&mut self) -> Handled {
        if self.auth.method != b"none"
            && let Some(secret) = &self.config.fail_delay_secret
        {
            let h = Sha512::new()
                .chain_update(secret)
                .chain_update(&self.auth.user)
                .finalize();
            let spread = u32::from_be_bytes([h[0], h[1], h[2], h[3]]);
            // 5 ms, and up to 4.3 ms by user; doubled until it covers what has passed.
            let mut least = Duration::from_millis(5) + Duration::from_nanos(u64::from(spread) / 1000);
            let passed = self.now.saturating_sub(self.auth.started);
            while least < passed && least < Duration::from_secs(600) {
                least *= 2;
            }
            let at = self.auth.started.saturating_add(least);
            if at > self.now {
                self.waiting = Some(Waiting::Pause(at));
                return Ok(());
            }
        }
        self.auth_failed_now()
    }

    pub(crate) fn auth_failed_now(&mut self) -> Handled {
        if !self.auth.partial && (self.auth.attempt > 1 || self.auth.method != b"none") {
            self.auth.failures += 1;
        }
        if self.auth.failures >= self.config.max_auth_tries {
            return Err(too_many());
        }
        let on = &self.config.auth;
        let methods = self.auth.remaining.as_ref().map_or_else(
            || {
                [
                    (on.pubkey, "publickey"),
                    (on.password, "password"),
                    (on.keyboard_interactive, "keyboard-interactive"),
                ]
                .iter()
                .filter(|m| m.0)
                .map(|m| m.1)
                .collect::<Vec<_>>()
                .join(",")
            },
            |r| r.join(","),
        );
        let mut m = vec![msg::USERAUTH_FAILURE];
        m.put_string(methods.as_bytes())
            .put_u8(u8::from(self.auth.partial));
        self.send(&m);
        self.flush();
        Ok(())
    }

    fn auth_succeeded(&mut self, method: &'static str) -> Handled {
        self.send(&[msg::USERAUTH_SUCCESS]);
        self.t.authenticated = true;
        self.t.start_compression();
        self.flush();
        self.acts.push_back(Act::LoggedIn(LoggedIn {
            user: self.auth.user.clone(),
            method,
        }));
        self.enter_session();
        Ok(())
    }
}

fn too_many() -> End {
    End::disconnect("Too many authentication failures".to_owned())
}
