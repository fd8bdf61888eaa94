//! The binary indexes of modprobe (`modules.*.bin`): tries over strings, as kmod's `libkmod-index.h` describes them.

use std::collections::BTreeMap;

const MAGIC: u32 = 0xb007_f457;
const VERSION: u32 = 0x0002_0001;
const PREFIX: u32 = 0x8000_0000;
const VALUES: u32 = 0x4000_0000;
const CHILDREN: u32 = 0x2000_0000;

/// A trie on its way to a file.
#[derive(Default)]
pub(super) struct Index {
    root: Node,
}

#[derive(Default)]
struct Node {
    prefix: Vec<u8>,
    children: BTreeMap<u8, Node>,
    values: Vec<(u32, Vec<u8>)>,
}

impl Index {
    /// Adds a value under a key. Of several the lower priority comes first.
    pub fn insert(&mut self, key: &[u8], value: &[u8], priority: u32) {
        self.root.insert(key, value, priority);
    }

    /// The file.
    pub fn file(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for word in [MAGIC, VERSION, 0] {
            out.extend(word.to_be_bytes());
        }
        let root = self.root.write(&mut out);
        if let Some(place) = out.get_mut(8..12) {
            place.copy_from_slice(&root.to_be_bytes());
        }
        out
    }
}

impl Node {
    fn insert(&mut self, key: &[u8], value: &[u8], priority: u32) {
        let common = self.prefix.iter().zip(key).take_while(|(a, b)| a == b).count();
        if let Some((&first, tail)) = self.prefix.get(common..).and_then(<[u8]>::split_first) {
            // The key leaves the prefix here: what hung below it moves one down.
            let lower = Node {
                prefix: tail.to_vec(),
                children: std::mem::take(&mut self.children),
                values: std::mem::take(&mut self.values),
            };
            self.prefix.truncate(common);
            self.children.insert(first, lower);
        }
        match key.get(common..).and_then(<[u8]>::split_first) {
            None => {
                let at = self
                    .values
                    .iter()
                    .position(|v| v.0 >= priority)
                    .unwrap_or(self.values.len());
                self.values.insert(at, (priority, value.to_vec()));
            }
            Some((first, tail)) => match self.children.get_mut(first) {
                Some(child) => child.insert(tail, value, priority),
                None => {
                    let child = Node {
                        prefix: tail.to_vec(),
                        values: vec![(priority, value.to_vec())],
                        ..Node::default()
                    };
                    self.children.insert(*first, child);
                }
            },
        }
    }

    /// Writes what is below, then the node itself; says where it lies and what it has.
    fn write(&self, out: &mut Vec<u8>) -> u32 {
        let range = self
            .children
            .first_key_value()
            .zip(self.children.last_key_value());
        let range = range.map(|((a, _), (b, _))| (*a, *b));
        let mut offsets = Vec::new();
        if let Some((first, last)) = range {
            for n in first..=last {
                offsets.push(self.children.get(&n).map_or(0, |c| c.write(out)));
            }
        }
        let mut at = out.len() as u32;
        if !self.prefix.is_empty() {
            out.extend(&self.prefix);
            out.push(0);
            at |= PREFIX;
        }
        if let Some((first, last)) = range {
            out.extend([first, last]);
            offsets.iter().for_each(|o| out.extend(o.to_be_bytes()));
            at |= CHILDREN;
        }
        if !self.values.is_empty() {
            out.extend((self.values.len() as u32).to_be_bytes());
            for (priority, value) in &self.values {
                out.extend(priority.to_be_bytes());
                out.extend(value);
                out.push(0);
            }
            at |= VALUES;
        }
        at
    }
}
