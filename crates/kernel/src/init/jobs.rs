//! Units start, stop and end: their commands are run as programs of the world, and daemons that stand in are set up anew.

use super::state::{Ran, Run};
use super::unit::{self, Unit};
use crate::abi::sig::{CLD_EXITED, CLD_KILLED, SIGCONT, SIGHUP, SIGKILL, SIGTERM, SigInfo};
use crate::world::World;
use std::collections::VecDeque;
use std::sync::Arc;
use turncoat_cover::past::lines::{Line, SSHD, Says};
use turncoat_freeze::Freeze;

const SEC: u64 = crate::time::SEC;
/// How long what does not end is waited for (DefaultTimeoutStopSec), and how soon and how often a unit starts again (RestartSec,
/// DefaultStartLimitBurst).
const STOP_TIMEOUT: u64 = 90 * SEC;
const RESTART_AFTER: u64 = SEC / 10;
const START_LIMIT: u32 = 5;
/// Most jobs that wait at a time.
const JOBS_MAX: usize = 256;

/// What is asked of a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Freeze)]
pub(crate) enum Work {
    Start,
    Stop,
    Restart,
    Reload,
}

impl Work {
    /// As `systemctl list-jobs` has it.
    pub fn name(self) -> &'static str {
        match self {
            Work::Start => "start",
            Work::Stop => "stop",
            Work::Restart => "restart",
            Work::Reload => "reload",
        }
    }
}

/// A job under way.
#[derive(Clone, Debug, Freeze)]
pub(crate) struct Job {
    pub id: u32,
    pub unit: String,
    pub work: Work,
    /// Commands that are still to run: key, index.
    steps: VecDeque<(&'static str, usize)>,
    /// The process that is waited for.
    waits: u32,
    /// Processes are to end.
    stopping: bool,
}

/// Something that init does later.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Freeze)]
pub(crate) enum Later {
    /// What did not end is killed.
    Kill(u32),
    /// A unit starts again.
    Restart(String),
    /// A timer has its turn.
    Elapse(String),
    /// What units say is heard further.
    Hear,
    /// logind says that the machine will end, shuts users out, and ends it.
    Wall,
    NoLogin,
    Shutdown,
}

/// A command line of a unit: how it is run.
pub(super) struct Command {
    pub path: String,
    pub argv: Vec<String>,
    /// Its failure does not count.
    may_fail: bool,
}

fn command(u: &Unit, key: &str, index: usize) -> Option<Command> {
    let line = *u.all("Service", key).get(index)?;
    let rest = line.trim_start_matches(['@', '-', ':', '+', '!']);
    let marks = &line[..line.len() - rest.len()];
    let mut argv = unit::words(&u.specified(rest));
    if argv.is_empty() {
        return None;
    }
    let path = argv[0].clone();
    if marks.contains('@') && argv.len() > 1 {
        argv.remove(0);
    }
    Some(Command {
        path,
        argv,
        may_fail: marks.contains('-'),
    })
}

/// Path and arguments of each command of a key, for who asks for them.
pub(super) fn commands(u: &Unit, key: &str) -> Vec<(String, Vec<String>, bool)> {
    let n = u.all("Service", key).len().min(64);
    (0..n)
        .filter_map(|i| command(u, key, i))
        .map(|c| (c.path, c.argv, c.may_fail))
        .collect()
}

impl World {
    /// init says something in the log.
    pub(super) fn init_says(&mut self, priority: u8, text: String) {
        let line = Line {
            at: self.clock.real() / 1_000,
            says: Says::Systemd,
            pid: 1,
            priority,
            private: false,
            text,
        };
        self.log(&[line]);
    }

