//! The page of code that Linux maps into every program. Programs get none yet: libc falls back to system calls.

use crate::mm::Mm;
use crate::world::World;

pub(crate) fn map(_w: &mut World, mm: &mut Mm) {
    mm.vdso = 0;
}
