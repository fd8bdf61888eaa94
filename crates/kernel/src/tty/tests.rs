//! Terminals alone: job control, hangup, timers and bounds, which a test against a real pty cannot easily show.

use super::ioctl::Answer;
use super::*;

const SHELL: Caller = Caller {
    tgid: 10,
    pgrp: 10,
    session: 10,
    leader: true,
    ctty: None,
    ignores_ttin: false,
    ignores_ttou: false,
    orphaned: false,
    admin: false,
};

struct Pair {
    ttys: Ttys,
    master: TtyFile,
    slave: TtyFile,
    shell: Caller,
}

fn pair() -> Pair {
    let mut ttys = Ttys::new();
    let master = ttys.open_master().unwrap();
    assert_eq!(
        ttys.open_slave(master.tty, &SHELL, false, true),
        Err(Errno::EIO),
        "locked"
    );
    ttys.ioctl(&master, &SHELL, TIOCSPTLCK, 0, &[0; 4], true, &|_| None)
        .unwrap();
    let slave = ttys.open_slave(master.tty, &SHELL, false, true).unwrap();
    assert!(ttys.take_effects().contains(&TtyEffect::SetTty {
        tgid: 10,
        tty: master.tty
    }));
    Pair {
        master,
        slave,
        ttys,
        shell: Caller {
            ctty: Some(master.tty),
            ..SHELL
        },
    }
}

fn signals(t: &mut Ttys) -> Vec<(u32, u8)> {
    let of = |e| match e {
        TtyEffect::Signal { pgrp, sig } => Some((pgrp, sig)),
        TtyEffect::SignalLeader { session, sig } => Some((session + 1000, sig)),
        _ => None,
    };
    t.take_effects().into_iter().filter_map(of).collect()
}

impl Pair {
    fn ask(&mut self, who: Caller, request: u32, input: &[u8]) -> KResult<Answer> {
        let group = |p| (p < 100).then_some(if p < 50 { 10 } else { 11 });
        self.ttys
            .ioctl(&self.slave, &who, request, 0, input, true, &group)
    }
}

#[test]
fn typed_signals_reach_the_foreground_group() {
    let mut p = pair();
    p.ask(p.shell, TIOCSPGRP, &20u32.to_le_bytes()).unwrap();
    p.ttys.write(&p.master, &SHELL, b"abc\x03\x1c\x1a").unwrap();
    assert_eq!(signals(&mut p.ttys), [(20, SIGINT), (20, SIGQUIT), (20, SIGTSTP)]);
    let echoed = p
        .ttys
        .read(&p.master, &SHELL, 100, &mut ReadCall::default(), 0)
        .unwrap();
    assert_eq!(
        echoed, b"^Z",
        "what was typed at once before a signal is flushed with it"
    );
}

#[test]
fn background_readers_and_writers() {
    let mut p = pair();
    p.ask(p.shell, TIOCSPGRP, &20u32.to_le_bytes()).unwrap();
    let mut read = |who: Caller| {
        p.ttys
            .read(&p.slave, &who, 1, &mut ReadCall::default(), 0)
            .unwrap_err()
    };
    assert_eq!(read(p.shell), Errno::ERESTARTSYS);
    assert_eq!(
        read(Caller {
            ignores_ttin: true,
            ..p.shell
        }),
        Errno::EIO
    );
    assert_eq!(
        read(Caller {
            orphaned: true,
            ..p.shell
        }),
        Errno::EIO
    );
    assert_eq!(read(Caller { pgrp: 20, ..p.shell }), Errno::EAGAIN);
    assert_eq!(signals(&mut p.ttys), [(10, SIGTTIN)]);
    assert_eq!(
        p.ttys.write(&p.slave, &p.shell, b"x"),
        Ok(1),
        "without TOSTOP the background may write"
    );
    let mut t = Termios::default();
    t.lflag |= TOSTOP;
    assert_eq!(
        p.ask(p.shell, TCSETS, &t.to_bytes()[..36]),
        Err(Errno::ERESTARTSYS)
    );
    p.ask(
        Caller {
            ignores_ttou: true,
            ..p.shell
        },
        TCSETS,
        &t.to_bytes()[..36],
    )
    .unwrap();
    assert_eq!(p.ttys.write(&p.slave, &p.shell, b"x"), Err(Errno::ERESTARTSYS));
    assert_eq!(
        p.ask(
            Caller {
                orphaned: true,
                ..p.shell
            },
            TIOCSPGRP,
            &[10, 0, 0, 0]
        ),
        Err(Errno::ENOTTY)
    );
}

