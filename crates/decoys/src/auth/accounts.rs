//! Who may log in to a machine, by its own account files: what sshd and PAM would read at a login.
//!
//! [`Accounts`] is read from a world when its files change, and compared with what the world started from: what differs was planted.

use super::keys::{KeyLine, authorized_keys};
use super::shadow;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Accounts that are looked at; an account file with more is read up to there.
const ACCOUNTS: usize = 512;
/// `AuthorizedKeysFile` as Debian leaves it, below the home directory.
const KEY_FILES: [&str; 2] = [".ssh/authorized_keys", ".ssh/authorized_keys2"];
/// Owner's permissions aside, nobody may write to a key file or a directory above it (`StrictModes`).
const OTHERS_WRITE: u32 = 0o022;

/// A file or directory as `stat` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its path without links.
    pub path: Vec<u8>,
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
}

/// Where account files are read from.
pub trait Files {
    /// Content, up to 1 MiB.
    fn read(&mut self, path: &[u8]) -> Option<Vec<u8>>;
    /// What stands there, links followed.
    fn look(&mut self, path: &[u8]) -> Option<Seen>;
}

/// One account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Home directory.
    pub home: Vec<u8>,
    /// The password's hash, from the second field or `/etc/shadow`; what is no hash lets nobody in.
    pub hash: String,
    /// The login shell exists and can be run (`allowed_user` in auth.c).
    pub shell: bool,
    /// Day after which the account is closed, counted from 1970; 0: none.
    pub expires: i64,
    /// Keys that let in, with the file that holds them.
    pub keys: Vec<(String, KeyLine)>,
    /// No program of the machine has changed the password: it is the cover's, or one that the policy let in.
    pub untouched: bool,
}

impl Account {
    /// Whether the account is open at this time (seconds since the epoch).
    pub fn open(&self, now: i64) -> bool {
        self.shell && (self.expires == 0 || now.div_euclid(86_400) < self.expires)
    }

    /// Whether this is its password. Costs up to some 100 ms of processor time.
    pub fn password(&self, secret: &[u8]) -> bool {
        !secret.is_empty() && shadow::verify(&self.hash, secret)
    }

    /// The line that holds this key.
    pub fn key(&self, blob: &[u8]) -> Option<&(String, KeyLine)> {
        self.keys.iter().find(|k| k.1.blob == blob)
    }
}

/// All accounts of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Vec<u8>, Account)>", into = "Vec<(Vec<u8>, Account)>")]
pub struct Accounts {
    by_name: BTreeMap<Vec<u8>, Account>,
}

// Names are bytes, which are no keys where this is written down.
impl From<Vec<(Vec<u8>, Account)>> for Accounts {
    fn from(list: Vec<(Vec<u8>, Account)>) -> Accounts {
        Accounts {
            by_name: list.into_iter().collect(),
        }
    }
}

impl From<Accounts> for Vec<(Vec<u8>, Account)> {
    fn from(accounts: Accounts) -> Vec<(Vec<u8>, Account)> {
        accounts.by_name.into_iter().collect()
    }
}

/// How an account differs from what the machine started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub user: Vec<u8>,
    /// `added`, `removed`, `password`, `key`.
    pub what: &'static str,
    /// Fingerprint of a key.
    pub detail: Option<String>,
}

fn number<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

impl Accounts {
    /// Reads `/etc/passwd`, `/etc/shadow` and everybody's key files.
    pub fn read(files: &mut dyn Files) -> Accounts {
        let passwd = files.read(b"/etc/passwd").unwrap_or_default();
        let shadow_text = files.read(b"/etc/shadow").unwrap_or_default();
        let mut shadow: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
        for line in shadow_text.split(|b| *b == b'\n') {
            let fields: Vec<&[u8]> = line.split(|b| *b == b':').collect();
            if let Some(name) = fields.first() {
                shadow.entry(name).or_insert(fields);
            }
        }
        let mut by_name = BTreeMap::new();
        for line in passwd.split(|b| *b == b'\n').take(ACCOUNTS) {
            let f: Vec<&[u8]> = line.split(|b| *b == b':').collect();
            let [name, second, uid, gid, _, home, shell, ..] = f.as_slice() else {
                continue;
            };
            let (Some(uid), Some(gid)) = (number::<u32>(uid), number::<u32>(gid)) else {
                continue;
            };
            if name.is_empty() || by_name.contains_key(*name) {
                continue;
            }
            let kept = shadow.get(name);
            let hash = if *second == b"x" {
                kept.and_then(|s| s.get(1)).copied().unwrap_or(b"*")
            } else {
                second
            };
            let shell: &[u8] = if shell.is_empty() { b"/bin/sh" } else { shell };
            let account = Account {
                uid,
                gid,
                home: home.to_vec(),
                hash: String::from_utf8_lossy(hash).into_owned(),
                shell: files
                    .look(shell)
                    .is_some_and(|s| s.mode & 0o170_000 == 0o100_000 && s.mode & 0o111 != 0),
                expires: kept.and_then(|s| s.get(7)).and_then(|d| number(d)).unwrap_or(0),
                keys: keys(files, home, uid),
                untouched: false,
            };
            by_name.insert(name.to_vec(), account);
        }
        Accounts { by_name }
    }

