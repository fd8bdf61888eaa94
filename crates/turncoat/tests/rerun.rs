//! Worlds that run again: the same inputs give the same bytes, events and memory, by every way in which a world can be run.

mod common;

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::Run;
use common::ssh::{Shell, directory, eventually, journals, run, ssh, start, text};
use turncoat_cover::{Cover, Given, Seed};
use turncoat_decoys::auth::Accounts;
use turncoat_decoys::boot::{KernelGuest, Outside, Snapshot};
use turncoat_decoys::journal::{Birth, Checkpoint, Ended, Journaled, Reader, Report, Rerun};
use turncoat_decoys::machine::Entropy;
use turncoat_decoys::worlds::{Conn, Guest, Input, Open, Produced, Program, Terminal, Wants};
use turncoat_event::Time;
use turncoat_kernel::Dispatcher;
use turncoat_kernel::image::Image;

const MADE: i64 = 1_780_000_000;

fn image(cache: usize) -> Arc<Image> {
    static DIR: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut dir = DIR.lock().unwrap();
    let dir = dir.get_or_insert_with(|| directory("rerun-image"));
    Image::open_with(File::open(dir.join("images/default")).unwrap(), cache).unwrap()
}

fn cover() -> Cover {
    let given = Given {
        made: MADE,
        receiving: Default::default(),
        wishes: Default::default(),
        kernel: None,
    };
    Cover::new(Seed([5; 32]), &given).unwrap()
}

/// Hands a guest through, and says what its memory was when it went.
struct Probe {
    guest: KernelGuest,
    last: Arc<Mutex<Option<[u8; 32]>>>,
}

impl Guest for Probe {
    fn open(&mut self, open: &Open) -> Result<Conn, String> {
        self.guest.open(open)
    }
    fn input(&mut self, conn: Conn, input: Input) {
        self.guest.input(conn, input);
    }
    fn room(&self, conn: Conn) -> usize {
        self.guest.room(conn)
    }
    fn set_password(&mut self, user: &[u8], hash: &str) {
        self.guest.set_password(user, hash);
    }
    fn add_key(&mut self, user: &[u8], line: &[u8]) {
        self.guest.add_key(user, line);
    }
    fn accounts(&self) -> Arc<Accounts> {
        self.guest.accounts()
    }
    fn run(&mut self, budget: u64, now: Time) -> Wants {
        self.guest.run(budget, now)
    }
    fn drain(&mut self, out: &mut Vec<Produced>) {
        self.guest.drain(out);
    }
    fn retired(&self) -> u64 {
        self.guest.retired()
    }
    fn rest(&mut self) {
        self.guest.rest();
    }
    fn freeze(&mut self, most: usize) -> Option<Vec<u8>> {
        self.guest.freeze(most)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        *self.last.lock().unwrap() = Some(self.guest.world().digest());
    }
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

/// A world, its clock, and what it showed.
struct Live {
    world: Journaled,
    now: Time,
    shown: String,
    journal: Vec<u8>,
    checkpoints: Vec<Checkpoint>,
}

impl Live {
    /// A checkpoint here, as it comes from disk.
    fn checkpoint(&mut self) {
        let checkpoint = self.world.checkpoint(64 << 20).expect("it can be written").pack();
        assert!(Checkpoint::place(&checkpoint).is_some());
        self.checkpoints.push(Checkpoint::unpack(&checkpoint).unwrap());
    }

