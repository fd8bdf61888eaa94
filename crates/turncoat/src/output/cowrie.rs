//! Events in Cowrie's JSON format: its names (`cowrie.login.failed` ...), its keys, its microsecond times.
//!
//! Kinds that Cowrie does not have are left out. `turncoat_seq` is ours: the number in our record.

use serde_json::{Map, Value as Json, json};
use turncoat_event::{Event, Kind, Time};

fn time(t: Time) -> String {
    let (y, mo, d, h, m, s, ns) = t.civil();
    format!("{y:04}-{mo:02}-{d:02}T{h:02}:{m:02}:{s:02}.{:06}Z", ns / 1000)
}

/// Twelve hexadecimal digits, as Cowrie's session ids are: the end of ours, which is random.
fn session(event: &Event) -> String {
    let id = event.origin.session.map(|s| s.to_string()).unwrap_or_default();
    id.get(24..).unwrap_or_default().to_owned()
}

/// The event in Cowrie's words; `None` when Cowrie has none.
pub fn translate(event: &Event) -> Option<Json> {
    let o = &event.origin;
    let (id, fields, message): (&str, Json, String) = match &event.kind {
        Kind::SessionOpen(_) => (
            "cowrie.session.connect",
            json!({"src_port": o.src_port, "dst_ip": o.dst_ip, "dst_port": o.dst_port}),
            format!(
                "New connection: {}:{} ({}:{}) [session: {}]",
                text(o.src_ip),
                text(o.src_port),
                text(o.dst_ip),
                text(o.dst_port),
                session(event)
            ),
        ),
        Kind::ClientVersion(it) => {
            let v = it.version.to_text_lossy();
            (
                "cowrie.client.version",
                json!({"version": v}),
                format!("Remote SSH version: {v}"),
            )
        }
        Kind::ClientKex(it) => (
            "cowrie.client.kex",
            json!({"hassh": it.hassh, "hasshAlgorithms": it.hassh_text, "kexAlgs": it.kex, "keyAlgs": it.host_key,
                   "encCS": it.cipher, "macCS": it.mac, "compCS": it.compression, "langCS": it.language}),
            format!("SSH client hassh fingerprint: {}", it.hassh),
        ),
        Kind::ClientOption(it) => (
            "cowrie.client.var",
            json!({"name": it.name.to_text_lossy(), "value": it.value.to_text_lossy()}),
            format!(
                "request_env: {}={}",
                it.name.to_text_lossy(),
                it.value.to_text_lossy()
            ),
        ),
        Kind::AuthAttempt(it) if it.fingerprint.is_some() => (
            "cowrie.client.fingerprint",
            json!({"username": it.user.to_text_lossy(), "fingerprint": it.fingerprint, "type": it.key_type}),
            format!("public key attempt for user {}", it.user.to_text_lossy()),
        ),
        Kind::AuthAttempt(it) if it.secret.is_some() => {
            let (user, secret) = (it.user.to_text_lossy(), it.secret.as_ref()?.to_text_lossy());
            let (id, word) = if it.accepted {
                ("cowrie.login.success", "succeeded")
            } else {
                ("cowrie.login.failed", "failed")
            };
            (
                id,
                json!({"username": user, "password": secret}),
                format!("login attempt [{user}/{secret}] {word}"),
            )
        }
        Kind::TerminalOpen(it) => (
            "cowrie.client.size",
            json!({"width": it.columns, "height": it.rows}),
            format!("Terminal Size: {} {}", it.columns, it.rows),
        ),
        Kind::CommandInput(it) => {
            let line = it.line.to_text_lossy();
            (
                "cowrie.command.input",
                json!({"input": line}),
                format!("CMD: {line}"),
            )
        }
        Kind::CommandExec(it) => {
            let line = it.command.to_text_lossy();
            (
                "cowrie.command.input",
                json!({"input": line}),
                format!("CMD: {line}"),
            )
        }
        Kind::FileArtifact(it) if it.url.is_some() => (
            "cowrie.session.file_download",
            json!({"url": it.url.as_ref()?.to_text_lossy(), "outfile": it.sha256.to_string(), "shasum": it.sha256, "destfile": it.path.to_text_lossy()}),
            format!(
                "Downloaded URL ({}) with SHA-256 {}",
                it.url.as_ref()?.to_text_lossy(),
                it.sha256
            ),
        ),
        Kind::FileArtifact(it) => (
            "cowrie.session.file_upload",
            json!({"filename": it.path.to_text_lossy(), "outfile": it.sha256.to_string(), "shasum": it.sha256}),
            format!(
                "SFTP Uploaded file \"{}\" with SHA-256 {}",
                it.path.to_text_lossy(),
                it.sha256
            ),
        ),
        Kind::ForwardRequest(it) if it.request == "direct-tcpip" => (
            "cowrie.direct-tcpip.request",
            json!({"dst_ip": it.host.to_text_lossy(), "dst_port": it.port, "src_port": it.origin_port}),
            format!(
                "direct-tcp connection request to {}:{}",
                it.host.to_text_lossy(),
                it.port
            ),
        ),
        Kind::ForwardBytes(it) => (
            "cowrie.direct-tcpip.data",
            json!({"dst_ip": it.host.to_text_lossy(), "dst_port": it.port, "data": it.bytes.to_text_lossy()}),
            format!(
                "discarded direct-tcp forward request to {}:{}",
                it.host.to_text_lossy(),
                it.port
            ),
        ),
        Kind::SessionClose(it) => {
            let seconds = it.duration_ms as f64 / 1000.0;
            (
                "cowrie.session.closed",
                json!({"duration": seconds}),
                format!("Connection lost after {seconds:.1} seconds"),
            )
        }
        _ => return None,
    };
    let mut all = Map::new();
    all.insert("eventid".into(), json!(id));
    all.insert("timestamp".into(), json!(time(event.time)));
    all.insert("src_ip".into(), json!(o.src_ip));
    all.insert("session".into(), json!(session(event)));
    all.insert("sensor".into(), json!(event.sensor));
    all.insert("protocol".into(), json!(o.decoy));
    all.insert("message".into(), json!(message));
    all.insert("turncoat_seq".into(), json!(event.seq));
    if let Json::Object(fields) = fields {
        all.extend(fields);
    }
    Some(Json::Object(all))
}

