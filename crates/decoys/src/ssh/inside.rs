//! The machine's own sshd, as programs of the world reach it: `ssh localhost` leads back into the world that it comes from.
//!
//! The connection is a session of its own on record, of the same source, linked to the one whose program made it. Nobody is let in by
//! policy here: accounts, passwords and keys are the world's.

use super::Ssh;
use super::connection::{Inside, Peer, serve_on};
use crate::worlds::{Arrival, Handle, Input, Produced};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use turncoat_event::Mark;

/// Bytes between the world and the server each way.
const BUFFER: usize = 64 << 10;
/// Connections of this kind at once, over all worlds.
const MOST: usize = 256;

/// Serves what arrives, until the sender is gone.
pub async fn serve_arrivals(ssh: Arc<Ssh>, mut arrivals: mpsc::UnboundedReceiver<Arrival>) {
    let room = Arc::new(tokio::sync::Semaphore::new(MOST));
    while let Some(arrival) = arrivals.recv().await {
        let Some(world) = ssh.machine.worlds.by_id(arrival.world) else {
            continue;
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            // As a server with too many that have not logged in: it hangs up.
            world.input(arrival.conn, Input::Close, Mark::NONE);
            continue;
        };
        let ssh = ssh.clone();
        tokio::spawn(async move {
            serve(ssh, world, arrival).await;
            drop(permit);
        });
    }
}

async fn serve(ssh: Arc<Ssh>, world: Handle, mut arrival: Arrival) {
    let source = arrival.origin.src_ip.map_or(arrival.from, |ip| {
        SocketAddr::new(ip, arrival.origin.src_port.unwrap_or(0))
    });
    let peer = Peer {
        source,
        local: arrival.to,
        via: None,
    };
    let inside = Inside {
        world: world.clone(),
        from: arrival.from,
        by: arrival.origin.session,
    };
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    let (mut read, mut write) = tokio::io::split(theirs);
    let conn = arrival.conn;
    // Bytes that the program has not taken yet, and a sign when it has taken some.
    let (held, taken) = (AtomicU64::new(0), Notify::new());
    // What the program took is told behind what it says: that must be read on even while the server does not take the latter.
    let inward = async {
        let (mut queue, mut done, mut over) = (VecDeque::<Vec<u8>>::new(), 0, false);
        loop {
            let front = queue.front().and_then(|b| b.get(done..)).unwrap_or_default();
            tokio::select! {
                output = arrival.says.recv() => match output.map(|o| o.what) {
                    Some(Produced::Data { bytes, .. }) => queue.push_back(bytes),
                    Some(Produced::Took { bytes, .. }) => {
                        held.fetch_sub(bytes as u64, Ordering::Relaxed);
                        taken.notify_one();
                    }
                    Some(Produced::Eof { .. }) => over = true,
                    Some(Produced::Down) | None => return,
                    Some(_) => {}
                },
                wrote = write.write(front), if !queue.is_empty() => {
                    let Ok(n @ 1..) = wrote else { return };
                    arrival.waiting.fetch_sub(n as u64, Ordering::Relaxed);
                    done += n;
                    if queue.front().is_some_and(|b| b.len() <= done) {
                        queue.pop_front();
                        done = 0;
                    }
                }
            }
            if over && queue.is_empty() {
                over = false;
                let _ = write.shutdown().await;
            }
        }
    };
    let outward = async {
        let mut buffer = vec![0; BUFFER];
        loop {
            while held.load(Ordering::Relaxed) > BUFFER as u64 {
                taken.notified().await;
            }
            // What the server says has left its gate: it depends on nothing that is not on record.
            match read.read(&mut buffer).await {
                Ok(n) if n > 0 => {
                    held.fetch_add(n as u64, Ordering::Relaxed);
                    let bytes = buffer.get(..n).unwrap_or_default().to_vec();
                    world.input(conn, Input::Data(bytes), Mark::NONE);
                }
                _ => break,
            }
        }
        world.input(conn, Input::Eof, Mark::NONE);
    };
    let (read_half, write_half) = tokio::io::split(ours);
    let served = serve_on(
        ssh,
        read_half,
        write_half,
        peer,
        Some(inside),
        std::future::pending(),
    );
    tokio::select! {
        _ = async { tokio::join!(served, outward) } => {}
        () = async { inward.await; std::future::pending::<()>().await } => {}
    }
    world.input(conn, Input::Close, Mark::NONE);
}
