//! What happened inside, for the record: facts with their place and time, and what programs asked for and did not get.

use super::{Conn, World};
use std::sync::Arc;
use turncoat_freeze::Freeze;

/// Something that happened inside, for the record.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
#[allow(missing_docs)]
pub enum Fact {
    /// The machine started something by itself that somebody left there: what made it do so (`unit`, `timer`), the file that says it.
    Job {
        by: &'static str,
        path: Vec<u8>,
        user: Vec<u8>,
        command: Vec<u8>,
        pid: Option<u32>,
    },
    /// A program was started.
    Exec {
        path: Vec<u8>,
        argv: Vec<Vec<u8>>,
        cwd: Vec<u8>,
        ancestry: Vec<(u32, Vec<u8>)>,
    },
    /// A process ended, with its wait status.
    Exit { status: i32, runtime_ns: u64 },
    /// A file was made, changed or removed.
    File {
        change: crate::vfs::ChangeKind,
        path: Vec<u8>,
        to: Option<Vec<u8>>,
        size: u64,
    },
    /// The content of a bait came into a program's hands: it read, mapped or sent the file. Told once for each process and bait.
    Bait { id: Arc<str>, path: Vec<u8> },
    /// A connection to the outside was tried, or bytes were sent on one that a stand-in took.
    Outside(crate::net::outside::Attempt),
    /// A program listens.
    Listen {
        addr: std::net::IpAddr,
        port: u16,
        udp: bool,
    },
    /// A signal to another process.
    Kill { target: u32, comm: Vec<u8>, sig: u8 },
    /// Real and effective user changed.
    Creds { from: (u32, u32), to: (u32, u32) },
    /// A shell (or another program that reads lines) read a line.
    Line { text: Vec<u8>, prompt: bool, echo: bool },
    /// A mount was tried.
    Mount {
        source: Vec<u8>,
        target: Vec<u8>,
        fstype: Vec<u8>,
        errno: u16,
    },
    /// A kernel module was to be loaded.
    Module { name: Vec<u8>, errno: u16 },
    /// ptrace was tried.
    Ptrace { request: u64, target: u32 },
    /// The program asked for something that this kernel does not have.
    Unserved { what: String },
    /// The machine goes down; in order, if init was asked to.
    Down { how: crate::Down, in_order: bool },
}

/// A fact with its place and time.
#[derive(Clone, PartialEq, Eq, Debug, Freeze)]
pub struct Stamped {
    /// Number of this event in the world.
    pub seq: u64,
    /// Wall clock of the world, ns since the epoch.
    pub time_ns: u64,
    /// The connection whose descendant did it.
    pub conn: Option<Conn>,
    /// Process, its user, its name.
    pub pid: u32,
    /// Real user id.
    pub uid: u32,
    /// Its name.
    pub comm: Vec<u8>,
    /// What happened.
    pub fact: Fact,
}

/// Facts kept until they are drained.
const FACTS_MAX: usize = 65_536;

impl World {
    /// Records a fact about a process.
    pub(crate) fn fact(&mut self, tgid: u32, fact: Fact) {
        self.seq += 1;
        if self.facts.len() >= FACTS_MAX {
            return;
        }
        let conn = self.p(tgid).ok().and_then(|p| p.conn);
        let (uid, comm) = self
            .t(tgid)
            .map_or((0, Vec::new()), |t| (t.creds.uid, t.comm().to_vec()));
        self.facts.push(Stamped {
            seq: self.seq,
            time_ns: self.clock.real(),
            conn,
            pid: tgid,
            uid,
            comm,
            fact,
        });
    }

    /// The record of a program start.
    pub(crate) fn note_exec(&mut self, tgid: u32, path: &[u8], argv: &[Vec<u8>]) {
        let mut ancestry = Vec::new();
        let mut at = self.p(tgid).map_or(0, |p| p.ppid);
        while at > 1 && ancestry.len() < 16 {
            let Ok(t) = self.t(at) else { break };
            ancestry.push((at, t.comm().to_vec()));
            at = self.p(at).map_or(0, |p| p.ppid);
        }
        self.guard_exec(tgid, path, argv);
        let cwd = self.cwd_text(tgid);
        let argv = argv
            .iter()
            .take(256)
            .map(|a| a[..a.len().min(4096)].to_vec())
            .collect();
        self.fact(
            tgid,
            Fact::Exec {
                path: path.to_vec(),
                argv,
                cwd,
                ancestry,
            },
        );
    }

    /// Counts something that a program asked for and did not get.
    pub(crate) fn unserved(&mut self, tid: u32, what: &str) {
        let comm = self
            .t(tid)
            .map_or(String::new(), |t| String::from_utf8_lossy(t.comm()).into_owned());
        let key = format!("{comm}: {what}");
        if let Some(n) = self.gaps.get_mut(&key) {
            *n += 1;
            return;
        }
        if self.gaps.len() < 1024 {
            self.gaps.insert(key, 1);
            let tgid = self.tgid(tid);
            self.fact(
                tgid,
                Fact::Unserved {
                    what: what.to_owned(),
                },
            );
        }
    }
}
