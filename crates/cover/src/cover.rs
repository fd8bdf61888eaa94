//! The cover itself: everything drawn, in one value.

use crate::files::{self, File};
use crate::hardware::{self, Hardware};
use crate::host::Host;
use crate::keys::HostKeys;
use crate::network::{self, Network};
use crate::processes::{self, Process};
use crate::release::Release;
use crate::role::Role;
use crate::seed::Seed;
use crate::users::{self, User};
use crate::wishes::{FileWish, Given};
use crate::{bait, clock, kernels, past, role};
use serde::Serialize;

/// What a cover needs to know of the image below it.
pub trait Image {
    /// Content of a regular file, following symbolic links; None if there is none.
    fn read(&self, path: &str) -> Option<Vec<u8>>;
    /// Whether something lies at a path, following symbolic links.
    fn has(&self, path: &str) -> bool {
        self.read(path).is_some()
    }
    /// The first bytes of a file, at most `len`.
    fn head(&self, path: &str, len: usize) -> Option<Vec<u8>> {
        let mut all = self.read(path)?;
        all.truncate(len);
        Some(all)
    }
    /// Names in a directory, in no order.
    fn list(&self, _dir: &str) -> Vec<String> {
        Vec::new()
    }
    /// Installed packages: name and version.
    fn packages(&self) -> Vec<(String, String)>;
}

/// Why a cover cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoverError {
    /// The role is not known.
    UnknownRole(String),
    /// The time zone is not one that covers know.
    UnknownZone(String),
    /// A host name, domain or user name is not valid on Debian.
    BadName(String),
    /// Two wishes contradict each other.
    Contradiction(String),
}

impl std::fmt::Display for CoverError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CoverError::UnknownRole(r) => write!(
                f,
                "cover.role: there is no role {r:?}; choose one of {}",
                role::names().join(", ")
            ),
            CoverError::UnknownZone(z) => write!(
                f,
                "cover.timezone: {z:?} is not known; choose one of {}",
                clock::ZONES
                    .iter()
                    .map(|z| z.0.name)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            CoverError::BadName(n) => write!(
                f,
                "cover: {n:?} is not a valid name (a-z, 0-9, - and, for users, _ and .)"
            ),
            CoverError::Contradiction(t) => write!(f, "cover: {t}"),
        }
    }
}

impl std::error::Error for CoverError {}

/// One machine's identity.
#[derive(Clone, Debug, Serialize)]
pub struct Cover {
    /// Generator version.
    pub format: u32,
    /// Name of the role.
    pub role: String,
    /// The role's data.
    #[serde(skip)]
    pub job: Role,
    /// Name, place, identifiers, times.
    pub host: Host,
    /// Hardware.
    pub hardware: Hardware,
    /// Network.
    pub network: Network,
    /// People; the first installed the machine.
    pub users: Vec<User>,
    /// Host keys, once they were generated.
    pub host_keys: Option<HostKeys>,
    /// `sshd_config` lines that differ from the package's, as the authentication policy really behaves.
    pub sshd_options: Vec<(String, String)>,
    /// inetd serves telnet, if the image has both.
    pub telnet: bool,
    /// Password field of root in `/etc/shadow`.
    pub root_hash: String,
    /// Password fields of `users`, in their order.
    pub user_hashes: Vec<String>,
    /// Packages that the operator wants to be installed.
    pub wished: Vec<String>,
    /// Files that the operator wants to lie there.
    files: Vec<FileWish>,
    made: i64,
    #[serde(skip)]
    seed: Seed,
}

/// A machine that has been up for a while.
pub struct Booted {
    /// What the cover writes over the image.
    pub files: Vec<File>,
    /// Sessions that logind has counted since the boot.
    pub sessions: u32,
    /// Times of what the image holds.
    pub stamps: past::stamps::Stamps,
}

impl Cover {
    /// Draws the cover of `seed`. `given` is kept with the seed: the same two give the same cover.
    pub fn new(seed: Seed, given: &Given) -> Result<Cover, CoverError> {
        let w = &given.wishes;
        let mut s = seed.stream("role");
        let role_name = match &w.role {
            Some(r) => r.clone(),
            None => role::names()[s.below(role::names().len() as u64) as usize].to_string(),
        };
        let role = role::named(&role_name).ok_or_else(|| CoverError::UnknownRole(role_name.clone()))?;
        Cover::of_role(seed, given, &role_name, role)
    }

