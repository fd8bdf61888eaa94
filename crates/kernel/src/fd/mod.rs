//! Descriptors and open file descriptions.
//!
//! A descriptor table maps numbers to descriptions; a description says what is behind it, where it stands, and how it was
//! opened. What is behind lives elsewhere: in the file system, the terminals, the sockets, or in `pipe` and `event`.

pub(crate) mod epoll;
pub(crate) mod event;
pub(crate) mod pipe;
pub(crate) mod poll;

use crate::abi::*;
use crate::tty::TtyFile;
use crate::vfs::{Kind, Path as Loc};
use crate::world::World;
use crate::{Errno, KResult};
use turncoat_freeze::Freeze;

/// Character devices that need no driver of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Freeze)]
pub(crate) enum Char {
    Null,
    Zero,
    Full,
    Random,
    Kmsg,
}

/// What a description refers to.
#[derive(Clone, Debug, Freeze)]
pub(crate) enum What {
    /// A file, directory, generated file, block device or bare place.
    File(Loc, Kind),
    Pipe {
        id: u32,
        read: bool,
        write: bool,
    },
    Tty(TtyFile),
    Socket(u32),
    Event(u32),
    Char(Char),
}

/// One open file description.
#[derive(Clone, Debug, Freeze)]
pub(crate) struct File {
    pub what: What,
    pub flags: u32,
    pub pos: u64,
    pub refs: u32,
    /// Where it was opened, if it has a name.
    pub loc: Option<Loc>,
    /// F_SETOWN and F_SETSIG.
    pub owner: i32,
    pub sig: u8,
    /// Write sealed: someone executes it, or it is a memfd (handled by the file system).
    pub id: u32,
}

impl File {
    pub fn readable(&self) -> bool {
        matches!(self.flags & O_ACCMODE, O_RDONLY | O_RDWR) && self.flags & O_PATH == 0
    }
    pub fn writable(&self) -> bool {
        matches!(self.flags & O_ACCMODE, O_WRONLY | O_RDWR) && self.flags & O_PATH == 0
    }
    pub fn nonblock(&self) -> bool {
        self.flags & O_NONBLOCK != 0
    }
}

/// One entry of a descriptor table.
#[derive(Clone, Copy, Debug, Freeze)]
pub(crate) struct Slot {
    pub file: u32,
    pub cloexec: bool,
}

/// A descriptor table, shared with CLONE_FILES.
#[derive(Clone, Default, Freeze)]
pub(crate) struct FdTable {
    pub users: u32,
    pub slots: Vec<Option<Slot>>,
}

impl FdTable {
    pub fn get(&self, fd: i32) -> Option<Slot> {
        *self.slots.get(usize::try_from(fd).ok()?)?
    }
    pub fn lowest(&self, from: usize) -> usize {
        (from..self.slots.len())
            .find(|i| self.slots[*i].is_none())
            .unwrap_or(self.slots.len().max(from))
    }
    pub fn set(&mut self, fd: usize, s: Slot) {
        if self.slots.len() <= fd {
            self.slots.resize(fd + 1, None);
        }
        self.slots[fd] = Some(s);
    }
}

/// True if the description keeps the file from being run.
fn is_writer(what: &What, flags: u32) -> bool {
    matches!(what, What::File(_, Kind::Regular)) && flags & O_ACCMODE != O_RDONLY && flags & O_PATH == 0
}

/// What mmap needs of a descriptor.
pub(crate) enum MapTarget {
    Zero,
    File {
        loc: Loc,
        readable: bool,
        writable: bool,
        append: bool,
    },
}

impl World {
    /// The description behind a descriptor; EBADF.
    pub(crate) fn fd(&self, tid: u32, fd: i32) -> KResult<u32> {
        let t = self.t(tid)?;
        let table = t.files.and_then(|f| self.fdtables.get(&f)).ok_or(Errno::EBADF)?;
        table.get(fd).map(|s| s.file).ok_or(Errno::EBADF)
    }

    pub(crate) fn file(&self, id: u32) -> KResult<&File> {
        self.open.get(id).ok_or(Errno::EBADF)
    }

    pub(crate) fn file_mut(&mut self, id: u32) -> KResult<&mut File> {
        self.open.get_mut(id).ok_or(Errno::EBADF)
    }

    /// The description behind a descriptor that may be used for I/O (not O_PATH).
    pub(crate) fn fd_io(&self, tid: u32, fd: i32) -> KResult<(u32, File)> {
        let id = self.fd(tid, fd)?;
        let f = self.file(id)?;
        if f.flags & O_PATH != 0 {
            return Err(Errno::EBADF);
        }
        Ok((id, f.clone()))
    }

    /// Makes a description with one reference.
    pub(crate) fn new_file(&mut self, what: What, flags: u32, loc: Option<Loc>) -> KResult<u32> {
        if self.open.len() >= self.limits.files {
            return Err(Errno::ENFILE);
        }
        if let Some(l) = &loc {
            if is_writer(&what, flags) {
                self.vfs.hold_writer(l.ino);
            } else {
                self.vfs_hold(l);
            }
        }
        let id = self.open.insert(File {
            what,
            flags: flags & !(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC),
            pos: 0,
            refs: 1,
            loc,
            owner: 0,
            sig: 0,
            id: 0,
        });
        if let Ok(f) = self.file_mut(id) {
            f.id = id;
        }
        Ok(id)
    }