    /// Runs until nothing is due for a while, at most so many slices.
    fn settle(&mut self, slices: u32) {
        for n in 0..slices {
            let wants = self.world.run(self.now);
            let mut made = Vec::new();
            self.world.drain(&mut made);
            for p in made {
                if let Produced::Data { bytes, .. } = p {
                    self.shown.push_str(&String::from_utf8_lossy(&bytes));
                }
            }
            self.journal.extend(self.world.take());
            // An uneven clock, as a loaded machine's is.
            let step = 700_000 + i64::from(n * 7919 % 1000) * 1000;
            self.now = self.now.plus_nanos(step);
            match wants {
                Wants::Run => {}
                Wants::Sleep(Some(due)) if due.since(self.now) < 1_000_000_000 => {
                    self.now = self.now.max(due)
                }
                _ => return,
            }
        }
    }
}

/// What one world leaves: its journal, the digest of its memory at the end, and checkpoints on the way.
type Lived = (Vec<u8>, [u8; 32], Vec<Checkpoint>);

/// Two intruders' worth of input for one world.
fn live(snapshot: &mut Snapshot, birth: &Birth, other: bool) -> Lived {
    let last = Arc::new(Mutex::new(None));
    let probe = Probe {
        guest: snapshot.guest(birth.seed),
        last: last.clone(),
    };
    let mut l = Live {
        world: Journaled::new(Box::new(probe), birth, 1 << 30),
        now: Time((MADE + 600) * 1_000_000_000),
        shown: String::new(),
        journal: Vec::new(),
        checkpoints: Vec::new(),
    };
    l.settle(10);
    l.world.set_password(b"root", "$y$j9T$abc$def");
    let shell = l.world.open(&login(1, Program::Shell, true), None, 0).unwrap();
    l.settle(5_000);
    let line = |l: &mut Live, conn: Conn, line: &str, slices: u32| {
        l.world.input(conn, Input::Data(format!("{line}\r").into_bytes()));
        l.settle(slices);
    };
    line(
        &mut l,
        shell,
        "echo one > f; head -c 8 /dev/urandom | od -x; date +%s%N",
        3_000,
    );
    // A program that spins stays while the second connection comes and goes.
    line(&mut l, shell, "while :; do :; done &", 40);
    let command =
        Program::Command(b"cat /root/f; ps ax | grep -c bash; sleep 0.02; kill -9 $PPID; echo x".to_vec());
    // One as the second intruder comes, in the middle of everything.
    l.checkpoint();
    let second = l.world.open(&login(2, command, false), None, 1).unwrap();
    l.settle(400);
    l.world.input(second, Input::Close);
    // A rest is no input: the rerun has none. Nor has a checkpoint, of a world that rests.
    l.world.rest();
    l.checkpoint();
    l.world.input(shell, Input::Resize(132, 50, (0, 0)));
    if other {
        line(&mut l, shell, "seq 1 2000 | sort -r | md5sum", 300);
    }
    line(&mut l, shell, "kill %1; stty size; cat f", 3_000);
    l.world.rest();
    l.checkpoint();
    assert_eq!(l.world.since_checkpoint(), 0);
    line(&mut l, shell, "exit", 2_000);
    assert!(
        l.shown.contains("50 132") && l.shown.contains("one"),
        "{}",
        l.shown
    );
    l.journal.extend(l.world.seal());
    drop(l.world);
    let digest = last.lock().unwrap().unwrap();
    (l.journal, digest, l.checkpoints)
}

fn again(journal: &[u8], snapshot: &mut Snapshot, dispatcher: Dispatcher) -> (Report, [u8; 32]) {
    again_on(journal, snapshot, dispatcher, false)
}

/// `forgets`: every block is decoded anew before it runs.
fn again_on(
    journal: &[u8],
    snapshot: &mut Snapshot,
    dispatcher: Dispatcher,
    forgets: bool,
) -> (Report, [u8; 32]) {
    let reader = Reader::new(journal).unwrap();
    let mut guest = snapshot.guest(reader.birth().seed);
    guest.world().set_dispatcher(dispatcher);
    guest.world().set_forgets(forgets);
    let mut rerun = Rerun::new(reader, guest);
    let report = rerun.run(&mut |_, _| {});
    assert_eq!(report.ended, Ended::Whole);
    (report, rerun.into_guest().world().digest())
}

#[test]
fn a_journal_gives_the_same_run_by_every_way() {
    let entropy: Entropy = Arc::new(|b: &mut [u8]| b.fill(9));
    let booted = Time((MADE + 500) * 1_000_000_000);
    let cover = cover();
    let fresh =
        |cache: usize| Snapshot::boot(&cover, image(cache), Outside::Timeout, booted, &entropy).unwrap();
    let mut snapshot = fresh(256 << 20);
    let births = [1u8, 2].map(|n| Birth {
        seed: [n; 32],
        ..snapshot.fresh(&entropy).1
    });
    let first: Vec<_> = births
        .iter()
        .enumerate()
        .map(|(n, b)| live(&mut snapshot, b, n == 1))
        .collect();
    assert_ne!(first[0].1, first[1].1, "two worlds are two");

    // Once more from the same snapshot, with everything decoded by now, and by the other dispatcher.
    for (journal, digest, checkpoints) in &first {
        let (report, same) = again(journal, &mut snapshot, Dispatcher::TailCalls);
        assert!(report.seals > 10 && report.made > 20, "{report:?}");
        assert_eq!(same, *digest);
        let (other, same) = again(journal, &mut snapshot, Dispatcher::Loop);
        assert_eq!((&other, same), (&report, *digest));
        // From each checkpoint, in a machine booted anew: the same end, sooner.
        assert_eq!(checkpoints.len(), 3);
        for checkpoint in checkpoints {
            let reader = Reader::new(&journal[..]).unwrap();
            let mut machine = fresh(16 << 20);
            let mut rerun = Rerun::new(reader.clone(), machine.guest(reader.birth().seed));
            rerun.begin_at(checkpoint, 0).unwrap();
            let short = rerun.run(&mut |_, _| {});
            assert!(short.inputs < report.inputs && short.seals < report.seals);
            let end = |r: &Report| (r.made, r.retired, r.digest, r.ended.clone());
            assert_eq!(end(&short), end(&report));
            assert_eq!(rerun.into_guest().world().digest(), *digest);
        }
    }
    // Nobody runs from the checkpoint of another world, or of a place that is none.
    let reader = Reader::new(&first[0].0[..]).unwrap();
    let mut rerun = Rerun::new(reader.clone(), snapshot.guest(reader.birth().seed));
    let why = rerun.begin_at(&first[1].2[0], 0).unwrap_err();
    assert!(why.contains("another life"), "{why}");
    assert!(rerun.begin_at(&first[0].2[0], 1).is_err());
    assert_eq!(
        rerun.run(&mut |_, _| {}).ended,
        Ended::Whole,
        "nothing has changed"
    );
    // What was decoded is gone at every block.
    std::thread::scope(|s| {
        for ((journal, digest, _), dispatcher) in first.iter().zip([Dispatcher::TailCalls, Dispatcher::Loop])
        {
            let fresh = &fresh;
            s.spawn(move || {
                let (_, same) = again_on(journal, &mut fresh(256 << 20), dispatcher, true);
                assert_eq!(same, *digest);
            });
        }
    });
    // On two threads at once, in a machine booted anew whose cache keeps almost no page (what was decoded goes with it), beside
    // neighbours that come and go.
    std::thread::scope(|s| {
        for (journal, digest, _) in &first {
            s.spawn(|| {
                let mut snapshot = fresh(16 << 12);
                let neighbours: Vec<_> = (0..3).map(|n| snapshot.guest([n; 32])).collect();
                let (_, same) = again(journal, &mut snapshot, Dispatcher::TailCalls);
                drop(neighbours);
                assert_eq!(same, *digest);
            });
        }
    });
    // A journal that was tampered with is found out.
    let mut wrong = first[0].0.clone();
    let at = wrong.windows(7).position(|w| w == b"urandom").unwrap();
    wrong[at..at + 7].copy_from_slice(b"urandon");
    let reader = Reader::new(&wrong).unwrap();
    let guest = snapshot.guest(reader.birth().seed);
    let report = Rerun::new(reader, guest).run(&mut |_, _: &mut KernelGuest| {});
    assert!(matches!(report.ended, Ended::Diverged { .. }), "{report:?}");
}

/// The sessions on record.
fn ids(r: &Run) -> Vec<String> {
    let sessions = r.command(&["sessions", "--json"]);
    text(&sessions.stdout)
        .lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok())
        .filter_map(|s| Some(s["session"].as_str()?.to_owned()))
        .collect()
}

