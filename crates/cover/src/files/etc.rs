//! `/etc` as the administrator of this machine left it.

use super::File;
use crate::cover::{Cover, Image};
use crate::network::Network;

fn base(image: &dyn Image, path: &str) -> String {
    image
        .read(path)
        .map(|b| String::from_utf8_lossy(&b).into_owned())
        .unwrap_or_default()
}

/// All files of `/etc` that differ from the image.
pub fn files(cover: &Cover, image: &dyn Image) -> Vec<File> {
    let h = &cover.host;
    let at = h.installed;
    let mut out = vec![
        File::text("/etc/hostname", 0o644, at, format!("{}\n", h.name)),
        File::text("/etc/machine-id", 0o444, at, format!("{}\n", h.machine_id)),
        File::text("/etc/hosts", 0o644, at, hosts(cover)),
        File::text(
            "/etc/resolv.conf",
            0o644,
            if cover.network.dhcp { h.booted + 4 } else { at },
            resolv(cover),
        ),
        File::text("/etc/fstab", 0o644, at, fstab(cover)),
        File::text("/etc/network/interfaces", 0o644, at, interfaces(cover)),
        File::text("/etc/timezone", 0o644, at, format!("{}\n", h.zone.name)),
        File::link(
            "/etc/localtime",
            &format!("/usr/share/zoneinfo/{}", h.zone.name),
            at,
        ),
        File::text(
            "/etc/default/locale",
            0o644,
            at,
            format!("LANG=\"{}\"\n", h.locale),
        ),
        File::text("/etc/mailname", 0o644, at, format!("{}\n", h.fqdn())),
    ];
    let last = cover.users.len();
    let hashes = cover.password_fields();
    out.extend(accounts(cover, image, last, &hashes));
    // useradd(8) and its sisters keep the state before their last change; the accounts before the last one were made.
    out.extend(
        accounts(cover, image, last.saturating_sub(1), &hashes)
            .into_iter()
            .map(|f| File {
                path: format!("{}-", f.path),
                ..f
            }),
    );
    out.extend(sshd(cover, image));
    out.extend(inetd(cover, image));
    out
}

/// `inetd.conf` as the package writes it, with telnet as `update-inetd` puts it there, on or off.
fn inetd(cover: &Cover, image: &dyn Image) -> Option<File> {
    let text = base(image, "/etc/inetd.conf");
    let telnetd = image.packages().iter().any(|p| p.0 == "inetutils-telnetd");
    if text.is_empty() || !telnetd {
        return None;
    }
    let off = if cover.telnet { "" } else { "#<off># " };
    let entry = format!("{off}telnet\tstream\ttcp\tnowait\troot\t/usr/sbin/tcpd\t/usr/sbin/telnetd");
    let changed: String = text
        .lines()
        .filter(|l| l.trim_start_matches("#<off># ").split_whitespace().next() != Some("telnet"))
        .flat_map(|l| {
            let more = l.starts_with("#:STANDARD:").then(|| format!("{entry}\n"));
            [Some(format!("{l}\n")), more]
        })
        .flatten()
        .collect();
    Some(File::text(
        "/etc/inetd.conf",
        0o644,
        cover.host.installed + 900,
        changed,
    ))
}

fn hosts(cover: &Cover) -> String {
    let h = &cover.host;
    let mut t = String::from("127.0.0.1\tlocalhost\n");
    if h.domain.is_empty() {
        t += &format!("127.0.1.1\t{}\n", h.name);
    } else {
        t += &format!("127.0.1.1\t{}\t{}\n", h.fqdn(), h.name);
    }
    t += "\n# The following lines are desirable for IPv6 capable hosts\n::1     localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n";
    if !cover.network.neighbours.is_empty() {
        t.push('\n');
    }
    for (name, address, _) in &cover.network.neighbours {
        if h.domain.is_empty() {
            t += &format!("{address}\t{name}\n");
        } else {
            t += &format!("{address}\t{name}.{}\t{name}\n", h.domain);
        }
    }
    t
}

