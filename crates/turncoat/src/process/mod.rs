//! The processes of the program and how they are joined.
//!
//! `turncoat run` is the supervisor ([`supervise`]). It binds the ports, gives up privileges, and starts the others as
//! children of itself: [`record`] (the only writer of the record), [`out`] (the only one that connects outward) and
//! [`front`] (the only one that an outsider reaches). Each is confined ([`confine`]) before its first thread starts.
//! The supervisor talks to each over a packet socket that also carries file descriptors ([`control`]); front and record,
//! record and out are joined by stream sockets ([`link`]).

mod before;
pub mod block;
pub mod command;
pub mod confine;
pub mod console;
pub mod control;
pub mod courier;
pub mod crowd;
pub mod decoys;
pub mod echo;
pub mod front;
pub mod install;
pub mod link;
pub mod listen;
pub mod out;
pub mod pace;
pub mod post;
pub mod record;
pub mod requests;
mod scribe;
pub mod supervise;
pub mod think;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use turncoat_event::Time;

use crate::config::Settings;

/// Which process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Accepted sockets, protocols, worlds.
    Front,
    /// The record.
    Record,
    /// Everything that goes outward.
    Out,
    /// Closes the protected side; only if blocking is on.
    Block,
}

impl Role {
    /// As in `turncoat process NAME` and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Role::Front => "front",
            Role::Record => "record",
            Role::Out => "out",
            Role::Block => "block",
        }
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Role> {
        [Role::Front, Role::Record, Role::Out, Role::Block]
            .into_iter()
            .find(|r| r.name() == name)
    }
}

/// What a passed file descriptor is. They come in the order of the names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Passed {
    /// The stream to another process.
    Link(Role),
    /// A listening socket of this decoy.
    Listener(String),
    /// The listening socket for requests of the command line.
    Requests,
    /// A listening socket of the console.
    Console,
    /// The image that worlds start from.
    Image,
    /// The list of logins (`ssh.auth.file`).
    UserDb,
}

/// From the supervisor to a process.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// The first: everything it needs. It confines itself and answers [`Report::Ready`].
    Setup {
        /// Data directory.
        data: PathBuf,
        /// Everything that is configured.
        settings: Box<Settings>,
        /// The install's secret.
        seed: [u8; 32],
        /// What the descriptors of this message are.
        passed: Vec<Passed>,
        /// Where decoys listen, for `status`.
        listening: Vec<String>,
        /// This host's own addresses, its gateways and resolvers: never blocked.
        own_networks: Vec<crate::respond::net::Net>,
        /// The machine that decoys show.
        machine: Option<Box<crate::machine::Machine>>,
        /// What the console needs that is in no setting.
        console: Option<Box<console::Given>>,
    },
    /// The process at the other end of a link was started anew.
    Link {
        /// What the descriptor is.
        passed: Passed,
        /// The one before died.
        died: bool,
    },
    /// Everything that is planted now.
    Plants(Vec<crate::plant::Plant>),
    /// Settings that a running program can take have changed.
    Settings(Box<Settings>),
    /// Whoever administers this host now is never blocked: all who did since the process began.
    Administrators(Vec<crate::respond::net::Net>),
    /// Facts for `status`.
    Facts(serde_json::Value),
    /// End in order.
    Stop,
}

/// From a process to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// Works, with this confinement missing.
    Ready {
        /// What the kernel did not offer.
        missing: Vec<String>,
    },
    /// From record: everything that is blocked now, and until when.
    Blocked(Vec<(crate::respond::net::Net, Time)>),
    /// Cannot work: one line for the operator. The program ends.
    Fatal(String),
}

/// The supervisor knows why this process ends.
static TOLD: AtomicBool = AtomicBool::new(false);

/// Tells the supervisor why this process cannot work, and gives the reason back.
pub fn fatal(socket: BorrowedFd<'_>, why: String) -> String {
    let told = control::send(socket, &Report::Fatal(why.clone()), &[]).is_ok();
    TOLD.store(told, Ordering::SeqCst);
    why
}

/// True when the supervisor will say why this process ends: then nobody else has to.
pub fn told() -> bool {
    TOLD.load(Ordering::SeqCst)
}

/// The time by the system's clock.
pub fn now() -> Time {
    Time::from_system(SystemTime::now())
}

/// A line for the operator, on standard error; bytes that a terminal would act on are escaped.
pub fn say(who: &str, text: &str) {
    use std::io::Write;
    let line = format!("turncoat {who}: {}\n", crate::show::line(text));
    // Nobody can be told when standard error is gone.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Starts a thread with a name. A thread that cannot be started ends the process: the supervisor starts it anew.
pub fn thread(name: &str, work: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new()
        .name(name.into())
        .stack_size(1 << 20)
        .spawn(work)
    {
        say(name, &format!("cannot start a thread: {error}"));
        std::process::exit(3);
    }
}
