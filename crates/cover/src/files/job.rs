//! The machine's nightly job: its script, what it leaves and what it logs.

use super::{Content, File, Kind};
use crate::cover::Cover;
use crate::past::chores::{Chore, Does};
use crate::story::Story;
use crate::users::coined;

/// One run of the job.
pub struct Night {
    /// When it began, seconds since the epoch.
    pub at: i64,
    /// When it was over.
    pub end: i64,
    /// What it wrote down, with the times.
    pub lines: Vec<(i64, Vec<u8>)>,
}

/// All runs that were over by `now`, oldest first.
pub fn nights(cover: &Cover, story: &Story, now: i64) -> Vec<Night> {
    let steady = steady(cover, story, now);
    let starts: Vec<i64> = story
        .starts(cover, story.since..now)
        .filter(|at| story.end(cover, *at) <= now)
        .collect();
    let dumps: Vec<i64> = crate::bait::dump_sizes(cover, story, &starts)
        .into_iter()
        .map(kib)
        .collect();
    let mut out = Vec::new();
    for (i, at) in starts.iter().enumerate() {
        let mut lines = Vec::new();
        let mut line = |t: i64, text: &str| {
            let c = cover.host.zone.local(t);
            lines.push((t, format!("{} {} {text}\n", c.date(), c.time()).into_bytes()));
        };
        let end = story.end(cover, *at);
        line(*at, story.words.0);
        if let Some(host) = (job(cover).failed)(cover, story, *at) {
            line(end - 1, &format!("{host}: failed"));
        }
        let first = (i + 1).saturating_sub(story.keep as usize);
        let size = steady + dumps.get(first..=i).unwrap_or_default().iter().sum::<i64>();
        line(end, &format!("{} {size}", story.words.1));
        out.push(Night { at: *at, end, lines });
    }
    out
}

/// What `du -sk` says of a file: whole blocks of 4 KiB.
fn kib(bytes: usize) -> i64 {
    bytes.div_ceil(4096) as i64 * 4
}

/// What `du -sk` says of the job's directory without its dumps. On some machines the script lies in it, in a directory of its own.
fn steady(cover: &Cover, story: &Story, now: i64) -> i64 {
    let own = products(cover, story, now);
    let own = own.iter().map(|f| match &f.kind {
        Kind::Regular(Content::Bytes(b)) => kib(b.len()),
        _ => 4,
    });
    let inside = story.job_path.strip_prefix(&story.data);
    let script = match inside.and_then(|p| p.strip_prefix('/')) {
        Some(below) => kib(script(cover, story).len()) + 4 * below.matches('/').count() as i64,
        None => 0,
    };
    4 + own.sum::<i64>() + script
}

/// Files in the job's directory at this time, beside its dumps, which are baits.
pub fn products(cover: &Cover, story: &Story, now: i64) -> Vec<File> {
    (job(cover).products)(cover, story, now)
}

/// When a file was last made in the job's directory or taken away, as of this time.
pub fn touched(cover: &Cover, story: &Story, now: i64) -> i64 {
    (job(cover).touched)(cover, story, now)
}

/// What the run that began at `at` does to files beside its log, in order.
pub fn does(cover: &Cover, story: &Story, at: i64) -> Vec<Chore> {
    (job(cover).does)(cover, story, at)
}

/// A kind of nightly job: what its script does, and what it worked on last.
struct Job {
    name: &'static str,
    /// The middle of the script: cover, story, the variables of the directory and of the date.
    script: fn(&Cover, &Story, &str, &str) -> String,
    /// Files in the job's directory at this time, beside its dumps.
    products: fn(&Cover, &Story, i64) -> Vec<File>,
    /// When a file was last made in the job's directory or taken away, as of this time.
    touched: fn(&Cover, &Story, i64) -> i64,
    /// Which host its script says has failed, in the run that began at this time.
    failed: for<'a> fn(&Cover, &'a Story, i64) -> Option<&'a str>,
    /// What the run that began at this time does to files.
    does: fn(&Cover, &Story, i64) -> Vec<Chore>,
}

/// The generators that a role's data names as `job`.
const JOBS: &[Job] = &[
    Job {
        name: "dump",
        script: dump_script,
        // The dumps are baits.
        products: |_, _, _| Vec::new(),
        touched: |cover, story, now| last_end(cover, story, now) - 1,
        failed: |_, _, _| None,
        does: dumps,
    },
    Job {
        name: "probe",
        script: probe_script,
        products: reports,
        // What it writes is written over.
        touched: |cover, story, now| {
            let first = story.starts(cover, story.since..now).next();
            first.map_or(story.since, |at| at + 2)
        },
        failed: |cover, story, at| {
            let mut s = cover.stream(&format!("probe {at}"));
            let host = s.below(probed(cover, story).max(1) as u64);
            s.chance(3).then(|| story.host(host as usize))
        },
        does: |cover, story, at| {
            let said = reports(cover, story, story.end(cover, at));
            said.into_iter()
                .map(|f| Chore {
                    at: f.mtime,
                    does: Does::Write(f),
                })
                .collect()
        },
    },
    Job {
        name: "ship",
        script: ship_script,
        products: tree,
        touched: |cover, story, now| last_end(cover, story, now) - 1,
        failed: |_, _, _| None,
        // What it packs it takes away when it is sent.
        does: |cover, story, at| {
            let data = File::dir(&story.data, 0o750, story.end(cover, at) - 1);
            vec![Chore {
                at: data.mtime,
                does: Does::Touch(data),
            }]
        },
    },
];

