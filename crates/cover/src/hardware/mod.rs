//! The hardware a cover shows: processor, memory, disks, PCI devices and DMI strings of a plausible virtual server.
//!
//! Processors are real models, all without AVX, so that everything the interpreter executes and nothing else is advertised:
//! hypervisors commonly mask newer hosts down to this level. CPUID leaves are computed from the same flag list that
//! `/proc/cpuinfo` prints, so the two agree by construction (bits: Intel SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E).

mod devices;
mod processor;
mod smbios;

pub use devices::{Interrupt, Module, interrupts, modules};
pub use processor::{Leaf, Processor};
pub use smbios::tables;

use crate::seed::Stream;
use serde::Serialize;

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

/// Draws the hardware. `disk_gib` and `memory_mib` are the role's ranges.
pub fn draw(s: &mut Stream, cores: &[u32], memory_mib: &[u64], disk_gib: &[u64]) -> Hardware {
    let platform = [Platform::QemuPc, Platform::QemuQ35, Platform::Vmware][s.weighted(&[5, 3, 4])];
    let processor = processor::processor(platform, s);
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

impl Hardware {
    /// The virtio device behind a PCI device, as the kernel numbers them: in the order in which it finds them.
    pub fn virtio(&self, device: &Pci) -> Option<u8> {
        let number = match device.class >> 16 {
            1 => 2,
            2 if self.platform == Platform::QemuPc => 1,
            3 => 1,
            // The balloon, and the interface where there is none.
            _ => 0,
        };
        (device.driver == "virtio-pci").then_some(number)
    }

    /// What the interface is: its name on its bus, `virtio1` or `0000:0b:00.0`.
    pub fn interface(&self) -> String {
        self.device(2)
    }

    /// What the disk or its controller is, in the same way.
    pub fn storage(&self) -> String {
        self.device(1)
    }

    /// The last device of a class: controllers of drives for CDs come before that of the disk.
    fn device(&self, class: u32) -> String {
        let device = self.pci.iter().rfind(|p| p.class >> 16 == class);
        device.map_or(String::new(), |p| match self.virtio(p) {
            Some(n) => format!("virtio{n}"),
            None => p.slot.into(),
        })
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
