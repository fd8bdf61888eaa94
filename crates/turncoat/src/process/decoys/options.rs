//! What the settings make of the machine: how its sshd is configured, what its image needs, and who is let in.

use std::net::IpAddr;
use std::sync::Arc;

use turncoat_cover::Cover;
use turncoat_decoys::auth::{Judge, Limits, Policy, UserDb};
use turncoat_decoys::ssh::MaxStartups;
use turncoat_kernel::image::Image;
use turncoat_ssh::{HostKey, Moduli, PermitRootLogin, ServerConfig};
use turncoat_store::privacy::hmac_sha256;

use crate::config::Settings;
use crate::config::table::{Policy as PolicySetting, Watch};

/// The policy that is really in force: "auto" follows where the sensor stands.
pub fn policy_of(settings: &Settings) -> PolicySetting {
    match (settings.ssh_auth.policy, settings.watch.kind) {
        (PolicySetting::Auto, Watch::Internal) => PolicySetting::Never,
        (PolicySetting::Auto, Watch::Internet) => PolicySetting::AfterTries,
        (chosen, _) => chosen,
    }
}

/// `sshd_config` as the policy really behaves: what differs from the package's file.
pub fn sshd_options(settings: &Settings) -> Vec<(String, String)> {
    let root = match policy_of(settings) {
        PolicySetting::AfterTries | PolicySetting::List => "yes",
        _ => "prohibit-password",
    };
    [
        ("PermitRootLogin".into(), root.into()),
        ("PasswordAuthentication".into(), "yes".into()),
    ]
    .into_iter()
    .chain(port(settings))
    .chain(startups_option(settings))
    .collect()
}

/// `MaxStartups`, where it is not the default.
fn startups_option(settings: &Settings) -> Option<(String, String)> {
    let set = &settings.ssh.max_startups;
    (*set != MaxStartups::DEBIAN.to_string()).then(|| {
        // What is not bounded here has a bound that nobody meets there.
        let shown = MaxStartups::parse(set).flatten().unwrap_or(MaxStartups::NEVER);
        ("MaxStartups".into(), shown.to_string())
    })
}

/// The machine's own port, where it is not 22.
fn port(settings: &Settings) -> Option<(String, String)> {
    let own = settings.cover.ssh_port;
    (own != 22).then(|| ("Port".into(), own.to_string()))
}

/// Sets the cover's services as the settings have them.
pub fn set_services(cover: &mut Cover, settings: &Settings) {
    cover.sshd_options = sshd_options(settings);
    cover.telnet = !settings.telnet.listen.is_empty();
}

/// What an image needs beyond the usual small server where telnet is served: as arguments of `turncoat image build`.
pub const TELNET_PACKAGES: [&str; 3] = ["+inetutils-telnetd", "+openbsd-inetd", "+rsyslog"];

/// Whether the image has what the settings want served.
///
/// # Errors
/// One line for the operator.
pub fn check_image(settings: &Settings, image: &Image) -> Result<(), String> {
    let packages = image.packages();
    let has = |name: &str| packages.iter().any(|p| p.name == name);
    if settings.telnet.listen.is_empty() || (has("inetutils-telnetd") && has("openbsd-inetd")) {
        return Ok(());
    }
    Err(format!(
        "telnet.listen: the image has no telnetd; build one that has: turncoat image build {}",
        TELNET_PACKAGES.join(" ")
    ))
}

/// The server's configuration: versions from the image's packages, keys from the cover, permissions from the policy.
///
/// # Errors
/// One line for the operator.
pub fn ssh_config(settings: &Settings, cover: &Cover, image: &Image) -> Result<ServerConfig, String> {
    let version = image
        .packages()
        .into_iter()
        .find(|p| p.name == "openssh-server")
        .map(|p| p.version.clone())
        .ok_or("the image has no openssh-server: build one with it (`turncoat image build`)")?;
    // 1:9.2p1-2+deb12u7 is OpenSSH_9.2p1 Debian-2+deb12u7.
    let plain = version.split_once(':').map_or(version.as_str(), |v| v.1);
    let (upstream, debian) = plain
        .split_once('-')
        .ok_or_else(|| format!("openssh-server has an odd version: {version}"))?;
    let read = |path: &str| -> Option<Vec<u8>> {
        let ino = image.resolve(path.as_bytes()).ok()??;
        image.read_all(ino, 4 << 20).ok()
    };
    let moduli = read("/etc/ssh/moduli")
        .map(|m| Moduli::parse(&String::from_utf8_lossy(&m)))
        .unwrap_or_default();
    let keys = cover.host_keys.as_ref().ok_or("the cover has no host keys")?;
    let mut host_keys = Vec::new();
    for pair in [&keys.rsa, &keys.ecdsa, &keys.ed25519] {
        host_keys.push(Arc::new(
            HostKey::from_openssh(&pair.private).map_err(|e| format!("a host key of the cover: {e}"))?,
        ));
    }
    let banner = format!("SSH-2.0-OpenSSH_{upstream} Debian-{debian}");
    let mut config = ServerConfig::debian12(&banner, host_keys, Arc::new(moduli));
    config.login_grace_time = settings.limits.login_time.duration();
    config.permit_root_login = match policy_of(settings) {
        PolicySetting::AfterTries | PolicySetting::List => PermitRootLogin::Yes,
        _ => PermitRootLogin::ProhibitPassword,
    };
    Ok(config)
}

/// Who decides about logins, by the settings.
pub(super) fn judge(settings: &Settings, seed: &[u8; 32], userdb: &[u8]) -> Result<Judge, String> {
    let (min, max) = tries(settings);
    let policy = match policy_of(settings) {
        PolicySetting::AfterTries | PolicySetting::Auto => Policy::AfterTries { min, max },
        PolicySetting::List => {
            Policy::List(UserDb::parse(userdb).map_err(|e| format!("ssh.auth.file: {e}"))?)
        }
        PolicySetting::Never => Policy::Never,
        PolicySetting::Tokens => Policy::Tokens,
    };
    Ok(Judge::new(policy, hmac_sha256(seed, b"tries"), Limits::default()))
}

fn tries(settings: &Settings) -> (u32, u32) {
    let bound = |n: u64, default| u32::try_from(n).unwrap_or(default).max(1);
    (
        bound(settings.ssh_auth.min_tries, 2),
        bound(settings.ssh_auth.max_tries, 5),
    )
}

/// How to log in from `source`, in a few words for the operator.
pub fn how_to_log_in(settings: &Settings, seed: &[u8; 32], source: IpAddr) -> String {
    match policy_of(settings) {
        PolicySetting::AfterTries | PolicySetting::Auto => {
            let (min, max) = tries(settings);
            // The number is the source's own; with the list empty there is nothing to parse.
            let n = judge(settings, seed, b"").map_or(max, |j| j.needed(source, min, max));
            let ending = match n {
                1 => "st",
                2 => "nd",
                3 => "rd",
                _ => "th",
            };
            format!("any password; from here the {n}{ending} try is let in")
        }
        PolicySetting::List => format!("with a login of {}", settings.ssh_auth.file),
        PolicySetting::Tokens => "with a planted credential: turncoat plant credential --help".into(),
        PolicySetting::Never => "nobody is let in by guessing; every try is recorded".into(),
    }
}
