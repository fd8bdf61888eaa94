//! What sshd, `login`, PAM and `btmp` keep of passwords that were refused: the lines of OpenSSH 9.2, shadow 4.13 and Linux-PAM 1.5.

use super::lines::{LOGIN, Line, Program, SSHD, Says, TELNETD};
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

/// How such a connection ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The client closed it.
    #[default]
    Closed,
    /// The client reset it.
    Reset,
    /// The client said that it leaves: the reason's number and its text.
    Left(u32, String),
    /// sshd said that it ends the connection, with this text.
    Disconnected(String),
    /// Nobody had logged in within LoginGraceTime.
    TimedOut,
}

/// Who asked for the password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// sshd.
    #[default]
    Sshd,
    /// `login`, behind telnetd.
    Login,
}

/// What sshd says when MaxAuthTries is reached.
pub const TOO_MANY: &str = "Too many authentication failures";

/// A connection on which passwords were refused. Names and texts are as sshd's log shows them: see [`visible`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The client.
    pub from: SocketAddr,
    /// Who asked.
    pub by: Asked,
    /// The process that serves the connection: sshd, or telnetd, whose `login` is the next.
    pub pid: u32,
    /// What it tried, in order.
    pub tries: Vec<Try>,
    /// When the connection ended, microseconds since the epoch; none while it goes on, and for one that was let in at last.
    pub ended: Option<u64>,
    /// How it ended.
    pub how: Ending,
}

/// Text of a client as sshd logs it: what is no letter in C's way or by its octal number, a backslash twice (vis(3), log.c).
pub fn visible(text: &[u8]) -> String {
    let mut out = String::new();
    for b in text {
        match b {
            b'\\' => out.push_str("\\\\"),
            0x20..=0x7e => out.push(char::from(*b)),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            7 => out.push_str("\\a"),
            8 => out.push_str("\\b"),
            11 => out.push_str("\\v"),
            12 => out.push_str("\\f"),
            0 => out.push_str("\\0"),
            b => out += &format!("\\{b:03o}"),
        }
    }
    out
}

impl Refused {
    /// What is logged of it, in order.
    pub fn lines(&self) -> Vec<Line> {
        match self.by {
            Asked::Sshd => self.by_sshd(),
            Asked::Login => self.by_login(),
        }
    }

    /// When something was last logged of it, microseconds since the epoch.
    pub fn last(&self) -> u64 {
        let tried = self.tries.last().map_or(0, |t| t.at);
        self.ended.unwrap_or(0).max(tried)
    }

