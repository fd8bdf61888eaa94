//! Responses as the configuration names them, checked before anything starts.

use std::time::Duration;

use super::act::Act;
use super::blocks::Blocks;
use super::engine::{Engine, Ignore, Rule};
use super::net::Net;
use super::nft::Protected;
use super::when::When;
use crate::config::Settings;
use crate::config::table::Watch;
use crate::respond::incident::Pace;
use turncoat_event::Time;

/// One rule: `CONDITION -> ACTION, ACTION`.
fn rule(number: usize, text: &str) -> Result<Rule, String> {
    let wrong = |why: &str| format!("respond.rules, rule {number}: {why}");
    let (when, then) = text.rsplit_once("->").ok_or_else(|| {
        wrong("expected CONDITION -> ACTION, ACTION, such as \"event == 'token.used' -> alert, block 24h\"")
    })?;
    let when: When = when.trim().parse().map_err(|e: String| wrong(&e))?;
    let then: Vec<Act> = then
        .split(',')
        .map(|a| a.trim().parse().map_err(|e: String| wrong(&e)))
        .collect::<Result<_, _>>()?;
    Ok(Rule {
        name: format!("rule-{number}"),
        when,
        then,
    })
}

/// The rules that the word `default` stands for.
fn default_rules(watch: Watch) -> &'static [&'static str] {
    match watch {
        Watch::Internet => &[
            "event == 'token.used' -> alert, block 24h",
            "campaign.stage >= 'persistence' -> alert, block 24h",
            "event == 'system.degraded' -> alert",
        ],
        // Inside, nobody has business with a decoy: every contact is news.
        Watch::Internal => &[
            "event == 'token.used' -> alert, block 24h",
            "campaign.stage >= 'initial-access' -> alert, block 24h",
            "event == 'session.open' or event == 'auth.attempt' -> alert",
            "event == 'system.degraded' -> alert",
        ],
    }
}

/// One ignore rule: `CONDITION` or `CONDITION until 2027-01-31`, a day or a time in UTC.
fn ignore(number: usize, text: &str) -> Result<Ignore, String> {
    let wrong = |why: String| format!("respond.ignore, rule {number}: {why}");
    let (when, until) = match text.rsplit_once(" until ") {
        Some((when, day)) => {
            let day = day.trim().trim_matches(['\'', '"']);
            let until: Time = day.parse().map_err(|_| {
                wrong(format!(
                    "{day:?} is no day; write 2027-01-31 or 2027-01-31T12:00:00Z"
                ))
            })?;
            (when, Some(until))
        }
        None => (text, None),
    };
    let when = when.trim().parse().map_err(wrong)?;
    Ok(Ignore { when, until })
}

fn nets(key: &str, list: &[String]) -> Result<Vec<Net>, String> {
    list.iter()
        .map(|t| t.parse::<Net>().map_err(|e| format!("{key}: {e}")))
        .collect()
}

/// Loopback, unspecified and link-local addresses are never blocked, nor this host's own.
fn always() -> Vec<Net> {
    ["127.0.0.0/8", "::1", "0.0.0.0/8", "169.254.0.0/16", "fe80::/10"]
        .iter()
        .filter_map(|t| t.parse().ok())
        .collect()
}

/// What lies behind the decoys' back: networks to protect and ports to leave open.
///
/// # Errors
/// One line for the operator.
pub fn protected(settings: &Settings) -> Result<Protected, String> {
    let ports = |l: &[std::net::SocketAddr]| l.iter().map(std::net::SocketAddr::port).collect::<Vec<_>>();
    let mut decoy_ports = ports(&settings.ssh.listen);
    decoy_ports.extend(ports(&settings.telnet.listen));
    decoy_ports.sort_unstable();
    decoy_ports.dedup();
    Ok(Protected {
        nets: nets("block.protect", &settings.block.protect)?,
        decoy_ports,
    })
}

