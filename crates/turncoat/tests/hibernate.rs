//! Worlds that outlive memory: what an intruder left is there, exactly as it was, after its world was put away, after every process of
//! the program was killed, and (as after a reboot) in another build.

mod common;

use std::path::Path;
use std::time::Duration;

use common::Run;
use common::ssh::{Shell, directory, eventually, journals, run, ssh, start, text};
use turncoat_event::Kind;

const PORT: u16 = 28_022;
const LISTEN: &str = "127.0.0.1:28022";

/// One process with a half-full pipe, a deleted open file, shared memory with a child, a thread that waits on a futex and a timer;
/// vi on a terminal of its own; a stopped job.
const LEFT: &str = r#"
cat > /root/all.py <<'P'
import os, mmap, threading, signal
r, w = os.pipe(); os.write(w, b"p" * 1000)
f = open("/root/deleted", "w+"); f.write("deleted but here"); f.flush(); os.unlink("/root/deleted")
m = mmap.mmap(-1, 4096); m[:6] = b"shared"
pid = os.fork()
if pid == 0:
    open("/root/child").read()
    m[6:12] = b"-child" if m[:6] == b"shared" else b"-wrong"
    os._exit(0)
go = threading.Event(); woke = []
t = threading.Thread(target=lambda: (go.wait(), woke.append("woken")))
t.start()
signal.signal(signal.SIGALRM, lambda *a: None)
signal.setitimer(signal.ITIMER_REAL, 50000)
open("/root/ready", "w").write("ready")
open("/root/go").read()
open("/root/child", "w").write("x")
os.waitpid(pid, 0)
go.set(); t.join(); f.seek(0)
left = signal.getitimer(signal.ITIMER_REAL)[0]
open("/root/report", "w").write("%d/%s/%s/%s/%s" % (len(os.read(r, 65536)), f.read(), m[:12].decode(), woke[0], 40000 < left < 50000))
P
cat > /root/onpty.py <<'P'
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
P
mkfifo /root/go /root/child /root/keys
setsid python3 /root/all.py < /dev/null > /root/all.log 2>&1 &
setsid python3 /root/onpty.py < /dev/null > /root/pty.log 2>&1 &
setsid sleep 77777 < /dev/null > /dev/null 2>&1 &
stopped=$!; sleep 1; kill -STOP $stopped
printf 'ihello' > /root/keys
n=0; while [ ! -e /root/ready ] && [ $n -lt 100 ]; do sleep 0.2; n=$((n+1)); done
sleep 2
cat /root/ready; cat /root/*.log
"#;

/// Looks at each of them.
const LOOK: &str = r#"
ps -C sleep -o stat=,args= | grep 77777
ps -C vi -o args=
echo > /root/go
printf ' world\033:wq\r' > /root/keys
n=0; while [ ! -e /root/report -o ! -e /root/text ] && [ $n -lt 50 ]; do sleep 0.2; n=$((n+1)); done
cat /root/report; echo; cat /root/text
pkill -CONT -f 'sleep 77777'; sleep 0.2; ps -C sleep -o stat= | head -1
"#;

fn say(script: &str) -> String {
    let o = run(
        ssh(PORT, "root", "127.0.0.1", "letmein", false, &["bash -s"]),
        script,
    );
    text(&o.stdout) + &text(&o.stderr)
}

fn begin(dir: &Path, more: &[(&str, &str)]) -> Run {
    let mut settings = vec![
        ("TURNCOAT_WORLD_HIBERNATE", "1s"),
        // This build is not optimised.
        ("TURNCOAT_WORLD_RESUME", "5m"),
    ];
    settings.extend_from_slice(more);
    start(dir, LISTEN, &settings)
}

/// Kills every process of the program at once.
fn kill(r: &mut Run) {
    let mut all: Vec<i32> = r.processes().into_iter().map(|p| p.1).collect();
    all.insert(0, r.child.id() as i32);
    for pid in all {
        r.signal(pid, 9);
    }
    let _ = r.child.wait();
    // The kernel takes a while to end a large process.
    eventually("its port is free", 30, || {
        std::net::TcpListener::bind(LISTEN).is_ok()
    });
}

fn hibernated(r: &Run) -> bool {
    r.status()
        .is_some_and(|s| s["front"]["worlds"]["hibernated"] == 1)
}

fn woken(r: &Run) -> Vec<(String, Option<String>)> {
    let all = r.events().into_iter();
    all.filter_map(|e| match e.kind {
        Kind::WorldWake(w) => Some((w.how, w.why)),
        _ => None,
    })
    .collect()
}

#[test]
fn what_an_intruder_left_is_as_it_was() {
    let dir = directory("hibernate");
    let mut r = begin(&dir, &[]);
    let said = say(LEFT);
    assert!(said.starts_with("ready"), "{said}");
    let boot = say("cat /proc/sys/kernel/random/boot_id");

    // Nobody is there, and nothing is due: it leaves memory. When somebody comes it is there again.
    eventually("it hibernates", 60, || hibernated(&r));
    assert_eq!(say("cat /root/ready"), "ready");
    assert_eq!(woken(&r), [("checkpoint".into(), None)]);
    eventually("it hibernates once more", 60, || hibernated(&r));

    kill(&mut r);
    let mut r = begin(&dir, &[]);
    assert_eq!(say("cat /proc/sys/kernel/random/boot_id"), boot, "no reboot");
    let said = say(LOOK);
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    assert!(lines[0].starts_with('T'), "a stopped job: {said}");
    assert_eq!(lines[1], "vi /root/text", "{said}");
    assert_eq!(
        lines[2], "1000/deleted but here/shared-child/woken/True",
        "{said}"
    );
    assert_eq!(lines[3], "hello world", "{said}");
    assert!(lines[4].starts_with('S'), "it goes on: {said}");

    // Killed in the middle of a session: what nobody closed is closed, and a timer that is due goes off.
    let mut shell = Shell::open(PORT);
    assert!(shell.expect("# ", Duration::from_secs(60)), "{}", shell.rest());
    shell.enter("setsid sh -c 'sleep 12; echo fired > /root/timer' < /dev/null > /dev/null 2>&1 & echo begun-$((1+1))");
    assert!(
        shell.expect("begun-2", Duration::from_secs(30)),
        "{}",
        shell.rest()
    );
    // In its own session before the terminal hangs up.
    shell.enter("until pgrep -f '^sleep 12$' > /dev/null; do sleep 0.2; done; sleep 1; echo typed-$((2+2))");
    assert!(
        shell.expect("typed-4", Duration::from_secs(30)),
        "{}",
        shell.rest()
    );
    kill(&mut r);
    drop(shell);
    let mut r = begin(&dir, &[]);
    eventually("the timer goes off", 60, || say("cat /root/timer") == "fired\n");
    assert_eq!(say("who | wc -l"), "0\n", "the session of before is closed");
    assert!(
        woken(&r).iter().all(|w| *w == ("checkpoint".into(), None)),
        "{:?}",
        woken(&r)
    );
    // The second run of a journal is not recorded.
    let runs = r
        .events()
        .iter()
        .filter(|e| match &e.kind {
            Kind::ProcessExec(p) => {
                let says = |n: usize, what: &[u8]| p.argv.get(n).is_some_and(|a| a.0 == what);
                says(0, b"python3") && says(1, b"/root/all.py")
            }
            _ => false,
        })
        .count();
    assert_eq!(runs, 1);
    let sessions = r.command(&["sessions", "--json"]);
    let first: serde_json::Value =
        serde_json::from_str(text(&sessions.stdout).lines().last().unwrap_or_default()).unwrap();
    r.stop();
    let again = r.command(&["world", "rerun", first["session"].as_str().unwrap()]);
    assert!(
        again.status.success(),
        "{}{}",
        text(&again.stdout),
        text(&again.stderr)
    );

    // Another build cannot run the journal: the machine has the disk, and looks as if it had been rebooted.
    let mut r = begin(&dir, &[("TEST_TURNCOAT_BUILD", "another")]);
    assert_eq!(say("cat /root/text /root/timer"), "hello world\nfired\n");
    assert_ne!(say("cat /proc/sys/kernel/random/boot_id"), boot);
    assert_eq!(say("ps ax | grep -c '[s]leep 77777'"), "0\n");
    let up: u64 = say("cut -d. -f1 /proc/uptime").trim().parse().unwrap();
    assert!(up < 2_000, "{up}");
    assert!(say("last -x reboot | head -1").starts_with("reboot"));
    let last = woken(&r).pop().unwrap();
    assert!(
        last.0 == "disk" && last.1.as_ref().is_some_and(|w| w.contains("build")),
        "{last:?}"
    );
    say("echo new > /root/new");
    kill(&mut r);
    // And that life goes on as it was in turn: from its beginning, where no checkpoint of it is left.
    let checkpoints = || journals(&dir, ".checkpoint");
    assert!(checkpoints().len() > 1);
    for path in checkpoints() {
        std::fs::remove_file(path).unwrap();
    }
    let mut r = begin(&dir, &[("TEST_TURNCOAT_BUILD", "another")]);
    assert_eq!(say("cat /root/new"), "new\n");
    assert_eq!(woken(&r).pop().unwrap(), ("journal".into(), None));
    say("sleep 88888 & seq 1 5000 | sort -R | md5sum > /root/sum");
    eventually("it hibernates again", 60, || hibernated(&r));
    kill(&mut r);
    // One that is damaged costs time only, and that is said.
    let newest = checkpoints().into_iter().max().expect("one was written");
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let mut r = begin(&dir, &[("TEST_TURNCOAT_BUILD", "another")]);
    assert_eq!(say("ps -C sleep -o args= | grep 88888"), "sleep 88888\n");
    let (how, why) = woken(&r).pop().unwrap();
    assert_eq!(how, "journal");
    assert!(why.is_some_and(|w| w.contains("it is damaged")));
    r.stop();
}
