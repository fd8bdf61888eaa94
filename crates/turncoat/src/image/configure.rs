//! What maintainer scripts would have done, done by us.

use super::deb::Package;
use super::{BuildError, Draft, Report};

/// Does it.
pub(super) fn apply(
    _draft: &mut Draft,
    _packages: &[Package],
    _report: Report<'_>,
) -> Result<(), BuildError> {
    Ok(())
}
