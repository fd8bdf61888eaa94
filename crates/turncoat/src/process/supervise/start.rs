//! Starting processes: each gets its streams, its files and its settings, and is waited for until it works.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use signal_hook::consts::SIGHUP;

use super::administrators::own_networks;
use super::privileges::pass_on_net_admin;
use super::{Happened, Process, Supervisor};
use crate::process::{Order, Passed, Report, Role, control, say};

impl Supervisor {
    pub(super) fn start_all(&mut self) -> Result<(), String> {
        let (front_end, for_front) = stream_pair()?;
        let (out_end, for_out) = stream_pair()?;
        let (block_end, for_block) = stream_pair()?;
        let passed = [
            (Passed::Link(Role::Front), front_end.as_fd()),
            (Passed::Link(Role::Out), out_end.as_fd()),
            (Passed::Link(Role::Block), block_end.as_fd()),
        ];
        let table = self.plan.settings.block.enabled && self.plan.settings.block.nftables;
        let passed = if table { &passed[..] } else { &passed[..2] };
        let requests = self.requests.try_clone().map_err(|e| e.to_string())?;
        let mut with = passed.to_vec();
        with.push((Passed::Requests, requests.as_fd()));
        let mut pages = Vec::new();
        for page in &self.pages {
            pages.push(page.fd.try_clone().map_err(|e| e.to_string())?);
        }
        with.extend(pages.iter().map(|fd| (Passed::Console, fd.as_fd())));
        self.start(Role::Record, &with)?;
        // Held by the record alone: when that dies, the other ends are told.
        drop((front_end, out_end, block_end));
        // It works once: a record that is started anew has none, `turncoat console link` makes another.
        self.told_link = self.console.link.take().or(self.told_link.take());
        self.start_out(&for_out)?;
        if table {
            self.start(Role::Block, &[(Passed::Link(Role::Record), for_block.as_fd())])?;
        }
        self.start_front(&for_front)
    }

    /// Starts everything anew. Whatever is left of the others has noticed, and answered nothing since.
    pub(super) fn start_again(&mut self) -> Result<(), String> {
        for role in [Role::Front, Role::Out, Role::Block, Role::Record] {
            self.reap(role);
        }
        self.start_all()
    }

    /// Starts `front` or `out` beside a record that goes on.
    pub(super) fn start_beside(&mut self, role: Role) -> Result<(), String> {
        let (record_end, theirs) = stream_pair()?;
        let order = Order::Link {
            passed: Passed::Link(role),
            died: true,
        };
        self.order(Role::Record, &order, &[record_end.as_fd()]);
        // Held by the record alone: when that dies, the other end is told.
        drop(record_end);
        match role {
            Role::Front => self.start_front(&theirs),
            Role::Block => self.start(Role::Block, &[(Passed::Link(Role::Record), theirs.as_fd())]),
            _ => self.start_out(&theirs),
        }
    }

