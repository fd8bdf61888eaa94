//! Terminal constants and structures (include/uapi/asm-generic/{termbits,termios,ioctls}.h).

use turncoat_freeze::Freeze;

/// Number of control characters in the kernel's `termios`.
pub const NCCS: usize = 19;
/// Bytes of the kernel's `struct termios`.
pub const TERMIOS_SIZE: usize = 36;
/// Bytes of the kernel's `struct termios2`.
pub const TERMIOS2_SIZE: usize = 44;
/// Bytes of the kernel's `struct termio`.
pub const TERMIO_SIZE: usize = 18;

macro_rules! consts {
    ($t:ty: $($name:ident = $value:expr,)*) => { $(#[allow(missing_docs)] pub const $name: $t = $value;)* };
}

consts! { usize:
    VINTR = 0, VQUIT = 1, VERASE = 2, VKILL = 3, VEOF = 4, VTIME = 5, VMIN = 6, VSWTC = 7, VSTART = 8, VSTOP = 9,
    VSUSP = 10, VEOL = 11, VREPRINT = 12, VDISCARD = 13, VWERASE = 14, VLNEXT = 15, VEOL2 = 16,
}

consts! { u32:
    // c_iflag
    IGNBRK = 0o1, BRKINT = 0o2, IGNPAR = 0o4, PARMRK = 0o10, INPCK = 0o20, ISTRIP = 0o40, INLCR = 0o100,
    IGNCR = 0o200, ICRNL = 0o400, IUCLC = 0o1000, IXON = 0o2000, IXANY = 0o4000, IXOFF = 0o10000,
    IMAXBEL = 0o20000, IUTF8 = 0o40000,
    // c_oflag
    OPOST = 0o1, OLCUC = 0o2, ONLCR = 0o4, OCRNL = 0o10, ONOCR = 0o20, ONLRET = 0o40, OFILL = 0o100, OFDEL = 0o200,
    TABDLY = 0o14000, XTABS = 0o14000,
    // c_cflag
    CBAUD = 0o10017, CSIZE = 0o60, CS8 = 0o60, CSTOPB = 0o100, CREAD = 0o200, PARENB = 0o400, PARODD = 0o1000,
    HUPCL = 0o2000, CLOCAL = 0o4000, CBAUDEX = 0o10000, BOTHER = 0o10000, CIBAUD = 0o2003600000, B38400 = 0o17,
    // c_lflag
    ISIG = 0o1, ICANON = 0o2, XCASE = 0o4, ECHO = 0o10, ECHOE = 0o20, ECHOK = 0o40, ECHONL = 0o100, NOFLSH = 0o200,
    TOSTOP = 0o400, ECHOCTL = 0o1000, ECHOPRT = 0o2000, ECHOKE = 0o4000, FLUSHO = 0o10000, PENDIN = 0o40000,
    IEXTEN = 0o100000, EXTPROC = 0o200000,
    // ioctl requests
    TCGETS = 0x5401, TCSETS = 0x5402, TCSETSW = 0x5403, TCSETSF = 0x5404, TCGETA = 0x5405, TCSETA = 0x5406,
    TCSETAW = 0x5407, TCSETAF = 0x5408, TCSBRK = 0x5409, TCXONC = 0x540a, TCFLSH = 0x540b, TIOCEXCL = 0x540c,
    TIOCNXCL = 0x540d, TIOCSCTTY = 0x540e, TIOCGPGRP = 0x540f, TIOCSPGRP = 0x5410, TIOCOUTQ = 0x5411,
    TIOCSTI = 0x5412, TIOCGWINSZ = 0x5413, TIOCSWINSZ = 0x5414, TIOCMGET = 0x5415, TIOCMBIS = 0x5416,
    TIOCMBIC = 0x5417, TIOCMSET = 0x5418, TIOCGSOFTCAR = 0x5419, TIOCSSOFTCAR = 0x541a, FIONREAD = 0x541b,
    TIOCLINUX = 0x541c, TIOCCONS = 0x541d, TIOCGSERIAL = 0x541e, TIOCSSERIAL = 0x541f, TIOCPKT = 0x5420,
    FIONBIO = 0x5421, TIOCNOTTY = 0x5422, TIOCSETD = 0x5423, TIOCGETD = 0x5424, TCSBRKP = 0x5425, TIOCSBRK = 0x5427,
    TIOCCBRK = 0x5428, TIOCGSID = 0x5429, TCGETS2 = 0x802c542a, TCSETS2 = 0x402c542b, TCSETSW2 = 0x402c542c,
    TCSETSF2 = 0x402c542d, TIOCGPTN = 0x80045430, TIOCSPTLCK = 0x40045431, TIOCGDEV = 0x80045432,
    TIOCSIG = 0x40045436, TIOCVHANGUP = 0x5437, TIOCGPKT = 0x80045438, TIOCGPTLCK = 0x80045439,
    TIOCGEXCL = 0x80045440, TIOCGPTPEER = 0x5441, TIOCGLCKTRMIOS = 0x5456, TIOCSLCKTRMIOS = 0x5457,
    // poll bits
    POLLIN = 1, POLLPRI = 2, POLLOUT = 4, POLLERR = 8, POLLHUP = 16, POLLRDNORM = 64, POLLWRNORM = 256,
}

consts! { u64:
    TCIFLUSH = 0, TCOFLUSH = 1, TCIOFLUSH = 2, TCOOFF = 0, TCOON = 1, TCIOFF = 2, TCION = 3,
}

consts! { u8:
    TIOCPKT_DATA = 0, TIOCPKT_FLUSHREAD = 1, TIOCPKT_FLUSHWRITE = 2, TIOCPKT_STOP = 4, TIOCPKT_START = 8,
    TIOCPKT_NOSTOP = 16, TIOCPKT_DOSTOP = 32, TIOCPKT_IOCTL = 64,
    SIGHUP = 1, SIGINT = 2, SIGQUIT = 3, SIGCONT = 18, SIGTSTP = 20, SIGTTIN = 21, SIGTTOU = 22, SIGWINCH = 28,
}

/// The kernel's `struct termios2` (termios with explicit speeds).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Freeze)]
pub struct Termios {
    /// Input modes.
    pub iflag: u32,
    /// Output modes.
    pub oflag: u32,
    /// Control modes.
    pub cflag: u32,
    /// Local modes.
    pub lflag: u32,
    /// Line discipline number.
    pub line: u8,
    /// Control characters.
    pub cc: [u8; NCCS],
    /// Input speed in baud.
    pub ispeed: u32,
    /// Output speed in baud.
    pub ospeed: u32,
}

impl Default for Termios {
    /// What a fresh pty slave has (`tty_std_termios` with 38400 baud).
    fn default() -> Self {
        let mut cc = [0; NCCS];
        for (i, c) in [
            (VINTR, 3),
            (VQUIT, 0x1c),
            (VERASE, 0x7f),
            (VKILL, 0x15),
            (VEOF, 4),
            (VMIN, 1),
            (VSTART, 0x11),
            (VSTOP, 0x13),
            (VSUSP, 0x1a),
            (VREPRINT, 0x12),
            (VDISCARD, 0x0f),
            (VWERASE, 0x17),
            (VLNEXT, 0x16),
        ] {
            cc[i] = c;
        }
        Termios {
            iflag: ICRNL | IXON,
            oflag: OPOST | ONLCR,
            cflag: B38400 | CS8 | CREAD,
            lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
            line: 0,
            cc,
            ispeed: 38400,
            ospeed: 38400,
        }
    }
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    let mut v = [0; 4];
    for (d, s) in v.iter_mut().zip(b.iter().skip(at)) {
        *d = *s;
    }
    u32::from_le_bytes(v)
}

impl Termios {
    /// The 44 bytes of `struct termios2`; the first 36 are `struct termios`.
    pub fn to_bytes(&self) -> [u8; TERMIOS2_SIZE] {
        let mut b = [0; TERMIOS2_SIZE];
        for (i, v) in [self.iflag, self.oflag, self.cflag, self.lflag]
            .iter()
            .enumerate()
        {
            b[i * 4..i * 4 + 4].copy_from_slice(&v.to_le_bytes());
        }
        b[16] = self.line;
        b[17..36].copy_from_slice(&self.cc);
        b[36..40].copy_from_slice(&self.ispeed.to_le_bytes());
        b[40..44].copy_from_slice(&self.ospeed.to_le_bytes());
        b
    }

    /// Reads `struct termios2`, or `struct termios` (36 bytes: speeds follow from the speed bits). Missing bytes are zero.
    pub fn from_bytes(b: &[u8]) -> Termios {
        let mut cc = [0; NCCS];
        for (d, s) in cc.iter_mut().zip(b.iter().skip(17)) {
            *d = *s;
        }
        let mut t = Termios {
            iflag: u32_at(b, 0),
            oflag: u32_at(b, 4),
            cflag: u32_at(b, 8),
            lflag: u32_at(b, 12),
            line: b.get(16).copied().unwrap_or(0),
            cc,
            ispeed: u32_at(b, 36),
            ospeed: u32_at(b, 40),
        };
        t.settle_speeds();
        t
    }

    /// Derives the speeds from the speed bits unless the bits say that the numbers count (`BOTHER`).
    pub fn settle_speeds(&mut self) {
        if self.cflag & CBAUD != BOTHER {
            self.ospeed = baud(self.cflag & CBAUD);
        }
        match (self.cflag & CIBAUD) >> 16 {
            0 => self.ispeed = self.ospeed,
            BOTHER => {}
            b => self.ispeed = baud(b),
        }
    }

    /// The 18 bytes of the old `struct termio`.
    pub fn to_termio(&self) -> [u8; TERMIO_SIZE] {
        let mut b = [0; TERMIO_SIZE];
        for (i, v) in [self.iflag, self.oflag, self.cflag, self.lflag]
            .iter()
            .enumerate()
        {
            b[i * 2..i * 2 + 2].copy_from_slice(&(*v as u16).to_le_bytes());
        }
        b[8] = self.line;
        b[9..17].copy_from_slice(&self.cc[..8]);
        b
    }

    /// Replaces the low halves of the flags and the first eight control characters from a `struct termio`.
    pub fn merge_termio(&mut self, b: &[u8]) {
        let at = |i: usize| {
            u32::from(b.get(i).copied().unwrap_or(0)) | u32::from(b.get(i + 1).copied().unwrap_or(0)) << 8
        };
        for (i, v) in [&mut self.iflag, &mut self.oflag, &mut self.cflag, &mut self.lflag]
            .into_iter()
            .enumerate()
        {
            *v = *v & 0xffff_0000 | at(i * 2);
        }
        self.line = b.get(8).copied().unwrap_or(0);
        for (d, s) in self.cc.iter_mut().take(8).zip(b.iter().skip(9)) {
            *d = *s;
        }
        self.settle_speeds();
    }
}

/// The bits of `CBAUD` for a speed that a client asks for (baud_to_speed in OpenSSH's ttymodes.c): 9600 for one that is none.
pub fn speed_bits(speed: u32) -> u32 {
    const FASTEST: u32 = 0o10003;
    let all = (0..=15).chain(CBAUDEX + 1..=FASTEST);
    all.into_iter().find(|bits| baud(*bits) == speed).unwrap_or(0o15)
}

/// The speed that the bits of `CBAUD` stand for.
fn baud(bits: u32) -> u32 {
    const LOW: [u32; 16] = [
        0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400,
    ];
    const HIGH: [u32; 16] = [
        0, 57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000,
        2500000, 3000000, 3500000, 4000000,
    ];
    let low = (bits & 15) as usize;
    if bits & CBAUDEX != 0 { HIGH[low] } else { LOW[low] }
}

/// `struct winsize`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Freeze)]
pub struct WinSize {
    /// Rows of characters.
    pub rows: u16,
    /// Columns of characters.
    pub cols: u16,
    /// Width in pixels (unused).
    pub xpixel: u16,
    /// Height in pixels (unused).
    pub ypixel: u16,
}

impl WinSize {
    /// The eight bytes of `struct winsize`.
    pub fn to_bytes(self) -> [u8; 8] {
        let mut b = [0; 8];
        for (i, v) in [self.rows, self.cols, self.xpixel, self.ypixel]
            .iter()
            .enumerate()
        {
            b[i * 2..i * 2 + 2].copy_from_slice(&v.to_le_bytes());
        }
        b
    }

    /// Reads `struct winsize`; missing bytes are zero.
    pub fn from_bytes(b: &[u8]) -> WinSize {
        let at = |i: usize| {
            u16::from(b.get(i).copied().unwrap_or(0)) | u16::from(b.get(i + 1).copied().unwrap_or(0)) << 8
        };
        WinSize {
            rows: at(0),
            cols: at(2),
            xpixel: at(4),
            ypixel: at(6),
        }
    }
}
