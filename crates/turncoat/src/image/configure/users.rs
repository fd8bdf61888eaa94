//! `/etc/passwd` and its sisters: base-passwd's own lists, then the system users and groups that packages add.

use std::collections::BTreeSet;

use super::script;
use super::{BuildError, Draft, Package};

/// Packages that add users in the order in which an installation comes to them; all others follow by name.
const ORDER: &[&str] = &[
    "cron-daemon-common",
    "systemd",
    "systemd-timesyncd",
    "udev",
    "dbus-system-bus-common",
    "openssh-client",
    "openssh-server",
    "ifupdown",
];

struct User {
    name: String,
    uid: u32,
    gid: u32,
    gecos: String,
    home: String,
    shell: String,
    /// The rest of its line in `/etc/shadow`, `DAY` standing for the day of the build.
    shadow: &'static str,
}

struct Group {
    name: String,
    gid: u32,
    gshadow: &'static str,
}

#[derive(Default)]
struct Database {
    users: Vec<User>,
    groups: Vec<Group>,
}

const NOLOGIN: &str = "/usr/sbin/nologin";
const NOGROUP: u32 = 65534;

impl Database {
    fn has_group(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|g| g.name == name).map(|g| g.gid)
    }

    /// adduser(8): the first free number from 100 on. systemd-sysusers(8): the first free one from 999 down.
    fn free(&self, up: bool, for_user: bool) -> u32 {
        let groups = self.groups.iter().map(|g| g.gid);
        let users = self.users.iter().map(|u| u.uid);
        let taken: BTreeSet<u32> = match (up, for_user) {
            (true, true) => users.collect(),
            (true, false) => groups.collect(),
            (false, _) => groups.chain(users).collect(),
        };
        let mut range: Box<dyn Iterator<Item = u32>> = if up {
            Box::new(100..1000)
        } else {
            Box::new((100..1000).rev())
        };
        range.find(|n| !taken.contains(n)).unwrap_or(NOGROUP)
    }

    fn add_group(&mut self, name: &str, up: bool) -> u32 {
        if let Some(gid) = self.has_group(name) {
            return gid;
        }
        let gid = self.free(up, false);
        self.groups.push(Group {
            name: name.to_owned(),
            gid,
            gshadow: if up { "!::" } else { "!*::" },
        });
        gid
    }

    fn add_user(&mut self, mut user: User) {
        if self.users.iter().any(|u| u.name == user.name) {
            return;
        }
        if user.uid == u32::MAX {
            user.uid = self.free(true, true);
        }
        self.users.push(user);
    }
}

/// Makes the files.
pub(super) fn create(draft: &mut Draft, packages: &[Package]) -> Result<(), BuildError> {
    let mut db = Database::default();
    masters(draft, &mut db)?;
    let mut order: Vec<&Package> = packages.iter().collect();
    order.sort_by_key(|p| ORDER.iter().position(|o| *o == p.name()).unwrap_or(ORDER.len()));
    let mut before_last = (0, 0);
    for package in order {
        let counts = (db.users.len(), db.groups.len());
        for command in script::commands(&package.script("postinst").unwrap_or_default()) {
            command_adds(draft, &mut db, &command)?;
        }
        if db.users.len() != counts.0 {
            before_last.0 = db.users.len() - 1;
        }
        if db.groups.len() != counts.1 {
            before_last.1 = db.groups.len() - 1;
        }
    }
    write(draft, &db, before_last)
}

fn masters(draft: &Draft, db: &mut Database) -> Result<(), BuildError> {
    let text = draft
        .text("/usr/share/base-passwd/passwd.master")?
        .unwrap_or_default();
    for line in text.lines() {
        if let [name, _, uid, gid, gecos, home, shell] = line.split(':').collect::<Vec<_>>().as_slice()
            && let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse())
        {
            let [name, gecos, home, shell] = [name, gecos, home, shell].map(|s| (*s).to_owned());
            db.users.push(User {
                name,
                uid,
                gid,
                gecos,
                home,
                shell,
                shadow: "*:DAY:0:99999:7:::",
            });
        }
    }
    let text = draft
        .text("/usr/share/base-passwd/group.master")?
        .unwrap_or_default();
    for line in text.lines() {
        if let [name, _, gid, ..] = line.split(':').collect::<Vec<_>>().as_slice()
            && let Ok(gid) = gid.parse()
        {
            db.groups.push(Group {
                name: (*name).to_owned(),
                gid,
                gshadow: "*::",
            });
        }
    }
    Ok(())
}

