//! What random installs say, and whether what many of them say is Debian's.
//!
//! A line is cut into words; digits are masked, and a word that only few installs have becomes `*`. What is left between the stars is
//! what installs share. Each such piece of twelve bytes or more must occur in the image, or come of the format strings of the program
//! that logs it.

#[path = "mask.rs"]
mod mask;

use aho_corasick::AhoCorasick;
use mask::{mask, mask_bytes, without_packages};
use regex::Regex;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Read;
use turncoat_cover::past::{Past, journal, lines};
use turncoat_cover::{Content, Cover, Given, Image, Kind, Seed, Wishes, role};

/// Installs that are looked at.
pub const INSTALLS: usize = 200;
/// What as many of them share is no chance: of the few words that a choice has, or of the few models of a thing, each is had by less.
const CHANCE: usize = INSTALLS / 5;
/// The shortest string that counts.
const SHORTEST: usize = 12;

/// Who says something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The name of a file, a person, a device; a value of the cover.
    Name,
    /// A line of a file.
    Text,
    /// A line that somebody typed to his shell.
    Typed,
    /// A line that a program logged.
    Program(&'static str),
}

use Source::{Name, Program, Text, Typed};

/// Programs that log, and where their messages stand.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("sshd", &["/usr/sbin/sshd"]),
    ("CRON", &["/usr/sbin/cron"]),
    (
        "sudo",
        &[
            "/usr/bin/sudo",
            "/usr/libexec/sudo/sudoers.so",
            "/usr/libexec/sudo/libsudo_util.so.0.0.0",
        ],
    ),
    (
        "pam",
        &[
            "/usr/lib/x86_64-linux-gnu/libpam.so.0.85.1",
            "/usr/lib/x86_64-linux-gnu/security/pam_unix.so",
        ],
    ),
    (
        "systemd",
        &[
            "/usr/lib/systemd/systemd",
            "/usr/lib/x86_64-linux-gnu/systemd/libsystemd-core-252.so",
            "/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so",
        ],
    ),
    (
        "systemd-logind",
        &[
            "/usr/lib/systemd/systemd-logind",
            "/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so",
        ],
    ),
    (
        "dpkg",
        &[
            "/usr/bin/dpkg",
            "/usr/bin/dpkg-deb",
            "/usr/lib/x86_64-linux-gnu/libapt-pkg.so.6.0.0",
            "/usr/lib/x86_64-linux-gnu/libapt-private.so.0.0.0",
            "/usr/bin/unattended-upgrade",
        ],
    ),
    (
        "unattended-upgrade",
        &[
            "/usr/bin/unattended-upgrade",
            // Its messages whole, as translators have them.
            "/usr/share/locale/de/LC_MESSAGES/unattended-upgrades.mo",
        ],
    ),
    ("crontab", &["/usr/bin/crontab"]),
    ("logrotate", &["/usr/sbin/logrotate"]),
    (
        "kernel",
        &[
            "/boot/vmlinuz-{release}",
            "/lib/modules/{release}/kernel/drivers/scsi/sd_mod.ko",
            "/lib/modules/{release}/kernel/drivers/block/virtio_blk.ko",
            "/lib/modules/{release}/kernel/drivers/net/virtio_net.ko",
            "/lib/modules/{release}/kernel/drivers/net/vmxnet3/vmxnet3.ko",
            "/lib/modules/{release}/kernel/fs/ext4/ext4.ko",
        ],
    ),
];

/// What the installer writes: its own packages (partman-target, netcfg, clock-setup, localechooser) are on its medium, not in the image.
const INSTALLER: &[&str] = &[
    "was on /dev/sda# during installation",
    "was on /dev/vda# during installation",
    "swap was on /dev/sda# during installation",
    "swap was on /dev/vda# during installation",
    "# <file system> <mount point>   <type>  <options>       <dump>  <pass",
    "# Please run 'systemctl daemon-reload' after making changes here.",
    "# Use 'blkid' to print the universally unique identifier for a",
    "# device; this may be used with UUID= as a more robust way to name devices",
    "# systemd generates mount units based on this file, see systemd.mount(#).",
    "# that works even if disks are added and removed. See fstab(#).",
    "/dev/sr#        /media/cdrom#   udf,iso# user,noauto     #       #",
    "# The following lines are desirable for IPv# capable hosts",
    "#     localhost ip#-localhost ip#-loopback",
    "ff#::# ip#-allnodes",
    "ff#::# ip#-allrouters",
    "# The loopback network interface",
    "# The primary network interface",
    "# This file describes the network interfaces available on your system",
    "# and how to activate them. For more information, see interfaces(#).",
    "# dns-* options are implemented by the resolvconf package, if installed",
    "options are implemented by the resolvconf package, if installed",
    "dns-nameservers",
    "allow-hotplug enp#s#",
    "allow-hotplug ens#",
    "iface ens# inet dhcp",
    "iface ens# inet static",
    "iface enp#s# inet static",
    "LANG=\"C.UTF-#",
    "root:!:#:#:#:#",
    "ext#    errors=remount-ro #       #",
    "none            swap    sw              #       #",
];

