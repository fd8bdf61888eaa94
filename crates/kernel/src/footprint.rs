//! What a world holds in memory, by kind: for benchmarks and for whoever looks for what makes a world large.

use crate::mm::Back;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// What a world's processes hold, by what it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Address spaces.
    pub spaces: u64,
    /// Pages (4 KiB) that no file of the image holds, each once, by mapping: `[heap]`, `[stack]`, `anonymous`, or the
    /// object of a file whose private mapping was written to.
    pub pages: BTreeMap<String, u64>,
    /// Of those, pages that hold nothing but zeros.
    pub zero: u64,
    /// Page-table entries, whoever owns the pages.
    pub present: u64,
    /// Leaves of page tables.
    pub leaves: u64,
    /// Bytes of decoded code that belong to these pages.
    pub code: u64,
    /// Threads, mappings, open files.
    pub tasks: u64,
    /// Mappings of all spaces.
    pub mappings: u64,
    /// Pages that files hold beyond the image.
    pub files: u64,
}

impl World {
    /// Counts what this world's processes hold. It reads every page: not for a running decoy.
    pub fn footprint(&mut self) -> Footprint {
        self.rise();
        let mut f = Footprint {
            spaces: self.mms.len() as u64,
            tasks: self.tasks.len() as u64,
            files: self.vfs.objects.usage().0,
            ..Footprint::default()
        };
        let mut seen = BTreeSet::from([self.zero.id()]);
        for m in self.mms.values_mut() {
            f.present += m.space.stats().present as u64;
            f.leaves += m.space.leaves() as u64;
            f.mappings += m.vmas.len() as u64;
            for (va, page, _, _) in m.space.present(0, u64::MAX) {
                let Some(v) = m
                    .vmas
                    .range(..=va)
                    .next_back()
                    .map(|(_, v)| v)
                    .filter(|v| va < v.end)
                else {
                    continue;
                };
                let name = match (&v.back, v.label) {
                    (_, l) if !l.is_empty() => l.to_owned(),
                    (Back::Anon, _) => "anonymous".to_owned(),
                    (Back::Obj { obj, off, .. }, _) => {
                        let of_file = self.vfs.objects.page(*obj, (off + (va - v.start)) / 4096);
                        if of_file.is_some_and(|p| p.ptr_eq(page)) {
                            continue;
                        }
                        format!("file {:x}", obj.0 & !(1 << 63))
                    }
                };
                if seen.insert(page.id()) {
                    *f.pages.entry(name).or_default() += 1;
                    f.zero += u64::from(page.is_zero());
                    f.code += page.code_bytes() as u64;
                }
            }
        }
        f
    }
}
