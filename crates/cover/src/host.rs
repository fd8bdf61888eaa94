//! Name, place, identifiers and times of a machine.

use crate::clock::Zone;
use crate::kernels::Kernel;
use serde::Serialize;

/// Who the machine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Host name without domain.
    pub name: String,
    /// Domain, may be empty.
    pub domain: String,
    /// Time zone.
    pub zone: Zone,
    /// `LANG`.
    pub locale: String,
    /// `/etc/machine-id`: 32 hexadecimal digits.
    pub machine_id: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// When the machine was installed, seconds since the epoch.
    pub installed: i64,
    /// When it was last booted before the cover was made.
    pub booted: i64,
    /// The running kernel.
    pub kernel: Kernel,
}

impl Host {
    /// The fully qualified name, or the bare one without a domain.
    pub fn fqdn(&self) -> String {
        if self.domain.is_empty() {
            self.name.clone()
        } else {
            format!("{}.{}", self.name, self.domain)
        }
    }
}
