//! Codecs without I/O, one module a protocol.
pub mod proxy;
pub mod telnet;
