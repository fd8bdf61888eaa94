//! Shell histories: blocks of commands (`data/history/common.txt` and the role's own) with the machine's own hosts, people, files and words in them.

use crate::cover::Cover;
use crate::story::Story;
use crate::users::coined;

const COMMON: &str = include_str!("../../data/history/common.txt");

/// The blocks; of a line and those with `~ ` behind it, the machine's people type one.
fn blocks<'a>(own: &'a str, cover: &Cover) -> Vec<Vec<&'a str>> {
    let mut s = cover.stream("habits");
    let mut read = |text: &'a str| -> Vec<Vec<&'a str>> {
        text.split("\n\n")
            .map(|b| {
                let mut lines: Vec<Vec<&str>> = Vec::new();
                for l in b.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
                    match (l.strip_prefix("~ "), lines.last_mut()) {
                        (Some(other), Some(same)) => same.push(other),
                        _ => lines.push(vec![l]),
                    }
                }
                lines.iter().map(|same| *s.pick(same)).collect::<Vec<_>>()
            })
            .filter(|b| !b.is_empty())
            .collect()
    };
    let (common, own) = (read(COMMON), read(own));
    // A role's own blocks come up three times as often.
    [&common, &own, &own, &own]
        .into_iter()
        .flatten()
        .cloned()
        .collect()
}

/// Somebody at the keyboard: what he knows and how often he uses it.
pub struct Typist<'a> {
    cover: &'a Cover,
    story: &'a Story,
    name: &'a str,
    root: bool,
    may_sudo: bool,
    /// Blocks that he knows, and how often each comes up.
    known: Vec<Vec<&'a str>>,
    weights: Vec<u32>,
    words: Vec<String>,
    program: &'a dyn Fn(&str) -> bool,
}

