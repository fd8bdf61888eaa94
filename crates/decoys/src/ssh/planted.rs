//! Ways in that an intruder left in a world: a key, a changed password, a user of his own.
//!
//! His own world is asked first. From elsewhere the world that holds what he brings lets him in, if exactly one does; if several do, it
//! opens a fresh one. Hashes are computed only for accounts that a program changed, a few at a time in all, and for worlds of others
//! only so often for each source.

use super::connection::Connection;
use crate::auth::{Account, KeyLine};
use crate::worlds::Handle;
use turncoat_event::kinds;
use turncoat_ssh::{AuthRequest, PublicKeyOffer};

/// Worlds of others whose hashes are tried for one attempt.
const TRIED: usize = 8;

/// How an accepted login enters.
#[derive(Default)]
pub(super) struct Way {
    /// The world that it leads to; `None`: the source's own, or a fresh one.
    pub world: Option<Handle>,
    /// The key that was used and the file that it stands in.
    pub key: Option<(String, KeyLine)>,
    /// The key is to be written into the world, which does not have it.
    pub plant: Option<Vec<u8>>,
    /// What it was known by, for the link: `credential` or `key`, and the world.
    known: Option<(&'static str, Handle)>,
}

/// What the worlds say of an attempt.
pub(super) enum Said {
    /// It is let in, for this reason.
    Yes(&'static str, Box<Way>),
    /// It is refused: the machine that this source knows would.
    No(&'static str),
    /// Nothing: the policy decides.
    Nothing,
}

impl Connection {
    fn seconds(&self) -> i64 {
        (self.ssh.machine.clock)().seconds()
    }

    /// The world that this source knows as the machine.
    pub(super) fn own_world(&self) -> Option<Handle> {
        match &self.inside {
            Some(i) => Some(i.world.clone()),
            None => self.ssh.machine.worlds.of(self.peer.source.ip()),
        }
    }

    /// Asks the worlds about a password.
    pub(super) async fn password_by_world(&mut self, r: &AuthRequest, secret: &[u8]) -> Said {
        let now = self.seconds();
        let machine = self.ssh.machine.clone();
        let worlds = &machine.worlds;
        let own = self.own_world();
        let mut refused = None;
        if let Some(world) = &own {
            let accounts = world.accounts();
            match accounts.get(&r.user) {
                None if worlds.start_accounts().get(&r.user).is_some() => refused = Some("no-such-user"),
                Some(a) if !a.untouched || self.inside.is_some() => {
                    if a.open(now) && machine.is_password(a, secret).await {
                        return Said::Yes("world", Way::known("credential", world, true));
                    }
                    refused = Some("world");
                }
                _ => {}
            }
        }
        if self.inside.is_some() {
            return Said::No(refused.unwrap_or("no-such-user"));
        }
        let mut held: Vec<Handle> = Vec::new();
        let elsewhere = worlds.planted(self.peer.source.ip());
        for world in elsewhere.into_iter().rev().take(TRIED) {
            let accounts = world.accounts();
            let Some(a) = accounts.get(&r.user).filter(|a| !a.untouched && a.open(now)) else {
                continue;
            };
            let may = {
                let mut judge = machine.judge();
                judge.may_ask_elsewhere(self.peer.source.ip())
            };
            if !may {
                break;
            }
            if machine.is_password(a, secret).await {
                held.push(world);
                if held.len() > 1 {
                    break;
                }
            }
        }
        match (held.as_slice(), refused) {
            ([one], _) => Said::Yes("world", Way::known("credential", one, worlds.admits(one))),
            ([one, ..], None) => Said::Yes("world", Way::known("credential", one, false)),
            (_, Some(reason)) => Said::No(reason),
            ([], None) => Said::Nothing,
        }
    }

    /// Asks the worlds about a key.
    pub(super) fn key_by_world(&self, r: &AuthRequest, offer: &PublicKeyOffer) -> Said {
        let now = self.seconds();
        let source = self.peer.source.ip();
        let worlds = &self.ssh.machine.worlds;
        let start = worlds.start_accounts();
        let usable = |a: &Account| -> Option<(String, KeyLine)> {
            a.key(&offer.blob)
                .filter(|k| a.open(now) && k.1.options.permits(source, now))
                .cloned()
        };
        let by_start = start.get(&r.user).and_then(usable);
        if let Some(world) = self.own_world() {
            if let Some(key) = world.accounts().get(&r.user).and_then(usable) {
                let planted = start.get(&r.user).is_none_or(|a| a.key(&offer.blob).is_none());
                let mut way = Way::known("key", &world, true);
                if !planted {
                    way.known = None;
                }
                way.key = Some(key);
                return Said::Yes(if planted { "world" } else { "authorized-key" }, way);
            }
        } else if let Some(key) = by_start {
            let way = Way {
                key: Some(key),
                ..Way::default()
            };
            return Said::Yes("authorized-key", Box::new(way));
        }
        if self.inside.is_some() {
            return Said::Nothing;
        }
        let held: Vec<(Handle, (String, KeyLine))> = worlds
            .planted(source)
            .into_iter()
            .filter_map(|w| {
                let key = w.accounts().get(&r.user).and_then(usable)?;
                Some((w, key))
            })
            .take(2)
            .collect();
        let Some((one, key)) = held.first() else {
            return Said::Nothing;
        };
        let mut way = Way::known("key", one, held.len() == 1 && worlds.admits(one));
        if way.world.is_none() {
            way.plant = Some(line(&offer.blob));
        }
        way.key = Some(key.clone());
        Said::Yes("world", way)
    }

    /// Records what the login is linked to by the way that it came.
    pub(super) fn link(&mut self, way: &Way) {
        let Some((reason, world)) = way.known.as_ref().filter(|_| self.inside.is_none()) else {
            return;
        };
        let other = world.changed_by(&self.user).filter(|s| *s != self.session);
        let event = kinds::SessionLink {
            reason: (*reason).into(),
            other,
            other_world: Some(world.id()),
            detail: Some(match *reason {
                "key" => "a key that was left in this world".into(),
                _ => "a password that was set in this world".into(),
            }),
        };
        self.event(event);
    }
}

impl Way {
    fn known(by: &'static str, world: &Handle, enter: bool) -> Box<Way> {
        Box::new(Way {
            world: enter.then(|| world.clone()),
            known: Some((by, world.clone())),
            ..Way::default()
        })
    }
}

/// A key as a line of `authorized_keys`.
pub(super) fn line(blob: &[u8]) -> Vec<u8> {
    let kind = blob
        .split_first_chunk::<4>()
        .and_then(|(n, rest)| rest.get(..u32::from_be_bytes(*n) as usize))
        .unwrap_or_default();
    [kind, b" ", turncoat_ssh::base64(blob).as_bytes()].concat()
}