    /// Queues what is asked of a unit, and begins. Gives the job's number.
    pub(super) fn queue(&mut self, u: &Arc<Unit>, work: Work) -> Option<u32> {
        if self.init.jobs.len() >= JOBS_MAX || self.going_down() {
            return None;
        }
        // What is under way already is not begun again.
        let same = |j: &&Job| j.unit == u.name && j.work == work && work == Work::Start;
        if let Some(j) = self.init.jobs.iter().find(same) {
            return Some(j.id);
        }
        self.init.last_job += 1;
        let id = self.init.last_job;
        let name = u.name.clone();
        let now = self.clock.mono();
        self.init.runs.entry(name.clone()).or_insert_with(|| Run {
            active: "inactive",
            sub: "dead",
            result: "success",
            ..Run::default()
        });
        if let Some(r) = self.init.runs.get_mut(&name) {
            // What the files say now counts for what is not up.
            if r.sub == "dead" || r.sub == "failed" || work == Work::Restart || r.unit.name.is_empty() {
                r.unit = u.clone();
            }
        }
        self.init.jobs.push(Job {
            id,
            unit: name.clone(),
            work,
            steps: VecDeque::new(),
            waits: 0,
            stopping: false,
        });
        match work {
            Work::Start => self.begin(id, now),
            Work::Reload => self.reload(id),
            Work::Stop | Work::Restart => self.halt_unit(id, now),
        }
        Some(id)
    }

    fn job(&self, id: u32) -> Option<&Job> {
        self.init.jobs.iter().find(|j| j.id == id)
    }

    fn job_mut(&mut self, id: u32) -> Option<&mut Job> {
        self.init.jobs.iter_mut().find(|j| j.id == id)
    }

    /// Ends a job and tells those who wait.
    fn done(&mut self, id: u32, result: &'static str) {
        let Some(at) = self.init.jobs.iter().position(|j| j.id == id) else {
            return;
        };
        let job = self.init.jobs.remove(at);
        self.init.ended.push((job.id, job.unit, result));
    }

    /// Starts what the job names.
    fn begin(&mut self, id: u32, now: u64) {
        let Some(name) = self.job(id).map(|j| j.unit.clone()) else {
            return;
        };
        let Some(r) = self.init.runs.get_mut(&name) else {
            return;
        };
        if matches!(r.active, "active" | "reloading") {
            return self.done(id, "done");
        }
        let u = r.unit.clone();
        (r.stopping, r.result, r.ran, r.main) = (false, "success", Vec::new(), 0);
        if unit::kind(&name) != Some("service") {
            return self.begin_other(id, &u, now);
        }
        if !self.conditions_hold(&u) {
            self.init_says(
                6,
                format!(
                    "{name} - {} was skipped because of an unmet condition check.",
                    u.description()
                ),
            );
            return self.done(id, "done");
        }
        if u.service_type() != "simple" && u.service_type() != "idle" {
            self.init_says(6, format!("Starting {name} - {}...", u.description()));
        }
        if let Some(r) = self.init.runs.get_mut(&name) {
            r.set("activating", "start-pre", now);
        }
        let steps = ["ExecStartPre", "ExecStart", "ExecStartPost"]
            .into_iter()
            .flat_map(|k| (0..u.all("Service", k).len().min(16)).map(move |i| (k, i)))
            .collect();
        if let Some(j) = self.job_mut(id) {
            (j.steps, j.stopping) = (steps, false);
        }
        self.step(id);
    }

    /// Targets and the like: what they want is started, and they are up.
    fn begin_other(&mut self, id: u32, u: &Arc<Unit>, now: u64) {
        let name = u.name.clone();
        let (sub, said) = match unit::kind(&name) {
            Some("target") => ("active", "Reached target"),
            Some("socket") => ("listening", "Listening on"),
            Some("timer") if self.known(&super::state::triggered(u)).is_none() => {
                let what = super::state::triggered(u);
                self.init_says(
                    3,
                    format!("{name}: Refusing to start, unit {what} to trigger not loaded."),
                );
                self.init_says(3, format!("Failed to start {name} - {}.", u.description()));
                return self.done(id, "failed");
            }
            Some("timer" | "path") => ("waiting", "Started"),
            Some("slice") => ("active", "Created slice"),
            _ => return self.done(id, "failed"),
        };
        if let Some(r) = self.init.runs.get_mut(&name) {
            r.set("active", sub, now);
        }
        self.init_says(6, format!("{said} {name} - {}.", u.description()));
        if unit::kind(&name) == Some("timer") {
            self.timer_starts(u);
        }
        self.done(id, "done");
    }

