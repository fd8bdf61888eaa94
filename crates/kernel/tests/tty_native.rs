//! The line discipline against a real pty of this machine: random settings, random bytes, the same bytes on both sides.
//!
//! `TURNCOAT_TTY_CASES=20000 cargo test -p turncoat-kernel --test tty_native --release` runs longer.

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{self as t, Action, OptionalActions, QueueSelector};
use std::os::fd::OwnedFd;
use std::time::Duration;
use turncoat_kernel::abi::tty as abi;
use turncoat_kernel::tty::{Caller, ReadCall, TtyFile, Ttys, ioctl::Answer};

/// Random numbers, and whether long writes are made (then without PARMRK: how the real one cuts them shows).
struct Rng(u64, bool);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 20) % n
    }
    fn one(&mut self, of: &[u32]) -> u32 {
        of[self.below(of.len() as u64) as usize]
    }
}

#[derive(Debug, Clone)]
enum Step {
    Settings(abi::Termios),
    Type(Vec<u8>),
    Print(Vec<u8>),
    SlaveRead(usize),
    MasterRead(usize),
    Pending,
    Flush(u64, bool),
    Flow(u64),
    Poll,
}

fn settings(r: &mut Rng) -> abi::Termios {
    use abi::*;
    let mut s = Termios::default();
    for (word, bits) in [
        (
            0,
            &[
                ISTRIP, INLCR, IGNCR, ICRNL, IUCLC, IXON, IXANY, IXOFF, IUTF8, PARMRK, IMAXBEL,
            ][..],
        ),
        (1, &[OPOST, OLCUC, ONLCR, OCRNL, ONOCR, ONLRET, XTABS][..]),
        (
            2,
            &[
                ISIG, ICANON, ECHO, ECHOE, ECHOK, ECHONL, NOFLSH, ECHOCTL, ECHOPRT, ECHOKE, IEXTEN,
            ][..],
        ),
    ] {
        let f = match word {
            0 => &mut s.iflag,
            1 => &mut s.oflag,
            _ => &mut s.lflag,
        };
        for _ in 0..r.below(6) {
            *f ^= r.one(bits);
        }
    }
    if r.1 {
        s.iflag &= !PARMRK;
    }
    if r.below(3) == 0 {
        s.cc[VMIN] = r.one(&[0, 1, 2, 5, 70]) as u8;
    }
    if r.below(4) == 0 {
        s.cc[VEOL] = b';';
        s.cc[VEOL2] = b'|';
    }
    if r.below(8) == 0 {
        s.cc[r.one(&[2, 3, 4, 8, 9, 12, 14, 15]) as usize] =
            r.one(&[0, b'q' as u32, 0xff, b'\n' as u32]) as u8;
    }
    s
}

fn typed(r: &mut Rng) -> Vec<u8> {
    let n = match r.below(12) {
        0 if r.1 => 700 + r.below(600),
        1..3 => 40 + r.below(100),
        _ => 1 + r.below(12),
    };
    let plain = n > 200;
    let mut v = Vec::new();
    while (v.len() as u64) < n {
        match r.below(if plain { 200 } else { 30 }) {
            0 => v.push(0x7f),
            1 => v.push(0x15),
            2 => v.push(0x17),
            3 => v.push(4),
            4 | 5 => v.push(b'\n'),
            6 => v.push(b'\r'),
            7 => v.push(b'\t'),
            8 => v.push(0x16),
            9 => v.push(0x12),
            10 => v.push(r.one(&[0x13, 0x11, 3, 0x1c, 0x1a]) as u8),
            11 => v.extend("é€".as_bytes()),
            12 => v.push(0xff),
            13 => v.push(r.below(32) as u8),
            14 => v.push(b';'),
            15 => v.push(r.below(256) as u8),
            16 => v.push(0x7f),
            _ => v.push(r.one(&[b'a' as u32, b'B' as u32, b' ' as u32, b'_' as u32, b'7' as u32]) as u8),
        }
    }
    if v.len() > 60 {
        // What a typed signal flushes depends, in a long write, on how far the real one's worker thread has come.
        v.retain(|c| ![3, 0x1c, 0x1a, 0x13].contains(c));
    }
    v
}