/// What programs write that the image has not, or that no string of theirs shows whole, and who.
const ELSEWHERE: &[(&str, &str)] = &[
    ("Requested-By", "libapt-pkg, which puts it together"),
    (
        "; USER=root ; COMMAND=/bin/bash",
        "sudo -i: sudoers.so puts it together, the shell is root's",
    ),
    (
        "family: #x#, model: #x#f, stepping: #x#",
        "print_cpu_info of the kernel, in two parts",
    ),
    (
        "family: #xf, model: #x#b, stepping: #x#",
        "print_cpu_info of the kernel, in two parts",
    ),
    (
        "family: #x#, model: #x#c, stepping: #x#",
        "print_cpu_info of the kernel, in two parts",
    ),
    (
        "sda: sda# sda# < sda# >",
        "check_partition of the kernel, in parts",
    ),
    (
        "vda: vda# vda# < vda# >",
        "check_partition of the kernel, in parts",
    ),
    (
        "Created slice system-getty.slice - Slice /system/getty.",
        "systemd: no unit file describes the slice",
    ),
    (
        "Started session-#.scope - Session # of User",
        "logind describes the unit, systemd joins the two",
    ),
    (
        "-- Dumped by pg_dump version #.# (Debian #.#-#+deb#u#)",
        "pg_dump of postgresql-client",
    ),
    (
        "-- Dumped from database version #.# (Debian #.#-#+deb#u#)",
        "pg_dump",
    ),
    (
        "Allowed origins are: origin=Debian,codename=bookworm,label=Debian, origin=Debian,codename=bookworm,label=Debian-Security, origin=Debian,codename=bookworm-security,label=Debian-Security",
        "unattended-upgrade, with the origins of its settings",
    ),
    (
        "Initial whitelist (not strict): ",
        "unattended-upgrade, without settings",
    ),
    (
        "log to /var/log/unattended-upgrades/unattended-upgrades-dpkg.log",
        "unattended-upgrade, with its own path",
    ),
    ("-- PostgreSQL database dump", "pg_dump"),
    ("-- PostgreSQL database dump complete", "pg_dump"),
    ("SET client_encoding = 'UTF#';", "pg_dump"),
    ("SET lock_timeout = #;", "pg_dump"),
    ("SET standard_conforming_strings = on;", "pg_dump"),
    ("SET statement_timeout = #;", "pg_dump"),
    ("CREATE TABLE public", "pg_dump"),
    ("COPY public", "pg_dump"),
    ("FROM stdin;", "pg_dump"),
    ("ansible_become_password", "a variable of ansible"),
    ("ansible_host", "a variable of ansible"),
    (
        "DATABASE_URL=postgres",
        "the variable and the form of libpq's connections",
    ),
    (
        "SELECTED_EDITOR=\"/usr/bin/vim.tiny\"",
        "select-editor; the image has one editor",
    ),
    (
        "b#BlbnNzaC#rZXktdjEAAAAABG#vbmUAAAAEbm#uZQAAAAAAAAABAAAAMwAAAAtzc#gtZW",
        "ssh-keygen: the head of a private key",
    ),
    (
        "up # days,  #:#,  # users,  load average: #.#, #.#, #.#",
        "uptime of procps, put together from parts",
    ),
    (
        "up # days, #:#,  # users,  load average: #.#, #.#, #.#",
        "uptime of procps, put together from parts",
    ),
    ("alternatives.tar", "dpkg-db-backup puts its name together"),
    ("dpkg.diversions", "dpkg-db-backup puts its name together"),
    ("dpkg.statoverride", "dpkg-db-backup puts its name together"),
    (
        "Reading database ... # files and directories currently installed.",
        "dpkg, in two parts",
    ),
    (
        "Started ifup@ens#.service - ifup for ens#.",
        "systemd: the description of the unit is `ifup for %I`",
    ),
    (
        "Started getty@tty#.service - Getty on tty#.",
        "systemd: the description of the unit is `Getty on %I`",
    ),
];

