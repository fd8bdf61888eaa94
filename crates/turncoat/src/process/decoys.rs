//! The decoys of this install: the machine from cover and image, its worlds, and the listeners in front of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use turncoat_cover::{Cover, Secret};
use turncoat_decoys::auth::{Judge, Limits, Opens, Planted, Policy, UserDb, source_key};
use turncoat_decoys::boot::{self, Snapshot};
use turncoat_decoys::journal::Birth;
use turncoat_decoys::machine::{Clock, Entropy, FailDelay};
use turncoat_decoys::refused::Ledger;
use turncoat_decoys::ssh::{Forward, MaxStartups, Meter, Passed, Peer, Ssh, Startups, serve as serve_ssh};
use turncoat_decoys::taken::{Noting, Taken};
use turncoat_decoys::telnet::{Telnet, serve as serve_telnet};
use turncoat_decoys::worlds::{Again, Bounds, Keeping, Scope, Worlds};
use turncoat_event::Recorder;
use turncoat_kernel::image::Image;
use turncoat_ssh::{HostKey, Moduli, PermitRootLogin, ServerConfig};
use turncoat_store::privacy::hmac_sha256;
use turncoat_wire::proxy;

use super::front::{Earlier, Ending, FrontIo};
use super::{echo, now, say};
use crate::config::Settings;
use crate::config::table::{Outside, Policy as PolicySetting, Scope as ScopeSetting, Watch};
use crate::config::value::Span;

/// The policy that is really in force: "auto" follows where the sensor stands.
pub fn policy_of(settings: &Settings) -> PolicySetting {
    match (settings.ssh_auth.policy, settings.watch.kind) {
        (PolicySetting::Auto, Watch::Internal) => PolicySetting::Never,
        (PolicySetting::Auto, Watch::Internet) => PolicySetting::AfterTries,
        (chosen, _) => chosen,
    }
}

/// `sshd_config` as the policy really behaves: what differs from the package's file.
pub fn sshd_options(settings: &Settings) -> Vec<(String, String)> {
    let root = match policy_of(settings) {
        PolicySetting::AfterTries | PolicySetting::List => "yes",
        _ => "prohibit-password",
    };
    [
        ("PermitRootLogin".into(), root.into()),
        ("PasswordAuthentication".into(), "yes".into()),
    ]
    .into_iter()
    .chain(port(settings))
    .chain(startups_option(settings))
    .collect()
}

/// `MaxStartups`, where it is not the default.
fn startups_option(settings: &Settings) -> Option<(String, String)> {
    let set = &settings.ssh.max_startups;
    (*set != MaxStartups::DEBIAN.to_string()).then(|| {
        // What is not bounded here has a bound that nobody meets there.
        let shown = MaxStartups::parse(set).flatten().unwrap_or(MaxStartups::NEVER);
        ("MaxStartups".into(), shown.to_string())
    })
}

/// The machine's own port, where it is not 22.
fn port(settings: &Settings) -> Option<(String, String)> {
    let own = settings.cover.ssh_port;
    (own != 22).then(|| ("Port".into(), own.to_string()))
}

/// Sets the cover's services as the settings have them.
pub fn set_services(cover: &mut Cover, settings: &Settings) {
    cover.sshd_options = sshd_options(settings);
    cover.telnet = !settings.telnet.listen.is_empty();
}

/// What an image needs beyond the usual small server where telnet is served: as arguments of `turncoat image build`.
pub const TELNET_PACKAGES: [&str; 3] = ["+inetutils-telnetd", "+openbsd-inetd", "+rsyslog"];

/// Whether the image has what the settings want served.
///
/// # Errors
/// One line for the operator.
pub fn check_image(settings: &Settings, image: &Image) -> Result<(), String> {
    let packages = image.packages();
    let has = |name: &str| packages.iter().any(|p| p.name == name);
    if settings.telnet.listen.is_empty() || (has("inetutils-telnetd") && has("openbsd-inetd")) {
        return Ok(());
    }
    Err(format!(
        "telnet.listen: the image has no telnetd; build one that has: turncoat image build {}",
        TELNET_PACKAGES.join(" ")
    ))
}

