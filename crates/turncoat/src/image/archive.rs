//! The containers that packages come in: `ar`, `tar`, and what they are compressed with.
//!
//! Readers of formats described in ar(5), tar(5) and POSIX.1 pax; what they read is not trusted, and every length is bounded.

use std::io::{self, BufReader, Read};

/// The largest metadata record (a long name, a pax header) that is read, in bytes.
const RECORD_LIMIT: u64 = 1 << 20;

/// The largest member that is taken, in bytes.
const MEMBER_LIMIT: u64 = 1 << 40;

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The members of an `ar` archive as name and data, which are slices of it.
pub(super) fn ar_members(archive: &[u8]) -> io::Result<Vec<(String, &[u8])>> {
    let mut rest = archive
        .strip_prefix(b"!<arch>\n".as_slice())
        .ok_or_else(|| bad("not an ar archive"))?;
    let mut members = Vec::new();
    while let Some((head, body)) = rest.split_first_chunk::<60>() {
        let field = |from: usize, to: usize| {
            std::str::from_utf8(head.get(from..to).unwrap_or_default())
                .unwrap_or("")
                .trim()
        };
        let size: usize = field(48, 58).parse().map_err(|_| bad("size of an ar member"))?;
        let (data, tail) = body
            .split_at_checked(size)
            .ok_or_else(|| bad("ar member is cut off"))?;
        members.push((field(0, 16).trim_end_matches('/').to_owned(), data));
        rest = if size % 2 == 1 {
            tail.get(1..).unwrap_or_default()
        } else {
            tail
        };
    }
    Ok(members)
}

/// Unpacks a stream whose compression shows in its first bytes: gzip, xz, zstd or none.
pub(super) fn decompress<'a>(input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut input = BufReader::with_capacity(128 << 10, input);
    let magic: Vec<u8> = io::BufRead::fill_buf(&mut input)?
        .iter()
        .take(6)
        .copied()
        .collect();
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(lzma_rust2::XzReader::new(input, true)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Box::new(ruzstd::decoding::StreamingDecoder::new(input).map_err(|e| bad(&e.to_string()))?)
        }
        _ => Box::new(input),
    })
}

/// What a member of a tar archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Member {
    File,
    /// A second name for an earlier member.
    Link(Vec<u8>),
    Symlink(Vec<u8>),
    Char(u32, u32),
    Block(u32, u32),
    Dir,
    Fifo,
}

/// One member of a tar archive.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// As it is written: `./usr/bin/`, `usr/bin`, ...
    pub name: Vec<u8>,
    pub member: Member,
    pub perm: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: i64,
    pub size: u64,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// The name as an absolute path without a slash at its end; `/` for the root.
    pub fn path(&self) -> Vec<u8> {
        absolute(&self.name)
    }
}

