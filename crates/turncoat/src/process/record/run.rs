//! The life of the process: it opens the record, starts its threads, does what the supervisor orders, and ends in order.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use turncoat_event::kinds::{SystemStart, SystemStop};
use turncoat_event::{Committer, Draft, Mark, SensorId, Time};
use turncoat_store::{Durability, InstallKey, Layout, StoreError, Writer};

use super::front::read_front;
use super::watch::{keep, watch};
use super::{Pen, Shared, TellBlocked, Work, degraded};
use crate::config::Settings;
use crate::config::table::Durability as DurabilitySetting;
use crate::process::scribe::{Closed, Scribe, compress};
use crate::process::{Order, Passed, Report, Role, confine, control, now, out, requests, say, thread};

/// `turncoat process record`.
pub fn main(socket: OwnedFd) -> Result<(), String> {
    let tell = |e: std::io::Error| e.to_string();
    let Some((
        Order::Setup {
            data,
            settings,
            seed,
            passed,
            listening,
            own_networks,
            console,
            ..
        },
        fds,
    )) = control::receive(socket.as_fd()).map_err(tell)?
    else {
        return Err("started without a supervisor".into());
    };
    let (mut front, mut outward, mut asked) = (None, None, None);
    let (to_block, block_links) = channel();
    let mut pages = Vec::new();
    for (what, fd) in passed.into_iter().zip(fds) {
        match what {
            Passed::Link(Role::Front) => front = Some(UnixStream::from(fd)),
            Passed::Link(Role::Out) => outward = Some(UnixStream::from(fd)),
            Passed::Link(Role::Block) => drop(to_block.send(UnixStream::from(fd))),
            Passed::Requests => asked = Some(UnixListener::from(fd)),
            Passed::Console => pages.push(std::net::TcpListener::from(fd)),
            _ => {}
        }
    }
    let socket = Arc::new(socket);
    // Before confinement: afterwards only the data directory is there.
    let rules =
        crate::understand::rules(&settings).map_err(|why| crate::process::fatal(socket.as_fd(), why))?;
    let networks =
        crate::understand::networks(&settings).map_err(|why| crate::process::fatal(socket.as_fd(), why))?;
    let missing = confine::confine(Role::Record, &data, &[]);

    let fatal = |text: String| crate::process::fatal(socket.as_fd(), text);
    let layout = Layout::new(data);
    let durability = match settings.record.durability {
        DurabilitySetting::Process => Durability::Process,
        DurabilitySetting::Power => Durability::Power,
    };
    let sensor = settings
        .sensor
        .name
        .parse()
        .map_err(|e| fatal(format!("sensor.name: {e}")))?;
    let secrets = InstallKey::derive(&seed, "secret");
    let mut writer = open(&layout, &sensor, &secrets, durability).map_err(|e| fatal(e.to_string()))?;
    let interrupted = writer
        .close_interrupted(now())
        .map_err(|e| fatal(e.to_string()))?;
    let over = writer.end_worlds();

    let silent = interruption(&mut writer).map_err(|e| fatal(e.to_string()))?;
    let (committer, committed) = Committer::new();
    committer.committed(Mark(writer.last_seq()));
    let tell_supervisor = tell_supervisor(&settings, &socket);
    let shared = Arc::new(Shared {
        layout: layout.clone(),
        source_key: InstallKey::derive(&seed, "source"),
        settings: RwLock::new(Arc::new(*settings)),
        committed,
        listening: listening.clone(),
        own_networks,
        console: std::sync::OnceLock::new(),
        bell: crate::process::courier::Bell::default(),
        minded: crate::process::think::Minded::default(),
        rules,
        networks: Arc::new(networks),
        tell_supervisor,
        status: Mutex::default(),
        started: Instant::now(),
    });
    let (send, receive) = sync_channel(256);
    let pen = Pen(send);

    let (close, closed) = channel::<Closed>();
    for session in interrupted {
        let _ = close.send(Closed::Recording(session));
    }
    for world in over {
        let _ = close.send(Closed::Journal(world));
    }
    thread("compress", move || compress(&layout, &closed));
    let writing = Scribe {
        writer,
        shared: shared.clone(),
        committer,
        close,
        front: None,
        life: 0,
        mark: Mark::NONE,
    };
    let (ended, wait_for_end) = channel::<()>();
    let to_supervisor = socket.clone();
    thread("writer", move || {
        if let Err(why) = writing.run(&receive) {
            say("record", &why);
            let _ = control::send(to_supervisor.as_fd(), &Report::Fatal(why), &[]);
            // Front sees its stream end: its watermark stops and no gate opens any more.
            std::process::exit(5);
        }
        drop(ended);
    });
    if let Some(detail) = silent {
        pen.own(degraded("silent", &detail));
    }
    pen.own(Draft::of_system(
        now(),
        SystemStart {
            version: env!("CARGO_PKG_VERSION").into(),
            listening,
            missing_confinement: missing.clone(),
        },
    ));

    let mut lives = 0;
    if let Some(stream) = front {
        lives += 1;
        read_front(stream, lives, &pen, &shared)?;
    }
    let mut pumps = out::Pumps;
    if let Some(stream) = outward {
        pumps.start(stream, &shared, &pen);
    }
    if let Some(listener) = asked {
        let (shared, pen) = (shared.clone(), pen.clone());
        thread("requests", move || requests::serve(&listener, &shared, &pen));
    }
    crate::process::console::start(pages, console, &shared, &pen);
    {
        let (shared, pen) = (shared.clone(), pen.clone());
        thread("watch", move || watch(&shared, &pen));
    }
    {
        let (shared, pen) = (shared.clone(), pen.clone());
        thread("keep", move || keep(&shared, &pen));
    }
    {
        let (shared, pen) = (shared.clone(), pen.clone());
        thread("think", move || {
            crate::process::think::run(&shared, &pen, &block_links)
        });
    }
    control::send(socket.as_fd(), &Report::Ready { missing }, &[]).map_err(tell)?;

    let mut reason = "error";
    while let Ok(Some((order, fds))) = control::receive(socket.as_fd()) {
        match order {
            Order::Link {
                passed: Passed::Link(Role::Front),
                died,
            } => {
                if died {
                    pen.own(degraded(
                        "process-died",
                        "the front process died and was started anew; its sessions are closed",
                    ));
                }
                if let Some(fd) = fds.into_iter().next() {
                    lives += 1;
                    read_front(UnixStream::from(fd), lives, &pen, &shared)?;
                }
            }
            Order::Link {
                passed: Passed::Link(Role::Out),
                ..
            } => {
                if let Some(fd) = fds.into_iter().next() {
                    pumps.start(UnixStream::from(fd), &shared, &pen);
                }
            }
            Order::Link {
                passed: Passed::Link(Role::Block),
                ..
            } => {
                if let Some(fd) = fds.into_iter().next() {
                    let _ = to_block.send(UnixStream::from(fd));
                }
            }
            Order::Settings(new) => {
                *shared.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(*new)
            }
            Order::Administrators(nets) => shared.minded.administrators(nets),
            Order::Facts(facts) => shared.status().supervisor = facts,
            Order::Stop => {
                reason = "signal";
                break;
            }
            Order::Link { .. } | Order::Setup { .. } | Order::Plants(_) => {}
        }
    }
    pen.own(Draft::of_system(
        now(),
        SystemStop {
            reason: reason.into(),
        },
    ));
    let _ = pen.0.send(Work::Stop);
    let _ = wait_for_end.recv_timeout(Duration::from_secs(5));
    // What the last events were goes to the outputs, within reason.
    let last = shared.committed.committed().0;
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until
        && shared
            .status()
            .outputs
            .iter()
            .any(|o| o.seq < last && o.trouble.is_empty())
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Opens the record. The process of a run that was killed may still hold it for a moment: that is waited for.
fn open(
    layout: &Layout,
    sensor: &SensorId,
    key: &InstallKey,
    durability: Durability,
) -> Result<Writer, StoreError> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match Writer::open(layout, sensor, key.clone(), durability) {
            Err(StoreError::InUse(_)) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20))
            }
            other => return other,
        }
    }
}

