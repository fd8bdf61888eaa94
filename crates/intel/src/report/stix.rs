//! The report as a STIX 2.1 bundle (OASIS standard, June 2021). Identifiers follow from the campaign, so that a second export updates the first.

use super::{Indicator, Report};
use crate::hash::{self, mix};
use serde_json::{Value, json};
use turncoat_event::Time;

/// A UUID that follows from text (version 5 form over our own hash; the namespace is this function).
fn uuid(text: &str) -> String {
    let h = [0, 0x9e37_79b9_7f4a_7c15].map(|seed| mix(hash::seeded(text.as_bytes(), seed)));
    let hex = format!("{:016x}{:016x}", h[0], h[1]);
    let variant = ["8", "9", "a", "b"][(h[1] >> 62) as usize];
    format!(
        "{}-{}-5{}-{}{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        variant,
        &hex[17..20],
        &hex[20..]
    )
}

/// STIX wants milliseconds.
fn stamp(t: Time) -> String {
    let (y, mo, d, h, mi, s, _) = t.civil();
    format!(
        "{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}.{:03}Z",
        t.millis().rem_euclid(1000)
    )
}

fn pattern(i: &Indicator) -> Option<String> {
    let quoted = i.value.replace('\\', "\\\\").replace('\'', "\\'");
    Some(match i.kind {
        "ipv4" => format!("[ipv4-addr:value = '{quoted}']"),
        "ipv6" => format!("[ipv6-addr:value = '{quoted}']"),
        "domain" => format!("[domain-name:value = '{quoted}']"),
        "url" => format!("[url:value = '{quoted}']"),
        "sha256" => format!("[file:hashes.'SHA-256' = '{quoted}']"),
        _ => return None,
    })
}

/// The bundle. `sensor` names the producer.
pub fn stix(r: &Report, sensor: &str) -> Value {
    let c = &r.campaign;
    let (first, last, made) = (stamp(c.first), stamp(c.last), stamp(r.made));
    let seed = format!("{sensor}/{}/{}", c.id, c.first.0);
    let identity = format!("identity--{}", uuid(&format!("identity/{sensor}")));
    let campaign = format!("campaign--{}", uuid(&seed));
    let common = |id: &str, kind: &str| json!({"type": kind, "spec_version": "2.1", "id": id, "created": first, "modified": made, "created_by_ref": identity});
    let with = |mut base: Value, more: Value| {
        if let (Some(b), Value::Object(m)) = (base.as_object_mut(), more) {
            b.extend(m);
        }
        base
    };
    let mut objects = vec![
        json!({"type": "identity", "spec_version": "2.1", "id": identity, "created": first, "modified": made, "name": sensor, "identity_class": "system"}),
        with(
            common(&campaign, "campaign"),
            json!({
                "name": format!("Campaign {}", c.id),
                "description": r.summary.iter().map(|s| s.text.clone()).collect::<Vec<_>>().join(" "),
                "first_seen": first, "last_seen": last,
            }),
        ),
    ];
    let relation = |objects: &mut Vec<Value>, from: &str, kind: &str, to: &str| {
        let id = format!("relationship--{}", uuid(&format!("{seed}/{from}/{kind}/{to}")));
        objects.push(with(
            common(&id, "relationship"),
            json!({"relationship_type": kind, "source_ref": from, "target_ref": to}),
        ));
    };
    let mut seen = std::collections::BTreeSet::new();
    for s in r.techniques.iter().map(|t| &t.seen) {
        if !seen.insert(s.technique.clone()) {
            continue;
        }
        let id = format!("attack-pattern--{}", uuid(&format!("attack/{}", s.technique)));
        objects.push(with(
            common(&id, "attack-pattern"),
            json!({
                "name": s.name,
                "external_references": [{"source_name": "mitre-attack", "external_id": s.technique}],
                "kill_chain_phases": [{"kill_chain_name": "mitre-attack", "phase_name": s.stage.name()}],
            }),
        ));
        relation(&mut objects, &campaign, "uses", &id);
    }
    for i in &r.indicators {
        let Some(pattern) = pattern(i) else { continue };
        let id = format!("indicator--{}", uuid(&format!("{seed}/{}/{}", i.kind, i.value)));
        objects.push(with(
            common(&id, "indicator"),
            json!({"name": format!("{} of {}", i.kind, c.id), "pattern": pattern, "pattern_type": "stix", "valid_from": first, "indicator_types": ["malicious-activity"]}),
        ));
        relation(&mut objects, &id, "indicates", &campaign);
    }
    json!({"type": "bundle", "id": format!("bundle--{}", uuid(&format!("bundle/{seed}/{made}"))), "objects": objects})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_the_form_of_version_5() {
        let u = uuid("x");
        assert_eq!(u.len(), 36);
        assert_eq!(u.as_bytes()[14], b'5');
        assert!(b"89ab".contains(&u.as_bytes()[19]));
        assert_eq!(u, uuid("x"));
        assert_ne!(u, uuid("y"));
    }

    #[test]
    fn quotes_in_values_do_not_leave_the_pattern() {
        let p = pattern(&Indicator {
            kind: "domain",
            value: "a' OR [x".into(),
        })
        .unwrap();
        assert_eq!(p, "[domain-name:value = 'a\\' OR [x']");
    }
}
