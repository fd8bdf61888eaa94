//! The calls by their numbers, on behalf of processes that only wait. Which values Linux gives is compared in the native comparison of
//! `turncoat`; here is what a program does not see, and what no program would wait for.

use crate::sys::Call;
use crate::task::{Creds, State};
use crate::tests::{START, login, run, world};
use crate::world::World;
use crate::*;
use std::sync::Arc;

/// `pause(2)` for ever.
const SLEEP: &[u8] = &[0xb8, 34, 0, 0, 0, 0x0f, 5, 0xeb, 0xf7];
/// A place in the program's own page.
const AT: u64 = 0x400800;

const SHMGET: u64 = 29;
const SHMAT: u64 = 30;
const SHMCTL: u64 = 31;
const SHMDT: u64 = 67;
const SEMGET: u64 = 64;
const SEMOP: u64 = 65;
const SEMCTL: u64 = 66;
const MSGGET: u64 = 68;
const MSGSND: u64 = 69;
const MSGRCV: u64 = 70;
const MSGCTL: u64 = 71;
const CREATE: u64 = 0o1600;

/// A world with two processes of user `u`, and their numbers.
fn pair() -> (World, u32, u32) {
    let mut w = world(SLEEP);
    login(&mut w, "u", false);
    login(&mut w, "u", false);
    run(&mut w, 20);
    let mut own = w.tasks.values().filter(|t| t.mm.is_some()).map(|t| t.tid);
    let (a, b) = (own.next().unwrap(), own.next().unwrap());
    drop(own);
    for tid in [a, b] {
        w.unblock(tid);
        w.tm(tid).unwrap().call = None;
    }
    (w, a, b)
}

/// One call; `None`: it waits.
fn call(w: &mut World, tid: u32, nr: u64, args: &[u64]) -> Option<i64> {
    let mut c = Call::new(tid, &turncoat_cpu::Cpu::new());
    c.nr = nr;
    c.a = [0; 6];
    c.a[..args.len()].copy_from_slice(args);
    w.dispatch(c);
    answer(w, tid)
}

/// What a process's last call returned, if it is over.
fn answer(w: &World, tid: u32) -> Option<i64> {
    let t = w.t(tid).unwrap();
    if matches!(t.state, State::Sleeping { .. }) {
        return None;
    }
    t.cpu.as_ref().map(|c| c.gpr[turncoat_cpu::RAX] as i64)
}

fn err(e: Errno) -> Option<i64> {
    Some(-i64::from(e.0))
}

fn ops(w: &mut World, tid: u32, ops: &[(u16, i16, u16)]) -> u64 {
    let bytes: Vec<u8> = ops
        .iter()
        .flat_map(|(n, op, f)| [n.to_le_bytes(), op.to_le_bytes(), f.to_le_bytes()].concat())
        .collect();
    w.copy_out(tid, AT, &bytes).unwrap();
    ops.len() as u64
}

fn semop(w: &mut World, tid: u32, id: u64, list: &[(u16, i16, u16)]) -> Option<i64> {
    let n = ops(w, tid, list);
    call(w, tid, SEMOP, &[id, AT, n])
}

fn send(w: &mut World, tid: u32, id: u64, kind: i64, text: &[u8]) -> Option<i64> {
    let bytes = [&kind.to_le_bytes(), text].concat();
    w.copy_out(tid, AT, &bytes).unwrap();
    call(w, tid, MSGSND, &[id, AT, text.len() as u64, 0])
}

