//! What a server is: banner, algorithms, keys, limits, permissions. Data only, shared by every connection.
//!
//! [`ServerConfig::debian12`] gives what `sshd -T` prints on a fresh Debian 12; a host changes fields as its
//! cover's `sshd_config` says.

use crate::Time;
use crate::kex::gex::Moduli;
use crate::keys::HostKey;
use std::sync::Arc;
use std::time::Duration;

/// `PermitRootLogin` (sshd_config(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PermitRootLogin {
    /// Any method.
    Yes,
    /// `prohibit-password`: neither password nor keyboard-interactive.
    ProhibitPassword,
    /// As above, and only with a forced command. The host decides about the command.
    ForcedCommandsOnly,
    /// Never.
    No,
}

/// Which authentication methods are on (sshd_config(5)).
#[derive(Debug, Clone)]
pub struct AuthMethods {
    /// `PasswordAuthentication`.
    pub password: bool,
    /// `PubkeyAuthentication`.
    pub pubkey: bool,
    /// `KbdInteractiveAuthentication` (with `UsePAM`).
    pub keyboard_interactive: bool,
    /// `PermitEmptyPasswords`: lets the method "none" try an empty password.
    pub empty_passwords: bool,
}

/// What may be forwarded (sshd_config(5)). The host still decides about each connection.
#[derive(Debug, Clone)]
pub struct Forwarding {
    /// `AllowTcpForwarding` for connections that the client asks us to open.
    pub tcp_local: bool,
    /// `AllowTcpForwarding` for ports that the client asks us to listen on.
    pub tcp_remote: bool,
    /// `AllowStreamLocalForwarding`, connections.
    pub streamlocal_local: bool,
    /// `AllowStreamLocalForwarding`, listening.
    pub streamlocal_remote: bool,
    /// `AllowAgentForwarding`.
    pub agent: bool,
    /// `X11Forwarding`.
    pub x11: bool,
    /// `GatewayPorts yes`.
    pub gateway_ports: bool,
}

/// `Compression` (sshd_config(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Offers `none,zlib@openssh.com`.
    Delayed,
    /// Offers `none`.
    Off,
}

/// The whole configuration of one server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Identification string without CR LF, for example `SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10`.
    pub version: String,
    /// Key exchange algorithms in order, without the markers `ext-info-s` and `kex-strict-s-v00@openssh.com`.
    pub kex: Vec<String>,
    /// Ciphers in order, both directions.
    pub ciphers: Vec<String>,
    /// MACs in order, both directions.
    pub macs: Vec<String>,
    /// Host keys in the order of the `HostKey` lines.
    pub host_keys: Vec<Arc<HostKey>>,
    /// Public key algorithms accepted from users (`PubkeyAcceptedAlgorithms`).
    pub pubkey_accepted: Vec<String>,
    /// What the extension `server-sig-algs` says.
    pub server_sig_algs: String,
    /// Groups for diffie-hellman-group-exchange (the text of `/etc/ssh/moduli`).
    pub moduli: Arc<Moduli>,
    /// `Compression`.
    pub compression: Compression,
    /// Authentication methods that are on.
    pub auth: AuthMethods,
    /// `PermitRootLogin`.
    pub permit_root_login: PermitRootLogin,
    /// `MaxAuthTries`.
    pub max_auth_tries: u32,
    /// `LoginGraceTime`; zero is none.
    pub login_grace_time: Duration,
    /// `MaxSessions`.
    pub max_sessions: usize,
    /// `Banner`, sent before the first authentication answer.
    pub banner: Option<Vec<u8>>,
    /// `ClientAliveInterval`; zero is off.
    pub client_alive_interval: Duration,
    /// `ClientAliveCountMax`.
    pub client_alive_count_max: u32,
    /// `RekeyLimit`, bytes; zero means the cipher's default.
    pub rekey_bytes: u64,
    /// `RekeyLimit`, time; zero is none.
    pub rekey_interval: Duration,
    /// `RequiredRSASize`, bits.
    pub required_rsa_size: usize,
    /// Names that `AcceptEnv` lets pass (`*` and `?` are wildcards).
    pub accept_env: Vec<String>,
    /// `PermitTTY`.
    pub permit_tty: bool,
    /// Subsystems that exist (`Subsystem`).
    pub subsystems: Vec<String>,
    /// Forwarding.
    pub forwarding: Forwarding,
    /// Every refused authentication takes at least 5 to 9 ms, by user and this secret (`ensure_minimum_time_since`
    /// in OpenSSH's auth2.c). `None`: no such delay.
    pub fail_delay_secret: Option<[u8; 32]>,
}

fn list(names: &str) -> Vec<String> {
    names.split(',').map(str::to_owned).collect()
}

impl ServerConfig {
    /// The defaults of Debian 12's `openssh-server`, with the given keys and moduli.
    ///
    /// `version` is the whole identification string, e.g. `SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10`.
    pub fn debian12(version: &str, host_keys: Vec<Arc<HostKey>>, moduli: Arc<Moduli>) -> Self {
        ServerConfig {
            version: version.to_owned(),
            kex: list(crate::algo::DEBIAN12_KEX),
            ciphers: list(crate::algo::DEBIAN12_CIPHERS),
            macs: list(crate::algo::DEBIAN12_MACS),
            host_keys,
            pubkey_accepted: list(crate::algo::DEBIAN12_PUBKEY_ACCEPTED),
            server_sig_algs: crate::algo::DEBIAN12_SIG_ALGS.to_owned(),
            moduli,
            compression: Compression::Delayed,
            auth: AuthMethods {
                password: true,
                pubkey: true,
                keyboard_interactive: false,
                empty_passwords: false,
            },
            permit_root_login: PermitRootLogin::ProhibitPassword,
            max_auth_tries: 6,
            login_grace_time: Duration::from_secs(120),
            max_sessions: 10,
            banner: None,
            client_alive_interval: Duration::ZERO,
            client_alive_count_max: 3,
            rekey_bytes: 0,
            rekey_interval: Duration::ZERO,
            required_rsa_size: 1024,
            accept_env: vec!["LANG".to_owned(), "LC_*".to_owned()],
            permit_tty: true,
            subsystems: vec!["sftp".to_owned()],
            forwarding: Forwarding {
                tcp_local: true,
                tcp_remote: true,
                streamlocal_local: true,
                streamlocal_remote: true,
                agent: true,
                x11: true,
                gateway_ports: false,
            },
            fail_delay_secret: None,
        }
    }

    /// When a connection accepted at `now` must have authenticated, if ever.
    pub(crate) fn grace_deadline(&self, now: Time) -> Option<Time> {
        (!self.login_grace_time.is_zero()).then(|| now.saturating_add(self.login_grace_time))
    }
}
