//! Worlds that are written in the middle of their lives and taken back: what comes back is the same world, and does the same from there on.

mod common;

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use common::ssh::directory;
use turncoat_cover::{Cover, Given, Seed};
use turncoat_decoys::boot::{KernelGuest, Outside, Snapshot};
use turncoat_decoys::machine::Entropy;
use turncoat_decoys::worlds::{Conn, Door, Guest, Input, Open, Produced, Program, Target, Terminal, Wants};
use turncoat_event::Time;
use turncoat_kernel::image::Image;

const MADE: i64 = 1_780_000_000;
/// Longest that a state may be.
const MOST: usize = 256 << 20;

fn image() -> Arc<Image> {
    static DIR: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut dir = DIR.lock().unwrap();
    let dir = dir.get_or_insert_with(|| directory("checkpoints-image"));
    Image::open_with(File::open(dir.join("images/default")).unwrap(), 64 << 20).unwrap()
}

/// The same machine, booted anew each time.
fn snapshot() -> Snapshot {
    let given = Given {
        made: MADE,
        receiving: Default::default(),
        wishes: Default::default(),
        kernel: None,
    };
    let cover = Cover::new(Seed([5; 32]), &given).unwrap();
    let entropy: Entropy = Arc::new(|b: &mut [u8]| b.fill(9));
    let booted = Time((MADE + 500) * 1_000_000_000);
    Snapshot::boot(&cover, image(), Outside::Timeout, booted, &entropy).unwrap()
}

fn login(n: u64, program: Program, terminal: bool) -> Open {
    Open {
        link: n,
        user: b"root".to_vec(),
        program,
        terminal: terminal.then(|| Terminal {
            term: b"xterm".to_vec(),
            columns: 80,
            rows: 24,
            ..Terminal::default()
        }),
        env: Vec::new(),
        peer: "203.0.113.9:50022".parse().unwrap(),
        local: "192.0.2.10:22".parse().unwrap(),
        method: "password",
        sshd: None,
    }
}

/// A world, and its twin that was written and taken back a while ago; both get the same and must do the same.
struct Twins {
    first: KernelGuest,
    second: Option<KernelGuest>,
    /// Where twins are taken back: booted by itself, as another process would.
    other: Snapshot,
    now: Time,
    shown: String,
    /// Slices between two new twins.
    every: u32,
    slices: u32,
    twins: u32,
    largest: usize,
}

impl Twins {
    fn new(every: u32) -> Twins {
        Twins {
            first: snapshot().guest([1; 32]),
            second: None,
            other: snapshot(),
            now: Time((MADE + 600) * 1_000_000_000),
            shown: String::new(),
            every,
            slices: 0,
            twins: 0,
            largest: 0,
        }
    }

    fn both<R: PartialEq + std::fmt::Debug>(&mut self, f: impl Fn(&mut KernelGuest) -> R) -> R {
        let r = f(&mut self.first);
        if let Some(second) = &mut self.second {
            assert_eq!(f(second), r, "after {} slices", self.slices);
        }
        r
    }

    /// The twin is what the world is; then a new one takes its place.
    fn renew(&mut self) {
        let frozen = self.first.freeze(MOST).expect("it can be written");
        if let Some(second) = &mut self.second {
            assert_eq!(
                second.world().digest(),
                self.first.world().digest(),
                "after {} slices",
                self.slices
            );
            let again = second.freeze(MOST).expect("the twin can be written");
            assert!(again == frozen, "{}", difference(&frozen, &again));
        }
        let mut twin = self.other.guest([7; 32]);
        twin.thaw(&frozen).expect("it can be taken back");
        assert_eq!(twin.world().digest(), self.first.world().digest());
        let again = twin.freeze(MOST).expect("it can be written again");
        assert!(again == frozen, "{}", difference(&frozen, &again));
        self.second = Some(twin);
        self.twins += 1;
        self.largest = self.largest.max(frozen.len());
    }

    /// Runs until nothing is due for a while, at most so many slices.
    fn settle(&mut self, slices: u32) {
        for n in 0..slices {
            let now = self.now;
            let (wants, made, retired) = self.both(|g| {
                let wants = g.run(turncoat_decoys::journal::SLICE, now);
                let mut made = Vec::new();
                g.drain(&mut made);
                (wants, made, g.retired())
            });
            let _ = retired;
            for p in made {
                if let Produced::Data { bytes, .. } = p {
                    self.shown.push_str(&String::from_utf8_lossy(&bytes));
                }
            }
            self.slices += 1;
            if self.slices.is_multiple_of(self.every) {
                self.renew();
            }
            let step = 700_000 + i64::from(n * 7919 % 1000) * 1000;
            self.now = self.now.plus_nanos(step);
            match wants {
                Wants::Run => {}
                Wants::Sleep(Some(due)) if due.since(self.now) < 3_000_000_000 => {
                    self.now = self.now.max(due);
                }
                _ => return,
            }
        }
    }

