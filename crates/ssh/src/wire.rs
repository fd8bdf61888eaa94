//! The data types of RFC 4251 section 5: reading without trust, writing into a `Vec`.

/// Why a message could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// It ends too early.
    Incomplete,
    /// A string is longer than OpenSSH's buffers allow.
    TooLarge,
    /// A string that must be text has a NUL, or a number has a wrong form.
    Format,
    /// Bytes follow where none may.
    Trailing,
}

/// OpenSSH refuses strings above its largest buffer (sshbuf.h: 128 MiB), less four for the length.
const MAX_STRING: u32 = 0x800_0000 - 4;

/// Reads from the front of a slice.
#[derive(Debug, Clone)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Over the whole slice.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(Malformed::Incomplete)?;
        self.0 = tail;
        Ok(head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    /// A 32-bit number.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        let b = self.take(4)?;
        Ok(u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// Exactly `n` raw bytes.
    pub fn raw(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        self.take(n)
    }

    /// A string of any bytes.
    pub fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let mut probe = self.clone();
        let n = probe.u32()?;
        if n > MAX_STRING {
            return Err(Malformed::TooLarge);
        }
        let s = probe.take(n as usize)?;
        *self = probe;
        Ok(s)
    }

    /// A string that C can hold: no NUL but one at its very end, which is dropped (sshbuf_get_cstring).
    pub fn cstring(&mut self) -> Result<&'a [u8], Malformed> {
        let mut probe = self.clone();
        let s = probe.string()?;
        let s = match s.iter().position(|b| *b == 0) {
            None => s,
            Some(at) if at + 1 == s.len() => &s[..at],
            Some(_) => return Err(Malformed::Format),
        };
        *self = probe;
        Ok(s)
    }

    /// A positive multiple precision integer without leading zeros (sshbuf_get_bignum2_bytes_direct).
    pub fn mpint(&mut self) -> Result<&'a [u8], Malformed> {
        let s = self.string()?;
        if s.first().is_some_and(|b| b & 0x80 != 0) {
            return Err(Malformed::Format);
        }
        if s.len() > 16384 / 8 + 1 || (s.len() == 16384 / 8 + 1 && s[0] != 0) {
            return Err(Malformed::TooLarge);
        }
        let zeros = s.iter().take_while(|b| **b == 0).count();
        Ok(&s[zeros..])
    }

    /// Nothing may follow.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Trailing)
        }
    }
}

/// Appends wire types to bytes.
pub trait Put {
    /// One byte.
    fn put_u8(&mut self, v: u8) -> &mut Self;
    /// A 32-bit number.
    fn put_u32(&mut self, v: u32) -> &mut Self;
    /// A string.
    fn put_string(&mut self, v: &[u8]) -> &mut Self;
    /// A positive integer from its big-endian bytes.
    fn put_mpint(&mut self, v: &[u8]) -> &mut Self;
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, v: u8) -> &mut Self {
        self.push(v);
        self
    }

    fn put_u32(&mut self, v: u32) -> &mut Self {
        self.extend_from_slice(&v.to_be_bytes());
        self
    }

    fn put_string(&mut self, v: &[u8]) -> &mut Self {
        self.put_u32(u32::try_from(v.len()).unwrap_or(u32::MAX));
        self.extend_from_slice(v);
        self
    }

    fn put_mpint(&mut self, v: &[u8]) -> &mut Self {
        let v = &v[v.iter().take_while(|b| **b == 0).count()..];
        let pad = v.first().is_some_and(|b| b & 0x80 != 0);
        self.put_u32((v.len() + usize::from(pad)) as u32);
        if pad {
            self.push(0);
        }
        self.extend_from_slice(v);
        self
    }
}

/// Base64 (RFC 4648 section 4), padded.
pub fn base64(bytes: &[u8]) -> String {
    const SET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let n = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            out.push(if i <= chunk.len() {
                SET[(n >> (18 - 6 * i)) as usize & 63] as char
            } else {
                '='
            });
        }
    }
    out
}

/// Decodes base64, skipping white space; `None` for anything else that is not of the alphabet.
pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut n, mut bits) = (0u32, 0);
    for c in text.bytes().filter(|c| !c.is_ascii_whitespace() && *c != b'=') {
        let v = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        n = n << 6 | u32::from(v);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((n >> bits) as u8);
            n &= (1 << bits) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_numbers() {
        let mut v = Vec::new();
        v.put_u8(7)
            .put_u32(9)
            .put_string(b"ab\0")
            .put_mpint(&[0, 0x80, 1])
            .put_string(b"a\0b");
        let mut r = Reader::new(&v);
        assert_eq!(r.u8(), Ok(7));
        assert_eq!(r.u32(), Ok(9));
        assert_eq!(r.cstring(), Ok(&b"ab"[..]));
        assert_eq!(r.mpint(), Ok(&[0x80u8, 1][..]));
        assert_eq!(r.cstring(), Err(Malformed::Format));
        assert_eq!(r.string(), Ok(&b"a\0b"[..]));
        assert_eq!(r.end(), Ok(()));
        assert_eq!(r.u8(), Err(Malformed::Incomplete));
        assert_eq!(Reader::new(&[0xff; 8]).string(), Err(Malformed::TooLarge));
        assert_eq!(Reader::new(&[0, 0, 0, 9, 1]).string(), Err(Malformed::Incomplete));
    }

    #[test]
    fn base64_both_ways() {
        for s in ["", "f", "fo", "foo", "foob", "fooba", "foobar"] {
            assert_eq!(unbase64(&base64(s.as_bytes())).as_deref(), Some(s.as_bytes()));
        }
        assert_eq!(base64(b"fo"), "Zm8=");
    }
}
