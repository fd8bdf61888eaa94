//! The decoy for trying the record out: it greets, and says back each line that it is told, once that line is on record.
//!
//! A thread a connection, at most 256 of them: it is for tests and for a first look, not for the internet.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use turncoat_event::kinds::{CommandInput, SessionClose, SessionOpen};
use turncoat_event::{
    Bytes, Chunk, Direction, Draft, Frame, Gate, Item, Mark, Origin, Recorder, Refused, SessionId,
};

use super::front::{Ending, FrontIo, LinkRecorder};
use super::{now, say};

/// The most connections at once.
const MOST: usize = 256;

/// Serves until the program ends.
pub fn serve(io: FrontIo) {
    let open = Arc::new(AtomicUsize::new(0));
    for (decoy, listener) in io.listeners {
        let (recorder, ending, open) = (io.recorder.clone(), io.ending.clone(), open.clone());
        if decoy != "echo" {
            continue;
        }
        super::thread("echo", move || {
            while let Ok((stream, _)) = listener.accept() {
                if ending.now() || !recorder.accepting() || open.fetch_add(1, Ordering::SeqCst) >= MOST {
                    open.fetch_sub(
                        usize::from(!ending.now() && recorder.accepting()),
                        Ordering::SeqCst,
                    );
                    continue;
                }
                let (recorder, ending, open) = (recorder.clone(), ending.clone(), open.clone());
                super::thread("visit", move || {
                    if let Err(why) = visit(stream, &recorder, &ending) {
                        say("echo", &why);
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
    }
    while !io.ending.wait(Duration::from_secs(3600)) {}
    // Visits notice within their read timeout, and their last events go out.
    let started = std::time::Instant::now();
    while open.load(Ordering::SeqCst) > 0 && started.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Hands over, and waits while too much is on its way.
fn submit(recorder: &LinkRecorder, item: Item) -> Result<Mark, String> {
    loop {
        match recorder.submit(item.clone()) {
            Ok(mark) => return Ok(mark),
            Err(Refused::Full) => std::thread::sleep(Duration::from_millis(2)),
            Err(refused) => return Err(refused.to_string()),
        }
    }
}

/// Entropy from the kernel; no file is opened.
fn entropy() -> [u8; 10] {
    let mut bytes = [0u8; 10];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes
}

fn visit(mut stream: TcpStream, recorder: &LinkRecorder, ending: &Ending) -> Result<(), String> {
    let tell = |e: std::io::Error| e.to_string();
    let (src, dst) = (
        stream.peer_addr().map_err(tell)?,
        stream.local_addr().map_err(tell)?,
    );
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .map_err(tell)?;
    stream
        .set_write_timeout(Some(Duration::from_secs(30)))
        .map_err(tell)?;
    let began = now();
    let session = SessionId::new(began, entropy());
    let origin = Origin::session(session, src, dst, "echo");
    let event = |kind: turncoat_event::Kind| -> Draft { origin.at(now(), kind) };
    let frame = |direction, bytes: &[u8]| Frame {
        session,
        time: now(),
        channel: 0,
        direction,
        bytes: bytes.to_vec(),
    };
    let mut gate = Gate::new(recorder.watermark().clone());
    let mut answer = |stream: &mut TcpStream, after: Mark, bytes: Vec<u8>| -> Result<u64, String> {
        let count = bytes.len() as u64;
        gate.push(Chunk { bytes, after });
        while !recorder
            .watermark()
            .wait(after, Duration::from_secs(60))
            .map_err(|e| e.to_string())?
        {}
        match gate.take() {
            Some(released) => stream.write_all(released.as_ref()).map(|()| count).map_err(tell),
            None => Ok(0),
        }
    };

    let opened = submit(recorder, event(SessionOpen { via: None }.into()).into())?;
    let (mut bytes_in, mut bytes_out, mut line) = (0u64, 0u64, Vec::new());
    bytes_out += answer(&mut stream, opened, b"hello\n".to_vec()).unwrap_or(0);
    let mut buffer = [0u8; 4096];
    let reason = 'talk: loop {
        let read = match stream.read(&mut buffer) {
            Ok(0) => break "client",
            Ok(n) => buffer.get(..n).unwrap_or_default(),
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                if ending.now() {
                    break "shutdown";
                }
                continue;
            }
            Err(_) => break "error",
        };
        bytes_in += read.len() as u64;
        submit(recorder, frame(Direction::Input, read).into())?;
        let mut back = Vec::new();
        for &byte in read {
            line.push(byte);
            if byte == b'\n' {
                back.extend_from_slice(&line);
                line.pop();
                let heard = CommandInput {
                    line: Bytes(std::mem::take(&mut line)),
                    reader: None,
                    pid: None,
                };
                submit(recorder, event(heard.into()).into())?;
            } else if line.len() > 4096 {
                break 'talk "limit";
            }
        }
        if !back.is_empty() {
            let mark = submit(recorder, frame(Direction::Output, &back).into())?;
            match answer(&mut stream, mark, back) {
                Ok(n) => bytes_out += n,
                Err(_) => break "error",
            }
        }
        // More events than its share: what comes next is not read yet.
        let began_waiting = std::time::Instant::now();
        loop {
            let wait = recorder.pace(&origin);
            if wait.is_zero() || ending.now() || began_waiting.elapsed() > Duration::from_secs(60) {
                break;
            }
            std::thread::sleep(wait.min(Duration::from_millis(200)));
        }
    };
    let duration_ms = u64::try_from(now().since(began) / 1_000_000).unwrap_or(0);
    let closed = SessionClose {
        reason: reason.into(),
        bytes_in,
        bytes_out,
        duration_ms,
    };
    let mark = submit(recorder, event(closed.into()).into())?;
    // The connection is closed only when its end is on record.
    let _ = recorder.watermark().wait(mark, Duration::from_secs(10));
    Ok(())
}
