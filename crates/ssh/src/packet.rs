//! The packet layer (RFC 4253 section 6) with the checks and errors of OpenSSH's packet.c.
//!
//! Bytes pass through two buffers, as they do in the real server: `raw` stands for the kernel's receive queue, `input`
//! for what sshd has read. What is left in `raw` when the connection ends decides between FIN and RST.

use crate::api::Entropy;
use crate::crypto::cipher::{Cipher, CipherSpec};
use crate::crypto::mac::{Mac, MacSpec};
use crate::deflate::Deflate;
use flate2::{Decompress, FlushDecompress, Status};

/// Longest `packet_length` that OpenSSH takes.
pub const PACKET_MAX: u32 = 256 * 1024;
/// Most bytes that one compressed packet may grow to. OpenSSH has no such bound but its buffers'.
const INFLATED_MAX: usize = 1024 * 1024;

/// What one direction has agreed on.
#[derive(Debug, Default)]
pub struct Keys {
    /// Cipher; `None` before the first NEWKEYS.
    pub cipher: Option<Cipher>,
    /// MAC, where the cipher does not authenticate.
    pub mac: Option<Mac>,
    /// zlib@openssh.com was chosen.
    pub compress: bool,
}

impl Keys {
    /// From negotiated names and derived material; `None` for names that are not known.
    pub fn new(names: &[String; 3], key: &[u8], iv: &[u8], mac_key: &[u8]) -> Option<Keys> {
        let spec = CipherSpec::by_name(&names[0])?;
        let mac = if spec.aead() {
            None
        } else {
            Some(Mac::new(MacSpec::by_name(&names[1])?, mac_key)?)
        };
        Some(Keys {
            cipher: Some(Cipher::new(spec, key, iv)?),
            mac,
            compress: names[2] == "zlib@openssh.com",
        })
    }

    fn block(&self) -> usize {
        self.cipher.as_ref().map_or(8, |c| c.spec.block)
    }

    /// Leading bytes that are not part of the encrypted blocks.
    fn aad(&self) -> usize {
        let etm = self.mac.as_ref().is_some_and(|m| m.spec.etm);
        let aead = self.cipher.as_ref().is_some_and(|c| c.spec.aead());
        if etm || aead { 4 } else { 0 }
    }

    /// After how many blocks OpenSSH asks for new keys (ssh_set_newkeys in packet.c).
    fn max_blocks(&self, limit_bytes: u64) -> u64 {
        let block = self.block() as u64;
        let own = if block >= 16 {
            1u64 << (block * 2).min(63)
        } else {
            (1 << 30) / block
        };
        if limit_bytes == 0 {
            own
        } else {
            own.min(limit_bytes / block)
        }
    }
}

#[derive(Debug, Default)]
struct Counters {
    seq: u32,
    packets: u64,
    blocks: u64,
    max_blocks: u64,
}

/// What reading a packet came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// Not enough bytes yet.
    More,
    /// A packet: its sequence number, and type and contents.
    Packet(u32, Vec<u8>),
    /// sshd sends DISCONNECT with this text (but does not wait until it is written), then ends.
    Refuse(&'static str),
    /// sshd sends DISCONNECT with this text and waits until it is written.
    RefuseLoud(String),
    /// sshd ends without a word.
    Silent(&'static str),
}

/// Both directions of one connection.
#[derive(Default)]
pub struct Transport {
    raw: Vec<u8>,
    raw_at: usize,
    input: Vec<u8>,
    at: usize,
    /// Length of the packet being received; 0 between packets.
    packlen: u32,
    /// Its first decrypted block, where the length is encrypted with the rest.
    first: Vec<u8>,
    out: Vec<u8>,
    recv: Counters,
    send: Counters,
    /// Client to server.
    pub recv_keys: Keys,
    /// Server to client.
    pub send_keys: Keys,
    inflate: Option<Box<Decompress>>,
    deflate: Option<Box<Deflate>>,
    /// Strict key exchange: sequence numbers restart with each NEWKEYS.
    pub strict: bool,
    /// Authentication is over: delayed compression runs.
    pub authenticated: bool,
    rekey_bytes: u64,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Transport(raw {}, input {}, out {})",
            self.unread(),
            self.input.len() - self.at,
            self.out.len()
        )
    }
}

impl Transport {
    /// With `RekeyLimit` in bytes (0: the ciphers' own).
    pub fn new(rekey_bytes: u64) -> Self {
        Transport {
            rekey_bytes,
            ..Transport::default()
        }
    }

    /// Bytes arrived from the network.
    pub fn arrive(&mut self, bytes: &[u8]) {
        if self.raw_at > 0 {
            self.raw.drain(..self.raw_at);
            self.raw_at = 0;
        }
        self.raw.extend_from_slice(bytes);
    }

    /// Bytes that sshd has not read.
    pub fn unread(&self) -> usize {
        self.raw.len() - self.raw_at
    }

    /// Reads one byte, as the identification exchange does.
    pub fn read_byte(&mut self) -> Option<u8> {
        let b = *self.raw.get(self.raw_at)?;
        self.raw_at += 1;
        Some(b)
    }

