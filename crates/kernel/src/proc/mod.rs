//! procfs: what Linux shows of processes and of itself as files. Content comes from a `view::KernelView`.
//!
//! An inode number says what a file is: kind, task and an argument (`Node`); there is no table of live inodes. `task` has the files of
//! a process, `global` those of the machine, `sysctl` the tree below /proc/sys, `mounts` the mount tables.

mod global;
mod mounts;
pub mod sysctl;
mod task;
#[cfg(test)]
mod tests;
pub mod view;

use crate::vfs::Vfs;
use crate::vfs::inode::Attr;
use crate::vfs::types::{Ctx, Ino, Name, Path, Timespec, cap, mode};
use crate::{Errno, KResult};
use view::{Effect, FdTarget, KernelView, TaskView};

/// Where a symbolic link leads.
pub enum LinkTarget {
    /// To what this text names.
    Text(Name),
    /// Straight to a place (`/proc/PID/exe`).
    Path(Path),
    /// To a descriptor that has no path; `text` is what readlink says.
    Reopen {
        /// The task.
        tid: u32,
        /// Its descriptor.
        fd: u32,
        /// `pipe:[123]`.
        text: Vec<u8>,
    },
}

/// What a procfs inode number stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    Root,
    /// An entry of the table of global files.
    Global(u32),
    /// A node below /proc/sys.
    Sysctl(u32),
    /// /proc/PID.
    Process(u32),
    /// /proc/PID/task/TID.
    Thread(u32),
    /// An entry of the table of task files; the last says that the task stands below `task/`.
    File(u32, u32, bool),
    Fd(u32, u32),
    FdInfo(u32, u32),
    Ns(u32, u32),
    NsFile(u32),
    MapFile(u32, u32),
    Net(u32, u32),
    Attr(u32, u32),
}

const FILES: u64 = 64;
const THREAD_FILES: u64 = 256;

impl Node {
    fn num(self) -> u64 {
        let n = |kind: u64, pid: u32, arg: u32| {
            kind << 42 | (pid as u64 & 0x3f_ffff) << 20 | arg as u64 & 0xf_ffff
        };
        match self {
            Node::Root => 1,
            Node::Global(i) => n(1, 0, i),
            Node::Sysctl(i) => n(2, 0, i),
            Node::Process(p) => n(3, p, 0),
            Node::Thread(p) => n(4, p, 0),
            Node::Fd(p, a) => n(5, p, a),
            Node::FdInfo(p, a) => n(6, p, a),
            Node::Ns(p, a) => n(7, p, a),
            Node::NsFile(a) => n(8, 0, a),
            Node::MapFile(p, a) => n(9, p, a),
            Node::Net(p, a) => n(10, p, a),
            Node::Attr(p, a) => n(11, p, a),
            Node::File(p, i, thread) => n(if thread { THREAD_FILES } else { FILES } + i as u64, p, 0),
        }
    }

    fn of(num: u64) -> Option<Node> {
        if num == 1 {
            return Some(Node::Root);
        }
        let (kind, pid, arg) = (num >> 42, (num >> 20 & 0x3f_ffff) as u32, (num & 0xf_ffff) as u32);
        Some(match kind {
            1 => Node::Global(arg),
            2 => Node::Sysctl(arg),
            3 => Node::Process(pid),
            4 => Node::Thread(pid),
            5 => Node::Fd(pid, arg),
            6 => Node::FdInfo(pid, arg),
            7 => Node::Ns(pid, arg),
            8 => Node::NsFile(arg),
            9 => Node::MapFile(pid, arg),
            10 => Node::Net(pid, arg),
            11 => Node::Attr(pid, arg),
            k if k >= THREAD_FILES => Node::File(pid, (k - THREAD_FILES) as u32, true),
            k if k >= FILES => Node::File(pid, (k - FILES) as u32, false),
            _ => return None,
        })
    }

    fn task(self) -> Option<u32> {
        match self {
            Node::Process(p)
            | Node::Thread(p)
            | Node::File(p, ..)
            | Node::Fd(p, _)
            | Node::FdInfo(p, _)
            | Node::Ns(p, _)
            | Node::MapFile(p, _)
            | Node::Net(p, _)
            | Node::Attr(p, _) => Some(p),
            _ => None,
        }
    }
}

