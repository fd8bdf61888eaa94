//! Files of systemd's journal as journald 252 writes them (systemd's "Journal File Format"): compact, with keyed hashes.
//!
//! The writer keeps nothing in memory: it reads what it needs from the file and appends, so a file that a cover began goes on in a
//! world. [`Store`] is the file.

/// Bytes of a journal file.
pub trait Store {
    /// Fills `buf` from `at`; what is behind the end reads as zeros.
    fn read(&mut self, at: u64, buf: &mut [u8]);
    /// Writes at `at`, growing the file.
    fn write(&mut self, at: u64, bytes: &[u8]);
}

impl Store for Vec<u8> {
    fn read(&mut self, at: u64, buf: &mut [u8]) {
        buf.fill(0);
        if let Some(have) = usize::try_from(at).ok().and_then(|at| self.get(at..)) {
            let n = have.len().min(buf.len());
            buf[..n].copy_from_slice(&have[..n]);
        }
    }
    fn write(&mut self, at: u64, bytes: &[u8]) {
        let (at, end) = (at as usize, at as usize + bytes.len());
        if self.len() < end {
            self.resize(end, 0);
        }
        self[at..end].copy_from_slice(bytes);
    }
}

/// Whose journal a new file is.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    /// Random, the key of its hashes.
    pub file: [u8; 16],
    /// `/etc/machine-id`.
    pub machine: [u8; 16],
    /// Of the numbers of its entries.
    pub sequence: [u8; 16],
}

/// One entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Microseconds since the epoch.
    pub realtime: u64,
    /// Microseconds since boot.
    pub monotonic: u64,
    /// Of the boot.
    pub boot: [u8; 16],
    /// `FIELD=value`.
    pub fields: Vec<Vec<u8>>,
}

/// Size of journald's header in version 252.
const HEADER: u64 = 264;
/// `COMPRESSED_ZSTD`, `KEYED_HASH`, `COMPACT`.
const INCOMPATIBLE: u32 = 8 | 4 | 16;
/// journald allocates this much at a time.
pub const STEP: u64 = 8 << 20;
/// Slots of the table of data and of that of fields.
const DATA_SLOTS: u64 = 2047;
const FIELD_SLOTS: u64 = 333;
/// The largest file that is still appended to.
const MOST: u64 = 64 << 20;

/// Where the header has what.
mod at {
    pub const STATE: u64 = 16;
    pub const FILE: u64 = 24;
    pub const BOOT: u64 = 56;
    pub const ARENA: u64 = 96;
    pub const DATA_TABLE: u64 = 104;
    pub const FIELD_TABLE: u64 = 120;
    pub const TAIL_OBJECT: u64 = 136;
    pub const OBJECTS: u64 = 144;
    pub const ENTRIES: u64 = 152;
    pub const TAIL_SEQ: u64 = 160;
    pub const HEAD_SEQ: u64 = 168;
    pub const ARRAY: u64 = 176;
    pub const HEAD_REALTIME: u64 = 184;
    pub const TAIL_REALTIME: u64 = 192;
    pub const TAIL_MONOTONIC: u64 = 200;
    pub const DATA: u64 = 208;
    pub const FIELDS: u64 = 216;
    pub const ARRAYS: u64 = 232;
    pub const DATA_DEPTH: u64 = 240;
    pub const FIELD_DEPTH: u64 = 248;
    pub const TAIL_ARRAY: u64 = 256;
    pub const TAIL_ARRAY_LEN: u64 = 260;
}

