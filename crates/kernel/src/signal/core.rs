//! Core files (core(5), fs/coredump.c and fs/binfmt_elf.c): what a process that dies of certain signals leaves of itself.
//!
//! Which mappings are in it is what coredump_filter's usual value says: private memory that was written to, anonymous shared memory, and
//! the first page of programs and libraries.

use super::SigInfo;
use crate::abi::*;
use crate::mm::{Back, Mm, Vma};
use crate::vfs::{self, Ctx, Path as Loc, Vfs};
use crate::world::World;
use crate::{Errno, KResult};
use turncoat_cpu::*;

/// Shortest limit with which a core is begun (ELF_EXEC_PAGESIZE).
const LEAST: u64 = PAGE;
/// Longest core: it is written while nothing else runs.
const MOST: u64 = 64 << 20;
const HEADER: u64 = 64;
const SEGMENT: u64 = 56;

const NT_PRSTATUS: u32 = 1;
const NT_FPREGSET: u32 = 2;
const NT_PRPSINFO: u32 = 3;
const NT_AUXV: u32 = 6;
const NT_SIGINFO: u32 = 0x5349_4749;
const NT_FILE: u32 = 0x4649_4c45;

/// General registers in the order of `struct user_regs_struct`, up to orig_rax.
const ORDER: [usize; 15] = [
    R15, R14, R13, R12, RBP, RBX, R11, R10, R9, R8, RAX, RCX, RDX, RSI, RDI,
];

/// One part of the address space as it stands in the core: where it is, its rights, and how much of it is there.
struct Part {
    vma: Vma,
    size: u64,
}

fn note(out: &mut Enc, kind: u32, text: &[u8]) {
    out.u32(5).u32(text.len() as u32).u32(kind);
    out.field(b"CORE", 8).bytes(text);
    let len = out.0.len().next_multiple_of(4);
    out.pad_to(len);
}

/// How much of a mapping is dumped (vma_dump_size()).
fn dump_size(m: &Mm, v: &Vma, vfs: &mut Vfs) -> u64 {
    let whole = v.end - v.start;
    let mut pages = m.space.present(v.start, whole);
    match &v.back {
        _ if v.label == "[vdso]" => whole,
        _ if v.label == "[vvar]" => 0,
        Back::Anon => match pages.next() {
            Some(_) => whole,
            None => 0,
        },
        Back::Obj { file: None, .. } => whole,
        Back::Obj { .. } if v.shared => 0,
        Back::Obj { obj, off, .. } => {
            let written = pages.any(|(va, p, ..)| {
                let own = vfs.objects.page(*obj, (off + (va - v.start)) / PAGE);
                own.is_none_or(|o| !o.ptr_eq(p))
            });
            match written {
                true => whole,
                false if *off == 0 && v.prot & PROT_READ as u8 != 0 => PAGE,
                false => 0,
            }
        }
    }
}

/// The file to write to: a new one in the place of what stands there.
fn open(v: &mut Vfs, c: &Ctx, name: &[u8]) -> KResult<Loc> {
    use vfs::oflag::{CREAT, EXCL, NOFOLLOW};
    const O_RDWR: u32 = 2;
    let _ = v.unlink(c, c.cwd, name);
    let flags = O_RDWR | CREAT | EXCL | NOFOLLOW;
    Ok(v.open(c, c.cwd, name, flags, 0o600, 0)?.path)
}

impl World {
    /// Leaves the core of a process that dies of a signal, if it may; 0x80 for the wait status if it did.
    pub(super) fn dump_core(&mut self, tid: u32, info: &SigInfo) -> i32 {
        match self.try_core(tid, info) {
            Ok(()) => 0x80,
            Err(_) => 0,
        }
    }

    fn try_core(&mut self, tid: u32, info: &SigInfo) -> KResult<()> {
        let tgid = self.tgid(tid);
        let p = self.p(tgid)?;
        let limit = p.limits[RLIMIT_CORE].0.min(MOST);
        if limit < LEAST || p.dumpable != 1 || p.standin.is_some() {
            return Err(Errno::EPERM);
        }
        let name = self.core_name(tgid, info.sig)?;
        let mm = self.t(tid)?.mm.ok_or(Errno::ESRCH)?;
        let path = self.fs(tid, |v, c| open(v, c, &name))??;
        self.vfs.hold_writer(path.ino);
        let m = self.mms.get(&mm).ok_or(Errno::ESRCH)?;
        let parts: Vec<Part> = m
            .vmas
            .values()
            .map(|v| Part {
                vma: v.clone(),
                size: dump_size(m, v, &mut self.vfs),
            })
            .collect();
        let notes = self.core_notes(tid, info);
        let head = core_head(&parts, &notes);
        // What does not fit any more is left out, as on a full disk; what is there counts as a core.
        let _ = self.core_write(tid, mm, &path, limit, head, &parts);
        self.vfs.release_writer(&path);
        Ok(())
    }

