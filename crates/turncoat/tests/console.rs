//! The console of the built program: its link, its bounds, its confinement, and that what operators do is on record.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use common::{PROGRAM, Run, read_line, say, start, until};
use turncoat_event::Kind;

/// Host and port, and the path, of a link.
fn parts(link: &str) -> (String, String) {
    let rest = link.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    (host.to_owned(), format!("/{path}"))
}

fn ask(host: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

fn get(host: &str, path: &str, cookie: &str) -> String {
    ask(
        host,
        &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"),
    )
}

fn post(host: &str, path: &str, form: &str, cookie: &str) -> String {
    ask(
        host,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nCookie: {cookie}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ),
    )
}

/// Uses a link up and gives the cookie.
fn enter(link: &str) -> (String, String) {
    let (host, path) = parts(link);
    assert!(get(&host, &path, "").contains("Come in"));
    let answer = post(&host, "/in", &format!("word={}", &path[4..]), "");
    let cookie = answer.split("set-cookie: ").nth(1).unwrap();
    (host, cookie.split(';').next().unwrap().to_owned())
}

fn actions(run: &Run) -> Vec<(String, String)> {
    run.events()
        .into_iter()
        .filter_map(|e| match e.kind {
            Kind::OperatorAction(it) => Some((it.operator, it.action)),
            _ => None,
        })
        .collect()
}

#[test]
fn the_programs_console_is_entered_by_its_link_and_shows_what_happens() {
    let mut run = start("console", &[("TURNCOAT_CONSOLE_LISTEN", "127.0.0.1:0")]);
    let (host, cookie) = enter(&run.console);
    let mut talk = run.connect().unwrap();
    read_line(&mut talk).unwrap();
    say(&mut talk, "a needle in the record").unwrap();
    let found = get(&host, "/search?q=needle", &cookie);
    assert!(found.contains("a needle in the record"), "{found}");
    for page in [
        "/",
        "/campaigns",
        "/sessions",
        "/decoys",
        "/metrics",
        "/api/v1/charts",
    ] {
        assert!(get(&host, page, &cookie).starts_with("HTTP/1.1 200"), "{page}");
    }
    // Live, while the record grows.
    let mut live = TcpStream::connect(&host).unwrap();
    live.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        live,
        "GET /live/events HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n"
    )
    .unwrap();
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !text.contains("retry:") {
        let n = live.read(&mut buffer).unwrap();
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    say(&mut talk, "said while somebody looks").unwrap();
    while !text.contains("said while somebody looks") {
        let n = live.read(&mut buffer).unwrap();
        assert!(n > 0);
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    // Every thread of the console is confined, also those that it starts when it is asked.
    let record = run.pid("record").unwrap();
    let mut names = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{record}/task")).unwrap() {
        let task = task.unwrap().path();
        let status = std::fs::read_to_string(task.join("status")).unwrap();
        assert!(
            status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"),
            "{status}"
        );
        names.push(
            std::fs::read_to_string(task.join("comm"))
                .unwrap()
                .trim()
                .to_owned(),
        );
    }
    assert!(names.iter().filter(|n| *n == "console").count() >= 2, "{names:?}");
    // The link is used up; another one is asked for on the command line.
    let (_, path) = parts(&run.console);
    let again = post(&host, "/in", &format!("word={}", &path[4..]), "");
    assert!(again.contains("location: /login?wrong=1"), "{again}");
    let link = run.command(&["console", "link"]);
    assert!(link.status.success());
    enter(String::from_utf8_lossy(&link.stdout).trim());
    // A record that died is back with its console, and everybody must come in anew.
    run.signal(record, 9);
    until("the record is back", || {
        run.pid("record").is_some_and(|p| p != record) && run.status().is_some()
    });
    until("the console is back", || {
        get(&host, "/sessions", &cookie).contains("location: /login")
    });
    assert_eq!(run.stop(), Some(0));
    let actions = actions(&run);
    let of = |action: &str| actions.iter().filter(|(_, a)| a == action).count();
    assert_eq!(
        (
            of("console login"),
            of("console login refused"),
            of("console link")
        ),
        (2, 1, 1),
        "{actions:?}"
    );
}