fn entropy(buffer: &mut [u8]) {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|r| !r.is_empty()) {
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => done += n,
            Err(rustix::io::Errno::INTR) => {}
            // Without entropy there is no session key: better no decoy.
            Err(_) => std::process::exit(3),
        }
    }
}

/// Serves until the program ends. `ready` is called when all of them answer.
///
/// # Errors
/// One line for the operator.
pub fn serve(mut io: FrontIo, ready: impl FnOnce()) -> Result<(), String> {
    let settings = io.settings.read().unwrap_or_else(PoisonError::into_inner).clone();
    let (echoes, decoys): (Vec<_>, Vec<_>) = io.listeners.drain(..).partition(|(decoy, _)| decoy == "echo");
    io.listeners = echoes;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("net")
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    // A sign of life by the runtime that serves intruders: should it stand still, the record notices.
    let alive = io.recorder.clone();
    let told: Arc<OnceLock<Arc<turncoat_decoys::Machine>>> = Arc::default();
    let machine_told = told.clone();
    runtime.spawn(async move {
        loop {
            let worlds = machine_told.get().map(|m| {
                let (awake, resting, hibernated) = m.worlds.counts();
                serde_json::json!({"awake": awake, "resting": resting, "hibernated": hibernated})
            });
            alive.facts(serde_json::json!({"alive": true, "worlds": worlds}).to_string());
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    });
    if let (Some(file), Some(machine)) = (io.image.take(), io.machine.take()) {
        let mut cover = machine.cover(&io.seed)?;
        set_services(&mut cover, &settings);
        let image = Image::open(file).map_err(|e| e.to_string())?;
        let door = Arc::new(Door::new(&io));
        let baits = baits(&cover);
        let ssh = Arc::new(ssh_decoy(&io, &settings, cover, image, door.clone())?);
        let (arrivals, inside) = tokio::sync::mpsc::unbounded_channel();
        ssh.machine.worlds.serve_inside(arrivals);
        let _ = told.set(ssh.machine.clone());
        runtime.spawn(turncoat_decoys::ssh::serve_arrivals(ssh.clone(), inside));
        let (machine, plants) = (ssh.machine.clone(), io.plants.clone());
        let set = move |now| {
            machine
                .judge
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .set_planted(planted(now, &baits));
        };
        set(Vec::new());
        super::thread("plants", move || {
            while let Ok(now) = plants.lock().unwrap_or_else(PoisonError::into_inner).recv() {
                set(now);
            }
        });
        let telnet = Arc::new(Telnet {
            machine: ssh.machine.clone(),
            bytes_out: ssh.bytes_out,
            recording: ssh.recording,
            login_time: settings.limits.login_time.duration(),
            meter: door.clone(),
        });
        for (decoy, listener) in decoys {
            let service = match &*decoy {
                "ssh" => Service::Ssh(ssh.clone()),
                "telnet" => Service::Telnet(telnet.clone()),
                _ => continue,
            };
            runtime.spawn(accept(listener, service, door.clone(), io.ending.clone()));
        }
    } else if !decoys.is_empty() {
        return Err("started without an image".into());
    }
    ready();
    let recorder = io.recorder.clone();
    echo::serve(io);
    runtime.shutdown_timeout(Duration::from_secs(2));
    if let Some(machine) = told.get() {
        machine.worlds.save(Duration::from_secs(1));
    }
    recorder.flush(Duration::from_secs(1));
    Ok(())
}

/// What decoys know of planted things: those that the operator planted, then the credentials in the cover's baits.
fn planted(plants: Vec<crate::plant::Plant>, baits: &[Planted]) -> Vec<Planted> {
    plants
        .into_iter()
        .map(|p| Planted {
            place: p.place(),
            id: p.id,
            user: p.user.into_bytes(),
            secret: p.password.map(String::into_bytes),
            fingerprint: p.fingerprint,
            revoked: p.revoked,
            opens: if p.kind == crate::plant::AUDIT {
                Opens::Audit
            } else {
                Opens::Door
            },
            kind: p.kind,
        })
        .chain(baits.iter().cloned())
        .collect()
}

/// The credentials that lie in the files of the cover. They seem to open other machines; whoever tries one here has read the file.
fn baits(cover: &Cover) -> Vec<Planted> {
    let host = &cover.host.name;
    let one = |b: &turncoat_cover::Bait, c: &turncoat_cover::Credential| {
        let (secret, fingerprint) = match &c.secret {
            Secret::Password(s) | Secret::Token(s) => (Some(s.clone().into_bytes()), None),
            Secret::Key(print) => (None, Some(print.clone())),
        };
        Planted {
            id: b.id.clone(),
            // A stolen secret is tried with any name.
            user: Vec::new(),
            secret,
            fingerprint,
            place: format!("{} on {host} ({})", b.path, b.kind),
            kind: "bait".into(),
            revoked: false,
            opens: Opens::Nothing,
        }
    };
    let all = cover.baits_at(now().seconds());
    all.iter()
        .flat_map(|b| b.credentials.iter().map(move |c| one(b, c)))
        .collect()
}

fn ssh_decoy(
    io: &FrontIo,
    settings: &Settings,
    cover: Cover,
    image: Arc<Image>,
    door: Arc<Door>,
) -> Result<Ssh, String> {
    let taken = Arc::new(Taken::new(io.recorder.taken()));
    let recorder: Arc<dyn Recorder> = Arc::new(Noting {
        recorder: io.recorder.clone(),
        taken: taken.clone(),
    });
    let clock: Clock = Arc::new(now);
    let random: Entropy = Arc::new(entropy);
    let mut config = ssh_config(settings, &cover, &image)?;
    // Refusals take what sshd makes of the time that PAM took, by user: doubled until it covers that.
    config.fail_delay_secret = settings
        .ssh_auth
        .fail_delay
        .then(|| hmac_sha256(&io.seed, b"refusals"));
    let config = Arc::new(config);
    let outside = match settings.world.outside {
        Outside::Unreachable => boot::Outside::Unreachable,
        Outside::Timeout => boot::Outside::Timeout,
        Outside::Refused => boot::Outside::Refused,
        Outside::Sink => boot::Outside::Sink,
    };
    let names = (image.id().to_string(), cover.host.fqdn());
    let booted = cover.host.booted;
    let accounts: BTreeSet<Vec<u8>> = cover
        .users
        .iter()
        .map(|u| u.name.clone().into_bytes())
        .chain([b"root".to_vec()])
        .collect();
    let standing = boot::Standing::boot(
        cover.clone(),
        image.clone(),
        outside,
        clock.clone(),
        random.clone(),
    )?;
    let scope = match (settings.world.scope, settings.watch.kind) {
        (ScopeSetting::Machine, _) | (ScopeSetting::Auto, Watch::Internal) => Scope::Machine,
        _ => Scope::Source,
    };
    let threads = match usize::try_from(settings.world.threads) {
        Ok(0) | Err(_) => std::thread::available_parallelism().map_or(2, |n| n.get()),
        Ok(n) => n,
    };
    let bounds = Bounds {
        worlds: usize::try_from(settings.world.most).unwrap_or(usize::MAX),
        journal: settings.limits.journal.0,
        ..Bounds::default()
    };
    let worlds = Worlds::start(
        Arc::new(move || standing.fresh()),
        scope,
        bounds,
        threads,
        recorder.clone(),
        clock.clone(),
        random.clone(),
    )
    .map_err(|e| e.to_string())?;
    let never = |s: Span| s.nanos().map_or(Duration::MAX, |_| s.duration());
    let keeping = Keeping {
        cellar: io.recorder.clone(),
        again: again(cover, image),
        resume: settings.world.resume.duration(),
        after: never(settings.world.hibernate),
        age: never(settings.world.keep),
        most: HIBERNATED,
        checkpoints: settings.limits.checkpoints.0,
    };
    worlds.keep_in(keeping, io.recorder.kept());
    let refused = Arc::new(Ledger::new(booted));
    worlds.hear_of(refused.clone());
    let judge = judge(settings, &io.seed, &io.userdb)?;
    Ok(Ssh {
        config,
        machine: Arc::new(turncoat_decoys::Machine {
            taken,
            recorder,
            worlds,
            judge: Mutex::new(judge),
            accounts: RwLock::new(accounts),
            fail_delay: if settings.ssh_auth.fail_delay {
                FailDelay::PAM
            } else {
                FailDelay::NONE
            },
            refused,
            hashing: tokio::sync::Semaphore::new((threads / 2).max(1)),
            hashes: Default::default(),
            clock,
            entropy: random,
            names,
        }),
        bytes_out: settings.limits.bytes_out_session.0,
        recording: settings.limits.recording.0,
        meter: door,
        startups: MaxStartups::parse(&settings.ssh.max_startups)
            .flatten()
            .map(|bound| Startups::new(bound, scope)),
        forward: match settings.world.outside {
            Outside::Unreachable => Forward::Unreachable,
            Outside::Refused => Forward::Refused,
            Outside::Timeout => Forward::Timeout,
            Outside::Sink => Forward::Sink,
        },
    })
}

/// Hibernated worlds at most; past it those unused for longest are forgotten.
const HIBERNATED: usize = 65_536;
/// Snapshots of before that are kept to make worlds from again.
const SNAPSHOTS: usize = 2;

/// Makes the machine that a journal names: from a snapshot that is booted as it was booted then.
fn again(cover: Cover, image: Arc<Image>) -> Again {
    let booted: Mutex<Vec<(Birth, Snapshot)>> = Mutex::default();
    Arc::new(move |birth: &Birth| {
        let mut booted = booted.lock().unwrap_or_else(PoisonError::into_inner);
        let of = Birth {
            seed: [0; 32],
            ..birth.clone()
        };
        match booted.iter().position(|(b, _)| *b == of) {
            // Those used last stand last.
            Some(n) => booted[n..].rotate_left(1),
            None => {
                let snapshot = Snapshot::boot_again(&cover, image.clone(), birth)?;
                if booted.len() >= SNAPSHOTS {
                    booted.remove(0);
                }
                booted.push((of, snapshot));
            }
        }
        let (_, snapshot) = booted.last_mut().ok_or("no snapshot")?;
        Ok(Box::new(snapshot.guest(birth.seed)))
    })
}

/// Who decides about logins, by the settings.
fn judge(settings: &Settings, seed: &[u8; 32], userdb: &[u8]) -> Result<Judge, String> {
    let (min, max) = tries(settings);
    let policy = match policy_of(settings) {
        PolicySetting::AfterTries | PolicySetting::Auto => Policy::AfterTries { min, max },
        PolicySetting::List => {
            Policy::List(UserDb::parse(userdb).map_err(|e| format!("ssh.auth.file: {e}"))?)
        }
        PolicySetting::Never => Policy::Never,
        PolicySetting::Tokens => Policy::Tokens,
    };
    Ok(Judge::new(policy, hmac_sha256(seed, b"tries"), Limits::default()))
}

fn tries(settings: &Settings) -> (u32, u32) {
    let bound = |n: u64, default| u32::try_from(n).unwrap_or(default).max(1);
    (
        bound(settings.ssh_auth.min_tries, 2),
        bound(settings.ssh_auth.max_tries, 5),
    )
}

/// How to log in from `source`, in a few words for the operator.
pub fn how_to_log_in(settings: &Settings, seed: &[u8; 32], source: IpAddr) -> String {
    match policy_of(settings) {
        PolicySetting::AfterTries | PolicySetting::Auto => {
            let (min, max) = tries(settings);
            // The number is the source's own; with the list empty there is nothing to parse.
            let n = judge(settings, seed, b"").map_or(max, |j| j.needed(source, min, max));
            let ending = match n {
                1 => "st",
                2 => "nd",
                3 => "rd",
                _ => "th",
            };
            format!("any password; from here the {n}{ending} try is let in")
        }
        PolicySetting::List => format!("with a login of {}", settings.ssh_auth.file),
        PolicySetting::Tokens => "with a planted credential: turncoat plant credential --help".into(),
        PolicySetting::Never => "nobody is let in by guessing; every try is recorded".into(),
    }
}

/// The server's configuration: versions from the image's packages, keys from the cover, permissions from the policy.
///
/// # Errors
/// One line for the operator.
pub fn ssh_config(settings: &Settings, cover: &Cover, image: &Image) -> Result<ServerConfig, String> {
    let version = image
        .packages()
        .into_iter()
        .find(|p| p.name == "openssh-server")
        .map(|p| p.version.clone())
        .ok_or("the image has no openssh-server: build one with it (`turncoat image build`)")?;
    // 1:9.2p1-2+deb12u7 is OpenSSH_9.2p1 Debian-2+deb12u7.
    let plain = version.split_once(':').map_or(version.as_str(), |v| v.1);
    let (upstream, debian) = plain
        .split_once('-')
        .ok_or_else(|| format!("openssh-server has an odd version: {version}"))?;
    let read = |path: &str| -> Option<Vec<u8>> {
        let ino = image.resolve(path.as_bytes()).ok()??;
        image.read_all(ino, 4 << 20).ok()
    };
    let moduli = read("/etc/ssh/moduli")
        .map(|m| Moduli::parse(&String::from_utf8_lossy(&m)))
        .unwrap_or_default();
    let keys = cover.host_keys.as_ref().ok_or("the cover has no host keys")?;
    let mut host_keys = Vec::new();
    for pair in [&keys.rsa, &keys.ecdsa, &keys.ed25519] {
        host_keys.push(Arc::new(
            HostKey::from_openssh(&pair.private).map_err(|e| format!("a host key of the cover: {e}"))?,
        ));
    }
    let banner = format!("SSH-2.0-OpenSSH_{upstream} Debian-{debian}");
    let mut config = ServerConfig::debian12(&banner, host_keys, Arc::new(moduli));
    config.login_grace_time = settings.limits.login_time.duration();
    config.permit_root_login = match policy_of(settings) {
        PolicySetting::AfterTries | PolicySetting::List => PermitRootLogin::Yes,
        _ => PermitRootLogin::ProhibitPassword,
    };
    Ok(config)
}

/// A proxy names the source within this time.
const PROXY_TIME: Duration = Duration::from_secs(5);

/// Sources whose bytes of the day are counted; past it, the half with the fewest is forgotten.
const METERED: usize = 65_536;

/// Counts connections and bytes out, in all and by source.
struct Door {
    settings: Arc<RwLock<Arc<Settings>>>,
    recorder: Arc<dyn Recorder>,
    all: AtomicUsize,
    by_source: Mutex<BTreeMap<IpAddr, u64>>,
    out: Mutex<BytesOut>,
}

/// Bytes out of one day (UTC).
#[derive(Default)]
struct BytesOut {
    day: i64,
    all: u64,
    by_source: HashMap<IpAddr, u64>,
}

impl BytesOut {
    /// Counts, and gives what the source and all have had on that day.
    fn count(&mut self, day: i64, source: IpAddr, bytes: u64) -> (u64, u64) {
        if day != self.day {
            *self = BytesOut {
                day,
                ..BytesOut::default()
            };
        }
        if self.by_source.len() >= METERED && !self.by_source.contains_key(&source) {
            // Half of them at once, so that a crowd of sources pays for the search seldom.
            let mut counts: Vec<u64> = self.by_source.values().copied().collect();
            let (_, median, _) = counts.select_nth_unstable(METERED / 2);
            let median = *median;
            let more = self.by_source.values().filter(|n| **n > median).count();
            let mut room = (METERED / 2).saturating_sub(more);
            self.by_source.retain(|_, n| {
                let fits = *n == median && room > 0;
                room -= usize::from(fits);
                fits || *n > median
            });
        }
        let of_source = self.by_source.entry(source).or_default();
        *of_source = of_source.saturating_add(bytes);
        self.all = self.all.saturating_add(bytes);
        (*of_source, self.all)
    }
}

impl BytesOut {
    /// Takes over what an earlier process sent on its last day.
    fn go_on(&mut self, earlier: &[Earlier]) {
        let last = earlier.iter().map(|e| e.day).max();
        for e in earlier.iter().filter(|e| Some(e.day) == last) {
            self.count(e.day, source_key(e.source), e.bytes);
        }
    }
}

impl Meter for Door {
    fn sent(&self, source: IpAddr, bytes: u64) -> Option<Passed> {
        let day = now().0.div_euclid(86_400_000_000_000);
        let (of_source, all) =
            self.out
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .count(day, source_key(source), bytes);
        let limits = &self.settings().limits;
        let bounds = [
            (
                of_source,
                limits.bytes_out_source_day.0,
                "bytes_out.source_day",
                "source",
            ),
            (all, limits.bytes_out_day.0, "bytes_out.day", "all"),
        ];
        bounds
            .into_iter()
            .find(|(have, most, ..)| have > most)
            .map(|(_, value, limit, scope)| Passed { limit, value, scope })
    }
}

impl Door {
    fn new(io: &FrontIo) -> Door {
        let mut out = BytesOut::default();
        out.go_on(&io.recorder.earlier());
        Door {
            settings: io.settings.clone(),
            recorder: io.recorder.clone(),
            all: AtomicUsize::new(0),
            by_source: Mutex::default(),
            out: Mutex::new(out),
        }
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// True when connections from here begin with a PROXY header.
    fn is_proxy(&self, address: IpAddr) -> bool {
        self.settings()
            .proxy
            .from
            .iter()
            .any(|n| n.0.contains(address.to_canonical()))
    }

    /// Lets a connection in, if there is room at all. Whose it is may still be unknown.
    fn enter(self: &Arc<Self>) -> Option<Inside> {
        let most = self.settings().limits.connections;
        if !self.recorder.accepting() || self.all.load(Ordering::Relaxed) as u64 >= most {
            return None;
        }
        self.all.fetch_add(1, Ordering::Relaxed);
        Some(Inside {
            door: self.clone(),
            source: None,
        })
    }
}

/// A connection that was let in, until it is dropped.
struct Inside {
    door: Arc<Door>,
    source: Option<IpAddr>,
}

impl Inside {
    /// Counts the connection as the source's; false when it has too many, or was sent too much today.
    fn is_of(&mut self, source: IpAddr) -> bool {
        if self.door.sent(source, 0).is_some() {
            return false;
        }
        let source = source_key(source);
        let most = self.door.settings().limits.connections_per_source;
        let mut map = self.door.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        let count = map.entry(source).or_default();
        if *count < most {
            *count += 1;
            self.source = Some(source);
        } else if *count == 0 {
            map.remove(&source);
        }
        self.source.is_some()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.door.all.fetch_sub(1, Ordering::Relaxed);
        let Some(source) = self.source else { return };
        let mut map = self.door.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = map.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                map.remove(&source);
            }
        }
    }
}

