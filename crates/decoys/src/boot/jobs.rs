//! What the machine starts by itself: cron's jobs in their minute, and what is run at boot.
//!
//! cron and init are stand-ins; what they would do is done here. What the machine came with is only told ([`super::Life`]): what somebody
//! added since ([`Known`]) really runs, so that an idle world wakes up for nothing. So does the machine's nightly job as soon as somebody
//! changed its script, its line or its directory: then what it does is not known any more.

use super::schedule::When;
use std::collections::BTreeSet;
use turncoat_cover::Cover;
use turncoat_cover::clock::Zone;
use turncoat_cover::past::lines::{CRON, Line, Says};
use turncoat_cover::story::Story;
use turncoat_event::{Bytes, Kind, Time, kinds};
use turncoat_freeze::Freeze;
use turncoat_kernel::vfs::ChangeKind;
use turncoat_kernel::{Account, Fact, Start, World};

/// Files of one directory, lines of one file, and jobs that are looked at.
const FILES: usize = 256;
const LINES: usize = 1024;
const JOBS: usize = 512;
/// Jobs that start in one minute.
const AT_ONCE: usize = 64;
/// What cron gives to its jobs, and what units get.
const CRON_PATH: &str = "PATH=/usr/bin:/bin";
const UNIT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";

const TABS: &[u8] = b"/var/spool/cron/crontabs";
const PARTS: [&str; 4] = [
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
];
/// Run levels 2 to 5 start the same on Debian.
const LEVELS: [&str; 4] = ["/etc/rc2.d", "/etc/rc3.d", "/etc/rc4.d", "/etc/rc5.d"];

/// What starts by itself on a machine that nobody has changed.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Lines of tables, with their files.
    lines: BTreeSet<(Vec<u8>, Vec<u8>)>,
    /// Scripts of `/etc/cron.*` and of run levels: path, size and mode.
    files: BTreeSet<(Vec<u8>, u64, u32)>,
    rc_local: Option<Vec<u8>>,
    nightly: Nightly,
}

/// What the nightly job of the machine hangs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Nightly {
    /// Its command, as its line has it.
    command: Vec<u8>,
    path: Vec<u8>,
    script: Option<Vec<u8>>,
    mode: Option<u32>,
    /// Where it works.
    data: Vec<u8>,
    there: bool,
}

impl Nightly {
    fn of(world: &mut World, cover: &Cover) -> Nightly {
        let story = Story::draw(cover);
        let empty = Nightly {
            command: story.command.into_bytes(),
            path: story.job_path.into_bytes(),
            data: story.data.into_bytes(),
            ..Nightly::default()
        };
        empty.now(world)
    }

    /// The same as it is now.
    fn now(&self, world: &mut World) -> Nightly {
        Nightly {
            script: world.read_file(&self.path),
            mode: world.look(&self.path).map(|l| l.mode),
            there: world
                .look(&self.data)
                .is_some_and(|l| l.mode & 0o170_000 == 0o040_000),
            ..self.clone()
        }
    }

    /// Whether this is one of its paths, or a directory above one.
    fn hangs_on(&self, path: &[u8]) -> bool {
        let below = |p: &[u8]| {
            p.strip_prefix(path)
                .is_some_and(|r| r.is_empty() || r.starts_with(b"/"))
        };
        below(&self.path) || below(&self.data)
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    [dir, b"/", name].concat()
}

fn files(world: &mut World, dir: &str) -> Vec<(Vec<u8>, u64, u32)> {
    let names = world.list(dir.as_bytes(), FILES);
    names
        .into_iter()
        .filter_map(|n| {
            let path = join(dir.as_bytes(), &n);
            let seen = world.look(&path)?;
            Some((path, seen.size, seen.mode))
        })
        .collect()
}

impl Known {
    /// What this world has now.
    pub fn of(world: &mut World, cover: &Cover) -> Known {
        let tables = tables(world);
        Known {
            lines: tables
                .into_iter()
                .flat_map(|t| {
                    t.lines()
                        .map(|l| (t.path.clone(), l.to_vec()))
                        .collect::<Vec<_>>()
                })
                .collect(),
            files: PARTS
                .iter()
                .chain(&LEVELS)
                .flat_map(|d| files(world, d))
                .collect(),
            rc_local: world.read_file(b"/etc/rc.local"),
            nightly: Nightly::of(world, cover),
        }
    }

