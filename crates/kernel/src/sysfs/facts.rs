//! Facts of the machine that /proc and /sys tell: plain data from the cover, one place for each.

use turncoat_freeze::Freeze;

/// The processor, as CPUID and /proc/cpuinfo agree on it.
#[derive(Clone, Debug, Freeze)]
#[allow(missing_docs)]
pub struct CpuFacts {
    pub vendor: String,
    pub family: u32,
    pub model: u32,
    pub name: String,
    pub stepping: u32,
    pub microcode: u32,
    pub khz: u64,
    /// Words of the `flags` line, in the kernel's order.
    pub flags: Vec<String>,
    /// Words of the `vmx flags` line; empty: no such line.
    pub bugs: Vec<String>,
    pub cpuid_level: u32,
    pub phys_bits: u32,
    pub virt_bits: u32,
    pub sockets: u32,
    pub cores: u32,
    pub threads: u32,
    /// Bytes: L1d, L1i, L2 for each core, L3 for each socket (0: none).
    pub l1d: u64,
    pub l1i: u64,
    pub l2: u64,
    pub l3: u64,
    /// Name in /sys/devices/system/cpu/vulnerabilities and text, in alphabetic order.
    pub vulnerabilities: Vec<(String, String)>,
    /// Under a hypervisor: `kvm`, `vmware`, `xen`, `microsoft`; empty for bare metal.
    pub hypervisor: String,
}

impl CpuFacts {
    /// Logical processors.
    pub fn count(&self) -> u32 {
        (self.sockets * self.cores * self.threads).max(1)
    }
}

/// A partition of the disk. Units of 512 bytes.
#[derive(Clone, Debug, Freeze)]
#[allow(missing_docs)]
pub struct Partition {
    pub number: u32,
    pub start: u64,
    pub sectors: u64,
    /// Of the file system or swap on it; empty for an extended partition.
    pub uuid: String,
    /// It is the swap in use.
    pub swap: bool,
}

/// The one disk.
#[derive(Clone, Debug, Freeze)]
#[allow(missing_docs)]
pub struct DiskFacts {
    /// `sda`, `vda`, `nvme0n1`.
    pub name: String,
    pub major: u32,
    /// Units of 512 bytes.
    pub sectors: u64,
    pub model: String,
    pub vendor: String,
    pub serial: String,
    pub rotational: bool,
    pub partitions: Vec<Partition>,
    /// Number of the partition that holds the root file system.
    pub root: u32,
    /// Signature of the MBR, eight hexadecimal digits: the partitions' ids begin with it.
    pub id: String,
}

impl DiskFacts {
    /// The partition that is swap, if there is one.
    pub fn swap(&self) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.swap)
    }

    /// Name of a partition's device.
    pub fn part_name(&self, number: u32) -> String {
        let sep = if self.name.ends_with(|c: char| c.is_ascii_digit()) {
            "p"
        } else {
            ""
        };
        format!("{}{sep}{number}", self.name)
    }
}

/// One PCI function.
#[derive(Clone, Debug, Freeze)]
#[allow(missing_docs)]
pub struct PciFacts {
    /// `0000:00:1f.2`.
    pub slot: String,
    pub vendor: u16,
    pub device: u16,
    pub sub_vendor: u16,
    pub sub_device: u16,
    pub class: u32,
    pub revision: u8,
    pub irq: u32,
    pub driver: String,
    /// Number of the virtio device behind it.
    pub virtio: Option<u8>,
}

/// /sys/class/dmi/id. An empty string: the file is there and empty.
#[derive(Clone, Debug, Default, Freeze)]
#[allow(missing_docs)]
pub struct DmiFacts {
    pub bios_vendor: String,
    pub bios_version: String,
    pub bios_date: String,
    pub bios_release: String,
    pub sys_vendor: String,
    pub product_name: String,
    pub product_version: String,
    pub product_serial: String,
    pub product_uuid: String,
    pub product_family: String,
    pub product_sku: String,
    pub board_vendor: String,
    pub board_name: String,
    pub board_version: String,
    pub board_serial: String,
    pub board_asset_tag: String,
    pub chassis_vendor: String,
    pub chassis_version: String,
    pub chassis_serial: String,
    pub chassis_asset_tag: String,
    pub chassis_type: u32,
    /// Raw SMBIOS structures for /sys/firmware/dmi/tables/DMI, and the entry point.
    pub table: Vec<u8>,
    pub entry: Vec<u8>,
}

pub use turncoat_cover::hardware::Interrupt;

/// A loaded kernel module: name, size, users by name.
#[derive(Clone, Debug, Freeze)]
#[allow(missing_docs)]
pub struct ModuleFacts {
    pub name: String,
    pub size: u64,
    pub refs: u32,
    pub used_by: Vec<String>,
}

