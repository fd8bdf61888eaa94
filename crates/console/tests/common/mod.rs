//! A record made for the test, a host around it, and a console that serves it on loopback.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value as Json, json};
use turncoat_console::{Console, Host, Settings};
use turncoat_event::kinds::{self, SessionClose, SessionOpen};
use turncoat_event::{
    Artifact, Bytes, Committer, Direction, Draft, Frame, Item, Kind, Mark, Origin, SessionId, Time, Watermark,
};
use turncoat_intel::networks::Networks;
use turncoat_intel::{Keeper, Rules};
use turncoat_store::{Durability, Filter, InstallKey, Layout, Reader, Writer, artifact};

/// The host that the test is.
pub struct Stand {
    layout: Layout,
    committed: Watermark,
    /// What was asked for, and by whom.
    pub asked: Mutex<Vec<(String, Json)>>,
    /// What was put on record.
    pub noted: Mutex<Vec<(String, String, Option<String>)>>,
    /// Text that stands wherever the host's words stand.
    pub text: String,
    networks: Networks,
}

impl Host for Stand {
    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn committed(&self) -> &Watermark {
        &self.committed
    }
    fn facts(&self) -> Json {
        json!({
            "version": "0", "state": "working", "detail": "", "uptime_seconds": 7, "listening": [format!("ssh {}", self.text)],
            "sessions_open": 1, "events": 9, "sensor": "test", "last_commit_seconds_ago": 0,
            "record_bytes": {"database": 1, "recordings": 2, "artifacts": 3},
            "outputs": [{"name": self.text, "behind": 0, "trouble": self.text}],
            "processes": {"children": [{"name": "front", "pid": 1, "confinement_missing": [self.text]}], "restarts": 0},
            "cover": {"host": self.text, "accounts": [self.text]},
            "audit": {"made": "2026-11-23T00:00:00Z", "target": self.text, "checks": 3, "findings": [{"id": self.text, "says": self.text, "seen": self.text}]},
        })
    }
    fn planted(&self) -> Json {
        json!([{"id": self.text, "kind": self.text, "made": "2026-11-23T00:00:00Z", "host": self.text, "note": self.text, "user": self.text, "revoked": false}])
    }
    fn networks(&self) -> &Networks {
        &self.networks
    }
    fn blocks(&self) -> Json {
        json!({"version": 1, "made": "2026-11-23T00:00:00Z", "blocks": [
            {"net": "192.0.2.7", "since": "2026-11-23T00:00:00Z", "until": "2026-11-24T00:00:00Z", "campaign": "C-1"},
            {"net": self.text, "since": "2026-11-23T00:00:00Z", "until": "2026-11-24T00:00:00Z", "campaign": self.text},
        ]})
    }
    fn ask(&self, operator: &str, request: &Json) -> Result<Json, String> {
        self.asked
            .lock()
            .unwrap()
            .push((operator.to_owned(), request.clone()));
        Ok(json!({"campaign": "C-1", "blocked": ["192.0.2.7"], "refused": [self.text]}))
    }
    fn note(&self, operator: &str, action: &str, detail: Option<String>) {
        let note = (operator.to_owned(), action.to_owned(), detail);
        self.noted.lock().unwrap().push(note);
    }
    fn masks(&self) -> bool {
        false
    }
}

