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

/// The history of user `who` (None: root), `lines` long or a little more. `program` says whether a program is in the image.
pub fn write(
    cover: &Cover,
    story: &Story,
    who: Option<usize>,
    lines: usize,
    program: &dyn Fn(&str) -> bool,
) -> String {
    let name = who
        .and_then(|i| cover.users.get(i))
        .map_or("root", |u| u.name.as_str());
    let may_sudo = who.is_none_or(|i| cover.users.get(i).is_some_and(|u| u.sudo));
    let mut s = cover.stream(&format!("history {name}"));
    let all = blocks(&cover.job.history, cover);
    // Everybody has habits: a third of the blocks, some of them often.
    let known = s.sample(&all, all.len() / 3 + 6);
    let weights: Vec<u32> = known.iter().map(|_| 1 + s.below(9) as u32).collect();
    let words: Vec<String> = (0..14).map(|_| coined(&mut s)).collect();
    let mut out: Vec<String> = Vec::new();
    let mut guard = 0;
    while out.len() < lines && guard < lines * 4 {
        guard += 1;
        let block = &known[s.weighted(&weights)];
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
        let (word, word2) = (s.pick(&words).clone(), s.pick(&words).clone());
        let user = *s.pick(&users);
        let pid = s.range(900, 40_000).to_string();
        let bound: [(&str, &str); 19] = [
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
        ];
        for line in block {
            let mut text = match line.split_once('|') {
                Some((p, rest)) if p.bytes().all(|b| b.is_ascii_lowercase()) && !rest.starts_with(' ') => {
                    if !program(&format!("/usr/bin/{p}")) {
                        continue;
                    }
                    rest.to_string()
                }
                _ => (*line).to_string(),
            };
            if who.is_none() {
                text = text.replace("sudo ", "");
            } else if !may_sudo && text.contains("sudo ") && !text.contains("ssh ") {
                continue;
            }
            for (from, to) in bound {
                text = text.replace(from, to);
            }
            text = text.replace(
                ".{domain}",
                &if cover.host.domain.is_empty() {
                    String::new()
                } else {
                    format!(".{}", cover.host.domain)
                },
            );
            if s.chance(2) {
                // A slip of the finger, then the line again.
                let at = s.below(text.len() as u64) as usize;
                if text.is_ascii() && at > 0 {
                    let mut wrong = text.clone();
                    wrong.remove(at);
                    out.push(wrong);
                }
            }
            // Debian's bashrc sets HISTCONTROL=ignoreboth.
            if out.last() != Some(&text) && !text.starts_with(' ') {
                out.push(text);
            }
        }
    }
    out.join("\n") + "\n"
}
