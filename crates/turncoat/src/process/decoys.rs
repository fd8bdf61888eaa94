//! The decoys of this install: the machine from cover and image, its worlds, and the listeners in front of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use turncoat_cover::Cover;
use turncoat_decoys::auth::{Judge, Limits, Planted, Policy, UserDb, source_key};
use turncoat_decoys::boot::{self, Snapshot};
use turncoat_decoys::machine::{Clock, Entropy, FailDelay};
use turncoat_decoys::ssh::{Forward, Peer, Ssh, serve as serve_ssh};
use turncoat_decoys::worlds::{Bounds, Scope, Worlds};
use turncoat_event::Recorder;
use turncoat_kernel::image::Image;
use turncoat_ssh::{HostKey, Moduli, PermitRootLogin, ServerConfig};
use turncoat_store::privacy::hmac_sha256;

use super::front::{Ending, FrontIo};
use super::{echo, now, say};
use crate::config::Settings;
use crate::config::table::{Outside, Policy as PolicySetting, Scope as ScopeSetting, Watch};

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
    vec![
        ("PermitRootLogin".into(), root.into()),
        ("PasswordAuthentication".into(), "yes".into()),
    ]
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
    if let (Some(file), Some(machine)) = (io.image.take(), io.machine.take()) {
        let mut cover = machine.cover(&io.seed)?;
        cover.sshd_options = sshd_options(&settings);
        let image = Image::open(file).map_err(|e| e.to_string())?;
        let ssh = Arc::new(ssh_decoy(&io, &settings, cover, image)?);
        let door = Arc::new(Door::new(&io));
        let (machine, plants) = (ssh.machine.clone(), io.plants.clone());
        super::thread("plants", move || {
            while let Ok(now) = plants.lock().unwrap_or_else(PoisonError::into_inner).recv() {
                machine
                    .judge
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .set_planted(planted(now));
            }
        });
        for (decoy, listener) in decoys {
            if decoy == "ssh" {
                runtime.spawn(accept(listener, ssh.clone(), door.clone(), io.ending.clone()));
            }
        }
    } else if !decoys.is_empty() {
        return Err("started without an image".into());
    }
    ready();
    echo::serve(io);
    runtime.shutdown_timeout(Duration::from_secs(2));
    Ok(())
}

/// What decoys know of planted things.
fn planted(plants: Vec<crate::plant::Plant>) -> Vec<Planted> {
    plants
        .into_iter()
        .map(|p| Planted {
            place: p.place(),
            id: p.id,
            user: p.user.into_bytes(),
            secret: p.password.map(String::into_bytes),
            fingerprint: p.fingerprint,
            kind: p.kind,
            revoked: p.revoked,
        })
        .collect()
}