    /// Runs the next command of a job, or finds that it is through.
    fn step(&mut self, id: u32) {
        for _ in 0..64 {
            let Some(job) = self.job_mut(id) else { return };
            let name = job.unit.clone();
            let Some((key, index)) = job.steps.pop_front() else {
                return self.through(id, &name);
            };
            let Some(u) = self.init.runs.get(&name).map(|r| r.unit.clone()) else {
                return;
            };
            let Some(c) = command(&u, key, index) else {
                continue;
            };
            let main = key == "ExecStart" && !matches!(u.service_type(), "oneshot" | "forking");
            let pid = self.run_command(&u, &c, key, index);
            let now = self.clock.mono();
            let Some(r) = self.init.runs.get_mut(&name) else {
                return;
            };
            match pid {
                Some(pid) if main => {
                    r.main = pid;
                    r.set("activating", "start-post", now);
                }
                Some(pid) => {
                    if let Some(j) = self.job_mut(id) {
                        j.waits = pid;
                    }
                    return;
                }
                None if c.may_fail => {}
                None => {
                    self.init_says(
                        3,
                        format!(
                            "{name}: Failed at step EXEC spawning {}: No such file or directory",
                            c.path
                        ),
                    );
                    return self.failed(id, &name, "exit-code");
                }
            }
        }
    }

    /// All commands of a start ran.
    fn through(&mut self, id: u32, name: &str) {
        let now = self.clock.mono();
        let left = self.unit_processes(name);
        let Some(r) = self.init.runs.get_mut(name) else {
            return;
        };
        let u = r.unit.clone();
        let stays = u.flag("Service", "RemainAfterExit") == Some(true);
        let said = match (u.service_type(), stays) {
            ("oneshot", true) => {
                r.set("active", "exited", now);
                "Finished"
            }
            ("oneshot", false) => {
                r.set("inactive", "dead", now);
                "Finished"
            }
            ("forking", _) => {
                r.main = left.first().copied().unwrap_or(0);
                match (left.is_empty(), stays) {
                    (false, _) => r.set("active", "running", now),
                    (true, true) => r.set("active", "exited", now),
                    (true, false) => r.set("inactive", "dead", now),
                }
                "Started"
            }
            _ => {
                r.set("active", "running", now);
                "Started"
            }
        };
        self.init_says(6, format!("{said} {name} - {}.", u.description()));
        self.done(id, "done");
    }

    fn failed(&mut self, id: u32, name: &str, result: &'static str) {
        let now = self.clock.mono();
        let Some(r) = self.init.runs.get_mut(name) else {
            return;
        };
        r.result = result;
        r.main = 0;
        r.set("failed", "failed", now);
        let text = r.unit.description();
        self.init_says(4, format!("{name}: Failed with result '{result}'."));
        self.init_says(3, format!("Failed to start {name} - {text}."));
        self.done(id, "failed");
    }

    /// Runs a command of a unit; a daemon that stands in is set up instead. Gives its process.
    fn run_command(&mut self, u: &Arc<Unit>, c: &Command, key: &'static str, index: usize) -> Option<u32> {
        let now = self.clock.mono();
        let stood = self
            .init
            .stood
            .get(&u.name)
            .filter(|_| self.stands_in(u))
            .cloned();
        let pid = match stood {
            Some(s) if key == "ExecStart" => self.stand_up(&u.name, s),
            _ => self.run_program(u, c),
        };
        let name = u.name.clone();
        let r = self.init.runs.get_mut(&name)?;
        r.ran.push(Ran {
            key,
            index,
            pid: pid.unwrap_or(0),
            start: now,
            exit: if pid.is_some() { 0 } else { now },
            code: if pid.is_some() { 0 } else { CLD_EXITED },
            // 203: the program could not be executed (systemd.exec(5)).
            status: if pid.is_some() { 0 } else { 203 },
        });
        pid
    }

