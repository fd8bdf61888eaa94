//! Conditions of rules: `campaign.stage >= 'persistence' or event == 'token.used'`.
//!
//! Words are names (`event`, `campaign.stage`, …), texts in single or double quotes, whole numbers, and networks in quotes after `in`.
//! Comparisons are `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`; they are joined by `and`, `or`, `not` and parentheses. A condition is checked
//! when the configuration is read: an unknown name, a stage that does not exist or a comparison that makes no sense is an error there.

use super::net::Net;
use std::net::IpAddr;
use turncoat_intel::Stage;

/// What a condition is asked about.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Name of the event that was just recorded, or of what happened to the campaign (`campaign.change`).
    pub event: String,
    /// Decoy.
    pub decoy: String,
    /// Port of the decoy that was reached.
    pub port: u64,
    /// Source address.
    pub source: Option<IpAddr>,
    /// ATT&CK ids seen in the campaign.
    pub techniques: Vec<String>,
    /// Stage of the campaign.
    pub stage: Option<Stage>,
    /// Sessions of the campaign.
    pub sessions: u64,
    /// Sources of the campaign.
    pub sources: u64,
    /// Planted things used.
    pub tokens: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Event,
    Decoy,
    Port,
    Source,
    Technique,
    Stage,
    Sessions,
    Sources,
    Tokens,
}

const NAMES: &[(&str, Name)] = &[
    ("event", Name::Event),
    ("decoy", Name::Decoy),
    ("port", Name::Port),
    ("source", Name::Source),
    ("technique", Name::Technique),
    ("campaign.stage", Name::Stage),
    ("campaign.sessions", Name::Sessions),
    ("campaign.sources", Name::Sources),
    ("campaign.tokens", Name::Tokens),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Number(u64),
    Stage(Stage),
    Nets(Vec<Net>),
}

#[derive(Clone, Debug, PartialEq)]
enum Expr {
    Or(Vec<Expr>),
    And(Vec<Expr>),
    Not(Box<Expr>),
    Compare(Name, Op, Value),
}

/// A checked condition.
#[derive(Clone, Debug, PartialEq)]
pub struct When(Expr);

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(u64),
    Op(Op),
    Open,
    Close,
}

/// Nesting that is read.
const DEPTH: usize = 32;
/// Length of a condition that is read, in bytes.
const LENGTH: usize = 4096;

fn lex(text: &str) -> Result<Vec<Token>, String> {
    if text.len() > LENGTH {
        return Err(format!("a condition has at most {LENGTH} bytes"));
    }
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let used = match c {
            '(' => {
                out.push(Token::Open);
                1
            }
            ')' => {
                out.push(Token::Close);
                1
            }
            '\'' | '"' => {
                let body = &rest[1..];
                let end = body
                    .find(c)
                    .ok_or_else(|| format!("a text that begins with {c} does not end"))?;
                out.push(Token::Text(body[..end].to_string()));
                end + 2
            }
            '=' | '!' | '<' | '>' => {
                let (op, n) = match (c, rest.as_bytes().get(1)) {
                    ('=', Some(b'=')) => (Op::Eq, 2),
                    ('!', Some(b'=')) => (Op::Ne, 2),
                    ('<', Some(b'=')) => (Op::Le, 2),
                    ('>', Some(b'=')) => (Op::Ge, 2),
                    ('<', _) => (Op::Lt, 1),
                    ('>', _) => (Op::Gt, 1),
                    _ => return Err(format!("{c:?} alone means nothing; did you mean {c}=?")),
                };
                out.push(Token::Op(op));
                n
            }
            _ if c.is_ascii_alphanumeric() || c == '_' => {
                let end = rest
                    .find(|k: char| !(k.is_ascii_alphanumeric() || k == '_' || k == '.' || k == '-'))
                    .unwrap_or(rest.len());
                let word = &rest[..end];
                out.push(match word {
                    "in" => Token::Op(Op::In),
                    _ if c.is_ascii_digit() => {
                        Token::Number(word.parse().map_err(|_| format!("{word:?} is no whole number"))?)
                    }
                    _ => Token::Word(word.to_string()),
                });
                end
            }
            _ => return Err(format!("{c:?} is not understood here")),
        };
        rest = rest[used..].trim_start();
    }
    Ok(out)
}

