//! `turncoat plant`: things to plant on real machines, what is planted, and what no longer works.

use clap::Subcommand;
use serde_json::json;

use super::{Context, print};
use crate::plant::{self, KINDS, Target};
use crate::process::{install, now};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args)]
struct New {
    /// The machine it is planted on.
    #[arg(long = "for", value_name = "HOST")]
    host: Option<String>,
    /// Where exactly, in your words.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Address or name under which the decoy is reached.
    #[arg(long, value_name = "HOST[:PORT]")]
    to: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// A user and a password that work at the decoy
    Credential(New),
    /// A private key and an entry for ~/.ssh/config that lead to the decoy
    SshConfig(New),
    /// Lines of a shell history with a password on the command line
    History(New),
    /// A line for ~/.ssh/known_hosts that names the decoy
    KnownHosts(New),
    /// List what is planted
    Ls {
        /// As JSON lines.
        #[arg(long)]
        json: bool,
    },
    /// Let a planted thing no longer work; its use is still recorded
    Revoke {
        /// Its id.
        id: String,
    },
}

/// Where the decoy is reached: as told, or by the first address that it listens on.
pub(super) fn target(context: &Context, to: Option<&str>) -> Result<Target, String> {
    let settings = context.settings()?;
    let listen = settings.ssh.listen.first();
    let port = listen.map_or(22, std::net::SocketAddr::port);
    match to {
        Some(to) => match to.rsplit_once(':').filter(|(h, _)| !h.contains(':')) {
            Some((host, p)) => Ok(Target {
                host: host.into(),
                port: p.parse().map_err(|_| format!("--to: {p:?} is no port"))?,
            }),
            None => Ok(Target {
                host: to.into(),
                port,
            }),
        },
        None => match listen {
            Some(a) if !a.ip().is_unspecified() => Ok(Target {
                host: a.ip().to_string(),
                port,
            }),
            _ => Err("say with --to HOST[:PORT] under which address the decoy is reached".into()),
        },
    }
}

/// Tells a running program that something changed. Without one, the next start reads it.
pub(super) fn tell_running(context: &Context) {
    let Ok(text) = std::fs::read_to_string(context.layout.run().join("program")) else {
        return;
    };
    let held = std::fs::File::open(context.layout.run().join("program"))
        .map(|f| matches!(f.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
        .unwrap_or(false);
    if let Some(pid) = text
        .trim()
        .parse()
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .filter(|_| held)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::HUP);
    }
}

/// Runs the subcommand.
///
/// # Errors
/// One line for the operator.
pub fn run(context: &Context, args: &Args) -> Result<(), String> {
    let layout = &context.layout;
    layout.create().map_err(|e| e.to_string())?;
    let (kind, new) = match &args.command {
        Command::Credential(new) => ("credential", new),
        Command::SshConfig(new) => ("ssh-config", new),
        Command::History(new) => ("history", new),
        Command::KnownHosts(new) => ("known-hosts", new),
        Command::Ls { json } => {
            for p in plant::load(layout)?
                .into_iter()
                .filter(|p| p.kind != plant::AUDIT)
            {
                if *json {
                    print(&serde_json::to_string(&p).map_err(|e| e.to_string())?)?;
                } else {
                    let state = if p.revoked { "  revoked" } else { "" };
                    let line = format!(
                        "{}  {}  {:<12} {:<10} {}{state}",
                        p.id,
                        p.made,
                        p.kind,
                        p.user,
                        p.place()
                    );
                    print(&crate::show::line(&line))?;
                }
            }
            return Ok(());
        }
        Command::Revoke { id } => {
            let mut all = plant::load(layout)?;
            let found = all
                .iter_mut()
                .find(|p| p.id == *id)
                .ok_or_else(|| format!("nothing planted is called {id}; see `turncoat plant ls`"))?;
            found.revoked = true;
            plant::save(layout, &all)?;
            tell_running(context);
            return Ok(());
        }
    };
    debug_assert!(KINDS.iter().any(|k| k.name == kind));
    let settings = context.settings()?;
    let seed = install::seed(layout)?;
    let machine = crate::machine::look(layout, &seed, &settings, None, now().seconds())?;
    let cover = machine.cover(&seed)?;
    let target = target(context, new.to.as_deref())?;
    let mut entropy = [0u8; 32];
    rustix::rand::getrandom(&mut entropy, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| e.to_string())?;
    let (made, text) = plant::make(
        kind,
        &cover,
        &target,
        new.host.clone(),
        new.note.clone(),
        entropy,
        now(),
    )?;
    let mut all = plant::load(layout)?;
    all.push(made.clone());
    plant::save(layout, &all)?;
    tell_running(context);
    if new.json {
        print(&json!({"planted": made, "text": text}).to_string())
    } else {
        let tells = if made.password.is_some() || made.fingerprint.is_some() {
            "its use at any decoy is the event token.used"
        } else {
            "it leads to the decoy; who comes by it looks like anybody who comes"
        };
        eprintln!(
            "{} ({}): {tells}. To plant at {}:",
            made.id,
            made.kind,
            made.place()
        );
        print(text.trim_end())
    }
}
