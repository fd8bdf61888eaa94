//! Our own files, compiled in: nothing is fetched from anywhere.

use std::sync::{Arc, LazyLock};

use crate::call::Call;
use crate::reply::{Refusal, Reply};
use crate::server::Console;

/// Name, content type, content.
const FILES: &[(&str, &str, &[u8])] = &[
    (
        "console.css",
        "text/css; charset=utf-8",
        include_bytes!("../assets/console.css"),
    ),
    (
        "console.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../assets/console.js"),
    ),
    (
        "terminal.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../assets/terminal.js"),
    ),
    (
        "live.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../assets/live.js"),
    ),
    (
        "replay.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../assets/replay.js"),
    ),
    ("icon.svg", "image/svg+xml", include_bytes!("../assets/icon.svg")),
];

/// The tag by which a browser knows that it has the files of this build: a hash over all of them.
fn tag() -> &'static str {
    static TAG: LazyLock<String> = LazyLock::new(|| {
        let all: Vec<u8> = FILES.iter().flat_map(|f| f.2.iter().copied()).collect();
        format!("\"{}\"", turncoat_store::artifact::sha256(&all))
    });
    &TAG
}

/// `GET /assets/{name}`.
pub fn serve(_: &Arc<Console>, call: &Call) -> Result<Reply, Refusal> {
    let name = match call.part("name") {
        "" => "icon.svg",
        name => name,
    };
    FILES
        .iter()
        .find(|(n, _, _)| *n == name)
        .map(|(_, kind, bytes)| Reply::Asset(kind, bytes, tag()))
        .ok_or_else(|| Refusal::absent("there is no such file"))
}
