//! What somebody typed, for the record: lines that a program read from its terminal, and those that readline edited in the
//! program's own memory.

use crate::abi::*;
use crate::tty::TtyFile;
use crate::world::{Fact, World};

impl World {
    /// Called with what a program read from its terminal.
    pub(crate) fn tty_line(&mut self, tid: u32, t: &TtyFile, b: &[u8]) {
        if t.side != crate::tty::Side::Slave {
            return;
        }
        let Some(last) = b.last() else { return };
        let tgid = self.tgid(tid);
        let conn = self.p(tgid).ok().and_then(|p| p.conn);
        if let Some(c) = conn.and_then(|c| self.conns.get_mut(&c)) {
            c.last = *last;
        }
        let Some(lflag) = self.ttys.tty(t.tty).map(|t| t.termios().lflag) else {
            return;
        };
        let canonical = lflag & 2 != 0;
        if canonical && *last == b'\n' {
            let text = b[..b.len() - 1].to_vec();
            self.fact(
                tgid,
                Fact::Line {
                    text,
                    prompt: false,
                    echo: lflag & 8 != 0,
                },
            );
        }
    }

    /// A program with readline inside gave its terminal back: the line is in its buffer.
    pub(crate) fn readline_done(&mut self, tid: u32, t: &TtyFile, before: Option<u32>) {
        let tgid = self.tgid(tid);
        let Some(var) = self.p(tgid).ok().and_then(|p| p.readline) else {
            return;
        };
        let now = self.ttys.tty(t.tty).map(|t| t.termios().lflag);
        let was_raw = before.is_some_and(|l| l & 2 == 0);
        let is_cooked = now.is_some_and(|l| l & 2 != 0);
        if !was_raw || !is_cooked {
            return;
        }
        let conn = self.p(tgid).ok().and_then(|p| p.conn);
        let last = conn.and_then(|c| self.conns.get(&c)).map_or(b'\r', |c| c.last);
        if !matches!(last, b'\r' | b'\n' | 15) {
            return;
        }
        let Ok(ptr) = self.read_u64(tid, var) else { return };
        if let Ok(Some(text)) = self.read_str(tid, ptr, 64 << 10) {
            self.fact(
                tgid,
                Fact::Line {
                    text,
                    prompt: true,
                    echo: true,
                },
            );
        }
    }

    /// Where a program keeps readline's buffer: its exported variable `rl_line_buffer`.
    pub(crate) fn find_readline(&mut self, loc: &crate::vfs::Path, bias: u64) -> Option<u64> {
        if !matches!(&loc.name[..], b"bash" | b"rbash") {
            return None;
        }
        if let Some(v) = self.readline_cache.get(&loc.ino.0) {
            return v.map(|v| v + bias);
        }
        let v = self.dynsym(loc, b"rl_line_buffer");
        if self.readline_cache.len() < 64 {
            self.readline_cache.insert(loc.ino.0, v);
        }
        v.map(|v| v + bias)
    }

    fn dynsym(&mut self, loc: &crate::vfs::Path, name: &[u8]) -> Option<u64> {
        let mut h = [0u8; 64];
        self.file_bytes(loc, 0, &mut h).ok()?;
        let (shoff, n) = (le64(&h, 40), le16(&h, 60) as usize);
        let mut sh = vec![0; n * 64];
        self.file_bytes(loc, shoff, &mut sh).ok()?;
        let sec = sh.chunks_exact(64).find(|s| le32(s, 4) == 11)?;
        let link = le32(sec, 40) as usize;
        let strs = sh.chunks_exact(64).nth(link)?;
        let (off, size) = (le64(sec, 24), le64(sec, 32).min(4 << 20));
        let (soff, ssize) = (le64(strs, 24), le64(strs, 32).min(4 << 20));
        let (mut syms, mut text) = (vec![0; size as usize], vec![0; ssize as usize]);
        self.file_bytes(loc, off, &mut syms).ok()?;
        self.file_bytes(loc, soff, &mut text).ok()?;
        syms.chunks_exact(24).find_map(|s| {
            let t = text.get(le32(s, 0) as usize..)?;
            (t.starts_with(name) && t.get(name.len()) == Some(&0) && le16(s, 6) != 0).then(|| le64(s, 8))
        })
    }
}
