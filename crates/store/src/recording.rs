//! Recordings: what went over a session's terminal or channel, both ways, with its timing.
//!
//! While a session runs, its frames are appended raw to one file; when it is closed the file is compressed (gzip).
//! A frame is `length: u32, direction: u8, channel: u16, time: i64` (little-endian) and `length` bytes. A file that ends
//! in the middle of a frame (the program was killed) is read up to there. [`asciicast`] writes the usual form for players.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use turncoat_event::record::FRAME_MAX;
use turncoat_event::{Direction, Frame, SessionId, Time};

use crate::{Layout, Result, StoreError};

/// First bytes of a recording.
pub const MAGIC: &[u8] = b"turncoat recording 1\n";

const HEAD: usize = 15;

fn direction_code(direction: Direction) -> u8 {
    match direction {
        Direction::Input => b'i',
        Direction::Output => b'o',
        Direction::Resize => b'r',
    }
}

/// Appends the written form of a frame.
pub fn encode_frame(frame: &Frame, out: &mut Vec<u8>) {
    for piece in frame.bytes.chunks(FRAME_MAX) {
        let length = u32::try_from(piece.len()).unwrap_or(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.push(direction_code(frame.direction));
        out.extend_from_slice(&frame.channel.to_le_bytes());
        out.extend_from_slice(&frame.time.0.to_le_bytes());
        out.extend_from_slice(piece);
    }
}

/// Reads the frames of one recording, in order.
pub struct Frames {
    session: SessionId,
    from: Box<dyn Read + Send>,
}

/// Opens a session's recording, running or closed. `None` when it has none.
pub fn open(layout: &Layout, session: SessionId) -> Result<Option<Frames>> {
    // A recording may be compressed between the two looks: then the second look finds it.
    for path in [
        layout.recording(session),
        layout.recording_closed(session),
        layout.recording(session),
    ] {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(StoreError::Io { path, source }),
        };
        let packed = path.extension().is_some_and(|e| e == "gz");
        let from: Box<dyn Read + Send> = if packed {
            Box::new(BufReader::new(GzDecoder::new(BufReader::new(file))))
        } else {
            Box::new(BufReader::new(file))
        };
        return Frames::new(session, from).map(Some);
    }
    Ok(None)
}

impl Frames {
    /// Reads frames from anything that begins like a recording.
    pub fn new(session: SessionId, mut from: Box<dyn Read + Send>) -> Result<Frames> {
        let mut magic = Vec::new();
        let read = from.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic);
        match read {
            // One that was begun and cut off before its first frame holds nothing.
            Ok(_) if MAGIC.starts_with(&magic) => Ok(Frames { session, from }),
            _ => Err(StoreError::Damaged(format!(
                "the recording of {session} does not begin like one"
            ))),
        }
    }
}

impl Iterator for Frames {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        let mut head = [0u8; HEAD];
        self.from.read_exact(&mut head).ok()?;
        let [l0, l1, l2, l3, direction, c0, c1, time @ ..] = head;
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3]))
            .ok()
            .filter(|l| *l <= FRAME_MAX)?;
        let direction = match direction {
            b'i' => Direction::Input,
            b'o' => Direction::Output,
            b'r' => Direction::Resize,
            _ => return None,
        };
        let mut bytes = vec![0; length];
        self.from.read_exact(&mut bytes).ok()?;
        Some(Frame {
            session: self.session,
            time: Time(i64::from_le_bytes(time)),
            channel: u16::from_le_bytes([c0, c1]),
            direction,
            bytes,
        })
    }
}

/// Reads a recording while it grows: each call gives the frames that are whole by now.
pub struct Tail {
    session: SessionId,
    from: Box<dyn Read + Send>,
    pending: Vec<u8>,
    begun: bool,
}

/// Opens a session's recording, running or closed, to be followed. `None` while it has none.
pub fn follow(layout: &Layout, session: SessionId) -> Result<Option<Tail>> {
    for path in [
        layout.recording(session),
        layout.recording_closed(session),
        layout.recording(session),
    ] {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(StoreError::Io { path, source }),
        };
        let packed = path.extension().is_some_and(|e| e == "gz");
        return Ok(Some(Tail {
            session,
            // A file that is compressed meanwhile stays readable here under its lost name.
            from: if packed {
                Box::new(GzDecoder::new(BufReader::new(file)))
            } else {
                Box::new(file)
            },
            pending: Vec::new(),
            begun: false,
        }));
    }
    Ok(None)
}

