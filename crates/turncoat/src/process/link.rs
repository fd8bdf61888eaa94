//! The stream between `front` and `record`, and between `record` and `out`: length-prefixed messages, without I/O.
//!
//! A message is `length: u32 (of what follows), type: u8, body`, little-endian. Both ends are the same build, started by one
//! supervisor; the first message is the version all the same, so that a mix-up ends in words. The reader trusts nothing:
//! `front` is the process that outsiders reach.

use std::net::{IpAddr, Ipv6Addr};

use turncoat_event::record::{ARTIFACT_MAX, FRAME_MAX};
use turncoat_event::{
    Artifact, Bytes, Direction, Draft, Frame, Item, Journal, Mark, SessionId, Sha256, Time, WorldId,
};

/// The version of this format.
pub const VERSION: u8 = 4;

/// The longest piece of a world in one message.
pub const PIECE: usize = 1 << 20;

/// The longest message.
const LONGEST: usize = ARTIFACT_MAX + 1024;

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The first of every stream.
    Hello(u8),
    /// From front: something for the record.
    Item(Mark, Item),
    /// From front: facts for `status`, JSON.
    Facts(String),
    /// From front: what is to be remembered of a world, JSON; empty: it will not be asked for again.
    Keep(WorldId, String),
    /// From front: a piece of a world's disk.
    Disk {
        /// The world.
        world: WorldId,
        /// The disk is whole with this piece.
        last: bool,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// From front: a piece of a checkpoint.
    Checkpoint {
        /// The world.
        world: WorldId,
        /// The byte of its journal that it stands at.
        at: u64,
        /// Bytes of all checkpoints of the world that are kept.
        most: u64,
        /// The checkpoint is whole with this piece.
        last: bool,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// From front: what lies before a checkpoint in a world's journal is to be dropped. A piece of what stands there instead, and of
    /// the checkpoint behind it.
    Cut {
        /// The world.
        world: WorldId,
        /// The first byte of the journal that stays.
        from: u64,
        /// So many bytes stand before it instead.
        head: u64,
        /// All is there with this piece.
        last: bool,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// From front: it wants what there is of a world.
    Fetch(WorldId),
    /// To front: a world of before that is remembered.
    Kept(WorldId, String),
    /// To front: a piece of what there is of a world that it wants.
    Stored {
        /// The world.
        world: WorldId,
        /// Of what; all of one comes before the next.
        part: Part,
        /// That is all of it.
        last: bool,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// To front: everything up to here is committed.
    Committed(Mark),
    /// To front: new sessions may begin, or not.
    Accepting(bool),
    /// To front: what was sent to a source before it began, on one day (UTC, counted from 1970).
    Sent {
        /// The day.
        day: i64,
        /// The source.
        source: IpAddr,
        /// How much, in bytes.
        bytes: u64,
    },
    /// To front: which session read a bait last, before it began.
    Taken {
        /// The bait.
        bait: String,
        /// The session.
        session: SessionId,
    },
    /// To out: an event for an output, as JSON.
    Deliver {
        /// Number of the output.
        output: u8,
        /// Number of the event.
        seq: u64,
        /// The event, as JSON.
        event: String,
    },
    /// From out: this output has all events up to here.
    Delivered {
        /// Number of the output.
        output: u8,
        /// Number of the event.
        seq: u64,
    },
    /// To out: a letter for a way of alerts, as JSON.
    Post {
        /// Number of the way.
        way: u8,
        /// Number in the outbox.
        id: u64,
        /// The letter, as JSON.
        letter: String,
    },
    /// From out: what became of a letter.
    Posted {
        /// Number in the outbox.
        id: u64,
        /// Why it was not taken; empty when it was.
        error: String,
    },
    /// To out: the record works.
    Alive,
    /// From out: how this output is.
    Trouble {
        /// Number of the output.
        output: u8,
        /// What is wrong; empty when nothing is.
        detail: String,
    },
}

/// What there is of a world, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its journal.
    Journal = 0,
    /// Its disk.
    Disk = 1,
    /// The newest checkpoint in its journal.
    Checkpoint = 2,
}

/// The pieces in which bytes go, each with whether it is the last; no bytes are one empty piece.
pub fn pieces(bytes: &[u8]) -> impl Iterator<Item = (Vec<u8>, bool)> {
    let last = bytes.len().saturating_sub(1) / PIECE;
    (0..=last).map(move |n| {
        let piece = bytes.chunks(PIECE).nth(n).unwrap_or_default();
        (piece.to_vec(), n == last)
    })
}

/// Puts together what comes in pieces, one thing at a time: pieces of another mean that this one was given up.
#[derive(Default)]
pub struct Pieces {
    of: Option<(WorldId, u64)>,
    bytes: Vec<u8>,
}

impl Pieces {
    /// Adds a piece; gives the whole with the last one.
    pub fn add(&mut self, of: (WorldId, u64), piece: Vec<u8>, last: bool) -> Option<Vec<u8>> {
        if self.of != Some(of) || self.bytes.len() + piece.len() > turncoat_store::world::DISK_MAX {
            (self.of, self.bytes) = (Some(of), Vec::new());
        }
        self.bytes.extend(piece);
        if !last {
            return None;
        }
        self.of = None;
        Some(std::mem::take(&mut self.bytes))
    }
}

/// Not a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a malformed message between processes: {}", self.0)
    }
}

