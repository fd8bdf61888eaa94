//! What the kernel loaded and counts for the devices of each platform: modules, and the lines of `/proc/interrupts`.

use super::{Hardware, Platform};
use crate::seed::Stream;

/// A line of `/proc/interrupts`: its count is `base`, and `rate` more in a thousand seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Number or name.
    pub label: String,
    /// Since boot.
    pub base: u64,
    /// In a thousand seconds.
    pub rate: u64,
    /// Chip, kind and device; or what a named one means.
    pub text: String,
}

/// A loaded module (`lsmod`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// Name.
    pub name: &'static str,
    /// Bytes.
    pub size: u64,
    /// References that are not modules.
    pub refs: u32,
    /// Modules that use it.
    pub used_by: &'static [&'static str],
}

const fn m(name: &'static str, size: u64, refs: u32, used_by: &'static [&'static str]) -> Module {
    Module {
        name,
        size,
        refs,
        used_by,
    }
}

/// Modules that every platform has, as Linux 6.1 of Debian 12 loads them.
const ALL: &[Module] = &[
    m("binfmt_misc", 24_576, 1, &[]),
    m("aesni_intel", 393_216, 0, &[]),
    m("crypto_simd", 16_384, 0, &["aesni_intel"]),
    m("cryptd", 28_672, 0, &["crypto_simd"]),
    m("evdev", 28_672, 2, &[]),
    m("pcspkr", 16_384, 0, &[]),
    m("serio_raw", 20_480, 0, &[]),
    m("button", 24_576, 0, &[]),
    m("joydev", 28_672, 0, &[]),
    m("fuse", 176_128, 1, &[]),
    m("loop", 32_768, 0, &[]),
    m("efi_pstore", 16_384, 0, &[]),
    m("configfs", 57_344, 1, &[]),
    m("dm_mod", 184_320, 0, &[]),
    m("ip_tables", 36_864, 0, &[]),
    m("x_tables", 61_440, 0, &["ip_tables"]),
    m("autofs4", 53_248, 2, &[]),
    m("ext4", 983_040, 1, &[]),
    m("crc16", 16_384, 0, &["ext4"]),
    m("mbcache", 16_384, 0, &["ext4"]),
    m("jbd2", 167_936, 0, &["ext4"]),
    m("crc32c_generic", 16_384, 0, &[]),
    m("crc32c_intel", 24_576, 2, &[]),
    m("psmouse", 184_320, 0, &[]),
    m("sr_mod", 28_672, 0, &[]),
    m("cdrom", 81_920, 0, &["sr_mod"]),
    m("sg", 40_960, 0, &[]),
];

const QEMU: &[Module] = &[
    m("qemu_fw_cfg", 20_480, 0, &[]),
    m("virtio_balloon", 28_672, 0, &[]),
    m("virtio_net", 73_728, 0, &[]),
    m("net_failover", 20_480, 0, &["virtio_net"]),
    m("failover", 16_384, 0, &["net_failover"]),
    m("virtio_pci", 24_576, 0, &[]),
    m("virtio_pci_legacy_dev", 16_384, 0, &["virtio_pci"]),
    m("virtio_pci_modern_dev", 20_480, 0, &["virtio_pci"]),
    m(
        "virtio",
        16_384,
        0,
        &["virtio_balloon", "virtio_pci", "virtio_net"],
    ),
    m(
        "virtio_ring",
        45_056,
        0,
        &["virtio_balloon", "virtio_pci", "virtio_net"],
    ),
];

const PC: &[Module] = &[
    m("ata_generic", 16_384, 0, &[]),
    m("ata_piix", 40_960, 0, &[]),
    m("libata", 401_408, 0, &["ata_piix", "ata_generic"]),
    m("uhci_hcd", 61_440, 0, &[]),
    m("usbcore", 348_160, 0, &["uhci_hcd"]),
    m("usb_common", 16_384, 0, &["usbcore"]),
    m("i2c_piix4", 28_672, 0, &[]),
    m("bochs", 16_384, 0, &[]),
    m("drm_kms_helper", 212_992, 0, &["bochs"]),
    m("drm", 614_400, 0, &["drm_kms_helper", "bochs"]),
];

const Q35: &[Module] = &[
    m("ahci", 49_152, 0, &[]),
    m("libahci", 49_152, 0, &["ahci"]),
    m("libata", 401_408, 0, &["libahci", "ahci"]),
    m("xhci_pci", 24_576, 0, &[]),
    m("xhci_hcd", 319_488, 0, &["xhci_pci"]),
    m("usbcore", 348_160, 0, &["xhci_hcd", "xhci_pci"]),
    m("usb_common", 16_384, 0, &["xhci_hcd", "usbcore"]),
    m("i2c_i801", 36_864, 0, &[]),
    m("i2c_smbus", 20_480, 0, &["i2c_i801"]),
    m("lpc_ich", 28_672, 0, &[]),
    m("virtio_gpu", 73_728, 0, &[]),
    m("drm_kms_helper", 212_992, 0, &["virtio_gpu"]),
    m("drm", 614_400, 0, &["drm_kms_helper", "virtio_gpu"]),
];

const VMWARE: &[Module] = &[
    m("vmw_balloon", 28_672, 0, &[]),
    m("vsock_loopback", 16_384, 0, &[]),
    m("vmw_vsock_vmci_transport", 36_864, 1, &[]),
    m(
        "vmw_vmci",
        90_112,
        0,
        &["vmw_balloon", "vmw_vsock_vmci_transport"],
    ),
    m("vmxnet3", 73_728, 0, &[]),
    m("vmw_pvscsi", 28_672, 2, &[]),
    m("vmwgfx", 376_832, 1, &[]),
    m("drm_kms_helper", 212_992, 0, &["vmwgfx"]),
    m("drm", 614_400, 0, &["drm_kms_helper", "vmwgfx"]),
    m("ata_generic", 16_384, 0, &[]),
    m("ata_piix", 40_960, 0, &[]),
    m("libata", 401_408, 0, &["ata_piix", "ata_generic"]),
    m("i2c_piix4", 28_672, 0, &[]),
];

const SCSI: &[Module] = &[
    m("sd_mod", 65_536, 3, &[]),
    m("t10_pi", 16_384, 0, &["sd_mod"]),
    m("crc64_rocksoft", 20_480, 0, &["t10_pi"]),
    m("scsi_mod", 286_720, 0, &["sd_mod", "libata", "sg", "sr_mod"]),
    m("scsi_common", 16_384, 0, &["scsi_mod", "libata", "sg", "sr_mod"]),
];

fn virtio_disk(hw: &Hardware) -> bool {
    hw.disks.first().is_some_and(|d| d.name.starts_with('v'))
}

/// The modules of this machine.
pub fn modules(hw: &Hardware) -> Vec<Module> {
    let mut out = ALL.to_vec();
    match hw.platform {
        Platform::QemuPc => out.extend([QEMU, PC].concat()),
        Platform::QemuQ35 => out.extend([QEMU, Q35].concat()),
        Platform::Vmware => out.extend(VMWARE),
    }
    if virtio_disk(hw) {
        out.push(m("virtio_blk", 32_768, 3, &[]));
        out.push(m("scsi_mod", 286_720, 0, &["libata", "sg", "sr_mod"]));
        out.push(m(
            "scsi_common",
            16_384,
            0,
            &["scsi_mod", "libata", "sg", "sr_mod"],
        ));
    } else {
        if hw.platform != Platform::Vmware {
            out.push(m("virtio_scsi", 24_576, 2, &[]));
        }
        out.extend(SCSI);
    }
    out
}

/// The lines of `/proc/interrupts`; `s` gives each machine its own rates.
pub fn interrupts(hw: &Hardware, s: &mut Stream) -> Vec<Interrupt> {
    let mut out = Vec::new();
    let mut put = |label: &str, base: u64, rate: u64, text: &str| {
        let rate = if rate == 0 {
            0
        } else {
            rate * (60 + s.below(90)) / 100
        };
        out.push(Interrupt {
            label: label.into(),
            base: if base == 0 {
                0
            } else {
                base + s.below(base / 4 + 2)
            },
            rate,
            text: text.into(),
        });
    };
    put("0", 25, 0, "IO-APIC   2-edge      timer");
    put("1", 9, 0, "IO-APIC   1-edge      i8042");
    put("8", 0, 0, "IO-APIC   8-edge      rtc0");
    put("9", 0, 0, "IO-APIC   9-fasteoi   acpi");
    put("12", 15, 0, "IO-APIC  12-edge      i8042");
    let disk = virtio_disk(hw);
    match hw.platform {
        Platform::Vmware => {
            put("14", 0, 0, "IO-APIC  14-edge      ata_piix");
            put("15", 0, 0, "IO-APIC  15-edge      ata_piix");
            put("56", 9_000, 1_900, "PCI-MSI 1130496-edge      vmw_pvscsi");
            for q in 0..hw.cores.min(8) {
                let text = format!("PCI-MSI {}-edge      ens192-rxtx-{q}", 5_767_168 + q);
                put(&(57 + q).to_string(), 2_000, 5_200 / u64::from(hw.cores), &text);
            }
            put(
                &(57 + hw.cores.min(8)).to_string(),
                0,
                0,
                &format!(
                    "PCI-MSI {}-edge      ens192-event-{}",
                    5_767_168 + hw.cores.min(8),
                    hw.cores.min(8)
                ),
            );
        }
        Platform::QemuPc => {
            put("10", 0, 0, "IO-APIC  10-fasteoi   virtio0");
            put("11", 0, 0, "IO-APIC  11-fasteoi   uhci_hcd:usb1");
            put("14", 0, 0, "IO-APIC  14-edge      ata_piix");
            put("15", 90, 0, "IO-APIC  15-edge      ata_piix");
            put("24", 0, 0, "PCI-MSI 294912-edge      virtio1-config");
            put("25", 2_600, 5_000, "PCI-MSI 294913-edge      virtio1-input.0");
            put("26", 900, 3_300, "PCI-MSI 294914-edge      virtio1-output.0");
            let (a, b) = if disk {
                (
                    "PCI-MSI 163840-edge      virtio2-config",
                    "PCI-MSI 163841-edge      virtio2-req.0",
                )
            } else {
                (
                    "PCI-MSI 81920-edge      virtio2-config",
                    "PCI-MSI 81923-edge      virtio2-request",
                )
            };
            put("27", 0, 0, a);
            put("28", 8_000, 1_800, b);
        }
        Platform::QemuQ35 => {
            put("16", 0, 0, "IO-APIC  16-fasteoi   i801_smbus");
            put("24", 0, 0, "PCI-MSI 524288-edge      virtio0-config");
            put("25", 2_600, 5_000, "PCI-MSI 524289-edge      virtio0-input.0");
            put("26", 900, 3_300, "PCI-MSI 524290-edge      virtio0-output.0");
            put("27", 0, 0, "PCI-MSI 1572864-edge      virtio2-config");
            put(
                "28",
                8_000,
                1_800,
                if disk {
                    "PCI-MSI 1572865-edge      virtio2-req.0"
                } else {
                    "PCI-MSI 1572867-edge      virtio2-request"
                },
            );
            put("29", 120, 0, "PCI-MSI 512000-edge      ahci[0000:00:1f.2]");
        }
    }
    let cores = u64::from(hw.cores);
    for (label, base, rate, text) in [
        ("NMI", 0, 0, "Non-maskable interrupts"),
        ("LOC", 30_000, 26_000 * cores, "Local timer interrupts"),
        ("SPU", 0, 0, "Spurious interrupts"),
        ("PMI", 0, 0, "Performance monitoring interrupts"),
        ("IWI", 2, 0, "IRQ work interrupts"),
        ("RTR", 0, 0, "APIC ICR read retries"),
        (
            "RES",
            900 * (cores - 1).min(1),
            700 * (cores - 1),
            "Rescheduling interrupts",
        ),
        (
            "CAL",
            4_000 * (cores - 1).min(1),
            900 * (cores - 1),
            "Function call interrupts",
        ),
        ("TLB", 60 * (cores - 1).min(1), 90 * (cores - 1), "TLB shootdowns"),
        ("TRM", 0, 0, "Thermal event interrupts"),
        ("THR", 0, 0, "Threshold APIC interrupts"),
        ("DFR", 0, 0, "Deferred Error APIC interrupts"),
        ("MCE", 0, 0, "Machine check exceptions"),
        ("MCP", 1, 3 * cores, "Machine check polls"),
        ("HYP", 1, 0, "Hypervisor callback interrupts"),
        ("ERR", 0, 0, ""),
        ("MIS", 0, 0, ""),
        ("PIN", 0, 0, "Posted-interrupt notification event"),
        ("NPI", 0, 0, "Nested posted-interrupt event"),
        ("PIW", 0, 0, "Posted-interrupt wakeup event"),
    ] {
        put(label, base, rate, text);
    }
    out
}