/// The image's dpkg state, whose paragraphs are those of its packages: in copies of it only what is of another version is looked at.
struct Known {
    blank: AhoCorasick,
    paragraphs: HashSet<String>,
    lines: HashSet<String>,
}

impl Known {
    fn of(image: &dyn Image) -> Known {
        let status = image.read("/var/lib/dpkg/status").unwrap_or_default();
        let status = String::from_utf8_lossy(&status);
        let blank = AhoCorasick::new(["\n\n"]).expect("a pattern");
        Known {
            paragraphs: paragraphs(&blank, &status).map(str::to_owned).collect(),
            lines: status.lines().map(str::to_owned).collect(),
            blank,
        }
    }

    /// Lines of a copy that are not the image's. Each version is in dpkg.log, too.
    fn others<'a>(&'a self, copy: &'a str) -> impl Iterator<Item = &'a str> {
        let others = paragraphs(&self.blank, copy).filter(|p| !self.paragraphs.contains(*p));
        let own = |l: &&str| !l.starts_with("Version: ") && !self.lines.contains(*l);
        others.flat_map(str::lines).filter(own)
    }
}

fn paragraphs<'a>(blank: &AhoCorasick, text: &'a str) -> impl Iterator<Item = &'a str> {
    let mut from = 0;
    let ends: Vec<usize> = blank.find_iter(text).map(|m| m.end()).collect();
    ends.into_iter().chain([text.len()]).map(move |end| {
        let paragraph = &text[from..end];
        from = end;
        paragraph
    })
}

type Said = HashSet<(Source, String)>;
/// Lines as they are masked; with true, without packages.
type Masked = HashMap<(bool, String), String>;
/// The log of a boot: level, time in microseconds, text.
type KernelLog<'a> = &'a (dyn Fn(&Cover) -> Vec<(u8, u64, String)> + Sync);

/// What each of the installs says. `kernel_log` gives the log of a boot.
pub fn installs(image: &(dyn Image + Sync), kernel_log: KernelLog<'_>, now: i64) -> Vec<Said> {
    let roles = role::names();
    let kernel = turncoat_cover::kernels::of(image);
    let known = Known::of(image);
    let names: HashSet<String> = image.packages().into_iter().map(|p| p.0).collect();
    let one = |n: usize, masked: &mut Masked| {
        let mut seed = [n as u8; 32];
        seed[1] = 77;
        let given = Given {
            made: now - (n as i64 % 9) * 86_400,
            wishes: Wishes {
                role: Some(roles[n % roles.len()].into()),
                ..Wishes::default()
            },
            kernel: kernel.clone(),
            ..Given::default()
        };
        let mut cover = Cover::new(Seed(seed), &given).expect("a cover");
        // Real fields take 30 ms each.
        cover.user_hashes = cover
            .users
            .iter()
            .map(|u| format!("$y$j9T${}", u.password))
            .collect();
        said(&cover, image, (&names, &known), &kernel_log(&cover), now, masked)
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let share = &|first: usize| {
        let mut masked = Masked::new();
        let all = (first..INSTALLS).step_by(threads);
        all.map(|n| one(n, &mut masked)).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|n| scope.spawn(move || share(n))).collect();
        parts
            .into_iter()
            .flat_map(|p| p.join().expect("a part"))
            .collect()
    })
}

