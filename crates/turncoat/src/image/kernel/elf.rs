//! What depmod(8) reads in a module: its strings of information, what it exports, what it needs.
//!
//! A module is a relocatable 64-bit ELF file (elf(5)). Sections are found by name; whatever is not as it should be counts as absent.

/// A module's file.
pub(super) struct Module<'a> {
    sections: Vec<Section<'a>>,
}

struct Section<'a> {
    name: &'a [u8],
    data: &'a [u8],
    link: usize,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut out = [0; 8];
    out.get_mut(..N)?
        .copy_from_slice(bytes.get(at..at.checked_add(N)?)?);
    Some(u64::from_le_bytes(out))
}

/// The string that begins at `at`, without its NUL.
fn string(bytes: &[u8], at: usize) -> &[u8] {
    let rest = bytes.get(at..).unwrap_or_default();
    let len = rest.iter().position(|&b| b == 0).unwrap_or(rest.len());
    rest.get(..len).unwrap_or_default()
}

impl<'a> Module<'a> {
    /// Takes the file apart; `None` if it is no such ELF file.
    pub fn new(file: &'a [u8]) -> Option<Module<'a>> {
        if file.get(..6)? != b"\x7fELF\x02\x01" {
            return None;
        }
        let at = number::<8>(file, 0x28)? as usize;
        let (size, count, names) = (
            number::<2>(file, 0x3a)? as usize,
            number::<2>(file, 0x3c)? as usize,
            number::<2>(file, 0x3e)? as usize,
        );
        let header = |n: usize| file.get(at.checked_add(n * size)?..)?.get(..size.max(64));
        let data = |header: &[u8]| {
            let (from, len) = (
                number::<8>(header, 24)? as usize,
                number::<8>(header, 32)? as usize,
            );
            // SHT_NOBITS has no bytes in the file.
            if number::<4>(header, 4)? == 8 {
                return Some(&[][..]);
            }
            file.get(from..from.checked_add(len)?)
        };
        let table = data(header(names)?)?;
        let mut sections = Vec::with_capacity(count);
        for n in 0..count {
            let h = header(n)?;
            sections.push(Section {
                name: string(table, number::<4>(h, 0)? as usize),
                data: data(h).unwrap_or_default(),
                link: number::<4>(h, 40)? as usize,
            });
        }
        Some(Module { sections })
    }

    fn section(&self, name: &[u8]) -> Option<&Section<'a>> {
        self.sections.iter().find(|s| s.name == name)
    }

    fn strings(&self, section: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        let data: &'a [u8] = self.section(section).map_or(&[], |s| s.data);
        data.split(|&b| b == 0).filter(|s| !s.is_empty())
    }

    /// The pairs of `.modinfo`, in their order.
    pub fn info(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.strings(b".modinfo").filter_map(pair)
    }

    /// Names in the symbol table with their section: 0 is another module's.
    fn symbols(&self) -> impl Iterator<Item = (&'a [u8], u64)> {
        let table = self.section(b".symtab");
        let names: &'a [u8] = table
            .and_then(|t| self.sections.get(t.link))
            .map_or(&[], |s| s.data);
        let data: &'a [u8] = table.map_or(&[], |t| t.data);
        let one = move |s: &[u8]| Some((string(names, number::<4>(s, 0)? as usize), number::<2>(s, 6)?));
        data.chunks_exact(24)
            .skip(1)
            .filter_map(one)
            .filter(|(n, _)| !n.is_empty())
    }

    /// Symbols that it exports: those with a checksum.
    pub fn exports(&self) -> impl Iterator<Item = &'a [u8]> {
        self.symbols().filter_map(|(n, _)| n.strip_prefix(b"__crc_"))
    }

    /// Symbols that it wants of others, in the order of its symbol table.
    pub fn needs(&self) -> impl Iterator<Item = &'a [u8]> {
        self.symbols()
            .filter(|(_, section)| *section == 0)
            .map(|(n, _)| n)
    }
}

/// `key=value`.
pub(super) fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&b| b == b'=')?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// The libraries that a program or library names as needed (`DT_NEEDED`).
pub(super) fn libraries(file: &[u8]) -> Vec<String> {
    let Some(elf) = Module::new(file) else {
        return Vec::new();
    };
    let Some(dynamic) = elf.section(b".dynamic") else {
        return Vec::new();
    };
    let names = elf.sections.get(dynamic.link).map_or(&[][..], |s| s.data);
    let entries = dynamic
        .data
        .chunks_exact(16)
        .filter(|e| number::<8>(e, 0) == Some(1));
    entries
        .filter_map(|e| {
            Some(String::from_utf8_lossy(string(names, number::<8>(e, 8)? as usize)).into_owned())
        })
        .collect()
}
