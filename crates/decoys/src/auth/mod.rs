//! Who may log in: the policy that every decoy with a login asks.
//!
//! [`Policy`] is the operator's choice, [`Judge`] holds what it remembers (tries per source, pairs that were accepted). A judge decides
//! from the attempt alone and what it was told; it does no I/O and takes the time as an argument. What it holds is bounded.

mod accounts;
mod judge;
mod keys;
mod shadow;
mod userdb;

pub use accounts::{Account, Accounts, Change, Files, Seen};
pub use judge::{Judge, Limits, Opens, Planted};
pub use keys::{KeyLine, KeyOptions, authorized_keys};
pub use shadow::{shadow_hash, verify};
pub use userdb::{BadUserDb, UserDb};

use std::net::IpAddr;

/// Which logins are accepted (`[ssh.auth] policy`).
#[derive(Clone, Debug)]
pub enum Policy {
    /// An existing user is let in after some tries (a number between the two, fixed for each source); the pair is remembered.
    AfterTries {
        /// Least number of tries.
        min: u32,
        /// Greatest number of tries.
        max: u32,
    },
    /// A list in the format of Cowrie's `userdb.txt`.
    List(UserDb),
    /// Nobody is let in; everything is recorded.
    Never,
    /// Only planted credentials work.
    Tokens,
}

impl Policy {
    /// The name that the configuration and events use.
    pub fn name(&self) -> &'static str {
        match self {
            Policy::AfterTries { .. } => "after-tries",
            Policy::List(_) => "list",
            Policy::Never => "never",
            Policy::Tokens => "tokens",
        }
    }
}

/// One try with a secret.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Who tries.
    pub source: IpAddr,
    /// User name as sent.
    pub user: &'a [u8],
    /// Password as sent.
    pub secret: &'a [u8],
    /// The machine has this account with a login shell.
    pub exists: bool,
    /// `sshd_config` lets this account log in with a password at all.
    pub permitted: bool,
}

/// A judge's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Let in.
    pub accepted: bool,
    /// Why, in the words of the event `auth.attempt`.
    pub reason: &'static str,
    /// The planted credential that was used, whether or not it was accepted.
    pub token: Option<Planted>,
}

/// The unit by which sources are told apart: an IPv4 address, or an IPv6 /64 (v4-mapped addresses are IPv4).
pub fn source_key(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(a) => {
            let s = a.segments();
            IpAddr::V6([s[0], s[1], s[2], s[3], 0, 0, 0, 0].into())
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sources_are_addresses_or_networks() {
        let k = |s: &str| super::source_key(s.parse().unwrap()).to_string();
        assert_eq!(k("192.0.2.7"), "192.0.2.7");
        assert_eq!(k("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(k("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
