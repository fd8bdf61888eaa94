//! The decoys of this install: the machine from cover and image, its worlds, and the listeners in front of them.
//!
//! `options` says what the settings make of the machine and of its logins, `door` stands in front of every decoy.

mod door;
mod options;

pub use options::{
    TELNET_PACKAGES, check_image, how_to_log_in, policy_of, set_services, ssh_config, sshd_options,
};

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use turncoat_cover::{Cover, Secret};
use turncoat_decoys::auth::{Opens, Planted};
use turncoat_decoys::boot::{self, Snapshot};
use turncoat_decoys::journal::Birth;
use turncoat_decoys::machine::{Clock, Entropy, FailDelay};
use turncoat_decoys::refused::Ledger;
use turncoat_decoys::ssh::{Forward, MaxStartups, Ssh, Startups};
use turncoat_decoys::taken::{Noting, Taken};
use turncoat_decoys::telnet::Telnet;
use turncoat_decoys::worlds::{Again, Bounds, Keeping, Scope, Worlds};
use turncoat_event::Recorder;
use turncoat_kernel::image::Image;
use turncoat_store::privacy::hmac_sha256;

use super::front::FrontIo;
use super::{echo, now};
use crate::config::Settings;
use crate::config::table::{Outside, Scope as ScopeSetting, Watch};
use crate::config::value::Span;
use door::{Door, Service, accept};
use options::judge;

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

/// Reads the whole of a passed file, up to a bound.
pub fn read_passed(file: std::fs::File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = file.take(16 << 20).read_to_end(&mut bytes);
    bytes
}
