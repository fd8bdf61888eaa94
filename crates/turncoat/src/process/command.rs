//! The operator's own program for blocks (`block.command`), run by the supervisor: the only process that may start another.
//!
//! `COMMAND block NETWORK SECONDS` and `COMMAND unblock NETWORK`, one at a time, in order, without a shell. What is told is always
//! everything that is blocked; what has to be run is the difference. At the end of the program everything is unblocked. One run is
//! given 30 seconds.

use std::collections::BTreeMap;
use std::process::{Command as Program, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use turncoat_event::Time;

use super::{now, say};
use crate::respond::net::Net;

/// For one run.
const PATIENCE: Duration = Duration::from_secs(30);

/// The thread that runs the program.
pub struct Command {
    to: Sender<Vec<(Net, Time)>>,
    thread: std::thread::JoinHandle<()>,
}

impl Command {
    /// Starts the thread, where a program is configured.
    pub fn start(program: &str) -> Option<Command> {
        if program.is_empty() {
            return None;
        }
        let program = program.to_owned();
        let (to, told) = channel::<Vec<(Net, Time)>>();
        let thread = std::thread::Builder::new()
            .name("command".into())
            .spawn(move || {
                let mut known = BTreeMap::new();
                while let Ok(mut wanted) = told.recv() {
                    // Only the newest counts.
                    while let Ok(newer) = told.try_recv() {
                        wanted = newer;
                    }
                    apply(&mut known, &wanted, now(), &mut |args| run(&program, args));
                }
                apply(&mut known, &[], now(), &mut |args| run(&program, args));
            })
            .ok()?;
        Some(Command { to, thread })
    }

    /// Everything that is blocked now.
    pub fn tell(&self, blocked: Vec<(Net, Time)>) {
        let _ = self.to.send(blocked);
    }

    /// Unblocks everything and ends.
    pub fn finish(self) {
        drop(self.to);
        let _ = self.thread.join();
    }
}

/// Runs what leads from what is known to what is wanted. What failed is not known afterwards, and is tried at the next change.
fn apply(
    known: &mut BTreeMap<Net, Time>,
    wanted: &[(Net, Time)],
    at: Time,
    run: &mut dyn FnMut(&[&str]) -> bool,
) {
    let wanted: BTreeMap<Net, Time> = wanted.iter().copied().collect();
    let gone: Vec<Net> = known
        .keys()
        .filter(|n| !wanted.contains_key(n))
        .copied()
        .collect();
    for net in gone {
        if run(&["unblock", &net.to_string()]) {
            known.remove(&net);
        }
    }
    for (net, until) in wanted {
        let left = until.since(at) / 1_000_000_000;
        if known.get(&net) != Some(&until) && left > 0 && run(&["block", &net.to_string(), &left.to_string()])
        {
            known.insert(net, until);
        }
    }
}

fn run(program: &str, args: &[&str]) -> bool {
    let tell = |what: String| {
        say("run", &format!("{program} {}: {what}", args.join(" ")));
        false
    };
    let started = Program::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(e) => return tell(e.to_string()),
    };
    let until = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return true,
            Ok(Some(status)) => return tell(status.to_string()),
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return tell(format!("did not end within {} s", PATIENCE.as_secs()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_differences_are_run_and_failures_again() {
        let net = |t: &str| t.parse::<Net>().unwrap();
        let t = |s: i64| Time(s * 1_000_000_000);
        let mut known = BTreeMap::new();
        let mut said: Vec<String> = Vec::new();
        let mut go = |wanted: &[(Net, Time)], works: bool| {
            let mut said = Vec::new();
            apply(&mut known, wanted, t(10), &mut |args| {
                said.push(args.join(" "));
                works
            });
            said
        };
        let one = [(net("192.0.2.1"), t(70))];
        said.extend(go(&one, false));
        said.extend(go(&one, true));
        said.extend(go(&one, true));
        said.extend(go(
            &[(net("192.0.2.1"), t(90)), (net("2001:db8::5/64"), t(70))],
            true,
        ));
        said.extend(go(&[(net("2001:db8::5/64"), t(70))], true));
        said.extend(go(&[(net("192.0.2.9"), t(5))], true));
        assert_eq!(
            said,
            [
                "block 192.0.2.1 60",
                "block 192.0.2.1 60",
                "block 192.0.2.1 80",
                "block 2001:db8::/64 60",
                "unblock 192.0.2.1",
                "unblock 2001:db8::/64",
            ]
        );
    }
}