    fn start_front(&mut self, link: &OwnedFd) -> Result<(), String> {
        let mut fds = Vec::new();
        for l in &self.listeners {
            fds.push((
                Passed::Listener(l.decoy.to_owned()),
                l.fd.try_clone().map_err(|e| e.to_string())?,
            ));
        }
        let mut with: Vec<(Passed, BorrowedFd<'_>)> = vec![(Passed::Link(Role::Record), link.as_fd())];
        with.extend(fds.iter().map(|(p, fd)| (p.clone(), fd.as_fd())));
        let files = [(Passed::Image, &self.image), (Passed::UserDb, &self.userdb)];
        let mut opened = Vec::new();
        for (what, file) in files {
            if let Some(file) = file {
                // The offset is shared with the one before: the list is read from its beginning, the image by position.
                let mut file = file.try_clone().map_err(|e| e.to_string())?;
                std::io::Seek::rewind(&mut file).map_err(|e| e.to_string())?;
                opened.push((what, file));
            }
        }
        with.extend(opened.iter().map(|(p, fd)| (p.clone(), fd.as_fd())));
        self.start(Role::Front, &with)?;
        self.tell_plants();
        Ok(())
    }

    fn start_out(&mut self, link: &OwnedFd) -> Result<(), String> {
        self.start(Role::Out, &[(Passed::Link(Role::Record), link.as_fd())])
    }

    /// Starts a process and waits until it works.
    fn start(&mut self, role: Role, with: &[(Passed, BorrowedFd<'_>)]) -> Result<(), String> {
        let (ours, theirs) = control::pair().map_err(|e| e.to_string())?;
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let administers = role == Role::Block;
        if administers {
            pass_on_net_admin(true)?;
        }
        let child = Command::new(program)
            .args(["process", role.name()])
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            // A group of its own: Ctrl-C reaches the supervisor alone, which ends the others in order.
            .process_group(0)
            .spawn()
            .map_err(|e| format!("cannot start the {} process: {e}", role.name()));
        if administers {
            pass_on_net_admin(false)?;
        }
        let child = child?;
        self.lives += 1;
        let life = self.lives;
        let socket = Arc::new(ours);
        let (passed, fds): (Vec<Passed>, Vec<BorrowedFd<'_>>) = with.iter().cloned().unzip();
        let setup = Order::Setup {
            data: self.plan.layout.root().to_owned(),
            settings: Box::new(self.plan.settings.for_role(role)),
            seed: self.seed,
            passed,
            listening: self.listening(),
            own_networks: if role == Role::Record {
                // Whoever came since is told of anew.
                self.administrators.clear();
                own_networks(&self.decoy_ports())
            } else {
                Vec::new()
            },
            console: (role == Role::Record).then(|| Box::new(self.console.clone())),
            machine: if role == Role::Front {
                self.machine.clone().map(Box::new)
            } else {
                None
            },
        };
        self.processes.insert(
            role,
            Process {
                child,
                socket: socket.clone(),
                life,
                missing: Vec::new(),
            },
        );
        control::send(socket.as_fd(), &setup, &fds)
            .map_err(|e| format!("the {} process did not start: {e}", role.name()))?;
        let tell = self.happened.0.clone();
        crate::process::thread("child", move || {
            while let Ok(Some((report, _))) = control::receive::<Report>(socket.as_fd()) {
                let _ = tell.send(Happened::Report(role, life, report));
            }
            let _ = tell.send(Happened::Gone(role, life));
        });
        self.wait_ready(role, life)
    }

    fn wait_ready(&mut self, role: Role, life: u64) -> Result<(), String> {
        // A migration of a large record takes its time; everything else is a matter of milliseconds.
        let until = Instant::now() + Duration::from_secs(600);
        let mut later = Vec::new();
        let result = loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.happened.1.recv_timeout(left) {
                Ok(Happened::Report(r, l, Report::Ready { missing })) if (r, l) == (role, life) => {
                    if let Some(process) = self.processes.get_mut(&role) {
                        process.missing = missing;
                    }
                    break Ok(());
                }
                Ok(Happened::Report(r, l, Report::Fatal(why))) if (r, l) == (role, life) => break Err(why),
                Ok(Happened::Gone(r, l)) if (r, l) == (role, life) => {
                    break Err(format!("the {} process ended while it started", role.name()));
                }
                // Some ask the record before they are ready. They wait for no answer that cannot come.
                Ok(Happened::Gone(Role::Record, l)) if self.is_alive(Role::Record, l) => {
                    self.reap(Role::Record);
                    break Err(format!(
                        "the record process ended while the {} process started",
                        role.name()
                    ));
                }
                Ok(Happened::Signal(signal)) if signal != SIGHUP => {
                    self.stopping = true;
                    break Err("stopped while starting".into());
                }
                Ok(other) => later.push(other),
                Err(_) => break Err(format!("the {} process does not start", role.name())),
            }
        };
        later.into_iter().for_each(|h| drop(self.happened.0.send(h)));
        result
    }

    /// Tells the decoys what is planted.
    pub(super) fn tell_plants(&self) {
        match crate::plant::load(&self.plan.layout) {
            Ok(plants) => self.order(Role::Front, &Order::Plants(plants), &[]),
            Err(why) => say("run", &why),
        }
    }

    fn listening(&self) -> Vec<String> {
        self.listeners.iter().map(|l| l.shown.clone()).collect()
    }
}

fn stream_pair() -> Result<(OwnedFd, OwnedFd), String> {
    let (a, b) = UnixStream::pair().map_err(|e| e.to_string())?;
    Ok((a.into(), b.into()))
}
