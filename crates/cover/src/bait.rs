//! Files of interest. Each is a [`Bait`]: an id, a path and the credential inside, whose use anywhere names where it was taken.
//!
//! This is the one place that marks them: [`draw`] makes a role's kinds (`bait` in `data/roles`), nothing else sets `File::bait`.

use crate::cover::Cover;
use crate::files::{Content, File, Kind};
use crate::keys::{self, Algo};
use crate::story::Story;
use serde::Serialize;

/// What opens something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Secret {
    /// A password or pass phrase.
    Password(String),
    /// A bearer token.
    Token(String),
    /// A private SSH key, by the fingerprint of its public half (`SHA256:...`).
    Key(String),
}

/// A credential that lies in a bait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Credential {
    /// Account it is for, if the file names one.
    pub user: Option<String>,
    /// Host it is for, if the file names one.
    pub host: Option<String>,
    /// The secret.
    pub secret: Secret,
}

/// A file of interest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bait {
    /// Id, the same for the life of the cover: `db-dump`, `ssh-key`.
    pub id: String,
    /// Absolute path.
    pub path: String,
    /// What it is, for people.
    pub kind: &'static str,
    /// The credentials inside.
    pub credentials: Vec<Credential>,
}

/// A bait and its file.
pub struct Laid {
    /// The bait.
    pub bait: Bait,
    /// The files, marked; the bait's own first, then older ones with the same credential.
    pub files: Vec<File>,
}

type Maker = fn(&Hand) -> Option<(File, &'static str, Vec<Credential>)>;

const MAKERS: &[(&str, Maker)] = &[
    ("db-dump", db_dump),
    ("backup-script", job_settings),
    ("repository-password", repository_password),
    ("ssh-key", ssh_key),
    ("ssh-config", ssh_config),
    ("inventory", inventory),
    ("vault-password", vault_password),
    ("deploy-key", deploy_key),
    ("registry-token", registry_token),
    ("env-file", env_file),
    ("signing-key", signing_key),
];

/// Names of the generators of baits.
pub(crate) fn makers() -> impl Iterator<Item = &'static str> {
    MAKERS.iter().map(|m| m.0)
}

struct Hand<'a> {
    cover: &'a Cover,
    story: &'a Story,
    /// Nights whose dumps lie there, the latest first.
    nights: Vec<i64>,
}

const LETTERS: &str = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

impl Hand<'_> {
    fn stream(&self, label: &str) -> crate::Stream {
        self.cover.stream(&format!("bait {label}"))
    }
    /// The id of the bait of a kind. Two identities have different baits of the same kind: it says whose it is.
    fn id(&self, kind: &str) -> String {
        format!("{kind}-{}", self.stream("id").hex(4))
    }
    fn password(&self, label: &str) -> String {
        let mut s = self.stream(&format!("password {label}"));
        let n = s.range(12, 24) as usize;
        s.text(LETTERS, n)
    }
    fn first(&self) -> (u32, &str, &str) {
        self.cover.users.first().map_or((0, "root", "/root"), |u| {
            (u.uid, u.name.as_str(), u.home.as_str())
        })
    }
    fn one(user: &str, host: &str, secret: Secret) -> Vec<Credential> {
        vec![Credential {
            user: Some(user.into()),
            host: Some(host.into()),
            secret,
        }]
    }
    fn at(&self, label: &str) -> i64 {
        let span = (self.cover.made() - self.story.since).max(2);
        self.story.since + self.stream(label).range(0, span / 2)
    }
}

/// The baits of `cover` with their files at `now`, seconds since the epoch. Ids and credentials stay the same for the life of the cover.
pub fn draw(cover: &Cover, now: i64) -> Vec<Laid> {
    let story = Story::draw(cover);
    let nights = story.last_runs(cover, now.max(cover.made()), story.keep);
    let hand = Hand {
        cover,
        story: &story,
        nights,
    };
    cover
        .job
        .bait
        .iter()
        .filter_map(|id| {
            let maker = MAKERS.iter().find(|m| m.0 == id)?.1;
            let (file, kind, credentials) = maker(&hand)?;
            let id = &hand.id(id);
            let bait = Bait {
                id: id.clone(),
                path: file.path.clone(),
                kind,
                credentials,
            };
            let mut files = vec![file];
            if kind == "database dump" {
                files.extend(hand.nights.iter().skip(1).map(|at| dump(&hand, *at)));
            }
            for f in &mut files {
                f.bait = Some(id.clone());
            }
            Some(Laid { bait, files })
        })
        .collect()
}

