//! `turncoat world`: the machine behind the decoys, on this terminal. Nothing is recorded.

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use clap::Subcommand;
use turncoat_cover::Cover;
use turncoat_decoys::boot::{Outside, Snapshot};
use turncoat_kernel::image::Image;
use turncoat_kernel::{Conn, Input, Open, Out, Slice, Term, World};

use super::Context;
use crate::process::{install, now};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Open an interactive shell in a fresh world
    Shell {
        /// Log in as.
        #[arg(long, default_value = "root")]
        user: String,
    },
    /// Run one command in a fresh world; its output and exit status become ours
    Exec {
        /// Print the system calls on standard error.
        #[arg(long)]
        strace: bool,
        /// Log in as.
        #[arg(long, default_value = "root")]
        user: String,
        /// The command and its arguments; one argument alone goes to the shell as it is.
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
    /// Run a recorded session's world again from its journal, and compare
    Rerun(super::rerun::Args),
}

/// Instructions between two looks at the terminal.
const SLICE: u64 = 1_000_000;

fn entropy(buffer: &mut [u8]) {
    // The system's generator does not fail once it is up; what it left out stays zero and only makes the world less random.
    let _ = rustix::rand::getrandom(buffer, rustix::rand::GetRandomFlags::empty());
}

/// The cover that this install shows, and the image behind it: the same for decoys, fresh worlds and reruns.
/// `as_kept`: the machine of the last start, whatever the configuration says by now.
pub(super) fn machine(context: &Context, as_kept: bool) -> Result<(Cover, Arc<Image>), String> {
    let layout = &context.layout;
    layout.create().map_err(|e| e.to_string())?;
    let settings = context.settings()?;
    let seed = install::seed(layout)?;
    let shelved = super::image::find_or_build(layout, &settings)?;
    let file = std::fs::File::open(&shelved.path).map_err(|e| format!("{}: {e}", shelved.path.display()))?;
    let image = Image::open(file).map_err(|e| e.to_string())?;
    let machine = if as_kept {
        crate::machine::load(layout)?
    } else {
        let kernel = crate::machine::kernel(&image);
        crate::machine::look(layout, &seed, &settings, kernel, now().seconds())?
    };
    let mut cover = machine.cover(&seed)?;
    crate::process::decoys::set_services(&mut cover, &settings);
    Ok((cover, image))
}

/// A fresh world of this install's machine.
pub(super) fn fresh(context: &Context) -> Result<World, String> {
    let (cover, image) = machine(context, false)?;
    let random: turncoat_decoys::machine::Entropy = Arc::new(entropy);
    let mut snapshot = Snapshot::boot(&cover, image, Outside::Timeout, now(), &random)?;
    let mut own = [0u8; 32];
    entropy(&mut own);
    Ok(snapshot.world(own))
}

fn quoted(words: &[String]) -> String {
    if let [one] = words {
        return one.clone();
    }
    words
        .iter()
        .map(|w| format!("'{}'", w.replace('\'', "'\\''")))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs the subcommand.
///
/// # Errors
/// One line for the operator.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode, String> {
    if let Command::Rerun(args) = &args.command {
        return super::rerun::run(context, args).map(|()| ExitCode::SUCCESS);
    }
    let mut world = fresh(context)?;
    let local = "127.0.0.1:22".parse().map_err(|_| "address")?;
    let mut open = Open {
        user: Vec::new(),
        account: None,
        env: Vec::new(),
        term: None,
        command: None,
        peer: "127.0.0.1:40000".parse().map_err(|_| "address")?,
        local,
        greet: true,
        method: String::new(),
        sshd: None,
    };
    let interactive = match &args.command {
        Command::Shell { user } => {
            open.user = user.clone().into_bytes();
            let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
            open.term = Some(Term {
                name: std::env::var("TERM")
                    .unwrap_or_else(|_| "xterm".into())
                    .into_bytes(),
                rows: size.map_or(24, |s| s.ws_row),
                cols: size.map_or(80, |s| s.ws_col),
                xpixel: 0,
                ypixel: 0,
                modes: Vec::new(),
            });
            true
        }
        Command::Exec {
            user,
            command,
            strace,
        } => {
            open.user = user.clone().into_bytes();
            open.command = Some(quoted(command).into_bytes());
            open.greet = false;
            world.set_trace(*strace);
            false
        }
        Command::Rerun(_) => false,
    };
    let user = String::from_utf8_lossy(&open.user).into_owned();
    let conn = world
        .open(open)
        .map_err(|e| format!("cannot log in as {user}: {}", e.name()))?;
    let raw = Raw::set(interactive);
    let status = talk(&mut world, conn);
    drop(raw);
    Ok(ExitCode::from(status))
}

