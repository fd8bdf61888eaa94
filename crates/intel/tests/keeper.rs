//! Events into a store, campaigns out of it, and the same again after a restart.

use turncoat_event::record::Item;
use turncoat_event::{Bytes, Draft, Event, Kind, Origin, SensorId, SessionId, Time, kinds};
use turncoat_intel::{CampaignId, Keeper, Rules, Stage, view};
use turncoat_store::{Durability, Filter, InstallKey, Layout, Reader, Writer};

const S: i64 = 1_000_000_000;

fn login(n: u64, source: &str, at: i64) -> (SessionId, Vec<Draft>) {
    let id = SessionId::new(Time(at * S), [n as u8; 10]);
    let o = Origin::session(
        id,
        format!("{source}:4000").parse().unwrap(),
        "192.0.2.250:22".parse().unwrap(),
        "ssh",
    );
    let kind: Kind = kinds::AuthAttempt {
        method: "password".into(),
        user: Bytes::from("root"),
        secret: Some(Bytes(format!("only-{n}").into_bytes())),
        secret_hash: None,
        key_type: None,
        fingerprint: None,
        key: None,
        probe: None,
        accepted: true,
        policy: "list".into(),
    }
    .into();
    (
        id,
        vec![
            o.at(Time(at * S), kinds::SessionOpen { via: None }),
            o.at(Time(at * S + 1), kind),
        ],
    )
}

#[test]
fn sessions_become_campaigns_and_stay_so_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let sensor: SensorId = "test".parse().unwrap();
    let mut w = Writer::open(
        &layout,
        &sensor,
        InstallKey::derive(&[1; 32], "t"),
        Durability::Process,
    )
    .unwrap();
    let mut keeper = Keeper::open(w.database(), Rules::built_in().unwrap()).unwrap();
    let (a, mut drafts) = login(1, "192.0.2.1", 1_800_000_000);
    let o = drafts[0].origin.clone();
    let t = Time(1_800_000_001 * S);
    drafts.push(o.at(
        t,
        kinds::BaitRead {
            bait: "b-1".into(),
            path: Bytes::from("/root/.env"),
            pid: None,
            program: None,
        },
    ));
    drafts.push(o.at(
        t,
        kinds::FileWrite {
            path: Bytes::from("/root/.ssh/authorized_keys"),
            size: 9,
            pid: Some(1),
            sha256: None,
        },
    ));
    let (b, more) = login(2, "198.51.100.9", 1_800_100_000);
    let o2 = more[0].origin.clone();
    drafts.extend(more);
    drafts.push(o2.at(
        t,
        kinds::TokenUsed {
            token: "b-1".into(),
            kind: "bait".into(),
            planted: None,
            taken_by: Some(a),
        },
    ));
    let items: Vec<Item> = drafts.into_iter().map(Item::from).collect();
    w.append(&items).unwrap();
    let reader = Reader::open(&layout).unwrap();
    let (events, _): (Vec<Event>, u64) = reader.events(&Filter::default(), 1000).unwrap();
    let changes = keeper.add(w.database(), &events).unwrap();
    let c = keeper.campaign_of(&a).unwrap();
    assert_eq!(keeper.campaign_of(&b), Some(c), "{changes:?}");
    assert_eq!(c, CampaignId(1), "the older one stays");
    assert!(
        changes
            .iter()
            .any(|c| c.what == "stage" && c.stage == Some(Stage::CredentialAccess)),
        "{changes:?}"
    );
    assert!(changes.iter().any(|c| c.what == "token"));
    let db = reader.database();
    let list = view::campaigns(db, 10).unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!((list[0].sessions, list[0].sources), (2, 2));
    assert_eq!(view::members(db, c, 10).unwrap().len(), 2);
    assert_eq!(view::links(db, c, 10).unwrap()[0].reason, "token");
    assert!(
        view::sightings(db, c)
            .unwrap()
            .iter()
            .any(|(_, s)| s.technique == "T1098.004")
    );
    let mut again = Keeper::open(w.database(), Rules::built_in().unwrap()).unwrap();
    assert_eq!(again.campaign_of(&b), Some(c));
    let new = again.split(w.database(), c, &[b]).unwrap();
    let again = Keeper::open(w.database(), Rules::built_in().unwrap()).unwrap();
    assert_eq!(again.campaign_of(&b), Some(new));
    assert!(view::find(db, CampaignId(999)).is_err());
}
