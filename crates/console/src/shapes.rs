//! The shapes of the API's answers: a table of fields, from which the OpenAPI document is made and against which a test holds the answers.

use serde_json::{Map, Value as Json, json};

/// What a field of an answer is.
#[derive(Debug, Clone, Copy)]
pub enum Is {
    /// Text.
    Text,
    /// A whole number, not negative.
    Number,
    /// A number.
    Real,
    /// Yes or no.
    Flag,
    /// A time in UTC (RFC 3339).
    Time,
    /// Bytes as an outsider sent them: text, or an object with `b64`.
    Bytes,
    /// Another shape.
    One(&'static str),
    /// A list of another shape.
    Many(&'static str),
    /// A list of texts.
    Texts,
    /// Anything.
    Any,
}

/// A field: name, what it is, whether it may be absent or null, what it means.
pub struct Field(pub &'static str, pub Is, pub bool, pub &'static str);

/// A shape.
pub struct Shape {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
    /// It has other fields, too, which are documented elsewhere.
    pub open: bool,
}

use Is::{Any, Bytes, Flag, Many, Number, One, Real, Text, Texts, Time};

const fn must(name: &'static str, is: Is, about: &'static str) -> Field {
    Field(name, is, false, about)
}

const fn may(name: &'static str, is: Is, about: &'static str) -> Field {
    Field(name, is, true, about)
}

const fn shape(name: &'static str, about: &'static str, fields: &'static [Field]) -> Shape {
    Shape {
        name,
        about,
        fields,
        open: false,
    }
}

const fn open(name: &'static str, about: &'static str, fields: &'static [Field]) -> Shape {
    Shape {
        name,
        about,
        fields,
        open: true,
    }
}

macro_rules! session_fields {
    ($($more:expr),*) => { &[
        must("session", Text, "id"), may("world", Text, "the world it met"),
        may("src_ip", Text, "the source's address"), may("src_port", Number, "its port"),
        may("dst_ip", Text, "the address reached"), may("dst_port", Number, "its port"),
        may("decoy", Text, "the decoy"), must("opened", Time, "when it began"), may("closed", Time, "when it ended"),
        may("reason", Text, "why it ended"), must("first_seq", Number, "number of its first event"),
        must("last_seq", Number, "number of its last event"), must("events", Number, "events"),
        must("attempts", Number, "login attempts"), must("logins", Number, "logins let in"),
        may("user", Bytes, "the user that was let in"), may("client", Bytes, "the client's version"),
        must("commands", Number, "commands"), must("artifacts", Number, "files brought"),
        must("bytes_in", Number, "bytes from the source"), must("bytes_out", Number, "bytes to the source"),
        must("recorded", Number, "bytes recorded") $(, $more)*
    ] };
}

/// All shapes.
pub const SHAPES: &[Shape] = &[
    open(
        "status",
        "How the program is, as `turncoat status --json`",
        &[
            must("version", Text, "of the program"),
            must("state", Text, "`working`, or what is wrong"),
            may("detail", Text, "in words"),
            may("uptime_seconds", Number, "since start"),
            must("listening", Texts, "decoys and where they listen"),
            must("sessions_open", Number, "open sessions"),
            must("events", Number, "events ever recorded"),
        ],
    ),
    shape(
        "now",
        "What a person must know in five seconds",
        &[
            must("sentence", Text, "in one sentence"),
            must("tone", Text, "`good`, `inside` or `alarm`"),
            must("inside", Number, "open sessions that got in"),
            must("knocking", Number, "open sessions that did not"),
            must("alerts", Number, "incidents that are not over"),
            must("contacts", Number, "sessions opened in the last day"),
            must("entered", Number, "of them, those that got in"),
            must("blocked", Number, "sources that are blocked"),
        ],
    ),
    shape("events", "Events", &[must("events", Many("event"), "events")]),
    open(
        "event",
        "One event: its kind's fields beside these, see docs/events.md",
        &[
            must("schema", Number, "version of the schema"),
            must("seq", Number, "number in the record"),
            must("time", Time, "when"),
            must("sensor", Text, "which install"),
            must("event", Text, "kind"),
            may("session", Text, "id of the session"),
            may("world", Text, "id of the world"),
            may("src_ip", Text, "the source's address"),
            may("src_port", Number, "its port"),
            may("dst_ip", Text, "the address reached"),
            may("dst_port", Number, "its port"),
            may("decoy", Text, "the decoy"),
        ],
    ),
    shape(
        "sessions",
        "Sessions",
        &[must("sessions", Many("session_row"), "sessions")],
    ),
    shape("session_row", "One session in a list", session_fields!()),
    shape(
        "session",
        "One session",
        session_fields!(
            may("campaign", Text, "the campaign it belongs to"),
            must("brought", Texts, "SHA-256 of the files it brought"),
            may("network", Text, "country and network of the source, where known")
        ),
    ),
    shape(
        "recording",
        "A piece of a recording",
        &[
            must(
                "frames",
                Any,
                "list of `[milliseconds since 1970, \"o\", \"i\" or \"r\", base64]`: output, input, or a window's size as COLUMNSxROWS",
            ),
            may("next", Number, "`from` of the next piece; absent at the end"),
            must("open", Flag, "the session goes on"),
        ],
    ),
    shape(
        "campaigns",
        "Campaigns",
        &[must("campaigns", Many("campaign_row"), "campaigns")],
    ),
    open(
        "campaign_row",
        "One campaign in a list",
        &[
            must("id", Any, "number"),
            must("first", Time, "first event"),
            must("last", Time, "last event"),
            may("stage", Text, "the furthest stage"),
            must("sessions", Number, "sessions"),
            must("sources", Number, "different sources"),
            must("tokens", Number, "planted things used"),
            may("merged_into", Any, "the campaign it became part of"),
            must(
                "countries",
                Many("counted"),
                "countries of its sources by sessions, where `intel.networks` knows them",
            ),
            must("networks", Many("counted"), "networks likewise"),
        ],
    ),
    shape(
        "campaign",
        "One campaign",
        &[
            must("campaign", One("campaign_row"), "the campaign"),
            must("sessions", Many("member"), "its sessions"),
            must("links", Many("link"), "why they belong together"),
            must("techniques", Many("technique"), "techniques seen"),
        ],
    ),
    open(
        "member",
        "A session of a campaign",
        &[
            must("session", Text, "id"),
            may("source", Text, "address"),
            must("first", Time, "first event"),
            must("last", Time, "last event"),
            may("stage", Text, "the furthest stage"),
        ],
    ),
    shape(
        "link",
        "Why two sessions belong together",
        &[
            must("session", Text, "the later one"),
            must("other", Text, "the earlier one"),
            must("reason", Text, "kind of evidence"),
            must("weight", Real, "weight"),
            must("detail", Text, "the evidence"),
        ],
    ),
    shape(
        "technique",
        "A technique seen in a session",
        &[
            must("session", Text, "id"),
            must("sighting", One("sighting"), "what was seen"),
        ],
    ),
    open(
        "sighting",
        "A technique that was seen",
        &[
            must("rule", Text, "id of the rule"),
            must("technique", Text, "ATT&CK id"),
            must("name", Text, "name"),
            must("stage", Text, "stage"),
            must(
                "observed",
                Flag,
                "the event itself is the technique; else it is inferred",
            ),
            must("why", Text, "why the rule says so"),
            must("evidence", Any, "numbers of events"),
            must("first", Time, "first one"),
            must("count", Number, "how many"),
        ],
    ),
    shape(
        "artifact",
        "An artifact",
        &[
            must("sha256", Text, "hash"),
            must("size", Number, "bytes kept"),
            must("first", Time, "first seen"),
            must("sessions", Many("session_row"), "sessions that brought it"),
        ],
    ),
    shape(
        "charts",
        "What the charts show",
        &[
            must("day", Many("span"), "the last day in quarters of an hour"),
            must("month", Many("span"), "the last thirty days"),
            must(
                "sources",
                Many("counted"),
                "addresses with the most sessions in thirty days",
            ),
            must(
                "countries",
                Many("counted"),
                "countries by sessions in thirty days, where `intel.networks` knows them",
            ),
            must(
                "networks",
                Many("counted"),
                "networks likewise: `AS64500`, and whose",
            ),
            must("techniques", Many("counted"), "techniques by sessions"),
            must("credentials", Many("tried"), "credentials tried most"),
            must("attempts", Number, "attempts that these are counted over"),
            may("since", Time, "the first of them"),
        ],
    ),
    shape(
        "span",
        "Contacts in a span of time",
        &[
            must("from", Time, "begin"),
            must("contacts", Number, "sessions opened"),
            must("entered", Number, "of them, those that got in"),
        ],
    ),
    shape(
        "counted",
        "Something and how often",
        &[
            must("name", Text, "what"),
            may("about", Text, "more"),
            must("count", Number, "how often"),
        ],
    ),
    shape(
        "tried",
        "A credential",
        &[
            must("user", Text, "user"),
            may("secret", Text, "secret"),
            must("count", Number, "how often"),
        ],
    ),
    shape(
        "planted",
        "What is planted",
        &[must("planted", Many("plant"), "planted things")],
    ),
    open(
        "plant",
        "A planted thing",
        &[
            must("id", Text, "id"),
            must("kind", Text, "kind"),
            must("made", Time, "when"),
            may("host", Text, "the host it is for"),
            may("note", Text, "what was noted"),
            must("user", Text, "user name it gives away"),
            must("revoked", Flag, "it no longer works"),
        ],
    ),
    open(
        "blocks",
        "What is blocked",
        &[
            must("version", Number, "of this form"),
            must("made", Time, "when"),
            must("blocks", Many("block"), "blocks"),
        ],
    ),
    open(
        "block",
        "A block",
        &[
            must("net", Text, "address or network"),
            must("since", Time, "begin"),
            must("until", Time, "end"),
            may("campaign", Text, "because of which campaign"),
        ],
    ),
    open(
        "openapi",
        "An OpenAPI document",
        &[must("openapi", Text, "version of OpenAPI")],
    ),
];

/// The shape of this name.
pub fn named(name: &str) -> Option<&'static Shape> {
    SHAPES.iter().find(|s| s.name == name)
}

fn schema_of(is: Is) -> Json {
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    match is {
        Is::Text => json!({"type": "string"}),
        Is::Number => json!({"type": "integer", "minimum": 0}),
        Is::Real => json!({"type": "number"}),
        Is::Flag => json!({"type": "boolean"}),
        Is::Time => json!({"type": "string", "format": "date-time"}),
        Is::Bytes => json!({"oneOf": [
            {"type": "string"},
            {"type": "object", "properties": {"b64": {"type": "string", "format": "byte"}}, "required": ["b64"]},
        ]}),
        Is::One(name) => reference(name),
        Is::Many(name) => json!({"type": "array", "items": reference(name)}),
        Is::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Is::Any => json!({}),
    }
}

/// The JSON Schemas of all shapes, by name.
pub fn schemas() -> Map<String, Json> {
    let one = |shape: &Shape| {
        let mut properties = Map::new();
        for Field(name, is, optional, about) in shape.fields {
            let mut schema = schema_of(*is);
            if *optional {
                schema = json!({"anyOf": [schema, {"type": "null"}]});
            }
            if let Some(map) = schema.as_object_mut() {
                map.insert("description".into(), json!(about));
            }
            properties.insert((*name).to_owned(), schema);
        }
        let required: Vec<&str> = shape.fields.iter().filter(|f| !f.2).map(|f| f.0).collect();
        json!({
            "type": "object", "description": shape.about, "properties": properties, "required": required,
            "additionalProperties": shape.open,
        })
    };
    SHAPES.iter().map(|s| (s.name.to_owned(), one(s))).collect()
}

/// Says where an answer is not of its shape.
///
/// # Errors
/// One line.
pub fn check(name: &str, answer: &Json) -> Result<(), String> {
    let shape = named(name).ok_or_else(|| format!("there is no shape {name}"))?;
    let map = answer
        .as_object()
        .ok_or_else(|| format!("{name} is no object: {answer}"))?;
    for Field(field, is, optional, _) in shape.fields {
        match map.get(*field) {
            None | Some(Json::Null) if *optional => {}
            None => return Err(format!("{name} lacks {field}: {answer}")),
            Some(value) => fits(*is, value).map_err(|e| format!("{name}.{field}: {e}"))?,
        }
    }
    match map
        .keys()
        .find(|k| !shape.open && !shape.fields.iter().any(|f| f.0 == k.as_str()))
    {
        Some(key) => Err(format!("{name} has a field {key} that is not in the table")),
        None => Ok(()),
    }
}

fn fits(is: Is, value: &Json) -> Result<(), String> {
    let fine = match is {
        Is::Text => value.is_string(),
        Is::Number => value.is_u64(),
        Is::Real => value.is_number(),
        Is::Flag => value.is_boolean(),
        Is::Time => value
            .as_str()
            .is_some_and(|t| t.parse::<turncoat_event::Time>().is_ok()),
        Is::Bytes => value.is_string() || value["b64"].is_string(),
        Is::One(name) => return check(name, value),
        Is::Many(name) => {
            let list = value.as_array().ok_or_else(|| format!("no list: {value}"))?;
            return list.iter().try_for_each(|it| check(name, it));
        }
        Is::Texts => value.as_array().is_some_and(|l| l.iter().all(Json::is_string)),
        Is::Any => true,
    };
    if fine {
        Ok(())
    } else {
        Err(format!("not {is:?}: {value}"))
    }
}
