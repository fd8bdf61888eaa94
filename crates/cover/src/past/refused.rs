//! What sshd, PAM and `btmp` keep of passwords that were refused: the lines of OpenSSH 9.2 and Linux-PAM 1.5.

use super::lines::{Line, SSHD, Says};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// One refused password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// Microseconds since the epoch.
    pub at: u64,
    /// The name that was given.
    pub user: String,
    /// The machine has the account.
    pub known: bool,
}

/// A connection on which passwords were refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The client.
    pub from: SocketAddr,
    /// What it tried, in order.
    pub tries: Vec<Try>,
    /// When the connection ended, microseconds since the epoch; none for the one that was let in at last.
    pub ended: Option<u64>,
}

impl Refused {
    /// What is logged of it; `pid` is the sshd of the connection.
    pub fn lines(&self, pid: u32) -> Vec<Line> {
        let (host, port) = (self.from.ip().to_canonical(), self.from.port());
        let mut out = Vec::new();
        let mut say = |at: u64, priority: u8, private: bool, text: String| {
            out.push(Line {
                at,
                says: Says::Program(SSHD),
                pid,
                priority,
                private,
                text,
            });
        };
        let asked = |user: &str| {
            format!(
                "logname= uid=0 euid=0 tty=ssh ruser= rhost={host}{}{user}",
                if user.is_empty() { " " } else { "  user=" }
            )
        };
        for (n, t) in self.tries.iter().enumerate() {
            let (user, invalid) = (&t.user, if t.known { "" } else { "invalid user " });
            // PAM speaks when the password comes; sshd when PAM's delay is over.
            let began = t.at.saturating_sub(DELAY);
            if n == 0 && !t.known {
                say(
                    began,
                    6,
                    false,
                    format!("Invalid user {user} from {host} port {port}"),
                );
            }
            if !t.known {
                say(
                    began,
                    5,
                    true,
                    "pam_unix(sshd:auth): check pass; user unknown".into(),
                );
            }
            if n == 0 {
                let of = asked(if t.known { user } else { "" });
                say(
                    began,
                    5,
                    true,
                    format!("pam_unix(sshd:auth): authentication failure; {of}"),
                );
            }
            say(
                t.at,
                6,
                false,
                format!("Failed password for {invalid}{user} from {host} port {port} ssh2"),
            );
        }
        if let (Some(at), Some(t)) = (self.ended, self.tries.last()) {
            let whose = if t.known { "authenticating" } else { "invalid" };
            say(
                at,
                6,
                false,
                format!(
                    "Connection closed by {whose} user {} {host} port {port} [preauth]",
                    t.user
                ),
            );
            let more = self.tries.len() - 1;
            if more > 0 {
                let of = asked(if t.known { &t.user } else { "" });
                let plural = if more == 1 { "" } else { "s" };
                say(
                    at,
                    5,
                    false,
                    format!("PAM {more} more authentication failure{plural}; {of}"),
                );
            }
        }
        out
    }
}

/// Between PAM's word and sshd's, in microseconds: what a refusal waits at least (pam_fail_delay(3)).
const DELAY: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guesser_is_in_the_log_as_sshd_writes_it() {
        let one = |at, user: &str, known| Try {
            at,
            user: user.into(),
            known,
        };
        let mut r = Refused {
            from: "198.51.100.7:4022".parse().unwrap(),
            tries: vec![one(10_000_000, "root", true), one(14_000_000, "root", true)],
            ended: Some(15_000_000),
        };
        let text = |r: &Refused| -> Vec<String> { r.lines(77).into_iter().map(|l| l.text).collect() };
        assert_eq!(
            text(&r),
            [
                "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=198.51.100.7  user=root",
                "Failed password for root from 198.51.100.7 port 4022 ssh2",
                "Failed password for root from 198.51.100.7 port 4022 ssh2",
                "Connection closed by authenticating user root 198.51.100.7 port 4022 [preauth]",
                "PAM 1 more authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=198.51.100.7  user=root",
            ]
        );
        r.tries = vec![one(10_000_000, "oracle", false)];
        assert_eq!(
            text(&r),
            [
                "Invalid user oracle from 198.51.100.7 port 4022",
                "pam_unix(sshd:auth): check pass; user unknown",
                "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=198.51.100.7 ",
                "Failed password for invalid user oracle from 198.51.100.7 port 4022 ssh2",
                "Connection closed by invalid user oracle 198.51.100.7 port 4022 [preauth]",
            ]
        );
        r.ended = None;
        assert_eq!(text(&r).len(), 4);
        assert!(r.lines(77).windows(2).all(|w| w[0].at <= w[1].at));
    }
}
