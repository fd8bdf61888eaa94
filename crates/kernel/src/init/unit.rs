//! Unit files (systemd.unit(5), systemd.syntax(7)): found in the world's own directories, read with their drop-ins and links.

use crate::world::World;
use std::collections::BTreeSet;
pub(super) use turncoat_cover::past::journal::unit_kind as kind;
use turncoat_freeze::Freeze;

/// Where units lie, the first ones win. The links in `/etc` say what is enabled.
pub(super) const DIRS: [&str; 5] = [
    super::transient::DIR,
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/lib/systemd/system",
];
/// Most files that are looked at in one directory, and most settings of one unit.
pub(super) const FILES: usize = 1024;
const SETTINGS: usize = 1024;
/// A unit as its files say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Freeze)]
pub(crate) struct Unit {
    /// Its own name, which is no alias.
    pub name: String,
    /// The file; empty if there is none.
    pub path: String,
    /// Drop-ins in the order in which they count.
    pub dropins: Vec<String>,
    /// It is a link to /dev/null.
    pub masked: bool,
    /// The kernel's release, for specifiers.
    release: String,
    /// Section, key, value.
    settings: Vec<(String, String, String)>,
}

/// Whether this can be the name of a unit.
pub(super) fn valid(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    name.len() < 256 && name.bytes().all(plain) && !name.starts_with('.') && kind(name).is_some()
}

/// `getty@.service` of `getty@tty1.service`.
pub(super) fn template(name: &str) -> Option<String> {
    let (stem, end) = name.rsplit_once('.')?;
    let (prefix, instance) = stem.split_once('@')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{end}"))
}

fn instance(name: &str) -> &str {
    let stem = name.rsplit_once('.').map_or(name, |n| n.0);
    stem.split_once('@').map_or("", |n| n.1)
}

/// What systemd takes for true (parse_boolean).
fn truth(v: &str) -> bool {
    matches!(v, "1" | "yes" | "y" | "true" | "t" | "on")
}

impl Unit {
    /// One without a file.
    pub fn made(name: &str) -> Unit {
        Unit {
            name: name.to_owned(),
            ..Unit::default()
        }
    }

    /// One without a file that has this setting.
    pub fn made_with(name: &str, (section, key, value): (&str, &str, &str)) -> Unit {
        let mut u = Unit::made(name);
        u.settings.push((section.into(), key.into(), value.into()));
        u
    }

    /// All values of a key; an empty one takes back those before.
    pub fn all(&self, section: &str, key: &str) -> Vec<&str> {
        let mut out = Vec::new();
        for (_, _, v) in self.settings.iter().filter(|(s, k, _)| s == section && k == key) {
            if v.is_empty() {
                out.clear();
            } else {
                out.push(v.as_str());
            }
        }
        out
    }

    /// The last value of a key.
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.all(section, key).pop()
    }

    /// A truth value; `None` if it is not set.
    pub fn flag(&self, section: &str, key: &str) -> Option<bool> {
        self.get(section, key).map(truth)
    }

    /// Names in a list that may be set in several lines.
    pub fn names(&self, section: &str, key: &str) -> Vec<String> {
        let all = self.all(section, key);
        all.iter()
            .flat_map(|v| v.split_whitespace())
            .map(|n| self.specified(n))
            .collect()
    }

    /// Description, or the name.
    pub fn description(&self) -> String {
        let said = self.get("Unit", "Description").map(|d| self.specified(d));
        said.filter(|d| !d.is_empty())
            .unwrap_or_else(|| self.name.clone())
    }

    /// It has lines in `[Install]`.
    pub fn installs(&self) -> bool {
        let keys = ["WantedBy", "RequiredBy", "Alias", "Also"];
        keys.iter().any(|k| !self.all("Install", k).is_empty())
    }

    /// `Type=`, as systemd takes it where it is not set.
    pub fn service_type(&self) -> &str {
        match self.get("Service", "Type") {
            Some(t) => t,
            None if self.all("Service", "ExecStart").is_empty() => "oneshot",
            None if self.get("Service", "BusName").is_some() => "dbus",
            None => "simple",
        }
    }

    /// Whether a section with this name is there.
    pub fn has(&self, section: &str) -> bool {
        self.settings.iter().any(|s| s.0 == section)
    }

    /// Puts names for specifiers (systemd.unit(5)); those that nobody needs stay as they are.
    pub fn specified(&self, text: &str) -> String {
        let mut out = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let stem = self.name.rsplit_once('.').map_or(&*self.name, |n| n.0);
            match chars.next() {
                Some('%') => out.push('%'),
                Some('i') => out.push_str(instance(&self.name)),
                Some('I') => out.push_str(&instance(&self.name).replace('-', "/")),
                Some('n') => out.push_str(&self.name),
                Some('N') => out.push_str(stem),
                Some('p') => out.push_str(stem.split('@').next().unwrap_or(stem)),
                Some('t') => out.push_str("/run"),
                Some('v') => out.push_str(&self.release),
                Some('S') => out.push_str("/var/lib"),
                Some('C') => out.push_str("/var/cache"),
                Some('L') => out.push_str("/var/log"),
                Some(c) => out.extend(['%', c]),
                None => out.push('%'),
            }
        }
        out
    }

    /// Takes in the settings of a file.
    fn read(&mut self, text: &str) {
        let mut section = String::new();
        let joined = text.replace("\\\n", " ");
        for line in joined.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                section = name.to_owned();
            } else if let Some((k, v)) = line.split_once('=')
                && !line.starts_with(['#', ';'])
                && self.settings.len() < SETTINGS
            {
                let v = v.trim().to_owned();
                self.settings.push((section.clone(), k.trim().to_owned(), v));
            }
        }
    }
}

