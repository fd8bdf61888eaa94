//! Alerts to a syslog server in the Common Event Format (ArcSight's, version 0): a line of seven fields between bars, then `key=value`.

use std::io::Write;
use std::net::{ToSocketAddrs, UdpSocket};
use std::time::Duration;

use super::{Letter, Way};
use crate::output::tls::{Trust, tcp};
use crate::respond::incident::{Phase, Severity};
use crate::show;

const PATIENCE: Duration = Duration::from_secs(20);
/// Syslog facility: local0.
const FACILITY: u64 = 16;
/// The longest message, in bytes: what a datagram safely holds.
const LONGEST: usize = 8 << 10;

enum Road {
    Udp,
    Tcp,
    Tls(Trust),
}

/// The way.
pub struct Cef {
    place: String,
    road: Road,
}

impl Cef {
    /// To `udp://HOST:PORT`, `tcp://HOST:PORT` or `tls://HOST:PORT`.
    ///
    /// # Errors
    /// One line for the operator.
    pub fn new(to: &str, trust: &mut dyn FnMut() -> Result<Trust, String>) -> Result<Cef, String> {
        let wrong = || {
            "alert.cef.to: expected \"udp://HOST:514\", \"tcp://HOST:601\" or \"tls://HOST:6514\"".to_owned()
        };
        let (scheme, place) = to.split_once("://").ok_or_else(wrong)?;
        if !place.contains(':') {
            return Err(wrong());
        }
        let road = match scheme {
            "udp" => Road::Udp,
            "tcp" => Road::Tcp,
            "tls" => Road::Tls(trust()?),
            _ => return Err(wrong()),
        };
        Ok(Cef {
            place: place.to_owned(),
            road,
        })
    }
}

fn header(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('|', "\\|")
        .replace(['\r', '\n'], " ")
}

fn value(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('=', "\\=")
        .replace('\r', "")
        .replace('\n', "\\n")
}

/// The syslog line (RFC 5424) with the event in it.
pub fn line(letter: &Letter) -> String {
    let m = &letter.message;
    let (severity, priority) = match m.severity {
        Severity::Low => (3, 6),
        Severity::Medium => (5, 4),
        Severity::High => (8, 2),
        Severity::Top => (10, 1),
    };
    let class = match m.phase {
        Phase::Open => "incident.open",
        Phase::Update => "incident.update",
        Phase::Close => "incident.close",
    };
    let mut lines: Vec<String> = m.lines.iter().map(|l| show::defang(l)).collect();
    if m.more > 0 {
        lines.push(format!("and {} more", m.more));
    }
    let mut event = format!(
        "CEF:0|Turncoat|Turncoat|{}|{class}|{}|{severity}|rt={} externalId={} dvchost={} cnt={} cs1Label=campaign cs1={} cs2Label=letter cs2={} msg={}",
        env!("CARGO_PKG_VERSION"),
        header(&show::defang(&m.title)),
        m.time.millis(),
        value(&m.incident),
        value(&letter.sensor),
        m.number,
        value(m.campaign.as_deref().unwrap_or("-")),
        value(&letter.id),
        value(&lines.join("\n")),
    );
    let mut end = event.len().min(LONGEST);
    while !event.is_char_boundary(end) {
        end -= 1;
    }
    event.truncate(end);
    let (y, mo, d, h, mi, s, ns) = m.time.civil();
    format!(
        "<{}>1 {y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}.{:06}Z {} turncoat - alert - {event}",
        FACILITY * 8 + priority,
        ns / 1000,
        letter.sensor
    )
}

impl Way for Cef {
    fn send(&mut self, letter: &Letter) -> Result<(), String> {
        let line = line(letter);
        let tell = |e: std::io::Error| format!("{}: {e}", self.place);
        let framed = format!("{} {line}", line.len());
        match &self.road {
            Road::Udp => {
                let address = self
                    .place
                    .to_socket_addrs()
                    .map_err(tell)?
                    .next()
                    .ok_or_else(|| format!("{}: no address", self.place))?;
                let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).map_err(tell)?;
                socket.connect(address).map_err(tell)?;
                socket.send(line.as_bytes()).map(drop).map_err(tell)
            }
            // One connection a letter: what an old one lost in flight would not be noticed.
            Road::Tcp => {
                let mut stream = tcp(&self.place, PATIENCE)?;
                stream.write_all(framed.as_bytes()).map_err(tell)
            }
            Road::Tls(trust) => {
                let mut stream = trust.connect(&self.place, PATIENCE)?;
                stream
                    .write_all(framed.as_bytes())
                    .and_then(|()| stream.flush())
                    .map_err(tell)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::text::tests::{HOSTILE, letter};

    #[test]
    fn fields_cannot_be_added_by_what_an_intruder_wrote() {
        for text in HOSTILE {
            let line = line(&letter(text));
            assert!(!line.contains(['\n', '\r']));
            let (_, event) = line.split_once("CEF:0|").unwrap();
            let bars = event
                .match_indices('|')
                .filter(|(i, _)| !event[..*i].ends_with('\\'))
                .count();
            let (head, ext) = event.split_at(event.rfind("|rt=").unwrap());
            assert!(bars >= 6 && head.matches('|').count() >= 5, "{line}");
            let msg = ext.split_once(" msg=").unwrap().1;
            let bare = msg
                .match_indices('=')
                .filter(|(i, _)| !msg[..*i].ends_with('\\'))
                .count();
            assert_eq!(bare, 0, "{line}");
        }
        let l = line(&letter("x"));
        assert!(
            l.starts_with(
                "<130>1 2026-11-23T12:00:00.000000Z gate turncoat - alert - CEF:0|Turncoat|Turncoat|"
            ),
            "{l}"
        );
        assert!(
            l.contains("|incident.update|C-1: x|8|rt=1795435200000 externalId=I-3 "),
            "{l}"
        );
    }
}
