//! execve: finding the program, interpreters, the point of no return, and what a new program finds.

mod elf;

use crate::abi::sig::SIGCHLD;
use crate::abi::*;
use crate::mm::{Back, Mm, TASK_SIZE, Vma};
use crate::sys::{Call, SysRes, Trap};
use crate::task::State;
use crate::vfs::{Kind, Path as Loc};
use crate::world::{Fact, World};
use crate::{Creds, Errno, KResult};
use elf::Elf;
use std::sync::Arc;
use turncoat_cpu::{Cpu, RSP};

/// MAX_ARG_STRLEN.
const STRLEN_MAX: usize = 131_072;
/// Interpreters of interpreters (BINPRM_MAX_RECURSION is 5 rewrites).
const DEPTH: u32 = 5;

/// A program that was found and may be run.
struct Program {
    loc: Loc,
    elf: Elf,
    interp: Option<(Loc, Elf)>,
    argv: Vec<Vec<u8>>,
    creds: Creds,
    secure: bool,
    setid: bool,
    /// Name given to execve, for AT_EXECFN and comm.
    name: Vec<u8>,
}

fn strings(w: &mut World, tid: u32, va: u64, budget: &mut usize) -> KResult<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    if va == 0 {
        return Ok(out);
    }
    loop {
        let p = w.read_u64(tid, va.wrapping_add(out.len() as u64 * 8))?;
        if p == 0 {
            return Ok(out);
        }
        let s = w.read_str(tid, p, STRLEN_MAX)?.ok_or(Errno::E2BIG)?;
        *budget = budget.checked_sub(s.len() + 1 + 8).ok_or(Errno::E2BIG)?;
        out.push(s);
    }
}

pub(crate) fn execve(w: &mut World, c: &mut Call) -> SysRes {
    let at = c.nr == 322;
    let (dirfd, path, argv, envp, flags) = if at {
        (c.a[0] as i32, c.a[1], c.a[2], c.a[3], c.a[4] as u32)
    } else {
        (AT_FDCWD, c.a[0], c.a[1], c.a[2], 0)
    };
    if flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let path = w.read_path(c.tid, path)?;
    let stack = w.p(w.tgid(c.tid))?.limits[RLIMIT_STACK].0;
    let mut budget = (stack / 4).clamp(131_072, 6 << 20) as usize;
    let mut argv = strings(w, c.tid, argv, &mut budget)?;
    let env = strings(w, c.tid, envp, &mut budget)?;
    if argv.is_empty() {
        argv.push(Vec::new());
    }
    c.work((6 << 20) as u64 / 1024);
    let loc = w.exec_lookup(c.tid, dirfd, &path, flags)?;
    let name = if at && path.is_empty() {
        format!("/dev/fd/{dirfd}").into_bytes()
    } else {
        path
    };
    let prog = prepare(w, c.tid, loc, name, argv)?;
    w.trace_result(c, 0);
    commit(w, c.tid, prog, env)?;
    Err(Trap::Done)
}

