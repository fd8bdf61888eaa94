//! Cowrie's `userdb.txt`: `user:x:password` a line, the first matching line decides.
//!
//! In both fields `*` matches anything and `/text/` or `/text/i` is a regular expression searched for; a password that begins with `!`
//! denies what it matches. `#` begins a comment line. Passwords are bytes and may contain colons.

use regex::bytes::{Regex, RegexBuilder};

#[derive(Clone, Debug)]
enum Pattern {
    Any,
    Text(Vec<u8>),
    Regex(Regex),
}

impl Pattern {
    fn read(field: &[u8]) -> Result<Pattern, String> {
        if field == b"*" {
            return Ok(Pattern::Any);
        }
        let (body, ignore_case) = match field.strip_prefix(b"/") {
            Some(rest) => match (rest.strip_suffix(b"/i"), rest.strip_suffix(b"/")) {
                (Some(b), _) => (b, true),
                (None, Some(b)) => (b, false),
                _ => return Ok(Pattern::Text(field.to_vec())),
            },
            None => return Ok(Pattern::Text(field.to_vec())),
        };
        let text = std::str::from_utf8(body).map_err(|_| "a regular expression must be UTF-8".to_string())?;
        RegexBuilder::new(text)
            .case_insensitive(ignore_case)
            .unicode(false)
            .size_limit(1 << 20)
            .build()
            .map(Pattern::Regex)
            .map_err(|e| {
                format!(
                    "bad regular expression /{text}/: {}",
                    e.to_string().lines().last().unwrap_or("").trim()
                )
            })
    }

    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Text(t) => t == value,
            Pattern::Regex(r) => r.is_match(value),
        }
    }
}

#[derive(Clone, Debug)]
struct Line {
    user: Pattern,
    password: Pattern,
    allow: bool,
}

/// A parsed `userdb.txt`.
#[derive(Clone, Debug, Default)]
pub struct UserDb {
    lines: Vec<Line>,
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadUserDb {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl std::fmt::Display for BadUserDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "line {}: {}; a line is user:x:password",
            self.line, self.problem
        )
    }
}

impl std::error::Error for BadUserDb {}

/// Lines that are read at the most.
const MAX_LINES: usize = 100_000;

impl UserDb {
    /// Reads the whole file.
    ///
    /// # Errors
    /// [`BadUserDb`] names the first line that cannot be read.
    pub fn parse(text: &[u8]) -> Result<UserDb, BadUserDb> {
        let mut lines = Vec::new();
        for (i, raw) in text.split(|b| *b == b'\n').enumerate() {
            let line = raw.strip_suffix(b"\r").unwrap_or(raw);
            let bad = |problem: &str| BadUserDb {
                line: i + 1,
                problem: problem.to_string(),
            };
            if line.trim_ascii().is_empty() || line.starts_with(b"#") {
                continue;
            }
            if lines.len() >= MAX_LINES {
                return Err(bad("more than 100,000 lines"));
            }
            let mut fields = line.splitn(3, |b| *b == b':');
            let (Some(user), Some(_), Some(password)) = (fields.next(), fields.next(), fields.next()) else {
                return Err(bad("fewer than three fields"));
            };
            if user.is_empty() {
                return Err(bad("the user is empty"));
            }
            let (allow, password) = match password.strip_prefix(b"!") {
                Some(rest) => (false, rest),
                None => (true, password),
            };
            lines.push(Line {
                user: Pattern::read(user).map_err(|e| bad(&e))?,
                password: Pattern::read(password).map_err(|e| bad(&e))?,
                allow,
            });
        }
        Ok(UserDb { lines })
    }

    /// What the first matching line says; None if no line matches.
    pub fn check(&self, user: &[u8], password: &[u8]) -> Option<bool> {
        self.lines
            .iter()
            .find(|l| l.user.matches(user) && l.password.matches(password))
            .map(|l| l.allow)
    }

    /// User names that stand in the list as plain text.
    pub fn users(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().filter_map(|l| match &l.user {
            Pattern::Text(t) if l.allow => Some(t.as_slice()),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &[u8] = b"# comment\nroot:x:!root\nroot:x:!123456\nroot:x:!/honeypot/i\nroot:x:*\n\
        tomcat:x:*\noracle:x:*\n*:x:somepassword\n*:x:a:b\n/^dev[0-9]+$/:x:/^win.*/\r\n";

    #[test]
    fn the_first_matching_line_decides() {
        let db = UserDb::parse(EXAMPLE).unwrap();
        let c = |u: &str, p: &str| db.check(u.as_bytes(), p.as_bytes());
        assert_eq!(c("root", "root"), Some(false));
        assert_eq!(c("root", "xHoneyPotx"), Some(false));
        assert_eq!(c("root", "toor"), Some(true));
        assert_eq!(c("nobody", "somepassword"), Some(true));
        assert_eq!(c("nobody", "a:b"), Some(true));
        assert_eq!(c("dev12", "winter"), Some(true));
        assert_eq!(c("dev12", "Winter"), None);
        assert_eq!(c("nobody", "other"), None);
        assert_eq!(db.check(b"oracle", &[0xff, 0]), Some(true));
    }

    #[test]
    fn a_bad_line_is_named() {
        assert_eq!(UserDb::parse(b"a:x:b\nnope\n").unwrap_err().line, 2);
        assert!(
            UserDb::parse(b"a:x:/(/\n")
                .unwrap_err()
                .problem
                .contains("regular expression")
        );
        assert_eq!(UserDb::parse(b"/a:x:b").unwrap().check(b"/a", b"b"), Some(true));
    }
}
