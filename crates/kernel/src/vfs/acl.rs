//! POSIX ACLs (acl(5), fs/posix_acl.c): kept as the extended attributes by which programs see and set them.
//!
//! An access ACL that says no more than the mode bits is not kept. Where one is kept, the mode's group bits are its mask: setting the
//! one changes the other.

use std::sync::Arc;

use super::Vfs;
use super::inode::Inode;
use super::types::*;
use crate::abi::{Enc, le16, le32};
use crate::{Errno, KResult};

/// The attribute that decides on access.
const ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute of a directory that what is made in it gets.
const DEFAULT: &[u8] = b"system.posix_acl_default";

/// Whether this attribute is an ACL.
pub(super) fn is_acl(name: &[u8]) -> bool {
    name == ACCESS || name == DEFAULT
}

const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;

/// Whom an entry is about (ACL_* in linux/posix_acl.h); the order is that of the entries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Tag {
    Owner = 1,
    User = 2,
    OwningGroup = 4,
    Group = 8,
    Mask = 16,
    Other = 32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    tag: Tag,
    perm: u16,
    id: u32,
}

/// A whole list, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Acl(Vec<Entry>);

impl Acl {
    /// Reads the attribute's value; `None`: an empty list, which takes the ACL away. EINVAL for what acl_valid(3) would refuse.
    pub fn parse(b: &[u8]) -> KResult<Option<Acl>> {
        if b.len() < HEADER {
            return Err(Errno::EINVAL);
        }
        if le32(b, 0) != VERSION {
            return Err(Errno::EOPNOTSUPP);
        }
        let entries = b.get(HEADER..).unwrap_or_default().chunks(ENTRY);
        let all: KResult<Vec<Entry>> = entries
            .map(|e| {
                let tag = match le16(e, 0) {
                    1 => Tag::Owner,
                    2 => Tag::User,
                    4 => Tag::OwningGroup,
                    8 => Tag::Group,
                    16 => Tag::Mask,
                    32 => Tag::Other,
                    _ => return Err(Errno::EINVAL),
                };
                let (perm, id) = (le16(e, 2), le32(e, 4));
                let named = matches!(tag, Tag::User | Tag::Group);
                if e.len() < ENTRY || perm > 7 || named && id == u32::MAX {
                    return Err(Errno::EINVAL);
                }
                Ok(Entry { tag, perm, id })
            })
            .collect();
        let acl = Acl(all?);
        if acl.0.is_empty() {
            return Ok(None);
        }
        let count = |tag| acl.0.iter().filter(|e| e.tag == tag).count();
        let named = count(Tag::User) + count(Tag::Group);
        let whole = [Tag::Owner, Tag::OwningGroup, Tag::Other]
            .into_iter()
            .all(|t| count(t) == 1);
        let masks = count(Tag::Mask);
        if !whole || masks > 1 || named > 0 && masks == 0 || !acl.0.is_sorted_by_key(|e| e.tag) {
            return Err(Errno::EINVAL);
        }
        Ok(Some(acl))
    }

    /// The attribute's value.
    fn bytes(&self) -> Arc<[u8]> {
        let mut e = Enc::new();
        e.u32(VERSION);
        for x in &self.0 {
            let named = matches!(x.tag, Tag::User | Tag::Group);
            e.u16(x.tag as u16).u16(x.perm);
            e.u32(if named { x.id } else { u32::MAX });
        }
        e.0.into()
    }

    fn perm(&mut self, tag: Tag) -> Option<&mut u16> {
        self.0.iter_mut().find(|e| e.tag == tag).map(|e| &mut e.perm)
    }

    /// The entry behind the group bits of the mode.
    fn middle(&mut self) -> Option<&mut u16> {
        let tag = match self.0.iter().any(|e| e.tag == Tag::Mask) {
            true => Tag::Mask,
            false => Tag::OwningGroup,
        };
        self.perm(tag)
    }

    /// The permission bits that stand for it.
    fn mode(&mut self) -> u32 {
        let bits = |p: Option<&mut u16>| p.map_or(0, |p| u32::from(*p));
        let owner = bits(self.perm(Tag::Owner));
        let middle = bits(self.middle());
        owner << 6 | middle << 3 | bits(self.perm(Tag::Other))
    }