    /// A stand-in is for the program that the unit started before anybody changed it.
    fn stands_in(&self, u: &Unit) -> bool {
        let started = |u: &Unit| u.all("Service", "ExecStart").join("\n");
        let was = self.init.own.get(&u.name);
        was.is_none_or(|was| started(was) == started(u))
    }

    fn main_stands_in(&self, name: &str) -> bool {
        let main = self.init.runs.get(name).map_or(0, |r| r.main);
        self.p(main).is_ok_and(|p| p.standin.is_some())
    }

    /// Runs the commands of a key side by side. A stand-in has nothing to read or to end, and would die of their signals.
    fn run_commands(&mut self, u: &Arc<Unit>, key: &'static str) {
        if self.main_stands_in(&u.name) {
            return;
        }
        for i in 0..u.all("Service", key).len().min(8) {
            if let Some(c) = command(u, key, i) {
                self.run_command(u, &c, key, i);
            }
        }
    }

    /// Processes of a unit, its main one first.
    pub(super) fn unit_processes(&self, name: &str) -> Vec<u32> {
        let main = self.init.runs.get(name).map_or(0, |r| r.main);
        let mut all: Vec<u32> = (self.procs.values())
            .filter(|p| p.zombie.is_none() && p.conn.is_none() && p.unit.as_deref() == Some(name))
            .map(|p| p.tgid)
            .collect();
        all.sort_by_key(|p| (*p != main, *p));
        all
    }

    /// Ends what the job names.
    fn halt_unit(&mut self, id: u32, now: u64) {
        let Some(name) = self.job(id).map(|j| j.unit.clone()) else {
            return;
        };
        let restart = |w: Work| w == Work::Restart;
        let again = self.job(id).is_some_and(|j| restart(j.work));
        let Some(r) = self.init.runs.get_mut(&name) else {
            return;
        };
        if matches!(r.active, "inactive" | "failed") {
            if again {
                return self.begin(id, now);
            }
            if r.active == "failed" {
                r.stopping = true;
            }
            return self.done(id, "done");
        }
        r.stopping = true;
        let u = r.unit.clone();
        self.init
            .later
            .retain(|(_, l)| *l != Later::Restart(name.clone()));
        if unit::kind(&name) != Some("service") {
            self.forget_timer(&name);
            if let Some(r) = self.init.runs.get_mut(&name) {
                r.timer = None;
                r.set("inactive", "dead", now);
            }
            let said = if name.ends_with(".target") {
                "Stopped target"
            } else {
                "Stopped"
            };
            self.init_says(6, format!("{said} {name} - {}.", u.description()));
            return if again {
                self.begin(id, now)
            } else {
                self.done(id, "done")
            };
        }
        r.set("deactivating", "stop-sigterm", now);
        self.init_says(6, format!("Stopping {name} - {}...", u.description()));
        if let Some(j) = self.job_mut(id) {
            j.stopping = true;
        }
        let stood = self.main_stands_in(&name);
        self.run_commands(&u, "ExecStop");
        let only_main = matches!(u.get("Service", "KillMode"), Some("process" | "none"));
        let main = self.init.runs.get(&name).map_or(0, |r| r.main);
        if stood && name == "ssh.service" && main != 0 {
            let line = self.say_now(SSHD, main, false, "Received signal 15; terminating.".into());
            self.log(&[line]);
        }
        for pid in self.unit_processes(&name) {
            if !only_main || pid == main {
                self.send_group(pid, SigInfo::user(SIGTERM, 1, 0));
                self.send_group(pid, SigInfo::user(SIGCONT, 1, 0));
            }
        }
        self.init_later(now + STOP_TIMEOUT, Later::Kill(id));
        self.look_for_end(id);
    }

