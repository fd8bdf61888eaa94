//! Rules meet campaigns: what is to be done, decided in one place.

use super::act::Act;
use super::blocks::{Blocks, Refusal};
use super::incident::{Incidents, Severity};
use super::net::Net;
use super::when::{Facts, When};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;
use turncoat_event::{Kind, Time, kinds};
use turncoat_intel::Stage;

/// One rule of the configuration.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Name shown in events.
    pub name: String,
    /// Condition.
    pub when: When,
    /// Actions.
    pub then: Vec<Act>,
}

/// What happened, and to whom.
#[derive(Clone, Debug, Default)]
pub struct Happening {
    /// Facts for the conditions.
    pub facts: Facts,
    /// The campaign.
    pub campaign: Option<String>,
    /// What the incident is kept under where there is no campaign: a source, or `sensor`.
    pub key: String,
    /// More sessions than the one that this comes from may have become part of the campaign.
    pub grew: bool,
    /// In words.
    pub what: String,
}

/// What the other processes are to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Close the protected side to this network until then.
    Block(Net, Time),
    /// Open it again.
    Lift(Net),
}

/// Something that matches is never alerted or blocked: noise that the operator knows.
#[derive(Clone, Debug)]
pub struct Ignore {
    /// Condition.
    pub when: When,
    /// When the rule stops to apply.
    pub until: Option<Time>,
}

/// What came of an operator's wish to block.
#[derive(Clone, Debug, Default)]
pub struct ByHand {
    /// What is closed now, and until when.
    pub blocked: Vec<(Net, Time)>,
    /// What is not, and why.
    pub refused: Vec<(Net, String)>,
    /// For the record.
    pub events: Vec<Kind>,
}

/// What stands for a rule where an operator blocked by hand.
pub const BY_HAND: &str = "by-hand";

/// Refusals of one wish that are put on record.
pub const REFUSALS: usize = 100;

/// Decides. Plain data beside the rules.
pub struct Engine {
    rules: Vec<Rule>,
    ignore: Vec<Ignore>,
    /// What is blocked.
    pub blocks: Blocks,
    /// Open incidents.
    pub incidents: Incidents,
    /// Decide and record, but do nothing.
    pub dry_run: bool,
    done: BTreeSet<(String, String)>,
    fresh: Vec<(String, String)>,
    events: BTreeSet<String>,
    blocking: bool,
}

/// Pairs of rule and campaign that are remembered, so that a rule alerts once for each campaign and stage.
const REMEMBERED: usize = 100_000;

impl Engine {
    /// An engine with nothing done yet. Nothing is blocked unless `blocking`.
    pub fn new(
        rules: Vec<Rule>,
        ignore: Vec<Ignore>,
        blocks: Blocks,
        blocking: bool,
        dry_run: bool,
    ) -> Engine {
        let events = rules.iter().flat_map(|r| r.when.events()).collect();
        Engine {
            rules,
            ignore,
            blocks,
            incidents: Incidents::default(),
            dry_run,
            done: BTreeSet::new(),
            fresh: Vec::new(),
            events,
            blocking,
        }
    }

    /// True for events that a rule names. Those that come of campaigns and responses are not among them: `campaign.change` and
    /// `token.used` are decided with their campaign, the others would answer themselves.
    pub fn wants(&self, event: &str) -> bool {
        let own = ["campaign.", "response.", "alert."];
        event != "token.used" && !own.iter().any(|p| event.starts_with(p)) && self.events.contains(event)
    }

    /// What was done once and is not done again, as it was kept.
    pub fn remember(&mut self, rule: String, what: String) {
        self.done.insert((rule, what));
    }

