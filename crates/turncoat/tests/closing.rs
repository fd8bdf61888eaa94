//! The closing walk, as a new user goes it: planted, met, recorded, understood, foiled.
//!
//! A credential is planted; it is used from one address, a key is left in the world and used from a second one. There is one campaign with
//! reasons, stages and techniques; its sessions are replayed in a browser; the alert arrives by mail and at a web address; a service on the
//! protected side is closed to both addresses and open to a bystander, and the decoy is open to all; the report says all that. What was seen
//! lies in `target/tmp/walk`: pictures, letters, reports. Needs root, for network namespaces of its own.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::receivers::Receivers;
use common::ssh::{directory, eventually, run, text};
use common::{Run, start_on};
use serde_json::{Value as Json, json};

/// The decoy, as the intruder reaches it; two addresses of his, one of a bystander, and a service that is to be protected.
const DECOY: &str = "10.77.1.1";
const FIRST: &str = "10.77.1.2";
const SECOND: &str = "10.77.1.3";
const BYSTANDER: &str = "10.77.2.2";
const SERVICE: &str = "10.77.3.2";

#[test]
fn planted_met_recorded_understood_foiled() {
    // Built before the walk, which is timed, begins.
    let _ = std::fs::remove_dir_all(directory("warm-closing"));
    let o = Command::new("unshare")
        .args(["--net", "--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "inside_namespaces"])
        .env("TURNCOAT_TEST_WALK", "1")
        .output()
        .expect("unshare (package util-linux) is needed");
    let said = format!("{}{}", text(&o.stdout), text(&o.stderr));
    if said.contains("Operation not permitted") && !said.contains("running 1 test") {
        eprintln!("skipped: making network namespaces needs root");
        return;
    }
    eprintln!("{said}");
    assert!(o.status.success() && said.contains("1 passed"), "{said}");
}

/// Runs to its end, and says what it said.
fn sh(command: &str) -> String {
    let o = Command::new("sh").args(["-ec", command]).output().unwrap();
    assert!(o.status.success(), "{command}: {}", text(&o.stderr));
    text(&o.stdout)
}

/// An OpenSSH client in the intruder's or the bystander's namespace, on a terminal that is typed into.
fn visit(from: &str, user: &str, secret: Secret<'_>, typed: &str) -> String {
    let mut c = Command::new("ip");
    let whose = if from == BYSTANDER {
        "bystander"
    } else {
        "intruder"
    };
    c.args(["netns", "exec", whose, "timeout", "60"]);
    if let Secret::Password(password) = secret {
        c.args(["sshpass", "-p", password]);
    }
    c.args(["ssh", "-F", "none", "-tt", "-b", from, "-p", "2222"]);
    for option in [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "NumberOfPasswordPrompts=1",
    ] {
        c.args(["-o", option]);
    }
    match secret {
        Secret::Password(_) => c.args(["-o", "PubkeyAuthentication=no"]),
        Secret::Key(file) => c
            .args(["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-i"])
            .arg(file),
    };
    c.arg(format!("{user}@{DECOY}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    text(&run(c, typed).stdout)
}

#[derive(Clone, Copy)]
enum Secret<'a> {
    Password(&'a str),
    Key(&'a Path),
}

/// True if the protected service answers a connection from this address.
fn open(from: &str) -> bool {
    let whose = if from == BYSTANDER {
        "bystander"
    } else {
        "intruder"
    };
    let ask = format!(
        "import socket; s = socket.create_connection(('{SERVICE}', 8080), 1, ('{from}', 0)); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); print(s.recv(4))"
    );
    let o = Command::new("ip")
        .args(["netns", "exec", whose, "/usr/bin/python3", "-c", &ask])
        .output()
        .unwrap();
    text(&o.stdout).contains("HTTP")
}

/// Node, Chromium and playwright-core; or what is missing.
fn browser() -> Result<(PathBuf, PathBuf, PathBuf), &'static str> {
    let first = |paths: &[&str]| paths.iter().map(PathBuf::from).find(|p| p.exists());
    let node = first(&["/usr/bin/node", "/usr/local/bin/node"]).ok_or("Debian's package nodejs")?;
    let chromium = first(&["/usr/bin/chromium"]).ok_or("Debian's package chromium")?;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    let playwright = std::env::var_os("TURNCOAT_PLAYWRIGHT")
        .map(PathBuf::from)
        .unwrap_or_else(|| target.join("browser/node_modules/playwright-core"));
    if !playwright.join("package.json").exists() {
        return Err("playwright-core: `npm install --prefix target/browser playwright-core`");
    }
    Ok((node, chromium, playwright))
}

/// Goes through the console in a real browser. Nothing where there is none.
fn look(r: &Run, campaign: &str, sessions: &[&str], kept: &Path) -> Option<Json> {
    let (node, chromium, playwright) = match browser() {
        Ok(tools) => tools,
        Err(missing) => {
            assert!(
                std::env::var_os("CONSOLE_BROWSER").is_none(),
                "missing: {missing}"
            );
            eprintln!("without a browser: it wants {missing}");
            return None;
        }
    };
    let plan = json!({
        "link": r.console, "playwright": playwright, "chromium": chromium, "shots": kept, "sessions": sessions,
        "pages": {
            "now": "/", "campaigns": "/campaigns", "campaign": format!("/campaigns/{campaign}"),
            "report": format!("/campaigns/{campaign}/report"), "decoys": "/decoys",
        },
    });
    let file = r.dir.join("plan.json");
    std::fs::write(&file, plan.to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/closing/walk.mjs");
    let o = Command::new(node).args([&script, &file]).output().unwrap();
    assert!(o.status.success(), "{}{}", text(&o.stdout), text(&o.stderr));
    Some(serde_json::from_slice(&o.stdout).unwrap())
}

/// Runs in namespaces of its own, started by the test above.
#[test]
fn inside_namespaces() {
    if std::env::var_os("TURNCOAT_TEST_WALK").is_none() {
        return;
    }
    sh(&format!(
        "ip link set lo up; sysctl -qw net.ipv4.ip_forward=1; mount -t tmpfs none /run; mkdir -p /run/netns
        i=1; for n in intruder bystander protected; do
          ip netns add $n; ip -n $n link set lo up
          ip link add v$i type veth peer name eth0 netns $n; ip addr add 10.77.$i.1/24 dev v$i; ip link set v$i up
          ip -n $n addr add 10.77.$i.2/24 dev eth0; ip -n $n link set eth0 up; ip -n $n route add default via 10.77.$i.1
          i=$((i+1)); done
        ip -n intruder addr add {SECOND}/24 dev eth0"
    ));
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("walk");
    let _ = std::fs::remove_dir_all(&kept);
    std::fs::create_dir_all(&kept).unwrap();
    let dir = directory("closing");
    let mut service = Command::new("ip")
        .args([
            "netns",
            "exec",
            "protected",
            "/usr/bin/python3",
            "-m",
            "http.server",
            "8080",
        ])
        .current_dir(&kept)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let receivers = Receivers::new("closing");
    // What an operator may add: a table of networks, a rule of his own for a technique.
    let table = dir.join("networks.csv");
    std::fs::write(
        &table,
        format!("{FIRST},{FIRST},SE\n{SECOND},{SECOND},64500,\"Example Net\"\n"),
    )
    .unwrap();
    let table = format!("[\"{}\"]", table.display());
    let rules = dir.join("rules");
    std::fs::create_dir(&rules).unwrap();
    let own = "[[rule]]\nid = \"our-tail\"\ntechnique = \"T1005\"\nname = \"Data from Local System\"\nstage = \"collection\"\n\
        event = \"process.exec\"\nwhy = \"the end of a file was looked at\"\nwhen = [{ field = \"path\", like = [\"*/tail\"] }]\n\
        examples = { yes = [{ path = \"/usr/bin/tail\" }], no = [{ path = \"/usr/bin/head\" }] }\n";
    std::fs::write(rules.join("own.toml"), own).unwrap();
    let rules = rules.display().to_string();

    // The program, with its defaults but for where it listens, whom it protects and whom it tells.
    let mut settings: Vec<(&str, &str)> = vec![
        ("TURNCOAT_SSH_LISTEN", "0.0.0.0:2222"),
        ("TURNCOAT_ECHO_LISTEN", ""),
        ("TURNCOAT_CONSOLE_LISTEN", "127.0.0.1:0"),
        ("TURNCOAT_BLOCK_ENABLED", "true"),
        ("TURNCOAT_BLOCK_PROTECT", "[\"10.77.3.0/24\"]"),
        ("TURNCOAT_ALERT_UPDATE", "1s"),
        ("TURNCOAT_INTEL_NETWORKS", &table),
        ("TURNCOAT_INTEL_RULES", &rules),
    ];
    let ways = receivers.settings();
    settings.extend(ways.iter().map(|(k, v)| (*k, v.as_str())));
    let mut r = start_on(dir.clone(), &settings);
    eventually("the service answers", 10, || open(FIRST));
    assert!(open(SECOND) && open(BYSTANDER));

    // Planted.
    let made = r.command(&[
        "plant",
        "credential",
        "--for",
        "laptop7",
        "--note",
        "a file on the desktop",
        "--to",
        "10.77.1.1:2222",
        "--json",
    ]);
    let made: Json = serde_json::from_slice(&made.stdout).unwrap();
    let field = |name: &str| made["planted"][name].as_str().unwrap().to_owned();
    let (user, password) = (field("user"), field("password"));

    // Met: what was planted is used from one address, and a key is left there.
    let key = dir.join("his");
    sh(&format!(
        "ssh-keygen -q -t ed25519 -N '' -C him@there -f {}",
        key.display()
    ));
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let typed = format!(
        "id -un\nuname -a; cat /etc/passwd | wc -l; ps aux | head -3\nmkdir -p ~/.ssh; echo '{}' >> ~/.ssh/authorized_keys\nexit\n",
        public.trim()
    );
    let mut shown = String::new();
    let began = Instant::now();
    eventually("the planted credential lets in", 20, || {
        shown = visit(FIRST, &user, Secret::Password(&password), &typed);
        shown.contains("authorized_keys")
    });
    assert!(shown.contains(&user) && shown.contains("Linux"), "{shown}");
    eventually("the service is closed to the first address", 3, || !open(FIRST));
    assert!(open(BYSTANDER), "the bystander is untouched");
    eprintln!(
        "closed to the first address {:?} after his client was started",
        began.elapsed()
    );

    // The key is used from a second address: it leads into the same world.
    let shown = visit(
        SECOND,
        &user,
        Secret::Key(&key),
        "tail -1 ~/.ssh/authorized_keys; echo here $((40+2))\nexit\n",
    );
    assert!(
        shown.contains("him@there") && shown.contains("here 42"),
        "{shown}"
    );
    let left = Instant::now();
    eventually("the service is closed to the second address", 3, || !open(SECOND));
    eprintln!("closed to the second address {:?} after he left", left.elapsed());
    assert!(!open(FIRST) && open(BYSTANDER));

    // Understood: one campaign, with the reasons for the link, its stages and techniques.
    let lines = text(&r.command(&["campaigns", "--json"]).stdout);
    let campaigns: Vec<Json> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let campaigns: Vec<&Json> = campaigns
        .iter()
        .filter(|c| c["id"].is_number() || c["id"].is_string())
        .collect();
    assert_eq!(campaigns.len(), 1, "{lines}");
    assert_eq!(campaigns[0]["sources"], 2, "{lines}");
    assert_eq!(campaigns[0]["tokens"], 1, "{lines}");
    let shown = text(&r.command(&["campaign", "show", "C-1"]).stdout);
    std::fs::write(kept.join("campaign.txt"), &shown).unwrap();
    for (what, technique) in [
        ("a planted thing", "T1552"),
        ("a key left", "T1098.004"),
        ("valid account", "T1078"),
        ("discovery", "T1082"),
    ] {
        assert!(shown.contains(technique), "{what}: {shown}");
    }
    assert!(
        shown.contains("stage collection") && shown.contains("(persistence, observed)"),
        "{shown}"
    );
    assert!(!shown.contains("T1105"), "a key is no tool: {shown}");
    assert!(
        shown.contains("T1005") && shown.contains("the end of a file was looked at"),
        "by a rule of the operator's own: {shown}"
    );
    assert!(shown.contains("  link  ") && shown.contains("key"), "{shown}");
    for format in ["md", "html", "json", "stix"] {
        let report = r.command(&["campaign", "report", "C-1", "--format", format]);
        assert!(report.status.success(), "{}", text(&report.stderr));
        std::fs::write(kept.join(format!("report.{format}")), &report.stdout).unwrap();
    }
    let report = std::fs::read_to_string(kept.join("report.md")).unwrap();
    for said in [
        "*observed*",
        "*inferred, ",
        "T1098.004",
        "10[.]77[.]1[.]2",
        "10[.]77[.]1[.]3",
        "laptop7",
        "persistence",
    ] {
        assert!(report.contains(said), "{said}: {report}");
    }

    // Told: one message opens, by both ways; what came later is an update of the same incident.
    let told = |kind: &str, what: &str| receivers.taken(kind).iter().any(|l| l.to_string().contains(what));
    let arrived = |kind: &str| told(kind, "laptop7") && told(kind, "10[.]77[.]1[.]3");
    let until = Instant::now() + Duration::from_secs(20);
    while !(arrived("mail") && arrived("hook")) {
        let all = [receivers.taken("mail"), receivers.taken("hook")];
        assert!(
            Instant::now() < until,
            "the alert and its update arrive by both ways: {all:#?}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let letters = receivers.taken("mail");
    let hooks = receivers.taken("hook");
    for letter in &letters {
        let letter = letter["body"].as_str().unwrap();
        assert!(letter.contains("C-1"), "{letter}");
    }
    for known in ["from 10[.]77[.]1[.]2, SE", "AS64500 Example Net"] {
        assert!(
            hooks.iter().any(|h| h.to_string().contains(known)),
            "{known}: {hooks:?}"
        );
    }
    let opened = hooks
        .iter()
        .filter(|h| h["body"]["phase"] == "opened" || h["body"]["phase"] == "open")
        .count();
    assert_eq!(opened, 1, "{hooks:?}");
    let mails: Vec<&str> = letters.iter().filter_map(|l| l["body"].as_str()).collect();
    std::fs::write(kept.join("mail.txt"), mails.join("\n\n----\n\n")).unwrap();
    std::fs::write(
        kept.join("webhook.json"),
        serde_json::to_string_pretty(&hooks).unwrap(),
    )
    .unwrap();

    // Looked at: in a browser, by the link that the start printed.
    let sessions = text(&r.command(&["sessions", "--json"]).stdout);
    let sessions: Vec<Json> = sessions
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let of = |source: &str| {
        let entered = sessions
            .iter()
            .filter(|s| s["src_ip"] == source && s["logins"].as_u64() > Some(0));
        entered.filter_map(|s| s["session"].as_str()).next_back().unwrap()
    };
    if let Some(seen) = look(&r, "C-1", &[of(FIRST), of(SECOND)], &kept) {
        let page = |name: &str| seen["pages"][name].as_str().unwrap().to_owned();
        assert_eq!(seen["problems"], json!([]));
        let campaign = page("campaign");
        for said in [
            "T1098.004",
            "T1078",
            "persistence",
            FIRST,
            SECOND,
            "Reasons, heaviest first",
            "observed",
        ] {
            assert!(campaign.contains(said), "{said}: {campaign}");
        }
        for known in ["SE", "AS64500", "Example Net"] {
            assert!(campaign.contains(known), "{known}: {campaign}");
        }
        assert!(
            page("campaigns").contains("C-1") && page("campaigns").contains("SE AS64500"),
            "{}",
            page("campaigns")
        );
        let now = page("now");
        assert!(
            now.to_lowercase().contains("countries") && now.contains("AS64500"),
            "{now}"
        );
        assert!(page("report").contains("Where the sources are"));
        assert!(page("decoys").contains("laptop7") && page("decoys").contains(FIRST));
        assert!(
            page("report").contains("In short") && page("report").contains("laptop7"),
            "{}",
            page("report")
        );
        let replays = seen["replays"].as_array().unwrap();
        assert!(
            replays[0].as_str().unwrap().contains("authorized_keys"),
            "{}",
            replays[0]
        );
        assert!(replays[1].as_str().unwrap().contains("here 42"), "{}", replays[1]);
        assert_eq!(seen["said"], "2 sources are blocked for 7d.");
        assert!(!open(FIRST) && !open(SECOND) && open(BYSTANDER));
        let asked = text(&r.command(&["events", "--kind", "operator.action"]).stdout);
        assert!(asked.contains("C-1 for 7d"), "{asked}");
    }

    // And the decoy is open to all of them.
    for from in [FIRST, SECOND] {
        let shown = visit(from, &user, Secret::Key(&key), "echo still $((40+2))\nexit\n");
        assert!(shown.contains("still 42"), "{from}: {shown}");
    }
    let banner = format!("exec 3<>/dev/tcp/{DECOY}/2222; read -r line <&3; echo \"$line\"");
    let banner = Command::new("ip")
        .args([
            "netns",
            "exec",
            "bystander",
            "timeout",
            "5",
            "bash",
            "-c",
            &banner,
        ])
        .output()
        .unwrap();
    assert!(
        text(&banner.stdout).starts_with("SSH-2.0-OpenSSH"),
        "{}",
        text(&banner.stdout)
    );
    assert!(!open(FIRST) && !open(SECOND) && open(BYSTANDER));

    let _ = service.kill();
    let _ = service.wait();
    assert_eq!(r.stop(), Some(0));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(sh("nft list tables"), "", "nothing stays behind");
}
