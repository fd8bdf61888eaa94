//! systemd's service files, as far as they say what is to be started at boot (systemd.service(5), systemd.exec(5)).

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Its commands, each as arguments; the first is the path.
    pub commands: Vec<Vec<String>>,
    /// `User=`.
    pub user: Option<String>,
    /// `WorkingDirectory=`.
    pub directory: Option<String>,
    /// `Environment=`.
    pub environment: Vec<String>,
}

/// Most commands that are read of a unit.
const COMMANDS: usize = 16;

impl Unit {
    /// Reads a service file: the section `[Service]`.
    pub fn parse(text: &str) -> Unit {
        let mut unit = Unit::default();
        let mut service = false;
        let joined = text.replace("\\\n", " ");
        for line in joined.lines().map(str::trim) {
            if line.starts_with('[') {
                service = line == "[Service]";
            }
            if !service || line.starts_with(['#', ';']) {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let value = value.trim();
            match key.trim() {
                // An empty value takes back what was said before.
                "ExecStart" | "ExecStartPre" if value.is_empty() => unit.commands.clear(),
                "ExecStart" | "ExecStartPre" | "ExecStartPost" => {
                    let words = words(value.trim_start_matches(['@', '-', ':', '+', '!']));
                    if words.first().is_some_and(|w| w.starts_with('/')) && unit.commands.len() < COMMANDS {
                        unit.commands.push(words);
                    }
                }
                "User" => unit.user = Some(value.into()).filter(|u: &String| !u.is_empty()),
                "WorkingDirectory" => unit.directory = Some(value.trim_start_matches('-').into()),
                "Environment" => unit.environment.extend(words(value)),
                _ => {}
            }
        }
        unit
    }
}

/// Splits a command line at blanks; quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', q) if q != Some('\'') => {
                if let Some(next) = chars.next() {
                    word.get_or_insert_default().push(next);
                }
            }
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => out.extend(word.take()),
            ('%', _) => {
                // %% is a percent sign; other specifiers are left as they stand.
                word.get_or_insert_default().push('%');
                let rest = chars.as_str();
                if rest.starts_with('%') {
                    chars.next();
                }
            }
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_say_what_to_start() {
        let text = "[Unit]\nDescription=x\n[Service]\nType=forking\nExecStart=-/bin/sh -c \"a 'b' \\\"c\\\" 100%%\" \\\n  last\n\
                    #ExecStart=/no\nUser=daemon\nEnvironment=A=1 \"B=2 3\"\nWorkingDirectory=/srv\nRestart=always\n\
                    [Install]\nExecStart=/no\n";
        let u = Unit::parse(text);
        assert_eq!(u.commands, [vec!["/bin/sh", "-c", "a 'b' \"c\" 100%", "last"]]);
        assert_eq!(u.user.as_deref(), Some("daemon"));
        assert_eq!(u.environment, ["A=1", "B=2 3"]);
        assert_eq!(u.directory.as_deref(), Some("/srv"));
        let taken_back =
            Unit::parse("[Service]\nExecStart=/a\nExecStart=\nExecStart=/b\nExecStart=relative\n");
        assert_eq!(taken_back.commands, [vec!["/b"]]);
        assert_eq!(Unit::parse("ExecStart=/a\n"), Unit::default());
    }
}
