//! Socket calls: addresses, message headers and descriptors here, everything else in `net`.

use super::rw::Got;
use super::{Call, SysRes, Trap};
use crate::abi::net::*;
use crate::abi::{Enc, O_CLOEXEC, O_NONBLOCK, O_RDWR, le32, le64};
use crate::fd::{File, What};
use crate::net::{Caller, NetEffect, Outgoing, Received, SockId};
use crate::task::cap;
use crate::vfs::mode;
use crate::wait::WaitKey;
use crate::world::{Fact, World};
use crate::{Errno, KResult};

const MSG_DONTWAIT: u32 = 0x40;
const MSG_WAITALL: u32 = 0x100;
const MSG_PEEK: u32 = 2;
const MSG_TRUNC: u32 = 0x20;
const MSG_CTRUNC: u32 = 8;
const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;
const MSG_MAX: usize = 16 << 20;

impl World {
    pub(crate) fn net_clock(&mut self) {
        self.net.now = self.clock.mono();
        self.net.real = self.clock.real();
    }

    pub(crate) fn net_caller(&self, tid: u32) -> KResult<Caller> {
        let t = self.t(tid)?;
        let k = &t.creds;
        Ok(Caller {
            pid: t.tgid,
            uid: k.euid,
            gid: k.egid,
            net_admin: k.capable(cap::NET_ADMIN),
            net_raw: k.capable(cap::NET_RAW),
            bind_low: k.capable(cap::NET_BIND_SERVICE),
            admin: k.capable(cap::SYS_ADMIN),
        })
    }

    pub(crate) fn net_poll(&mut self) {
        if self.net.next_deadline().is_some_and(|d| d <= self.clock.mono()) {
            self.net_clock();
            self.net.tick();
            self.net_effects();
        }
    }

    pub(crate) fn net_timer(&mut self) {
        self.net_poll();
    }

    pub(crate) fn net_effects(&mut self) {
        use crate::time::TimerRef;
        while self.net.has_effects() {
            for e in self.net.take_effects() {
                match e {
                    NetEffect::Wake(k) => self.wake(k),
                    NetEffect::BrokenPipe { pid } => {
                        let t = if self.tgid(self.current) == pid {
                            self.current
                        } else {
                            pid
                        };
                        let uid = self.t(t).map_or(0, |t| t.creds.uid);
                        self.send_thread(
                            t,
                            crate::abi::sig::SigInfo::user(crate::abi::sig::SIGPIPE, pid, uid),
                        );
                    }
                    NetEffect::DropFiles(ids) => {
                        for i in ids {
                            self.unref(i as u32);
                        }
                    }
                    NetEffect::Outside(a) => self.fact(a.pid, Fact::Outside(a)),
                    NetEffect::Inbound(i) => self.inbound.push(i),
                    NetEffect::HostReady(_) => {}
                    NetEffect::Listening {
                        pid, ip, port, udp, ..
                    } => {
                        self.fact(pid, Fact::Listen { addr: ip, port, udp });
                    }
                    NetEffect::Logged { pid, uid, gid, data } => self.log_message(pid, uid, gid, &data),
                    NetEffect::Changed { pid, what } => self.fact(pid, Fact::Unserved { what }),
                }
            }
        }
        // One timer stands for all of the network's.
        let at = self.net.next_deadline().unwrap_or(0);
        if at != self.net_at {
            if self.net_at != 0 {
                self.timers.remove(&(self.net_at, TimerRef::Net));
            }
            if at != 0 {
                self.timers.insert((at, TimerRef::Net));
            }
            self.net_at = at;
        }
    }

    pub(crate) fn sock_close(&mut self, s: u32) {
        self.net_clock();
        self.net.close(SockId(s));
        self.net_effects();
    }

    pub(crate) fn sock_poll(&self, s: u32) -> u16 {
        self.net.poll(SockId(s)) as u16
    }

    pub(crate) fn sock_keys(&self, s: u32) -> Vec<WaitKey> {
        vec![SockId(s).wait_key()]
    }