#[test]
fn a_segment_is_one_memory_and_goes_with_its_last_mapping() {
    let (mut w, a, b) = pair();
    let used = w.vfs.objects.usage().0;
    let id = call(&mut w, a, SHMGET, &[77, 5000, CREATE]).unwrap() as u64;
    assert_eq!(call(&mut w, b, SHMGET, &[77, 5000, 0]), Some(id as i64));
    assert_eq!(call(&mut w, b, SHMGET, &[77, 5001, 0]), err(Errno::EINVAL));
    let at = call(&mut w, a, SHMAT, &[id, 0, 0]).unwrap() as u64;
    let to = call(&mut w, b, SHMAT, &[id, 0, 0o10000]).unwrap() as u64;
    w.copy_out(a, at + 4999, b"x").unwrap();
    let mut got = [0];
    w.copy_in(b, to + 4999, &mut got).unwrap();
    assert_eq!(&got, b"x");
    assert_eq!(
        w.copy_out(b, to, b"x"),
        Err(Errno::EFAULT),
        "it is attached for reading"
    );
    assert_eq!(w.vfs.objects.usage().0, used + 1);
    // Both hold it, then one, then nobody.
    let attached = |w: &World| w.ipc.segments().next().map(|s| s.attached);
    assert_eq!(attached(&w), Some(2));
    assert_eq!(call(&mut w, a, SHMCTL, &[id, 0, 0]), Some(0));
    assert_eq!(
        call(&mut w, b, SHMGET, &[77, 1, 0]),
        err(Errno::ENOENT),
        "it has no key any more"
    );
    assert_eq!(call(&mut w, a, SHMDT, &[at]), Some(0));
    assert_eq!(call(&mut w, a, SHMDT, &[at]), err(Errno::EINVAL));
    assert_eq!(attached(&w), Some(1));
    w.group_exit(b, 0);
    assert_eq!(attached(&w), None);
    assert_eq!((w.vfs.objects.usage().0, w.ipc.bytes()), (used, 0));
}

#[test]
fn pieces_of_an_attachment_count_each_and_go_together() {
    let (mut w, a, _) = pair();
    let id = call(&mut w, a, SHMGET, &[0, 3 * 4096, CREATE]).unwrap() as u64;
    let at = call(&mut w, a, SHMAT, &[id, 0, 0]).unwrap() as u64;
    let mprotect = 10;
    assert_eq!(call(&mut w, a, mprotect, &[at + 4096, 4096, 1]), Some(0));
    assert_eq!(w.ipc.segments().next().unwrap().attached, 3);
    assert_eq!(call(&mut w, a, SHMDT, &[at]), Some(0));
    assert_eq!(w.ipc.segments().next().unwrap().attached, 0);
}

#[test]
fn identifiers_are_not_used_again_soon() {
    let (mut w, a, _) = pair();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let id = call(&mut w, a, MSGGET, &[0, CREATE]).unwrap();
        assert!(seen.insert(id), "{id} was there before");
        assert_eq!(call(&mut w, a, MSGCTL, &[id as u64, 0, 0]), Some(0));
        assert!(matches!(call(&mut w, a, MSGCTL, &[id as u64, 2, AT]), Some(n) if n < 0));
    }
    // Places are gone through in turn, and each turn has a number of its own.
    assert!(seen.contains(&63) && seen.contains(&(1 << 15)) && !seen.contains(&64));
}

#[test]
fn others_may_what_the_mode_says() {
    let (mut w, a, b) = pair();
    let id = call(&mut w, a, MSGGET, &[5, 0o1640]).unwrap() as u64;
    w.tm(b).unwrap().creds = Arc::new(Creds::user(1001, 1001, vec![1000]));
    assert_eq!(call(&mut w, b, MSGGET, &[5, 0o400]), Some(id as i64));
    assert_eq!(call(&mut w, b, MSGGET, &[5, 0o600]), err(Errno::EACCES));
    assert_eq!(send(&mut w, b, id, 1, b"x"), err(Errno::EACCES));
    assert_eq!(call(&mut w, b, MSGCTL, &[id, 0, 0]), err(Errno::EPERM));
    w.tm(b).unwrap().creds = Arc::new(Creds::root());
    assert_eq!(send(&mut w, b, id, 1, b"x"), Some(0));
}

