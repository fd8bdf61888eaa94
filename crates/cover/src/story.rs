//! The names that a machine's files share: projects, directories, the job it does. Histories, scripts, cron lines, notes and baits
//! all take them from here, so that what one file mentions another holds.

use crate::cover::Cover;
use crate::users::coined;

/// The shared names of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// Names of projects or customers.
    pub projects: Vec<String>,
    /// Where the machine keeps its data: `/srv/dumps`.
    pub data: String,
    /// Name of the script that does the machine's work, with suffix.
    pub job: String,
    /// Its full path.
    pub job_path: String,
    /// Directory of its settings: `/etc/veltor`.
    pub settings: String,
    /// Full path of its log.
    pub log: String,
    /// Neighbours by role: the machine with the data, then the others (name as in `/etc/hosts`).
    pub hosts: Vec<String>,
    /// Data base user.
    pub db_user: String,
    /// Data base name.
    pub db_name: String,
    /// Hour and minute of the nightly job.
    pub time: (u32, u32),
    /// How the job's script writes dates: `date`'s format.
    pub date_format: &'static str,
    /// What the job logs at its beginning and end.
    pub words: (&'static str, &'static str),
    /// The timetable is a file in `/etc/cron.d`; otherwise root's crontab.
    pub in_cron_d: bool,
    /// The command in the timetable, as cron runs and logs it.
    pub command: String,
    /// Days for which it keeps what it makes.
    pub keep: i64,
    /// Unix time at which the job was set up.
    pub since: i64,
}

impl Story {
    /// The story of `cover`.
    pub fn draw(cover: &Cover) -> Story {
        let mut s = cover.stream("story");
        let mut projects: Vec<String> = Vec::new();
        while projects.len() < 3 {
            let mut p = coined(&mut s);
            if s.chance(25) {
                p = format!(
                    "{p}{}",
                    s.pick(&["-web", "-api", "-core", "-shop", "-app", "-data", "-ng", "2"])
                );
            }
            if !projects.contains(&p) {
                projects.push(p);
            }
        }
        let first = projects[0].clone();
        let verb = s.pick(&cover.job.job_names).clone();
        let stem = match s.below(5) {
            0 => format!("{verb}-{first}"),
            1 => format!("{first}_{verb}"),
            2 => format!("{verb}_{}", coined(&mut s)),
            3 => format!("{}-{verb}", coined(&mut s)),
            _ => format!("{verb}{}", capital(&first)),
        };
        let job = format!("{stem}{}", s.pick(&["", ".sh", ".sh", ".bash"]));
        let place = match s.below(6) {
            0 => "/usr/local/bin".to_string(),
            1 => "/usr/local/sbin".to_string(),
            2 => format!("/opt/{first}/bin"),
            3 => format!("/opt/{}", coined(&mut s)),
            4 => "/root/bin".to_string(),
            _ => format!("/srv/{first}/bin"),
        };
        let data = match s.below(6) {
            0 => format!("/srv/{first}"),
            1 => format!(
                "/srv/{}",
                s.pick(&["data", "dumps", "store", "backup", "work", "pool"])
            ),
            2 => format!("/data/{first}"),
            3 => format!("/var/lib/{first}"),
            4 => format!("/opt/{first}/{}", s.pick(&["data", "var", "files", "work"])),
            _ => format!("/home/{first}-{}", s.pick(&["data", "store", "files"])),
        };
        let mut hosts: Vec<String> = cover.network.neighbours.iter().map(|n| n.0.clone()).collect();
        // The host with the data comes first.
        let order = [
            "db",
            "erp",
            "app",
            "registry",
            "repo",
            "git",
            "web",
            "artifacts",
            "nexus",
            "wiki",
        ];
        hosts.sort_by_key(|h| order.iter().position(|o| h.contains(o)).unwrap_or(order.len()));
        let letters: String = first.chars().filter(char::is_ascii_alphabetic).collect();
        let job_path = format!("{place}/{job}");
        let mut timetable = cover.stream("timetable");
        let in_cron_d = timetable.chance(55);
        let quiet = if in_cron_d {
            *timetable.pick(&["", " >/dev/null", " -q"])
        } else {
            ""
        };
        Story {
            in_cron_d,
            command: format!("{job_path}{quiet}"),
            settings: format!(
                "/etc/{}",
                if s.chance(60) {
                    first.clone()
                } else {
                    coined(&mut s)
                }
            ),
            log: format!("/var/log/{stem}.log"),
            job_path,
            job,
            data,
            hosts,
            db_user: match s.below(4) {
                0 => letters.clone(),
                1 => format!("{letters}_{}", s.pick(&["ro", "rw", "app", "dump", "adm", "svc"])),
                2 => coined(&mut s),
                _ => format!("svc_{letters}"),
            },
            db_name: format!(
                "{letters}{}",
                s.pick(&["", "_prod", "_live", "db", "_p", "_main"])
            ),
            date_format: ["%F", "%Y%m%d", "%y%m%d"][s.below(3) as usize],
            words: (
                ["start", "begin", "run", "go"][s.below(4) as usize],
                ["done", "ok", "end", "finished"][s.below(4) as usize],
            ),
            keep: s.range(3, 9),
            time: (s.below(6) as u32, s.below(60) as u32),
            since: cover.host.installed + s.range(1, 30) * 86_400 + s.range(0, 30_000),
            projects,
        }
    }