fn resolv(cover: &Cover) -> String {
    let mut t = String::new();
    if !cover.host.domain.is_empty() {
        t += &if cover.network.dhcp {
            format!("domain {0}\nsearch {0}\n", cover.host.domain)
        } else {
            format!("search {}\n", cover.host.domain)
        };
    }
    for r in &cover.network.resolvers {
        t += &format!("nameserver {r}\n");
    }
    t
}

fn fstab(cover: &Cover) -> String {
    let mut t = String::from(
        "# /etc/fstab: static file system information.\n#\n# Use 'blkid' to print the universally unique identifier for a\n# device; this may be used with UUID= as a more robust way to name devices\n# that works even if disks are added and removed. See fstab(5).\n#\n# systemd generates mount units based on this file, see systemd.mount(5).\n# Please run 'systemctl daemon-reload' after making changes here.\n#\n# <file system> <mount point>   <type>  <options>       <dump>  <pass>\n",
    );
    for p in cover.hardware.disks.iter().flat_map(|d| &d.partitions) {
        match p.fs {
            "ext4" => {
                t += &format!(
                    "# {} was on /dev/{} during installation\nUUID={} {:<15} ext4    errors=remount-ro 0       1\n",
                    p.mount, p.name, p.uuid, p.mount
                );
            }
            "swap" => {
                t += &format!(
                    "# swap was on /dev/{} during installation\nUUID={} none            swap    sw              0       0\n",
                    p.name, p.uuid
                );
            }
            _ => {}
        }
    }
    t + "/dev/sr0        /media/cdrom0   udf,iso9660 user,noauto     0       0\n"
}

fn interfaces(cover: &Cover) -> String {
    let n: &Network = &cover.network;
    let mut t = String::from(
        "# This file describes the network interfaces available on your system\n# and how to activate them. For more information, see interfaces(5).\n\nsource /etc/network/interfaces.d/*\n\n# The loopback network interface\nauto lo\niface lo inet loopback\n\n# The primary network interface\n",
    );
    t += &format!("allow-hotplug {}\n", n.interface);
    if n.dhcp {
        t += &format!("iface {} inet dhcp\n", n.interface);
    } else {
        t += &format!(
            "iface {} inet static\n\taddress {}/{}\n\tgateway {}\n\t# dns-* options are implemented by the resolvconf package, if installed\n\tdns-nameservers {}\n",
            n.interface,
            n.ipv4,
            n.prefix,
            n.gateway,
            n.resolvers
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        );
        if !cover.host.domain.is_empty() {
            t += &format!("\tdns-search {}\n", cover.host.domain);
        }
    }
    t
}

