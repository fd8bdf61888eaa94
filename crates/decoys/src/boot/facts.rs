//! The cover's hardware and kernel as the facts that /proc and /sys tell.

use turncoat_cover::Cover;
use turncoat_cover::Image;
use turncoat_cover::hardware::{self, Hardware, Platform};
use turncoat_cover::live::Pulse;
use turncoat_cover::past::journal::Machine;
use turncoat_cover::past::text::Rsyslog;
use turncoat_cpu::CpuidLeaf;
use turncoat_kernel::sysfs::facts::{CpuFacts, DiskFacts, DmiFacts, Facts, ModuleFacts, Partition, PciFacts};

/// CPUID as the interpreter answers it.
pub fn cpuid(hw: &Hardware) -> Vec<CpuidLeaf> {
    let leaves = hw.processor.leaves(hw.cores);
    let many = |leaf: u32| leaves.iter().filter(|l| l.leaf == leaf).count() > 1;
    leaves
        .iter()
        .map(|l| CpuidLeaf {
            leaf: l.leaf,
            subleaf: (many(l.leaf) || l.leaf == 4).then_some(l.sub),
            regs: l.regs,
        })
        .collect()
}

fn strings(words: &[&'static str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_string()).collect()
}

/// What /sys/devices/system/cpu/vulnerabilities says; the texts are those of Linux 6.1 for a guest without new microcode.
fn vulnerabilities(bugs: &[&str]) -> Vec<(String, String)> {
    let has = |b: &str| bugs.contains(&b);
    let mds = if has("mds") {
        "Vulnerable: Clear CPU buffers attempted, no microcode; SMT Host state unknown"
    } else {
        "Not affected"
    };
    let rows: [(&str, &str); 13] = [
        ("gather_data_sampling", "Not affected"),
        (
            "itlb_multihit",
            if has("itlb_multihit") {
                "KVM: Mitigation: VMX unsupported"
            } else {
                "Not affected"
            },
        ),
        (
            "l1tf",
            if has("l1tf") {
                "Mitigation: PTE Inversion"
            } else {
                "Not affected"
            },
        ),
        ("mds", mds),
        (
            "meltdown",
            if has("cpu_meltdown") {
                "Mitigation: PTI"
            } else {
                "Not affected"
            },
        ),
        (
            "mmio_stale_data",
            if has("mmio_unknown") {
                "Unknown: No mitigations"
            } else {
                "Not affected"
            },
        ),
        ("retbleed", "Not affected"),
        ("spec_rstack_overflow", "Not affected"),
        (
            "spec_store_bypass",
            if has("spec_store_bypass") {
                "Vulnerable"
            } else {
                "Not affected"
            },
        ),
        (
            "spectre_v1",
            "Mitigation: usercopy/swapgs barriers and __user pointer sanitization",
        ),
        (
            "spectre_v2",
            "Mitigation: Retpolines; STIBP: disabled; RSB filling; PBRSB-eIBRS: Not affected; BHI: Retpoline",
        ),
        ("srbds", "Not affected"),
        ("tsx_async_abort", "Not affected"),
    ];
    rows.iter()
        .map(|(a, b)| ((*a).to_string(), (*b).to_string()))
        .collect()
}

/// All facts of the machine.
pub fn facts(cover: &Cover, image: &dyn Image) -> Facts {
    let hw = &cover.hardware;
    let p = &hw.processor;
    let d = &cover.hardware.dmi;
    let root = hw
        .disks
        .first()
        .and_then(|d| d.partitions.iter().find(|p| p.mount == "/"));
    let uuid = root.map(|p| p.uuid.as_str()).unwrap_or_default();
    let release = &cover.host.kernel.release;
    let kib = |n: u32| u64::from(n) << 10;
    let (entry, table) = hardware::tables(hw);
    Facts {
        release: release.clone(),
        version: cover.host.kernel.version(),
        compiler: cover.host.kernel.compiler.clone(),
        cmdline: format!("BOOT_IMAGE=/boot/vmlinuz-{release} root=UUID={uuid} ro quiet"),
        boot_id: cover.host.boot_id.clone(),
        memory: hw.mem_total_kib << 10,
        cpu: CpuFacts {
            vendor: p.vendor.into(),
            family: p.family,
            model: p.model,
            name: p.name.clone(),
            stepping: p.stepping,
            microcode: p.microcode,
            khz: p.khz,
            flags: strings(&p.flags),
            bugs: strings(&p.bugs),
            cpuid_level: p.cpuid_level,
            phys_bits: p.address_bits.0,
            virt_bits: p.address_bits.1,
            sockets: 1,
            cores: hw.cores,
            threads: 1,
            l1d: kib(p.caches[0]),
            l1i: kib(p.caches[1]),
            l2: kib(p.caches[2]),
            l3: kib(p.caches[3]),
            vulnerabilities: vulnerabilities(&p.bugs),
            hypervisor: match hw.platform {
                Platform::Vmware => "vmware",
                _ => "kvm",
            }
            .into(),
        },
        disk: DiskFacts {
            id: cover.stream("disk").hex(8),
            ..disk(hw)
        },
        dmi: DmiFacts {
            bios_vendor: d.bios_vendor.clone(),
            bios_version: d.bios_version.clone(),
            bios_date: d.bios_date.clone(),
            bios_release: "0.0".into(),
            sys_vendor: d.sys_vendor.clone(),
            product_name: d.product_name.clone(),
            product_version: d.product_version.clone(),
            product_uuid: d.product_uuid.clone(),
            chassis_vendor: d.chassis_vendor.clone(),
            chassis_version: d.chassis_version.clone(),
            chassis_type: d.chassis_type,
            table,
            entry,
            ..DmiFacts::default()
        },
        pci: hw
            .pci
            .iter()
            .map(|f| PciFacts {
                slot: f.slot.into(),
                vendor: f.id.0,
                device: f.id.1,
                sub_vendor: f.subsystem.0,
                sub_device: f.subsystem.1,
                class: f.class,
                revision: 0,
                irq: 0,
                driver: f.driver.into(),
                virtio: hw.virtio(f),
            })
            .collect(),
        modules: hardware::modules(hw)
            .into_iter()
            .map(|m| ModuleFacts {
                name: m.name.into(),
                size: m.size,
                refs: m.refs + m.used_by.len() as u32,
                used_by: m.used_by.iter().map(|u| (*u).to_string()).collect(),
            })
            .collect(),
        interrupts: hardware::interrupts(hw, &mut cover.stream("interrupts")),
        pulse: Some(Pulse::of(cover)),
        ssh_ports: cover.ssh_ports(),
        zone: Some(cover.host.zone),
        journal: Some(Machine::of(cover)),
        rsyslog: Rsyslog::of(cover, image),
        timers: Some(turncoat_cover::past::lines::Timers::of(cover)),
        ..Facts::default()
    }
}

fn disk(hw: &Hardware) -> DiskFacts {
    let mut out = Facts::default().disk;
    if let Some(d) = hw.disks.first() {
        out.name.clone_from(&d.name);
        out.major = d.major;
        out.sectors = d.bytes / 512;
        out.vendor = d.model.split(' ').next().unwrap_or_default().into();
        out.model = d.model.split_once(' ').map_or("", |m| m.1).into();
        out.partitions = d
            .partitions
            .iter()
            .map(|p| Partition {
                number: p.minor,
                start: p.start,
                sectors: p.sectors,
                uuid: p.uuid.clone(),
                swap: p.fs == "swap",
            })
            .collect();
        out.root = d
            .partitions
            .iter()
            .find(|p| p.mount == "/")
            .map_or(1, |p| p.minor);
    }
    out
}
