//! The pages that Linux maps into every program: `[vdso]`, a small shared object that libc finds by the auxiliary vector, and
//! `[vvar]` before it.
//!
//! Linux's functions read the clock without entering the kernel; ours make the system call, with the same result. The object is made
//! once for a world (`linux-vdso.so.1`, version `LINUX_2.6`, as in arch/x86/entry/vdso/vdso.lds.S) and one page serves every process.

use crate::mm::{Back, Mm, TASK_SIZE, Vma};
use crate::world::World;
use turncoat_cpu::{PageRef, Prot, Share};

const PAGE: u64 = 4096;
/// Pages of `[vvar]` and `[vdso]` on Linux 6.1.
const VVAR: u64 = 4 * PAGE;
const VDSO: u64 = 2 * PAGE;

/// Function and the system call that it makes.
const FUNCTIONS: [(&str, u32); 5] = [
    ("clock_gettime", 228),
    ("gettimeofday", 96),
    ("clock_getres", 229),
    ("time", 201),
    ("getcpu", 309),
];
const SONAME: &str = "linux-vdso.so.1";
const VERSION: &str = "LINUX_2.6";

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_NOTE: u32 = 4;
const HEADERS: u64 = 64 + 3 * 56;

/// The hash of symbol names (System V gABI, "Hash Table").
fn elf_hash(name: &str) -> u32 {
    name.bytes().fold(0u32, |h, b| {
        let h = (h << 4).wrapping_add(u32::from(b));
        let g = h & 0xf000_0000;
        (h ^ g >> 24) & !g
    })
}

/// Bytes that grow, with their place in the file.
struct Image(Vec<u8>);

impl Image {
    fn align(&mut self, to: usize) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
        self.0.len() as u64
    }
    fn u16(&mut self, v: u16) -> &mut Image {
        self.0.extend(v.to_le_bytes());
        self
    }
    fn u32(&mut self, v: u32) -> &mut Image {
        self.0.extend(v.to_le_bytes());
        self
    }
    fn u64(&mut self, v: u64) -> &mut Image {
        self.0.extend(v.to_le_bytes());
        self
    }
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(to) = self.0.get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    }
}

/// The kernel's version as its note has it: three numbers in one.
fn version_code(release: &str) -> u32 {
    let mut parts = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse::<u32>().unwrap_or(0).min(255));
    let mut next = || parts.next().unwrap_or(0);
    next() << 16 | next() << 8 | next()
}

