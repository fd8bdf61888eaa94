//! Facts for the record, and who may log in.

use super::connection::Connection;
use super::planted::{Said, Way, line};
use crate::auth::{Attempt, Opens, Planted, Policy};
use crate::refused::Who;
use tokio::time::Instant;
use turncoat_cover::past::refused::{Asked, Ending, TOO_MANY, visible};
use turncoat_event::{Bytes, kinds};
use turncoat_ssh::{AuthMethod, AuthReply, AuthRequest, Fact, LoggedIn, Prompt, PublicKeyOffer};

/// Bytes of a client's farewell that sshd logs (`%.400s` in packet.c).
const LOGGED: usize = 400;

impl Connection {
    /// Names the connection to its world.
    pub(super) fn link_id(&self) -> u64 {
        crate::worlds::link(self.session)
    }

    /// Keeps a refused password for the logs of the machine. Within a machine its own sshd would log it.
    pub(super) fn refused(&self, user: &[u8], answered: turncoat_event::Time) {
        if self.inside.is_none() {
            let machine = &self.ssh.machine;
            let who = Who {
                from: self.peer.source,
                link: self.link_id(),
                by: Asked::Sshd,
                own: None,
                user,
                known: self.exists(user),
            };
            machine.refused.note(&who, answered);
        }
    }

