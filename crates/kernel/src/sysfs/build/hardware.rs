//! The board: what its firmware says of it, the PCI bus and what virtio has on it.

use super::list;
use crate::sysfs::facts::{Facts, PciFacts};
use crate::vfs::tree::Tree;

pub(super) fn dmi(t: &mut Tree, f: &Facts) {
    let d = &f.dmi;
    let dir = "devices/virtual/dmi/id";
    let open = |perm| move |name: &'static str, text: &str| (name, text.to_owned(), perm);
    let (all, root) = (open(0o444), open(0o400));
    let rows = [
        all("bios_vendor", &d.bios_vendor),
        all("bios_version", &d.bios_version),
        all("bios_date", &d.bios_date),
        all("bios_release", &d.bios_release),
        all("sys_vendor", &d.sys_vendor),
        all("product_name", &d.product_name),
        all("product_version", &d.product_version),
        all("product_family", &d.product_family),
        all("product_sku", &d.product_sku),
        root("product_serial", &d.product_serial),
        root("product_uuid", &d.product_uuid),
        all("board_vendor", &d.board_vendor),
        all("board_name", &d.board_name),
        all("board_version", &d.board_version),
        all("board_asset_tag", &d.board_asset_tag),
        root("board_serial", &d.board_serial),
        all("chassis_vendor", &d.chassis_vendor),
        all("chassis_version", &d.chassis_version),
        all("chassis_asset_tag", &d.chassis_asset_tag),
        root("chassis_serial", &d.chassis_serial),
        all("chassis_type", &d.chassis_type.to_string()),
    ];
    for (name, text, perm) in &rows {
        // The firmware's table has no string where a fact is empty: then there is no file.
        if !text.is_empty() {
            t.file(&format!("{dir}/{name}"), *perm, format!("{text}\n"));
        }
    }
    let word = |s: &str| s.replace([' ', ':'], "");
    let alias = format!(
        "dmi:bvn{}:bvr{}:bd{}:br{}:svn{}:pn{}:pvr{}:cvn{}:ct{}:cvr{}:",
        word(&d.bios_vendor),
        word(&d.bios_version),
        d.bios_date,
        d.bios_release,
        word(&d.sys_vendor),
        word(&d.product_name),
        word(&d.product_version),
        word(&d.chassis_vendor),
        d.chassis_type,
        word(&d.chassis_version)
    );
    t.file(&format!("{dir}/modalias"), 0o444, format!("{alias}\n"));
    t.file(&format!("{dir}/uevent"), 0o644, format!("MODALIAS={alias}\n"));
    t.link(&format!("{dir}/subsystem"), "../../../../class/dmi");
    t.link("class/dmi/id", "../../devices/virtual/dmi/id");
    if !d.table.is_empty() {
        t.binary("firmware/dmi/tables/DMI", 0o400, &d.table);
        t.binary("firmware/dmi/tables/smbios_entry_point", 0o400, &d.entry);
    }
}

