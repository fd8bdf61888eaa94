//! A file of lines, one an event, that knows by its own end how far it is; moved aside when it is large.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use turncoat_event::Event;

use super::Sink;

/// How much of a file's end is looked at for its last line. No event is longer.
const TAIL: u64 = 4 << 20;

/// How an event becomes a line; `None` for events that the format does not have.
type Write1 = fn(&Event, &str) -> Option<String>;

/// The output.
pub struct Lines {
    path: PathBuf,
    rotate: u64,
    keep: u64,
    number: &'static str,
    write: Write1,
    file: Option<BufWriter<File>>,
    size: u64,
}

impl Lines {
    /// Lines appended to `path`. `number` is the key that holds an event's number in a line.
    pub fn new(path: &str, rotate: u64, keep: u64, number: &'static str, write: Write1) -> Lines {
        Lines {
            path: path.into(),
            rotate: rotate.max(1 << 20),
            keep,
            number,
            write,
            file: None,
            size: 0,
        }
    }

    fn numbered(&self, n: u64) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{n}"));
        name.into()
    }

    fn open(&mut self) -> Result<&mut BufWriter<File>, String> {
        if self.file.is_none() {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.path)
                .map_err(|e| tell(&self.path, &e))?;
            self.size = file.metadata().map_err(|e| tell(&self.path, &e))?.len();
            self.file = Some(BufWriter::with_capacity(64 << 10, file));
        }
        self.file.as_mut().ok_or_else(|| "no file".into())
    }

    fn rotate(&mut self) -> Result<(), String> {
        self.flush()?;
        self.file = None;
        if self.keep == 0 {
            return fs::remove_file(&self.path).map_err(|e| tell(&self.path, &e));
        }
        for n in (1..self.keep).rev() {
            let _ = fs::rename(self.numbered(n), self.numbered(n + 1));
        }
        fs::rename(&self.path, self.numbered(1)).map_err(|e| tell(&self.path, &e))
    }
}

fn tell(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The number in the last whole line; a line that was cut by a crash is removed.
fn last_number(path: &Path, key: &str, cut: bool) -> Result<Option<u64>, String> {
    let mut file = match OpenOptions::new().read(true).write(cut).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(tell(path, &error)),
    };
    let io = |e: std::io::Error| tell(path, &e);
    let length = file.metadata().map_err(io)?.len();
    let start = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail).map_err(io)?;
    let whole = tail.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    if cut && whole < tail.len() {
        let file = OpenOptions::new().write(true).open(path).map_err(io)?;
        file.set_len(start + whole as u64).map_err(io)?;
    }
    let lines = tail.get(..whole).unwrap_or_default();
    let last = lines
        .split(|b| *b == b'\n')
        .rfind(|l| !l.is_empty())
        .unwrap_or_default();
    Ok(serde_json::from_slice::<Json>(last)
        .ok()
        .and_then(|v| v.get(key)?.as_u64()))
}

impl Sink for Lines {
    fn resume(&mut self) -> Result<u64, String> {
        if let Some(n) = last_number(&self.path, self.number, true)? {
            return Ok(n);
        }
        Ok(last_number(&self.numbered(1), self.number, false)?.unwrap_or(0))
    }

    fn deliver(&mut self, event: &Event, json: &str) -> Result<(), String> {
        let Some(mut line) = (self.write)(event, json) else {
            return Ok(());
        };
        line.push('\n');
        self.open()?;
        if self.size > 0 && self.size + line.len() as u64 > self.rotate {
            self.rotate()?;
        }
        let path = self.path.clone();
        let wrote = self.open()?.write_all(line.as_bytes());
        self.size += line.len() as u64;
        wrote.map_err(|e| tell(&path, &e))
    }

    fn flush(&mut self) -> Result<(), String> {
        match self.file.as_mut() {
            Some(file) => file.flush().map_err(|e| tell(&self.path, &e)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turncoat_event::kinds::SystemStop;
    use turncoat_event::{Draft, Time};

    fn event(seq: u64) -> (Event, String) {
        let draft = Draft::of_system(
            Time(1),
            SystemStop {
                reason: "x".repeat(1000),
            },
        );
        let event = Event::new(seq, "t".parse().unwrap(), draft);
        let json = serde_json::to_string(&event).unwrap();
        (event, json)
    }

    #[test]
    fn it_goes_on_behind_its_last_whole_line_and_moves_aside() {
        let dir = std::env::temp_dir().join(format!("turncoat-lines-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("e.json");
        let new = || {
            Lines::new(path.to_str().unwrap(), 0, 2, "seq", |_, json| {
                Some(json.to_owned())
            })
        };
        let mut lines = new();
        assert_eq!(lines.resume(), Ok(0));
        for seq in 1..=5 {
            let (event, json) = event(seq);
            lines.deliver(&event, &json).unwrap();
        }
        lines.flush().unwrap();
        drop(lines);
        // A crash in the middle of a line.
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"seq\":6,\"ev")
            .unwrap();
        let mut lines = new();
        assert_eq!(lines.resume(), Ok(5));
        for seq in 6..=2500 {
            let (event, json) = event(seq);
            lines.deliver(&event, &json).unwrap();
        }
        lines.flush().unwrap();
        let mut all = Vec::new();
        for file in [dir.join("e.json.2"), dir.join("e.json.1"), path.clone()] {
            let text = fs::read_to_string(file).unwrap();
            all.extend(
                text.lines()
                    .map(|l| serde_json::from_str::<Event>(l).unwrap().seq),
            );
        }
        assert_eq!(all, (1..=2500).collect::<Vec<_>>());
        fs::remove_dir_all(&dir).unwrap();
    }
}
