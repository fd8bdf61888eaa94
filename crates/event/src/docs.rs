//! Renders the table of kinds as documentation and as a JSON Schema.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::SCHEMA_VERSION;
use crate::kinds::table;

/// One key of the envelope.
pub struct EnvelopeKey {
    /// Key in the written form.
    pub name: &'static str,
    /// Type as the documentation names it.
    pub type_name: &'static str,
    /// In every event.
    pub always: bool,
    /// What it means.
    pub doc: &'static str,
}

/// The keys that every event may have.
pub const ENVELOPE: &[EnvelopeKey] = &[
    key("schema", "number", true, "Version of this schema."),
    key(
        "seq",
        "number",
        true,
        "Number in this install's record; grows in the order of commits.",
    ),
    key(
        "time",
        "time",
        true,
        "When it happened: UTC, RFC 3339 with nine digits of nanoseconds.",
    ),
    key("sensor", "string", true, "Which install saw it."),
    key("event", "string", true, "The kind: one of the names below."),
    key(
        "session",
        "session id",
        false,
        "The session: a UUID of version 7.",
    ),
    key("world", "world id", false, "The world: a UUID of version 7."),
    key("src_ip", "address", false, "The outsider's address."),
    key("src_port", "number", false, "The outsider's port."),
    key("dst_ip", "address", false, "The address that was reached."),
    key("dst_port", "number", false, "The port that was reached."),
    key("decoy", "string", false, "Which decoy was met."),
];

const fn key(name: &'static str, type_name: &'static str, always: bool, doc: &'static str) -> EnvelopeKey {
    EnvelopeKey {
        name,
        type_name,
        always,
        doc,
    }
}

/// `docs/events.md`.
pub fn markdown() -> String {
    let mut out = String::new();
    let _ = write!(
        out,
        "# Events\n\n\
         Rendered from the table in `crates/event/src/kinds.rs`; do not edit. Schema version {SCHEMA_VERSION}.\n\n\
         An event is one JSON object. Names of kinds and fields are stable; new kinds and new optional fields may come with any\n\
         version, so readers ignore what they do not know. `docs/events.schema.json` says the same as a JSON Schema.\n\n\
         Values of type *bytes* are what an outsider sent, kept exactly: a plain string when it is clean UTF-8, else an object\n\
         `{{\"b64\": \"...\"}}` with standard base64. They are hostile: escape them where they are shown.\n\n\
         Fields marked *s* are found by full-text search. Fields marked *m* are masked in every output on an internal network\n\
         unless the operator says otherwise.\n\n\
         ## In every event\n\n| key | type | | meaning |\n| --- | --- | --- | --- |\n"
    );
    for e in ENVELOPE {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            e.name,
            e.type_name,
            if e.always { "" } else { "optional" },
            e.doc
        );
    }
    out.push_str("\n## Kinds\n");
    for kind in table() {
        let _ = write!(out, "\n### {}\n\n{}\n\n", kind.name, kind.doc);
        let shown: Vec<_> = kind.fields.iter().collect();
        if !shown.is_empty() {
            out.push_str("| field | type | | meaning |\n| --- | --- | --- | --- |\n");
        }
        for f in shown {
            let mut marks = Vec::new();
            if f.optional {
                marks.push("optional");
            }
            if f.search {
                marks.push("*s*");
            }
            if f.secret {
                marks.push("*m*");
            }
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} |",
                f.name,
                f.type_name,
                marks.join(", "),
                f.doc
            );
        }
    }
    out
}

fn envelope_schema(type_name: &str) -> Value {
    match type_name {
        "number" => json!({"type": "integer", "minimum": 0}),
        "time" => json!({"type": "string", "format": "date-time"}),
        "session id" | "world id" => json!({"type": "string", "format": "uuid"}),
        _ => json!({"type": "string"}),
    }
}

/// `docs/events.schema.json`: JSON Schema 2020-12.
pub fn json_schema() -> Value {
    let mut properties = Map::new();
    for e in ENVELOPE {
        let mut schema = envelope_schema(e.type_name);
        schema["description"] = json!(e.doc);
        properties.insert(e.name.into(), schema);
    }
    let kinds: Vec<Value> = table()
        .into_iter()
        .map(|kind| {
            let mut fields = Map::new();
            fields.insert("event".into(), json!({"const": kind.name}));
            let mut required = vec!["event"];
            for f in kind.fields {
                let mut schema = f.schema;
                schema["description"] = json!(f.doc);
                fields.insert(f.name.into(), schema);
                if !f.optional {
                    required.push(f.name);
                }
            }
            json!({"title": kind.name, "description": kind.doc, "properties": fields, "required": required})
        })
        .collect();
    let required: Vec<&str> = ENVELOPE.iter().filter(|e| e.always).map(|e| e.name).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Turncoat event",
        "version": SCHEMA_VERSION,
        "type": "object",
        "properties": properties,
        "required": required,
        "oneOf": kinds,
        "$defs": {
            "bytes": {
                "description": "Bytes kept exactly: text, or base64 where they are not clean UTF-8.",
                "oneOf": [
                    {"type": "string"},
                    {"type": "object", "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
                     "required": ["b64"], "additionalProperties": false}
                ]
            }
        }
    })
}
