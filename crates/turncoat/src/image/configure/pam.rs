//! `pam-auth-update --package`: `/etc/pam.d/common-*` from the templates and the profiles that packages bring,
//! pam-auth-update(8).

use std::collections::BTreeMap;

use super::{BuildError, Draft};

struct Profile {
    name: String,
    priority: i64,
    interactive_only: bool,
    default: bool,
    fields: BTreeMap<String, Vec<String>>,
}

impl Profile {
    fn lines(&self, key: &str) -> Option<&Vec<String>> {
        self.fields.get(key).filter(|l| !l.is_empty())
    }
}

/// File, type in the profiles, word at the start of a line.
const STACKS: &[(&str, &str, &str)] = &[
    ("account", "Account", "account"),
    ("auth", "Auth", "auth"),
    ("password", "Password", "password"),
    ("session", "Session", "session"),
    ("session-noninteractive", "Session", "session"),
];

/// Writes the stacks and pam-auth-update's own record.
pub(super) fn write(draft: &mut Draft) -> Result<(), BuildError> {
    let mut profiles = Vec::new();
    for file in draft.names("/usr/share/pam-configs") {
        let text = draft
            .text(&format!("/usr/share/pam-configs/{file}"))?
            .unwrap_or_default();
        profiles.push(parse(file, &text));
    }
    if profiles.is_empty() {
        return Ok(());
    }
    profiles.sort_by(|a, b| b.priority.cmp(&a.priority).then(b.name.cmp(&a.name)));
    draft.dir("/var/lib/pam", 0o755)?;
    let seen: String = profiles.iter().map(|p| format!("{}\n", p.name)).collect();
    draft.file("/var/lib/pam/seen", 0o644, seen)?;
    profiles.retain(|p| p.default);
    for (file, kind, word) in STACKS {
        let Some(template) = draft.text(&format!("/usr/share/pam/common-{file}"))? else {
            continue;
        };
        let wanted: Vec<&Profile> = profiles
            .iter()
            .filter(|p| !(p.interactive_only && *file == "session-noninteractive"))
            .filter(|p| p.lines(kind).is_some())
            .collect();
        let of_type = |which: &str| -> Vec<&Profile> {
            wanted
                .iter()
                .copied()
                .filter(|p| {
                    p.lines(&format!("{kind}-Type"))
                        .is_some_and(|t| t.iter().any(|t| t == which))
                })
                .collect()
        };
        let mut saved = String::new();
        let primary = stack(&of_type("Primary"), kind, word, true, &mut saved);
        let additional = stack(&of_type("Additional"), kind, word, false, &mut saved);
        let mut out = String::new();
        for line in template.lines() {
            match line.trim().strip_prefix('$').and_then(|l| l.rsplit_once('_')) {
                Some((_, "primary")) => out.push_str(&primary),
                Some((_, "additional")) => out.push_str(&additional),
                _ => {
                    out.push_str(line);
                    out.push('\n');
                }
            }
        }
        draft.file(&format!("/etc/pam.d/common-{file}"), 0o644, out)?;
        draft.file(&format!("/var/lib/pam/{file}"), 0o644, saved)?;
    }
    Ok(())
}

/// The lines of one block. In a primary block `end` becomes the number of lines to jump over, the failing one included.
fn stack(profiles: &[&Profile], kind: &str, word: &str, primary: bool, saved: &mut String) -> String {
    let mut lines = Vec::new();
    for (i, profile) in profiles.iter().enumerate() {
        let initial = profile.lines(&format!("{kind}-Initial")).filter(|_| i == 0);
        let chosen = initial.or(profile.lines(kind)).cloned().unwrap_or_default();
        saved.push_str(&format!("Module: {}\n", profile.name));
        for line in chosen {
            saved.push_str(line.trim_end());
            saved.push('\n');
            lines.push(line);
        }
    }
    if primary && lines.is_empty() {
        saved.push_str("Module: null\n[default=1]\t\t\tpam_permit.so\n");
        return format!("{word}\t[default=1]\t\t\tpam_permit.so\n");
    }
    let n = lines.len();
    let line = |(i, l): (usize, &String)| {
        let l = l.trim_end();
        // pam-auth-update keeps the space before the options of a module that has none.
        let behind_control = l.rsplit_once(']').map_or(l, |(_, rest)| rest);
        let bare = behind_control.split_whitespace().count() == if l.contains(']') { 1 } else { 2 };
        format!(
            "{word}\t{}{}\n",
            l.replace("=end", &format!("={}", n - i)),
            if bare { " " } else { "" }
        )
    };
    lines.iter().enumerate().map(line).collect()
}

fn parse(name: String, text: &str) -> Profile {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if line.starts_with([' ', '\t']) {
            fields
                .entry(last.clone())
                .or_default()
                .push(line.trim_start().to_owned());
        } else if let Some((key, value)) = line.split_once(':') {
            last = key.trim().to_owned();
            let values = fields.entry(last.clone()).or_default();
            if !value.trim().is_empty() {
                values.push(value.trim().to_owned());
            }
        }
    }
    let first = |key: &str| {
        fields
            .get(key)
            .and_then(|v| v.first())
            .cloned()
            .unwrap_or_default()
    };
    Profile {
        name,
        priority: first("Priority").parse().unwrap_or(0),
        interactive_only: first("Session-Interactive-Only") == "yes",
        default: first("Default") == "yes",
        fields,
    }
}