/// What the record says of how the program ended the last time, if that was not in order.
fn interruption(writer: &mut Writer) -> Result<Option<String>, StoreError> {
    use turncoat_store::rusqlite::OptionalExtension;
    let last: Option<(bool, i64)> = writer
        .database()
        .query_row(
            "SELECT kind = 'system.stop' AND json_extract(fields, '$.reason') = 'signal', time FROM event \
             WHERE kind IN ('heartbeat', 'system.start', 'system.stop') ORDER BY seq DESC LIMIT 1",
            [],
            |r| Ok((r.get(0)?, r.get(1)?)),
        )
        .optional()?;
    Ok(last.filter(|(in_order, _)| !in_order).map(|(_, time)| {
        format!(
            "the program or its record ended without being told to; the last sign of life was {}",
            Time(time)
        )
    }))
}

/// How the supervisor is told what is blocked, for the operator's command.
fn tell_supervisor(settings: &Settings, socket: &Arc<OwnedFd>) -> TellBlocked {
    if settings.block.command.is_empty() {
        return Box::new(|_| {});
    }
    let socket = socket.clone();
    Box::new(move |blocked| {
        // A message between processes has a bound: 2,000 networks are about 100 KiB.
        let blocked = blocked.iter().take(2_000).copied().collect();
        let _ = control::send(socket.as_fd(), &Report::Blocked(blocked), &[]);
    })
}
