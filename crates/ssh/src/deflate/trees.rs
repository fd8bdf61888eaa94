//! How symbols become bits: the choice between plain bytes, fixed and own codes, and the codes, as zlib makes them.

/// A literal (`distance` 0, the byte) or a match (its distance; its length less 3).
#[derive(Clone, Copy)]
pub(super) struct Symbol {
    pub distance: u16,
    pub value: u8,
}

/// Bits on their way to be bytes, the first the lowest.
pub(super) struct Bits {
    bytes: Vec<u8>,
    held: u32,
    count: u32,
}

impl Bits {
    pub fn new(head: &[u8]) -> Bits {
        Bits {
            bytes: head.to_vec(),
            held: 0,
            count: 0,
        }
    }

    /// Whole bytes that wait to be taken.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the whole bytes.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    fn put(&mut self, value: u32, bits: u32) {
        self.held |= value << self.count;
        self.count += bits;
        while self.count >= 8 {
            self.bytes.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    fn code(&mut self, code: &Code) {
        self.put(u32::from(code.bits), u32::from(code.length));
    }

    /// An empty block of fixed codes: all that was said before can be read.
    pub fn align(&mut self) {
        self.put(FIXED << 1, 3);
        self.put(0, 7);
    }
}

/// Kinds of blocks.
const PLAIN: u32 = 0;
const FIXED: u32 = 1;
const OWN: u32 = 2;

/// The code that ends a block, and the first of the codes of lengths.
const END: usize = 256;
const LENGTHS: usize = END + 1;
/// Codes of literals and lengths, of distances, and of code lengths.
const LITERALS: usize = LENGTHS + 29;
const DISTANCES: usize = 30;
const MEASURES: usize = 19;
/// Codes of the alphabet of code lengths: the length before again (3 to 6 times), and zeros (3 to 10, 11 to 138).
const AGAIN: usize = 16;
const ZEROS: usize = 17;
const MORE_ZEROS: usize = 18;

/// Bits behind the codes of lengths, of distances, and of code lengths.
const LENGTH_EXTRA: [u8; 29] = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
];
const DISTANCE_EXTRA: [u8; DISTANCES] = [
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
];
const MEASURE_EXTRA: [u8; MEASURES] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 7];
/// In which order the lengths of the codes of code lengths are sent (RFC 1951).
const ORDER: [usize; MEASURES] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The code of a length less 3, and the first length that it stands for, less 3.
fn length_code(length: u8) -> (usize, u32) {
    if length == 255 {
        return (28, 255);
    }
    ladder(&LENGTH_EXTRA[..28], u32::from(length))
}

/// The code of a distance less 1, and the first one that it stands for.
fn distance_code(distance: u32) -> (usize, u32) {
    ladder(&DISTANCE_EXTRA, distance)
}

/// The rung of `value` where each is `1 << extra` wide, and where it begins.
fn ladder(extra: &[u8], value: u32) -> (usize, u32) {
    let mut first = 0;
    for (code, bits) in extra.iter().enumerate() {
        let next = first + (1 << bits);
        if value < next {
            return (code, first);
        }
        first = next;
    }
    (extra.len() - 1, first)
}

#[derive(Clone, Copy, Default)]
struct Code {
    bits: u16,
    length: u8,
}

/// The codes of an alphabet, for how often its symbols occur.
struct Tree {
    codes: Vec<Code>,
    /// The last symbol that has a code.
    last: usize,
    /// Bits that all symbols take with these codes, with those behind them.
    own: u64,
    /// The same with the fixed codes.
    fixed: u64,
}

/// What one alphabet is.
struct Alphabet<'a> {
    extra: &'a [u8],
    /// The first symbol with bits behind it.
    base: usize,
    /// Longest code.
    most: usize,
    fixed: Option<&'a [Code]>,
}