    pub(crate) fn sock_inode(&self, s: u32) -> u64 {
        self.net.socket_at(SockId(s)).map_or(0, |s| s.inode)
    }

    pub(crate) fn sock_nonblock(&mut self, _s: u32, _on: bool) {}

    pub(crate) fn net_text(&self, name: &str) -> Option<Vec<u8>> {
        self.net.proc_net(name).map(String::into_bytes)
    }

    pub(crate) fn nic_views(&self) -> Vec<crate::proc::view::NicView> {
        self.net
            .facts()
            .interfaces
            .iter()
            .map(|i| crate::proc::view::NicView {
                name: i.name.clone(),
                index: i.index,
                mac: i.mac,
                mtu: i.mtu,
                flags: i.flags,
                kind: if i.flags & 8 != 0 { 772 } else { 1 },
                up: i.flags & 1 != 0,
                tx_queue_len: i.txqlen,
                speed: i.speed.map_or(-1, |s| s as i32),
                driver: i.driver.clone(),
                rx: {
                    let c = self.net.counters(i);
                    [c.rx_bytes, c.rx_packets, 0, c.rx_dropped, 0, 0, 0, c.multicast]
                },
                tx: {
                    let c = self.net.counters(i);
                    [c.tx_bytes, c.tx_packets, 0, 0, 0, 0, 0, 0]
                },
            })
            .collect()
    }

    /// read(2) on a socket.
    pub(crate) fn sock_read(&mut self, s: u32, max: usize, f: &File) -> KResult<Got> {
        self.net_clock();
        match self
            .net
            .recv(SockId(s), max, if f.nonblock() { MSG_DONTWAIT } else { 0 })
        {
            Ok(r) => {
                self.drop_control(&r);
                Ok(Got::Bytes(r.data))
            }
            Err(Errno::EAGAIN) => Ok(Got::Wait(self.sock_keys(s), None)),
            Err(e) => Err(e),
        }
    }

    fn drop_control(&mut self, r: &Received) {
        for c in &r.control {
            if let Control::Rights(ids) = c {
                for i in ids {
                    self.unref(*i as u32);
                }
            }
        }
    }

    /// write(2) on a socket.
    pub(crate) fn sock_write(
        &mut self,
        c: &mut Call,
        s: u32,
        b: &[u8],
        f: &File,
    ) -> KResult<Result<usize, Vec<WaitKey>>> {
        self.net_clock();
        let who = self.net_caller(c.tid)?;
        let skip = c.progress as usize;
        let out = Outgoing {
            data: b.get(skip..).unwrap_or(b),
            flags: if f.nonblock() { MSG_DONTWAIT } else { 0 },
            ..Outgoing::default()
        };
        match self.net.send(SockId(s), &who, out) {
            Ok(n) => Ok(Ok(n)),
            Err(Errno::EAGAIN) => Ok(Err(self.sock_keys(s))),
            Err(e) => Err(e),
        }
    }

    pub(crate) fn sock_ioctl(&mut self, c: &mut Call, s: u32, req: u32, arg: u64) -> SysRes {
        use crate::net::ioctl::{Argument, argument};
        self.net_clock();
        match argument(req) {
            Argument::InOut(n) => {
                let mut b = vec![0; n];
                if self.copy_in(c.tid, arg, &mut b).is_err() && n > 4 {
                    return Err(Errno::EFAULT.into());
                }
                let who = self.net_caller(c.tid)?;
                if let Some(out) = self.net.ioctl(SockId(s), &who, req, &b)? {
                    self.copy_out(c.tid, arg, &out)?;
                }
                Ok(0)
            }
            Argument::IfConf => {
                let len = self.read_u32(c.tid, arg)? as usize;
                let to = self.read_u64(c.tid, arg.wrapping_add(8))?;
                let all = self.net.interface_list();
                if to == 0 {
                    self.copy_out(c.tid, arg, &(all.len() as u32).to_le_bytes())?;
                    return Ok(0);
                }
                let n = all.len().min(len / 40 * 40);
                self.copy_out(c.tid, to, &all[..n])?;
                self.copy_out(c.tid, arg, &(n as u32).to_le_bytes())?;
                Ok(0)
            }
            Argument::Unknown => {
                // Terminal requests are how programs find out that this is none.
                if req >> 8 != 0x54 {
                    self.unserved(c.tid, &format!("socket ioctl {req:#x}"));
                }
                Err(Errno::ENOTTY.into())
            }
        }
    }

