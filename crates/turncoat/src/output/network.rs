//! Outputs over the network: syslog (RFC 5424 over UDP; over TCP and TLS with octet counting as in RFC 6587 and RFC 5425), and the
//! heartbeat address.

use std::io::{Read, Write};
use std::net::{ToSocketAddrs, UdpSocket};
use std::time::Duration;

use turncoat_event::{Event, Kind};

use super::Sink;
use super::tls::{Trust, tcp};

const PATIENCE: Duration = Duration::from_secs(10);

/// Syslog.
pub struct Syslog {
    to: String,
    way: Way,
    facility: u64,
    socket: Option<UdpSocket>,
    stream: Option<Box<dyn Write + Send>>,
}

/// How messages travel.
enum Way {
    Udp,
    Tcp,
    Tls(Trust),
}

impl Syslog {
    /// To `udp://HOST:PORT`, `tcp://HOST:PORT` or `tls://HOST:PORT`; `ca` is the file of authorities for the last.
    ///
    /// # Errors
    /// One line for the operator.
    pub fn new(to: &str, ca: &str, facility: u64) -> Result<Syslog, String> {
        let (scheme, place) = to.split_once("://").unwrap_or(("udp", to));
        Ok(Syslog {
            to: place.to_owned(),
            way: match scheme {
                "tls" => Way::Tls(Trust::read(ca).map_err(|e| format!("output.syslog.ca: {e}"))?),
                "tcp" => Way::Tcp,
                _ => Way::Udp,
            },
            facility,
            socket: None,
            stream: None,
        })
    }

    fn connect(&mut self) -> Result<(), String> {
        let tell = |e: std::io::Error| format!("{}: {e}", self.to);
        match &self.way {
            Way::Udp => {
                let address = self
                    .to
                    .to_socket_addrs()
                    .map_err(tell)?
                    .next()
                    .ok_or_else(|| format!("{}: no address", self.to))?;
                let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).map_err(tell)?;
                socket.connect(address).map_err(tell)?;
                self.socket = Some(socket);
            }
            Way::Tcp => self.stream = Some(Box::new(tcp(&self.to, PATIENCE)?)),
            Way::Tls(trust) => self.stream = Some(Box::new(trust.connect(&self.to, PATIENCE)?)),
        }
        Ok(())
    }
}

/// One message: header, no structured data, the event as JSON (which escapes every control character).
pub fn message(event: &Event, json: &str, facility: u64) -> String {
    let severity = match &event.kind {
        Kind::TokenUsed(_) | Kind::AlertOpen(_) => 1,
        Kind::SystemDegraded(_) | Kind::WorldPanic(_) => 3,
        Kind::AuthAttempt(it) if it.accepted => 4,
        _ => 6,
    };
    let (y, mo, d, h, m, s, ns) = event.time.civil();
    format!(
        "<{}>1 {y:04}-{mo:02}-{d:02}T{h:02}:{m:02}:{s:02}.{:06}Z {} turncoat - {} - {json}",
        facility * 8 + severity,
        ns / 1000,
        event.sensor,
        event.kind.name().get(..32).unwrap_or(event.kind.name()),
    )
}

impl Sink for Syslog {
    fn resume(&mut self) -> Result<u64, String> {
        Ok(0)
    }

    fn deliver(&mut self, event: &Event, json: &str) -> Result<(), String> {
        if self.socket.is_none() && self.stream.is_none() {
            self.connect()?;
        }
        let text = message(event, json, self.facility);
        let sent = match (&mut self.socket, &mut self.stream) {
            // A datagram holds no more; a longer event is cut, the record has it whole.
            (Some(socket), _) => socket
                .send(text.as_bytes().get(..60_000).unwrap_or(text.as_bytes()))
                .map(drop),
            (_, Some(stream)) => stream.write_all(format!("{} {text}", text.len()).as_bytes()),
            _ => Ok(()),
        };
        sent.map_err(|e| {
            (self.socket, self.stream) = (None, None);
            format!("{}: {e}", self.to)
        })
    }

    fn flush(&mut self) -> Result<(), String> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        stream.flush().map_err(|e| {
            self.stream = None;
            format!("{}: {e}", self.to)
        })
    }
}

/// Fetches an address with each heartbeat, so that somebody notices when it stops.
pub struct Beat {
    url: String,
    trust: Option<Trust>,
}

impl Beat {
    /// An `http://` or `https://` address; `ca` is the file of authorities for the latter.
    ///
    /// # Errors
    /// One line for the operator.
    pub fn new(url: &str, ca: &str) -> Result<Beat, String> {
        let trust = if url.starts_with("https://") {
            Some(Trust::read(ca).map_err(|e| format!("heartbeat.ca: {e}"))?)
        } else {
            None
        };
        Ok(Beat {
            url: url.to_owned(),
            trust,
        })
    }

    fn fetch(&self) -> Result<(), String> {
        let (_, rest) = self
            .url
            .split_once("://")
            .ok_or("the address does not begin with http:// or https://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let port = if self.trust.is_some() { 443 } else { 80 };
        let bare = host.rsplit_once(']').map_or(host, |(_, port)| port);
        let place = if bare.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:{port}")
        };
        let ask = format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: heartbeat\r\n\r\n");
        match &self.trust {
            Some(trust) => answered(trust.connect(&place, PATIENCE)?, &ask),
            None => answered(tcp(&place, PATIENCE)?, &ask),
        }
        .map_err(|e| format!("{place}: {e}"))
    }
}

/// Asks, and is content with any answer of success.
fn answered(mut stream: impl Read + Write, ask: &str) -> Result<(), String> {
    let mut head = [0u8; 12];
    stream
        .write_all(ask.as_bytes())
        .and_then(|()| stream.flush())
        .and_then(|()| stream.read_exact(&mut head))
        .map_err(|e| e.to_string())?;
    match head.get(9) {
        Some(b'2' | b'3') => Ok(()),
        _ => Err(String::from_utf8_lossy(&head).into_owned()),
    }
}

impl Sink for Beat {
    fn resume(&mut self) -> Result<u64, String> {
        Ok(0)
    }

    fn deliver(&mut self, event: &Event, _: &str) -> Result<(), String> {
        // A heartbeat of the past says nothing.
        let fresh = crate::process::now().since(event.time) < 60_000_000_000;
        if matches!(event.kind, Kind::Heartbeat(_)) && fresh {
            self.fetch()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        Ok(())
    }
}
