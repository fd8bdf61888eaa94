//! The hardware a cover shows: processor, memory, disks, PCI devices and DMI strings of a plausible virtual server.
//!
//! Processors are real models, all without AVX, so that everything the interpreter executes and nothing else is advertised:
//! hypervisors commonly mask newer hosts down to this level. CPUID leaves are computed from the same flag list that
//! `/proc/cpuinfo` prints, so the two agree by construction (bits: Intel SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E).

use crate::seed::Stream;
use serde::Serialize;

/// A processor as programs see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Processor {
    /// `GenuineIntel` or `AuthenticAMD`.
    pub vendor: &'static str,
    /// Brand string, at most 47 bytes.
    pub name: String,
    /// Display family.
    pub family: u32,
    /// Display model.
    pub model: u32,
    /// Stepping.
    pub stepping: u32,
    /// Microcode revision.
    pub microcode: u32,
    /// Clock in kHz.
    pub khz: u64,
    /// Cache shown by `/proc/cpuinfo`, KiB.
    pub cache_kib: u32,
    /// Level 1 data, level 1 instruction, level 2, level 3 in KiB (level 3 may be 0).
    pub caches: [u32; 4],
    /// Highest standard CPUID leaf.
    pub cpuid_level: u32,
    /// Flags in the order of `/proc/cpuinfo`.
    pub flags: Vec<&'static str>,
    /// Bugs in the order of `/proc/cpuinfo`.
    pub bugs: Vec<&'static str>,
    /// Physical and virtual address bits.
    pub address_bits: (u32, u32),
    /// Answer of leaf 0x40000000, 12 bytes, if a hypervisor shows.
    pub hypervisor: Option<&'static str>,
}

/// One CPUID answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Leaf {
    /// EAX at entry.
    pub leaf: u32,
    /// ECX at entry.
    pub sub: u32,
    /// EAX, EBX, ECX, EDX at exit.
    pub regs: [u32; 4],
}

/// (flag, leaf, register (0 = EAX .. 3 = EDX), bit).
const BITS: &[(&str, u32, usize, u32)] = &[
    ("fpu", 1, 3, 0),
    ("vme", 1, 3, 1),
    ("de", 1, 3, 2),
    ("pse", 1, 3, 3),
    ("tsc", 1, 3, 4),
    ("msr", 1, 3, 5),
    ("pae", 1, 3, 6),
    ("mce", 1, 3, 7),
    ("cx8", 1, 3, 8),
    ("apic", 1, 3, 9),
    ("sep", 1, 3, 11),
    ("mtrr", 1, 3, 12),
    ("pge", 1, 3, 13),
    ("mca", 1, 3, 14),
    ("cmov", 1, 3, 15),
    ("pat", 1, 3, 16),
    ("pse36", 1, 3, 17),
    ("clflush", 1, 3, 19),
    ("mmx", 1, 3, 23),
    ("fxsr", 1, 3, 24),
    ("sse", 1, 3, 25),
    ("sse2", 1, 3, 26),
    ("ss", 1, 3, 27),
    ("ht", 1, 3, 28),
    ("pni", 1, 2, 0),
    ("pclmulqdq", 1, 2, 1),
    ("ssse3", 1, 2, 9),
    ("cx16", 1, 2, 13),
    ("pcid", 1, 2, 17),
    ("sse4_1", 1, 2, 19),
    ("sse4_2", 1, 2, 20),
    ("x2apic", 1, 2, 21),
    ("popcnt", 1, 2, 23),
    ("tsc_deadline_timer", 1, 2, 24),
    ("aes", 1, 2, 25),
    ("hypervisor", 1, 2, 31),
    ("tsc_adjust", 7, 1, 1),
    ("md_clear", 7, 3, 10),
    ("flush_l1d", 7, 3, 28),
    ("arch_capabilities", 7, 3, 29),
    ("lahf_lm", 0x8000_0001, 2, 0),
    ("cmp_legacy", 0x8000_0001, 2, 1),
    ("svm", 0x8000_0001, 2, 2),
    ("cr8_legacy", 0x8000_0001, 2, 4),
    ("syscall", 0x8000_0001, 3, 11),
    ("nx", 0x8000_0001, 3, 20),
    ("rdtscp", 0x8000_0001, 3, 27),
    ("lm", 0x8000_0001, 3, 29),
    ("constant_tsc", 0x8000_0007, 3, 8),
];