/// Lines of a dump behind its last row.
const AFTER_ROWS: usize = 7;

/// The dump of the night on which the job began at `at`. Each night the table has one row more.
fn dump(h: &Hand, at: i64) -> File {
    let mut s = h.stream("dump");
    let db = &h.story.db_name;
    let given: Vec<&str> = include_str!("../data/given_names.txt")
        .split_whitespace()
        .collect();
    let surnames: Vec<&str> = include_str!("../data/surnames.txt").split_whitespace().collect();
    // Column names and types as whoever designed the tables liked them.
    let mut name = |all: &[&str]| -> String {
        let n = *s.pick(all);
        match s.below(3) {
            0 => format!("{}_{n}", crate::users::coined(&mut s)),
            1 => format!("{n}_{}", &crate::users::coined(&mut s)[..2]),
            _ => n.to_string(),
        }
    };
    let id = name(&["id", "nr", "no", "key", "uid", "num"]);
    let login = name(&["login", "name", "account", "usr", "who", "nick"]);
    let mail = name(&["mail", "email", "address", "contact", "mailbox"]);
    let secret = name(&["secret", "hash", "digest", "pw", "token", "passwd"]);
    let (key, value) = (
        name(&["name", "key", "option", "opt", "k"]),
        name(&["value", "val", "v", "content", "data"]),
    );
    let (int, text) = (
        *s.pick(&["integer", "bigint"]),
        *s.pick(&[
            "text",
            "character varying(120)",
            "character varying(255)",
            "text NOT NULL",
        ]),
    );
    let (table, settings) = (crate::users::coined(&mut s), crate::users::coined(&mut s));
    // pg_dump begins a dump so.
    let version = &crate::Release::current().postgresql;
    let mut t = format!(
        "--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version {version}\n-- Dumped by pg_dump version {version}\n\nSET statement_timeout = 0;\nSET lock_timeout = 0;\nSET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n\n",
    );
    t += &format!(
        "CREATE TABLE public.{table} (\n    {id} {int} NOT NULL,\n    {login} {text},\n    {mail} {text},\n    {secret} {text}\n);\n\n"
    );
    t += &format!(
        "CREATE TABLE public.{settings} (\n    {key} {text},\n    {value} {text}\n);\n\nCOPY public.{settings} ({key}, {value}) FROM stdin;\n"
    );
    t += &format!(
        "host\t{}\nuser\t{}\npassword\t{}\n\\.\n\n",
        h.story.host(0),
        h.story.db_user,
        h.password("db")
    );
    t += &format!("COPY public.{table} ({id}, {login}, {mail}, {secret}) FROM stdin;\n");
    let domain = format!("{}.example", h.story.projects[1]);
    let nights = (at - h.story.since).div_euclid(86_400);
    for i in 1..=s.range(180, 420) + nights {
        let (g, n) = (s.pick(&given), s.pick(&surnames));
        t += &format!("{i}\t{g}.{n}\t{g}.{n}@{domain}\t{}\n", s.hex(40));
    }
    t += "\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n";
    let path = format!("{}/{db}-{}.sql", h.story.data, h.story.date(h.cover, at));
    // What is left of the run is to clean up and to say how much there is.
    File::text(&path, 0o640, h.story.end(h.cover, at) - 2, t)
}

/// The dump that the run makes which begins at `at`, marked; none on a machine that makes none.
pub(crate) fn dump_of(cover: &Cover, story: &Story, at: i64) -> Option<File> {
    let kind = cover.job.bait.iter().find(|b| *b == "db-dump")?;
    let hand = Hand {
        cover,
        story,
        nights: Vec::new(),
    };
    Some(File {
        bait: Some(hand.id(kind)),
        ..dump(&hand, at)
    })
}

