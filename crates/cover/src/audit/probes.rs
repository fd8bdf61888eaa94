//! What the audit asks: ordinary commands, each under the name by which the checks know its output.

/// A command that is run on the machine, as root, by its own shell.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Name.
    pub id: &'static str,
    /// Shell command. What it says on standard error is part of its output.
    pub command: &'static str,
}

const fn p(id: &'static str, command: &'static str) -> Probe {
    Probe { id, command }
}

/// All probes, in the order in which they are run.
pub const PROBES: &[Probe] = &[
    p("now", "date +%s"),
    p("env", "env"),
    p("id", "id"),
    // Who it is.
    p("uname", "uname -srvmo"),
    p("uname.n", "uname -n"),
    p("hostname", "hostname"),
    p("hostname.f", "hostname -f"),
    p("hostfile", "cat /etc/hostname"),
    p("hosts", "cat /etc/hosts"),
    p("sysctl.hostname", "cat /proc/sys/kernel/hostname"),
    p("mailname", "cat /etc/mailname"),
    p("machine-id", "cat /etc/machine-id"),
    p("boot-id", "cat /proc/sys/kernel/random/boot_id"),
    p("os-release", "cat /etc/os-release"),
    p("debian_version", "cat /etc/debian_version"),
    p("issue", "cat /etc/issue.net"),
    // Kernel and packages.
    p("proc.version", "cat /proc/version"),
    p("osrelease", "cat /proc/sys/kernel/osrelease"),
    p("cmdline", "cat /proc/cmdline"),
    p("boot", "ls /boot"),
    p("modules.dir", "ls /lib/modules"),
    p("dmesg", "dmesg"),
    p("dpkg", "dpkg-query -W -f '${Package} ${Version} ${Status}\\n'"),
    p(
        "dpkg.log",
        "cat /var/log/dpkg.log* 2>/dev/null | head -c 3000000 | grep -a ' install\\(ed\\)\\? \\| upgrade '",
    ),
    p(
        "dpkg.gz",
        "zcat /var/log/dpkg.log.*.gz 2>/dev/null | grep -a ' install\\(ed\\)\\? \\| upgrade '",
    ),
    p("apt.history", "zcat -f /var/log/apt/history.log* 2>/dev/null"),
    p("lsmod", "lsmod"),
    // Processor and memory.
    p("nproc", "nproc"),
    p("getconf", "getconf _NPROCESSORS_ONLN"),
    p("cpuinfo", "cat /proc/cpuinfo"),
    p("lscpu", "lscpu"),
    p("cpu.online", "cat /sys/devices/system/cpu/online"),
    p("cpuid", "CPUID"),
    p("proc.stat", "cat /proc/stat"),
    p("interrupts", "cat /proc/interrupts"),
    p("meminfo", "cat /proc/meminfo"),
    p("free", "free -k"),
    p(
        "dmi",
        "cd /sys/class/dmi/id && for f in sys_vendor product_name bios_version bios_date chassis_type; do echo $f=$(cat $f); done",
    ),
    p("dmidecode", "dmidecode -t 0,1,17 2>&1"),
    p("virt", "systemd-detect-virt"),
    p("lspci", "lspci -n"),
    p("pci.sys", "ls /sys/bus/pci/devices"),
    p(
        "devices.behind",
        "for d in /sys/class/net/*/device /sys/block/*/device; do echo $(basename $(dirname $d)) $(basename $(readlink -f $d)); done",
    ),
    // Disks.
    p("partitions", "cat /proc/partitions"),
    p("lsblk", "lsblk -rbno NAME,SIZE,TYPE,MOUNTPOINT"),
    p("blkid", "ls -l /dev/disk/by-uuid | sed 1d"),
    p("fstab", "cat /etc/fstab"),
    p("mounts", "cat /proc/mounts"),
    p("df", "df -Pk /"),
    p("df.i", "df -Pi /"),
    p("swaps", "cat /proc/swaps"),
    p("diskstats", "cat /proc/diskstats"),
    p("birth", "stat -c '%W %Y' / /lost+found"),
    p(
        "inodes",
        "stat -c '%W %Y %Z %.9Z %n' / /bin/bash /usr/sbin/sshd /usr/bin/ls /boot/vmlinuz-$(uname -r) /etc/* /home/* /var/log/*",
    ),
    p(
        "dpkg.lists",
        "stat -c '%Y %n' /var/lib/dpkg/status /var/lib/dpkg/info/*.list /var/lib/dpkg/info/*.md5sums",
    ),
    // People.
    p("passwd", "cat /etc/passwd"),
    p("group", "cat /etc/group"),
    p("shadow", "cat /etc/shadow"),
    p("subuid", "cat /etc/subuid"),
    p("homes", "ls -ln /home | sed 1d"),
    p("getent", "getent passwd"),
    p(
        "keys",
        "for f in /home/*/.ssh/authorized_keys; do echo $f $(ssh-keygen -lf $f); done",
    ),
    // Last written, last read, lines, path.
    p(
        "histories",
        "for f in /home/*/.bash_history /root/.bash_history; do test -f $f && echo $(stat -c '%Y %X' $f) $(wc -l <$f) $f; done",
    ),
    p("histories.apt", "grep -H '^sudo apt' /home/*/.bash_history"),
    p("last", "last -Fw"),
    p("last.x", "last -Fwx"),
    p("lastb", "lastb -Fw"),
    p("lastlog", "lastlog"),
    p("who", "who"),
    p("who.b", "who -b"),
    // Network.
    p("addr", "ip -o addr"),
    p("link", "ip -o link"),
    p("route", "ip route"),
    p("neigh", "ip neigh"),
    p("interfaces", "cat /etc/network/interfaces"),
    p("resolv", "cat /etc/resolv.conf"),
    p("listen", "ss -Hltnp"),
    p("conns", "ss -Htnp"),
    p("net.dev", "cat /proc/net/dev"),
    p("nic", "cat /sys/class/net/[!l]*/address"),
    // Processes and time.
    p("ps", "ps -eo pid,ppid,user,etimes,tty,args"),
    p("uptime", "cat /proc/uptime"),
    p("uptime.s", "uptime -s"),
    p("loadavg", "cat /proc/loadavg"),
    p("uptime.p", "uptime"),
    p("timezone", "cat /etc/timezone"),
    p("localtime", "readlink /etc/localtime"),
    p("date.z", "date +%z; TZ=$(cat /etc/timezone) date +%z"),
    p(
        "future",
        "find /etc /home /root /var/log /boot /srv /opt -xdev -newermt \"@$(( $(date +%s) + 5 ))\"",
    ),
    p(
        "early",
        "find /home /root /var/log /srv -xdev ! -newermt \"@$(( $(stat -c %W /) - 1000 ))\"",
    ),
    p("locale", "cat /etc/default/locale; locale 2>&1 | head -1"),
    // The past.
    p(
        "cron",
        "cat /etc/cron.d/* /var/spool/cron/crontabs/* 2>/dev/null | grep -v '^#'",
    ),
    p("cron.job", "for f in $(JOBS); do ls -l $f; done"),
    p(
        "unattended",
        "zcat -f /var/log/unattended-upgrades/unattended-upgrades.log* 2>/dev/null | grep -a 'will be upgraded\\|Starting'",
    ),
    p(
        "unattended.journal",
        "journalctl -q --no-pager -o short-unix -t systemd | grep -a 'Starting apt-daily'",
    ),
    p(
        "unattended.stamps",
        "stat -c '%Y %n' /var/lib/apt/periodic/* 2>/dev/null",
    ),
    p("extended", "cat /var/lib/apt/extended_states"),
    p(
        "dpkg.status",
        "stat -c '%Y %n' /var/lib/dpkg/status /var/lib/dpkg/status-old /var/lib/apt/extended_states",
    ),
    p("backups", "cd /var/backups && stat -c '%Y %s %n' *"),
    p(
        "backups.same",
        "cd /var/backups; for f in arch status diversions statoverride; do cmp -s dpkg.$f.0 /var/lib/dpkg/$f && echo dpkg.$f; done; cmp -s apt.extended_states.0 /var/lib/apt/extended_states && echo apt.extended_states; tar -df alternatives.tar.0 -C /var/lib/dpkg alternatives >/dev/null 2>&1 && echo alternatives.tar",
    ),
    p(
        "backups.versions",
        "cd /var/backups && for f in dpkg.status.*; do stat -c '@ %Y %n' $f; zcat -f $f | awk '/^Package: /{p=$2} /^Version: /{print p, $2}'; done",
    ),
    p(
        "backups.journal",
        "journalctl -q --no-pager -o short-unix -t systemd | grep -a 'Finished dpkg-db-backup'",
    ),
    // The log of the nightly job, as its script names it, and what lies in the directory that it names.
    p(
        "job.log",
        "for s in $(JOBS); do tail -n 3 $(grep -o '/var/log/[A-Za-z0-9_.-]*' $s | head -n 1); done",
    ),
    p(
        "job.dumps",
        "for s in $(JOBS); do stat -c '%Y %s %n' $(grep -m 1 '^[A-Z]*=/' $s | cut -d = -f 2)/*.sql; done 2>/dev/null | sort -n",
    ),
    p(
        "job.cron",
        "for s in $(JOBS); do journalctl -q --no-pager -o short-unix -t CRON | grep -F \"CMD ($s\"; done",
    ),
    p("journal", "journalctl -q --no-pager -o short-unix -n 400"),
    p("journal.boots", "journalctl -q --no-pager --list-boots"),
    p(
        "journal.login",
        "journalctl -q --no-pager -o short-unix -t sshd -n 30",
    ),
    p("journal.file", "ls -l /var/log/journal/*/"),
    p("wtmp.pid", "who -u"),
    // The server.
    p("ssh.v", "ssh -V"),
    p("sshd.t", "sshd -T"),
    p("sshd.unit", "systemctl show ssh -p MainPID,SubState"),
    p(
        "units",
        "systemctl list-units --type=service,timer,mount,socket --no-legend --plain | cut -d ' ' -f 1",
    ),
    p(
        "units.boot",
        "journalctl -q -b --no-pager -o cat _PID=1 | grep -a '^Queued\\|^Started\\|^Finished\\|^Mounted\\|^Listening'",
    ),
    p("init.state", "systemctl is-system-running"),
    p("sshd.keys", "cat /etc/ssh/ssh_host_*_key.pub"),
    p("sshd.config", "cat /etc/ssh/sshd_config"),
    p("inetd", "cat /etc/inetd.conf 2>/dev/null"),
    p("nft", "cat /etc/nftables.conf"),
    // The same clocks once more.
    p("now.2", "date +%s"),
    p("uptime.2", "cat /proc/uptime"),
    p("proc.stat.2", "cat /proc/stat"),
    // This one takes long: behind the clocks.
    p(
        "modinfo",
        "modinfo $(lsmod | sed 1d | cut -d ' ' -f 1) | grep -E '^(name|depends):'",
    ),
];