/// When the last run was over.
fn last_end(cover: &Cover, story: &Story, now: i64) -> i64 {
    let last = story.last_runs(cover, now, 1);
    last.first().map_or(story.since + 2, |at| story.end(cover, *at))
}

/// Names of the generators of jobs.
pub fn jobs() -> impl Iterator<Item = &'static str> {
    JOBS.iter().map(|j| j.name)
}

fn job(cover: &Cover) -> &'static Job {
    JOBS.iter().find(|j| j.name == cover.job.job).unwrap_or(&JOBS[0])
}

/// A dump more, and the oldest is gone.
fn dumps(cover: &Cover, story: &Story, at: i64) -> Vec<Chore> {
    let mut out = Vec::new();
    if let Some(dump) = crate::bait::dump_of(cover, story, at) {
        out.push(Chore {
            at: dump.mtime,
            does: Does::Write(dump),
        });
    }
    let end = story.end(cover, at);
    let before = story.last_runs(cover, end, story.keep + 1);
    if let Some(old) = before.get(story.keep as usize)
        && let Some(old) = crate::bait::dump_of(cover, story, *old)
    {
        out.push(Chore {
            at: end - 1,
            does: Does::Remove(old),
        });
    }
    out
}

/// What each probed host said.
fn reports(cover: &Cover, story: &Story, now: i64) -> Vec<File> {
    let mut s = cover.stream("products");
    let Some(at) = story.last_runs(cover, now, 1).first().copied() else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for i in 0..probed(cover, story) {
        let c = cover.host.zone.local(at + 2 + i as i64);
        // Nobody has rebooted it since.
        let days = s.range(2, 140) + (at - cover.made()).div_euclid(86_400).max(0);
        let (hours, minutes) = (s.range(1, 23), s.range(0, 59));
        let mut load = cover.stream(&format!("load {at} {i}"));
        let text = format!(
            " {} up {days} days, {hours:2}:{minutes:02},  0 users,  load average: 0.{:02}, 0.{:02}, 0.{:02}\n",
            c.time(),
            load.below(60),
            load.below(40),
            load.below(30)
        );
        out.push(File::text(
            &format!("{}/{}", story.data, story.host(i)),
            0o644,
            at + 2 + i as i64,
            text,
        ));
    }
    out
}

/// The tree that is built and shipped.
fn tree(cover: &Cover, story: &Story, _: i64) -> Vec<File> {
    let mut s = cover.stream("products");
    let mut out = Vec::new();
    let root = format!("{}/{}", story.data, story.projects[0]);
    let mut when = story.since;
    out.push(File::dir(&root, 0o755, when));
    let names = ["VERSION", "README", "CHANGES", "AUTHORS"];
    for name in s.sample(&names, 3) {
        when += s.range(0, ((cover.made() - when) / 3).max(1));
        let text = match name {
            "VERSION" => format!("{}.{}.{}\n", s.range(0, 7), s.range(0, 30), s.range(0, 12)),
            "AUTHORS" => cover.users.iter().map(|u| format!("{}\n", u.full_name)).collect(),
            _ => (0..s.range(3, 20))
                .map(|_| format!("{} {}\n", coined(&mut s), coined(&mut s)))
                .collect(),
        };
        out.push(File::text(&format!("{root}/{name}"), 0o644, when, text));
    }
    out
}

/// How many hosts a bastion's script asks.
fn probed(cover: &Cover, story: &Story) -> usize {
    (1 + cover.stream("probed").below(4) as usize).min(story.hosts.len())
}

