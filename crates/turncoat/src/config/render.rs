//! The table as documentation, as JSON Schema, and as a commented file.

use std::fmt::Write;

use serde_json::{Map, Value as Json, json};

use super::parse::{VERSION, variable};
use super::table::{SECTIONS, keys};

/// `docs/configuration.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         Rendered from the table in `crates/turncoat/src/config/table.rs`; do not edit.\n\n\
         Everything has a default; a file is not needed. `turncoat init` writes one with every key as a comment. It is looked for in\n\
         `--config FILE`, `$TURNCOAT_CONFIG`, `turncoat.toml` in the data directory, and `/etc/turncoat/turncoat.toml`; the first that is\n\
         there counts. A variable of the environment goes before the file. Unknown keys and bad values are refused; `turncoat check`\n\
         looks without starting. On SIGHUP a running program reads the file again, takes the keys marked *live*, and says which others\n\
         need a restart. `docs/configuration.schema.json` is the same as a JSON Schema. Before the first section a file may state the version\n\
         of its format (`version = 1`): a program refuses a file that is newer than itself.\n",
    );
    let table = keys();
    for (section, doc) in SECTIONS {
        let _ = write!(
            out,
            "\n## [{section}]\n\n{}\n\n| key | default | | meaning |\n| --- | --- | --- | --- |\n",
            doc.trim()
        );
        for k in table.iter().filter(|k| k.section == *section) {
            let live = if k.live { "live" } else { "" };
            let _ = writeln!(
                out,
                "| `{}` | `{}` | {live} | {} Takes {}. `{}` |",
                k.key,
                k.default,
                k.doc.replace('|', "\\|"),
                k.expected.replace('|', "\\|"),
                variable(k.section, k.key)
            );
        }
    }
    out
}

/// `docs/configuration.schema.json`.
pub fn json_schema() -> Json {
    let mut root = object("Turncoat configuration");
    for (section, doc) in SECTIONS {
        let mut at = &mut root;
        for part in section.split('.') {
            at = &mut at["properties"][part];
            if at.is_null() {
                *at = object("");
            }
        }
        at["description"] = json!(doc.trim());
    }
    for k in keys() {
        let mut at = &mut root;
        for part in k.section.split('.') {
            at = &mut at["properties"][part];
        }
        let mut schema = k.schema;
        schema["description"] = json!(k.doc);
        at["properties"][k.key] = schema;
    }
    root["properties"]["version"] = json!({"const": VERSION, "description": "Version of the file's format."});
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root
}

fn object(title: &str) -> Json {
    let mut it = json!({"type": "object", "properties": Map::new(), "additionalProperties": false});
    if !title.is_empty() {
        it["title"] = json!(title);
    }
    it
}

/// What `turncoat init` writes: every key, commented out, with its default.
pub fn commented_file() -> String {
    let mut out = format!(
        "# Configuration of Turncoat. Every key is shown with its default; remove the '#' before a line to change it.\n\
         # `turncoat check` says whether the file is right; docs/configuration.md says more.\n\
         version = {VERSION}\n",
    );
    let table = keys();
    for (section, doc) in SECTIONS {
        let _ = write!(out, "\n# {}\n[{section}]\n", doc.trim());
        for k in table.iter().filter(|k| k.section == *section) {
            let _ = write!(out, "# {}\n#{} = {}\n", k.doc, k.key, k.default);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::Settings;

    fn pinned(name: &str, now: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../docs")
            .join(name);
        if std::env::var_os("TURNCOAT_BLESS").is_some() {
            std::fs::write(&path, now).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == now,
            "docs/{name} is stale: run `TURNCOAT_BLESS=1 cargo test -p turncoat config`"
        );
    }

    #[test]
    fn documents_are_current() {
        pinned("configuration.md", &markdown());
        pinned(
            "configuration.schema.json",
            &(serde_json::to_string_pretty(&json_schema()).unwrap() + "\n"),
        );
    }

    #[test]
    fn the_file_that_init_writes_is_the_default_also_with_its_comments_removed() {
        for text in [
            commented_file(),
            commented_file()
                .lines()
                .map(uncomment)
                .collect::<Vec<_>>()
                .join("\n"),
        ] {
            let (mut settings, mut mistakes) = (Settings::default(), Vec::new());
            crate::config::parse::apply_file(&mut settings, std::path::Path::new("x"), &text, &mut mistakes);
            assert_eq!(mistakes, []);
            assert_eq!(settings, Settings::default());
        }
    }

    fn uncomment(line: &str) -> &str {
        match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => rest,
            _ => line,
        }
    }
}
