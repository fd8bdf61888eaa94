//! What the operator sets by hand, and what an install knows when a cover is made.

use crate::network::Receiving;
use serde::{Deserialize, Serialize};

/// The operator's wishes (`[cover]` in the configuration). Everything is optional; the rest stays coherent with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wishes {
    /// `bastion`, `backup` or `build`; drawn from the seed if absent.
    pub role: Option<String>,
    /// Host name without domain.
    pub hostname: Option<String>,
    /// Domain, may be empty.
    pub domain: Option<String>,
    /// Name of a zone that covers know.
    pub timezone: Option<String>,
    /// Accounts that must exist.
    pub users: Vec<UserWish>,
}

/// An account that the operator wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserWish {
    /// Login name.
    pub name: String,
    /// Full name; drawn if empty.
    pub full_name: String,
    /// May use sudo.
    pub sudo: bool,
}

/// What is given from outside when a cover is made, and kept with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// When the cover was made, seconds since the epoch: its past lies before, its life after.
    pub made: i64,
    /// The receiving interface.
    pub receiving: Receiving,
    /// The operator's wishes.
    pub wishes: Wishes,
}