    /// The account of this name.
    pub fn get(&self, user: &[u8]) -> Option<&Account> {
        self.by_name.get(user)
    }

    /// Takes every account as one that no program has changed: what a machine starts with.
    pub fn as_start(mut self) -> Accounts {
        for a in self.by_name.values_mut() {
            a.untouched = true;
        }
        self
    }

    /// Accounts as they are now, when they were `before`: a hash that is still the same is as untouched as it was.
    pub fn after(mut self, before: &Accounts) -> Accounts {
        for (user, a) in &mut self.by_name {
            a.untouched = before
                .get(user)
                .is_some_and(|old| old.untouched && old.hash == a.hash);
        }
        self
    }

    /// The policy wrote this hash.
    pub fn given(&mut self, user: &[u8], hash: &str) {
        if let Some(a) = self.by_name.get_mut(user) {
            a.hash = hash.to_owned();
            a.untouched = true;
        }
    }

    /// True if a program has left a way in that `start` does not have.
    pub fn planted(&self, start: &Accounts) -> bool {
        self.by_name.iter().any(|(user, a)| {
            let old = start.get(user);
            !a.untouched
                || a.keys
                    .iter()
                    .any(|k| old.is_none_or(|o| o.key(&k.1.blob).is_none()))
        })
    }

    /// What differs from `before`, by name.
    pub fn changes(&self, before: &Accounts) -> Vec<Change> {
        let mut out = Vec::new();
        let mut note = |user: &[u8], what, detail| {
            out.push(Change {
                user: user.to_vec(),
                what,
                detail,
            });
        };
        for (user, now) in &self.by_name {
            let old = before.by_name.get(user);
            match old {
                None => note(user, "added", None),
                Some(old) if old.hash != now.hash => note(user, "password", None),
                Some(_) => {}
            }
            for (_, key) in &now.keys {
                if old.is_none_or(|o| o.key(&key.blob).is_none()) {
                    note(user, "key", Some(turncoat_ssh::fingerprint(&key.blob)));
                }
            }
        }
        for user in before.by_name.keys() {
            if !self.by_name.contains_key(user) {
                note(user, "removed", None);
            }
        }
        out
    }
}

/// The keys of an account whose files nobody else could have written.
fn keys(files: &mut dyn Files, home: &[u8], uid: u32) -> Vec<(String, KeyLine)> {
    let mut out = Vec::new();
    for name in KEY_FILES {
        let path = [home, b"/", name.as_bytes()].concat();
        if !safe(files, &path, home, uid) {
            continue;
        }
        let text = files.read(&path).unwrap_or_default();
        let shown = String::from_utf8_lossy(&path).into_owned();
        out.extend(authorized_keys(&text).into_iter().map(|k| (shown.clone(), k)));
    }
    out
}