fn said(
    cover: &Cover,
    image: &dyn Image,
    (names, known): (&HashSet<String>, &Known),
    kernel_log: &[(u8, u64, String)],
    now: i64,
    masked: &mut Masked,
) -> Said {
    let mut out = HashSet::new();
    let mut seen: HashSet<(Source, bool, String)> = HashSet::new();
    // Most lines are said many times, by one install and by others.
    let mut put = |source: Source, packages: bool, text: &str| {
        let text = text.trim();
        if text.is_empty() || !seen.insert((source.clone(), packages, text.to_owned())) {
            return;
        }
        let of = masked.entry((packages, text.to_owned())).or_insert_with(|| {
            if packages {
                mask(&without_packages(text, names))
            } else {
                mask(text)
            }
        });
        out.insert((source, of.clone()));
    };
    for f in cover.files_at(image, now) {
        // logrotate numbers what it keeps.
        let path = f.path.trim_end_matches(".gz");
        let path = match path.rsplit_once('.') {
            Some((log, n)) if n.bytes().all(|b| b.is_ascii_digit()) => log,
            _ => path,
        };
        for part in path.split('/') {
            put(Name, false, part);
        }
        let Kind::Regular(content) = &f.kind else {
            continue;
        };
        let bytes = match content {
            Content::Bytes(bytes) => bytes,
            Content::Packed(of) => &of.plain,
        };
        let mut plain = Vec::new();
        if f.path.ends_with(".gz") {
            let _ = flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain);
        }
        let bytes = if plain.is_empty() { bytes } else { &plain };
        let source = match &*f.path {
            p if p.ends_with("_history") => Typed,
            p if p.starts_with("/var/spool/cron/") => Program("crontab"),
            "/var/lib/logrotate/status" => Program("logrotate"),
            p if p.starts_with("/var/log/apt/") || p.starts_with("/var/log/dpkg") => Program("dpkg"),
            p if p.contains("/unattended-upgrades-dpkg.log") => Program("dpkg"),
            p if p.contains("/unattended-upgrades.log")
                || p.contains("/unattended-upgrades-shutdown.log") =>
            {
                Program("unattended-upgrade")
            }
            _ => Text,
        };
        let of_dpkg = f.path.starts_with("/var/backups/dpkg.") || f.path.starts_with("/var/lib/dpkg/");
        if of_dpkg && let Ok(text) = std::str::from_utf8(bytes) {
            known.others(text).for_each(|line| put(Text, false, line));
            continue;
        }
        if let Ok(text) = std::str::from_utf8(bytes) {
            for line in text.split(['\n', '\r', '\0']) {
                // dpkg's own stamp, as it stands before each line.
                let line = match (&source, line.get(19..20)) {
                    (Program(_), Some(" ")) if line.starts_with("20") => &line[20..],
                    // Python's stamp has milliseconds and a level.
                    (Program(_), Some(",")) => [" INFO ", " WARNING - "]
                        .iter()
                        .find_map(|level| Some(line.split_once(level)?.1))
                        .unwrap_or(line),
                    _ => line,
                };
                if !matches!(source, Program("dpkg" | "unattended-upgrade")) {
                    put(source.clone(), false, line);
                } else if let Some(typed) = line.strip_prefix("Commandline: ") {
                    put(Typed, false, typed);
                } else {
                    put(source.clone(), true, line);
                }
            }
        }
    }
    let past = Past::draw(cover, image, now);
    let mut logged = lines::draw(cover, &past, (now - 36 * 86_400).max(cover.host.installed), now);
    logged.extend(journal::boot_lines(cover, image, kernel_log));
    for l in logged {
        let name = match l.says {
            lines::Says::Kernel => "kernel",
            lines::Says::Systemd => "systemd",
            lines::Says::Program(p) => {
                for name in [p.name, p.comm, p.unit].into_iter().chain(p.exe.split('/')) {
                    put(Name, false, name);
                }
                p.name
            }
        };
        let name = PROGRAMS
            .iter()
            .map(|p| p.0)
            .find(|p| *p == name)
            .unwrap_or("none");
        match l.text.split_once("): ").filter(|t| t.0.starts_with("pam_")) {
            Some((head, rest)) => {
                put(Program("pam"), false, &format!("{head}):"));
                put(Program("pam"), false, rest);
            }
            None if name == "kernel" => put(Program(name), false, &without_hardware(&l.text, cover)),
            None => put(Program(name), false, &l.text),
        }
    }
    values(&serde_json::to_value(cover).expect("JSON"), &mut |v| {
        put(Name, false, v)
    });
    out
}

