//! From a path to a place: components, symbolic links, mounts, `..`, search permission, and the way back from a place to a path.

use super::Vfs;
use super::inode::{Attr, FsKind};
use super::types::*;
use crate::proc::LinkTarget;
use crate::{Errno, KResult};

/// Longest path with its NUL.
pub const PATH_MAX: usize = 4096;
/// Longest name.
pub const NAME_MAX: usize = 255;
/// Symbolic links in one walk.
const LINKS: u32 = 40;

/// The last component of a path whose parent was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Last {
    Norm(Name),
    Dot,
    DotDot,
    Root,
}

/// A place whose parent is known, and what follows.
pub(super) struct Parent {
    pub dir: Path,
    pub last: Last,
    /// A slash follows the last component.
    pub slash: bool,
}

enum Found {
    Place(Path),
    Parent(Parent),
}

struct Walker<'a> {
    vfs: &'a Vfs,
    ctx: &'a Ctx<'a>,
    flags: u32,
    root: Path,
    links: u32,
    want_parent: bool,
}

impl Walker<'_> {
    fn up(&self, mut p: Path) -> KResult<Path> {
        loop {
            if p.mnt == self.root.mnt && p.ino == self.root.ino {
                return if self.flags & wflag::BENEATH != 0 {
                    Err(Errno::EXDEV)
                } else {
                    Ok(p)
                };
            }
            let Some(m) = self.vfs.mounts.get(p.mnt) else {
                return Ok(p);
            };
            if m.root != p.ino {
                break;
            }
            if m.parent == m.id {
                return Ok(p);
            }
            if self.flags & wflag::NO_XDEV != 0 {
                return Err(Errno::EXDEV);
            }
            p = m.at.clone();
        }
        let (parent, _) = self.vfs.dir_place(self.ctx.view, p.ino).ok_or(Errno::ENOENT)?;
        Ok(self.vfs.cross(self.vfs.place(self.ctx, p.mnt, parent)))
    }

    fn run(&mut self, base: &Path, path: &[u8]) -> KResult<Found> {
        let (vfs, ctx) = (self.vfs, self.ctx);
        if path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if path.is_empty() {
            return if self.flags & wflag::EMPTY_PATH != 0 && !self.want_parent {
                Ok(Found::Place(base.clone()))
            } else {
                Err(Errno::ENOENT)
            };
        }
        let mut cur = base.clone();
        if path.starts_with(b"/") {
            if self.flags & wflag::BENEATH != 0 {
                return Err(Errno::EXDEV);
            }
            cur = self.root.clone();
        }
        let mut rest: Vec<u8> = path.to_vec();
        let mut at = 0;
        // What is known of `cur` from when it was looked up.
        let mut known: Option<Attr> = None;
        // A trailing slash of an outer path holds for what its last link leads to.
        loop {
            at += rest.iter().skip(at).take_while(|&&c| c == b'/').count();
            let tail = rest.get(at..).unwrap_or(&[]);
            if tail.is_empty() {
                return Ok(if self.want_parent {
                    Found::Parent(Parent {
                        dir: cur,
                        last: Last::Root,
                        slash: false,
                    })
                } else {
                    if !vfs.attr(ctx.view, cur.ino)?.is_dir() {
                        return Err(Errno::ENOTDIR);
                    }
                    Found::Place(cur)
                });
            }
            let len = tail.iter().position(|&c| c == b'/').unwrap_or(tail.len());
            let comp = Name::from(tail.get(..len).unwrap_or(&[]));
            at += len;
            let after = rest.get(at..).unwrap_or(&[]);
            let slash = !after.is_empty();
            let is_last = after.iter().all(|&c| c == b'/');

            let here = match known.take() {
                Some(here) => here,
                None => vfs.attr(ctx.view, cur.ino)?,
            };
            if !here.is_dir() {
                return Err(Errno::ENOTDIR);
            }
            vfs.permission(ctx, &cur, &here, may::EXEC)?;
            if is_last && self.want_parent {
                let last = match &*comp {
                    b"." => Last::Dot,
                    b".." => Last::DotDot,
                    _ => Last::Norm(comp),
                };
                return Ok(Found::Parent(Parent {
                    dir: cur,
                    last,
                    slash,
                }));
            }
            match &*comp {
                b"." => {
                    if is_last {
                        return Ok(Found::Place(cur));
                    }
                    continue;
                }
                b".." => {
                    cur = self.up(cur)?;
                    if is_last {
                        return Ok(Found::Place(cur));
                    }
                    continue;
                }
                _ => {}
            }
            let next = vfs.child(ctx, &cur, &comp)?.ok_or(Errno::ENOENT)?;
            if next.mnt != cur.mnt && self.flags & wflag::NO_XDEV != 0 {
                return Err(Errno::EXDEV);
            }
            let a = vfs.attr(ctx.view, next.ino)?;
            if a.is_link() && (!is_last || slash || self.flags & wflag::NOFOLLOW == 0) {
                self.links += 1;
                if self.links > LINKS || self.flags & wflag::NO_SYMLINKS != 0 {
                    return Err(Errno::ELOOP);
                }
                if is_last {
                    vfs.may_follow(ctx, &here, &a)?;
                }
                let target = match vfs.link_target(ctx, next.ino)? {
                    LinkTarget::Text(t) => t,
                    LinkTarget::Path(p) => {
                        if self.flags & (wflag::NO_MAGICLINKS | wflag::BENEATH | wflag::IN_ROOT) != 0 {
                            return Err(if self.flags & wflag::NO_MAGICLINKS != 0 {
                                Errno::ELOOP
                            } else {
                                Errno::EXDEV
                            });
                        }
                        cur = p;
                        if is_last && !slash {
                            return Ok(Found::Place(cur));
                        }
                        continue;
                    }
                    // A pipe or socket: the place of the link stands for it; `open` sees to the rest.
                    LinkTarget::Reopen { .. } if is_last && !slash => return Ok(Found::Place(next)),
                    LinkTarget::Reopen { .. } => return Err(Errno::ENOTDIR),
                };
                if target.is_empty() {
                    return Err(Errno::ENOENT);
                }
                if target.starts_with(b"/") {
                    if self.flags & wflag::BENEATH != 0 {
                        return Err(Errno::EXDEV);
                    }
                    cur = self.root.clone();
                }
                let mut joined = target.to_vec();
                joined.extend_from_slice(after);
                (rest, at) = (joined, 0);
                continue;
            }
            cur = next;
            if is_last {
                if (slash || self.flags & wflag::DIRECTORY != 0) && !a.is_dir() {
                    return Err(Errno::ENOTDIR);
                }
                return Ok(Found::Place(cur));
            }
            if !a.is_dir() {
                return Err(Errno::ENOTDIR);
            }
            known = Some(a);
        }
    }
}

