//! Over a real socket: who is answered, what every answer has, what is bounded, and that answers are of the shapes that the API's document names.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use common::{Answer, Stage, hostile_session, own, stage};
use serde_json::json;
use turncoat_console::reply::POLICY;
use turncoat_console::routes::{Gives, ROUTES};
use turncoat_console::{Settings, openapi, secret, shapes};
use turncoat_event::Kind;
use turncoat_event::kinds::Heartbeat;

const TOKEN: &str = "0123456789abcdef-token";
const FEED: &str = "0123456789abcdef-feed";
const TEXT: &str = "<script>alert(1)</script> needle http://192.0.2.1/x";

fn filled_stage(name: &str) -> (Stage, turncoat_event::SessionId) {
    let settings = Settings {
        password: secret::hash("correct horse battery").unwrap(),
        token: TOKEN.into(),
        feed_token: FEED.into(),
        ..Settings::default()
    };
    let mut stage = stage(name, TEXT, settings);
    let (first, items) = hostile_session(TEXT, 1, true);
    stage.add(&items);
    let (_, items) = hostile_session(TEXT, 2, false);
    stage.add(&items);
    (stage, first)
}

/// The path of a route with its parts filled in.
fn path_of(route: &str, session: &str) -> String {
    let id = if route.contains("sessions") {
        session
    } else {
        "C-1"
    };
    let sha = turncoat_store::artifact::sha256(TEXT.as_bytes()).to_string();
    route
        .replace("{id}", id)
        .replace("{sha256}", &sha)
        .replace("{word}", "x")
        .replace("{name}", "console.css")
}

#[test]
fn nobody_is_answered_who_has_not_come_in() {
    let (stage, session) = filled_stage("door");
    for route in ROUTES.iter().filter(|r| r.gives != Gives::Stream) {
        let path = path_of(route.path, &session.to_string());
        let answer = match route.method.as_str() {
            "GET" => stage.get(&path, "turncoat-1=x"),
            _ => stage.post(&path, "csrf=x", ""),
        };
        let fine = match route.access {
            turncoat_console::guard::Access::Anybody => answer.status < 400,
            _ => answer.status == 401 || answer.header("location") == Some("/login"),
        };
        assert!(fine, "{} answered {}", route.path, answer.status);
        assert!(
            !answer.body.contains("needle") || route.path == "/login",
            "{}",
            route.path
        );
        assert_eq!(
            answer.header("content-security-policy"),
            Some(POLICY),
            "{}",
            route.path
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let bearer = |path: &str, token: &str| {
        stage.raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n",
            stage.at
        ))
    };
    assert_eq!(bearer("/api/v1/sessions", TOKEN).status, 200);
    assert_eq!(bearer("/metrics", TOKEN).status, 200);
    assert_eq!(bearer("/api/v1/sessions", FEED).status, 401);
    assert_eq!(bearer("/metrics", FEED).status, 401);
    assert_eq!(bearer("/feed/blocks.txt", FEED).status, 200);
    assert_eq!(bearer("/feed/blocks.txt", TOKEN).status, 401);
    // A token opens no page, and nothing that does something.
    assert_eq!(bearer("/sessions", TOKEN).header("location"), Some("/login"));
    let answer = stage.get(&format!("/feed/blocks.txt?token={FEED}"), "");
    assert!(answer.body.starts_with("192.0.2.7\n"), "{}", answer.body);
}

