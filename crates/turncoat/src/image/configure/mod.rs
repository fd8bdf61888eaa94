//! What maintainer scripts would have done at a first installation, done by us: scripts are read, never run.
//!
//! Most of it is said by the packages themselves in a form that can be read: `update-alternatives --install` calls, units with
//! `[Install]` sections, `sysusers.d`, `tmpfiles.d`, PAM profiles, here-documents. What is left (which file is copied where) is in
//! the tables of `defaults`. Not done here, because it takes the packages' own programs: byte-compiled Python modules, the
//! hardware and message databases of udev and systemd, the index of manual pages, debconf's database.

mod alternatives;
mod certs;
mod defaults;
mod ldcache;
mod pam;
mod script;
mod units;
mod users;

use super::deb::Package;
use super::{BuildError, Draft, Progress, Report, kernel};

/// Does it.
pub(super) fn apply(draft: &mut Draft, packages: &[Package], report: Report<'_>) -> Result<(), BuildError> {
    defaults::directories(draft)?;
    users::create(draft, packages)?;
    defaults::apply(draft, packages)?;
    alternatives::install(draft, packages)?;
    units::enable(draft, packages)?;
    pam::write(draft)?;
    let odd = certs::install(draft)?;
    if odd > 0 {
        report(Progress::Note(&format!(
            "{odd} certificates could not be read and have no hash link"
        )));
    }
    ldcache::write(draft, packages)?;
    kernel::install(draft, report)?;
    Ok(())
}
