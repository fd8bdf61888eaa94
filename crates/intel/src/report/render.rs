//! Markdown and HTML. An intruder's text is never markup, never a link.

use super::{Basis, Indicator, Report, Statement};
use std::fmt::Write;
use turncoat_event::show;

/// The longest text of an intruder in a report, in characters.
const LONG: usize = 2_000;

/// Visible form of hostile text.
fn visible(text: &str) -> String {
    show::line(&show::short(text, LONG)).into_owned()
}

/// Visible, and nothing that a mail program or a chat would make a link or a mention of.
fn harmless(text: &str) -> String {
    show::defang(&show::short(text, LONG))
}

/// Text of an intruder as a code span: the fence is longer than any run of backticks inside.
fn code(text: &str) -> String {
    let text = show::unlink(&visible(text));
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') || text.is_empty() {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Text of ours that may hold fragments from outside (details, host names): every character that Markdown or HTML reads is escaped.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in visible(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '!' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    // Behind it, so that its own brackets are read as they stand: nothing of the text can make a link of them.
    show::defang(&out)
}

fn basis(s: &Statement) -> String {
    match &s.basis {
        Basis::Observed => "*observed*".into(),
        Basis::Inferred { confidence, reason } => format!("*inferred, {confidence} %: {}*", plain(reason)),
        Basis::Claimed => "*claimed by the intruder*".into(),
    }
}

fn shown(i: &Indicator) -> String {
    match i.kind {
        "ipv4" | "domain" | "url" => harmless(&i.value),
        _ => visible(&i.value),
    }
}

/// The report as Markdown.
pub fn markdown(r: &Report) -> String {
    let mut t = String::new();
    let c = &r.campaign;
    let _ = writeln!(t, "# Campaign {}\n", c.id);
    let _ = writeln!(
        t,
        "Made {} · first seen {} · last seen {} · stage reached: {}\n",
        r.made,
        c.first,
        c.last,
        c.stage.map_or("none", |s| s.name())
    );
    let _ = writeln!(t, "## In short\n");
    for s in &r.summary {
        let _ = writeln!(t, "- {} ({})", plain(&s.text), basis(s));
    }
    if !r.techniques.is_empty() {
        let _ = writeln!(
            t,
            "\n## Techniques\n\n| first seen | stage | technique | sessions | why | events |\n| --- | --- | --- | --- | --- | --- |"
        );
        for each in &r.techniques {
            let s = &each.seen;
            let ev: Vec<_> = s.evidence.iter().take(5).map(u64::to_string).collect();
            let _ = writeln!(
                t,
                "| {} | {} | {} {} | {} | {} | {} |",
                s.first,
                s.stage.name(),
                s.technique,
                plain(&s.name),
                each.sessions,
                plain(&s.why),
                ev.join(", ")
            );
        }
    }
    let _ = writeln!(t, "\n## What happened\n");
    for s in &r.story {
        let quoted = s
            .quoted
            .as_deref()
            .map(|q| format!(" {}", code(q)))
            .unwrap_or_default();
        let ev: Vec<_> = s.evidence.iter().take(5).map(u64::to_string).collect();
        let _ = writeln!(
            t,
            "- {} {}{quoted} ({}; event {})",
            s.time,
            plain(&s.text),
            basis(s),
            ev.join(", ")
        );
    }
    if r.shortened {
        let _ = writeln!(
            t,
            "\nThere is more in the record than fits here: `turncoat events --session ID` shows it whole."
        );
    }
    if !r.links.is_empty() {
        let _ = writeln!(
            t,
            "\n## Why these sessions belong together\n\n| session | with | reason | weight | what |\n| --- | --- | --- | --- | --- |"
        );
        for l in r.links.iter().take(100) {
            let _ = writeln!(
                t,
                "| {} | {} | {} | {:.1} | {} |",
                l.session,
                l.other,
                plain(&l.reason),
                l.weight,
                plain(&l.detail)
            );
        }
    }
    let _ = writeln!(
        t,
        "\n## Sessions\n\n| session | source | from | to | stage |\n| --- | --- | --- | --- | --- |"
    );
    for m in &r.sessions {
        let _ = writeln!(
            t,
            "| {} | {} | {} | {} | {} |",
            m.session,
            m.source.as_deref().map(harmless).unwrap_or_default(),
            m.first,
            m.last,
            m.stage.map_or("", |s| s.name())
        );
    }
    if !r.networks.is_empty() {
        let _ = writeln!(t, "\n## Where the sources are\n");
        for (network, n) in &r.networks {
            let _ = writeln!(t, "- {} ({n} sessions)", plain(network));
        }
    }
    if !r.indicators.is_empty() {
        let _ = writeln!(t, "\n## Indicators\n");
        for i in &r.indicators {
            let _ = writeln!(t, "- {}: {}", i.kind, code(&shown(i)));
        }
    }
    if !r.compared.is_empty() {
        let _ = writeln!(t, "\n## Compared with earlier campaigns\n");
        for line in &r.compared {
            let _ = writeln!(t, "- {}", plain(line));
        }
    }
    t
}

