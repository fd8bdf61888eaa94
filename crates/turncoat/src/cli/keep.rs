//! `turncoat forget`, `backup` and `restore`.

use std::path::PathBuf;

use serde_json::json;
use turncoat_store::{Durability, InstallKey, Source, StoreError, Writer};

use super::{Context, print};
use crate::process::requests::{NotRunning, ask};
use crate::{process, show};

#[derive(clap::Args)]
pub struct ForgetArgs {
    /// An address or a network, such as 192.0.2.7 or 2001:db8::/64
    source: Source,
}

#[derive(clap::Args)]
pub struct BackupArgs {
    /// An empty directory, or one that is not there yet
    dir: PathBuf,
}

#[derive(clap::Args)]
pub struct RestoreArgs {
    /// The directory of a backup
    dir: PathBuf,
}

pub fn forget(context: &Context, args: &ForgetArgs) -> Result<(), String> {
    let request = json!({"ask": "forget", "source": args.source.to_string()});
    let (gone, open) = match ask(&context.layout.control(), &request)? {
        Ok(answer) => (
            answer["sessions"].as_u64().unwrap_or(0),
            answer["open"].as_u64().unwrap_or(0),
        ),
        Err(NotRunning) => {
            // Nobody writes the record now: we do.
            context.reader()?;
            let settings = context.settings()?;
            let sensor = settings
                .sensor
                .name
                .parse()
                .map_err(|e| format!("sensor.name: {e}"))?;
            let key = InstallKey::derive(&process::install::seed(&context.layout)?, "secret");
            let tell = |e: StoreError| e.to_string();
            let mut writer =
                Writer::open(&context.layout, &sensor, key, Durability::Process).map_err(tell)?;
            let done = writer.forget(&args.source).map_err(tell)?;
            turncoat_intel::Keeper::open(writer.database(), turncoat_intel::Rules::default())
                .and_then(|mut keeper| keeper.purge(writer.database()))
                .map_err(tell)?;
            let left =
                process::record::operator_action("local", "forget", Some(format!("{} sessions", done.0)));
            writer.append(&[left.into()]).map_err(tell)?;
            done
        }
    };
    print(&format!("{gone} sessions of {} forgotten", args.source))?;
    if open > 0 {
        print(&format!(
            "{open} of its sessions are open: forget it again when they are closed"
        ))?;
    }
    Ok(())
}

pub fn backup(context: &Context, args: &BackupArgs) -> Result<(), String> {
    context.reader()?;
    let size = turncoat_store::keep::backup(&context.layout, &args.dir).map_err(|e| e.to_string())?;
    print(&format!(
        "{} in {}; it holds the install's secret: keep it as closely as the record",
        show::size(size.total()),
        args.dir.display()
    ))
}

pub fn restore(context: &Context, args: &RestoreArgs) -> Result<(), String> {
    let size = turncoat_store::keep::restore(&args.dir, &context.layout).map_err(|e| e.to_string())?;
    print(&format!(
        "{} restored to {}",
        show::size(size.total()),
        context.layout.root().display()
    ))
}
