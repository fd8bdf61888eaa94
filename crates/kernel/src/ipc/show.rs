//! /proc/sysvipc: what there is, a line each.

use super::*;
use crate::object::Objects;
use std::fmt::Write;

impl Ipc {
    /// The text of `/proc/sysvipc/NAME`; the pages of segments are asked of `objects`.
    pub fn text(&self, name: &str, objects: &Objects) -> String {
        let mut s = String::new();
        match name {
            "shm" => self.shm_text(&mut s, objects),
            "sem" => self.sem_text(&mut s),
            _ => self.msg_text(&mut s),
        }
        s
    }

    fn shm_text(&self, s: &mut String, objects: &Objects) {
        s.push_str("       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n");
        for x in self.segments() {
            let p = &x.perm;
            let rss = objects.pages_used(x.object) * PAGE;
            let _ = writeln!(
                s,
                "{:10} {:10}  {:4o} {:21} {:5} {:5}  {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10} {rss:21} {:21}",
                p.key,
                p.id,
                p.mode,
                x.size,
                x.cpid,
                x.lpid,
                x.attached,
                p.uid,
                p.gid,
                p.cuid,
                p.cgid,
                x.atime,
                x.dtime,
                x.ctime,
                0
            );
        }
    }

    fn sem_text(&self, s: &mut String) {
        s.push_str("       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n");
        for x in self.sem.objects.values() {
            let p = &x.perm;
            let _ = writeln!(
                s,
                "{:10} {:10}  {:4o} {:10} {:5} {:5} {:5} {:5} {:10} {:10}",
                p.key,
                p.id,
                p.mode,
                x.sems.len(),
                p.uid,
                p.gid,
                p.cuid,
                p.cgid,
                x.otime,
                x.ctime
            );
        }
    }

    fn msg_text(&self, s: &mut String) {
        s.push_str("       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n");
        for x in self.msg.objects.values() {
            let p = &x.perm;
            let _ = writeln!(
                s,
                "{:10} {:10}  {:4o}  {:10} {:10} {:5} {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10}",
                p.key,
                p.id,
                p.mode,
                x.bytes,
                x.messages.len(),
                x.lspid,
                x.lrpid,
                p.uid,
                p.gid,
                p.cuid,
                p.cgid,
                x.stime,
                x.rtime,
                x.ctime
            );
        }
    }
}
