//! An SSH server that answers as OpenSSH 9.2p1 of Debian 12 does: a state machine without I/O.
//!
//! The host feeds bytes with [`Server::input`], takes [`Act`]s with [`Server::poll`] until there are none, and answers
//! those that ask. Clock and entropy are passed in, so equal input gives an equal run. The server holds no policy: who
//! may log in and what a shell is, the host decides.
//!
//! ```text
//! let mut server = Server::new(config, rng, now);
//! loop {
//!     while let Some(act) = server.poll() { /* send, decide, start programs, record */ }
//!     server.input(now, &bytes);      // or server.eof(now), server.tick(now) at server.deadline()
//! }
//! ```
//!
//! # What a peer can make us spend before authentication
//!
//! One key exchange and one host key signature: a second KEXINIT before login is answered UNIMPLEMENTED, as in OpenSSH,
//! and the next attempt costs a connection. The dearest are 8192-bit Diffie-Hellman (`group18`, or group exchange with a
//! minimum above 7680) and an RSA host key. Bytes: an identification line of at most 8192; then packets of at most 256
//! KiB + 4, of which one is buffered, plus what the host passed to one `input` call; `MaxAuthTries` failures; 1024
//! attempts; `LoginGraceTime` in all. Nothing is decompressed before login (zlib@openssh.com). Input is not processed
//! while the host owes an answer, so the host should stop reading then.
//!
//! # After authentication
//!
//! At most [`MAX_CHANNELS`] channels; for each, client data up to its window (2 MiB) is passed on, unread data is not
//! granted new window; data for the client is buffered up to what the host gives (see [`Server::sendable`]); a compressed
//! packet may grow to 1 MiB.
//!
//! # Known differences from sshd
//!
//! - OpenSSH allows 10,000 channels, we [`MAX_CHANNELS`]; certificates are recognised but never accepted.
//! - `webauthn-sk-ecdsa-sha2-nistp256@openssh.com` signatures never verify (Debian does not accept them either).

mod algo;
mod api;
mod auth;
mod channel;
mod config;
mod crypto;
mod deflate;
#[doc(hidden)]
pub mod ident;
mod kex;
mod keyex;
mod keys;
#[doc(hidden)]
pub mod msg;
mod packet;
mod server;
mod wire;

pub use algo::{
    DEBIAN12_CIPHERS, DEBIAN12_KEX, DEBIAN12_MACS, DEBIAN12_PUBKEY_ACCEPTED, DEBIAN12_SIG_ALGS, wildcard,
};
pub use api::*;
pub use channel::MAX_CHANNELS;
pub use config::{AuthMethods, Compression, Forwarding, PermitRootLogin, ServerConfig};
pub use kex::gex::Moduli;
pub use keys::{HostKey, KeyError, fingerprint};
pub use server::{Server, TIMEOUT};
pub use wire::{base64, unbase64};

#[doc(hidden)]
pub mod fuzzing;

/// Entry points for tests, fuzz targets and the differential test's client. Not part of the stable interface.
#[doc(hidden)]
pub mod testing {
    pub use crate::crypto::{cipher, mac, umac};
    pub use crate::kex::{Hash, by_name as kex_by_name, derive, respond};
    pub use crate::keys::PublicKey;
    pub use crate::packet::{Keys, Read, Transport};
    pub use crate::wire::{Malformed, Put, Reader, base64, unbase64};
}