/// The terminal in raw mode, until it is dropped.
struct Raw(Option<rustix::termios::Termios>);

impl Raw {
    fn set(wanted: bool) -> Raw {
        let stdin = std::io::stdin();
        if !wanted || !stdin.is_terminal() {
            return Raw(None);
        }
        let Ok(before) = rustix::termios::tcgetattr(&stdin) else {
            return Raw(None);
        };
        let mut raw = before.clone();
        raw.make_raw();
        let _ = rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &raw);
        Raw(Some(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ =
                rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, before);
        }
    }
}

/// Carries bytes between this terminal and the login until it ends. Gives its exit status.
fn talk(world: &mut World, conn: Conn) -> u8 {
    let (send, receive) = channel::<Option<Vec<u8>>>();
    std::thread::spawn(move || {
        let mut buffer = [0u8; 4096];
        loop {
            match std::io::stdin().lock().read(&mut buffer) {
                Ok(0) | Err(_) => {
                    let _ = send.send(None);
                    return;
                }
                Ok(n) => {
                    if send
                        .send(Some(buffer.get(..n).unwrap_or_default().to_vec()))
                        .is_err()
                    {
                        return;
                    }
                }
            }
        }
    });
    let mut status = 0;
    let mut held: Vec<u8> = Vec::new();
    let mut eof = false;
    loop {
        if !held.is_empty() {
            let n = world.room(conn).min(held.len());
            let rest = held.split_off(n);
            if n > 0 {
                world.input(conn, Input::Data(std::mem::replace(&mut held, rest)));
            } else {
                held = rest;
            }
        } else if eof {
            eof = false;
            world.input(conn, Input::Eof);
        }
        let slice = world.run(SLICE, now().0.max(0) as u64);
        for line in world.take_trace() {
            eprintln!("{line}");
        }
        let (outputs, _) = world.drain();
        for o in outputs.into_iter().filter(|o| o.conn == conn) {
            match o.out {
                Out::Data { stderr: false, bytes } => {
                    let mut out = std::io::stdout().lock();
                    let _ = out.write_all(&bytes).and_then(|()| out.flush());
                }
                Out::Data { bytes, .. } => {
                    let _ = std::io::stderr().write_all(&bytes);
                }
                Out::Exit { status: s } => status = s,
                Out::Signal { sig, .. } => status = 128u8.saturating_add(sig),
                Out::Close => return status,
                Out::Eof | Out::Secret { .. } | Out::Entered => {}
            }
        }
        let wait = match slice {
            Slice::Busy => Duration::ZERO,
            Slice::Dead => return status,
            Slice::Idle { wake_at } => {
                let until = wake_at.map_or(1_000_000_000, |t| t.saturating_sub(now().0.max(0) as u64));
                Duration::from_nanos(until.min(1_000_000_000))
            }
        };
        match receive.recv_timeout(wait) {
            Ok(Some(bytes)) => held.extend(bytes),
            Ok(None) => eof = true,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                if !wait.is_zero() {
                    std::thread::sleep(wait);
                }
            }
        }
    }
}
