//! What does not change during a run: CPUID, the time-stamp rule, the dispatcher, and the count of gaps.

use std::collections::BTreeMap;
use turncoat_freeze::Freeze;

/// One row of the CPUID table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Freeze)]
pub struct CpuidLeaf {
    /// EAX at the call.
    pub leaf: u32,
    /// ECX at the call; `None`: any (the leaf has no sub-leaves).
    pub subleaf: Option<u32>,
    /// Resulting EAX, EBX, ECX, EDX.
    pub regs: [u32; 4],
}

/// How handlers are chained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Freeze)]
pub enum Dispatcher {
    /// Each handler calls the next in tail position.
    #[default]
    TailCalls,
    /// Each handler returns to a loop.
    Loop,
}

/// Names remembered in [`Machine::unimplemented`].
const UNIMPLEMENTED_MAX: usize = 256;

/// The processor's constant side, and the counters of a run.
#[derive(Clone, Debug, Freeze)]
pub struct Machine {
    /// CPUID leaves; the cover's data. An absent leaf reads as zeros.
    pub cpuid: Vec<CpuidLeaf>,
    /// Time-stamp counter when `retired` was 0.
    pub tsc_offset: u64,
    /// Time-stamp ticks per `tsc_den` retired instructions.
    pub tsc_num: u32,
    /// See `tsc_num`; 0 counts as 1.
    pub tsc_den: u32,
    /// IA32_TSC_AUX, which `rdtscp` and `rdpid` return (Linux: processor number and node).
    pub tsc_aux: u32,
    /// XCR0, for `xgetbv` when CPUID shows OSXSAVE.
    pub xcr0: u64,
    /// Which dispatcher runs.
    pub dispatcher: Dispatcher,
    /// Every block is decoded anew before it runs, and nothing of it is kept: slow, to see that what is kept never shows.
    pub forgets: bool,
    /// Instructions retired in all runs with this machine.
    pub retired: u64,
    /// Valid instructions that were met and are not implemented: mnemonic to count, at most 256 names.
    pub unimplemented: BTreeMap<String, u64>,
}

impl Default for Machine {
    fn default() -> Self {
        Machine::new(default_cpuid())
    }
}

impl Machine {
    /// A machine with these CPUID leaves, one tick per instruction, tail calls.
    pub fn new(cpuid: Vec<CpuidLeaf>) -> Machine {
        Machine {
            cpuid,
            tsc_offset: 0,
            tsc_num: 1,
            tsc_den: 1,
            tsc_aux: 0,
            xcr0: 3,
            dispatcher: Dispatcher::default(),
            forgets: false,
            retired: 0,
            unimplemented: BTreeMap::new(),
        }
    }

    /// EAX, EBX, ECX and EDX of a leaf. A leaf above the highest basic one reads as zeros.
    pub fn leaf(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        self.cpuid
            .iter()
            .find(|l| l.leaf == leaf && l.subleaf.is_none_or(|s| s == subleaf))
            .map_or([0; 4], |l| l.regs)
    }

    /// The time-stamp counter after `retired` instructions.
    pub fn tsc(&self, retired: u64) -> u64 {
        let ticks = u128::from(retired) * u128::from(self.tsc_num) / u128::from(self.tsc_den.max(1));
        self.tsc_offset.wrapping_add(ticks as u64)
    }

    /// Counts a gap.
    pub(crate) fn note_unimplemented(&mut self, mnemonic: &str) {
        if let Some(n) = self.unimplemented.get_mut(mnemonic) {
            *n = n.saturating_add(1);
        } else if self.unimplemented.len() < UNIMPLEMENTED_MAX {
            self.unimplemented.insert(mnemonic.to_owned(), 1);
        }
    }

    /// Whether CPUID leaf 7 shows FSGSBASE.
    pub(crate) fn has_fsgsbase(&self) -> bool {
        self.leaf(7, 0)[1] & 1 != 0
    }

    /// Whether CPUID leaf 7 shows BMI1 (TZCNT).
    pub(crate) fn has_bmi1(&self) -> bool {
        self.leaf(7, 0)[1] & 8 != 0
    }

    /// Whether CPUID shows LZCNT.
    pub(crate) fn has_lzcnt(&self) -> bool {
        self.leaf(0x8000_0001, 0)[2] & 32 != 0
    }

    /// Whether CPUID shows MOVBE.
    pub(crate) fn has_movbe(&self) -> bool {
        self.leaf(1, 0)[2] & (1 << 22) != 0
    }

    /// Whether CPUID leaf 1 shows OSXSAVE.
    pub(crate) fn has_osxsave(&self) -> bool {
        self.leaf(1, 0)[2] & (1 << 27) != 0
    }
}

/// A plain x86-64-v2 processor with AES and PCLMUL and without AVX, for tests and tools: family 6, model 44
/// (the last Intel server generation with exactly this set).
pub fn default_cpuid() -> Vec<CpuidLeaf> {
    let row = |leaf, regs| CpuidLeaf {
        leaf,
        subleaf: None,
        regs,
    };
    let sub = |leaf, s, regs| CpuidLeaf {
        leaf,
        subleaf: Some(s),
        regs,
    };
    let text = |s: &[u8; 16]| {
        let w = |i: usize| u32::from_le_bytes([s[i], s[i + 1], s[i + 2], s[i + 3]]);
        [w(0), w(4), w(8), w(12)]
    };
    // Leaf 1 ECX: SSE3 0, PCLMUL 1, SSSE3 9, CX16 13, SSE4.1 19, SSE4.2 20, POPCNT 23, AES 25, hypervisor 31.
    let ecx = 1 | 1 << 1 | 1 << 9 | 1 << 13 | 1 << 19 | 1 << 20 | 1 << 23 | 1 << 25 | 1 << 31;
    // Leaf 1 EDX: FPU, VME, DE, PSE, TSC, MSR, PAE, MCE, CX8, APIC, SEP, MTRR, PGE, MCA, CMOV, PAT, PSE36, CLFSH,
    // MMX, FXSR, SSE, SSE2, SS.
    let edx = 0x0f8b_fbff;
    vec![
        row(0, [0xb, 0x756e_6547, 0x6c65_746e, 0x4965_6e69]),
        row(1, [0x0002_06c2, 0x0000_0800, ecx, edx]),
        row(2, [0x5503_5a01, 0x00f0_b2ff, 0, 0x00ca_0000]),
        sub(4, 0, [0x1c00_4121, 0x01c0_003f, 0x3f, 0]),
        sub(4, 1, [0x1c00_4122, 0x00c0_003f, 0x7f, 0]),
        sub(4, 2, [0x1c00_4143, 0x01c0_003f, 0x1ff, 0]),
        sub(4, 3, [0x1c03_c163, 0x03c0_003f, 0x2fff, 2]),
        sub(7, 0, [0, 0, 0, 0]),
        row(0x8000_0000, [0x8000_0008, 0, 0, 0]),
        // LAHF, and SYSCALL, NX, RDTSCP, LM.
        row(0x8000_0001, [0, 0, 1, 1 << 11 | 1 << 20 | 1 << 27 | 1 << 29]),
        row(0x8000_0002, text(b"Intel(R) Xeon(R)")),
        row(0x8000_0003, text(b" CPU           X")),
        row(0x8000_0004, text(b"5670  @ 2.93GHz\0")),
        row(0x8000_0006, [0, 0, 0x0100_6040, 0]),
        row(0x8000_0007, [0, 0, 0, 1 << 8]),
        row(0x8000_0008, [0x3028, 0, 0, 0]),
    ]
}
