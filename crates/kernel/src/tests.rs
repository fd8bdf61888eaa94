//! Worlds that run hand-made programs: no image and no program of the host is needed.

use crate::rng::Rng;
use crate::sys::Call;
use crate::vfs::boot::{Content, CoverFile, Plan};
use crate::vfs::{Timespec, makedev};
use crate::*;

pub(crate) const START: u64 = 1_700_000_000_000_000_000;

/// A static program: one segment at 0x400000 with `code`, readable, writable and executable, and a page of zeros behind it.
fn elf(code: &[u8]) -> Vec<u8> {
    let mut e = abi::Enc::new();
    e.bytes(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0")
        .u16(2)
        .u16(62)
        .u32(1)
        .u64(0x400078);
    e.u64(64)
        .u64(0)
        .u32(0)
        .u16(64)
        .u16(56)
        .u16(1)
        .u16(0)
        .u16(0)
        .u16(0);
    let len = 0x78 + code.len() as u64;
    e.u32(1)
        .u32(7)
        .u64(0)
        .u64(0x400000)
        .u64(0x400000)
        .u64(len)
        .u64(len + 4096)
        .u64(4096);
    e.bytes(code);
    e.0
}

fn file(path: &str, perm: u32, content: Content) -> CoverFile {
    CoverFile::new(path, perm, Timespec::secs(1_600_000_000), content)
}

pub(crate) fn world(code: &[u8]) -> World {
    let stamp = Timespec::secs(1_600_000_000);
    World::boot(Boot {
        plan: Plan {
            image: None,
            lazy: None,
            root_dev: makedev(8, 1),
            root_source: "/dev/sda1".into(),
            root_options: String::new(),
            blocks: 100_000,
            blocks_used: 100,
            files: 10_000,
            installed: stamp,
            stamps: Default::default(),
            booted: stamp,
            limit_pages: 2048,
            limit_inodes: 500,
        },
        files: vec![
            file("/bin/p", 0o755, Content::Bytes(elf(code).into())),
            file("/tmp", 0o1777, Content::Dir),
            file("/root", 0o700, Content::Dir),
            file("/proc", 0o555, Content::Dir),
            file("/sys", 0o555, Content::Dir),
            file("/dev", 0o755, Content::Dir),
            file("/run", 0o755, Content::Dir),
            file(
                "/etc/passwd",
                0o644,
                Content::Bytes(
                    b"root:x:0:0::/root:/bin/p\nu:x:1000:1000::/tmp:/bin/p\n"
                        .to_vec()
                        .into(),
                ),
            ),
        ],
        facts: sysfs::facts::Facts::default(),
        hostname: b"t".to_vec(),
        machine: turncoat_cpu::Machine::default(),
        boot_time: START - 1_000_000_000_000,
        now: START,
        entropy: [3; 32],
        limits: Limits {
            tasks: 60,
            memory: 16 << 20,
            ..Limits::default()
        },
        standins: vec![StandInSpec::daemon("sshd", "/usr/sbin/sshd -D")],
        net: net::Net::new(net::facts::Facts::default()),
        sessions: 0,
        kmsg: Vec::new(),
    })
}

pub(crate) fn login(w: &mut World, user: &str, tty: bool) -> Conn {
    w.open(Open {
        user: user.into(),
        account: None,
        env: Vec::new(),
        term: tty.then(|| Term {
            name: b"xterm".to_vec(),
            rows: 24,
            cols: 80,
            xpixel: 0,
            ypixel: 0,
            modes: Vec::new(),
        }),
        command: None,
        peer: "203.0.113.9:50022".parse().unwrap(),
        local: "192.0.2.10:22".parse().unwrap(),
        greet: false,
        method: String::new(),
        sshd: None,
    })
    .unwrap()
}

/// Runs until nothing is left to do, at most `slices` slices of a millisecond.
pub(crate) fn run(w: &mut World, slices: u64) -> (Vec<u8>, Vec<Out>, Vec<Stamped>) {
    let (mut data, mut outs, mut facts) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..slices {
        let s = w.run(200_000, START + i * 1_000_000);
        let (o, f) = w.drain();
        for o in o {
            match o.out {
                Out::Data { bytes, .. } => data.extend(bytes),
                x => outs.push(x),
            }
        }
        facts.extend(f);
        if matches!(s, Slice::Idle { wake_at: None } | Slice::Dead) {
            break;
        }
    }
    (data, outs, facts)
}

/// `write(1, "hi\n", 3); exit(7)`.
const HELLO: &[u8] = &[
    0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 0x15, 0, 0, 0, 0xba, 3, 0, 0, 0, 0x0f,
    5, // write
    0xb8, 231, 0, 0, 0, 0xbf, 7, 0, 0, 0, 0x0f, 5, // exit_group
    0x90, 0x90, b'h', b'i', b'\n',
];

/// `jmp .`
const SPIN: &[u8] = &[0xeb, 0xfe];
/// `pause(2)` for ever.
const SLEEP: &[u8] = &[0xb8, 34, 0, 0, 0, 0x0f, 5, 0xeb, 0xf7];
/// `for (;;) fork();`
const BOMB: &[u8] = &[0xb8, 57, 0, 0, 0, 0x0f, 5, 0xeb, 0xf7];

#[test]
fn output_status_and_facts() {
    let mut w = world(HELLO);
    let c = login(&mut w, "root", false);
    let (data, outs, facts) = run(&mut w, 50);
    assert_eq!(data, b"hi\n");
    assert_eq!(outs, [Out::Exit { status: 7 }, Out::Eof, Out::Close]);
    assert!(facts.iter().any(
        |f| f.conn == Some(c) && matches!(&f.fact, Fact::Exec { argv, .. } if argv == &[b"-p".to_vec()])
    ));
    assert!(
        facts
            .iter()
            .any(|f| matches!(f.fact, Fact::Exit { status: 0x700, .. }))
    );
    assert!(w.connections().is_empty());
}

#[test]
fn a_password_that_the_host_writes_is_nobodys_act() {
    let mut w = world(HELLO);
    let old = b"root:*:19000:0:99999:7:::\nu:*:19000:0:99999:7:::\n";
    w.scribble(b"/etc/shadow", Some(0), old, Some(0o640)).unwrap();
    w.fs_effects();
    w.drain();
    w.set_password(b"u", b"$y$j9T$abc");
    login(&mut w, "u", false);
    let (_, _, facts) = run(&mut w, 50);
    assert_eq!(
        w.slurp(b"/etc/shadow").unwrap(),
        b"root:*:19000:0:99999:7:::\nu:$y$j9T$abc:19000:0:99999:7:::\n"
    );
    assert!(facts.iter().any(|f| matches!(f.fact, Fact::Exec { .. })));
    assert!(
        !facts.iter().any(|f| matches!(f.fact, Fact::File { .. })),
        "{facts:?}"
    );
}

#[test]
fn terminal_translates_newlines() {
    let mut w = world(HELLO);
    login(&mut w, "u", true);
    assert_eq!(run(&mut w, 50).0, b"hi\r\n");
}

#[test]
fn interrupt_key_kills_a_spinning_program() {
    let mut w = world(SPIN);
    let c = login(&mut w, "u", true);
    let (_, outs, _) = run(&mut w, 5);
    assert!(outs.is_empty());
    w.input(c, Input::Data(vec![3]));
    let (data, outs, _) = run(&mut w, 20);
    assert_eq!(data, b"^C");
    assert!(
        matches!(
            outs[..],
            [Out::Signal { sig: 2, core: false }, Out::Eof, Out::Close]
        ),
        "{outs:?}"
    );
}

#[test]
fn hangup_ends_the_session_and_an_idle_world_has_nothing_to_do() {
    let mut w = world(SLEEP);
    let c = login(&mut w, "u", true);
    run(&mut w, 20);
    assert_eq!(
        w.run(1_000_000, START + 1_000_000_000),
        Slice::Idle { wake_at: None }
    );
    let before = w.retired();
    assert_eq!(
        w.run(1_000_000, START + 2_000_000_000),
        Slice::Idle { wake_at: None }
    );
    assert_eq!(w.retired(), before, "idle costs nothing");
    w.input(c, Input::Close);
    run(&mut w, 20);
    assert!(
        w.tasks.values().all(|t| t.comm() != b"p"),
        "SIGHUP ended the program"
    );
}

#[test]
fn a_fork_bomb_stays_within_bounds() {
    let mut w = world(BOMB);
    login(&mut w, "u", false);
    run(&mut w, 60);
    assert!(w.tasks.len() <= 60);
    let again = w.open(Open {
        user: b"u".to_vec(),
        account: None,
        env: Vec::new(),
        term: None,
        command: None,
        peer: "203.0.113.9:50022".parse().unwrap(),
        local: "192.0.2.10:22".parse().unwrap(),
        greet: false,
        method: String::new(),
        sshd: None,
    });
    assert_eq!(again.err(), Some(Errno::EAGAIN));
}

#[test]
fn the_same_inputs_give_the_same_run() {
    let go = || {
        let mut w = world(BOMB);
        login(&mut w, "u", true);
        let r = run(&mut w, 30);
        (format!("{r:?}"), w.retired(), w.rng.u64())
    };
    assert_eq!(go(), go());
}

#[test]
fn a_clone_goes_its_own_way() {
    let mut base = world(SLEEP);
    login(&mut base, "u", true);
    run(&mut base, 10);
    let mut a = base.fork([1; 32]);
    let mut b = base.fork([2; 32]);
    a.scribble(b"/tmp/x", None, b"one", Some(0o644)).unwrap();
    assert!(b.slurp(b"/tmp/x").is_err());
    assert_ne!(a.rng.u64(), b.rng.u64());
    let c = a.connections()[0];
    a.input(c, Input::Close);
    run(&mut a, 20);
    assert_eq!((a.connections().len(), b.connections().len()), (0, 1));
}

/// Whole system calls with arguments that are sometimes right: nothing may panic, and bounds hold.
#[test]
fn random_calls_do_no_harm() {
    let rounds: u64 = std::env::var("FUZZ_ROUNDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(40);
    for seed in 0..rounds {
        let mut w = world(SLEEP);
        login(&mut w, if seed % 2 == 0 { "u" } else { "root" }, seed % 3 == 0);
        run(&mut w, 3);
        let mut rng = Rng::new([seed as u8; 32]);
        for _ in 0..seed {
            rng.u64();
        }
        for step in 0..400u64 {
            let live: Vec<u32> = w
                .tasks
                .values()
                .filter(|t| {
                    t.cpu.is_some()
                        && t.mm.is_some()
                        && t.state == crate::task::State::Runnable
                        && t.call.is_none()
                })
                .map(|t| t.tid)
                .collect();
            if live.is_empty() {
                let all: Vec<u32> = w
                    .tasks
                    .values()
                    .filter(|t| t.cpu.is_some() && t.mm.is_some())
                    .map(|t| t.tid)
                    .collect();
                let Some(t) = all.first().copied() else { break };
                w.unblock(t);
                if let Ok(t) = w.tm(t) {
                    t.call = None;
                    t.state = crate::task::State::Runnable;
                }
                continue;
            }
            let tid = live[(rng.u64() % live.len() as u64) as usize];
            let e = &SYSCALLS[(rng.u64() % SYSCALLS.len() as u64) as usize];
            let mut c = Call::new(tid, &turncoat_cpu::Cpu::new());
            c.nr = e.nr as u64;
            for a in &mut c.a {
                let r = rng.u64();
                *a = match r % 10 {
                    0 => 0,
                    1..=3 => (r >> 8) % 12,
                    4 | 5 => 0x400000 + (r >> 8) % 8192,
                    6 => r,
                    7 => u64::MAX - (r >> 8) % 200,
                    8 => 1 << ((r >> 8) % 64),
                    _ => (r >> 8) % 70_000,
                };
            }
            // Paths that exist, and structures of noise, behind the pointers.
            let paths: [&[u8]; 6] = [
                b"/tmp/a\0",
                b"/proc/self/maps\0",
                b"/dev/ptmx\0",
                b".\0",
                b"/bin/p\0",
                b"/dev/tty\0",
            ];
            let _ = w.copy_out(tid, 0x400800 + (rng.u64() % 1024), paths[(step % 6) as usize]);
            w.current = tid;
            w.dispatch(c);
            w.after_task();
            w.current = 0;
            if step % 16 == 0 {
                w.run(5_000, START + 50_000_000 + step * 1_000_000);
                w.drain();
            }
            if w.halted {
                break;
            }
        }
        assert!(w.tasks.len() <= 64);
        assert!(w.memory() < 64 << 20, "{}", w.memory());
    }
}

#[test]
fn the_host_listens_connects_and_is_connected_to() {
    let mut w = world(SPIN);
    let here: std::net::SocketAddr = "127.0.0.1:80".parse().unwrap();
    assert_eq!(w.stream_connect(here), Err(Errno::ECONNREFUSED));
    assert_eq!(
        w.stream_connect("192.0.2.1:80".parse().unwrap()),
        Err(Errno::EHOSTUNREACH),
        "what is not the machine's own is never connected to"
    );
    let (listener, port) = w.stream_listen(here).unwrap();
    assert_eq!(port, 80);
    assert_eq!(w.stream_listen(here).map(|_| ()), Err(Errno::EADDRINUSE));
    let client = w.stream_connect(here).unwrap();
    let (server, from, to) = w.stream_accept(listener).unwrap();
    assert_eq!((from.map(|f| f.ip()), to), (Some(here.ip()), Some(here)));
    assert_eq!(w.stream_read(server, 10), Some(vec![]));
    assert_eq!(w.stream_write(client, b"hello"), Ok(5));
    assert_eq!(w.stream_read(server, 3), Some(b"hel".to_vec()));
    assert_eq!(w.stream_read(server, 9), Some(b"lo".to_vec()));
    w.stream_shut(client);
    assert_eq!(w.stream_read(server, 9), None);
    assert_eq!(w.stream_write(server, b"bye"), Ok(3));
    assert_eq!(w.stream_read(client, 9), Some(b"bye".to_vec()));
    w.stream_close(server);
    w.stream_close(client);
    // A socket in the file system, for its owner and root only.
    let path = b"/tmp/s";
    let local = w.stream_listen_at(path, 1000, 1000).unwrap();
    assert_eq!(w.stream_listen_at(path, 0, 0), Err(Errno::EADDRINUSE));
    assert_eq!(w.stream_connect_at(path, 1001, 1001), Err(Errno::EACCES));
    assert_eq!(w.stream_connect_at(b"/tmp/none", 0, 0), Err(Errno::ENOENT));
    let client = w.stream_connect_at(path, 1000, 1000).unwrap();
    let (server, ..) = w.stream_accept(local).unwrap();
    assert_eq!(w.stream_write(server, b"x"), Ok(1));
    assert_eq!(w.stream_read(client, 9), Some(b"x".to_vec()));
}
