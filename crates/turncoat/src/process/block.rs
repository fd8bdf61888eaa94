//! The process that closes the protected side: it holds CAP_NET_ADMIN and one netlink socket, and may do nothing else.
//!
//! `record` sends it, after every change, everything that is to be blocked and for how long yet, as one line of JSON; it writes
//! the whole table anew as one batch, and answers with one line. The kernel lifts each block by itself when its time is over, so nothing
//! stays if this process dies. When the stream ends it removes its table.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use turncoat_event::Time;

use super::{Order, Passed, Report, Role, confine, control, now, say, thread};
use crate::respond::net::Net;
use crate::respond::nft::Nft;
use crate::respond::settings::protected;

/// Everything that is to be blocked.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Push {
    /// Number of the push.
    pub number: u64,
    /// Network and until when.
    pub blocked: Vec<(Net, Time)>,
}

/// What became of a push.
#[derive(Debug, Serialize, Deserialize)]
pub struct Pushed {
    /// Number of the push.
    pub number: u64,
    /// What went wrong, in words.
    pub error: Option<String>,
}

/// `turncoat process block`.
///
/// # Errors
/// One line for the operator.
pub fn main(socket: OwnedFd) -> Result<(), String> {
    let tell = |e: std::io::Error| e.to_string();
    let Some((
        Order::Setup {
            data,
            settings,
            passed,
            ..
        },
        fds,
    )) = control::receive(socket.as_fd()).map_err(tell)?
    else {
        return Err("started without a supervisor".into());
    };
    let fatal = |text: String| super::fatal(socket.as_fd(), text);
    let link = passed
        .into_iter()
        .zip(fds)
        .find_map(|(what, fd)| (what == Passed::Link(Role::Record)).then(|| UnixStream::from(fd)))
        .ok_or("started without a link to the record")?;
    let protected = protected(&settings).map_err(fatal)?;
    let nft = Nft::open().map_err(|e| fatal(format!("block: {e}")))?;
    let missing = confine::confine(Role::Block, &data, &[]);
    nft.replace(&protected, &[]).map_err(|e| {
        fatal(format!(
            "block: cannot write the nftables table inet turncoat: {e}; it needs CAP_NET_ADMIN and nf_tables"
        ))
    })?;
    control::send(socket.as_fd(), &Report::Ready { missing }, &[]).map_err(tell)?;
    thread("control", move || {
        // The end of either stream ends this process; the table goes with it.
        while let Ok(Some((order, _))) = control::receive::<Order>(socket.as_fd()) {
            if matches!(order, Order::Stop) {
                break;
            }
        }
        if let Ok(nft) = Nft::open() {
            let _ = nft.remove();
        }
        std::process::exit(0);
    });
    let mut answer = link.try_clone().map_err(tell)?;
    for line in BufReader::new(link).lines() {
        let Ok(line) = line else { break };
        let Ok(push) = serde_json::from_str::<Push>(&line) else {
            continue;
        };
        let at = now();
        let blocked: Vec<(Net, Duration)> = push
            .blocked
            .iter()
            .filter_map(|(net, until)| {
                Some((*net, Duration::from_nanos(u64::try_from(until.since(at)).ok()?)))
            })
            .filter(|(_, left)| !left.is_zero())
            .collect();
        let error = nft.replace(&protected, &blocked).err().map(|e| e.to_string());
        if let Some(why) = &error {
            say("block", why);
        }
        let mut text = serde_json::to_string(&Pushed {
            number: push.number,
            error,
        })
        .unwrap_or_default();
        text.push('\n');
        if answer.write_all(text.as_bytes()).is_err() {
            break;
        }
    }
    let _ = nft.remove();
    Ok(())
}