impl Tail {
    /// The frames that have come since, of at most `most` bytes and one frame more. None: nothing new so far.
    ///
    /// # Errors
    /// It does not begin like a recording.
    pub fn more(&mut self, most: usize) -> Result<Vec<Frame>> {
        let mut frames = Vec::new();
        let (mut taken, mut buffer) = (0, vec![0u8; 64 << 10]);
        while taken < most {
            let read = match self.from.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(n) => n,
            };
            taken += read;
            self.pending
                .extend_from_slice(buffer.get(..read).unwrap_or_default());
            let damaged = || {
                StoreError::Damaged(format!(
                    "the recording of {} does not go on like one",
                    self.session
                ))
            };
            if !self.begun {
                match self.pending.get(..MAGIC.len()) {
                    None => continue,
                    Some(magic) if magic == MAGIC => {
                        self.pending.drain(..MAGIC.len());
                        self.begun = true;
                    }
                    Some(_) => return Err(damaged()),
                }
            }
            let mut at = 0;
            while let Some(frame) = self.pending.get(at..).and_then(|rest| whole(self.session, rest)) {
                let (frame, length) = frame.ok_or_else(damaged)?;
                at += length;
                frames.push(frame);
            }
            self.pending.drain(..at);
        }
        Ok(frames)
    }
}

/// The first frame of these bytes with its length. `None` when it is not whole, `Some(None)` when it is none.
fn whole(session: SessionId, bytes: &[u8]) -> Option<Option<(Frame, usize)>> {
    let [l0, l1, l2, l3, direction, c0, c1, time @ ..] = *bytes.first_chunk::<HEAD>()?;
    let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
    let direction = match direction {
        b'i' => Direction::Input,
        b'o' => Direction::Output,
        b'r' => Direction::Resize,
        _ => return Some(None),
    };
    if length > FRAME_MAX {
        return Some(None);
    }
    let content = bytes.get(HEAD..HEAD + length)?;
    let frame = Frame {
        session,
        time: Time(i64::from_le_bytes(time)),
        channel: u16::from_le_bytes([c0, c1]),
        direction,
        bytes: content.to_vec(),
    };
    Some(Some((frame, HEAD + length)))
}

/// A file takes a block of the disk at least: one that is no longer is not worth compressing.
const BLOCK: u64 = 4096;

/// Compresses a closed session's recording; the raw file is removed only when the compressed one is whole.
/// Does nothing when there is no raw file, or when that fits a block of the disk. Run again after an interruption it gives the same.
pub fn compress(layout: &Layout, session: SessionId) -> Result<()> {
    if fs::metadata(layout.recording(session)).is_ok_and(|raw| raw.len() <= BLOCK) {
        return Ok(());
    }
    pack(&layout.recording(session), &layout.recording_closed(session))
}

/// Opens a recording for its writer, which holds a shared lock on it: nobody compresses it meanwhile. One that is compressed already is
/// whole again before anything is added to it: a machine may have something to say when its visitor has gone.
pub(crate) fn open_to_append(layout: &Layout, session: SessionId) -> Result<File> {
    let (raw, packed) = (layout.recording(session), layout.recording_closed(session));
    loop {
        if !raw.exists() && packed.exists() {
            unpack(&packed, &raw)?;
        }
        let open = || {
            let file = OpenOptions::new().create(true).append(true).open(&raw)?;
            // Waits for whoever compresses it, and then it is no more.
            file.lock_shared()?;
            let here = file.metadata()?.nlink() > 0;
            std::io::Result::Ok(here.then_some(file))
        };
        if let Some(file) = open().map_err(StoreError::io(&raw))? {
            return Ok(file);
        }
    }
}