    /// kernel.core_pattern with its conversions; a pattern that names a program to start gives none.
    fn core_name(&mut self, tgid: u32, sig: u8) -> KResult<Vec<u8>> {
        let read = |w: &mut World, name: &str| w.fs(0, |v, c| crate::proc::sysctl::text(v, c.view, name));
        let pattern = read(self, "kernel.core_pattern")?;
        let with_pid = read(self, "kernel.core_uses_pid")? != b"0";
        if pattern.first().is_none_or(|c| *c == b'|') {
            return Err(Errno::EPERM);
        }
        let t = self.t(tgid)?;
        let mut name = Vec::new();
        let mut chars = pattern.iter();
        let mut said_pid = false;
        while let Some(&c) = chars.next() {
            if c != b'%' {
                name.push(c);
                continue;
            }
            // No part of a name may lead out of the directory.
            let plain = |b: &[u8]| b.iter().map(|c| if *c == b'/' { b'!' } else { *c }).collect();
            let part: Vec<u8> = match chars.next() {
                Some(b'%') => b"%".to_vec(),
                Some(b'p' | b'P' | b'i' | b'I') => {
                    said_pid = true;
                    tgid.to_string().into()
                }
                Some(b'u') => t.creds.uid.to_string().into(),
                Some(b'g') => t.creds.gid.to_string().into(),
                Some(b's') => sig.to_string().into(),
                Some(b't') => self.timespec().sec.to_string().into(),
                Some(b'h') => plain(&self.hostname),
                Some(b'e') => plain(t.comm()),
                _ => Vec::new(),
            };
            name.extend(part);
        }
        if with_pid && !said_pid {
            name.extend(format!(".{tgid}").bytes());
        }
        name.truncate(127);
        Ok(name)
    }

    fn core_status(&self, tid: u32, sig: u8) -> Enc {
        let mut e = Enc::new();
        let Ok(t) = self.t(tid) else { return e };
        let (p, cpu) = (self.p(t.tgid).ok(), t.cpu.as_deref());
        e.u32(sig.into()).u32(0).u32(0).u16(sig.into()).u16(0);
        e.u64(t.pending.set.0).u64(t.mask.0).u32(tid);
        for id in [p.map(|p| p.ppid), p.map(|p| p.pgid), p.map(|p| p.sid)] {
            e.u32(id.unwrap_or(0));
        }
        let children = p.map_or((0, 0), |p| p.child_time);
        for ns in [t.utime, t.stime, children.0, children.1] {
            e.u64(ns / crate::time::SEC).u64(ns % crate::time::SEC / 1000);
        }
        if let Some(cpu) = cpu {
            for r in ORDER {
                e.u64(cpu.gpr[r]);
            }
            let call = t.call.as_ref().map_or(u64::MAX, |c| c.nr);
            e.u64(call).u64(cpu.rip).u64(0x33).u64(cpu.rflags());
            e.u64(cpu.gpr[RSP]).u64(0x2b);
            e.u64(cpu.fs_base).u64(cpu.gs_base);
        }
        e.pad_to(328).u32(1).pad_to(336);
        e
    }

    fn core_psinfo(&self, tgid: u32) -> Enc {
        let mut e = Enc::new();
        let (Ok(t), Ok(p)) = (self.t(tgid), self.p(tgid)) else {
            return e;
        };
        e.u8(0).u8(b'R').u8(0).u8(t.nice as u8).u32(0).u64(0x0040_0600);
        e.u32(t.creds.uid).u32(t.creds.gid);
        e.u32(tgid).u32(p.ppid).u32(p.pgid).u32(p.sid);
        e.field(t.comm(), 16);
        let line = crate::proc::view::KernelView::cmdline(self, tgid);
        let line: Vec<u8> = line.iter().map(|c| if *c == 0 { b' ' } else { *c }).collect();
        e.field(line.get(..79).unwrap_or(&line), 80);
        e
    }

