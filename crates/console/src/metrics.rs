//! `/metrics`: the text form of Prometheus. Nothing of an outsider's text is in it.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::Value as Json;
use turncoat_store::Reader;

use crate::call::Call;
use crate::reply::{Refusal, Reply};
use crate::server::Console;

struct Metrics(String);

impl Metrics {
    fn head(&mut self, name: &str, kind: &str, about: &str) {
        let _ = writeln!(
            self.0,
            "# HELP turncoat_{name} {about}\n# TYPE turncoat_{name} {kind}"
        );
    }

    fn one(&mut self, name: &str, kind: &str, about: &str, value: impl std::fmt::Display) {
        self.head(name, kind, about);
        let _ = writeln!(self.0, "turncoat_{name} {value}");
    }

    fn of(&mut self, name: &str, label: &str, of: &str, value: impl std::fmt::Display) {
        let of = of.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = writeln!(self.0, "turncoat_{name}{{{label}=\"{of}\"}} {value}");
    }
}

/// `GET /metrics`.
pub fn page(console: &Arc<Console>, reader: &Reader, _: &Call) -> Result<Reply, Refusal> {
    let facts = console.host.facts();
    let number = |v: &Json| v.as_u64().unwrap_or(0);
    let (sessions, _) = reader.session_counts()?;
    let mut m = Metrics(String::with_capacity(4096));
    m.head("info", "gauge", "The program's version.");
    m.of("info", "version", facts["version"].as_str().unwrap_or(""), 1);
    m.one(
        "up",
        "gauge",
        "1 while the record takes what comes, else 0.",
        u8::from(facts["state"] == "working"),
    );
    m.one(
        "uptime_seconds",
        "gauge",
        "Seconds since the record's process started.",
        number(&facts["uptime_seconds"]),
    );
    m.one(
        "events_total",
        "counter",
        "Events ever recorded.",
        number(&facts["events"]),
    );
    m.one("sessions", "gauge", "Sessions in the record.", sessions);
    m.one(
        "sessions_open",
        "gauge",
        "Sessions that are open.",
        number(&facts["sessions_open"]),
    );
    m.one(
        "last_commit_seconds",
        "gauge",
        "Seconds since the last commit.",
        number(&facts["last_commit_seconds_ago"]),
    );
    m.one(
        "process_restarts_total",
        "counter",
        "Processes that died and were started anew.",
        number(&facts["processes"]["restarts"]),
    );
    m.head("record_bytes", "gauge", "Bytes on disk.");
    for part in ["database", "recordings", "artifacts"] {
        m.of("record_bytes", "part", part, number(&facts["record_bytes"][part]));
    }
    m.head(
        "output_behind_events",
        "gauge",
        "Events that an output has not taken yet.",
    );
    for output in facts["outputs"].as_array().map_or(&[][..], Vec::as_slice) {
        m.of(
            "output_behind_events",
            "output",
            output["name"].as_str().unwrap_or(""),
            number(&output["behind"]),
        );
    }
    let blocks = console.host.blocks()["blocks"].as_array().map_or(0, Vec::len);
    m.one(
        "blocks",
        "gauge",
        "Sources that the protected side is closed to.",
        blocks,
    );
    m.one(
        "console_streams",
        "gauge",
        "Live pages that are open.",
        console.live.open(),
    );
    Ok(Reply::Text("text/plain; version=0.0.4; charset=utf-8", m.0))
}