impl Processor {
    /// True if `flag` is in the list.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    /// The CPUID table for a machine with `cores` single-thread processors.
    pub fn leaves(&self, cores: u32) -> Vec<Leaf> {
        let mut out = Vec::new();
        let mut put = |leaf, sub, regs| out.push(Leaf { leaf, sub, regs });
        let words = |s: &[u8], i: usize| {
            let mut w = [0u8; 4];
            for (k, b) in w.iter_mut().enumerate() {
                *b = s.get(i + k).copied().unwrap_or(0);
            }
            u32::from_le_bytes(w)
        };
        let bits = |leaf: u32, reg: usize| {
            BITS.iter()
                .filter(|b| b.1 == leaf && b.2 == reg && self.has(b.0))
                .fold(0u32, |a, b| a | 1 << b.3)
        };
        let v = self.vendor.as_bytes();
        put(0, 0, [self.cpuid_level, words(v, 0), words(v, 8), words(v, 4)]);
        let (base_family, ext_family) = if self.family >= 15 {
            (15, self.family - 15)
        } else {
            (self.family, 0)
        };
        let signature = self.stepping
            | (self.model & 15) << 4
            | base_family << 8
            | (self.model >> 4) << 16
            | ext_family << 20;
        put(
            1,
            0,
            [signature, 8 << 8 | cores.min(255) << 16, bits(1, 2), bits(1, 3)],
        );
        let intel = self.vendor == "GenuineIntel";
        if intel {
            put(2, 0, [0x5503_5a01, 0x00f0_b2ff, 0, 0x09ca_212c]);
            let cache = |kind: u32, level: u32, kib: u32, ways: u32| {
                let sets = kib * 1024 / 64 / ways;
                [kind | level << 5 | 1 << 8, 63 | (ways - 1) << 22, sets - 1, 0]
            };
            put(4, 0, cache(1, 1, self.caches[0], 8));
            put(4, 1, cache(2, 1, self.caches[1], 4));
            put(4, 2, cache(3, 2, self.caches[2], 8));
            if self.caches[3] > 0 {
                put(4, 3, cache(3, 3, self.caches[3], 16));
                put(4, 4, [0; 4]);
            } else {
                put(4, 3, [0; 4]);
            }
        }
        if self.cpuid_level >= 7 {
            put(7, 0, [0, bits(7, 1), bits(7, 2), bits(7, 3)]);
        }
        if let Some(h) = self.hypervisor {
            let h = h.as_bytes();
            put(
                0x4000_0000,
                0,
                [0x4000_0001, words(h, 0), words(h, 4), words(h, 8)],
            );
            put(
                0x4000_0001,
                0,
                [
                    0x0100_7efb
                        & if self.hypervisor == Some("KVMKVMKVM") {
                            !0
                        } else {
                            0
                        },
                    0,
                    0,
                    0,
                ],
            );
        }
        put(
            0x8000_0000,
            0,
            if intel {
                [0x8000_0008, 0, 0, 0]
            } else {
                [0x8000_0008, words(v, 0), words(v, 8), words(v, 4)]
            },
        );
        let ext_edx = bits(0x8000_0001, 3) | if intel { 0 } else { bits(1, 3) & 0x0183_f3ff };
        put(
            0x8000_0001,
            0,
            [
                if intel { 0 } else { signature },
                0,
                bits(0x8000_0001, 2),
                ext_edx,
            ],
        );
        let n = self.name.as_bytes();
        for i in 0..3usize {
            let o = i * 16;
            put(
                0x8000_0002 + i as u32,
                0,
                [words(n, o), words(n, o + 4), words(n, o + 8), words(n, o + 12)],
            );
        }
        put(0x8000_0006, 0, [0, 0, self.caches[2] << 16 | 6 << 12 | 64, 0]);
        put(0x8000_0007, 0, [0, 0, 0, bits(0x8000_0007, 3)]);
        put(
            0x8000_0008,
            0,
            [self.address_bits.0 | self.address_bits.1 << 8, 0, 0, 0],
        );
        out
    }
}

/// Which hypervisor the machine runs under; decides DMI, PCI, disk and network names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Platform {
    /// QEMU with the i440FX chipset.
    QemuPc,
    /// QEMU with the Q35 chipset.
    QemuQ35,
    /// VMware.
    Vmware,
}