fn steps(r: &mut Rng) -> Vec<Step> {
    let mut v = vec![Step::Settings(settings(r))];
    for _ in 0..3 + r.below(8) {
        v.push(match r.below(20) {
            0 => Step::Settings(settings(r)),
            1..8 => Step::Type(typed(r)),
            8..10 => Step::Print(typed(r)),
            10..13 => Step::SlaveRead(r.one(&[1, 5, 10, 64, 4096]) as usize),
            13..16 => Step::MasterRead(r.one(&[1, 7, 4000]) as usize),
            16 => Step::Pending,
            17 => Step::Flush(r.below(3), !r.1 && r.below(4) == 0),
            18 => Step::Flow(r.below(4)),
            _ => Step::Poll,
        });
    }
    v.extend([Step::Flow(abi::TCOON), Step::Pending, Step::Poll]);
    v.extend(std::iter::repeat_n(Step::SlaveRead(4096), 4));
    v.extend(std::iter::repeat_n(Step::MasterRead(4000), 4));
    v
}

/// What a step showed, in one comparable form.
type Seen = Result<Vec<u8>, u16>;

struct Real {
    master: OwnedFd,
    slave: OwnedFd,
    settle: Duration,
}

impl Real {
    fn new(settle: Duration) -> Real {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(
            &*name,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK,
            Mode::empty(),
        )
        .unwrap();
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).unwrap();
        Real {
            master,
            slave,
            settle,
        }
    }

    fn step(&self, s: &Step) -> Seen {
        let seen = match s {
            Step::Settings(s) => {
                let mut n = t::tcgetattr(&self.slave).unwrap();
                n.input_modes = t::InputModes::from_bits_retain(s.iflag);
                n.output_modes = t::OutputModes::from_bits_retain(s.oflag);
                n.local_modes = t::LocalModes::from_bits_retain(s.lflag);
                use t::SpecialCodeIndex as I;
                for (i, at) in [
                    I::VINTR,
                    I::VQUIT,
                    I::VERASE,
                    I::VKILL,
                    I::VEOF,
                    I::VTIME,
                    I::VMIN,
                    I::VSWTC,
                    I::VSTART,
                    I::VSTOP,
                    I::VSUSP,
                    I::VEOL,
                    I::VREPRINT,
                    I::VDISCARD,
                    I::VWERASE,
                    I::VLNEXT,
                    I::VEOL2,
                ]
                .into_iter()
                .enumerate()
                {
                    n.special_codes[at] = s.cc[i];
                }
                t::tcsetattr(&self.slave, OptionalActions::Now, &n).map(|()| vec![])
            }
            Step::Type(b) => rustix::io::write(&self.master, b).map(|n| n.to_le_bytes().to_vec()),
            Step::Print(b) => rustix::io::write(&self.slave, b).map(|n| n.to_le_bytes().to_vec()),
            Step::SlaveRead(n) => read(&self.slave, *n),
            Step::MasterRead(n) => read(&self.master, *n),
            Step::Pending => rustix::io::ioctl_fionread(&self.slave).map(|n| n.to_le_bytes().to_vec()),
            Step::Flush(q, master) => {
                let fd = if *master { &self.master } else { &self.slave };
                let q = [
                    QueueSelector::IFlush,
                    QueueSelector::OFlush,
                    QueueSelector::IOFlush,
                ][*q as usize];
                t::tcflush(fd, q).map(|()| vec![])
            }
            Step::Flow(a) => {
                let a = [Action::OOff, Action::OOn, Action::IOff, Action::IOn][*a as usize];
                t::tcflow(&self.slave, a).map(|()| vec![])
            }
            Step::Poll => {
                use rustix::event::{PollFd, PollFlags, Timespec, poll};
                let want = PollFlags::IN | PollFlags::OUT | PollFlags::PRI;
                let mut fds = [PollFd::new(&self.master, want), PollFd::new(&self.slave, want)];
                poll(
                    &mut fds,
                    Some(&Timespec {
                        tv_sec: 0,
                        tv_nsec: 0,
                    }),
                )
                .unwrap();
                Ok(fds
                    .iter()
                    .flat_map(|f| f.revents().bits().to_le_bytes())
                    .collect())
            }
        };
        std::thread::sleep(self.settle);
        seen.map_err(|e| e.raw_os_error() as u16)
    }
}

fn read(fd: &OwnedFd, n: usize) -> rustix::io::Result<Vec<u8>> {
    let mut b = vec![0; n];
    let n = rustix::io::read(fd, &mut b)?;
    b.truncate(n);
    Ok(b)
}

struct Ours {
    ttys: Ttys,
    master: TtyFile,
    slave: TtyFile,
    who: Caller,
}