    /// What telnetd and `login` say. `login` asks for the name of the host; the machine knows those that have one in `/etc/hosts`, where of
    /// all that come from outside only itself stands.
    fn by_login(&self) -> Vec<Line> {
        let ip = self.from.ip().to_canonical();
        let host = self.host();
        let mut out = Vec::new();
        let mut say = |at, program: &'static Program, pid, (priority, private), text| {
            out.push(Line {
                at,
                says: Says::Program(program),
                pid,
                priority,
                private,
                text,
            });
        };
        let login = self.pid.saturating_add(1);
        for (n, t) in self.tries.iter().enumerate() {
            let began = t.at.saturating_sub(LOGIN_DELAY);
            if n == 0 {
                let text = format!("connect from {ip} ({ip})");
                say(
                    began.saturating_sub(1_500_000),
                    TELNETD,
                    self.pid,
                    (6, false),
                    text,
                );
            }
            let told = if t.known {
                format!("  user={}", t.user)
            } else {
                " ".into()
            };
            if !t.known {
                let text = "pam_unix(login:auth): check pass; user unknown".into();
                say(began, LOGIN, login, (5, true), text);
            }
            let text = format!(
                "pam_unix(login:auth): authentication failure; logname=.telnet uid=0 euid=0 tty=/dev/pts/0 ruser= rhost={host}{told}"
            );
            say(began, LOGIN, login, (5, true), text);
            let (n, user) = (n + 1, self.named(t));
            let text = format!(
                "FAILED LOGIN ({n}) on '/dev/pts/0' from '{host}' FOR '{user}', Authentication failure"
            );
            say(t.at, LOGIN, login, (5, true), text);
        }
        if let Some(at) = self.ended {
            say(at, TELNETD, self.pid, (6, false), "telnetd:  peer died".into());
        }
        out
    }

    /// The client as `login` knows it and `btmp` keeps it.
    pub fn host(&self) -> String {
        let ip = self.from.ip().to_canonical();
        if self.by == Asked::Login && ip.is_loopback() {
            "localhost".into()
        } else {
            ip.to_string()
        }
    }

    /// The name of a try as `btmp` keeps it: `login` tells no name that it does not know, which may be a password in the wrong place.
    pub fn named<'a>(&self, t: &'a Try) -> &'a str {
        if self.by == Asked::Login && !t.known {
            "UNKNOWN"
        } else {
            &t.user
        }
    }

    fn by_sshd(&self) -> Vec<Line> {
        let pid = self.pid;
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
        let (Some(at), Some(t)) = (self.ended, self.tries.last()) else {
            return out;
        };
        let (whose, invalid) = if t.known {
            ("authenticating", "")
        } else {
            ("invalid", "invalid user ")
        };
        let client = format!("{whose} user {} {host} port {port}", t.user);
        // What sshd's process before the login says passes another one, which makes it visible once more.
        let mut preauth = |priority, text: String| {
            say(
                at,
                priority,
                false,
                format!("{} [preauth]", text.replace('\\', "\\\\")),
            )
        };
        match &self.how {
            Ending::Closed => preauth(6, format!("Connection closed by {client}")),
            Ending::Reset => preauth(6, format!("Connection reset by {client}")),
            Ending::Left(reason, text) => {
                // SSH_DISCONNECT_BY_APPLICATION is how clients usually leave.
                let (priority, level) = if *reason == 11 { (6, "") } else { (3, "error: ") };
                preauth(
                    priority,
                    format!("{level}Received disconnect from {host} port {port}:{reason}: {text}"),
                );
                preauth(6, format!("Disconnected from {client}"));
            }
            Ending::Disconnected(text) => {
                if text == TOO_MANY {
                    let user = &t.user;
                    preauth(
                        3,
                        format!(
                            "error: maximum authentication attempts exceeded for {invalid}{user} from {host} port {port} ssh2"
                        ),
                    );
                }
                preauth(6, format!("Disconnecting {client}: {text}"));
            }
            Ending::TimedOut => {
                // sshd is gone at once; PAM has nothing more to say.
                let text = format!("fatal: Timeout before authentication for {host} port {port}");
                say(at, 2, false, text);
                return out;
            }
        }
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
        if self.tries.len() > RETRIES {
            let n = self.tries.len();
            say(
                at,
                5,
                false,
                format!("PAM service(sshd) ignoring max retries; {n} > {RETRIES}"),
            );
        }
        out
    }
}

/// Tries after which pam_unix finds that a program goes on (UNIX_MAX_RETRIES).
const RETRIES: usize = 3;