    /// The same with a role that need not be one of ours.
    ///
    /// # Errors
    /// A wish that contradicts another or what there is.
    pub fn of_role(seed: Seed, given: &Given, role_name: &str, role: Role) -> Result<Cover, CoverError> {
        let w = &given.wishes;
        let release = Release::current();
        let mut s = seed.stream("host");
        let drawn_zone = clock::ZONES[s.weighted(&clock::ZONES.iter().map(|z| z.1).collect::<Vec<_>>())].0;
        let zone = match &w.timezone {
            Some(z) => clock::ZONES
                .iter()
                .map(|k| k.0)
                .find(|k| k.name == z)
                .ok_or_else(|| CoverError::UnknownZone(z.clone()))?,
            None => drawn_zone,
        };
        for u in &w.users {
            if !valid_user(&u.name) {
                return Err(CoverError::BadName(u.name.clone()));
            }
            if w.users.iter().filter(|o| o.name == u.name).count() > 1 {
                return Err(CoverError::Contradiction(format!(
                    "user {:?} is named twice",
                    u.name
                )));
            }
        }
        for n in w.hostname.iter().chain(w.domain.iter().filter(|d| !d.is_empty())) {
            if !valid_host(n) {
                return Err(CoverError::BadName(n.clone()));
            }
        }
        let word = users::coined(&mut s);
        let drawn_domain = match s.weighted(&[3, 3, 3, 2]) {
            0 => format!("{word}.internal"),
            1 => format!("{word}.lan"),
            2 => format!("int.{word}.net"),
            _ => String::new(),
        };
        let stem = s.pick(&role.host_names).clone();
        let drawn_name = match s.weighted(&[4, 4, 3, 3]) {
            0 => format!("{stem}{:02}", 1 + s.below(6)),
            1 => format!("{}-{stem}{}", &word[..word.len().min(4)], 1 + s.below(4)),
            2 => format!("{stem}-{}", users::coined(&mut s)),
            _ => users::coined(&mut s),
        };
        if given.made < release.released + 90 * 86_400 {
            return Err(CoverError::Contradiction(format!(
                "the clock of this machine says {}, before Debian {} was released: set it",
                clock::Civil::from_unix(given.made).date(),
                release.number
            )));
        }
        let oldest = (given.made - 900 * 86_400).max(release.released);
        let newest = (given.made - 60 * 86_400).max(oldest);
        let installed = work_hours(s.range(oldest, newest), &zone, &mut s);
        let booted = (given.made - s.range(3, 70) * 86_400 + s.range(-20_000, 20_000))
            .clamp(installed + 86_400, given.made - 3600);
        let at_boot = kernels::newest_at(booted - 86_400 * s.range(0, 6));
        let (kernel, booted) = match &given.kernel {
            None => (at_boot, booted),
            Some(k) => (
                k.clone(),
                booted_into(k, booted, given.made, &zone, &mut seed.stream("kernel")),
            ),
        };
        let host = Host {
            name: w.hostname.clone().unwrap_or(drawn_name),
            domain: w.domain.clone().unwrap_or(drawn_domain),
            zone,
            // The image has no other locale generated.
            locale: "C.UTF-8".into(),
            machine_id: s.uuid().replace('-', ""),
            boot_id: s.uuid(),
            installed,
            booted,
            kernel,
        };
        let hardware = hardware::draw(
            &mut seed.stream("hardware"),
            &role.cores,
            &role.memory_mib,
            &role.disk_gib,
        );
        let mut ns = seed.stream("neighbours");
        let count = 3 + ns.below(5) as usize;
        let stems = ns.sample(&role.neighbours, count);
        // Every house has its way to name machines.
        let (style, site) = (ns.weighted(&[3, 2, 3, 3, 2]), users::coined(&mut ns));
        let short = &site[..site.len().min(4)];
        let names: Vec<String> = stems
            .iter()
            .map(|n| match style {
                0 => format!("{n}{:02}", 1 + ns.below(4)),
                1 => format!("{short}{n}"),
                2 => format!("{short}-{n}{}", 1 + ns.below(4)),
                3 => format!("{n}-{site}"),
                _ => users::coined(&mut ns),
            })
            .collect();
        let network = network::draw(
            &mut seed.stream("network"),
            hardware.platform,
            &given.receiving,
            &names,
        );
        let users = users::draw(&seed, &role, &w.users, installed, given.made);
        let cover = Cover {
            format: crate::FORMAT,
            role: role_name.to_owned(),
            job: role,
            host,
            hardware,
            network,
            user_hashes: vec!["!".into(); users.len()],
            users,
            host_keys: None,
            sshd_options: Vec::new(),
            telnet: false,
            root_hash: "!".into(),
            wished: w.packages.clone(),
            files: w.files.clone(),
            made: given.made,
            seed,
        };
        crate::wishes::check(&cover, w).map_err(CoverError::Contradiction)?;
        Ok(cover)
    }

    /// A stream of choices of this cover for `label`.
    pub fn stream(&self, label: &str) -> crate::Stream {
        self.seed.stream(label)
    }