fn esc(text: &str) -> String {
    let mut out = String::new();
    for c in harmless(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// The report as one HTML page without scripts or outside references.
pub fn html(r: &Report) -> String {
    let c = &r.campaign;
    let mut t = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"><style>\
         body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}\
         table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #8884;padding:.25rem .5rem;text-align:left;vertical-align:top}\
         code{overflow-wrap:anywhere}.b{opacity:.7;font-size:.9em}</style>",
    );
    let _ = write!(
        t,
        "<title>Campaign {0}</title><h1>Campaign {0}</h1><p>Stage reached: <b>{1}</b>. First seen {2}, last seen {3}. Made {4}.</p><ul>",
        c.id,
        c.stage.map_or("none", |s| s.name()),
        c.first,
        c.last,
        r.made
    );
    let mark = |s: &Statement| match &s.basis {
        Basis::Observed => "observed".to_string(),
        Basis::Inferred { confidence, reason } => format!("inferred, {confidence} %: {}", esc(reason)),
        Basis::Claimed => "claimed by the intruder".into(),
    };
    for s in &r.summary {
        let _ = write!(t, "<li>{} <span class=b>({})</span>", esc(&s.text), mark(s));
    }
    t.push_str("</ul><h2>Techniques</h2><table><tr><th>first seen<th>stage<th>technique<th>sessions<th>why");
    for each in &r.techniques {
        let s = &each.seen;
        let _ = write!(
            t,
            "<tr><td>{}<td>{}<td>{} {}<td>{}<td>{}",
            s.first,
            s.stage.name(),
            esc(&s.technique),
            esc(&s.name),
            each.sessions,
            esc(&s.why)
        );
    }
    t.push_str("</table><h2>What happened</h2><table>");
    for s in &r.story {
        let quoted = s
            .quoted
            .as_deref()
            .map(|q| format!(" <code>{}</code>", esc(q)))
            .unwrap_or_default();
        let _ = write!(
            t,
            "<tr><td>{}<td>{}{quoted}<td class=b>{}",
            s.time,
            esc(&s.text),
            mark(s)
        );
    }
    t.push_str(
        "</table><h2>Why these sessions belong together</h2><table><tr><th>session<th>with<th>reason<th>what",
    );
    for l in r.links.iter().take(100) {
        let _ = write!(
            t,
            "<tr><td>{}<td>{}<td>{}<td>{}",
            l.session,
            l.other,
            esc(&l.reason),
            esc(&l.detail)
        );
    }
    t.push_str("</table><h2>Sessions</h2><table><tr><th>session<th>source<th>from<th>to<th>stage");
    for m in &r.sessions {
        let _ = write!(
            t,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}",
            m.session,
            esc(m.source.as_deref().unwrap_or_default()),
            m.first,
            m.last,
            m.stage.map_or("", |s| s.name())
        );
    }
    t.push_str("</table>");
    if !r.networks.is_empty() {
        t.push_str("<h2>Where the sources are</h2><ul>");
        for (network, n) in &r.networks {
            let _ = write!(t, "<li>{} ({n} sessions)", esc(network));
        }
        t.push_str("</ul>");
    }
    if !r.compared.is_empty() {
        t.push_str("<h2>Compared with earlier campaigns</h2><ul>");
        for line in &r.compared {
            let _ = write!(t, "<li>{}", esc(line));
        }
        t.push_str("</ul>");
    }
    t.push_str("<h2>Indicators</h2><ul>");
    for i in &r.indicators {
        let _ = write!(t, "<li>{}: <code>{}</code>", i.kind, esc(&shown(i)));
    }
    t.push_str("</ul></html>\n");
    t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(code("a`b``c"), "```a`b``c```");
        assert_eq!(code("`x"), "`` `x ``");
        assert!(code("\u{1b}[2J\u{202e}").contains("\\x1b") && !code("\u{202e}").contains('\u{202e}'));
        assert_eq!(code("curl http://e"), "`curl hxxp[:]//e`");
        assert_eq!(esc("<script>'\"&"), "&lt;script&gt;&#39;&quot;&amp;");
        assert_eq!(esc("mail a@b.example"), "mail a(at)b[.]example");
        assert!(plain("[x](http://e)").contains("\\[x\\](hxxp[:]//e)"));
        assert!(code(&"x".repeat(9_000)).len() < 2_100);
    }
}
