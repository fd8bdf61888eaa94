//! What the console needs of the program around it.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use turncoat_event::Watermark;
use turncoat_intel::networks::Networks;
use turncoat_store::Layout;

/// What is configured.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// An argon2id hash in the usual text form (`$argon2id$...`); empty where there is no password.
    pub password: String,
    /// Whoever shows it may read the API and the metrics; empty where nobody may.
    pub token: String,
    /// Whoever shows it may read the feed of blocked addresses; empty where nobody may.
    pub feed_token: String,
    /// Names by which the console may be reached, besides its addresses and `localhost`.
    pub hosts: Vec<String>,
    /// How long a login lasts without use, in seconds.
    pub idle: u64,
    /// Where it is reached: scheme, host and port.
    pub reached: Vec<String>,
    /// Version of the program.
    pub version: String,
}

/// Certificate chain and private key, both as PEM.
#[derive(Clone, Serialize, Deserialize)]
pub struct Tls {
    /// Certificates, the server's own first.
    pub chain: String,
    /// The key.
    pub key: String,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(..)")
    }
}

/// The program around the console.
pub trait Host: Send + Sync + 'static {
    /// Where the record lies.
    fn layout(&self) -> &Layout;

    /// Number of the last committed event, as a mark.
    fn committed(&self) -> &Watermark;

    /// What `turncoat status --json` shows.
    fn facts(&self) -> Json;

    /// What is planted: a list of objects with `id`, `kind`, `made`, `host`, `note`, `user`, `revoked`. No secrets.
    fn planted(&self) -> Json;

    /// Countries and networks of addresses; empty where the operator named no table.
    fn networks(&self) -> &Networks;

    /// What is blocked now, as in `blocks.json`.
    fn blocks(&self) -> Json;

    /// A request in the words of the command line's requests, on behalf of an operator.
    ///
    /// # Errors
    /// One line for the operator.
    fn ask(&self, operator: &str, request: &Json) -> Result<Json, String>;

    /// Puts on record what an operator did, and comes back when it is there: he gets no answer before.
    fn note(&self, operator: &str, action: &str, detail: Option<String>);

    /// Secrets that outsiders tried are masked.
    fn masks(&self) -> bool;
}
