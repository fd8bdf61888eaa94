//! The stream from a front, taken apart into work for the writer.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use turncoat_event::Mark;

use super::{Pen, Shared, Work};
use crate::process::link::{Decoder, Message, Pieces};
use crate::process::{say, thread};

/// Reads one front's stream until it ends.
pub(super) fn read_front(
    stream: UnixStream,
    life: u64,
    pen: &Pen,
    shared: &Arc<Shared>,
) -> Result<(), String> {
    let to = stream.try_clone().map_err(|e| e.to_string())?;
    let (pen, shared) = (pen.clone(), shared.clone());
    pen.0.send(Work::Begin { life, to }).map_err(|e| e.to_string())?;
    thread("front", move || {
        if let Err(why) = read_items(stream, life, &pen, &shared) {
            say("record", &why);
        }
        let _ = pen.0.send(Work::End { life });
    });
    Ok(())
}

fn read_items(mut stream: UnixStream, life: u64, pen: &Pen, shared: &Shared) -> Result<(), String> {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 256 << 10];
    let mut last = Mark::NONE;
    let mut disk = Pieces::default();
    let mut checkpoint = Pieces::default();
    let mut cut = Pieces::default();
    loop {
        let read = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => buffer.get(..n).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        decoder.push(read);
        shared.status().front_seen = Some(Instant::now());
        let mut items = Vec::new();
        // What is said of worlds comes behind the items before it.
        let mut after = Vec::new();
        loop {
            match decoder.next_message().map_err(|e| e.to_string())? {
                Some(Message::Item(mark, item)) if mark > last => {
                    last = mark;
                    items.push((mark, item));
                }
                Some(Message::Keep(world, kept)) => after.push(Work::Keep(world, kept)),
                Some(Message::Fetch(world)) => after.push(Work::Fetch { life, world }),
                Some(Message::Disk { world, last, bytes }) => {
                    if let Some(bytes) = disk.add((world, 0), bytes, last) {
                        after.push(Work::Disk(world, bytes));
                    }
                }
                Some(Message::Checkpoint {
                    world,
                    at,
                    most,
                    last,
                    bytes,
                }) => {
                    if let Some(bytes) = checkpoint.add((world, at), bytes, last) {
                        after.push(Work::Checkpoint(world, (at, most), bytes));
                    }
                }
                Some(Message::Cut {
                    world,
                    from,
                    head,
                    last,
                    bytes,
                }) => {
                    if let Some(mut head_and_more) = cut.add((world, from), bytes, last) {
                        let behind = usize::try_from(head).unwrap_or(usize::MAX);
                        let checkpoint = head_and_more.split_off(behind.min(head_and_more.len()));
                        after.push(Work::Cut {
                            life,
                            world,
                            from,
                            head: head_and_more,
                            checkpoint,
                        });
                    }
                }
                Some(Message::Facts(text)) => {
                    shared.status().front = serde_json::from_str(&text).unwrap_or_default()
                }
                Some(Message::Hello(_)) => {}
                Some(_) => return Err("front said what it may not".into()),
                None => break,
            }
        }
        if !items.is_empty() {
            pen.0
                .send(Work::Items { life, items })
                .map_err(|e| e.to_string())?;
        }
        for work in after {
            pen.0.send(work).map_err(|e| e.to_string())?;
        }
    }
}