/// The engine that the settings ask for. `own` are addresses of this host, its gateways and resolvers.
///
/// # Errors
/// One line for the operator: what is wrong and what would be right.
pub fn engine(settings: &Settings, own: &[Net]) -> Result<Engine, String> {
    let texts = settings
        .respond
        .rules
        .iter()
        .flat_map(|text| match text.0.trim() {
            "default" => default_rules(settings.watch.kind).to_vec(),
            other => vec![other],
        });
    let rules = texts
        .enumerate()
        .map(|(i, t)| rule(i + 1, t))
        .collect::<Result<Vec<_>, _>>()?;
    let ignore = settings
        .respond
        .ignore
        .iter()
        .enumerate()
        .map(|(i, t)| ignore(i + 1, t))
        .collect::<Result<Vec<_>, String>>()?;
    if settings.block.enabled && settings.block.protect.is_empty() {
        return Err("block.protect: name the networks to protect, such as [\"10.0.0.0/24\"], or leave block.enabled off".into());
    }
    protected(settings)?;
    let mut never = always();
    never.extend_from_slice(own);
    let allow = nets("block.allow", &settings.block.allow)?;
    let most = usize::try_from(settings.block.most).unwrap_or(usize::MAX);
    Ok(Engine::new(
        rules,
        ignore,
        Blocks::new(&never, &allow, most),
        settings.block.enabled,
        settings.respond.dry_run,
    ))
}

/// The pace of alerts.
pub fn pace(settings: &Settings) -> Pace {
    let seconds = |s: crate::config::value::Span| i64::try_from(s.0 / 1000).unwrap_or(i64::MAX);
    Pace {
        update: seconds(settings.alert.update),
        close: seconds(settings.alert.close),
        hourly: usize::try_from(settings.alert.hourly).unwrap_or(usize::MAX),
    }
}

/// How often the engine looks for what has expired.
pub const TICK: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_may_be_written_in_two_parts() {
        use crate::config::value::{RuleText, Setting};
        let read = |text: &str| Vec::<RuleText>::from_text(text);
        let when = "campaign.stage >= 'persistence' or event == 'token.used'";
        let parts = format!("[{{ when = \"{when}\", then = [\"alert\", \"block 24h\"] }}, \"default\"]");
        let rules = read(&parts).expect("two rules");
        assert_eq!(rules[0].0, format!("{when} -> alert, block 24h"));
        let mut s = Settings::default();
        s.respond.rules = rules;
        assert!(engine(&s, &[]).is_ok());
        for wrong in [
            "[{ when = \"event == 'token.used'\" }]",
            "[{ when = \"event == 'token.used'\", then = [] }]",
            "[{ when = \"event == 'token.used'\", then = [\"alert\"], name = \"x\" }]",
            "[{ when = 1, then = [\"alert\"] }]",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_defaults_are_right_and_mistakes_are_named() {
        let mut s = Settings::default();
        assert!(engine(&s, &[]).is_ok());
        s.respond.rules = vec!["campaign.stage >= 'persistence' -> alert, block 24h".into()];
        assert!(engine(&s, &[]).is_ok());
        s.respond.rules = vec!["campaign.stage >= 'x' -> alert".into()];
        assert!(
            engine(&s, &[])
                .err()
                .is_some_and(|e| e.starts_with("respond.rules, rule 1:") && e.contains("reconnaissance"))
        );
        s.respond.rules = vec!["event == 'token.used' -> shoot".into()];
        assert!(engine(&s, &[]).err().is_some_and(|e| e.contains("shoot")));
        s.respond.rules = vec!["default".into(), "technique == 'T1496' -> alert".into()];
        assert!(engine(&s, &[]).is_ok_and(|e| e.wants("system.degraded") && !e.wants("session.open")));
        s.watch.kind = Watch::Internal;
        assert!(engine(&s, &[]).is_ok_and(|e| e.wants("session.open") && !e.wants("token.used")));
        s.respond.ignore = vec!["port == 2222 and source in '10.0.0.7' until 2027-01-31".into()];
        assert!(engine(&s, &[]).is_ok());
        s.respond.ignore = vec!["source in '10.0.0.7' until soon".into()];
        assert!(
            engine(&s, &[])
                .err()
                .is_some_and(|e| e.contains("soon") && e.contains("2027-01-31"))
        );
        s.respond.ignore.clear();
        s.respond.rules.clear();
        s.block.enabled = true;
        assert!(engine(&s, &[]).err().is_some_and(|e| e.contains("block.protect")));
        s.block.protect = vec!["10.0.0.0/99".into()];
        assert!(engine(&s, &[]).err().is_some_and(|e| e.contains("10.0.0.0/99")));
    }
}