#[test]
fn every_page_is_answered_and_his_words_are_only_text() {
    let (mut stage, session) = filled_stage("pages");
    for name in ["alert.open", "campaign.change", "operator.action"] {
        stage.add(&[own(common::filled(name, TEXT, session))]);
    }
    let cookie = stage.cookie();
    for route in ROUTES
        .iter()
        .filter(|r| r.method == "GET" && r.gives != Gives::Stream)
    {
        let path = path_of(route.path, &session.to_string());
        let answer = stage.get(&path, &cookie);
        let fine = answer.status == 200 || path == "/login" && answer.status == 303;
        assert!(fine, "{path} answered {}: {}", answer.status, answer.body);
        if route.gives == Gives::Page {
            assert!(!answer.body.contains("<script>alert"), "{path}");
            assert!(!answer.body.contains("http://192.0.2.1"), "{path}: a live link");
            assert!(!answer.body.contains(" style="), "{path}: the policy forbids it");
        }
        if let Gives::Json(shape) = route.gives {
            assert_eq!(answer.header("content-type"), Some("application/json"));
            shapes::check(shape, &answer.json()).unwrap_or_else(|e| panic!("{path}: {e}"));
        }
    }
    let session_page = stage.get(&format!("/sessions/{session}"), &cookie).body;
    assert!(session_page.contains("&lt;script&gt;alert(1)&lt;/script&gt; needle hxxp[:]//192.0.2.1/x"));
    for path in [
        "/sessions/nothing",
        "/campaigns/C-99",
        "/campaigns/x",
        "/artifacts/00",
        "/nothing",
    ] {
        assert_eq!(stage.get(path, &cookie).status, 404, "{path}");
    }
    assert_eq!(stage.get("/api/v1/events?kind=no.such", &cookie).status, 400);
    let found = stage
        .get("/api/v1/events?q=needle+kind:command.input", &cookie)
        .json();
    assert_eq!(found["events"].as_array().unwrap().len(), 2);
    assert_eq!(
        stage.get("/api/v1/sessions?q=needle&in=1", &cookie).json()["sessions"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    // A recording comes in pieces that join.
    let piece = stage
        .get(&format!("/api/v1/sessions/{session}/recording?from=2"), &cookie)
        .json();
    assert_eq!(piece["frames"].as_array().unwrap().len(), 3);
    let head = stage.raw(&format!(
        "HEAD /sessions HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n",
        stage.at
    ));
    assert!(head.status == 200 && head.bytes.is_empty());
}

#[test]
fn other_names_and_other_sites_are_refused() {
    let (stage, _) = filled_stage("names");
    let cookie = stage.cookie();
    let csrf = stage.csrf(&cookie);
    for host in [
        "evil.example",
        &format!("evil.example:{}", stage.at.port()),
        "127.0.0.1",
        "[::1]",
    ] {
        let answer = stage.raw(&format!(
            "GET /login HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ));
        assert_eq!(answer.status, 421, "{host}");
    }
    let post = |origin: &str, form: &str| {
        stage.raw(&format!(
            "POST /campaigns/merge HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\nOrigin: {origin}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            stage.at,
            form.len()
        ))
    };
    let ours = format!("http://{}", stage.at);
    assert_eq!(
        post("http://evil.example", &format!("csrf={csrf}&a=C-1&b=C-2")).status,
        403
    );
    assert_eq!(post("null", &format!("csrf={csrf}&a=C-1&b=C-2")).status, 403);
    assert_eq!(post(&ours, "a=C-1&b=C-2").status, 403);
    assert_eq!(
        post(&ours, &format!("csrf={}&a=C-1&b=C-2", "0".repeat(64))).status,
        403
    );
    assert!(stage.host.asked.lock().unwrap().is_empty());
    assert_eq!(post(&ours, &format!("csrf={csrf}&a=C-1&b=C-2")).status, 303);
    let asked = stage.host.asked.lock().unwrap();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].0.starts_with("link 127.0.0.1"));
    assert_eq!(asked[0].1["a"], "C-1");
}

#[test]
fn a_link_opens_once_a_password_always_and_guessing_is_slow() {
    let (stage, _) = filled_stage("login");
    let word = stage.console.link().unwrap();
    // To look at the link uses nothing up.
    assert!(stage.get(&format!("/in/{word}"), "").body.contains("Come in"));
    let first = stage.post("/in", &format!("word={word}"), "");
    let cookie = first.header("set-cookie").unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let again = stage.post("/in", &format!("word={word}"), "");
    assert_eq!(again.header("location"), Some("/login?wrong=1"));
    let login = |password: &str| stage.post("/login", &format!("password={password}"), "");
    let right = login("correct+horse+battery");
    assert_eq!(right.header("location"), Some("/"));
    let cookie = right
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let csrf = stage.csrf(&cookie);
    assert_eq!(stage.get("/sessions", &cookie).status, 200);
    assert_eq!(
        stage.post("/logout", &format!("csrf={csrf}"), &cookie).status,
        303
    );
    assert_eq!(stage.get("/sessions", &cookie).header("location"), Some("/login"));
    for _ in 0..4 {
        assert_eq!(login("wrong").header("location"), Some("/login?wrong=1"));
    }
    assert_eq!(login("correct+horse+battery").status, 429);
    let noted = stage.host.noted.lock().unwrap();
    let of = |action: &str| noted.iter().filter(|n| n.1 == action).count();
    assert_eq!(
        (
            of("console login"),
            of("console login refused"),
            of("console logout")
        ),
        (2, 5, 1)
    );
}

#[test]
fn what_operators_do_is_asked_of_the_program_and_noted() {
    let (stage, session) = filled_stage("acts");
    let cookie = stage.cookie();
    let csrf = stage.csrf(&cookie);
    let sha = turncoat_store::artifact::sha256(TEXT.as_bytes());
    let split = format!("csrf={csrf}&session={session}&session={session}");
    let answer = stage.post("/campaigns/C-1/split", &split, &cookie);
    assert_eq!(answer.status, 303);
    stage.post("/campaigns/C-1/block", &format!("csrf={csrf}&for=7d"), &cookie);
    let answer = stage.post(
        "/blocks/lift",
        &format!("csrf={csrf}&net=192.0.2.7&back=//evil.example"),
        &cookie,
    );
    assert!(answer.header("location").unwrap().starts_with("/decoys?done="));
    let answer = stage.post(
        &format!("/artifacts/{sha}/archive"),
        &format!("csrf={csrf}"),
        &cookie,
    );
    assert_eq!(answer.header("content-type"), Some("application/zip"));
    assert!(
        answer
            .header("content-disposition")
            .unwrap()
            .starts_with("attachment")
    );
    assert!(answer.bytes.starts_with(b"PK") && !answer.body.contains("needle"));
    let asked: Vec<_> = stage
        .host
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(|(_, r)| r.clone())
        .collect();
    assert_eq!(asked[0]["sessions"], json!([session, session]));
    assert_eq!(
        (asked[1]["for"].as_str(), asked[2]["net"].as_str()),
        (Some("7d"), Some("192.0.2.7"))
    );
    let noted = stage.host.noted.lock().unwrap();
    assert!(
        noted
            .iter()
            .any(|n| n.1 == "artifact archive" && n.2 == Some(sha.to_string()))
    );
}

#[test]
fn hostile_requests_are_bounded_and_refused() {
    let (stage, _) = filled_stage("hostile");
    let host = format!("Host: {}\r\nConnection: close\r\n", stage.at);
    let long = "x".repeat(5_000);
    assert_eq!(
        stage
            .raw(&format!("GET /search?q={long} HTTP/1.1\r\n{host}\r\n"))
            .status,
        414
    );
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    assert_eq!(
        stage
            .raw(&format!("GET /login HTTP/1.1\r\n{host}{many}\r\n"))
            .status,
        431
    );
    let cookie = stage.cookie();
    let answer = stage.post("/in", &"word=".repeat(20_000), "");
    // Nothing, where the connection was closed before all was sent.
    assert!(matches!(answer.status, 413 | 0), "{}", answer.status);
    let json = "{}";
    let answer = stage.raw(&format!(
        "POST /logout HTTP/1.1\r\n{host}Cookie: {cookie}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{json}"
    ));
    assert_eq!(answer.status, 415);
    assert_eq!(stage.raw(&format!("TRACE / HTTP/1.1\r\n{host}\r\n")).status, 405);
    // Bytes that are no HTTP, and HTTP with some bytes changed: it goes on answering.
    let mut state = 11u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for n in 0..300 {
        let mut bytes = format!("POST /in?a=b%20 HTTP/1.1\r\n{host}Cookie: {cookie}\r\nContent-Length: 7\r\nTransfer-Encoding: x\r\n\r\nword=ab").into_bytes();
        for _ in 0..1 + n % 9 {
            let at = next() % bytes.len();
            bytes[at] = next() as u8;
        }
        let mut stream = TcpStream::connect(stage.at).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut out = Vec::new();
        let _ = stream.take(1 << 20).read_to_end(&mut out);
        assert!(!String::from_utf8_lossy(&out).contains("needle"));
    }
    assert_eq!(stage.get("/sessions", &cookie).status, 200);
}

#[test]
fn live_pages_hear_of_everything_in_order() {
    let (mut stage, _) = filled_stage("live");
    let cookie = stage.cookie();
    let mut stream = TcpStream::connect(stage.at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "GET /live/events HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n",
        stage.at
    )
    .unwrap();
    let mut all = Vec::new();
    let mut read_until = |what: &dyn Fn(&str) -> bool| {
        let mut buffer = [0; 65536];
        while !what(&String::from_utf8_lossy(&all)) {
            let n = stream.read(&mut buffer).unwrap();
            assert!(n > 0, "the stream ended: {}", String::from_utf8_lossy(&all));
            all.extend_from_slice(&buffer[..n]);
        }
        String::from_utf8_lossy(&all).into_owned()
    };
    read_until(&|t| t.contains("retry:"));
    let first = stage.writer.last_seq() + 1;
    for uptime in 0..50u64 {
        let beat = |n| {
            own(Kind::from(Heartbeat {
                uptime: uptime * 100 + n,
                sessions: 0,
                events: 0,
            }))
        };
        let items: Vec<_> = (0..20).map(beat).collect();
        stage.add(&items);
    }
    let last = stage.writer.last_seq();
    let text = read_until(&|t| t.contains(&format!("\"seq\":{last},")));
    let seen: Vec<u64> = text
        .split("\"seq\":")
        .skip(1)
        .map(|t| t.split(',').next().unwrap().parse().unwrap())
        .filter(|seq| *seq >= first)
        .collect();
    assert_eq!(seen, (first..=last).collect::<Vec<_>>());
    // It ends with the login.
    let csrf = stage.csrf(&cookie);
    stage.post("/logout", &format!("csrf={csrf}"), &cookie);
    stage.add(&[own(Kind::from(Heartbeat {
        uptime: 1,
        sessions: 0,
        events: 0,
    }))]);
    stage.add(&[own(Kind::from(Heartbeat {
        uptime: 2,
        sessions: 0,
        events: 0,
    }))]);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
}

#[test]
fn a_live_terminal_shows_what_was_and_what_comes() {
    let (mut stage, _) = filled_stage("terminal");
    let (id, mut items) = hostile_session("over there", 9, false);
    let more = items.split_off(items.len() - 1);
    stage.add(&items);
    let cookie = stage.cookie();
    let mut stream = TcpStream::connect(stage.at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "GET /live/sessions/{id} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n",
        stage.at
    )
    .unwrap();
    let mut all = String::new();
    let mut wait_for = |what: &str| {
        let mut buffer = [0; 65536];
        while !all.contains(what) {
            let n = stream.read(&mut buffer).unwrap();
            assert!(n > 0, "the stream ended without {what}: {all}");
            all.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    };
    wait_for(&turncoat_event::bytes::base64_encode(b"over there"));
    stage.add(&more);
    let frame = more.iter().find_map(|i| match i {
        turncoat_event::Item::Frame(f) => Some(turncoat_event::bytes::base64_encode(&f.bytes)),
        _ => None,
    });
    wait_for(&frame.unwrap());
    let origin = common::origin(id, "192.0.2.11", "ssh");
    let close = turncoat_event::kinds::SessionClose {
        reason: "client".into(),
        bytes_in: 0,
        bytes_out: 0,
        duration_ms: 0,
    };
    stage.add(&[origin.at(common::now(), close).into()]);
    wait_for("event: end");
}

#[test]
fn metrics_are_in_the_form_that_prometheus_reads() {
    let (stage, _) = filled_stage("metrics");
    let cookie = stage.cookie();
    let answer: Answer = stage.get("/metrics", &cookie);
    let mut known = std::collections::HashSet::new();
    for line in answer.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(known.insert(rest.split(' ').next().unwrap().to_owned()), "{line}");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let name = name.split('{').next().unwrap();
            assert!(known.contains(name), "{line}");
            value.parse::<f64>().unwrap();
        }
    }
    assert!(answer.body.contains("turncoat_sessions 2\n"), "{}", answer.body);
}

#[test]
fn the_documents_are_current() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let pinned = |file: &str, now: &str| {
        let path = docs.join(file);
        if std::env::var_os("TURNCOAT_BLESS").is_some() {
            std::fs::write(&path, now).unwrap();
        }
        assert!(
            std::fs::read_to_string(&path).unwrap_or_default() == now,
            "docs/{file} is stale: run `TURNCOAT_BLESS=1 cargo test -p turncoat-console documents`"
        );
    };
    let document = openapi::document("1");
    pinned(
        "openapi.json",
        &format!("{}\n", serde_json::to_string_pretty(&document).unwrap()),
    );
    // Every reference leads somewhere.
    let text = document.to_string();
    for name in text
        .split("#/components/schemas/")
        .skip(1)
        .map(|t| t.split('"').next().unwrap())
    {
        assert!(shapes::named(name).is_some(), "{name}");
    }
    let guide = std::fs::read_to_string(docs.join("console.md")).unwrap();
    let (before, rest) = guide.split_once("<!-- routes -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of routes -->").unwrap();
    pinned(
        "console.md",
        &format!(
            "{before}<!-- routes -->\n{}<!-- end of routes -->{after}",
            openapi::table()
        ),
    );
}
