//! From file and environment to [`Settings`]; mistakes are told with file, line and what would be right.

use std::fmt;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, Table};

use super::table::{SECTIONS, Settings, keys};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where: `FILE:LINE`, or the name of a variable of the environment.
    pub place: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// The version of the file's format, which a file may state as `version` before its first section. A key that gets another name or meaning makes
/// it grow by one, and the reader of the older version stays.
pub const VERSION: i64 = 1;

/// Reads the file (where there is one) and the environment over it.
///
/// # Errors
/// All mistakes, not only the first.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings, Vec<Mistake>> {
    let mut settings = Settings::default();
    let mut mistakes = Vec::new();
    if let Some(path) = file {
        match std::fs::read_to_string(path) {
            Ok(text) => apply_file(&mut settings, path, &text, &mut mistakes),
            Err(error) => mistakes.push(Mistake {
                place: path.display().to_string(),
                message: error.to_string(),
            }),
        }
    }
    apply_environment(&mut settings, environment, &mut mistakes);
    check(&settings, file, &mut mistakes);
    if mistakes.is_empty() {
        Ok(settings)
    } else {
        Err(mistakes)
    }
}

/// Applies the text of a file.
pub fn apply_file(settings: &mut Settings, path: &Path, text: &str, mistakes: &mut Vec<Mistake>) {
    let mut walk = Walk {
        settings,
        path: path.to_owned(),
        text,
        mistakes,
    };
    match Document::parse(text) {
        Ok(document) => walk.table("", document.as_table()),
        Err(error) => {
            let message = error.message().lines().next().unwrap_or("not TOML").to_owned();
            walk.mistake(error.span().map(|s| s.start), message);
        }
    }
}

struct Walk<'a> {
    settings: &'a mut Settings,
    path: PathBuf,
    text: &'a str,
    mistakes: &'a mut Vec<Mistake>,
}

impl Walk<'_> {
    fn mistake(&mut self, offset: Option<usize>, message: String) {
        let line = 1 + self
            .text
            .bytes()
            .take(offset.unwrap_or(0))
            .filter(|b| *b == b'\n')
            .count();
        self.mistakes.push(Mistake {
            place: format!("{}:{line}", self.path.display()),
            message,
        });
    }

    fn table(&mut self, section: &str, table: &Table) {
        for (name, item) in table.iter() {
            let at = table.key(name).and_then(|k| k.span()).map(|s| s.start);
            let inner = if section.is_empty() {
                name.to_owned()
            } else {
                format!("{section}.{name}")
            };
            match item {
                Item::Value(value) if inner == "version" => {
                    let message = match value.as_integer() {
                        Some(VERSION) => continue,
                        Some(newer) if newer > VERSION => format!(
                            "this file is for a newer program (version {newer}, this one reads up to {VERSION}): use that program, or write the file anew with `turncoat init`"
                        ),
                        _ => format!("version: expected {VERSION}"),
                    };
                    self.mistake(value.span().map(|s| s.start).or(at), message);
                }
                Item::Table(sub) if is_section(&inner) => self.table(&inner, sub),
                Item::Value(value) => match self.settings.set_toml(section, name, value) {
                    Some(Ok(())) => {}
                    Some(Err(wrong)) => {
                        let at = value.span().map(|s| s.start).or(at);
                        self.mistake(at, format!("{inner}: expected {}", wrong.0));
                    }
                    None => {
                        if let Some(sub) = value.as_inline_table().filter(|_| is_section(&inner)) {
                            self.table(&inner, &sub.clone().into_table());
                        } else {
                            self.mistake(at, unknown(section, name));
                        }
                    }
                },
                _ => self.mistake(at, unknown_section(&inner)),
            }
        }
    }
}

