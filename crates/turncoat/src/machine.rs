//! The machine that this install shows: what its cover was made from, kept in the data directory.
//!
//! `cover.json` holds what the cover needs beside the install's secret: when it was made, the operator's wishes, and what takes a while
//! to make: the host keys and the people's password fields. The same file and secret give the same machine for ever.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use turncoat_cover::kernels::Kernel;
use turncoat_cover::keys::{HostKeys, host_keys};
use turncoat_cover::network::Receiving;
use turncoat_cover::{Cover, FileWish, Given, LARGEST_FILE, Seed, UserWish, Wishes};
use turncoat_kernel::image::Image;
use turncoat_store::Layout;
use turncoat_store::privacy::hmac_sha256;

use crate::config::Settings;
use crate::config::table::Watch;

/// What is kept of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Version of the cover's generators.
    pub format: u32,
    /// Counts `cover rotate`: each gives another identity.
    pub turn: u64,
    /// What the cover was made from.
    pub given: Given,
    /// Its host keys.
    pub host_keys: HostKeys,
    /// Password fields by user: each takes a while to make, like the keys. What is missing is made when it is needed.
    #[serde(default)]
    pub passwords: BTreeMap<String, String>,
}

/// Where it is kept.
pub fn path(layout: &Layout) -> PathBuf {
    layout.root().join("cover.json")
}

fn seed_of(secret: &[u8; 32], turn: u64) -> Seed {
    Seed(hmac_sha256(secret, format!("cover {turn}").as_bytes()))
}

impl Machine {
    /// The cover.
    ///
    /// # Errors
    /// One line for the operator.
    pub fn cover(&self, secret: &[u8; 32]) -> Result<Cover, String> {
        let mut cover = Cover::new(seed_of(secret, self.turn), &self.given).map_err(|e| e.to_string())?;
        cover.host_keys = Some(self.host_keys.clone());
        for (field, user) in cover.user_hashes.iter_mut().zip(&cover.users) {
            if let Some(kept) = self.passwords.get(&user.name) {
                field.clone_from(kept);
            }
        }
        Ok(cover)
    }

    /// Keeps the password fields of the cover's people. True if one was new.
    fn keep_passwords(&mut self, cover: &Cover) -> bool {
        let new = cover.users.iter().any(|u| !self.passwords.contains_key(&u.name));
        if new {
            let names = cover.users.iter().map(|u| u.name.clone());
            self.passwords = names.zip(cover.password_fields()).collect();
        }
        new
    }
}

/// The wishes of the configuration. `listed` are accounts that the list of logins names.
///
/// # Errors
/// One line for the operator: a file that cannot be read or is not written as it should be.
pub fn wishes(settings: &Settings, listed: &[String]) -> Result<Wishes, String> {
    let text = |t: &String| (!t.is_empty()).then(|| t.clone());
    Ok(Wishes {
        role: text(&settings.cover.role),
        hostname: text(&settings.cover.hostname),
        domain: text(&settings.cover.domain),
        timezone: text(&settings.cover.timezone),
        users: settings
            .cover
            .users
            .iter()
            .chain(listed)
            .map(|name| UserWish {
                name: name.clone(),
                ..UserWish::default()
            })
            .collect(),
        files: settings
            .cover
            .files
            .iter()
            .map(|line| file(line))
            .collect::<Result<_, _>>()?,
        packages: settings.cover.packages.clone(),
    })
}

/// `PATH [OWNER [MODE]] = TEXT` or `PATH [OWNER [MODE]] <- FILE`.
fn file(line: &str) -> Result<FileWish, String> {
    let wrong = |why: &str| {
        format!("cover.files: {line:?}: {why}; expected \"PATH = TEXT\" or \"PATH OWNER MODE <- FILE\"")
    };
    let (head, from_file, rest) = match (line.find(" = "), line.find(" <- ")) {
        (Some(a), b) if b.is_none_or(|b| a < b) => (line.get(..a), false, line.get(a + 3..)),
        (_, Some(b)) => (line.get(..b), true, line.get(b + 4..)),
        _ => return Err(wrong("neither ' = ' nor ' <- '")),
    };
    let (head, rest) = (head.unwrap_or_default(), rest.unwrap_or_default());
    let words: Vec<&str> = head.split_whitespace().collect();
    let (path, owner, mode) = match words[..] {
        [path] => (path, "root", "0644"),
        [path, owner] => (path, owner, "0644"),
        [path, owner, mode] => (path, owner, mode),
        _ => return Err(wrong("no path, or more than owner and mode behind it")),
    };
    let content = if from_file {
        use std::io::Read;
        let mut bytes = Vec::new();
        fs::File::open(rest)
            .and_then(|f| f.take(LARGEST_FILE as u64 + 1).read_to_end(&mut bytes))
            .map_err(|e| format!("cover.files: {rest}: {e}"))?;
        bytes
    } else {
        format!("{rest}\n").into_bytes()
    };
    Ok(FileWish {
        path: path.to_owned(),
        content,
        owner: owner.to_owned(),
        mode: u32::from_str_radix(mode, 8).map_err(|_| wrong("the mode is not octal"))?,
    })
}