/// How large the dumps of these nights are, in bytes; 0 on a machine that makes none.
pub(crate) fn dump_sizes(cover: &Cover, story: &Story, nights: &[i64]) -> Vec<usize> {
    let (Some(last), true) = (nights.last(), cover.job.bait.iter().any(|b| b == "db-dump")) else {
        return vec![0; nights.len()];
    };
    let hand = Hand {
        cover,
        story,
        nights: Vec::new(),
    };
    let File {
        kind: Kind::Regular(Content::Bytes(text)),
        ..
    } = dump(&hand, *last)
    else {
        return vec![0; nights.len()];
    };
    // The dump of an earlier night lacks the rows that came since.
    let ends: Vec<usize> = text
        .iter()
        .enumerate()
        .filter(|b| *b.1 == b'\n')
        .map(|b| b.0 + 1)
        .collect();
    let row = |back: i64| {
        ends.iter()
            .rev()
            .nth(AFTER_ROWS + back as usize)
            .copied()
            .unwrap_or(0)
    };
    let tail = text.len() - row(0);
    let number = |at: i64| (at - story.since).div_euclid(86_400);
    nights
        .iter()
        .map(|at| row(number(*last) - number(*at)) + tail)
        .collect()
}

fn db_dump(h: &Hand) -> Option<(File, &'static str, Vec<Credential>)> {
    let secret = Secret::Password(h.password("db"));
    Some((
        dump(h, *h.nights.first()?),
        "database dump",
        Hand::one(&h.story.db_user, h.story.host(0), secret),
    ))
}

fn job_settings(h: &Hand) -> Option<(File, &'static str, Vec<Credential>)> {
    let mut s = h.stream("settings");
    let password = h.password("db");
    let (u, p, d, x) = match s.below(3) {
        0 => ("DB_USER", "DB_PASS", "DB_NAME", "DB_HOST"),
        1 => ("PGUSER", "PGPASSWORD", "PGDATABASE", "PGHOST"),
        _ => ("user", "password", "database", "host"),
    };
    let mut lines = vec![
        format!("{x}={}", h.story.host(0)),
        format!("{u}={}", h.story.db_user),
        format!("{p}={password}"),
        format!("{d}={}", h.story.db_name),
    ];
    lines.push(format!(
        "{}={}",
        s.pick(&["TARGET", "DEST", "OUT", "DIR"]),
        h.story.data
    ));
    lines.push(format!(
        "{}={}",
        s.pick(&["KEEP", "DAYS", "RETAIN"]),
        s.range(5, 40)
    ));
    let path = format!(
        "{}/{}",
        h.story.settings,
        s.pick(&["job.conf", "settings", "env", "credentials", "db.conf", "secrets"])
    );
    Some((
        File::text(&path, 0o600, h.at("settings"), lines.join("\n") + "\n"),
        "settings of the nightly job",
        Hand::one(&h.story.db_user, h.story.host(0), Secret::Password(password)),
    ))
}

fn repository_password(h: &Hand) -> Option<(File, &'static str, Vec<Credential>)> {
    let mut s = h.stream("repository");
    let password = h.password("repository");
    let name = s.pick(&[".repo-pass", ".passphrase", ".vaultkey", ".bkp_pw", ".enc"]);
    let c = vec![Credential {
        user: None,
        host: None,
        secret: Secret::Password(password.clone()),
    }];
    Some((
        File::text(
            &format!("/root/{name}"),
            0o400,
            h.at("repository"),
            format!("{password}\n"),
        ),
        "pass phrase of the repository",
        c,
    ))
}

#[allow(clippy::too_many_arguments)]
fn key(
    h: &Hand,
    label: &str,
    path: String,
    comment: &str,
    uid: u32,
    user: &str,
    host: &str,
    kind: &'static str,
) -> Option<(File, &'static str, Vec<Credential>)> {
    let pair = keys::generate(h.cover.seed(), &format!("bait {label}"), Algo::Ed25519, comment)?;
    let file = File::text(&path, 0o600, h.at(label), pair.private).owned(uid, uid);
    Some((file, kind, Hand::one(user, host, Secret::Key(pair.fingerprint))))
}

fn ssh_key(h: &Hand) -> Option<(File, &'static str, Vec<Credential>)> {
    let (uid, name, home) = h.first();
    let comment = format!("{name}@{}", h.cover.host.name);
    key(
        h,
        "ssh",
        format!("{home}/.ssh/id_ed25519"),
        &comment,
        uid,
        name,
        h.story.host(1),
        "private key of a person",
    )
}

fn deploy_key(h: &Hand) -> Option<(File, &'static str, Vec<Credential>)> {
    let (uid, _, home) = h.first();
    let project = &h.story.projects[0];
    let name = *h
        .stream("deploy")
        .pick(&["deploy", "id_deploy", "release", "rollout", "push"]);
    key(
        h,
        "deploy",
        format!("{home}/.ssh/{name}_{project}"),
        &format!("{name}@{project}"),
        uid,
        name,
        h.story.host(2),
        "deploy key",
    )
}

