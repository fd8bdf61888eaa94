//! The machine that this install shows: what its cover was made from, kept in the data directory.
//!
//! `cover.json` holds what the cover needs beside the install's secret: when it was made, the operator's wishes, and the host
//! keys (an RSA key takes a while to find). The same file and secret give the same machine for ever.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use turncoat_cover::keys::{HostKeys, host_keys};
use turncoat_cover::network::Receiving;
use turncoat_cover::{Cover, Given, Seed, UserWish, Wishes};
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
        Ok(cover)
    }
}

/// The wishes of the configuration. `listed` are accounts that the list of logins names.
pub fn wishes(settings: &Settings, listed: &[String]) -> Wishes {
    let text = |t: &String| (!t.is_empty()).then(|| t.clone());
    Wishes {
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
    }
}

/// Reads the machine that is kept.
///
/// # Errors
/// One line for the operator, also when there is none.
pub fn load(layout: &Layout) -> Result<Machine, String> {
    let path = path(layout);
    let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    read(&path, &bytes)
}

fn read(path: &Path, bytes: &[u8]) -> Result<Machine, String> {
    let machine: Machine = serde_json::from_slice(bytes).map_err(|e| {
        format!(
            "{}: {e}; restore it from a backup, or remove it to become a new machine",
            path.display()
        )
    })?;
    if machine.format != turncoat_cover::FORMAT {
        return Err(format!(
            "{}: made by cover format {}, this program has {}; keep the older program, or remove the file to become a new machine",
            path.display(),
            machine.format,
            turncoat_cover::FORMAT
        ));
    }
    Ok(machine)
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
    now: i64,
) -> Result<Machine, String> {
    let path = path(layout);
    let tell = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    match fs::read(&path) {
        Ok(bytes) => {
            let mut machine = read(&path, &bytes)?;
            let here = receiving(settings);
            if machine.given.wishes != wishes(settings, listed)
                || here != Default::default() && here != machine.given.receiving
            {
                machine.given.wishes = wishes(settings, listed);
                machine.given.receiving = here;
                machine.cover(secret)?;
                write(layout, &machine)?;
            }
            Ok(machine)
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let machine = make(secret, settings, listed, 0, now)?;
            write(layout, &machine)?;
            Ok(machine)
        }
        Err(e) => Err(tell(&e)),
    }
}

/// A new machine. `turn` tells it from the ones before.
///
/// # Errors
/// One line for the operator.
pub fn make(
    secret: &[u8; 32],
    settings: &Settings,
    listed: &[String],
    turn: u64,
    now: i64,
) -> Result<Machine, String> {
    let given = Given {
        made: now,
        receiving: receiving(settings),
        wishes: wishes(settings, listed),
    };
    let seed = seed_of(secret, turn);
    let cover = Cover::new(seed, &given).map_err(|e| e.to_string())?;
    let host_keys =
        host_keys(&seed, &format!("root@{}", cover.host.name)).ok_or("no host keys could be made")?;
    Ok(Machine {
        format: turncoat_cover::FORMAT,
        turn,
        given,
        host_keys,
    })
}

/// Keeps a machine; the file is replaced whole.
///
/// # Errors
/// One line for the operator.
pub fn write(layout: &Layout, machine: &Machine) -> Result<(), String> {
    let text = serde_json::to_vec_pretty(machine).map_err(|e| e.to_string())?;
    crate::process::install::replace(&path(layout), &text)
}
