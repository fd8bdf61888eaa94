//! Processors as programs see them: `/proc/cpuinfo` and CPUID from one list of flags.

use super::Platform;
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

pub(super) fn processor(platform: Platform, s: &mut Stream) -> Processor {
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