/// A line of the kernel without what the hardware says of itself, and without the driver and the device that dev_printk puts first.
fn without_hardware(text: &str, cover: &Cover) -> String {
    let hw = &cover.hardware;
    let text = match text.split_once(": ") {
        Some((head, rest)) if head.starts_with("virtio_") || head.starts_with("vmxnet3 ") => rest,
        _ => text,
    };
    let text = match text.split_once(": renamed") {
        Some((_, rest)) => format!("renamed{rest}"),
        None => text.to_owned(),
    };
    text.replace(hw.processor.name.trim(), "*")
        .replace(&hw.dmi.sys_vendor, "*")
        .replace(&hw.dmi.product_name, "*")
        .replace(&hw.dmi.bios_version, "*")
}

/// What processors, boards, disks and hypervisors say of themselves: there are few models of each, and none is Debian's.
const HARDWARE: &[&str] = &["processor", "dmi", "pci", "platform", "model"];

fn values(v: &serde_json::Value, put: &mut dyn FnMut(&str)) {
    match v {
        serde_json::Value::String(s) => put(s),
        serde_json::Value::Array(a) => a.iter().for_each(|v| values(v, put)),
        serde_json::Value::Object(o) => {
            let own = o.iter().filter(|(key, _)| !HARDWARE.contains(&key.as_str()));
            own.for_each(|(_, v)| values(v, put));
        }
        _ => {}
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '#')
        .filter(|w| !w.is_empty())
}

/// The line with `*` for each word that few installs have.
fn template(text: &str, common: &HashSet<&str>) -> String {
    let mut out = String::new();
    let word = |out: &mut String, w: &str| {
        if w.is_empty() || common.contains(w) {
            out.push_str(w);
            return;
        }
        // `*`, what joins two of them, and `*` again is one.
        let joined = out.trim_end_matches(['+', '/', '=', '.', '-', '@', ':', '$', ',', '*', '!']);
        if joined.len() < out.len() && out[joined.len()..].starts_with('*') {
            out.truncate(joined.len());
        }
        out.push('*');
    };
    let mut from = 0;
    for (at, c) in text.char_indices() {
        if !c.is_alphanumeric() && c != '_' && c != '#' {
            word(&mut out, &text[from..at]);
            out.push(c);
            from = at + c.len_utf8();
        }
    }
    word(&mut out, &text[from..]);
    out
}

/// A format string, as far as it tells a message.
struct Format {
    literals: Vec<String>,
    pattern: String,
    regex: OnceCell<Option<Regex>>,
}

/// The format strings of a program's file: what is printable and has a `%`.
fn formats(file: &[u8]) -> Vec<Format> {
    let printable = |b: &u8| (0x20..0x7f).contains(b) || *b == b'\n' || *b == b'\t';
    file.split(|b| !printable(b))
        .filter(|s| s.len() >= 4 && s.contains(&b'%'))
        .flat_map(|s| {
            let text = std::str::from_utf8(s).unwrap_or_default().trim();
            let text = text.strip_prefix("MESSAGE=").unwrap_or(text);
            // Before a message of the kernel stands its level.
            let bare = text.strip_prefix(|c: char| c.is_ascii_digit());
            [Some(text), bare]
        })
        .filter_map(|text| format(text?.trim()))
        .collect()
}

fn format(text: &str) -> Option<Format> {
    let mut literals = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            literals.last_mut()?.push(c);
            continue;
        }
        while chars
            .next_if(|c| "-+ #0123456789.*lhzjtqL".contains(*c))
            .is_some()
        {}
        match chars.next() {
            Some('%') => literals.last_mut()?.push('%'),
            Some(c) if c.is_ascii_alphabetic() => {
                // The kernel's `%pI4` and its like.
                if c == 'p' {
                    while chars.next_if(char::is_ascii_alphanumeric).is_some() {}
                }
                literals.push(String::new());
            }
            _ => return None,
        }
    }
    let literals: Vec<String> = literals.iter().map(|l| mask(l)).collect();
    let said: usize = literals.iter().map(|l| l.trim().len()).sum();
    let quoted: Vec<String> = literals.iter().map(|l| regex::escape(l)).collect();
    let joined = text == "%s - %s";
    ((said >= 3 || joined) && literals.len() > 1).then(|| Format {
        pattern: format!("^{}$", quoted.join("(.*?)")),
        literals,
        regex: OnceCell::new(),
    })
}