/// The whole way: recorded over SSH, run again by a process that never saw the session.
#[test]
fn a_recorded_session_runs_again_in_a_fresh_process() {
    let dir = directory("rerun");
    let mut r = start(&dir, "127.0.0.1:22927", &[]);
    let mut shell = Shell::open(22927);
    assert!(shell.expect("# ", Duration::from_secs(60)), "{}", shell.rest());
    // Long enough for a checkpoint to be worth it.
    shell.enter("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo $((6*7)) > /root/note; head -c 4 /dev/urandom | od -x; echo done-$((1+1))");
    assert!(
        shell.expect("done-2", Duration::from_secs(30)),
        "{}",
        shell.rest()
    );
    let o = run(
        ssh(
            22927,
            "root",
            "127.0.0.1",
            "letmein",
            false,
            &["cat /root/note; uname -r"],
        ),
        "",
    );
    assert!(text(&o.stdout).starts_with("42\n"), "{}", text(&o.stderr));
    let files = |end: &str| journals(&dir, end);
    // It is put away when nobody waits for the world.
    eventually("a checkpoint is there", 30, || !files(".checkpoint").is_empty());
    shell.enter("exit");
    drop(shell);
    // Killed, not stopped: the journal is what was committed before it was answered.
    if let Some(front) = r.pid("front") {
        r.signal(front, 9);
    }
    r.stop();
    let ids = ids(&r);
    let ids: Vec<&str> = ids.iter().map(|id| &id[..]).collect();
    assert_eq!(ids.len(), 2);
    // One at the second session's start, and the first one's is the world's birth.
    let checkpoint = files(".checkpoint");
    assert_eq!(checkpoint.len(), 1, "{checkpoint:?}");
    let began = |id: &str, more: &[&str]| {
        let o = r.command(&[&["world", "rerun", id][..], more].concat());
        assert!(o.status.success(), "{}{}", text(&o.stdout), text(&o.stderr));
        let said = text(&o.stdout);
        let line = |what: &str| {
            said.lines()
                .find(|l| l.starts_with(what))
                .unwrap_or_default()
                .to_owned()
        };
        assert!(said.contains("recording is the same"), "{said}");
        (line("began"), line("made"), line("ran"), line("passed"))
    };
    let first = began(ids[0], &[]);
    assert!(first.0.contains("birth"), "{first:?}");
    let near = began(ids[1], &[]);
    assert!(near.0.contains("checkpoint"), "{near:?}");
    let far = began(ids[1], &["--whole"]);
    assert!(far.0.contains("birth"), "{far:?}");
    assert_eq!((&near.1, &near.2), (&far.1, &far.2), "the same events and bytes");
    // Of another build, damaged, gone: the run begins at the birth, and says why.
    let bytes = std::fs::read(&checkpoint[0]).unwrap();
    let mut wrong = bytes.clone();
    let middle = wrong.len() / 2;
    wrong[middle] ^= 1;
    std::fs::write(&checkpoint[0], &wrong).unwrap();
    let passed = began(ids[1], &[]);
    assert!(
        passed.0.contains("birth") && passed.3.contains("it is damaged"),
        "{passed:?}"
    );
    assert_eq!(passed.1, far.1);
    std::fs::write(&checkpoint[0], &bytes).unwrap();
    for id in ids {
        let o = r.command(&["world", "rerun", id, "--strace"]);
        let (said, calls) = (text(&o.stdout), text(&o.stderr));
        assert!(
            o.status.success(),
            "{said}{}",
            calls.lines().last().unwrap_or_default()
        );
        assert!(
            said.contains("all the same") && said.contains("recording is the same"),
            "{said}"
        );
        assert!(calls.contains("execve("), "{calls}");
    }
    std::fs::remove_dir_all(dir.join("journals")).unwrap();
    let o = r.command(&["world", "rerun", "last"]);
    assert!(text(&o.stderr).contains("no journal"), "{}", text(&o.stderr));
}

