//! What depmod(8) writes into `/lib/modules/VERSION`, made from the modules themselves: byte for byte as kmod 30 writes it.

use std::collections::{HashMap, HashSet};

use super::elf::{Module, pair};
use super::index::Index;

/// What is known of one module.
struct Known {
    path: String,
    name: Vec<u8>,
    /// `alias` and `softdep` values in their order.
    aliases: Vec<Vec<u8>>,
    softdeps: Vec<Vec<u8>>,
    exports: Vec<Vec<u8>>,
    needs: Vec<Vec<u8>>,
    /// Indices of the modules that it needs.
    deps: Vec<usize>,
}

/// Reads modules one by one, in any order.
#[derive(Default)]
pub(super) struct Depmod {
    modules: Vec<Known>,
}

/// A module's name: its file's, without the ending, with underscores.
pub(super) fn name_of(path: &str) -> String {
    let base = path.rsplit('/').next().unwrap_or(path);
    base.split('.').next().unwrap_or(base).replace('-', "_")
}

/// An alias with underscores; what stands in brackets stays (`alias_normalize` in libkmod).
fn normal(alias: &[u8]) -> Vec<u8> {
    let mut inside = false;
    let one = |&b: &u8| {
        match b {
            b'[' => inside = true,
            b']' => inside = false,
            b'-' if !inside => return b'_',
            _ => {}
        }
        b
    };
    alias.iter().map(one).collect()
}

/// SuperFastHash, by which kmod's tables are ordered.
fn hash(key: &[u8]) -> u32 {
    let mut h = key.len() as u32;
    let mut chunks = key.chunks_exact(4);
    for c in &mut chunks {
        let two = |i: usize| u32::from(u16::from_le_bytes([c[i], c[i + 1]]));
        h = h.wrapping_add(two(0));
        let t = (two(2) << 11) ^ h;
        h = (h << 16) ^ t;
        h = h.wrapping_add(h >> 11);
    }
    match *chunks.remainder() {
        [a, b, c] => {
            h = h.wrapping_add(u32::from(u16::from_le_bytes([a, b])));
            h ^= h << 16;
            h ^= u32::from(c) << 18;
            h = h.wrapping_add(h >> 11);
        }
        [a, b] => {
            h = h.wrapping_add(u32::from(u16::from_le_bytes([a, b])));
            h ^= h << 11;
            h = h.wrapping_add(h >> 17);
        }
        [a] => {
            h = h.wrapping_add(u32::from(a));
            h ^= h << 10;
            h = h.wrapping_add(h >> 1);
        }
        _ => {}
    }
    h ^= h << 3;
    h = h.wrapping_add(h >> 5);
    h ^= h << 4;
    h = h.wrapping_add(h >> 17);
    h ^= h << 25;
    h.wrapping_add(h >> 6)
}

/// Buckets of kmod's table of symbols.
const BUCKETS: u32 = 2048;

/// A device number in an alias: `char-major-10-229`.
fn device(alias: &[u8]) -> Option<(char, u32, u32)> {
    let text = std::str::from_utf8(alias).ok()?;
    let (kind, rest) = match text.strip_prefix("char-major-") {
        Some(rest) => ('c', rest),
        None => ('b', text.strip_prefix("block-major-")?),
    };
    let (major, minor) = rest.split_once('-')?;
    Some((kind, major.parse().ok()?, minor.parse().ok()?))
}

impl Depmod {
    /// Takes a module; `path` is relative to the directory of the version. False if it is not one.
    pub fn add(&mut self, path: &str, file: &[u8]) -> bool {
        let Some(module) = Module::new(file) else {
            return false;
        };
        let values = |key: &[u8]| -> Vec<Vec<u8>> {
            module
                .info()
                .filter(|(k, _)| *k == key)
                .map(|(_, v)| v.to_vec())
                .collect()
        };
        self.modules.push(Known {
            path: path.to_owned(),
            name: name_of(path).into_bytes(),
            aliases: values(b"alias"),
            softdeps: values(b"softdep"),
            exports: module.exports().map(<[u8]>::to_vec).collect(),
            needs: module.needs().map(<[u8]>::to_vec).collect(),
            deps: Vec::new(),
        });
        true
    }

    /// Puts the modules in the order of `modules.order` and finds out who needs whom.
    pub fn sort(&mut self, order: &str) {
        let place: HashMap<&str, usize> = order.lines().enumerate().map(|(i, l)| (l, i)).collect();
        self.modules.sort_by_key(|m| {
            (
                place.get(m.path.as_str()).copied().unwrap_or(usize::MAX),
                m.path.clone(),
            )
        });
        let mut owner: HashMap<&[u8], usize> = HashMap::new();
        for (i, m) in self.modules.iter().enumerate() {
            owner.extend(m.exports.iter().map(|e| (e.as_slice(), i)));
        }
        let deps: Vec<Vec<usize>> = self
            .modules
            .iter()
            .map(|m| {
                let mut seen = HashSet::new();
                let owners = m.needs.iter().filter_map(|n| owner.get(n.as_slice()).copied());
                owners.filter(|o| seen.insert(*o)).collect()
            })
            .collect();
        for (m, d) in self.modules.iter_mut().zip(deps) {
            m.deps = d;
        }
    }