/// One disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// `sda` or `vda`.
    pub name: String,
    /// Size in bytes, a multiple of 1 GiB.
    pub bytes: u64,
    /// SCSI vendor and model, empty for virtio.
    pub model: String,
    /// Block device major number.
    pub major: u32,
    /// Partitions in order.
    pub partitions: Vec<Partition>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// `sda1`.
    pub name: String,
    /// Minor number.
    pub minor: u32,
    /// First sector (512 bytes).
    pub start: u64,
    /// Length in sectors.
    pub sectors: u64,
    /// `ext4`, `swap` or empty (extended).
    pub fs: &'static str,
    /// File system UUID.
    pub uuid: String,
    /// Where it is mounted.
    pub mount: &'static str,
}

/// One PCI function as `lspci` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pci {
    /// `0000:00:01.0`.
    pub slot: &'static str,
    /// Class code (24 bits).
    pub class: u32,
    /// Vendor and device id.
    pub id: (u16, u16),
    /// Subsystem vendor and device id.
    pub subsystem: (u16, u16),
    /// Driver bound to it, or empty.
    pub driver: &'static str,
}

/// DMI strings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Dmi {
    pub bios_vendor: String,
    pub bios_version: String,
    pub bios_date: String,
    pub sys_vendor: String,
    pub product_name: String,
    pub product_version: String,
    pub product_uuid: String,
    pub chassis_vendor: String,
    pub chassis_type: u32,
    pub chassis_version: String,
}

/// Everything that is hardware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hardware {
    /// The hypervisor.
    pub platform: Platform,
    /// Processor model; every core is the same.
    pub processor: Processor,
    /// Number of processors.
    pub cores: u32,
    /// Installed memory in MiB.
    pub memory_mib: u64,
    /// `MemTotal` in KiB: installed memory less what firmware and kernel keep.
    pub mem_total_kib: u64,
    /// Disks; the first holds the root file system.
    pub disks: Vec<Disk>,
    /// PCI functions in slot order.
    pub pci: Vec<Pci>,
    /// DMI strings.
    pub dmi: Dmi,
}

const BASE: &[&str] = &[
    "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "sep", "mtrr", "pge", "mca",
    "cmov", "pat", "pse36", "clflush", "mmx", "fxsr", "sse", "sse2",
];

