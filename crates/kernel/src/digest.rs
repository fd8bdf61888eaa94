//! A digest over a world's state: two worlds that went the same way have the same one.

use crate::world::World;
use sha2::{Digest, Sha256};

impl World {
    /// SHA-256 over registers, every mapped page and its address, every page that files hold beyond the image, descriptors,
    /// queues, clock and randomness. It reads all memory: for comparing a run with its rerun, not for a running decoy.
    pub fn digest(&mut self) -> [u8; 32] {
        self.rise();
        let mut h = Sha256::new();
        let mut page = [0; 4096];
        let number = |h: &mut Sha256, n: u64| h.update(n.to_le_bytes());
        for n in [
            self.clock.total,
            self.clock.mono(),
            self.seq,
            self.forks,
            self.switches,
            u64::from(self.last_pid),
            u64::from(self.next_id),
            u64::from(self.next_conn),
            self.runq.len() as u64,
            self.timers.len() as u64,
            self.waiters.len() as u64,
            self.open.iter().count() as u64,
            self.pipes.iter().count() as u64,
        ] {
            number(&mut h, n);
        }
        number(&mut h, self.rng.clone().u64());
        h.update(format!("{:?}", self.ipc));
        for tid in &self.runq {
            number(&mut h, u64::from(*tid));
        }
        for (at, what) in &self.timers {
            number(&mut h, *at);
            h.update(format!("{what:?}"));
        }
        for (tid, t) in &self.tasks {
            for n in [
                u64::from(*tid),
                u64::from(t.tgid),
                t.utime,
                t.stime,
                t.minflt,
                t.nvcsw,
                t.nivcsw,
                t.mask.0,
            ] {
                number(&mut h, n);
            }
            h.update(format!("{:?}", t.state));
            h.update(t.comm);
            if let Some(cpu) = &t.cpu {
                h.update(cpu.to_bytes());
            }
        }
        for (id, table) in &self.fdtables {
            number(&mut h, u64::from(*id));
            for (fd, slot) in table.slots.iter().enumerate() {
                if let Some(slot) = slot {
                    number(&mut h, fd as u64);
                    number(&mut h, u64::from(slot.file));
                }
            }
        }
        for (id, m) in &self.mms {
            number(&mut h, u64::from(*id));
            for (start, v) in &m.vmas {
                number(&mut h, *start);
                number(&mut h, v.end);
                h.update([v.prot, u8::from(v.shared)]);
            }
            for (va, p, prot, _) in m.space.present(0, u64::MAX) {
                number(&mut h, va);
                p.read(0, &mut page);
                h.update([prot.bits()]);
                h.update(page);
            }
        }
        for (object, index, p) in self.vfs.objects.own_pages() {
            number(&mut h, object);
            number(&mut h, index);
            p.read(0, &mut page);
            h.update(page);
        }
        h.finalize().into()
    }
}
