//! `update-alternatives --install`, update-alternatives(1): the links and the database behind them.

use std::collections::BTreeMap;

use super::script;
use super::{BuildError, Draft, Package};

#[derive(Default)]
struct Group {
    link: String,
    /// Name of a slave and its link.
    slaves: BTreeMap<String, String>,
    choices: BTreeMap<String, Choice>,
}

#[derive(Default)]
struct Choice {
    priority: i64,
    /// Name of a slave and the file that it stands for.
    slaves: BTreeMap<String, String>,
}

/// Installs what all packages' scripts ask for.
pub(super) fn install(draft: &mut Draft, packages: &[Package]) -> Result<(), BuildError> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for package in packages {
        for command in script::commands(&package.script("postinst").unwrap_or_default()) {
            let from = command.iter().position(|w| w == "update-alternatives");
            if let Some(args) = from.and_then(|i| command.get(i + 1..)) {
                register(&mut groups, args);
            }
        }
    }
    draft.dir("/etc/alternatives", 0o755)?;
    draft.dir("/var/lib/dpkg/alternatives", 0o755)?;
    for (name, group) in &groups {
        link(draft, name, group)?;
        let mut text = format!("auto\n{}\n", group.link);
        for (slave, link) in &group.slaves {
            text.push_str(&format!("{slave}\n{link}\n"));
        }
        text.push('\n');
        for (path, choice) in &group.choices {
            text.push_str(&format!("{path}\n{}\n", choice.priority));
            for slave in group.slaves.keys() {
                text.push_str(choice.slaves.get(slave).map_or("", String::as_str));
                text.push('\n');
            }
        }
        text.push('\n');
        draft.file(&format!("/var/lib/dpkg/alternatives/{name}"), 0o644, text)?;
    }
    Ok(())
}

/// `--install LINK NAME PATH PRIORITY [--slave LINK NAME PATH]...`
fn register(groups: &mut BTreeMap<String, Group>, args: &[String]) {
    let Some(at) = args.iter().position(|a| a == "--install") else {
        return;
    };
    let [link, name, path, priority, rest @ ..] = args.get(at + 1..).unwrap_or_default() else {
        return;
    };
    let Ok(priority) = priority.parse() else { return };
    if [link, name, path].iter().any(|w| w.contains('$')) || name.contains('/') {
        return;
    }
    let group = groups.entry(name.clone()).or_default();
    group.link.clone_from(link);
    let choice = group.choices.entry(path.clone()).or_default();
    choice.priority = priority;
    let mut rest = rest;
    while let [flag, link, name, path, tail @ ..] = rest {
        if flag != "--slave" {
            break;
        }
        group.slaves.insert(name.clone(), link.clone());
        choice.slaves.insert(name.clone(), path.clone());
        rest = tail;
    }
}

/// The links of a group's best choice.
fn link(draft: &mut Draft, name: &str, group: &Group) -> Result<(), BuildError> {
    let present = group
        .choices
        .iter()
        .filter(|(path, _)| draft.tree.exists(path.as_bytes()));
    let Some((path, choice)) = present.max_by_key(|(path, c)| (c.priority, std::cmp::Reverse(path.as_str())))
    else {
        return Ok(());
    };
    let mut links = vec![(name, group.link.as_str(), path.as_str())];
    for (slave, link) in &group.slaves {
        if let Some(path) = choice
            .slaves
            .get(slave)
            .filter(|p| draft.tree.exists(p.as_bytes()))
        {
            links.push((slave, link, path));
        }
    }
    for (name, link, path) in links {
        let parent = link.rsplit_once('/').map_or("", |(dir, _)| dir);
        draft.dir(parent, 0o755)?;
        draft.link(&format!("/etc/alternatives/{name}"), path)?;
        draft.link(link, &format!("/etc/alternatives/{name}"))?;
    }
    Ok(())
}
