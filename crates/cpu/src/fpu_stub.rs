//! x87 state until the real unit lands: only what FXSAVE needs.

/// The FPU's image.
#[derive(Clone)]
pub struct Fpu([u8; 160]);

impl Fpu {
    /// After `fninit`.
    pub fn new() -> Fpu {
        let mut b = [0; 160];
        b[0] = 0x7f;
        b[1] = 3;
        Fpu(b)
    }
    /// First 160 bytes of FXSAVE.
    pub fn fxsave_head(&self) -> [u8; 160] {
        self.0
    }
    /// From the first 160 bytes of FXSAVE.
    pub fn fxrstor_head(&mut self, b: &[u8; 160]) {
        self.0 = *b;
    }
}