impl Ours {
    fn new() -> Ours {
        let (mut ttys, who) = (Ttys::new(), Caller::default());
        let master = ttys.open_master().unwrap();
        ttys.ioctl(&master, &who, abi::TIOCSPTLCK, 0, &[0; 4], true, &|_| None)
            .unwrap();
        let slave = ttys.open_slave(master.tty, &who, true, true).unwrap();
        Ours {
            ttys,
            master,
            slave,
            who,
        }
    }

    fn ioctl(&mut self, f: TtyFile, request: u32, arg: u64, input: &[u8]) -> Seen {
        match self
            .ttys
            .ioctl(&f, &self.who, request, arg, input, true, &|_| None)
        {
            Ok(Answer::Bytes(b)) => Ok(b),
            Ok(_) => Ok(vec![]),
            Err(e) => Err(e.0),
        }
    }

    fn read(&mut self, f: TtyFile, n: usize) -> Seen {
        let mut call = ReadCall {
            nonblock: true,
            ..Default::default()
        };
        self.ttys.read(&f, &self.who, n, &mut call, 0).map_err(|e| e.0)
    }

    fn step(&mut self, s: &Step) -> Seen {
        let (master, slave) = (self.master, self.slave);
        match s {
            Step::Settings(s) => self.ioctl(slave, abi::TCSETS2, 0, &s.to_bytes()),
            Step::Type(b) => self
                .ttys
                .write(&master, &self.who, b)
                .map(|n| n.to_le_bytes().to_vec())
                .map_err(|e| e.0),
            Step::Print(b) => self
                .ttys
                .write(&slave, &self.who, b)
                .map(|n| n.to_le_bytes().to_vec())
                .map_err(|e| e.0),
            Step::SlaveRead(n) => self.read(slave, *n),
            Step::MasterRead(n) => self.read(master, *n),
            Step::Pending => self.ioctl(slave, abi::FIONREAD, 0, &[]).map(|b| {
                u64::from(u32::from_le_bytes(b.try_into().unwrap()))
                    .to_le_bytes()
                    .to_vec()
            }),
            Step::Flush(q, m) => self.ioctl(if *m { master } else { slave }, abi::TCFLSH, *q, &[]),
            Step::Flow(a) => self.ioctl(slave, abi::TCXONC, *a, &[]),
            Step::Poll => Ok([master, slave]
                .iter()
                .flat_map(|f| ((self.ttys.poll(f) & 0x1f) as u16).to_le_bytes())
                .collect()),
        }
    }
}

fn show(s: &Seen) -> String {
    match s {
        Ok(b) => format!("\"{}\" ({} bytes)", b[..b.len().min(300)].escape_ascii(), b.len()),
        Err(e) => format!("errno {e}"),
    }
}

fn tell(s: &Step) -> String {
    match s {
        Step::Settings(t) => {
            format!(
                "  settings i {:o} o {:o} l {:o} cc {:?}",
                t.iflag, t.oflag, t.lflag, t.cc
            )
        }
        Step::Type(b) => format!("  type \"{}\"", b[..b.len().min(400)].escape_ascii()),
        Step::Print(b) => format!("  print \"{}\"", b[..b.len().min(400)].escape_ascii()),
        s => format!("  {s:?}"),
    }
}

/// The first step that differs, told.
fn differs(steps: &[Step], settle: Duration) -> Option<String> {
    let (real, mut ours) = (Real::new(settle), Ours::new());
    for (i, s) in steps.iter().enumerate() {
        let (a, b) = (real.step(s), ours.step(s));
        if a != b {
            let told: Vec<String> = steps[..=i].iter().map(tell).collect();
            return Some(format!(
                "step {i} of\n{}\nreal {}\nours {}",
                told.join("\n"),
                show(&a),
                show(&b)
            ));
        }
    }
    None
}

#[test]
fn same_bytes_as_a_real_pty() {
    let cases: u64 = std::env::var("TURNCOAT_TTY_CASES")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(400);
    let mut bad = 0;
    for case in 0..cases {
        let mut r = Rng(0x9e37_79b9 + case * 0x1234_5679, case % 2 == 0);
        let steps = steps(&mut r);
        // The real one moves bytes in a worker thread: a difference counts if it stays with more time to settle.
        let mut said = differs(&steps, Duration::from_micros(200));
        for ms in [2, 10] {
            if said.is_some() {
                said = differs(&steps, Duration::from_millis(ms));
            }
        }
        if let Some(said) = said {
            bad += 1;
            println!("case {case}: {said}");
            assert!(bad < 5, "more than enough differences");
        }
    }
    assert_eq!(bad, 0);
}
