//! Rules: read from TOML, checked, and matched against events.

use super::Stage;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One condition on a field of an event. All that are given must hold; a list field fulfils one if any element does.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Condition {
    /// Name of the field.
    field: String,
    /// One of these values.
    is: Vec<Value>,
    /// Any of these shapes; `*` stands for any run of characters, also `/`.
    like: Vec<String>,
    /// None of these shapes.
    unlike: Vec<String>,
    /// A number at least this large.
    from: Option<f64>,
}

/// Events of a rule's own test.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Examples {
    yes: Vec<BTreeMap<String, Value>>,
    no: Vec<BTreeMap<String, Value>>,
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Unique id.
    pub id: String,
    /// ATT&CK id.
    pub technique: String,
    /// Name of the technique.
    pub name: String,
    /// Stage.
    pub stage: Stage,
    /// Kind of event it looks at.
    pub event: String,
    /// Why such an event shows the technique.
    pub why: String,
    /// The event itself is the technique (otherwise it is inferred).
    #[serde(default = "yes")]
    pub observed: bool,
    /// Number of such events needed.
    #[serde(default = "one")]
    pub at_least: u64,
    #[serde(default)]
    when: Vec<Condition>,
    #[serde(default)]
    examples: Examples,
}

fn yes() -> bool {
    true
}

fn one() -> u64 {
    1
}

/// Shape match: `*` stands for any run of bytes. Linear backtracking to the last star only.
fn like(shape: &[u8], text: &[u8]) -> bool {
    let (mut s, mut t, mut star, mut mark) = (0, 0, None, 0);
    while t < text.len() {
        if s < shape.len() && shape[s] == b'*' {
            star = Some(s);
            mark = t;
            s += 1;
        } else if s < shape.len() && shape[s] == text[t] {
            s += 1;
            t += 1;
        } else if let Some(at) = star {
            s = at + 1;
            mark += 1;
            t = mark;
        } else {
            return false;
        }
    }
    shape[s..].iter().all(|c| *c == b'*')
}

/// Text of a field: strings as they are, bytes that are not UTF-8 by their base64 form (which no shape is written for).
fn texts(v: &Value) -> Vec<String> {
    match v {
        Value::String(s) => vec![s.clone()],
        Value::Array(a) => {
            let each: Vec<String> = a.iter().flat_map(texts).collect();
            let mut all = vec![each.join(" ")];
            all.extend(each);
            all
        }
        Value::Number(n) => vec![n.to_string()],
        Value::Bool(b) => vec![b.to_string()],
        _ => vec![],
    }
}

impl Condition {
    fn holds(&self, fields: &Value) -> bool {
        let Some(v) = fields.get(&self.field) else {
            return false;
        };
        if !self.is.is_empty() && !self.is.contains(v) {
            return false;
        }
        if let Some(from) = self.from
            && v.as_f64().is_none_or(|n| n < from)
        {
            return false;
        }
        if self.like.is_empty() && self.unlike.is_empty() {
            return true;
        }
        let texts = texts(v);
        let any = |shapes: &[String]| {
            shapes
                .iter()
                .any(|s| texts.iter().any(|t| like(s.as_bytes(), t.as_bytes())))
        };
        (self.like.is_empty() || any(&self.like)) && !any(&self.unlike)
    }
}

/// What came of a rule's own examples.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Tested {
    /// Id of the rule.
    pub id: String,
    /// ATT&CK id.
    pub technique: String,
    /// Stage.
    pub stage: Stage,
    /// Kind of event it looks at.
    pub event: String,
    /// Events that must match.
    pub examples: usize,
    /// Events that must not.
    pub counterexamples: usize,
    /// What does not hold, each to be read behind the rule's name.
    pub wrong: Vec<String>,
}

impl Rule {
    /// Tries the rule with its own examples, and looks whether its event has the fields that it asks for.
    pub fn test(&self) -> Tested {
        let mut wrong = Vec::new();
        let kinds = turncoat_event::kinds::table();
        match kinds.iter().find(|k| k.name == self.event) {
            None => wrong.push(format!("looks at {:?}, which is no event", self.event)),
            Some(kind) => {
                let has = |field: &String| kind.fields.iter().any(|f| f.name == field);
                let named = self.when.iter().map(|c| &c.field);
                let shown = self.examples.yes.iter().chain(&self.examples.no);
                for field in named.chain(shown.flat_map(BTreeMap::keys)) {
                    let says = format!("names {field:?}, which {} does not have", self.event);
                    if !has(field) && !wrong.contains(&says) {
                        wrong.push(says);
                    }
                }
            }
        }
        for (examples, wanted) in [(&self.examples.yes, true), (&self.examples.no, false)] {
            for example in examples {
                let fields = serde_json::to_value(example).unwrap_or_default();
                if self.matches(&fields) != wanted {
                    let says = if wanted { "does not match" } else { "matches" };
                    let kind = if wanted { "example" } else { "counterexample" };
                    wrong.push(format!("{says} its {kind} {fields}"));
                }
            }
        }
        Tested {
            id: self.id.clone(),
            technique: self.technique.clone(),
            stage: self.stage,
            event: self.event.clone(),
            examples: self.examples.yes.len(),
            counterexamples: self.examples.no.len(),
            wrong,
        }
    }

    /// True if the fields of an event of the rule's kind fulfil all conditions.
    pub fn matches(&self, fields: &Value) -> bool {
        self.when.iter().all(|c| c.holds(fields))
    }
}