/// Who is at the other end: by the connection, or as a listed proxy says in its header. `None`: it said something else, or
/// nothing in time, and is closed without an answer, as the specification asks.
async fn peer(stream: &mut TcpStream, door: &Door, source: SocketAddr, local: SocketAddr) -> Option<Peer> {
    let plain = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
    let direct = Peer {
        source: plain(source),
        local: plain(local),
        via: None,
    };
    if !door.is_proxy(source.ip()) {
        return Some(direct);
    }
    let read = async {
        let mut header = Vec::new();
        loop {
            // Byte by byte: what comes behind the header is the client's and stays in the socket.
            header.push(stream.read_u8().await.ok()?);
            match proxy::parse(&header) {
                Ok(header) => return Some(header),
                Err(proxy::Refused::More) if header.len() < proxy::LONGEST => {}
                Err(_) => return None,
            }
        }
    };
    let header = tokio::time::timeout(PROXY_TIME, read).await.ok()??;
    Some(match header.addresses {
        Some((from, to)) => Peer {
            source: plain(from),
            local: plain(to),
            via: Some(direct.source),
        },
        None => direct,
    })
}

/// What answers at a listener.
#[derive(Clone)]
enum Service {
    Ssh(Arc<Ssh>),
    Telnet(Arc<Telnet>),
}

