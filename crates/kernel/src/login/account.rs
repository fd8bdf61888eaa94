//! Who logs in: a user as the world's own /etc/passwd and /etc/group tell, and the environment that his shell starts with.

use super::Open;
use crate::tty::TtyId;
use crate::world::{Conn, World};

/// A user as /etc/passwd and /etc/group tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub user: Vec<u8>,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: Vec<u8>,
    /// Login shell.
    pub shell: Vec<u8>,
}

impl World {
    /// Looks a user up in the world's own /etc/passwd and /etc/group.
    pub fn account(&mut self, user: &[u8]) -> Option<Account> {
        let passwd = self.slurp(b"/etc/passwd").ok()?;
        let mut found = None;
        for line in passwd.split(|b| *b == b'\n') {
            let f = fields(line);
            if f.len() >= 7 && f[0] == user {
                found = Some(Account {
                    user: user.to_vec(),
                    uid: number(f[2])?,
                    gid: number(f[3])?,
                    groups: Vec::new(),
                    home: f[5].to_vec(),
                    shell: if f[6].is_empty() {
                        b"/bin/sh".to_vec()
                    } else {
                        f[6].to_vec()
                    },
                });
                break;
            }
        }
        let mut a = found?;
        a.groups.push(a.gid);
        for line in self
            .slurp(b"/etc/group")
            .unwrap_or_default()
            .split(|b| *b == b'\n')
        {
            let f = fields(line);
            if f.len() >= 4
                && f[3].split(|b| *b == b',').any(|m| m == user)
                && let Some(g) = number(f[2])
            {
                a.groups.push(g);
            }
        }
        Some(a)
    }

    /// The environment that OpenSSH with PAM gives on Debian.
    pub(super) fn login_env(
        &mut self,
        o: &Open,
        a: &Account,
        tty: Option<TtyId>,
        conn: Conn,
    ) -> Vec<Vec<u8>> {
        let session = self.session(conn);
        let mut env: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut set = |k: &[u8], v: &[u8]| {
            match env.iter_mut().find(|(n, _)| n == k) {
                Some(e) => e.1 = v.to_vec(),
                None => env.push((k.to_vec(), v.to_vec())),
            };
        };
        // A name with `=` in it is none (child_set_env in misc.c).
        for (k, v) in o.env.iter().filter(|(k, _)| !k.contains(&b'=')) {
            set(k, v);
        }
        set(b"USER", &a.user);
        set(b"LOGNAME", &a.user);
        set(b"HOME", &a.home);
        set(
            b"PATH",
            if a.uid == 0 {
                b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            } else {
                b"/usr/local/bin:/usr/bin:/bin:/usr/games"
            },
        );
        set(b"SHELL", &a.shell);
        if let Some(t) = o.term.as_ref().filter(|t| !t.name.is_empty()) {
            set(b"TERM", &t.name);
        }
        let locale = self.slurp(b"/etc/default/locale").unwrap_or_default();
        for line in locale.split(|b| *b == b'\n') {
            if let Some(i) = line.iter().position(|b| *b == b'=')
                && !line.starts_with(b"#")
            {
                // PAM's variables are set behind those of the client (do_setup_env in session.c).
                let v: Vec<u8> = line[i + 1..].iter().copied().filter(|b| *b != b'"').collect();
                set(&line[..i], &v);
            }
        }
        set(b"MOTD_SHOWN", b"pam");
        set(b"XDG_SESSION_ID", session.to_string().as_bytes());
        set(b"XDG_RUNTIME_DIR", format!("/run/user/{}", a.uid).as_bytes());
        set(b"XDG_SESSION_TYPE", b"tty");
        set(b"XDG_SESSION_CLASS", b"user");
        let (p, l) = (o.peer, o.local);
        set(
            b"SSH_CLIENT",
            format!("{} {} {}", p.ip(), p.port(), l.port()).as_bytes(),
        );
        set(
            b"SSH_CONNECTION",
            format!("{} {} {} {}", p.ip(), p.port(), l.ip(), l.port()).as_bytes(),
        );
        if let Some(t) = tty {
            set(b"SSH_TTY", format!("/dev/{}", t.name()).as_bytes());
        }
        env.into_iter()
            .map(|(k, v)| [&k[..], b"=", &v[..]].concat())
            .collect()
    }
}

fn fields(line: &[u8]) -> Vec<&[u8]> {
    line.split(|b| *b == b':').collect()
}

fn number(b: &[u8]) -> Option<u32> {
    std::str::from_utf8(b).ok()?.parse().ok()
}
