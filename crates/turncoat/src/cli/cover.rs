//! `turncoat cover`: the identity that this install shows, another one, and whether the machine contradicts itself.

use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Value as Json, json};
use turncoat_cover::audit::{Finding, Seen, count};
use turncoat_cover::kernels::Kernel;
use turncoat_cover::{Cover, audit};
use turncoat_decoys::boot::{Outside, Snapshot};
use turncoat_kernel::image::Image;

use super::plant::{target, tell_running};
use super::{Context, print};
use crate::config::Settings;
use crate::machine::{self, Machine};
use crate::plant::{self, Plant, Target};
use crate::process::{decoys, install, now};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the identity of this install, and the baits that lie in it
    Show {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Draw another identity and show it; nothing is kept
    New {
        /// What the machine is for: bastion, backup or build.
        #[arg(long)]
        role: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say how two identities differ, and what they share
    Diff {
        /// A file that `cover show --json` or `cover new --json` wrote.
        a: PathBuf,
        /// Another one.
        b: PathBuf,
    },
    /// Become another machine: a new identity from the next start on; the record stays
    Rotate {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Look at the running decoy from outside, log in, and compare what independent sources say
    Audit {
        /// Address or name under which the decoy is reached. Default: where it listens.
        #[arg(long, value_name = "HOST[:PORT]")]
        to: Option<String>,
        /// Look at this many freshly drawn machines in this process instead.
        #[arg(long, value_name = "N")]
        new: Option<u32>,
        /// Of these, only machines of this role.
        #[arg(long, requires = "new")]
        role: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the subcommand.
///
/// # Errors
/// One line for the operator; for an audit also when it found something.
pub fn run(context: &Context, args: &Args) -> Result<(), String> {
    match &args.command {
        Command::Show { json } => {
            let (machine, seed) = current(context)?;
            show(&machine.cover(&seed)?, *json)
        }
        Command::New { role, json } => show(&drawn(context, role.clone())?, *json),
        Command::Diff { a, b } => diff(&read(a)?, &read(b)?),
        Command::Rotate { json } => rotate(context, *json),
        Command::Audit {
            to, new: None, json, ..
        } => audit_running(context, to.as_deref(), *json),
        Command::Audit {
            new: Some(n),
            role,
            json,
            ..
        } => audit_drawn(context, *n, role.as_deref(), *json),
    }
}

fn current(context: &Context) -> Result<(Machine, [u8; 32]), String> {
    context.layout.create().map_err(|e| e.to_string())?;
    let settings = context.settings()?;
    let seed = install::seed(&context.layout)?;
    let machine = machine::look(
        &context.layout,
        &seed,
        &settings,
        kernel(context, &settings),
        now().seconds(),
    )?;
    Ok((machine, seed))
}

/// The kernel of the image that worlds start from, if there is one yet.
fn kernel(context: &Context, settings: &Settings) -> Option<Kernel> {
    let image = machine::shelved(&context.layout, settings)?;
    machine::kernel(&image)
}

fn random() -> Result<[u8; 32], String> {
    let mut bytes = [0u8; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// A machine of a secret that nobody keeps.
fn drawn(context: &Context, role: Option<String>) -> Result<Cover, String> {
    let mut settings = context.settings()?;
    if let Some(role) = role {
        settings.cover.role = role;
    }
    let seed = random()?;
    let mut cover = machine::make(
        &seed,
        &settings,
        &[],
        kernel(context, &settings),
        0,
        now().seconds(),
    )?
    .cover(&seed)?;
    decoys::set_services(&mut cover, &settings);
    Ok(cover)
}

/// The cover as JSON without what is secret: private keys and password fields.
fn public(cover: &Cover) -> Result<Json, String> {
    let mut all = serde_json::to_value(cover).map_err(|e| e.to_string())?;
    if let Some(map) = all.as_object_mut() {
        map.remove("root_hash");
        map.remove("user_hashes");
        let keys = cover.host_keys.as_ref().map(|k| {
            [&k.rsa, &k.ecdsa, &k.ed25519]
                .map(|p| json!({"algorithm": p.algorithm, "fingerprint": p.fingerprint}))
        });
        map.insert("host_keys".into(), json!(keys));
        let baits: Vec<Json> = cover
            .baits_at(now().seconds())
            .iter()
            .map(|b| json!({"id": b.id, "path": b.path, "kind": b.kind, "credentials": b.credentials.len()}))
            .collect();
        map.insert("baits".into(), json!(baits));
    }
    Ok(all)
}

fn show(cover: &Cover, as_json: bool) -> Result<(), String> {
    if as_json {
        return print(&public(cover)?.to_string());
    }
    let (h, hw, n) = (&cover.host, &cover.hardware, &cover.network);
    let time = |t: i64| turncoat_event::Time(t * 1_000_000_000).to_string();
    let people: Vec<String> = cover
        .users
        .iter()
        .map(|u| format!("{}{}", u.name, if u.sudo { " (sudo)" } else { "" }))
        .collect();
    let address = format!(
        "{}/{} on {}, gateway {}",
        n.ipv4, n.prefix, n.interface, n.gateway
    );
    let rows = [
        ("host", h.fqdn()),
        ("role", cover.role.clone()),
        ("zone", h.zone.name.to_string()),
        ("kernel", format!("{} ({})", h.kernel.release, h.kernel.version())),
        ("installed", time(h.installed)),
        ("booted", time(h.booted)),
        (
            "processor",
            format!("{} x {}", hw.cores, hw.processor.name.trim()),
        ),
        ("memory", format!("{} MiB", hw.memory_mib)),
        (
            "disk",
            hw.disks
                .iter()
                .map(|d| format!("{} {} GiB", d.name, d.bytes >> 30))
                .collect::<Vec<_>>()
                .join(", "),
        ),
        (
            "firmware",
            format!("{} {}", hw.dmi.sys_vendor, hw.dmi.product_name),
        ),
        ("address", address),
        ("people", people.join(", ")),
    ];
    for (name, value) in rows {
        print(&format!("{name:<10} {value}"))?;
    }
    if let Some(k) = &cover.host_keys {
        for p in [&k.rsa, &k.ecdsa, &k.ed25519] {
            print(&format!("{:<10} {} {}", "host key", p.algorithm, p.fingerprint))?;
        }
    }
    for b in cover.baits_at(now().seconds()) {
        print(&format!("{:<10} {}  {} ({})", "bait", b.id, b.path, b.kind))?;
    }
    Ok(())
}

fn read(path: &std::path::Path) -> Result<Json, String> {
    let tell = |e: &dyn std::fmt::Display| {
        format!(
            "{}: {e}; write it with `turncoat cover show --json`",
            path.display()
        )
    };
    let bytes = std::fs::read(path).map_err(|e| tell(&e))?;
    serde_json::from_slice(&bytes).map_err(|e| tell(&e))
}

/// Facts by their place in the JSON.
fn leaves(at: &str, value: &Json, out: &mut Vec<(String, String)>) {
    match value {
        Json::Object(map) => {
            for (k, v) in map {
                leaves(&format!("{at}.{k}"), v, out);
            }
        }
        Json::Array(list) => {
            for (i, v) in list.iter().enumerate() {
                leaves(&format!("{at}[{i}]"), v, out);
            }
        }
        Json::String(s) => out.push((at.into(), s.clone())),
        other => out.push((at.into(), other.to_string())),
    }
}

/// Facts that differ, then long ones that both have.
fn diff(a: &Json, b: &Json) -> Result<(), String> {
    let (mut one, mut two) = (Vec::new(), Vec::new());
    leaves("", a, &mut one);
    leaves("", b, &mut two);
    let of = |list: &[(String, String)], at: &str| list.iter().find(|l| l.0 == at).map(|l| l.1.clone());
    let line = |sign: char, at: &str, value: &str| {
        print(&crate::show::line(&format!(
            "{sign} {}: {value}",
            at.trim_start_matches('.')
        )))
    };
    for (at, value) in &one {
        let other = of(&two, at);
        if other.as_ref() != Some(value) {
            line('-', at, value)?;
            if let Some(o) = other {
                line('+', at, &o)?;
            }
        }
    }
    for (at, value) in two.iter().filter(|t| of(&one, &t.0).is_none()) {
        line('+', at, value)?;
    }
    for (at, value) in one
        .iter()
        .filter(|o| o.1.len() >= 12 && of(&two, &o.0).as_ref() == Some(&o.1))
    {
        line('=', at, value)?;
    }
    Ok(())
}

fn rotate(context: &Context, as_json: bool) -> Result<(), String> {
    let (old, seed) = current(context)?;
    let settings = context.settings()?;
    let fresh = machine::make(
        &seed,
        &settings,
        &[],
        kernel(context, &settings),
        old.turn + 1,
        now().seconds(),
    )?;
    // The identity before is kept beside: what the record tells of it can still be understood.
    let path = machine::path(&context.layout);
    let kept = path.with_file_name(format!("cover.{}.json", old.turn));
    std::fs::rename(&path, &kept).map_err(|e| format!("{}: {e}", kept.display()))?;
    machine::write(&context.layout, &fresh)?;
    let (was, is) = (old.cover(&seed)?.host.fqdn(), fresh.cover(&seed)?.host.fqdn());
    if as_json {
        return print(&json!({"was": was, "is": is, "kept": kept}).to_string());
    }
    print(&format!(
        "{was} is now {is} (before: {}). It shows from the next start of `turncoat run` on; the record and what was planted stay.",
        kept.display()
    ))
}

/// The key of an audit, as a file and as something planted, until it is dropped.
struct Pass<'a> {
    context: &'a Context,
    id: String,
    file: PathBuf,
}

impl Pass<'_> {
    fn make(context: &Context) -> Result<Pass<'_>, String> {
        let seed = turncoat_cover::Seed(random()?);
        let id = format!("a-{}", seed.stream("audit").hex(8));
        let pair =
            turncoat_cover::keys::generate(&seed, "audit", turncoat_cover::keys::Algo::Ed25519, "audit")
                .ok_or("no key could be made")?;
        let file = context.layout.run().join(format!("{id}.key"));
        let pass = Pass {
            context,
            id: id.clone(),
            file,
        };
        let mut out = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&pass.file)
            .map_err(|e| format!("{}: {e}", pass.file.display()))?;
        std::io::Write::write_all(&mut out, pair.private.as_bytes()).map_err(|e| e.to_string())?;
        let mut all = plant::load(&context.layout)?;
        all.push(Plant {
            id,
            kind: plant::AUDIT.into(),
            made: now(),
            host: None,
            note: Some("the operator's audit".into()),
            revoked: false,
            user: "root".into(),
            password: None,
            fingerprint: Some(pair.fingerprint),
        });
        plant::save(&context.layout, &all)?;
        tell_running(context);
        Ok(pass)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
        if let Ok(mut all) = plant::load(&self.context.layout) {
            all.retain(|p| p.id != self.id);
            let _ = plant::save(&self.context.layout, &all);
            tell_running(self.context);
        }
    }
}

fn audit_running(context: &Context, to: Option<&str>, as_json: bool) -> Result<(), String> {
    let settings = context.settings()?;
    let target = match (to, settings.ssh.listen.first()) {
        (None, Some(a)) if a.ip().is_unspecified() => Target {
            host: if a.is_ipv4() { "127.0.0.1" } else { "::1" }.into(),
            port: a.port(),
        },
        _ => target(context, to)?,
    };
    let pass = Pass::make(context)?;
    // The running program reads what is planted when it is told.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let seen = crate::audit::over_ssh(&target, &pass.file)?;
    drop(pass);
    let found = audit::run(&seen);
    crate::audit::keep(&context.layout, &target, &found, now())?;
    tell("", &found, as_json)?;
    verdict(found.len(), 1)
}

fn audit_drawn(context: &Context, n: u32, role: Option<&str>, as_json: bool) -> Result<(), String> {
    let settings = context.settings()?;
    let shelved = super::image::find_or_build(&context.layout, &settings)?;
    let file = std::fs::File::open(&shelved.path).map_err(|e| format!("{}: {e}", shelved.path.display()))?;
    let image = Image::open(file).map_err(|e| e.to_string())?;
    let mut all = 0;
    for _ in 0..n {
        let cover = drawn(context, role.map(str::to_owned))?;
        let found = audit::run(&look(&cover, &image, context)?);
        all += found.len();
        tell(
            &format!("{} ({})", cover.host.fqdn(), cover.role),
            &found,
            as_json,
        )?;
    }
    verdict(all, n)
}

/// What a fresh world of this cover shows.
fn look(cover: &Cover, image: &Arc<Image>, context: &Context) -> Result<Seen, String> {
    let entropy: turncoat_decoys::machine::Entropy = Arc::new(|b: &mut [u8]| {
        let _ = rustix::rand::getrandom(b, rustix::rand::GetRandomFlags::empty());
    });
    let mut snapshot = Snapshot::boot(cover, image.clone(), Outside::Timeout, now(), &entropy)?;
    let mut world = snapshot.world(random()?);
    let peer = "198.51.100.7:40123".parse().map_err(|_| "address")?;
    let port = cover.ssh_ports().first().copied().unwrap_or(22);
    let local = std::net::SocketAddr::from((cover.network.ipv4, port));
    let mut seen = crate::audit::in_world(&mut world, peer, local, || now().0.max(0) as u64)?;
    crate::audit::outside(
        &mut seen,
        &decoys::ssh_config(&context.settings()?, cover, image)?,
    );
    Ok(seen)
}

fn tell(whose: &str, found: &[Finding], as_json: bool) -> Result<(), String> {
    if as_json {
        let line = json!({"machine": whose, "checks": count(), "findings": found});
        return print(&line.to_string());
    }
    for f in found {
        let line = format!("{}  {}: {}, but {}", whose, f.id, f.says, f.seen);
        print(&crate::show::line(line.trim_start()))?;
    }
    Ok(())
}

fn verdict(found: usize, machines: u32) -> Result<(), String> {
    if found == 0 {
        eprintln!("{} checks, no contradiction", count() * machines as usize);
        return Ok(());
    }
    Err(format!(
        "{found} contradictions in {} checks",
        count() * machines as usize
    ))
}
