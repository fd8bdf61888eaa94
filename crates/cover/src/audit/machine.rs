//! Processor, memory, firmware.

use super::kernel::dmesg;
use super::{Check, Seen, c, hold, near, number, same};

fn count(s: &Seen) -> Result<i64, String> {
    number(s.line("nproc")?).ok_or("nproc says no number".into())
}

/// The words that the CPUID program wrote: eax, ebx, ecx, edx of leaf 0, 1, 0x80000002, 3, 4.
fn cpuid(s: &Seen) -> Result<Vec<u32>, String> {
    let words: Vec<u32> = s
        .table("cpuid")?
        .concat()
        .iter()
        .filter_map(|w| u32::from_str_radix(w, 16).ok())
        .collect();
    hold(words.len() == 20, || "CPUID could not be asked".into())?;
    Ok(words)
}

fn text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default())
        .trim()
        .to_string()
}

fn kib(s: &Seen, key: &str) -> Result<i64, String> {
    s.number("meminfo", key)
}

/// What /sys says of the firmware.
fn dmi<'a>(s: &'a Seen, key: &str) -> Result<&'a str, String> {
    s.value("dmi", key)
}

pub(super) const CHECKS: &[Check] = &[
    c(
        "cpu-count",
        "/proc/cpuinfo has as many processors as nproc",
        |s| {
            let n = s
                .get("cpuinfo")?
                .lines()
                .filter(|l| l.starts_with("processor"))
                .count();
            same("nproc", count(s)?, "/proc/cpuinfo", n as i64)
        },
    ),
    c("cpu-count-lscpu", "lscpu counts as many processors", |s| {
        same("nproc", count(s)?, "lscpu", s.number("lscpu", "CPU(s)")?)
    }),
    c("cpu-count-sys", "/sys has as many processors on line", |s| {
        let last = s
            .line("cpu.online")?
            .rsplit('-')
            .next()
            .and_then(number)
            .unwrap_or(-2);
        same("nproc", count(s)?, "/sys", last + 1)
    }),
    c("cpu-count-libc", "libc counts as many processors", |s| {
        same(
            "nproc",
            count(s)?,
            "getconf",
            number(s.line("getconf")?).unwrap_or(-1),
        )
    }),
    c(
        "cpu-count-stat",
        "/proc/stat has a line for each processor",
        |s| {
            let n = s
                .get("proc.stat")?
                .lines()
                .filter(|l| l.starts_with("cpu") && !l.starts_with("cpu "))
                .count();
            same("nproc", count(s)?, "/proc/stat", n as i64)
        },
    ),
    c(
        "cpu-count-interrupts",
        "/proc/interrupts has a column for each processor",
        |s| {
            let n = s.line("interrupts")?.split_whitespace().count();
            same("nproc", count(s)?, "/proc/interrupts", n as i64)?;
            hold(s.lines("interrupts")?.len() > 8, || {
                "/proc/interrupts has no interrupts".into()
            })
        },
    ),
    c("cpu-count-log", "the kernel brought up as many processors", |s| {
        let told = dmesg(s, "smp: Brought up")?;
        same(
            "nproc",
            count(s)?,
            "dmesg",
            told.rsplit(", ").next().and_then(number).unwrap_or(-1),
        )
    }),
    c(
        "cpu-name-lscpu",
        "lscpu and /proc/cpuinfo name one processor",
        |s| {
            same(
                "/proc/cpuinfo",
                s.value("cpuinfo", "model name")?,
                "lscpu",
                s.value("lscpu", "Model name")?,
            )
        },
    ),
    c(
        "cpu-name-cpuid",
        "CPUID names the processor of /proc/cpuinfo",
        |s| {
            let w = cpuid(s)?;
            let name = text(w.get(8..20).unwrap_or_default());
            same(
                "/proc/cpuinfo",
                s.value("cpuinfo", "model name")?,
                "CPUID",
                name.as_str(),
            )
        },
    ),
    c("cpu-name-log", "the kernel's log names the processor", |s| {
        let told = dmesg(s, "smpboot: CPU0: ")?;
        let name = s.value("cpuinfo", "model name")?;
        let named = told.contains(&format!("CPU0: {name}"));
        hold(named, || format!("dmesg says {told}"))
    }),
    c("cpu-vendor-cpuid", "CPUID has the vendor of /proc/cpuinfo", |s| {
        let w = cpuid(s)?;
        let vendor = text(&[w[1], w[3], w[2]]);
        same(
            "/proc/cpuinfo",
            s.value("cpuinfo", "vendor_id")?,
            "CPUID",
            vendor.as_str(),
        )
    }),
    c(
        "cpu-model-cpuid",
        "CPUID has family, model and stepping of /proc/cpuinfo",
        |s| {
            let a = cpuid(s)?[4];
            let (family, model) = (a >> 8 & 15, a >> 4 & 15);
            let wide = family == 6 || family == 15;
            let family = if family == 15 {
                family + (a >> 20 & 255)
            } else {
                family
            };
            let model = if wide { model | (a >> 16 & 15) << 4 } else { model };
            let told = format!("{family} {model} {}", a & 15);
            let mut shown = String::new();
            for key in ["cpu family", "model", "stepping"] {
                shown += &format!("{} ", s.number("cpuinfo", key)?);
            }
            same("/proc/cpuinfo", shown.trim(), "CPUID", told.as_str())
        },
    ),
    c(
        "cpu-flags-cpuid",
        "CPUID has the features that /proc/cpuinfo shows",
        |s| {
            let c1 = cpuid(s)?[6];
            let flags = s.value("cpuinfo", "flags")?;
            for (name, bit) in [
                ("ssse3", 9),
                ("cx16", 13),
                ("sse4_1", 19),
                ("sse4_2", 20),
                ("popcnt", 23),
                ("aes", 25),
                ("avx", 28),
                ("hypervisor", 31),
            ] {
                let shown = flags.split(' ').any(|f| f == name);
                hold(shown == (c1 >> bit & 1 == 1), || format!("{name} differs"))?;
            }
            Ok(())
        },
    ),
    c(
        "virtual",
        "the hypervisor that programs detect is the firmware's",
        |s| {
            let vendor = dmi(s, "sys_vendor")?;
            let want = if vendor.contains("VMware") {
                "vmware"
            } else {
                "kvm"
            };
            same(vendor, want, "systemd-detect-virt", s.line("virt")?)
        },
    ),
    c(
        "virtual-flag",
        "the processor tells of the hypervisor that lscpu names",
        |s| {
            let flag = s.value("cpuinfo", "flags")?.split(' ').any(|f| f == "hypervisor");
            let named = s.value("lscpu", "Hypervisor vendor").is_ok();
            hold(flag == named && flag == (s.line("virt")? != "none"), || {
                format!("flag {flag}, lscpu {named}")
            })
        },
    ),
    c(
        "virtual-devices",
        "the devices are those of the hypervisor",
        |s| {
            let vmware = dmi(s, "sys_vendor")?.contains("VMware");
            let has = |v: &str| s.get("lspci").is_ok_and(|t| t.contains(&format!(" {v}:")));
            hold(has("15ad") == vmware && has("1af4") != vmware, || {
                "lspci shows another's devices".into()
            })
        },
    ),
    c("pci", "lspci lists the devices of /sys", |s| {
        let a: Vec<String> = s
            .table("lspci")?
            .iter()
            .map(|r| format!("0000:{}", r[0]))
            .collect();
        same(
            "lspci",
            a.join(" "),
            "/sys",
            s.table("pci.sys")?.concat().join(" "),
        )
    }),
    c(
        "devices-log",
        "interface and disk hang where the kernel's log says, and their interrupts are there",
        |s| {
            let rows = s.table("devices.behind")?;
            hold(rows.len() > 1, || "no interface or no disk is a device".into())?;
            let log = s.get("dmesg")?;
            for r in rows {
                let (name, device) = (r[0], r.get(1).copied().unwrap_or_default());
                let told = [
                    format!(" {device} {name}: renamed"),
                    format!(" {device}: [{name}]"),
                ];
                hold(told.iter().any(|t| log.contains(t)), || {
                    format!("{name} is {device}, the log does not say so")
                })?;
                let counted = s.get("interrupts")?.contains(&format!(" {device}-"));
                hold(counted || !device.starts_with("virtio"), || {
                    format!("no interrupt of {device}")
                })?;
            }
            Ok(())
        },
    ),
    c(
        "firmware-log",
        "the kernel's log names the firmware of /sys",
        |s| {
            let told = dmesg(s, "DMI: ")?;
            let want = format!("{} {}", dmi(s, "sys_vendor")?, dmi(s, "product_name")?);
            hold(
                told.contains(&want) && told.contains(dmi(s, "bios_date")?),
                || format!("dmesg says {told}"),
            )
        },
    ),
    c(
        "firmware-tables",
        "dmidecode reads the firmware that /sys shows",
        |s| {
            for (key, name) in [
                ("Manufacturer", "sys_vendor"),
                ("Product Name", "product_name"),
                ("Release Date", "bios_date"),
            ] {
                same("dmidecode", s.value("dmidecode", key)?, "/sys", dmi(s, name)?)?;
            }
            Ok(())
        },
    ),
    c("memory-free", "free and /proc/meminfo have one total", |s| {
        same(
            "free",
            s.number("free", "Mem")?,
            "/proc/meminfo",
            kib(s, "MemTotal")?,
        )
    }),
    c(
        "memory-modules",
        "the memory modules hold what the kernel has, and not much more",
        |s| {
            let mut sum = 0;
            for l in s.get("dmidecode")?.lines() {
                if let Some(size) = l.trim().strip_prefix("Size: ") {
                    let unit = if size.ends_with("GB") { 1 << 20 } else { 1 << 10 };
                    sum += number(size).unwrap_or(0) * unit;
                }
            }
            let total = kib(s, "MemTotal")?;
            hold(total <= sum && total * 100 > sum * 85, || {
                format!("modules have {sum} KiB, the kernel {total}")
            })
        },
    ),
    c(
        "memory-log",
        "the kernel found the memory that /proc/meminfo has",
        |s| {
            let told = dmesg(s, "Memory: ")?;
            let all = told.split('/').nth(1).and_then(number).unwrap_or(0);
            let total = kib(s, "MemTotal")?;
            hold(total <= all && total * 100 > all * 85, || {
                format!("dmesg says {all} KiB, meminfo {total}")
            })
        },
    ),
    c("memory-pages", "the memory is whole pages", |s| {
        for key in ["MemTotal", "MemFree", "Cached", "Active", "Slab"] {
            hold(kib(s, key)? % 4 == 0, || format!("{key} is no multiple of 4 KiB"))?;
        }
        Ok(())
    }),
    c(
        "memory-sum",
        "what is free and cached fits into the memory, and available is at least free",
        |s| {
            let parts = kib(s, "MemFree")? + kib(s, "Buffers")? + kib(s, "Cached")? + kib(s, "Slab")?;
            let total = kib(s, "MemTotal")?;
            hold(
                parts <= total && kib(s, "MemAvailable")? >= kib(s, "MemFree")?,
                || format!("{parts} of {total} KiB"),
            )
        },
    ),
    c("memory-dirmap", "the kernel maps all of its memory", |s| {
        let mapped = kib(s, "DirectMap4k")? + kib(s, "DirectMap2M")? + kib(s, "DirectMap1G")?;
        let total = kib(s, "MemTotal")?;
        near("DirectMap", mapped, "MemTotal", total + total / 20, total / 8)
    }),
];