fn node(num: u64) -> KResult<Node> {
    Node::of(num).ok_or(Errno::ENOENT)
}

fn name(s: &str) -> Name {
    Name::from(s.as_bytes())
}

fn need(view: &dyn KernelView, tid: u32) -> KResult<TaskView> {
    view.task(tid).ok_or(Errno::ESRCH)
}

/// True for inodes below /proc/sys, which have a permission rule of their own.
pub(crate) fn is_sysctl(num: u64) -> bool {
    matches!(Node::of(num), Some(Node::Sysctl(_)))
}

/// The task if this is its `mem` file.
pub(crate) fn mem_of(num: u64) -> Option<u32> {
    match Node::of(num)? {
        Node::File(p, i, _) if task::FILES.get(i as usize)?.name == "mem" => Some(p),
        _ => None,
    }
}

/// The number that stat shows: small and steady for global files, scattered for those of processes.
pub(crate) fn st_ino(num: u64) -> u64 {
    match Node::of(num) {
        Some(Node::Root) | None => 1,
        Some(Node::Global(i)) => 4_026_531_841 + i as u64,
        Some(Node::Sysctl(0)) => 1,
        Some(Node::NsFile(i)) => task::NAMESPACES.get(i as usize).map_or(0, |n| n.1),
        Some(_) => (num ^ num >> 21).wrapping_mul(0x9e37_79b1) & 0x3ff_ffff | 0x4000,
    }
}

/// Ptrace-style access: may the caller look into the memory and descriptors of this task?
fn may_inspect(ctx: &Ctx, t: &TaskView) -> bool {
    if ctx.view.current().0 == t.tgid || ctx.creds.capable(cap::SYS_PTRACE) {
        return true;
    }
    let ids =
        t.uids[..3].iter().all(|&u| u == ctx.creds.uid) && t.gids[..3].iter().all(|&g| g == ctx.creds.gid);
    ids && t.dumpable && t.cap_prm & !ctx.creds.caps == 0 && ctx.view.may_inspect(t.tid)
}

pub(crate) fn attr(vfs: &Vfs, view: &dyn KernelView, num: u64) -> KResult<Attr> {
    let n = node(num)?;
    let sys = view.system();
    let boot = Timespec::secs(sys.btime);
    let mut a = Attr {
        nlink: 1,
        atime: boot,
        mtime: boot,
        ctime: boot,
        ..Attr::default()
    };
    let dir = |perm| (mode::IFDIR | perm, 2);
    let file = |perm| (mode::IFREG | perm, 1);
    let link = (mode::IFLNK | 0o777, 1);
    let task = match n.task() {
        Some(tid) => {
            let t = view.task(tid).ok_or(Errno::ENOENT)?;
            Some(t)
        }
        None => None,
    };
    (a.mode, a.nlink) = match n {
        Node::Root => (mode::IFDIR | 0o555, 2 + 8 + view.pids().len() as u32),
        Node::Global(i) => {
            let g = global::FILES.get(i as usize).ok_or(Errno::ENOENT)?;
            a.size = g.size;
            (g.mode, if g.mode & mode::IFMT == mode::IFDIR { 2 } else { 1 })
        }
        Node::Sysctl(i) => (sysctl::mode(i).ok_or(Errno::ENOENT)?, 1),
        Node::Process(_) => dir(0o555),
        Node::Thread(_) => dir(0o555),
        Node::File(_, i, _) => {
            let f = task::FILES.get(i as usize).ok_or(Errno::ENOENT)?;
            (f.mode, if f.mode & mode::IFMT == mode::IFDIR { 2 } else { 1 })
        }
        Node::Fd(p, fd) => {
            let f = view.fd(p, fd).ok_or(Errno::ENOENT)?;
            a.size = 64;
            let bits = match f.flags & 3 {
                0 => 0o500,
                1 => 0o300,
                _ => 0o700,
            };
            (mode::IFLNK | bits, 1)
        }
        Node::FdInfo(p, fd) => {
            view.fd(p, fd).ok_or(Errno::ENOENT)?;
            file(0o444)
        }
        Node::Ns(..) => link,
        Node::NsFile(_) => file(0o444),
        Node::MapFile(p, i) => {
            view.maps(p).get(i as usize).ok_or(Errno::ENOENT)?;
            (mode::IFLNK | 0o500, 1)
        }
        Node::Net(_, i) => file(task::NET.get(i as usize).ok_or(Errno::ENOENT)?.1),
        Node::Attr(_, i) => file(task::ATTR.get(i as usize).ok_or(Errno::ENOENT)?.1),
    };
    if let Some(t) = task {
        let since = sys.btime as u64 * 1_000_000_000 + t.start;
        let at = Timespec {
            sec: (since / 1_000_000_000) as i64,
            nsec: (since % 1_000_000_000) as u32,
        };
        (a.atime, a.mtime, a.ctime) = (at, at, at);
        let open_dir = a.mode == mode::IFDIR | 0o555;
        if (t.dumpable || open_dir) && !t.kthread && !matches!(n, Node::Net(..) | Node::NsFile(_)) {
            (a.uid, a.gid) = (t.uids[1], t.gids[1]);
        }
        if let Node::Process(_) = n {
            a.nlink = 9;
        }
        if let Node::File(p, i, _) = n
            && task::FILES.get(i as usize).is_some_and(|f| f.name == "task")
        {
            a.nlink = 2 + view.threads(p).len() as u32;
        }
    }
    let _ = vfs;
    Ok(a)
}

