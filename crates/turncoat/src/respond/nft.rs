//! The nftables set that closes the protected side: one table of ours, written by netlink, each push one atomic batch.
//!
//! The table `inet turncoat` holds the sets `blocked4` and `blocked6` (elements with a timeout, so that the kernel lifts a block even if
//! we are gone), a chain in the forward hook that drops what comes from a blocked source and goes to a protected network, and one in the input hook
//! for protected addresses of this host, where the decoys' own ports are let through first. Nothing outside this table is touched.
//! Numbers are those of include/uapi/linux/netfilter/nf_tables.h and nfnetlink.h.

use super::net::Net;
use rustix::fd::OwnedFd;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::net::IpAddr;
use std::time::Duration;

const TABLE: &str = "turncoat";
const INET: u8 = 1;
const SUBSYS: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const NEWRULE: u16 = 6;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;
const F_REQUEST: u16 = 1;
const F_ACK: u16 = 4;
const F_CREATE: u16 = 0x400;
const F_APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;
const SET_TIMEOUT: u32 = 0x10;
const HOOK_INPUT: u32 = 1;
const HOOK_FORWARD: u32 = 2;
/// Before the usual filter chains (priority 0), so that nobody's accept comes first.
const PRIORITY: i32 = -10;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;

/// A netlink attribute list being written.
#[derive(Default)]
struct Attrs(Vec<u8>);

impl Attrs {
    fn raw(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        while !self.0.len().is_multiple_of(4) {
            self.0.push(0);
        }
        self
    }

    fn text(self, kind: u16, value: &str) -> Self {
        let mut v = value.as_bytes().to_vec();
        v.push(0);
        self.raw(kind, &v)
    }

    fn be32(self, kind: u16, value: u32) -> Self {
        self.raw(kind, &value.to_be_bytes())
    }

    fn be64(self, kind: u16, value: u64) -> Self {
        self.raw(kind, &value.to_be_bytes())
    }

    fn nest(self, kind: u16, inner: Attrs) -> Self {
        self.raw(kind | NESTED, &inner.0)
    }
}

/// Expressions of one rule.
#[derive(Default)]
struct Exprs(Attrs);

impl Exprs {
    fn expr(mut self, name: &str, data: Attrs) -> Self {
        self.0 = self.0.nest(1, Attrs::default().text(1, name).nest(2, data));
        self
    }

    /// The packet's meta fact `key` equals `value`.
    fn meta(self, key: u32, value: &[u8]) -> Self {
        self.expr("meta", Attrs::default().be32(1, 1).be32(2, key))
            .cmp(value)
    }

    fn cmp(self, value: &[u8]) -> Self {
        self.expr(
            "cmp",
            Attrs::default()
                .be32(1, 1)
                .be32(2, 0)
                .nest(3, Attrs::default().raw(1, value)),
        )
    }

    /// Loads `len` bytes at `offset` of the header `base` (1 network, 2 transport) into register 1.
    fn load(self, base: u32, offset: u32, len: u32) -> Self {
        self.expr(
            "payload",
            Attrs::default()
                .be32(1, 1)
                .be32(2, base)
                .be32(3, offset)
                .be32(4, len),
        )
    }

    fn mask(self, mask: &[u8]) -> Self {
        let zero = vec![0; mask.len()];
        self.expr(
            "bitwise",
            Attrs::default()
                .be32(1, 1)
                .be32(2, 1)
                .be32(3, mask.len() as u32)
                .nest(4, Attrs::default().raw(1, mask))
                .nest(5, Attrs::default().raw(1, &zero)),
        )
    }

    fn lookup(self, set: &str) -> Self {
        self.expr("lookup", Attrs::default().text(1, set).be32(2, 1))
    }

    fn verdict(self, code: u32) -> Self {
        let v = Attrs::default().nest(2, Attrs::default().be32(1, code));
        self.expr("counter", Attrs::default())
            .expr("immediate", Attrs::default().be32(1, 0).nest(2, v))
    }
}

/// A batch of messages that the kernel applies whole or not at all.
struct Batch {
    bytes: Vec<u8>,
    seq: u32,
    acks: u32,
}