/// A record that grows, and the console over it.
pub struct Stage {
    pub dir: PathBuf,
    pub layout: Layout,
    pub writer: Writer,
    pub committer: Committer,
    pub host: Arc<Stand>,
    pub console: Arc<Console>,
    pub at: SocketAddr,
    keeper: Keeper,
    cursor: u64,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.committer.stop();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub fn stage(name: &str, text: &str, settings: Settings) -> Stage {
    let dir = std::env::temp_dir().join(format!("turncoat-console-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    let layout = Layout::new(&dir);
    let key = InstallKey::derive(&[7; 32], "secret");
    let mut writer = Writer::open(&layout, &"test".parse().unwrap(), key, Durability::Process).unwrap();
    let keeper = Keeper::open(writer.database(), Rules::built_in().unwrap()).unwrap();
    let (committer, committed) = Committer::new();
    let host = Arc::new(Stand {
        layout: layout.clone(),
        committed,
        asked: Mutex::default(),
        noted: Mutex::default(),
        text: text.to_owned(),
        networks: networks(text),
    });
    let settings = Settings {
        idle: 3600,
        version: "0".into(),
        ..settings
    };
    let console = Arc::new(Console::new(host.clone(), settings));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let serving = console.clone();
    std::thread::spawn(move || turncoat_console::serve(serving, vec![listener], None));
    Stage {
        dir,
        layout,
        writer,
        committer,
        host,
        console,
        at,
        keeper,
        cursor: 0,
    }
}

/// Where the sources of the tests are: in Sweden, in a network whose holder has a name that somebody else chose.
fn networks(holder: &str) -> Networks {
    let holder: String = holder
        .chars()
        .filter(|c| !matches!(c, '\n' | '\r' | '"'))
        .take(80)
        .collect();
    let mut networks = Networks::default();
    networks.read("countries", "192.0.2.0,192.0.2.255,SE\n").unwrap();
    let line = format!("192.0.2.0,192.0.2.255,64500,{holder}\n");
    networks.read("networks", &line).unwrap();
    networks
}

pub fn now() -> Time {
    Time::from_system(std::time::SystemTime::now())
}

impl Stage {
    /// Commits, and lets the campaigns follow.
    pub fn add(&mut self, items: &[Item]) {
        let (done, _) = self.writer.append(items).unwrap();
        let reader = Reader::open(&self.layout).unwrap();
        loop {
            let filter = Filter {
                after: Some(self.cursor),
                ..Filter::default()
            };
            let (events, seen) = reader.events(&filter, 2_000).unwrap();
            if events.is_empty() {
                break;
            }
            self.keeper.add(self.writer.database(), &events).unwrap();
            self.cursor = seen;
        }
        self.committer.committed(Mark(done.last_seq));
    }

    /// Logs in by a link and gives the cookie.
    pub fn cookie(&self) -> String {
        let word = self.console.link().unwrap();
        let answer = self.post("/in", &format!("word={word}"), "");
        assert_eq!(answer.status, 303, "{}", answer.body);
        let cookie = answer.header("set-cookie").unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    pub fn get(&self, path: &str, cookie: &str) -> Answer {
        self.raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n",
            self.at
        ))
    }

    pub fn post(&self, path: &str, form: &str, cookie: &str) -> Answer {
        self.raw(&format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\nOrigin: http://{}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            self.at,
            self.at,
            form.len()
        ))
    }

    pub fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // Whoever refuses a request need not read it to its end.
        let _ = stream.write_all(request.as_bytes());
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        Answer::read(&all)
    }