    pub(super) fn fact(&mut self, fact: Fact) {
        match fact {
            Fact::ClientVersion(version) => self.event(kinds::ClientVersion {
                version: Bytes(version),
            }),
            Fact::ClientKexInit(k) => {
                let list = |i: usize| -> Vec<String> {
                    k.lists
                        .get(i)
                        .map(|l| {
                            l.split(',')
                                .filter(|n| !n.is_empty())
                                .map(str::to_owned)
                                .collect()
                        })
                        .unwrap_or_default()
                };
                self.event(kinds::ClientKex {
                    kex: list(0),
                    host_key: list(1),
                    cipher: list(2),
                    mac: list(4),
                    compression: list(6),
                    language: list(8),
                    hassh: k.hassh.clone(),
                    hassh_text: k.hassh_text.clone(),
                });
            }
            Fact::ClientDisconnect { reason, text } => {
                self.parting = Ending::Left(reason, visible(text.get(..LOGGED).unwrap_or(&text)));
                self.event(kinds::ClientProtocol {
                    problem: format!("disconnect, reason {reason}"),
                    sample: Some(Bytes(text)),
                });
            }
            Fact::Ended(why) => {
                // What the client said before is how it ended.
                if why == TOO_MANY || why.starts_with("Change of username") {
                    self.parting = Ending::Disconnected(visible(why.as_bytes()));
                } else if why == turncoat_ssh::TIMEOUT {
                    self.parting = Ending::TimedOut;
                }
                self.event(kinds::ClientProtocol {
                    problem: why,
                    sample: None,
                });
            }
            Fact::ChannelRefused { kind } => {
                self.event(kinds::ProtocolRequest {
                    name: Bytes(kind),
                    accepted: false,
                    content: None,
                });
            }
            Fact::RequestRefused { name } => {
                self.event(kinds::ProtocolRequest {
                    name: Bytes(name),
                    accepted: false,
                    content: None,
                });
            }
            // An attempt with "none" asks which methods there are; the others are recorded with their verdict.
            Fact::AuthAttempt { user, method, .. } if method == b"none" => {
                self.attempt("none", &user, None, None, false, "none", None)
            }
            Fact::AuthAttempt { .. } | Fact::Negotiated(_) => {}
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn attempt(
        &mut self,
        method: &str,
        user: &[u8],
        secret: Option<&[u8]>,
        key: Option<&PublicKeyOffer>,
        accepted: bool,
        policy: &str,
        probe: Option<bool>,
    ) {
        self.event(kinds::AuthAttempt {
            method: method.into(),
            user: Bytes(user.to_vec()),
            secret: secret.map(|s| Bytes(s.to_vec())),
            secret_hash: None,
            key_type: key.map(|k| k.algorithm.clone()),
            fingerprint: key.map(|k| k.fingerprint.clone()),
            key: key.map(|k| Bytes(k.blob.clone())),
            probe,
            accepted,
            policy: policy.into(),
        });
    }

    fn exists(&self, user: &[u8]) -> bool {
        self.ssh
            .machine
            .accounts
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .contains(user)
    }

    /// Decides an attempt, records it, and answers: at once if it is accepted, else when PAM would.
    pub(super) async fn auth(&mut self, r: AuthRequest) {
        let reply = match &r.method {
            AuthMethod::None => AuthReply::Reject,
            AuthMethod::Password { password } => self.password(&r, password, "password").await,
            AuthMethod::Interactive { .. } => {
                let now = self.now();
                self.server
                    .auth_reply(now, AuthReply::Prompt(Prompt::pam_password()));
                return;
            }
            AuthMethod::InteractiveAnswer { responses } => {
                let secret = responses.first().cloned().unwrap_or_default();
                self.password(&r, &secret, "keyboard-interactive").await
            }
            AuthMethod::PublicKeyQuery(offer) => self.key(&r, offer, true),
            AuthMethod::PublicKey(offer) => self.key(&r, offer, false),
        };
        let slow = matches!(
            r.method,
            AuthMethod::Password { .. } | AuthMethod::InteractiveAnswer { .. }
        );
        let delay = self.ssh.machine.delay();
        if slow && reply == AuthReply::Reject {
            let nanos = i64::try_from(delay.as_nanos()).unwrap_or(0);
            self.refused(&r.user, (self.ssh.machine.clock)().plus_nanos(nanos));
        }
        if slow && reply == AuthReply::Reject && !delay.is_zero() {
            self.later = Some((Instant::now() + delay, reply));
        } else {
            let now = self.now();
            self.server.auth_reply(now, reply);
        }
    }

    /// A key: planted ones are known, and those that stand in a world's files.
    fn key(&mut self, r: &AuthRequest, offer: &PublicKeyOffer, probe: bool) -> AuthReply {
        let planted = if self.inside.is_some() {
            None
        } else {
            let judge = self.ssh.machine.judge();
            judge.planted_key(&r.user, &offer.fingerprint)
        };
        let (mut accepted, mut policy) = match &planted {
            Some(p) => (
                p.admits() && self.exists(&r.user),
                if p.opens == Opens::Audit { "audit" } else { "token" },
            ),
            None => (false, "no-such-key"),
        };
        self.way = Way::default();
        if accepted {
            self.way.plant = Some(line(&offer.blob));
        } else if planted.as_ref().is_none_or(|p| p.opens == Opens::Nothing)
            && let Said::Yes(why, way) = self.key_by_world(r, offer)
        {
            (accepted, policy, self.way) = (true, why, *way);
        }
        accepted &= !r.forbidden;
        if let (Some(p), false) = (planted, probe) {
            self.token(p);
        }
        self.attempt(
            "publickey",
            &r.user,
            None,
            Some(offer),
            accepted,
            policy,
            Some(probe),
        );
        if accepted {
            AuthReply::Accept
        } else {
            AuthReply::Reject
        }
    }

    fn token(&mut self, p: Planted) {
        for used in self.ssh.machine.token_used(&p) {
            self.event(used);
        }
    }

    async fn password(&mut self, r: &AuthRequest, secret: &[u8], method: &'static str) -> AuthReply {
        self.way = Way::default();
        self.accepted_secret = None;
        let said = match self.ask_worlds(r, secret).await {
            Said::Yes(why, way) => Some((!r.forbidden, why, *way)),
            Said::No(why) => Some((false, why, Way::default())),
            Said::Nothing => None,
        };
        if let Some((accepted, why, way)) = said {
            self.stolen(&r.user, secret);
            self.attempt(method, &r.user, Some(secret), None, accepted, why, None);
            if !accepted {
                return AuthReply::Reject;
            }
            self.method = method;
            if way.world.is_none() {
                self.accepted_secret = Some(secret.to_vec());
            }
            self.way = way;
            return AuthReply::Accept;
        }
        let exists = self.exists(&r.user);
        let verdict = {
            let mut judge = self.ssh.machine.judge();
            judge.judge(&Attempt {
                source: self.peer.source.ip(),
                user: &r.user,
                secret,
                exists,
                permitted: !r.forbidden,
            })
        };
        let accepted = verdict.accepted && exists && !r.forbidden;
        if let Some(planted) = verdict.token {
            self.token(planted);
        }
        self.attempt(
            method,
            &r.user,
            Some(secret),
            None,
            accepted,
            verdict.reason,
            None,
        );
        if accepted {
            self.method = method;
            self.accepted_secret = Some(secret.to_vec());
            AuthReply::Accept
        } else {
            AuthReply::Reject
        }
    }

    /// A planted credential that opens nothing by itself gives its user away also where a world decides.
    fn stolen(&mut self, user: &[u8], secret: &[u8]) {
        let planted = {
            let judge = self.ssh.machine.judge();
            judge.planted_pair(user, secret).cloned()
        };
        if let Some(p) = planted {
            self.token(p);
        }
    }

    /// What worlds say of a password. A planted credential is the policy's, and so is everything where nobody is let in.
    async fn ask_worlds(&mut self, r: &AuthRequest, secret: &[u8]) -> Said {
        let by_policy = {
            let judge = self.ssh.machine.judge();
            judge
                .planted_pair(&r.user, secret)
                .is_some_and(|p| p.opens != Opens::Nothing)
                || matches!(judge.policy(), Policy::Never)
        };
        if by_policy && self.inside.is_none() {
            return Said::Nothing;
        }
        self.password_by_world(r, secret).await
    }

    pub(super) async fn logged_in(&mut self, l: &LoggedIn) {
        self.user.clone_from(&l.user);
        self.method = l.method;
        self.sshd = self.ssh.machine.refused.let_in(self.link_id());
        let way = std::mem::take(&mut self.way);
        if l.method == "publickey"
            && let Some((file, key)) = &way.key
        {
            // Once for the question whether the key would do, once for the signature.
            let text = format!("{file}:{}: {}", key.line, key.options.describe());
            self.server.debug_message(&text);
            self.server.debug_message(&text);
            self.key_options = key.options.clone();
        }
        self.link(&way);
        let inside = self.inside.as_ref().map(|i| i.world.clone());
        let entered = match inside.as_ref().or(way.world.as_ref()) {
            Some(w) => Some((w.clone(), false)),
            None => self.ssh.machine.worlds.enter(self.peer.source.ip(), self.mark),
        };
        let Some((world, fresh)) = entered else {
            self.event(kinds::LimitHit {
                limit: "world.logins".into(),
                value: 0,
                scope: "source".into(),
            });
            return;
        };
        self.origin.world = Some(world.id());
        if fresh {
            let (image, cover) = self.ssh.machine.names.clone();
            self.event(kinds::WorldStart {
                image,
                cover,
                resumed: false,
            });
        }
        if let Some(secret) = self.accepted_secret.take() {
            let machine = self.ssh.machine.clone();
            machine.give_password(&world, &self.user, secret).await;
        }
        if let Some(line) = way.plant {
            world.add_key(&self.user, line);
        }
        self.world = Some(world);
    }
}