/// Says whether the wishes of the configuration agree with each other, with the machine that is kept, and with the image if there is
/// one already. Writes nothing.
///
/// # Errors
/// One line for the operator.
pub fn check(layout: &Layout, settings: &Settings, now: i64) -> Result<(), String> {
    let secret = fs::read(layout.seed()).ok().and_then(|s| s.try_into().ok());
    let kept = load(layout).ok();
    let given = Given {
        made: kept.as_ref().map_or(now, |m| m.given.made),
        receiving: receiving(settings),
        wishes: wishes(settings, &[])?,
        kernel: None,
    };
    let turn = kept.map_or(0, |m| m.turn);
    Cover::new(seed_of(&secret.unwrap_or([0; 32]), turn), &given).map_err(|e| e.to_string())?;
    match shelved(layout, settings) {
        Some(image) => packages(&image, settings),
        None => Ok(()),
    }
}

/// The image that worlds will start from, if it is there already.
pub fn shelved(layout: &Layout, settings: &Settings) -> Option<std::sync::Arc<Image>> {
    let shelf = layout.images();
    if !shelf.is_dir() {
        return None;
    }
    let named = Some(settings.world.image.as_str()).filter(|n| !n.is_empty());
    let found = crate::image::Shelf::open(&shelf).ok()?.find(named).ok()??;
    Image::open(fs::File::open(found.path).ok()?).ok()
}

/// Refuses an image that lacks a package that the operator wants.
///
/// # Errors
/// One line for the operator.
pub fn packages(image: &Image, settings: &Settings) -> Result<(), String> {
    if settings.cover.packages.is_empty() {
        return Ok(());
    }
    let have = image.packages();
    let lacking: Vec<&str> = settings
        .cover
        .packages
        .iter()
        .filter(|p| have.iter().all(|h| h.name != **p))
        .map(String::as_str)
        .collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let plus: Vec<String> = lacking.iter().map(|p| format!("+{p}")).collect();
    Err(format!(
        "cover.packages: the image has no {}; `turncoat image build {}` makes one that has",
        lacking.join(", "),
        plus.join(" ")
    ))
}

/// The kernel that an image has installed.
pub fn kernel(image: &Image) -> Option<Kernel> {
    turncoat_cover::kernels::of(&turncoat_decoys::boot::Below(image))
}

/// Reads the machine that is kept.
///
/// # Errors
/// One line for the operator, also when there is none.
pub fn load(layout: &Layout) -> Result<Machine, String> {
    let path = path(layout);
    let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(read(&path, &bytes)?.0)
}

/// The machine in a file, and whether the file is of an earlier format.
fn read(path: &Path, bytes: &[u8]) -> Result<(Machine, bool), String> {
    let mut machine: Machine = serde_json::from_slice(bytes).map_err(|e| {
        format!(
            "{}: {e}; restore it from a backup, or remove it to become a new machine",
            path.display()
        )
    })?;
    // Format 1 is the same machine with the same people, keys and baits; what they did is told in another way since.
    let earlier = machine.format == 1;
    if earlier {
        machine.format = turncoat_cover::FORMAT;
    }
    if machine.format != turncoat_cover::FORMAT {
        return Err(format!(
            "{}: made by cover format {}, this program has {}; keep the older program, or remove the file to become a new machine",
            path.display(),
            machine.format,
            turncoat_cover::FORMAT
        ));
    }
    Ok((machine, earlier))
}

/// On an internal network the machine has the address of the interface on which it is met; towards the internet it stands behind a
/// translation of addresses, with a private one.
fn receiving(settings: &Settings) -> Receiving {
    match settings.watch.kind {
        Watch::Internal => crate::receiving::interface(&settings.ssh.listen),
        Watch::Internet => Receiving::default(),
    }
}