/// A rule file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRules(pub String);

impl std::fmt::Display for BadRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadRules {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<Rule>,
}

/// All rules, by kind of event.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    by_event: BTreeMap<String, Vec<Rule>>,
}

const BUILT_IN: &[(&str, &str)] = &[
    ("access.toml", include_str!("../../data/techniques/access.toml")),
    ("inside.toml", include_str!("../../data/techniques/inside.toml")),
    ("effects.toml", include_str!("../../data/techniques/effects.toml")),
];

impl Rules {
    /// The rules that come with the program.
    ///
    /// # Errors
    /// Never for the files that are built in: a test reads them.
    pub fn built_in() -> Result<Rules, BadRules> {
        let mut rules = Rules::default();
        for (name, text) in BUILT_IN {
            rules.read(name, text)?;
        }
        Ok(rules)
    }

    /// Adds the rules of a file; a rule with the id of an earlier one replaces it. Each rule's examples are tried.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub fn read(&mut self, name: &str, text: &str) -> Result<(), BadRules> {
        let file: File = toml::from_str(text).map_err(|e| BadRules(format!("{name}: {e}")))?;
        for rule in file.rule {
            if let Some(wrong) = rule.test().wrong.first() {
                return Err(BadRules(format!("{name}: rule {} {wrong}", rule.id)));
            }
            self.put(rule);
        }
        Ok(())
    }

    /// Tries every rule of a file with its own examples, and tells of each. A rule that does not hold ends nothing here.
    ///
    /// # Errors
    /// The file is no file of rules.
    pub fn test(name: &str, text: &str) -> Result<Vec<Tested>, BadRules> {
        let file: File = toml::from_str(text).map_err(|e| BadRules(format!("{name}: {e}")))?;
        let mut all: Vec<Tested> = file.rule.iter().map(Rule::test).collect();
        for n in 1..all.len() {
            let (before, rest) = all.split_at_mut(n);
            if let Some(this) = rest.first_mut()
                && before.iter().any(|t| t.id == this.id)
            {
                this.wrong
                    .push("has the id of an earlier one in this file, which it replaces".into());
            }
        }
        Ok(all)
    }

    /// Adds the rules of `other`; one with the id of an earlier one replaces it.
    pub fn merge(&mut self, other: &Rules) {
        for rule in other.all() {
            self.put(rule.clone());
        }
    }

    fn put(&mut self, rule: Rule) {
        for list in self.by_event.values_mut() {
            list.retain(|r| r.id != rule.id);
        }
        self.by_event.entry(rule.event.clone()).or_default().push(rule);
    }

    /// The rules that look at events of this kind.
    pub fn for_event(&self, name: &str) -> impl Iterator<Item = &Rule> {
        self.by_event.get(name).into_iter().flatten()
    }

    /// All rules.
    pub fn all(&self) -> impl Iterator<Item = &Rule> {
        self.by_event.values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_rules_hold_and_each_has_both_kinds_of_example() {
        let rules = Rules::built_in().unwrap();
        assert!(rules.all().count() >= 25, "{}", rules.all().count());
        for r in rules.all() {
            assert!(!r.examples.yes.is_empty(), "{} has no example", r.id);
            assert!(
                r.when.is_empty() || !r.examples.no.is_empty(),
                "{} has no counterexample",
                r.id
            );
            assert!(r.technique.starts_with('T'), "{}", r.id);
        }
    }

    #[test]
    fn shapes() {
        assert!(like(b"/etc/cron*", b"/etc/cron.d/x") && like(b"*", b"") && like(b"a*b*c", b"axxbyyc"));
        assert!(!like(b"/etc/cron*", b"/etc/con") && !like(b"a*b", b"acd") && !like(b"", b"x"));
    }

    #[test]
    fn a_bad_rule_is_refused_with_its_file() {
        let mut r = Rules::default();
        let e = r
            .read(
                "my.toml",
                "[[rule]]\nid='x'\ntechnique='T1'\nname='n'\nstage='impact'\nevent='no.such'\nwhy='w'\n",
            )
            .unwrap_err();
        assert!(e.0.starts_with("my.toml: rule x"), "{e}");
        assert!(r.read("my.toml", "[[rule]]\nid=1").is_err());
        let rule = |when: &str, examples: &str| {
            format!(
                "[[rule]]\nid='x'\ntechnique='T1'\nname='n'\nstage='impact'\nevent='process.exec'\nwhy='w'\n\
                 when=[{{field='path', like=['{when}']}}]\nexamples={{{examples}}}\n"
            )
        };
        assert!(
            r.read(
                "my.toml",
                &rule("*/x", "yes=[{path='/bin/x'}], no=[{path='/bin/y'}]")
            )
            .is_ok()
        );
        let wrong = Rules::test(
            "my.toml",
            &rule(
                "*/x",
                "yes=[{path='/bin/y'}, {pfad='/bin/x'}], no=[{path='/bin/x'}]",
            ),
        )
        .unwrap();
        assert_eq!(
            wrong[0].wrong,
            [
                "names \"pfad\", which process.exec does not have",
                "does not match its example {\"path\":\"/bin/y\"}",
                "does not match its example {\"pfad\":\"/bin/x\"}",
                "matches its counterexample {\"path\":\"/bin/x\"}"
            ]
        );
        let twice = rule("*/x", "") + &rule("*/y", "");
        assert!(Rules::test("my.toml", &twice).unwrap()[1].wrong[0].contains("earlier one"));
    }
}