    /// True if it says more than mode bits can.
    fn is_more(&self) -> bool {
        self.0
            .iter()
            .any(|e| matches!(e.tag, Tag::User | Tag::Group | Tag::Mask))
    }

    /// chmod(2): the owner, the mask (or the group) and the others get these bits.
    fn set_mode(&mut self, mode: u32) {
        let bits = |shift: u32| (mode >> shift & 7) as u16;
        for (perm, bits) in [(Tag::Owner, bits(6)), (Tag::Other, bits(0))] {
            if let Some(p) = self.perm(perm) {
                *p = bits;
            }
        }
        if let Some(p) = self.middle() {
            *p = bits(3);
        }
    }

    /// Something is made with this mode: neither it nor the list gives more than the other does. The mode then.
    fn meet(&mut self, mode: u32) -> u32 {
        let both = self.mode() & mode & 0o777;
        self.set_mode(both);
        mode & !0o777 | both
    }

    /// May the caller, who is not the owner, do `want`?
    fn allows(&self, creds: &Creds, gid: u32, want: u32) -> bool {
        let has = |e: &Entry| u32::from(e.perm) & want == want;
        let mask = self.0.iter().find(|e| e.tag == Tag::Mask);
        let masked = |e: &Entry| has(e) && mask.is_none_or(has);
        let mut found = false;
        for e in &self.0 {
            match e.tag {
                Tag::User if e.id == creds.uid => return masked(e),
                Tag::OwningGroup | Tag::Group => {
                    let group = if e.tag == Tag::Group { e.id } else { gid };
                    if creds.in_group(group) {
                        found = true;
                        if has(e) {
                            return masked(e);
                        }
                    }
                }
                Tag::Other => return !found && has(e),
                _ => {}
            }
        }
        false
    }
}

/// Puts a list in an inode's attribute, or takes it away.
fn keep(i: &mut Inode, name: &[u8], acl: Option<&Acl>) {
    match acl {
        Some(a) => {
            Arc::make_mut(i.xattrs.get_or_insert_default()).insert(Name::from(name), a.bytes());
        }
        None => {
            if let Some(x) = &mut i.xattrs {
                Arc::make_mut(x).remove(name);
            }
        }
    }
}

/// A mode was set: the access ACL follows.
pub(super) fn follow_mode(i: &mut Inode) {
    let acl = i.xattrs.as_ref().and_then(|x| x.get(ACCESS)).cloned();
    if let Some(Ok(Some(mut acl))) = acl.map(|b| Acl::parse(&b)) {
        acl.set_mode(i.mode);
        keep(i, ACCESS, Some(&acl));
    }
}

impl Vfs {
    fn acl(&self, ino: Ino, name: &[u8]) -> Option<Acl> {
        let fs = self.fs(ino).ok()?;
        if !fs.has_acls() {
            return None;
        }
        let bytes = fs.xattrs(ino.num()).get(name).cloned()?;
        Acl::parse(&bytes).ok().flatten()
    }

    /// What the access ACL says, if there is one that has a say: it has none over the owner, nor where the mode's group bits, which
    /// are its mask, are empty.
    pub(super) fn acl_allows(&self, creds: &Creds, ino: Ino, a: &super::Attr, want: u32) -> Option<bool> {
        if creds.uid == a.uid || a.mode & 0o070 == 0 || a.is_link() {
            return None;
        }
        let acl = self.acl(ino, ACCESS)?;
        Some(acl.allows(creds, a.gid, want & 7))
    }

    /// The permission bits of what is made in `dir`: without those of the umask, unless a default ACL takes its place.
    pub(super) fn made_with(&self, ctx: &Ctx, dir: Ino, perm: u32) -> u32 {
        match self.acl(dir, DEFAULT) {
            Some(_) => perm,
            None => perm & !ctx.umask,
        }
    }