/// The opposite of [`pack`].
fn unpack(packed: &Path, raw: &Path) -> Result<()> {
    let temporary = raw.with_extension("raw.back");
    let unpack = || -> std::io::Result<()> {
        let mut from = GzDecoder::new(BufReader::new(File::open(packed)?));
        let mut to = File::create(&temporary)?;
        std::io::copy(&mut from, &mut to)?;
        to.sync_all()?;
        fs::rename(&temporary, raw)?;
        fs::remove_file(packed)
    };
    unpack().map_err(|source| {
        let _ = fs::remove_file(&temporary);
        StoreError::Io {
            path: packed.to_owned(),
            source,
        }
    })
}

/// Compresses `raw` to `packed` as [`compress`] says.
pub(crate) fn pack(raw: &Path, packed: &Path) -> Result<()> {
    let temporary = raw.with_extension("raw.part");
    let mut from = match File::open(raw) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(StoreError::Io {
                path: raw.to_owned(),
                source,
            });
        }
    };
    // Something is still being added: whoever does so has it compressed afterwards.
    if from.try_lock().is_err() {
        return Ok(());
    }
    let mut pack = || -> std::io::Result<()> {
        let to = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)?;
        let mut to = GzEncoder::new(to, flate2::Compression::default());
        std::io::copy(&mut from, &mut to)?;
        to.finish()?.sync_all()?;
        fs::rename(&temporary, packed)?;
        fs::remove_file(raw)
    };
    pack().map_err(|source| {
        let _ = fs::remove_file(&temporary);
        StoreError::Io {
            path: raw.to_owned(),
            source,
        }
    })
}

/// Removes a session's recording.
pub(crate) fn remove(layout: &Layout, session: SessionId) -> Result<()> {
    for path in [layout.recording(session), layout.recording_closed(session)] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Io { path, source: error });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Size in bytes of a recording file, 0 when there is none.
pub(crate) fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |m| m.len())
}

/// Writes one channel of a recording as asciicast, version 2: a header line, then `[seconds, "o", text]` lines.
/// Terminal bytes that are not UTF-8 are replaced, as the format holds only text. With `input`, what was typed is in it, too.
///
/// # Errors
/// Whatever `to` says.
pub fn asciicast(
    frames: impl Iterator<Item = Frame>,
    channel: u16,
    input: bool,
    title: &str,
    to: &mut dyn Write,
) -> std::io::Result<()> {
    let mut frames = frames.filter(|f| f.channel == channel).peekable();
    let start = frames.peek().map_or(Time(0), |f| f.time);
    let (mut width, mut height) = (80, 24);
    if let Some((w, h)) = frames
        .next_if(|f| f.direction == Direction::Resize)
        .and_then(|f| window(&f.bytes))
    {
        (width, height) = (w, h);
    }
    let header = serde_json::json!({
        "version": 2, "width": width, "height": height, "timestamp": start.seconds(), "title": title,
    });
    writeln!(to, "{header}")?;
    let mut pending: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    for frame in frames {
        let at = serde_json::Number::from_f64(frame.time.since(start).max(0) as f64 / 1e9);
        let (code, slot) = match frame.direction {
            Direction::Output => ("o", 0),
            Direction::Input if input => ("i", 1),
            Direction::Input => continue,
            Direction::Resize => {
                if let Some((w, h)) = window(&frame.bytes) {
                    writeln!(to, "{}", serde_json::json!([at, "r", format!("{w}x{h}")]))?;
                }
                continue;
            }
        };
        if let Some(kept) = pending.get_mut(slot) {
            kept.extend_from_slice(&frame.bytes);
            // A character cut by a frame's end waits for the next frame.
            let whole = kept.len() - unfinished(kept);
            let text: Vec<u8> = kept.drain(..whole).collect();
            if !text.is_empty() {
                writeln!(
                    to,
                    "{}",
                    serde_json::json!([at, code, String::from_utf8_lossy(&text)])
                )?;
            }
        }
    }
    Ok(())
}

/// `COLUMNSxROWS` as numbers.
pub fn window(bytes: &[u8]) -> Option<(u32, u32)> {
    let (w, h) = std::str::from_utf8(bytes).ok()?.split_once('x')?;
    Some((w.parse().ok()?, h.parse().ok()?))
}

