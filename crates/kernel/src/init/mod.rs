//! init as its bus shows it: systemd is a stand-in, and what asks it by D-Bus is answered here.
//!
//! Two stream sockets are served by the host: `/run/systemd/private` of process 1, which root's `systemctl` uses, and
//! `/run/dbus/system_bus_socket` of dbus-daemon. Answers follow from the world's files, tasks and clock only.
//!
//! [`bus`] reads a connection, [`wire`] its messages; `manager` and `names` and `logind` answer them, `props` tells properties; `unit` reads unit
//! files, `install` enables them, `state` knows what a boot started, `jobs` starts and stops, `run` has the programs, `output` what they say, `timer` fires by the
//! expressions of `calendar`, `transient` makes units for one run, `hosts` has small daemons.

pub mod bus;
mod calendar;
mod hosts;
mod install;
mod jobs;
mod logind;
mod manager;
mod names;
mod output;
mod props;
mod run;
mod sockets;
mod state;
mod timer;
mod transient;
mod unit;
pub mod wire;

use crate::abi::net::{Control, MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_STREAM};
use crate::abi::sig::SIGKILL;
use crate::net::{Caller, Outgoing, SockId};
use crate::time::TimerRef;
use crate::vfs::Timespec;
use crate::vfs::boot::{Content, CoverFile};
use crate::world::{StandInSpec, World};
use crate::{Errno, KResult};
use jobs::{Job, Later};
use state::Run;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use turncoat_freeze::Freeze;
use wire::{Kind, Message, Value};

/// Most connections that are served at a time; others wait.
const PEERS_MAX: usize = 64;
/// Most bytes that wait for one of them.
const OUT_MAX: usize = 4 << 20;
const PRIVATE: &[u8] = b"/run/systemd/private";
const SYSTEM: &[u8] = b"/run/dbus/system_bus_socket";