impl<'a> Typist<'a> {
    /// User `who` (None: root). `program` says whether a program is in the image.
    pub fn of(
        cover: &'a Cover,
        story: &'a Story,
        who: Option<usize>,
        program: &'a dyn Fn(&str) -> bool,
    ) -> Typist<'a> {
        let user = who.and_then(|i| cover.users.get(i));
        let name = user.map_or("root", |u| u.name.as_str());
        let mut s = cover.stream(&format!("history {name}"));
        let all = blocks(&cover.job.history, cover);
        // Everybody has habits: a third of the blocks, some of them often.
        let known = s.sample(&all, all.len() / 3 + 6);
        let weights = known.iter().map(|_| 1 + s.below(9) as u32).collect();
        Typist {
            cover,
            story,
            name,
            root: user.is_none(),
            may_sudo: user.is_none_or(|u| u.sudo),
            known,
            weights,
            words: (0..14).map(|_| coined(&mut s)).collect(),
            program,
        }
    }

    /// What is typed in the session that began at `at`: `lines` or a little more.
    pub fn session(&self, at: i64, lines: usize) -> Vec<String> {
        let mut s = self.cover.stream(&format!("typed {} {at}", self.name));
        let mut out: Vec<String> = Vec::new();
        let mut guard = 0;
        while out.len() < lines && guard < lines * 4 {
            guard += 1;
            let block = &self.known[s.weighted(&self.weights)];
            for text in self.block(block, &mut s) {
                if s.chance(2) {
                    // A slip of the finger, then the line again.
                    let at = s.below(text.len() as u64) as usize;
                    if text.is_ascii() && at > 0 {
                        let mut wrong = text.clone();
                        wrong.remove(at);
                        out.push(wrong);
                    }
                }
                out.push(text);
            }
        }
        out
    }

    /// The lines of a block with the machine's own names in them.
    fn block(&self, block: &[&str], s: &mut crate::Stream) -> Vec<String> {
        let (cover, story) = (self.cover, self.story);
        let users: Vec<&str> = cover
            .users
            .iter()
            .map(|u| u.name.as_str())
            .chain(["root"])
            .collect();
        let host = s.below(8) as usize;
        let (n, nn) = (s.range(2, 9).to_string(), s.range(10, 90).to_string());
        let port = (*s.pick(&[
            "22", "80", "443", "5432", "8080", "3306", "8443", "9090", "389", "3000", "5000",
        ]))
        .to_string();
        let unit = *s.pick(&["ssh", "cron", "systemd-timesyncd", "networking"]);
        let (word, word2) = (s.pick(&self.words).clone(), s.pick(&self.words).clone());
        let user = *s.pick(&users);
        let pid = s.range(900, 40_000).to_string();
        let domain = match cover.host.domain.as_str() {
            "" => String::new(),
            d => format!(".{d}"),
        };
        let bound: [(&str, &str); 20] = [
            ("{host}", story.host(host)),
            ("{host2}", story.host(host + 1)),
            ("{host3}", story.host(host + 2)),
            ("{user}", user),
            ("{proj}", &story.projects[host % story.projects.len()]),
            ("{data}", &story.data),
            ("{log}", &story.log),
            ("{job}", &story.job_path),
            ("{settings}", &story.settings),
            ("{db}", &story.db_name),
            ("{dbuser}", &story.db_user),
            ("{word}", &word),
            ("{word2}", &word2),
            ("{nn}", &nn),
            ("{n}", &n),
            ("{port}", &port),
            ("{port2}", &port),
            ("{unit}", unit),
            ("{pid}", &pid),
            (".{domain}", &domain),
        ];
        let fill = |line: &str| {
            let text = bound
                .iter()
                .fold(line.to_owned(), |t, (from, to)| t.replace(from, to));
            // bash keeps no line that begins with a space (HISTCONTROL=ignoreboth in Debian's bashrc).
            (!text.starts_with(' ')).then_some(text)
        };
        block.iter().filter_map(|l| fill(&self.line(l)?)).collect()
    }

    /// A line as he would type it; None where he would not.
    fn line(&self, line: &str) -> Option<String> {
        let text = match line.split_once('|') {
            Some((p, rest)) if p.bytes().all(|b| b.is_ascii_lowercase()) && !rest.starts_with(' ') => {
                (self.program)(&format!("/usr/bin/{p}")).then_some(rest)?
            }
            _ => line,
        };
        if self.root {
            // He is there already.
            return (text != "sudo -i").then(|| text.replace("sudo ", ""));
        }
        let refused = !self.may_sudo && text.contains("sudo ") && !text.contains("ssh ");
        // Who becomes root, and who runs apt, is in the logs: the past says when.
        let logged = ["sudo -i", "sudo apt"].iter().any(|l| text.starts_with(l));
        (!refused && !logged).then(|| text.to_owned())
    }
}

/// A history file as bash leaves it.
#[derive(Default)]
pub struct History {
    lines: Vec<String>,
    /// When it was last written.
    pub written: i64,
    /// When it was last read.
    pub read: i64,
    /// When it was last cut, and so made anew.
    pub cut: Option<i64>,
}

impl History {
    /// A shell began at `at`: it reads the file.
    pub fn begin(&mut self, at: i64) {
        self.read = self.read.max(at);
    }

    /// A shell ended at `at` in which these lines were typed: it adds them (histappend), but none that repeats the one before
    /// (ignoredups), and keeps the last `most` (HISTFILESIZE).
    pub fn end(&mut self, at: i64, typed: Vec<String>, most: usize) {
        if typed.is_empty() {
            return;
        }
        self.lines.extend(typed);
        self.lines.dedup();
        self.written = self.written.max(at);
        let over = self.lines.len().saturating_sub(most);
        if over > 0 {
            self.lines.drain(..over);
            self.cut = Some(at);
        }
    }

    /// The file's text; None if nothing was ever typed.
    pub fn text(&self) -> Option<String> {
        (!self.lines.is_empty()).then(|| self.lines.join("\n") + "\n")
    }
}
