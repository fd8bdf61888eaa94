//! Worlds as bytes, written against the snapshot that they were cloned from.
//!
//! All state of a world is plain data, and every part says by `#[derive(Freeze)]` that all its fields are written. Here is the
//! rest: the door, what is not written (the image, which the snapshot has), and memory of processes, whose pages mostly are those of
//! the files that are mapped there.
//!
//! A world is only read for it, and goes on as if nothing had been. What comes back goes on exactly as the one that was written:
//! the same inputs give the same bytes, events and memory.

use crate::image::{Image, Ino};
use crate::mm::{Back, Mm};
use crate::object::ObjectId;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use turncoat_cpu::{PAGE_SIZE, PageRef, Space};
use turncoat_freeze::{Damaged, Freeze, In, Out};

impl World {
    /// Writes the world; `snapshot` is the one that it is a fork of. It ends a rest and changes nothing else.
    pub fn freeze(&mut self, snapshot: &World, out: &mut Out) {
        self.rise();
        if let Some(image) = snapshot.vfs.objects.image() {
            out.knows(Arc::as_ptr(image) as usize);
            out.lend(image.clone());
        }
        for page in [&snapshot.zero, &snapshot.vdso] {
            page.known_to(out);
        }
        Freeze::put(&*self, Some(snapshot), out);
    }

    /// Reads what [`World::freeze`] wrote with the same snapshot, or one that was booted in the same way.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn thaw(snapshot: &World, from: &mut In<'_>) -> Result<World, Damaged> {
        if let Some(image) = snapshot.vfs.objects.image() {
            from.knows(image);
            from.lend(image.clone());
        }
        for page in [&snapshot.zero, &snapshot.vdso] {
            page.known_from(from);
        }
        let world = <World as Freeze>::take(Some(snapshot), from)?;
        // Pages of the snapshot belong to all its worlds: none may be written in place.
        let objects = &snapshot.vfs.objects;
        let foreign: BTreeSet<usize> = objects
            .own_pages()
            .map(|(_, _, p)| p.id())
            .chain([snapshot.zero.id(), snapshot.vdso.id()])
            .collect();
        if world
            .vfs
            .objects
            .writable(objects)
            .any(|p| foreign.contains(&p.id()))
        {
            return Err(Damaged("a page of the snapshot would be written"));
        }
        Ok(world)
    }
}

impl Freeze for Image {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        // The snapshot's own is known before anything is written; there is no other.
        out.fail();
    }

    fn take(_: Option<&Self>, _: &mut In<'_>) -> Result<Self, Damaged> {
        Err(Damaged("an image is not written"))
    }
}

/// The page of the image that is mapped at an address.
fn mapped(image: Option<&Arc<Image>>, mm: &BTreeMap<u64, crate::mm::Vma>, va: u64) -> Option<PageRef> {
    let (_, vma) = mm.range(..=va).next_back().filter(|(_, v)| va < v.end)?;
    let Back::Obj { obj, off, .. } = &vma.back else {
        return None;
    };
    let number = obj.0.checked_sub(ObjectId::lower(0).0)?;
    let index = off.checked_add(va - vma.start)? / PAGE_SIZE as u64;
    image?.page(Ino::new(u32::try_from(number).ok()?), index).ok()?
}

impl Freeze for Mm {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        let Mm {
            users,
            space,
            vmas,
            mmap_base,
            start_brk,
            brk,
            start_code,
            end_code,
            start_data,
            end_data,
            start_stack,
            arg,
            env,
            auxv,
            vdso,
            exe,
            peak,
            hiwater_rss,
        } = self;
        users.put(None, out);
        vmas.put(None, out);
        for n in [
            mmap_base,
            start_brk,
            brk,
            start_code,
            end_code,
            start_data,
            end_data,
            start_stack,
            vdso,
            peak,
            hiwater_rss,
        ] {
            n.put(None, out);
        }
        (*arg, *env).put(None, out);
        auxv.put(None, out);
        exe.put(None, out);
        let image = out.lent::<Arc<Image>>();
        space.freeze(&mut |va| mapped(image.as_ref(), vmas, va), out);
    }

    fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        let users = u32::take(None, from)?;
        let vmas = BTreeMap::take(None, from)?;
        let [
            mmap_base,
            start_brk,
            brk,
            start_code,
            end_code,
            start_data,
            end_data,
            start_stack,
            vdso,
            peak,
            hiwater_rss,
        ] = <[u64; 11]>::take(None, from)?;
        let (arg, env) = Freeze::take(None, from)?;
        let auxv = Vec::take(None, from)?;
        let exe = Freeze::take(None, from)?;
        let image = from.lent::<Arc<Image>>();
        let space = Space::thaw(&mut |va| mapped(image.as_ref(), &vmas, va), from)?;
        Ok(Mm {
            users,
            space,
            vmas,
            mmap_base,
            start_brk,
            brk,
            start_code,
            end_code,
            start_data,
            end_data,
            start_stack,
            arg,
            env,
            auxv,
            vdso,
            exe,
            peak,
            hiwater_rss,
        })
    }
}
