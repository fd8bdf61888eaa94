//! Events in plain words, and an intruder's text as it may be looked at.
//!
//! What is ours and what was his are kept apart ([`Told`]): his words are quoted, made visible and without live links, whichever page they
//! stand on.

use turncoat_event::{Bytes, Event, Kind, show};

/// How much something matters to whoever looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tone {
    /// Noise: scans, refused logins.
    Quiet,
    /// Something an intruder did.
    Act,
    /// He is in, or came further.
    Inside,
    /// Somebody must know.
    Alarm,
    /// Something we or the operator did.
    Ours,
}

impl Tone {
    /// Name of the class that pages give it.
    pub fn class(self) -> &'static str {
        match self {
            Tone::Quiet => "quiet",
            Tone::Act => "act",
            Tone::Inside => "inside",
            Tone::Alarm => "alarm",
            Tone::Ours => "ours",
        }
    }
}

/// An event in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Our words.
    pub what: String,
    /// His words, visible and without links.
    pub quoted: Option<String>,
    /// How much it matters.
    pub tone: Tone,
}

/// The most characters of his text on one line.
const LONG: usize = 400;

/// His bytes, visible, on one line, shortened.
pub fn his(bytes: &[u8]) -> String {
    let end = bytes.len().min(LONG * 4);
    show::short(
        &show::unlink(&show::bytes(bytes.get(..end).unwrap_or(bytes))),
        LONG,
    )
}

/// His text, visible, on one line, shortened.
pub fn text(text: &str) -> String {
    his(text.as_bytes())
}

/// Hides what was tried as a secret, as every output does where the settings say so.
pub fn mask(event: &mut Event) {
    event.kind.mask_secrets(&|_| Bytes::from("***"));
}

/// An event in plain words. Ours may hold a word or two of his (a name, a reason): they are made harmless as his are.
pub fn tell(event: &Event) -> Told {
    let told = say(event);
    Told {
        what: text(&told.what),
        ..told
    }
}

