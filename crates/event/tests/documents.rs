//! `docs/events.md` and `docs/events.schema.json` are what the table says. `TURNCOAT_BLESS=1 cargo test -p turncoat-event`
//! writes them anew.

use std::path::Path;

fn pinned(name: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    if std::env::var_os("TURNCOAT_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, now).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == now,
        "docs/{name} is stale: run `TURNCOAT_BLESS=1 cargo test -p turncoat-event`"
    );
}

#[test]
fn events_md_is_current() {
    pinned("events.md", &turncoat_event::docs::markdown());
}

#[test]
fn schema_is_current() {
    let schema = serde_json::to_string_pretty(&turncoat_event::docs::json_schema()).unwrap();
    pinned("events.schema.json", &(schema + "\n"));
}