impl Alphabet<'_> {
    fn extra(&self, symbol: usize) -> u64 {
        let n = symbol.checked_sub(self.base).and_then(|n| self.extra.get(n));
        u64::from(n.copied().unwrap_or(0))
    }

    fn fixed(&self, symbol: usize) -> u64 {
        u64::from(self.fixed.map_or(0, |codes| codes[symbol].length))
    }

    /// Huffman's codes with a heap as zlib has it: which of two equal symbols is merged first decides about the codes' lengths.
    fn tree(&self, counts: &[u32]) -> Tree {
        let symbols = counts.len();
        let mut heap = Heap {
            nodes: vec![0],
            weight: counts.to_vec(),
            depth: vec![0; symbols],
        };
        let (mut own, mut fixed) = (0u64, 0u64);
        let mut last = None;
        for (symbol, count) in counts.iter().enumerate() {
            if *count > 0 {
                heap.nodes.push(symbol);
                last = Some(symbol);
            }
        }
        // At least two codes, also for none or one symbol; what is added for it costs nothing.
        while heap.nodes.len() < 3 {
            let symbol = match last {
                Some(n) if n >= 2 => 0,
                before => *last.insert(before.map_or(0, |n| n + 1)),
            };
            heap.nodes.push(symbol);
            heap.weight[symbol] = 1;
            own = own.wrapping_sub(1);
            fixed = fixed.wrapping_sub(self.fixed(symbol));
        }
        let last = last.unwrap_or(0);
        for n in (1..heap.nodes.len().div_ceil(2)).rev() {
            heap.sink(n);
        }
        let mut above = vec![0; symbols];
        // Nodes in the order in which they were merged: the root comes last.
        let mut merged = Vec::new();
        loop {
            let one = heap.pop();
            let other = heap.nodes[1];
            merged.extend([one, other]);
            let node = heap.weight.len();
            heap.weight.push(heap.weight[one] + heap.weight[other]);
            heap.depth.push(heap.depth[one].max(heap.depth[other]) + 1);
            above.push(0);
            (above[one], above[other]) = (node, node);
            heap.nodes[1] = node;
            heap.sink(1);
            if heap.nodes.len() < 3 {
                break;
            }
        }
        let root = heap.nodes[1];
        let mut length = vec![0usize; heap.weight.len()];
        let mut of_length = [0usize; 16];
        let mut over = 0i32;
        for &node in merged.iter().rev() {
            debug_assert!(node != root);
            let mut bits = length[above[node]] + 1;
            if bits > self.most {
                bits = self.most;
                over += 1;
            }
            length[node] = bits;
            if node >= symbols {
                continue;
            }
            of_length[bits] += 1;
            let weight = u64::from(heap.weight[node]);
            own = own.wrapping_add(weight * (bits as u64 + self.extra(node)));
            fixed = fixed.wrapping_add(weight * (self.fixed(node) + self.extra(node)));
        }
        if over > 0 {
            while over > 0 {
                let mut bits = self.most - 1;
                while of_length[bits] == 0 {
                    bits -= 1;
                }
                of_length[bits] -= 1;
                of_length[bits + 1] += 2;
                of_length[self.most] -= 1;
                over -= 2;
            }
            // The rarest symbols get the longest codes.
            let mut leaves = merged.iter().filter(|node| **node < symbols);
            for bits in (1..=self.most).rev() {
                for &leaf in leaves.by_ref().take(of_length[bits]) {
                    let more = bits as u64 * u64::from(heap.weight[leaf]);
                    let less = length[leaf] as u64 * u64::from(heap.weight[leaf]);
                    own = own.wrapping_add(more).wrapping_sub(less);
                    length[leaf] = bits;
                }
            }
        }
        length.truncate(symbols);
        Tree {
            codes: canonical(&length),
            last,
            own,
            fixed,
        }
    }
}

/// The nodes that are still to be merged; the lightest is `nodes[1]`.
struct Heap {
    nodes: Vec<usize>,
    weight: Vec<u32>,
    depth: Vec<u8>,
}

impl Heap {
    fn lighter(&self, a: usize, b: usize) -> bool {
        (self.weight[a], self.depth[a]) <= (self.weight[b], self.depth[b])
    }

    fn sink(&mut self, mut at: usize) {
        let node = self.nodes[at];
        let end = self.nodes.len() - 1;
        while 2 * at <= end {
            let mut child = 2 * at;
            if child < end && self.lighter(self.nodes[child + 1], self.nodes[child]) {
                child += 1;
            }
            if self.lighter(node, self.nodes[child]) {
                break;
            }
            self.nodes[at] = self.nodes[child];
            at = child;
        }
        self.nodes[at] = node;
    }

    /// The lightest; the last takes its place and sinks.
    fn pop(&mut self) -> usize {
        let lightest = self.nodes[1];
        if let Some(last) = self.nodes.pop()
            && self.nodes.len() > 1
        {
            self.nodes[1] = last;
            self.sink(1);
        }
        lightest
    }
}

/// The codes of these lengths (RFC 1951), each with its bits in the order in which they are sent.
fn canonical(lengths: &[usize]) -> Vec<Code> {
    let mut of_length = [0u16; 16];
    for l in lengths.iter().filter(|l| **l > 0) {
        of_length[*l] += 1;
    }
    let mut next = [0u16; 16];
    for bits in 1..16 {
        next[bits] = (next[bits - 1] + of_length[bits - 1]) << 1;
    }
    let code = |l: &usize| {
        if *l == 0 {
            return Code::default();
        }
        let code = next[*l];
        next[*l] += 1;
        Code {
            bits: code.reverse_bits() >> (16 - l),
            length: *l as u8,
        }
    };
    lengths.iter().map(code).collect()
}

/// The fixed codes of literals and lengths, and of distances.
fn fixed() -> &'static (Vec<Code>, Vec<Code>) {
    static FIXED: std::sync::LazyLock<(Vec<Code>, Vec<Code>)> = std::sync::LazyLock::new(|| {
        let length = |symbol: usize| match symbol {
            0..144 | 280.. => 8,
            144..256 => 9,
            _ => 7,
        };
        // All 288 of them: the last two are never sent, but have codes.
        let literals: Vec<usize> = (0..288).map(length).collect();
        (canonical(&literals), canonical(&[5; DISTANCES]))
    });
    &FIXED
}

