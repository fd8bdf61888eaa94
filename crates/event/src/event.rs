//! One event: the envelope that every kind shares.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{Kind, SCHEMA_VERSION, SensorId, SessionId, Time, WorldId};

/// Where an event comes from: what all events of one session share.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Origin {
    /// The session, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session: Option<SessionId>,
    /// The world, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub world: Option<WorldId>,
    /// The outsider's address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub src_ip: Option<IpAddr>,
    /// The outsider's port.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub src_port: Option<u16>,
    /// The address that was reached.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dst_ip: Option<IpAddr>,
    /// The port that was reached.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dst_port: Option<u16>,
    /// Which decoy, such as `ssh`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub decoy: Option<String>,
}

impl Origin {
    /// The origin of a session's events.
    pub fn session(session: SessionId, src: SocketAddr, dst: SocketAddr, decoy: &str) -> Origin {
        Origin {
            session: Some(session),
            world: None,
            src_ip: Some(src.ip()),
            src_port: Some(src.port()),
            dst_ip: Some(dst.ip()),
            dst_port: Some(dst.port()),
            decoy: Some(decoy.to_owned()),
        }
    }

    /// The same with a world.
    pub fn in_world(mut self, world: WorldId) -> Origin {
        self.world = Some(world);
        self
    }

    /// The source's address and port, where both are known.
    pub fn src(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.src_ip?, self.src_port?))
    }

    /// The destination's address and port, where both are known.
    pub fn dst(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.dst_ip?, self.dst_port?))
    }

    /// An event from here.
    pub fn at(&self, time: Time, kind: impl Into<Kind>) -> Draft {
        Draft {
            time,
            origin: self.clone(),
            kind: kind.into(),
        }
    }
}

/// An event before it is recorded: without its number in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// When it happened.
    pub time: Time,
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// What happened.
    #[serde(flatten)]
    pub kind: Kind,
}

impl Draft {
    /// An event that belongs to no session.
    pub fn of_system(time: Time, kind: impl Into<Kind>) -> Draft {
        Draft {
            time,
            origin: Origin::default(),
            kind: kind.into(),
        }
    }
}

/// A recorded event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Version of the schema ([`SCHEMA_VERSION`]).
    pub schema: u32,
    /// Number in this install's record: grows by one with every event, in the order in which they were committed.
    pub seq: u64,
    /// When it happened.
    pub time: Time,
    /// Which install saw it.
    pub sensor: SensorId,
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// What happened.
    #[serde(flatten)]
    pub kind: Kind,
}

impl Event {
    /// A draft with its number.
    pub fn new(seq: u64, sensor: SensorId, draft: Draft) -> Event {
        Event {
            schema: SCHEMA_VERSION,
            seq,
            time: draft.time,
            sensor,
            origin: draft.origin,
            kind: draft.kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{AuthAttempt, table};
    use crate::{Bytes, docs};

    fn sample() -> Event {
        let session = SessionId::new(Time(1_795_435_200_000_000_000), [7; 10]);
        let origin = Origin::session(
            session,
            "192.0.2.7:40000".parse().unwrap(),
            "[2001:db8::1]:22".parse().unwrap(),
            "ssh",
        );
        let kind = AuthAttempt {
            method: "password".into(),
            user: Bytes::from("root"),
            secret: Some(Bytes(vec![0xff, 0x00])),
            secret_hash: None,
            key_type: None,
            fingerprint: None,
            key: None,
            probe: None,
            accepted: false,
            policy: "never".into(),
        };
        Event::new(
            7,
            "dmz".parse().unwrap(),
            origin.at(Time(1_795_435_200_000_000_001), kind),
        )
    }

    #[test]
    fn the_written_form_is_flat_and_comes_back() {
        let text = serde_json::to_string(&sample()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["event"], "auth.attempt");
        assert_eq!(value["src_ip"], "192.0.2.7");
        assert_eq!(value["secret"]["b64"], "/wA=");
        assert!(value.get("fingerprint").is_none());
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), sample());
        let draft = Draft {
            time: sample().time,
            origin: sample().origin,
            kind: sample().kind,
        };
        assert_eq!(
            serde_json::from_str::<Draft>(&serde_json::to_string(&draft).unwrap()).unwrap(),
            draft
        );
    }

    #[test]
    fn name_and_fields_are_enough_to_rebuild_a_kind() {
        let kind = sample().kind;
        assert_eq!(
            Kind::from_parts(kind.name(), &kind.fields_json().unwrap())
                .unwrap()
                .unwrap(),
            kind
        );
        assert!(Kind::from_parts("no.such", "{}").is_none());
    }

    #[test]
    fn no_field_has_the_name_of_an_envelope_key() {
        for kind in table() {
            for field in kind.fields {
                assert!(
                    !docs::ENVELOPE.iter().any(|e| e.name == field.name),
                    "{}.{}",
                    kind.name,
                    field.name
                );
            }
        }
    }

    #[test]
    fn secrets_are_masked_and_nothing_else() {
        let mut kind = sample().kind;
        kind.mask_secrets(&|_| Bytes::from("***"));
        let Kind::AuthAttempt(it) = kind else { panic!() };
        assert_eq!(it.secret, Some(Bytes::from("***")));
        assert_eq!(it.user, Bytes::from("root"));
    }
}