    /// One `read` of at most `max` bytes into the input buffer; false if there was nothing.
    pub fn read(&mut self, max: usize) -> bool {
        let n = self.unread().min(max);
        if n == 0 {
            return false;
        }
        self.input.drain(..self.at);
        self.at = 0;
        self.input
            .extend_from_slice(&self.raw[self.raw_at..self.raw_at + n]);
        self.raw_at += n;
        true
    }

    /// Everything that has been written since the last call.
    pub fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Bytes waiting to be written.
    pub fn out_len(&self) -> usize {
        self.out.len()
    }

    /// Appends bytes that are no packet (identification).
    pub fn write_plain(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Whether it is time for new keys (ssh_packet_need_rekeying in packet.c, without its clock).
    pub fn wants_rekey(&self, next_len: usize) -> bool {
        if !self.authenticated || (self.send.packets == 0 && self.recv.packets == 0) {
            return false;
        }
        let next = next_len.div_ceil(self.send_keys.block()) as u64;
        self.send.packets > 1 << 31
            || self.recv.packets > 1 << 31
            || (self.send.max_blocks != 0 && self.send.blocks + next > self.send.max_blocks)
            || (self.recv.max_blocks != 0 && self.recv.blocks > self.recv.max_blocks)
    }

    /// Whether any packet passed since the last keys.
    pub fn used_since_keys(&self) -> bool {
        self.send.packets != 0 || self.recv.packets != 0
    }

    /// Installs keys for what the client sends.
    pub fn set_recv(&mut self, keys: Keys) {
        self.recv.max_blocks = keys.max_blocks(self.rekey_bytes);
        (self.recv.packets, self.recv.blocks) = (0, 0);
        self.recv_keys = keys;
        self.inflate = None;
        self.start_compression();
    }

    fn set_send(&mut self, keys: Keys) {
        self.send.max_blocks = keys.max_blocks(self.rekey_bytes);
        (self.send.packets, self.send.blocks) = (0, 0);
        self.send_keys = keys;
        self.deflate = None;
        self.start_compression();
    }

    /// Starts compression where it was agreed on and is due.
    pub fn start_compression(&mut self) {
        if !self.authenticated {
            return;
        }
        if self.recv_keys.compress && self.inflate.is_none() {
            self.inflate = Some(Box::new(Decompress::new(true)));
        }
        if self.send_keys.compress && self.deflate.is_none() {
            self.deflate = Some(Box::new(Deflate::new()));
        }
    }

    /// Gives back memory that is only of use while packets come and go.
    pub fn rest(&mut self) {
        for buffer in [&mut self.raw, &mut self.input, &mut self.out] {
            buffer.shrink_to_fit();
        }
        if let Some(z) = &mut self.deflate {
            z.rest();
        }
    }

    /// Sends NEWKEYS and switches to the keys.
    pub fn send_newkeys(&mut self, keys: Keys, rng: &mut dyn Entropy) {
        self.send(&[crate::msg::NEWKEYS], rng);
        self.set_send(keys);
        if self.strict {
            self.send.seq = 0;
        }
    }

    /// Packs a payload into the output buffer.
    pub fn send(&mut self, payload: &[u8], rng: &mut dyn Entropy) {
        let mut packed = Vec::new();
        let payload = match &mut self.deflate {
            Some(z) => {
                packed = z.packet(payload);
                &packed[..]
            }
            None => payload,
        };
        let keys = &mut self.send_keys;
        let (block, aad) = (keys.block(), keys.aad());
        let len = 5 + payload.len();
        let mut pad = block - (len - aad) % block;
        if pad < 4 {
            pad += block;
        }
        let mut p = Vec::with_capacity(len + pad + 64);
        p.extend_from_slice(&((len - 4 + pad) as u32).to_be_bytes());
        p.push(pad as u8);
        p.extend_from_slice(payload);
        p.resize(len + pad, 0);
        if keys.cipher.is_some() {
            rng.fill(&mut p[len..]);
        }
        let total = p.len();
        let seq = self.send.seq;
        let mut tag = Vec::new();
        if let Some(m) = keys.mac.as_ref().filter(|m| !m.spec.etm) {
            m.tag(seq, &p, &mut tag);
        }
        if let Some(c) = &mut keys.cipher {
            c.seal(seq, &mut p, aad);
        }
        if let Some(m) = keys.mac.as_ref().filter(|m| m.spec.etm) {
            m.tag(seq, &p, &mut tag);
        }
        self.out.extend_from_slice(&p);
        self.out.extend_from_slice(&tag);
        self.send.seq = seq.wrapping_add(1);
        self.send.packets += 1;
        self.send.blocks += (total / block) as u64;
        drop(packed);
    }

    /// As [`send`](Transport::send), but never compressed: for tests, whose clients misbehave.
    pub fn send_unpacked(&mut self, payload: &[u8], rng: &mut dyn Entropy) {
        let deflate = self.deflate.take();
        self.send(payload, rng);
        self.deflate = deflate;
    }

    /// The next packet of what has been read.
    pub fn next_packet(&mut self) -> Read {
        let (block, aad) = (self.recv_keys.block(), self.recv_keys.aad());
        let (seq, tag_len) = (self.recv.seq, self.tag_len());
        let available = self.input.len() - self.at;
        if self.packlen == 0 {
            if aad != 0 {
                let Some(head) = self.input.get(self.at..).and_then(|b| b.first_chunk::<4>()) else {
                    return Read::More;
                };
                self.packlen = self
                    .recv_keys
                    .cipher
                    .as_ref()
                    .map_or(u32::from_be_bytes(*head), |c| c.length(seq, *head));
            } else {
                if available < block {
                    return Read::More;
                }
                self.first = self.input[self.at..self.at + block].to_vec();
                if let Some(c) = &mut self.recv_keys.cipher {
                    c.crypt(&mut self.first);
                }
                self.packlen = self
                    .first
                    .first_chunk::<4>()
                    .map_or(0, |h| u32::from_be_bytes(*h));
                if (5..=PACKET_MAX).contains(&self.packlen) {
                    self.at += block;
                }
            }
            if !(5..=PACKET_MAX).contains(&self.packlen) {
                return Read::Refuse("Packet corrupt");
            }
        }
        let packlen = self.packlen as usize;
        // With the length in clear `need` follows it; otherwise the first block is already here.
        let need = if aad != 0 {
            packlen
        } else {
            (4 + packlen).wrapping_sub(block)
        };
        if need % block != 0 || need > PACKET_MAX as usize + 4 {
            return Read::Refuse("Packet corrupt");
        }
        if self.input.len() - self.at < aad + need + tag_len {
            return Read::More;
        }
        let start = self.at;
        let mut data = std::mem::take(&mut self.first);
        data.extend_from_slice(&self.input[start..start + aad + need]);
        let tag = self.input[start + aad + need..start + aad + need + tag_len].to_vec();
        let mac = &self.recv_keys.mac;
        if let Some(m) = mac.as_ref().filter(|m| m.spec.etm)
            && !m.verify(seq, &data, &tag)
        {
            return Read::Silent("Corrupted MAC on input.");
        }
        if let Some(c) = &mut self.recv_keys.cipher {
            if c.spec.aead() {
                if !c.open(seq, &mut data, aad, &tag) {
                    return Read::Silent("message authentication code incorrect");
                }
            } else {
                let skip = if aad != 0 { aad } else { block };
                c.crypt(data.get_mut(skip..).unwrap_or_default());
            }
        }
        if let Some(m) = mac.as_ref().filter(|m| !m.spec.etm)
            && !m.verify(seq, &data, &tag)
        {
            return Read::Refuse("Packet corrupt");
        }
        self.at += aad + need + tag_len;
        self.packlen = 0;
        self.recv.seq = seq.wrapping_add(1);
        self.recv.packets += 1;
        self.recv.blocks += ((packlen + 4) / block) as u64;

        let pad = usize::from(data.get(4).copied().unwrap_or(0));
        if pad < 4 {
            return Read::RefuseLoud(format!("Corrupted padlen {pad} on input."));
        }
        let Some(body) = data.get(5..).and_then(|b| b.get(..b.len().checked_sub(pad)?)) else {
            return Read::Silent("incomplete message");
        };
        let payload = match &mut self.inflate {
            None => body.to_vec(),
            Some(z) => match inflate(z, body) {
                Some(p) => p,
                None => return Read::Silent("invalid format"),
            },
        };
        match payload.first() {
            None => Read::Silent("incomplete message"),
            Some(t @ (0 | 192..)) => Read::RefuseLoud(format!("Invalid ssh2 packet type: {t}")),
            Some(&t) => {
                if self.strict && t == crate::msg::NEWKEYS {
                    self.recv.seq = 0;
                }
                Read::Packet(seq, payload)
            }
        }
    }

    fn tag_len(&self) -> usize {
        match (&self.recv_keys.cipher, &self.recv_keys.mac) {
            (Some(c), _) if c.spec.aead() => c.spec.tag_len,
            (_, Some(m)) => m.spec.tag_len,
            _ => 0,
        }
    }
}

fn inflate(z: &mut Decompress, data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(4096);
    let start = z.total_in();
    loop {
        let done = (z.total_in() - start) as usize;
        if out.len() == out.capacity() {
            if out.len() >= INFLATED_MAX {
                return None;
            }
            out.reserve(out.len());
        }
        let before = (z.total_in(), z.total_out());
        match z.decompress_vec(data.get(done..)?, &mut out, FlushDecompress::None) {
            Ok(Status::StreamEnd) | Err(_) => return None,
            Ok(_) => {}
        }
        let stuck = before == (z.total_in(), z.total_out());
        if out.len() < out.capacity() && (stuck || (z.total_in() - start) as usize == data.len()) {
            return Some(out);
        }
        if stuck && out.len() == out.capacity() && out.len() >= INFLATED_MAX {
            return None;
        }
    }
}
