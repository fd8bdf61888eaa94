//! Name, release, place.

use super::{Check, Seen, c, hold, same};

pub(super) const CHECKS: &[Check] = &[
    c("host-name-file", "/etc/hostname holds the host name", |s| {
        same(
            "hostname",
            s.line("hostname")?,
            "/etc/hostname",
            s.line("hostfile")?,
        )
    }),
    c("host-name-uname", "uname -n says the host name", |s| {
        same("hostname", s.line("hostname")?, "uname -n", s.line("uname.n")?)
    }),
    c(
        "host-name-kernel",
        "the kernel's parameter says the host name",
        |s| {
            same(
                "hostname",
                s.line("hostname")?,
                "kernel.hostname",
                s.line("sysctl.hostname")?,
            )
        },
    ),
    c(
        "host-name-hosts",
        "/etc/hosts gives 127.0.1.1 the full name and the host name",
        |s| {
            let rows = s.table("hosts")?;
            let own = rows
                .iter()
                .find(|r| r.first() == Some(&"127.0.1.1"))
                .ok_or("no line for 127.0.1.1")?;
            same(
                "hostname",
                s.line("hostname")?,
                "/etc/hosts",
                own.last().copied().unwrap_or(""),
            )?;
            same(
                "hostname -f",
                s.line("hostname.f")?,
                "/etc/hosts",
                own.get(1).copied().unwrap_or(""),
            )
        },
    ),
    c("host-name-mail", "/etc/mailname is the full name", |s| {
        same(
            "hostname -f",
            s.line("hostname.f")?,
            "/etc/mailname",
            s.line("mailname")?,
        )
    }),
    c("host-name-keys", "the host keys were made on this host", |s| {
        let host = format!("root@{}", s.line("hostname")?);
        for k in s.table("sshd.keys")? {
            same(
                "hostname",
                host.as_str(),
                "a host key's comment",
                k.last().copied().unwrap_or(""),
            )?;
        }
        Ok(())
    }),
    c("host-name-journal", "the journal's lines name the host", |s| {
        let host = s.line("hostname")?;
        let odd = s
            .table("journal")?
            .into_iter()
            .filter(|r| r.first().is_some_and(|t| t.contains('.')))
            .find(|r| r.get(1) != Some(&host));
        hold(odd.is_none(), || format!("the journal has {odd:?}"))
    }),
    c("machine-id", "/etc/machine-id is 32 hexadecimal digits", |s| {
        let id = s.line("machine-id")?;
        hold(
            id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
            || id.into(),
        )
    }),
    c("boot-id", "the boot id is a random UUID", |s| {
        let id = s.line("boot-id")?;
        hold(id.len() == 36 && id.as_bytes().get(14) == Some(&b'4'), || {
            id.into()
        })
    }),
    c(
        "release",
        "os-release and /etc/debian_version name one release",
        |s| {
            let id = s.value("os-release", "VERSION_ID")?.trim_matches('"');
            let version = s.line("debian_version")?;
            same(
                "os-release",
                id,
                "debian_version",
                version.split('.').next().unwrap_or(""),
            )
        },
    ),
    c(
        "release-package",
        "base-files is of the point release that /etc/debian_version names",
        |s| {
            let version = s.line("debian_version")?;
            let package = package(s, "base-files")?;
            let (major, point) = version.split_once('.').ok_or("no point release")?;
            let end = format!("+deb{major}u{point}");
            hold(package.ends_with(&end), || {
                format!("base-files is {package}, debian_version {version}")
            })
        },
    ),
    c("release-issue", "issue.net names the release", |s| {
        let id = s.value("os-release", "VERSION_ID")?.trim_matches('"');
        same(
            "os-release",
            format!("Debian GNU/Linux {id}"),
            "issue.net",
            s.line("issue")?.to_string(),
        )
    }),
    c("locale", "programs have the locale of /etc/default/locale", |s| {
        let rows = s.lines("locale")?;
        let [file, used, ..] = rows.as_slice() else {
            return Err("no locale".into());
        };
        same(
            "/etc/default/locale",
            file.replace('"', ""),
            "locale",
            used.replace('"', ""),
        )
    }),
    c("zone", "/etc/timezone and /etc/localtime name one zone", |s| {
        let file = format!("/usr/share/zoneinfo/{}", s.line("timezone")?);
        same(
            "/etc/timezone",
            file.as_str(),
            "/etc/localtime",
            s.line("localtime")?,
        )
    }),
    c("zone-clock", "the clock shows the zone of /etc/timezone", |s| {
        let rows = s.lines("date.z")?;
        let [shown, zone] = rows.as_slice() else {
            return Err("no time zone".into());
        };
        same("date", *shown, "/etc/timezone", *zone)
    }),
];

/// Version of an installed package.
pub(super) fn package<'a>(s: &'a Seen, name: &str) -> Result<&'a str, String> {
    s.get("dpkg")?
        .lines()
        .find_map(|l| {
            let mut w = l.split(' ');
            (w.next() == Some(name)).then(|| w.next()).flatten()
        })
        .ok_or_else(|| format!("dpkg has no {name}"))
}