    fn core_files(&mut self, tid: u32) -> Enc {
        let maps = crate::proc::view::KernelView::maps(self, tid);
        let files: Vec<_> = maps.into_iter().filter(|m| m.file.is_some()).collect();
        let mut e = Enc::new();
        e.u64(files.len() as u64).u64(PAGE);
        for m in &files {
            e.u64(m.start).u64(m.end).u64(m.offset / PAGE);
        }
        for m in &files {
            let text = m.file.as_ref().map(|f| self.fs(tid, |v, c| v.path_text(c, f)));
            if let Some(Ok(text)) = text {
                e.bytes(&text);
            }
            e.u8(0);
        }
        e
    }

    fn core_notes(&mut self, tid: u32, info: &SigInfo) -> Enc {
        let tgid = self.tgid(tid);
        let mut others = self.p(tgid).map_or(Vec::new(), |p| p.threads.clone());
        others.retain(|t| *t != tid);
        let mut e = Enc::new();
        note(&mut e, NT_PRSTATUS, &self.core_status(tid, info.sig).0);
        note(&mut e, NT_PRPSINFO, &self.core_psinfo(tgid).0);
        note(&mut e, NT_SIGINFO, &info.encode());
        let auxv = crate::proc::view::KernelView::auxv(self, tid);
        note(&mut e, NT_AUXV, &auxv);
        note(&mut e, NT_FILE, &self.core_files(tid).0);
        for t in [tid].into_iter().chain(others) {
            if t != tid {
                note(&mut e, NT_PRSTATUS, &self.core_status(t, info.sig).0);
            }
            if let Some(cpu) = self.t(t).ok().and_then(|t| t.cpu.as_ref()) {
                note(&mut e, NT_FPREGSET, &cpu.fxsave());
            }
        }
        e
    }

    fn core_write(
        &mut self,
        tid: u32,
        mm: u32,
        path: &Loc,
        limit: u64,
        head: Enc,
        parts: &[Part],
    ) -> KResult<()> {
        let mut at = (head.0.len() as u64).next_multiple_of(PAGE);
        let mut written = head.0.len() as u64;
        if written > limit {
            return Err(Errno::EFBIG);
        }
        self.fs(tid, |v, c| v.write(c, path, 0, &head.0))??;
        let mut page = [0; PAGE as usize];
        for part in parts {
            let v = &part.vma;
            for off in (0..part.size).step_by(PAGE as usize) {
                // Pages that nobody touched are holes.
                let m = self.mms.get(&mm).ok_or(Errno::ESRCH)?;
                let there = m.space.present(v.start + off, PAGE).next();
                let there = there.map(|(_, p, ..)| p.read(0, &mut page));
                let there = match (there, &v.back) {
                    (None, Back::Obj { obj, off: o, .. }) => {
                        let p = self.vfs.objects.page(*obj, (o + off) / PAGE);
                        p.map(|p| p.read(0, &mut page))
                    }
                    (there, _) => there,
                };
                if there.is_some() {
                    written += PAGE;
                    if written > limit {
                        return Err(Errno::EFBIG);
                    }
                    self.fs(tid, |v, c| v.write(c, path, at + off, &page))??;
                }
            }
            at += part.size;
        }
        self.fs(tid, |v, c| v.set_len(c, path, at))?
    }
}

/// The headers and notes that stand before the memory.
fn core_head(parts: &[Part], notes: &Enc) -> Enc {
    let count = parts.len() as u64 + 1;
    let notes_at = HEADER + count * SEGMENT;
    let mut at = (notes_at + notes.0.len() as u64).next_multiple_of(PAGE);
    let mut e = Enc::new();
    e.bytes(b"\x7fELF\x02\x01\x01").pad_to(16);
    // ET_CORE, EM_X86_64. More segments than 65,534 are not told of.
    e.u16(4).u16(62).u32(1).u64(0).u64(HEADER).u64(0).u32(0);
    e.u16(64)
        .u16(56)
        .u16(count.min(0xfffe) as u16)
        .u16(0)
        .u16(0)
        .u16(0);
    // PT_NOTE, PT_LOAD.
    e.u32(4).u32(0).u64(notes_at).u64(0).u64(0);
    e.u64(notes.0.len() as u64).u64(0).u64(4);
    for p in parts {
        let prot = u32::from(p.vma.prot);
        let flags = (prot & 1) << 2 | prot & 2 | prot >> 2 & 1;
        e.u32(1).u32(flags).u64(at).u64(p.vma.start).u64(0);
        e.u64(p.size).u64(p.vma.end - p.vma.start).u64(PAGE);
        at += p.size;
    }
    e.bytes(&notes.0);
    e
}
