//! Credentials of a task: ids, groups, capabilities, as capabilities(7) and credentials(7) define them.

use crate::{Errno, KResult};
use turncoat_freeze::Freeze;

/// A set of capabilities, bit n is capability n.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Freeze)]
pub struct Caps(pub u64);

/// Every capability that Linux 6.1 knows (CAP_CHOWN 0 to CAP_CHECKPOINT_RESTORE 40).
pub const CAP_ALL: Caps = Caps((1 << 41) - 1);

#[allow(missing_docs)]
pub mod cap {
    pub const CHOWN: u32 = 0;
    pub const DAC_OVERRIDE: u32 = 1;
    pub const DAC_READ_SEARCH: u32 = 2;
    pub const FOWNER: u32 = 3;
    pub const FSETID: u32 = 4;
    pub const KILL: u32 = 5;
    pub const SETGID: u32 = 6;
    pub const SETUID: u32 = 7;
    pub const SETPCAP: u32 = 8;
    pub const LINUX_IMMUTABLE: u32 = 9;
    pub const NET_BIND_SERVICE: u32 = 10;
    pub const NET_ADMIN: u32 = 12;
    pub const NET_RAW: u32 = 13;
    pub const IPC_LOCK: u32 = 14;
    pub const IPC_OWNER: u32 = 15;
    pub const SYS_MODULE: u32 = 16;
    pub const SYS_CHROOT: u32 = 18;
    pub const SYS_PTRACE: u32 = 19;
    pub const SYS_ADMIN: u32 = 21;
    pub const SYS_BOOT: u32 = 22;
    pub const SYS_NICE: u32 = 23;
    pub const SYS_RESOURCE: u32 = 24;
    pub const SYS_TIME: u32 = 25;
    pub const SYS_TTY_CONFIG: u32 = 26;
    pub const MKNOD: u32 = 27;
    pub const SETFCAP: u32 = 31;
    pub const SYSLOG: u32 = 34;
}

/// User, group and capability sets of one task.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
pub struct Creds {
    /// Real, effective, saved and file-system user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Saved user id.
    pub suid: u32,
    /// File-system user id.
    pub fsuid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Saved group id.
    pub sgid: u32,
    /// File-system group id.
    pub fsgid: u32,
    /// Supplementary groups, ascending.
    pub groups: Vec<u32>,
    /// Permitted capabilities.
    pub permitted: Caps,
    /// Effective capabilities.
    pub effective: Caps,
    /// Inheritable capabilities.
    pub inheritable: Caps,
    /// Bounding set.
    pub bounding: Caps,
    /// Ambient set.
    pub ambient: Caps,
    /// SECBIT_* flags; bit 4 is SECBIT_KEEP_CAPS.
    pub securebits: u32,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
}

const KEEP_CAPS: u32 = 1 << 4;

impl Creds {
    /// A root process's credentials with no supplementary groups.
    pub fn root() -> Creds {
        let mut c = Creds::user(0, 0, Vec::new());
        c.permitted = CAP_ALL;
        c.effective = CAP_ALL;
        c
    }

    /// An ordinary login's credentials; uid 0 has every capability.
    pub fn user(uid: u32, gid: u32, mut groups: Vec<u32>) -> Creds {
        groups.sort_unstable();
        groups.dedup();
        let caps = if uid == 0 { CAP_ALL } else { Caps(0) };
        Creds {
            uid,
            euid: uid,
            suid: uid,
            fsuid: uid,
            gid,
            egid: gid,
            sgid: gid,
            fsgid: gid,
            groups,
            permitted: caps,
            effective: caps,
            inheritable: Caps(0),
            bounding: CAP_ALL,
            ambient: Caps(0),
            securebits: 0,
            no_new_privs: false,
        }
    }

    /// True if capability `c` is effective.
    pub fn capable(&self, c: u32) -> bool {
        self.effective.0 >> c & 1 == 1
    }

