//! A file system after a reboot: the root with everything that has a name on it, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::boot::Plan;
use super::inode::Node;
use super::mount::ms;
use super::pmap::PMap;
use super::types::*;
use super::{Vfs, walk_root};

impl Vfs {
    /// What `old` keeps when the machine goes down: its disk. What had no name any more, was mounted, locked or watched is gone.
    pub fn again(mut old: Vfs, plan: &Plan) -> Vfs {
        let held: Vec<Ino> = old
            .holds
            .iter()
            .map(|(k, _)| Ino(k))
            .filter(|i| i.fs() == FsId(0))
            .collect();
        old.holds = PMap::new();
        for ino in held {
            old.drop_if_dead(ino);
        }
        let root = old.fses.into_iter().next().flatten();
        let mut kept = BTreeSet::new();
        if let Some(fs) = &root {
            for (_, i) in fs.inodes.iter() {
                if let Node::File(o) = &i.node {
                    kept.insert(*o);
                }
            }
        }
        let mut objects = old.objects;
        objects.keep_only(&kept);
        let baits: BTreeMap<Ino, Arc<str>> = old
            .baits
            .iter()
            .filter(|(ino, _)| ino.fs() == FsId(0))
            .map(|(ino, id)| (*ino, id.clone()))
            .collect();
        let mut v = Vfs {
            fses: vec![root],
            baits: Arc::new(baits),
            inode_budget: old.inode_budget,
            ..Vfs::bare(objects)
        };
        v.mount_root(plan);
        v
    }

    /// Mounts the first file system as the root.
    pub(super) fn mount_root(&mut self, plan: &Plan) {
        let root = walk_root(self);
        let at = Path {
            mnt: MountId(27),
            ino: root,
            parent: root,
            name: Name::from([]),
        };
        self.attach(
            &at,
            root,
            ms::RELATIME,
            &plan.root_source,
            "ext4",
            &plan.root_options,
            1,
        );
        Arc::make_mut(&mut self.mounts).next = 22;
    }
}