#[test]
fn an_operators_block_is_tried_and_every_refusal_has_its_reason() {
    let dir = common::ssh::directory("console-block");
    for (settings, reason) in [
        (&[][..], "block.enabled"),
        (
            &[
                ("TURNCOAT_BLOCK_ENABLED", "true"),
                ("TURNCOAT_BLOCK_NFTABLES", "false"),
                ("TURNCOAT_BLOCK_PROTECT", "[\"192.0.2.0/24\"]"),
            ][..],
            "127.0.0.0/8 is on the allow-list",
        ),
        (
            &[
                ("TURNCOAT_BLOCK_ENABLED", "true"),
                ("TURNCOAT_BLOCK_NFTABLES", "false"),
                ("TURNCOAT_BLOCK_PROTECT", "[\"192.0.2.0/24\"]"),
                ("TURNCOAT_RESPOND_DRY_RUN", "true"),
            ][..],
            "a dry run touches nothing",
        ),
    ] {
        let mut all = vec![("TURNCOAT_CONSOLE_LISTEN", "127.0.0.1:0")];
        all.extend_from_slice(settings);
        let mut run = common::ssh::start(&dir, "127.0.0.1:0", &all);
        let port = run.ssh.rsplit_once(':').unwrap().1.parse().unwrap();
        let client = common::ssh::ssh(port, "root", "127.0.0.1", "letmein", false, &["id"]);
        assert!(common::ssh::run(client, "").status.success());
        let (host, cookie) = enter(&run.console);
        let mut page = String::new();
        until("the campaign has a page", || {
            page = get(&host, "/campaigns/C-1", &cookie);
            page.starts_with("HTTP/1.1 200")
        });
        let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap();
        let csrf = csrf.split('"').next().unwrap();
        let form = |csrf: &str, lasts: &str| {
            let form = format!("csrf={csrf}&for={lasts}");
            let answer = post(&host, "/campaigns/C-1/block", &form, &cookie);
            let place = answer.lines().find_map(|l| l.strip_prefix("location: "));
            place.map(|p| get(&host, p.trim(), &cookie)).unwrap_or(answer)
        };
        let said = form(csrf, "24h");
        assert!(said.contains(reason), "{reason}: {said}");
        assert!(said.contains("0 sources are blocked"), "{said}");
        assert!(form(csrf, "never").contains("is no duration"));
        assert!(
            form("x", "24h").starts_with("HTTP/1.1 403"),
            "no other site may ask for it"
        );
        assert_eq!(
            std::fs::read_to_string(dir.join("blocks.txt")).unwrap_or_default(),
            ""
        );
        assert_eq!(run.stop(), Some(0));
        let asked: Vec<_> = actions(&run).into_iter().filter(|(_, a)| a == "block").collect();
        assert!(
            !asked.is_empty() && asked.iter().all(|(who, _)| who != "local"),
            "{asked:?}"
        );
        let refused = run.events().into_iter().any(|e| {
            matches!(e.kind, Kind::ResponseResult(r) if r.result == "refused" && r.response.starts_with("by-hand/"))
        });
        assert!(refused);
        std::mem::forget(run);
    }
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn a_console_away_from_loopback_is_refused_without_tls_and_served_with_it() {
    let dir = std::env::temp_dir().join(format!("turncoat-console-tls-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let check = |settings: &[(&str, &str)]| {
        let mut command = Command::new(PROGRAM);
        command.env_clear().env("TURNCOAT_DATA", &dir).arg("check");
        for (key, value) in settings {
            command.env(key, value);
        }
        let out = command.output().unwrap();
        (
            out.status.success(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    let (fine, why) = check(&[("TURNCOAT_CONSOLE_LISTEN", "0.0.0.0:4780")]);
    assert!(!fine && why.contains("is not loopback"), "{why}");
    assert_eq!(why.lines().count(), 1, "{why}");

    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(dir.join("key.pem"))
        .arg("-out")
        .arg(dir.join("cert.pem"))
        .output()
        .expect("Debian's package openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let run = start(
        "console-tls-run",
        &[
            ("TURNCOAT_CONSOLE_LISTEN", "127.0.0.1:0"),
            ("TURNCOAT_CONSOLE_TLS_CERT", cert),
            ("TURNCOAT_CONSOLE_TLS_KEY", key),
        ],
    );
    let host = run
        .console
        .strip_prefix("https://")
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let mut talk = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-CAfile",
            cert,
            "-connect",
            &host,
        ])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = talk.stdin.take().unwrap();
    write!(
        stdin,
        "GET /login HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    talk.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    drop(stdin);
    let _ = talk.wait();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Whoever speaks without TLS gets nothing.
    let plain = TcpStream::connect(&host).map(|mut s| {
        s.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let _ = s.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut out = Vec::new();
        let _ = s.read_to_end(&mut out);
        out
    });
    assert!(!String::from_utf8_lossy(&plain.unwrap()).contains("HTTP/1.1"));
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_password_is_read_and_only_its_hash_is_printed() {
    let mut child = Command::new(PROGRAM)
        .args(["console", "password"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"correct horse battery\n")
        .unwrap();
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        text.starts_with("[console]\npassword = \"$argon2id$") && !text.contains("horse"),
        "{text}"
    );
}
