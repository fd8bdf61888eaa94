//! Deflate as zlib 1.2.13 does it at level 6, to the bit: OpenSSH compresses with that, and how long its packets are shows on the wire.
//!
//! RFC 1950 and RFC 1951 leave an encoder free in what it matches and where its blocks end. zlib's choices are followed here: hash
//! chains of three bytes, a match is put off by one byte if the next one is longer, a block ends after 16,383 symbols or where the
//! stream is flushed. What has to be kept between packets is the last data alone: tables can be given back ([`Deflate::rest`]) and are
//! made again from it.

mod trees;

use trees::{Bits, Symbol};

/// Farthest distance of a match (RFC 1951), and half of the data that is kept.
const WINDOW: usize = 1 << 15;
/// Shortest and longest match.
const MIN_MATCH: usize = 3;
const MAX_MATCH: usize = 258;
/// With fewer bytes ahead no match is looked for, while there is more to come.
const MIN_AHEAD: usize = MAX_MATCH + MIN_MATCH + 1;
/// Farthest distance that is used.
const FAR: usize = WINDOW - MIN_AHEAD;
/// A match of three bytes that is farther away costs more than three literals.
const TOO_FAR: usize = 4096;
/// Level 6: a chain of so many places is followed, a quarter of it if the match before is `GOOD` already; `NICE` is long enough to
/// stop; behind a match of `LAZY` no longer one is looked for.
const CHAIN: usize = 128;
const GOOD: usize = 8;
const NICE: usize = 128;
const LAZY: usize = 16;
/// Symbols of one block.
const SYMBOLS: usize = (1 << 14) - 1;
/// sshd takes what was compressed in pieces of so many bytes.
const PIECE: usize = 4096;

/// Where three bytes were last, and before: 0 is nowhere. (So nothing matches the very first byte, as in zlib.)
struct Tables {
    head: Box<[u16]>,
    prev: Box<[u16]>,
}

impl Tables {
    fn new() -> Tables {
        Tables {
            head: vec![0; WINDOW].into(),
            prev: vec![0; WINDOW].into(),
        }
    }

    /// Puts the place `at` in; gives where the same three bytes were before.
    fn insert(&mut self, window: &[u8], at: usize) -> usize {
        let hash =
            usize::from(window[at]) << 10 ^ usize::from(window[at + 1]) << 5 ^ usize::from(window[at + 2]);
        let head = &mut self.head[hash & (WINDOW - 1)];
        let before = *head;
        self.prev[at & (WINDOW - 1)] = before;
        *head = at as u16;
        usize::from(before)
    }

    /// The older half of the data is gone.
    fn slide(&mut self) {
        for at in self.head.iter_mut().chain(self.prev.iter_mut()) {
            *at = at.saturating_sub(WINDOW as u16);
        }
    }
}

/// A stream of one direction.
pub(crate) struct Deflate {
    /// What was compressed last, and from `at` on what is compressed now: at most two windows.
    window: Vec<u8>,
    /// Where the next byte to compress is.
    at: usize,
    /// Bytes there that are not compressed.
    ahead: usize,
    /// Where the present block began; `None` if that is not kept any more.
    block: Option<usize>,
    /// Places before `at` that are not in the tables: there were not three bytes yet.
    late: usize,
    tables: Option<Tables>,
    /// Length and place of the match at `at`, and whether the byte before waits for what is found here.
    length: usize,
    place: usize,
    waiting: bool,
    symbols: Vec<Symbol>,
    out: Bits,
}

impl Deflate {
    /// A new stream.
    pub fn new() -> Deflate {
        Deflate {
            window: Vec::new(),
            at: 0,
            ahead: 0,
            block: Some(0),
            late: 0,
            tables: None,
            length: MIN_MATCH - 1,
            place: 0,
            waiting: false,
            symbols: Vec::new(),
            // Deflate with a window of 32 KiB, the default level (RFC 1950).
            out: Bits::new(&[0x78, 0x9c]),
        }
    }

    /// Gives back memory until the next packet: for a stream that is idle.
    pub fn rest(&mut self) {
        self.tables = None;
        self.symbols = Vec::new();
        self.window.truncate(self.at + self.ahead);
        self.window.shrink_to_fit();
    }

    /// Compresses one packet and flushes it ("partial flush").
    pub fn packet(&mut self, mut data: &[u8]) -> Vec<u8> {
        let mut tables = match self.tables.take() {
            Some(tables) => tables,
            None => self.tables_again(),
        };
        let mut piece = Piece {
            room: PIECE,
            given: 0,
        };
        loop {
            if self.ahead < MIN_AHEAD {
                self.fill(&mut data, &mut tables);
            }
            if self.ahead == 0 {
                break;
            }
            self.step(&mut tables, &mut piece);
        }
        if std::mem::take(&mut self.waiting) {
            self.literal();
        }
        self.late = self.at.min(MIN_MATCH - 1);
        if !self.symbols.is_empty() {
            self.end_block(&mut piece);
        }
        // A call of zlib that leaves no room is followed by another one, and each ends with a flush of its own.
        loop {
            self.out.align();
            piece.give(&self.out);
            if piece.room > 0 {
                break;
            }
            piece.next(&self.out);
        }
        self.tables = Some(tables);
        self.out.take()
    }