/// Reads the machine, or makes it. Wishes that changed since take effect; its age and keys stay.
///
/// # Errors
/// One line for the operator.
pub fn load_or_make(
    layout: &Layout,
    secret: &[u8; 32],
    settings: &Settings,
    listed: &[String],
    kernel: Option<Kernel>,
    now: i64,
) -> Result<Machine, String> {
    let path = path(layout);
    let tell = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    match fs::read(&path) {
        Ok(bytes) => {
            let (mut machine, mut changed) = read(&path, &bytes)?;
            let here = receiving(settings);
            let wishes = wishes(settings, listed)?;
            let moved = kernel.is_some() && kernel != machine.given.kernel;
            if machine.given.wishes != wishes
                || moved
                || here != Default::default() && here != machine.given.receiving
            {
                machine.given.wishes = wishes;
                machine.given.receiving = here;
                machine.given.kernel = kernel.or(machine.given.kernel);
                changed = true;
            }
            let cover = machine.cover(secret)?;
            if machine.keep_passwords(&cover) || changed {
                write(layout, &machine)?;
            }
            Ok(machine)
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let machine = make(secret, settings, listed, kernel, 0, now)?;
            write(layout, &machine)?;
            Ok(machine)
        }
        Err(e) => Err(tell(&e)),
    }
}

/// The machine as it is kept, with what the configuration says by now, for whoever only looks: nothing is written over. Accounts that
/// the last start took from a list of logins stay. Where there is none yet, it is made and kept.
///
/// # Errors
/// One line for the operator.
pub fn look(
    layout: &Layout,
    secret: &[u8; 32],
    settings: &Settings,
    kernel: Option<Kernel>,
    now: i64,
) -> Result<Machine, String> {
    if !path(layout).exists() {
        return load_or_make(layout, secret, settings, &[], kernel, now);
    }
    let mut machine = load(layout)?;
    let mut wishes = wishes(settings, &[])?;
    let kept = std::mem::take(&mut machine.given.wishes.users);
    for user in kept {
        if wishes.users.iter().all(|u| u.name != user.name) {
            wishes.users.push(user);
        }
    }
    machine.given.wishes = wishes;
    machine.given.kernel = kernel.or(machine.given.kernel);
    Ok(machine)
}

/// A new machine. `turn` tells it from the ones before.
///
/// # Errors
/// One line for the operator.
pub fn make(
    secret: &[u8; 32],
    settings: &Settings,
    listed: &[String],
    kernel: Option<Kernel>,
    turn: u64,
    now: i64,
) -> Result<Machine, String> {
    let given = Given {
        made: now,
        receiving: receiving(settings),
        wishes: wishes(settings, listed)?,
        kernel,
    };
    let seed = seed_of(secret, turn);
    let cover = Cover::new(seed, &given).map_err(|e| e.to_string())?;
    let host_keys =
        host_keys(&seed, &format!("root@{}", cover.host.name)).ok_or("no host keys could be made")?;
    let mut machine = Machine {
        format: turncoat_cover::FORMAT,
        turn,
        given,
        host_keys,
        passwords: BTreeMap::new(),
    };
    machine.keep_passwords(&cover);
    Ok(machine)
}

/// Keeps a machine; the file is replaced whole.
///
/// # Errors
/// One line for the operator.
pub fn write(layout: &Layout, machine: &Machine) -> Result<(), String> {
    let text = serde_json::to_vec_pretty(machine).map_err(|e| e.to_string())?;
    crate::process::install::replace(&path(layout), &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_format_is_taken_over_and_later_ones_are_refused() {
        let path = Path::new("cover.json");
        let machine = make(
            &[7; 32],
            &crate::config::load(None, std::iter::empty()).unwrap(),
            &[],
            None,
            0,
            1_795_400_000,
        )
        .unwrap();
        let of = |format: u32| {
            let kept = Machine {
                format,
                ..machine.clone()
            };
            read(path, &serde_json::to_vec(&kept).unwrap())
        };
        let (taken, earlier) = of(1).unwrap();
        assert!(earlier && taken.format == turncoat_cover::FORMAT && taken.given == machine.given);
        assert!(!of(turncoat_cover::FORMAT).unwrap().1);
        assert!(
            of(turncoat_cover::FORMAT + 1)
                .unwrap_err()
                .contains("cover format")
        );
    }
}
