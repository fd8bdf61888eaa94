//! The supervisor: binds, gives up privileges, starts the processes, and starts anew what dies.
//!
//! It holds no outsider's byte. A dead `front` or `out` is started anew with a new stream to `record`; when `record` dies, `front`
//! has already stopped answering, and all are started anew. What dies five times in a minute ends the program with one line.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::thread::{CapabilitySet, CapabilitySets};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use turncoat_store::Layout;

use super::install::{claim, seed};
use super::{Order, Passed, Report, Role, control, listen, say};
use crate::config::Settings;
use crate::respond::net::Net;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Everything that a run needs.
pub struct Plan {
    /// Data directory.
    pub layout: Layout,
    /// Settings.
    pub settings: Settings,
    /// The configuration file, to be read again on SIGHUP.
    pub file: Option<PathBuf>,
}

enum Happened {
    Signal(i32),
    Report(Role, u64, Report),
    Gone(Role, u64),
}

struct Process {
    child: Child,
    socket: Arc<OwnedFd>,
    life: u64,
    missing: Vec<String>,
}

struct Listening {
    decoy: &'static str,
    shown: String,
    fd: OwnedFd,
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

/// How often it is looked who administers this host, where blocking is on.
const LOOK: Duration = Duration::from_secs(3);

/// Administrators that are remembered.
const ADMINISTRATORS: usize = 1_000;

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

/// This host's addresses, its gateways and its resolvers. Read at start; loopback and link-local need no mention.
fn own_networks(decoy_ports: &[u16]) -> Vec<Net> {
    let mut all = Vec::new();
    let fib = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut last = None;
    for line in fib.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<std::net::IpAddr>().ok();
        } else if line.ends_with("host LOCAL") {
            all.extend(last.take().map(|a| Net::new(a, 32)));
        }
    }
    for line in std::fs::read_to_string("/proc/net/if_inet6")
        .unwrap_or_default()
        .lines()
    {
        if let Some(n) = line.get(..32).and_then(|h| u128::from_str_radix(h, 16).ok()) {
            all.push(Net::new(std::net::Ipv6Addr::from(n).into(), 128));
        }
    }
    for line in std::fs::read_to_string("/proc/net/route")
        .unwrap_or_default()
        .lines()
        .skip(1)
    {
        let gateway = line
            .split_whitespace()
            .nth(2)
            .and_then(|g| u32::from_str_radix(g, 16).ok())
            .unwrap_or(0);
        if gateway != 0 {
            all.push(Net::new(
                std::net::Ipv4Addr::from(gateway.to_ne_bytes()).into(),
                32,
            ));
        }
    }
    for line in std::fs::read_to_string("/etc/resolv.conf")
        .unwrap_or_default()
        .lines()
    {
        if let Some(a) = line
            .strip_prefix("nameserver")
            .and_then(|a| a.trim().parse::<std::net::IpAddr>().ok())
        {
            all.push(Net::of_source(a));
        }
    }
    // Whoever administers this host by SSH right now, and whoever started us from there.
    all.extend(administrators(decoy_ports));
    if let Some(a) = std::env::var("SSH_CONNECTION")
        .ok()
        .and_then(|c| c.split(' ').next()?.parse::<std::net::IpAddr>().ok())
    {
        all.push(Net::of_source(a));
    }
    all
}

/// Sources of the connections that this host's own SSH server has now. Its ports are 22 and what its configuration says, never one of
/// a decoy: who is connected there is no administrator.
fn administrators(decoy_ports: &[u16]) -> Vec<Net> {
    let mut ports = vec![22];
    for line in std::fs::read_to_string("/etc/ssh/sshd_config")
        .unwrap_or_default()
        .lines()
    {
        let mut words = line.split_whitespace();
        if words.next().is_some_and(|w| w.eq_ignore_ascii_case("port")) {
            ports.extend(words.next().and_then(|p| p.parse::<u16>().ok()));
        }
    }
    ports.retain(|p| !decoy_ports.contains(p));
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|path| connected(&std::fs::read_to_string(path).unwrap_or_default(), &ports))
        .map(Net::of_source)
        .collect()
}

