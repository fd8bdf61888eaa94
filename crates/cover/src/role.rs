//! What a machine is for. A role is a data file (data/roles/*.toml) that the generators read.

use serde::Deserialize;

/// The data of one role.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Name for people.
    pub title: String,
    /// Stems of host names.
    pub host_names: Vec<String>,
    /// Stems of the names of machines it talks to.
    pub neighbours: Vec<String>,
    /// Numbers of processors to draw from.
    pub cores: Vec<u32>,
    /// Memory sizes to draw from, MiB.
    pub memory_mib: Vec<u64>,
    /// Disk sizes to draw from, GiB.
    pub disk_gib: Vec<u64>,
    /// Least and greatest number of people with an account.
    pub users: (i64, i64),
    /// Services that run.
    pub services: Vec<String>,
    /// Kinds of bait that lie here.
    pub bait: Vec<String>,
}

const ROLES: &[(&str, &str)] = &[
    ("backup", include_str!("../data/roles/backup.toml")),
    ("bastion", include_str!("../data/roles/bastion.toml")),
    ("build", include_str!("../data/roles/build.toml")),
];

/// Names of the roles, sorted.
pub fn names() -> Vec<&'static str> {
    ROLES.iter().map(|r| r.0).collect()
}

/// The role called `name`.
pub fn named(name: &str) -> Option<Role> {
    let text = ROLES.iter().find(|r| r.0 == name)?.1;
    // The files are ours and a test reads each of them.
    toml::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_role_reads() {
        for n in super::names() {
            let r = super::named(n).unwrap_or_else(|| panic!("role {n}"));
            assert!(!r.host_names.is_empty() && r.users.0 <= r.users.1);
        }
    }
}
