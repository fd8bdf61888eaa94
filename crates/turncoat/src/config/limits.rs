//! The table of bounds: what is bounded, where the number comes from, where it holds, and what the worst case costs.
//!
//! `docs/limits.md` is rendered from it. A bound that is a key of the configuration shows the key's default.

use std::fmt::Write;

use super::table::keys;

/// Where a number comes from.
enum From {
    /// A key: section and name.
    Key(&'static str, &'static str),
    /// A constant of the program.
    Fixed(&'static str),
}

/// One bound.
struct Bound {
    what: &'static str,
    from: From,
    scope: &'static str,
    worst: &'static str,
    past: &'static str,
}

use From::{Fixed, Key};

const BOUNDS: &[Bound] = &[
    Bound {
        what: "size of the record",
        from: Key("record", "max_size"),
        scope: "all",
        worst: "that many bytes, and what ten minutes can add",
        past: "the oldest closed sessions go, whole",
    },
    Bound {
        what: "age of the record",
        from: Key("record", "max_age"),
        scope: "session",
        worst: "-",
        past: "closed sessions that are older go, whole",
    },
    Bound {
        what: "free space on the disk",
        from: Fixed("64 MiB"),
        scope: "all",
        worst: "-",
        past: "no new sessions until there is twice as much; what is recorded stays",
    },
    Bound {
        what: "what waits to be committed",
        from: Fixed("64 MiB"),
        scope: "all",
        worst: "64 MiB of memory in front, and about twice as much in record",
        past: "decoys read nothing more until there is room",
    },
    Bound {
        what: "one batch of a commit",
        from: Fixed("4,096 items"),
        scope: "all",
        worst: "0.3 s of one processor",
        past: "the rest goes into the next",
    },
    Bound {
        what: "one artifact",
        from: Key("limits", "artifact"),
        scope: "file",
        worst: "32 MiB of memory in front and in record while it is handed over",
        past: "the beginning is kept, the event says how long it was",
    },
    Bound {
        what: "one piece of a recording",
        from: Fixed("1 MiB"),
        scope: "session",
        worst: "1 MiB of memory",
        past: "it is cut into several",
    },
    Bound {
        what: "connections at once",
        from: Key("limits", "connections"),
        scope: "all",
        worst: "that many sockets and tasks in front",
        past: "closed at once",
    },
    Bound {
        what: "connections at once of a source",
        from: Key("limits", "connections_per_source"),
        scope: "IPv4 address or IPv6 /64",
        worst: "-",
        past: "closed at once",
    },
    Bound {
        what: "time until a login is complete",
        from: Key("limits", "login_time"),
        scope: "session",
        worst: "a socket held that long",
        past: "the session is closed, as sshd does",
    },
    Bound {
        what: "time until a listed proxy has named the source",
        from: Fixed("5 s, 528 bytes"),
        scope: "connection",
        worst: "a socket held that long",
        past: "closed without an answer",
    },
    Bound {
        what: "events of a session",
        from: Key("limits", "events_per_second"),
        scope: "session and second; a world's own, outside of sessions, counted together",
        worst: "twice as many in one second",
        past: "the session is not read and its world not run until the rate is kept again; `limit.hit` once, nothing is left out of the record",
    },
    Bound {
        what: "bytes of a recording",
        from: Key("limits", "recording"),
        scope: "session",
        worst: "that many bytes on disk, and one read more",
        past: "the session is closed with `limit.hit`",
    },
    Bound {
        what: "bytes of a journal",
        from: Key("limits", "journal"),
        scope: "world",
        worst: "that many bytes on disk; a world that computes without end writes some 500 bytes a second",
        past: "past half of it what lies before the next checkpoint is dropped and cannot be run again; where there can be none the journal ends at the bound, and what follows cannot",
    },
    Bound {
        what: "bytes of checkpoints",
        from: Key("limits", "checkpoints"),
        scope: "world",
        worst: "that many bytes on disk, in 64 files; before compression 16 MiB where somebody waits for the world, else 96 MiB",
        past: "the oldest go, one that is larger by itself is not written: a rerun begins earlier",
    },
    Bound {
        what: "bytes out of a session",
        from: Key("limits", "bytes_out_session"),
        scope: "session",
        worst: "that many bytes, and one write more",
        past: "the session is closed with `limit.hit`",
    },
    Bound {
        what: "bytes out to a source",
        from: Key("limits", "bytes_out_source_day"),
        scope: "source and day (UTC)",
        worst: "that many bytes, and one write for each open session; of sessions that a crash cut off, what was recorded",
        past: "sessions are closed with `limit.hit`, new ones are not let in",
    },
    Bound {
        what: "bytes out to all",
        from: Key("limits", "bytes_out_day"),
        scope: "day (UTC)",
        worst: "that many bytes, and one write for each open session; of sessions that a crash cut off, what was recorded",
        past: "sessions are closed with `limit.hit`, new ones are not let in",
    },
    Bound {
        what: "one packet of an SSH client",
        from: Fixed("256 KiB"),
        scope: "connection",
        worst: "twice that much before anybody has logged in",
        past: "the end, in sshd's words",
    },
    Bound {
        what: "connections to sshd that have not logged in",
        from: Key("ssh", "max_startups"),
        scope: "machine that a source sees",
        worst: "-",
        past: "`Exceeded MaxStartups`, as sshd has it, with `limit.hit`",
    },
    Bound {
        what: "bytes that come by telnet before a login",
        from: Fixed("256 KiB"),
        scope: "session",
        worst: "a world with telnetd and login in it, until `limits.login_time`; it goes with the connection if nobody ever logs in",
        past: "the session is closed with `limit.hit`",
    },
    Bound {
        what: "attempts to log in on one connection",
        from: Fixed("6"),
        scope: "connection",
        worst: "one key exchange at a time and one signature to verify for each; `limits.login_time` ends it",
        past: "the end, in sshd's words",
    },
    Bound {
        what: "refused passwords that worlds have in their logs",
        from: Fixed("120 tries, names of 100 bytes"),
        scope: "all",
        worst: "300 KiB, and as much in each world that somebody is in",
        past: "those of the oldest connections are in no log that was not looked at since",
    },
    Bound {
        what: "password hashes computed at once",
        from: Fixed("half as many as threads run worlds, at least one"),
        scope: "all",
        worst: "10 ms and 16 MiB each; up to 100,000 rounds or 64 MiB where an intruder chose the hash",
        past: "logins wait for their turn; a dearer hash lets nobody in",
    },
    Bound {
        what: "hashes of other worlds that a source's passwords are tried with",
        from: Fixed("64, and 8 for one attempt"),
        scope: "source",
        worst: "-",
        past: "its own world and the policy decide alone",
    },
    Bound {
        what: "accounts and keys of a world that are looked at",
        from: Fixed("512 accounts, 1,000 lines of each key file, 1 MiB of any file"),
        scope: "world",
        worst: "that is read again whenever a program changes one of these files",
        past: "what stands behind is passed over",
    },
    Bound {
        what: "forwarded connections into a world, and things listening there for clients",
        from: Fixed("256 and 64"),
        scope: "world",
        worst: "64 KiB each waiting for the world, 320 KiB each for the client",
        past: "refused",
    },
    Bound {
        what: "connections of worlds to their own sshd",
        from: Fixed("256"),
        scope: "all",
        worst: "as any connection",
        past: "closed at once",
    },
    Bound {
        what: "worlds in memory at once",
        from: Key("world", "most"),
        scope: "all",
        worst: "their memory; see docs/benchmarks.md",
        past: "the one unused for longest hibernates",
    },
    Bound {
        what: "memory of processes that resting worlds are compressed against",
        from: Fixed("32 processes of 4 MiB"),
        scope: "all",
        worst: "128 MiB in front; some 2 MiB where shells are alike",
        past: "what rests is compressed alone",
    },
    Bound {
        what: "hibernated worlds",
        from: Fixed("65,536, and world.keep"),
        scope: "all",
        worst: "journal and disk of each in the record",
        past: "those unused for longest are forgotten",
    },
    Bound {
        what: "bytes of a world's disk beyond the image",
        from: Fixed("64 MiB before compression"),
        scope: "source",
        worst: "as much in the record, written at most every minute",
        past: "the largest files come back empty, if the world cannot come back as it was",
    },
    Bound {
        what: "time that running a world's journal takes so that it goes on",
        from: Key("world", "resume"),
        scope: "source",
        worst: "as much of one thread, between the slices of other worlds",
        past: "the world comes back from its disk, as after a reboot",
    },
    Bound {
        what: "jobs that a machine starts by itself",
        from: Fixed("512 in all, 64 in one minute"),
        scope: "source",
        worst: "processes of the world, within its bounds",
        past: "the rest does not start",
    },
    Bound {
        what: "sources whose bytes of the day are counted",
        from: Fixed("65,536"),
        scope: "all",
        worst: "4 MiB of memory in front",
        past: "the half with the fewest bytes is forgotten; the bound over all stays",
    },
    Bound {
        what: "open files of recordings",
        from: Fixed("256"),
        scope: "all",
        worst: "256 descriptors in record",
        past: "the longest unused are closed, and opened again",
    },
    Bound {
        what: "the database's log",
        from: Fixed("64 MiB"),
        scope: "all",
        worst: "64 MiB on disk between checkpoints; more only while a reader holds an old view",
        past: "it is folded back",
    },
    Bound {
        what: "memory of the database",
        from: Fixed("32 MiB"),
        scope: "all",
        worst: "32 MiB in record",
        past: "pages are read again",
    },
    Bound {
        what: "events on their way to an output",
        from: Fixed("256"),
        scope: "output",
        worst: "256 events in out; the queue itself is the record",
        past: "the output's cursor waits",
    },
    Bound {
        what: "messages to people that wait",
        from: Fixed("20,000"),
        scope: "way",
        worst: "about 40 MiB on disk",
        past: "the newest is lost, with an event that says so",
    },
    Bound {
        what: "messages to people in an hour",
        from: Key("alert", "hourly"),
        scope: "all",
        worst: "-",
        past: "they wait and are bundled; that a planted thing was used is told at once",
    },
    Bound {
        what: "open incidents",
        from: Fixed("500, with 20 lines each"),
        scope: "all",
        worst: "4 MiB of memory in record",
        past: "the quietest is closed without a word",
    },
    Bound {
        what: "what campaigns remember",
        from: Fixed("300,000 pieces of evidence, 400,000 credentials, 30,000 scripts, 400,000 sessions"),
        scope: "all",
        worst: "see docs/campaigns.md",
        past: "what was not met for longest is forgotten; the record keeps it",
    },
    Bound {
        what: "a rotated output",
        from: Key("output.jsonl", "rotate"),
        scope: "output",
        worst: "that many bytes, times keep + 1",
        past: "the file is moved aside",
    },
    Bound {
        what: "one request of the command line",
        from: Fixed("64 KiB"),
        scope: "request",
        worst: "one thread and 64 KiB for ten seconds",
        past: "it is refused",
    },
    Bound {
        what: "connections at the console",
        from: Fixed("128"),
        scope: "all",
        worst: "128 sockets and 8 MiB in record",
        past: "they wait to be accepted",
    },
    Bound {
        what: "one request at the console",
        from: Fixed("32 KiB and 64 headers, a body of 64 KiB; 30 s for the headers, 10 s for the body"),
        scope: "request",
        worst: "96 KiB",
        past: "it is refused",
    },
    Bound {
        what: "questions to the record at once by the console",
        from: Fixed("4"),
        scope: "all",
        worst: "4 threads, each with one artifact or one recording in memory",
        past: "they wait",
    },
    Bound {
        what: "live pages",
        from: Fixed("48 streams, 64 pieces of 500 events that wait"),
        scope: "all",
        worst: "10 MiB",
        past: "no further stream is opened; who is slow loses pieces and is told",
    },
    Bound {
        what: "tries to log in at the console that fail",
        from: Fixed("5, then one in 30 s; 20, then one in 5 s"),
        scope: "address; all",
        worst: "one argon2id at a time: 19 MiB",
        past: "refused until then",
    },
    Bound {
        what: "logins at the console",
        from: Fixed("64, for at most 7 days"),
        scope: "all",
        worst: "64 KiB",
        past: "the one unused for longest ends",
    },
    Bound {
        what: "credentials that the console counts",
        from: Fixed("20,000 pairs"),
        scope: "all",
        worst: "6 MiB in record",
        past: "the rarest half is forgotten",
    },
    Bound {
        what: "restarts of a process",
        from: Key("sensor", "restarts"),
        scope: "minute",
        worst: "-",
        past: "the program ends with a message",
    },
    Bound {
        what: "connections at the echo decoy",
        from: Fixed("256"),
        scope: "all",
        worst: "256 threads with 1 MiB of stack reserved each",
        past: "closed at once",
    },
    Bound {
        what: "one line at the echo decoy",
        from: Fixed("4,096 bytes"),
        scope: "session",
        worst: "4 KiB",
        past: "the session is closed",
    },
];

/// `docs/limits.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Limits\n\nRendered from the table in `crates/turncoat/src/config/limits.rs`; do not edit.\n\n\
         Everything is bounded, by default. A key in the second column can be set in the configuration.\n\n\
         | what | limit | per | worst case | past it |\n| --- | --- | --- | --- | --- |\n",
    );
    let table = keys();
    for b in BOUNDS {
        let limit = match b.from {
            Fixed(number) => number.to_owned(),
            Key(section, key) => {
                let default = table
                    .iter()
                    .find(|k| (k.section, k.key) == (section, key))
                    .map_or("?", |k| k.default);
                format!("`{section}.{key}` = `{default}`")
            }
        };
        let _ = writeln!(
            out,
            "| {} | {limit} | {} | {} | {} |",
            b.what, b.scope, b.worst, b.past
        );
    }
    out.push_str(
        "\nBytes of removed sessions may lie in free pages of the database until these are used again or given back; run\n\
         `sqlite3 record.db VACUUM` while the program is stopped to be rid of them at once.\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_current_and_every_key_exists() {
        let now = markdown();
        assert!(!now.contains("`?`"));
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/limits.md");
        if std::env::var_os("TURNCOAT_BLESS").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == now,
            "docs/limits.md is stale: run `TURNCOAT_BLESS=1 cargo test -p turncoat config`"
        );
    }
}