/// The programs that timetables name, as the shell function `JOBS`.
const JOBS: &str = "JOBS() { cat /etc/cron.d/* /var/spool/cron/crontabs/* 2>/dev/null | grep -v '^#' | grep -o '/[^ >]*' | grep -v '^/dev\\|^/sbin\\|^/usr/sbin\\|^/run\\|^/bin/sh\\|^/usr/bin'; }\n";

/// Before and behind the name of a probe in the output.
const MARK: &str = "@=@";

/// x86-64 code that writes what CPUID says to standard output: 16 bytes (eax, ebx, ecx, edx) each of leaves 0, 1, 0x80000002,
/// 0x80000003 and 0x80000004. Its buffer is behind it.
#[rustfmt::skip]
const CPUID: &[u8] = &[
    0x48, 0x8d, 0x3d, 0x64, 0x00, 0x00, 0x00, 0x31, 0xc0, 0xe8, 0x49, 0x00, 0x00, 0x00, 0xb8, 0x01,
    0x00, 0x00, 0x00, 0xe8, 0x3f, 0x00, 0x00, 0x00, 0xb8, 0x02, 0x00, 0x00, 0x80, 0xe8, 0x35, 0x00,
    0x00, 0x00, 0xb8, 0x03, 0x00, 0x00, 0x80, 0xe8, 0x2b, 0x00, 0x00, 0x00, 0xb8, 0x04, 0x00, 0x00,
    0x80, 0xe8, 0x21, 0x00, 0x00, 0x00, 0xb8, 0x01, 0x00, 0x00, 0x00, 0xbf, 0x01, 0x00, 0x00, 0x00,
    0x48, 0x8d, 0x35, 0x24, 0x00, 0x00, 0x00, 0xba, 0x50, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xb8, 0x3c,
    0x00, 0x00, 0x00, 0x31, 0xff, 0x0f, 0x05, 0x31, 0xc9, 0x0f, 0xa2, 0x89, 0x07, 0x89, 0x5f, 0x04,
    0x89, 0x4f, 0x08, 0x89, 0x57, 0x0c, 0x48, 0x83, 0xc7, 0x10, 0xc3,
];