#[test]
fn semaphores_go_to_those_who_came_first() {
    let (mut w, a, b) = pair();
    let id = call(&mut w, a, SEMGET, &[0, 2, CREATE]).unwrap() as u64;
    assert_eq!(semop(&mut w, a, id, &[(0, 1, 0), (0, -2, 0)]), None);
    assert_eq!(semop(&mut w, b, id, &[(0, 1, 0)]), Some(0));
    assert_eq!(answer(&w, a), Some(0), "one and one more are two");
    assert_eq!(call(&mut w, b, SEMCTL, &[id, 0, 12]), Some(0));
    // Two wait for the same one; a value of three is enough for the first and not for both.
    assert_eq!(semop(&mut w, a, id, &[(1, -2, 0)]), None);
    assert_eq!(call(&mut w, b, SEMCTL, &[id, 1, 14]), Some(1));
    assert_eq!(call(&mut w, b, SEMCTL, &[id, 1, 16, 3]), Some(0));
    assert_eq!(answer(&w, a), Some(0));
    assert_eq!(call(&mut w, b, SEMCTL, &[id, 1, 12]), Some(1));
    // All or nothing.
    assert_eq!(
        semop(&mut w, b, id, &[(1, -1, 0), (0, -1, 0o4000)]),
        err(Errno::EAGAIN)
    );
    assert_eq!(call(&mut w, b, SEMCTL, &[id, 1, 12]), Some(1));
    assert_eq!(semop(&mut w, b, id, &[(1, 32767, 0)]), err(Errno::ERANGE));
    assert_eq!(semop(&mut w, b, id, &[(2, 1, 0)]), err(Errno::EFBIG));
    // Who waits is told when the set goes.
    assert_eq!(semop(&mut w, a, id, &[(0, -1, 0)]), None);
    assert_eq!(call(&mut w, b, SEMCTL, &[id, 0, 0]), Some(0));
    assert_eq!(answer(&w, a), err(Errno::EIDRM));
    assert_eq!(w.ipc.bytes(), 0);
}

#[test]
fn a_signal_ends_a_wait_and_a_later_change_does_not_answer_it() {
    let (mut w, a, b) = pair();
    let id = call(&mut w, a, SEMGET, &[0, 1, CREATE]).unwrap() as u64;
    assert_eq!(semop(&mut w, a, id, &[(0, -1, 0)]), None);
    // As a signal does that is then not handled: the call is tried again, and this one never goes on.
    w.unblock(a);
    assert_eq!(call(&mut w, b, SEMCTL, &[id, 0, 14]), Some(0));
    assert_eq!(semop(&mut w, b, id, &[(0, 1, 0)]), Some(0));
    let mut c = w.tm(a).unwrap().call.take().unwrap();
    c.first = false;
    w.dispatch(c);
    assert_eq!(answer(&w, a), err(Errno::EINTR));
    assert_eq!(call(&mut w, b, SEMCTL, &[id, 0, 12]), Some(1));
}

#[test]
fn what_was_done_with_undo_is_taken_back_at_the_end() {
    let (mut w, a, b) = pair();
    let id = call(&mut w, a, SEMGET, &[0, 2, CREATE]).unwrap() as u64;
    assert_eq!(call(&mut w, a, SEMCTL, &[id, 0, 16, 2]), Some(0));
    assert_eq!(semop(&mut w, b, id, &[(0, -2, 0x1000), (1, 5, 0x1000)]), Some(0));
    assert_eq!(semop(&mut w, a, id, &[(0, -1, 0)]), None);
    assert_eq!(semop(&mut w, b, id, &[(1, -4, 0)]), Some(0));
    w.group_exit(b, 9);
    assert_eq!(answer(&w, a), Some(0));
    assert_eq!(call(&mut w, a, SEMCTL, &[id, 0, 12]), Some(1));
    assert_eq!(call(&mut w, a, SEMCTL, &[id, 1, 12]), Some(0), "never below zero");
    assert!(w.ipc.undo.is_empty());
}

