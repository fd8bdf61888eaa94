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