#[test]
fn foreground_group_must_be_of_the_session() {
    let mut p = pair();
    for (group, want) in [
        (200, Errno::ESRCH),
        (60, Errno::EPERM),
        (-1i32 as u32, Errno::EINVAL),
    ] {
        assert_eq!(p.ask(p.shell, TIOCSPGRP, &group.to_le_bytes()), Err(want));
    }
    assert_eq!(p.ask(SHELL, TIOCGPGRP, &[]), Err(Errno::ENOTTY));
    assert_eq!(
        p.ask(p.shell, TIOCGPGRP, &[]),
        Ok(Answer::Bytes(vec![10, 0, 0, 0]))
    );
}

#[test]
fn closing_the_master_hangs_up() {
    let mut p = pair();
    p.ask(p.shell, TIOCSPGRP, &20u32.to_le_bytes()).unwrap();
    p.ttys.close(&p.master);
    assert_eq!(
        signals(&mut p.ttys),
        [(1010, SIGHUP), (1010, SIGCONT), (20, SIGHUP), (20, SIGCONT)]
    );
    assert_eq!(
        p.ttys.read(&p.slave, &p.shell, 1, &mut ReadCall::default(), 0),
        Ok(vec![])
    );
    assert_eq!(p.ttys.write(&p.slave, &p.shell, b"x"), Err(Errno::EIO));
    assert_eq!(p.ask(p.shell, TCGETS, &[]), Err(Errno::EIO));
    assert_eq!(p.ttys.poll(&p.slave) & POLLHUP, POLLHUP);
    p.ttys.close(&p.slave);
    assert_eq!(
        p.ttys.open_master().unwrap().tty,
        p.master.tty,
        "the number is free again"
    );
}

#[test]
fn closing_the_slave_is_seen_by_the_master_after_its_data() {
    let mut p = pair();
    p.ttys.write(&p.slave, &p.shell, b"bye\n").unwrap();
    p.ttys.close(&p.slave);
    let mut read = || p.ttys.read(&p.master, &SHELL, 100, &mut ReadCall::default(), 0);
    assert_eq!((read(), read()), (Ok(b"bye\r\n".to_vec()), Err(Errno::EIO)));
    assert_eq!(p.ttys.poll(&p.master) & POLLHUP, POLLHUP);
}

#[test]
fn session_leader_exit_hangs_up_the_foreground() {
    let mut p = pair();
    p.ask(p.shell, TIOCSPGRP, &20u32.to_le_bytes()).unwrap();
    p.ttys.session_ends(p.slave.tty, 10, true);
    assert_eq!(signals(&mut p.ttys), [(20, SIGHUP)]);
    let thief = Caller {
        tgid: 70,
        pgrp: 70,
        session: 70,
        ..SHELL
    };
    p.ask(thief, TIOCSCTTY, &[]).unwrap();
    let other = Caller {
        tgid: 80,
        pgrp: 80,
        session: 80,
        ..SHELL
    };
    assert_eq!(p.ask(other, TIOCSCTTY, &[]), Err(Errno::EPERM));
}