async fn accept(listener: TcpListener, service: Service, door: Arc<Door>, ending: Ending) {
    let listener = match listener
        .set_nonblocking(true)
        .and_then(|()| tokio::net::TcpListener::from_std(listener))
    {
        Ok(listener) => listener,
        Err(error) => return say("front", &error.to_string()),
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ending.told() => return,
        };
        let (mut stream, source) = match accepted {
            Ok(pair) => pair,
            Err(error) => {
                // Out of descriptors or memory: what is open goes on, and new ones wait.
                say("front", &format!("accept: {error}"));
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let (Some(mut inside), Ok(local)) = (door.enter(), stream.local_addr()) else {
            continue;
        };
        let (service, ending, door) = (service.clone(), ending.clone(), door.clone());
        tokio::spawn(async move {
            if let Some(peer) = peer(&mut stream, &door, source, local).await
                && inside.is_of(peer.source.ip())
            {
                match service {
                    Service::Ssh(ssh) => serve_ssh(ssh, stream, peer, ending.told()).await,
                    Service::Telnet(telnet) => serve_telnet(telnet, stream, peer, ending.told()).await,
                };
            }
            drop(inside);
        });
    }
}

/// Reads the whole of a passed file, up to a bound.
pub fn read_passed(file: std::fs::File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = file.take(16 << 20).read_to_end(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use turncoat_event::{Committer, Item, Mark, Refused, Watermark};
    use turncoat_store::Source;

    struct Nothing(Watermark);

    impl Recorder for Nothing {
        fn submit(&self, _: Item) -> Result<Mark, Refused> {
            Ok(Mark::NONE)
        }
        fn watermark(&self) -> &Watermark {
            &self.0
        }
        fn accepting(&self) -> bool {
            true
        }
    }

    fn door(change: impl FnOnce(&mut Settings)) -> Arc<Door> {
        let mut settings = Settings::default();
        change(&mut settings);
        Arc::new(Door {
            settings: Arc::new(RwLock::new(Arc::new(settings))),
            recorder: Arc::new(Nothing(Committer::new().1)),
            all: AtomicUsize::new(0),
            by_source: Mutex::default(),
            out: Mutex::default(),
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connections_are_bounded_in_all_and_by_source() {
        let door = door(|s| (s.limits.connections, s.limits.connections_per_source) = (3, 2));
        let enter = |source| {
            door.enter()
                .filter(|_| true)
                .and_then(|mut i| i.is_of(source).then_some(i))
        };
        let one = enter(ip("192.0.2.1")).unwrap();
        let two = enter(ip("192.0.2.1")).unwrap();
        assert!(enter(ip("192.0.2.1")).is_none(), "a third of one source");
        let three = enter(ip("192.0.2.2")).unwrap();
        assert!(enter(ip("192.0.2.3")).is_none(), "a fourth in all");
        drop((one, two, three));
        assert_eq!(door.all.load(Ordering::Relaxed), 0);
        assert!(door.by_source.lock().unwrap().is_empty());
        // An IPv6 /64 is one source.
        let _a = enter(ip("2001:db8::1")).unwrap();
        let _b = enter(ip("2001:db8::2")).unwrap();
        assert!(enter(ip("2001:db8::3")).is_none());
    }

    #[test]
    fn bytes_out_are_bounded_by_source_and_day() {
        let door = door(|s| (s.limits.bytes_out_source_day.0, s.limits.bytes_out_day.0) = (100, 150));
        assert_eq!(door.sent(ip("192.0.2.1"), 100), None);
        let passed = door.sent(ip("192.0.2.1"), 1).unwrap();
        assert_eq!(
            (passed.limit, passed.value, passed.scope),
            ("bytes_out.source_day", 100, "source")
        );
        assert!(
            !door.enter().unwrap().is_of(ip("192.0.2.1")),
            "no new connection on this day"
        );
        assert_eq!(door.sent(ip("192.0.2.2"), 49), None);
        assert_eq!(door.sent(ip("192.0.2.3"), 1).unwrap().limit, "bytes_out.day");

        let mut out = BytesOut::default();
        assert_eq!(out.count(1, ip("192.0.2.1"), 7), (7, 7));
        assert_eq!(out.count(2, ip("192.0.2.1"), 3), (3, 3), "a new day");

        // A crowd of sources: those that had most stay known.
        let mut crowd = BytesOut::default();
        for n in 0..200_000u32 {
            let big = n % 1000 == 0;
            crowd.count(
                1,
                std::net::Ipv4Addr::from(n).into(),
                if big { 1 << 20 } else { 2000 },
            );
            assert!(crowd.by_source.len() <= METERED);
        }
        let known = (0..200_000u32)
            .step_by(1000)
            .all(|n| crowd.count(1, std::net::Ipv4Addr::from(n).into(), 0).0 == 1 << 20);
        assert!(known, "a source that had much is still known");

        // A new process goes on where the one before was.
        let earlier = |day, source, bytes| Earlier {
            day,
            source: ip(source),
            bytes,
        };
        out.go_on(&[
            earlier(2, "192.0.2.1", 90),
            earlier(2, "2001:db8::1", 5),
            earlier(1, "192.0.2.1", 999),
        ]);
        assert_eq!(out.count(2, ip("192.0.2.1"), 1), (94, 99));
        assert_eq!(
            out.count(2, source_key(ip("2001:db8::2")), 1),
            (6, 100),
            "one /64 is one source"
        );
    }

    /// What `peer` says of a connection that begins with these bytes, and what is left for the protocol.
    async fn said(from: &str, bytes: &[u8]) -> Option<(Peer, Vec<u8>)> {
        let door = door(|s| {
            s.proxy
                .from
                .push(crate::config::value::Network(from.parse::<Source>().unwrap()))
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut client, bytes)
            .await
            .unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut client).await.unwrap();
        let (mut stream, source) = listener.accept().await.unwrap();
        let local = stream.local_addr().unwrap();
        let peer = peer(&mut stream, &door, source, local).await?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        Some((peer, rest))
    }

    #[test]
    fn a_proxy_header_counts_from_listed_networks_only() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let line = b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 22\r\nSSH-2.0-x\r\n";
            let (peer, rest) = said("127.0.0.0/8", line).await.unwrap();
            assert_eq!(peer.source, "198.51.100.7:4711".parse().unwrap());
            assert_eq!(peer.local, "203.0.113.1:22".parse().unwrap());
            assert_eq!(peer.via.map(|v| v.ip()), Some(ip("127.0.0.1")));
            assert_eq!(rest, b"SSH-2.0-x\r\n", "the client's own bytes are untouched");

            let (peer, rest) = said("192.0.2.0/24", line).await.unwrap();
            assert_eq!((peer.source.ip(), peer.via), (ip("127.0.0.1"), None));
            assert_eq!(rest, line, "from elsewhere a header is what an intruder said");

            assert!(said("127.0.0.0/8", b"SSH-2.0-x\r\n").await.is_none());
            assert!(
                said("127.0.0.0/8", b"PROXY TCP4 198.51").await.is_none(),
                "cut short"
            );
        });
    }
}