/// What one command of a script adds.
fn command_adds(draft: &Draft, db: &mut Database, command: &[String]) -> Result<(), BuildError> {
    let at = |name: &str| {
        command
            .iter()
            .position(|w| w == name)
            .and_then(|i| command.get(i + 1..))
    };
    // `in_sysroot adduser` and the like: the word may stand behind others. What follows `||` belongs to another command.
    let args = |args: &[String]| -> Vec<String> {
        args.iter()
            .take_while(|w| !w.starts_with(['|', '>', '&', '2']))
            .cloned()
            .collect()
    };
    if let Some(conf) = at("systemd-sysusers") {
        for file in conf.iter().filter(|f| f.ends_with(".conf")) {
            let text = draft
                .text(&format!("/usr/lib/sysusers.d/{file}"))?
                .unwrap_or_default();
            text.lines().for_each(|l| sysusers_line(db, l));
        }
    } else if let Some(rest) = at("addgroup").map(args) {
        if let Some(name) = rest
            .iter()
            .find(|w| !w.starts_with('-'))
            .filter(|_| rest.iter().any(|w| w == "--system"))
        {
            db.add_group(name, true);
        }
    } else if let Some(rest) = at("adduser").map(args)
        && rest.iter().any(|w| w == "--system")
    {
        adduser(db, &rest);
    }
    Ok(())
}

fn adduser(db: &mut Database, args: &[String]) {
    const WITH_VALUE: &[&str] = &["--home", "--shell", "--gecos", "--ingroup", "--uid", "--gid"];
    let value = |key: &str| {
        args.iter()
            .position(|w| w == key)
            .and_then(|i| args.get(i + 1))
            .cloned()
    };
    let mut name = None;
    let mut skip = false;
    for word in args {
        if std::mem::take(&mut skip) {
            continue;
        }
        if word.starts_with('-') {
            skip = WITH_VALUE.contains(&word.as_str());
        } else {
            name = name.or(Some(word.clone()));
        }
    }
    let Some(name) = name.filter(|n| !n.contains('$')) else {
        return;
    };
    if db.users.iter().any(|u| u.name == name) {
        return;
    }
    let gid = match value("--ingroup") {
        Some(group) => db.has_group(&group).unwrap_or(NOGROUP),
        None if args.iter().any(|w| w == "--group") => db.add_group(&name, true),
        None => NOGROUP,
    };
    db.add_user(User {
        uid: u32::MAX,
        gid,
        gecos: value("--gecos").unwrap_or_default(),
        home: value("--home").unwrap_or_else(|| format!("/home/{name}")),
        shell: value("--shell").unwrap_or_else(|| NOLOGIN.into()),
        shadow: "!:DAY::::::",
        name,
    });
}

/// A line of sysusers.d(5) without numbers of its own (those with numbers are base-passwd's already).
fn sysusers_line(db: &mut Database, line: &str) {
    let mut words = line.split_whitespace();
    let (Some(kind), Some(name), id) = (words.next(), words.next(), words.next()) else {
        return;
    };
    match (kind, id) {
        ("g", Some("-")) => drop(db.add_group(name, false)),
        ("u", Some("-")) => {
            if db.users.iter().any(|u| u.name == name) {
                return;
            }
            let gecos = line.split('"').nth(1).unwrap_or_default().to_owned();
            let gid = db.add_group(name, false);
            let name = name.to_owned();
            db.users.push(User {
                name,
                uid: gid,
                gid,
                gecos,
                home: "/".into(),
                shell: NOLOGIN.into(),
                shadow: "!*:DAY::::::",
            });
        }
        _ => {}
    }
}

fn write(draft: &mut Draft, db: &Database, before_last: (usize, usize)) -> Result<(), BuildError> {
    let day = (draft.stamp / 86_400).to_string();
    let passwd = |n: usize| -> String {
        let line = |u: &User| {
            format!(
                "{}:x:{}:{}:{}:{}:{}\n",
                u.name, u.uid, u.gid, u.gecos, u.home, u.shell
            )
        };
        db.users.iter().take(n).map(line).collect()
    };
    let shadow = |n: usize| -> String {
        db.users
            .iter()
            .take(n)
            .map(|u| format!("{}:{}\n", u.name, u.shadow.replace("DAY", &day)))
            .collect()
    };
    let group = |n: usize| -> String {
        db.groups
            .iter()
            .take(n)
            .map(|g| format!("{}:x:{}:\n", g.name, g.gid))
            .collect()
    };
    let gshadow = |n: usize| -> String {
        db.groups
            .iter()
            .take(n)
            .map(|g| format!("{}:{}\n", g.name, g.gshadow))
            .collect()
    };
    let all = usize::MAX;
    let secret = db.has_group("shadow").unwrap_or(0);
    // The copies with a dash are what stood there before the last change.
    let files: [(&str, u16, u32, String); 8] = [
        ("passwd", 0o644, 0, passwd(all)),
        ("passwd-", 0o644, 0, passwd(before_last.0)),
        ("shadow", 0o640, secret, shadow(all)),
        ("shadow-", 0o640, secret, shadow(before_last.0)),
        ("group", 0o644, 0, group(all)),
        ("group-", 0o644, 0, group(before_last.1)),
        ("gshadow", 0o640, secret, gshadow(all)),
        ("gshadow-", 0o640, secret, gshadow(before_last.1)),
    ];
    for (name, perm, gid, text) in files {
        let id = draft.file(&format!("/etc/{name}"), perm, text)?;
        draft.tree.attr_mut(id).gid = gid;
    }
    Ok(())
}