    /// The seed. It is a secret: whoever knows it knows every key of the cover.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// The password fields of `users`, made from their passwords. Each takes some 30 ms, on purpose: whoever keeps a cover keeps
    /// them in `user_hashes`.
    pub fn password_fields(&self) -> Vec<String> {
        (0..self.users.len())
            .map(|i| files::etc::password_field(self, i))
            .collect()
    }

    /// When the cover was made, seconds since the epoch.
    pub fn made(&self) -> i64 {
        self.made
    }

    /// The files above the image as they were when the cover was made. A directory that is as old as it is in spite of what lies in it
    /// comes behind that.
    pub fn files(&self, image: &dyn Image) -> Vec<File> {
        self.files_at(image, self.made)
    }

    /// The files above the image at `now`: people and jobs went on since the cover was made.
    pub fn files_at(&self, image: &dyn Image, now: i64) -> Vec<File> {
        self.booted_at(image, None, now).files
    }

    /// The same with the journal, if `kernel` is given: the kernel's log since boot (priority, microseconds since boot, text). And what
    /// else a machine that has been up for so long knows.
    pub fn booted_at(&self, image: &dyn Image, kernel: Option<&[(u8, u64, String)]>, now: i64) -> Booted {
        let now = now.max(self.made);
        let past = past::Past::draw(self, image, now);
        let mut out = files::etc::files(self, image);
        let story = crate::story::Story::draw(self);
        out.extend(files::system::files(self, image, &story, now));
        out.extend(files::homes::files(self, image, &story, &past));
        out.extend(bait::draw(self, now).into_iter().flat_map(|l| l.files));
        let records = past.records(self, image, now);
        let stamps = past::stamps::Stamps::of(self, image, &past, records.as_ref(), now);
        // mke2fs(8) makes it with the file system.
        out.push(File::dir("/lost+found", 0o700, stamps.made));
        out.extend(past::files(
            self,
            image,
            &past,
            records.as_ref(),
            kernel.unwrap_or_default(),
            now,
        ));
        if let Some(kernel) = kernel {
            let journal = past::journal::files(self, image, &past, kernel, now);
            out.extend(journal);
        }
        out.extend(crate::wishes::files(self, &self.files));
        // A path is listed once: a bait takes the place of the plain file of the same name.
        let mut seen = std::collections::HashSet::new();
        out.reverse();
        out.retain(|f| seen.insert(f.path.clone()));
        out.reverse();
        let read: std::collections::HashMap<&str, i64> = stamps
            .read
            .iter()
            .map(|(path, at)| (path.as_str(), *at))
            .collect();
        for f in &mut out {
            f.atime = read.get(f.path.as_str()).map_or(f.atime, |at| f.atime.max(*at));
        }
        Booted {
            files: out,
            sessions: past::lines::sessions(&past.line),
            stamps,
        }
    }

    /// The files of interest as they lay there when the cover was made, with what they give away.
    pub fn baits(&self) -> Vec<bait::Bait> {
        self.baits_at(self.made)
    }

    /// The files of interest at `now`, seconds since the epoch: the same ids and credentials, but the path of what a nightly job makes
    /// follows the date.
    pub fn baits_at(&self, now: i64) -> Vec<bait::Bait> {
        bait::draw(self, now).into_iter().map(|l| l.bait).collect()
    }

    /// The key that user number `index` logs in with from his desk; its private half is nowhere on the machine.
    pub fn desk_key(&self, index: usize) -> Option<crate::keys::KeyPair> {
        let user = self.users.get(index)?;
        let mut s = self.stream(&format!("desk {index}"));
        let desk = match s.below(3) {
            0 => format!(
                "{}-{}",
                user.name,
                s.pick(&["laptop", "pc", "nb", "work", "desktop"])
            ),
            1 => users::coined(&mut s),
            _ => format!("{}{}", s.pick(&["nb", "pc", "ws", "lap"]), s.range(10, 999)),
        };
        crate::keys::generate(
            &self.seed,
            &format!("desk {index}"),
            crate::keys::Algo::Ed25519,
            &format!("{}@{desk}", user.name),
        )
    }

    /// The ports on which sshd listens, as `sshd_options` sets them.
    pub fn ssh_ports(&self) -> Vec<u16> {
        let set: Vec<u16> = self
            .sshd_options
            .iter()
            .filter(|(k, _)| k == "Port")
            .filter_map(|(_, v)| v.parse().ok())
            .collect();
        if set.is_empty() { vec![22] } else { set }
    }

    /// The ends of `MaxStartups`, where `sshd_options` set it: sshd shows them in its title.
    fn startups(&self) -> Option<(&str, &str)> {
        let (_, set) = self.sshd_options.iter().find(|(k, _)| k == "MaxStartups")?;
        let mut numbers = set.split(':');
        let begin = numbers.next()?;
        Some((begin, numbers.next_back().unwrap_or(begin)))
    }

