//! The whole way with real clients: planted, met, recorded, understood, foiled.
//!
//! The image is built once by the program's own code and shared by every test (`target/tmp/turncoat-shared`). The last test makes its
//! own network namespaces, which needs root.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use common::ssh::{directory, eventually, run, ssh, start, text};
use common::{Run, start_on};

/// One image build at a time, and one program on a port at a time.
static ONE: Mutex<()> = Mutex::new(());

#[test]
fn met_recorded_and_understood() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let dir = directory("met");
    let r = start(&dir, "127.0.0.1:22922", &[]);
    let login =
        |password: &str, command: &str| run(ssh(22922, "root", "127.0.0.1", password, false, &[command]), "");

    // The real programs answer.
    assert_eq!(login("wrong", "id").status.code(), Some(255));
    let o = login("letmein", "id; uname -s; echo $((6*7)) | tee /root/note; exit 3");
    assert_eq!(o.status.code(), Some(3), "{}", text(&o.stderr));
    assert_eq!(
        text(&o.stdout),
        "uid=0(root) gid=0(root) groups=0(root)\nLinux\n42\n"
    );
    // The same world is there at the next visit, also for another kind of login.
    let o = run(
        ssh(22922, "root", "127.0.0.1", "letmein", true, &[]),
        "cat /root/note; tty\nexit\n",
    );
    let shown = text(&o.stdout);
    assert!(shown.contains("42") && shown.contains("/dev/pts/0"), "{shown}");
    // The banner, the package and the program agree.
    let version = text(
        &login(
            "letmein",
            "ssh -V 2>&1; dpkg-query -W -f '${Version}' openssh-server",
        )
        .stdout,
    );
    let mut banner = [0u8; 64];
    let n = std::io::Read::read(
        &mut std::net::TcpStream::connect("127.0.0.1:22922").unwrap(),
        &mut banner,
    )
    .unwrap();
    let banner = text(&banner[..n]);
    let debian = banner.trim().rsplit_once("Debian-").unwrap().1.to_owned();
    assert!(version.contains(&debian), "{banner} {version}");

    // It is on record and readable.
    let sessions = text(&r.command(&["sessions", "--json"]).stdout);
    assert!(sessions.lines().count() >= 4, "{sessions}");
    let typed = text(&r.command(&["events", "--kind", "command.input"]).stdout);
    assert!(typed.contains("cat /root/note; tty"), "{typed}");
    let ran = text(&r.command(&["events", "--kind", "process.exec"]).stdout);
    assert!(ran.contains("/usr/bin/tee"), "{ran}");
    // What was written is kept, whole.
    let kept = text(&r.command(&["events", "--kind", "file.artifact", "--json"]).stdout);
    assert!(kept.contains("/root/note"), "{kept}");
    let digest = "084c799cd551dd1d8d5c5f9a5d593b2e931f5e36122ee5c793c1d08a19839cc0"; // of "42\n"
    assert!(kept.contains(digest), "{kept}");
    assert!(
        find(&dir.join("artifacts"), digest),
        "the artifact lies in the data directory"
    );
    // Its campaign has a stage and a report.
    eventually("the campaign is there", 10, || {
        !r.command(&["campaigns"]).stdout.is_empty()
    });
    let report = text(&r.command(&["campaign", "report", "C-1"]).stdout);
    assert!(
        report.contains("T1078") && report.contains("*observed*"),
        "{report}"
    );
    finish(r);
}

#[test]
fn the_start_says_how_to_log_in_and_it_is_true() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let dir = directory("greeting");
    // The default policy: as on the first day.
    let settings = [
        ("TURNCOAT_SSH_LISTEN", "127.0.0.1:0"),
        ("TURNCOAT_SSH_AUTH_FAIL_DELAY", "false"),
    ];
    let r = start_on(dir, &settings);
    assert!(r.greeting.len() <= 10, "{:?}", r.greeting);
    let line = r.greeting.iter().find(|l| l.contains("  try  ")).unwrap();
    let port = r.ssh.rsplit_once(':').unwrap().1;
    assert!(line.contains(&format!("ssh -p {port} root@127.0.0.1")), "{line}");
    let (_, n) = line.split_once("from here the ").unwrap();
    let n: u32 = n[..1].parse().unwrap();
    for round in 1..=n {
        let o = run(
            ssh(
                port.parse().unwrap(),
                "root",
                "127.0.0.1",
                &format!("guess {round}"),
                false,
                &["id -un"],
            ),
            "",
        );
        let expected = if round == n { "root\n" } else { "" };
        assert_eq!(text(&o.stdout), expected, "try {round} of {n}");
    }
    for what in ["record", "look"] {
        assert!(
            r.greeting.iter().any(|l| l.contains(&format!("  {what}  "))),
            "{:?}",
            r.greeting
        );
    }
    finish(r);
}

