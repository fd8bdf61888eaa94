//! What the kernel loaded and counts for the devices of each platform: modules, and the lines of `/proc/interrupts`.

use super::{Hardware, Platform};
use crate::seed::Stream;
use turncoat_freeze::Freeze;

/// A line of `/proc/interrupts`: its count is `base`, and `rate` more in a thousand seconds.
#[derive(Clone, Debug, PartialEq, Eq, Freeze)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Name.
    pub name: &'static str,
    /// Bytes.
    pub size: u64,
    /// References that are not modules.
    pub refs: u32,
    /// Loaded modules that need it.
    pub used_by: Vec<&'static str>,
}

/// Set, name, size, references and needs of each module, as Debian's kernels load them on these platforms.
const MODULES: &str = include_str!("../../data/modules.tsv");

fn virtio_disk(hw: &Hardware) -> bool {
    hw.disks.first().is_some_and(|d| d.name.starts_with('v'))
}

/// The modules of this machine. Who uses whom follows from what is loaded and what each module needs.
pub fn modules(hw: &Hardware) -> Vec<Module> {
    let mut sets = vec!["all"];
    sets.extend(match hw.platform {
        Platform::QemuPc => &["qemu", "pc"][..],
        Platform::QemuQ35 => &["qemu", "q35"],
        Platform::Vmware => &["vmware"],
    });
    sets.extend(match (virtio_disk(hw), hw.platform) {
        (true, _) => &["virtio-disk"][..],
        (false, Platform::Vmware) => &["scsi"],
        (false, _) => &["virtio-scsi", "scsi"],
    });
    let mut out: Vec<Module> = Vec::new();
    let mut needs = Vec::new();
    for line in MODULES.lines().filter(|l| !l.starts_with('#')) {
        let f: Vec<&'static str> = line.split('\t').collect();
        if let [set, name, size, refs, wants] = f[..]
            && sets.contains(&set)
            && out.iter().all(|m| m.name != name)
        {
            needs.push(wants);
            out.push(Module {
                name,
                size: size.parse().unwrap_or(16_384),
                refs: refs.parse().unwrap_or(0),
                used_by: Vec::new(),
            });
        }
    }
    for i in 0..out.len() {
        let name = out[i].name;
        for need in needs[i].split(',') {
            if let Some(m) = out.iter_mut().find(|m| m.name == need) {
                m.used_by.push(name);
            }
        }
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
    let (net, storage) = (hw.interface(), hw.storage());
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
            put("24", 0, 0, &format!("PCI-MSI 294912-edge      {net}-config"));
            put(
                "25",
                2_600,
                5_000,
                &format!("PCI-MSI 294913-edge      {net}-input.0"),
            );
            put(
                "26",
                900,
                3_300,
                &format!("PCI-MSI 294914-edge      {net}-output.0"),
            );
            let (a, b) = if disk {
                (
                    format!("PCI-MSI 163840-edge      {storage}-config"),
                    format!("PCI-MSI 163841-edge      {storage}-req.0"),
                )
            } else {
                (
                    format!("PCI-MSI 81920-edge      {storage}-config"),
                    format!("PCI-MSI 81923-edge      {storage}-request"),
                )
            };
            put("27", 0, 0, &a);
            put("28", 8_000, 1_800, &b);
        }
        Platform::QemuQ35 => {
            put("16", 0, 0, "IO-APIC  16-fasteoi   i801_smbus");
            put("24", 0, 0, &format!("PCI-MSI 524288-edge      {net}-config"));
            put(
                "25",
                2_600,
                5_000,
                &format!("PCI-MSI 524289-edge      {net}-input.0"),
            );
            put(
                "26",
                900,
                3_300,
                &format!("PCI-MSI 524290-edge      {net}-output.0"),
            );
            put("27", 0, 0, &format!("PCI-MSI 1572864-edge      {storage}-config"));
            put(
                "28",
                8_000,
                1_800,
                &if disk {
                    format!("PCI-MSI 1572865-edge      {storage}-req.0")
                } else {
                    format!("PCI-MSI 1572867-edge      {storage}-request")
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