    fn sock_fd(&self, tid: u32, fd: u64) -> KResult<(SockId, File)> {
        let (_, f) = self.fd_io(tid, fd as i32)?;
        match f.what {
            What::Socket(s) => Ok((SockId(s), f)),
            _ => Err(Errno::ENOTSOCK),
        }
    }

    fn read_addr(&mut self, tid: u32, va: u64, len: u64) -> KResult<SockAddr> {
        if len as i32 as i64 > 128 || (len as i32) < 0 {
            return Err(Errno::EINVAL);
        }
        let mut b = vec![0; len as usize];
        self.copy_in(tid, va, &mut b)?;
        SockAddr::parse(&b).map_err(|_| Errno::EINVAL)
    }

    /// The inode behind a path name of AF_UNIX.
    fn unix_ino(&mut self, tid: u32, a: &SockAddr) -> KResult<Option<u64>> {
        let SockAddr::UnixPath(p) = a else { return Ok(None) };
        let l = self.walk(tid, crate::abi::AT_FDCWD, p, 0)?;
        let ino = l.ino.0;
        self.fs(tid, |v, x| {
            let at = v.attr(x.view, l.ino)?;
            v.permission(x, &l, &at, 2)?;
            if at.kind() != mode::IFSOCK {
                return Err(Errno::ECONNREFUSED);
            }
            Ok(Some(ino))
        })?
    }

    /// Writes an address and its length as accept and getsockname do.
    fn write_addr(&mut self, tid: u32, va: u64, len_va: u64, a: &SockAddr) -> KResult<()> {
        if va == 0 {
            return Ok(());
        }
        let room = self.read_u32(tid, len_va)?;
        if (room as i32) < 0 {
            return Err(Errno::EINVAL);
        }
        let b = a.to_bytes();
        let n = b.len().min(room as usize);
        self.copy_out(tid, va, &b[..n])?;
        self.copy_out(tid, len_va, &(b.len() as u32).to_le_bytes())
    }

    fn install_sock(&mut self, tid: u32, s: SockId, flags: u32) -> KResult<i64> {
        match self.new_file(What::Socket(s.0), O_RDWR | flags & O_NONBLOCK, None) {
            Ok(f) => self.install(tid, f, flags & O_CLOEXEC != 0),
            Err(e) => {
                self.sock_close(s.0);
                Err(e)
            }
        }
    }

    /// Blocks on a socket, heeding SO_RCVTIMEO and SO_SNDTIMEO.
    fn sock_wait(&mut self, c: &mut Call, s: SockId, send: bool) -> Trap {
        if c.first
            && let Some(t) = self.net.timeout(s, send)
        {
            c.deadline = Some(self.clock.mono().saturating_add(t));
            c.timed = true;
        }
        if c.deadline.is_some_and(|d| self.clock.mono() >= d) {
            return Errno::EAGAIN.into();
        }
        Trap::Block {
            keys: vec![s.wait_key()],
            until: c.deadline,
            unint: false,
        }
    }
}

pub(crate) fn socket(w: &mut World, c: &mut Call) -> SysRes {
    let who = w.net_caller(c.tid)?;
    let s = w.net.socket(&who, c.a[0] as u32, c.a[1] as u32, c.a[2] as u32)?;
    Ok(w.install_sock(c.tid, s, c.a[1] as u32)?)
}