fn parse(bytes: &[u8]) -> Option<u32> {
    if bytes.is_empty()
        || bytes.len() > 9
        || bytes.len() > 1 && bytes.starts_with(b"0")
        || !bytes.iter().all(u8::is_ascii_digit)
    {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

pub(crate) fn lookup(_vfs: &Vfs, view: &dyn KernelView, dir: u64, n: &[u8]) -> KResult<Option<u64>> {
    let at = node(dir)?;
    let named = |list: &[(&str, u32)]| list.iter().position(|(x, _)| x.as_bytes() == n).map(|i| i as u32);
    let found = match at {
        Node::Root => {
            if let Some(pid) = parse(n) {
                // A thread's own number is found too, though it is not listed.
                view.task(pid).map(|_| Node::Process(pid))
            } else {
                global::find("", n).map(Node::Global)
            }
        }
        Node::Global(i) => {
            let g = global::FILES.get(i as usize).ok_or(Errno::ENOENT)?;
            if g.mode & mode::IFMT != mode::IFDIR {
                return Err(Errno::ENOTDIR);
            }
            if g.name == "sys" {
                sysctl::lookup(0, n).map(Node::Sysctl)
            } else {
                global::find(g.name, n).map(Node::Global)
            }
        }
        Node::Sysctl(i) => sysctl::lookup(i, n).map(Node::Sysctl),
        Node::Process(p) | Node::Thread(p) => {
            let thread = matches!(at, Node::Thread(_));
            view.task(p).ok_or(Errno::ENOENT)?;
            let i = task::FILES
                .iter()
                .position(|f| f.name.as_bytes() == n && !(thread && f.process_only));
            i.map(|i| Node::File(p, i as u32, thread))
        }
        Node::File(p, i, _) => match task::FILES.get(i as usize).map_or("", |f| f.name) {
            "task" => parse(n).filter(|t| view.threads(p).contains(t)).map(Node::Thread),
            "fd" => parse(n)
                .filter(|&f| view.fd(p, f).is_some())
                .map(|f| Node::Fd(p, f)),
            "fdinfo" => parse(n)
                .filter(|&f| view.fd(p, f).is_some())
                .map(|f| Node::FdInfo(p, f)),
            "ns" => task::NAMESPACES
                .iter()
                .position(|x| x.0.as_bytes() == n)
                .map(|i| Node::Ns(p, i as u32)),
            "net" => named(task::NET)
                .filter(|&i| task::net_there(view, i))
                .map(|i| Node::Net(p, i)),
            "attr" => named(task::ATTR).map(|i| Node::Attr(p, i)),
            "map_files" => view
                .maps(p)
                .iter()
                .position(|m| m.file.is_some() && format!("{:x}-{:x}", m.start, m.end).as_bytes() == n)
                .map(|i| Node::MapFile(p, i as u32)),
            _ => return Err(Errno::ENOTDIR),
        },
        _ => return Err(Errno::ENOTDIR),
    };
    Ok(found.map(Node::num))
}

pub(crate) fn dir_place(_vfs: &Vfs, view: &dyn KernelView, num: u64) -> Option<(u64, Name)> {
    let (up, n) = match Node::of(num)? {
        Node::Root => (Node::Root, name("")),
        Node::Global(i) => {
            let g = global::FILES.get(i as usize)?;
            match g.name.rsplit_once('/') {
                Some((dir, last)) => (
                    Node::Global(global::FILES.iter().position(|f| f.name == dir)? as u32),
                    name(last),
                ),
                None => (Node::Root, name(g.name)),
            }
        }
        Node::Sysctl(i) => {
            let (up, n) = sysctl::place(i)?;
            if up == 0 {
                (Node::Global(global::find("", b"sys")?), name(n))
            } else {
                (Node::Sysctl(up), name(n))
            }
        }
        Node::Process(p) => (Node::Root, name(&p.to_string())),
        Node::Thread(t) => {
            let tgid = view.task(t)?.tgid;
            (
                Node::File(tgid, task::index("task")?, false),
                name(&t.to_string()),
            )
        }
        Node::File(p, i, thread) => (
            if thread { Node::Thread(p) } else { Node::Process(p) },
            name(task::FILES.get(i as usize)?.name),
        ),
        _ => return None,
    };
    Some((up.num(), n))
}

/// Entries behind `pos`: position, name, number, type.
pub(crate) fn entries(
    _vfs: &Vfs,
    view: &dyn KernelView,
    dir: u64,
    pos: u64,
) -> KResult<Vec<(u64, Name, u64, u8)>> {
    const BASE: u64 = 3;
    let mut out: Vec<(u64, Name, u64, u8)> = Vec::new();
    let mut put = |at: u64, n: Name, node: Node, kind: u32| {
        if at > pos {
            out.push((at, n, node.num(), (kind >> 12) as u8));
        }
    };
    match node(dir)? {
        Node::Root => {
            for (i, g) in global::FILES
                .iter()
                .enumerate()
                .filter(|(_, g)| !g.name.contains('/'))
            {
                put(BASE + i as u64, name(g.name), Node::Global(i as u32), g.mode);
            }
            for p in view.pids() {
                put(
                    256 + p as u64,
                    name(&p.to_string()),
                    Node::Process(p),
                    mode::IFDIR,
                );
            }
        }
        Node::Global(i) => {
            let g = global::FILES.get(i as usize).ok_or(Errno::ENOENT)?;
            if g.name == "sys" {
                for (i, n, m) in sysctl::children(0) {
                    put(BASE + i as u64, name(n), Node::Sysctl(i), m);
                }
            }
            for (i, f) in global::FILES.iter().enumerate() {
                if let Some((d, last)) = f.name.rsplit_once('/')
                    && d == g.name
                {
                    put(BASE + i as u64, name(last), Node::Global(i as u32), f.mode);
                }
            }
        }
        Node::Sysctl(i) => {
            for (i, n, m) in sysctl::children(i) {
                put(BASE + i as u64, name(n), Node::Sysctl(i), m);
            }
        }
        at @ (Node::Process(p) | Node::Thread(p)) => {
            let thread = matches!(at, Node::Thread(_));
            view.task(p).ok_or(Errno::ENOENT)?;
            for (i, f) in task::FILES
                .iter()
                .enumerate()
                .filter(|(_, f)| !(thread && f.process_only))
            {
                put(
                    BASE + i as u64,
                    name(f.name),
                    Node::File(p, i as u32, thread),
                    f.mode,
                );
            }
        }
        Node::File(p, i, _) => {
            view.task(p).ok_or(Errno::ENOENT)?;
            match task::FILES.get(i as usize).map_or("", |f| f.name) {
                "task" => {
                    for t in view.threads(p) {
                        put(
                            BASE + t as u64,
                            name(&t.to_string()),
                            Node::Thread(t),
                            mode::IFDIR,
                        );
                    }
                }
                "fd" | "fdinfo" => {
                    let links = task::FILES.get(i as usize).is_some_and(|f| f.name == "fd");
                    for f in view.fds(p) {
                        let (n, kind) = if links {
                            (Node::Fd(p, f.fd), mode::IFLNK)
                        } else {
                            (Node::FdInfo(p, f.fd), mode::IFREG)
                        };
                        put(BASE + f.fd as u64, name(&f.fd.to_string()), n, kind);
                    }
                }
                "ns" => {
                    for (i, n) in task::NAMESPACES.iter().enumerate() {
                        put(BASE + i as u64, name(n.0), Node::Ns(p, i as u32), mode::IFLNK);
                    }
                }
                "net" => {
                    for (i, n) in task::NET
                        .iter()
                        .enumerate()
                        .filter(|(i, _)| task::net_there(view, *i as u32))
                    {
                        put(BASE + i as u64, name(n.0), Node::Net(p, i as u32), mode::IFREG);
                    }
                }
                "attr" => {
                    for (i, n) in task::ATTR.iter().enumerate() {
                        put(BASE + i as u64, name(n.0), Node::Attr(p, i as u32), mode::IFREG);
                    }
                }
                "map_files" => {
                    for (i, m) in view.maps(p).iter().enumerate().filter(|(_, m)| m.file.is_some()) {
                        put(
                            BASE + i as u64,
                            name(&format!("{:x}-{:x}", m.start, m.end)),
                            Node::MapFile(p, i as u32),
                            mode::IFLNK,
                        );
                    }
                }
                _ => return Err(Errno::ENOTDIR),
            }
        }
        _ => return Err(Errno::ENOTDIR),
    }
    out.sort_by_key(|e| e.0);
    Ok(out)
}

pub(crate) fn link(vfs: &Vfs, ctx: &Ctx, num: u64) -> KResult<LinkTarget> {
    let view = ctx.view;
    let n = node(num)?;
    let text = |s: String| Ok(LinkTarget::Text(Name::from(s.into_bytes())));
    if let Node::Global(i) = n {
        let (pid, tid) = view.current();
        return match global::FILES.get(i as usize).map_or("", |g| g.name) {
            "self" => text(pid.to_string()),
            "thread-self" => text(format!("{pid}/task/{tid}")),
            "mounts" => text("self/mounts".to_owned()),
            "net" => text("self/net".to_owned()),
            _ => Err(Errno::EINVAL),
        };
    }
    let tid = n.task().ok_or(Errno::EINVAL)?;
    let t = view.task(tid).ok_or(Errno::ENOENT)?;
    if !may_inspect(ctx, &t) {
        return Err(Errno::EACCES);
    }
    match n {
        Node::File(_, i, _) => {
            let p = match task::FILES.get(i as usize).map_or("", |f| f.name) {
                "exe" => t.exe,
                "cwd" => t.cwd,
                "root" => t.root,
                _ => return Err(Errno::EINVAL),
            };
            p.map(LinkTarget::Path).ok_or(Errno::ENOENT)
        }
        Node::Fd(p, fd) => match view.fd(p, fd).ok_or(Errno::ENOENT)?.target {
            FdTarget::Path(p) => Ok(LinkTarget::Path(p)),
            FdTarget::Anon(s) => Ok(LinkTarget::Reopen {
                tid: p,
                fd,
                text: s.into_bytes(),
            }),
        },
        Node::MapFile(p, i) => {
            if !ctx.creds.capable(cap::SYS_ADMIN) {
                return Err(Errno::EPERM);
            }
            view.maps(p)
                .into_iter()
                .nth(i as usize)
                .and_then(|m| m.file)
                .map(LinkTarget::Path)
                .ok_or(Errno::ENOENT)
        }
        // The text is what counts; an open of it gives the namespace's file.
        Node::Ns(_, i) => {
            let (label, number) = *task::NAMESPACES.get(i as usize).ok_or(Errno::ENOENT)?;
            let kind = label.strip_suffix("_for_children").unwrap_or(label);
            let _ = vfs;
            Ok(LinkTarget::Reopen {
                tid,
                fd: u32::MAX - i,
                text: format!("{kind}:[{number}]").into_bytes(),
            })
        }
        _ => Err(Errno::EINVAL),
    }
}

pub(crate) fn content(vfs: &Vfs, ctx: &Ctx, num: u64) -> KResult<Vec<u8>> {
    match node(num)? {
        Node::Root | Node::Process(_) | Node::Thread(_) => Err(Errno::EISDIR),
        Node::Global(i) => {
            global::content(vfs, ctx, global::FILES.get(i as usize).ok_or(Errno::ENOENT)?.name)
        }
        Node::Sysctl(i) => sysctl::read(vfs, ctx.view, i),
        Node::File(p, i, thread) => {
            let t = need(ctx.view, p)?;
            task::content(
                vfs,
                ctx,
                &t,
                task::FILES.get(i as usize).ok_or(Errno::ENOENT)?.name,
                thread,
            )
        }
        Node::FdInfo(p, fd) => task::fdinfo(ctx, p, fd),
        Node::Net(p, i) => {
            need(ctx.view, p)?;
            ctx.view
                .net(task::NET.get(i as usize).ok_or(Errno::ENOENT)?.0)
                .ok_or(Errno::ENOENT)
        }
        Node::Attr(p, i) => {
            need(ctx.view, p)?;
            Ok(match task::ATTR.get(i as usize).map_or("", |a| a.0) {
                "current" => b"unconfined\n".to_vec(),
                _ => return Err(Errno::EINVAL),
            })
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Files that look into another task's memory are refused at open, not by mode alone.
pub(crate) fn may_open(vfs: &Vfs, ctx: &Ctx, ino: Ino, _mask: u32) -> KResult<()> {
    if !vfs.is_proc(ino) {
        return Ok(());
    }
    let n = node(ino.num())?;
    let Some(tid) = n.task() else { return Ok(()) };
    let t = need(ctx.view, tid)?;
    let guarded = match n {
        Node::File(_, i, _) => task::FILES.get(i as usize).is_some_and(|f| f.guarded),
        Node::FdInfo(..) => true,
        _ => false,
    };
    if guarded && !may_inspect(ctx, &t) {
        Err(Errno::EACCES)
    } else {
        Ok(())
    }
}

pub(crate) fn write(vfs: &mut Vfs, ctx: &Ctx, num: u64, data: &[u8]) -> KResult<Vec<Effect>> {
    let one = |e: Effect| Ok(vec![e]);
    match node(num)? {
        Node::Sysctl(i) => sysctl::write(vfs, i, data),
        Node::Global(i) => match global::FILES.get(i as usize).map_or("", |g| g.name) {
            "sysrq-trigger" => data.first().map_or(Ok(vec![]), |&c| one(Effect::Sysrq(c))),
            _ => Err(Errno::EIO),
        },
        Node::File(p, i, _) => {
            let t = need(ctx.view, p)?;
            let text = String::from_utf8_lossy(data).trim().to_owned();
            let number = || text.parse::<i64>().map_err(|_| Errno::EINVAL);
            match task::FILES.get(i as usize).map_or("", |f| f.name) {
                "comm" => {
                    if ctx.view.current().0 != t.tgid {
                        return Err(Errno::EINVAL);
                    }
                    // A line end that is written is part of the name.
                    one(Effect::Comm {
                        tid: p,
                        comm: data.iter().copied().take_while(|b| *b != 0).take(15).collect(),
                    })
                }
                "oom_score_adj" | "oom_adj" => {
                    let v = number()?;
                    if !(-1000..=1000).contains(&v) {
                        return Err(Errno::EINVAL);
                    }
                    if v < t.oom_score_adj as i64 && !ctx.creds.capable(cap::SYS_RESOURCE) {
                        return Err(Errno::EACCES);
                    }
                    one(Effect::OomScoreAdj {
                        tgid: t.tgid,
                        value: v as i32,
                    })
                }
                "loginuid" => one(Effect::LoginUid {
                    tid: p,
                    uid: number()? as u32,
                }),
                "clear_refs" | "coredump_filter" | "timerslack_ns" | "sched" | "autogroup" => Ok(vec![]),
                "setgroups" | "uid_map" | "gid_map" | "projid_map" => Err(Errno::EPERM),
                _ => Err(Errno::EINVAL),
            }
        }
        Node::Attr(..) => Err(Errno::EINVAL),
        _ => Err(Errno::EINVAL),
    }
}

impl Vfs {
    /// True for an inode of procfs.
    pub fn is_proc(&self, ino: Ino) -> bool {
        self.fs_type(ino) == "proc"
    }
}