/// Splits a command line at blanks; quotes hold words together.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', q) if q != Some('\'') => word.get_or_insert_default().extend(escaped(&mut chars)),
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => out.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    out
}

/// What a backslash and what follows it stand for (cunescape): control characters by letter or number, or itself.
fn escaped(chars: &mut std::str::Chars) -> Option<char> {
    Some(match chars.next()? {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        's' => ' ',
        'x' => {
            let rest = chars.as_str();
            let code = rest.get(..2).and_then(|d| u8::from_str_radix(d, 16).ok());
            if let Some(code) = code.filter(u8::is_ascii) {
                chars.nth(1);
                return Some(char::from(code));
            }
            'x'
        }
        c => c,
    })
}

impl World {
    /// Where the file of a unit or its template lies, and the name that it has when links are followed.
    fn unit_file(&mut self, name: &str) -> Option<(String, String)> {
        let of_template = template(name);
        for wanted in [Some(name.to_owned()), of_template].into_iter().flatten() {
            for dir in DIRS {
                let path = format!("{dir}/{wanted}");
                let Some(found) = self.look(path.as_bytes()) else {
                    continue;
                };
                let real = String::from_utf8_lossy(&found.path).into_owned();
                let file = real.rsplit('/').next().unwrap_or_default().to_owned();
                if real == "/dev/null" || file == wanted {
                    return Some((
                        if real == "/dev/null" { path } else { short(&real) },
                        name.to_owned(),
                    ));
                }
                // A link whose target has another name is an alias; of a template's instance the instance stays.
                let own = match (file.split_once("@."), instance(name)) {
                    (Some((stem, end)), inst) if !inst.is_empty() => format!("{stem}@{inst}.{end}"),
                    _ => file,
                };
                return Some((short(&real), if valid(&own) { own } else { name.to_owned() }));
            }
        }
        None
    }

    /// Reads a unit as its files are now; `None` if there is none of this name.
    pub(super) fn unit(&mut self, name: &str) -> Option<Unit> {
        let (path, own) = self.unit_file(name)?;
        let mut u = Unit {
            name: own,
            release: self.facts_of.release.clone(),
            ..Unit::default()
        };
        let text = self.read_file(path.as_bytes()).unwrap_or_default();
        u.masked = path.ends_with(name) && self.look(path.as_bytes()).is_some_and(|l| l.path == b"/dev/null");
        u.path = path;
        u.read(&String::from_utf8_lossy(&text));
        let mut seen = BTreeSet::new();
        for of in [Some(u.name.clone()), template(&u.name)].into_iter().flatten() {
            for dir in DIRS {
                let dir = format!("{dir}/{of}.d");
                for file in self.list(dir.as_bytes(), FILES) {
                    let file = String::from_utf8_lossy(&file).into_owned();
                    if file.ends_with(".conf") && seen.insert(file.clone()) {
                        u.dropins.push(format!("{dir}/{file}"));
                    }
                }
            }
        }
        u.dropins
            .sort_by(|a, b| a.rsplit('/').next().cmp(&b.rsplit('/').next()));
        for d in u.dropins.clone() {
            let text = self.read_file(d.as_bytes()).unwrap_or_default();
            u.read(&String::from_utf8_lossy(&text));
        }
        Some(u)
    }

    /// Names in the directories `NAME.wants` and `NAME.requires` of a unit.
    pub(super) fn wanted_by_links(&mut self, name: &str) -> Vec<String> {
        let mut out = BTreeSet::new();
        for dir in DIRS {
            for end in ["wants", "requires"] {
                let dir = format!("{dir}/{name}.{end}");
                for n in self.list(dir.as_bytes(), FILES) {
                    out.extend(String::from_utf8(n).ok().filter(|n| valid(n)));
                }
            }
        }
        out.into_iter().collect()
    }

    /// Every name of a unit file, with its path.
    pub(super) fn unit_files(&mut self) -> Vec<(String, String)> {
        let mut out: Vec<(String, String)> = Vec::new();
        let mut seen = BTreeSet::new();
        for dir in DIRS {
            for n in self.list(dir.as_bytes(), FILES) {
                let Some(n) = String::from_utf8(n).ok().filter(|n| valid(n)) else {
                    continue;
                };
                if seen.insert(n.clone()) {
                    out.push((n.clone(), format!("{dir}/{n}")));
                }
            }
        }
        out
    }
}

/// systemd names what lies in `/usr/lib` by the way it was found: through `/lib`.
fn short(path: &str) -> String {
    match path.strip_prefix("/usr/lib/systemd/") {
        Some(rest) => format!("/lib/systemd/{rest}"),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_at() {
        assert!(valid("ssh.service") && valid("getty@tty1.service") && valid("-.mount"));
        assert!(!valid("ssh") && !valid("a/b.service") && !valid(".service"));
        assert_eq!(template("getty@tty1.service").as_deref(), Some("getty@.service"));
        assert_eq!(template("getty@.service"), None);
    }

    #[test]
    fn settings_are_read() {
        let mut u = Unit {
            name: "a@b.service".into(),
            ..Unit::default()
        };
        u.read("[Unit]\nDescription=On %I \\\n x\n# Description=no\n[Service]\nExecStart=/a\nExecStart=\nExecStart=/b %i\n");
        assert_eq!(u.description(), "On b   x");
        assert_eq!(u.all("Service", "ExecStart"), ["/b %i"]);
        assert_eq!(u.service_type(), "simple");
        assert_eq!(
            words("/bin/sh -c \"a 'b' \\\"c\\\"\" x"),
            ["/bin/sh", "-c", "a 'b' \"c\"", "x"]
        );
        assert_eq!(words(r#""a\nb" c\x41\s\\d 'e\n'"#), ["a\nb", "cA \\d", "e\\n"]);
    }
}
