//! The package database `/var/lib/dpkg`, as dpkg leaves it after an installation.

use std::collections::BTreeMap;

use turncoat_kernel::image::{Attr, Content, NodeKind};

use super::deb::Package;
use super::{BuildError, Draft};

/// Fields in the order in which dpkg writes them (its `fieldinfos`); all others follow as they stood in the package.
const ORDER: &[&str] = &[
    "Package",
    "Essential",
    "Protected",
    "Status",
    "Priority",
    "Section",
    "Installed-Size",
    "Origin",
    "Bugs",
    "Maintainer",
    "Architecture",
    "Multi-Arch",
    "Source",
    "Version",
    "Replaces",
    "Provides",
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Breaks",
    "Conflicts",
    "Enhances",
    "Conffiles",
    "Description",
];

/// Fields whose value dpkg takes apart and writes on one line.
const RELATIONS: &[&str] = &[
    "Replaces",
    "Provides",
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Breaks",
    "Conflicts",
    "Enhances",
];

/// Writes the database.
pub(super) fn write(draft: &mut Draft, packages: &[Package]) -> Result<(), BuildError> {
    let stamp = draft.stamp;
    for dir in ["alternatives", "info", "parts", "triggers", "updates"] {
        draft.tree.mkdir_all(
            format!("/var/lib/dpkg/{dir}").as_bytes(),
            Attr::root(0o755, stamp),
        )?;
    }
    let mut status = String::new();
    let mut files: BTreeMap<String, (Vec<u8>, u16, i64)> = BTreeMap::new();
    for package in packages {
        status.push_str(&stanza(package));
        status.push('\n');
        let name = package.info_name();
        for (file, control) in &package.files {
            files.insert(
                format!("info/{name}.{file}"),
                (control.data.clone(), control.perm, control.mtime),
            );
        }
        let mut list = package.list.join(&b'\n');
        list.push(b'\n');
        files.insert(format!("info/{name}.list"), (list, 0o644, stamp));
    }
    let mut text =
        |name: &str, text: String| files.insert(name.to_owned(), (text.into_bytes(), 0o644, stamp));
    text("status", status);
    text("info/format", "1\n".into());
    text(
        "diversions",
        draft
            .diversions
            .iter()
            .map(|(from, to, by)| format!("{from}\n{to}\n{by}\n"))
            .collect(),
    );
    text("statoverride", draft.stat_overrides.concat());
    text("arch", "amd64\n".into());
    for (name, content) in triggers(packages) {
        text(&format!("triggers/{name}"), content);
    }
    for (name, (data, perm, mtime)) in files {
        let path = format!("/var/lib/dpkg/{name}");
        draft.tree.put(
            path.as_bytes(),
            Attr::root(perm, mtime),
            NodeKind::File(Content::Bytes(data)),
        )?;
    }
    Ok(())
}

fn stanza(package: &Package) -> String {
    let mut out = String::new();
    let mut put = |key: &str, value: &str| {
        out.push_str(key);
        out.push(':');
        if !value.starts_with('\n') {
            out.push(' ');
        }
        out.push_str(value);
        out.push('\n');
    };
    for &key in ORDER {
        match key {
            "Status" => put(key, "install ok installed"),
            "Conffiles" if !package.conffiles.is_empty() => {
                let lines: String = package
                    .conffiles
                    .iter()
                    .map(|(path, md5)| format!("\n {path} {md5}"))
                    .collect();
                put(key, &lines);
            }
            "Essential" | "Protected" if package.field(key) != Some("yes") => {}
            _ => {
                if let Some(value) = package.field(key) {
                    if RELATIONS.contains(&key) {
                        put(key, &value.split_whitespace().collect::<Vec<_>>().join(" "));
                    } else {
                        put(key, value);
                    }
                }
            }
        }
    }
    for (key, value) in &package.fields {
        if !ORDER.iter().any(|o| o.eq_ignore_ascii_case(key)) {
            put(key, value);
        }
    }
    out
}

/// Who is interested in which trigger: `File` for paths, a file for each explicit name. deb-triggers(5).
fn triggers(packages: &[Package]) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for package in packages {
        for line in package.script("triggers").unwrap_or_default().lines() {
            let mut words = line.split('#').next().unwrap_or("").split_whitespace();
            let (Some(directive), Some(name)) = (words.next(), words.next()) else {
                continue;
            };
            let suffix = match directive {
                "interest" | "interest-await" => "",
                "interest-noawait" => "/noawait",
                _ => continue,
            };
            let who = package.name();
            if name.starts_with('/') {
                all.entry("File".into())
                    .or_default()
                    .push_str(&format!("{name} {who}{suffix}\n"));
            } else {
                all.entry(name.to_owned())
                    .or_default()
                    .push_str(&format!("{who}{suffix}\n"));
            }
        }
    }
    all
}
