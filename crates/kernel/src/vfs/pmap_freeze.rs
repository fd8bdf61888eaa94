//! A [`PMap`] as bytes: node by node, so that every part that is still the base's is one byte.

use super::pmap::{BITS, Node, PMap, slot};
use std::sync::Arc;
use turncoat_freeze::{Damaged, Freeze, In, Out};

/// A node of the base and the shift that it has there: the map may have grown above it since.
type Below<'a, V> = Option<(&'a Arc<Node<V>>, u32)>;

/// The base of kid `i` of a node at `shift`.
fn below<V>(base: Below<'_, V>, shift: u32, i: u32) -> Below<'_, V> {
    let (node, at) = base?;
    if at < shift {
        return (i == 0).then_some((node, at));
    }
    match &**node {
        Node::Branch { map, kids } if at == shift => match slot(*map, i) {
            (true, n) => kids.get(n).map(|k| (k, shift.saturating_sub(BITS))),
            (false, _) => None,
        },
        _ => None,
    }
}

/// The base's own node, if it stands at this shift.
fn own<V>(base: Below<'_, V>, shift: u32) -> Option<&Arc<Node<V>>> {
    base.filter(|b| b.1 == shift).map(|b| b.0)
}

fn value<V>(base: Option<&Arc<Node<V>>>, i: u32) -> Option<&V> {
    match base.map(|b| &**b) {
        Some(Node::Leaf { map, vals }) => match slot(*map, i) {
            (true, n) => vals.get(n),
            (false, _) => None,
        },
        _ => None,
    }
}

fn bits(map: u32) -> impl Iterator<Item = u32> {
    (0..32).filter(move |i| map >> i & 1 == 1)
}

fn put<V: Clone + Freeze>(node: &Arc<Node<V>>, base: Below<'_, V>, shift: u32, out: &mut Out) {
    let own = own(base, shift);
    if !out.shared(
        Arc::as_ptr(node) as usize,
        own.is_some_and(|b| Arc::ptr_eq(b, node)),
    ) {
        return;
    }
    match &**node {
        Node::Branch { map, kids } => {
            out.number(u64::from(*map));
            for (i, kid) in bits(*map).zip(kids) {
                put(kid, below(base, shift, i), shift.saturating_sub(BITS), out);
            }
        }
        Node::Leaf { map, vals } => {
            out.number(u64::from(*map));
            for (i, v) in bits(*map).zip(vals) {
                v.put(value(own, i), out);
            }
        }
    }
}

fn take<V: Clone + Freeze>(
    base: Below<'_, V>,
    shift: u32,
    from: &mut In<'_>,
) -> Result<Arc<Node<V>>, Damaged> {
    let own = own(base, shift);
    from.shared(own, |from| {
        let map = from.variant()?;
        let node = if shift == 0 {
            let vals = bits(map).map(|i| V::take(value(own, i), from));
            Node::Leaf {
                map,
                vals: vals.collect::<Result<_, _>>()?,
            }
        } else {
            let kids = bits(map).map(|i| take(below(base, shift, i), shift - BITS, from));
            Node::Branch {
                map,
                kids: kids.collect::<Result<_, _>>()?,
            }
        };
        Ok(Arc::new(node))
    })
}

impl<V: Clone + Freeze> Freeze for PMap<V> {
    fn put(&self, base: Option<&Self>, out: &mut Out) {
        let PMap { root, shift, len } = self;
        shift.put(None, out);
        len.put(None, out);
        root.is_some().put(None, out);
        if let Some(root) = root {
            put(
                root,
                base.and_then(|b| b.root.as_ref().map(|r| (r, b.shift))),
                *shift,
                out,
            );
        }
    }

    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        let shift = u32::take(None, from)?;
        let len = u64::take(None, from)?;
        if shift > 60 || shift % BITS != 0 {
            return Err(Damaged("no shift of a map"));
        }
        let base = base.and_then(|b| b.root.as_ref().map(|r| (r, b.shift)));
        let root = match bool::take(None, from)? {
            true => Some(take(base, shift, from)?),
            false => None,
        };
        Ok(PMap { root, shift, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_that_grew_comes_back_beside_its_base() {
        let mut base: PMap<Arc<u64>> = PMap::new();
        for k in 0..2000 {
            base.insert(k, Arc::new(k));
        }
        let mut map = base.clone();
        for k in [3, 40, 900, 5 << 20, 7 << 40] {
            map.insert(k, Arc::new(k + 1));
        }
        map.remove(1000);
        let put = |map: &PMap<Arc<u64>>, base: &PMap<Arc<u64>>| {
            let mut out = Out::new(1 << 20);
            map.put(Some(base), &mut out);
            out.done().expect("it has room")
        };
        let bytes = put(&map, &base);
        assert!(bytes.len() < 600, "{}", bytes.len());
        let take = |bytes: &[u8]| PMap::<Arc<u64>>::take(Some(&base), &mut In::new(bytes, 0));
        let back = take(&bytes).expect("whole");
        assert!(map.iter().eq(back.iter()));
        assert_eq!(back.len(), map.len());
        assert!(Arc::ptr_eq(
            back.get(7).expect("there"),
            base.get(7).expect("there")
        ));
        assert_eq!(put(&back, &base), bytes);
        for n in 0..bytes.len() {
            assert!(take(&bytes[..n]).is_err());
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut wrong = bytes.clone();
                wrong[at] ^= 1 << bit;
                if let Ok(map) = take(&wrong) {
                    map.iter().for_each(drop);
                    assert_eq!(map.get(u64::MAX), None);
                }
            }
        }
    }
}