/// passwd, group, shadow, gshadow, subuid, subgid: the image's lines and the people's.
fn accounts(cover: &Cover, image: &dyn Image, people: usize, hashes: &[String]) -> Vec<File> {
    let known = cover.users.get(..people).unwrap_or(&cover.users);
    let installed_day = cover.host.installed / 86_400;
    let last = known
        .iter()
        .map(|u| u.since)
        .max()
        .unwrap_or(cover.host.installed);
    let mut passwd = base(image, "/etc/passwd");
    let mut group = base(image, "/etc/group");
    let mut shadow = base(image, "/etc/shadow")
        .lines()
        .map(|l| {
            // The image's accounts were made at installation, whenever the image was built.
            let mut f: Vec<String> = l.split(':').map(str::to_string).collect();
            if f.len() > 2 {
                f[2] = installed_day.to_string();
            }
            if f[0] == "root" && f.len() > 1 {
                f[1] = cover.root_hash.clone();
            }
            f.join(":") + "\n"
        })
        .collect::<String>();
    let mut gshadow = base(image, "/etc/gshadow");
    let (mut subuid, mut subgid) = (String::new(), String::new());
    let sudoers: Vec<&str> = known.iter().filter(|u| u.sudo).map(|u| u.name.as_str()).collect();
    let join = |text: &str, name: &str, members: &[&str]| -> String {
        text.lines()
            .map(|l| {
                if l.starts_with(&format!("{name}:")) {
                    format!("{l}{}\n", members.join(","))
                } else {
                    format!("{l}\n")
                }
            })
            .collect()
    };
    group = join(&group, "sudo", &sudoers);
    gshadow = join(&gshadow, "sudo", &sudoers);
    // The installer puts the first account into the groups of somebody who sits at the console.
    if let Some(first) = known.first() {
        for g in [
            "cdrom", "floppy", "audio", "dip", "video", "plugdev", "users", "netdev",
        ] {
            group = join(&group, g, &[&first.name]);
            gshadow = join(&gshadow, g, &[&first.name]);
        }
    }
    for (i, u) in known.iter().enumerate() {
        passwd += &format!(
            "{}:x:{}:{}:{},,,:{}:{}\n",
            u.name, u.uid, u.uid, u.full_name, u.home, u.shell
        );
        group += &format!("{}:x:{}:\n", u.name, u.uid);
        gshadow += &format!("{}:!::\n", u.name);
        shadow += &format!(
            "{}:{}:{}:0:99999:7:::\n",
            u.name,
            hashes.get(i).map_or("!", String::as_str),
            u.password_changed / 86_400
        );
        subuid += &format!("{}:{}:65536\n", u.name, 100_000 + 65_536 * i);
        subgid += &format!("{}:{}:65536\n", u.name, 100_000 + 65_536 * i);
    }
    let changed = known.iter().map(|u| u.password_changed).max().unwrap_or(last);
    vec![
        File::text("/etc/passwd", 0o644, last, passwd),
        File::text("/etc/group", 0o644, last, group),
        File::text("/etc/shadow", 0o640, changed, shadow).owned(0, 42),
        File::text("/etc/gshadow", 0o640, last, gshadow).owned(0, 42),
        File::text("/etc/subuid", 0o644, last, subuid),
        File::text("/etc/subgid", 0o644, last, subgid),
    ]
}

/// The password field of user `i`: the one that was set, else a real hash of the drawn password.
pub(crate) fn password_field(cover: &Cover, i: usize) -> String {
    match (cover.user_hashes.get(i), cover.users.get(i)) {
        (Some(h), _) if h != "!" => h.clone(),
        (_, Some(u)) => {
            let mut salt = [0u8; 16];
            cover.stream(&format!("salt {}", u.name)).fill(&mut salt);
            crate::shadow::hash(&u.password, &salt)
        }
        _ => "!".into(),
    }
}

/// Host keys and `sshd_config`.
fn sshd(cover: &Cover, image: &dyn Image) -> Vec<File> {
    let at = cover.host.installed + 400;
    let mut out = Vec::new();
    if let Some(k) = &cover.host_keys {
        for (name, pair) in [("rsa", &k.rsa), ("ecdsa", &k.ecdsa), ("ed25519", &k.ed25519)] {
            out.push(File::text(
                &format!("/etc/ssh/ssh_host_{name}_key"),
                0o600,
                at,
                pair.private.clone(),
            ));
            out.push(File::text(
                &format!("/etc/ssh/ssh_host_{name}_key.pub"),
                0o644,
                at,
                pair.public.clone(),
            ));
        }
    }
    let text = base(image, "/etc/ssh/sshd_config");
    let text = if text.is_empty() {
        base(image, "/usr/share/openssh/sshd_config")
    } else {
        text
    };
    if !text.is_empty() {
        let mut changed = String::new();
        for line in text.lines() {
            let key = line
                .trim_start_matches('#')
                .split_whitespace()
                .next()
                .unwrap_or("");
            match cover.sshd_options.iter().find(|(k, _)| k == key) {
                Some((k, v))
                    if line.starts_with(&format!("#{key} ")) || line.starts_with(&format!("{key} ")) =>
                {
                    changed += &format!("{k} {v}\n");
                }
                _ => changed += &format!("{line}\n"),
            }
        }
        out.push(File::text("/etc/ssh/sshd_config", 0o644, at + 1200, changed));
    }
    out
}
