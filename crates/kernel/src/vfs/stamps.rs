//! Times that the image's inodes have on this machine. The image knows when a file was packaged; when it came to this disk and who read it
//! since are facts of the machine, given at boot.

use super::types::Timespec;
use crate::image::{InodeMeta, Kind};
use std::collections::HashMap;
use turncoat_freeze::Freeze;

/// Of one inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Freeze)]
pub struct Stamp {
    /// When it came to the disk, seconds since the epoch: its birth and the change of its inode.
    pub placed: Option<i64>,
    /// When its content changed, where that is not what its package says.
    pub written: Option<i64>,
    /// When it was read last.
    pub read: Option<i64>,
}

/// Of all inodes of an image, by number there.
#[derive(Clone, Debug, Default, Freeze)]
pub struct Stamps {
    /// Those that are known.
    pub known: HashMap<u32, Stamp>,
    /// The others were placed then.
    pub placed: i64,
    /// What the image's builder wrote itself has this time; here it is as old as the others.
    pub builder: Option<i64>,
}

/// Birth and times of an inode.
pub(super) struct Times {
    pub born: Timespec,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
}

/// A moment in this second: a clock that ticks 250 times a second, as the kernel's does for times of files.
pub fn tick(second: i64, of: u64) -> Timespec {
    let mut h = (second as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ of.wrapping_mul(0xd6e8_feb8_6659_fd93);
    h = (h ^ (h >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    // The tick's own place within four milliseconds moves with the boot, here with the day.
    let within = (second.div_euclid(86_400) as u64).wrapping_mul(0x9e37_79b9) % 4_000_000;
    Timespec {
        sec: second,
        nsec: ((h >> 33) % 250 * 4_000_000 + within) as u32,
    }
}

impl Stamps {
    /// The times of image inode `number`.
    pub(super) fn of(&self, number: u32, m: &InodeMeta) -> Times {
        let known = self.known.get(&number).copied().unwrap_or_default();
        let born = tick(known.placed.unwrap_or(self.placed), number.into());
        let own = Timespec {
            sec: m.mtime,
            nsec: m.mtime_nsec,
        };
        // What no package brought has no time of its own, and directories change when something comes into them.
        let made_here =
            (m.mtime, m.mtime_nsec) == (0, 0) || self.builder == Some(m.mtime) || m.kind == Kind::Dir;
        let mtime = match known.written {
            Some(at) => tick(at, number.into()),
            None if made_here && known.placed.is_none() || m.kind == Kind::Dir => born,
            None => own,
        };
        let ctime = born.max(mtime);
        let read = known.read.map_or(ctime, |at| tick(at, u64::from(number) ^ 1));
        Times {
            born,
            atime: read.max(born),
            mtime,
            ctime,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_lie_in_their_second_and_differ() {
        let all: Vec<Timespec> = (0..1_000).map(|n| tick(1_700_000_000, n)).collect();
        assert!(
            all.iter()
                .all(|t| t.sec == 1_700_000_000 && t.nsec < 1_000_000_000)
        );
        let mut parts: Vec<u32> = all.iter().map(|t| t.nsec).collect();
        parts.sort_unstable();
        parts.dedup();
        assert!(parts.len() > 200);
        assert!(parts.windows(2).all(|w| (w[1] - w[0]) % 4_000_000 == 0));
    }
}