/// A member's name as an absolute path.
pub(super) fn absolute(name: &[u8]) -> Vec<u8> {
    let mut path = Vec::new();
    for part in name.split(|&c| c == b'/').filter(|p| !p.is_empty() && *p != b".") {
        path.push(b'/');
        path.extend(part);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

/// Reads a tar archive from front to back: `next`, then the data of that member through `Read`.
pub(super) struct Tar<R> {
    input: R,
    left: u64,
    padding: u64,
}

#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<i64>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<R: Read> Tar<R> {
    pub fn new(input: R) -> Tar<R> {
        Tar {
            input,
            left: 0,
            padding: 0,
        }
    }

    /// The next member; what was not read of the last one is skipped.
    pub fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut ext = Extended::default();
        loop {
            let skip = self.left + self.padding;
            if io::copy(&mut (&mut self.input).take(skip), &mut io::sink())? != skip {
                return Err(bad("tar archive is cut off"));
            }
            (self.left, self.padding) = (0, 0);
            let mut block = [0u8; 512];
            let mut got = 0;
            while let Some(rest) = block.get_mut(got..).filter(|r| !r.is_empty()) {
                match self.input.read(rest)? {
                    0 if got == 0 => return Ok(None),
                    0 => return Err(bad("tar archive is cut off")),
                    n => got += n,
                }
            }
            if block.iter().all(|&b| b == 0) {
                return Ok(None);
            }
            let f = Fields(&block);
            if f.number(148, 8)? != f.checksum() {
                return Err(bad("checksum of a tar header"));
            }
            let size = f.number(124, 12)?;
            let kind = f.bytes(156, 1).first().copied().unwrap_or(0);
            match kind {
                b'L' => ext.name = Some(self.record(size, true)?),
                b'K' => ext.link = Some(self.record(size, true)?),
                b'x' => ext.parse(&self.record(size, false)?)?,
                b'g' => drop(self.record(size, false)?),
                _ => return self.entry(&f, kind, size, ext).map(Some),
            }
        }
    }

    fn entry(&mut self, f: &Fields<'_>, kind: u8, size: u64, ext: Extended) -> io::Result<Entry> {
        let link = ext.link.unwrap_or_else(|| f.text(157, 100));
        let device = || io::Result::Ok((f.number(329, 8)? as u32, f.number(337, 8)? as u32));
        let name = ext.name.unwrap_or_else(|| {
            let mut name = if f.bytes(257, 6) == b"ustar\0" {
                f.text(345, 155)
            } else {
                Vec::new()
            };
            if !name.is_empty() {
                name.push(b'/');
            }
            name.extend(f.text(0, 100));
            name
        });
        let member = match kind {
            b'0' | 0 | b'7' if name.ends_with(b"/") => Member::Dir,
            b'0' | 0 | b'7' => Member::File,
            b'1' => Member::Link(link),
            b'2' => Member::Symlink(link),
            b'3' => device().map(|(a, b)| Member::Char(a, b))?,
            b'4' => device().map(|(a, b)| Member::Block(a, b))?,
            b'5' => Member::Dir,
            b'6' => Member::Fifo,
            other => return Err(bad(&format!("tar member of kind {:?}", char::from(other)))),
        };
        let size = ext.size.unwrap_or(size);
        if size > MEMBER_LIMIT {
            return Err(bad("size of a tar member"));
        }
        self.left = if matches!(member, Member::File) { size } else { 0 };
        self.padding = self.left.next_multiple_of(512) - self.left;
        Ok(Entry {
            name,
            member,
            perm: (f.number(100, 8)? & 0o7777) as u16,
            uid: ext.uid.map_or_else(|| f.number(108, 8).map(|n| n as u32), Ok)?,
            gid: ext.gid.map_or_else(|| f.number(116, 8).map(|n| n as u32), Ok)?,
            mtime: ext
                .mtime
                .map_or_else(|| f.number(136, 12).map(u64::cast_signed), Ok)?,
            size: self.left,
            xattrs: ext.xattrs,
        })
    }

    /// The data of a member that describes the next one.
    fn record(&mut self, size: u64, is_name: bool) -> io::Result<Vec<u8>> {
        if size > RECORD_LIMIT {
            return Err(bad("tar header is too long"));
        }
        let mut data = Vec::new();
        (&mut self.input)
            .take(size.next_multiple_of(512))
            .read_to_end(&mut data)?;
        data.truncate(size as usize);
        if is_name {
            data.truncate(data.iter().position(|&b| b == 0).unwrap_or(data.len()));
        }
        Ok(data)
    }
}

impl<R: Read> Read for Tar<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if n == 0 {
            return Ok(0);
        }
        match self.input.read(buf.get_mut(..n).unwrap_or_default())? {
            0 => Err(bad("tar archive is cut off")),
            n => {
                self.left -= n as u64;
                Ok(n)
            }
        }
    }
}

impl Extended {
    /// Pax records: `LENGTH KEY=VALUE\n`.
    fn parse(&mut self, mut data: &[u8]) -> io::Result<()> {
        fn number<T: std::str::FromStr>(value: &[u8]) -> io::Result<T> {
            let text = std::str::from_utf8(value).unwrap_or("");
            text.split('.')
                .next()
                .unwrap_or("")
                .parse()
                .map_err(|_| bad("number in a pax header"))
        }
        while !data.is_empty() {
            let space = data
                .iter()
                .position(|&b| b == b' ')
                .ok_or_else(|| bad("pax header"))?;
            let len: usize = number(data.get(..space).unwrap_or_default())?;
            let (record, rest) = data.split_at_checked(len).ok_or_else(|| bad("pax header"))?;
            data = rest;
            let record = record
                .get(space + 1..)
                .and_then(|r| r.strip_suffix(b"\n"))
                .ok_or_else(|| bad("pax header"))?;
            let eq = record
                .iter()
                .position(|&b| b == b'=')
                .ok_or_else(|| bad("pax header"))?;
            let (key, value) = (
                record.get(..eq).unwrap_or_default(),
                record.get(eq + 1..).unwrap_or_default(),
            );
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(number(value)?),
                b"uid" => self.uid = Some(number(value)?),
                b"gid" => self.gid = Some(number(value)?),
                b"mtime" => self.mtime = Some(number(value)?),
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        self.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }
}

struct Fields<'a>(&'a [u8; 512]);

