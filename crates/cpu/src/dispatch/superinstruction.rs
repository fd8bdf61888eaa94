//! Superinstructions: one handler for several operations that lie one behind the other.
//!
//! Code that was not run a moment ago costs an interpreter most at the way from one handler to the next: the host's processor guesses
//! wrong where it goes. So the sequences that the programs of a shell run most often, `superinstructions.in`, have handlers of
//! their own, in which the way from one operation to the next is a straight line. The operations themselves stay as they are. The first one
//! has the handler of the sequence; where one of them cannot go on (`Miss`), it goes its ordinary, slow way, and those behind it follow
//! with the handlers that they have.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::alu::*;
use super::bits::*;
use super::flow::{self, ImmX};
use super::moves::*;
use super::op::*;
use super::product::*;
use super::shift::*;
use super::sse::*;
use super::straight::{Three, Two};
use crate::Cpu;

/// What is done from an operation on.
trait Sequence {
    /// # Safety
    ///
    /// As for a handler; the operations at `op` have the handlers that `singles` names.
    unsafe fn run(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret;

    /// The handlers that the operations have one by one.
    fn singles(list: &mut Vec<Handler>);
}

/// Goes on with whatever comes.
struct Onward;

impl Sequence for Onward {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
        // SAFETY: the caller's.
        unsafe { go::<true>(op, cpu, cx, b) }
    }

    fn singles(_: &mut Vec<Handler>) {}
}

/// `I`, then `S`.
struct Then<I, S>(PhantomData<(I, S)>);

impl<I: Insn, S: Sequence> Sequence for Then<I, S> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
        // SAFETY: the caller's; `op` has a successor, as in `step`.
        unsafe {
            match I::exec::<true>(op, cpu, cx) {
                Ok(()) => S::run(op.add(1), cpu, cx, b),
                Err(Miss) => missed::<true>(op, cpu, cx, b, step::<false, I>),
            }
        }
    }

    fn singles(list: &mut Vec<Handler>) {
        list.push(step::<true, I>);
        S::singles(list);
    }
}

/// The handler of an operation that ends a block.
trait Last {
    const H: Handler;
}

/// `L`, and nothing behind it.
struct End<L>(PhantomData<L>);

impl<L: Last> Sequence for End<L> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, cx: *mut Cx, b: i64) -> Ret {
        // SAFETY: the caller's.
        unsafe { L::H(op, cpu, cx, b) }
    }

    fn singles(list: &mut Vec<Handler>) {
        list.push(L::H);
    }
}

struct Jump;
struct Jcc<const C: u8>;
struct Fused<W, D, S, const T: bool, const C: u8>(PhantomData<(W, D, S)>);
struct Call;
struct CallTo<S>(PhantomData<S>);
struct JumpTo<S>(PhantomData<S>);
struct Return;

impl Last for Jump {
    const H: Handler = flow::jmp::<true>;
}
impl<const C: u8> Last for Jcc<C> {
    const H: Handler = flow::jcc::<true, C>;
}
impl<W: Word, D: Loc, S: Loc, const T: bool, const C: u8> Last for Fused<W, D, S, T, C> {
    const H: Handler = flow::fused::<true, W, D, S, T, C>;
}
impl Last for Call {
    const H: Handler = flow::call::<true>;
}
impl<S: Loc> Last for CallTo<S> {
    const H: Handler = flow::call_to::<true, S>;
}
impl<S: Loc> Last for JumpTo<S> {
    const H: Handler = flow::jmp_to::<true, S>;
}
impl Last for Return {
    const H: Handler = flow::ret::<true>;
}

/// The type of a sequence.
macro_rules! sequence {
    (=> $last:ty) => { End<$last> };
    () => { Onward };
    ($first:ty $(, $more:ty)* $(=> $last:ty)?) => { Then<$first, sequence!($($more),* $(=> $last)?)> };
}

/// A sequence's handler, and those that it stands for.
type Entry = (Vec<Handler>, Handler);

fn entry<S: Sequence>() -> Entry {
    let mut singles = Vec::new();
    S::singles(&mut singles);
    (singles, S::run)
}

macro_rules! sequences {
    ($($($insn:ty),+ $(=> $last:ty)?;)*) => {
        fn entries() -> Vec<Entry> {
            vec![$(entry::<sequence!($($insn),+ $(=> $last)?)>()),*]
        }
    };
}

include!("superinstructions.in");

/// What may follow, by handler, and the handler of the sequence that ends here.
#[derive(Default)]
struct Node {
    next: HashMap<usize, Node>,
    handler: Option<Handler>,
}

fn root() -> &'static Node {
    static ROOT: OnceLock<Node> = OnceLock::new();
    ROOT.get_or_init(|| {
        let mut root = Node::default();
        for (singles, handler) in entries() {
            let end = singles
                .iter()
                .fold(&mut root, |node, h| node.next.entry(*h as usize).or_default());
            end.handler = Some(handler);
        }
        root
    })
}

/// Gives a block's operations the handlers of sequences, so that as few handlers as possible run from its first operation to its last.
pub(super) fn join(ops: &mut [Op]) {
    // From each operation: how many handlers run to the end, and of how many operations the first one is.
    let mut best = vec![(0, 1, None); ops.len() + 1];
    for n in (0..ops.len()).rev() {
        best[n] = (best[n + 1].0 + 1, 1, None);
        let mut node = root();
        for (more, op) in ops[n..].iter().enumerate() {
            let Some(next) = node.next.get(&(op.h as usize)) else {
                break;
            };
            node = next;
            let handlers = best[n + more + 1].0 + 1;
            if node.handler.is_some() && handlers < best[n].0 {
                best[n] = (handlers, more + 1, node.handler);
            }
        }
    }
    let mut n = 0;
    while n < ops.len() {
        let (_, operations, handler) = best[n];
        if let Some(h) = handler {
            ops[n].h = h;
        }
        n += operations;
    }
}

#[cfg(test)]
mod tests {
    use super::super::block;
    use super::*;
    use crate::PageRef;

    /// How many handlers run from the first operation of a block to its last, and how many operations there are.
    fn handlers(code: &[u8]) -> (usize, usize) {
        let ops = block::build(&PageRef::from_slice(code), 0, 0).expect("code");
        let lengths: HashMap<usize, usize> = entries()
            .into_iter()
            .map(|(singles, h)| (h as usize, singles.len()))
            .collect();
        let (mut n, mut run) = (0, 0);
        while n < ops.len() {
            n += lengths.get(&(ops[n].h as usize)).copied().unwrap_or(1);
            run += 1;
        }
        (run, ops.len())
    }

    #[test]
    fn blocks_of_a_function_have_them() {
        // push r12; push rbp; push rbx; mov rbx, [rdi+8]; test rbx, rbx; jne: three operations and the branch's second slot.
        let (run, ops) = handlers(&[
            0x41, 0x54, 0x55, 0x53, 0x48, 0x8b, 0x5f, 8, 0x48, 0x85, 0xdb, 0x75, 4,
        ]);
        assert!(run <= 3 && ops == 6, "{run} of {ops}");
        // pop rbx; pop rbp; pop r12; ret.
        let (run, ops) = handlers(&[0x5b, 0x5d, 0x41, 0x5c, 0xc3]);
        assert!(run < ops && ops == 4, "{run} of {ops}");
    }

    #[test]
    fn none_is_there_twice_or_alone() {
        let mut seen = std::collections::HashSet::new();
        for (singles, _) in entries() {
            assert!(singles.len() > 1);
            assert!(seen.insert(singles.iter().map(|h| *h as usize).collect::<Vec<_>>()));
        }
    }
}