struct Parser {
    tokens: std::vec::IntoIter<Token>,
    ahead: Option<Token>,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        self.ahead.take().or_else(|| self.tokens.next())
    }

    fn word(&mut self, word: &str) -> bool {
        if self.ahead.is_none() {
            self.ahead = self.tokens.next();
        }
        if self.ahead == Some(Token::Word(word.into())) {
            self.ahead = None;
            return true;
        }
        false
    }

    fn or(&mut self, depth: usize) -> Result<Expr, String> {
        let mut all = vec![self.and(depth)?];
        while self.word("or") {
            all.push(self.and(depth)?);
        }
        Ok(if all.len() == 1 {
            all.remove(0)
        } else {
            Expr::Or(all)
        })
    }

    fn and(&mut self, depth: usize) -> Result<Expr, String> {
        let mut all = vec![self.one(depth)?];
        while self.word("and") {
            all.push(self.one(depth)?);
        }
        Ok(if all.len() == 1 {
            all.remove(0)
        } else {
            Expr::And(all)
        })
    }

    fn one(&mut self, depth: usize) -> Result<Expr, String> {
        if depth > DEPTH {
            return Err("too many parentheses".into());
        }
        if self.word("not") {
            return Ok(Expr::Not(Box::new(self.one(depth + 1)?)));
        }
        match self.next() {
            Some(Token::Open) => {
                let e = self.or(depth + 1)?;
                match self.next() {
                    Some(Token::Close) => Ok(e),
                    _ => Err("a parenthesis is not closed".into()),
                }
            }
            Some(Token::Word(w)) => {
                let name = NAMES.iter().find(|n| n.0 == w).map(|n| n.1).ok_or_else(|| {
                    let all: Vec<_> = NAMES.iter().map(|n| n.0).collect();
                    format!("there is no {w:?}; names are {}", all.join(", "))
                })?;
                let Some(Token::Op(op)) = self.next() else {
                    return Err(format!(
                        "after {w} a comparison is needed (==, !=, <, <=, >, >=, in)"
                    ));
                };
                let value = match self.next() {
                    Some(Token::Text(t)) => Value::Text(t),
                    Some(Token::Number(n)) => Value::Number(n),
                    _ => return Err(format!("{w} is compared with nothing; texts stand in quotes")),
                };
                check(&w, name, op, value)
            }
            Some(t) => Err(format!("a name is needed, not {t:?}")),
            None => Err("the condition ends too early".into()),
        }
    }
}

fn check(word: &str, name: Name, op: Op, value: Value) -> Result<Expr, String> {
    let ordered = matches!(op, Op::Lt | Op::Le | Op::Gt | Op::Ge);
    let value = match (name, value) {
        (Name::Stage, Value::Text(t)) if op != Op::In => Value::Stage(t.parse()?),
        (Name::Port | Name::Sessions | Name::Sources | Name::Tokens, Value::Number(n)) if op != Op::In => {
            Value::Number(n)
        }
        (Name::Source, Value::Text(t)) if !ordered => Value::Nets(
            t.split(',')
                .map(|n| n.trim().parse::<Net>())
                .collect::<Result<_, _>>()?,
        ),
        (Name::Event, Value::Text(t)) if matches!(op, Op::Eq | Op::Ne) => {
            if !turncoat_event::Kind::NAMES.contains(&t.as_str()) {
                return Err(format!("there is no event {t:?}; docs/events.md lists them"));
            }
            Value::Text(t)
        }
        (Name::Decoy | Name::Technique, Value::Text(t)) if matches!(op, Op::Eq | Op::Ne) => Value::Text(t),
        _ => return Err(format!("{word} cannot be compared in this way")),
    };
    Ok(Expr::Compare(name, op, value))
}

fn ordered<T: PartialOrd>(a: &T, op: Op, b: &T) -> bool {
    match op {
        Op::Eq => a == b,
        Op::Ne => a != b,
        Op::Lt => a < b,
        Op::Le => a <= b,
        Op::Gt => a > b,
        Op::Ge => a >= b,
        Op::In => false,
    }
}

