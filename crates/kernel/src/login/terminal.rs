//! The terminal of a login: the modes that the client sent, and its node in /dev/pts.

use crate::abi::*;
use crate::tty::{TtyFile, TtyId};
use crate::world::World;

/// Terminal modes: control characters by opcode, in order of their index in `c_cc` (RFC 4254 section 8 and termios(3)).
const CC: [(u8, usize); 16] = [
    (1, 0),
    (2, 1),
    (3, 2),
    (4, 3),
    (5, 4),
    (6, 11),
    (7, 16),
    (8, 8),
    (9, 9),
    (10, 10),
    (12, 12),
    (13, 14),
    (14, 15),
    (16, 7),
    (18, 13),
    (11, 10),
];
/// Flags by opcode: which word (0 input, 1 output, 2 control, 3 local) and which bits.
const FLAGS: [(u8, usize, u32); 38] = [
    (30, 0, 0o4),
    (31, 0, 0o10),
    (32, 0, 0o20),
    (33, 0, 0o40),
    (34, 0, 0o100),
    (35, 0, 0o200),
    (36, 0, 0o400),
    (37, 0, 0o1000),
    (38, 0, 0o2000),
    (39, 0, 0o4000),
    (40, 0, 0o10000),
    (41, 0, 0o20000),
    (42, 0, 0o40000),
    (50, 3, 0o1),
    (51, 3, 0o2),
    (52, 3, 0o4),
    (53, 3, 0o10),
    (54, 3, 0o20),
    (55, 3, 0o40),
    (56, 3, 0o100),
    (57, 3, 0o200),
    (58, 3, 0o400),
    (59, 3, 0o100000),
    (60, 3, 0o1000),
    (61, 3, 0o4000),
    (62, 3, 0o40000),
    (70, 1, 0o1),
    (71, 1, 0o2),
    (72, 1, 0o4),
    (73, 1, 0o10),
    (74, 1, 0o20),
    (75, 1, 0o40),
    (92, 2, 0o400),
    (93, 2, 0o1000),
    (90, 2, 0o40),
    (91, 2, 0o60),
    (94, 2, 0),
    (95, 2, 0),
];

impl World {
    pub(super) fn apply_modes(&mut self, m: &TtyFile, root: &crate::tty::Caller, modes: &[(u8, u32)]) {
        let Some(t) = self.ttys.tty(m.tty) else { return };
        let mut b = t.termios().to_bytes().to_vec();
        let mut words = [le32(&b, 0), le32(&b, 4), le32(&b, 8), le32(&b, 12)];
        for (op, v) in modes {
            // glibc keeps one speed for both directions, and an input speed of 0 means the other one.
            let speed = match op {
                128 if *v == 0 => None,
                128 | 129 => Some(crate::abi::tty::speed_bits(*v)),
                _ => None,
            };
            if let Some(bits) = speed {
                words[2] = words[2] & !crate::abi::tty::CBAUD | bits;
            }
            if let Some((_, i)) = CC.iter().find(|(o, _)| o == op) {
                if let Some(c) = b.get_mut(17 + i) {
                    *c = if *v == 255 { 0 } else { *v as u8 };
                }
            } else if let Some((_, w, bit)) = FLAGS.iter().find(|(o, ..)| o == op) {
                match (op, *v != 0) {
                    (90 | 91, true) => words[2] = words[2] & !0o60 | if *op == 91 { 0o60 } else { 0o40 },
                    (90 | 91, false) => {}
                    (_, true) => words[*w] |= bit,
                    (_, false) => words[*w] &= !bit,
                }
            }
        }
        for (i, w) in words.iter().enumerate() {
            b[i * 4..i * 4 + 4].copy_from_slice(&w.to_le_bytes());
        }
        b.truncate(crate::abi::tty::TERMIOS_SIZE);
        let _ = self
            .ttys
            .ioctl(m, root, crate::abi::tty::TCSETS, 0, &b, true, &|_| None);
    }

    /// A pty appeared or went: its node in /dev/pts.
    pub(crate) fn pts_node(&mut self, t: TtyId, present: bool) {
        let now = self.timespec();
        let uid = self.creds(self.current).map_or(0, |k| k.fsuid);
        if present {
            self.vfs.pts_add(t.0, uid, now);
        } else {
            self.vfs.pts_remove(t.0, now);
        }
    }
}