/// The script that does the machine's work, in the style of whoever wrote it.
pub fn script(cover: &Cover, story: &Story) -> String {
    let mut s = cover.stream("script");
    let (v, w) = (coined(&mut s), coined(&mut s).to_uppercase());
    let shell = *s.pick(&["#!/bin/sh", "#!/bin/bash", "#! /bin/sh"]);
    let strict = *s.pick(&["set -e", "set -eu", "", "set -u"]);
    let mut t = format!("{shell}\n");
    if s.chance(50) {
        t += &format!(
            "# {} {}\n",
            s.pick(&cover.users).name,
            cover.host.zone.local(story.since).date()
        );
    }
    if !strict.is_empty() {
        t += &format!("{strict}\n");
    }
    let format = story.date_format;
    let today = match s.below(5) {
        0 => format!("$(date +{format})"),
        1 => format!("`date +{format}`"),
        2 => format!("$(date '+{format}')"),
        3 => format!("$(date \"+{format}\")"),
        _ => format!("$(/bin/date +{format})"),
    };
    t += &format!("{w}={}\n{v}={today}\n", story.data);
    let style = LogStyle::draw(cover, story);
    t += &style.head;
    t += &style.say(story.words.0);
    t += &(job(cover).script)(cover, story, &w, &v);
    let size = match s.below(6) {
        0 => format!("$(du -sk ${w} | cut -f1)"),
        1 => format!("$(du -sk ${w} | awk '{{print $1}}')"),
        2 => format!("`du -sk ${w} | cut -f1`"),
        3 => format!("$(du -k -s ${{{w}}} | sed 's/[^0-9].*//')"),
        4 => format!("$(du -ks ${w} | {{ read n _; echo $n; }})"),
        _ => format!("$(du -s --block-size=1K ${w} | cut -f 1)"),
    };
    t + &style.say(&format!("{} {size}", story.words.1))
}

/// How the script writes its log: with a function of its own, or the same words each time.
struct LogStyle {
    /// What comes before the first line.
    head: String,
    /// A line around `{}`.
    line: String,
}

impl LogStyle {
    fn draw(cover: &Cover, story: &Story) -> LogStyle {
        let mut s = cover.stream("script log");
        let stamp = *s.pick(&[
            "$(date '+%F %T')",
            "`date '+%F %T'`",
            "$(date +%F\\ %T)",
            "$(date +'%Y-%m-%d %H:%M:%S')",
            "$(date +%F) $(date +%T)",
        ]);
        let (name, log) = (coined(&mut s), &story.log);
        let (head, line) = match s.below(5) {
            0 => (String::new(), format!("echo \"{stamp} {{}}\" >> {log}")),
            1 => (
                format!("{name}() {{\n\techo \"{stamp} $*\" >> {log}\n}}\n"),
                format!("{name} {{}}"),
            ),
            2 => (
                format!("{name}={log}\nexec >> ${name}\n"),
                format!("echo \"{stamp} {{}}\""),
            ),
            3 => (
                format!("{name} () {{ echo \"{stamp} $1\" >>{log}; }}\n"),
                format!("{name} \"{{}}\""),
            ),
            _ => (
                format!("{name}={log}\n"),
                format!("printf '%s %s\\n' \"{stamp}\" \"{{}}\" >> ${name}"),
            ),
        };
        LogStyle { head, line }
    }

    /// The command that logs `what`, without the end of its line.
    fn command(&self, what: &str) -> String {
        self.line.replacen("{}", what, 1)
    }

    fn say(&self, what: &str) -> String {
        self.command(what) + "\n"
    }
}

fn dump_script(cover: &Cover, story: &Story, w: &str, v: &str) -> String {
    let (host, db, old) = (story.host(0), &story.db_name, story.keep - 1);
    let clean = match cover.stream("script cleaning").below(5) {
        0 => format!("find ${w} -name '*.sql' -mtime +{old} -delete"),
        1 => format!("find ${w} -type f -name \"{db}-*\" -mtime +{old} -exec rm {{}} \\;"),
        2 => format!(
            "ls -t ${w}/{db}-*.sql | tail -n +{} | xargs -r rm",
            story.keep + 1
        ),
        3 => format!("find ${w} -mtime +{old} -name '{db}*.sql' -print0 | xargs -0 -r rm -f"),
        _ => format!("find ${w}/ -maxdepth 1 -name {db}-\\* -mtime +{old} -exec rm -f {{}} +"),
    };
    format!(
        "ssh {host} \"pg_dump -U {} {db}\" > ${w}/{db}-${v}.sql\n{clean}\n",
        story.db_user
    )
}

fn ship_script(_: &Cover, story: &Story, w: &str, v: &str) -> String {
    let (host, p) = (story.host(0), &story.projects[0]);
    format!(
        "cd ${w}\ntar czf {p}-${v}.tar.gz {p}\nscp -q {p}-${v}.tar.gz {host}:/srv/{}/\nrm {p}-${v}.tar.gz\n",
        story.projects[1]
    )
}

fn probe_script(cover: &Cover, story: &Story, w: &str, _: &str) -> String {
    let style = LogStyle::draw(cover, story);
    let ssh = *cover.stream("script ssh").pick(&[
        "ssh -o BatchMode=yes",
        "ssh -oBatchMode=yes",
        "ssh -q -o BatchMode=yes",
        "timeout 20 ssh",
        "ssh -n",
        "ssh -o ConnectTimeout=9",
    ]);
    let one = |h: &str| {
        format!(
            "{ssh} {h} uptime > ${w}/{h} || {}\n",
            style.command(&format!("{h}: failed"))
        )
    };
    (0..probed(cover, story)).map(|i| one(story.host(i))).collect()
}
