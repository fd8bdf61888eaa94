//! A connection's hold on a world: what may be asked of it from outside its threads.

use super::actor::{Actor, Wake};
use super::inbox::{Login, Message, Outlet};
use super::output::Output;
use super::{Conn, Door, Input, NotConnected, Open, Opened, Target};
use crate::auth::Accounts;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::{mpsc, oneshot};
use turncoat_event::{Mark, Origin, SessionId, Sha256, Time, WorldId};

/// Accounts of one world whose last accepted password is remembered.
const GIVEN: usize = 256;

/// A connection's hold on a world.
#[derive(Clone)]
pub struct Handle {
    pub(super) actor: Arc<Actor>,
    pub(super) wake: Arc<Wake>,
}

impl Handle {
    /// The world's id.
    pub fn id(&self) -> WorldId {
        self.actor.id
    }

    fn send(&self, m: Message) {
        super::actor::lock(&self.actor.inbox).push_back(m);
        (self.wake)(&self.actor);
    }

    /// Opens a login whose output goes to `out`; `waiting` counts the bytes there, the connection takes off what it has sent.
    /// `mark` covers the events that led to it.
    ///
    /// # Errors
    /// Why the machine refuses.
    pub async fn open(
        &self,
        open: Open,
        origin: Origin,
        channel: u16,
        mark: Mark,
        out: mpsc::UnboundedSender<Output>,
        waiting: Arc<AtomicU64>,
    ) -> Result<Conn, String> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Open {
            open: Box::new(open),
            origin: Box::new(origin),
            channel,
            mark,
            out,
            reply,
            waiting,
        });
        answer.await.unwrap_or_else(|_| Err("the machine is down".into()))
    }

    /// Sends input that was recorded up to `mark`.
    pub fn input(&self, conn: Conn, input: Input, mark: Mark) {
        self.send(Message::Input { conn, input, mark });
    }

    /// Connects to something inside as a user; the stream's output goes to `out`, and is recorded under `channel`.
    ///
    /// # Errors
    /// Why there is no connection.
    #[allow(clippy::too_many_arguments)]
    pub async fn connect(
        &self,
        to: Target,
        user: Vec<u8>,
        origin: Origin,
        channel: u16,
        mark: Mark,
        out: mpsc::UnboundedSender<Output>,
        waiting: Arc<AtomicU64>,
    ) -> Result<Conn, NotConnected> {
        let (reply, answer) = oneshot::channel();
        let login = Box::new(Login {
            origin,
            channel,
            out,
            waiting,
            held: VecDeque::new(),
            telnet: None,
        });
        self.send(Message::Connect {
            user,
            to,
            login,
            mark,
            reply,
        });
        answer.await.unwrap_or(Err(NotConnected::Down))
    }

    /// Listens inside for a user; what connects comes to `out` as `Produced::Inbound`.
    pub async fn listen(
        &self,
        door: Door,
        user: Vec<u8>,
        origin: Origin,
        mark: Mark,
        out: mpsc::UnboundedSender<Output>,
    ) -> Option<Opened> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Listen {
            user,
            door,
            outlet: Box::new(Outlet { origin, out }),
            mark,
            reply,
        });
        answer.await.unwrap_or(None)
    }

    /// Ends something that listens inside.
    pub fn unlisten(&self, id: u32) {
        self.send(Message::Unlisten(id));
    }

    /// Until when the machine is down, while it is: somebody rebooted it.
    pub fn away(&self) -> Option<Time> {
        self.actor.away()
    }

    /// Who may log in, as the world's files said after its last slice.
    pub fn accounts(&self) -> Arc<Accounts> {
        self.actor.accounts()
    }

    /// The session that changed this account last.
    pub fn changed_by(&self, user: &[u8]) -> Option<SessionId> {
        super::actor::lock(&self.actor.who).by.get(user).copied()
    }

    /// True if [`set_password`](Handle::set_password) would write the same password as the last time.
    pub fn has_password(&self, user: &[u8], digest: Sha256) -> bool {
        super::actor::lock(&self.actor.who).given.get(user) == Some(&digest)
    }

    /// Writes the password that the policy accepted into the machine, before the login that follows. `digest` tells it from others.
    pub fn set_password(&self, user: &[u8], digest: Sha256, hash: String) {
        let given = &mut super::actor::lock(&self.actor.who).given;
        if given.len() < GIVEN {
            given.insert(user.to_vec(), digest);
        }
        self.send(Message::Password {
            user: user.to_vec(),
            hash,
        });
    }

    /// Writes a key that let somebody in into the machine, before the login that follows.
    pub fn add_key(&self, user: &[u8], line: Vec<u8>) {
        self.send(Message::Key {
            user: user.to_vec(),
            line,
        });
    }
}