    /// Whether this fact can have changed what starts by itself.
    pub fn touched_by(&self, fact: &Fact) -> bool {
        let Fact::File { change, path, to, .. } = fact else {
            return false;
        };
        let named = |p: &[u8]| {
            p.starts_with(b"/etc/cron")
                || p.starts_with(TABS)
                || p == b"/etc/passwd"
                || self.nightly.hangs_on(p)
        };
        let old = match change {
            ChangeKind::Renamed(from) => named(from),
            _ => false,
        };
        old || named(path) || to.as_deref().is_some_and(named)
    }
}

/// A crontab.
struct Table {
    path: Vec<u8>,
    /// Whose it is; `None`: its lines name users.
    user: Option<Vec<u8>>,
    text: Vec<u8>,
}

impl Table {
    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text
            .split(|b| *b == b'\n')
            .map(|l| l.trim_ascii())
            .filter(|l| !l.is_empty() && !l.starts_with(b"#"))
            .take(LINES)
    }
}

/// All crontabs that cron would read: what others than root could have written does not count.
fn tables(world: &mut World) -> Vec<Table> {
    let mut out = Vec::new();
    let mut add = |world: &mut World, path: Vec<u8>, user: Option<Vec<u8>>, owner: u32| {
        let fits = world
            .look(&path)
            .is_some_and(|l| l.mode & 0o170_000 == 0o100_000 && l.uid == owner && l.mode & 0o022 == 0);
        if fits && let Some(text) = world.read_file(&path) {
            out.push(Table { path, user, text });
        }
    };
    add(world, b"/etc/crontab".to_vec(), None, 0);
    for name in world.list(b"/etc/cron.d", FILES) {
        // run-parts(8) and cron take names of these letters only.
        if name
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        {
            add(world, join(b"/etc/cron.d", &name), None, 0);
        }
    }
    for name in world.list(TABS, FILES) {
        if let Some(a) = world.account(&name) {
            add(world, join(TABS, &name), Some(name), a.uid);
        }
    }
    out
}

/// One job of cron's.
#[derive(Clone, Debug, PartialEq, Eq, Freeze)]
struct Job {
    when: When,
    path: Vec<u8>,
    user: Vec<u8>,
    command: Vec<u8>,
    env: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Cron, and what else starts by itself in one world.
#[derive(Clone, Debug, Default, Freeze)]
pub struct Jobs {
    jobs: Vec<Job>,
    /// Up to here every job has had its turn, seconds since the epoch.
    told: i64,
    due: Option<i64>,
    /// The machine's nightly job is not as it was, and is among them if it is there at all.
    nightly: bool,
}

impl Jobs {
    /// Reads all tables again: what is new since `known` is due from now on.
    pub fn read(&mut self, world: &mut World, known: &Known, now: Time, zone: &Zone) {
        let parts: BTreeSet<&str> = PARTS
            .into_iter()
            .filter(|d| files(world, d).iter().any(|f| !known.files.contains(f)))
            .collect();
        self.jobs.clear();
        let nightly = &known.nightly;
        let job = nightly.command.as_slice();
        let same = nightly.now(world) == *nightly;
        let mut listed = false;
        for t in tables(world) {
            let mut env = Vec::new();
            for line in t.lines() {
                let text = String::from_utf8_lossy(line);
                let Some((when, rest)) = When::parse(&text) else {
                    if let Some((name, value)) = text.split_once('=') {
                        let value = value.trim().trim_matches(['"', '\'']);
                        env.push((name.trim().as_bytes().to_vec(), value.as_bytes().to_vec()));
                    }
                    continue;
                };
                let known_line = known.lines.contains(&(t.path.clone(), line.to_vec()));
                let of_job = known_line && line.ends_with(job);
                listed |= of_job;
                if known_line && !parts.iter().any(|d| rest.contains(d)) && (same || !of_job) {
                    continue;
                }
                let (user, command) = match &t.user {
                    Some(user) => (user.clone(), rest),
                    None => match rest.split_once(char::is_whitespace) {
                        Some((user, command)) => (user.as_bytes().to_vec(), command.trim_start()),
                        None => continue,
                    },
                };
                if self.jobs.len() < JOBS {
                    self.jobs.push(Job {
                        when,
                        path: t.path.clone(),
                        user,
                        command: command.as_bytes().to_vec(),
                        env: env.clone(),
                    });
                }
            }
        }
        self.nightly = !(same && listed);
        self.told = self.told.max(now.seconds());
        self.plan(zone);
    }

