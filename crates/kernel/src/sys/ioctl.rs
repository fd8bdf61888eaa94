//! ioctl on files, pipes, devices and terminals. Sockets have their own in `socket`.

use super::{Call, SysRes};
use crate::Errno;
use crate::abi::*;
use crate::fd::{Char, File, What};
use crate::vfs::Kind;
use crate::world::World;

pub(crate) fn ioctl(w: &mut World, c: &mut Call) -> SysRes {
    let (fd, req, arg) = (c.a[0] as i32, c.a[1] as u32, c.a[2]);
    let (id, f) = w.fd_io(c.tid, fd)?;
    match req {
        0x5451 | 0x5450 => {
            let table = w.t(c.tid)?.files.ok_or(Errno::EBADF)?;
            if let Some(Some(s)) = w
                .fdtables
                .get_mut(&table)
                .and_then(|t| t.slots.get_mut(fd as usize))
            {
                s.cloexec = req == 0x5451;
            }
            return Ok(0);
        }
        0x5421 => {
            let on = w.read_u32(c.tid, arg)? != 0;
            let x = w.file_mut(id)?;
            x.flags = if on {
                x.flags | O_NONBLOCK
            } else {
                x.flags & !O_NONBLOCK
            };
            if let What::Socket(s) = f.what {
                w.sock_nonblock(s, on);
            }
            return Ok(0);
        }
        0x5452 => {
            let _ = w.read_u32(c.tid, arg)?;
            return Ok(0);
        }
        _ => {}
    }
    match &f.what {
        What::Tty(t) => tty_ioctl(w, c, *t, &f),
        What::Pipe { id: p, .. } => match req {
            0x541b => {
                let n = w.pipes.get(*p).map_or(0, |p| p.buf.len()) as u32;
                w.copy_out(c.tid, arg, &n.to_le_bytes())?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY.into()),
        },
        What::Socket(s) => {
            let s = *s;
            w.sock_ioctl(c, s, req, arg)
        }
        What::File(l, Kind::Regular | Kind::Dir) => {
            let l = l.clone();
            match req {
                0x541b if matches!(f.what, What::File(_, Kind::Regular)) => {
                    let n = w.vfs.file_len(l.ino)?.saturating_sub(f.pos) as u32;
                    w.copy_out(c.tid, arg, &n.to_le_bytes())?;
                    Ok(0)
                }
                0x8008_6601 => {
                    let v = w.fs(c.tid, |v, x| v.flags(x, &l))??;
                    w.copy_out(c.tid, arg, &v.to_le_bytes())?;
                    Ok(0)
                }
                0x4008_6602 => {
                    let flags = w.read_u32(c.tid, arg)?;
                    w.fs(c.tid, |v, x| v.set_flags(x, &l, flags))??;
                    Ok(0)
                }
                0x8008_7601 => {
                    let g = w.vfs.generation(l.ino);
                    w.copy_out(c.tid, arg, &g.to_le_bytes())?;
                    Ok(0)
                }
                0x4004_9409 | 0x4020_940d => Err(Errno::EOPNOTSUPP.into()),
                _ => Err(Errno::ENOTTY.into()),
            }
        }
        What::Char(Char::Random) if req == 0x8004_5200 => {
            w.copy_out(c.tid, arg, &256u32.to_le_bytes())?;
            Ok(0)
        }
        What::File(_, Kind::BlockDev(..)) => {
            let sectors = w.facts_of.disk.sectors;
            match req {
                0x1260 => {
                    w.copy_out(c.tid, arg, &sectors.to_le_bytes())?;
                    Ok(0)
                }
                0x8008_1272 => {
                    w.copy_out(c.tid, arg, &(sectors * 512).to_le_bytes())?;
                    Ok(0)
                }
                0x1268 => {
                    w.copy_out(c.tid, arg, &512u32.to_le_bytes())?;
                    Ok(0)
                }
                _ => {
                    w.unserved(c.tid, &format!("ioctl {req:#x} on a block device"));
                    Err(Errno::ENOTTY.into())
                }
            }
        }
        _ => {
            if !matches!(req, 0x5401 | 0x5413 | 0x540f) {
                w.unserved(c.tid, &format!("ioctl {req:#x}"));
            }
            Err(Errno::ENOTTY.into())
        }
    }
}

fn tty_ioctl(w: &mut World, c: &mut Call, t: crate::tty::TtyFile, f: &File) -> SysRes {
    use crate::tty::ioctl::{Answer, Argument, argument};
    let (req, arg) = (c.a[1] as u32, c.a[2]);
    let kind = argument(req);
    let mut input = Vec::new();
    if let Argument::In(n) = kind {
        input = vec![0; n];
        w.copy_in(c.tid, arg, &mut input)?;
    }
    let who = w.tty_caller(c.tid)?;
    let before = w.ttys.tty(t.tty).map(|t| t.termios().lflag);
    let groups: Vec<(u32, u32)> = w.procs.values().map(|p| (p.pgid, p.sid)).collect();
    let session_of = |g: u32| groups.iter().find(|x| x.0 == g).map(|x| x.1);
    let r = w
        .ttys
        .ioctl(&t, &who, req, arg, &input, f.readable(), &session_of);
    let r = match r {
        Ok(a) => a,
        Err(Errno::ENOTTY) if !matches!(req, 0x540f | 0x5410 | 0x5429) => {
            w.unserved(c.tid, &format!("tty ioctl {req:#x}"));
            return Err(Errno::ENOTTY.into());
        }
        Err(e) => return Err(e.into()),
    };
    if matches!(req, 0x5402..=0x5404) {
        w.readline_done(c.tid, &t, before);
    }
    match r {
        Answer::Done => Ok(0),
        Answer::Bytes(b) => {
            w.copy_out(c.tid, arg, &b)?;
            Ok(0)
        }
        Answer::Open(file, flags) => {
            w.tty_effects();
            // ttyname(3) compares it with the node of that name.
            let root = w.vfs.root_path();
            let name = format!("/dev/pts/{}", file.tty.0);
            let loc = w.fs(0, |v, x| v.walk(x, &root, name.as_bytes(), 0))?.ok();
            let id = w.new_file(What::Tty(file), flags & !O_CLOEXEC, loc)?;
            Ok(w.install(c.tid, id, flags & O_CLOEXEC != 0)?)
        }
    }
}