/// Everything that can still fail.
fn prepare(w: &mut World, tid: u32, mut loc: Loc, name: Vec<u8>, mut argv: Vec<Vec<u8>>) -> KResult<Program> {
    let script = loc.clone();
    let first_name = name.clone();
    let mut path = name;
    let mut depth = 0;
    let base = w.creds(tid)?;
    loop {
        w.may_exec(tid, &loc)?;
        let mut head = [0u8; 256];
        let n = w.file_bytes(&loc, 0, &mut head)?;
        let head = &head[..n];
        if head.starts_with(b"#!") {
            depth += 1;
            if depth > DEPTH {
                return Err(Errno::ELOOP);
            }
            let end = head.iter().position(|b| *b == b'\n').unwrap_or(head.len());
            let line = head[2..end].trim_ascii();
            let cut = line
                .iter()
                .position(|b| matches!(b, b' ' | b'\t' | 0))
                .unwrap_or(line.len());
            let interp = line[..cut].to_vec();
            if interp.is_empty() || (end == head.len() && cut == line.len() && n == 256) {
                return Err(Errno::ENOEXEC);
            }
            let arg = line[cut..].trim_ascii().to_vec();
            let mut new = vec![interp.clone()];
            if !arg.is_empty() {
                new.push(arg);
            }
            new.push(path);
            new.extend(argv.into_iter().skip(1));
            argv = new;
            loc = w.exec_lookup(tid, AT_FDCWD, &interp, 0)?;
            path = interp;
            continue;
        }
        if !head.starts_with(b"\x7fELF") {
            return Err(Errno::ENOEXEC);
        }
        let elf = Elf::read(w, &loc)?;
        let interp = match &elf.interp {
            Some(p) => {
                let l = w.exec_lookup(tid, AT_FDCWD, p, 0)?;
                w.may_exec(tid, &l)?;
                let e = Elf::read(w, &l).map_err(|e| if e == Errno::ENOEXEC { Errno::ELIBBAD } else { e })?;
                Some((l, e))
            }
            None => None,
        };
        let mut creds = (*base).clone();
        let st = w.stat_loc(&loc)?;
        let mut setid = false;
        let nosuid = w.mount_nosuid(&loc);
        if !nosuid && !creds.no_new_privs {
            if st.mode & 0o4000 != 0 {
                setid |= creds.euid != st.uid;
                creds.euid = st.uid;
            }
            if st.mode & 0o2010 == 0o2010 {
                setid |= creds.egid != st.gid;
                creds.egid = st.gid;
            }
        }
        let fcaps = if nosuid { None } else { w.file_caps(&loc) };
        let before = creds.permitted;
        creds.exec_fixup(setid, fcaps);
        let gained = creds.permitted.0 & !before.0 != 0;
        let secure =
            setid || creds.uid != creds.euid || creds.gid != creds.egid || (gained && creds.uid != 0);
        let _ = &script;
        return Ok(Program {
            loc,
            elf,
            interp,
            argv,
            creds,
            secure,
            setid: setid || gained,
            name: first_name,
        });
    }
}

