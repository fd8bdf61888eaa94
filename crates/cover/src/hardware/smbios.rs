//! The firmware's tables as `dmidecode` reads them (SMBIOS Reference Specification 2.8): entry point and structures.

use super::{Hardware, Platform};

/// Structures under construction.
struct Tables {
    bytes: Vec<u8>,
    count: u16,
    largest: u16,
}

impl Tables {
    /// One structure: type, handle, formatted part behind the header, strings.
    fn put(&mut self, kind: u8, handle: u16, body: &[u8], strings: &[&str]) {
        let start = self.bytes.len();
        self.bytes.extend([kind, body.len() as u8 + 4]);
        self.bytes.extend(handle.to_le_bytes());
        self.bytes.extend(body);
        for s in strings {
            self.bytes.extend(s.as_bytes());
            self.bytes.push(0);
        }
        if strings.is_empty() {
            self.bytes.push(0);
        }
        self.bytes.push(0);
        self.count += 1;
        self.largest = self.largest.max((self.bytes.len() - start) as u16);
    }
}

/// Size of one memory module in MiB: hypervisors show modules of at most 16 GiB.
const MODULE_MIB: u64 = 16_384;

/// `/sys/firmware/dmi/tables/smbios_entry_point` and `DMI` of this machine.
pub fn tables(hw: &Hardware) -> (Vec<u8>, Vec<u8>) {
    let d = &hw.dmi;
    let mut t = Tables {
        bytes: Vec::new(),
        count: 0,
        largest: 0,
    };
    let qemu = hw.platform != Platform::Vmware;
    // Type 0: vendor, version, start segment, date, ROM size, characteristics, their extension, release.
    let mut bios = vec![1, 2, 0, 0xe8, 3, 0];
    bios.extend([
        8,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        if qemu { 0x14 } else { 0 },
        0,
        0,
        0xff,
        0xff,
    ]);
    t.put(0, 0x0000, &bios, &[&d.bios_vendor, &d.bios_version, &d.bios_date]);
    // Type 1: manufacturer, product, version, serial, UUID, wake-up by the power switch, SKU, family.
    let serial = if qemu { 0 } else { 4 };
    let mut system = vec![1, 2, 3, serial];
    system.extend(uuid(&d.product_uuid));
    system.extend([6, 0, 0]);
    let mut names: Vec<&str> = vec![&d.sys_vendor, &d.product_name, &d.product_version];
    let number = vmware_serial(&d.product_uuid);
    if !qemu {
        names.push(&number);
    }
    t.put(1, 0x0100, &system, &names);
    // Type 3: manufacturer, type, version, serial, tag, states, OEM, height, cords, elements.
    let mut chassis = vec![1, d.chassis_type as u8, 2, 0, 0, 3, 3, 3, 2];
    chassis.extend([0; 8]);
    t.put(3, 0x0300, &chassis, &[&d.chassis_vendor, &d.chassis_version]);
    for n in 0..hw.cores {
        // Type 4: socket, central processor, family, manufacturer, id, version, voltage, clocks, status, upgrade, caches, serials, cores.
        let p = &hw.processor;
        let socket = format!("CPU {n}");
        let mut b = vec![1, 3, 1, 2];
        let id = p
            .leaves(hw.cores)
            .iter()
            .find(|l| l.leaf == 1)
            .map_or([0; 4], |l| l.regs);
        b.extend(id[0].to_le_bytes());
        b.extend(id[3].to_le_bytes());
        b.extend([3, 0]);
        for clock in [0u16, 2000, 2000] {
            b.extend(clock.to_le_bytes());
        }
        b.extend([0x41, 1]);
        b.extend([0xff; 6]);
        b.extend([0, 0, 0, 1, 1, 1, 0, 0, 1, 0]);
        t.put(
            4,
            0x0400 + n as u16,
            &b,
            &[&socket, &d.sys_vendor, &d.product_version],
        );
    }
    let modules = hw.memory_mib.div_ceil(MODULE_MIB).max(1);
    // Type 16: an array of system memory with multi-bit correction; its size in KiB.
    let mut array = vec![1, 3, 6];
    array.extend(((hw.memory_mib * 1024).min(0x8000_0000) as u32).to_le_bytes());
    array.extend(0xfffeu16.to_le_bytes());
    array.extend((modules as u16).to_le_bytes());
    array.extend([0; 8]);
    t.put(16, 0x1000, &array, &[]);
    let mut left = hw.memory_mib;
    for n in 0..modules {
        let mib = left.min(MODULE_MIB);
        left -= mib;
        // Type 17: array, no error, widths, size in MiB, form, set, names, type, detail, speed and so on.
        let mut b = Vec::new();
        for w in [0x1000u16, 0xfffe, 0xffff, 0xffff, mib.min(0x7ffe) as u16] {
            b.extend(w.to_le_bytes());
        }
        b.extend([9, 0, 1, 0, 7]);
        b.extend(2u16.to_le_bytes());
        b.extend([0, 0, 2, 0, 0, 0, 0]);
        b.extend([0; 12]);
        let locator = format!("{} {n}", if qemu { "DIMM" } else { "RAM slot #" }).replace("# ", "#");
        t.put(17, 0x1100 + n as u16, &b, &[&locator, &d.sys_vendor]);
    }
    // Type 32: no errors at boot. Type 127: the end.
    t.put(32, 0x2000, &[0; 7], &[]);
    t.put(127, 0x7f00, &[], &[]);
    (entry(&t), t.bytes)
}