    /// Rank of each module such that who needs another stands before it (`depmod_calculate_dependencies` in kmod).
    fn ranks(&self) -> Vec<usize> {
        let mut users = vec![0usize; self.modules.len()];
        for d in self.modules.iter().flat_map(|m| &m.deps) {
            users[*d] += 1;
        }
        let mut roots: Vec<usize> = (0..users.len()).filter(|i| users[*i] == 0).collect();
        let mut rank = vec![usize::MAX; users.len()];
        let mut next = 0;
        while let Some(i) = roots.pop() {
            rank[i] = next;
            next += 1;
            for &d in &self.modules[i].deps {
                users[d] -= 1;
                if users[d] == 0 {
                    roots.push(d);
                }
            }
        }
        rank
    }

    fn all_deps(&self, of: usize, rank: &[usize]) -> Vec<usize> {
        let mut seen = HashSet::new();
        let mut todo = self.modules[of].deps.clone();
        while let Some(i) = todo.pop() {
            if seen.insert(i) {
                todo.extend(&self.modules[i].deps);
            }
        }
        let mut all: Vec<usize> = seen.into_iter().collect();
        all.sort_by_key(|i| rank[*i]);
        all
    }

    /// The paths that the module called `name` needs, itself last; empty if there is none.
    pub fn closure(&self, name: &str) -> Vec<String> {
        let rank = self.ranks();
        let Some(at) = self.modules.iter().position(|m| m.name == name.as_bytes()) else {
            return Vec::new();
        };
        let all = self.all_deps(at, &rank).into_iter().rev().chain([at]);
        all.map(|i| self.modules[i].path.clone()).collect()
    }

    /// The files, by name. `builtin` and `modinfo` are `modules.builtin` and `modules.builtin.modinfo`.
    pub fn files(&self, builtin: &str, modinfo: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let rank = self.ranks();
        let (mut dep, mut dep_bin) = (Vec::new(), Index::default());
        let mut alias = b"# Aliases extracted from modules themselves.\n".to_vec();
        let mut alias_bin = Index::default();
        let mut soft = b"# Soft dependencies extracted from modules themselves.\n".to_vec();
        let mut devices: Vec<u8> = Vec::new();
        for (i, m) in self.modules.iter().enumerate() {
            let mut line = format!("{}:", m.path);
            for d in self.all_deps(i, &rank) {
                line += " ";
                line += &self.modules[d].path;
            }
            dep_bin.insert(&m.name, line.as_bytes(), i as u32);
            dep.extend(line.bytes().chain(*b"\n"));
            for a in &m.aliases {
                alias.extend([b"alias ", a.as_slice(), b" ", &m.name, b"\n"].concat());
                alias_bin.insert(&normal(a), &m.name, i as u32);
            }
            for s in &m.softdeps {
                soft.extend([b"softdep ", m.name.as_slice(), b" ", s, b"\n"].concat());
            }
            let node = m.aliases.iter().find_map(|a| a.strip_prefix(b"devname:"));
            if let Some(node) = node
                && let Some((kind, major, minor)) = m.aliases.iter().find_map(|a| device(a))
            {
                let number = format!(" {kind}{major}:{minor}\n");
                devices.extend([m.name.as_slice(), b" ", node, number.as_bytes()].concat());
            }
        }
        if !devices.is_empty() {
            let head = b"# Device nodes to trigger on-demand module loading.\n";
            devices.splice(..0, *head);
        }
        let (symbols, symbols_bin) = self.symbols();
        let mut built = Index::default();
        for line in builtin.lines() {
            built.insert(name_of(line).as_bytes(), b"", 0);
        }
        let mut built_alias = Index::default();
        for (key, value) in modinfo.split(|&b| b == 0).filter_map(pair) {
            if let Some(module) = key.strip_suffix(b".alias") {
                built_alias.insert(&normal(value), module, 0);
            }
        }
        vec![
            ("modules.alias", alias),
            ("modules.alias.bin", alias_bin.file()),
            ("modules.builtin.alias.bin", built_alias.file()),
            ("modules.builtin.bin", built.file()),
            ("modules.dep", dep),
            ("modules.dep.bin", dep_bin.file()),
            ("modules.devname", devices),
            ("modules.softdep", soft),
            ("modules.symbols", symbols),
            ("modules.symbols.bin", symbols_bin.file()),
        ]
    }

    /// `modules.symbols` in the order of kmod's table, and its index.
    fn symbols(&self) -> (Vec<u8>, Index) {
        let mut owner: HashMap<&[u8], usize> = HashMap::new();
        for (i, m) in self.modules.iter().enumerate() {
            owner.extend(m.exports.iter().map(|e| (e.as_slice(), i)));
        }
        let mut all: Vec<(u32, &[u8], usize)> = owner
            .iter()
            .map(|(name, i)| (hash(name) & (BUCKETS - 1), *name, *i))
            .collect();
        all.sort_unstable();
        let mut text = b"# Aliases for symbols, used by symbol_request().\n".to_vec();
        let mut index = Index::default();
        for (_, name, i) in all {
            let (key, module) = ([b"symbol:", name].concat(), &self.modules[i].name);
            text.extend([b"alias ", key.as_slice(), b" ", module, b"\n"].concat());
            index.insert(&key, module, i as u32);
        }
        (text, index)
    }
}
