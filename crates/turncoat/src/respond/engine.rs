//! Rules meet campaigns: what is to be done, decided in one place.

use super::act::Act;
use super::blocks::{Blocks, Refusal};
use super::incident::{Incidents, Severity};
use super::net::Net;
use super::when::{Facts, When};
use std::collections::BTreeSet;
use std::net::IpAddr;
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
    /// All sources of the campaign that completed a TCP connection with us themselves.
    pub proved: Vec<IpAddr>,
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
        Engine {
            rules,
            ignore,
            blocks,
            incidents: Incidents::default(),
            dry_run,
            done: BTreeSet::new(),
            blocking,
        }
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

    /// Decides about one happening. Gives events for the record and orders for the process that blocks.
    pub fn decide(&mut self, h: &Happening, now: Time) -> (Vec<Kind>, Vec<Order>) {
        let (mut events, mut orders) = (Vec::new(), Vec::new());
        if self
            .ignore
            .iter()
            .any(|i| i.until.is_none_or(|u| now < u) && i.when.holds(&h.facts))
        {
            return (events, orders);
        }
        let who = h
            .campaign
            .clone()
            .unwrap_or_else(|| h.facts.source.map(|s| s.to_string()).unwrap_or_default());
        for rule in &self.rules {
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
                            campaign: h.campaign.clone(),
                            target,
                            until,
                            dry_run,
                        }
                        .into()
                    };
                match act {
                    Act::Alert => {
                        let once = (
                            rule.name.clone(),
                            format!("{who}/{}/{:?}", h.facts.event, h.facts.stage),
                        );
                        if self.done.len() >= REMEMBERED {
                            self.done.clear();
                        }
                        if !self.done.insert(once) {
                            continue;
                        }
                        events.push(decided("alert", None, None, self.dry_run));
                        if !self.dry_run {
                            let title = format!("{who}: {}", h.facts.stage.map_or("contact", |s| s.name()));
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
                        for source in &h.proved {
                            let net = Net::of_source(*source);
                            if !self.blocking || self.dry_run {
                                if self.done.insert((rule.name.clone(), format!("dry/{net}"))) {
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
                                Err(r @ (Refusal::Allowed(_) | Refusal::NoSource)) => {
                                    if self.done.insert((rule.name.clone(), format!("refused/{net}"))) {
                                        events.push(refused(&rule.name, &net, &r));
                                    }
                                }
                                Err(r) => events.push(refused(&rule.name, &net, &r)),
                            }
                        }
                    }
                }
            }
        }
        (events, orders)
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
            proved: vec![source],
            what: "a file of authorized keys was written".into(),
        }
    }

    #[test]
    fn a_rule_alerts_once_and_blocks_all_sources() {
        let mut e = engine(true, false);
        assert_eq!(
            e.decide(&happening(Some(Stage::Discovery), "192.0.2.1"), Time(0))
                .1,
            vec![]
        );
        let (events, orders) = e.decide(&happening(Some(Stage::Persistence), "192.0.2.1"), Time(0));
        assert_eq!(
            orders,
            vec![Order::Block(
                "192.0.2.1".parse().unwrap(),
                Time(86_400_000_000_000)
            )]
        );
        assert_eq!(events.len(), 2);
        assert_eq!(e.incidents.len(), 1);
        let (again, orders) = e.decide(&happening(Some(Stage::Persistence), "192.0.2.1"), Time(5));
        assert!(again.is_empty() && orders.is_empty());
        assert_eq!(
            e.tick(Time(86_400_000_000_010)).1,
            vec![Order::Lift("192.0.2.1".parse().unwrap())]
        );
    }

    #[test]
    fn off_dry_run_ignored_and_allowed_do_nothing() {
        for (blocking, dry) in [(false, false), (true, true)] {
            let mut e = engine(blocking, dry);
            let (events, orders) = e.decide(&happening(Some(Stage::Impact), "192.0.2.1"), Time(0));
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
            e.decide(&happening(Some(Stage::Impact), "192.0.2.99"), Time(0))
                .0
                .is_empty()
        );
        assert!(
            !e.decide(&happening(Some(Stage::Impact), "192.0.2.99"), Time(2_000))
                .1
                .is_empty(),
            "the ignore rule has expired"
        );
        let (events, orders) = e.decide(&happening(Some(Stage::Impact), "127.0.0.5"), Time(0));
        assert!(orders.is_empty());
        assert!(
            events
                .iter()
                .any(|k| matches!(k, Kind::ResponseResult(r) if r.result == "refused"))
        );
    }
}
