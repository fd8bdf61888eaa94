//! The record as its users see it: what goes in comes out, whole batches or nothing, searchable, removable, restorable.

use std::net::SocketAddr;
use std::path::PathBuf;

use turncoat_event::kinds::{AuthAttempt, CommandInput, FileArtifact, SessionClose, SessionOpen};
use turncoat_event::{Bytes, Direction, Frame, Item, Origin, SessionId, Time};
use turncoat_store::keep::{Quota, backup, restore};
use turncoat_store::writer::artifact_of;
use turncoat_store::{Durability, Filter, InstallKey, Layout, Reader, StoreError, Writer, recording};

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("turncoat-store-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }
    fn layout(&self) -> Layout {
        Layout::new(self.0.join("data"))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn key() -> InstallKey {
    InstallKey::derive(&[7; 32], "test")
}

fn writer(layout: &Layout) -> Writer {
    Writer::open(layout, &"test".parse().unwrap(), key(), Durability::Process).unwrap()
}

fn origin(n: u8, src: &str) -> Origin {
    let src: SocketAddr = src.parse().unwrap();
    Origin::session(
        SessionId::new(Time(i64::from(n) * 1_000_000), [n; 10]),
        src,
        "192.0.2.1:22".parse().unwrap(),
        "ssh",
    )
}

fn attempt(user: &str, secret: &[u8], accepted: bool) -> AuthAttempt {
    AuthAttempt {
        method: "password".into(),
        user: user.into(),
        secret: Some(Bytes(secret.to_vec())),
        secret_hash: None,
        key_type: None,
        fingerprint: None,
        key: None,
        probe: None,
        accepted,
        policy: "list".into(),
    }
}

fn close() -> SessionClose {
    SessionClose {
        reason: "client".into(),
        bytes_in: 1,
        bytes_out: 2,
        duration_ms: 3,
    }
}

fn visit(n: u8, src: &str, line: &str, content: &[u8]) -> Vec<Item> {
    let at = origin(n, src);
    let time = |ms: i64| Time(i64::from(n) * 1_000_000_000 + ms * 1_000_000);
    let (sha256, artifact) = artifact_of(content.to_vec());
    let session = at.session.unwrap();
    let frame = |direction, ms, bytes: &[u8]| Frame {
        session,
        time: time(ms),
        channel: 0,
        direction,
        bytes: bytes.to_vec(),
    };
    vec![
        at.at(time(0), SessionOpen { via: None }).into(),
        at.at(time(1), attempt("root", b"\xffhunter2", true)).into(),
        frame(Direction::Resize, 2, b"80x24").into(),
        frame(
            Direction::Output,
            2,
            &[b"Linux ".repeat(1000), b"$ ".to_vec()].concat(),
        )
        .into(),
        frame(Direction::Input, 3, line.as_bytes()).into(),
        at.at(
            time(3),
            CommandInput {
                line: line.into(),
                reader: None,
                pid: None,
            },
        )
        .into(),
        artifact.into(),
        at.at(
            time(4),
            FileArtifact {
                path: "/tmp/x".into(),
                sha256,
                size: 5,
                kept: 5,
                how: "sftp".into(),
                url: None,
            },
        )
        .into(),
        at.at(time(5), close()).into(),
    ]
}

#[test]
fn a_session_that_is_closed_stays_closed_whatever_its_world_tells_later() {
    let dir = Dir::new("late");
    let mut writer = writer(&dir.layout());
    let (_, closed) = writer
        .append(&visit(1, "198.51.100.7:1", "sleep 9 &", b"late"))
        .unwrap();
    assert_eq!(closed.len(), 1);
    let late = CommandInput {
        line: "echo late".into(),
        reader: None,
        pid: None,
    };
    let at = origin(1, "198.51.100.7:1");
    let (_, closed) = writer.append(&[at.at(Time(9_000_000_000), late).into()]).unwrap();
    assert!(closed.is_empty(), "it was closed before");
    assert_eq!(writer.open_sessions(), 0);
    let row: (i64, String, i64) = writer
        .database()
        .query_row("SELECT closed, reason, commands FROM session", [], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?))
        })
        .unwrap();
    assert_eq!((row.0, row.2), (1_005_000_000, 2));
    assert!(!row.1.is_empty());
}