/// What init knows and does.
#[derive(Clone, Default, Freeze)]
pub(crate) struct Init {
    /// What the boot started is known.
    settled: bool,
    runs: BTreeMap<String, Run>,
    /// Units as they were before anybody came, as far as a boot starts them or a timer could.
    own: Arc<BTreeMap<String, unit::Unit>>,
    /// Daemons that stand in, by unit.
    stood: Arc<BTreeMap<String, StandInSpec>>,
    jobs: Vec<Job>,
    /// Jobs that ended and were not told of: number, unit, result.
    ended: Vec<(u32, String, &'static str)>,
    last_job: u32,
    later: BTreeSet<(u64, Later)>,
    /// The timer that stands for `later`.
    timer: u64,
    /// That timer fired.
    pub(crate) due: bool,
    listeners: Vec<Listener>,
    peers: Vec<Peer>,
    quiet: Vec<sockets::Quiet>,
    guests: Vec<sockets::Guest>,
    /// The end of the machine that somebody has set a time for, and what the terminals are told.
    scheduled: Option<logind::Scheduled>,
    wall: logind::Wall,
    /// What programs of units say to.
    streams: Vec<output::Stream>,
    rates: BTreeMap<String, output::Rate>,
    next_name: u32,
    /// Processes of units that ended, with their status.
    gone: Vec<(u32, i32)>,
    /// sshd was started anew and has no sockets yet.
    sshd_back: bool,
    /// Nothing is begun while something is done.
    busy: bool,
    /// What answers have cost and the world was not charged for yet, in instructions.
    spent: u64,
}

/// A socket that is listened on; the inode tells it from a later one at the same place.
#[derive(Clone, Copy, Freeze)]
struct Listener {
    sock: SockId,
    inode: u64,
    system: bool,
}

/// Somebody who has connected.
#[derive(Clone, Freeze)]
struct Peer {
    sock: SockId,
    inode: u64,
    /// To the system bus.
    system: bool,
    pid: u32,
    uid: u32,
    talk: bus::Talk,
    out: Vec<u8>,
    serial: u32,
    /// His name on the system bus, once he has said hello.
    name: Option<String>,
    /// He listens to signals.
    subscribed: bool,
    /// Jobs that he waits for.
    waits: Vec<u32>,
}

/// Why a call has no answer: the error's name and text.
#[derive(Debug)]
struct Refusal(&'static str, String);

type Answer = Result<Vec<Value>, Refusal>;

impl World {
    /// init and dbus-daemon listen, on a machine that has systemd.
    pub fn init_listens(&mut self) {
        if self.look(b"/lib/systemd/system").is_none() {
            return;
        }
        let at = self.clock.offset();
        let made = Timespec {
            sec: (at / crate::time::SEC) as i64 + 1,
            nsec: (at % crate::time::SEC) as u32,
        };
        for dir in ["/run/systemd", "/run/systemd/system"] {
            if self.look(dir.as_bytes()).is_none() {
                let file = CoverFile::new(dir.as_bytes(), 0o755, made, Content::Dir);
                let _ = self.fs(0, |v, c| v.put(c, &file));
            }
        }
        let _ = self.bus_listen(PRIVATE, 0o777, 1, false);
        self.hold_bus();
        self.listen_for_all();
    }

    /// dbus-daemon listens, if it runs.
    fn hold_bus(&mut self) {
        if let Some(pid) = self.daemon(b"dbus-daemon") {
            let _ = self.bus_listen(SYSTEM, 0o666, pid, true);
        }
    }

    fn bus_listen(&mut self, path: &[u8], perm: u32, pid: u32, system: bool) -> KResult<()> {
        let sock = self.daemon_bind(pid, SOCK_STREAM, path, perm)?;
        self.net.listen(sock, &Caller::root(pid), 4096)?;
        self.net.serve(sock, true);
        let inode = self.sock_inode(sock.0);
        self.init.listeners.retain(|l| l.system != system);
        self.init.listeners.push(Listener { sock, inode, system });
        self.daemon_holds(pid, sock).map(drop)
    }

    /// The daemons that stand in, with the units that they belong to.
    pub(crate) fn init_keeps(&mut self, all: &[StandInSpec]) {
        let named = all.iter().filter(|s| !s.unit.is_empty() && s.ppid == 1);
        self.init.stood = Arc::new(named.map(|s| (s.unit.clone(), s.clone())).collect());
    }

    /// Remembers the units of this machine, so that what somebody adds later is known for it.
    pub fn init_knows(&mut self) {
        let mut own = BTreeMap::new();
        for u in self.boot_units() {
            own.insert(u.name.clone(), u);
        }
        for (name, _) in self.unit_files() {
            let Some(u) = self.unit(&name).filter(|_| name.ends_with(".timer")) else {
                continue;
            };
            if let Some(started) = self.unit(&state::triggered(&u)) {
                own.insert(started.name.clone(), started);
            }
            own.insert(u.name.clone(), u);
        }
        self.init.own = Arc::new(own);
    }

    /// What init knew before a boot and knows after it.
    pub(crate) fn init_goes_on(&mut self, before: &World) {
        self.init.own = before.init.own.clone();
    }

    /// init starts what somebody added to the machine, as a boot does.
    pub fn init_boots(&mut self) {
        if self.init.listeners.is_empty() {
            return;
        }
        self.init.busy = true;
        for u in self.settle_anew() {
            // A daemon whose unit was changed is set up as the unit says now.
            for pid in self.unit_processes(&u.name) {
                self.group_exit(pid, SIGKILL.into());
            }
            let u = Arc::new(u);
            if self.queue(&u, jobs::Work::Start).is_some() && unit::kind(&u.name) == Some("service") {
                self.began_itself("unit", &u.path, &u);
            }
        }
        self.init.busy = false;
        self.look_at_timers();
        self.init_timer();
    }

    /// Whether sshd was started anew since this was asked last.
    pub fn sshd_is_back(&mut self) -> bool {
        std::mem::take(&mut self.init.sshd_back)
    }

    /// A process ends: init hears of it if it belongs to a unit.
    pub(crate) fn init_loses(&mut self, tgid: u32, status: i32) {
        if self.init.listeners.is_empty() || self.going_down() {
            return;
        }
        // What a boot started is found out only when it matters: jobs of cron's are its children, not init's.
        let settled = self.init.settled;
        let ours = |p: &crate::task::Proc| p.unit.is_some() && p.conn.is_none() && (settled || p.ppid == 1);
        if self.p(tgid).is_ok_and(ours) {
            self.settle();
            self.init.gone.push((tgid, status));
        }
    }

    /// Does something at a time on the monotonic clock.
    fn init_later(&mut self, at: u64, what: Later) {
        self.init.later.insert((at, what));
        self.init_timer();
    }

    fn init_timer(&mut self) {
        let at = self.init.later.first().map_or(0, |l| l.0);
        if at == self.init.timer {
            return;
        }
        if self.init.timer != 0 {
            self.timers.remove(&(self.init.timer, TimerRef::Init));
        }
        if at != 0 {
            self.timers.insert((at, TimerRef::Init));
        }
        self.init.timer = at;
    }

    /// What answers have cost since this was asked last, in instructions.
    pub(crate) fn init_spent(&mut self) -> u64 {
        std::mem::take(&mut self.init.spent)
    }

    /// Whatever init has to do now. Called between the turns of tasks.
    pub(crate) fn init_work(&mut self) {
        let heard = self.net.heard();
        if !heard && self.init.gone.is_empty() && !self.init.due || self.init.busy {
            return;
        }
        self.init.busy = true;
        if std::mem::take(&mut self.init.due) {
            self.init.timer = 0;
            let now = self.clock.mono();
            self.init_due(now);
            self.init_timer();
        }
        for _ in 0..1024 {
            let gone = std::mem::take(&mut self.init.gone);
            if gone.is_empty() {
                break;
            }
            for (pid, status) in gone {
                self.init_lost(pid, status);
            }
        }
        self.tell_ended();
        if heard {
            self.net_clock();
            self.take_peers();
            self.hear_peers();
            self.hear_quietly();
            self.hear_streams();
            self.net_effects();
        }
        self.look_at_timers();
        self.collect_transients();
        self.init_timer();
        self.init.busy = false;
    }

    fn take_peers(&mut self) {
        for l in self.init.listeners.clone() {
            while self.init.peers.len() < PEERS_MAX && self.sock_inode(l.sock.0) == l.inode {
                let Ok((sock, _)) = self.net.accept(l.sock, &Caller::root(1)) else {
                    break;
                };
                let who = self.net.unix_peer(sock);
                self.net.serve(sock, true);
                self.init.peers.push(Peer {
                    sock,
                    inode: self.sock_inode(sock.0),
                    system: l.system,
                    pid: who.map_or(0, |c| c.pid),
                    uid: who.map_or(u32::MAX, |c| c.uid),
                    talk: bus::Talk::new(who.map_or(u32::MAX, |c| c.uid)),
                    out: Vec::new(),
                    serial: 0,
                    name: None,
                    subscribed: false,
                    waits: Vec::new(),
                });
            }
        }
    }

    fn hear_peers(&mut self) {
        let mut at = 0;
        while at < self.init.peers.len() {
            if self.hear_peer(at) {
                at += 1;
            } else {
                let p = self.init.peers.remove(at);
                self.hang_up(p.sock, p.inode);
            }
        }
    }

    /// Leaves a socket of init's, unless it is another's by now.
    fn hang_up(&mut self, sock: SockId, inode: u64) {
        self.net.serve(sock, false);
        if self.sock_inode(sock.0) == inode {
            self.net.close(sock);
        }
    }

    /// Reads, answers, and writes what there is room for; false: the connection is over.
    fn hear_peer(&mut self, at: usize) -> bool {
        let Some(sock) = self.init.peers.get(at).map(|p| p.sock) else {
            return false;
        };
        let mut ended = false;
        for _ in 0..64 {
            if self.init.peers.get(at).is_some_and(|p| p.out.len() > OUT_MAX) {
                return false;
            }
            match self.net.recv(sock, 65_536, MSG_DONTWAIT) {
                Ok(r) => {
                    for c in &r.control {
                        if let Control::Rights(files) = c {
                            files.iter().for_each(|f| self.unref(*f as u32));
                        }
                    }
                    if r.data.is_empty() {
                        ended = true;
                        break;
                    }
                    if !self.hear_bytes(at, &r.data) {
                        return false;
                    }
                }
                Err(Errno::EAGAIN) => break,
                Err(_) => return false,
            }
        }
        self.flush(at) && !ended
    }

    fn hear_bytes(&mut self, at: usize, bytes: &[u8]) -> bool {
        let guid = self.bus_guid();
        let Some(p) = self.init.peers.get_mut(at) else {
            return false;
        };
        let Ok(all) = p.talk.hear(bytes, &guid, &mut p.out) else {
            return false;
        };
        for m in all {
            if m.kind == Kind::Call {
                self.answer(at, &m);
            }
        }
        self.tell_ended();
        true
    }

    /// A number that a bus has for as long as it runs.
    fn bus_guid(&self) -> String {
        let of = |salt: u64| {
            let id = self.facts_of.boot_id.bytes().chain(self.facts_of.release.bytes());
            id.fold(salt, |h, b| {
                (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3).rotate_left(13)
            })
        };
        format!(
            "{:016x}{:016x}",
            of(0xcbf2_9ce4_8422_2325),
            of(0x9e37_79b9_7f4a_7c15)
        )
    }

    fn answer(&mut self, at: usize, m: &Message) {
        // About what they take of the host's time: lists read the files of all units.
        self.init.spent += match m.member.as_deref().unwrap_or_default() {
            "GetAll" | "Get" => 1_000_000,
            name if name.starts_with("List") => 8_000_000,
            _ => 400_000,
        };
        let (kind, error, body) = match self.call(at, m) {
            Ok(body) => (Kind::Return, None, body),
            Err(Refusal(name, text)) => (Kind::Error, Some(name.to_owned()), vec![Value::Str(text)]),
        };
        if m.silent {
            return;
        }
        let Some(p) = self.init.peers.get(at) else { return };
        let reply = Message {
            kind,
            reply: Some(m.serial),
            error,
            destination: p.name.clone(),
            sender: p.system.then(|| names::sender(m).to_owned()),
            body,
            ..Message::default()
        };
        self.say_to(at, reply);
        if m.member.as_deref() == Some("Hello") {
            self.name_acquired(at);
        }
    }

    fn say_to(&mut self, at: usize, mut m: Message) {
        let Some(p) = self.init.peers.get_mut(at) else {
            return;
        };
        p.serial += 1;
        m.serial = p.serial;
        p.out.extend_from_slice(&wire::write(&m));
    }

    fn flush(&mut self, at: usize) -> bool {
        let Some(p) = self.init.peers.get_mut(at) else {
            return false;
        };
        if p.out.is_empty() {
            return true;
        }
        let (sock, data, pid) = (p.sock, std::mem::take(&mut p.out), if p.system { 0 } else { 1 });
        let out = Outgoing {
            data: &data,
            flags: MSG_DONTWAIT | MSG_NOSIGNAL,
            ..Outgoing::default()
        };
        let sent = match self.net.send(sock, &Caller::root(pid), out) {
            Ok(n) => n,
            Err(Errno::EAGAIN) => 0,
            Err(_) => return false,
        };
        if let Some(p) = self.init.peers.get_mut(at) {
            p.out = data.get(sent..).unwrap_or_default().to_vec();
        }
        true
    }

    /// Tells those who wait or listen of jobs that ended.
    fn tell_ended(&mut self) {
        let ended = std::mem::take(&mut self.init.ended);
        for (id, unit, result) in ended {
            for at in 0..self.init.peers.len() {
                let Some(p) = self.init.peers.get_mut(at) else {
                    continue;
                };
                let waits = p.waits.contains(&id);
                p.waits.retain(|w| *w != id);
                if !waits && !p.subscribed {
                    continue;
                }
                let sender = p.system.then(|| names::SYSTEMD.to_owned());
                self.say_to(
                    at,
                    Message {
                        kind: Kind::Signal,
                        silent: true,
                        path: Some(manager::PATH.into()),
                        interface: Some(manager::MANAGER.into()),
                        member: Some("JobRemoved".into()),
                        sender,
                        body: vec![
                            Value::U32(id),
                            Value::Path(manager::job_path(id)),
                            Value::str(&unit),
                            Value::str(result),
                        ],
                        ..Message::default()
                    },
                );
                self.net_clock();
                self.flush(at);
            }
        }
        self.net_effects();
    }
}