/// The point of no return is behind us.
fn commit(w: &mut World, tid: u32, prog: Program, env: Vec<Vec<u8>>) -> KResult<()> {
    let tgid = w.tgid(tid);
    // Other threads end; the caller becomes the leader.
    let others: Vec<u32> = w.p(tgid)?.threads.iter().copied().filter(|t| *t != tid).collect();
    let was = tid;
    for o in others.iter().filter(|o| **o != tgid) {
        w.exit_thread(*o, 0);
    }
    if was != tgid {
        w.replace_leader(tgid, was)?;
    }
    let tid = tgid;
    w.close_on_exec(tid);

    let mut mm = Mm::new();
    let rnd = |w: &mut World, bits: u32| w.rng.u64() & ((1 << bits) - 1);
    let aslr = w.p(tgid)?.personality & 0x0004_0000 == 0;
    let (r_stack, r_mmap, r_brk, r_pie, r_sp) = if aslr {
        (rnd(w, 22), rnd(w, 28), rnd(w, 13), rnd(w, 28), rnd(w, 13))
    } else {
        (0, 0, 0, 0, 0)
    };
    let stack_top = TASK_SIZE - r_stack * PAGE;
    let limit = w.p(tgid)?.limits[RLIMIT_STACK].0;
    let gap = limit
        .saturating_add((0x3f_ffff << 12) + 256 * PAGE)
        .clamp(128 << 20, TASK_SIZE / 6 * 5);
    mm.mmap_base = page_up(TASK_SIZE - gap - r_mmap * PAGE);

    let bias = match (prog.elf.dynamic, &prog.interp) {
        (true, Some(_)) => page_down(TASK_SIZE / 3 * 2) + r_pie * PAGE,
        (true, None) => mm.gap(prog.elf.span(), false).unwrap_or(0x7f00_0000_0000),
        _ => 0,
    };
    let end = prog.elf.map(w, &mut mm, &prog.loc, bias)?;
    let mut entry = prog.elf.entry + bias;
    let mut base = 0;
    if let Some((l, e)) = &prog.interp {
        base = mm.gap(e.span(), false).ok_or(Errno::ENOMEM)?;
        if !e.dynamic {
            base = 0;
        }
        e.map(w, &mut mm, l, base)?;
        entry = e.entry + base;
    }
    mm.start_brk = page_up(end) + if aslr { r_brk * PAGE } else { 0 };
    mm.brk = mm.start_brk;
    mm.start_code = prog.elf.code.0 + bias;
    mm.end_code = prog.elf.code.1 + bias;
    mm.start_data = prog.elf.data.0 + bias;
    mm.end_data = prog.elf.data.1 + bias;
    w.vfs_hold_exec(&prog.loc);
    mm.exe = Some(prog.loc.clone());
    let strings_len: u64 = prog.argv.iter().chain(&env).map(|s| s.len() as u64 + 9).sum();
    let stack_len = page_up(strings_len + prog.name.len() as u64 + 16384).max(132 << 10);
    mm.insert(
        Vma {
            start: stack_top - stack_len,
            end: stack_top,
            prot: if prog.elf.exec_stack { 7 } else { 3 },
            may: 7,
            shared: false,
            grows_down: true,
            locked: false,
            dontfork: false,
            wipeonfork: false,
            noreserve: false,
            back: Back::Anon,
            label: "[stack]",
        },
        &mut w.vfs,
    );
    crate::vdso::map(w, &mut mm, stack_top, aslr);
    let vdso = mm.vdso;

    // Swap memories.
    let mid = w.fresh_id();
    w.mms.insert(mid, Box::new(mm));
    let rss = w.rss_of(tgid);
    w.drop_mm(tid);
    w.vfork_done(tid)?;
    {
        let t = w.tm(tid)?;
        t.mm = Some(mid);
        t.clear_tid = 0;
        t.robust = 0;
        t.rseq = None;
        t.alt = Default::default();
        t.saved_mask = None;
        t.call = None;
    }
    for (va, b) in prog.elf.tails(bias) {
        let _ = w.zero_tail(tid, va, b);
    }
    if let Some((_, e)) = &prog.interp {
        for (va, b) in e.tails(base) {
            let _ = w.zero_tail(tid, va, b);
        }
    }

    // The stack: strings, then vectors.
    let mut blob: Vec<u8> = Vec::new();
    let total = strings_len as usize + prog.name.len() + 1 + 8;
    let mut at = stack_top - 8 - (prog.name.len() as u64 + 1);
    let execfn = at;
    let env_bytes: u64 = env.iter().map(|s| s.len() as u64 + 1).sum();
    let arg_bytes: u64 = prog.argv.iter().map(|s| s.len() as u64 + 1).sum();
    at -= env_bytes + arg_bytes;
    let arg_start = at;
    blob.reserve(total);
    let mut ptrs = Vec::new();
    for s in prog.argv.iter().chain(&env) {
        ptrs.push(at + blob.len() as u64);
        blob.extend_from_slice(s);
        blob.push(0);
    }
    blob.extend_from_slice(&prog.name);
    blob.push(0);
    blob.extend_from_slice(&[0; 8]);
    w.copy_out(tid, arg_start, &blob)?;
    let mut sp = (arg_start - r_sp) & !15;
    sp -= 16;
    let platform = sp;
    w.copy_out(tid, platform, b"x86_64\0")?;
    sp -= 16;
    let random = sp;
    let mut r = [0u8; 16];
    w.rng.fill(&mut r);
    w.copy_out(tid, random, &r)?;
    let hwcap = w.machine.leaf(1, 0)[3] as u64;
    let k = &prog.creds;
    let aux: Vec<(u64, u64)> = vec![
        (33, vdso),
        (51, 1456),
        (16, hwcap),
        (6, PAGE),
        (17, 100),
        (3, prog.elf.phdr_va + bias),
        (4, 56),
        (5, prog.elf.phnum),
        (7, base),
        (8, 0),
        (9, prog.elf.entry + bias),
        (11, k.uid as u64),
        (12, k.euid as u64),
        (13, k.gid as u64),
        (14, k.egid as u64),
        (23, u64::from(prog.secure)),
        (25, random),
        (26, 0),
        (31, execfn),
        (15, platform),
        (0, 0),
    ];
    let aux: Vec<(u64, u64)> = aux.into_iter().filter(|(t, v)| *t != 33 || *v != 0).collect();
    let words = 1 + prog.argv.len() + 1 + env.len() + 1 + aux.len() * 2;
    sp = (sp - words as u64 * 8) & !15;
    let mut e = Enc::new();
    e.u64(prog.argv.len() as u64);
    for p in ptrs.iter().take(prog.argv.len()) {
        e.u64(*p);
    }
    e.u64(0);
    for p in ptrs.iter().skip(prog.argv.len()) {
        e.u64(*p);
    }
    e.u64(0);
    let mut a = Enc::new();
    for (t, v) in &aux {
        a.u64(*t).u64(*v);
    }
    e.bytes(&a.0);
    w.copy_out(tid, sp, &e.0)?;
    if let Some(m) = w.mms.get_mut(&mid) {
        m.start_stack = sp;
        m.arg = (arg_start, arg_start + arg_bytes);
        m.env = (arg_start + arg_bytes, arg_start + arg_bytes + env_bytes);
        m.auxv = a.0;
    }

    // The task itself.
    let comm: Vec<u8> = prog.name.rsplit(|b| *b == b'/').next().unwrap_or(b"").to_vec();
    w.set_comm(tid, &comm);
    let sh = w.t(tid)?.sighand;
    let mut h = w
        .sighands
        .get(&sh)
        .cloned()
        .unwrap_or_else(crate::signal::SigHand::new);
    h.reset();
    h.users = 1;
    w.drop_sighand(sh);
    let id = w.fresh_id();
    w.sighands.insert(id, h);
    let old = w.creds(tid)?;
    let mut cpu = Box::new(Cpu::new());
    cpu.rip = entry;
    cpu.gpr[RSP] = sp;
    {
        let t = w.tm(tid)?;
        t.sighand = id;
        t.creds = Arc::new(prog.creds.clone());
        t.cpu = Some(cpu);
        if prog.setid {
            t.pdeathsig = 0;
        }
    }
    let timers: Vec<(i32, u64)> = w.p(tgid)?.timers.iter().map(|(k, t)| (*k, t.iv.at)).collect();
    for (id, at) in timers {
        w.timers.remove(&(at, crate::time::TimerRef::Posix(tgid, id)));
    }
    let readline = w.find_readline(&prog.loc, bias);
    let p = w.pm(tgid)?;
    p.timers.clear();
    p.did_exec = true;
    p.maxrss = p.maxrss.max(rss);
    p.dumpable = if prog.setid || prog.secure { 0 } else { 1 };
    p.exit_signal = SIGCHLD;
    p.readline = readline;
    p.baits = Vec::new();
    if (old.uid, old.euid) != (prog.creds.uid, prog.creds.euid) {
        w.fact(
            tgid,
            Fact::Creds {
                from: (old.uid, old.euid),
                to: (prog.creds.uid, prog.creds.euid),
            },
        );
    }
    w.note_exec(tgid, &prog.name, &prog.argv);
    w.enqueue(tid);
    Ok(())
}