pub(crate) fn socketpair(w: &mut World, c: &mut Call) -> SysRes {
    let who = w.net_caller(c.tid)?;
    let (a, b) = w
        .net
        .socketpair(&who, c.a[0] as u32, c.a[1] as u32, c.a[2] as u32)?;
    let fa = w.install_sock(c.tid, a, c.a[1] as u32);
    let fb = w.install_sock(c.tid, b, c.a[1] as u32);
    match (fa, fb) {
        (Ok(x), Ok(y)) => {
            let mut e = Enc::new();
            e.i32(x as i32).i32(y as i32);
            w.copy_out(c.tid, c.a[3], &e.0)?;
            Ok(0)
        }
        (x, y) => {
            for fd in [&x, &y].into_iter().flatten() {
                let _ = w.close_fd(c.tid, *fd as i32);
            }
            Err(Errno::EMFILE.into())
        }
    }
}

pub(crate) fn bind(w: &mut World, c: &mut Call) -> SysRes {
    let (s, _) = w.sock_fd(c.tid, c.a[0])?;
    let a = w.read_addr(c.tid, c.a[1], c.a[2])?;
    let who = w.net_caller(c.tid)?;
    let mut ino = None;
    if let SockAddr::UnixPath(p) = &a {
        let base = w.base(c.tid, crate::abi::AT_FDCWD, p)?;
        let made = w.fs(c.tid, |v, x| {
            v.mknod(x, &base, p, mode::IFSOCK | 0o777 & !x.umask, 0)
        })?;
        ino = Some(
            made.map_err(|e| if e == Errno::EEXIST { Errno::EADDRINUSE } else { e })?
                .ino
                .0,
        );
    }
    w.net.bind(s, &who, &a, ino)?;
    Ok(0)
}

pub(crate) fn listen(w: &mut World, c: &mut Call) -> SysRes {
    let (s, _) = w.sock_fd(c.tid, c.a[0])?;
    let who = w.net_caller(c.tid)?;
    w.net.listen(s, &who, c.a[1] as i32)?;
    Ok(0)
}

pub(crate) fn connect(w: &mut World, c: &mut Call) -> SysRes {
    let (s, f) = w.sock_fd(c.tid, c.a[0])?;
    let a = w.read_addr(c.tid, c.a[1], c.a[2])?;
    let who = w.net_caller(c.tid)?;
    let ino = w.unix_ino(c.tid, &a)?;
    w.net_clock();
    match w.net.connect(s, &who, &a, ino, f.nonblock()) {
        Ok(()) => Ok(0),
        Err(Errno::EAGAIN) if !f.nonblock() => match w.sock_wait(c, s, true) {
            Trap::Err(Errno::EAGAIN) => Err(Errno::EINPROGRESS.into()),
            t => Err(t),
        },
        Err(e) => Err(e.into()),
    }
}

pub(crate) fn accept(w: &mut World, c: &mut Call) -> SysRes {
    let flags = if c.nr == 288 { c.a[3] as u32 } else { 0 };
    if flags & !(O_NONBLOCK | O_CLOEXEC) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (s, f) = w.sock_fd(c.tid, c.a[0])?;
    let who = w.net_caller(c.tid)?;
    w.net_clock();
    match w.net.accept(s, &who) {
        Ok((n, peer)) => {
            let fd = w.install_sock(c.tid, n, flags)?;
            if let Err(e) = w.write_addr(c.tid, c.a[1], c.a[2], &peer) {
                let _ = w.close_fd(c.tid, fd as i32);
                return Err(e.into());
            }
            Ok(fd)
        }
        Err(Errno::EAGAIN) if !f.nonblock() => Err(w.sock_wait(c, s, false)),
        Err(e) => Err(e.into()),
    }
}

pub(crate) fn getname(w: &mut World, c: &mut Call) -> SysRes {
    let (s, _) = w.sock_fd(c.tid, c.a[0])?;
    let a = if c.nr == 51 {
        w.net.getsockname(s)?
    } else {
        w.net.getpeername(s)?
    };
    w.write_addr(c.tid, c.a[1], c.a[2], &a)?;
    Ok(0)
}

pub(crate) fn shutdown(w: &mut World, c: &mut Call) -> SysRes {
    let (s, _) = w.sock_fd(c.tid, c.a[0])?;
    w.net_clock();
    w.net.shutdown(s, c.a[1] as u32)?;
    Ok(0)
}