impl<'a> Fields<'a> {
    fn bytes(&self, at: usize, len: usize) -> &'a [u8] {
        self.0.get(at..at + len).unwrap_or_default()
    }
    fn text(&self, at: usize, len: usize) -> Vec<u8> {
        self.bytes(at, len)
            .iter()
            .copied()
            .take_while(|&b| b != 0)
            .collect()
    }
    /// Octal digits, or GNU's binary form for what they cannot hold.
    fn number(&self, at: usize, len: usize) -> io::Result<u64> {
        let bytes = self.bytes(at, len);
        match bytes.split_first() {
            Some((first, rest)) if first & 0x80 != 0 => Ok(rest
                .iter()
                .fold(u64::from(first & 0x7f), |n, &b| n << 8 | u64::from(b))),
            _ => {
                let digits = bytes
                    .iter()
                    .skip_while(|&&b| b == b' ')
                    .take_while(|&&b| b != 0 && b != b' ');
                digits
                    .map(|&b| {
                        if (b'0'..=b'7').contains(&b) {
                            Ok(u64::from(b - b'0'))
                        } else {
                            Err(bad("number in a tar header"))
                        }
                    })
                    .try_fold(0u64, |n, d| Ok(n.wrapping_mul(8).wrapping_add(d?)))
            }
        }
    }
    fn checksum(&self) -> u64 {
        self.0
            .iter()
            .enumerate()
            .map(|(i, &b)| u64::from(if (148..156).contains(&i) { b' ' } else { b }))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, kind: u8, size: usize) -> Vec<u8> {
        let mut h = vec![0u8; 512];
        h[..name.len()].copy_from_slice(name.as_bytes());
        h[100..107].copy_from_slice(b"0000644");
        h[108..115].copy_from_slice(b"0000001");
        h[116..123].copy_from_slice(b"0000002");
        h[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        h[136..147].copy_from_slice(b"00000000144");
        h[156] = kind;
        h[257..263].copy_from_slice(b"ustar\0");
        seal(&mut h);
        h
    }

    fn seal(h: &mut [u8]) {
        h[148..156].fill(b' ');
        let sum: u32 = h[..512].iter().map(|&b| u32::from(b)).sum();
        h[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    fn member(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
        let mut out = header(name, kind, data.len());
        out.extend(data);
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }

    fn sample() -> Vec<u8> {
        let mut tar = member("./", b'5', b"");
        tar.extend(member("././@LongLink", b'L', b"./a/very/long/name\0"));
        tar.extend(member("./a/very", b'0', b"hello"));
        tar.extend(member(
            "pax",
            b'x',
            b"18 path=./pax/name\n30 SCHILY.xattr.user.a=\x01=\n12345\n16 uid=4000000\n",
        ));
        tar.extend(member("short", b'0', &[7; 700]));
        tar.extend(member("link", b'2', b""));
        tar.extend([0; 1024]);
        tar
    }

    #[test]
    fn long_names_and_pax_records() {
        let tar = sample();
        let mut t = Tar::new(tar.as_slice());
        assert_eq!(t.next().expect("tar").expect("root").path(), b"/");
        let e = t.next().expect("tar").expect("file");
        assert_eq!(
            (e.path(), e.size, e.uid, e.gid, e.mtime, e.perm),
            (b"/a/very/long/name".to_vec(), 5, 1, 2, 100, 0o644)
        );
        let mut data = String::new();
        t.read_to_string(&mut data).expect("data");
        assert_eq!(data, "hello");
    }

    #[test]
    fn hostile_archives_never_panic() {
        let good = sample();
        let mut seed = 7u64;
        let mut next = || {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) as usize
        };
        let mut entries = 0;
        for _ in 0..20_000 {
            let mut tar = good.clone();
            for _ in 0..1 + next() % 3 {
                let block = next() % (tar.len() / 512) * 512;
                tar[block + next() % 512] = next() as u8;
                seal(&mut tar[block..block + 512]);
            }
            let mut t = Tar::new(tar.as_slice());
            while let Ok(Some(e)) = t.next() {
                entries += 1;
                let _ = (e.path(), io::copy(&mut t, &mut io::sink()));
            }
            let _ = ar_members(&tar);
        }
        assert!(entries > 20_000, "{entries}");
    }
}