    /// True if `gid` is the file-system group or a supplementary group.
    pub fn in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.contains(&gid)
    }

    /// True if `gid` is the effective group or a supplementary group.
    pub fn in_egroup(&self, gid: u32) -> bool {
        self.egid == gid || self.groups.contains(&gid)
    }

    /// Capability changes that follow from a change of user ids (capabilities(7)).
    fn uid_fixup(&mut self, old: (u32, u32, u32)) {
        let had = old.0 == 0 || old.1 == 0 || old.2 == 0;
        let has = self.uid == 0 || self.euid == 0 || self.suid == 0;
        if had && !has && self.securebits & KEEP_CAPS == 0 {
            self.permitted = Caps(0);
            self.effective = Caps(0);
            self.ambient = Caps(0);
        }
        if old.1 == 0 && self.euid != 0 {
            self.effective = Caps(0);
        }
        if old.1 != 0 && self.euid == 0 {
            self.effective = self.permitted;
        }
        self.fsuid = self.euid;
    }

    /// setresuid(2); `None` leaves an id alone.
    pub fn setresuid(&mut self, r: Option<u32>, e: Option<u32>, s: Option<u32>) -> KResult<()> {
        let old = (self.uid, self.euid, self.suid);
        if !self.capable(cap::SETUID) {
            for id in [r, e, s].into_iter().flatten() {
                if id != old.0 && id != old.1 && id != old.2 {
                    return Err(Errno::EPERM);
                }
            }
        }
        self.uid = r.unwrap_or(self.uid);
        self.euid = e.unwrap_or(self.euid);
        self.suid = s.unwrap_or(self.suid);
        self.uid_fixup(old);
        Ok(())
    }

    /// setreuid(2).
    pub fn setreuid(&mut self, r: Option<u32>, e: Option<u32>) -> KResult<()> {
        let old = (self.uid, self.euid, self.suid);
        if !self.capable(cap::SETUID) {
            let bad_r = r.is_some_and(|r| r != old.0 && r != old.1);
            let bad_e = e.is_some_and(|e| e != old.0 && e != old.1 && e != old.2);
            if bad_r || bad_e {
                return Err(Errno::EPERM);
            }
        }
        self.uid = r.unwrap_or(self.uid);
        self.euid = e.unwrap_or(self.euid);
        if r.is_some() || e.is_some_and(|e| e != old.0) {
            self.suid = self.euid;
        }
        self.uid_fixup(old);
        Ok(())
    }

    /// setuid(2).
    pub fn setuid(&mut self, id: u32) -> KResult<()> {
        let old = (self.uid, self.euid, self.suid);
        if self.capable(cap::SETUID) {
            (self.uid, self.euid, self.suid) = (id, id, id);
        } else if id == self.uid || id == self.suid {
            self.euid = id;
        } else {
            return Err(Errno::EPERM);
        }
        self.uid_fixup(old);
        Ok(())
    }

    /// setresgid(2).
    pub fn setresgid(&mut self, r: Option<u32>, e: Option<u32>, s: Option<u32>) -> KResult<()> {
        if !self.capable(cap::SETGID) {
            for id in [r, e, s].into_iter().flatten() {
                if id != self.gid && id != self.egid && id != self.sgid {
                    return Err(Errno::EPERM);
                }
            }
        }
        self.gid = r.unwrap_or(self.gid);
        self.egid = e.unwrap_or(self.egid);
        self.sgid = s.unwrap_or(self.sgid);
        self.fsgid = self.egid;
        Ok(())
    }

    /// setregid(2).
    pub fn setregid(&mut self, r: Option<u32>, e: Option<u32>) -> KResult<()> {
        let old = self.gid;
        if !self.capable(cap::SETGID) {
            let bad_r = r.is_some_and(|r| r != self.gid && r != self.egid);
            let bad_e = e.is_some_and(|e| e != self.gid && e != self.egid && e != self.sgid);
            if bad_r || bad_e {
                return Err(Errno::EPERM);
            }
        }
        self.gid = r.unwrap_or(self.gid);
        self.egid = e.unwrap_or(self.egid);
        if r.is_some() || e.is_some_and(|e| e != old) {
            self.sgid = self.egid;
        }
        self.fsgid = self.egid;
        Ok(())
    }

    /// setgid(2).
    pub fn setgid(&mut self, id: u32) -> KResult<()> {
        if self.capable(cap::SETGID) {
            (self.gid, self.egid, self.sgid) = (id, id, id);
        } else if id == self.gid || id == self.sgid {
            self.egid = id;
        } else {
            return Err(Errno::EPERM);
        }
        self.fsgid = self.egid;
        Ok(())
    }

    /// The change of credentials by execve of a file (after set-id bits put `euid`/`egid` in place).
    /// `file` holds the file's (permitted, inheritable, effective-bit) capabilities, if it has any.
    pub fn exec_fixup(&mut self, set_id: bool, file: Option<(Caps, Caps, bool)>) {
        let root = self.uid == 0 || self.euid == 0;
        let (mut fp, mut fi, mut fe) = file.unwrap_or((Caps(0), Caps(0), false));
        if root {
            fi = CAP_ALL;
            fp = CAP_ALL;
            fe = self.euid == 0;
        }
        if set_id || file.is_some() {
            self.ambient = Caps(0);
        }
        let p = (self.inheritable.0 & fi.0) | (fp.0 & self.bounding.0) | self.ambient.0;
        self.permitted = Caps(p);
        self.effective = if fe { Caps(p) } else { self.ambient };
        self.suid = self.euid;
        self.sgid = self.egid;
        self.fsuid = self.euid;
        self.fsgid = self.egid;
        self.securebits &= !KEEP_CAPS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_root_drops_capabilities() {
        let mut c = Creds::root();
        c.setresuid(Some(1000), Some(1000), Some(1000)).unwrap();
        assert_eq!(c.permitted, Caps(0));
        assert_eq!(c.setuid(0), Err(Errno::EPERM));
    }

    #[test]
    fn setuid_file_gives_capabilities() {
        let mut c = Creds::user(1000, 1000, vec![27, 1000]);
        c.euid = 0;
        c.exec_fixup(true, None);
        assert_eq!(c.effective, CAP_ALL);
        c.setuid(0).unwrap();
        assert_eq!(c.uid, 0);
    }
}