/// Appends the written form of a message.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    match message {
        Message::Hello(version) => out.extend_from_slice(&[0, *version]),
        Message::Item(mark, item) => encode_item(*mark, item, out),
        Message::Facts(json) => {
            out.push(4);
            out.extend_from_slice(json.as_bytes());
        }
        Message::Keep(world, kept) => {
            out.push(6);
            out.extend_from_slice(&world.0);
            out.extend_from_slice(kept.as_bytes());
        }
        Message::Disk { world, last, bytes } => {
            out.push(7);
            out.extend_from_slice(&world.0);
            out.push(u8::from(*last));
            out.extend_from_slice(bytes);
        }
        Message::Checkpoint {
            world,
            at: place,
            most: number,
            last,
            bytes,
        }
        | Message::Cut {
            world,
            from: place,
            head: number,
            last,
            bytes,
        } => {
            out.push(if matches!(message, Message::Cut { .. }) {
                16
            } else {
                9
            });
            out.extend_from_slice(&world.0);
            out.extend_from_slice(&place.to_le_bytes());
            out.extend_from_slice(&number.to_le_bytes());
            out.push(u8::from(*last));
            out.extend_from_slice(bytes);
        }
        Message::Fetch(world) => {
            out.push(8);
            out.extend_from_slice(&world.0);
        }
        Message::Kept(world, kept) => {
            out.push(13);
            out.extend_from_slice(&world.0);
            out.extend_from_slice(kept.as_bytes());
        }
        Message::Stored {
            world,
            part,
            last,
            bytes,
        } => {
            out.push(14);
            out.extend_from_slice(&world.0);
            out.extend_from_slice(&[*part as u8, u8::from(*last)]);
            out.extend_from_slice(bytes);
        }
        Message::Committed(mark) => {
            out.push(10);
            out.extend_from_slice(&mark.0.to_le_bytes());
        }
        Message::Accepting(yes) => out.extend_from_slice(&[11, u8::from(*yes)]),
        Message::Sent { day, source, bytes } => {
            out.push(12);
            out.extend_from_slice(&day.to_le_bytes());
            out.extend_from_slice(&bytes.to_le_bytes());
            let long = match source {
                IpAddr::V4(short) => short.to_ipv6_mapped(),
                IpAddr::V6(long) => *long,
            };
            out.extend_from_slice(&long.octets());
        }
        Message::Taken { bait, session } => {
            out.push(15);
            out.extend_from_slice(&session.0);
            out.extend_from_slice(bait.as_bytes());
        }
        Message::Deliver { output, seq, event } => {
            out.extend_from_slice(&[20, *output]);
            out.extend_from_slice(&seq.to_le_bytes());
            out.extend_from_slice(event.as_bytes());
        }
        Message::Delivered { output, seq } => {
            out.extend_from_slice(&[21, *output]);
            out.extend_from_slice(&seq.to_le_bytes());
        }
        Message::Post { way, id, letter } => {
            out.extend_from_slice(&[30, *way]);
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(letter.as_bytes());
        }
        Message::Posted { id, error } => {
            out.push(31);
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(error.as_bytes());
        }
        Message::Alive => out.push(32),
        Message::Trouble { output, detail } => {
            out.extend_from_slice(&[22, *output]);
            out.extend_from_slice(detail.as_bytes());
        }
    }
    let length = u32::try_from(out.len() - start - 4)
        .unwrap_or(u32::MAX)
        .to_le_bytes();
    if let Some(head) = out.get_mut(start..start + 4) {
        head.copy_from_slice(&length);
    }
}