    /// Time goes by.
    fn later(&mut self, seconds: i64) {
        for _ in 0..20 {
            self.now = self.now.plus_nanos(seconds * 1_000_000_000 / 20);
            self.settle(500);
        }
    }

    fn open(&mut self, n: u64, program: Program, terminal: bool) -> Conn {
        let open = login(n, program, terminal);
        let conn = self.both(|g| g.open(&open)).expect("it lets in");
        self.settle(20_000);
        conn
    }

    /// Types, or gives a script to standard input; what is shown meanwhile.
    fn say(&mut self, conn: Conn, text: &str) -> String {
        self.shown.clear();
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let room = self.both(|g| g.room(conn)).min(rest.len());
            assert!(room > 0, "nobody takes it: {}", self.shown);
            let (now, then) = rest.split_at(room);
            self.both(|g| g.input(conn, Input::Data(now.to_vec())));
            rest = then;
            self.settle(20_000);
        }
        std::mem::take(&mut self.shown)
    }

    /// A command by itself.
    fn command(&mut self, n: u64, command: &str) -> String {
        self.shown.clear();
        let conn = self.open(n, Program::Command(command.as_bytes().to_vec()), false);
        self.both(|g| g.input(conn, Input::Close));
        self.settle(1_000);
        std::mem::take(&mut self.shown)
    }
}

fn difference(a: &[u8], b: &[u8]) -> String {
    let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let near = |of: &[u8]| {
        let end = (at + 20).min(of.len());
        String::from_utf8_lossy(&of[at.saturating_sub(60)..end]).into_owned()
    };
    format!(
        "written differently from byte {at} on, of {} and {}: {:?} and {:?}",
        a.len(),
        b.len(),
        near(a),
        near(b)
    )
}

/// Everything that one process can hold, and that others hold with it.
const HOLDS: &str = r#"
import os, mmap, threading, signal, socket, array, select, time, ctypes
libc = ctypes.CDLL(None, use_errno=True)
r, w = os.pipe(); os.write(w, b"p" * 1000)
f = open("/root/deleted", "w+"); f.write("deleted but here"); f.flush(); os.unlink("/root/deleted")
m = mmap.mmap(-1, 8192); m[:6] = b"shared"
g = open("/root/mapped", "w+b"); g.write(b"mapped file" + bytes(9000)); g.flush()
fm = mmap.mmap(g.fileno(), 8192); pm = mmap.mmap(g.fileno(), 8192, flags=mmap.MAP_PRIVATE); pm[0:1] = b"P"
pid = os.fork()
if pid == 0:
    open("/root/child").read()
    m[6:12] = b"-child" if m[:6] == b"shared" else b"-wrong"
    fm[0:1] = b"C" if fm[0:1] == b"F" and pm[0:1] == b"P" else b"?"
    pm[1:2] = b"?"
    os._exit(0)
fm[0:1] = b"F"
go = threading.Event(); woke = []
t = threading.Thread(target=lambda: (go.wait(), woke.append("woken")))
t.start()
signal.signal(signal.SIGALRM, lambda *a: None)
signal.setitimer(signal.ITIMER_REAL, 50000)
signal.signal(signal.SIGUSR1, lambda *a: woke.append("usr1"))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); os.kill(os.getpid(), signal.SIGUSR1)
a, b = socket.socketpair()
socket.send_fds(a, [b"fd"], [f.fileno()])
l = socket.socket(); l.bind(("127.0.0.1", 4444)); l.listen(); c = socket.create_connection(("127.0.0.1", 4444)); c.send(b"in flight")
e = select.epoll(); e.register(r, select.EPOLLIN | select.EPOLLET); e.register(l, select.EPOLLIN)
ino = libc.inotify_init(); libc.inotify_add_watch(ino, b"/root", 0x100)
open("/root/noticed", "w").write("x")
ev = os.eventfd(3) if hasattr(os, "eventfd") else None
tf = libc.timerfd_create(1, 0)
class Spec(ctypes.Structure): _fields_ = [("a", ctypes.c_long * 4)]
libc.timerfd_settime(tf, 0, ctypes.byref(Spec((ctypes.c_long * 4)(0, 0, 40000, 0))), None)
q = libc.msgget(77, 0o1600); libc.msgsnd(q, b"\1\0\0\0\0\0\0\0message", 7, 0)
s = libc.semget(78, 1, 0o1600); libc.semctl(s, 0, 16, 5)
h = libc.shmget(79, 8192, 0o1600); libc.shmat.restype = ctypes.c_void_p; at = libc.shmat(h, None, 0); ctypes.memmove(at, b"segment", 7)
d = os.open("/root", os.O_RDONLY)
open("/root/ready", "w").write("ready")
open("/root/go").read()
open("/root/child", "w").write("x")
os.waitpid(pid, 0)
go.set(); t.join(); f.seek(0)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
left = signal.getitimer(signal.ITIMER_REAL)[0]
polled = sorted(x[1] for x in e.poll(0))
k, _ = l.accept()
msg, fds, _, _ = socket.recv_fds(b, 10, 1)
text = os.pread(fds[0], 100, 0).decode()
buf = ctypes.create_string_buffer(64); n = libc.msgrcv(q, buf, 50, 0, 0)
out = [len(os.read(r, 65536)), f.read(), m[:12].decode(), sorted(woke), 30000 < left < 50000, msg, text,
       k.recv(100), polled, len(os.read(ino, 4096)) > 0, ev and os.eventfd_read(ev), buf.raw[8:8+n],
       libc.semctl(s, 0, 12), ctypes.string_at(at, 7), fm[0:1], pm[0:2], "ready" in os.listdir(d)]