/// The first page of the object; the second stays empty.
fn object(release: &str) -> Vec<u8> {
    let mut strings = vec![0u8];
    let mut string = |s: &str| {
        let at = strings.len() as u32;
        strings.extend(s.bytes());
        strings.push(0);
        at
    };
    let soname = string(SONAME);
    let version = string(VERSION);
    // Each function under two names: `__vdso_time` and, weak, `time`.
    let names: Vec<(u32, String, u8, usize)> = FUNCTIONS
        .iter()
        .enumerate()
        .flat_map(|(n, (name, _))| [(format!("__vdso_{name}"), 0x12, n), ((*name).to_owned(), 0x22, n)])
        .map(|(name, info, n)| (string(&name), name, info, n))
        .collect();
    let count = names.len() as u32 + 2;

    let mut e = Image(vec![0; HEADERS as usize]);
    let hash = e.align(8);
    // One bucket: every symbol in one chain.
    e.u32(1).u32(count).u32(1).u32(0);
    for n in 1..count {
        e.u32(if n + 1 < count { n + 1 } else { 0 });
    }
    let note = e.align(4);
    e.u32(6).u32(4).u32(0);
    e.0.extend(b"Linux\0\0\0");
    e.u32(version_code(release));
    let note_end = e.0.len() as u64;
    let symbols = e.align(8);
    let code = |n: usize| 0x800 + n as u64 * 16;
    e.u64(0).u64(0).u64(0);
    for (at, _, info, n) in &names {
        e.u32(*at);
        e.0.extend([*info, 0]);
        e.u16(13).u64(code(*n)).u64(8);
    }
    // The version's own symbol.
    e.u32(version);
    e.0.extend([0x11, 0]);
    e.u16(0xfff1).u64(0).u64(0);
    let versym = e.align(2);
    e.u16(0);
    for _ in &names {
        e.u16(2);
    }
    e.u16(2);
    let verdef = e.align(8);
    for (flags, index, name, next) in [(1u16, 1u16, soname, 28u32), (0, 2, version, 0)] {
        let text = if index == 1 { SONAME } else { VERSION };
        e.u16(1).u16(flags).u16(index).u16(1);
        e.u32(elf_hash(text)).u32(20).u32(next);
        e.u32(name).u32(0);
    }
    let text = e.align(8);
    let size = strings.len() as u64;
    e.0.extend(strings);
    let dynamic = e.align(8);
    let rows = [
        (14u64, u64::from(soname)),
        (4, hash),
        (5, text),
        (6, symbols),
        (10, size),
        (11, 24),
        (0x6fff_fffc, verdef),
        (0x6fff_fffd, 2),
        (0x6fff_fff0, versym),
        (0, 0),
    ];
    for (tag, value) in rows {
        e.u64(tag).u64(value);
    }
    let dynamic_end = e.0.len() as u64;
    e.0.resize(PAGE as usize, 0);
    for (n, (_, call)) in FUNCTIONS.iter().enumerate() {
        // mov $call, %eax; syscall; ret
        let mut c = vec![0xb8];
        c.extend(call.to_le_bytes());
        c.extend([0x0f, 0x05, 0xc3]);
        e.put(code(n) as usize, &c);
    }

    let mut head = Image(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec());
    head.u16(3).u16(62).u32(1).u64(code(0)).u64(64).u64(0).u32(0);
    head.u16(64).u16(56).u16(3).u16(0).u16(0).u16(0);
    for (kind, flags, from, to, align) in [
        (PT_LOAD, 5u32, 0, PAGE, PAGE),
        (PT_DYNAMIC, 4, dynamic, dynamic_end, 8),
        (PT_NOTE, 4, note, note_end, 4),
    ] {
        head.u32(kind).u32(flags).u64(from).u64(from).u64(from);
        head.u64(to - from).u64(to - from).u64(align);
    }
    e.put(0, &head.0);
    e.0
}

/// The page that every program of a kernel of this release gets.
pub(crate) fn page(release: &str) -> PageRef {
    PageRef::from_slice(&object(release))
}

/// Maps both above the stack, at a place of its own, as `map_vdso_randomized` does.
pub(crate) fn map(w: &mut World, mm: &mut Mm, stack_top: u64, random: bool) {
    let len = VVAR + VDSO;
    let end = (stack_top.next_multiple_of(2 << 20))
        .min(TASK_SIZE)
        .saturating_sub(len);
    let mut at = stack_top;
    if end > stack_top && random {
        at += w.rng.u64() % ((end - stack_top) / PAGE + 1) * PAGE;
    }
    if at + len > TASK_SIZE || !mm.is_free(at, at + len) {
        let Some(gap) = mm.gap(len, false) else { return };
        at = gap;
    }
    for (start, size, prot, label) in [(at, VVAR, 1, "[vvar]"), (at + VVAR, VDSO, 5, "[vdso]")] {
        let v = Vma {
            start,
            end: start + size,
            prot,
            may: prot,
            shared: false,
            grows_down: false,
            locked: false,
            dontfork: false,
            wipeonfork: false,
            noreserve: false,
            back: Back::Anon,
            label,
        };
        mm.insert(v, &mut w.vfs);
    }
    mm.vdso = at + VVAR;
    let rights = Prot::READ | Prot::EXEC;
    mm.space.map(mm.vdso, w.vdso.clone(), rights, Share::Private);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hash_as_the_abi_says() {
        assert_eq!(elf_hash(""), 0);
        assert_eq!(elf_hash("a"), 0x61);
        assert_eq!(elf_hash(VERSION), 0x3ae_75f6);
    }

    #[test]
    fn the_object_fits_its_page_and_says_its_version() {
        let o = object("6.1.0-54-amd64");
        assert_eq!(o.len() as u64, PAGE);
        assert_eq!(version_code("6.1.0-54-amd64"), 0x0006_0100);
        assert!(o[..0x800].windows(15).any(|w| w == SONAME.as_bytes()));
    }
}
