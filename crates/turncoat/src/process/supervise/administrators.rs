//! Whose sources are never blocked: this host's own networks, and whoever administers it now.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Supervisor;
use crate::process::{Order, Role};
use crate::respond::net::Net;

/// Administrators that are remembered.
const ADMINISTRATORS: usize = 1_000;

impl Supervisor {
    /// Tells the record of whoever has come to administer this host: he is blocked no longer.
    pub(super) fn look_for_administrators(&mut self) {
        let before = self.administrators.len();
        let now = administrators(&self.decoy_ports());
        self.administrators.extend(now.into_iter().take(ADMINISTRATORS));
        if self.administrators.len() > before && before < ADMINISTRATORS {
            let all = self.administrators.iter().copied().collect();
            self.order(Role::Record, &Order::Administrators(all), &[]);
        }
    }

    /// The ports that decoys listen on.
    pub(super) fn decoy_ports(&self) -> Vec<u16> {
        let s = &self.plan.settings;
        let decoys = [&s.ssh.listen, &s.telnet.listen, &s.echo.listen];
        decoys.iter().flat_map(|l| l.iter().map(|a| a.port())).collect()
    }
}

/// This host's addresses, its gateways and its resolvers. Read at start; loopback and link-local need no mention.
pub(super) fn own_networks(decoy_ports: &[u16]) -> Vec<Net> {
    let mut all = Vec::new();
    let fib = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut last = None;
    for line in fib.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<std::net::IpAddr>().ok();
        } else if line.ends_with("host LOCAL") {
            all.extend(last.take().map(|a| Net::new(a, 32)));
        }
    }
    for line in std::fs::read_to_string("/proc/net/if_inet6")
        .unwrap_or_default()
        .lines()
    {
        if let Some(n) = line.get(..32).and_then(|h| u128::from_str_radix(h, 16).ok()) {
            all.push(Net::new(std::net::Ipv6Addr::from(n).into(), 128));
        }
    }
    for line in std::fs::read_to_string("/proc/net/route")
        .unwrap_or_default()
        .lines()
        .skip(1)
    {
        let gateway = line
            .split_whitespace()
            .nth(2)
            .and_then(|g| u32::from_str_radix(g, 16).ok())
            .unwrap_or(0);
        if gateway != 0 {
            all.push(Net::new(
                std::net::Ipv4Addr::from(gateway.to_ne_bytes()).into(),
                32,
            ));
        }
    }
    for line in std::fs::read_to_string("/etc/resolv.conf")
        .unwrap_or_default()
        .lines()
    {
        if let Some(a) = line
            .strip_prefix("nameserver")
            .and_then(|a| a.trim().parse::<std::net::IpAddr>().ok())
        {
            all.push(Net::of_source(a));
        }
    }
    // Whoever administers this host by SSH right now, and whoever started us from there.
    all.extend(administrators(decoy_ports));
    if let Some(a) = std::env::var("SSH_CONNECTION")
        .ok()
        .and_then(|c| c.split(' ').next()?.parse::<std::net::IpAddr>().ok())
    {
        all.push(Net::of_source(a));
    }
    all
}

/// Sources of the connections that this host's own SSH server has now. Its ports are 22 and what its configuration says, never one of
/// a decoy: who is connected there is no administrator.
fn administrators(decoy_ports: &[u16]) -> Vec<Net> {
    let mut ports = vec![22];
    for line in std::fs::read_to_string("/etc/ssh/sshd_config")
        .unwrap_or_default()
        .lines()
    {
        let mut words = line.split_whitespace();
        if words.next().is_some_and(|w| w.eq_ignore_ascii_case("port")) {
            ports.extend(words.next().and_then(|p| p.parse::<u16>().ok()));
        }
    }
    ports.retain(|p| !decoy_ports.contains(p));
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|path| connected(&std::fs::read_to_string(path).unwrap_or_default(), &ports))
        .map(Net::of_source)
        .collect()
}

/// The peers of established connections to these ports, from a table of the kernel (`/proc/net/tcp`: addresses are words in the
/// machine's byte order).
fn connected(table: &str, ports: &[u16]) -> Vec<IpAddr> {
    let peer = |line: &str| -> Option<IpAddr> {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        if state != "01" || !ports.contains(&port) {
            return None;
        }
        let hex = remote.rsplit_once(':')?.0;
        let words: Vec<[u8; 4]> = hex
            .as_bytes()
            .chunks(8)
            .map(|c| u32::from_str_radix(std::str::from_utf8(c).ok()?, 16).ok())
            .map(|w| w.map(u32::to_ne_bytes))
            .collect::<Option<_>>()?;
        match words.as_slice() {
            [a] => Some(Ipv4Addr::from(*a).into()),
            [a, b, c, d] => {
                let mut all = [0; 16];
                for (slot, word) in all.chunks_mut(4).zip([a, b, c, d]) {
                    slot.copy_from_slice(word);
                }
                Some(IpAddr::from(Ipv6Addr::from(all)).to_canonical())
            }
            _ => None,
        }
    };
    table.lines().filter_map(peer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_connected_is_read_from_the_kernels_table() {
        let v4 = u32::from_ne_bytes([192, 0, 2, 7]);
        let v6 = [[0x20, 0x01, 0x0d, 0xb8], [0; 4], [0; 4], [0, 0, 0, 5]].map(u32::from_ne_bytes);
        let v6: String = v6.iter().map(|w| format!("{w:08X}")).collect();
        let table = format!(
            "  sl  local_address rem_address   st tx_queue\n   0: 0100007F:0016 {v4:08X}:C001 01 0\n   1: 0100007F:0016 {v4:08X}:C001 06 0\n   \
             2: 0100007F:08AE {v4:08X}:C001 01 0\n   3: {v6}:0016 {v6}:C001 01 0\n garbage :: x 01\n"
        );
        let found: Vec<String> = connected(&table, &[22]).iter().map(|a| a.to_string()).collect();
        assert_eq!(found, ["192.0.2.7", "2001:db8::5"]);
    }
}