/// True for a section and for what stands before the dot of one.
fn is_section(name: &str) -> bool {
    SECTIONS
        .iter()
        .any(|(s, _)| *s == name || s.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

fn unknown_section(name: &str) -> String {
    let near = nearest(name, SECTIONS.iter().map(|(s, _)| *s));
    match near {
        Some(near) => format!("there is no section [{name}]; did you mean [{near}]?"),
        None => format!("there is no section [{name}]"),
    }
}

fn unknown(section: &str, key: &str) -> String {
    let table = keys();
    if section.is_empty() {
        return match table.iter().find(|k| k.key == key) {
            Some(k) => format!("{key} belongs into the section [{}]", k.section),
            None => format!("there is no key {key} outside of a section"),
        };
    }
    let here = nearest(key, table.iter().filter(|k| k.section == section).map(|k| k.key));
    match here {
        Some(near) => format!("[{section}] has no key {key}; did you mean {near}?"),
        None => match table.iter().find(|k| k.key == key) {
            Some(k) => format!("[{section}] has no key {key}; it belongs into [{}]", k.section),
            None => {
                let known: Vec<&str> = table
                    .iter()
                    .filter(|k| k.section == section)
                    .map(|k| k.key)
                    .collect();
                format!("[{section}] has no key {key}; it has {}", known.join(", "))
            }
        },
    }
}

fn nearest<'a>(word: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    among
        .map(|w| (distance(word, w), w))
        .min()
        .filter(|(d, w)| *d <= 1 + w.len() / 4)
        .map(|(_, w)| w)
}

/// Edit distance, with a bound on the length looked at.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let best = (diagonal + usize::from(x != y)).min(*cell + 1).min(left + 1);
            diagonal = *cell;
            *cell = best;
            left = best;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// The variable that sets a key: `TURNCOAT_OUTPUT_SYSLOG_TO` for `to` in `[output.syslog]`.
pub fn variable(section: &str, key: &str) -> String {
    format!("TURNCOAT_{section}_{key}")
        .replace('.', "_")
        .to_uppercase()
}

/// Variables that are not keys of the configuration.
const OTHERS: &[&str] = &["TURNCOAT_DATA", "TURNCOAT_CONFIG", "TURNCOAT_BLESS"];

fn apply_environment(
    settings: &mut Settings,
    environment: impl Iterator<Item = (String, String)>,
    mistakes: &mut Vec<Mistake>,
) {
    let table: Vec<(String, &str, &str)> = keys()
        .iter()
        .map(|k| (variable(k.section, k.key), k.section, k.key))
        .collect();
    for (name, text) in
        environment.filter(|(n, _)| n.starts_with("TURNCOAT_") && !OTHERS.contains(&n.as_str()))
    {
        let message = match table.iter().find(|(v, _, _)| *v == name) {
            Some((_, section, key)) => match settings.set_text(section, key, &text) {
                Some(Err(wrong)) => format!("expected {}", wrong.0),
                _ => continue,
            },
            None => match nearest(&name, table.iter().map(|(v, _, _)| v.as_str())) {
                Some(near) => format!("no key of the configuration has this variable; did you mean {near}?"),
                None => "no key of the configuration has this variable".into(),
            },
        };
        mistakes.push(Mistake { place: name, message });
    }
}

/// What the types alone cannot say.
fn check(settings: &Settings, file: Option<&Path>, mistakes: &mut Vec<Mistake>) {
    let place = file.map_or_else(|| "configuration".into(), |f| f.display().to_string());
    let mut wrong = |message: String| {
        mistakes.push(Mistake {
            place: place.clone(),
            message,
        })
    };
    if settings.sensor.name.parse::<turncoat_event::SensorId>().is_err() {
        wrong("sensor.name: expected 1 to 64 letters, digits, '-', '_' or '.'".into());
    }
    if turncoat_decoys::ssh::MaxStartups::parse(&settings.ssh.max_startups).is_none() {
        wrong("ssh.max_startups: expected \"off\", or as sshd's MaxStartups: \"10:30:100\"".into());
    }
    if settings.output_syslog.facility > 23 {
        wrong("output.syslog.facility: expected a number from 0 to 23".into());
    }
    let to = &settings.output_syslog.to;
    let known = ["udp://", "tcp://", "tls://"]
        .iter()
        .any(|p| to.strip_prefix(p).is_some_and(|rest| rest.contains(':')));
    if !to.is_empty() && !known {
        wrong(
            "output.syslog.to: expected \"udp://HOST:PORT\", \"tcp://HOST:PORT\" or \"tls://HOST:PORT\""
                .into(),
        );
    }
    let url = &settings.heartbeat.url;
    if !url.is_empty() && !["http://", "https://"].iter().any(|p| url.starts_with(p)) {
        wrong("heartbeat.url: expected an address that begins with http:// or https://".into());
    }
    // What cannot be read now cannot be trusted later.
    if to.starts_with("tls://")
        && let Err(why) = crate::output::tls::Trust::read(&settings.output_syslog.ca)
    {
        wrong(format!("output.syslog.ca: {why}"));
    }
    if url.starts_with("https://")
        && let Err(why) = crate::output::tls::Trust::read(&settings.heartbeat.ca)
    {
        wrong(format!("heartbeat.ca: {why}"));
    }
    for (name, path) in [
        ("output.jsonl.path", &settings.output_jsonl.path),
        ("output.cowrie.path", &settings.output_cowrie.path),
    ] {
        if !path.is_empty() && !path.starts_with('/') {
            wrong(format!("{name}: expected a whole path that begins with '/'"));
        }
    }
    console(&settings.console, &mut wrong);
    if settings.limits.artifact.0 > turncoat_event::record::ARTIFACT_MAX as u64 {
        wrong("limits.artifact: the most is \"32MiB\"".into());
    }
}

/// What is wrong with `[console]`.
fn console(console: &super::table::Console, wrong: &mut impl FnMut(String)) {
    let away = console.listen.iter().find(|a| !a.ip().is_loopback());
    if let Some(away) = away
        && (console.tls_cert.is_empty() || console.tls_key.is_empty())
    {
        wrong(format!(
            "console.listen: {away} is not loopback: set console.tls_cert and console.tls_key, or listen on 127.0.0.1 and reach it through SSH"
        ));
    }
    if console.tls_cert.is_empty() != console.tls_key.is_empty() {
        wrong("console.tls_cert and console.tls_key: expected both or none".into());
    }
    for (name, path) in [("tls_cert", &console.tls_cert), ("tls_key", &console.tls_key)] {
        if !path.is_empty() && !path.starts_with('/') {
            wrong(format!(
                "console.{name}: expected a whole path that begins with '/'"
            ));
        }
    }
    if !console.password.is_empty()
        && let Some(mistake) = turncoat_console::secret::mistake(&console.password)
    {
        wrong(format!("console.password: {mistake}"));
    }
    for (name, token) in [("token", &console.token), ("feed_token", &console.feed_token)] {
        if !token.is_empty() && (token.len() < 16 || !token.bytes().all(|b| b.is_ascii_graphic())) {
            wrong(format!(
                "console.{name}: expected at least 16 visible characters, such as `openssl rand -hex 32` prints"
            ));
        }
    }
    if !console.token.is_empty() && console.token == console.feed_token {
        wrong("console.feed_token: expected another than console.token, which opens more".into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_away_from_loopback_wants_tls() {
        let console_of = |text: &str| {
            let (mut settings, mut found) = (Settings::default(), Vec::new());
            apply_file(&mut settings, Path::new("t.toml"), text, &mut found);
            assert_eq!(found, []);
            let mut wrong = Vec::new();
            console(&settings.console, &mut |w| wrong.push(w));
            wrong
        };
        assert_eq!(console_of(""), Vec::<String>::new());
        assert_eq!(
            console_of("[console]\nlisten = [\"[::1]:1\", \"127.0.0.9:2\"]"),
            Vec::<String>::new()
        );
        let away = console_of("[console]\nlisten = [\"127.0.0.1:1\", \"0.0.0.0:4780\"]");
        assert!(
            away.len() == 1 && away[0].starts_with("console.listen: 0.0.0.0:4780 is not loopback"),
            "{away:?}"
        );
        let fine = "[console]\nlisten = [\"0.0.0.0:4780\"]\ntls_cert = \"/c\"\ntls_key = \"/k\"";
        assert_eq!(console_of(fine), Vec::<String>::new());
        for bad in [
            "tls_cert = \"/c\"",
            "tls_cert = \"c\"\ntls_key = \"/k\"",
            "password = \"hunter2\"",
            "token = \"short\"",
            "feed_token = \"0123456789 abcdef\"",
            "token = \"0123456789abcdef\"\nfeed_token = \"0123456789abcdef\"",
        ] {
            assert_eq!(console_of(&format!("[console]\n{bad}")).len(), 1, "{bad}");
        }
    }

    fn mistakes(text: &str) -> Vec<String> {
        let (mut settings, mut found) = (Settings::default(), Vec::new());
        apply_file(&mut settings, Path::new("t.toml"), text, &mut found);
        found.iter().map(Mistake::to_string).collect()
    }

    #[test]
    fn mistakes_are_told_with_line_and_what_would_be_right() {
        assert_eq!(mistakes("[record]\nmax_size = \"5GiB\"\n"), Vec::<String>::new());
        assert_eq!(
            mistakes("\n[record]\nmaxsize = 5\n"),
            ["t.toml:3: [record] has no key maxsize; did you mean max_size?"]
        );
        assert_eq!(
            mistakes("[recrod]\n"),
            ["t.toml:1: there is no section [recrod]; did you mean [record]?"]
        );
        assert_eq!(
            mistakes("[record]\n\ndurability = \"disk\"\n"),
            ["t.toml:3: record.durability: expected one of \"process\", \"power\""]
        );
        assert_eq!(
            mistakes("durability = 1"),
            ["t.toml:1: durability belongs into the section [record]"]
        );
        assert_eq!(
            mistakes("[ssh]\nlisten = [\"0.0.0.0\"]"),
            [
                "t.toml:2: ssh.listen: expected a list in brackets, each an address with a port such as \"0.0.0.0:2222\" or \"[::1]:2222\""
            ]
        );
        assert_eq!(mistakes("version = 1\n[ssh]\n"), Vec::<String>::new());
        assert_eq!(
            mistakes("version = 2\n"),
            [
                "t.toml:1: this file is for a newer program (version 2, this one reads up to 1): use that program, or write the file anew with `turncoat init`"
            ]
        );
        assert_eq!(mistakes("version = \"1\"\n"), ["t.toml:1: version: expected 1"]);
        assert_eq!(mistakes("[output]\nsyslog = {to = 3}").len(), 1);
        assert!(mistakes("[record\n")[0].starts_with("t.toml:1: "));
        assert_eq!(
            mistakes("[output.jsonl]\npath = \"/a\"\n[output.cowrie]\npath = \"/b\""),
            Vec::<String>::new()
        );
    }

    #[test]
    fn the_environment_reaches_every_key() {
        let set = |n: &str, v: &str| load(None, [(n.to_owned(), v.to_owned())].into_iter());
        assert_eq!(
            set("TURNCOAT_SSH_LISTEN", "127.0.0.1:1,[::1]:2")
                .unwrap()
                .ssh
                .listen
                .len(),
            2
        );
        assert_eq!(set("TURNCOAT_SSH_LISTEN", "").unwrap().ssh.listen.len(), 0);
        assert_eq!(
            set("TURNCOAT_RECORD_MAX_SIZE", "1KiB").unwrap().record.max_size.0,
            1024
        );
        assert_eq!(
            set("TURNCOAT_LIMITS_CONNECTIONS", "7")
                .unwrap()
                .limits
                .connections,
            7
        );
        assert_eq!(
            set("TURNCOAT_OUTPUT_SYSLOG_TO", "udp://h:1")
                .unwrap()
                .output_syslog
                .to,
            "udp://h:1"
        );
        assert_eq!(
            set("TURNCOAT_SSH_LISTN", "x").unwrap_err()[0].to_string(),
            "TURNCOAT_SSH_LISTN: no key of the configuration has this variable; did you mean TURNCOAT_SSH_LISTEN?"
        );
        assert!(set("TURNCOAT_RECORD_MAX_AGE", "soon").is_err());
        assert!(set("TURNCOAT_DATA", "/x").is_ok());
        let names: Vec<String> = keys().iter().map(|k| variable(k.section, k.key)).collect();
        let distinct: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "two keys have the same variable");
    }

    #[test]
    fn no_text_breaks_the_parser() {
        let seeds = [
            "[record]\nmax_size = \"5GiB\"\n",
            "[ssh]\nlisten = [\"[::]:1\"]",
            "[output]\nsyslog = {to = \"x\"}",
            "[[ssh]]\n",
        ];
        let mut state = 1u64;
        for round in 0..20_000 {
            let mut bytes = seeds[round % seeds.len()].as_bytes().to_vec();
            for _ in 0..1 + round % 5 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 56) as u8;
            }
            mistakes(&String::from_utf8_lossy(&bytes));
        }
    }
}
