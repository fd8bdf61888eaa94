//! Debian 12's kernels as published: ABI name, package version, build date (data/kernels.tsv, made by tools/kernels.py).

/// One kernel package.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Kernel {
    /// `uname -r`: `6.1.0-56-amd64`.
    pub release: String,
    /// Package version: `6.1.192-2`.
    pub package: String,
    /// Date in `uname -v`.
    pub date: String,
    /// When it was uploaded, seconds since the epoch.
    pub uploaded: i64,
}

impl Kernel {
    /// `uname -v`.
    pub fn version(&self) -> String {
        format!("#1 SMP PREEMPT_DYNAMIC Debian {} ({})", self.package, self.date)
    }

    /// `/proc/version` (the compiler is that of Debian 12 for all of them).
    pub fn proc_version(&self) -> String {
        format!(
            "Linux version {} (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0, GNU ld (GNU Binutils for Debian) 2.40) {}\n",
            self.release,
            self.version()
        )
    }
}

/// All known kernels, oldest first.
pub fn all() -> Vec<Kernel> {
    include_str!("../data/kernels.tsv")
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| {
            let mut f = l.split('\t');
            Some(Kernel {
                release: format!("6.1.0-{}-amd64", f.next()?),
                package: f.next()?.to_string(),
                date: f.next()?.to_string(),
                uploaded: f.next()?.parse().ok()?,
            })
        })
        .collect()
}

/// The newest kernel that was in the archive for at least a day at `unix`; the oldest known one before that.
pub fn newest_at(unix: i64) -> Kernel {
    let all = all();
    let i = all.iter().rposition(|k| k.uploaded + 86_400 <= unix).unwrap_or(0);
    all[i].clone()
}

#[cfg(test)]
mod tests {
    #[test]
    fn kernels_are_in_order() {
        let all = super::all();
        assert!(all.len() > 30);
        assert!(all.windows(2).all(|w| w[0].uploaded < w[1].uploaded));
        assert_eq!(super::newest_at(all[3].uploaded + 90_000), all[3]);
    }
}
