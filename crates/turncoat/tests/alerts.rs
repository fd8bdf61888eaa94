//! Alerts arrive: at real servers (aiosmtpd over STARTTLS and TLS, an HTTPS server, syslog), whoever dies, whoever is away.

mod common;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::receivers::Receivers;
use common::{PROGRAM, Run, read_line, say, start, until};
use serde_json::Value as Json;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn start_with(name: &str, settings: &[(&str, String)]) -> Run {
    let all: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    start(name, &all)
}

/// A syslog server over TCP that keeps what it hears.
fn syslog() -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(String::new()));
    let keep = heard.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said);
            keep.lock().unwrap().push_str(&text(&said));
        }
    });
    (port, heard)
}

#[test]
fn a_test_message_arrives_by_every_way() {
    let receivers = Receivers::new("test");
    let (port, heard) = syslog();
    let mut settings = receivers.settings();
    settings.push(("TURNCOAT_ALERT_CEF_TO", format!("tcp://127.0.0.1:{port}")));
    let run = start_with("alert-test", &settings);
    let out = run.command(&["alert", "test"]);
    assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
    assert_eq!(text(&out.stdout), "mail: taken\nwebhook: taken\ncef: taken\n");
    let mail = receivers.taken("mail").pop().unwrap();
    assert_eq!(
        (&mail["tls"], &mail["login"]),
        (&Json::Bool(true), &"turncoat".into())
    );
    assert_eq!(mail["to"].as_array().unwrap().len(), 2);
    assert!(
        mail["text"]
            .as_str()
            .unwrap()
            .contains("\r\nMessage-ID: <I-test.1.")
    );
    let hook = receivers.taken("hook").pop().unwrap();
    assert_eq!(hook["path"], "/hook?x=1");
    assert_eq!(hook["headers"]["Authorization"], "Bearer letmein");
    assert_eq!(hook["body"]["incident"], "I-test");
    until("the syslog server heard it", || {
        heard.lock().unwrap().contains("CEF:0|Turncoat|")
    });
    // A receiver that refuses is told in words, and the test message does not stay behind.
    std::fs::write(receivers.dir.join("taken/refuse"), "").unwrap();
    let out = run.command(&["alert", "test"]);
    assert!(!out.status.success());
    let said = text(&out.stdout);
    assert!(
        said.contains("mail: not taken: localhost") && said.contains("451 not now") && said.contains("503"),
        "{said}"
    );
    assert_eq!(run.status().unwrap()["alerts"].as_array().unwrap().len(), 0);
    drop(run);

    // Without a program that runs, from the command line; TLS from the start; and nothing to a server that cannot prove its name.
    std::fs::remove_file(receivers.dir.join("taken/refuse")).unwrap();
    let direct = |server: String, ca: bool| {
        let dir = receivers.dir.join("none");
        let mut command = Command::new(PROGRAM);
        command.env_clear().env("TURNCOAT_DATA", dir);
        for (key, value) in receivers.settings() {
            if !key.contains("WEBHOOK") && (ca || key != "TURNCOAT_ALERT_CA") {
                command.env(key, value);
            }
        }
        let out = command
            .env("TURNCOAT_ALERT_MAIL_SERVER", server)
            .args(["alert", "test"])
            .output()
            .unwrap();
        format!("{}{}", text(&out.stdout), text(&out.stderr))
    };
    assert_eq!(
        direct(format!("smtps://localhost:{}", receivers.ports[1]), true),
        "mail: taken\n"
    );
    let untrusted = direct(format!("smtps://localhost:{}", receivers.ports[1]), false);
    assert!(
        untrusted.contains("not taken") || untrusted.contains("ca-certificates"),
        "{untrusted}"
    );
    let plain = direct(format!("smtp+plain://127.0.0.1:{}", receivers.ports[0]), true);
    assert!(
        plain.contains("not taken"),
        "this server takes nothing without TLS: {plain}"
    );
}

/// Visits that each open an incident, on a sensor inside.
fn visit(run: &Run, line: &str) {
    let mut talk = run.connect().unwrap();
    read_line(&mut talk).unwrap();
    say(&mut talk, line).unwrap();
}

