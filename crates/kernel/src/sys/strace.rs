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
];

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
            b'O' | b'P' | b'M' | b'A' => flags(kind, v & 0xffff_ffff).unwrap_or_default(),
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
    use super::flags;

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
    }
}