pub(crate) fn setsockopt(w: &mut World, c: &mut Call) -> SysRes {
    let (s, _) = w.sock_fd(c.tid, c.a[0])?;
    let len = c.a[4] as i32;
    if !(0..=65536).contains(&len) {
        return Err(Errno::EINVAL.into());
    }
    let mut b = vec![0; len as usize];
    w.copy_in(c.tid, c.a[3], &mut b)?;
    let who = w.net_caller(c.tid)?;
    w.net.setsockopt(s, &who, c.a[1] as u32, c.a[2] as u32, &b)?;
    Ok(0)
}

pub(crate) fn getsockopt(w: &mut World, c: &mut Call) -> SysRes {
    let (s, _) = w.sock_fd(c.tid, c.a[0])?;
    let room = w.read_u32(c.tid, c.a[4])? as i32;
    if room < 0 {
        return Err(Errno::EINVAL.into());
    }
    let v = w.net.getsockopt(s, c.a[1] as u32, c.a[2] as u32)?;
    let n = v.len().min(room as usize);
    w.copy_out(c.tid, c.a[3], &v[..n])?;
    w.copy_out(c.tid, c.a[4], &(n as u32).to_le_bytes())?;
    Ok(0)
}

/// A message header as sendmsg and recvmsg take it.
struct Header {
    name: u64,
    name_len: u32,
    iov: Vec<(u64, usize)>,
    control: u64,
    control_len: usize,
}

fn header(w: &mut World, tid: u32, va: u64) -> KResult<Header> {
    let mut b = [0; 56];
    w.copy_in(tid, va, &mut b)?;
    let iov = w
        .read_iovec(tid, le64(&b, 16), le64(&b, 24))
        .map_err(|e| if e == Errno::EINVAL { Errno::EMSGSIZE } else { e })?;
    let control_len = le64(&b, 40);
    if control_len > 1 << 20 {
        return Err(Errno::ENOBUFS);
    }
    Ok(Header {
        name: le64(&b, 0),
        name_len: le32(&b, 8),
        iov,
        control: le64(&b, 32),
        control_len: control_len as usize,
    })
}

/// Sends one message; `c.progress` remembers what a blocking stream has sent.
fn send_one(w: &mut World, c: &mut Call, fd: u64, h: &Header, flags: u32) -> SysRes {
    let (s, f) = w.sock_fd(c.tid, fd)?;
    let total: usize = h.iov.iter().map(|v| v.1).sum();
    let mut data = Vec::new();
    for (va, len) in &h.iov {
        let from = data.len();
        let n = (*len).min(MSG_MAX - from);
        data.resize(from + n, 0);
        w.copy_in(c.tid, *va, &mut data[from..])?;
    }
    let to = if h.name != 0 && h.name_len != 0 {
        Some(w.read_addr(c.tid, h.name, h.name_len as u64)?)
    } else {
        None
    };
    let ino = match &to {
        Some(a) => w.unix_ino(c.tid, a)?,
        None => None,
    };
    let who = w.net_caller(c.tid)?;
    let nonblock = f.nonblock() || flags & MSG_DONTWAIT != 0;
    let mut control = Vec::new();
    if h.control_len > 0 && c.progress == 0 {
        let mut b = vec![0; h.control_len];
        w.copy_in(c.tid, h.control, &mut b)?;
        for m in parse_control(&b).ok_or(Errno::EINVAL)? {
            control.push(match m {
                Control::Rights(fds) => {
                    let mut ids = Vec::new();
                    for fd in &fds {
                        ids.push(w.fd(c.tid, *fd)? as u64);
                    }
                    for i in &ids {
                        w.add_ref(*i as u32);
                    }
                    Control::Rights(ids)
                }
                Control::Credentials(p, u, g) => Control::Credentials(p, u, g),
                Control::Other(a, b, d) => Control::Other(a, b, d),
            });
        }
    }
    w.net_clock();
    loop {
        let out = Outgoing {
            data: data.get(c.progress as usize..).unwrap_or(&[]),
            to: to.clone(),
            ino,
            flags: flags | if nonblock { MSG_DONTWAIT } else { 0 },
            control: std::mem::take(&mut control),
        };
        match w.net.send(s, &who, out) {
            Ok(n) => {
                c.progress += n as u64;
                c.work(n as u64 / 8);
                if c.progress as usize >= total || nonblock || n == 0 {
                    return Ok(c.progress as i64);
                }
            }
            Err(Errno::EAGAIN) => {
                if nonblock {
                    return if c.progress > 0 {
                        Ok(c.progress as i64)
                    } else {
                        Err(Errno::EAGAIN.into())
                    };
                }
                return Err(w.sock_wait(c, s, true));
            }
            Err(e) => return Err(e.into()),
        }
    }
}