#[test]
fn nothing_is_lost_or_doubled_over_kills_and_absence() {
    let mut receivers = Receivers::new("outbox");
    let mut settings = receivers.settings();
    settings.push(("TURNCOAT_WATCH_KIND", "internal".into()));
    settings.push(("TURNCOAT_ALERT_UPDATE", "1s".into()));
    settings.push(("TURNCOAT_ALERT_HOURLY", "1000".into()));
    let mut run = start_with("outbox", &settings);
    visit(&run, "first");
    until("the incident is told", || {
        receivers.taken("mail").len() == 1 && receivers.taken("hook").len() == 1
    });
    receivers.stop();
    // Away: what happens meanwhile waits, also over kills of everybody.
    for role in ["record", "out", "front", "record", "out"] {
        visit(&run, &format!("http://192.0.2.7/{role}"));
        std::thread::sleep(Duration::from_millis(300));
        let pid = run.pid(role).unwrap();
        run.signal(pid, 9);
        until("it is back", || {
            run.pid(role).is_some_and(|p| p != pid) && run.status().is_some() && run.connect().is_ok()
        });
    }
    until("a letter waits", || {
        run.status()
            .is_some_and(|s| !s["alerts"].as_array().unwrap().is_empty())
    });
    receivers.start();
    // The next try may be half a minute away.
    let started = std::time::Instant::now();
    while run
        .status()
        .is_none_or(|s| !s["alerts"].as_array().unwrap().is_empty())
    {
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "not everything was taken"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    // Whatever else is said of the incidents is said before the end.
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(run.stop(), Some(0));

    let told: Vec<String> = run
        .events()
        .iter()
        .filter_map(|e| match &e.kind {
            turncoat_event::Kind::AlertOpen(a) => Some(format!("{} open", a.alert)),
            turncoat_event::Kind::AlertUpdate(a) => Some(format!("{} update", a.alert)),
            turncoat_event::Kind::AlertClose(a) => Some(format!("{} close", a.alert)),
            _ => None,
        })
        .collect();
    let sent = |way: &str| {
        run.events()
            .iter()
            .filter(|e| matches!(&e.kind, turncoat_event::Kind::AlertSent(a) if a.way == way && a.delivered))
            .count()
    };
    for (kind, way) in [("mail", "mail"), ("hook", "webhook")] {
        let mut ids: BTreeMap<String, usize> = BTreeMap::new();
        let mut order = Vec::new();
        for letter in receivers.taken(kind) {
            let (id, line) = if kind == "mail" {
                let text = letter["text"].as_str().unwrap();
                let id = text
                    .lines()
                    .find(|l| l.starts_with("Message-ID:"))
                    .unwrap()
                    .to_owned();
                (id, None)
            } else {
                let body = &letter["body"];
                assert_eq!(letter["headers"]["Idempotency-Key"], body["id"]);
                let line = format!(
                    "{} {}",
                    body["incident"].as_str().unwrap(),
                    body["phase"].as_str().unwrap()
                );
                assert!(!body.to_string().contains("http:"), "defanged: {body}");
                (body["id"].as_str().unwrap().to_owned(), Some(line))
            };
            if ids.insert(id, 1).is_none() {
                order.extend(line);
            }
        }
        assert_eq!(ids.len(), told.len(), "{way}: {ids:?} {told:?}");
        assert_eq!(sent(way), told.len(), "each was recorded as taken once");
        if kind == "hook" {
            assert_eq!(order, told, "in order");
        }
    }
    assert!(
        told.len() >= 3 && told.iter().filter(|t| t.ends_with("open")).count() < told.len(),
        "{told:?}"
    );
}

#[test]
fn silence_is_an_alarm() {
    let receivers = Receivers::new("silence");
    let mut settings = receivers.settings();
    settings.push(("TURNCOAT_ALERT_SILENCE", "7s".into()));
    settings.push(("TURNCOAT_ALERT_UPDATE", "1s".into()));
    let mut run = start_with("silence", &settings);
    let titles = || -> Vec<String> {
        receivers
            .taken("hook")
            .iter()
            .map(|h| h["body"]["title"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let told = |what: &str| {
        titles().iter().any(|t| t.contains(what))
            || receivers
                .taken("hook")
                .iter()
                .any(|h| h["body"]["lines"].to_string().contains(what))
    };
    // A record that stands still cannot tell; the process that sends does.
    run.signal(run.pid("record").unwrap(), 19);
    until("the silence of the record is told", || told("no sign of life"));
    run.signal(run.pid("record").unwrap(), 18);
    until("its return is told", || told("alive again"));
    run.signal(run.pid("front").unwrap(), 19);
    until("the silence of the front is told", || {
        told("has said nothing for 7 s")
    });
    run.signal(run.pid("front").unwrap(), 18);
    // The supervisor dies: the last thing that is said.
    run.signal(run.child.id() as i32, 9);
    let _ = run.child.wait();
    until("the end is told", || told("ended without being told to"));
    let dir = run.dir.clone();
    let again: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let before = receivers.taken("hook").len();
    let next = common::start_on(dir, &again);
    until("the next start tells of it too", || {
        receivers.taken("hook")[before..].iter().any(|h| {
            h["body"]["lines"]
                .to_string()
                .contains("the last sign of life was")
        })
    });
    drop(next);
}