#[test]
fn a_planted_credential_gives_its_user_away() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let dir = directory("plant");
    let r = start(&dir, "127.0.0.1:22923", &[]);
    let o = r.command(&[
        "plant",
        "credential",
        "--for",
        "laptop7",
        "--to",
        "127.0.0.1:22923",
        "--json",
    ]);
    let made: serde_json::Value = serde_json::from_slice(&o.stdout).unwrap();
    let field = |name: &str| made["planted"][name].as_str().unwrap().to_owned();
    let (user, password) = (field("user"), field("password"));
    // The running program is told of it.
    let mut out = String::new();
    eventually("the planted credential works", 10, || {
        out = text(&run(ssh(22923, &user, "127.0.0.1", &password, false, &["whoami"]), "").stdout);
        out.trim() == user
    });
    let used = text(&r.command(&["events", "--kind", "token.used", "--json"]).stdout);
    assert!(used.contains(&field("id")) && used.contains("laptop7"), "{used}");
    eventually("an alert is opened", 10, || {
        text(&r.command(&["events", "--kind", "alert.open"]).stdout).contains("top")
    });
    finish(r);
}

#[test]
fn a_stolen_credential_names_its_thief_also_after_a_crash() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let dir = directory("thief");
    std::fs::write(dir.join("turncoat.toml"), "[cover]\nrole = \"backup\"\n").unwrap();
    let r = start(&dir, "127.0.0.1:0", &[]);
    let port = r.ssh.rsplit_once(':').unwrap().1.parse().unwrap();
    let cover: serde_json::Value =
        serde_json::from_slice(&r.command(&["cover", "show", "--json"]).stdout).unwrap();
    let baits = cover["baits"].as_array().unwrap();
    let bait = baits
        .iter()
        .find(|b| b["kind"] == "pass phrase of the repository");
    let bait = bait.unwrap_or_else(|| panic!("{}", cover["baits"]));
    let path = bait["path"].as_str().unwrap();
    let stolen = run(
        ssh(port, "root", "127.0.0.1", "letmein", false, &["cat", path]),
        "",
    );
    let stolen = text(&stolen.stdout);
    assert!(stolen.trim().len() >= 8, "{stolen:?}");
    // Who listens dies, and knows of the theft all the same when he is back.
    let front = r.pid("front").unwrap();
    r.signal(front, 9);
    eventually("the front is back", 20, || {
        r.pid("front").is_some_and(|p| p != front) && std::net::TcpStream::connect(&r.ssh).is_ok()
    });
    let mut used = String::new();
    eventually("the use of what was stolen is noticed", 20, || {
        run(
            ssh(port, "backup", "127.0.0.1", stolen.trim(), false, &["id"]),
            "",
        );
        used = text(&r.command(&["events", "--kind", "token.used", "--json"]).stdout);
        !used.is_empty()
    });
    let used: serde_json::Value = serde_json::from_str(used.lines().next().unwrap()).unwrap();
    assert_eq!(used["token"], bait["id"], "{used}");
    let reads = text(&r.command(&["events", "--kind", "bait.read", "--json"]).stdout);
    let read: serde_json::Value = serde_json::from_str(reads.lines().next().unwrap()).unwrap();
    assert_eq!(used["taken_by"], read["session"], "{used} {read}");
    assert_ne!(used["session"], read["session"]);
    finish(r);
}