fn encode_item(mark: Mark, item: &Item, out: &mut Vec<u8>) {
    let code = match item {
        Item::Event(_) => 1,
        Item::Frame(_) => 2,
        Item::Artifact(_) => 3,
        Item::Journal(_) => 5,
    };
    out.push(code);
    out.extend_from_slice(&mark.0.to_le_bytes());
    match item {
        // An event is plain data with a derived written form: writing it to memory cannot fail.
        Item::Event(draft) => drop(serde_json::to_writer(&mut *out, draft)),
        Item::Frame(frame) => {
            out.extend_from_slice(&frame.session.0);
            out.extend_from_slice(&frame.time.0.to_le_bytes());
            out.extend_from_slice(&frame.channel.to_le_bytes());
            out.push(match frame.direction {
                Direction::Input => 0,
                Direction::Output => 1,
                Direction::Resize => 2,
            });
            out.extend_from_slice(&frame.bytes);
        }
        Item::Artifact(artifact) => {
            out.extend_from_slice(&artifact.sha256.0);
            out.extend_from_slice(artifact.content.as_slice());
        }
        Item::Journal(piece) => {
            out.extend_from_slice(&piece.world.0);
            out.push(u8::from(piece.last));
            out.extend_from_slice(&piece.bytes);
        }
    }
}

/// Takes apart what one message holds.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed("too short"))?;
        self.0 = rest;
        Ok(*head)
    }
    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.take()?))
    }
    fn number(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.take()?))
    }
    fn piece(self) -> Result<Vec<u8>, Malformed> {
        if self.0.len() > PIECE {
            return Err(Malformed("a piece of a world is too long"));
        }
        Ok(self.0.to_vec())
    }
    fn text(self) -> Result<String, Malformed> {
        String::from_utf8(self.0.to_vec()).map_err(|_| Malformed("not UTF-8"))
    }
}

fn decode(body: &[u8]) -> Result<Message, Malformed> {
    let mut body = Body(body);
    Ok(match body.byte()? {
        0 => Message::Hello(body.byte()?),
        1 => {
            let mark = Mark(body.number()?);
            let draft: Draft = serde_json::from_slice(body.0).map_err(|_| Malformed("not an event"))?;
            Message::Item(mark, Item::Event(Box::new(draft)))
        }
        2 => {
            let mark = Mark(body.number()?);
            let session = SessionId(body.take()?);
            let time = Time(i64::from_le_bytes(body.take()?));
            let channel = u16::from_le_bytes(body.take()?);
            let direction = match body.byte()? {
                0 => Direction::Input,
                1 => Direction::Output,
                2 => Direction::Resize,
                _ => return Err(Malformed("no direction")),
            };
            if body.0.len() > FRAME_MAX {
                return Err(Malformed("a frame is too long"));
            }
            Message::Item(
                mark,
                Item::Frame(Frame {
                    session,
                    time,
                    channel,
                    direction,
                    bytes: body.0.to_vec(),
                }),
            )
        }
        3 => {
            let mark = Mark(body.number()?);
            let sha256 = Sha256(body.take()?);
            if body.0.len() > ARTIFACT_MAX || turncoat_store::artifact::sha256(body.0) != sha256 {
                return Err(Malformed("an artifact is not what its name says"));
            }
            Message::Item(
                mark,
                Item::Artifact(Artifact {
                    sha256,
                    content: Bytes(body.0.to_vec()),
                }),
            )
        }
        4 => Message::Facts(body.text()?),
        5 => {
            let mark = Mark(body.number()?);
            let world = WorldId(body.take()?);
            let last = body.byte()? != 0;
            if body.0.len() > FRAME_MAX {
                return Err(Malformed("a piece of a journal is too long"));
            }
            Message::Item(
                mark,
                Item::Journal(Journal {
                    world,
                    bytes: body.0.to_vec(),
                    last,
                }),
            )
        }
        6 => Message::Keep(WorldId(body.take()?), body.text()?),
        7 => {
            let (world, last) = (WorldId(body.take()?), body.byte()? != 0);
            let bytes = body.piece()?;
            Message::Disk { world, last, bytes }
        }
        9 => Message::Checkpoint {
            world: WorldId(body.take()?),
            at: body.number()?,
            most: body.number()?,
            last: body.byte()? != 0,
            bytes: body.piece()?,
        },
        16 => Message::Cut {
            world: WorldId(body.take()?),
            from: body.number()?,
            head: body.number()?,
            last: body.byte()? != 0,
            bytes: body.piece()?,
        },
        8 => Message::Fetch(WorldId(body.take()?)),
        13 => Message::Kept(WorldId(body.take()?), body.text()?),
        14 => Message::Stored {
            world: WorldId(body.take()?),
            part: match body.byte()? {
                0 => Part::Journal,
                1 => Part::Disk,
                2 => Part::Checkpoint,
                _ => return Err(Malformed("no part of a world")),
            },
            last: body.byte()? != 0,
            bytes: body.piece()?,
        },
        10 => Message::Committed(Mark(body.number()?)),
        11 => Message::Accepting(body.byte()? != 0),
        12 => {
            let day = i64::from_le_bytes(body.take()?);
            let bytes = body.number()?;
            let source = IpAddr::from(Ipv6Addr::from(body.take::<16>()?)).to_canonical();
            Message::Sent { day, source, bytes }
        }
        15 => Message::Taken {
            session: SessionId(body.take()?),
            bait: body.text()?,
        },
        20 => Message::Deliver {
            output: body.byte()?,
            seq: body.number()?,
            event: body.text()?,
        },
        21 => Message::Delivered {
            output: body.byte()?,
            seq: body.number()?,
        },
        22 => Message::Trouble {
            output: body.byte()?,
            detail: body.text()?,
        },
        30 => Message::Post {
            way: body.byte()?,
            id: body.number()?,
            letter: body.text()?,
        },
        31 => Message::Posted {
            id: body.number()?,
            error: body.text()?,
        },
        32 => Message::Alive,
        _ => return Err(Malformed("unknown type")),
    })
}

