//! What holds other things: options, boxes, shared pointers, sequences and maps.

use crate::plain::{put_text, take_text};
use crate::{Damaged, Freeze, In, Out};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

impl<T: Freeze> Freeze for Option<T> {
    fn put(&self, base: Option<&Self>, out: &mut Out) {
        match self {
            None => out.byte(0),
            Some(one) => {
                out.byte(1);
                one.put(base.and_then(Option::as_ref), out);
            }
        }
    }
    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        match from.byte()? {
            0 => Ok(None),
            1 => T::take(base.and_then(Option::as_ref), from).map(Some),
            _ => Err(Damaged("neither there nor not")),
        }
    }
}

impl<T: Freeze, E: Freeze> Freeze for Result<T, E> {
    fn put(&self, base: Option<&Self>, out: &mut Out) {
        match self {
            Ok(one) => {
                out.byte(0);
                one.put(base.and_then(|b| b.as_ref().ok()), out);
            }
            Err(one) => {
                out.byte(1);
                one.put(None, out);
            }
        }
    }
    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        match from.byte()? {
            0 => T::take(base.and_then(|b| b.as_ref().ok()), from).map(Ok),
            1 => E::take(None, from).map(Err),
            _ => Err(Damaged("neither well nor failed")),
        }
    }
}

impl<T: Freeze> Freeze for Box<T> {
    fn put(&self, base: Option<&Self>, out: &mut Out) {
        (**self).put(base.map(|b| &**b), out);
    }
    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        from.deeper(|from| T::take(base.map(|b| &**b), from).map(Box::new))
    }
}

impl<T: Freeze> Freeze for Vec<T> {
    fn put(&self, base: Option<&Self>, out: &mut Out) {
        out.number(self.len() as u64);
        T::put_all(self, base.map(|b| &b[..]), out);
    }
    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        let n = from.count()?;
        from.deeper(|from| T::take_all(n, base.map(|b| &b[..]), from))
    }
}

impl<T: Freeze> Freeze for Box<[T]> {
    fn put(&self, base: Option<&Self>, out: &mut Out) {
        out.number(self.len() as u64);
        T::put_all(self, base.map(|b| &b[..]), out);
    }
    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        let n = from.count()?;
        from.deeper(|from| T::take_all(n, base.map(|b| &b[..]), from))
            .map(Vec::into_boxed_slice)
    }
}

impl<T: Freeze> Freeze for VecDeque<T> {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        out.number(self.len() as u64);
        let (a, b) = self.as_slices();
        T::put_all(a, None, out);
        T::put_all(b, None, out);
    }
    fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        let n = from.count()?;
        from.deeper(|from| T::take_all(n, None, from)).map(VecDeque::from)
    }
}

impl<T: Freeze, const N: usize> Freeze for [T; N] {
    fn put(&self, base: Option<&Self>, out: &mut Out) {
        T::put_all(self, base.map(|b| &b[..]), out);
    }
    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        let all = T::take_all(N, base.map(|b| &b[..]), from)?;
        all.try_into().map_err(|_| Damaged("not so many"))
    }
}

/// Writes a map's pairs, each value beside the one that the base has under its key.
pub fn put_pairs<'a, K: Freeze, V: Freeze>(
    pairs: impl ExactSizeIterator<Item = (&'a K, &'a V)>,
    base: impl Fn(&K) -> Option<&'a V>,
    out: &mut Out,
) {
    out.number(pairs.len() as u64);
    for (k, v) in pairs {
        k.put(None, out);
        v.put(base(k), out);
    }
}

/// Takes a map's pairs back, as [`put_pairs`] wrote them.
///
/// # Errors
/// [`Damaged`]: they are not what was written.
pub fn take_pairs<'b, K: Freeze, V: Freeze, M: FromIterator<(K, V)>>(
    base: impl Fn(&K) -> Option<&'b V>,
    from: &mut In<'_>,
) -> Result<M, Damaged> {
    let n = from.count()?;
    from.deeper(|from| {
        let pair = |_| {
            let k = K::take(None, from)?;
            let v = V::take(base(&k), from)?;
            Ok((k, v))
        };
        (0..n).map(pair).collect()
    })
}

impl<K: Freeze + Ord, V: Freeze> Freeze for BTreeMap<K, V> {
    fn put(&self, base: Option<&Self>, out: &mut Out) {
        put_pairs(self.iter(), |k| base?.get(k), out);
    }
    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        take_pairs(|k| base?.get(k), from)
    }
}

impl<K: Freeze + Ord + Hash, V: Freeze> Freeze for HashMap<K, V> {
    // In order: the same map is always the same bytes.
    fn put(&self, base: Option<&Self>, out: &mut Out) {
        let mut all: Vec<(&K, &V)> = self.iter().collect();
        all.sort_by_key(|(k, _)| *k);
        put_pairs(all.into_iter(), |k| base?.get(k), out);
    }
    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        take_pairs(|k| base?.get(k), from)
    }
}

impl<T: Freeze + Ord> Freeze for BTreeSet<T> {
    fn put(&self, _: Option<&Self>, out: &mut Out) {
        out.number(self.len() as u64);
        for one in self {
            one.put(None, out);
        }
    }
    fn take(_: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        let n = from.count()?;
        from.deeper(|from| (0..n).map(|_| T::take(None, from)).collect())
    }
}

macro_rules! tuples {
    ($(($($t:ident $n:tt),+))*) => {$(
        impl<$($t: Freeze),+> Freeze for ($($t,)+) {
            fn put(&self, base: Option<&Self>, out: &mut Out) {
                $(self.$n.put(base.map(|b| &b.$n), out);)+
            }
            fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
                Ok(($($t::take(base.map(|b| &b.$n), from)?,)+))
            }
        }
    )*};
}
tuples! { (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) (A 0, B 1, C 2, D 3, E 4) }

impl<T: Freeze> Freeze for Arc<T> {
    fn put(&self, base: Option<&Self>, out: &mut Out) {
        let same = base.is_some_and(|b| Arc::ptr_eq(self, b));
        if out.shared(Arc::as_ptr(self) as usize, same) {
            (**self).put(base.map(|b| &**b), out);
        }
    }
    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        from.shared(base, |from| T::take(base.map(|b| &**b), from).map(Arc::new))
    }
}

// Texts and lists are what they say: who shares which with whom is nothing that could ever be told, and depends on where each was
// before. Only the base's own is not written again.
impl<T: Freeze + PartialEq> Freeze for Arc<[T]> {
    fn put(&self, base: Option<&Self>, out: &mut Out) {
        let same = base.is_some_and(|b| Arc::ptr_eq(self, b) || self == b);
        same.put(None, out);
        if !same {
            out.number(self.len() as u64);
            T::put_all(self, None, out);
        }
    }
    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        if bool::take(None, from)? {
            return base.cloned().ok_or(Damaged("nothing to begin with"));
        }
        let n = from.count()?;
        from.deeper(|from| T::take_all(n, None, from)).map(Arc::from)
    }
}

impl Freeze for Arc<str> {
    fn put(&self, base: Option<&Self>, out: &mut Out) {
        let same = base.is_some_and(|b| Arc::ptr_eq(self, b) || self == b);
        same.put(None, out);
        if !same {
            put_text(self, out);
        }
    }
    fn take(base: Option<&Self>, from: &mut In<'_>) -> Result<Self, Damaged> {
        if bool::take(None, from)? {
            return base.cloned().ok_or(Damaged("nothing to begin with"));
        }
        take_text(from).map(Arc::from)
    }
}
