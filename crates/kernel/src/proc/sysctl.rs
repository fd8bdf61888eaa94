//! The tree below /proc/sys: kernel parameters, kept by the file system, or read from the world where it has them.

use std::sync::Arc;
use std::sync::OnceLock;

use super::view::{Effect, KernelView};
use crate::vfs::Vfs;
use crate::vfs::types::mode as m;
use crate::{Errno, KResult};

/// Path with slashes, mode, value at boot. `@` values come from the world.
#[rustfmt::skip]
const TABLE: &[(&str, u32, &str)] = &[
    ("abi/vsyscall32", 0o644, "1"),
    ("debug/exception-trace", 0o644, "1"),
    ("debug/kprobes-optimization", 0o644, "1"),
    ("dev/cdrom/autoclose", 0o644, "1"), ("dev/cdrom/autoeject", 0o644, "0"), ("dev/cdrom/info", 0o444, "CD-ROM information, Id: cdrom.c 3.20 2003/12/17"),
    ("dev/hpet/max-user-freq", 0o644, "64"), ("dev/scsi/logging_level", 0o644, "0"), ("dev/tty/ldisc_autoload", 0o644, "1"), ("dev/tty/legacy_tiocsti", 0o644, "1"),
    ("fs/aio-max-nr", 0o644, "65536"), ("fs/aio-nr", 0o444, "0"), ("fs/dentry-state", 0o444, "@dentry"), ("fs/dir-notify-enable", 0o644, "1"),
    ("fs/epoll/max_user_watches", 0o644, "@watches"), ("fs/fanotify/max_queued_events", 0o644, "16384"), ("fs/fanotify/max_user_groups", 0o644, "128"),
    ("fs/file-max", 0o644, "9223372036854775807"), ("fs/file-nr", 0o444, "@file-nr"), ("fs/inode-nr", 0o444, "@inode-nr"), ("fs/inode-state", 0o444, "@inode-state"),
    ("fs/inotify/max_queued_events", 0o644, "16384"), ("fs/inotify/max_user_instances", 0o644, "128"), ("fs/inotify/max_user_watches", 0o644, "@inotify"),
    ("fs/lease-break-time", 0o644, "45"), ("fs/leases-enable", 0o644, "1"), ("fs/mount-max", 0o644, "100000"),
    ("fs/mqueue/msg_default", 0o644, "10"), ("fs/mqueue/msg_max", 0o644, "10"), ("fs/mqueue/msgsize_max", 0o644, "8192"), ("fs/mqueue/queues_max", 0o644, "256"),
    ("fs/nr_open", 0o644, "1048576"), ("fs/overflowgid", 0o644, "65534"), ("fs/overflowuid", 0o644, "65534"), ("fs/pipe-max-size", 0o644, "1048576"),
    ("fs/pipe-user-pages-hard", 0o644, "0"), ("fs/pipe-user-pages-soft", 0o644, "16384"), ("fs/protected_fifos", 0o644, "1"), ("fs/protected_hardlinks", 0o644, "1"),
    ("fs/protected_regular", 0o644, "2"), ("fs/protected_symlinks", 0o644, "1"), ("fs/suid_dumpable", 0o644, "2"), ("fs/binfmt_misc", 0o40755, ""),
    ("kernel/acct", 0o644, "4\t2\t30"), ("kernel/apparmor_display_secid_mode", 0o644, "0"), ("kernel/arch", 0o444, "x86_64"), ("kernel/auto_msgmni", 0o644, "0"), ("kernel/bpf_stats_enabled", 0o644, "0"),
    ("kernel/bootloader_type", 0o444, "114"), ("kernel/bootloader_version", 0o444, "2"), ("kernel/cad_pid", 0o600, "1"), ("kernel/cap_last_cap", 0o444, "40"),
    ("kernel/core_pattern", 0o644, "core"), ("kernel/core_pipe_limit", 0o644, "0"), ("kernel/core_uses_pid", 0o644, "0"), ("kernel/ctrl-alt-del", 0o644, "0"),
    ("kernel/dmesg_restrict", 0o644, "1"), ("kernel/domainname", 0o644, "@domainname"), ("kernel/ftrace_dump_on_oops", 0o644, "0"), ("kernel/hardlockup_panic", 0o644, "0"),
    ("kernel/hostname", 0o644, "@hostname"), ("kernel/hotplug", 0o644, ""), ("kernel/hung_task_panic", 0o644, "0"), ("kernel/hung_task_timeout_secs", 0o644, "120"), ("kernel/hung_task_warnings", 0o644, "10"),
    ("kernel/io_delay_type", 0o644, "1"), ("kernel/kexec_load_disabled", 0o644, "0"), ("kernel/keys/maxkeys", 0o644, "200"), ("kernel/keys/root_maxkeys", 0o644, "1000000"), ("kernel/kptr_restrict", 0o644, "0"),
    ("kernel/latencytop", 0o644, "0"), ("kernel/max_lock_depth", 0o644, "1024"), ("kernel/modprobe", 0o644, "/sbin/modprobe"), ("kernel/modules_disabled", 0o644, "0"),
    ("kernel/msgmax", 0o644, "8192"), ("kernel/msgmnb", 0o644, "16384"), ("kernel/msgmni", 0o644, "32000"), ("kernel/msg_next_id", 0o444, "-1"), ("kernel/ngroups_max", 0o444, "65536"), ("kernel/nmi_watchdog", 0o644, "0"), ("kernel/ns_last_pid", 0o666, "@last_pid"),
    ("kernel/numa_balancing", 0o644, "0"), ("kernel/osrelease", 0o444, "@osrelease"), ("kernel/ostype", 0o444, "Linux"), ("kernel/overflowgid", 0o644, "65534"), ("kernel/overflowuid", 0o644, "65534"),
    ("kernel/panic", 0o644, "0"), ("kernel/panic_on_io_nmi", 0o644, "0"), ("kernel/panic_on_oops", 0o644, "0"), ("kernel/panic_on_rcu_stall", 0o644, "0"), ("kernel/panic_on_unrecovered_nmi", 0o644, "0"), ("kernel/panic_on_warn", 0o644, "0"), ("kernel/panic_print", 0o644, "0"),
    ("kernel/perf_cpu_time_max_percent", 0o644, "25"), ("kernel/perf_event_max_sample_rate", 0o644, "100000"), ("kernel/perf_event_mlock_kb", 0o644, "516"), ("kernel/perf_event_paranoid", 0o644, "3"), ("kernel/pid_max", 0o644, "@pid_max"),
    ("kernel/poweroff_cmd", 0o644, "/sbin/poweroff"), ("kernel/print-fatal-signals", 0o644, "0"), ("kernel/printk", 0o644, "4\t4\t1\t7"), ("kernel/printk_delay", 0o644, "0"), ("kernel/printk_devkmsg", 0o644, "on"), ("kernel/printk_ratelimit", 0o644, "5"), ("kernel/printk_ratelimit_burst", 0o644, "10"),
    ("kernel/pty/max", 0o644, "4096"), ("kernel/pty/nr", 0o444, "@pty"), ("kernel/pty/reserve", 0o644, "1024"), ("kernel/random/boot_id", 0o444, "@boot_id"), ("kernel/random/entropy_avail", 0o444, "256"), ("kernel/random/poolsize", 0o444, "256"),
    ("kernel/random/urandom_min_reseed_secs", 0o644, "60"), ("kernel/random/uuid", 0o444, "@uuid"), ("kernel/random/write_wakeup_threshold", 0o644, "256"), ("kernel/randomize_va_space", 0o644, "2"), ("kernel/real-root-dev", 0o644, "0"),
    ("kernel/sched_autogroup_enabled", 0o644, "1"), ("kernel/sched_child_runs_first", 0o644, "0"), ("kernel/sched_deadline_period_max_us", 0o644, "4194304"), ("kernel/sched_rr_timeslice_ms", 0o644, "100"), ("kernel/sched_rt_period_us", 0o644, "1000000"), ("kernel/sched_rt_runtime_us", 0o644, "950000"), ("kernel/sched_schedstats", 0o644, "0"),
    ("kernel/seccomp/actions_avail", 0o444, "kill_process kill_thread trap errno user_notif trace log allow"), ("kernel/seccomp/actions_logged", 0o644, "kill_process kill_thread trap errno user_notif trace log"), ("kernel/sem_next_id", 0o444, "-1"), ("kernel/sem", 0o644, "32000\t1024000000\t500\t32000"),
    ("kernel/shmall", 0o644, "18446744073692774399"), ("kernel/shmmax", 0o644, "18446744073692774399"), ("kernel/shmmni", 0o644, "4096"), ("kernel/shm_next_id", 0o444, "-1"), ("kernel/shm_rmid_forced", 0o644, "0"), ("kernel/soft_watchdog", 0o644, "1"), ("kernel/softlockup_panic", 0o644, "0"), ("kernel/stack_tracer_enabled", 0o644, "0"),
    ("kernel/sysctl_writes_strict", 0o644, "1"), ("kernel/sysrq", 0o644, "438"), ("kernel/tainted", 0o644, "0"), ("kernel/task_delayacct", 0o644, "0"), ("kernel/threads-max", 0o644, "@threads-max"), ("kernel/timer_migration", 0o644, "1"), ("kernel/traceoff_on_warning", 0o644, "0"), ("kernel/tracepoint_printk", 0o644, "0"),
    ("kernel/unknown_nmi_panic", 0o644, "0"), ("kernel/unprivileged_bpf_disabled", 0o644, "2"), ("kernel/unprivileged_userns_apparmor_policy", 0o644, "1"), ("kernel/unprivileged_userns_clone", 0o644, "1"), ("kernel/usermodehelper/bset", 0o600, "4294967295\t511"), ("kernel/usermodehelper/inheritable", 0o600, "4294967295\t511"),
    ("kernel/version", 0o444, "@version"), ("kernel/watchdog", 0o644, "1"), ("kernel/watchdog_cpumask", 0o644, "0-1"), ("kernel/watchdog_thresh", 0o644, "10"), ("kernel/yama/ptrace_scope", 0o644, "0"),
    ("net/core/bpf_jit_enable", 0o644, "1"), ("net/core/bpf_jit_harden", 0o600, "0"), ("net/core/busy_poll", 0o644, "0"), ("net/core/default_qdisc", 0o644, "pfifo_fast"), ("net/core/dev_weight", 0o644, "64"), ("net/core/netdev_budget", 0o644, "300"), ("net/core/netdev_max_backlog", 0o644, "1000"),
    ("net/core/optmem_max", 0o644, "20480"), ("net/core/rmem_default", 0o644, "212992"), ("net/core/rmem_max", 0o644, "212992"), ("net/core/somaxconn", 0o644, "4096"), ("net/core/wmem_default", 0o644, "212992"), ("net/core/wmem_max", 0o644, "212992"), ("net/core/xfrm_acq_expires", 0o644, "30"),
    ("net/ipv4/conf/all/accept_redirects", 0o644, "1"), ("net/ipv4/conf/all/accept_source_route", 0o644, "0"), ("net/ipv4/conf/all/arp_ignore", 0o644, "0"), ("net/ipv4/conf/all/forwarding", 0o644, "0"), ("net/ipv4/conf/all/log_martians", 0o644, "0"), ("net/ipv4/conf/all/rp_filter", 0o644, "0"), ("net/ipv4/conf/all/secure_redirects", 0o644, "1"), ("net/ipv4/conf/all/send_redirects", 0o644, "1"),
    ("net/ipv4/conf/default/accept_redirects", 0o644, "1"), ("net/ipv4/conf/default/accept_source_route", 0o644, "1"), ("net/ipv4/conf/default/forwarding", 0o644, "0"), ("net/ipv4/conf/default/rp_filter", 0o644, "0"), ("net/ipv4/conf/default/send_redirects", 0o644, "1"), ("net/ipv4/conf/lo/forwarding", 0o644, "0"), ("net/ipv4/conf/lo/rp_filter", 0o644, "0"),
    ("net/ipv4/icmp_echo_ignore_all", 0o644, "0"), ("net/ipv4/icmp_echo_ignore_broadcasts", 0o644, "1"), ("net/ipv4/icmp_ignore_bogus_error_responses", 0o644, "1"), ("net/ipv4/icmp_ratelimit", 0o644, "1000"), ("net/ipv4/ip_default_ttl", 0o644, "64"), ("net/ipv4/ip_forward", 0o644, "0"), ("net/ipv4/ip_local_port_range", 0o644, "32768\t60999"), ("net/ipv4/ip_nonlocal_bind", 0o644, "0"), ("net/ipv4/ip_unprivileged_port_start", 0o644, "1024"),
    ("net/ipv4/ping_group_range", 0o644, "0\t2147483647"), ("net/ipv4/neigh/default/gc_thresh1", 0o644, "128"), ("net/ipv4/neigh/default/gc_thresh2", 0o644, "512"), ("net/ipv4/neigh/default/gc_thresh3", 0o644, "1024"), ("net/ipv4/route/max_size", 0o644, "2147483647"), ("net/ipv4/route/flush", 0o200, ""),
    ("net/ipv4/tcp_available_congestion_control", 0o444, "reno cubic"), ("net/ipv4/tcp_allowed_congestion_control", 0o644, "reno cubic"), ("net/ipv4/tcp_congestion_control", 0o644, "cubic"), ("net/ipv4/tcp_ecn", 0o644, "2"), ("net/ipv4/tcp_fack", 0o644, "0"), ("net/ipv4/tcp_fastopen", 0o644, "1"), ("net/ipv4/tcp_fin_timeout", 0o644, "60"), ("net/ipv4/tcp_keepalive_intvl", 0o644, "75"), ("net/ipv4/tcp_keepalive_probes", 0o644, "9"), ("net/ipv4/tcp_keepalive_time", 0o644, "7200"),
    ("net/ipv4/tcp_max_syn_backlog", 0o644, "128"), ("net/ipv4/tcp_max_tw_buckets", 0o644, "8192"), ("net/ipv4/tcp_mem", 0o644, "22119\t29493\t44238"), ("net/ipv4/tcp_moderate_rcvbuf", 0o644, "1"), ("net/ipv4/tcp_no_metrics_save", 0o644, "0"), ("net/ipv4/tcp_retries1", 0o644, "3"), ("net/ipv4/tcp_retries2", 0o644, "15"), ("net/ipv4/tcp_rmem", 0o644, "4096\t131072\t6291456"), ("net/ipv4/tcp_sack", 0o644, "1"), ("net/ipv4/tcp_syn_retries", 0o644, "6"), ("net/ipv4/tcp_synack_retries", 0o644, "5"), ("net/ipv4/tcp_syncookies", 0o644, "1"), ("net/ipv4/tcp_timestamps", 0o644, "1"), ("net/ipv4/tcp_tw_reuse", 0o644, "2"), ("net/ipv4/tcp_window_scaling", 0o644, "1"), ("net/ipv4/tcp_wmem", 0o644, "4096\t16384\t4194304"),
    ("net/ipv4/udp_mem", 0o644, "44238\t58987\t88476"), ("net/ipv4/udp_rmem_min", 0o644, "4096"), ("net/ipv4/udp_wmem_min", 0o644, "4096"),
    ("net/ipv6/bindv6only", 0o644, "0"), ("net/ipv6/conf/all/accept_ra", 0o644, "1"), ("net/ipv6/conf/all/disable_ipv6", 0o644, "0"), ("net/ipv6/conf/all/forwarding", 0o644, "0"), ("net/ipv6/conf/default/accept_ra", 0o644, "1"), ("net/ipv6/conf/default/disable_ipv6", 0o644, "0"), ("net/ipv6/conf/default/forwarding", 0o644, "0"), ("net/ipv6/conf/lo/disable_ipv6", 0o644, "0"),
    ("net/unix/max_dgram_qlen", 0o644, "512"),
    ("user/max_inotify_instances", 0o644, "128"), ("user/max_mnt_namespaces", 0o644, "@userns"), ("user/max_net_namespaces", 0o644, "@userns"), ("user/max_pid_namespaces", 0o644, "@userns"), ("user/max_user_namespaces", 0o644, "@userns"), ("user/max_uts_namespaces", 0o644, "@userns"),
    ("vm/admin_reserve_kbytes", 0o644, "8192"), ("vm/compact_memory", 0o200, ""), ("vm/compaction_proactiveness", 0o644, "20"), ("vm/dirty_background_bytes", 0o644, "0"), ("vm/dirty_background_ratio", 0o644, "10"), ("vm/dirty_bytes", 0o644, "0"), ("vm/dirty_expire_centisecs", 0o644, "3000"), ("vm/dirty_ratio", 0o644, "20"), ("vm/dirty_writeback_centisecs", 0o644, "500"), ("vm/drop_caches", 0o200, "0"), ("vm/extfrag_threshold", 0o644, "500"), ("vm/hugetlb_shm_group", 0o644, "0"), ("vm/laptop_mode", 0o644, "0"), ("vm/legacy_va_layout", 0o644, "0"), ("vm/lowmem_reserve_ratio", 0o644, "256\t256\t32\t0\t0"), ("vm/max_map_count", 0o644, "65530"), ("vm/memory_failure_early_kill", 0o644, "0"), ("vm/min_free_kbytes", 0o644, "45056"), ("vm/mmap_min_addr", 0o644, "65536"), ("vm/mmap_rnd_bits", 0o600, "28"), ("vm/nr_hugepages", 0o644, "0"), ("vm/nr_overcommit_hugepages", 0o644, "0"), ("vm/oom_dump_tasks", 0o644, "1"), ("vm/oom_kill_allocating_task", 0o644, "0"), ("vm/overcommit_kbytes", 0o644, "0"), ("vm/overcommit_memory", 0o644, "0"), ("vm/overcommit_ratio", 0o644, "50"), ("vm/page-cluster", 0o644, "3"), ("vm/panic_on_oom", 0o644, "0"), ("vm/stat_interval", 0o644, "1"), ("vm/swappiness", 0o644, "60"), ("vm/unprivileged_userfaultfd", 0o644, "0"), ("vm/user_reserve_kbytes", 0o644, "60000"), ("vm/vfs_cache_pressure", 0o644, "100"), ("vm/watermark_boost_factor", 0o644, "15000"), ("vm/watermark_scale_factor", 0o644, "10"), ("vm/zone_reclaim_mode", 0o644, "0"),
];