/// How many bytes at the end begin a UTF-8 character that is not whole yet.
fn unfinished(bytes: &[u8]) -> usize {
    for back in 1..=3usize.min(bytes.len()) {
        let Some(byte) = bytes.len().checked_sub(back).and_then(|i| bytes.get(i)) else {
            return 0;
        };
        let length = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if length > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> SessionId {
        SessionId::new(Time(0), [1; 10])
    }

    fn frame(direction: Direction, ms: i64, bytes: &[u8]) -> Frame {
        Frame {
            session: session(),
            time: Time(ms * 1_000_000),
            channel: 0,
            direction,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn frames_come_back_and_a_torn_end_is_left_out() {
        let frames = [
            frame(Direction::Resize, 0, b"80x24"),
            frame(Direction::Input, 5, b"\xff\x00"),
            frame(Direction::Output, 6, b"ok"),
        ];
        let mut bytes = MAGIC.to_vec();
        frames.iter().for_each(|f| encode_frame(f, &mut bytes));
        for cut in MAGIC.len()..=bytes.len() {
            let read: Vec<_> = Frames::new(session(), Box::new(std::io::Cursor::new(bytes[..cut].to_vec())))
                .unwrap()
                .collect();
            assert_eq!(read, frames[..read.len()]);
            assert_eq!(read.len() == 3, cut == bytes.len());
        }
    }

    #[test]
    fn a_recording_that_was_cut_off_at_its_birth_is_empty() {
        for length in 0..=MAGIC.len() {
            let cut = std::io::Cursor::new(MAGIC[..length].to_vec());
            assert_eq!(Frames::new(SessionId([1; 16]), Box::new(cut)).unwrap().count(), 0);
        }
        let other = std::io::Cursor::new(b"something".to_vec());
        assert!(Frames::new(SessionId([1; 16]), Box::new(other)).is_err());
    }

    #[test]
    fn a_recording_is_followed_while_it_grows() {
        let dir = std::env::temp_dir().join(format!("turncoat-tail-{}", std::process::id()));
        let layout = Layout::new(&dir);
        let path = layout.recording(session());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(follow(&layout, session()).unwrap().is_none());
        let frames = [
            frame(Direction::Output, 1, b"one"),
            frame(Direction::Resize, 2, b"80x24"),
            frame(Direction::Output, 3, b"two"),
        ];
        let mut bytes = MAGIC.to_vec();
        frames.iter().for_each(|f| encode_frame(f, &mut bytes));
        // It grows by three bytes at a time; in the middle it is compressed.
        std::fs::write(&path, b"").unwrap();
        let mut tail = follow(&layout, session()).unwrap().unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        let mut seen = Vec::new();
        for piece in bytes.chunks(3) {
            file.write_all(piece).unwrap();
            seen.extend(tail.more(1 << 20).unwrap());
        }
        assert_eq!(seen, frames);
        compress(&layout, session()).unwrap();
        assert!(tail.more(1 << 20).unwrap().is_empty());
        let mut again = follow(&layout, session()).unwrap().unwrap();
        assert_eq!(again.more(1 << 20).unwrap(), frames);
        std::fs::write(&path, b"something else entirely").unwrap();
        assert!(
            follow(&layout, session())
                .unwrap()
                .unwrap()
                .more(1 << 20)
                .is_err()
        );
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn asciicast_keeps_characters_whole() {
        let frames = vec![
            frame(Direction::Resize, 1000, b"100x30"),
            frame(Direction::Output, 1000, b"caf\xc3"),
            frame(Direction::Input, 1100, b"x"),
            frame(Direction::Output, 1500, b"\xa9 \xff"),
            frame(Direction::Resize, 2000, b"120x40"),
        ];
        let mut out = Vec::new();
        asciicast(frames.into_iter(), 0, false, "t", &mut out).unwrap();
        let lines: Vec<serde_json::Value> = String::from_utf8(out)
            .unwrap()
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(
            (lines[0]["version"].as_u64(), lines[0]["width"].as_u64()),
            (Some(2), Some(100))
        );
        assert_eq!(lines[1], serde_json::json!([0.0, "o", "caf"]));
        assert_eq!(lines[2], serde_json::json!([0.5, "o", "\u{e9} \u{fffd}"]));
        assert_eq!(lines[3], serde_json::json!([1.0, "r", "120x40"]));
    }
}
