//! Alerts posted to a web address: everything as JSON, or as Slack or Discord want it. HTTP/1.1, one request a connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Letter, Way, loopback, text};
use crate::config::table::{AlertWebhook, Form};
use crate::output::tls::{Trust, tcp};
use crate::show;

const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of an answer that are read.
const ANSWER: u64 = 8 << 10;

/// The way.
pub struct Webhook {
    trust: Option<Trust>,
    place: String,
    host: String,
    path: String,
    form: Form,
    token: String,
}

impl Webhook {
    /// From the settings.
    ///
    /// # Errors
    /// One line for the operator.
    pub fn new(
        s: &AlertWebhook,
        trust: &mut dyn FnMut() -> Result<Trust, String>,
    ) -> Result<Webhook, String> {
        let wrong = |why: &str| format!("alert.webhook.url: {why}");
        let (scheme, rest) = s
            .url
            .split_once("://")
            .ok_or_else(|| wrong("expected an address that begins with https://"))?;
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(at);
        let sound = |t: &str| t.bytes().all(|b| b.is_ascii_graphic());
        if host.is_empty() || host.contains('@') || !sound(host) || !sound(path) || !sound(&s.token) {
            return Err(wrong(
                "expected an address such as https://HOST/PATH, without a user",
            ));
        }
        let port = if scheme == "https" { 443 } else { 80 };
        let bare = host.rsplit_once(']').map_or(host, |(_, after)| after);
        let place = if bare.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:{port}")
        };
        let trust = match scheme {
            "https" => Some(trust()?),
            "http" if loopback(&place) => None,
            _ => {
                return Err(wrong(
                    "only https:// leaves this machine; http:// is for loopback",
                ));
            }
        };
        Ok(Webhook {
            trust,
            place,
            host: host.to_owned(),
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
            form: s.form,
            token: s.token.clone(),
        })
    }
}

/// The body of a request.
pub fn body(form: Form, letter: &Letter) -> Json {
    let m = &letter.message;
    let all = format!("{}\n\n{}", text::subject(letter), text::body(letter));
    match form {
        Form::Generic => json!({
            "version": 1,
            "id": letter.id,
            "sensor": letter.sensor,
            "incident": m.incident,
            "number": m.number,
            "phase": m.phase,
            "severity": m.severity,
            "campaign": m.campaign,
            "title": show::defang(&m.title),
            "lines": m.lines.iter().map(|l| show::defang(l)).collect::<Vec<_>>(),
            "more": m.more,
            "time": m.time,
            "opened": m.opened,
            "text": all,
        }),
        // Plain text is not searched for markup, links or people; previews are off for the whole message.
        Form::Slack => json!({
            "text": harmless(&text::within(&text::subject(letter), 300)),
            "unfurl_links": false,
            "unfurl_media": false,
            "link_names": false,
            "parse": "none",
            "blocks": [{"type": "section", "text": {"type": "plain_text", "emoji": false, "text": harmless(&text::within(&all, 2_900))}}],
        }),
        // In a code block nothing is markup; `flags` 4 is SUPPRESS_EMBEDS.
        Form::Discord => json!({
            "content": format!("```\n{}\n```", text::within(&all, 1_900).replace('`', "'")),
            "allowed_mentions": {"parse": []},
            "flags": 4,
        }),
    }
}

/// Without the signs by which Slack calls people and makes links (`<!channel>`, `<@U1>`), and without those of its entities.
fn harmless(text: &str) -> String {
    text.replace('&', "+")
        .replace('<', "\u{2039}")
        .replace('>', "\u{203a}")
}

impl Way for Webhook {
    fn send(&mut self, letter: &Letter) -> Result<(), String> {
        let body = body(self.form, letter).to_string();
        let login = if self.token.is_empty() {
            String::new()
        } else {
            format!("Authorization: Bearer {}\r\n", self.token)
        };
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: turncoat\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Idempotency-Key: {}\r\n{login}Connection: close\r\n\r\n{body}",
            self.path,
            self.host,
            body.len(),
            letter.id
        );
        let said = match &self.trust {
            Some(trust) => ask(trust.connect(&self.place, PATIENCE)?, &request),
            None => ask(tcp(&self.place, PATIENCE)?, &request),
        };
        said.map_err(|e| format!("{}: {e}", self.place))
    }
}

/// Sends a request, and is content with an answer of success.
fn ask(mut stream: impl Read + Write, request: &str) -> Result<(), String> {
    stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.flush())
        .map_err(|e| e.to_string())?;
    let mut reader = BufReader::new(stream.take(ANSWER));
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).map_err(|e| e.to_string())?;
    status(&line)
}

/// Reads the first line of an answer.
///
/// # Errors
/// The line, where it is not one of success.
pub fn status(line: &[u8]) -> Result<(), String> {
    let line = String::from_utf8_lossy(line);
    let code = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|code| code.parse::<u16>().ok());
    match code {
        Some(200..=299) => Ok(()),
        Some(301 | 302 | 303 | 307 | 308) => Err(format!(
            "{}; the address has moved, and redirections are not followed",
            line.trim_end()
        )),
        Some(_) => Err(crate::show::short(line.trim_end(), 200)),
        None => Err("the server does not speak HTTP".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::text::tests::{HOSTILE, letter};

    #[test]
    fn nobody_is_called_and_nothing_is_fetched() {
        for text in HOSTILE {
            let l = letter(text);
            for form in [Form::Generic, Form::Slack, Form::Discord] {
                let body = body(form, &l).to_string();
                assert!(!body.contains("://") && !body.contains('@'), "{body}");
                assert!(form != Form::Slack || !body.contains('<'), "{body}");
            }
            let slack = body(Form::Slack, &l);
            assert_eq!(
                (&slack["unfurl_links"], &slack["unfurl_media"]),
                (&json!(false), &json!(false))
            );
            assert_eq!(slack["blocks"][0]["text"]["type"], "plain_text");
            let discord = body(Form::Discord, &l);
            assert_eq!(discord["allowed_mentions"]["parse"], json!([]));
            let content = discord["content"].as_str().unwrap();
            assert!(content.chars().count() <= 2_000 && content.matches("```").count() == 2);
        }
        assert!(
            body(Form::Generic, &letter("x"))["id"]
                .as_str()
                .unwrap()
                .starts_with("I-3.2.")
        );
    }

    #[test]
    fn answers() {
        assert!(status(b"HTTP/1.1 204 No Content\r\n").is_ok());
        for bad in [
            &b"HTTP/1.1 500 x\r\n"[..],
            b"HTTP/1.1 302 Found\r\n",
            b"",
            b"\xff\xff",
            b"HTTP/1.1 2",
            b"HTTP/1.\xc3\xa9\xc3\xa9\xc3\xa9",
        ] {
            assert!(status(bad).is_err());
        }
    }
}