/// Everything that /proc and /sys tell of the machine and never changes while it runs.
#[derive(Clone, Debug, Freeze)]
#[allow(missing_docs)]
pub struct Facts {
    /// `6.1.0-18-amd64`.
    pub release: String,
    /// `#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)`.
    pub version: String,
    /// What stands in parentheses in /proc/version: builder and compiler, ending before ` #1`.
    pub compiler: String,
    /// Boot command line.
    pub cmdline: String,
    pub boot_id: String,
    pub memory: u64,
    pub cpu: CpuFacts,
    pub disk: DiskFacts,
    pub dmi: DmiFacts,
    pub pci: Vec<PciFacts>,
    pub modules: Vec<ModuleFacts>,
    /// Lines of /proc/interrupts.
    pub interrupts: Vec<Interrupt>,
    /// Ports on which outsiders reach sshd; empty: those that they reached.
    pub ssh_ports: Vec<u16>,
    /// Time zone of the machine, for what the host's stand-ins print.
    pub zone: Option<turncoat_cover::clock::Zone>,
    /// Whose journal it is; `None`: nothing is logged.
    pub journal: Option<turncoat_cover::past::journal::Machine>,
    /// Its rsyslog, if it has one.
    pub rsyslog: Option<turncoat_cover::past::text::Rsyslog>,
    /// When its timers fire.
    pub timers: Option<turncoat_cover::past::lines::Timers>,
    /// What moves on the idle machine; `None`: it moves by rule of thumb.
    pub pulse: Option<turncoat_cover::live::Pulse>,
    /// Slices and units that exist in the cgroup tree (`/system.slice/cron.service`).
    pub cgroups: Vec<String>,
    /// Addresses in kallsyms are shown from here for root (0: always zeros).
    pub kernel_base: u64,
}

impl Default for Facts {
    /// A small virtual machine, for tests and as a start for a cover.
    fn default() -> Facts {
        let words = |s: &str| s.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let text = |s: &str| s.to_owned();
        Facts {
            release: text("6.1.0-18-amd64"),
            version: text("#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)"),
            compiler: text(
                "(debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) 12.2.0, GNU ld (GNU Binutils for Debian) 2.40)",
            ),
            cmdline: text("BOOT_IMAGE=/boot/vmlinuz-6.1.0-18-amd64 root=/dev/sda1 ro quiet"),
            boot_id: text("00000000-0000-4000-8000-000000000000"),
            memory: 2 << 30,
            cpu: CpuFacts {
                vendor: text("GenuineIntel"),
                family: 6,
                model: 44,
                name: text("Intel(R) Xeon(R) CPU E5620  @ 2.40GHz"),
                stepping: 2,
                microcode: 1,
                khz: 2_400_084,
                flags: words(
                    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 ss ht \
                     syscall nx pdpe1gb rdtscp lm constant_tsc rep_good nopl xtopology cpuid tsc_known_freq pni pclmulqdq ssse3 cx16 \
                     pcid sse4_1 sse4_2 x2apic popcnt tsc_deadline_timer aes hypervisor lahf_lm cpuid_fault pti",
                ),
                bugs: words(
                    "cpu_meltdown spectre_v1 spectre_v2 spec_store_bypass l1tf mds swapgs itlb_multihit mmio_unknown",
                ),
                cpuid_level: 11,
                phys_bits: 40,
                virt_bits: 48,
                sockets: 1,
                cores: 2,
                threads: 1,
                l1d: 32 << 10,
                l1i: 32 << 10,
                l2: 4 << 20,
                l3: 16 << 20,
                vulnerabilities: [
                    ("gather_data_sampling", "Not affected"),
                    ("itlb_multihit", "KVM: Mitigation: VMX unsupported"),
                    ("l1tf", "Mitigation: PTE Inversion"),
                    (
                        "mds",
                        "Vulnerable: Clear CPU buffers attempted, no microcode; SMT Host state unknown",
                    ),
                    ("meltdown", "Mitigation: PTI"),
                    ("mmio_stale_data", "Unknown: No mitigations"),
                    ("retbleed", "Not affected"),
                    ("spec_rstack_overflow", "Not affected"),
                    ("spec_store_bypass", "Vulnerable"),
                    (
                        "spectre_v1",
                        "Mitigation: usercopy/swapgs barriers and __user pointer sanitization",
                    ),
                    (
                        "spectre_v2",
                        "Mitigation: Retpolines, STIBP: disabled, RSB filling, PBRSB-eIBRS: Not affected",
                    ),
                    ("srbds", "Not affected"),
                    ("tsx_async_abort", "Not affected"),
                ]
                .iter()
                .map(|(a, b)| (text(a), text(b)))
                .collect(),
                hypervisor: text("kvm"),
            },
            disk: DiskFacts {
                name: text("sda"),
                major: 8,
                sectors: 41_943_040,
                model: text("QEMU HARDDISK"),
                vendor: text("QEMU"),
                serial: text(""),
                rotational: true,
                partitions: vec![
                    Partition {
                        number: 1,
                        start: 2048,
                        sectors: 39_942_144,
                        uuid: text("0b6d9b1e-6d6c-4c53-9d0e-2f8f1c7a5b3d"),
                        swap: false,
                    },
                    Partition {
                        number: 5,
                        start: 39_946_240,
                        sectors: 1_994_752,
                        uuid: text("5f3c8a52-8c1b-4f8a-a0b4-7d1e6c2f9a10"),
                        swap: true,
                    },
                ],
                root: 1,
                id: text("9c3e2b1f"),
            },
            dmi: DmiFacts {
                bios_vendor: text("SeaBIOS"),
                bios_version: text("1.16.2-debian-1.16.2-1"),
                bios_date: text("04/01/2014"),
                bios_release: text("0.0"),
                sys_vendor: text("QEMU"),
                product_name: text("Standard PC (i440FX + PIIX, 1996)"),
                product_version: text("pc-i440fx-7.2"),
                chassis_vendor: text("QEMU"),
                chassis_version: text("pc-i440fx-7.2"),
                chassis_type: 1,
                ..DmiFacts::default()
            },
            pci: Vec::new(),
            modules: Vec::new(),
            interrupts: Vec::new(),
            ssh_ports: Vec::new(),
            zone: None,
            journal: None,
            rsyslog: None,
            timers: None,
            pulse: None,
            cgroups: Vec::new(),
            kernel_base: 0,
        }
    }
}
