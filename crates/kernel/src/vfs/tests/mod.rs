//! Tests of the file system: by hand for what needs several users, and against a directory of this machine for the rest. Here is the
//! machine that they ask.

mod against_host;
mod by_hand;

use super::*;
use crate::image::Image;
use crate::proc::view::{FdView, MachineMem, SystemView, TaskView};
use crate::sysfs::facts::Facts;
use crate::vfs::boot::{Content, CoverFile, Plan};
use std::sync::Arc;

/// A machine with one process.
pub(crate) struct Idle {
    pub facts: Facts,
    pub exe: Option<Path>,
    pub fds: Vec<FdView>,
}

impl KernelView for Idle {
    fn pids(&self) -> Vec<u32> {
        vec![1, 42]
    }
    fn current(&self) -> (u32, u32) {
        (42, 42)
    }
    fn task(&self, tid: u32) -> Option<TaskView> {
        matches!(tid, 1 | 42).then(|| TaskView {
            tid,
            tgid: tid,
            comm: if tid == 1 {
                b"systemd".to_vec()
            } else {
                b"bash".to_vec()
            },
            state: b'S',
            threads: 1,
            dumpable: true,
            exe: self.exe.clone(),
            tpgid: -1,
            ..TaskView::default()
        })
    }
    fn facts(&self) -> &Facts {
        &self.facts
    }
    fn fds(&self, _tid: u32) -> Vec<FdView> {
        self.fds.clone()
    }
    fn system(&self) -> SystemView {
        SystemView {
            uptime: 123_450_000_000,
            btime: 1_700_000_000,
            cpus: vec![Default::default(); 2],
            ..SystemView::default()
        }
    }
    fn memory(&self) -> MachineMem {
        MachineMem {
            total: 2 << 30,
            free: 1 << 30,
            available: 3 << 29,
            ..MachineMem::default()
        }
    }
}

/// A view of nothing.
pub(crate) fn idle() -> Idle {
    Idle {
        facts: Facts::default(),
        exe: None,
        fds: Vec::new(),
    }
}

pub(crate) struct World {
    pub vfs: Vfs,
    pub view: Idle,
    pub creds: Creds,
    pub root: Path,
    pub cwd: Path,
    pub umask: u32,
}

impl World {
    pub fn new() -> World {
        World::over(None)
    }

    pub fn over(image: Option<Arc<Image>>) -> World {
        let vfs = Vfs::new(Plan {
            image,
            lazy: None,
            root_dev: makedev(8, 1),
            root_source: "/dev/sda1".to_owned(),
            root_options: "errors=remount-ro".to_owned(),
            blocks: 5_000_000,
            blocks_used: 10_000,
            files: 1_250_000,
            installed: Timespec::secs(1_690_000_000),
            stamps: Default::default(),
            booted: Timespec::secs(1_700_000_000),
            limit_pages: 100_000,
            limit_inodes: 100_000,
        });
        let root = vfs.root_path();
        let view = Idle {
            facts: Facts::default(),
            exe: None,
            fds: Vec::new(),
        };
        let mut w = World {
            vfs,
            view,
            creds: Creds::root(),
            cwd: root.clone(),
            root,
            umask: 0o022,
        };
        w.with(|v, c| v.mount_standard(c)).unwrap();
        w
    }

    pub fn with<T>(&mut self, f: impl FnOnce(&mut Vfs, &Ctx) -> T) -> T {
        let ctx = Ctx {
            creds: &self.creds,
            now: Timespec::secs(1_700_001_000),
            umask: self.umask,
            root: &self.root,
            cwd: &self.cwd,
            view: &self.view,
        };
        f(&mut self.vfs, &ctx)
    }

    pub fn put(&mut self, path: &str, perm: u32, uid: u32, text: &str) {
        let content = Content::Bytes(Arc::from(text.as_bytes()));
        let f = CoverFile {
            uid,
            gid: uid,
            ..CoverFile::new(path, perm, Timespec::secs(1_690_000_000), content)
        };
        self.with(|v, c| v.put(c, &f)).unwrap();
    }

    pub fn dir(&mut self, path: &str, perm: u32, uid: u32) {
        let f = CoverFile {
            uid,
            gid: uid,
            ..CoverFile::new(path, perm, Timespec::secs(1_690_000_000), Content::Dir)
        };
        self.with(|v, c| v.put(c, &f)).unwrap();
    }

    pub fn cat(&mut self, path: &str) -> KResult<Vec<u8>> {
        self.with(|v, c| {
            let o = v.open(c, c.cwd, path.as_bytes(), 0, 0, 0)?;
            match o.kind {
                Kind::Synthetic => v.synthetic(c, o.path.ino),
                _ => {
                    let mut buf = vec![0; 65536];
                    let n = v.read(c, &o.path, 0, &mut buf)?;
                    buf.truncate(n);
                    Ok(buf)
                }
            }
        })
    }

    pub fn user(&mut self, uid: u32) {
        self.creds = Creds {
            uid,
            gid: uid,
            groups: Arc::from([]),
            caps: 0,
        };
    }

    fn open(&mut self, path: &str, flags: u32) -> KResult<Opened> {
        self.with(|v, c| v.open(c, c.cwd, path.as_bytes(), flags, 0o666, 0))
    }

    fn ls(&mut self, path: &str) -> Vec<String> {
        self.with(|v, c| {
            let p = v.walk(c, c.cwd, path.as_bytes(), 0).unwrap();
            let mut out = Vec::new();
            v.getdents(c, &p, 0, &mut |e| {
                out.push(String::from_utf8_lossy(&e.name).into_owned());
                true
            })
            .unwrap();
            out
        })
    }
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u64) as usize]
    }
}