open("/root/report", "w").write(repr(out))
"#;

/// vi on a terminal of its own.
const ONPTY: &str = r#"
import os, pty, select
pid, m = pty.fork()
if pid == 0:
    os.environ["TERM"] = "vt100"
    os.execvp("vi", ["vi", "/root/text"])
k = os.open("/root/keys", os.O_RDWR)
while True:
    for f in select.select([k, m], [], [])[0]:
        try: b = os.read(f, 4096)
        except OSError: os._exit(0)
        if f == k: os.write(m, b)
"#;

const REPORT: &str = "[1000, 'deleted but here', 'shared-child', ['usr1', 'woken'], True, b'fd', 'deleted but here', b'in flight', [1, 1], \
    True, 3, b'message', 5, b'segment', b'C', b'Pa', True]";

#[test]
fn what_programs_hold_comes_back_at_any_point() {
    let mut t = Twins::new(150);
    let put = |path: &str, text: &str| format!("cat > {path} <<'EOF'\n{text}\nEOF\n");
    let script = put("/root/all.py", HOLDS) + &put("/root/onpty.py", ONPTY);
    let sh = t.open(1, Program::Command(b"bash -s".to_vec()), false);
    t.say(sh, &script);
    let shell = t.open(2, Program::Shell, true);
    t.say(shell, "mkfifo go child keys\r");
    t.say(
        shell,
        "python3 all.py < /dev/null & python3 onpty.py < /dev/null &\r",
    );
    t.say(shell, "sleep 7777\r");
    t.say(shell, "\x1a");
    t.say(
        shell,
        "exec 9< /etc/passwd; read -u 9 line; trap 'echo bye' EXIT; x=$((6*7)); cd /tmp\r",
    );
    t.say(shell, "printf 'ihello' > /root/keys; sleep 2\r");
    let said = t.say(shell, "cat /root/ready; jobs\r");
    assert!(said.contains("ready") && said.contains("Stopped"), "{said}");
    t.renew();
    t.say(
        shell,
        "echo > /root/go; printf ' world\\033:wq\\r' > /root/keys; sleep 2\r",
    );
    let said = t.say(
        shell,
        "cat /root/report; echo; cat /root/text; read -u 9 line; echo $line $x $PWD\r",
    );
    assert!(said.contains(REPORT), "{said}");
    assert!(said.contains("hello world") && said.contains("daemon"), "{said}");
    let said = t.say(
        shell,
        "bg; sleep 0.1; jobs; kill %3; wait %3; head -c 6 /dev/urandom | od -x\r",
    );
    assert!(said.contains("Running"), "{said}");
    let said = t.command(
        3,
        "id; ls -la /root; ps ax | tail -3; ss -tan | head; ipcs -a | wc -l; cat /proc/self/maps | wc -l",
    );
    assert!(said.contains("uid=0(root)"), "{said}");
    let said = t.say(shell, "exit\r");
    assert!(said.contains("bye"), "{said}");
    t.renew();
    assert!(t.twins > 20, "{}", t.twins);
    println!(
        "{} twins, the largest of {} bytes, {} slices",
        t.twins, t.largest, t.slices
    );
}

