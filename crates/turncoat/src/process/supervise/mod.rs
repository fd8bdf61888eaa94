//! The supervisor: binds, gives up privileges, starts the processes, and starts anew what dies.
//!
//! It holds no outsider's byte. A dead `front` or `out` is started anew with a new stream to `record`; when `record` dies, `front`
//! has already stopped answering, and all are started anew. What dies five times in a minute ends the program with one line.
//!
//! `prepare` and `privileges` are over before the first process starts, which `start` does; `greet` tells the operator, and
//! `administrators` knows who is never to be blocked.

mod administrators;
mod greet;
mod prepare;
mod privileges;
mod start;

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use turncoat_store::Layout;

use super::install::{claim, seed};
use super::{Order, Report, Role, control, listen, say};
use crate::config::Settings;
use crate::respond::net::Net;
use prepare::{behind_decoys, bind, bind_console};
use privileges::{become_user, pass_on_net_admin};

/// Everything that a run needs.
pub struct Plan {
    /// Data directory.
    pub layout: Layout,
    /// Settings.
    pub settings: Settings,
    /// The configuration file, to be read again on SIGHUP.
    pub file: Option<PathBuf>,
}

/// Runs until told to stop.
///
/// # Errors
/// One line for the operator.
pub fn run(plan: Plan) -> Result<(), String> {
    crate::understand::check(&plan.settings)?;
    plan.layout.create().map_err(|e| e.to_string())?;
    let listeners = bind(&plan.settings)?;
    let pages = bind_console(&plan.settings)?;
    let tls = super::console::tls(&plan.settings)?;
    let block = &plan.settings.block;
    become_user(
        &plan.settings.sensor.user,
        &plan.layout,
        block.enabled && block.nftables,
    )?;
    // What a service manager gave is for `block` alone, too.
    pass_on_net_admin(false)?;
    let _claim = claim(&plan.layout)?;
    let seed = seed(&plan.layout)?;
    let path = plan.layout.control();
    let requests = listen::requests(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let behind = behind_decoys(&plan, &seed)?;
    let (machine, image, userdb) = behind.map_or((None, None, None), |b| (Some(b.0), Some(b.1), b.2));
    let command = super::command::Command::start(&plan.settings.block.command);
    let mut supervisor = Supervisor {
        plan,
        seed,
        listeners,
        pages,
        told_link: None,
        console: super::console::Given {
            link: None,
            tls,
            cover: serde_json::Value::Null,
        },
        requests: requests.into(),
        machine,
        image,
        userdb,
        processes: HashMap::new(),
        happened: channel(),
        lives: 0,
        deaths: Vec::new(),
        command,
        administrators: BTreeSet::new(),
        stopping: false,
    };
    supervisor.watch_signals()?;
    if let Some(machine) = &supervisor.machine {
        supervisor.console.cover = super::console::cover_facts(&machine.cover(&seed)?);
    }
    if !supervisor.pages.is_empty() {
        supervisor.console.link = turncoat_console::secret::word();
    }
    let result = supervisor.start_all().and_then(|()| {
        supervisor.greet();
        supervisor.serve()
    });
    supervisor.stop_all();
    if let Some(command) = supervisor.command.take() {
        command.finish();
    }
    let _ = std::fs::remove_file(path);
    result
}

struct Supervisor {
    plan: Plan,
    seed: [u8; 32],
    listeners: Vec<Listening>,
    pages: Vec<Listening>,
    told_link: Option<String>,
    console: super::console::Given,
    requests: OwnedFd,
    machine: Option<crate::machine::Machine>,
    image: Option<std::fs::File>,
    userdb: Option<std::fs::File>,
    processes: HashMap<Role, Process>,
    happened: (Sender<Happened>, Receiver<Happened>),
    lives: u64,
    deaths: Vec<(Role, Instant)>,
    command: Option<super::command::Command>,
    administrators: BTreeSet<Net>,
    stopping: bool,
}

struct Process {
    child: Child,
    socket: Arc<OwnedFd>,
    life: u64,
    missing: Vec<String>,
}

enum Happened {
    Signal(i32),
    Report(Role, u64, Report),
    Gone(Role, u64),
}

struct Listening {
    decoy: &'static str,
    shown: String,
    fd: OwnedFd,
}

/// How often it is looked who administers this host, where blocking is on.
const LOOK: Duration = Duration::from_secs(3);

impl Supervisor {
    fn watch_signals(&mut self) -> Result<(), String> {
        let mut signals =
            signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|e| e.to_string())?;
        let tell = self.happened.0.clone();
        super::thread("signals", move || {
            for signal in signals.forever() {
                let _ = tell.send(Happened::Signal(signal));
            }
        });
        Ok(())
    }

    fn tell_facts(&self) {
        let processes: Vec<_> = [Role::Front, Role::Record, Role::Out, Role::Block]
            .iter()
            .filter_map(|role| self.processes.get(role).map(|p| (role, p)))
            .map(|(role, p)| json!({"name": role.name(), "pid": p.child.id(), "confinement_missing": p.missing}))
            .collect();
        let facts =
            json!({"supervisor": std::process::id(), "children": processes, "restarts": self.deaths.len()});
        self.order(Role::Record, &Order::Facts(facts), &[]);
    }

    /// Whether nobody has buried that life of a process yet.
    fn is_alive(&self, role: Role, life: u64) -> bool {
        self.processes.get(&role).is_some_and(|p| p.life == life)
    }

    fn order(&self, role: Role, order: &Order, fds: &[BorrowedFd<'_>]) {
        if let Some(process) = self.processes.get(&role) {
            // Should it be dead, that is told by its own socket.
            let _ = control::send(process.socket.as_fd(), order, fds);
        }
    }

    fn serve(&mut self) -> Result<(), String> {
        let mut looked = Instant::now();
        loop {
            let happened = if self.plan.settings.block.enabled {
                if looked.elapsed() >= LOOK {
                    self.look_for_administrators();
                    looked = Instant::now();
                }
                self.happened.1.recv_timeout(LOOK)
            } else {
                self.happened.1.recv().map_err(RecvTimeoutError::from)
            };
            match happened {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Happened::Signal(SIGHUP)) => self.reload(),
                Ok(Happened::Signal(_)) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(Happened::Report(_, _, Report::Fatal(why))) => return Err(why),
                Ok(Happened::Report(Role::Record, _, Report::Blocked(blocked))) => {
                    if let Some(command) = &self.command {
                        command.tell(blocked);
                    }
                }
                Ok(Happened::Report(..)) => {}
                Ok(Happened::Gone(role, life)) => {
                    if self.is_alive(role, life) {
                        self.replace(role)?;
                        if self.stopping {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    fn replace(&mut self, role: Role) -> Result<(), String> {
        let how = self.reap(role);
        self.note_death(role, &how)?;
        let mut started = if role == Role::Record {
            self.start_again()
        } else {
            self.start_beside(role)
        };
        // Something died while another started: then everything is started anew, as often as is allowed.
        while let Err(why) = started {
            if self.stopping {
                return Ok(());
            }
            self.note_death(role, &format!("did not come back: {why}"))?;
            started = self.start_again();
        }
        self.tell_facts();
        Ok(())
    }

    fn note_death(&mut self, role: Role, how: &str) -> Result<(), String> {
        self.deaths.push((role, Instant::now()));
        let lately = self
            .deaths
            .iter()
            .filter(|(r, t)| *r == role && t.elapsed() < Duration::from_secs(60))
            .count();
        if lately as u64 > self.plan.settings.sensor.restarts {
            return Err(format!(
                "the {} process {how}, {lately} times in a minute now: giving up",
                role.name()
            ));
        }
        say(
            "run",
            &format!("the {} process {how}; it is started anew", role.name()),
        );
        Ok(())
    }

    /// Makes sure that a process is over, and says how it ended.
    fn reap(&mut self, role: Role) -> String {
        let Some(mut process) = self.processes.remove(&role) else {
            return "is gone".into();
        };
        let _ = process.child.kill();
        match process.child.wait() {
            Ok(status) => format!("died ({status})"),
            Err(error) => format!("died ({error})"),
        }
    }

    fn reload(&mut self) {
        self.tell_plants();
        // Written since, perhaps.
        let file = self
            .plan
            .file
            .clone()
            .or_else(|| crate::cli::configuration_file(&self.plan.layout));
        let read = crate::config::load(file.as_deref(), crate::environment());
        let new = match read {
            Ok(new) => new,
            Err(mistakes) => {
                mistakes.iter().for_each(|m| say("run", &m.to_string()));
                say("run", "the configuration stays as it was");
                return;
            }
        };
        let differences = self.plan.settings.differences(&new);
        let name = |list: Vec<&(&str, &str, bool)>| {
            list.iter()
                .map(|(s, k, _)| format!("{s}.{k}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let (live, restart): (Vec<_>, Vec<_>) = differences.iter().partition(|(_, _, live)| *live);
        self.plan.settings.take_live(&new);
        for role in [Role::Record, Role::Front] {
            let settings = Box::new(self.plan.settings.for_role(role));
            self.order(role, &Order::Settings(settings), &[]);
        }
        if differences.is_empty() {
            say("run", "the configuration has not changed");
        }
        if !live.is_empty() {
            say("run", &format!("taken over: {}", name(live)));
        }
        if !restart.is_empty() {
            say("run", &format!("changed, but wants a restart: {}", name(restart)));
        }
    }

    /// Ends the processes in order: sessions first, so that their ends are recorded; then the record; then the outputs.
    fn stop_all(&mut self) {
        for (role, most) in [
            (Role::Front, 6),
            (Role::Record, 12),
            (Role::Out, 3),
            (Role::Block, 3),
        ] {
            self.order(role, &Order::Stop, &[]);
            let Some(process) = self.processes.get_mut(&role) else {
                continue;
            };
            let until = Instant::now() + Duration::from_secs(most);
            while Instant::now() < until && matches!(process.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
            self.reap(role);
        }
    }
}