fn ssh_decoy(io: &FrontIo, settings: &Settings, cover: Cover, image: Arc<Image>) -> Result<Ssh, String> {
    let recorder: Arc<dyn Recorder> = io.recorder.clone();
    let clock: Clock = Arc::new(now);
    let random: Entropy = Arc::new(entropy);
    let config = Arc::new(ssh_config(settings, &cover, &image)?);
    let outside = match settings.world.outside {
        Outside::Unreachable => boot::Outside::Unreachable,
        Outside::Timeout => boot::Outside::Timeout,
        Outside::Refused => boot::Outside::Refused,
        Outside::Sink => boot::Outside::Sink,
    };
    let names = (image.id().to_string(), cover.host.fqdn());
    let accounts: BTreeSet<Vec<u8>> = cover
        .users
        .iter()
        .map(|u| u.name.clone().into_bytes())
        .chain([b"root".to_vec()])
        .collect();
    let snapshot = Snapshot::boot(&cover, image, outside, now(), &random)?;
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
        ..Bounds::default()
    };
    let make_random = random.clone();
    let snapshot = Arc::new(Mutex::new(snapshot));
    let worlds = Worlds::start(
        Arc::new(move || {
            snapshot
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .fresh(&make_random)
        }),
        scope,
        bounds,
        threads,
        recorder.clone(),
        clock.clone(),
        random.clone(),
    )
    .map_err(|e| e.to_string())?;
    let policy = match policy_of(settings) {
        PolicySetting::AfterTries | PolicySetting::Auto => Policy::AfterTries {
            min: u32::try_from(settings.ssh_auth.min_tries).unwrap_or(2).max(1),
            max: u32::try_from(settings.ssh_auth.max_tries).unwrap_or(5).max(1),
        },
        PolicySetting::List => {
            Policy::List(UserDb::parse(&io.userdb).map_err(|e| format!("ssh.auth.file: {e}"))?)
        }
        PolicySetting::Never => Policy::Never,
        PolicySetting::Tokens => Policy::Tokens,
    };
    let judge = Judge::new(policy, hmac_sha256(&io.seed, b"tries"), Limits::default());
    Ok(Ssh {
        config,
        machine: Arc::new(turncoat_decoys::Machine {
            recorder,
            worlds,
            judge: Mutex::new(judge),
            accounts: RwLock::new(accounts),
            fail_delay: if settings.ssh_auth.fail_delay {
                FailDelay::PAM
            } else {
                FailDelay::NONE
            },
            clock,
            entropy: random,
            names,
        }),
        bytes_out: settings.limits.bytes_out_session.0,
        forward: match settings.world.outside {
            Outside::Unreachable => Forward::Unreachable,
            Outside::Refused => Forward::Refused,
            Outside::Timeout | Outside::Sink => Forward::Timeout,
        },
    })
}

/// The server's configuration: versions from the image's packages, keys from the cover, permissions from the policy.
fn ssh_config(settings: &Settings, cover: &Cover, image: &Image) -> Result<ServerConfig, String> {
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
    config.permit_root_login = match policy_of(settings) {
        PolicySetting::AfterTries | PolicySetting::List => PermitRootLogin::Yes,
        _ => PermitRootLogin::ProhibitPassword,
    };
    Ok(config)
}

/// Counts connections, in all and by source.
struct Door {
    settings: Arc<RwLock<Arc<Settings>>>,
    recorder: Arc<super::front::LinkRecorder>,
    all: AtomicUsize,
    by_source: Mutex<BTreeMap<IpAddr, u64>>,
}

impl Door {
    fn new(io: &FrontIo) -> Door {
        Door {
            settings: io.settings.clone(),
            recorder: io.recorder.clone(),
            all: AtomicUsize::new(0),
            by_source: Mutex::default(),
        }
    }

    /// Lets a connection in, if it may come.
    fn enter(self: &Arc<Self>, source: IpAddr) -> Option<Inside> {
        let limits = self
            .settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .limits
            .clone();
        if !self.recorder.accepting() || self.all.load(Ordering::Relaxed) as u64 >= limits.connections {
            return None;
        }
        let source = source_key(source);
        let mut map = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        let count = map.entry(source).or_default();
        if *count >= limits.connections_per_source {
            return None;
        }
        *count += 1;
        self.all.fetch_add(1, Ordering::Relaxed);
        Some(Inside {
            door: self.clone(),
            source,
        })
    }
}

/// A connection that was let in, until it is dropped.
struct Inside {
    door: Arc<Door>,
    source: IpAddr,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.door.all.fetch_sub(1, Ordering::Relaxed);
        let mut map = self.door.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = map.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                map.remove(&self.source);
            }
        }
    }
}

async fn accept(listener: TcpListener, ssh: Arc<Ssh>, door: Arc<Door>, ending: Ending) {
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
        let (stream, source) = match accepted {
            Ok(pair) => pair,
            Err(error) => {
                // Out of descriptors or memory: what is open goes on, and new ones wait.
                say("front", &format!("accept: {error}"));
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let plain = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        let (Some(inside), Ok(local)) = (door.enter(source.ip()), stream.local_addr()) else {
            continue;
        };
        let peer = Peer {
            source: plain(source),
            local: plain(local),
            via: None,
        };
        let (ssh, ending) = (ssh.clone(), ending.clone());
        tokio::spawn(async move {
            serve_ssh(ssh, stream, peer, ending.told()).await;
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