struct Entry {
    up: u32,
    name: &'static str,
    path: &'static str,
    mode: u32,
    value: &'static str,
}

/// The table as a tree; entry 0 is /proc/sys itself. The same for all worlds.
fn tree() -> &'static Vec<Entry> {
    static TREE: OnceLock<Vec<Entry>> = OnceLock::new();
    TREE.get_or_init(|| {
        let mut all = vec![Entry {
            up: 0,
            name: "",
            path: "",
            mode: m::IFDIR | 0o555,
            value: "",
        }];
        for &(path, perm, value) in TABLE {
            let mut up = 0u32;
            let mut from = 0;
            while let Some(n) = path.get(from..).and_then(|rest| rest.find('/')) {
                let name = path.get(from..from + n).unwrap_or("");
                up = find(&all, up, name).unwrap_or_else(|| {
                    all.push(Entry {
                        up,
                        name,
                        path: path.get(..from + n).unwrap_or(""),
                        mode: m::IFDIR | 0o555,
                        value: "",
                    });
                    all.len() as u32 - 1
                });
                from += n + 1;
            }
            let mode = if perm & m::IFMT != 0 {
                perm
            } else {
                m::IFREG | perm
            };
            all.push(Entry {
                up,
                name: path.get(from..).unwrap_or(""),
                path,
                mode,
                value,
            });
        }
        all
    })
}