impl Batch {
    fn new() -> Batch {
        let mut b = Batch {
            bytes: Vec::new(),
            seq: 0,
            acks: 0,
        };
        b.message(BATCH_BEGIN, F_REQUEST, 0, SUBSYS, &[]);
        b
    }

    fn message(&mut self, kind: u16, flags: u16, family: u8, res: u16, body: &[u8]) {
        self.seq += 1;
        let len = 20 + body.len() as u32;
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&self.seq.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&res.to_be_bytes());
        self.bytes.extend_from_slice(body);
    }

    fn nft(&mut self, kind: u16, flags: u16, attrs: Attrs) {
        self.acks += 1;
        self.message(SUBSYS << 8 | kind, F_REQUEST | F_ACK | flags, INET, 0, &attrs.0);
    }

    fn rule(&mut self, chain: &str, e: Exprs) {
        self.nft(
            NEWRULE,
            F_CREATE | F_APPEND,
            Attrs::default().text(1, TABLE).text(2, chain).nest(4, e.0),
        );
    }

    fn elements(&mut self, kind: u16, flags: u16, items: &[(Net, Option<Duration>)]) {
        for (v4, set) in [(true, "blocked4"), (false, "blocked6")] {
            for part in items
                .iter()
                .filter(|(n, _)| n.address().is_ipv4() == v4)
                .collect::<Vec<_>>()
                .chunks(128)
            {
                let mut list = Attrs::default();
                for (net, left) in part {
                    let mut e = Attrs::default().nest(1, Attrs::default().raw(1, &octets(net.address())));
                    if let Some(left) = left {
                        e = e.be64(4, (left.as_millis() as u64).max(1));
                    }
                    list = list.nest(1, e);
                }
                self.nft(
                    kind,
                    flags,
                    Attrs::default().text(1, TABLE).text(2, set).nest(3, list),
                );
            }
        }
    }

    fn finish(mut self) -> (Vec<u8>, u32) {
        self.message(BATCH_END, F_REQUEST, 0, SUBSYS, &[]);
        (self.bytes, self.acks)
    }
}

