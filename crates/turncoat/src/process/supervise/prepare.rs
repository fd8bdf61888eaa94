//! What must be there before the first process starts: ports, and what lies behind the decoys.

use super::{Listening, Plan};
use crate::config::Settings;
use crate::process::{control, listen, say};

/// Binds every decoy's addresses.
pub(super) fn bind(settings: &Settings) -> Result<Vec<Listening>, String> {
    let defaults = Settings::default();
    let wanted = [
        ("ssh", &settings.ssh.listen, &defaults.ssh.listen),
        ("telnet", &settings.telnet.listen, &defaults.telnet.listen),
        ("echo", &settings.echo.listen, &defaults.echo.listen),
    ];
    let mut bound = Vec::new();
    for (decoy, addresses, default) in wanted {
        for address in addresses {
            match listen::tcp(*address) {
                Ok(listener) => {
                    let real = listener.local_addr().map_or(*address, |a| a);
                    bound.push(Listening {
                        decoy,
                        shown: format!("{decoy} {real}"),
                        fd: listener.into(),
                    });
                }
                Err(error) if default == addresses && address.is_ipv6() && listen::no_ipv6(&error) => {}
                Err(error) => {
                    let hint = match error.kind() {
                        std::io::ErrorKind::PermissionDenied => {
                            "; ports below 1024 want privileges: listen on 2222 and redirect, see docs/install.md"
                        }
                        std::io::ErrorKind::AddrInUse => {
                            "; another program listens there, or another Turncoat"
                        }
                        _ => "",
                    };
                    return Err(format!("{decoy}: cannot listen on {address}: {error}{hint}"));
                }
            }
        }
    }
    if bound.len() + 4 > control::MOST_FDS {
        return Err(format!(
            "too many addresses to listen on: the most is {}",
            control::MOST_FDS - 4
        ));
    }
    Ok(bound)
}

/// Binds the console's addresses. The default one may be in use by another Turncoat: then this one goes without, and says so.
pub(super) fn bind_console(settings: &Settings) -> Result<Vec<Listening>, String> {
    let addresses = &settings.console.listen;
    let default = *addresses == Settings::default().console.listen;
    let mut bound = Vec::new();
    for address in addresses {
        match listen::tcp(*address) {
            Ok(listener) => bound.push(Listening {
                decoy: "console",
                shown: listener.local_addr().unwrap_or(*address).to_string(),
                fd: listener.into(),
            }),
            Err(error) if default => say(
                "run",
                &format!(
                    "no console: cannot listen on {address}: {error}; set console.listen to another port"
                ),
            ),
            Err(error) => return Err(format!("console: cannot listen on {address}: {error}")),
        }
    }
    Ok(bound)
}

type Behind = (crate::machine::Machine, std::fs::File, Option<std::fs::File>);

/// What lies behind the decoys: the machine they show, the image (built if there is none), the list of logins. Nothing where no decoy
/// with a world listens.
pub(super) fn behind_decoys(plan: &Plan, seed: &[u8; 32]) -> Result<Option<Behind>, String> {
    use crate::config::table::Policy;
    let settings = &plan.settings;
    if settings.ssh.listen.is_empty() && settings.telnet.listen.is_empty() {
        return Ok(None);
    }
    let mut listed = Vec::new();
    let mut userdb = None;
    if crate::process::decoys::policy_of(settings) == Policy::List {
        let path = &settings.ssh_auth.file;
        let text = std::fs::read(path).map_err(|e| format!("ssh.auth.file: {path}: {e}"))?;
        let db =
            turncoat_decoys::auth::UserDb::parse(&text).map_err(|e| format!("ssh.auth.file: {path}: {e}"))?;
        let name = |u: &[u8]| {
            std::str::from_utf8(u)
                .ok()
                .filter(|u| turncoat_cover::valid_user(u))
                .map(str::to_owned)
        };
        listed = db.users().filter_map(name).filter(|u| u != "root").collect();
        listed.sort();
        listed.dedup();
        userdb = Some(std::fs::File::open(path).map_err(|e| format!("ssh.auth.file: {path}: {e}"))?);
    }
    let now = crate::process::now().seconds();
    // What contradicts itself is said before an image is built for it.
    crate::machine::check(&plan.layout, settings, now)?;
    let shelved = crate::cli::image::find_or_build(&plan.layout, settings)?;
    let image = std::fs::File::open(&shelved.path).map_err(|e| format!("{}: {e}", shelved.path.display()))?;
    let opened = image.try_clone().map_err(|e| e.to_string())?;
    let opened = turncoat_kernel::image::Image::open(opened).map_err(|e| e.to_string())?;
    crate::machine::packages(&opened, settings)?;
    crate::process::decoys::check_image(settings, &opened)?;
    let kernel = crate::machine::kernel(&opened);
    let machine = crate::machine::load_or_make(&plan.layout, seed, settings, &listed, kernel, now)?;
    machine.cover(seed)?;
    Ok(Some((machine, image, userdb)))
}