/// What more than a chance share of the installs say.
pub struct Shared {
    /// Templates, and how many installs have them.
    templates: BTreeMap<(Source, String), usize>,
    formats: HashMap<&'static str, Vec<Format>>,
    /// Every piece that may have to be looked up.
    pieces: Vec<String>,
    search: AhoCorasick,
    found: Vec<bool>,
    buffer: Vec<u8>,
    /// The kernel as it is when it runs: to unpack it takes a debug build half a minute.
    kernel: Option<Vec<u8>>,
}

/// A piece without what joins it to its neighbours.
fn bare(piece: &str) -> &str {
    piece.trim_matches([
        ' ', '=', '|', '"', '(', ')', ':', ',', '<', '>', '[', ']', '/', '-', '.', '#',
    ])
}

/// The pieces of a template that are long enough to count.
fn pieces(template: &str) -> impl Iterator<Item = &str> {
    template
        .split('*')
        .map(bare)
        .filter(|p| p.len() >= SHORTEST && p.chars().any(char::is_alphabetic))
}

/// How deep formats are looked for in what formats insert.
const DEPTH: usize = 3;

impl Shared {
    /// Counts. `read` gives a file of the image.
    ///
    /// `release` is that of the image's kernel.
    pub fn of(installs: &[Said], release: &str, read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Shared {
        let mut had: HashMap<&str, (usize, usize)> = HashMap::new();
        for (n, said) in installs.iter().enumerate() {
            for w in said.iter().flat_map(|(_, text)| words(text)) {
                let (count, last) = had.entry(w).or_insert((0, usize::MAX));
                *count += usize::from(*last != n);
                *last = n;
            }
        }
        let common: HashSet<&str> = had.iter().filter(|w| w.1.0 > CHANCE).map(|w| *w.0).collect();
        let mut templates: HashMap<(Source, String), usize> = HashMap::new();
        // Most lines are those of many installs: each is looked at once.
        let mut made: HashMap<&(Source, String), Vec<(Source, String)>> = HashMap::new();
        for said in installs {
            let mut own: HashSet<(Source, String)> = HashSet::new();
            for line in said {
                let of = made.entry(line).or_insert_with(|| {
                    let text = template(&line.1, &common);
                    match line.0 {
                        // Formats are looked for in the whole of a line.
                        Program(_) => vec![(line.0.clone(), text)],
                        _ => pieces(&text).map(|p| (line.0.clone(), p.to_owned())).collect(),
                    }
                });
                own.extend(of.iter().cloned());
            }
            for t in own {
                *templates.entry(t).or_default() += 1;
            }
        }
        templates.retain(|t, n| *n > CHANCE && pieces(&t.1).next().is_some());
        let templates: BTreeMap<(Source, String), usize> = templates.into_iter().collect();
        let mut all = HashMap::new();
        let mut kernel = None;
        for (name, files) in PROGRAMS {
            let said: Vec<&str> = templates
                .keys()
                .filter(|t| t.0 == Program(name))
                .map(|t| &*t.1)
                .collect();
            let fits = |f: &Format| {
                let long = f.literals.iter().max_by_key(|l| l.len());
                long.is_some_and(|l| said.iter().any(|t| t.contains(l.as_str())))
            };
            let mut found: Vec<Format> = Vec::new();
            for f in files.iter().map(|f| f.replace("{release}", release)) {
                let Some(bytes) = read(&f).and_then(unpacked) else {
                    continue;
                };
                found.extend(formats(&bytes).into_iter().filter(fits));
                if f.starts_with("/boot/vmlinuz") {
                    kernel = Some(bytes);
                }
            }
            if *name == "systemd" {
                // The name of a unit and what it is, joined by strjoina (unit_status_string in unit.c).
                found.extend(format("%s - %s"));
            }
            found.sort_by(|a, b| a.pattern.cmp(&b.pattern));
            found.dedup_by(|a, b| a.pattern == b.pattern);
            all.insert(*name, found);
        }
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        let mut shared = Shared {
            templates,
            formats: all,
            pieces: Vec::new(),
            search: AhoCorasick::new([""; 0]).expect("no patterns"),
            found: Vec::new(),
            buffer: Vec::new(),
            kernel,
        };
        for (source, text) in shared.templates.keys() {
            shared.walk(source, text, DEPTH, &mut |piece| {
                wanted.insert(piece.to_owned());
                false
            });
        }
        shared.pieces = wanted.into_iter().collect();
        shared.found = vec![false; shared.pieces.len()];
        shared.search = AhoCorasick::new(&shared.pieces).expect("patterns");
        shared
    }

    /// How many templates are shared.
    pub fn len(&self) -> usize {
        self.templates.len()
    }

    /// Whether all pieces of a text are `known`, or those of what some format of the program inserts in it.
    fn walk(&self, source: &Source, text: &str, depth: usize, known: &mut dyn FnMut(&str) -> bool) -> bool {
        let mut all = true;
        for p in pieces(text) {
            all &= known(p);
        }
        if all || depth == 0 {
            return all;
        }
        let Program(name) = source else { return false };
        let mut any = false;
        for f in self.formats.get(name).into_iter().flatten() {
            if !f.literals.iter().all(|l| text.contains(l.as_str())) {
                continue;
            }
            let regex = f.regex.get_or_init(|| Regex::new(&f.pattern).ok());
            let Some(inserted) = regex.as_ref().and_then(|r| r.captures(text)) else {
                continue;
            };
            let mut fits = true;
            for part in inserted.iter().skip(1).flatten() {
                fits &= self.walk(source, part.as_str(), depth - 1, known);
            }
            any |= fits;
        }
        any
    }

    /// Looks into a file of the image; None for what is no regular file.
    pub fn file(&mut self, path: &str, bytes: Option<&[u8]>) {
        let mut buffer = std::mem::take(&mut self.buffer);
        mask_bytes(path.as_bytes(), &mut buffer);
        self.look(&buffer);
        if let Some(bytes) = bytes {
            mask_bytes(bytes, &mut buffer);
            self.look(&buffer);
            if path.starts_with("/boot/vmlinuz")
                && let Some(plain) = self.kernel.take()
            {
                mask_bytes(&plain, &mut buffer);
                self.look(&buffer);
            }
            if bytes.starts_with(&[0x1f, 0x8b]) {
                let mut plain = Vec::new();
                let _ = flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain);
                mask_bytes(&plain, &mut buffer);
                self.look(&buffer);
            }
        }
        self.buffer = buffer;
    }