fn find(all: &[Entry], up: u32, name: &str) -> Option<u32> {
    all.iter()
        .enumerate()
        .skip(1)
        .find(|(_, e)| e.up == up && e.name == name)
        .map(|(i, _)| i as u32)
}

pub(super) fn mode(i: u32) -> Option<u32> {
    tree().get(i as usize).map(|e| e.mode)
}

pub(super) fn lookup(dir: u32, name: &[u8]) -> Option<u32> {
    find(tree(), dir, std::str::from_utf8(name).ok()?)
}

pub(super) fn place(i: u32) -> Option<(u32, &'static str)> {
    tree().get(i as usize).map(|e| (e.up, e.name))
}

pub(super) fn children(dir: u32) -> Vec<(u32, &'static str, u32)> {
    let all = tree().iter().enumerate().skip(1);
    all.filter(|(_, e)| e.up == dir)
        .map(|(i, e)| (i as u32, e.name, e.mode))
        .collect()
}

fn from_world(view: &dyn KernelView, path: &str, key: &str) -> Vec<u8> {
    if let Some(v) = view.sysctl(&path.replace('/', ".")) {
        return v;
    }
    let f = view.facts();
    let mem = f.memory / 1024;
    match key {
        "@hostname" => view.hostname().0,
        "@domainname" => view.hostname().1,
        "@osrelease" => f.release.clone().into_bytes(),
        "@version" => f.version.clone().into_bytes(),
        "@boot_id" => f.boot_id.clone().into_bytes(),
        "@uuid" => f.boot_id.clone().into_bytes(),
        "@last_pid" => view.system().last_pid.to_string().into_bytes(),
        "@pid_max" => b"4194304".to_vec(),
        "@threads-max" => (mem / 130).to_string().into_bytes(),
        "@userns" => (mem / 260).to_string().into_bytes(),
        "@watches" => (mem * 1024 / 25 / 184).to_string().into_bytes(),
        "@inotify" => (mem * 1024 / 100 / 1240 + 8192)
            .min(1_048_576)
            .to_string()
            .into_bytes(),
        "@file-nr" => b"1120\t0\t9223372036854775807".to_vec(),
        "@inode-nr" => b"38117\t422".to_vec(),
        "@inode-state" => b"38117\t422\t0\t0\t0\t0\t0".to_vec(),
        "@dentry" => b"52345\t36218\t45\t0\t12790\t0".to_vec(),
        "@pty" => b"1".to_vec(),
        _ => Vec::new(),
    }
}

