//! Things to plant on real machines: credentials and traces that lead to a decoy, each unique, so that its use tells where it was taken.
//!
//! They are kept in `plants.json` in the data directory. The kinds are one table ([`KINDS`]), made to grow.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use turncoat_cover::{Cover, Seed, keys};
use turncoat_event::Time;
use turncoat_store::Layout;

/// One planted thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plant {
    /// Its id, such as `p-7f3a91c2`.
    pub id: String,
    /// Name of its kind.
    pub kind: String,
    /// When it was made.
    pub made: Time,
    /// The host it is for.
    pub host: Option<String>,
    /// What the operator noted.
    pub note: Option<String>,
    /// It no longer works; its use is still an event.
    pub revoked: bool,
    /// User name that it gives away.
    pub user: String,
    /// Password that it gives away, if it does.
    pub password: Option<String>,
    /// Fingerprint of the key that it gives away, if it does.
    pub fingerprint: Option<String>,
}

impl Plant {
    /// Where it was planted, in words.
    pub fn place(&self) -> String {
        match (&self.host, &self.note) {
            (Some(h), Some(n)) => format!("{h} ({n})"),
            (Some(h), None) => h.clone(),
            (None, Some(n)) => n.clone(),
            (None, None) => "an unnoted place".into(),
        }
    }
}

/// Kind of the key with which `turncoat cover audit` logs in. It is in no list of kinds to plant, and its use gives nobody away.
pub const AUDIT: &str = "audit";

/// One kind of thing to plant.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// What it is, for help texts.
    pub about: &'static str,
    make: fn(&mut Draft<'_>) -> Option<String>,
}

/// Where decoys are reached, as somebody on the inside would write it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

struct Draft<'a> {
    cover: &'a Cover,
    seed: Seed,
    target: &'a Target,
    plant: Plant,
}

/// All kinds.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "credential",
        about: "a user and a password that work at the decoy",
        make: credential,
    },
    Kind {
        name: "ssh-config",
        about: "a private key and an entry for ~/.ssh/config that lead to the decoy",
        make: ssh_config,
    },
    Kind {
        name: "history",
        about: "lines of a shell history with a password on the command line",
        make: history,
    },
    Kind {
        name: "known-hosts",
        about: "a line for ~/.ssh/known_hosts that names the decoy (its use cannot be told from a chance visit)",
        make: known_hosts,
    },
];

fn port_option(port: u16) -> String {
    if port == 22 {
        String::new()
    } else {
        format!("-p {port} ")
    }
}

fn credential(d: &mut Draft<'_>) -> Option<String> {
    Some(format!(
        "host: {}\nport: {}\nuser: {}\npassword: {}\n",
        d.target.host,
        d.target.port,
        d.plant.user,
        d.plant.password.as_deref()?
    ))
}

fn ssh_config(d: &mut Draft<'_>) -> Option<String> {
    let pair = keys::generate(
        &d.seed,
        "plant",
        keys::Algo::Ed25519,
        &format!("{}@{}", d.plant.user, d.plant.host.as_deref().unwrap_or("laptop")),
    )?;
    d.plant.fingerprint = Some(pair.fingerprint.clone());
    d.plant.password = None;
    let alias = &d.cover.host.name;
    Some(format!(
        "# ~/.ssh/config\nHost {alias}\n    HostName {}\n    Port {}\n    User {}\n    IdentityFile ~/.ssh/id_{alias}\n    IdentitiesOnly yes\n\n# ~/.ssh/id_{alias} (mode 0600)\n{}",
        d.target.host, d.target.port, d.plant.user, pair.private
    ))
}

fn history(d: &mut Draft<'_>) -> Option<String> {
    let mut s = d.cover.stream(&format!("plant history {}", d.plant.id));
    let dirs = [
        "/srv/backup",
        "/var/backups",
        "/home/deploy/releases",
        "/opt/app",
        "/srv/data",
    ];
    let dir = *s.pick(&dirs);
    Some(format!(
        "sshpass -p '{}' ssh {}{}@{}\nscp {}{}@{}:{dir}/latest.tar.gz .\ntar tzf latest.tar.gz | head\n",
        d.plant.password.as_deref()?,
        port_option(d.target.port),
        d.plant.user,
        d.target.host,
        port_option(d.target.port).replace("-p", "-P"),
        d.plant.user,
        d.target.host,
    ))
}

