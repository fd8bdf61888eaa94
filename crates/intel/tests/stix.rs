//! Reports as STIX 2.1 pass the validator of OASIS (PyPI: stix2-validator), where `.ci/run` installed it; their structure is looked at always.

#[path = "../benches/generator.rs"]
#[allow(dead_code)]
mod generator;

use std::path::Path;
use std::process::Command;

use turncoat_event::record::Item;
use turncoat_event::{Event, SensorId, Time};
use turncoat_intel::{Keeper, Rules, report, view};
use turncoat_store::{Durability, Filter, InstallKey, Layout, Reader, Writer};

#[test]
fn bundles_are_what_the_standard_says() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let sensor: SensorId = "test".parse().unwrap();
    let key = InstallKey::derive(&[1; 32], "t");
    let mut w = Writer::open(&layout, &sensor, key, Durability::Process).unwrap();
    let mut keeper = Keeper::open(w.database(), Rules::built_in().unwrap()).unwrap();
    let (sessions, _) = generator::campaigns(4, 60);
    let items: Vec<Item> = sessions
        .into_iter()
        .flat_map(|s| s.events)
        .map(Item::from)
        .collect();
    w.append(&items).unwrap();
    let reader = Reader::open(&layout).unwrap();
    let (events, _): (Vec<Event>, u64) = reader.events(&Filter::default(), 100_000).unwrap();
    keeper.add(w.database(), &events).unwrap();
    let mut files = Vec::new();
    for c in view::campaigns(reader.database(), 6).unwrap() {
        let r = report::build(&reader, c.id, Time(1_800_000_000_000_000_000)).unwrap();
        let mut rules: Vec<&str> = r.techniques.iter().map(|t| t.seen.rule.as_str()).collect();
        rules.sort_unstable();
        rules.dedup();
        assert_eq!(rules.len(), r.techniques.len(), "each technique once");
        let bundle = report::stix(&r, "test");
        let objects = bundle["objects"].as_array().unwrap();
        let ids: std::collections::BTreeSet<&str> =
            objects.iter().map(|o| o["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), objects.len(), "ids are unique");
        for o in objects {
            let (kind, id) = (o["type"].as_str().unwrap(), o["id"].as_str().unwrap());
            assert!(id.starts_with(&format!("{kind}--")) && o["spec_version"] == "2.1");
            for key in ["source_ref", "target_ref", "created_by_ref"] {
                assert!(
                    o[key].as_str().is_none_or(|r| ids.contains(r)),
                    "{key} of {id} leads nowhere"
                );
            }
        }
        let path = dir.path().join(format!("{}.json", c.id));
        std::fs::write(&path, bundle.to_string()).unwrap();
        files.push(path);
    }
    assert!(files.len() >= 3);
    let validator = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/stix/bin/stix2_validator");
    if !validator.exists() {
        eprintln!("structure only: `.ci/run` installs stix2-validator into target/tools/stix");
        return;
    }
    let out = Command::new(validator).args(&files).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success() && !said.contains("[X]"), "{said}");
}