    /// The date of `at` as the job's script writes it.
    pub fn date(&self, cover: &Cover, at: i64) -> String {
        let d = cover.host.zone.local(at).date();
        match self.date_format {
            "%F" => d,
            "%Y%m%d" => d.replace('-', ""),
            _ => d.replace('-', "").split_off(2),
        }
    }

    /// When cron starts the job on the local day `day` (days since the epoch), seconds since the epoch. What falls into the hour that
    /// summer time leaves out is run at that hour's end (cron(8)).
    fn start_on(&self, cover: &Cover, day: i64) -> i64 {
        let zone = &cover.host.zone;
        let wanted = day * 86_400 + i64::from(self.time.0) * 3600 + i64::from(self.time.1) * 60;
        let at = wanted - zone.offset_at(wanted - zone.offset);
        if at + zone.offset_at(at) == wanted {
            return at + 1;
        }
        let winter = wanted - zone.offset;
        winter - winter.rem_euclid(3600) + 1
    }

    /// When the job began, oldest first, as far as that is in the range and since it was set up.
    pub fn starts(&self, cover: &Cover, range: std::ops::Range<i64>) -> impl DoubleEndedIterator<Item = i64> {
        let local = |t: i64| (t + cover.host.zone.offset_at(t)).div_euclid(86_400);
        let (from, to) = (range.start.max(self.since), range.end);
        (local(from)..=local(to))
            .map(|day| self.start_on(cover, day))
            .filter(move |at| (from..to).contains(at))
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// When the run that began at `at` was over.
    pub fn end(&self, cover: &Cover, at: i64) -> i64 {
        at + cover.stream(&format!("run {at}")).range(20, 1400)
    }

    /// Beginnings of the last `most` runs that were over by `now`, the latest first.
    pub fn last_runs(&self, cover: &Cover, now: i64, most: i64) -> Vec<i64> {
        let days = (most + 2) * 86_400;
        self.starts(cover, now - days..now)
            .rev()
            .filter(|at| self.end(cover, *at) <= now)
            .take(usize::try_from(most).unwrap_or(0))
            .collect()
    }

    /// A host to talk to; the machine's own gateway has no name, so there is always one.
    pub fn host(&self, n: usize) -> &str {
        if self.hosts.is_empty() {
            "localhost"
        } else {
            &self.hosts[n % self.hosts.len()]
        }
    }
}

fn capital(s: &str) -> String {
    let mut c = s.chars();
    c.next()
        .map(|f| f.to_uppercase().chain(c).collect())
        .unwrap_or_default()
}
