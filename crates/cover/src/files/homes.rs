//! Home directories and what their owners left in them. What a session leaves behind is as old as the session.

use super::history::{History, Typist};
use super::{File, known_hosts};
use crate::cover::{Cover, Image};
use crate::past::Past;
use crate::past::timeline::Login;
use crate::story::Story;
use crate::users::{User, coined};

/// Lines that bash keeps in its file: HISTFILESIZE of `/etc/skel/.bashrc`, and bash's own for root, whose `.bashrc` sets none.
const KEPT: (usize, usize) = (2000, 500);

/// Homes of all people and root, as they were left by the last session of the past.
pub fn files(cover: &Cover, image: &dyn Image, story: &Story, past: &Past) -> Vec<File> {
    let mut out = Vec::new();
    let keys = known_hosts::neighbour_keys(cover);
    let program = |p: &str| image.has(p);
    for i in 0..cover.users.len() {
        let life = Life::of(cover, past, i);
        let typed = typed(&Typist::of(cover, story, Some(i), &program), cover, past, &life);
        out.extend(home(cover, image, story, &keys, i, &life, &typed));
    }
    let mut shells: Vec<(i64, i64)> = past
        .line
        .logins
        .iter()
        .filter_map(|l| l.root.map(|r| (r.until, r.at)))
        .collect();
    shells.sort_unstable();
    let root = Typist::of(cover, story, None, &program);
    let mut history = History::default();
    for (until, at) in shells {
        let lines = lines(cover, at, until);
        history.begin(at);
        history.end(until, root.session(at, lines.max(1)), KEPT.1);
    }
    out.extend(history_file("/root", 0, &history));
    let hosts = known_hosts::write(cover, &keys, "root");
    if !hosts.is_empty() {
        out.push(File::dir("/root/.ssh", 0o700, story.since));
        out.push(File::text("/root/.ssh/known_hosts", 0o600, story.since, hosts));
    }
    out
}

/// The sessions of one person.
struct Life<'a> {
    /// By their end.
    sessions: Vec<&'a Login>,
    /// Moments in sessions before the cover was made: an early one, one in the middle. None if he has never come.
    then: Option<(i64, i64)>,
}