fn octets(a: IpAddr) -> Vec<u8> {
    match a {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

fn prefix_mask(len: usize, prefix: u8) -> Vec<u8> {
    (0..len)
        .map(|i| (0xff00u16 >> usize::from(prefix).saturating_sub(i * 8).min(8)) as u8)
        .collect()
}

/// What is protected, and what must stay open.
#[derive(Clone, Debug, Default)]
pub struct Protected {
    /// Networks that blocked sources must not reach.
    pub nets: Vec<Net>,
    /// TCP ports of our decoys on this host: never closed.
    pub decoy_ports: Vec<u16>,
}

/// The whole table with what is blocked, replacing one that is there.
fn whole(protected: &Protected, blocked: &[(Net, Duration)]) -> (Vec<u8>, u32) {
    let mut b = Batch::new();
    let table = || Attrs::default().text(1, TABLE);
    // Made first so that the removal cannot fail; the batch is applied as one.
    b.nft(NEWTABLE, F_CREATE, table());
    b.nft(DELTABLE, 0, table());
    b.nft(NEWTABLE, F_CREATE, table());
    // Type numbers are nft's own (7 ipv4_addr, 8 ipv6_addr): they tell `nft list` how to show the elements.
    for (id, (name, kind, len)) in [("blocked4", 7, 4), ("blocked6", 8, 16)].into_iter().enumerate() {
        b.nft(
            NEWSET,
            F_CREATE,
            table()
                .text(2, name)
                .be32(3, SET_TIMEOUT)
                .be32(4, kind)
                .be32(5, len)
                .be32(10, id as u32 + 1),
        );
    }
    for (name, hook) in [("forward", HOOK_FORWARD), ("input", HOOK_INPUT)] {
        let at = Attrs::default().be32(1, hook).be32(2, PRIORITY as u32);
        b.nft(
            NEWCHAIN,
            F_CREATE,
            table()
                .text(3, name)
                .nest(4, at)
                .be32(5, ACCEPT)
                .text(7, "filter"),
        );
    }
    for port in &protected.decoy_ports {
        b.rule(
            "input",
            Exprs::default()
                .meta(16, &[6])
                .load(2, 2, 2)
                .cmp(&port.to_be_bytes())
                .verdict(ACCEPT),
        );
    }
    for chain in ["forward", "input"] {
        for net in &protected.nets {
            let e = Exprs::default();
            let e = match net.address() {
                IpAddr::V4(a) => e
                    .meta(15, &[2])
                    .load(1, 16, 4)
                    .mask(&prefix_mask(4, net.prefix()))
                    .cmp(&a.octets())
                    .load(1, 12, 4)
                    .lookup("blocked4"),
                IpAddr::V6(a) => e
                    .meta(15, &[10])
                    .load(1, 24, 16)
                    .mask(&prefix_mask(16, net.prefix()))
                    .cmp(&a.octets())
                    .load(1, 8, 16)
                    .mask(&prefix_mask(16, 64))
                    .lookup("blocked6"),
            };
            b.rule(chain, e.verdict(DROP));
        }
    }
    let items: Vec<_> = blocked.iter().map(|(n, d)| (*n, Some(*d))).collect();
    b.elements(NEWSETELEM, F_CREATE, &items);
    b.finish()
}

/// A connection to the kernel's nftables. Needs CAP_NET_ADMIN.
pub struct Nft(OwnedFd);

impl Nft {
    /// Opens the socket; nothing is changed yet.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open() -> std::io::Result<Nft> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(rustix::net::netlink::NETFILTER),
        )?;
        rustix::net::sockopt::set_socket_timeout(
            &fd,
            rustix::net::sockopt::Timeout::Recv,
            Some(Duration::from_secs(5)),
        )?;
        Ok(Nft(fd))
    }

    fn send(&self, (bytes, acks): (Vec<u8>, u32)) -> std::io::Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(&self.0, &bytes, SendFlags::empty(), &kernel)?;
        let mut seen = 0;
        let mut buf = vec![0u8; 65_536];
        while seen < acks {
            let (n, _) = rustix::net::recv(&self.0, buf.as_mut_slice(), RecvFlags::empty())?;
            let mut rest = &buf[..n.min(65_536)];
            while rest.len() >= 16 {
                let word = |at: usize| {
                    rest.get(at..at + 4)
                        .and_then(|b| b.try_into().ok())
                        .map(u32::from_ne_bytes)
                };
                let (Some(len), Some(kind)) = (word(0), word(4)) else {
                    break;
                };
                let len = (len as usize).max(16);
                if kind & 0xffff == 2 {
                    match word(16).map(|e| e as i32) {
                        Some(0) => seen += 1,
                        Some(e) => return Err(std::io::Error::from_raw_os_error(-e)),
                        None => break,
                    }
                }
                rest = rest.get((len + 3) & !3..).unwrap_or(&[]);
            }
        }
        Ok(())
    }

    /// Writes the table anew with everything that is blocked and for how long yet.
    ///
    /// # Errors
    /// What the kernel says; nothing is changed then.
    pub fn replace(&self, protected: &Protected, blocked: &[(Net, Duration)]) -> std::io::Result<()> {
        self.send(whole(protected, blocked))
    }

    /// Lifts one block.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn lift(&self, net: Net) -> std::io::Result<()> {
        let mut b = Batch::new();
        b.elements(DELSETELEM, 0, &[(net, None)]);
        self.send(b.finish())
    }

    /// Removes the table.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self) -> std::io::Result<()> {
        let mut b = Batch::new();
        b.nft(NEWTABLE, F_CREATE, Attrs::default().text(1, TABLE));
        b.nft(DELTABLE, 0, Attrs::default().text(1, TABLE));
        self.send(b.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn masks() {
        assert_eq!(prefix_mask(4, 22), [255, 255, 252, 0]);
        assert_eq!(prefix_mask(4, 0), [0; 4]);
        assert_eq!(prefix_mask(4, 32), [255; 4]);
    }

    /// Runs in a network namespace of its own (started by the test below): intruder - gateway - protected host by veth pairs.
    #[test]
    fn inside_a_namespace() {
        if std::env::var_os("TURNCOAT_TEST_NETNS").is_none() {
            return;
        }
        let sh = |c: &str| {
            let o = Command::new("sh").args(["-ec", c]).output().unwrap();
            assert!(o.status.success(), "{c}: {}", String::from_utf8_lossy(&o.stderr));
            String::from_utf8_lossy(&o.stdout).into_owned()
        };
        // Nobody listens there: a refusal comes back at once if the packet arrives, nothing if it is dropped.
        let reaches = |from: &str, to: &str| {
            let knock = format!("exec 3<>/dev/tcp/{to}/9");
            let o = Command::new("ip")
                .args(["netns", "exec", from, "timeout", "1", "bash", "-c", &knock])
                .output()
                .unwrap();
            o.status.code() != Some(124)
        };
        sh("ip link set lo up; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
            mount -t tmpfs none /run; mkdir -p /run/netns
            for n in intruder bystander protected; do ip netns add $n; ip netns exec $n ip link set lo up; done
            i=1; for n in intruder bystander protected; do
              ip link add v$i type veth peer name eth0 netns $n
              ip addr add 10.77.$i.1/24 dev v$i; ip -6 addr add fd77:$i::1/64 dev v$i nodad; ip link set v$i up
              ip -n $n addr add 10.77.$i.2/24 dev eth0; ip -n $n -6 addr add fd77:$i::2/64 dev eth0 nodad; ip -n $n link set eth0 up
              ip -n $n route add default via 10.77.$i.1; ip -n $n -6 route add default via fd77:$i::1
              i=$((i+1)); done");
        let all = |open: bool| {
            assert_eq!(reaches("intruder", "10.77.3.2"), open, "IPv4");
            assert_eq!(reaches("intruder", "fd77:3::2"), open, "IPv6");
            assert!(
                reaches("bystander", "10.77.3.2") && reaches("bystander", "fd77:3::2"),
                "the bystander is untouched"
            );
            assert!(reaches("intruder", "10.77.1.1"), "the decoy goes on answering");
        };
        // The links need a moment before neighbours are found.
        for _ in 0..10 {
            if reaches("intruder", "fd77:3::2") && reaches("bystander", "fd77:3::2") {
                break;
            }
        }
        all(true);
        let nft = Nft::open().unwrap();
        let protected = Protected {
            nets: vec!["10.77.3.0/24".parse().unwrap(), "fd77:3::/64".parse().unwrap()],
            decoy_ports: vec![2222],
        };
        let blocked = [
            (
                Net::of_source("10.77.1.2".parse().unwrap()),
                Duration::from_secs(60),
            ),
            (
                Net::of_source("fd77:1::2".parse().unwrap()),
                Duration::from_secs(60),
            ),
        ];
        nft.replace(&protected, &blocked).unwrap();
        all(false);
        nft.replace(&protected, &blocked).unwrap();
        let shown = sh("nft list table inet turncoat");
        assert!(
            shown.contains("10.77.1.2") && shown.contains("fd77:1::"),
            "{shown}"
        );
        for (n, _) in &blocked {
            nft.lift(*n).unwrap();
        }
        all(true);
        let short: Vec<_> = blocked
            .iter()
            .map(|(n, _)| (*n, Duration::from_millis(300)))
            .collect();
        nft.replace(&protected, &short).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        all(true);
        nft.replace(&protected, &blocked).unwrap();
        nft.remove().unwrap();
        all(true);
        assert_eq!(sh("nft list tables"), "");
    }

    #[test]
    fn the_protected_side_closes_and_opens() {
        let exe = std::env::current_exe().unwrap();
        let o = Command::new("unshare")
            .args(["--net", "--mount", "--"])
            .arg(exe)
            .args([
                "--exact",
                "--nocapture",
                &format!(
                    "{}::inside_a_namespace",
                    module_path!().split_once("::").map_or("", |m| m.1)
                ),
            ])
            .env("TURNCOAT_TEST_NETNS", "1")
            .output();
        match o {
            Ok(o) if String::from_utf8_lossy(&o.stderr).contains("Operation not permitted") => {
                eprintln!("skipped: making a network namespace needs root");
            }
            Ok(o) => {
                let text = format!(
                    "{}{}",
                    String::from_utf8_lossy(&o.stdout),
                    String::from_utf8_lossy(&o.stderr)
                );
                assert!(o.status.success() && text.contains("1 passed"), "{text}");
            }
            Err(e) => panic!("unshare (package util-linux): {e}"),
        }
    }
}
