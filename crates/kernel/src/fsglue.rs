//! Between tasks and the file system: who asks, from where, and what the file system leaves to be done by others.

use crate::abi::*;
use crate::fd::What;
use crate::object::ObjectId;
use crate::proc::view::Effect;
use crate::task::Caps;
use crate::vfs::{self, ChangeKind, Ctx, Kind, LockKind, LockRange, Path, Stat, Timespec, Vfs, may, wflag};
use crate::wait::WaitKey;
use crate::world::{Fact, World};
use crate::{Errno, KResult};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use turncoat_freeze::Freeze;

/// The file system, taken out of the world while it is asked something, so that procfs can look at the rest of the world.
#[derive(Clone, Freeze)]
pub(crate) struct VfsCell(Option<Box<Vfs>>, u64);

impl VfsCell {
    pub fn new(v: Vfs) -> VfsCell {
        VfsCell(Some(Box::new(v)), 0)
    }
}

impl VfsCell {
    /// Pages that the world owns in files, also while the file system is out.
    pub fn pages(&self) -> u64 {
        self.0.as_ref().map_or(self.1, |v| v.objects.usage().0)
    }

    /// The file system for good: the world that it was of is over.
    pub fn take_out(&mut self) -> Option<Box<Vfs>> {
        self.0.take()
    }

    fn take(&mut self) -> Option<Box<Vfs>> {
        self.1 = self.pages();
        self.0.take()
    }
}

impl Deref for VfsCell {
    type Target = Vfs;
    fn deref(&self) -> &Vfs {
        // It is out only inside `World::fs`, whose closure cannot reach the world but through `KernelView`, which does not use it.
        self.0.as_deref().expect("file system is in place")
    }
}

impl DerefMut for VfsCell {
    fn deref_mut(&mut self) -> &mut Vfs {
        self.0.as_deref_mut().expect("file system is in place")
    }
}

impl World {
    pub(crate) fn timespec(&self) -> Timespec {
        let r = self.clock.real();
        Timespec {
            sec: (r / crate::time::SEC) as i64,
            nsec: (r % crate::time::SEC) as u32,
        }
    }

    fn fs_creds(&self, tid: u32, real: bool) -> vfs::Creds {
        match self.t(tid) {
            Ok(t) => {
                let k = &t.creds;
                let (uid, gid, caps) = if real {
                    // access(2): real ids, and the capabilities that they would have.
                    (k.uid, k.gid, if k.uid == 0 { k.permitted.0 } else { 0 })
                } else {
                    (k.fsuid, k.fsgid, k.effective.0)
                };
                vfs::Creds {
                    uid,
                    gid,
                    groups: Arc::from(&k.groups[..]),
                    caps,
                }
            }
            Err(_) => vfs::Creds::root(),
        }
    }

    /// Asks the file system something on behalf of a thread (0: of the kernel itself).
    pub(crate) fn fs<R>(&mut self, tid: u32, f: impl FnOnce(&mut Vfs, &Ctx) -> R) -> KResult<R> {
        self.fs_as(tid, false, f)
    }

    pub(crate) fn fs_as<R>(
        &mut self,
        tid: u32,
        real: bool,
        f: impl FnOnce(&mut Vfs, &Ctx) -> R,
    ) -> KResult<R> {
        let creds = self.fs_creds(tid, real);
        let now = self.timespec();
        let info = self
            .t(tid)
            .ok()
            .and_then(|t| self.fss.get(&t.fs))
            .map(|f| (f.root.clone(), f.cwd.clone(), f.umask));
        let (root, cwd, umask) = match info {
            Some(i) => i,
            None => {
                let r = self.vfs.root_path();
                (r.clone(), r, 0o022)
            }
        };
        let mut v = self.vfs.take().ok_or(Errno::EIO)?;
        let ctx = Ctx {
            creds: &creds,
            now,
            umask,
            root: &root,
            cwd: &cwd,
            view: &*self,
        };
        let r = f(&mut v, &ctx);
        self.vfs.0 = Some(v);
        Ok(r)
    }