/// A journal that grows beyond half of its bound loses what lies before a checkpoint, and the world lives on.
#[test]
fn what_was_dropped_cannot_be_run_again_and_what_follows_can() {
    let dir = directory("cut");
    let settings = [("TURNCOAT_LIMITS_JOURNAL", "256KiB")];
    let begin = || start(&dir, "127.0.0.1:22928", &settings);
    let say = |line: &str, input: &str| {
        let o = run(ssh(22928, "root", "127.0.0.1", "letmein", false, &[line]), input);
        text(&o.stdout)
    };
    let mut r = begin();
    let much = "a line of what somebody brings along\n".repeat(5_000);
    let long = "i=0; while [ $i -lt 10000 ]; do i=$((i+1)); done";
    assert_eq!(
        say(&format!("cat > /root/brought; {long}; echo first"), &much),
        "first\n"
    );
    eventually("the journal is cut", 30, || {
        let raw = journals(&dir, ".raw");
        !journals(&dir, ".checkpoint").is_empty()
            && raw.iter().all(|j| j.metadata().is_ok_and(|m| m.len() < 64 << 10))
    });
    assert_eq!(say("wc -l < /root/brought", ""), "5000\n");
    r.stop();
    let both = ids(&r);
    assert_eq!(both.len(), 2, "{both:?}");
    let o = r.command(&["world", "rerun", &both[1]]);
    let said = text(&o.stdout);
    assert!(o.status.success(), "{said}{}", text(&o.stderr));
    assert!(
        said.contains("began     at the checkpoint") && said.contains("recording is the same"),
        "{said}"
    );
    for args in [
        &["world", "rerun", &both[0]][..],
        &["world", "rerun", &both[1], "--whole"],
    ] {
        let o = r.command(args);
        assert!(
            !o.status.success() && text(&o.stderr).contains("was dropped"),
            "{}{}",
            text(&o.stdout),
            text(&o.stderr)
        );
    }
    // The world goes on from there in another process.
    let mut r = begin();
    assert_eq!(
        say("wc -l < /root/brought; uptime -s > /dev/null && echo up", ""),
        "5000\nup\n"
    );
    r.stop();
    let o = r.command(&["events", "--json", "--kind", "world.wake"]);
    assert!(text(&o.stdout).contains("\"checkpoint\""), "{}", text(&o.stdout));
}
