//! Which services start by themselves: links of systemd units, deb-systemd-helper(1p)'s record of them, and the `rc?.d` links.

use std::collections::BTreeSet;

use super::script;
use super::{BuildError, Draft, Package};

const STATE: &str = "/var/lib/systemd/deb-systemd-helper-enabled";

/// Enables what all packages' scripts enable at a first installation.
pub(super) fn enable(draft: &mut Draft, packages: &[Package]) -> Result<(), BuildError> {
    for package in packages {
        let commands = script::commands(&package.script("postinst").unwrap_or_default());
        let named = |verb: &str| -> BTreeSet<String> {
            let hits = commands.iter().filter_map(|c| {
                let helper = c.iter().position(|w| w == "deb-systemd-helper")?;
                let verb = c.get(helper..)?.iter().position(|w| w == verb)? + helper;
                c.get(verb + 1).cloned()
            });
            hits.collect()
        };
        // A unit that is asked for with `debian-installed` first is not enabled by itself: only its record is made.
        let recorded_only = named("debian-installed");
        let mut units = named("enable");
        units.extend(named("update-state"));
        for unit in units {
            let Some(links) = links_of(draft, &unit)? else {
                continue;
            };
            record(draft, &unit, &links, !recorded_only.contains(&unit))?;
        }
        for command in &commands {
            if let [first, name, verb, ..] = command.as_slice()
                && first == "update-rc.d"
                && verb == "defaults"
            {
                rc_links(draft, name)?;
            }
        }
        for command in &commands {
            if let Some(at) = command.iter().position(|w| w == "enable")
                && command.first().is_some_and(|c| c == "systemctl")
                && let Some(unit) = command.get(at + 1)
            {
                systemctl_enable(draft, unit)?;
            }
        }
    }
    Ok(())
}

/// The links that `[Install]` of a unit asks for, aliases first; `None` if there is no such unit.
fn links_of(draft: &Draft, unit: &str) -> Result<Option<Vec<String>>, BuildError> {
    let template = unit
        .split_once('@')
        .and_then(|(name, rest)| Some(format!("{name}@.{}", rest.rsplit_once('.')?.1)));
    let file = template.unwrap_or_else(|| unit.to_owned());
    let Some(text) = draft.text(&format!("/lib/systemd/system/{file}"))? else {
        return Ok(None);
    };
    let (mut aliases, mut wants) = (Vec::new(), Vec::new());
    let mut install = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            install = line == "[Install]";
        } else if let Some((key, value)) = line.split_once('=').filter(|_| install) {
            for target in value.split_whitespace() {
                match key.trim() {
                    "Alias" => aliases.push(format!("/etc/systemd/system/{target}")),
                    "WantedBy" => wants.push(format!("/etc/systemd/system/{target}.wants/{unit}")),
                    "RequiredBy" => wants.push(format!("/etc/systemd/system/{target}.requires/{unit}")),
                    _ => {}
                }
            }
        }
    }
    aliases.extend(wants);
    Ok(Some(aliases))
}

/// Keeps deb-systemd-helper's record of a unit, and makes its links if it is enabled.
fn record(draft: &mut Draft, unit: &str, links: &[String], enabled: bool) -> Result<(), BuildError> {
    draft.dir(STATE, 0o755)?;
    let mut also = links.join("\n");
    also.push('\n');
    draft.file(&format!("{STATE}/{unit}.dsh-also"), 0o644, also)?;
    for link in links.iter().filter(|_| enabled) {
        let name = link.trim_start_matches("/etc/systemd/system/");
        for (root, is_state) in [(STATE, true), ("/etc/systemd/system", false)] {
            let path = format!("{root}/{name}");
            draft.dir(path.rsplit_once('/').map_or("", |(dir, _)| dir), 0o755)?;
            if is_state {
                draft.file(&path, 0o644, "")?;
            } else {
                draft.link(&path, &format!("/lib/systemd/system/{unit}"))?;
            }
        }
    }
    Ok(())
}

/// `systemctl enable`: links only.
fn systemctl_enable(draft: &mut Draft, unit: &str) -> Result<(), BuildError> {
    let file = match unit.split_once('@') {
        Some((name, rest)) => format!("{name}@.{}", rest.rsplit_once('.').map_or("service", |(_, s)| s)),
        None => unit.to_owned(),
    };
    for link in links_of(draft, unit)?.unwrap_or_default() {
        draft.dir(link.rsplit_once('/').map_or("", |(dir, _)| dir), 0o755)?;
        draft.link(&link, &format!("/lib/systemd/system/{file}"))?;
    }
    Ok(())
}

/// `update-rc.d NAME defaults`: a link in the directory of each run level that the script's header names.
fn rc_links(draft: &mut Draft, name: &str) -> Result<(), BuildError> {
    let Some(text) = draft.text(&format!("/etc/init.d/{name}"))? else {
        return Ok(());
    };
    for (field, letter) in [("# Default-Start:", 'S'), ("# Default-Stop:", 'K')] {
        let levels = text
            .lines()
            .find_map(|l| l.strip_prefix(field))
            .unwrap_or_default();
        for level in levels
            .split_whitespace()
            .filter(|l| matches!(l.as_bytes(), [b'0'..=b'6' | b'S']))
        {
            draft.dir(&format!("/etc/rc{level}.d"), 0o755)?;
            draft.link(
                &format!("/etc/rc{level}.d/{letter}01{name}"),
                &format!("../init.d/{name}"),
            )?;
        }
    }
    Ok(())
}