    /// Puts a description (whose reference is given away) at the lowest free number.
    pub(crate) fn install(&mut self, tid: u32, file: u32, cloexec: bool) -> KResult<i64> {
        self.install_from(tid, file, cloexec, 0)
    }

    pub(crate) fn install_from(&mut self, tid: u32, file: u32, cloexec: bool, from: usize) -> KResult<i64> {
        let limit = self.p(self.tgid(tid))?.limits[RLIMIT_NOFILE].0 as usize;
        let table = self.t(tid)?.files.and_then(|f| self.fdtables.get_mut(&f));
        let Some(table) = table else {
            self.unref(file);
            return Err(Errno::EMFILE);
        };
        let fd = table.lowest(from);
        if fd >= limit {
            self.unref(file);
            return Err(Errno::EMFILE);
        }
        table.set(fd, Slot { file, cloexec });
        Ok(fd as i64)
    }

    pub(crate) fn add_ref(&mut self, file: u32) {
        if let Ok(f) = self.file_mut(file) {
            f.refs += 1;
        }
    }

    /// Drops a reference; the last one closes what is behind.
    pub(crate) fn unref(&mut self, id: u32) {
        let Ok(f) = self.file_mut(id) else { return };
        f.refs = f.refs.saturating_sub(1);
        if f.refs > 0 {
            return;
        }
        let Some(f) = self.open.remove(id) else { return };
        self.epoll_forget(id);
        match f.what {
            What::Pipe { id, read, write } => self.pipe_close(id, read, write),
            What::Tty(t) => {
                self.ttys.close(&t);
                self.tty_effects();
            }
            What::Socket(s) => self.sock_close(s),
            What::Event(e) => self.event_close(e),
            What::File(ref loc, kind) => {
                if kind == Kind::Regular {
                    self.drop_file_locks(loc, id);
                }
            }
            What::Char(_) => {}
        }
        crate::sys::close_note(self, &f);
        if let Some(l) = &f.loc {
            if is_writer(&f.what, f.flags) {
                self.vfs.release_writer(l);
            } else {
                self.vfs_release(l);
            }
        }
    }

    pub(crate) fn close_fd(&mut self, tid: u32, fd: i32) -> KResult<()> {
        let tgid = self.tgid(tid);
        let table = self
            .t(tid)?
            .files
            .and_then(|f| self.fdtables.get_mut(&f))
            .ok_or(Errno::EBADF)?;
        let slot = usize::try_from(fd)
            .ok()
            .and_then(|i| table.slots.get_mut(i))
            .and_then(Option::take)
            .ok_or(Errno::EBADF)?;
        while table.slots.last().is_some_and(Option::is_none) {
            table.slots.pop();
        }
        self.close_posix_locks(tgid, slot.file);
        self.unref(slot.file);
        Ok(())
    }

    pub(crate) fn fork_files(&mut self, id: u32) -> u32 {
        let mut t = self.fdtables.get(&id).cloned().unwrap_or_default();
        t.users = 1;
        for s in t.slots.iter().flatten() {
            self.add_ref(s.file);
        }
        let n = self.fresh_id();
        self.fdtables.insert(n, t);
        n
    }

    pub(crate) fn drop_files(&mut self, id: u32) {
        let Some(t) = self.fdtables.get_mut(&id) else {
            return;
        };
        t.users = t.users.saturating_sub(1);
        if t.users == 0
            && let Some(t) = self.fdtables.remove(&id)
        {
            for s in t.slots.into_iter().flatten() {
                self.unref(s.file);
            }
        }
    }

    /// Closes what execve closes.
    pub(crate) fn close_on_exec(&mut self, tid: u32) {
        let Some(id) = self.t(tid).ok().and_then(|t| t.files) else {
            return;
        };
        let id = if self.fdtables.get(&id).is_some_and(|t| t.users > 1) {
            let n = self.fork_files(id);
            self.drop_files(id);
            if let Ok(t) = self.tm(tid) {
                t.files = Some(n);
            }
            n
        } else {
            id
        };
        let fds: Vec<i32> = self.fdtables.get(&id).map_or(Vec::new(), |t| {
            t.slots
                .iter()
                .enumerate()
                .filter(|(_, s)| s.is_some_and(|s| s.cloexec))
                .map(|(i, _)| i as i32)
                .collect()
        });
        for fd in fds {
            let _ = self.close_fd(tid, fd);
        }
    }

    /// What mmap is to map.
    pub(crate) fn map_target(&mut self, tid: u32, fd: i32) -> KResult<MapTarget> {
        let (_, f) = self.fd_io(tid, fd)?;
        match &f.what {
            What::File(loc, Kind::Regular) => Ok(MapTarget::File {
                loc: loc.clone(),
                readable: f.readable(),
                writable: f.writable(),
                append: f.flags & O_APPEND != 0,
            }),
            What::Char(Char::Zero) => Ok(MapTarget::Zero),
            What::File(_, Kind::Dir) => Err(Errno::ENODEV),
            _ => Err(Errno::ENODEV),
        }
    }
}
