//! The people who have accounts on the machine, and root.

use crate::role::Role;
use crate::seed::{Seed, Stream};
use crate::wishes::UserWish;
use serde::Serialize;

/// One account of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User and primary group id.
    pub uid: u32,
    /// Full name, as in the GECOS field.
    pub full_name: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// Member of the group sudo.
    pub sudo: bool,
    /// When the account was made, seconds since the epoch.
    pub since: i64,
    /// When its password was last changed.
    pub password_changed: i64,
    /// The password. Nobody is told; it exists so that the hash in `/etc/shadow` is a real one.
    #[serde(skip)]
    pub password: String,
}

fn words(text: &'static str) -> Vec<&'static str> {
    text.split_whitespace().collect()
}

fn capital(s: &str) -> String {
    let mut c = s.chars();
    c.next()
        .map(|f| f.to_uppercase().chain(c).collect())
        .unwrap_or_default()
}

/// A pronounceable word of two or three syllables that is in no list.
pub fn coined(s: &mut Stream) -> String {
    let syl = words(include_str!("../data/syllables.txt"));
    let n = 2 + s.below(2);
    (0..n).map(|_| *s.pick(&syl)).collect()
}

/// Draws the people. The first one is who installed the machine.
pub fn draw(seed: &Seed, role: &Role, wishes: &[UserWish], installed: i64, made: i64) -> Vec<User> {
    let mut s = seed.stream("users");
    let given = words(include_str!("../data/given_names.txt"));
    let surnames = words(include_str!("../data/surnames.txt"));
    let style = s.weighted(&[5, 5, 3, 2]);
    let count = s.range(role.users.0, role.users.1) as usize;
    let mut out: Vec<User> = Vec::new();
    let mut wanted: Vec<UserWish> = wishes.to_vec();
    while wanted.len() < count.max(wishes.len()) {
        wanted.push(UserWish::default());
    }
    for (i, w) in wanted.iter().enumerate() {
        let (name, full) = loop {
            let (g, n) = (*s.pick(&given), *s.pick(&surnames));
            let login = match style {
                0 => g.to_string(),
                1 => format!("{}{n}", &g[..1]),
                2 => format!("{g}.{n}"),
                _ => format!("{}{}", &n[..n.len().min(5)], &g[..1]),
            };
            if out.iter().all(|u| u.name != login) && wishes.iter().all(|u| u.name != login) {
                break (login, format!("{} {}", capital(g), capital(n)));
            }
        };
        let name = if w.name.is_empty() { name } else { w.name.clone() };
        let full_name = if w.full_name.is_empty() {
            full
        } else {
            w.full_name.clone()
        };
        let since = if i == 0 {
            installed
        } else {
            installed + s.range(3600, ((made - installed) / 2).max(7200))
        };
        let password_changed = since + s.range(0, ((made - since) / 2).max(1));
        out.push(User {
            home: format!("/home/{name}"),
            name,
            uid: 1000 + i as u32,
            full_name,
            shell: "/bin/bash".into(),
            sudo: i == 0 || w.sudo || s.chance(35),
            since,
            password_changed,
            password: s.text(
                "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_.!",
                14,
            ),
        });
    }
    // Accounts get their numbers in the order in which they were made.
    out[1..].sort_by_key(|u| u.since);
    for (i, u) in out.iter_mut().enumerate() {
        u.uid = 1000 + i as u32;
    }
    out
}