    /// Fingerprint of [`Cover::desk_key`] as sshd logs it.
    pub fn login_print(&self, index: usize) -> String {
        self.desk_key(index).map(|k| k.fingerprint).unwrap_or_default()
    }

    /// The tasks that run since boot. `installed` says whether a program is in the image.
    pub fn processes(&self, installed: &dyn Fn(&str) -> bool) -> Vec<Process> {
        let disk = self.hardware.disks.first().map_or("sda", |d| d.name.as_str());
        let mut all = processes::draw(
            &mut self.stream("processes"),
            self.hardware.cores,
            disk,
            disk.starts_with('s'),
            installed,
        );
        if let Some((begin, full)) = self.startups()
            && let Some(p) = all.iter_mut().find(|p| p.comm == "sshd")
        {
            p.argv = vec![format!(
                "sshd: /usr/sbin/sshd -D [listener] 0 of {begin}-{full} startups"
            )];
        }
        if self.network.dhcp && installed("/usr/sbin/dhclient") {
            let i = &self.network.interface;
            all.push(processes::dhclient(i, all.last().map_or(700, |p| p.pid)));
        }
        if installed(processes::INETD) {
            all.push(processes::inetd(all.last().map_or(700, |p| p.pid)));
        }
        all
    }
}

/// When a machine was booted that runs `kernel`: at `drawn` if that kernel was out by then, else soon after it was, by somebody who had
/// just upgraded.
fn booted_into(
    kernel: &kernels::Kernel,
    drawn: i64,
    made: i64,
    zone: &clock::Zone,
    s: &mut crate::Stream,
) -> i64 {
    let first = kernel.uploaded + 20 * 3600;
    let last = made - 3600;
    if drawn >= first {
        return drawn;
    }
    if last <= first + 3600 {
        return first + s.range(0, 3600);
    }
    let at = s.range(first, last);
    let by_day = work_hours(at, zone, s);
    if (first..=last).contains(&by_day) {
        by_day
    } else {
        at
    }
}

/// Moves a moment into the working hours of its day.
pub(crate) fn work_hours(unix: i64, zone: &clock::Zone, s: &mut crate::Stream) -> i64 {
    let day = unix.div_euclid(86_400) * 86_400;
    let weekday = clock::Civil::from_unix(day).weekday;
    let shift = match weekday {
        0 => 1,
        6 => -1,
        _ => 0,
    };
    day + shift * 86_400 + s.range(9 * 3600, 17 * 3600) - zone.offset
}

fn valid_host(n: &str) -> bool {
    !n.is_empty()
        && n.len() <= 63
        && n.split('.').all(|l| {
            !l.is_empty()
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

/// True for a login name that Debian takes.
pub fn valid_user(n: &str) -> bool {
    n.len() <= 32
        && n.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && n.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wishes::{UserWish, Wishes};

    fn given(w: Wishes) -> Given {
        Given {
            made: 1_795_400_000,
            wishes: w,
            ..Given::default()
        }
    }

    #[test]
    fn same_seed_same_cover_and_times_agree() {
        for i in 0..100u8 {
            let c = Cover::new(Seed([i; 32]), &given(Wishes::default())).unwrap();
            let d = Cover::new(Seed([i; 32]), &given(Wishes::default())).unwrap();
            assert_eq!(
                serde_json::to_string(&c).unwrap(),
                serde_json::to_string(&d).unwrap()
            );
            assert!(c.host.installed < c.host.booted && c.host.booted < 1_795_400_000);
            assert!(
                c.host.kernel.uploaded < c.host.booted,
                "{} {}",
                c.host.kernel.release,
                c.host.booted
            );
            assert!(
                c.users
                    .iter()
                    .all(|u| u.since >= c.host.installed && u.password_changed < 1_795_400_000)
            );
            assert!(valid_host(&c.host.name), "{}", c.host.name);
        }
    }

    #[test]
    fn wishes_hold_and_bad_ones_are_refused() {
        let w = Wishes {
            hostname: Some("db7".into()),
            users: vec![UserWish {
                name: "mallory".into(),
                ..Default::default()
            }],
            role: Some("backup".into()),
            ..Default::default()
        };
        let c = Cover::new(Seed([3; 32]), &given(w)).unwrap();
        assert_eq!(c.host.name, "db7");
        assert_eq!(c.users[0].name, "mallory");
        let bad = |w| Cover::new(Seed([3; 32]), &given(w)).unwrap_err().to_string();
        assert!(
            bad(Wishes {
                role: Some("nope".into()),
                ..Default::default()
            })
            .contains("bastion")
        );
        assert!(
            bad(Wishes {
                hostname: Some("Bad Name".into()),
                ..Default::default()
            })
            .contains("not a valid name")
        );
    }
}
