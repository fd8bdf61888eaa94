//! Reads the commands of a maintainer script without running it.
//!
//! Just enough of the shell to see what is installed: continued lines, `VAR=word`, `for` over literal words, quotes, and a
//! command substitution that spans lines (xz-utils makes its list of slaves in one). Conditions are not decided: callers ask
//! for commands that a first installation runs.

use std::collections::BTreeMap;

/// The commands of a script, each as its words, variables and loops expanded as far as they can be seen.
pub(super) fn commands(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let lines: Vec<&str> = joined
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .collect();
    let mut out = Vec::new();
    let mut vars = BTreeMap::from([("DPKG_ROOT".to_owned(), String::new())]);
    block(&lines, &mut vars, &mut out, 0);
    out
}

/// Deeper nesting than any script has.
const DEPTH: usize = 8;

fn block(lines: &[&str], vars: &mut BTreeMap<String, String>, out: &mut Vec<Vec<String>>, depth: usize) {
    if depth > DEPTH {
        return;
    }
    let mut rest = lines;
    while let Some((line, tail)) = rest.split_first() {
        rest = tail;
        if let Some(header) = line.strip_prefix("for ") {
            let (body, after) = loop_body(rest);
            rest = after;
            let header = header.trim_end_matches("; do").trim_end_matches(';');
            if let Some((name, list)) = header.split_once(" in ") {
                for word in words(list, vars) {
                    vars.insert(name.trim().to_owned(), word);
                    block(body, vars, out, depth + 1);
                }
            }
            continue;
        }
        if let Some((name, value)) = assignment(line) {
            let value = words(value, vars).join(" ");
            vars.insert(name.to_owned(), value);
            continue;
        }
        if let Some(head) = line.strip_suffix("$(") {
            let end = rest.iter().position(|l| *l == ")").unwrap_or(rest.len());
            let (body, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            let mut inner = Vec::new();
            block(body, vars, &mut inner, depth + 1);
            let mut command = words(head, vars);
            for call in inner {
                if let [name, dir, file, target] = call.as_slice()
                    && name == "slave"
                {
                    command.extend([
                        "--slave".into(),
                        format!("{dir}/{file}"),
                        file.clone(),
                        format!("{dir}/{target}"),
                    ]);
                }
            }
            out.push(command);
            continue;
        }
        out.push(words(line, vars));
    }
}

/// The lines up to the `done` of a loop whose header was just read, and the lines behind it.
fn loop_body<'a, 'b>(lines: &'a [&'b str]) -> (&'a [&'b str], &'a [&'b str]) {
    let mut depth = 1;
    for (i, line) in lines.iter().enumerate() {
        if line.starts_with("for ") || line.starts_with("while ") {
            depth += 1;
        } else if *line == "done" || line.starts_with("done ") {
            depth -= 1;
        }
        if depth == 0 {
            let from = usize::from(lines.first() == Some(&"do"));
            return (
                lines.get(from..i).unwrap_or_default(),
                lines.get(i + 1..).unwrap_or_default(),
            );
        }
    }
    (&[], lines)
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (named
        && !value.contains("$(")
        && !value.contains('`')
        && (!value.contains(' ') || value.starts_with(['"', '\''])))
    .then_some((name, value))
}

/// The words of a line: quotes taken off, known variables put in.
fn words(line: &str, vars: &BTreeMap<String, String>) -> Vec<String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(q)) if c == q => quote = None,
            ('$', q) if q != Some('\'') => {
                let braced = chars.next_if_eq(&'{').is_some();
                let mut name = String::new();
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                if braced {
                    for c in chars.by_ref() {
                        if c == '}' {
                            break;
                        }
                    }
                }
                match vars.get(&name) {
                    Some(value) => word.get_or_insert_default().push_str(value),
                    None => {
                        let w = word.get_or_insert_default();
                        w.push('$');
                        w.push_str(&name);
                    }
                }
            }
            (c, None) if c.is_whitespace() || c == ';' => out.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    out
}

/// The text that a script writes to a file from a here-document without variables.
pub(super) fn here_document(text: &str, path: &str) -> Option<String> {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((before, after)) = line.split_once("<<") else {
            continue;
        };
        let is_write = before.contains('>') || after.contains('>');
        let named = line
            .split(|c: char| c.is_whitespace() || matches!(c, '"' | '>' | '<' | '}'))
            .any(|w| w == path || w.strip_prefix("$DPKG_ROOT").is_some_and(|w| w == path));
        let tabs = after.starts_with('-');
        let end: String = after
            .trim_start_matches('-')
            .trim_start()
            .chars()
            .filter(|c| *c != '\'' && *c != '"')
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        let strip = |l: &str| {
            if tabs {
                l.trim_start_matches('\t').to_owned()
            } else {
                l.to_owned()
            }
        };
        let mut body = String::new();
        for l in lines.by_ref() {
            let l = strip(l);
            if l == end {
                break;
            }
            body.push_str(&l);
            body.push('\n');
        }
        if named && is_write {
            return Some(body);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_variables_and_continuations() {
        let text = "A=x\nfor i in 1 \"2\"; do\n  put --to \\\n    \"$A/${i}\" $1\ndone\nua big $(\n\tslave /d a b\n\tfor u in c\n\tdo\n\t\tslave /e l$u m$u\n\tdone\n)\n";
        let got = commands(text);
        assert_eq!(got[0], ["put", "--to", "x/1", "$1"]);
        assert_eq!(got[1], ["put", "--to", "x/2", "$1"]);
        assert_eq!(
            got[2],
            [
                "ua", "big", "--slave", "/d/a", "a", "/d/b", "--slave", "/e/lc", "lc", "/e/mc"
            ]
        );
    }

    #[test]
    fn here_documents_in_both_orders() {
        let text = "cat <<END > /etc/a\none\nEND\n  cat > \"$DPKG_ROOT/etc/b\" <<-'EOF'\n\ttwo\n\tEOF\n";
        assert_eq!(here_document(text, "/etc/a").as_deref(), Some("one\n"));
        assert_eq!(here_document(text, "/etc/b").as_deref(), Some("two\n"));
        assert_eq!(here_document(text, "/etc/c"), None);
    }
}