fn flags(parts: &[&[&'static str]]) -> Vec<&'static str> {
    parts.iter().flat_map(|p| p.iter().copied()).collect()
}

const INTEL_BUGS: &[&str] = &[
    "cpu_meltdown",
    "spectre_v1",
    "spectre_v2",
    "spec_store_bypass",
    "l1tf",
    "mds",
    "swapgs",
    "itlb_multihit",
    "mmio_unknown",
];

fn processor(platform: Platform, s: &mut Stream) -> Processor {
    let common_tail: &[&str] = &["aes", "hypervisor", "lahf_lm"];
    match platform {
        Platform::QemuPc | Platform::QemuQ35 => {
            let khz = s.range(1_995_000, 3_700_000) as u64 / 5 * 5 + s.below(4);
            if s.chance(60) {
                let amd = s.chance(45);
                Processor {
                    vendor: if amd { "AuthenticAMD" } else { "GenuineIntel" },
                    name: "QEMU Virtual CPU version 2.5+".into(),
                    family: 15,
                    model: 107,
                    stepping: 1,
                    microcode: if amd { 0x0100_0065 } else { 1 },
                    khz,
                    cache_kib: if amd { 512 } else { 16384 },
                    caches: [32, 32, 4096, 16384],
                    cpuid_level: 13,
                    flags: flags(&[
                        BASE,
                        &["syscall", "nx", "lm"],
                        if amd {
                            &["rep_good", "nopl", "cpuid", "extd_apicid", "tsc_known_freq"]
                        } else {
                            &["constant_tsc", "nopl", "xtopology", "cpuid", "tsc_known_freq"]
                        },
                        &["pni", "ssse3", "cx16", "sse4_1", "sse4_2", "x2apic", "popcnt"],
                        common_tail,
                        if amd {
                            &["cmp_legacy", "3dnowprefetch", "vmmcall"]
                        } else {
                            &["cpuid_fault", "pti"]
                        },
                    ]),
                    bugs: if amd {
                        vec![
                            "fxsave_leak",
                            "sysret_ss_attrs",
                            "swapgs_fence",
                            "amd_e400",
                            "spectre_v1",
                            "spectre_v2",
                        ]
                    } else {
                        INTEL_BUGS.to_vec()
                    },
                    address_bits: (40, 48),
                    hypervisor: Some("KVMKVMKVM"),
                }
            } else {
                Processor {
                    vendor: "GenuineIntel",
                    name: "Westmere E56xx/L56xx/X56xx (Nehalem-C)".into(),
                    family: 6,
                    model: 44,
                    stepping: 1,
                    microcode: 1,
                    khz,
                    cache_kib: 16384,
                    caches: [32, 32, 4096, 16384],
                    cpuid_level: 11,
                    flags: flags(&[
                        BASE,
                        &[
                            "ss",
                            "syscall",
                            "nx",
                            "rdtscp",
                            "lm",
                            "constant_tsc",
                            "rep_good",
                            "nopl",
                            "xtopology",
                            "cpuid",
                        ],
                        &[
                            "tsc_known_freq",
                            "pni",
                            "pclmulqdq",
                            "ssse3",
                            "cx16",
                            "sse4_1",
                            "sse4_2",
                            "x2apic",
                            "popcnt",
                        ],
                        &["tsc_deadline_timer"],
                        common_tail,
                        &["cpuid_fault", "pti", "tsc_adjust"],
                    ]),
                    bugs: INTEL_BUGS.to_vec(),
                    address_bits: (40, 48),
                    hypervisor: Some("KVMKVMKVM"),
                }
            }
        }
        Platform::Vmware => {
            // A cluster in EVC mode "Westmere": the host's own name, with the newer features masked.
            let (name, model, stepping, microcode, khz, l3) = *s.pick(&[
                (
                    "Intel(R) Xeon(R) CPU           X5650  @ 2.67GHz",
                    44,
                    2,
                    0x1f,
                    2_666_760,
                    12288,
                ),
                (
                    "Intel(R) Xeon(R) CPU           X5670  @ 2.93GHz",
                    44,
                    2,
                    0x1f,
                    2_933_437,
                    12288,
                ),
                (
                    "Intel(R) Xeon(R) CPU E5-2650 v4 @ 2.20GHz",
                    79,
                    1,
                    0x0b00_0040,
                    2_199_998,
                    30720,
                ),
                (
                    "Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz",
                    79,
                    1,
                    0x0b00_0040,
                    2_399_999,
                    35840,
                ),
                (
                    "Intel(R) Xeon(R) CPU E5-2630 v3 @ 2.40GHz",
                    63,
                    2,
                    0x49,
                    2_397_222,
                    20480,
                ),
                (
                    "Intel(R) Xeon(R) CPU E5-2640 v3 @ 2.60GHz",
                    63,
                    2,
                    0x49,
                    2_596_991,
                    20480,
                ),
                (
                    "Intel(R) Xeon(R) Silver 4114 CPU @ 2.20GHz",
                    85,
                    4,
                    0x0200_7006,
                    2_194_843,
                    14080,
                ),
            ]);
            Processor {
                vendor: "GenuineIntel",
                name: name.into(),
                family: 6,
                model,
                stepping,
                microcode,
                khz,
                cache_kib: l3,
                caches: [32, 32, 256, l3],
                cpuid_level: 11,
                flags: flags(&[
                    BASE,
                    &[
                        "ss",
                        "syscall",
                        "nx",
                        "rdtscp",
                        "lm",
                        "constant_tsc",
                        "arch_perfmon",
                        "nopl",
                        "xtopology",
                    ],
                    &[
                        "tsc_reliable",
                        "nonstop_tsc",
                        "cpuid",
                        "tsc_known_freq",
                        "pni",
                        "pclmulqdq",
                        "ssse3",
                        "cx16",
                        "pcid",
                    ],
                    &["sse4_1", "sse4_2", "x2apic", "popcnt", "tsc_deadline_timer"],
                    common_tail,
                    &["pti"],
                ]),
                bugs: INTEL_BUGS.to_vec(),
                address_bits: (43, 48),
                hypervisor: Some("VMwareVMware"),
            }
        }
    }
}

/// Draws the hardware. `disk_gib` and `memory_mib` are the role's ranges.
pub fn draw(s: &mut Stream, cores: &[u32], memory_mib: &[u64], disk_gib: &[u64]) -> Hardware {
    let platform = [Platform::QemuPc, Platform::QemuQ35, Platform::Vmware][s.weighted(&[5, 3, 4])];
    let processor = processor(platform, s);
    let cores = *s.pick(cores);
    let memory_mib = *s.pick(memory_mib);
    // A 64-bit kernel of this size keeps about 1.6 % plus some 45 MiB (page structures, image, firmware holes).
    let kept = memory_mib * 1024 / 62 + 46_000 + s.below(3000);
    let mem_total_kib = (memory_mib * 1024 - kept) / 4 * 4;
    let virtio = platform != Platform::Vmware && s.chance(55);
    let name = if virtio { "vda" } else { "sda" };
    let bytes = *s.pick(disk_gib) << 30;
    let major = if virtio { 254 } else { 8 };
    let total = bytes / 512;
    // The layout that Debian's installer makes on one disk: root, an extended partition, swap in it, last 1 MiB unused.
    let swap = (975 * 2048u64).min(total / 8);
    let end = total - 2048;
    let extended = (end - swap - 2) / 2048 * 2048 - 2;
    let partitions = vec![
        Partition {
            name: format!("{name}1"),
            minor: 1,
            start: 2048,
            sectors: extended - 2 - 2048 + 2,
            fs: "ext4",
            uuid: s.uuid(),
            mount: "/",
        },
        Partition {
            name: format!("{name}2"),
            minor: 2,
            start: extended,
            sectors: 2,
            fs: "",
            uuid: String::new(),
            mount: "",
        },
        Partition {
            name: format!("{name}5"),
            minor: 5,
            start: extended + 2,
            sectors: end - extended - 2,
            fs: "swap",
            uuid: s.uuid(),
            mount: "[SWAP]",
        },
    ];
    let model = match platform {
        _ if virtio => String::new(),
        Platform::Vmware => "VMware Virtual disk".into(),
        _ => "QEMU QEMU HARDDISK".into(),
    };
    let disks = vec![Disk {
        name: name.into(),
        bytes,
        model,
        major,
        partitions,
    }];
    Hardware {
        platform,
        processor,
        cores,
        memory_mib,
        mem_total_kib,
        disks,
        pci: pci(platform, virtio),
        dmi: dmi(platform, s),
    }
}

fn pci(platform: Platform, virtio: bool) -> Vec<Pci> {
    let p = |slot, class, id, subsystem, driver| Pci {
        slot,
        class,
        id,
        subsystem,
        driver,
    };
    let q = (0x1af4, 0x1100);
    match platform {
        Platform::QemuPc => vec![
            p("0000:00:00.0", 0x06_0000, (0x8086, 0x1237), q, ""),
            p("0000:00:01.0", 0x06_0100, (0x8086, 0x7000), q, ""),
            p("0000:00:01.1", 0x01_0180, (0x8086, 0x7010), q, "ata_piix"),
            p("0000:00:01.2", 0x0c_0300, (0x8086, 0x7020), q, "uhci_hcd"),
            p("0000:00:01.3", 0x06_8000, (0x8086, 0x7113), q, "piix4_smbus"),
            p("0000:00:02.0", 0x03_0000, (0x1234, 0x1111), q, "bochs-drm"),
            p(
                "0000:00:03.0",
                0x00_ff00,
                (0x1af4, 0x1002),
                (0x1af4, 5),
                "virtio-pci",
            ),
            if virtio {
                p(
                    "0000:00:0a.0",
                    0x01_0000,
                    (0x1af4, 0x1001),
                    (0x1af4, 2),
                    "virtio-pci",
                )
            } else {
                p(
                    "0000:00:05.0",
                    0x01_0000,
                    (0x1af4, 0x1004),
                    (0x1af4, 8),
                    "virtio-pci",
                )
            },
            p(
                "0000:00:12.0",
                0x02_0000,
                (0x1af4, 0x1000),
                (0x1af4, 1),
                "virtio-pci",
            ),
        ],
        Platform::QemuQ35 => vec![
            p("0000:00:00.0", 0x06_0000, (0x8086, 0x29c0), q, ""),
            p("0000:00:01.0", 0x03_0000, (0x1af4, 0x1050), q, "virtio-pci"),
            p("0000:00:1f.0", 0x06_0100, (0x8086, 0x2918), q, "lpc_ich"),
            p("0000:00:1f.2", 0x01_0601, (0x8086, 0x2922), q, "ahci"),
            p("0000:00:1f.3", 0x0c_0500, (0x8086, 0x2930), q, "i801_smbus"),
            p(
                "0000:01:00.0",
                0x02_0000,
                (0x1af4, 0x1041),
                (0x1af4, 0x1100),
                "virtio-pci",
            ),
            p(
                "0000:03:00.0",
                0x01_0000,
                if virtio {
                    (0x1af4, 0x1042)
                } else {
                    (0x1af4, 0x1048)
                },
                (0x1af4, 0x1100),
                "virtio-pci",
            ),
        ],
        Platform::Vmware => vec![
            p(
                "0000:00:00.0",
                0x06_0000,
                (0x8086, 0x7190),
                (0x15ad, 0x1976),
                "agpgart-intel",
            ),
            p("0000:00:01.0", 0x06_0400, (0x8086, 0x7191), (0, 0), ""),
            p("0000:00:07.0", 0x06_0100, (0x8086, 0x7110), (0x15ad, 0x1976), ""),
            p(
                "0000:00:07.1",
                0x01_018a,
                (0x8086, 0x7111),
                (0x15ad, 0x1976),
                "ata_piix",
            ),
            p(
                "0000:00:07.3",
                0x06_8000,
                (0x8086, 0x7113),
                (0x15ad, 0x1976),
                "piix4_smbus",
            ),
            p(
                "0000:00:07.7",
                0x08_8000,
                (0x15ad, 0x0740),
                (0x15ad, 0x0740),
                "vmw_vmci",
            ),
            p(
                "0000:00:0f.0",
                0x03_0000,
                (0x15ad, 0x0405),
                (0x15ad, 0x0405),
                "vmwgfx",
            ),
            p(
                "0000:03:00.0",
                0x01_0700,
                (0x15ad, 0x07c0),
                (0x15ad, 0x07c0),
                "vmw_pvscsi",
            ),
            p(
                "0000:0b:00.0",
                0x02_0000,
                (0x15ad, 0x07b0),
                (0x15ad, 0x07b0),
                "vmxnet3",
            ),
        ],
    }
}

fn dmi(platform: Platform, s: &mut Stream) -> Dmi {
    let uuid = s.uuid();
    match platform {
        Platform::QemuPc | Platform::QemuQ35 => {
            let (product, version) = if platform == Platform::QemuPc {
                (
                    "Standard PC (i440FX + PIIX, 1996)",
                    *s.pick(&["pc-i440fx-7.2", "pc-i440fx-8.1", "pc-i440fx-9.0", "pc-i440fx-9.2"]),
                )
            } else {
                (
                    "Standard PC (Q35 + ICH9, 2009)",
                    *s.pick(&["pc-q35-7.2", "pc-q35-8.1", "pc-q35-9.0", "pc-q35-9.2"]),
                )
            };
            let bios = *s.pick(&[
                "rel-1.16.1-0-g3208b098f51a-prebuilt.qemu.org",
                "rel-1.16.2-0-gea1b7a073390-prebuilt.qemu.org",
                "rel-1.16.3-0-ga6ed6b701f0a-prebuilt.qemu.org",
            ]);
            Dmi {
                bios_vendor: "SeaBIOS".into(),
                bios_version: bios.into(),
                bios_date: "04/01/2014".into(),
                sys_vendor: "QEMU".into(),
                product_name: product.into(),
                product_version: version.into(),
                product_uuid: uuid,
                chassis_vendor: "QEMU".into(),
                chassis_type: 1,
                chassis_version: version.into(),
            }
        }
        Platform::Vmware => Dmi {
            bios_vendor: "Phoenix Technologies LTD".into(),
            bios_version: "6.00".into(),
            bios_date: "11/12/2020".into(),
            sys_vendor: "VMware, Inc.".into(),
            product_name: "VMware Virtual Platform".into(),
            product_version: "None".into(),
            product_uuid: uuid,
            chassis_vendor: "No Enclosure".into(),
            chassis_type: 1,
            chassis_version: "N/A".into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn every_machine_is_within_what_we_execute() {
        for i in 0..200u8 {
            let hw = draw(
                &mut Seed([i; 32]).stream("hardware"),
                &[1, 2, 4],
                &[1024, 2048, 4096],
                &[20, 40],
            );
            let p = &hw.processor;
            assert!(p.name.len() <= 47, "{}", p.name);
            for f in ["sse4_2", "popcnt", "cx16", "aes", "ssse3", "sse2"] {
                assert!(p.has(f), "{} lacks {f}", p.name);
            }
            assert!(!p.has("avx") && !p.has("xsave"));
            let leaves = p.leaves(hw.cores);
            let one = leaves.iter().find(|l| l.leaf == 1).unwrap();
            assert_eq!(one.regs[2] >> 25 & 1, 1);
            assert!(hw.disks[0].partitions.windows(2).all(|w| w[0].start < w[1].start));
            assert!(hw.mem_total_kib < hw.memory_mib * 1024);
        }
    }
}
