//! What happens in a world, in the words of the record.

use turncoat_event::{Bytes, Kind, kinds};
use turncoat_kernel::net::facts::Outside;
use turncoat_kernel::vfs::ChangeKind;
use turncoat_kernel::{Down, Fact, Stamped};

fn bytes(b: Vec<u8>) -> Bytes {
    Bytes(b)
}

/// The events of one fact. `away` is how long a machine is away after it went down so, in seconds.
pub fn kinds(s: Stamped, away: impl Fn(Down) -> u64) -> Vec<Kind> {
    let pid = Some(s.pid);
    let program = || Some(Bytes(s.comm.clone()));
    let one: Kind = match s.fact {
        Fact::Exec {
            path,
            argv,
            cwd,
            ancestry,
        } => kinds::ProcessExec {
            pid: s.pid,
            ppid: ancestry.first().map_or(0, |a| a.0),
            uid: s.uid,
            path: bytes(path),
            argv: argv.into_iter().map(Bytes).collect(),
            ancestry: ancestry
                .into_iter()
                .map(|(_, name)| String::from_utf8_lossy(&name).into_owned())
                .collect(),
            cwd: Some(bytes(cwd)),
        }
        .into(),
        Fact::Job {
            by,
            path,
            user,
            command,
            pid,
        } => kinds::WorldJob {
            by: by.into(),
            path: bytes(path),
            user: bytes(user),
            command: bytes(command),
            pid,
        }
        .into(),
        Fact::Exit { status, .. } => {
            let signal = status & 0x7f;
            kinds::ProcessExit {
                pid: s.pid,
                status: (signal == 0).then_some(status >> 8 & 0xff),
                signal: (signal != 0).then_some(signal),
            }
            .into()
        }
        Fact::File {
            change,
            path,
            to,
            size,
        } => match change {
            ChangeKind::Created => kinds::FileCreate {
                path: bytes(path),
                pid,
            }
            .into(),
            ChangeKind::Removed => kinds::FileRemove {
                path: bytes(path),
                pid,
            }
            .into(),
            ChangeKind::Renamed(from) => kinds::FileRename {
                from: bytes(from),
                to: bytes(to.unwrap_or(path)),
                pid,
            }
            .into(),
            ChangeKind::Written => kinds::FileWrite {
                path: bytes(path),
                size,
                pid,
                sha256: None,
            }
            .into(),
            ChangeKind::Attributes => kinds::FileAttribute {
                path: bytes(path),
                change: "attributes".into(),
                pid,
            }
            .into(),
        },
        Fact::Bait { id, path } => kinds::BaitRead {
            bait: id.to_string(),
            path: bytes(path),
            pid,
            program: program(),
        }
        .into(),
        Fact::Outside(a) => {
            let protocol = match a.protocol {
                6 => "tcp",
                17 => "udp",
                1 | 58 => "icmp",
                _ => "other",
            };
            let answer = match a.outcome {
                Outside::Unreachable => "unreachable",
                Outside::Timeout => "timeout",
                Outside::Refused => "refused",
                Outside::Sink => "sink",
            };
            kinds::NetConnect {
                protocol: protocol.into(),
                address: a.ip,
                port: a.port,
                name: a.name.map(|n| Bytes(n.into_bytes())),
                answer: answer.into(),
                pid,
                program: program(),
            }
            .into()
        }
        Fact::Listen { addr, port, udp } => kinds::NetListen {
            protocol: if udp { "udp" } else { "tcp" }.into(),
            address: addr,
            port,
            pid,
            program: program(),
        }
        .into(),
        Fact::Kill { target, comm, sig } => kinds::ProcessKill {
            pid: s.pid,
            target: i32::try_from(target).unwrap_or(i32::MAX),
            target_name: Some(String::from_utf8_lossy(&comm).into_owned()),
            signal: sig.into(),
        }
        .into(),
        Fact::Creds { from, to } => kinds::UserBecome {
            pid: s.pid,
            from: from.0,
            to: to.1,
            program: program(),
        }
        .into(),
        Fact::Line { text, .. } => kinds::CommandInput {
            line: bytes(text),
            reader: Some(String::from_utf8_lossy(&s.comm).into_owned()),
            pid,
        }
        .into(),
        Fact::Mount {
            source,
            target,
            fstype,
            ..
        } => kinds::ProtocolRequest {
            name: Bytes::from("mount"),
            accepted: false,
            content: Some(bytes(
                [fstype, b" ".to_vec(), source, b" ".to_vec(), target].concat(),
            )),
        }
        .into(),
        Fact::Module { name, .. } => kinds::ProtocolRequest {
            name: Bytes::from("module"),
            accepted: false,
            content: Some(bytes(name)),
        }
        .into(),
        Fact::Ptrace { request, target } => kinds::ProtocolRequest {
            name: Bytes::from("ptrace"),
            accepted: false,
            content: Some(Bytes(format!("{request} {target}").into_bytes())),
        }
        .into(),
        Fact::Down { how, in_order } => kinds::WorldDown {
            how: how.name().into(),
            in_order,
            pid,
            away_seconds: away(how),
        }
        .into(),
        Fact::Unserved { what } => kinds::WorldGap {
            gap: "kernel".into(),
            detail: what,
            program: program(),
            count: 1,
        }
        .into(),
    };
    vec![one]
}
