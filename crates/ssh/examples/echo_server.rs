//! An SSH server with an echo for a shell: `echo_server PORT KEYFILE... [--user NAME:PASSWORD] [--key FINGERPRINT]
//! [--kbdint] [--rekey BYTES] [--quiet]`.

#[path = "../tests/host/mod.rs"]
mod host;

use std::sync::Arc;
use turncoat_ssh::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let port: u16 = args.next().ok_or("usage: echo_server PORT KEYFILE...")?.parse()?;
    let mut policy = host::Policy {
        verbose: true,
        ..Default::default()
    };
    let (mut keys, mut kbdint, mut rekey) = (Vec::new(), false, 0);
    while let Some(a) = args.next() {
        match a.as_str() {
            "--user" => {
                let v = args.next().unwrap_or_default();
                let (user, password) = v.split_once(':').ok_or("--user NAME:PASSWORD")?;
                policy.passwords.insert(user.into(), password.into());
            }
            "--key" => policy.keys.push(args.next().unwrap_or_default()),
            "--kbdint" => kbdint = true,
            "--rekey" => rekey = args.next().unwrap_or_default().parse()?,
            "--quiet" => policy.verbose = false,
            file => keys.push(Arc::new(HostKey::from_openssh(&std::fs::read_to_string(file)?)?)),
        }
    }
    let moduli = std::fs::read_to_string("/etc/ssh/moduli").unwrap_or_default();
    let mut config = ServerConfig::debian12(
        "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10",
        keys,
        Arc::new(Moduli::parse(&moduli)),
    );
    config.permit_root_login = PermitRootLogin::Yes;
    config.auth.keyboard_interactive = kbdint;
    config.rekey_bytes = rekey;
    let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
    host::listen(listener, Arc::new(config), policy);
    Ok(())
}