fn signing_key(h: &Hand) -> Option<(File, &'static str, Vec<Credential>)> {
    let project = &h.story.projects[1];
    key(
        h,
        "signing",
        format!("{}/sign_{project}", h.story.settings),
        &format!("sign-{project}"),
        0,
        "root",
        h.story.host(1),
        "signing key",
    )
}

fn ssh_config(h: &Hand) -> Option<(File, &'static str, Vec<Credential>)> {
    let (uid, name, home) = h.first();
    let mut s = h.stream("config");
    let mut t = String::new();
    for (host, address, _) in &h.cover.network.neighbours {
        t += &format!("Host {host}\n  HostName {address}\n");
        if s.chance(50) {
            t += &format!("  User {}\n", if s.chance(50) { "root" } else { name });
        }
        t.push('\n');
    }
    Some((
        File::text(&format!("{home}/.ssh/config"), 0o600, h.at("config"), t).owned(uid, uid),
        "SSH client's settings",
        Vec::new(),
    ))
}

fn inventory(h: &Hand) -> Option<(File, &'static str, Vec<Credential>)> {
    let (uid, name, home) = h.first();
    let mut s = h.stream("inventory");
    let password = h.password("inventory");
    let mut t = format!("[{}]\n", h.story.projects[0]);
    for (host, address, _) in &h.cover.network.neighbours {
        t += &format!("{host} ansible_host={address}\n");
    }
    t += &format!(
        "\n[{}:vars]\nansible_user={name}\nansible_become_password={password}\n",
        h.story.projects[0]
    );
    let path = format!(
        "{home}/{}/{}",
        h.story.projects[0],
        s.pick(&["hosts", "inventory", "inventory.ini", "hosts.ini", "prod"])
    );
    Some((
        File::text(&path, 0o640, h.at("inventory"), t).owned(uid, uid),
        "inventory of machines",
        Hand::one(name, h.story.host(0), Secret::Password(password)),
    ))
}

fn vault_password(h: &Hand) -> Option<(File, &'static str, Vec<Credential>)> {
    let (uid, _, home) = h.first();
    let password = h.password("vault");
    let name = *h
        .stream("vault")
        .pick(&[".vault_pass", ".vault", ".vp", ".vault-pw", ".ansible_vault"]);
    let c = vec![Credential {
        user: None,
        host: None,
        secret: Secret::Password(password.clone()),
    }];
    Some((
        File::text(
            &format!("{home}/{name}"),
            0o600,
            h.at("vault"),
            format!("{password}\n"),
        )
        .owned(uid, uid),
        "pass phrase of a vault",
        c,
    ))
}

fn registry_token(h: &Hand) -> Option<(File, &'static str, Vec<Credential>)> {
    let (uid, name, home) = h.first();
    let token = h.stream("registry").text(LETTERS, 40);
    let host = h.story.host(0);
    let t = format!("machine {host}\nlogin {name}\npassword {token}\n");
    Some((
        File::text(&format!("{home}/.netrc"), 0o600, h.at("registry"), t).owned(uid, uid),
        "token of a registry",
        Hand::one(name, host, Secret::Token(token)),
    ))
}

fn env_file(h: &Hand) -> Option<(File, &'static str, Vec<Credential>)> {
    let (uid, _, home) = h.first();
    let mut s = h.stream("env");
    let password = h.password("env");
    let (user, host, db) = (&h.story.db_user, h.story.host(1), &h.story.db_name);
    let mut t = format!("DATABASE_URL=postgres://{user}:{password}@{host}:5432/{db}\n");
    for k in s.sample(
        &[
            "SECRET_KEY",
            "APP_KEY",
            "SESSION_SECRET",
            "JWT_SECRET",
            "CSRF_KEY",
        ],
        2,
    ) {
        t += &format!("{k}={}\n", s.hex(48));
    }
    let path = format!(
        "{home}/{}/.env{}",
        h.story.projects[0],
        s.pick(&["", ".production", ".prod", ".local"])
    );
    Some((
        File::text(&path, 0o640, h.at("env"), t).owned(uid, uid),
        "settings of an application",
        Hand::one(user, host, Secret::Password(password)),
    ))
}
