//! ELF64 programs: headers read with suspicion, segments mapped as Linux maps them.

use crate::abi::*;
use crate::mm::{Back, Mm, TASK_SIZE, Vma};
use crate::vfs::Path as Loc;
use crate::world::World;
use crate::{Errno, KResult};

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_STACK: u32 = 0x6474_e551;

#[derive(Clone, Copy, Debug)]
struct Segment {
    flags: u32,
    off: u64,
    va: u64,
    filesz: u64,
    memsz: u64,
}

/// What the loader needs of a program's headers.
pub(super) struct Elf {
    pub entry: u64,
    pub dynamic: bool,
    pub phnum: u64,
    pub phdr_va: u64,
    pub interp: Option<Vec<u8>>,
    pub exec_stack: bool,
    pub code: (u64, u64),
    pub data: (u64, u64),
    loads: Vec<Segment>,
}

impl Elf {
    /// Reads and checks headers. ENOEXEC for what is not a 64-bit x86 program.
    pub fn read(w: &mut World, loc: &Loc) -> KResult<Elf> {
        let mut h = [0u8; 64];
        if w.file_bytes(loc, 0, &mut h)? < 64 || &h[..4] != b"\x7fELF" {
            return Err(Errno::ENOEXEC);
        }
        let kind = le16(&h, 16);
        if h[4] != 2 || h[5] != 1 || !matches!(kind, 2 | 3) || le16(&h, 18) != 62 || le16(&h, 54) != 56 {
            return Err(Errno::ENOEXEC);
        }
        let (phoff, phnum) = (le64(&h, 32), le16(&h, 56) as usize);
        if phnum == 0 || phnum > 65536 / 56 {
            return Err(Errno::ENOEXEC);
        }
        let mut b = vec![0u8; phnum * 56];
        if w.file_bytes(loc, phoff, &mut b)? < b.len() {
            return Err(Errno::ENOEXEC);
        }
        let mut e = Elf {
            entry: le64(&h, 24),
            dynamic: kind == 3,
            phnum: phnum as u64,
            phdr_va: 0,
            interp: None,
            exec_stack: true,
            code: (u64::MAX, 0),
            data: (0, 0),
            loads: Vec::new(),
        };
        let mut phdr = None;
        for p in b.chunks_exact(56) {
            let (kind, flags) = (le32(p, 0), le32(p, 4));
            let s = Segment {
                flags,
                off: le64(p, 8),
                va: le64(p, 16),
                filesz: le64(p, 32),
                memsz: le64(p, 40),
            };
            match kind {
                PT_LOAD => {
                    let bad = s.filesz > s.memsz
                        || s.off % PAGE != s.va % PAGE
                        || s.va.checked_add(s.memsz).is_none_or(|x| x > TASK_SIZE - PAGE)
                        || s.off.checked_add(s.filesz).is_none_or(|x| x > i64::MAX as u64);
                    if bad {
                        return Err(Errno::EINVAL);
                    }
                    if let Some(last) = e.loads.last()
                        && last.va > s.va
                    {
                        return Err(Errno::ENOEXEC);
                    }
                    if s.memsz > 0 {
                        e.loads.push(s);
                    }
                }
                PT_INTERP if e.interp.is_none() => {
                    if s.filesz < 2 || s.filesz > 4096 {
                        return Err(Errno::ENOEXEC);
                    }
                    let mut n = vec![0u8; s.filesz as usize];
                    if w.file_bytes(loc, s.off, &mut n)? < n.len() || n.pop() != Some(0) {
                        return Err(Errno::ENOEXEC);
                    }
                    e.interp = Some(n);
                }
                PT_PHDR => phdr = Some(s.va),
                PT_GNU_STACK => e.exec_stack = flags & 1 != 0,
                _ => {}
            }
        }
        if e.loads.is_empty() {
            return Err(Errno::ENOEXEC);
        }
        let from_load = e
            .loads
            .iter()
            .find(|s| s.off <= phoff && phoff < s.off + s.filesz)
            .map(|s| phoff - s.off + s.va);
        e.phdr_va = from_load.or(phdr).unwrap_or(0);
        for s in &e.loads {
            let end = s.va + s.filesz;
            e.code.0 = e.code.0.min(s.va);
            if s.flags & 1 != 0 {
                e.code.1 = e.code.1.max(end);
            }
            if s.va >= e.data.0 {
                e.data.0 = s.va;
            }
            e.data.1 = e.data.1.max(end);
        }
        Ok(e)
    }

    /// Bytes from the first to the last mapped page.
    pub fn span(&self) -> u64 {
        let lo = self.loads.first().map_or(0, |s| page_down(s.va));
        page_up(self.loads.iter().map(|s| s.va + s.memsz).max().unwrap_or(0)) - lo
    }

    /// Maps all segments at `bias`; gives the end of the last.
    pub fn map(&self, w: &mut World, mm: &mut Mm, loc: &Loc, bias: u64) -> KResult<u64> {
        let obj = w.object_of(loc)?;
        let mut end = 0;
        for s in &self.loads {
            let va = s.va.checked_add(bias).ok_or(Errno::ENOMEM)?;
            let start = page_down(va);
            if va + s.memsz > TASK_SIZE || start < crate::mm::MMAP_MIN {
                return Err(Errno::ENOMEM);
            }
            let file_end = page_up(va + s.filesz);
            let prot = ((s.flags >> 2 & 1) | (s.flags & 2) | (s.flags & 1) << 2) as u8;
            let mut v = Vma {
                start,
                end: file_end,
                prot,
                may: 7,
                shared: false,
                grows_down: false,
                locked: false,
                dontfork: false,
                wipeonfork: false,
                noreserve: false,
                back: Back::Anon,
                label: "",
            };
            if s.filesz > 0 {
                w.vfs.hold(loc.ino);
                v.back = Back::Obj {
                    obj,
                    file: Some(loc.clone()),
                    off: page_down(s.off),
                    label: "",
                };
                mm.insert(v.clone(), &mut w.vfs);
            }
            let mem_end = page_up(va + s.memsz);
            let bss = if s.filesz > 0 { file_end } else { start };
            if mem_end > bss {
                v.start = bss;
                v.end = mem_end;
                v.back = Back::Anon;
                mm.insert(v, &mut w.vfs);
            }
            end = end.max(va + s.memsz);
        }
        Ok(end)
    }

    /// Where file bytes end inside a writable page that must read as zero from there on: (address, length).
    pub fn tails(&self, bias: u64) -> Vec<(u64, u64)> {
        self.loads
            .iter()
            .filter(|s| s.memsz > s.filesz && s.flags & 2 != 0 && s.filesz > 0)
            .map(|s| {
                let at = s.va + bias + s.filesz;
                (at, page_up(at) - at)
            })
            .filter(|(_, n)| *n > 0)
            .collect()
    }
}
