//! Privileges: given up for good, but for the right to block, which is passed on to one process.

use rustix::thread::{CapabilitySet, CapabilitySets};
use turncoat_store::Layout;

/// Gives up privileges for good, where there are any and a user is configured. Where the nftables table is to be kept (`table`), the right
/// to do that stays with the supervisor, unused, so that it can be given to `block` each time that process is started; nobody else has it.
pub(super) fn become_user(name: &str, layout: &Layout, table: bool) -> Result<(), String> {
    use rustix::process::{Gid, Uid, geteuid, getuid};
    if name.is_empty() || !geteuid().is_root() {
        return Ok(());
    }
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(|e| format!("/etc/passwd: {e}"))?;
    let ids = passwd.lines().find_map(|line| {
        let mut parts = line.split(':');
        let (user, _, uid, gid) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        (user == name).then(|| Some((uid.parse::<u32>().ok()?, gid.parse::<u32>().ok()?)))?
    });
    let (uid, gid) = ids.ok_or_else(|| format!("sensor.user: there is no user {name}"))?;
    for dir in [
        layout.root().to_owned(),
        layout.recordings(),
        layout.journals(),
        layout.artifacts(),
        layout.images(),
        layout.run(),
    ] {
        std::os::unix::fs::chown(&dir, Some(uid), Some(gid))
            .map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    // There is one thread: what holds for it will hold for all.
    let kept = if table {
        CapabilitySet::NET_ADMIN
    } else {
        CapabilitySet::empty()
    };
    rustix::thread::set_keep_capabilities(table)
        .and_then(|()| rustix::thread::set_thread_groups(&[gid]))
        .and_then(|()| rustix::thread::set_thread_res_gid(gid, gid, gid))
        .and_then(|()| rustix::thread::set_thread_res_uid(uid, uid, uid))
        .and_then(|()| {
            rustix::thread::set_capabilities(
                None,
                CapabilitySets {
                    effective: CapabilitySet::empty(),
                    permitted: kept,
                    inheritable: CapabilitySet::empty(),
                },
            )
        })
        .and_then(|()| rustix::thread::set_keep_capabilities(false))
        // Nor by a program that somebody left with the set-user-id bit.
        .and_then(|()| rustix::thread::set_no_new_privs(true))
        .map_err(|e| format!("becoming {name}: {e}"))?;
    if getuid() != uid || rustix::thread::set_thread_uid(Uid::ROOT).is_ok() {
        return Err(format!("becoming {name}: privileges did not go away"));
    }
    Ok(())
}

/// Lets programs that this thread starts have CAP_NET_ADMIN, where this thread has it, or no longer. Every other right goes, and none can
/// be used here. As root, programs have them anyway.
pub(super) fn pass_on_net_admin(yes: bool) -> Result<(), String> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let tell = |e: rustix::io::Errno| format!("CAP_NET_ADMIN for the block process: {e}");
    let has = rustix::thread::capabilities(None).map_err(tell)?.permitted;
    let table = has.intersection(CapabilitySet::NET_ADMIN);
    let sets = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: table,
        inheritable: if yes { table } else { CapabilitySet::empty() },
    };
    // What can no longer be inherited is no longer passed on either.
    rustix::thread::set_capabilities(None, sets).map_err(tell)?;
    if !yes || table.is_empty() {
        // Where it lacks, `block` says so in its own words.
        return Ok(());
    }
    rustix::thread::configure_capability_in_ambient_set(CapabilitySet::NET_ADMIN, true).map_err(tell)
}
