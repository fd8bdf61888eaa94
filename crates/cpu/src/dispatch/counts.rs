//! How often each block runs: what `tools/superinstructions.py` chooses by. With the feature `counts` only, in which every operation is
//! run by the loop and none has a superinstruction's handler.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::op::Op;

thread_local! {
    static COUNTS: RefCell<HashMap<usize, u64>> = RefCell::default();
}

/// Where a block begins, and its operations' handlers.
type Block = (usize, Vec<usize>);

static BLOCKS: Mutex<Vec<Block>> = Mutex::new(Vec::new());

/// An operation is run.
pub(super) fn count(op: *const Op) {
    COUNTS.with_borrow_mut(|c| *c.entry(op as usize).or_default() += 1);
}

/// A block is kept at `first`.
pub(super) fn block(first: *const Op, handlers: Vec<usize>) {
    let mut blocks = BLOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    blocks.push((first as usize, handlers));
}

/// Prints how often this thread has run which block: `base` with the address of this function, then a line for each block that ran, with the number
/// and its operations' handlers. Whoever has the program's symbols can tell what they are.
pub fn print_counts() {
    println!("base {:x}", print_counts as fn() as usize);
    let blocks = BLOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    COUNTS.with_borrow(|counts| {
        for (first, handlers) in blocks.iter() {
            if let Some(n) = counts.get(first) {
                print!("block {n}");
                for h in handlers {
                    print!(" {h:x}");
                }
                println!();
            }
        }
    });
}
