//! A guest as bytes: its world, and what stands beside it.

use super::KernelGuest;
use crate::frozen;
use turncoat_freeze::{Damaged, Freeze, In, Out};
use turncoat_kernel::World;

/// Bytes of memory that a guest may have beyond those that are written: pages of zeros.
const ZEROS: usize = 512 << 20;

impl KernelGuest {
    /// Writes it, in at most so many bytes.
    pub(super) fn write(&mut self, most: usize) -> Option<Vec<u8>> {
        let mut out = Out::new(most);
        let KernelGuest {
            world,
            kept,
            room,
            accounts,
            streams,
            life,
            // What it was made from.
            ground,
            jobs,
            away,
            leaves,
            said,
            told,
        } = self;
        world.freeze(&ground.as_ref()?.start, &mut out);
        frozen::put(kept, None, &mut out);
        room.put(None, &mut out);
        frozen::put(&**accounts, None, &mut out);
        streams.put(None, &mut out);
        life.is_some().put(None, &mut out);
        if let Some(life) = life {
            life.put(&mut out);
        }
        jobs.put(None, &mut out);
        frozen::put(&(*away, *leaves), None, &mut out);
        said.put(None, &mut out);
        frozen::put(told, None, &mut out);
        out.done()
    }

    /// Becomes what was written.
    pub(super) fn read(&mut self, frozen: &[u8]) -> Result<(), Damaged> {
        let ground = self.ground.clone();
        let start = ground.as_ref().ok_or(Damaged("there is nothing to begin with"))?;
        let mut from = In::new(frozen, ZEROS);
        let from = &mut from;
        let world = World::thaw(&start.start, from)?;
        let kept = frozen::take(None, from)?;
        let room = usize::take(None, from)?;
        let accounts = std::sync::Arc::new(frozen::take(None, from)?);
        let streams = Freeze::take(None, from)?;
        let life = match (bool::take(None, from)?, &self.life) {
            (true, Some(life)) => Some(life.take(&start.cover, from)?),
            (false, _) => None,
            (true, None) => return Err(Damaged("a machine without a life had one")),
        };
        let jobs = Freeze::take(None, from)?;
        let (away, leaves) = frozen::take(None, from)?;
        let said = bool::take(None, from)?;
        let told = frozen::take(None, from)?;
        from.end()?;
        *self = KernelGuest {
            world,
            kept,
            room,
            accounts,
            streams,
            life,
            ground,
            jobs,
            away,
            leaves,
            said,
            told,
        };
        Ok(())
    }
}