impl Expr {
    fn holds(&self, f: &Facts) -> bool {
        match self {
            Expr::Or(all) => all.iter().any(|e| e.holds(f)),
            Expr::And(all) => all.iter().all(|e| e.holds(f)),
            Expr::Not(e) => !e.holds(f),
            Expr::Compare(name, op, value) => match (name, value) {
                (Name::Event, Value::Text(t)) => ordered(&f.event, *op, t),
                (Name::Decoy, Value::Text(t)) => ordered(&f.decoy, *op, t),
                (Name::Technique, Value::Text(t)) => {
                    // A technique covers its sub-techniques.
                    let has = f
                        .techniques
                        .iter()
                        .any(|k| k == t || k.strip_prefix(t.as_str()).is_some_and(|r| r.starts_with('.')));
                    has == (*op == Op::Eq)
                }
                (Name::Stage, Value::Stage(s)) => f.stage.is_some_and(|now| ordered(&now, *op, s)),
                (Name::Port, Value::Number(n)) => ordered(&f.port, *op, n),
                (Name::Sessions, Value::Number(n)) => ordered(&f.sessions, *op, n),
                (Name::Sources, Value::Number(n)) => ordered(&f.sources, *op, n),
                (Name::Tokens, Value::Number(n)) => ordered(&f.tokens, *op, n),
                (Name::Source, Value::Nets(nets)) => {
                    let inside = f.source.is_some_and(|s| nets.iter().any(|n| n.contains(s)));
                    inside == (*op != Op::Ne)
                }
                _ => false,
            },
        }
    }
}

impl Expr {
    fn events(&self, out: &mut Vec<String>) {
        match self {
            Expr::Or(all) | Expr::And(all) => all.iter().for_each(|e| e.events(out)),
            Expr::Not(e) => e.events(out),
            Expr::Compare(Name::Event, _, Value::Text(t)) => out.push(t.clone()),
            Expr::Compare(..) => {}
        }
    }
}

impl When {
    /// The events that the condition names: it is asked about each of these when it is recorded, beside every change of a campaign.
    pub fn events(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.0.events(&mut out);
        out
    }

    /// True if the condition holds.
    pub fn holds(&self, facts: &Facts) -> bool {
        self.0.holds(facts)
    }
}

impl std::str::FromStr for When {
    type Err = String;
    fn from_str(text: &str) -> Result<When, String> {
        let mut p = Parser {
            tokens: lex(text)?.into_iter(),
            ahead: None,
        };
        let e = p.or(0)?;
        match p.next() {
            None => Ok(When(e)),
            Some(t) => Err(format!("{t:?} is too much; conditions are joined by and, or")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, f: &Facts) -> bool {
        text.parse::<When>()
            .unwrap_or_else(|e| panic!("{text}: {e}"))
            .holds(f)
    }

    #[test]
    fn conditions_hold_as_they_read() {
        let f = Facts {
            event: "token.used".into(),
            stage: Some(Stage::Persistence),
            source: "192.0.2.7".parse().ok(),
            techniques: vec!["T1098.004".into()],
            sessions: 3,
            ..Facts::default()
        };
        assert!(holds(
            "campaign.stage >= 'persistence' or event == 'heartbeat'",
            &f
        ));
        assert!(holds("event == \"token.used\"", &f));
        assert!(!holds("campaign.stage > 'persistence'", &f));
        assert!(holds(
            "not (campaign.sessions < 3) and source in '10.0.0.0/8, 192.0.2.0/24' and port == 0",
            &f
        ));
        assert!(holds("technique == 'T1098' and technique != 'T1099'", &f));
        assert!(!holds("source != '192.0.2.7'", &f));
        assert!(
            !holds("campaign.stage != 'impact'", &Facts::default()),
            "no stage is no stage"
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_hint() {
        for (text, hint) in [
            ("campaign.stge == 'x'", "campaign.stage"),
            ("campaign.stage >= 'persistance'", "persistence"),
            ("event == 'token.use'", "events.md"),
            ("event", "comparison"),
            ("(event == 'heartbeat'", "not closed"),
            ("event = 'heartbeat'", "=="),
            ("source in '10.0.0.0/33'", "10.0.0.0/33"),
            ("campaign.sessions > '3'", "compared"),
            ("event == 'heartbeat' event", "too much"),
            ("", "too early"),
        ] {
            let e = text.parse::<When>().unwrap_err();
            assert!(e.contains(hint), "{text}: {e}");
        }
    }

    #[test]
    fn any_text_is_read_or_refused() {
        let parts = [
            "(",
            ")",
            "not ",
            "and ",
            "or ",
            "event ",
            "== ",
            "'",
            "\"",
            "1",
            "é",
            "in ",
            "campaign.stage ",
            "'impact' ",
        ];
        let mut x = 1u64;
        for _ in 0..20_000 {
            let mut t = String::new();
            for _ in 0..(x % 12) {
                x = x
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                t += parts[(x >> 33) as usize % parts.len()];
            }
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(7);
            let _ = t.parse::<When>();
        }
        assert!("(".repeat(4000).parse::<When>().is_err());
    }
}