#[test]
fn messages_are_taken_by_kind_and_handed_over() {
    let (mut w, a, b) = pair();
    let id = call(&mut w, a, MSGGET, &[0, CREATE]).unwrap() as u64;
    for (kind, text) in [(3, b"three"), (2, b"two  "), (3, b"again")] {
        assert_eq!(send(&mut w, a, id, kind, text), Some(0));
    }
    let receive = |w: &mut World, kind: i64, flags: u64| {
        let n = call(w, b, MSGRCV, &[id, AT, 5, kind as u64, flags])?;
        let mut text = [0; 5];
        w.copy_in(b, AT + 8, &mut text).unwrap();
        Some((n, String::from_utf8_lossy(&text).into_owned()))
    };
    assert_eq!(receive(&mut w, -9, 0).unwrap().1, "two  ");
    assert_eq!(receive(&mut w, 3, 0).unwrap().1, "three");
    assert_eq!(
        receive(&mut w, 0, 0o44000).unwrap().1,
        "again",
        "a copy leaves it there"
    );
    assert_eq!(receive(&mut w, 3, 0o20000), None, "all but three: it waits");
    assert_eq!(send(&mut w, a, id, 3, b"not  "), Some(0));
    assert_eq!(answer(&w, b), None);
    assert_eq!(send(&mut w, a, id, 4, b"four "), Some(0));
    assert_eq!(answer(&w, b), Some(5));
    let mut text = [0; 5];
    w.copy_in(b, AT + 8, &mut text).unwrap();
    assert_eq!(&text, b"four ");
}

#[test]
fn a_full_queue_holds_its_senders_up() {
    let (mut w, a, b) = pair();
    let id = call(&mut w, a, MSGGET, &[0, CREATE]).unwrap() as u64;
    assert_eq!(send(&mut w, a, id, 1, &[1; 1000]), Some(0));
    let full = [0; 8192];
    for _ in 0..16 {
        let bytes = [&1i64.to_le_bytes()[..], &full[..900]].concat();
        w.copy_out(a, AT, &bytes).unwrap();
        if call(&mut w, a, MSGSND, &[id, AT, 900, 0o4000]) == err(Errno::EAGAIN) {
            break;
        }
    }
    assert_eq!(send(&mut w, a, id, 7, &[7; 1000]), None);
    assert_eq!(call(&mut w, b, MSGRCV, &[id, AT, 1000, 0, 0]), Some(1000));
    run(&mut w, 3);
    w.unblock(b);
    w.tm(b).unwrap().call = None;
    let q = w.ipc.msg.objects.values().next().unwrap();
    assert_eq!(q.lspid, a);
    let kinds = call(&mut w, b, MSGRCV, &[id, AT, 1000, 7, 0o4000]);
    assert_eq!(kinds, Some(1000), "the message that waited for room is there");
}

#[test]
fn what_the_kernel_keeps_is_bounded() {
    let (mut w, a, _) = pair();
    let bound = w.limits.memory / 16;
    let ends = |w: &mut World, nr: u64, args: &[u64]| {
        for _ in 0..40_000 {
            match call(w, a, nr, args).unwrap() {
                n if n < 0 => return Errno(-n as u16),
                _ => {}
            }
        }
        Errno(0)
    };
    assert_eq!(ends(&mut w, SEMGET, &[0, 32_000, CREATE]), Errno::ENOMEM);
    assert_eq!(ends(&mut w, SHMGET, &[0, 4096, CREATE]), Errno::ENOMEM);
    assert_eq!(ends(&mut w, MSGGET, &[0, CREATE]), Errno::ENOMEM);
    assert!(w.ipc.bytes() <= bound);
    let again = w.run(100_000, START + 1_000_000_000);
    assert!(!matches!(again, Slice::Dead));
}