/// True if a file below `dir` has this in its name.
fn find(dir: &Path, name: &str) -> bool {
    std::fs::read_dir(dir).into_iter().flatten().flatten().any(|e| {
        e.file_name().to_string_lossy().contains(name) || (e.path().is_dir() && find(&e.path(), name))
    })
}

/// Ends the program in order and removes its directory.
fn finish(mut r: Run) {
    let pid = i32::try_from(r.child.id()).unwrap();
    r.signal(pid, 15);
    assert!(r.child.wait().unwrap().success());
    let _ = std::fs::remove_dir_all(&r.dir);
}

/// Runs in namespaces of its own, started by the test below: intruder, bystander and protected host around a gateway with the decoy.
#[test]
fn inside_namespaces() {
    if std::env::var_os("TURNCOAT_TEST_WALK").is_none() {
        return;
    }
    let sh = |c: &str| {
        let o = Command::new("sh").args(["-ec", c]).output().unwrap();
        assert!(o.status.success(), "{c}: {}", text(&o.stderr));
        text(&o.stdout)
    };
    sh("ip link set lo up; sysctl -qw net.ipv4.ip_forward=1; mount -t tmpfs none /run; mkdir -p /run/netns
        i=1; for n in intruder bystander protected; do
          ip netns add $n; ip -n $n link set lo up
          ip link add v$i type veth peer name eth0 netns $n; ip addr add 10.77.$i.1/24 dev v$i; ip link set v$i up
          ip -n $n addr add 10.77.$i.2/24 dev eth0; ip -n $n link set eth0 up; ip -n $n route add default via 10.77.$i.1
          i=$((i+1)); done");
    // Nobody listens there: a refusal comes back at once if the packet arrives, nothing if it is dropped.
    let open = |from: &str| {
        let knock = "exec 3<>/dev/tcp/10.77.3.2/9";
        let o = Command::new("ip")
            .args(["netns", "exec", from, "timeout", "1", "bash", "-c", knock])
            .output()
            .unwrap();
        o.status.code() != Some(124)
    };
    let visit = |command: &str| {
        let inner = ssh(2222, "root", "10.77.1.1", "letmein", false, &[command]);
        let mut c = Command::new("ip");
        c.args(["netns", "exec", "intruder"])
            .arg(inner.get_program())
            .args(inner.get_args());
        c.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        run(c, "")
    };
    let dir = directory("foil");
    let blocking = [
        ("TURNCOAT_BLOCK_ENABLED", "true"),
        ("TURNCOAT_BLOCK_PROTECT", "[\"10.77.3.0/24\"]"),
    ];
    let mut r = start(&dir, "0.0.0.0:2222", &blocking);
    assert!(open("intruder") && open("bystander"));
    assert_eq!(text(&visit("id -un").stdout), "root\n");
    assert!(open("intruder"), "looking around is not enough for a block");
    visit("mkdir -p .ssh && echo 'ssh-ed25519 AAAA planted' >> .ssh/authorized_keys");
    let since = Instant::now();
    eventually("the protected host is closed to the intruder", 5, || {
        !open("intruder")
    });
    eprintln!(
        "closed after {:?}, measured by knocks that take up to a second",
        since.elapsed()
    );
    assert!(open("bystander"), "the bystander is untouched");
    assert_eq!(
        text(&visit("echo still here").stdout),
        "still here\n",
        "the decoy goes on answering"
    );
    assert!(text(&r.command(&["events", "--kind", "response.decide"]).stdout).contains("10.77.1.2"));
    assert_eq!(
        std::fs::read_to_string(dir.join("blocks.txt")).unwrap(),
        "10.77.1.2\n"
    );

    // Whoever dies, the block is in force again.
    for role in ["block", "record"] {
        let pid = r.pid(role).unwrap();
        r.signal(pid, 9);
        eventually("the process is started anew", 10, || {
            r.pid(role).is_some_and(|p| p != pid)
        });
        eventually("the block is in force again", 10, || !open("intruder"));
        assert!(open("bystander"));
    }
    // An operator undoes it, and no rule closes it again; that stays so when the record is started anew.
    assert!(text(&r.command(&["respond", "blocks"]).stdout).contains("10.77.1.2"));
    let lifted = r.command(&["respond", "lift", "10.77.1.2"]);
    assert_eq!(
        text(&lifted.stdout),
        "10.77.1.2 is open again\n",
        "{}",
        text(&lifted.stderr)
    );
    eventually("the block is undone", 5, || open("intruder"));
    assert_eq!(std::fs::read_to_string(dir.join("blocks.txt")).unwrap(), "");
    visit("echo 'ssh-ed25519 AAAA again' >> .ssh/authorized_keys");
    let pid = r.pid("record").unwrap();
    r.signal(pid, 9);
    eventually("the record is started anew", 10, || {
        r.pid("record").is_some_and(|p| p != pid)
    });
    eventually("the program answers", 10, || r.status().is_some());
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert!(open("intruder"), "what was undone stays undone");

    // By hand an operator closes again what he opened, for as long as he says; only to whom a completed connection proves.
    let block = |whom: &str| {
        let o = r.command(&["respond", "block", whom, "--for", "4s"]);
        (o.status.success(), text(&o.stdout) + &text(&o.stderr))
    };
    let (fine, said) = block("C-1");
    assert!(fine && said.starts_with("10.77.1.2 is blocked until "), "{said}");
    eventually("it is closed by hand", 2, || !open("intruder"));
    assert!(open("bystander"));
    assert_eq!(text(&visit("echo here").stdout), "here\n");
    let decided = text(&r.command(&["events", "--kind", "response.decide"]).stdout);
    assert!(decided.contains("operator=local"), "{decided}");
    eventually("its time is over", 8, || open("intruder"));
    let (fine, said) = block("10.77.1.2");
    assert!(fine && said.starts_with("10.77.1.2 is blocked until "), "{said}");
    eventually("an address is closed by hand", 2, || !open("intruder"));
    for (whom, why) in [
        ("10.77.2.2", "no connection from 10.77.2.2 is on record"),
        ("10.77.1.0/24", "more than one source"),
        ("C-99", "there is no campaign C-99"),
    ] {
        let (fine, said) = block(whom);
        assert!(!fine && said.contains(why), "{said}");
    }
    assert!(open("bystander"));
    // Who turns out to administer this host, by its real SSH server, is let in at once and blocked no more.
    let held = "import socket, time
s = socket.create_server((\"10.77.1.1\", 22)); c = s.accept(); time.sleep(60)";
    let mut sshd = Command::new("/usr/bin/python3")
        .args(["-c", held])
        .spawn()
        .unwrap();
    let mut works = Command::new("ip")
        .args(["netns", "exec", "intruder", "bash", "-c"])
        .arg("for n in 1 2 3 4 5 6 7 8 9; do sleep 0.3; exec 3<>/dev/tcp/10.77.1.1/22 && sleep 60; done")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (fine, said) = {
        let o = r.command(&["respond", "block", "10.77.1.2", "--for", "1h"]);
        (o.status.success(), text(&o.stdout) + &text(&o.stderr))
    };
    assert!(fine, "{said}");
    eventually("whoever administers is let in", 10, || open("intruder"));
    let (fine, said) = block("10.77.1.2");
    assert!(!fine && said.contains("10.77.1.2 is on the allow-list"), "{said}");
    for child in [&mut sshd, &mut works] {
        let _ = child.kill();
        let _ = child.wait();
    }
    let pid = i32::try_from(r.child.id()).unwrap();
    r.signal(pid, 15);
    assert!(r.child.wait().unwrap().success());
    assert_eq!(sh("nft list tables"), "", "nothing stays behind");
    assert!(open("intruder"));
    let _ = std::fs::remove_dir_all(&dir);

    // A block ends by itself; the operator's own program is told of its beginning and its end.
    let dir = directory("expire");
    let told = dir.join("told");
    std::fs::write(
        dir.join("fw"),
        format!("#!/bin/sh\necho \"$@\" >> {}\n", told.display()),
    )
    .unwrap();
    sh(&format!("chmod 755 {}", dir.join("fw").display()));
    let command = dir.join("fw").display().to_string();
    let short = [
        ("TURNCOAT_BLOCK_ENABLED", "true"),
        ("TURNCOAT_BLOCK_PROTECT", "[\"10.77.3.0/24\"]"),
        ("TURNCOAT_BLOCK_COMMAND", command.as_str()),
        (
            "TURNCOAT_RESPOND_RULES",
            "[\"campaign.stage >= 'persistence' -> block 5s\"]",
        ),
    ];
    let mut r = start(&dir, "0.0.0.0:2222", &short);
    visit("mkdir -p .ssh && echo 'ssh-ed25519 AAAA planted' >> .ssh/authorized_keys");
    eventually("the protected host is closed", 5, || !open("intruder"));
    eventually("the block is over by itself", 10, || open("intruder"));
    eventually("it is recorded", 5, || {
        text(&r.command(&["events", "--kind", "response.result"]).stdout).contains("expired")
    });
    eventually("the operator's program was told", 5, || {
        let told = std::fs::read_to_string(&told).unwrap_or_default();
        told.starts_with("block 10.77.1.2 ") && told.ends_with("unblock 10.77.1.2\n")
    });
    // What the rules would have done can be asked of the record, with the program running or not.
    let rehearsed = text(&r.command(&["respond", "--dry-run", "--since", "1h"]).stdout);
    assert!(
        rehearsed.contains("block 10.77.1.2") && rehearsed.contains("nothing was touched"),
        "{rehearsed}"
    );
    let pid = i32::try_from(r.child.id()).unwrap();
    r.signal(pid, 15);
    assert!(r.child.wait().unwrap().success());
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn two_installs_share_nothing_of_their_own() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // What two real machines would never have in common, each by the program that tells it.
    let facts = [
        ("name", "hostname -f"),
        ("machine id", "cat /etc/machine-id"),
        ("boot id", "cat /proc/sys/kernel/random/boot_id"),
        ("boot time", "uptime -s"),
        ("hardware address", "cat /sys/class/net/e*/address"),
        ("address", "hostname -I"),
        ("file systems", "grep UUID /etc/fstab"),
        ("people", "ls /home"),
        ("accounts' ages", "cut -d: -f1,3 /etc/shadow"),
        ("host keys", "cat /etc/ssh/ssh_host_*.pub"),
        ("history", "cat /root/.bash_history"),
        ("logins before", "last -F | head -5"),
        ("logs", "ls -l --full-time /var/log"),
        ("kernel's log", "dmesg | grep -i -e 'command line' -e tsc"),
        ("times of files", "stat -c %y /etc/hostname /root/.bash_history"),
    ];
    let visit = |name: &str, listen: &str| {
        let r = start(&directory(name), listen, &[]);
        let port = r.ssh.rsplit_once(':').unwrap().1.parse().unwrap();
        let told: Vec<String> = facts
            .iter()
            .map(|(_, command)| {
                text(&run(ssh(port, "root", "127.0.0.1", "letmein", false, &[command]), "").stdout)
            })
            .collect();
        let mut banner = [0u8; 64];
        let n = std::io::Read::read(&mut std::net::TcpStream::connect(&r.ssh).unwrap(), &mut banner).unwrap();
        finish(r);
        (told, text(&banner[..n]))
    };
    let (one, first) = visit("one", "127.0.0.1:0");
    let (two, second) = visit("two", "127.0.0.1:0");
    assert_eq!(first, second, "the same package has the same banner");
    for ((what, _), (a, b)) in facts.iter().zip(one.iter().zip(&two)) {
        assert!(
            !a.trim().is_empty() && !b.trim().is_empty(),
            "{what} is told: {a:?} {b:?}"
        );
        assert_ne!(a, b, "{what}");
    }
}

#[test]
fn foiled() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    drop(directory("warm"));
    let o = Command::new("unshare")
        .args(["--net", "--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "inside_namespaces"])
        .env("TURNCOAT_TEST_WALK", "1")
        .output()
        .expect("unshare (package util-linux) is needed");
    let said = format!("{}{}", text(&o.stdout), text(&o.stderr));
    if said.contains("Operation not permitted") && !said.contains("running 1 test") {
        eprintln!("skipped: making network namespaces needs root");
        return;
    }
    assert!(o.status.success() && said.contains("1 passed"), "{said}");
}