    /// A new inode gets what the default ACL of its directory says.
    pub(super) fn inherit_acl(&self, dir: Ino, i: &mut Inode) {
        if i.mode & mode::IFMT == mode::IFLNK {
            return;
        }
        let Some(default) = self.acl(dir, DEFAULT) else {
            return;
        };
        let mut access = default.clone();
        i.mode = access.meet(i.mode);
        if access.is_more() {
            keep(i, ACCESS, Some(&access));
        }
        if i.mode & mode::IFMT == mode::IFDIR {
            keep(i, DEFAULT, Some(&default));
        }
    }

    /// setxattr(2) and removexattr(2) of an ACL, after everything else was asked.
    pub(super) fn set_acl(&mut self, ctx: &Ctx, p: &Path, name: &[u8], value: Option<&[u8]>) -> KResult<()> {
        let a = self.attr(ctx.view, p.ino)?;
        if a.is_link() {
            return Err(Errno::EOPNOTSUPP);
        }
        let acl = match value {
            None => None,
            Some(b) => Acl::parse(b)?,
        };
        if name == DEFAULT && !a.is_dir() {
            return if acl.is_some() { Err(Errno::EACCES) } else { Ok(()) };
        }
        if !Self::owner_or_capable(ctx, &a) {
            return Err(Errno::EPERM);
        }
        let drops_sgid = !ctx.creds.in_group(a.gid) && !ctx.creds.capable(cap::FSETID);
        let now = ctx.now;
        let i = self.fs_mut(p.ino)?.inode_mut(p.ino.num())?;
        match acl {
            Some(mut acl) if name == ACCESS => {
                i.mode = i.mode & !0o777 | acl.mode();
                if drops_sgid {
                    i.mode &= !mode::ISGID;
                }
                keep(i, name, Some(&acl).filter(|a| a.is_more()));
            }
            acl => keep(i, name, acl.as_ref()),
        }
        i.ctime = now;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut e = Enc::new();
        e.u32(VERSION);
        for (tag, perm, id) in entries {
            e.u16(*tag).u16(*perm).u32(*id);
        }
        e.0
    }

    #[test]
    fn only_whole_lists_in_order_are_taken() {
        let ok = list(&[(1, 6, 0), (2, 4, 7), (4, 4, 0), (16, 4, 0), (32, 0, 0)]);
        let acl = Acl::parse(&ok).unwrap().unwrap();
        assert_eq!(Acl::parse(&acl.bytes()).unwrap().unwrap().0.len(), 5);
        assert_eq!(Acl::parse(&list(&[])), Ok(None));
        for bad in [
            &ok[..ok.len() - 3],
            &list(&[(1, 6, 0), (4, 4, 0)]),
            &list(&[(1, 6, 0), (2, 4, 7), (4, 4, 0), (32, 0, 0)]),
            &list(&[(4, 6, 0), (1, 4, 0), (32, 0, 0)]),
            &list(&[(1, 8, 0), (4, 4, 0), (32, 0, 0)]),
            &list(&[(1, 6, 0), (4, 4, 0), (64, 0, 0)]),
            &[2, 0],
        ] {
            assert_eq!(Acl::parse(bad), Err(Errno::EINVAL));
        }
        assert_eq!(Acl::parse(&[3, 0, 0, 0]), Err(Errno::EOPNOTSUPP));
    }

    #[test]
    fn the_mask_bounds_names_and_groups() {
        let bytes = list(&[(1, 7, 0), (2, 7, 7), (4, 4, 0), (8, 6, 9), (16, 5, 0), (32, 1, 0)]);
        let acl = Acl::parse(&bytes).unwrap().unwrap();
        let who = |uid, groups: &[u32]| Creds {
            uid,
            gid: 1,
            groups: groups.into(),
            caps: 0,
        };
        assert!(acl.allows(&who(7, &[]), 5, may::READ | may::EXEC));
        assert!(!acl.allows(&who(7, &[]), 5, may::WRITE));
        assert!(!acl.allows(&who(8, &[9]), 5, may::WRITE), "the mask has none");
        assert!(acl.allows(&who(8, &[5]), 5, may::READ));
        assert!(!acl.allows(&who(8, &[5]), 5, may::EXEC), "its group decides");
        assert!(acl.allows(&who(8, &[]), 5, may::EXEC));
        let mut made = acl.clone();
        assert_eq!(made.meet(0o100_640), 0o100_640);
        assert_eq!(made.mode(), 0o640);
    }
}