fn say(event: &Event) -> Told {
    let told = |what: String, quoted: Option<&Bytes>, tone| Told {
        what,
        quoted: quoted.map(|b| his(b.as_slice())),
        tone,
    };
    let ours = |what: String, quoted: Option<&str>, tone| Told {
        what,
        quoted: quoted.map(text),
        tone,
    };
    use Tone::{Act, Alarm, Inside, Ours, Quiet};
    match &event.kind {
        Kind::SessionOpen(_) => told("connected".into(), None, Quiet),
        Kind::SessionClose(it) => told(
            format!("left after {} ({})", lasted(it.duration_ms), it.reason),
            None,
            Quiet,
        ),
        Kind::SessionLink(it) => ours(format!("is linked by {}", it.reason), it.detail.as_deref(), Act),
        Kind::ClientVersion(it) => told("names its client".into(), Some(&it.version), Quiet),
        Kind::ClientKex(it) => ours("client's algorithms".into(), Some(&it.hassh), Quiet),
        Kind::ClientProtocol(it) => ours("broke the protocol".into(), Some(&it.problem), Quiet),
        Kind::ClientOption(it) => told("set an option".into(), Some(&it.name), Quiet),
        Kind::AuthAttempt(it) => {
            let mut with = it.user.as_slice().to_vec();
            if let Some(secret) = &it.secret {
                with.extend_from_slice(b" / ");
                with.extend_from_slice(secret.as_slice());
            } else if let Some(fingerprint) = &it.fingerprint {
                with.extend_from_slice(b" ");
                with.extend_from_slice(fingerprint.as_bytes());
            }
            let (what, tone) = match (it.accepted, it.probe == Some(true)) {
                (true, false) => ("got in by", Inside),
                (_, true) => ("asked whether a key would do,", Quiet),
                (false, _) => ("was refused, tried", Quiet),
            };
            Told {
                what: format!("{what} {}", it.method),
                quoted: Some(his(&with)),
                tone,
            }
        }
        Kind::TerminalOpen(it) => told(
            format!("opened a terminal of {}x{}", it.columns, it.rows),
            Some(&it.term),
            Act,
        ),
        Kind::TerminalResize(it) => told(format!("resized to {}x{}", it.columns, it.rows), None, Quiet),
        Kind::CommandInput(it) => told("typed".into(), Some(&it.line), Act),
        Kind::CommandExec(it) => told("ran".into(), Some(&it.command), Act),
        Kind::SubsystemRequest(it) => told("asked for the subsystem".into(), Some(&it.name), Act),
        Kind::ProcessExec(it) => {
            let argv: Vec<&[u8]> = it.argv.iter().map(Bytes::as_slice).collect();
            Told {
                what: format!("program {} started", it.pid),
                quoted: Some(his(&argv.join(&b' '))),
                tone: Quiet,
            }
        }
        Kind::ProcessExit(it) => told(format!("program {} ended", it.pid), None, Quiet),
        Kind::ProcessKill(it) => ours(
            format!("signal {} to {}", it.signal, it.target),
            it.target_name.as_deref(),
            Act,
        ),
        Kind::FileCreate(it) => told("made a file".into(), Some(&it.path), Quiet),
        Kind::FileWrite(it) => told(
            format!("wrote a file, {}", show::size(it.size)),
            Some(&it.path),
            Act,
        ),
        Kind::FileRemove(it) => told("removed".into(), Some(&it.path), Act),
        Kind::FileRename(it) => told("renamed a file to".into(), Some(&it.to), Act),
        Kind::FileAttribute(it) => told(
            format!("changed a file: {}", show::line(&it.change)),
            Some(&it.path),
            Act,
        ),
        Kind::FileArtifact(it) => told(
            match it.how.as_str() {
                "written" => format!("a file was written and is kept, {}", show::size(it.size)),
                how => format!("brought a file by {how}, {}", show::size(it.size)),
            },
            Some(&it.path),
            Inside,
        ),
        Kind::NetConnect(it) => told(
            format!(
                "wanted to connect to {} port {} ({})",
                it.address, it.port, it.answer
            ),
            it.name.as_ref(),
            Act,
        ),
        Kind::NetListen(it) => told(format!("opened port {}", it.port), it.program.as_ref(), Act),
        Kind::NetResolve(it) => told("looked up a name".into(), Some(&it.name), Act),
        Kind::NetBytes(it) => told(
            format!("sent {} to {}", show::size(it.total), it.address),
            Some(&it.bytes),
            Act,
        ),
        Kind::ForwardRequest(it) => told(
            format!("asked to be forwarded to port {} of", it.port),
            Some(&it.host),
            Act,
        ),
        Kind::ForwardBytes(it) => told("sent through a forwarding".into(), Some(&it.bytes), Act),
        Kind::ProtocolRequest(it) => told("asked for".into(), Some(&it.name), Quiet),
        Kind::UserChange(it) => told(
            format!("changed an account ({})", it.change),
            Some(&it.user),
            Inside,
        ),
        Kind::UserBecome(it) => told(
            format!("user id {} became {}", it.from, it.to),
            it.program.as_ref(),
            Inside,
        ),
        Kind::BaitRead(it) => told(format!("took the bait {}", it.bait), Some(&it.path), Alarm),
        Kind::TokenUsed(it) => ours(
            format!("used the planted {} {}", it.kind, it.token),
            it.planted.as_deref(),
            Alarm,
        ),
        Kind::WorldStart(_) => told("a world started".into(), None, Quiet),
        Kind::WorldEnd(it) => told(format!("a world ended ({})", it.reason), None, Quiet),
        Kind::WorldPanic(it) => ours(
            "a world stopped for an error of ours".into(),
            Some(&it.message),
            Alarm,
        ),
        Kind::WorldGap(it) => ours(format!("met a gap of ours ({})", it.gap), Some(&it.detail), Quiet),
        Kind::LimitHit(it) => ours("reached a limit".into(), Some(&it.limit), Act),
        Kind::CampaignChange(it) => ours(
            match (it.change.as_str(), &it.stage) {
                ("stage", Some(stage)) => format!("{} reached the stage {stage}", it.campaign),
                (change, _) => format!("{} {change}", it.campaign),
            },
            it.reason.as_deref(),
            Inside,
        ),
        Kind::ResponseDecide(it) => ours(
            format!(
                "{}{} decided{}{}",
                it.action,
                it.campaign
                    .as_deref()
                    .map(|c| format!(" against {c}"))
                    .unwrap_or_default(),
                it.operator
                    .as_deref()
                    .map(|who| format!(" by {who}"))
                    .unwrap_or_default(),
                if it.dry_run { ", not done" } else { "" }
            ),
            it.target.as_deref(),
            Ours,
        ),
        Kind::ResponseResult(it) => ours(
            format!("response {}: {}", it.response, it.result),
            it.detail.as_deref(),
            Ours,
        ),
        Kind::AlertOpen(it) => ours(format!("alert ({})", it.severity), Some(&it.title), Alarm),
        Kind::AlertUpdate(it) => ours("alert goes on".into(), Some(&it.title), Alarm),
        Kind::AlertClose(it) => ours("alert is over".into(), Some(&it.alert), Ours),
        Kind::AlertSent(it) => ours(
            format!(
                "alert by {} {}",
                it.way,
                if it.delivered {
                    "delivered"
                } else {
                    "not delivered"
                }
            ),
            it.detail.as_deref(),
            Ours,
        ),
        Kind::OperatorAction(it) => ours(
            format!("{}: {}", it.operator, it.action),
            it.detail.as_deref(),
            Ours,
        ),
        Kind::SystemStart(it) => ours(format!("the program started, version {}", it.version), None, Ours),
        Kind::SystemStop(it) => ours(format!("the program stopped ({})", it.reason), None, Ours),
        Kind::SystemDegraded(it) => ours(it.problem.clone(), Some(&it.detail), Alarm),
        Kind::SystemRecovered(it) => ours(format!("{} is over", it.problem), Some(&it.detail), Ours),
        Kind::Heartbeat(_) => ours("is alive".into(), None, Quiet),
        // Kinds that are newer than this table.
        #[allow(unreachable_patterns)]
        other => ours(other.name().replace('.', " "), Some(&show::fields(other)), Act),
    }
}

/// A time span as people say it.
pub fn lasted(ms: u64) -> String {
    match ms / 1000 {
        0 => format!("{ms} ms"),
        s @ 1..=99 => format!("{s} s"),
        s @ 100..=5_999 => format!("{} min", s / 60),
        s @ 6_000..=172_799 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

/// A number with its thousands apart.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + 4);
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(d);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_dead_and_other_text_is_the_same() {
        assert_eq!(his(b"\x1b[2J\xff<b>"), "\\x1b[2J\\xff<b>");
        assert!(text(&"\u{202e}".repeat(5_000)).chars().count() <= LONG);
    }

    #[test]
    fn numbers_and_times_are_read_at_a_glance() {
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(number(999), "999");
        assert_eq!(
            [lasted(5), lasted(61_000), lasted(7_200_000)],
            ["5 ms", "61 s", "2 h"]
        );
    }
}