    /// What was done once since the last call, to be kept: rule and what.
    pub fn fresh(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.fresh)
    }

    fn once(&mut self, rule: &str, what: String) -> bool {
        if self.done.len() >= REMEMBERED {
            self.done.clear();
        }
        let pair = (rule.to_owned(), what);
        if self.done.contains(&pair) {
            return false;
        }
        self.done.insert(pair.clone());
        self.fresh.push(pair);
        true
    }

    fn severity(facts: &Facts) -> Severity {
        if facts.event == "token.used" || facts.tokens > 0 {
            return Severity::Top;
        }
        match facts.stage {
            Some(s) if s >= Stage::Persistence => Severity::High,
            Some(s) if s >= Stage::Discovery => Severity::Medium,
            _ => Severity::Low,
        }
    }

    /// Decides about one happening. Gives events for the record and orders for the process that blocks. `all` gives every source of
    /// the campaign that completed a TCP connection with us; it is asked only where a rule blocks the campaign for the first time.
    pub fn decide(
        &mut self,
        h: &Happening,
        all: &mut dyn FnMut() -> Vec<IpAddr>,
        now: Time,
    ) -> (Vec<Kind>, Vec<Order>) {
        let (mut events, mut orders) = (Vec::new(), Vec::new());
        if self
            .ignore
            .iter()
            .any(|i| i.until.is_none_or(|u| now < u) && i.when.holds(&h.facts))
        {
            return (events, orders);
        }
        let who = h.campaign.clone().unwrap_or_else(|| h.key.clone());
        for rule in &self.rules.clone() {
            if !rule.when.holds(&h.facts) {
                continue;
            }
            for act in &rule.then {
                let decided =
                    |action: &str, target: Option<String>, until: Option<Time>, dry_run: bool| -> Kind {
                        kinds::ResponseDecide {
                            response: format!("{}/{}", rule.name, who),
                            action: action.into(),
                            rule: Some(rule.name.clone()),
                            operator: None,
                            campaign: h.campaign.clone(),
                            target,
                            until,
                            dry_run,
                        }
                        .into()
                    };
                match act {
                    Act::Alert => {
                        // Of a campaign each step is told once; what has none is bundled by its incident.
                        let step = format!("{who}/{}/{:?}", h.facts.event, h.facts.stage);
                        if h.campaign.is_some() && !self.once(&rule.name, step) {
                            continue;
                        }
                        if h.campaign.is_some() || self.incidents.is_new(&who) {
                            events.push(decided("alert", None, None, self.dry_run));
                        }
                        if !self.dry_run {
                            let title = match (&h.campaign, h.facts.stage) {
                                (Some(c), Some(s)) => format!("{c}: {}", s.name()),
                                (Some(c), None) => format!("{c}: contact"),
                                (None, _) => format!("{who}: {}", h.facts.event),
                            };
                            let severity = Self::severity(&h.facts);
                            self.incidents.note(
                                &who,
                                &title,
                                h.campaign.as_deref(),
                                severity,
                                h.what.clone(),
                                now,
                            );
                        }
                    }
                    Act::Block(duration) => {
                        let until =
                            now.plus_nanos(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX / 2));
                        let first = self.once(&rule.name, format!("{who}/block"));
                        let sources = if h.campaign.is_some() && (first || h.grew) {
                            all()
                        } else {
                            h.facts.source.into_iter().collect()
                        };
                        for source in &sources {
                            let net = Net::of_source(*source);
                            if !self.blocking || self.dry_run {
                                if self.once(&rule.name, format!("dry/{net}")) {
                                    events.push(decided("block", Some(net.to_string()), Some(until), true));
                                }
                                continue;
                            }
                            let known = self.blocks.iter().find(|b| b.net == net).map(|b| b.until);
                            match self
                                .blocks
                                .block(*source, now, until, h.campaign.clone(), &rule.name)
                            {
                                Ok(_) => {
                                    // A block that is in force is pushed again only if it grew by a good part.
                                    let grew = known
                                        .is_none_or(|k| until.since(k) > duration.as_nanos() as i64 / 10);
                                    if grew {
                                        events.push(decided(
                                            "block",
                                            Some(net.to_string()),
                                            Some(until),
                                            false,
                                        ));
                                        orders.push(Order::Block(net, until));
                                    }
                                }
                                Err(r) => {
                                    if self.once(&rule.name, format!("refused/{net}")) {
                                        events.push(refused(&rule.name, &net, &r));
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        (events, orders)
    }

    /// An operator closes the protected side to sources for so long. What he lifted himself before, he may close again.
    pub fn by_hand(
        &mut self,
        operator: &str,
        campaign: Option<&str>,
        sources: &[IpAddr],
        lasts: Duration,
        now: Time,
    ) -> ByHand {
        let until = now.plus_nanos(i64::try_from(lasts.as_nanos()).unwrap_or(i64::MAX / 2));
        let mut done = ByHand::default();
        let nets: BTreeSet<Net> = sources.iter().map(|s| Net::of_source(*s)).collect();
        for net in nets {
            let decided = kinds::ResponseDecide {
                response: format!(
                    "{BY_HAND}/{}",
                    campaign.map_or_else(|| net.to_string(), str::to_owned)
                ),
                action: "block".into(),
                rule: None,
                operator: Some(operator.into()),
                campaign: campaign.map(str::to_owned),
                target: Some(net.to_string()),
                until: Some(until),
                dry_run: !self.blocking || self.dry_run,
            };
            let why = if !self.blocking {
                Err("blocking is off (block.enabled)".to_owned())
            } else if self.dry_run {
                Err("a dry run touches nothing (respond.dry_run)".to_owned())
            } else {
                let campaign = campaign.map(str::to_owned);
                let closed = self.blocks.close(net, now, until, campaign, BY_HAND);
                closed.map(|block| block.until).map_err(|r| r.to_string())
            };
            match why {
                Ok(until) => {
                    done.blocked.push((net, until));
                    done.events.push(decided.into());
                }
                Err(why) => {
                    if done.refused.len() < REFUSALS {
                        let refused = result(&format!("{BY_HAND}/{net}"), "refused", Some(why.clone()));
                        done.events.push(refused);
                    }
                    done.refused.push((net, why));
                }
            }
        }
        done
    }

    /// Lifts what has expired.
    pub fn tick(&mut self, now: Time) -> (Vec<Kind>, Vec<Order>) {
        let over = self.blocks.expire(now);
        let events = over
            .iter()
            .map(|b| result(&format!("{}/{}", b.by, b.net), "expired", None))
            .collect();
        (events, over.into_iter().map(|b| Order::Lift(b.net)).collect())
    }
}

fn result(response: &str, result: &str, detail: Option<String>) -> Kind {
    kinds::ResponseResult {
        response: response.into(),
        result: result.into(),
        detail,
    }
    .into()
}

fn refused(rule: &str, net: &Net, why: &Refusal) -> Kind {
    result(&format!("{rule}/{net}"), "refused", Some(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(blocking: bool, dry_run: bool) -> Engine {
        let rule = Rule {
            name: "persistent".into(),
            when: "campaign.stage >= 'persistence' or event == 'token.used'"
                .parse()
                .unwrap(),
            then: vec![Act::Alert, "block 24h".parse().unwrap()],
        };
        let ignore = Ignore {
            when: "source in '192.0.2.99'".parse().unwrap(),
            until: Some(Time(1_000)),
        };
        let blocks = Blocks::new(&["127.0.0.0/8".parse().unwrap()], &[], 100);
        Engine::new(vec![rule], vec![ignore], blocks, blocking, dry_run)
    }

    /// Decides, where the campaign has this one source.
    fn decide(e: &mut Engine, h: &Happening, now: Time) -> (Vec<Kind>, Vec<Order>) {
        let source = h.facts.source;
        e.decide(h, &mut || source.into_iter().collect(), now)
    }

    fn happening(stage: Option<Stage>, source: &str) -> Happening {
        let source: IpAddr = source.parse().unwrap();
        Happening {
            facts: Facts {
                event: "campaign.change".into(),
                stage,
                source: Some(source),
                ..Facts::default()
            },
            campaign: Some("C-1".into()),
            key: source.to_string(),
            grew: false,
            what: "a file of authorized keys was written".into(),
        }
    }

    #[test]
    fn a_rule_alerts_once_and_blocks_all_sources() {
        let mut e = engine(true, false);
        assert_eq!(
            decide(&mut e, &happening(Some(Stage::Discovery), "192.0.2.1"), Time(0)).1,
            vec![]
        );
        let (events, orders) = decide(&mut e, &happening(Some(Stage::Persistence), "192.0.2.1"), Time(0));
        assert_eq!(
            orders,
            vec![Order::Block(
                "192.0.2.1".parse().unwrap(),
                Time(86_400_000_000_000)
            )]
        );
        assert_eq!(events.len(), 2);
        assert_eq!(e.incidents.len(), 1);
        let (again, orders) = decide(&mut e, &happening(Some(Stage::Persistence), "192.0.2.1"), Time(5));
        assert!(again.is_empty() && orders.is_empty());
        assert_eq!(
            e.tick(Time(86_400_000_000_010)).1,
            vec![Order::Lift("192.0.2.1".parse().unwrap())]
        );
    }

    #[test]
    fn by_hand_an_operator_blocks_what_may_be_blocked_and_is_told_why_not() {
        let day = Duration::from_secs(86_400);
        let sources: Vec<IpAddr> = ["192.0.2.1", "127.0.0.5", "2001:db8::7", "2001:db8::8"]
            .iter()
            .map(|s| s.parse().unwrap())
            .collect();
        let mut e = engine(true, false);
        let done = e.by_hand("a", Some("C-1"), &sources, day, Time(0));
        let nets: Vec<String> = done.blocked.iter().map(|(n, _)| n.to_string()).collect();
        assert_eq!(nets, ["192.0.2.1", "2001:db8::/64"], "a network is blocked once");
        assert_eq!(done.refused.len(), 1);
        assert!(done.refused[0].1.contains("allow-list"), "{:?}", done.refused);
        assert_eq!(done.events.len(), 3);
        assert!(matches!(&done.events[1], Kind::ResponseDecide(d)
            if d.operator.as_deref() == Some("a") && d.rule.is_none() && !d.dry_run));
        // What he lifted he may close again, which no rule may.
        let net: Net = "192.0.2.1".parse().unwrap();
        assert!(e.blocks.lift(&net).is_some());
        assert!(
            decide(&mut e, &happening(Some(Stage::Impact), "192.0.2.1"), Time(1))
                .1
                .is_empty()
        );
        let again = e.by_hand("a", None, &sources[..1], day, Time(2));
        assert_eq!(again.blocked, [(net, Time(2 + 86_400_000_000_000))]);
        let later = happening(Some(Stage::Impact), "192.0.2.1");
        assert!(
            decide(&mut e, &later, Time(9)).1.is_empty(),
            "no rule makes it longer"
        );
        // Off, or in a dry run, nothing is touched, and he is told so.
        for (blocking, dry, why) in [(false, false, "block.enabled"), (true, true, "respond.dry_run")] {
            let mut e = engine(blocking, dry);
            let done = e.by_hand("a", Some("C-1"), &sources[..1], day, Time(0));
            assert!(done.blocked.is_empty() && e.blocks.iter().next().is_none());
            assert!(done.refused[0].1.contains(why), "{:?}", done.refused);
        }
    }

    #[test]
    fn off_dry_run_ignored_and_allowed_do_nothing() {
        for (blocking, dry) in [(false, false), (true, true)] {
            let mut e = engine(blocking, dry);
            let (events, orders) = decide(&mut e, &happening(Some(Stage::Impact), "192.0.2.1"), Time(0));
            assert!(orders.is_empty() && e.blocks.iter().next().is_none());
            assert!(
                events
                    .iter()
                    .any(|k| matches!(k, Kind::ResponseDecide(d) if d.action == "block" && d.dry_run))
            );
            assert_eq!(e.incidents.is_empty(), dry);
        }
        let mut e = engine(true, false);
        assert!(
            decide(&mut e, &happening(Some(Stage::Impact), "192.0.2.99"), Time(0))
                .0
                .is_empty()
        );
        assert!(
            !decide(&mut e, &happening(Some(Stage::Impact), "192.0.2.99"), Time(2_000))
                .1
                .is_empty(),
            "the ignore rule has expired"
        );
        let (events, orders) = decide(&mut e, &happening(Some(Stage::Impact), "127.0.0.5"), Time(0));
        assert!(orders.is_empty());
        assert!(
            events
                .iter()
                .any(|k| matches!(k, Kind::ResponseResult(r) if r.result == "refused"))
        );
    }
}