/// What a machine says when its visitor has gone is added to the recording, compressed or not.
#[test]
fn what_comes_late_is_added_to_a_compressed_recording() {
    let dir = Dir::new("late");
    let layout = dir.layout();
    let mut writer = writer(&layout);
    let (_, closed) = writer
        .append(&visit(1, "198.51.100.7:4000", "true", b"x"))
        .unwrap();
    let session = closed[0];
    let all = || -> Vec<Frame> {
        let frames = recording::open(&layout, session).unwrap().unwrap();
        frames.collect()
    };
    let before = all();
    assert!(!before.is_empty());
    let late = |text: &[u8]| Frame {
        session,
        time: before[0].time,
        channel: 0,
        direction: Direction::Output,
        bytes: text.to_vec(),
    };
    for (n, text) in [b"logout".as_slice(), b"and more"].into_iter().enumerate() {
        recording::compress(&layout, session).unwrap();
        assert!(!layout.recording(session).exists());
        let (_, again) = writer.append(&[Item::Frame(late(text))]).unwrap();
        let now = all();
        assert_eq!(now[..before.len()], before[..]);
        assert_eq!(now.len(), before.len() + n + 1);
        assert_eq!(now.last().unwrap().bytes, text);
        assert_eq!(again, [session], "it is compressed anew");
    }
}

#[test]
fn a_visit_is_read_back_whole() {
    let dir = Dir::new("visit");
    let layout = dir.layout();
    let mut writer = writer(&layout);
    let (committed, closed) = writer
        .append(&visit(
            1,
            "198.51.100.7:4000",
            "wget http://x.example/a.sh",
            b"\x7fELF",
        ))
        .unwrap();
    assert_eq!((committed.last_seq, closed.len()), (5, 1));
    for session in &closed {
        recording::compress(&layout, *session).unwrap();
    }
    let reader = Reader::open(&layout).unwrap();
    let (events, cursor) = reader.events(&Filter::default(), 100).unwrap();
    assert_eq!(cursor, 5);
    assert_eq!(
        events.iter().map(|e| e.kind.name()).collect::<Vec<_>>(),
        [
            "session.open",
            "auth.attempt",
            "command.input",
            "file.artifact",
            "session.close"
        ]
    );
    assert!(events.iter().all(|e| e.origin == origin(1, "198.51.100.7:4000")));
    let turncoat_event::Kind::AuthAttempt(it) = &events[1].kind else {
        panic!()
    };
    assert_eq!(it.secret, Some(Bytes(b"\xffhunter2".to_vec())));
    assert_eq!(it.secret_hash, Some(key().secret(b"\xffhunter2")));

    let row = reader.session(closed[0]).unwrap().unwrap();
    assert_eq!(
        (row.events, row.attempts, row.logins, row.commands, row.artifacts),
        (5, 1, 1, 1, 1)
    );
    assert_eq!(row.user, Some("root".into()));
    assert_eq!(row.reason.as_deref(), Some("client"));
    assert_eq!(reader.recording(closed[0]).unwrap().unwrap().count(), 3);
    assert!(layout.recording_closed(closed[0]).exists() && !layout.recording(closed[0]).exists());
    let sha = reader.artifacts_of(closed[0]).unwrap();
    assert_eq!(reader.artifact(sha[0]).unwrap(), b"\x7fELF");
}

#[test]
fn filters_find_what_they_say_and_take_any_text() {
    let dir = Dir::new("filter");
    let layout = dir.layout();
    let mut writer = writer(&layout);
    writer
        .append(&visit(1, "198.51.100.7:1", "curl -O http://a.example/x", b"a"))
        .unwrap();
    writer
        .append(&visit(2, "198.51.100.9:1", "uname -a; id", b"b"))
        .unwrap();
    let reader = Reader::open(&layout).unwrap();
    let count = |filter: Filter| reader.events(&filter, 100).unwrap().0.len();
    assert_eq!(
        count(Filter {
            text: Some("curl example".into()),
            ..Filter::default()
        }),
        1
    );
    assert_eq!(
        count(Filter {
            text: Some("example curl nothing".into()),
            ..Filter::default()
        }),
        0
    );
    assert_eq!(
        count(Filter {
            kinds: vec!["auth.".into()],
            ..Filter::default()
        }),
        2
    );
    assert_eq!(
        count(Filter {
            kinds: vec!["no.such".into()],
            ..Filter::default()
        }),
        0
    );
    assert_eq!(
        count(Filter {
            source: Some("198.51.100.7".parse().unwrap()),
            ..Filter::default()
        }),
        5
    );
    assert_eq!(
        count(Filter {
            source: Some("198.51.100.0/24".parse().unwrap()),
            ..Filter::default()
        }),
        10
    );
    assert_eq!(
        count(Filter {
            after: Some(5),
            ..Filter::default()
        }),
        5
    );
    assert_eq!(
        count(Filter {
            since: Some(Time(2_000_000_000)),
            ..Filter::default()
        }),
        5
    );
    assert_eq!(
        reader
            .sessions(
                &Filter {
                    text: Some("uname".into()),
                    ..Filter::default()
                },
                false,
                10
            )
            .unwrap()
            .len(),
        1
    );
    for hostile in [
        "\"",
        "a\" OR 1",
        "NEAR(",
        "*",
        "x AND",
        "'; DROP TABLE event; --",
        "\u{0}",
        "(((",
    ] {
        let _ = reader
            .events(
                &Filter {
                    text: Some(hostile.into()),
                    ..Filter::default()
                },
                10,
            )
            .map(|_| ());
        reader.sessions_named(hostile).unwrap();
    }
    assert_eq!(count(Filter::default()), 10);
}