    /// Whether somebody changed the machine's nightly job: what it does then it really does.
    pub fn nightly(&self) -> bool {
        self.nightly
    }

    fn plan(&mut self, zone: &Zone) {
        let told = self.told;
        self.due = self.jobs.iter().filter_map(|j| j.when.next(told, zone)).min();
    }

    /// When the next job is due.
    pub fn due(&self) -> Option<Time> {
        self.due.map(|s| Time(s.saturating_mul(1_000_000_000)))
    }

    /// Starts what is due. What became due while nobody looked starts once.
    pub fn fire(&mut self, world: &mut World, now: Time, zone: &Zone, out: &mut Vec<Kind>) {
        let now = now.seconds();
        if self.due.is_none_or(|d| d > now) {
            return;
        }
        let told = self.told;
        let ripe = |j: &&Job| j.when.next(told, zone).is_some_and(|n| n <= now);
        let ripe: Vec<Job> = self.jobs.iter().filter(ripe).take(AT_ONCE).cloned().collect();
        self.told = now;
        self.plan(zone);
        // Without cron nothing of it runs.
        let Some(cron) = world.daemon(b"cron") else { return };
        for job in ripe {
            out.extend(job.start(world, cron, "cron", now));
        }
    }

    /// Starts what is to be started at boot.
    pub fn boot(&mut self, world: &mut World, known: &Known, now: Time, out: &mut Vec<Kind>) {
        world.init_boots();
        for (path, ..) in fresh(world, known, &LEVELS) {
            let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
            if name.starts_with(b"S") {
                out.extend(script(world, path, &[b"start"], "init.d"));
            }
        }
        let rc = b"/etc/rc.local";
        let runs = world.look(rc).is_some_and(|l| l.mode & 0o111 != 0);
        if runs && world.read_file(rc) != known.rc_local {
            out.extend(script(world, rc.to_vec(), &[b"start"], "rc.local"));
        }
        let Some(cron) = world.daemon(b"cron") else { return };
        let jobs: Vec<Job> = self
            .jobs
            .iter()
            .filter(|j| j.when == When::Reboot)
            .cloned()
            .collect();
        for job in jobs {
            out.extend(job.start(world, cron, "boot", now.seconds()));
        }
    }
}

/// Files of these directories that are not as they were; one of each name.
fn fresh(world: &mut World, known: &Known, dirs: &[&str]) -> Vec<(Vec<u8>, u64, u32)> {
    let mut names = BTreeSet::new();
    dirs.iter()
        .flat_map(|d| files(world, d))
        .filter(|f| !known.files.contains(f))
        .filter(|f| names.insert(f.0.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec()))
        .collect()
}

/// Starts a script of root's.
fn script(world: &mut World, path: Vec<u8>, arguments: &[&[u8]], by: &str) -> Option<Kind> {
    let account = world.account(b"root")?;
    let real = world.look(&path)?.path;
    let argv: Vec<Vec<u8>> = [&real[..]].iter().chain(arguments).map(|a| a.to_vec()).collect();
    let start = Start {
        account,
        parent: 1,
        path: real,
        argv: argv.clone(),
        env: vec![UNIT_PATH.as_bytes().to_vec()],
        cwd: b"/".to_vec(),
        unit: None,
    };
    let pid = world.start(&start).ok();
    Some(told(by, &path, b"root", argv.join(&b' '), pid))
}

fn told(by: &str, path: &[u8], user: &[u8], command: Vec<u8>, pid: Option<u32>) -> Kind {
    kinds::WorldJob {
        by: by.into(),
        path: Bytes(path.to_vec()),
        user: Bytes(user.to_vec()),
        command: Bytes(command),
        pid,
    }
    .into()
}

impl Job {
    fn start(&self, world: &mut World, cron: u32, by: &str, now: i64) -> Option<Kind> {
        let account: Account = world.account(&self.user)?;
        let mut env: Vec<(Vec<u8>, Vec<u8>)> = vec![
            (b"SHELL".to_vec(), b"/bin/sh".to_vec()),
            (b"PATH".to_vec(), CRON_PATH.trim_start_matches("PATH=").into()),
            (b"HOME".to_vec(), account.home.clone()),
            (b"LOGNAME".to_vec(), account.user.clone()),
        ];
        for (name, value) in &self.env {
            match env.iter_mut().find(|e| e.0 == *name) {
                // LOGNAME may not be set in a table.
                Some(_) if name == b"LOGNAME" => {}
                Some(e) => e.1.clone_from(value),
                None => env.push((name.clone(), value.clone())),
            }
        }
        let get = |name: &[u8]| {
            env.iter()
                .find(|e| e.0 == name)
                .map(|e| e.1.clone())
                .unwrap_or_default()
        };
        let (shell, home) = (get(b"SHELL"), get(b"HOME"));
        let command = before_percent(&self.command);
        let start = Start {
            parent: cron,
            argv: vec![shell.clone(), b"-c".to_vec(), command.clone()],
            path: shell,
            env: env.iter().map(|(n, v)| [&n[..], b"=", v].concat()).collect(),
            cwd: home,
            unit: None,
            account,
        };
        let pid = world.start(&start).ok();
        let (name, uid) = (
            String::from_utf8_lossy(&self.user).into_owned(),
            start.account.uid,
        );
        let line = |private, text| Line {
            at: now.max(0) as u64 * 1_000_000,
            says: Says::Program(CRON),
            pid: pid.unwrap_or(cron),
            priority: 6,
            private,
            text,
        };
        world.log(&[
            line(
                true,
                format!("pam_unix(cron:session): session opened for user {name}(uid={uid}) by (uid=0)"),
            ),
            line(
                false,
                format!("({name}) CMD ({})", String::from_utf8_lossy(&command)),
            ),
        ]);
        Some(told(by, &self.path, &self.user, command, pid))
    }
}

/// A command up to its first `%`, which would begin its input; `\%` is a percent sign.
fn before_percent(command: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(command.len());
    let mut bytes = command.iter().peekable();
    while let Some(b) = bytes.next() {
        match b {
            b'\\' if bytes.peek() == Some(&&b'%') => {
                bytes.next();
                out.push(b'%');
            }
            b'%' => break,
            b => out.push(*b),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_sign_ends_a_command() {
        assert_eq!(before_percent(b"date +\\%F >x%input"), b"date +%F >x");
    }

    #[test]
    fn what_starts_by_itself_is_looked_at_when_it_may_have_changed() {
        let known = Known {
            nightly: Nightly {
                path: b"/srv/a/bin/job".to_vec(),
                data: b"/srv/a/data".to_vec(),
                ..Nightly::default()
            },
            ..Known::default()
        };
        let touches = |f| known.touched_by(&f);
        let fact = |path: &str, change| Fact::File {
            change,
            path: path.into(),
            to: None,
            size: 1,
        };
        assert!(touches(fact("/etc/cron.d/x", ChangeKind::Written)));
        assert!(touches(fact("/etc/crontab", ChangeKind::Created)));
        assert!(touches(fact(
            "/var/spool/cron/crontabs/root",
            ChangeKind::Renamed(b"/var/spool/cron/crontabs/tmp.x".to_vec())
        )));
        assert!(!touches(fact("/root/x", ChangeKind::Written)));
        assert!(touches(fact("/srv/a/bin/job", ChangeKind::Attributes)));
        assert!(touches(fact("/srv/b", ChangeKind::Renamed(b"/srv/a".to_vec()))));
        assert!(!touches(fact("/srv/a/bin/jobs", ChangeKind::Written)));
        assert!(!touches(fact("/srv/a/data/x", ChangeKind::Created)));
    }
}
