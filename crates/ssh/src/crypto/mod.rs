//! The symmetric half: ciphers as the packet layer uses them, MACs, and UMAC, which no crate has.

pub mod cipher;
pub mod mac;
pub mod umac;