pub(crate) fn sendto(w: &mut World, c: &mut Call) -> SysRes {
    let h = Header {
        name: c.a[4],
        name_len: c.a[5] as u32,
        iov: vec![(c.a[1], c.a[2].min(0x7fff_f000) as usize)],
        control: 0,
        control_len: 0,
    };
    send_one(w, c, c.a[0], &h, c.a[3] as u32)
}

pub(crate) fn sendmsg(w: &mut World, c: &mut Call) -> SysRes {
    let h = header(w, c.tid, c.a[1])?;
    send_one(w, c, c.a[0], &h, c.a[2] as u32)
}

pub(crate) fn sendmmsg(w: &mut World, c: &mut Call) -> SysRes {
    let n = c.a[2].min(1024);
    let mut done = 0;
    for i in 0..n {
        let va = c.a[1].wrapping_add(i * 64);
        let h = header(w, c.tid, va)?;
        c.progress = 0;
        let flags = c.a[3] as u32 | if done > 0 { MSG_DONTWAIT } else { 0 };
        match send_one(w, c, c.a[0], &h, flags) {
            Ok(k) => {
                w.copy_out(c.tid, va.wrapping_add(56), &(k as u32).to_le_bytes())?;
                done += 1;
            }
            Err(_) if done > 0 => break,
            Err(t) => return Err(t),
        }
    }
    c.progress = 0;
    Ok(done)
}

/// What one receive gave.
fn recv_one(w: &mut World, c: &mut Call, fd: u64, max: usize, flags: u32) -> Result<Received, Trap> {
    let (s, f) = w.sock_fd(c.tid, fd)?;
    let nonblock = f.nonblock() || flags & MSG_DONTWAIT != 0;
    w.net_clock();
    match w.net.recv(
        s,
        max.min(MSG_MAX),
        flags | if nonblock { MSG_DONTWAIT } else { 0 },
    ) {
        Ok(r) => Ok(r),
        Err(Errno::EAGAIN) if !nonblock => Err(w.sock_wait(c, s, false)),
        Err(e) => Err(e.into()),
    }
}

fn is_stream(w: &World, s: SockId) -> bool {
    w.net.socket_at(s).is_some_and(|s| s.kind == 1)
}

pub(crate) fn recvfrom(w: &mut World, c: &mut Call) -> SysRes {
    let flags = c.a[3] as u32;
    let max = c.a[2].min(0x7fff_f000) as usize;
    let (s, _) = w.sock_fd(c.tid, c.a[0])?;
    let all = flags & MSG_WAITALL != 0 && flags & MSG_PEEK == 0 && is_stream(w, s);
    loop {
        let done = if all { c.progress as usize } else { 0 };
        let r = recv_one(w, c, c.a[0], max.saturating_sub(done), flags)?;
        w.drop_control(&r);
        w.copy_out(c.tid, c.a[1].wrapping_add(done as u64), &r.data)?;
        if all {
            c.progress += r.data.len() as u64;
            if (c.progress as usize) < max && !r.data.is_empty() {
                continue;
            }
            return Ok(c.progress as i64);
        }
        if let Some(a) = &r.from {
            w.write_addr(c.tid, c.a[4], c.a[5], a)?;
        } else if c.a[4] != 0 && !is_stream(w, s) {
            w.copy_out(c.tid, c.a[5], &0u32.to_le_bytes())?;
        }
        return Ok(if flags & MSG_TRUNC != 0 {
            r.len.max(r.data.len())
        } else {
            r.data.len()
        } as i64);
    }
}