#[test]
fn vmin_and_vtime() {
    let mut p = pair();
    let mut t = Termios {
        lflag: 0,
        ..Default::default()
    };
    let second = 1_000_000_000;
    let mut set = |p: &mut Pair, min, time| {
        t.cc[VMIN] = min;
        t.cc[VTIME] = time;
        p.ask(p.shell, TCSETS, &t.to_bytes()[..36]).unwrap();
    };
    let read = |p: &mut Pair, call: &mut ReadCall, now| p.ttys.read(&p.slave, &p.shell, 10, call, now);
    set(&mut p, 0, 0);
    assert_eq!(read(&mut p, &mut ReadCall::default(), 0), Ok(vec![]));
    set(&mut p, 0, 10);
    let mut call = ReadCall::default();
    assert_eq!(read(&mut p, &mut call, 5), Err(Errno::EAGAIN));
    assert_eq!(call.deadline, Some(second + 5));
    assert_eq!(read(&mut p, &mut call, second + 5), Ok(vec![]));
    set(&mut p, 3, 10);
    let mut call = ReadCall::default();
    assert_eq!(read(&mut p, &mut call, 0), Err(Errno::EAGAIN));
    assert_eq!(
        call.deadline, None,
        "the timer between bytes starts with the first"
    );
    p.ttys.write(&p.master, &SHELL, b"a").unwrap();
    assert_eq!(read(&mut p, &mut call, 100), Err(Errno::EAGAIN));
    p.ttys.write(&p.master, &SHELL, b"b").unwrap();
    assert_eq!(read(&mut p, &mut call, 500), Err(Errno::EAGAIN));
    assert_eq!(call.deadline, Some(second + 500));
    assert_eq!(read(&mut p, &mut call, second + 500), Ok(b"ab".to_vec()));
    let mut call = ReadCall::default();
    p.ttys.write(&p.master, &SHELL, b"c").unwrap();
    assert_eq!(read(&mut p, &mut call, 0), Err(Errno::EAGAIN));
    call.interrupted = true;
    assert_eq!(read(&mut p, &mut call, 1), Ok(b"c".to_vec()));
}

#[test]
fn packet_mode_and_window_size() {
    let mut p = pair();
    let master = p.master;
    p.ttys
        .ioctl(&master, &SHELL, TIOCPKT, 0, &[1, 0, 0, 0], true, &|_| None)
        .unwrap();
    p.ttys.write(&p.master, &SHELL, b"\x13\x11").unwrap();
    let read = |p: &mut Pair| {
        p.ttys
            .read(&p.master, &SHELL, 100, &mut ReadCall::default(), 0)
            .unwrap()
    };
    assert_eq!(read(&mut p), [TIOCPKT_START]);
    p.ttys.write(&p.slave, &p.shell, b"x").unwrap();
    assert_eq!(read(&mut p), [TIOCPKT_DATA, b'x']);
    let size = WinSize {
        rows: 24,
        cols: 80,
        ..Default::default()
    };
    p.ttys.resize(p.master.tty, size);
    p.ttys.resize(p.master.tty, size);
    assert_eq!(signals(&mut p.ttys), [(10, SIGWINCH)]);
    assert_eq!(
        p.ask(p.shell, TIOCGWINSZ, &[]),
        Ok(Answer::Bytes(vec![24, 0, 80, 0, 0, 0, 0, 0]))
    );
}

#[test]
fn queues_are_bounded() {
    let mut p = pair();
    let mut sum = 0;
    while let Ok(n) = p.ttys.write(&p.slave, &p.shell, &[b'x'; 1000]) {
        sum += n;
    }
    assert_eq!(sum, OUT_MAX);
    let mut q = pair();
    let t = Termios {
        lflag: 0,
        ..Default::default()
    };
    q.ask(q.shell, TCSETS, &t.to_bytes()[..36]).unwrap();
    let mut sum = 0;
    while let Ok(n) = q.ttys.write(&q.master, &q.shell, &[b'x'; 1000]) {
        sum += n;
    }
    assert_eq!(sum, FLIP_MAX + 4095);
    // A line without an end does not stop the terminal: its last character is replaced.
    let mut l = pair();
    for _ in 0..20 {
        l.ttys.write(&l.master, &l.shell, &[b'y'; 1000]).unwrap();
        let _ = l
            .ttys
            .read(&l.master, &l.shell, 9999, &mut ReadCall::default(), 0);
    }
    l.ttys.write(&l.master, &l.shell, b"\n").unwrap();
    let line = l
        .ttys
        .read(&l.slave, &l.shell, 9999, &mut ReadCall::default(), 0)
        .unwrap();
    assert_eq!((line.len(), line.last()), (4096, Some(&b'\n')));
}