#[test]
fn a_batch_that_fails_leaves_nothing_and_can_be_tried_again() {
    let dir = Dir::new("atomic");
    let layout = dir.layout();
    let mut writer = writer(&layout);
    let good = visit(1, "198.51.100.7:1", "id", b"a");
    let (head, tail) = good.split_at(4);
    writer.append(head).unwrap();
    let before = std::fs::metadata(layout.recording(origin(1, "198.51.100.7:1").session.unwrap()))
        .unwrap()
        .len();
    let mut bad = tail.to_vec();
    let (_, mut wrong) = artifact_of(b"x".to_vec());
    wrong.content = "y".into();
    bad.push(wrong.into());
    assert!(matches!(writer.append(&bad), Err(StoreError::Refused(_))));
    writer.database().execute_batch("CREATE TEMP TRIGGER no BEFORE INSERT ON event WHEN new.kind = 'session.close' BEGIN SELECT RAISE(ABORT, 'no'); END").unwrap();
    assert!(writer.append(tail).is_err());
    let after = std::fs::metadata(layout.recording(origin(1, "198.51.100.7:1").session.unwrap()))
        .unwrap()
        .len();
    assert_eq!(before, after, "the recording was cut back");
    writer.database().execute_batch("DROP TRIGGER no").unwrap();
    let (committed, closed) = writer.append(tail).unwrap();
    assert_eq!((committed.last_seq, closed.len()), (5, 1));
    let reader = Reader::open(&layout).unwrap();
    assert_eq!(reader.recording(closed[0]).unwrap().unwrap().count(), 3);
    let row = reader.session(closed[0]).unwrap().unwrap();
    assert_eq!((row.events, row.commands), (5, 1));
}

#[test]
fn one_writer_at_a_time_and_interrupted_sessions_are_closed() {
    let dir = Dir::new("lock");
    let layout = dir.layout();
    {
        let mut first = writer(&layout);
        assert!(matches!(
            Writer::open(&layout, &"b".parse().unwrap(), key(), Durability::Process),
            Err(StoreError::InUse(_))
        ));
        first
            .append(&visit(1, "198.51.100.7:1", "id", b"a")[..6])
            .unwrap();
    }
    let mut second = writer(&layout);
    assert_eq!(second.close_interrupted(Time(9_000_000_000)).unwrap().len(), 1);
    assert_eq!(second.close_interrupted(Time(9_000_000_000)).unwrap().len(), 0);
    let reader = Reader::open(&layout).unwrap();
    let row = &reader.sessions(&Filter::default(), false, 1).unwrap()[0];
    assert_eq!(row.reason.as_deref(), Some("interrupted"));
    assert_eq!(row.events, 4);
}

