//! Outputs over the network: syslog (RFC 5424 over UDP, or TCP with octet counting as in RFC 6587), and the heartbeat address.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use turncoat_event::{Event, Kind};

use super::Sink;

const PATIENCE: Duration = Duration::from_secs(10);

/// Syslog.
pub struct Syslog {
    to: String,
    udp: bool,
    facility: u64,
    socket: Option<UdpSocket>,
    stream: Option<TcpStream>,
}

impl Syslog {
    /// To `udp://HOST:PORT` or `tcp://HOST:PORT`.
    pub fn new(to: &str, facility: u64) -> Syslog {
        let (scheme, place) = to.split_once("://").unwrap_or(("udp", to));
        Syslog {
            to: place.to_owned(),
            udp: scheme == "udp",
            facility,
            socket: None,
            stream: None,
        }
    }

    fn connect(&mut self) -> Result<(), String> {
        let tell = |e: std::io::Error| format!("{}: {e}", self.to);
        let address = self
            .to
            .to_socket_addrs()
            .map_err(tell)?
            .next()
            .ok_or_else(|| format!("{}: no address", self.to))?;
        if self.udp {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).map_err(tell)?;
            socket.connect(address).map_err(tell)?;
            self.socket = Some(socket);
        } else {
            let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(tell)?;
            stream.set_write_timeout(Some(PATIENCE)).map_err(tell)?;
            self.stream = Some(stream);
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
        Ok(())
    }
}

/// Fetches an address with each heartbeat, so that somebody notices when it stops.
pub struct Beat {
    url: String,
}

impl Beat {
    /// An `http://` address.
    pub fn new(url: &str) -> Beat {
        Beat { url: url.to_owned() }
    }

    fn fetch(&self) -> Result<(), String> {
        let rest = self
            .url
            .strip_prefix("http://")
            .ok_or("the address does not begin with http://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let place = if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let tell = |e: std::io::Error| format!("{place}: {e}");
        let address = place
            .to_socket_addrs()
            .map_err(tell)?
            .next()
            .ok_or_else(|| format!("{place}: no address"))?;
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(tell)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(tell)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(tell)?;
        write!(
            stream,
            "GET /{path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: heartbeat\r\n\r\n"
        )
        .map_err(tell)?;
        let mut head = [0u8; 12];
        stream.read_exact(&mut head).map_err(tell)?;
        match head.get(9) {
            Some(b'2' | b'3') => Ok(()),
            _ => Err(format!("{place}: {}", String::from_utf8_lossy(&head))),
        }
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