#[test]
fn what_the_machine_does_by_itself_comes_back() {
    let mut t = Twins::new(60);
    // Streams of the host: one that waits for a program, one that a program says something to.
    let sh = t.open(1, Program::Command(b"bash -s".to_vec()), false);
    t.say(sh, "python3 -c 'import socket; s = socket.create_server((\"127.0.0.1\", 9000)); c, _ = s.accept(); print(c.recv(99)); c.send(b\"back\"); input()' > /tmp/heard &\nsleep 1\n");
    let stream = t
        .both(|g| g.connect(b"root", &Target::Tcp(b"127.0.0.1".to_vec(), 9000)))
        .expect("it is served");
    let door = t
        .both(|g| g.listen(b"root", &Door::Port(9100)))
        .expect("it listens");
    t.settle(1_000);
    t.renew();
    t.shown.clear();
    t.both(|g| g.input(stream, Input::Data(b"to a program".to_vec())));
    t.settle(1_000);
    assert!(t.shown.contains("back"), "{}", t.shown);
    t.say(sh, "exec 7<>/dev/tcp/127.0.0.1/9100; echo said >&7\n");
    assert!(t.shown.is_empty());
    // Units, a timer, a line of cron's; files over the image; a mount; a limit that is reached.
    let units = "mkdir -p /etc/systemd/system; printf '[Service]\\nExecStart=/bin/sleep 5000\\n' > /etc/systemd/system/a.service\n\
        systemctl daemon-reload; systemctl start a; systemd-run --on-active=1h /bin/true; echo '*/5 * * * * root date >> /root/dates' >> /etc/crontab\n\
        mkdir /mnt/t; mount -t tmpfs none /mnt/t; echo t > /mnt/t/t; rm /etc/motd; mv /etc/issue /etc/issue.old; chattr +i /etc/issue.old\n\
        setfacl -m u:1:r /etc/issue.net; ulimit -n 20; for i in $(seq 5 30); do eval \"exec $i</etc/passwd\"; done 2>&1 | tail -1; passwd -d root; useradd x\n";
    t.say(sh, units);
    t.renew();
    let said = t.say(sh, "systemctl is-active a; cat /mnt/t/t; ls /etc/issue*; lsattr /etc/issue.old; grep -c ^x: /etc/passwd; cat /tmp/heard\n");
    for part in ["active", "t\n", "/etc/issue.old", "----i"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(t.both(|g| g.accounts().get(b"x").is_some()));
    t.both(|g| g.unlisten(door.id));
    t.both(|g| g.input(stream, Input::Close));
    t.later(700);
    let said = t.say(sh, "wc -l < /root/dates\n");
    assert!(said.trim().parse::<u32>().is_ok_and(|n| n > 0), "{said}");
    // It goes down, is away, and comes back another time: nothing of it is the snapshot's any more but its disk.
    t.say(sh, "reboot\n");
    t.settle(2_000);
    t.renew();
    t.later(200);
    t.renew();
    let said = t.command(2, "cat /proc/uptime; ls /mnt/t /etc/issue.old; ps ax | wc -l; ip a; last -x | head -3; lscpu | head -5; dmesg | tail -1");
    assert!(
        said.contains("/etc/issue.old") && said.contains("reboot"),
        "{said}"
    );
    t.later(4_000);
    t.renew();
    println!(
        "{} twins, the largest of {} bytes, {} slices",
        t.twins, t.largest, t.slices
    );
}

/// What comes out of bytes that are wrong is an error or another world, never harm to this process.
#[test]
fn damaged_bytes_of_a_world_do_no_harm() {
    let mut t = Twins::new(u32::MAX);
    let shell = t.open(1, Program::Shell, true);
    t.say(shell, "sleep 100 | cat & echo x > /tmp/x; exec 8<> /tmp/x\r");
    let frozen = t.first.freeze(MOST).unwrap();
    let mut seed = 1u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below
    };
    let mut machine = snapshot();
    let (mut errors, mut worlds) = (0, 0);
    for n in 0..300 {
        let mut wrong = frozen.clone();
        if n % 10 == 0 {
            wrong.truncate(next(frozen.len()));
        } else {
            // Most of the bytes are pages; what refers to others stands in front.
            let within = if n % 2 == 0 {
                frozen.len()
            } else {
                frozen.len() / 20
            };
            for _ in 0..=next(3) {
                let at = next(within);
                wrong[at] ^= 1 << next(8);
            }
        }
        let mut guest = machine.guest([1; 32]);
        if guest.thaw(&wrong).is_err() {
            errors += 1;
            assert_eq!(guest.retired(), 0, "it is as it was");
            continue;
        }
        worlds += 1;
        // A panic of its own kills a world alone, as the pool sees to it.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            guest.input(shell, Input::Data(b"ls /; cat <&8\r".to_vec()));
            for _ in 0..20 {
                guest.run(turncoat_decoys::journal::SLICE, t.now);
                guest.drain(&mut Vec::new());
            }
        }));
    }
    println!(
        "{errors} errors, {worlds} other worlds, of {} bytes",
        frozen.len()
    );
    assert!(errors > 30 && worlds > 30);
    // The snapshot is what it was: a world of it does what the first one did.
    let mut twin = machine.guest([1; 32]);
    twin.thaw(&frozen).unwrap();
    t.second = Some(twin);
    let said = t.say(shell, "ls -d /etc /tmp; cat <&8\r");
    assert!(said.contains("/etc") && said.contains('x'), "{said}");
    t.renew();
}
