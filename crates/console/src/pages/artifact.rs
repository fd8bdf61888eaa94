//! One artifact: bytes and strings to look at, never the file itself.

use std::sync::Arc;

use maud::html;
use turncoat_event::{Sha256, show};
use turncoat_store::rusqlite::{OptionalExtension, params};
use turncoat_store::{Reader, SessionRow};

use super::sessions::table;
use super::{Place, frame, when};
use crate::archive;
use crate::call::Call;
use crate::reply::{Refusal, Reply};
use crate::server::Console;
use crate::words;

/// Bytes shown at once.
const SHOWN: usize = 4096;

/// Strings shown, and the shortest.
const STRINGS: usize = 400;
const SHORTEST: usize = 6;

/// Sessions shown.
const SESSIONS: usize = 50;

/// What is known of an artifact.
pub struct Known {
    /// Its hash.
    pub sha256: Sha256,
    /// Bytes kept.
    pub size: u64,
    /// When it was first seen.
    pub first: turncoat_event::Time,
    /// Sessions that brought it, newest first.
    pub sessions: Vec<SessionRow>,
}

/// What is known of the artifact that a path names.
///
/// # Errors
/// There is none.
pub fn known(reader: &Reader, name: &str) -> Result<Known, Refusal> {
    let absent = || Refusal::absent("there is no such artifact");
    let sha256: Sha256 = name.parse().map_err(|_| absent())?;
    let db = reader.database();
    let (size, first) = db
        .prepare_cached("SELECT size, first FROM artifact WHERE sha256 = ?1")?
        .query_row([sha256.to_string()], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?
        .ok_or_else(absent)?;
    let mut query = db.prepare_cached(
        "SELECT s.uuid FROM brought b JOIN session s ON s.id = b.session WHERE b.sha256 = ?1 ORDER BY s.id DESC LIMIT ?2",
    )?;
    let ids = query
        .query_map(params![sha256.to_string(), SESSIONS as i64], |r| {
            r.get::<_, String>(0)
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let mut sessions = Vec::new();
    for id in ids {
        if let Ok(id) = id.parse() {
            sessions.extend(reader.session(id)?);
        }
    }
    Ok(Known {
        sha256,
        size,
        first: turncoat_event::Time(first),
        sessions,
    })
}

/// What the first bytes say it is.
fn looks_like(content: &[u8]) -> &'static str {
    const MAGIC: &[(&[u8], &str)] = &[
        (b"\x7fELF\x01", "a 32-bit ELF program"),
        (b"\x7fELF\x02", "a 64-bit ELF program"),
        (b"#!", "a script"),
        (b"\x1f\x8b", "gzip"),
        (b"PK\x03\x04", "a zip archive"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ", "xz"),
        (b"MZ", "a Windows program"),
        (b"ssh-", "a public key"),
        (b"-----BEGIN", "PEM"),
    ];
    MAGIC
        .iter()
        .find(|(magic, _)| content.starts_with(magic))
        .map_or_else(
            || {
                if std::str::from_utf8(content).is_ok() {
                    "text"
                } else {
                    "bytes"
                }
            },
            |(_, name)| name,
        )
}

/// Sixteen bytes a line, as `xxd` has it.
fn hex_lines(content: &[u8], at: usize) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for (n, line) in content.chunks(16).enumerate() {
        let _ = write!(out, "{:08x}  ", at + n * 16);
        for i in 0..16 {
            match line.get(i) {
                Some(b) => {
                    let _ = write!(out, "{b:02x} ");
                }
                None => out.push_str("   "),
            }
            if i == 7 {
                out.push(' ');
            }
        }
        out.push(' ');
        out.extend(line.iter().map(|b| {
            if (0x20..0x7f).contains(b) {
                char::from(*b)
            } else {
                '.'
            }
        }));
        out.push('\n');
    }
    out
}

/// Runs of printable ASCII, with where each begins.
fn strings(content: &[u8]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut start = 0;
    for run in content.split(|b| !(0x20..0x7f).contains(b) && *b != b'\t') {
        if run.len() >= SHORTEST {
            found.push((start, words::his(run)));
            if found.len() >= STRINGS {
                break;
            }
        }
        start += run.len() + 1;
    }
    found
}

/// `GET /artifacts/{sha256}`.
pub fn page(_: &Arc<Console>, reader: &Reader, call: &Call) -> Result<Reply, Refusal> {
    let known = known(reader, call.part("sha256"))?;
    let content = reader.artifact(known.sha256)?;
    let at: usize = call.query.parsed::<usize>("at").unwrap_or(0).min(content.len()) / 16 * 16;
    let end = (at + SHOWN).min(content.len());
    let name = known.sha256.to_string();
    let body = html! {
        h1 { "Artifact " span.mono.small { (name) } }
        dl.facts {
            div { dt { "looks like" } dd { (looks_like(&content)) } }
            div { dt { "size" } dd { (show::size(known.size)) } }
            div { dt { "first seen" } dd { (when(known.first)) } }
            div { dt { "to take along" } dd {
                form method="post" action=(format!("/artifacts/{name}/archive")) {
                    input type="hidden" name="csrf" value=(call.csrf());
                    button { "Encrypted archive" }
                    span.quiet { " zip with AES-256, password " code { (archive::PASSWORD) } }
                }
            } }
        }
        section {
            h2 { "Bytes " span.count { (at) "\u{2013}" (end) " of " (content.len()) } }
            pre.hex tabindex="0" { (hex_lines(content.get(at..end).unwrap_or_default(), at)) }
            p.more {
                @if at > 0 { a rel="prev" href=(format!("/artifacts/{name}?at={}", at.saturating_sub(SHOWN))) { "Before" } " " }
                @if end < content.len() { a rel="next" href=(format!("/artifacts/{name}?at={end}")) { "Further" } }
            }
        }
        section {
            h2 { "Strings" }
            div.scroll { table.strings { tbody { @for (at, line) in strings(&content) {
                tr { td.num { (format!("{at:x}")) } td { code.his { (line) } } }
            } } } }
        }
        section {
            h2 { "Brought by " span.count { (known.sessions.len()) } }
            (table(&known.sessions))
        }
    };
    let title = format!("Artifact {}", name.get(..12).unwrap_or(&name));
    Ok(Reply::Page(frame(call, Place::Sessions, &title, &[], body)))
}

/// `POST /artifacts/{sha256}/archive`.
pub fn archive(console: &Arc<Console>, call: &Call) -> Result<Reply, Refusal> {
    let (known, content) = console
        .readers
        .with(|reader| {
            let known = known(reader, call.part("sha256"))?;
            let content = reader.artifact(known.sha256)?;
            Ok::<_, Refusal>((known, content))
        })
        .map_err(Refusal::from)??;
    let packed = archive::pack(known.sha256, &content).map_err(|e| Refusal::new(500, e))?;
    console.host.note(
        call.operator(),
        "artifact archive",
        Some(known.sha256.to_string()),
    );
    Ok(Reply::Download(
        format!("{}.zip", known.sha256),
        "application/zip",
        packed,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_strings_are_read_safely() {
        let content = b"\x7fELF\x02\x00<script>alert(1)</script>\x00short\x00\xff\xfehttp://192.0.2.1/x\n";
        assert_eq!(looks_like(content), "a 64-bit ELF program");
        let found = strings(content);
        assert_eq!(
            found.iter().map(|(_, s)| s.as_str()).collect::<Vec<_>>(),
            ["<script>alert(1)</script>", "hxxp[:]//192.0.2.1/x"]
        );
        assert_eq!(found[0].0, 6);
        let lines = hex_lines(content, 32);
        assert!(
            lines.starts_with("00000020  7f 45 4c 46 02 00 3c 73  63 "),
            "{lines}"
        );
        assert!(lines.lines().all(|l| l.chars().all(|c| (' '..='~').contains(&c))));
    }
}