/// The peers of established connections to these ports, from a table of the kernel (`/proc/net/tcp`: addresses are words in the
/// machine's byte order).
fn connected(table: &str, ports: &[u16]) -> Vec<IpAddr> {
    let peer = |line: &str| -> Option<IpAddr> {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        if state != "01" || !ports.contains(&port) {
            return None;
        }
        let hex = remote.rsplit_once(':')?.0;
        let words: Vec<[u8; 4]> = hex
            .as_bytes()
            .chunks(8)
            .map(|c| u32::from_str_radix(std::str::from_utf8(c).ok()?, 16).ok())
            .map(|w| w.map(u32::to_ne_bytes))
            .collect::<Option<_>>()?;
        match words.as_slice() {
            [a] => Some(Ipv4Addr::from(*a).into()),
            [a, b, c, d] => {
                let mut all = [0; 16];
                for (slot, word) in all.chunks_mut(4).zip([a, b, c, d]) {
                    slot.copy_from_slice(word);
                }
                Some(IpAddr::from(Ipv6Addr::from(all)).to_canonical())
            }
            _ => None,
        }
    };
    table.lines().filter_map(peer).collect()
}

type Behind = (crate::machine::Machine, std::fs::File, Option<std::fs::File>);

/// What lies behind the decoys: the machine they show, the image (built if there is none), the list of logins. Nothing where no decoy
/// with a world listens.
fn behind_decoys(plan: &Plan, seed: &[u8; 32]) -> Result<Option<Behind>, String> {
    use crate::config::table::Policy;
    let settings = &plan.settings;
    if settings.ssh.listen.is_empty() && settings.telnet.listen.is_empty() {
        return Ok(None);
    }
    let mut listed = Vec::new();
    let mut userdb = None;
    if super::decoys::policy_of(settings) == Policy::List {
        let path = &settings.ssh_auth.file;
        let text = std::fs::read(path).map_err(|e| format!("ssh.auth.file: {path}: {e}"))?;
        let db =
            turncoat_decoys::auth::UserDb::parse(&text).map_err(|e| format!("ssh.auth.file: {path}: {e}"))?;
        let name = |u: &[u8]| {
            std::str::from_utf8(u)
                .ok()
                .filter(|u| turncoat_cover::valid_user(u))
                .map(str::to_owned)
        };
        listed = db.users().filter_map(name).filter(|u| u != "root").collect();
        listed.sort();
        listed.dedup();
        userdb = Some(std::fs::File::open(path).map_err(|e| format!("ssh.auth.file: {path}: {e}"))?);
    }
    let now = super::now().seconds();
    // What contradicts itself is said before an image is built for it.
    crate::machine::check(&plan.layout, settings, now)?;
    let shelved = crate::cli::image::find_or_build(&plan.layout, settings)?;
    let image = std::fs::File::open(&shelved.path).map_err(|e| format!("{}: {e}", shelved.path.display()))?;
    let opened = image.try_clone().map_err(|e| e.to_string())?;
    let opened = turncoat_kernel::image::Image::open(opened).map_err(|e| e.to_string())?;
    crate::machine::packages(&opened, settings)?;
    super::decoys::check_image(settings, &opened)?;
    let kernel = crate::machine::kernel(&opened);
    let machine = crate::machine::load_or_make(&plan.layout, seed, settings, &listed, kernel, now)?;
    machine.cover(seed)?;
    Ok(Some((machine, image, userdb)))
}

/// Binds every decoy's addresses.
fn bind(settings: &Settings) -> Result<Vec<Listening>, String> {
    let defaults = Settings::default();
    let wanted = [
        ("ssh", &settings.ssh.listen, &defaults.ssh.listen),
        ("telnet", &settings.telnet.listen, &defaults.telnet.listen),
        ("echo", &settings.echo.listen, &defaults.echo.listen),
    ];
    let mut bound = Vec::new();
    for (decoy, addresses, default) in wanted {
        for address in addresses {
            match listen::tcp(*address) {
                Ok(listener) => {
                    let real = listener.local_addr().map_or(*address, |a| a);
                    bound.push(Listening {
                        decoy,
                        shown: format!("{decoy} {real}"),
                        fd: listener.into(),
                    });
                }
                Err(error) if default == addresses && address.is_ipv6() && listen::no_ipv6(&error) => {}
                Err(error) => {
                    let hint = match error.kind() {
                        std::io::ErrorKind::PermissionDenied => {
                            "; ports below 1024 want privileges: listen on 2222 and redirect, see docs/install.md"
                        }
                        std::io::ErrorKind::AddrInUse => {
                            "; another program listens there, or another Turncoat"
                        }
                        _ => "",
                    };
                    return Err(format!("{decoy}: cannot listen on {address}: {error}{hint}"));
                }
            }
        }
    }
    if bound.len() + 4 > control::MOST_FDS {
        return Err(format!(
            "too many addresses to listen on: the most is {}",
            control::MOST_FDS - 4
        ));
    }
    Ok(bound)
}