/// A damaged or hostile row costs itself, never the reader: every question gets an answer or an error.
#[test]
fn no_stored_row_breaks_the_reader() {
    let dir = Dir::new("rows");
    let mut w = writer(&dir.layout());
    for n in 1..20 {
        w.append(&visit(
            n,
            "192.0.2.1:5",
            "wget http://x.example/a; id",
            b"\x7fELF",
        ))
        .unwrap();
    }
    drop(w);
    let db = rusqlite::Connection::open(dir.layout().database()).unwrap();
    let reader = Reader::open(&dir.layout()).unwrap();
    let mut state = 5u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as usize % below
    };
    let columns = [
        ("event", "kind"),
        ("event", "fields"),
        ("event", "time"),
        ("event", "world"),
        ("event", "session"),
        ("event", "src_port"),
        ("session", "uuid"),
        ("session", "src_ip"),
        ("session", "dst_port"),
        ("session", "opened"),
        ("session", "closed"),
        ("session", "user"),
        ("session", "bytes_out"),
    ];
    for round in 0..1500 {
        let (table, column) = columns[random(columns.len())];
        let value: Box<dyn rusqlite::ToSql> = match random(6) {
            0 => Box::new(i64::MIN),
            1 => Box::new(-1i64),
            2 => Box::new(1e300),
            3 => Box::new(vec![0xffu8, 0, 7]),
            4 => Box::new("{\"line\":\"\u{1b}\",\"argv\":[[[[]]]],\"size\":-1}"),
            _ => {
                // A part of what is there.
                let text: Option<String> = db
                    .query_row(
                        &format!(
                            "SELECT CAST({column} AS TEXT) FROM {table} LIMIT 1 OFFSET {}",
                            random(15)
                        ),
                        [],
                        |r| r.get(0),
                    )
                    .unwrap_or_default();
                let mut bytes = text.unwrap_or_default().into_bytes();
                if !bytes.is_empty() {
                    let at = random(bytes.len());
                    bytes[at] = random(128) as u8;
                    bytes.truncate(1 + random(bytes.len()));
                }
                Box::new(String::from_utf8_lossy(&bytes).into_owned())
            }
        };
        // A row that the table itself refuses is no matter.
        let _ = db.execute(
            &format!("UPDATE OR IGNORE {table} SET {column} = ?1 WHERE rowid % 7 = ?2 OR rowid = ?2"),
            rusqlite::params![value, random(9)],
        );
        if round % 10 == 0 {
            let any = Filter::default();
            let _ = reader.events(&any, 1000);
            let _ = reader.sessions(&any, false, 1000);
            let _ = (
                reader.session_counts(),
                reader.last_seq(),
                reader.sources(&"192.0.2.0/24".parse().unwrap()),
            );
            let _ = reader.sessions_named("0");
        }
    }
    drop(reader);
    // The writer, too, starts on it or says why not.
    if let Ok(mut w) = Writer::open(
        &dir.layout(),
        &"test".parse().unwrap(),
        key(),
        Durability::Process,
    ) {
        let _ = w.close_interrupted(Time(3));
        let _ = w.sent_since(Time(0));
        let _ = w.append(&visit(200, "192.0.2.9:5", "id", b""));
    }
}

#[test]
fn what_a_source_was_sent_today_is_known_after_a_crash() {
    let dir = Dir::new("sent");
    let mut w = writer(&dir.layout());
    w.append(&visit(1, "192.0.2.1:5", "id", b"")).unwrap();
    w.append(&visit(2, "192.0.2.1:5", "id", b"")).unwrap();
    let whole: u64 = 2 * close().bytes_out;
    let midnight = Time(0);
    let of = |w: &Writer, ip: &str| w.sent_since(midnight).unwrap().get(&ip.parse().unwrap()).copied();
    assert_eq!(of(&w, "192.0.2.1"), Some(whole));
    // One that is cut off counts with what was recorded of it.
    let cut: Vec<Item> = visit(3, "192.0.2.2:5", "id", b"")
        .into_iter()
        .filter(|i| !matches!(i, Item::Event(d) if matches!(d.kind, turncoat_event::Kind::SessionClose(_))))
        .collect();
    let shown: u64 = cut
        .iter()
        .filter_map(|i| match i {
            Item::Frame(f) if f.direction == turncoat_event::Direction::Output => Some(f.bytes.len() as u64),
            _ => None,
        })
        .sum();
    assert!(shown > 0);
    w.append(&cut).unwrap();
    drop(w);
    let mut w = writer(&dir.layout());
    assert_eq!(of(&w, "192.0.2.2"), None);
    w.close_interrupted(Time(2_000_000_000_000_000_000)).unwrap();
    assert_eq!(of(&w, "192.0.2.2"), Some(shown));
    assert!(
        w.sent_since(Time(i64::MAX)).unwrap().is_empty(),
        "yesterday's does not count"
    );
}

#[test]
fn forgetting_a_source_removes_it_from_everything_and_numbers_are_not_given_twice() {
    let dir = Dir::new("forget");
    let layout = dir.layout();
    {
        let mut writer = writer(&layout);
        writer
            .append(&visit(1, "198.51.100.7:1", "id", b"shared"))
            .unwrap();
        writer
            .append(&visit(2, "198.51.100.9:1", "secretword", b"shared"))
            .unwrap();
        writer
            .append(&visit(3, "198.51.100.9:1", "secretword", b"its own"))
            .unwrap();
        assert_eq!(writer.forget(&"198.51.100.9".parse().unwrap()).unwrap(), (2, 0));
    }
    let reader = Reader::open(&layout).unwrap();
    assert_eq!(reader.events(&Filter::default(), 100).unwrap().0.len(), 5);
    assert_eq!(
        reader
            .events(
                &Filter {
                    text: Some("secretword".into()),
                    ..Filter::default()
                },
                9
            )
            .unwrap()
            .0
            .len(),
        0
    );
    let (shared, _) = artifact_of(b"shared".to_vec());
    let (own, _) = artifact_of(b"its own".to_vec());
    assert!(layout.artifact(shared).exists() && !layout.artifact(own).exists());
    let raw = std::fs::read(layout.database()).unwrap();
    let _ = raw; // the bytes of removed rows may lie in free pages until they are used again; see docs/limits.md
    let mut again = writer(&layout);
    let (committed, _) = again.append(&visit(4, "198.51.100.7:1", "id", b"n")).unwrap();
    assert_eq!(committed.last_seq, 20, "after 15, although 6 to 15 are gone");
}