/// Cuts a stream into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    greeted: bool,
}

impl Decoder {
    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > 1 << 20 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message.
    ///
    /// # Errors
    /// [`Malformed`]: the stream is of no more use.
    pub fn next_message(&mut self) -> Result<Option<Message>, Malformed> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some((head, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(Malformed("too long"));
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let message = decode(body)?;
        self.start += 4 + length;
        if !self.greeted {
            if message != Message::Hello(VERSION) {
                return Err(Malformed("the other process is of another version"));
            }
            self.greeted = true;
        }
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turncoat_event::kinds::SystemStop;

    fn samples() -> Vec<Message> {
        let session = SessionId([3; 16]);
        let (_, artifact) = turncoat_store::writer::artifact_of(b"\x7fELF".to_vec());
        let draft = Draft::of_system(Time(5), SystemStop { reason: "x".into() });
        let frame = Frame {
            session,
            time: Time(-1),
            channel: 2,
            direction: Direction::Output,
            bytes: vec![0, 255],
        };
        vec![
            Message::Hello(VERSION),
            Message::Item(Mark(1), draft.into()),
            Message::Item(Mark(2), frame.into()),
            Message::Item(Mark(3), artifact.into()),
            Message::Item(
                Mark(4),
                Item::Journal(Journal {
                    world: WorldId([8; 16]),
                    bytes: vec![1, 2],
                    last: true,
                }),
            ),
            Message::Facts("{}".into()),
            Message::Keep(WorldId([1; 16]), "{}".into()),
            Message::Disk {
                world: WorldId([1; 16]),
                last: true,
                bytes: vec![0; 9],
            },
            Message::Fetch(WorldId([2; 16])),
            Message::Kept(WorldId([3; 16]), String::new()),
            Message::Stored {
                world: WorldId([1; 16]),
                part: Part::Disk,
                last: false,
                bytes: vec![7],
            },
            Message::Checkpoint {
                world: WorldId([4; 16]),
                at: 5,
                most: u64::MAX,
                last: true,
                bytes: vec![8; 3],
            },
            Message::Cut {
                world: WorldId([4; 16]),
                from: 6,
                head: 2,
                last: false,
                bytes: vec![9; 3],
            },
            Message::Committed(Mark(u64::MAX)),
            Message::Accepting(true),
            Message::Sent {
                day: 20_000,
                source: [192, 0, 2, 7].into(),
                bytes: 1 << 40,
            },
            Message::Taken {
                bait: "aws".into(),
                session: SessionId([3; 16]),
            },
            Message::Deliver {
                output: 1,
                seq: 7,
                event: "{}".into(),
            },
            Message::Delivered { output: 1, seq: 7 },
            Message::Post {
                way: 1,
                id: 7,
                letter: "{}".into(),
            },
            Message::Posted {
                id: 7,
                error: "no".into(),
            },
            Message::Alive,
            Message::Trouble {
                output: 1,
                detail: "no route".into(),
            },
        ]
    }

    #[test]
    fn messages_come_back_however_the_stream_is_cut() {
        let mut bytes = Vec::new();
        samples().iter().for_each(|m| encode(m, &mut bytes));
        for cut in 1..64 {
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                while let Some(message) = decoder.next_message().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, samples());
        }
    }

    #[test]
    fn no_bytes_break_the_decoder() {
        let mut bytes = Vec::new();
        samples().iter().for_each(|m| encode(m, &mut bytes));
        let mut state = 7u64;
        for round in 0..30_000 {
            let mut bad = bytes.clone();
            for _ in 0..1 + round % 4 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let at = (state >> 33) as usize % bad.len();
                bad[at] = (state >> 56) as u8;
            }
            let mut decoder = Decoder::default();
            decoder.push(&bad);
            while let Ok(Some(_)) = decoder.next_message() {}
        }
    }
}
