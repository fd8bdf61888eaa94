//! The console in a real browser: Debian's Chromium, driven by playwright-core. An intruder's text in every field of every page runs
//! nothing, styles nothing, leads nowhere and leaves nothing; the pages work by keyboard, live, in light, dark and on a phone.

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{filled, hostile_session, now, origin, own, stage};
use serde_json::{Value as Json, json};
use turncoat_console::Settings;
use turncoat_event::kinds::CommandInput;
use turncoat_event::{Bytes, Direction, Frame, Item, Kind};
use turncoat_store::artifact;

fn first_that_is(paths: &[&str]) -> Option<PathBuf> {
    paths.iter().map(PathBuf::from).find(|p| p.exists())
}

/// Node, Chromium and playwright-core; or what is missing.
fn tools() -> Result<(PathBuf, PathBuf, PathBuf), String> {
    let node = first_that_is(&["/usr/bin/node", "/usr/local/bin/node"]).ok_or("Debian's package nodejs")?;
    let chromium = first_that_is(&["/usr/bin/chromium"]).ok_or("Debian's package chromium")?;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    let playwright = std::env::var_os("TURNCOAT_PLAYWRIGHT")
        .map(PathBuf::from)
        .unwrap_or_else(|| target.join("browser/node_modules/playwright-core"));
    if !playwright.join("package.json").exists() {
        return Err("playwright-core: `npm install --prefix target/browser playwright-core` (or name its folder in TURNCOAT_PLAYWRIGHT)".into());
    }
    Ok((node, chromium, playwright))
}

#[test]
fn an_intruders_text_is_only_text_in_a_real_browser() {
    let (node, chromium, playwright) = match tools() {
        Ok(tools) => tools,
        Err(missing) => {
            assert!(
                std::env::var_os("CONSOLE_BROWSER").is_none(),
                "missing: {missing}"
            );
            eprintln!("not run: the browser test wants {missing}");
            return;
        }
    };
    let corpus: Vec<String> = serde_json::from_str(include_str!("browser/corpus.json")).unwrap();
    let all = corpus.join(" ");
    let mut stage = stage("browser", &all, Settings::default());
    let mut sessions = Vec::new();
    for (n, text) in corpus.iter().chain([&all]).enumerate() {
        let (id, items) = hostile_session(text, n as u8 + 1, n > 0);
        stage.add(&items);
        sessions.push(id);
    }
    // What belongs to no session, as the program writes it, with text of intruders in it.
    for name in [
        "alert.open",
        "campaign.change",
        "response.decide",
        "response.result",
        "system.degraded",
        "operator.action",
    ] {
        stage.add(&[own(filled(name, &all, sessions[0]))]);
    }
    let artifact = artifact::sha256(all.as_bytes());
    let mut pages: Vec<String> = [
        "/",
        "/campaigns",
        "/campaigns/C-1",
        "/campaigns/C-1/report",
        "/sessions",
        "/search",
        "/decoys",
        "/login",
    ]
    .map(String::from)
    .to_vec();
    // What stands in the address comes back on three pages: each text on one of them.
    for (n, text) in corpus.iter().enumerate() {
        let text = turncoat_console::call::encode(text);
        pages.push(match n % 3 {
            0 => format!("/search?q={text}&kind={text}&source={text}&decoy={text}"),
            1 => format!("/sessions?q={text}&source={text}&decoy={text}&since={text}"),
            _ => format!("/campaigns/C-1?done={text}&wrong={text}"),
        });
    }
    let mut refused = Vec::new();
    for text in corpus.iter().take(6) {
        let path = format!("/{}", turncoat_console::call::encode(text));
        refused.push(path.clone());
        refused.push(format!("/sessions{path}"));
        refused.push(format!("/in{path}"));
    }
    pages.extend(sessions.iter().map(|s| format!("/sessions/{s}")));
    pages.push(format!("/artifacts/{artifact}"));
    pages.extend(refused.iter().cloned());
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    let live = "typed-while-somebody-looks";
    let plan = json!({
        "base": format!("http://{}", stage.at), "links": [format!("/in/{}", stage.console.link().unwrap())],
        "playwright": playwright, "chromium": chromium, "shots": shots, "pages": pages, "refused": refused,
        "replay": format!("/sessions/{}", sessions[1]), "live": live,
        "pictures": {
            "now": "/", "campaigns": "/campaigns", "campaign": "/campaigns/C-1", "report": "/campaigns/C-1/report", "sessions": "/sessions",
            "session": format!("/sessions/{}", sessions[1]), "search": "/search?q=alert", "decoys": "/decoys",
            "artifact": format!("/artifacts/{artifact}"), "login": "/in/x",
        },
    });
    let file = stage.dir.join("plan.json");
    std::fs::write(&file, plan.to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/walk.mjs");
    let mut child = Command::new(node)
        .args([&script, &file])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut result = None;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let said: Json = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        if said["ready"] == true {
            let origin = origin(sessions[0], "192.0.2.11", "ssh");
            let typed = CommandInput {
                line: Bytes::from(live),
                reader: None,
                pid: None,
            };
            let shown = Frame {
                session: sessions[0],
                time: now(),
                channel: 0,
                direction: Direction::Output,
                bytes: format!("{live}\r\n").into_bytes(),
            };
            stage.add(&[Item::from(origin.at(now(), Kind::from(typed))), Item::from(shown)]);
        } else {
            result = Some(said);
        }
    }
    assert!(child.wait().unwrap().success());
    let result = result.expect("the walk says what it found");
    assert_eq!(result["pages"].as_u64().unwrap(), pages.len() as u64);
    let problems: Vec<&str> = result["problems"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Json::as_str)
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