pub(super) fn pci(t: &mut Tree, f: &Facts) {
    for p in &f.pci {
        let dir = format!("devices/pci0000:00/{}", p.slot);
        let mut config = vec![0u8; 256];
        let mut set = |at: usize, bytes: &[u8]| {
            if let Some(to) = config.get_mut(at..at + bytes.len()) {
                to.copy_from_slice(bytes);
            }
        };
        set(0, &p.vendor.to_le_bytes());
        set(2, &p.device.to_le_bytes());
        set(4, &[0x07, 0x01, 0x10, 0x00]);
        set(
            8,
            &[
                p.revision,
                p.class as u8,
                (p.class >> 8) as u8,
                (p.class >> 16) as u8,
            ],
        );
        set(0x2c, &p.sub_vendor.to_le_bytes());
        set(0x2e, &p.sub_device.to_le_bytes());
        set(0x3c, &[p.irq as u8, u8::from(p.irq != 0)]);
        t.binary(&format!("{dir}/config"), 0o644, &config);
        let alias = format!(
            "pci:v{:08X}d{:08X}sv{:08X}sd{:08X}bc{:02X}sc{:02X}i{:02X}",
            p.vendor,
            p.device,
            p.sub_vendor,
            p.sub_device,
            p.class >> 16 & 0xff,
            p.class >> 8 & 0xff,
            p.class & 0xff
        );
        let driver = if p.driver.is_empty() {
            String::new()
        } else {
            format!("DRIVER={}\n", p.driver)
        };
        for (name, text) in [
            ("vendor", format!("0x{:04x}\n", p.vendor)),
            ("device", format!("0x{:04x}\n", p.device)),
            ("subsystem_vendor", format!("0x{:04x}\n", p.sub_vendor)),
            ("subsystem_device", format!("0x{:04x}\n", p.sub_device)),
            ("class", format!("0x{:06x}\n", p.class)),
            ("revision", format!("0x{:02x}\n", p.revision)),
            ("irq", format!("{}\n", p.irq)),
            ("modalias", format!("{alias}\n")),
            ("numa_node", "-1\n".to_owned()),
            ("enable", "1\n".to_owned()),
            ("local_cpulist", list(f.cpu.count())),
            (
                "resource",
                "0x0000000000000000 0x0000000000000000 0x0000000000000000\n".repeat(13),
            ),
            (
                "uevent",
                format!(
                    "{driver}PCI_CLASS={:X}\nPCI_ID={:04X}:{:04X}\nPCI_SUBSYS_ID={:04X}:{:04X}\nPCI_SLOT_NAME={}\nMODALIAS={alias}\n",
                    p.class, p.vendor, p.device, p.sub_vendor, p.sub_device, p.slot
                ),
            ),
        ] {
            t.file(&format!("{dir}/{name}"), 0o444, text);
        }
        virtio(t, p);
        t.link(&format!("{dir}/subsystem"), "../../../bus/pci");
        if !p.driver.is_empty() {
            t.link(
                &format!("{dir}/driver"),
                &format!("../../../bus/pci/drivers/{}", p.driver),
            );
            t.link(
                &format!("bus/pci/drivers/{}/{}", p.driver, p.slot),
                &format!("../../../../devices/pci0000:00/{}", p.slot),
            );
        }
        t.link(
            &format!("bus/pci/devices/{}", p.slot),
            &format!("../../../devices/pci0000:00/{}", p.slot),
        );
    }
    t.file("bus/pci/rescan", 0o200, "");
    t.dir("bus/pci/slots");
}

/// Where that hangs which a PCI device is: below itself, or below its virtio device.
pub(super) fn under(p: &PciFacts) -> String {
    let dir = format!("devices/pci0000:00/{}", p.slot);
    match p.virtio {
        Some(n) => format!("{dir}/virtio{n}"),
        None => dir,
    }
}

/// The virtio device behind a PCI device (virtio specification 1.1, 4.1.2: device ids).
fn virtio(t: &mut Tree, p: &PciFacts) {
    let Some(n) = p.virtio else {
        return;
    };
    let (kind, driver) = match p.device {
        0x1000 | 0x1041 => (1, "virtio_net"),
        0x1001 | 0x1042 => (2, "virtio_blk"),
        0x1002 | 0x1045 => (5, "virtio_balloon"),
        0x1004 | 0x1048 => (8, "virtio_scsi"),
        0x1050 => (16, "virtio_gpu"),
        _ => return,
    };
    let dir = under(p);
    let alias = format!("virtio:d{kind:08X}v{:08X}", p.vendor);
    for (name, perm, text) in [
        ("device", 0o444, format!("0x{kind:04x}\n")),
        ("vendor", 0o444, format!("0x{:04x}\n", p.vendor)),
        ("status", 0o444, "0x0000000f\n".to_owned()),
        ("modalias", 0o444, format!("{alias}\n")),
        ("uevent", 0o644, format!("DRIVER={driver}\nMODALIAS={alias}\n")),
    ] {
        t.file(&format!("{dir}/{name}"), perm, text);
    }
    let bus = "bus/virtio";
    t.link(&format!("{dir}/subsystem"), &format!("../../../../{bus}"));
    t.link(
        &format!("{dir}/driver"),
        &format!("../../../../{bus}/drivers/{driver}"),
    );
    t.link(&format!("{bus}/devices/virtio{n}"), &format!("../../../{dir}"));
    t.link(
        &format!("{bus}/drivers/{driver}/virtio{n}"),
        &format!("../../../../{dir}"),
    );
}