    /// The directory that a `*at` call starts from.
    pub(crate) fn base(&self, tid: u32, dirfd: i32, path: &[u8]) -> KResult<Path> {
        if dirfd == AT_FDCWD || path.starts_with(b"/") {
            let t = self.t(tid)?;
            return self.fss.get(&t.fs).map(|f| f.cwd.clone()).ok_or(Errno::ENOENT);
        }
        let id = self.fd(tid, dirfd)?;
        match &self.file(id)?.what {
            What::File(loc, Kind::Dir | Kind::PathOnly) => Ok(loc.clone()),
            What::File(loc, _) if path.is_empty() => Ok(loc.clone()),
            _ if path.is_empty() => self.file(id)?.loc.clone().ok_or(Errno::EBADF),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub(crate) fn vfs_hold(&mut self, l: &Path) {
        self.vfs.hold(l.ino);
    }

    pub(crate) fn vfs_release(&mut self, l: &Path) {
        self.vfs.release(l.ino);
    }

    /// A place by path, from a thread's point of view.
    pub(crate) fn walk(&mut self, tid: u32, dirfd: i32, path: &[u8], flags: u32) -> KResult<Path> {
        let base = self.base(tid, dirfd, path)?;
        self.fs(tid, |v, c| v.walk(c, &base, path, flags))?
    }

    pub(crate) fn exec_lookup(&mut self, tid: u32, dirfd: i32, path: &[u8], flags: u32) -> KResult<Path> {
        if path.is_empty() && flags & AT_EMPTY_PATH == 0 {
            return Err(Errno::ENOENT);
        }
        let l = self.walk(tid, dirfd, path, flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))?;
        if flags & AT_SYMLINK_NOFOLLOW != 0 && self.stat_loc(&l)?.mode & S_IFMT == S_IFLNK {
            return Err(Errno::ELOOP);
        }
        Ok(l)
    }

    pub(crate) fn file_bytes(&mut self, l: &Path, off: u64, buf: &mut [u8]) -> KResult<usize> {
        let o = self.vfs.object(l.ino)?;
        Ok(self.vfs.objects.read(o, off, buf))
    }

    pub(crate) fn stat_loc(&mut self, l: &Path) -> KResult<Stat> {
        let l = l.clone();
        self.fs(self.current, |v, c| v.fstat(c, &l))?
    }

    pub(crate) fn mount_nosuid(&self, l: &Path) -> bool {
        self.vfs.mounts().get(l.mnt).is_some_and(|m| m.flags & 2 != 0)
    }

    /// (permitted, inheritable, effective) capabilities of a program file.
    pub(crate) fn file_caps(&self, l: &Path) -> Option<(Caps, Caps, bool)> {
        let b = self.vfs.file_caps(l.ino)?;
        if b.len() < 20 {
            return None;
        }
        let p = le32(&b, 4) as u64 | (le32(&b, 12) as u64) << 32;
        let i = le32(&b, 8) as u64 | (le32(&b, 16) as u64) << 32;
        Some((Caps(p), Caps(i), le32(&b, 0) & 1 != 0))
    }

    pub(crate) fn object_of(&self, l: &Path) -> KResult<ObjectId> {
        self.vfs.object(l.ino)
    }

    pub(crate) fn kind_of(&mut self, l: &Path) -> KResult<Kind> {
        let s = self.stat_loc(l)?;
        Ok(match s.mode & S_IFMT {
            S_IFREG if self.vfs.object(l.ino).is_ok() => Kind::Regular,
            S_IFREG => Kind::Synthetic,
            S_IFDIR => Kind::Dir,
            S_IFIFO => Kind::Fifo,
            _ => Kind::PathOnly,
        })
    }

    pub(crate) fn check_exec(&mut self, tid: u32, l: &Path) -> KResult<()> {
        if self.vfs.mounts().get(l.mnt).is_some_and(|m| m.flags & 8 != 0) {
            return Err(Errno::EACCES);
        }
        let l = l.clone();
        self.fs(tid, |v, c| {
            let a = v.attr(c.view, l.ino)?;
            v.permission(c, &l, &a, may::EXEC)
        })?
    }

    pub(crate) fn vfs_hold_exec(&mut self, l: &Path) {
        if self.vfs.hold_exec(l.ino).is_err() {
            self.vfs.hold(l.ino);
        }
    }

    /// Path of a process's working directory.
    pub(crate) fn cwd_text(&mut self, tid: u32) -> Vec<u8> {
        self.fs(tid, |v, c| v.path_text(c, c.cwd)).unwrap_or_default()
    }

    /// What the file system left to be done by others.
    pub(crate) fn fs_effects(&mut self) {
        for k in self.vfs.take_woken() {
            self.wake(k);
        }
        for e in self.vfs.take_events() {
            self.inotify(e.ino.0, e.mask, &e.name, e.cookie);
        }
        let tid = self.current_or_last();
        for ch in self.vfs.take_changes() {
            let p = ch.path.clone();
            let path = self.fs(0, |v, c| v.full_path(c, &p)).unwrap_or_default();
            let size = self.vfs.file_len(ch.path.ino).unwrap_or(0);
            let (change, to) = match ch.kind {
                ChangeKind::Renamed(from) => (ChangeKind::Renamed(from.clone()), Some(from)),
                k => (k, None),
            };
            self.fact(
                self.tgid(tid),
                Fact::File {
                    change,
                    path,
                    to,
                    size,
                },
            );
        }
        for e in self.vfs.take_effects() {
            match e {
                Effect::Sysctl { name, value } if name == "kernel.hostname" => {
                    self.hostname = value.trim_ascii().to_vec();
                }
                Effect::Sysctl { name, value } if name == "kernel.domainname" => {
                    self.domain = value.trim_ascii().to_vec();
                }
                Effect::Sysctl { .. } | Effect::CgroupMove { .. } | Effect::LoginUid { .. } => {}
                Effect::Comm { tid, comm } => self.set_comm(tid, &comm),
                Effect::OomScoreAdj { tgid, value } => {
                    if let Ok(p) = self.pm(tgid) {
                        p.oom_score_adj = value;
                    }
                }
                Effect::Interface {
                    name,
                    attribute,
                    value,
                } => {
                    let all = &mut self.net.facts_mut().interfaces;
                    if let Some(i) = all.iter_mut().find(|i| i.name == name) {
                        match attribute.as_str() {
                            "mtu" => i.mtu = value,
                            _ => i.txqlen = value,
                        }
                    }
                }
                Effect::Sysrq(b'b') => self.stop_now(self.current, crate::Down::Reboot),
                Effect::Sysrq(b'o') => self.stop_now(self.current, crate::Down::PowerOff),
                Effect::Sysrq(_) | Effect::CgroupKill { .. } => {}
            }
        }
    }

    fn current_or_last(&self) -> u32 {
        self.current
    }

    pub(crate) fn inotify_target(&mut self, tid: u32, path: &[u8], mask: u32) -> KResult<u64> {
        let mut flags = 0;
        if mask & 0x0200_0000 != 0 {
            flags |= wflag::NOFOLLOW;
        }
        if mask & 0x0100_0000 != 0 {
            flags |= wflag::DIRECTORY;
        }
        let l = self.walk(tid, AT_FDCWD, path, flags)?;
        self.fs(tid, |v, c| {
            let a = v.attr(c.view, l.ino)?;
            v.permission(c, &l, &a, may::READ)?;
            v.watch(l.ino, 0xfff);
            Ok(l.ino.0)
        })?
    }

    /// A process is gone: its POSIX locks go on the inodes that it held.
    pub(crate) fn release_locks(&mut self, tgid: u32) {
        let inos: Vec<_> = self
            .vfs
            .locks()
            .filter(|(_, l)| l.owner == LockKind::Posix(tgid))
            .map(|(i, _)| i)
            .collect();
        for i in inos {
            self.vfs.unlock_all(i, LockKind::Posix(tgid));
        }
    }

    /// Any close of a file ends the process's POSIX locks on it.
    pub(crate) fn close_posix_locks(&mut self, tgid: u32, file: u32) {
        let ino = match self.file(file) {
            Ok(f) => match &f.what {
                What::File(l, Kind::Regular) => l.ino,
                _ => return,
            },
            Err(_) => return,
        };
        self.vfs.unlock_all(ino, LockKind::Posix(tgid));
    }

    /// flock and OFD locks end with the description.
    pub(crate) fn drop_file_locks(&mut self, l: &Path, file: u32) {
        self.vfs.unlock(l.ino, LockKind::Flock(file), LockRange::ALL);
        self.vfs.unlock_all(l.ino, LockKind::Ofd(file));
        self.wake(WaitKey::Lock(l.ino.0));
    }

    /// Whole content of a small file, as the kernel reads it.
    pub(crate) fn slurp(&mut self, path: &[u8]) -> KResult<Vec<u8>> {
        let root = self.vfs.root_path();
        let l = self.fs(0, |v, c| v.walk(c, &root, path, 0))??;
        let n = self.vfs.file_len(l.ino)?.min(1 << 20) as usize;
        let mut b = vec![0; n];
        let got = self.file_bytes(&l, 0, &mut b)?;
        b.truncate(got);
        Ok(b)
    }

    /// Writes into a file at an offset (`None`: at its end), making it if `perm` is given.
    pub(crate) fn scribble(
        &mut self,
        path: &[u8],
        off: Option<u64>,
        data: &[u8],
        perm: Option<u32>,
    ) -> KResult<()> {
        let root = self.vfs.root_path();
        self.fs(0, |v, c| {
            let flags = O_WRONLY | if perm.is_some() { O_CREAT } else { 0 };
            let o = v.open(c, &root, path, flags, perm.unwrap_or(0), 0)?;
            let at = match off {
                Some(o) => o,
                None => v.file_len(o.path.ino)?,
            };
            v.write(c, &o.path, at, data).map(|_| ())
        })?
    }
}