/// One piece of the description of codes: a code of the alphabet of code lengths, what follows it, in so many bits.
type Measure = (usize, u32, u32);

/// Describes the lengths of codes.
fn measures(codes: &[Code], to: &mut Vec<Measure>) {
    let mut before = None;
    let mut rest = codes;
    while let Some(first) = rest.first() {
        let length = usize::from(first.length);
        // What is like the code before needs no beginning of its own.
        let (most, least) = match length {
            0 => (138, 3),
            _ if before == Some(length) => (6, 3),
            _ => (7, 4),
        };
        let run = rest
            .iter()
            .take(most)
            .take_while(|c| c.length == first.length)
            .count();
        let count = run as u32;
        if run < least {
            to.extend(std::iter::repeat_n((length, 0, 0), run));
        } else if length != 0 {
            let again = if before == Some(length) {
                count
            } else {
                to.push((length, 0, 0));
                count - 1
            };
            to.push((AGAIN, again - 3, 2));
        } else if run <= 10 {
            to.push((ZEROS, count - 3, 3));
        } else {
            to.push((MORE_ZEROS, count - 11, 7));
        }
        before = Some(length);
        rest = &rest[run..];
    }
}

/// Writes a block that is not the last one. `plain` is what the symbols stand for, if it is still there.
pub(super) fn block(symbols: &[Symbol], plain: Option<&[u8]>, out: &mut Bits) {
    let (mut literals, mut distances) = ([0u32; LITERALS], [0u32; DISTANCES]);
    literals[END] = 1;
    for s in symbols {
        if s.distance == 0 {
            literals[usize::from(s.value)] += 1;
        } else {
            literals[LENGTHS + length_code(s.value).0] += 1;
            distances[distance_code(u32::from(s.distance) - 1).0] += 1;
        }
    }
    let (fixed_literals, fixed_distances) = fixed();
    let of_literals = Alphabet {
        extra: &LENGTH_EXTRA,
        base: LENGTHS,
        most: 15,
        fixed: Some(fixed_literals),
    }
    .tree(&literals);
    let of_distances = Alphabet {
        extra: &DISTANCE_EXTRA,
        base: 0,
        most: 15,
        fixed: Some(fixed_distances),
    }
    .tree(&distances);
    let mut description = Vec::new();
    measures(&of_literals.codes[..=of_literals.last], &mut description);
    measures(&of_distances.codes[..=of_distances.last], &mut description);
    let mut used = [0u32; MEASURES];
    for (code, _, _) in &description {
        used[*code] += 1;
    }
    let of_measures = Alphabet {
        extra: &MEASURE_EXTRA,
        base: 0,
        most: 7,
        fixed: None,
    }
    .tree(&used);
    let sent = (4..=MEASURES)
        .rev()
        .find(|n| of_measures.codes[ORDER[n - 1]].length != 0)
        .unwrap_or(4)
        .max(4);

    let bytes = |bits: u64| (bits + 3 + 7) >> 3;
    let head = 3 * sent as u64 + 5 + 5 + 4;
    let with_own = of_literals.own.wrapping_add(of_distances.own);
    let own = bytes(with_own.wrapping_add(of_measures.own).wrapping_add(head));
    let fixed = bytes(of_literals.fixed.wrapping_add(of_distances.fixed));
    if let Some(plain) = plain.filter(|plain| plain.len() as u64 + 4 <= own.min(fixed)) {
        out.put(PLAIN << 1, 3);
        out.put(0, (8 - out.count) % 8);
        out.put(plain.len() as u32, 16);
        out.put(!plain.len() as u32 & 0xffff, 16);
        out.bytes.extend_from_slice(plain);
    } else if fixed <= own {
        out.put(FIXED << 1, 3);
        send(symbols, fixed_literals, fixed_distances, out);
    } else {
        out.put(OWN << 1, 3);
        out.put((of_literals.last + 1 - LENGTHS) as u32, 5);
        out.put(of_distances.last as u32, 5);
        out.put(sent as u32 - 4, 4);
        for code in &ORDER[..sent] {
            out.put(u32::from(of_measures.codes[*code].length), 3);
        }
        for (code, more, bits) in description {
            out.code(&of_measures.codes[code]);
            out.put(more, bits);
        }
        send(symbols, &of_literals.codes, &of_distances.codes, out);
    }
}

fn send(symbols: &[Symbol], literals: &[Code], distances: &[Code], out: &mut Bits) {
    for s in symbols {
        if s.distance == 0 {
            out.code(&literals[usize::from(s.value)]);
            continue;
        }
        let (code, first) = length_code(s.value);
        out.code(&literals[LENGTHS + code]);
        out.put(u32::from(s.value) - first, u32::from(LENGTH_EXTRA[code]));
        let distance = u32::from(s.distance) - 1;
        let (code, first) = distance_code(distance);
        out.code(&distances[code]);
        out.put(distance - first, u32::from(DISTANCE_EXTRA[code]));
    }
    out.code(&literals[END]);
}