    /// A unit that is to stop has, when its processes are gone.
    fn look_for_end(&mut self, id: u32) {
        let Some((name, work)) = self
            .job(id)
            .filter(|j| j.stopping)
            .map(|j| (j.unit.clone(), j.work))
        else {
            return;
        };
        let Some(u) = self.init.runs.get(&name).map(|r| r.unit.clone()) else {
            return;
        };
        let only_main = matches!(u.get("Service", "KillMode"), Some("process" | "none"));
        let main = self.init.runs.get(&name).map_or(0, |r| r.main);
        let left = self.unit_processes(&name);
        if if only_main {
            left.contains(&main)
        } else {
            !left.is_empty()
        } {
            return;
        }
        let now = self.clock.mono();
        if let Some(r) = self.init.runs.get_mut(&name) {
            r.main = 0;
            r.set("inactive", "dead", now);
        }
        self.init.later.retain(|(_, l)| *l != Later::Kill(id));
        self.init_says(6, format!("{name}: Deactivated successfully."));
        self.init_says(6, format!("Stopped {name} - {}.", u.description()));
        match work {
            Work::Restart => {
                // It starts as its files say now.
                let fresh = self.unit(&name);
                if let (Some(r), Some(f)) = (self.init.runs.get_mut(&name), fresh) {
                    r.unit = Arc::new(f);
                }
                if let Some(j) = self.job_mut(id) {
                    j.stopping = false;
                }
                self.begin(id, now);
            }
            _ => self.done(id, "done"),
        }
    }

    fn reload(&mut self, id: u32) {
        let Some(name) = self.job(id).map(|j| j.unit.clone()) else {
            return;
        };
        let Some(u) = self.init.runs.get(&name).map(|r| r.unit.clone()) else {
            return;
        };
        self.init_says(6, format!("Reloading {name} - {}...", u.description()));
        self.run_commands(&u, "ExecReload");
        self.init_says(6, format!("Reloaded {name} - {}.", u.description()));
        self.done(id, "done");
    }

    /// A process that init started, or a daemon, is gone.
    pub(super) fn init_lost(&mut self, pid: u32, status: i32) {
        let now = self.clock.mono();
        let (code, st) = if status & 0x7f == 0 {
            (CLD_EXITED, status >> 8 & 0xff)
        } else {
            (CLD_KILLED, status & 0x7f)
        };
        let found = self.init.runs.iter_mut().find_map(|(n, r)| {
            let ran = r.ran.iter_mut().rev().find(|x| x.pid == pid && x.exit == 0)?;
            (ran.exit, ran.code, ran.status) = (now, code, st);
            Some((n.clone(), r.main == pid))
        });
        let waiting = self
            .init
            .jobs
            .iter()
            .find(|j| j.waits == pid && pid != 0)
            .map(|j| j.id);
        if let Some(id) = waiting {
            self.waited(id, pid, code, st);
        } else if let Some((name, true)) = found
            && !self.init.jobs.iter().any(|j| j.unit == name && j.stopping)
        {
            self.main_gone(&name, code, st);
        }
        for id in self.init.jobs.iter().map(|j| j.id).collect::<Vec<_>>() {
            self.look_for_end(id);
        }
    }

    /// A command that a job waited for has ended.
    fn waited(&mut self, id: u32, pid: u32, code: i32, status: i32) {
        let Some(j) = self.job_mut(id) else { return };
        j.waits = 0;
        let name = j.unit.clone();
        let may_fail = self.init.runs.get(&name).is_some_and(|r| {
            let ran = r.ran.iter().rev().find(|x| x.pid == pid);
            ran.and_then(|x| command(&r.unit, x.key, x.index))
                .is_some_and(|c| c.may_fail)
        });
        if code == CLD_EXITED && status == 0 || may_fail {
            return self.step(id);
        }
        let main = self
            .init
            .runs
            .get(&name)
            .is_some_and(|r| r.ran.last().is_some_and(|x| x.key == "ExecStart"));
        let what = if main { "Main" } else { "Control" };
        self.init_says(
            5,
            format!("{name}: {what} process exited, {}", ended(code, status)),
        );
        self.failed(id, &name, result(code));
    }