    /// The word that forms of this login carry, from a page.
    pub fn csrf(&self, cookie: &str) -> String {
        let page = self.get("/sessions", cookie).body;
        let at = page.find("name=\"csrf\" value=\"").unwrap() + 19;
        page[at..at + 64].to_owned()
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn read(all: &[u8]) -> Answer {
        let end = all
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .map_or(all.len(), |n| n + 4);
        let head = String::from_utf8_lossy(&all[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|l| l.split(' ').nth(1)?.parse().ok())
            .unwrap_or(0);
        let headers = lines
            .filter_map(|l| l.split_once(": "))
            .map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()))
            .collect();
        let bytes = all[end..].to_vec();
        Answer {
            status,
            headers,
            body: String::from_utf8_lossy(&bytes).into_owned(),
            bytes,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    pub fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

pub fn session(n: u8) -> SessionId {
    SessionId::new(now(), [n; 10])
}

pub fn origin(session: SessionId, source: &str, decoy: &str) -> Origin {
    let src = format!("{source}:40000").parse().unwrap();
    Origin::session(session, src, "192.0.2.100:22".parse().unwrap(), decoy)
}

/// An event of this kind with `text` in every field that can hold text.
pub fn filled(name: &str, text: &str, session: SessionId) -> Kind {
    let table = kinds::table();
    let kind = table.iter().find(|k| k.name == name).unwrap();
    let mut fields: BTreeMap<&str, Json> = BTreeMap::new();
    for field in &kind.fields {
        let value = match field.type_name.as_str() {
            "string" | "bytes" => json!(text),
            "list of string" | "list of bytes" => json!([text, text]),
            "number" => json!(7),
            "boolean" => json!(field.name == "accepted"),
            "address" => json!("192.0.2.7"),
            "address:port" => json!("192.0.2.7:1"),
            "time" => json!("2026-11-23T00:00:00Z"),
            "session id" => json!(session),
            "world id" => json!(session),
            "SHA-256" => json!(artifact::sha256(text.as_bytes())),
            other => panic!("{name}.{}: what is {other}?", field.name),
        };
        fields.insert(field.name, value);
    }
    Kind::from_parts(name, &serde_json::to_string(&fields).unwrap())
        .unwrap()
        .unwrap()
}

/// A session in which every field of every kind holds this text, with a recording and an artifact; closed where `close`.
pub fn hostile_session(text: &str, n: u8, close: bool) -> (SessionId, Vec<Item>) {
    let id = session(n);
    let origin = origin(id, &format!("192.0.2.{}", 10 + n % 5), text);
    let start = now().plus_nanos(-i64::from(n) * 600_000_000_000);
    let at = |s: i64| start.plus_nanos(s * 1_000_000_000);
    let mut items: Vec<Item> = vec![origin.at(at(0), SessionOpen { via: None }).into()];
    for (i, name) in Kind::NAMES
        .iter()
        .filter(|n| !n.starts_with("session."))
        .enumerate()
    {
        let mut kind = filled(name, text, id);
        match &mut kind {
            // So that it is a login and not a question.
            Kind::AuthAttempt(it) => {
                it.method = "password".into();
                it.probe = None;
            }
            Kind::ProcessExec(it) => (it.pid, it.ppid) = (100 + i as u32, 7),
            _ => {}
        }
        items.push(origin.at(at(i as i64), kind).into());
    }
    items.push(
        Artifact {
            sha256: artifact::sha256(text.as_bytes()),
            content: Bytes::from(text),
        }
        .into(),
    );
    let frame = |ms: i64, direction, bytes: &[u8]| {
        Item::from(Frame {
            session: id,
            time: start.plus_nanos(ms * 1_000_000),
            channel: 0,
            direction,
            bytes: bytes.to_vec(),
        })
    };
    items.push(frame(0, Direction::Resize, b"100x30"));
    items.push(frame(10, Direction::Output, b"\x1b[1;32mroot@host\x1b[0m:~# "));
    items.push(frame(2_000, Direction::Output, text.as_bytes()));
    items.push(frame(
        2_500,
        Direction::Output,
        format!("\r\n\x1b]8;;javascript:alert(1)\x1b\\{text}\x1b]8;;\x1b\\\r\n").as_bytes(),
    ));
    items.push(frame(
        4_000,
        Direction::Output,
        b"\x1b]0;title\x07\x1b[31mred\x1b[0m needle \x1b[6n\x1b[>c\x1bP$q\x1b\\ok\r\n",
    ));
    if close {
        let kind = SessionClose {
            reason: text.into(),
            bytes_in: 1,
            bytes_out: 2,
            duration_ms: 3,
        };
        items.push(origin.at(at(60), kind).into());
    }
    (id, items)
}

/// An event of the program.
pub fn own(kind: impl Into<Kind>) -> Item {
    Draft::of_system(now(), kind).into()
}
