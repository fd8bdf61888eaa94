//! Home directories and what their owners left in them.

use super::File;
use crate::cover::{Cover, Image};

/// Homes of all people and root.
pub fn files(cover: &Cover, image: &dyn Image) -> Vec<File> {
    let mut out = Vec::new();
    let skel = [".bashrc", ".profile", ".bash_logout"];
    for u in &cover.users {
        let mut d = File::dir(&u.home, 0o700, u.since + 60);
        d.uid = u.uid;
        d.gid = u.uid;
        out.push(d);
        for name in skel {
            if let Some(text) = image.read(&format!("/etc/skel/{name}")) {
                let text = String::from_utf8_lossy(&text).into_owned();
                out.push(File::text(&format!("{}/{name}", u.home), 0o644, u.since, text).owned(u.uid, u.uid));
            }
        }
    }
    out
}