/// Between PAM's word and sshd's, in microseconds: what a refusal waits at least (pam_fail_delay(3)).
const DELAY: u64 = 1_000_000;
/// The same for `login`, which waits longer (FAIL_DELAY in login.defs).
pub const LOGIN_DELAY: u64 = 3_000_000;

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
            by: Asked::Sshd,
            pid: 77,
            tries: vec![one(10_000_000, "root", true), one(14_000_000, "root", true)],
            ended: Some(15_000_000),
            how: Ending::Closed,
        };
        let text = |r: &Refused| -> Vec<String> { r.lines().into_iter().map(|l| l.text).collect() };
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
        assert!(r.lines().windows(2).all(|w| w[0].at <= w[1].at));
        // As Debian's sshd told a socket at /dev/log.
        let last = |r: &Refused, n: usize| -> Vec<(u8, String)> {
            let lines = r.lines();
            let from = lines.len() - n;
            lines
                .into_iter()
                .skip(from)
                .map(|l| (l.priority, l.text))
                .collect()
        };
        let told = |all: &[(u8, &str)]| -> Vec<(u8, String)> {
            all.iter().map(|(n, t)| (*n, (*t).to_owned())).collect()
        };
        r.tries = vec![one(10_000_000, "root", true)];
        r.ended = Some(15_000_000);
        r.how = Ending::Left(11, "Bye Bye".into());
        assert_eq!(
            last(&r, 2),
            told(&[
                (
                    6,
                    "Received disconnect from 198.51.100.7 port 4022:11: Bye Bye [preauth]"
                ),
                (
                    6,
                    "Disconnected from authenticating user root 198.51.100.7 port 4022 [preauth]"
                ),
            ])
        );
        r.how = Ending::Left(14, visible(b"No more\nways"));
        assert_eq!(
            last(&r, 2)[0],
            (
                3,
                r"error: Received disconnect from 198.51.100.7 port 4022:14: No more\\nways [preauth]".into()
            )
        );
        r.how = Ending::Reset;
        assert_eq!(
            last(&r, 1),
            told(&[(
                6,
                "Connection reset by authenticating user root 198.51.100.7 port 4022 [preauth]"
            )])
        );
        r.tries = (1..7).map(|n| one(n * 10_000_000, "root", true)).collect();
        r.ended = Some(70_000_000);
        r.how = Ending::Disconnected(TOO_MANY.into());
        assert_eq!(
            last(&r, 4),
            told(&[
                (
                    3,
                    "error: maximum authentication attempts exceeded for root from 198.51.100.7 port 4022 ssh2 [preauth]"
                ),
                (
                    6,
                    "Disconnecting authenticating user root 198.51.100.7 port 4022: Too many authentication failures [preauth]"
                ),
                (
                    5,
                    "PAM 5 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=198.51.100.7  user=root"
                ),
                (5, "PAM service(sshd) ignoring max retries; 6 > 3"),
            ])
        );
        r.how = Ending::TimedOut;
        assert_eq!(
            last(&r, 1),
            told(&[(
                2,
                "fatal: Timeout before authentication for 198.51.100.7 port 4022"
            )])
        );
        r.tries = vec![one(10_000_000, &visible(b"a\nb\\c\x01d\x7f\xe9\te"), false)];
        r.how = Ending::Closed;
        assert!(
            text(&r).contains(
                &r"Failed password for invalid user a\nb\\c\001d\177\351\te from 198.51.100.7 port 4022 ssh2"
                    .to_owned()
            )
        );
        assert_eq!(
            last(&r, 1)[0].1,
            r"Connection closed by invalid user a\\nb\\\\c\\001d\\177\\351\\te 198.51.100.7 port 4022 [preauth]"
        );
    }

    /// As telnetd, shadow's login and libpam of Debian 12 told `/dev/log` in a world.
    #[test]
    fn a_guesser_at_telnet_is_in_the_log_as_login_writes_it() {
        let one = |at, user: &str, known| Try {
            at,
            user: user.into(),
            known,
        };
        let r = Refused {
            from: "127.0.0.1:4022".parse().unwrap(),
            by: Asked::Login,
            pid: 9978,
            tries: vec![
                one(14_000_000, "root", true),
                one(18_000_000, "nobodyhere", false),
            ],
            ended: Some(19_000_000),
            how: Ending::Closed,
        };
        let told: Vec<String> = r
            .lines()
            .into_iter()
            .map(|l| format!("{} {}", l.pid, l.text))
            .collect();
        assert_eq!(
            told,
            [
                "9978 connect from 127.0.0.1 (127.0.0.1)",
                "9979 pam_unix(login:auth): authentication failure; logname=.telnet uid=0 euid=0 tty=/dev/pts/0 ruser= rhost=localhost  user=root",
                "9979 FAILED LOGIN (1) on '/dev/pts/0' from 'localhost' FOR 'root', Authentication failure",
                "9979 pam_unix(login:auth): check pass; user unknown",
                "9979 pam_unix(login:auth): authentication failure; logname=.telnet uid=0 euid=0 tty=/dev/pts/0 ruser= rhost=localhost ",
                "9979 FAILED LOGIN (2) on '/dev/pts/0' from 'localhost' FOR 'UNKNOWN', Authentication failure",
                "9978 telnetd:  peer died",
            ]
        );
        assert_eq!((r.named(&r.tries[1]), r.last()), ("UNKNOWN", 19_000_000));
    }
}