pub(super) fn read(vfs: &Vfs, view: &dyn KernelView, i: u32) -> KResult<Vec<u8>> {
    let e = tree().get(i as usize).ok_or(Errno::ENOENT)?;
    if e.mode & m::IFMT == m::IFDIR {
        return Err(Errno::EISDIR);
    }
    let mut v = match vfs.sysctls.get(i as u64) {
        Some(v) if e.value != "@hostname" => v.to_vec(),
        _ if e.value.starts_with('@') => from_world(view, e.path, e.value),
        _ => e.value.as_bytes().to_vec(),
    };
    v.push(b'\n');
    Ok(v)
}

/// Numbers for those whose value is numbers; any line for the others.
pub(super) fn write(vfs: &mut Vfs, i: u32, data: &[u8]) -> KResult<Vec<Effect>> {
    let e = tree().get(i as usize).ok_or(Errno::ENOENT)?;
    let text = data.split(|&b| b == b'\n' || b == 0).next().unwrap_or(&[]);
    let numeric = !e.value.is_empty() && e.value.bytes().all(|b| b.is_ascii_digit() || b == b'\t');
    let value = if numeric {
        let given = String::from_utf8_lossy(text).into_owned();
        let mut old: Vec<String> = e.value.split('\t').map(str::to_owned).collect();
        for (slot, word) in old.iter_mut().zip(given.split_whitespace()) {
            let n: i64 = word.parse().map_err(|_| Errno::EINVAL)?;
            *slot = n.to_string();
        }
        if given.trim().is_empty() {
            return Err(Errno::EINVAL);
        }
        old.join("\t").into_bytes()
    } else {
        text.iter().copied().take(255).collect()
    };
    vfs.sysctls.insert(i as u64, Arc::from(value.as_slice()));
    Ok(vec![Effect::Sysctl {
        name: e.path.replace('/', "."),
        value,
    }])
}

/// The value of a parameter without its newline; nothing if there is no such parameter.
pub fn text(vfs: &Vfs, view: &dyn KernelView, name: &str) -> Vec<u8> {
    let path = name.replace('.', "/");
    let place = tree().iter().position(|e| e.path == path);
    let mut text = place.map_or_else(Vec::new, |i| read(vfs, view, i as u32).unwrap_or_default());
    text.pop();
    text
}

/// The numbers of a parameter (`kernel.sem` has four); none if there is no such parameter.
pub fn numbers(vfs: &Vfs, view: &dyn KernelView, name: &str) -> Vec<u64> {
    let words = text(vfs, view, name);
    String::from_utf8_lossy(&words)
        .split_whitespace()
        .map(|w| w.parse().unwrap_or(0))
        .collect()
}

/// The value of a numeric parameter (`fs.protected_symlinks`), 0 if it is none.
pub fn number(vfs: &Vfs, view: &dyn KernelView, name: &str) -> u32 {
    let text = text(vfs, view, name);
    String::from_utf8_lossy(&text).trim().parse().unwrap_or(0)
}