impl World {
    /// Starts a program in a process that has no memory yet. The caller made the task.
    pub(crate) fn exec_fresh(
        &mut self,
        tid: u32,
        path: &[u8],
        argv: Vec<Vec<u8>>,
        env: Vec<Vec<u8>>,
    ) -> KResult<()> {
        let loc = self.exec_lookup(tid, AT_FDCWD, path, 0)?;
        let prog = prepare(self, tid, loc, path.to_vec(), argv)?;
        commit(self, tid, prog, env)
    }

    /// The calling thread takes the number of its dead leader.
    fn replace_leader(&mut self, tgid: u32, tid: u32) -> KResult<()> {
        let leader = self.t(tgid)?.clone();
        if leader.state != State::Zombie {
            self.exit_leader_for_exec(tgid);
        }
        let mut t = self.t(tid)?.clone();
        self.tasks.remove(&tid);
        self.runq.retain(|x| *x != tid);
        t.tid = tgid;
        t.queued = false;
        t.state = State::Runnable;
        t.utime += leader.utime;
        t.stime += leader.stime;
        self.tasks.insert(tgid, Arc::new(t));
        let p = self.pm(tgid)?;
        p.threads = vec![tgid];
        self.enqueue(tgid);
        Ok(())
    }

    fn exit_leader_for_exec(&mut self, tgid: u32) {
        self.unblock(tgid);
        let Ok(t) = self.t(tgid) else { return };
        let (files, fs, sh) = (t.files, t.fs, t.sighand);
        self.drop_mm(tgid);
        if let Some(f) = files {
            self.drop_files(f);
        }
        self.drop_fs(fs);
        self.drop_sighand(sh);
        self.runq.retain(|x| *x != tgid);
    }

    /// Zeroes the part of a file-backed page behind a segment's file bytes.
    fn zero_tail(&mut self, tid: u32, va: u64, len: u64) -> KResult<()> {
        self.copy_out(tid, va, &vec![0; len as usize])
    }

    /// Only regular files that are executable for the caller run.
    fn may_exec(&mut self, tid: u32, loc: &Loc) -> KResult<()> {
        match self.kind_of(loc)? {
            Kind::Regular => {}
            _ => return Err(Errno::EACCES),
        }
        self.check_exec(tid, loc)
    }
}