/// The 2.x entry point with both of its sums.
fn entry(t: &Tables) -> Vec<u8> {
    let mut e = b"_SM_\0\x1f\x02\x08".to_vec();
    e.extend(t.largest.to_le_bytes());
    e.extend([0; 6]);
    e.extend(b"_DMI_\0");
    e.extend((t.bytes.len() as u16).to_le_bytes());
    e.extend(0x000f_59b0u32.to_le_bytes());
    e.extend(t.count.to_le_bytes());
    e.push(0x28);
    let sum = |b: &[u8]| b.iter().fold(0u8, |a, x| a.wrapping_add(*x)).wrapping_neg();
    if let Some(s) = e.get(16..).map(sum) {
        e[21] = s;
    }
    e[4] = sum(&e);
    e
}

/// A UUID as SMBIOS stores it: the first three fields little-endian.
fn uuid(text: &str) -> [u8; 16] {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut out = [0u8; 16];
    for (o, d) in out.iter_mut().zip(digits.chunks(2)) {
        *o = std::str::from_utf8(d)
            .ok()
            .and_then(|d| u8::from_str_radix(d, 16).ok())
            .unwrap_or(0);
    }
    out[..4].reverse();
    out[4..6].reverse();
    out[6..8].reverse();
    out
}

/// VMware's serial number: the UUID in pairs.
fn vmware_serial(text: &str) -> String {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
    let pairs: Vec<String> = digits.chunks(2).map(|p| p.iter().collect()).collect();
    let half = pairs.len() / 2;
    format!(
        "VMware-{}-{}",
        pairs.get(..half).unwrap_or_default().join(" "),
        pairs.get(half..).unwrap_or_default().join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_zero_and_structures_end() {
        for i in 0..40u8 {
            let mut s = crate::Seed([i; 32]).stream("hardware");
            let hw = super::super::draw(&mut s, &[1, 2, 8], &[1024, 16_384, 65_536], &[20]);
            let (entry, bytes) = tables(&hw);
            let sum = |b: &[u8]| b.iter().fold(0u8, |a, x| a.wrapping_add(*x));
            assert_eq!((entry.len(), sum(&entry), sum(&entry[16..])), (31, 0, 0));
            let (mut at, mut count) = (0, 0);
            while at < bytes.len() {
                let end = at + usize::from(bytes[at + 1]);
                let strings = bytes[end..].windows(2).position(|w| w == [0, 0]).expect("an end");
                at = end + strings + 2;
                count += 1;
            }
            assert_eq!(count, usize::from(u16::from_le_bytes([entry[28], entry[29]])));
        }
    }
}
