//! What a machine is for. A role is a data file (data/roles/*.toml) that the generators read.

use serde::Deserialize;

/// The data of one role.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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
    /// What its job is called.
    pub job_names: Vec<String>,
    /// The generator of its job (`files::job`).
    pub job: String,
    /// Blocks of commands that its people type, an empty line between them.
    pub history: String,
}

impl Role {
    /// Reads a role's data file.
    ///
    /// # Errors
    /// What is wrong with it, in one line: also a generator that does not exist.
    pub fn parse(text: &str) -> Result<Role, String> {
        let role: Role = toml::from_str(text).map_err(|e| e.to_string().replace('\n', " "))?;
        for (key, empty) in [
            ("host_names", role.host_names.is_empty()),
            ("neighbours", role.neighbours.len() < 8),
            ("cores", role.cores.is_empty()),
            ("memory_mib", role.memory_mib.is_empty()),
            ("disk_gib", role.disk_gib.is_empty()),
            ("job_names", role.job_names.is_empty()),
        ] {
            if empty {
                return Err(format!("{key}: too few"));
            }
        }
        if role.users.0 < 1 || role.users.0 > role.users.1 {
            return Err("users: least and greatest number, at least 1".into());
        }
        if let Some(b) = role
            .bait
            .iter()
            .find(|b| !crate::bait::makers().any(|m| m == **b))
        {
            return Err(format!("bait: there is no generator {b:?}"));
        }
        if !crate::files::job::jobs().any(|j| j == role.job) {
            return Err(format!("job: there is no generator {:?}", role.job));
        }
        Ok(role)
    }
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
    Role::parse(text).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_role_reads() {
        for n in super::names() {
            let text = super::ROLES.iter().find(|r| r.0 == n).map_or("", |r| r.1);
            if let Err(e) = super::Role::parse(text) {
                panic!("role {n}: {e}");
            }
        }
    }
}