/// SipHash-2-4 of `data`.
pub fn siphash(key: &[u8; 16], data: &[u8]) -> u64 {
    let word = |b: &[u8]| b.iter().rev().fold(0u64, |a, x| a << 8 | u64::from(*x));
    let (k0, k1) = (word(&key[..8]), word(&key[8..]));
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let round = |v: &mut [u64; 4]| {
        v[0] = v[0].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[0] = v[0].rotate_left(32);
        v[2] = v[2].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[2] = v[2].rotate_left(32);
    };
    let mut absorb = |m: u64| {
        v[3] ^= m;
        round(&mut v);
        round(&mut v);
        v[0] ^= m;
    };
    let mut chunks = data.chunks_exact(8);
    for c in chunks.by_ref() {
        absorb(word(c));
    }
    absorb(word(chunks.remainder()) | (data.len() as u64) << 56);
    v[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

struct Writer<'a> {
    store: &'a mut dyn Store,
    key: [u8; 16],
    /// Next free place.
    end: u64,
}

impl Writer<'_> {
    fn u64(&mut self, at: u64) -> u64 {
        let mut b = [0; 8];
        self.store.read(at, &mut b);
        u64::from_le_bytes(b)
    }
    fn u32(&mut self, at: u64) -> u32 {
        let mut b = [0; 4];
        self.store.read(at, &mut b);
        u32::from_le_bytes(b)
    }
    /// Writes, but never behind the largest size: a damaged file may name any place.
    fn put(&mut self, at: u64, bytes: &[u8]) {
        if at <= MOST {
            self.store.write(at, bytes);
        }
    }
    fn set(&mut self, at: u64, n: u64) {
        self.put(at, &n.to_le_bytes());
    }
    fn set32(&mut self, at: u64, n: u64) {
        self.put(at, &(n as u32).to_le_bytes());
    }
    fn add(&mut self, at: u64, n: u64) {
        let have = self.u64(at);
        self.set(at, have.wrapping_add(n));
    }

    /// Appends an object of this type: its header, then `body`.
    fn object(&mut self, kind: u8, body: &[u8]) -> u64 {
        let at = self.end;
        let size = 16 + body.len() as u64;
        let mut head = vec![kind, 0, 0, 0, 0, 0, 0, 0];
        head.extend(size.to_le_bytes());
        head.extend(body);
        // Objects begin at multiples of eight.
        head.resize(head.len().next_multiple_of(8), 0);
        self.put(at, &head);
        self.end = at + head.len() as u64;
        self.set(at::TAIL_OBJECT, at);
        self.add(at::OBJECTS, 1);
        let arena = self.u64(at::ARENA);
        if self.end > arena.wrapping_add(HEADER) {
            let size = self.end.next_multiple_of(STEP);
            self.set(at::ARENA, size - HEADER);
            self.put(size - 1, &[0]);
        }
        at
    }

    /// Finds a data or field object by its payload, or appends it: its place, and whether it is new.
    fn find(&mut self, data: bool, payload: &[u8], fresh: Vec<u8>) -> (u64, bool) {
        let hash = siphash(&self.key, payload);
        let (table, start) = if data {
            (at::DATA_TABLE, 72u64)
        } else {
            (at::FIELD_TABLE, 40)
        };
        let (items, size) = (self.u64(table), self.u64(table + 8));
        let slot = items.wrapping_add(hash % (size / 16).max(1) * 16);
        let mut o = self.u64(slot);
        let mut depth = 0u64;
        while o != 0 && depth < 10_000 {
            let len = self.u64(o.wrapping_add(8)).saturating_sub(start);
            if self.u64(o.wrapping_add(16)) == hash && len == payload.len() as u64 {
                let mut have = vec![0; payload.len()];
                self.store.read(o.wrapping_add(start), &mut have);
                if have == payload {
                    return (o, false);
                }
            }
            o = self.u64(o.wrapping_add(24));
            depth += 1;
        }
        let mut body = hash.to_le_bytes().to_vec();
        body.extend(fresh);
        body.extend(payload);
        let new = self.object(if data { 1 } else { 2 }, &body);
        let tail = self.u64(slot.wrapping_add(8));
        if tail == 0 {
            self.set(slot, new);
        } else {
            self.set(tail.wrapping_add(24), new);
        }
        self.set(slot.wrapping_add(8), new);
        self.add(if data { at::DATA } else { at::FIELDS }, 1);
        let deepest = if data { at::DATA_DEPTH } else { at::FIELD_DEPTH };
        if depth > self.u64(deepest) {
            self.set(deepest, depth);
        }
        (new, true)
    }

    fn data(&mut self, payload: &[u8]) -> u64 {
        // Next in hash and field chain, first entry, array, count, tail array and its length.
        let (o, new) = self.find(true, payload, vec![0; 48]);
        if new {
            let name = payload.split(|b| *b == b'=').next().unwrap_or_default();
            // Next in hash chain, head of the chain of data.
            let (field, _) = self.find(false, name, vec![0; 16]);
            let head = self.u64(field.wrapping_add(32));
            self.set(o + 32, head);
            self.set(field.wrapping_add(32), o);
        }
        o
    }

    /// Puts an entry's place into a chain of arrays. `first` is where the chain's head is kept, `tail` the last array and how many
    /// of its places are taken.
    fn link(&mut self, first: u64, tail: (u64, u64), entry: u64) {
        let (array, used) = (u64::from(self.u32(tail.0)), u64::from(self.u32(tail.1)));
        let room = match array {
            0 => 0,
            a => self.u64(a + 8).saturating_sub(24) / 4,
        };
        if array != 0 && used < room {
            self.set32(array + 24 + used * 4, entry);
            self.set32(tail.1, used + 1);
            return;
        }
        let room = (room.min(1 << 16) * 2).max(4);
        let mut body = vec![0; 8 + room as usize * 4];
        body[8..12].copy_from_slice(&(entry as u32).to_le_bytes());
        let new = self.object(6, &body);
        self.add(at::ARRAYS, 1);
        if array == 0 {
            self.set(first, new);
        } else {
            self.set(array + 16, new);
        }
        self.set32(tail.0, new);
        self.set32(tail.1, 1);
    }
}