impl<'a> Life<'a> {
    fn of(cover: &Cover, past: &'a Past, user: usize) -> Life<'a> {
        let mut sessions: Vec<&Login> = past.line.logins.iter().filter(|l| l.user == user).collect();
        sessions.sort_by_key(|l| (l.until, l.at));
        let before = sessions.iter().filter(|l| l.until + 30 <= cover.made()).count();
        let mut s = cover.stream(&format!("home moments {user}"));
        let mut moment = |low: i64, high: i64| {
            let n = before as i64 * s.range(low, high) / 100;
            let l = sessions.get(n as usize).filter(|_| before > 0)?;
            Some(within(l, s.range(20, 90)))
        };
        let then = moment(0, 8).zip(moment(20, 70));
        Life { sessions, then }
    }

    /// When a file that each session's beginning reads was last read, if it was written at `mtime`: with `relatime`, the default of
    /// mount(8), once after it was written and once a day.
    fn read(&self, mtime: i64) -> i64 {
        let mut begun: Vec<i64> = self.sessions.iter().map(|l| l.at).collect();
        begun.sort_unstable();
        begun.into_iter().fold(mtime, |read, at| {
            let due = read <= mtime || at - read >= 86_400;
            if at > read && due { at } else { read }
        })
    }
}

/// A moment in a session, at this share of a hundred.
fn within(l: &Login, share: i64) -> i64 {
    l.at + (l.until - l.at) * share / 100
}

/// How many lines are typed in a session: none in a short one at times.
fn lines(cover: &Cover, at: i64, until: i64) -> usize {
    let length = until - at;
    let least = if length < 600 { 0 } else { 2 };
    let mut s = cover.stream(&format!("lines {at} {until}"));
    s.range(least, (length / 60).clamp(2, 18)) as usize
}

/// What a person left: his history, and when he last made a file in his home or took one away.
struct Typed {
    history: History,
    touched: Option<i64>,
}

fn typed(typist: &Typist<'_>, cover: &Cover, past: &Past, life: &Life<'_>) -> Typed {
    let mut history = History::default();
    let mut touched = None;
    for l in &life.sessions {
        let lines = session(typist, cover, past, l);
        history.begin(l.at);
        if lines.iter().any(|l| makes(l)) {
            touched = Some(within(l, 85));
        }
        history.end(l.until, lines, KEPT.0);
    }
    let touched = touched.max(history.cut);
    Typed { history, touched }
}

/// What is typed in one session: also what the logs say of it.
fn session(typist: &Typist<'_>, cover: &Cover, past: &Past, l: &Login) -> Vec<String> {
    let mut out = typist.session(l.at, lines(cover, l.at, l.until));
    if l.root.is_some() {
        out.insert(out.len() / 2, "sudo -i".into());
    }
    let at = out.len() / 3;
    let runs = past
        .runs
        .iter()
        .filter(|r| past.line.session_of(r).is_some_and(|s| s == l));
    let asked: Vec<String> = runs
        .flat_map(|r| {
            let apt = r.command.split(' ').next().unwrap_or("apt");
            let update = (!r.command.contains("autoremove")).then(|| format!("sudo {apt} update"));
            update.into_iter().chain([format!("sudo {}", r.command)])
        })
        .collect();
    out.splice(at..at, asked);
    out
}

/// True for a command that makes a file in the directory where it is run, or takes one away.
fn makes(line: &str) -> bool {
    let program = line.split(' ').next().unwrap_or("");
    matches!(program, "vi" | "mkdir" | "rm" | "mv" | "cp")
        || line.ends_with(" .")
        || line.starts_with("git clone")
}

fn history_file(home: &str, uid: u32, history: &History) -> Option<File> {
    let text = history.text()?;
    let read = history.read.max(history.cut.unwrap_or(0));
    let file = File::text(&format!("{home}/.bash_history"), 0o600, history.written, text);
    Some(File { atime: read, ..file }.owned(uid, uid))
}

/// The home of user number `index`.
fn home(
    cover: &Cover,
    image: &dyn Image,
    story: &Story,
    keys: &[(String, Vec<String>)],
    index: usize,
    life: &Life<'_>,
    typed: &Typed,
) -> Vec<File> {
    let u = &cover.users[index];
    let mut s = cover.stream(&format!("home {}", u.name));
    let home = &u.home;
    // Whoever made the account put the key there: without it nobody could have come.
    let given = u.since + s.range(50, 110);
    let mut left = Vec::new();
    let mut rc_at = None;
    if let Some((early, middle)) = life.then {
        rc_at = s.chance(40).then_some(middle);
        left = leavings(cover, story, u, &mut s, (early, middle));
    }
    let mut out = Vec::new();
    for name in [".bashrc", ".profile", ".bash_logout"] {
        let Some(text) = image.read(&format!("/etc/skel/{name}")) else {
            continue;
        };
        let mut text = String::from_utf8_lossy(&text).into_owned();
        let changed = rc_at.filter(|_| name == ".bashrc");
        if changed.is_some() {
            text += &rc(&mut s, story);
        }
        let at = changed.unwrap_or(u.since);
        let file = File::text(&format!("{home}/{name}"), 0o644, at, text);
        out.push(File {
            atime: life.read(at),
            ..file
        });
    }
    let hosts = known_hosts::write(cover, keys, &u.name);
    let met = life.then.map(|t| t.1).filter(|_| !hosts.is_empty());
    out.push(File::dir(&format!("{home}/.ssh"), 0o700, met.unwrap_or(given)));
    if let Some(k) = cover.desk_key(index) {
        let file = File::text(&format!("{home}/.ssh/authorized_keys"), 0o600, given, k.public);
        out.push(File {
            atime: life.read(given),
            ..file
        });
    }
    if let Some(at) = met {
        out.push(File::text(&format!("{home}/.ssh/known_hosts"), 0o600, at, hosts));
    }
    out.extend(left);
    // A directory is as young as the last file that was made in it.
    let made = out.iter().map(|f| f.mtime).chain(typed.touched).max();
    out.push(File::dir(home, 0o700, made.unwrap_or(given)));
    let mut out: Vec<File> = out.into_iter().map(|f| f.owned(u.uid, u.uid)).collect();
    out.extend(history_file(home, u.uid, &typed.history));
    out.sort_by(|a, b| a.path.cmp(&b.path));
    out
}

/// What somebody leaves in his home over the years; `early` and `middle` are moments in his sessions.
fn leavings(
    cover: &Cover,
    story: &Story,
    u: &User,
    s: &mut crate::Stream,
    (early, middle): (i64, i64),
) -> Vec<File> {
    let mut out = Vec::new();
    let mut put = |name: &str, at: i64, text: String| {
        out.push(File::text(&format!("{}/{name}", u.home), 0o644, at, text));
    };
    if s.chance(60) {
        let name = *s.pick(&[
            "notes",
            "notes.txt",
            "todo",
            "TODO",
            "todo.txt",
            "NOTES",
            ".notes",
        ]);
        put(name, middle, notes(s, cover, story));
    }
    if s.chance(45) {
        let text = "# Generated by /usr/bin/select-editor\nSELECTED_EDITOR=\"/usr/bin/vim.tiny\"\n";
        put(".selected_editor", early, text.into());
    }
    if u.sudo && s.chance(70) {
        put(".sudo_as_admin_successful", early, String::new());
    }
    if s.chance(40) {
        put(".vimrc", early, vimrc(s));
    }
    out
}

fn rc(s: &mut crate::Stream, story: &Story) -> String {
    let mut t = String::from("\n");
    for _ in 0..s.range(1, 4) {
        let host = story.host(s.below(8) as usize).to_string();
        let short = coined(s);
        t += &match s.below(8) {
            4 => format!(
                "alias {}='sudo {}'\n",
                &short[..short.len().min(3)],
                story.job_path
            ),
            5 => format!(
                "alias {}='cat {}/*'\n",
                &short[..short.len().min(4)],
                story.settings
            ),
            6 => format!("{}() {{ ssh {host} \"$@\"; }}\n", &short[..short.len().min(4)]),
            7 => format!(
                "alias {}='ls -lrt {}'\n",
                &short[..short.len().min(3)],
                story.data
            ),
            0 => format!("alias {}='ssh {host}'\n", &short[..short.len().min(3)]),
            1 => format!("alias {}='cd {}'\n", &short[..short.len().min(4)], story.data),
            2 => format!("export {}_HOST={host}\n", short.to_uppercase()),
            _ => format!("export {}={}\n", short.to_uppercase(), story.log),
        };
    }
    t
}

fn vimrc(s: &mut crate::Stream) -> String {
    let all = [
        "syntax on",
        "set number",
        "set ts=4",
        "set sw=4",
        "set et",
        "set ai",
        "set hls",
        "set bg=dark",
        "set ic",
        "set nowrap",
        "set paste",
        "set ruler",
        "set mouse=",
    ];
    let n = s.range(2, 6) as usize;
    s.sample(&all, n).join("\n") + "\n"
}

fn notes(s: &mut crate::Stream, cover: &Cover, story: &Story) -> String {
    let mark = *s.pick(&["- ", "* ", "", "o ", "-> ", "[ ] "]);
    let mut t = String::new();
    for _ in 0..s.range(4, 16) {
        let host = story.host(s.below(8) as usize);
        let who = s.pick(&cover.users).name.clone();
        let project = s.pick(&story.projects).clone();
        let word = coined(s);
        let verb = *s.pick(&[
            "move", "check", "renew", "ask", "clean", "test", "look at", "fix", "drop", "rename", "document",
        ]);
        let what = match s.below(6) {
            0 => format!("{project} on {host}"),
            1 => format!("{word} ({who})"),
            2 => format!("{host}: {word}"),
            3 => format!("{} {word}", story.job),
            4 => format!("{}/{word}", story.data),
            _ => format!("{project} / {word}"),
        };
        t += &match s.below(4) {
            0 => format!("{mark}{what}\n"),
            1 => format!("{mark}{verb} {what}, {who}\n"),
            _ => format!("{mark}{verb} {what}\n"),
        };
    }
    t
}