    /// The tables as they were before they were given back.
    fn tables_again(&self) -> Tables {
        let mut tables = Tables::new();
        for at in 0..self.at - self.late {
            tables.insert(&self.window, at);
        }
        tables
    }

    /// Takes more data, as much as there is room for.
    fn fill(&mut self, data: &mut &[u8], tables: &mut Tables) {
        loop {
            if self.at >= WINDOW + FAR {
                self.window.drain(..WINDOW);
                self.at -= WINDOW;
                self.place = self.place.saturating_sub(WINDOW);
                self.block = self.block.and_then(|b| b.checked_sub(WINDOW));
                tables.slide();
            }
            if data.is_empty() {
                return;
            }
            let (now, later) = data.split_at(data.len().min(2 * WINDOW - self.ahead - self.at));
            self.window.extend_from_slice(now);
            self.ahead += now.len();
            *data = later;
            while self.late > 0 && self.late + self.ahead >= MIN_MATCH {
                tables.insert(&self.window, self.at - self.late);
                self.late -= 1;
            }
            if self.ahead >= MIN_AHEAD {
                return;
            }
        }
    }

    /// Looks at one byte.
    fn step(&mut self, tables: &mut Tables, piece: &mut Piece) {
        let before = if self.ahead >= MIN_MATCH {
            tables.insert(&self.window, self.at)
        } else {
            0
        };
        let (last, last_place) = (self.length, self.place);
        self.length = MIN_MATCH - 1;
        if before != 0 && last < LAZY && self.at - before <= FAR {
            self.length = self.longest(before, last, tables);
            if self.length == MIN_MATCH && self.at - self.place > TOO_FAR {
                self.length = MIN_MATCH - 1;
            }
        }
        if last >= MIN_MATCH && self.length <= last {
            // The match at the byte before is the better one.
            let end = self.at + self.ahead - MIN_MATCH;
            self.symbols.push(Symbol {
                distance: (self.at - 1 - last_place) as u16,
                value: (last - MIN_MATCH) as u8,
            });
            for at in self.at + 1..self.at + last - 1 {
                if at <= end {
                    tables.insert(&self.window, at);
                }
            }
            self.at += last - 1;
            self.ahead -= last - 1;
            self.waiting = false;
            self.length = MIN_MATCH - 1;
            if self.symbols.len() == SYMBOLS {
                self.end_block(piece);
            }
            return;
        }
        if self.waiting {
            self.literal();
            if self.symbols.len() == SYMBOLS {
                self.end_block(piece);
            }
        }
        self.waiting = true;
        self.at += 1;
        self.ahead -= 1;
    }

    /// The byte before is none of a match.
    fn literal(&mut self) {
        self.symbols.push(Symbol {
            distance: 0,
            value: self.window[self.at - 1],
        });
    }

    /// The longest match for what is at `at`, if it is longer than `last`: sets its place, and gives its length or `last`.
    fn longest(&mut self, before: usize, last: usize, tables: &Tables) -> usize {
        let most = self.ahead.min(MAX_MATCH);
        let nice = NICE.min(self.ahead);
        let mut best = last;
        if best >= most {
            return best.min(self.ahead);
        }
        let (window, at) = (&self.window, self.at);
        let here = &window[at..at + most];
        let limit = at.saturating_sub(FAR);
        let mut chain = if last >= GOOD { CHAIN / 4 } else { CHAIN };
        let mut place = before;
        loop {
            if window[place + best] == here[best] {
                let there = &window[place..place + most];
                let length = here.iter().zip(there).take_while(|(a, b)| a == b).count();
                if length > best {
                    (self.place, best) = (place, length);
                    if length >= nice {
                        break;
                    }
                }
            }
            place = usize::from(tables.prev[place & (WINDOW - 1)]);
            chain -= 1;
            if place <= limit || chain == 0 {
                break;
            }
        }
        best
    }

    /// Ends a block before `at`.
    fn end_block(&mut self, piece: &mut Piece) {
        let plain = self.block.map(|from| &self.window[from..self.at]);
        trees::block(&self.symbols, plain, &mut self.out);
        self.symbols.clear();
        self.block = Some(self.at);
        piece.give(&self.out);
        piece.next(&self.out);
    }
}

/// What one call of zlib has put out.
struct Piece {
    room: usize,
    /// Bytes of the packet that were put out.
    given: usize,
}

impl Piece {
    /// Puts out what there is room for.
    fn give(&mut self, out: &Bits) {
        let n = (out.len() - self.given).min(self.room);
        self.given += n;
        self.room -= n;
    }

    /// The next call, if this one has no room.
    fn next(&mut self, out: &Bits) {
        while self.room == 0 {
            self.room = PIECE;
            self.give(out);
        }
    }
}

#[cfg(test)]
mod tests;
