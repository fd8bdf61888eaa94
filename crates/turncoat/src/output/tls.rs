//! TLS towards the receivers of outputs: which certificates are trusted, and a connection over which bytes go.
//!
//! The server must prove its name by a certificate that leads to the system's authorities, or to those of a file that the operator names (an
//! authority of one's own). There is no way to switch that off: an output that cannot be sure says so and waits.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Where Debian and its kin keep the system's authorities.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whom to trust.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Reads the authorities: those of `file` (PEM), or the system's where it is empty.
    ///
    /// # Errors
    /// One line for the operator.
    pub fn read(file: &str) -> Result<Trust, String> {
        let path = if file.is_empty() { SYSTEM } else { file };
        let hint = if file.is_empty() {
            "; install ca-certificates, or name a file of certificates"
        } else {
            ""
        };
        let tell = |e: &dyn std::fmt::Display| format!("{path}: {e}{hint}");
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| tell(&e))?;
        for certificate in certificates {
            // Of the system's some may be of a kind that is not understood; of one's own each must count.
            match roots.add(certificate.map_err(|e| tell(&e))?) {
                Err(error) if !file.is_empty() => return Err(tell(&error)),
                _ => {}
            }
        }
        if roots.is_empty() {
            return Err(tell(&"no certificate in PEM form"));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust(Arc::new(config)))
    }

    /// Connects to `HOST:PORT` (`[ADDRESS]:PORT`), and lets the server prove that it is that host. Each read and write is given `patience`.
    ///
    /// # Errors
    /// One line for the operator.
    pub fn connect(&self, place: &str, patience: Duration) -> Result<Tls, String> {
        self.over(tcp(place, patience)?, place)
    }

    /// The same over a connection that is there already (STARTTLS).
    ///
    /// # Errors
    /// One line for the operator.
    pub fn over(&self, mut stream: TcpStream, place: &str) -> Result<Tls, String> {
        let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{place}: not a host name"))?;
        let mut connection =
            ClientConnection::new(self.0.clone(), name).map_err(|e| format!("{place}: {e}"))?;
        while connection.is_handshaking() {
            connection
                .complete_io(&mut stream)
                .map_err(|e| format!("{place}: {e}"))?;
        }
        Ok(Tls(StreamOwned::new(connection, stream)))
    }
}

/// A TCP connection to `HOST:PORT`, to whichever of its addresses answers first in order.
///
/// # Errors
/// One line for the operator.
pub fn tcp(place: &str, patience: Duration) -> Result<TcpStream, String> {
    let tell = |e: std::io::Error| format!("{place}: {e}");
    let mut last = None;
    for address in place.to_socket_addrs().map_err(tell)? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => {
                stream.set_write_timeout(Some(patience)).map_err(tell)?;
                stream.set_read_timeout(Some(patience)).map_err(tell)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| format!("{place}: no address"), tell))
}

/// An open connection.
pub struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}