/// A static ELF program of [`CPUID`]: one segment that may be read, written and executed.
fn cpuid_program() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEAD: u64 = 64 + 56;
    let mut b = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (n, bytes) in [
        (2u64, 2),
        (62, 2),
        (1, 4),
        (BASE + HEAD, 8),
        (64, 8),
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (1, 2),
    ] {
        b.extend(n.to_le_bytes().iter().take(bytes));
    }
    b.resize(64, 0);
    for (n, bytes) in [(1u64, 4), (7, 4), (0, 8), (BASE, 8), (BASE, 8)] {
        b.extend(n.to_le_bytes().iter().take(bytes));
    }
    let size = HEAD + CPUID.len() as u64;
    for n in [size, size + 128, 4096] {
        b.extend(n.to_le_bytes());
    }
    b.extend(CPUID);
    b
}

/// The command that makes, runs and removes the program.
fn cpuid() -> String {
    let octal: String = cpuid_program().iter().map(|b| format!("\\{:03o}", b)).collect();
    format!(
        "f=$(mktemp -p /dev/shm) && printf '{octal}' > $f && chmod 700 $f && $f | od -An -v -tx4; rm -f $f"
    )
}

/// The shell script that runs all probes.
pub fn script() -> String {
    let mut t = String::from("LC_ALL=C; export LC_ALL; PATH=/usr/sbin:/usr/bin:/sbin:/bin\n");
    t += JOBS;
    for p in PROBES {
        let command = if p.id == "cpuid" {
            cpuid()
        } else {
            p.command.to_string()
        };
        t += &format!("echo '{MARK}{}{MARK}'; {{ {command}\n}} 2>&1 </dev/null\n", p.id);
    }
    t += &format!("echo '{MARK}end{MARK}'\n");
    t
}

/// Cuts the script's output into the answers of the probes.
pub fn answers(output: &str) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in output.lines() {
        match line.strip_prefix(MARK).and_then(|l| l.strip_suffix(MARK)) {
            Some(id) => out.push((id.to_string(), String::new())),
            None => {
                if let Some((_, text)) = out.last_mut() {
                    text.push_str(line.trim_end_matches('\r'));
                    text.push('\n');
                }
            }
        }
    }
    out
}