fn text(it: Option<impl ToString>) -> String {
    it.map(|i| i.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use turncoat_event::kinds::AuthAttempt;
    use turncoat_event::{Origin, SessionId};

    #[test]
    fn a_failed_login_has_cowries_names() {
        let session = SessionId::new(Time(0), [0xab; 10]);
        let origin = Origin::session(
            session,
            "192.0.2.1:5".parse().unwrap(),
            "192.0.2.2:22".parse().unwrap(),
            "ssh",
        );
        let kind = AuthAttempt {
            method: "password".into(),
            user: "root".into(),
            secret: Some("123456".into()),
            secret_hash: None,
            key_type: None,
            fingerprint: None,
            key: None,
            probe: None,
            accepted: false,
            policy: "never".into(),
        };
        let event = Event::new(
            9,
            "t".parse().unwrap(),
            origin.at(Time(1_795_435_200_123_456_789), kind),
        );
        let line = translate(&event).unwrap();
        assert_eq!(line["eventid"], "cowrie.login.failed");
        assert_eq!(
            (&line["username"], &line["password"]),
            (&json!("root"), &json!("123456"))
        );
        assert_eq!(line["timestamp"], "2026-11-23T12:00:00.123456Z");
        assert_eq!(line["src_ip"], "192.0.2.1");
        assert_eq!(line["session"], "abababababab");
        assert_eq!(line["message"], "login attempt [root/123456] failed");
    }
}