fn known_hosts(d: &mut Draft<'_>) -> Option<String> {
    let keys = d.cover.host_keys.as_ref()?;
    d.plant.password = None;
    let host = if d.target.port == 22 {
        d.target.host.clone()
    } else {
        format!("[{}]:{}", d.target.host, d.target.port)
    };
    let key: Vec<&str> = keys.ed25519.public.split_whitespace().take(2).collect();
    Some(format!("{host} {}\n", key.join(" ")))
}

/// Makes a thing of this kind. Gives what is remembered of it and the text to plant. `entropy` is fresh random bytes.
///
/// # Errors
/// One line for the operator.
pub fn make(
    kind: &str,
    cover: &Cover,
    target: &Target,
    host: Option<String>,
    note: Option<String>,
    entropy: [u8; 32],
    now: Time,
) -> Result<(Plant, String), String> {
    let found = KINDS.iter().find(|k| k.name == kind).ok_or_else(|| {
        let all: Vec<_> = KINDS.iter().map(|k| k.name).collect();
        format!("there is no kind {kind:?}; kinds are {}", all.join(", "))
    })?;
    let seed = Seed(entropy);
    let mut s = seed.stream("plant");
    let people: Vec<&str> = cover.users.iter().map(|u| u.name.as_str()).collect();
    let user = if people.is_empty() {
        "root"
    } else {
        *s.pick(&people)
    };
    let plant = Plant {
        id: format!("p-{}", s.hex(8)),
        kind: kind.into(),
        made: now,
        host,
        note,
        revoked: false,
        user: user.into(),
        password: Some(s.text("abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", 16)),
        fingerprint: None,
    };
    let mut draft = Draft {
        cover,
        seed,
        target,
        plant,
    };
    let text = (found.make)(&mut draft).ok_or("this cannot be made yet: run `turncoat run` once")?;
    Ok((draft.plant, text))
}

fn path(layout: &Layout) -> PathBuf {
    layout.root().join("plants.json")
}

/// Everything that was planted, oldest first.
///
/// # Errors
/// One line for the operator.
pub fn load(layout: &Layout) -> Result<Vec<Plant>, String> {
    let path = path(layout);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|e| format!("{}: {e}; restore it from a backup", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// Keeps everything that was planted; the file is replaced whole.
///
/// # Errors
/// One line for the operator.
pub fn save(layout: &Layout, plants: &[Plant]) -> Result<(), String> {
    let text = serde_json::to_vec_pretty(plants).map_err(|e| e.to_string())?;
    crate::process::install::replace(&path(layout), &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use turncoat_cover::{Given, Wishes};

    #[test]
    fn every_kind_is_unique_and_remembered() {
        let given = Given {
            made: 1_795_400_000,
            receiving: Default::default(),
            wishes: Wishes::default(),
            kernel: None,
        };
        let cover = Cover::new(Seed([9; 32]), &given).unwrap();
        let target = Target {
            host: "10.0.0.5".into(),
            port: 22,
        };
        for kind in ["credential", "ssh-config", "history"] {
            let (a, text) = make(
                kind,
                &cover,
                &target,
                Some("laptop7".into()),
                None,
                [1; 32],
                Time(0),
            )
            .unwrap();
            let (b, other) = make(kind, &cover, &target, None, None, [2; 32], Time(0)).unwrap();
            assert_ne!(a.id, b.id);
            assert_ne!(text, other);
            assert!(text.contains("10.0.0.5"), "{text}");
            assert!(a.password.is_some() != a.fingerprint.is_some());
        }
        assert!(
            make("credential", &cover, &target, None, None, [1; 32], Time(0))
                .unwrap()
                .1
                .contains("password: ")
        );
        assert!(
            make("nope", &cover, &target, None, None, [1; 32], Time(0))
                .unwrap_err()
                .contains("ssh-config")
        );
        let dir = std::env::temp_dir().join(format!("turncoat-plants-{}", std::process::id()));
        let layout = Layout::new(&dir);
        layout.create().unwrap();
        let one = make(
            "credential",
            &cover,
            &target,
            None,
            Some("n".into()),
            [3; 32],
            Time(5),
        )
        .unwrap()
        .0;
        save(&layout, std::slice::from_ref(&one)).unwrap();
        assert_eq!(load(&layout).unwrap(), vec![one]);
        fs::remove_dir_all(dir).unwrap();
    }
}