/// A new file without entries.
pub fn create(store: &mut dyn Store, ids: &Ids) {
    let mut head = b"LPKSHHRH".to_vec();
    head.extend(0u32.to_le_bytes());
    head.extend(INCOMPATIBLE.to_le_bytes());
    head.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    for id in [ids.file, ids.machine, [0; 16], ids.sequence] {
        head.extend(id);
    }
    head.extend(HEADER.to_le_bytes());
    head.extend((STEP - HEADER).to_le_bytes());
    head.resize(HEADER as usize, 0);
    store.write(0, &head);
    store.write(STEP - 1, &[0]);
    let mut w = Writer {
        store,
        key: ids.file,
        end: HEADER,
    };
    for (kind, slots, place) in [
        (5u8, FIELD_SLOTS, at::FIELD_TABLE),
        (4, DATA_SLOTS, at::DATA_TABLE),
    ] {
        let o = w.object(kind, &vec![0; slots as usize * 16]);
        w.set(place, o + 16);
        w.set(place + 8, slots * 16);
    }
}

/// Appends an entry. False if the file is none of ours, is damaged, or is full.
pub fn append(store: &mut dyn Store, e: &Entry) -> bool {
    let mut head = [0u8; 16];
    store.read(0, &mut head);
    if &head[..8] != b"LPKSHHRH" || head[12..16] != INCOMPATIBLE.to_le_bytes() {
        return false;
    }
    let mut key = [0; 16];
    store.read(at::FILE, &mut key);
    let mut w = Writer { store, key, end: 0 };
    let tail = w.u64(at::TAIL_OBJECT);
    let size = w.u64(tail + 8);
    if !(HEADER..MOST).contains(&tail) || !(16..MOST).contains(&size) || tail + size > MOST {
        return false;
    }
    w.end = (tail + size).next_multiple_of(8);
    let mut items: Vec<u64> = e.fields.iter().map(|f| w.data(f)).collect();
    items.sort_unstable();
    items.dedup();
    let sequence = w.u64(at::TAIL_SEQ).wrapping_add(1);
    // The clock of a file never goes back.
    let realtime = e.realtime.max(w.u64(at::TAIL_REALTIME));
    let xor = e.fields.iter().fold(0, |a, f| a ^ siphash(&key, f));
    let mut body = Vec::new();
    for n in [sequence, realtime, e.monotonic] {
        body.extend(n.to_le_bytes());
    }
    body.extend(e.boot);
    body.extend(xor.to_le_bytes());
    for i in &items {
        body.extend((*i as u32).to_le_bytes());
    }
    let entry = w.object(3, &body);
    w.link(at::ARRAY, (at::TAIL_ARRAY, at::TAIL_ARRAY_LEN), entry);
    for o in items {
        let part = |n: u64| o.wrapping_add(n);
        let n = w.u64(part(56));
        if n == 0 {
            w.set(part(40), entry);
        } else {
            w.link(part(48), (part(64), part(68)), entry);
        }
        w.set(part(56), n.wrapping_add(1));
    }
    if w.u64(at::ENTRIES) == 0 {
        w.set(at::HEAD_SEQ, sequence);
        w.set(at::HEAD_REALTIME, realtime);
    }
    w.add(at::ENTRIES, 1);
    w.set(at::TAIL_SEQ, sequence);
    w.set(at::TAIL_REALTIME, realtime);
    w.set(at::TAIL_MONOTONIC, e.monotonic);
    w.put(at::BOOT, &e.boot);
    w.put(at::STATE, &[1]);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that SipHash's authors publish: key 00..0f, messages of growing length.
    #[test]
    fn siphash_gives_the_published_values() {
        let key: [u8; 16] = std::array::from_fn(|i| i as u8);
        let text: Vec<u8> = (0..15).collect();
        assert_eq!(siphash(&key, &[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(siphash(&key, &text), 0xa129_ca61_49be_45e5);
    }

    fn sample(n: u64) -> Vec<u8> {
        let mut file = Vec::new();
        let ids = Ids {
            file: [7; 16],
            machine: [1; 16],
            sequence: [2; 16],
        };
        create(&mut file, &ids);
        for i in 0..n {
            let e = Entry {
                realtime: 1_790_000_000_000_000 + i * 1_000_000,
                monotonic: 5_000_000 + i * 1_000_000,
                boot: [3; 16],
                fields: vec![
                    format!("MESSAGE=line {i}").into_bytes(),
                    b"PRIORITY=6".to_vec(),
                    format!("SYSLOG_IDENTIFIER=prog{}", i % 3).into_bytes(),
                    format!("_BOOT_ID={}", "03".repeat(16)).into_bytes(),
                    format!("_MACHINE_ID={}", "01".repeat(16)).into_bytes(),
                ],
            };
            assert!(append(&mut file, &e));
        }
        file
    }

    /// systemd's own reader takes the file: all entries, by field, and the structure is sound.
    #[test]
    fn journalctl_reads_and_verifies_it() {
        let Ok(found) = std::process::Command::new("journalctl").arg("--version").output() else {
            eprintln!("journalctl is not here (package systemd): its reader was not asked");
            return;
        };
        assert!(found.status.success());
        let path = std::env::temp_dir().join(format!("turncoat-journal-{}.journal", std::process::id()));
        std::fs::write(&path, sample(700)).unwrap();
        let ask = |args: &[&str]| {
            let o = std::process::Command::new("journalctl")
                .arg("--file")
                .arg(&path)
                .args(args)
                .output()
                .unwrap();
            format!(
                "{}{}",
                String::from_utf8_lossy(&o.stdout),
                String::from_utf8_lossy(&o.stderr)
            )
        };
        let all = ask(&["-q", "--no-pager", "-o", "cat"]);
        let some = ask(&["-q", "--no-pager", "-o", "cat", "-t", "prog1"]);
        let verified = ask(&["--verify"]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(all.lines().count(), 700, "{}", &all[..all.len().min(400)]);
        assert_eq!(all.lines().last(), Some("line 699"));
        assert_eq!(some.lines().count(), 233);
        assert!(verified.contains("PASS"), "{verified}");
    }

    /// Whatever a guest makes of the file, appending ends and does not panic.
    #[test]
    fn damage_is_survived() {
        let mut s = crate::Seed([5; 32]).stream("damage");
        let whole = sample(40);
        for _ in 0..300 {
            let mut file = whole.clone();
            file.truncate(200_000);
            for _ in 0..s.range(1, 40) {
                let span = if s.chance(50) { 264 } else { 60_000 };
                let at = s.below(span) as usize;
                file[at] = s.byte();
            }
            let e = Entry {
                realtime: 1,
                monotonic: 1,
                boot: [3; 16],
                fields: vec![b"MESSAGE=x".to_vec(), b"PRIORITY=6".to_vec()],
            };
            append(&mut file, &e);
            assert!(file.len() as u64 <= MOST + (1 << 20));
        }
    }
}