impl Vfs {
    fn walker<'a>(&'a self, ctx: &'a Ctx<'a>, base: &Path, flags: u32, want_parent: bool) -> Walker<'a> {
        let root = if flags & (wflag::IN_ROOT | wflag::BENEATH) != 0 {
            base.clone()
        } else {
            ctx.root.clone()
        };
        Walker {
            vfs: self,
            ctx,
            flags,
            root,
            links: 0,
            want_parent,
        }
    }

    /// The place that `path` names, seen from `base` (the working directory or a directory descriptor). `flags` of `wflag`.
    pub fn walk(&self, ctx: &Ctx, base: &Path, path: &[u8], flags: u32) -> KResult<Path> {
        match self.walker(ctx, base, flags, false).run(base, path)? {
            Found::Place(p) => {
                if flags & wflag::DIRECTORY != 0 && !self.attr(ctx.view, p.ino)?.is_dir() {
                    return Err(Errno::ENOTDIR);
                }
                Ok(p)
            }
            Found::Parent(_) => Err(Errno::EIO),
        }
    }

    /// The directory in which the last component of `path` stands or would stand.
    pub(super) fn walk_parent(
        &self,
        ctx: &Ctx,
        base: &Path,
        path: &[u8],
        flags: u32,
        links: u32,
    ) -> KResult<Parent> {
        let mut w = self.walker(ctx, base, flags, true);
        w.links = links;
        match w.run(base, path)? {
            Found::Parent(p) => Ok(p),
            Found::Place(_) => Err(Errno::EIO),
        }
    }

    /// The entry `name` of a directory, with what is mounted on it. ENAMETOOLONG for names that cannot be.
    pub(super) fn child(&self, ctx: &Ctx, dir: &Path, name: &Name) -> KResult<Option<Path>> {
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        Ok(self.lookup(ctx.view, dir.ino, name)?.map(|ino| {
            self.cross(Path {
                mnt: dir.mnt,
                ino,
                parent: dir.ino,
                name: name.clone(),
            })
        }))
    }

    /// The place of a directory, with its parent and name.
    pub(super) fn place(&self, ctx: &Ctx, mnt: MountId, dir: Ino) -> Path {
        let (parent, name) = self.dir_place(ctx.view, dir).unwrap_or((dir, Name::from([])));
        Path {
            mnt,
            ino: dir,
            parent,
            name,
        }
    }

    /// Where a symbolic link leads.
    pub(super) fn link_target(&self, ctx: &Ctx, ino: Ino) -> KResult<LinkTarget> {
        let fs = self.fs(ino)?;
        match &fs.kind {
            FsKind::Proc => crate::proc::link(self, ctx, ino.num()),
            FsKind::Tree(t) => crate::sysfs::readlink(t, ino.num()).map(LinkTarget::Text),
            _ => fs.readlink(ino.num()).map(LinkTarget::Text),
        }
    }

    /// readlinkat(2): the text of a link.
    pub fn readlink(&self, ctx: &Ctx, base: &Path, path: &[u8]) -> KResult<Vec<u8>> {
        let p = self.walk(ctx, base, path, wflag::NOFOLLOW | wflag::EMPTY_PATH)?;
        if !self.attr(ctx.view, p.ino)?.is_link() {
            return Err(if path.is_empty() {
                Errno::ENOENT
            } else {
                Errno::EINVAL
            });
        }
        Ok(match self.link_target(ctx, p.ino)? {
            LinkTarget::Text(t) => t.to_vec(),
            LinkTarget::Path(p) => self.path_text(ctx, &p),
            LinkTarget::Reopen { text, .. } => text,
        })
    }

    /// Where `p` is now: parent and name, or `None` if its name is gone.
    fn current_place(&self, ctx: &Ctx, p: &Path, a: &Attr) -> Option<(Ino, Name)> {
        if a.is_dir() {
            return self.dir_place(ctx.view, p.ino);
        }
        let there =
            |parent: Ino, name: &Name| self.lookup(ctx.view, parent, name).ok().flatten() == Some(p.ino);
        if there(p.parent, &p.name) {
            return Some((p.parent, p.name.clone()));
        }
        let (parent, name) = self.holds.get(p.ino.0)?.moved.clone()?;
        there(parent, &name).then_some((parent, name))
    }

    /// The absolute path of a place as the caller sees it (`d_path`): with ` (deleted)` behind it if its name is gone, and
    /// `(unreachable)` before it if it is outside the caller's root.
    pub fn path_text(&self, ctx: &Ctx, p: &Path) -> Vec<u8> {
        let (mut text, reached, deleted) = self.d_path(ctx, ctx.root, p);
        if !reached {
            let mut out = b"(unreachable)".to_vec();
            out.append(&mut text);
            text = out;
        }
        if deleted {
            text.extend_from_slice(b" (deleted)");
        }
        text
    }

    /// getcwd(2): ENOENT if the directory was removed.
    pub fn getcwd(&self, ctx: &Ctx) -> KResult<Vec<u8>> {
        let (mut text, reached, deleted) = self.d_path(ctx, ctx.root, ctx.cwd);
        if deleted {
            return Err(Errno::ENOENT);
        }
        if !reached {
            let mut out = b"(unreachable)".to_vec();
            out.append(&mut text);
            text = out;
        }
        Ok(text)
    }

    /// Path below `root`; whether `root` was met; whether the name is gone.
    pub(crate) fn d_path(&self, ctx: &Ctx, root: &Path, p: &Path) -> (Vec<u8>, bool, bool) {
        let mut parts: Vec<Name> = Vec::new();
        let mut cur = p.clone();
        let (mut reached, mut deleted) = (false, false);
        // Bounded: directories can be nested as deeply as the guest likes.
        for step in 0..100_000 {
            if cur.mnt == root.mnt && cur.ino == root.ino {
                reached = true;
                break;
            }
            let Some(m) = self.mounts.get(cur.mnt) else { break };
            if m.root == cur.ino {
                if m.parent == m.id {
                    break;
                }
                cur = m.at.clone();
                continue;
            }
            let attr = self.attr(ctx.view, cur.ino);
            let place = match &attr {
                Ok(a) => self.current_place(ctx, &cur, a),
                Err(_) => None,
            };
            if step == 0 && (place.is_none() || attr.is_ok_and(|a| a.nlink == 0)) {
                deleted = true;
            }
            let (parent, name) = place.unwrap_or((cur.parent, cur.name.clone()));
            parts.push(name);
            if parent == cur.ino {
                reached = true;
                break;
            }
            cur = Path {
                mnt: cur.mnt,
                ino: parent,
                parent,
                name: Name::from([]),
            };
        }
        let mut text = Vec::new();
        for part in parts.iter().rev() {
            text.push(b'/');
            text.extend_from_slice(part);
        }
        if text.is_empty() {
            text.push(b'/');
        }
        (text, reached, deleted)
    }

    /// The path from the namespace's root, for the record and for mount tables.
    pub fn full_path(&self, ctx: &Ctx, p: &Path) -> Vec<u8> {
        self.d_path(ctx, &self.root_path(), p).0
    }
}