/// `safe_path` in misc.c: a regular file, and it and every directory up to the home belong to the user or root, and only to them.
fn safe(files: &mut dyn Files, path: &[u8], home: &[u8], uid: u32) -> bool {
    let (Some(file), Some(home)) = (files.look(path), files.look(home)) else {
        return false;
    };
    let ours = |s: &Seen| (s.uid == 0 || s.uid == uid) && s.mode & OTHERS_WRITE == 0;
    if file.mode & 0o170_000 != 0o100_000 || !ours(&file) {
        return false;
    }
    let mut at = file.path;
    while let Some(end) = at.iter().rposition(|b| *b == b'/') {
        at.truncate(end.max(1));
        match files.look(&at) {
            Some(s) if ours(&s) => {}
            _ => return false,
        }
        if at == home.path || at.len() == 1 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Clone)]
    struct Fake(BTreeMap<Vec<u8>, (Seen, Vec<u8>)>);

    impl Fake {
        fn put(&mut self, path: &str, mode: u32, uid: u32, text: &str) {
            let seen = Seen {
                path: path.into(),
                mode,
                uid,
            };
            self.0.insert(path.into(), (seen, text.into()));
        }
    }

    impl Files for Fake {
        fn read(&mut self, path: &[u8]) -> Option<Vec<u8>> {
            self.0.get(path).map(|f| f.1.clone())
        }
        fn look(&mut self, path: &[u8]) -> Option<Seen> {
            self.0.get(path).map(|f| f.0.clone())
        }
    }

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDhiwFjTJzOKdzYcWF+2q4FLFv1ZOaMTdvvmzmQ6zOGr me\n";

    fn machine() -> Fake {
        let mut f = Fake::default();
        for (path, mode, uid) in [
            ("/", 0o40755, 0),
            ("/home", 0o40755, 0),
            ("/home/ann", 0o40755, 1000),
            ("/home/ann/.ssh", 0o40700, 1000),
            ("/bin/bash", 0o100755, 0),
            ("/bin/false", 0o100644, 0),
        ] {
            f.put(path, mode, uid, "");
        }
        f.put("/home/ann/.ssh/authorized_keys", 0o100600, 1000, KEY);
        f.put(
            "/etc/passwd",
            0o100644,
            0,
            "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000:,,,:/home/ann:/bin/bash\n+bad\nlazy:x:1001:1001::/:/bin/false\n",
        );
        f.put(
            "/etc/shadow",
            0o100640,
            0,
            "root:*:1:0:99999:7:::\nann:$1$a$x:1:0:99999:7::10:\n",
        );
        f
    }

    #[test]
    fn accounts_are_what_the_files_say() {
        let a = Accounts::read(&mut machine());
        let ann = a.get(b"ann").unwrap();
        assert_eq!((ann.uid, ann.hash.as_str(), ann.keys.len()), (1000, "$1$a$x", 1));
        assert!(
            ann.open(10 * 86_400 - 1) && !ann.open(10 * 86_400),
            "closed on its day"
        );
        assert!(!a.get(b"lazy").unwrap().shell, "a shell that cannot be run");
        assert!(a.get(b"+bad").is_none());
    }

    #[test]
    fn keys_that_others_could_have_written_do_not_count() {
        for (path, mode, uid) in [
            ("/home/ann", 0o40775, 1000),
            ("/home/ann/.ssh", 0o40702, 1000),
            ("/home/ann/.ssh", 0o40700, 1001),
            ("/home/ann/.ssh/authorized_keys", 0o100666, 1000),
            ("/home/ann/.ssh/authorized_keys", 0o100600, 1001),
            ("/home/ann/.ssh/authorized_keys", 0o40700, 1000),
        ] {
            let mut f = machine();
            f.put(path, mode, uid, KEY);
            let a = Accounts::read(&mut f);
            assert!(a.get(b"ann").unwrap().keys.is_empty(), "{path} {mode:o} {uid}");
        }
        let mut f = machine();
        f.put("/home", 0o40777, 9, "");
        assert_eq!(
            Accounts::read(&mut f).get(b"ann").unwrap().keys.len(),
            1,
            "above the home nobody looks"
        );
    }

    #[test]
    fn what_was_planted_is_what_differs() {
        let before = Accounts::read(&mut machine());
        let mut f = machine();
        f.put(
            "/etc/passwd",
            0o100644,
            0,
            "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000:,,,:/home/ann:/bin/bash\ntoor:$1$b$y:0:0::/root:/bin/bash\n",
        );
        f.put(
            "/etc/shadow",
            0o100640,
            0,
            "root:$6$new:1:0:99999:7:::\nann:$1$a$x:1::::::\n",
        );
        let after = Accounts::read(&mut f);
        let said: Vec<(String, &str)> = after
            .changes(&before)
            .into_iter()
            .map(|c| (String::from_utf8(c.user).unwrap(), c.what))
            .collect();
        assert_eq!(
            said,
            [
                ("root".into(), "password"),
                ("toor".into(), "added"),
                ("lazy".into(), "removed")
            ]
        );
        assert!(before.changes(&before).is_empty());
    }
}
