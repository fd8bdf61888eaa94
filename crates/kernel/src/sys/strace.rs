//! Calls printed as strace prints them.

use super::Call;
use crate::Errno;
use crate::abi::sig::{SigCause, SigInfo};
use crate::world::World;

/// Longest string shown, as `strace -s 32`.
const STR_MAX: usize = 32;

fn quote(b: &[u8], more: bool) -> String {
    let mut s = String::from("\"");
    for c in b {
        match c {
            b'\n' => s.push_str("\\n"),
            b'\t' => s.push_str("\\t"),
            b'\r' => s.push_str("\\r"),
            b'"' => s.push_str("\\\""),
            b'\\' => s.push_str("\\\\"),
            0x20..=0x7e => s.push(*c as char),
            c => s.push_str(&format!("\\{c:o}")),
        }
    }
    s.push('"');
    if more {
        s.push_str("...");
    }
    s
}

/// Bits by the letter that the table of calls gives an argument, with their names.
const FLAGS: &[(u8, &[(u64, &str)])] = &[
    (
        b'O',
        &[
            (0o1, "O_WRONLY"),
            (0o2, "O_RDWR"),
            (0o100, "O_CREAT"),
            (0o200, "O_EXCL"),
            (0o400, "O_NOCTTY"),
            (0o1000, "O_TRUNC"),
            (0o2000, "O_APPEND"),
            (0o4000, "O_NONBLOCK"),
            (0o20_200_000, "O_TMPFILE"),
            (0o200_000, "O_DIRECTORY"),
            (0o400_000, "O_NOFOLLOW"),
            (0o1_000_000, "O_NOATIME"),
            (0o2_000_000, "O_CLOEXEC"),
            (0o10_000_000, "O_PATH"),
        ],
    ),
    (b'P', &[(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")]),
    (
        b'M',
        &[
            (3, "MAP_SHARED_VALIDATE"),
            (1, "MAP_SHARED"),
            (2, "MAP_PRIVATE"),
            (0x10, "MAP_FIXED"),
            (0x20, "MAP_ANONYMOUS"),
            (0x100, "MAP_GROWSDOWN"),
            (0x800, "MAP_DENYWRITE"),
            (0x4000, "MAP_NORESERVE"),
            (0x8000, "MAP_POPULATE"),
            (0x2_0000, "MAP_STACK"),
        ],
    ),
    (
        b'A',
        &[
            (0x100, "AT_SYMLINK_NOFOLLOW"),
            (0x200, "AT_REMOVEDIR"),
            (0x400, "AT_SYMLINK_FOLLOW"),
            (0x800, "AT_NO_AUTOMOUNT"),
            (0x1000, "AT_EMPTY_PATH"),
        ],
    ),
    (
        b'N',
        &[
            (0o4000, "IPC_NOWAIT"),
            (0o10000, "MSG_NOERROR"),
            (0o20000, "MSG_EXCEPT"),
            (0o40000, "MSG_COPY"),
        ],
    ),
    (b'U', &[(0o4000, "IPC_NOWAIT"), (0x1000, "SEM_UNDO")]),
];

/// Commands of shmctl, semctl and msgctl, by the letter that the table of calls gives them.
const COMMANDS: &[(u8, &[(u64, &str)])] = &[
    (
        b'c',
        &[
            (11, "SHM_LOCK"),
            (12, "SHM_UNLOCK"),
            (13, "SHM_STAT"),
            (14, "SHM_INFO"),
            (15, "SHM_STAT_ANY"),
        ],
    ),
    (
        b'e',
        &[
            (11, "GETPID"),
            (12, "GETVAL"),
            (13, "GETALL"),
            (14, "GETNCNT"),
            (15, "GETZCNT"),
            (16, "SETVAL"),
            (17, "SETALL"),
            (18, "SEM_STAT"),
            (19, "SEM_INFO"),
            (20, "SEM_STAT_ANY"),
        ],
    ),
    (b'i', &[(11, "MSG_STAT"), (12, "MSG_INFO"), (13, "MSG_STAT_ANY")]),
];

/// A command of System V IPC.
fn command(kind: u8, v: u64) -> String {
    const ALL: [&str; 4] = ["IPC_RMID", "IPC_SET", "IPC_STAT", "IPC_INFO"];
    let own = COMMANDS.iter().filter(|c| c.0 == kind).flat_map(|c| c.1);
    let name = ALL.get(v as usize).copied();
    let name = name.or_else(|| own.copied().find(|c| c.0 == v).map(|c| c.1));
    name.map_or_else(|| format!("{v:#x}"), str::to_owned)
}

/// Flags of shmget, semget and msgget.
fn get_flags(v: u64) -> String {
    let mut s = String::new();
    for (bit, name) in [(0o1000, "IPC_CREAT|"), (0o2000, "IPC_EXCL|")] {
        if v & bit != 0 {
            s.push_str(name);
        }
    }
    s + &format!("0{:02o}", v & !0o3000)
}

/// The names of the bits of `v` for this letter, and what no name has as a number.
fn flags(kind: u8, v: u64) -> Option<String> {
    let (_, names) = FLAGS.iter().find(|f| f.0 == kind)?;
    let mut left = v;
    let mut out = Vec::new();
    for (bits, name) in *names {
        if left & bits == *bits {
            out.push((*name).to_owned());
            left &= !bits;
        }
    }
    let empty = match kind {
        b'O' if v & 3 == 0 => {
            out.insert(0, "O_RDONLY".to_owned());
            ""
        }
        b'P' => "PROT_NONE",
        _ => "0",
    };
    if left != 0 {
        out.push(format!("{left:#x}"));
    }
    Some(if out.is_empty() {
        empty.to_owned()
    } else {
        out.join("|")
    })
}

impl World {
    fn trace_arg(&mut self, c: &Call, kind: u8, i: usize, value: i64) -> String {
        let v = c.a.get(i).copied().unwrap_or(0);
        match kind {
            b's' => match self.read_str(c.tid, v, 4096) {
                Ok(Some(b)) => quote(&b, false),
                _ => format!("{v:#x}"),
            },
            // A buffer read by the call; its length is the next argument. Written by it: the result says how much.
            b'b' | b'B' => {
                let len = if kind == b'b' {
                    c.a.get(i + 1).copied().unwrap_or(0)
                } else {
                    value.max(0) as u64
                };
                if value < 0 && kind == b'B' {
                    return format!("{v:#x}");
                }
                let mut b = vec![0; (len as usize).min(STR_MAX)];
                match self.copy_in(c.tid, v, &mut b) {
                    Ok(()) => quote(&b, len as usize > STR_MAX),
                    Err(_) => format!("{v:#x}"),
                }
            }
            b'd' => format!("{}", v as i32),
            b'a' if v as i32 == -100 => "AT_FDCWD".into(),
            b'a' => format!("{}", v as i32),
            b'o' => format!("{v:#o}"),
            b'u' => format!("{v}"),
            b'O' | b'P' | b'M' | b'A' | b'N' => flags(kind, v & 0xffff_ffff).unwrap_or_default(),
            b'k' if v as u32 == 0 => "IPC_PRIVATE".into(),
            b'k' => format!("{:#x}", v as u32),
            b'I' => get_flags(v & 0xffff_ffff),
            b'c' | b'e' | b'i' => command(kind, v & 0xffff_ffff),
            b'q' => {
                let n = c.a.get(i + 1).copied().unwrap_or(0).min(16) as usize;
                let mut b = vec![0; n * 6];
                if self.copy_in(c.tid, v, &mut b).is_err() {
                    return format!("{v:#x}");
                }
                let word = |b: &[u8], at| crate::abi::le16(b, at);
                let one = |b: &[u8]| {
                    let flags = flags(b'U', word(b, 4).into()).unwrap_or_default();
                    format!("{{{}, {}, {flags}}}", word(b, 0), word(b, 2) as i16)
                };
                format!("[{}]", b.chunks_exact(6).map(one).collect::<Vec<_>>().join(", "))
            }
            b'g' => crate::abi::sig::name(v as u8),
            b'v' => {
                let mut out = Vec::new();
                for k in 0..16 {
                    let Ok(p) = self.read_u64(c.tid, v.wrapping_add(k * 8)) else {
                        break;
                    };
                    if p == 0 {
                        break;
                    }
                    match self.read_str(c.tid, p, 4096) {
                        Ok(Some(b)) => out.push(quote(&b[..b.len().min(STR_MAX)], b.len() > STR_MAX)),
                        _ => break,
                    }
                }
                format!("[{}]", out.join(", "))
            }
            _ if v == 0 => "NULL".into(),
            _ => format!("{v:#x}"),
        }
    }

    fn trace_call(&mut self, c: &Call, value: i64) -> String {
        let (name, fmt) = super::entry(c.nr).map_or(("syscall", "xxxxxx"), |e| (e.name, e.args));
        let args: Vec<String> = fmt
            .bytes()
            .enumerate()
            .map(|(i, k)| self.trace_arg(c, k, i, value))
            .collect();
        format!("{:<6} {name}({})", c.tid, args.join(", "))
    }

    pub(crate) fn trace_result(&mut self, c: &Call, value: i64) {
        if self.trace.is_none() {
            return;
        }
        let s = self.trace_call(c, value);
        let r = match value {
            -4095..=-1 => format!("-1 {}", Errno(-value as u16).name()),
            v if v > 0xffff_ffff => format!("{v:#x}"),
            v => format!("{v}"),
        };
        if let Some(t) = self.trace.as_mut() {
            t.push(format!("{s} = {r}"));
        }
    }

    pub(crate) fn trace_noreturn(&mut self, c: &Call) {
        if self.trace.is_some() {
            let s = self.trace_call(c, 0);
            if let Some(t) = self.trace.as_mut() {
                t.push(format!("{s} = ?"));
            }
        }
    }

    pub(crate) fn trace_interrupted(&mut self, _tid: u32, c: &Call, value: i64, again: bool) {
        if again {
            if self.trace.is_some() {
                let s = self.trace_call(c, 0);
                if let Some(t) = self.trace.as_mut() {
                    t.push(format!(
                        "{s} = ? ERESTARTSYS (To be restarted if SA_RESTART is set)"
                    ));
                }
            }
        } else {
            self.trace_result(c, value);
        }
    }

    pub(crate) fn trace_signal(&mut self, tid: u32, info: &SigInfo) {
        if let Some(t) = self.trace.as_mut() {
            let from = match info.cause {
                SigCause::Kill { pid, uid } => format!(", si_pid={pid}, si_uid={uid}"),
                SigCause::Child { pid, status, .. } => format!(", si_pid={pid}, si_status={status}"),
                SigCause::Fault { addr } => format!(", si_addr={addr:#x}"),
                _ => String::new(),
            };
            let n = crate::abi::sig::name(info.sig);
            t.push(format!(
                "{tid:<6} --- {n} {{si_signo={n}, si_code={}{from}}} ---",
                info.code
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{command, flags, get_flags};

    #[test]
    fn bits_have_names() {
        let name = |kind, v| flags(kind, v).unwrap();
        assert_eq!(name(b'O', 0o2_000_000), "O_RDONLY|O_CLOEXEC");
        assert_eq!(name(b'O', 0o1101), "O_WRONLY|O_CREAT|O_TRUNC");
        assert_eq!(name(b'P', 0), "PROT_NONE");
        assert_eq!(name(b'P', 5), "PROT_READ|PROT_EXEC");
        assert_eq!(name(b'M', 0x22), "MAP_PRIVATE|MAP_ANONYMOUS");
        assert_eq!(name(b'A', 0x4100), "AT_SYMLINK_NOFOLLOW|0x4000");
        assert_eq!(name(b'A', 0), "0");
        assert_eq!(name(b'U', 0x1800), "IPC_NOWAIT|SEM_UNDO");
        assert_eq!(get_flags(0o1600), "IPC_CREAT|0600");
        assert_eq!(get_flags(0), "000");
        assert_eq!(command(b'e', 16), "SETVAL");
        assert_eq!(command(b'c', 2), "IPC_STAT");
        assert_eq!(command(b'i', 99), "0x63");
    }
}