#[test]
fn quotas_evict_the_oldest_and_old_sources_become_pseudonyms() {
    let dir = Dir::new("quota");
    let layout = dir.layout();
    let mut writer = writer(&layout);
    for n in 1..=40 {
        writer
            .append(&visit(n, "198.51.100.7:1", "id", &vec![n; 40_000]))
            .unwrap();
    }
    let all = Quota {
        bytes: u64::MAX,
        age: None,
        pseudonymise: None,
    };
    let now = Time(50_000_000_000);
    let kept = writer
        .keep_within(
            &Quota {
                age: Some(40_000_000_000),
                ..all
            },
            &key(),
            now,
        )
        .unwrap();
    assert_eq!(kept.aged, 9);
    let kept = writer
        .keep_within(
            &Quota {
                pseudonymise: Some(30_000_000_000),
                ..all
            },
            &key(),
            now,
        )
        .unwrap();
    assert_eq!(kept.pseudonymised, 10);
    let size = turncoat_store::keep::usage(&layout).total();
    let kept = writer
        .keep_within(
            &Quota {
                bytes: size - 400_000,
                ..all
            },
            &key(),
            now,
        )
        .unwrap();
    assert!(kept.evicted >= 10, "{kept:?}");
    assert!(turncoat_store::keep::usage(&layout).total() <= size - 400_000);
    let reader = Reader::open(&layout).unwrap();
    let left = reader
        .sessions(
            &Filter {
                newest_first: true,
                ..Filter::default()
            },
            false,
            100,
        )
        .unwrap();
    assert!(left.len() < 31 && left[0].opened == Time(40_000_000_000));
}

#[test]
fn a_backup_made_while_writing_can_be_restored() {
    let dir = Dir::new("backup");
    let layout = dir.layout();
    let mut writer = writer(&layout);
    std::fs::write(layout.seed(), "seed").unwrap();
    writer.append(&visit(1, "198.51.100.7:1", "id", b"a")).unwrap();
    writer
        .append(&visit(2, "198.51.100.7:1", "id", b"b")[..6])
        .unwrap();
    let copy = dir.0.join("copy");
    backup(&layout, &copy).unwrap();
    assert!(matches!(backup(&layout, &copy), Err(StoreError::Refused(_))));
    writer.append(&visit(3, "198.51.100.7:1", "later", b"c")).unwrap();
    let other = Layout::new(dir.0.join("other"));
    restore(&copy, &other).unwrap();
    assert!(matches!(restore(&copy, &other), Err(StoreError::Refused(_))));
    let reader = Reader::open(&other).unwrap();
    assert_eq!(reader.events(&Filter::default(), 100).unwrap().0.len(), 8);
    let sessions = reader.sessions(&Filter::default(), false, 9).unwrap();
    assert_eq!(sessions.len(), 2);
    assert!(
        sessions
            .iter()
            .all(|s| reader.recording(s.session).unwrap().unwrap().count() == 3)
    );
    assert_eq!(std::fs::read_to_string(other.seed()).unwrap(), "seed");
}

#[test]
fn a_record_of_a_newer_program_and_a_damaged_one_are_refused_in_words() {
    let dir = Dir::new("refuse");
    let layout = dir.layout();
    assert!(matches!(Reader::open(&layout), Err(StoreError::Absent(_))));
    writer(&layout)
        .database()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let error = Writer::open(&layout, &"t".parse().unwrap(), key(), Durability::Process)
        .err()
        .unwrap();
    assert!(error.to_string().contains("schema 99"), "{error}");
    std::fs::write(
        layout.database(),
        b"this is no database, and never was one, whatever its name says",
    )
    .unwrap();
    let _ = std::fs::remove_file(layout.root().join("record.db-wal"));
    let error = Writer::open(&layout, &"t".parse().unwrap(), key(), Durability::Process)
        .err()
        .unwrap();
    assert_eq!(error.problem(), turncoat_store::Problem::Corrupt);
    assert!(error.to_string().contains("turncoat restore"), "{error}");
}