    fn look(&mut self, masked: &[u8]) {
        for m in self.search.find_overlapping_iter(masked) {
            self.found[m.pattern().as_usize()] = true;
        }
    }

    /// What is shared and is not Debian's, a line each.
    pub fn unexplained(&self) -> Vec<String> {
        let known: HashSet<&str> = self
            .pieces
            .iter()
            .zip(&self.found)
            .filter(|(_, found)| **found)
            .map(|(p, _)| p.as_str())
            .collect();
        let mut out = Vec::new();
        for ((source, text), n) in &self.templates {
            let fine = self.walk(source, text, DEPTH, &mut |p| known.contains(p) || excepted(p));
            if !(fine || *source == Typed && typed(text)) {
                out.push(format!("{n:3} {source:?}: {text}"));
            }
        }
        out
    }
}

/// What anybody types: a command with at most three words of its own beside options, or two such commands joined by a pipe or `&&`.
fn typed(text: &str) -> bool {
    let parts: Vec<&str> = text.split('|').flat_map(|p| p.split("&&")).collect();
    let simple = |part: &&str| {
        let own = part
            .split_whitespace()
            .filter(|w| *w != "sudo" && !w.starts_with('-') && w.contains(|c: char| c.is_alphabetic()));
        own.count() <= 3
    };
    let composed = text.contains([';', '>', '$', '`', '\'', '"']) || text.replace("&&", "").contains('&');
    !composed && parts.len() <= 2 && parts.iter().all(simple)
}

fn excepted(piece: &str) -> bool {
    let same = |e: &str| bare(e) == piece;
    INSTALLER.iter().any(|e| same(e)) || ELSEWHERE.iter().any(|e| same(e.0))
}

/// A program's file; of the kernel's, what is packed in it.
fn unpacked(file: Vec<u8>) -> Option<Vec<u8>> {
    if file.starts_with(b"\x7fELF") {
        return Some(file);
    }
    let Some(at) = file.windows(6).position(|w| w == b"\xfd7zXZ\0") else {
        return Some(file);
    };
    let mut plain = Vec::new();
    // The end of it is not that of the file.
    let _ = lzma_rust2::XzReader::new(file.get(at..)?, false).read_to_end(&mut plain);
    Some(plain)
}