    /// The main process of a unit that was up has ended.
    fn main_gone(&mut self, name: &str, code: i32, status: i32) {
        let now = self.clock.mono();
        let Some(r) = self.init.runs.get_mut(name) else {
            return;
        };
        r.main = 0;
        let u = r.unit.clone();
        let clean = match code {
            CLD_EXITED => status == 0,
            _ => [SIGHUP, 2, SIGTERM, 13].contains(&(status as u8)),
        };
        let stays = u.flag("Service", "RemainAfterExit") == Some(true);
        r.result = if clean { "success" } else { result(code) };
        match (clean, stays) {
            (true, true) => return r.set("active", "exited", now),
            (true, false) => r.set("inactive", "dead", now),
            (false, _) => r.set("failed", "failed", now),
        }
        if clean {
            self.init_says(6, format!("{name}: Deactivated successfully."));
        } else {
            self.init_says(5, format!("{name}: Main process exited, {}", ended(code, status)));
            self.init_says(4, format!("{name}: Failed with result '{}'.", result(code)));
        }
        for pid in self.unit_processes(name) {
            self.send_group(pid, SigInfo::user(SIGTERM, 1, 0));
        }
        let again = match u.get("Service", "Restart") {
            Some("always") => true,
            Some("on-success") => clean,
            Some("on-failure") => !clean,
            Some("on-abnormal" | "on-abort") => !clean && code != CLD_EXITED,
            _ => false,
        };
        let Some(r) = self.init.runs.get_mut(name).filter(|r| again && !r.stopping) else {
            return;
        };
        // systemd counts starts within ten seconds.
        r.restarts = if now.saturating_sub(r.active_enter) > 10 * SEC {
            1
        } else {
            r.restarts + 1
        };
        if r.restarts >= START_LIMIT {
            r.result = "start-limit-hit";
            r.set("failed", "failed", now);
            return self.init_says(4, format!("{name}: Start request repeated too quickly."));
        }
        r.set("activating", "auto-restart", now);
        let after = u
            .get("Service", "RestartSec")
            .and_then(super::props::span)
            .unwrap_or(RESTART_AFTER);
        self.init_later(now + after, Later::Restart(name.to_owned()));
    }

    /// Does what is due.
    pub(super) fn init_due(&mut self, now: u64) {
        while let Some((at, l)) = self.init.later.first().cloned().filter(|(at, _)| *at <= now) {
            self.init.later.remove(&(at, l.clone()));
            match l {
                Later::Kill(id) => {
                    let Some(name) = self.job(id).map(|j| j.unit.clone()) else {
                        continue;
                    };
                    self.init_says(4, format!("{name}: State 'stop-sigterm' timed out. Killing."));
                    for pid in self.unit_processes(&name) {
                        self.send_group(pid, SigInfo::user(SIGKILL, 1, 0));
                    }
                }
                Later::Hear => {
                    self.net_clock();
                    self.hear_streams();
                    self.net_effects();
                }
                Later::Elapse(name) => self.timer_fires(&name),
                Later::Wall | Later::NoLogin | Later::Shutdown => self.logind_due(&l),
                Later::Restart(name) => {
                    let Some(r) = self.init.runs.get_mut(&name) else {
                        continue;
                    };
                    (r.active, r.sub) = ("inactive", "dead");
                    let (u, n) = (r.unit.clone(), r.restarts);
                    self.init_says(
                        6,
                        format!("{name}: Scheduled restart job, restart counter is at {n}."),
                    );
                    self.queue(&u, Work::Start);
                }
            }
        }
    }
}

fn result(code: i32) -> &'static str {
    if code == CLD_EXITED { "exit-code" } else { "signal" }
}

/// `code=exited, status=1/FAILURE` (exit-status.c for the names).
fn ended(code: i32, status: i32) -> String {
    if code != CLD_EXITED {
        let name = match status as u8 {
            SIGKILL => "KILL",
            SIGTERM => "TERM",
            SIGHUP => "HUP",
            11 => "SEGV",
            6 => "ABRT",
            _ => "n/a",
        };
        return format!("code=killed, status={status}/{name}");
    }
    let name = match status {
        0 => "SUCCESS",
        1 => "FAILURE",
        2 => "INVALIDARGUMENT",
        203 => "EXEC",
        _ => "n/a",
    };
    format!("code=exited, status={status}/{name}")
}
