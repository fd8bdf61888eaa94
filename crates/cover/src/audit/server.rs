//! The SSH server, from inside and outside.

use super::network::connection;
use super::who::package;
use super::{Check, Seen, c, hold, same};

/// `OpenSSH_9.2p1 Debian-2+deb12u7` of the server's first line.
fn banner(s: &Seen) -> Result<&str, String> {
    s.line("outside.banner")?
        .strip_prefix("SSH-2.0-")
        .ok_or("no banner of SSH 2".into())
}

/// The process that listens on the port of sshd's configuration.
fn listener(s: &Seen) -> Result<&str, String> {
    let port = format!(":{}", s.value("sshd.t", "port")?);
    let line = s
        .lines("listen")?
        .into_iter()
        .find(|l| l.split_whitespace().nth(3).is_some_and(|a| a.ends_with(&port)));
    let line = line.ok_or_else(|| format!("nothing listens on {port}"))?;
    let pid = line.split("pid=").nth(1).and_then(|t| t.split(',').next());
    Ok(pid.unwrap_or(""))
}

pub(super) const CHECKS: &[Check] = &[
    c(
        "ssh-version",
        "the server's banner is the version that ssh -V says",
        |s| {
            same(
                "the banner",
                banner(s)?,
                "ssh -V",
                s.line("ssh.v")?.split(',').next().unwrap_or(""),
            )
        },
    ),
    c(
        "ssh-package",
        "dpkg has openssh-server in the version of the banner",
        |s| {
            let plain = package(s, "openssh-server")?;
            let plain = plain.split_once(':').map_or(plain, |p| p.1);
            let (up, debian) = plain.split_once('-').ok_or("an odd version")?;
            same(
                "the banner",
                banner(s)?,
                "dpkg",
                format!("OpenSSH_{up} Debian-{debian}").as_str(),
            )
        },
    ),
    c(
        "ssh-client-package",
        "client and server are of one package version",
        |s| {
            same(
                "openssh-client",
                package(s, "openssh-client")?,
                "openssh-server",
                package(s, "openssh-server")?,
            )
        },
    ),
    c(
        "ssh-keys",
        "the host keys that are offered lie in /etc/ssh",
        |s| {
            let pairs = |id: &str| -> Result<Vec<String>, String> {
                let mut all: Vec<String> = s
                    .table(id)?
                    .iter()
                    .filter(|r| r.len() >= 2)
                    .map(|r| format!("{} {}", r[0], r[1]))
                    .collect();
                all.sort();
                Ok(all)
            };
            let (offered, disk) = (pairs("outside.keys")?, pairs("sshd.keys")?);
            hold(offered == disk, || {
                format!(
                    "{} keys are offered, {} lie there, not the same",
                    offered.len(),
                    disk.len()
                )
            })
        },
    ),
    c(
        "ssh-methods",
        "the server offers the ways to log in that its configuration allows",
        |s| {
            let on = |k: &str| s.value("sshd.t", k).is_ok_and(|v| v == "yes");
            let mut want = vec!["publickey"];
            if on("passwordauthentication") {
                want.push("password");
            }
            if on("kbdinteractiveauthentication") {
                want.push("keyboard-interactive");
            }
            same(
                "the server",
                s.line("outside.auth")?,
                "sshd -T",
                want.join(",").as_str(),
            )
        },
    ),
    c("ssh-root", "root is let in as the configuration says", |s| {
        let set = s.value("sshd.t", "permitrootlogin")?;
        let password = s.get("outside.accepted").is_ok_and(|m| m.trim() == "password");
        hold(set == "yes" || (set == "without-password" && !password), || {
            format!("permitrootlogin {set}, yet root came in")
        })
    }),
    c("ssh-port", "the server's port is the one that was reached", |s| {
        same(
            "sshd -T",
            s.value("sshd.t", "port")?,
            "SSH_CONNECTION",
            connection(s)?[3],
        )
    }),
    c(
        "ssh-unit",
        "the main process that init has for sshd is the one that listens",
        |s| {
            let unit = s.lines("sshd.unit")?;
            let told = |key: &str| unit.iter().find_map(|l| l.strip_prefix(key)).unwrap_or_default();
            same("systemctl", told("MainPID="), "ss", listener(s)?)?;
            same("systemctl", told("SubState="), "a daemon", "running")
        },
    ),
    c("init-state", "init says that nothing has failed", |s| {
        same("systemctl", s.line("init.state")?, "a healthy machine", "running")
    }),
    c("ssh-listens", "ss shows sshd listening on its port", |s| {
        let pid = listener(s)?;
        let listener = s.table("ps")?.into_iter().find(|r| r.first() == Some(&pid));
        hold(listener.is_some_and(|r| r.contains(&"[listener]")), || {
            format!("{pid} is no listener of sshd")
        })
    }),
    c(
        "telnet",
        "inetd serves telnet if and only if its configuration says so, and with the packages of both",
        |s| {
            let set = s.value("inetd", "telnet").is_ok();
            let line = s
                .lines("listen")
                .unwrap_or_default()
                .into_iter()
                .find(|l| l.split_whitespace().nth(3).is_some_and(|a| a.ends_with(":23")));
            hold(line.is_some() == set, || {
                format!("inetd.conf has telnet: {set}, ss shows {line:?}")
            })?;
            let Some(line) = line else { return Ok(()) };
            let pid = line
                .split("pid=")
                .nth(1)
                .and_then(|t| t.split(',').next())
                .unwrap_or("");
            let runs = s.table("ps")?.into_iter().find(|r| r.first() == Some(&pid));
            hold(runs.is_some_and(|r| r.contains(&"/usr/sbin/inetd")), || {
                format!("{pid} is no inetd")
            })?;
            package(s, "inetutils-telnetd")
                .and(package(s, "openbsd-inetd"))
                .map(drop)
        },
    ),
    c(
        "ssh-closed",
        "nothing listens that does not answer from outside",
        |s| {
            let port = format!(":{}", s.value("sshd.t", "port")?);
            let telnet = s.value("inetd", "telnet").is_ok();
            for l in s.lines("listen")? {
                let at = l.split_whitespace().nth(3).unwrap_or("");
                let local = at.starts_with("127.") || at.starts_with("[::1]");
                let known = local || at.ends_with(&port) || (telnet && at.ends_with(":23"));
                hold(known, || format!("{at} listens"))?;
            }
            Ok(())
        },
    ),
    c(
        "ssh-session",
        "the process list has the server's process of this session, child of the listener",
        |s| {
            let rows = s.table("ps")?;
            let listener = rows
                .iter()
                .find(|r| r.contains(&"[listener]"))
                .ok_or("no listener")?;
            let mine = rows
                .iter()
                .find(|r| r.get(1) == listener.first() && r.get(5) == Some(&"sshd:"));
            hold(mine.is_some(), || "no session of sshd".into())
        },
    ),
    c("ssh-ids", "the user is the one that SSH logged in", |s| {
        let user = s.value("env", "USER")?;
        hold(s.line("id")?.contains(&format!("({user})")), || {
            format!("id says {}", s.line("id").unwrap_or(""))
        })
    }),
    c("ssh-config", "sshd -T says what sshd_config sets", |s| {
        for key in ["PermitRootLogin", "PasswordAuthentication", "X11Forwarding"] {
            let Ok(set) = s
                .value("sshd.config", &format!("{key} "))
                .or_else(|_| s.value("sshd.config", key))
            else {
                continue;
            };
            let shown = s.value("sshd.t", &key.to_lowercase())?;
            let shown = if shown == "without-password" {
                "prohibit-password"
            } else {
                shown
            };
            same("sshd_config", set, "sshd -T", shown)?;
        }
        Ok(())
    }),
];
