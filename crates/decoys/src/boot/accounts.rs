//! A world's account files, read when a program has changed one of them.

use crate::auth::{Accounts, Files, Seen};
use turncoat_kernel::vfs::ChangeKind;
use turncoat_kernel::{Fact, World};

struct Root<'a>(&'a mut World);

impl Files for Root<'_> {
    fn read(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        self.0.read_file(path)
    }

    fn look(&mut self, path: &[u8]) -> Option<Seen> {
        self.0.look(path).map(|l| Seen {
            path: l.path,
            mode: l.mode,
            uid: l.uid,
        })
    }
}

/// Who may log in now.
pub fn read(world: &mut World) -> Accounts {
    Accounts::read(&mut Root(world))
}

/// Whether this fact can have changed who may log in.
pub fn touches(fact: &Fact) -> bool {
    let Fact::File { change, path, to, .. } = fact else {
        return false;
    };
    let named = |p: &[u8]| {
        p == b"/etc/passwd"
            || p == b"/etc/shadow"
            || p.windows(5).any(|w| w == b"/.ssh")
            || p.windows(15).any(|w| w == b"authorized_keys")
            // A home directory's owner and mode, and homes that come and go.
            || (p.iter().filter(|b| **b == b'/').count() <= 2 && !p.starts_with(b"/tmp/"))
    };
    let old = match change {
        ChangeKind::Renamed(from) => named(from),
        _ => false,
    };
    old || named(path) || to.as_deref().is_some_and(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lets_somebody_in_is_looked_at() {
        let fact = |path: &str, change| Fact::File {
            change,
            path: path.into(),
            to: None,
            size: 1,
        };
        for path in [
            "/etc/shadow",
            "/root/.ssh/authorized_keys",
            "/home/ann/.ssh",
            "/home/ann",
            "/srv/git/.ssh/authorized_keys2",
        ] {
            assert!(touches(&fact(path, ChangeKind::Written)), "{path}");
        }
        assert!(touches(&fact(
            "/tmp/x",
            ChangeKind::Renamed(b"/etc/passwd".to_vec())
        )));
        assert!(!touches(&fact("/var/log/wtmp", ChangeKind::Written)));
        assert!(!touches(&fact("/tmp/x", ChangeKind::Created)));
    }
}
