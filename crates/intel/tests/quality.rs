//! How well sessions are joined, on campaigns whose truth is known. `cargo bench -p turncoat-intel` does the same on a hundred thousand.

#[path = "../benches/generator.rs"]
#[allow(dead_code)]
mod generator;

use std::collections::HashMap;

use generator::{by_kind, campaigns, events, quality};
use turncoat_intel::{CampaignId, Keeper, Linker, Rules, Stage, link::memory::Bounds};
use turncoat_store::rusqlite::Connection;
use turncoat_store::{Layout, migrate};

fn record() -> Connection {
    let mut db = Connection::open_in_memory().unwrap();
    migrate::migrate(&mut db, &Layout::new("/nonexistent")).unwrap();
    db
}

#[test]
fn joined_sessions_belong_together_and_most_that_do_are_joined() {
    for seed in [1, 2, 3] {
        let (sessions, kinds) = campaigns(seed, 1_500);
        let truth: Vec<_> = sessions.iter().filter_map(|s| Some((s.id, s.actor?))).collect();
        let mut db = record();
        let mut keeper = Keeper::open(&mut db, Rules::built_in().unwrap()).unwrap();
        let all = events(sessions);
        let mut decided: HashMap<CampaignId, Stage> = HashMap::new();
        for batch in all.chunks(500) {
            for change in keeper.add(&mut db, batch).unwrap() {
                if let Some(stage) = change.stage.filter(|s| *s >= Stage::Persistence) {
                    decided.entry(change.campaign).or_insert(stage);
                }
            }
        }
        let pairs: Vec<(usize, u64)> = truth
            .iter()
            .map(|(id, actor)| (*actor, keeper.campaign_of(id).unwrap().0))
            .collect();
        let q = quality(&pairs);
        println!("{:.2?}", by_kind(&pairs, &kinds));
        println!("seed {seed}: {q:?}, {} campaigns met a rule", decided.len());
        assert!(q.precision >= 0.98, "seed {seed}: {q:?}");
        assert!(q.recall >= 0.8, "seed {seed}: {q:?}");
        // After a restart every session is where it was, and new ones go where they would have gone.
        let again = Keeper::open(&mut db, Rules::built_in().unwrap()).unwrap();
        for (id, _) in &truth {
            assert_eq!(again.campaign_of(id), keeper.campaign_of(id));
        }
        let counted: u64 = db
            .query_row("SELECT sum(sessions) FROM intel_campaign", [], |r| r.get(0))
            .unwrap();
        let members: u64 = db
            .query_row("SELECT count(*) FROM intel_member", [], |r| r.get(0))
            .unwrap();
        assert_eq!(counted, members, "what is counted as it goes is what is there");
        let wrong: u64 = db
            .query_row(
                "SELECT count(*) FROM intel_campaign c WHERE merged_into IS NULL AND \
                 sources != (SELECT count(DISTINCT source) FROM intel_member m WHERE m.campaign = c.id)",
                [],
                |r| r.get(0),
            )
            .unwrap();
        assert_eq!(wrong, 0);
    }
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let bounds = Bounds {
        evidence: 400,
        tried: 100,
        scripts: 20,
        sessions: 300,
    };
    let mut linker = Linker::with(bounds);
    let (sessions, _) = campaigns(9, 1_500);
    for s in &sessions {
        let mut d = turncoat_intel::Digest::new(s.id, s.events[0].time);
        for e in events(vec![generator::Session {
            id: s.id,
            actor: None,
            events: s.events.clone(),
        }]) {
            d.add(&e);
        }
        linker.place(&d);
        let (entries, places) = linker.remembered();
        // Of each script sixteen bands are remembered.
        assert!(
            entries <= 400 + 100 + 20 + 20 * 16 + 32 && places <= 300,
            "{entries} {places}"
        );
    }
}