/// Binds the console's addresses. The default one may be in use by another Turncoat: then this one goes without, and says so.
fn bind_console(settings: &Settings) -> Result<Vec<Listening>, String> {
    let addresses = &settings.console.listen;
    let default = *addresses == Settings::default().console.listen;
    let mut bound = Vec::new();
    for address in addresses {
        match listen::tcp(*address) {
            Ok(listener) => bound.push(Listening {
                decoy: "console",
                shown: listener.local_addr().unwrap_or(*address).to_string(),
                fd: listener.into(),
            }),
            Err(error) if default => say(
                "run",
                &format!(
                    "no console: cannot listen on {address}: {error}; set console.listen to another port"
                ),
            ),
            Err(error) => return Err(format!("console: cannot listen on {address}: {error}")),
        }
    }
    Ok(bound)
}

/// Gives up privileges for good, where there are any and a user is configured. Where the nftables table is to be kept (`table`), the right
/// to do that stays with the supervisor, unused, so that it can be given to `block` each time that process is started; nobody else has it.
fn become_user(name: &str, layout: &Layout, table: bool) -> Result<(), String> {
    use rustix::process::{Gid, Uid, geteuid, getuid};
    if name.is_empty() || !geteuid().is_root() {
        return Ok(());
    }
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(|e| format!("/etc/passwd: {e}"))?;
    let ids = passwd.lines().find_map(|line| {
        let mut parts = line.split(':');
        let (user, _, uid, gid) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        (user == name).then(|| Some((uid.parse::<u32>().ok()?, gid.parse::<u32>().ok()?)))?
    });
    let (uid, gid) = ids.ok_or_else(|| format!("sensor.user: there is no user {name}"))?;
    for dir in [
        layout.root().to_owned(),
        layout.recordings(),
        layout.journals(),
        layout.artifacts(),
        layout.images(),
        layout.run(),
    ] {
        std::os::unix::fs::chown(&dir, Some(uid), Some(gid))
            .map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    // There is one thread: what holds for it will hold for all.
    let kept = if table {
        CapabilitySet::NET_ADMIN
    } else {
        CapabilitySet::empty()
    };
    rustix::thread::set_keep_capabilities(table)
        .and_then(|()| rustix::thread::set_thread_groups(&[gid]))
        .and_then(|()| rustix::thread::set_thread_res_gid(gid, gid, gid))
        .and_then(|()| rustix::thread::set_thread_res_uid(uid, uid, uid))
        .and_then(|()| {
            rustix::thread::set_capabilities(
                None,
                CapabilitySets {
                    effective: CapabilitySet::empty(),
                    permitted: kept,
                    inheritable: CapabilitySet::empty(),
                },
            )
        })
        .and_then(|()| rustix::thread::set_keep_capabilities(false))
        // Nor by a program that somebody left with the set-user-id bit.
        .and_then(|()| rustix::thread::set_no_new_privs(true))
        .map_err(|e| format!("becoming {name}: {e}"))?;
    if getuid() != uid || rustix::thread::set_thread_uid(Uid::ROOT).is_ok() {
        return Err(format!("becoming {name}: privileges did not go away"));
    }
    Ok(())
}

/// Lets programs that this thread starts have CAP_NET_ADMIN, where this thread has it, or no longer. Every other right goes, and none can
/// be used here. As root, programs have them anyway.
fn pass_on_net_admin(yes: bool) -> Result<(), String> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let tell = |e: rustix::io::Errno| format!("CAP_NET_ADMIN for the block process: {e}");
    let has = rustix::thread::capabilities(None).map_err(tell)?.permitted;
    let table = has.intersection(CapabilitySet::NET_ADMIN);
    let sets = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: table,
        inheritable: if yes { table } else { CapabilitySet::empty() },
    };
    // What can no longer be inherited is no longer passed on either.
    rustix::thread::set_capabilities(None, sets).map_err(tell)?;
    if !yes || table.is_empty() {
        // Where it lacks, `block` says so in its own words.
        return Ok(());
    }
    rustix::thread::configure_capability_in_ambient_set(CapabilitySet::NET_ADMIN, true).map_err(tell)
}

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

    fn listening(&self) -> Vec<String> {
        self.listeners.iter().map(|l| l.shown.clone()).collect()
    }

    fn start_all(&mut self) -> Result<(), String> {
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

    /// Tells the decoys what is planted.
    fn tell_plants(&self) {
        match crate::plant::load(&self.plan.layout) {
            Ok(plants) => self.order(Role::Front, &Order::Plants(plants), &[]),
            Err(why) => say("run", &why),
        }
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
        super::thread("child", move || {
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

    /// What the operator sees: ten lines or fewer.
    fn greet(&self) {
        let mut lines = vec![format!(
            "Turncoat {} meets intruders. Ctrl-C ends it.",
            env!("CARGO_PKG_VERSION")
        )];
        for l in &self.listeners {
            lines.push(format!("  listens   {}", l.shown));
        }
        lines.truncate(5);
        let settings = &self.plan.settings;
        let tries = [
            ("ssh", settings.ssh.listen.first()),
            ("telnet", settings.telnet.listen.first()),
        ];
        let tried = tries.into_iter().find_map(|(decoy, at)| Some((decoy, at?)));
        if let (Some(machine), Some((decoy, at))) = (&self.machine, tried) {
            if let Ok(cover) = machine.cover(&self.seed) {
                lines.push(format!(
                    "  shows     {}, a {} with Debian {}",
                    cover.host.fqdn(),
                    cover.role,
                    turncoat_cover::Release::current().number
                ));
            }
            let here = match at.ip() {
                ip if !ip.is_unspecified() => ip,
                std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            };
            let how = super::decoys::how_to_log_in(&self.plan.settings, &self.seed, here);
            // The port that was really bound, also where none was named.
            let port = self
                .listeners
                .iter()
                .find(|l| l.decoy == decoy)
                .and_then(|l| l.shown.rsplit_once(':')?.1.parse().ok())
                .unwrap_or(at.port());
            let call = match decoy {
                "ssh" => format!("ssh -p {port} root@{here}"),
                _ => format!("telnet {here} {port}"),
            };
            lines.push(format!("  try       {call}   ({how})"));
        }
        if let (Some(page), Some(link)) = (self.pages.first(), &self.told_link) {
            let scheme = if self.console.tls.is_some() {
                "https"
            } else {
                "http"
            };
            lines.push(format!(
                "  console   {scheme}://{}/in/{link}   (works once)",
                page.shown
            ));
        }
        lines.push(format!("  record    {}", self.plan.layout.database().display()));
        lines.push("  look      turncoat sessions, turncoat events --follow, turncoat status".into());
        let missing = self.missing();
        if !missing.is_empty() {
            lines.push(format!("  confined  not fully: {}", missing.join("; ")));
        }
        println!("{}", lines.join("\n"));
        self.tell_facts();
    }

    fn missing(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .processes
            .values()
            .flat_map(|p| p.missing.iter().cloned())
            .collect();
        all.sort();
        all.dedup();
        all
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

    /// Tells the record of whoever has come to administer this host: he is blocked no longer.
    fn look_for_administrators(&mut self) {
        let before = self.administrators.len();
        let now = administrators(&self.decoy_ports());
        self.administrators.extend(now.into_iter().take(ADMINISTRATORS));
        if self.administrators.len() > before && before < ADMINISTRATORS {
            let all = self.administrators.iter().copied().collect();
            self.order(Role::Record, &Order::Administrators(all), &[]);
        }
    }

    /// The ports that decoys listen on.
    fn decoy_ports(&self) -> Vec<u16> {
        let s = &self.plan.settings;
        let decoys = [&s.ssh.listen, &s.telnet.listen, &s.echo.listen];
        decoys.iter().flat_map(|l| l.iter().map(|a| a.port())).collect()
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

    /// Starts everything anew. Whatever is left of the others has noticed, and answered nothing since.
    fn start_again(&mut self) -> Result<(), String> {
        for role in [Role::Front, Role::Out, Role::Block, Role::Record] {
            self.reap(role);
        }
        self.start_all()
    }

    /// Starts `front` or `out` beside a record that goes on.
    fn start_beside(&mut self, role: Role) -> Result<(), String> {
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

fn stream_pair() -> Result<(OwnedFd, OwnedFd), String> {
    let (a, b) = UnixStream::pair().map_err(|e| e.to_string())?;
    Ok((a.into(), b.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_connected_is_read_from_the_kernels_table() {
        let v4 = u32::from_ne_bytes([192, 0, 2, 7]);
        let v6 = [[0x20, 0x01, 0x0d, 0xb8], [0; 4], [0; 4], [0, 0, 0, 5]].map(u32::from_ne_bytes);
        let v6: String = v6.iter().map(|w| format!("{w:08X}")).collect();
        let table = format!(
            "  sl  local_address rem_address   st tx_queue\n   0: 0100007F:0016 {v4:08X}:C001 01 0\n   1: 0100007F:0016 {v4:08X}:C001 06 0\n   \
             2: 0100007F:08AE {v4:08X}:C001 01 0\n   3: {v6}:0016 {v6}:C001 01 0\n garbage :: x 01\n"
        );
        let found: Vec<String> = connected(&table, &[22]).iter().map(|a| a.to_string()).collect();
        assert_eq!(found, ["192.0.2.7", "2001:db8::5"]);
    }
}