fn recv_msg(w: &mut World, c: &mut Call, fd: u64, va: u64, flags: u32) -> SysRes {
    let h = header(w, c.tid, va)?;
    let (s, _) = w.sock_fd(c.tid, fd)?;
    let max: usize = h.iov.iter().map(|v| v.1).sum();
    let r = recv_one(w, c, fd, max, flags)?;
    let mut at = 0;
    for (va, len) in &h.iov {
        let n = (*len).min(r.data.len() - at);
        w.copy_out(c.tid, *va, &r.data[at..at + n])?;
        at += n;
    }
    let mut out_flags = r.flags;
    // Files become descriptors.
    let mut room = h.control_len;
    let mut control: Vec<Control<i32>> = Vec::new();
    for m in r.control {
        match m {
            Control::Rights(ids) => {
                let fits = rights_room(room).min(ids.len());
                let mut fds = Vec::new();
                for (i, id) in ids.into_iter().enumerate() {
                    let id = id as u32;
                    if flags & MSG_PEEK != 0 {
                        w.add_ref(id);
                    }
                    if i < fits {
                        match w.install(c.tid, id, flags & MSG_CMSG_CLOEXEC != 0) {
                            Ok(fd) => fds.push(fd as i32),
                            Err(_) => out_flags |= MSG_CTRUNC,
                        }
                    } else {
                        w.unref(id);
                        out_flags |= MSG_CTRUNC;
                    }
                }
                if !fds.is_empty() {
                    room = room.saturating_sub(16 + fds.len() * 4);
                    control.push(Control::Rights(fds));
                }
            }
            Control::Credentials(p, u, g) => control.push(Control::Credentials(p, u, g)),
            Control::Other(a, b, d) => control.push(Control::Other(a, b, d)),
        }
    }
    let (bytes, cut) = encode_control(&control, h.control_len);
    if cut {
        out_flags |= MSG_CTRUNC;
    }
    w.copy_out(c.tid, h.control, &bytes)?;
    w.copy_out(c.tid, va.wrapping_add(40), &(bytes.len() as u64).to_le_bytes())?;
    w.copy_out(
        c.tid,
        va.wrapping_add(48),
        &(out_flags | flags & MSG_CMSG_CLOEXEC).to_le_bytes(),
    )?;
    if h.name != 0 {
        let b = r.from.map(|a| a.to_bytes()).unwrap_or_default();
        let n = b.len().min(h.name_len as usize);
        w.copy_out(c.tid, h.name, &b[..n])?;
        w.copy_out(c.tid, va.wrapping_add(8), &(b.len() as u32).to_le_bytes())?;
    }
    let _ = s;
    Ok(if flags & MSG_TRUNC != 0 { r.len.max(at) } else { at } as i64)
}

pub(crate) fn recvmsg(w: &mut World, c: &mut Call) -> SysRes {
    recv_msg(w, c, c.a[0], c.a[1], c.a[2] as u32)
}

pub(crate) fn recvmmsg(w: &mut World, c: &mut Call) -> SysRes {
    let mut done = 0;
    for i in 0..c.a[2].min(1024) {
        let va = c.a[1].wrapping_add(i * 64);
        let flags = c.a[3] as u32 & !0x10000 | if done > 0 { MSG_DONTWAIT } else { 0 };
        match recv_msg(w, c, c.a[0], va, flags) {
            Ok(k) => {
                w.copy_out(c.tid, va.wrapping_add(56), &(k as u32).to_le_bytes())?;
                done += 1;
            }
            Err(_) if done > 0 => break,
            Err(t) => return Err(t),
        }
    }
    Ok(done)
}
