//! The console inside the process that writes the record: what it is given, and what it may ask.

use std::net::TcpListener;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use turncoat_console::{Console, Host, Settings as ConsoleSettings, Tls};
use turncoat_event::Watermark;
use turncoat_intel::networks::Networks;
use turncoat_store::Layout;

use super::record::{Pen, Shared, operator_action};
use super::{now, requests, say, thread};
use crate::audit;
use crate::config::Settings;

/// What the supervisor gives beside the settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Given {
    /// A word that opens the door once; the start prints it. None after a restart of the process.
    pub link: Option<String>,
    /// Certificates and key.
    pub tls: Option<Tls>,
    /// What the decoys' machine shows, for people.
    pub cover: Json,
}

/// Reads what is in no setting: the files of TLS. Before privileges are given up, as the key may be root's.
///
/// # Errors
/// One line for the operator.
pub fn tls(settings: &Settings) -> Result<Option<Tls>, String> {
    let console = &settings.console;
    if console.listen.is_empty() || console.tls_cert.is_empty() {
        return Ok(None);
    }
    let read = |key: &str, path: &str| {
        std::fs::read_to_string(path).map_err(|e| format!("console.{key}: {path}: {e}"))
    };
    let tls = Tls {
        chain: read("tls_cert", &console.tls_cert)?,
        key: read("tls_key", &console.tls_key)?,
    };
    turncoat_console::server::tls_config(&tls)?;
    Ok(Some(tls))
}

/// What of a cover is shown to people.
pub fn cover_facts(cover: &turncoat_cover::Cover) -> Json {
    let users: Vec<&str> = cover.users.iter().map(|u| u.name.as_str()).collect();
    json!({
        "host": cover.host.fqdn(),
        "role": cover.role,
        "system": "Debian 12",
        "processor": cover.hardware.processor.name,
        "cores": cover.hardware.cores,
        "memory": turncoat_event::show::size(cover.hardware.memory_mib << 20),
        "accounts": users,
    })
}

struct Program {
    shared: Arc<Shared>,
    pen: Pen,
    cover: Json,
}

impl Host for Program {
    fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    fn committed(&self) -> &Watermark {
        &self.shared.committed
    }

    fn facts(&self) -> Json {
        let mut facts = self.shared.facts();
        if let Some(map) = facts.as_object_mut() {
            map.insert("cover".into(), self.cover.clone());
            map.insert("audit".into(), audit::last(&self.shared.layout));
            if let Some(console) = self.shared.console.get() {
                map.insert("console".into(), json!(console.settings.reached));
            }
            map.insert("sensor".into(), json!(self.shared.settings().sensor.name));
        }
        facts
    }

    fn networks(&self) -> &Networks {
        &self.shared.networks
    }

    fn planted(&self) -> Json {
        let plants = crate::plant::load(&self.shared.layout).unwrap_or_default();
        let shown = plants.iter().rev().map(|p| {
            json!({
                "id": p.id, "kind": p.kind, "made": p.made, "host": p.host, "note": p.note, "user": p.user, "revoked": p.revoked,
            })
        });
        Json::Array(shown.collect())
    }

    fn blocks(&self) -> Json {
        std::fs::read(self.shared.layout.root().join("blocks.json"))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_else(|| json!({"version": 1, "made": now(), "blocks": []}))
    }

    fn ask(&self, operator: &str, request: &Json) -> Result<Json, String> {
        requests::answer(operator, request, &self.shared, &self.pen)
    }

    fn note(&self, operator: &str, action: &str, detail: Option<String>) {
        self.pen.signed(operator_action(operator, action, detail));
    }

    fn masks(&self) -> bool {
        super::out::masks(&self.shared.settings())
    }
}

/// Starts the console, where it listens anywhere. A console that fails ends nothing else.
pub fn start(listeners: Vec<TcpListener>, given: Option<Box<Given>>, shared: &Arc<Shared>, pen: &Pen) {
    let (Some(given), false) = (given, listeners.is_empty()) else {
        return;
    };
    let settings = shared.settings();
    let console = &settings.console;
    let scheme = if given.tls.is_some() { "https" } else { "http" };
    let reached = listeners.iter().filter_map(|l| l.local_addr().ok());
    let reached = reached.map(|at| match console.hosts.first() {
        Some(name) => format!("{scheme}://{name}:{}", at.port()),
        None => format!("{scheme}://{at}"),
    });
    let configured = ConsoleSettings {
        reached: reached.collect(),
        password: console.password.clone(),
        token: console.token.clone(),
        feed_token: console.feed_token.clone(),
        hosts: console.hosts.clone(),
        idle: console.idle.duration().as_secs(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let program = Program {
        shared: shared.clone(),
        pen: pen.clone(),
        cover: given.cover,
    };
    let console = Arc::new(Console::new(Arc::new(program), configured));
    if let Some(link) = &given.link {
        console.visits.allow(link, std::time::Instant::now());
    }
    let tls = match given
        .tls
        .as_ref()
        .map(turncoat_console::server::tls_config)
        .transpose()
    {
        Ok(tls) => tls,
        Err(why) => return say("record", &why),
    };
    let _ = shared.console.set(console.clone());
    thread("console", move || {
        if let Err(why) = turncoat_console::serve(console, listeners, tls) {
            say("record", &why);
        }
    });
}
