//! PROXY protocol, versions 1 and 2: the header by which a proxy in front names the real source.
//!
//! After the specification "The PROXY protocol" of HAProxy (sections 2.1 and 2.2). Only the listener layer uses it, and only for
//! connections from networks that the operator listed: from anywhere else the same bytes are what an intruder said.
//! No I/O; the caller gives what it has read so far.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that is looked at: version 1 has at most 107 bytes; version 2 here 16 and 512.
pub const LONGEST: usize = 16 + 512;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the header; what comes behind them is the client's.
    pub length: usize,
    /// The real source and the address that it reached. `None` when the proxy speaks for itself (a health check) or for something
    /// that is no TCP over IP: the connection's own addresses count then.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
}

/// Why there is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// What came so far may begin one: read more.
    More,
    /// These bytes are no PROXY header, or a malformed or overlong one. The specification asks to close the connection.
    Malformed,
}

/// Reads the header at the start of a connection.
///
/// # Errors
/// See [`Refused`].
pub fn parse(bytes: &[u8]) -> Result<Header, Refused> {
    let begins = |whole: &[u8]| bytes.iter().zip(whole).all(|(a, b)| a == b);
    if begins(SIGNATURE) {
        return if bytes.len() < 16 {
            Err(Refused::More)
        } else {
            version_2(bytes)
        };
    }
    if begins(b"PROXY ") {
        return version_1(bytes);
    }
    Err(Refused::Malformed)
}

fn version_1(bytes: &[u8]) -> Result<Header, Refused> {
    let line = bytes.get(..bytes.len().min(107)).unwrap_or_default();
    let Some(end) = line.windows(2).position(|w| w == b"\r\n") else {
        return Err(if bytes.len() < 107 {
            Refused::More
        } else {
            Refused::Malformed
        });
    };
    let text = line
        .get(..end)
        .and_then(|l| std::str::from_utf8(l).ok())
        .ok_or(Refused::Malformed)?;
    let words: Vec<&str> = text.split(' ').collect();
    let length = end + 2;
    match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Ok(Header {
            length,
            addresses: None,
        }),
        ["PROXY", family @ ("TCP4" | "TCP6"), src, dst, src_port, dst_port] => {
            let address = |text: &str, port: &str| -> Option<SocketAddr> {
                let ip: IpAddr = text.parse().ok()?;
                let plain =
                    port == "0" || (!port.starts_with('0') && port.bytes().all(|b| b.is_ascii_digit()));
                (ip.is_ipv4() == (*family == "TCP4") && plain).then_some(())?;
                Some(SocketAddr::new(ip, port.parse().ok()?))
            };
            let pair = address(src, src_port)
                .zip(address(dst, dst_port))
                .ok_or(Refused::Malformed)?;
            Ok(Header {
                length,
                addresses: Some(pair),
            })
        }
        _ => Err(Refused::Malformed),
    }
}

fn version_2(bytes: &[u8]) -> Result<Header, Refused> {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else {
        return Err(Refused::More);
    };
    let [.., command, family, high, low] = *head;
    let size = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 || size > LONGEST - 16 {
        return Err(Refused::Malformed);
    }
    let Some(body) = rest.get(..size) else {
        return Err(Refused::More);
    };
    let length = 16 + size;
    let addresses = match (command & 15, family) {
        // LOCAL: the proxy itself.
        (0, _) => None,
        // PROXY, TCP over IPv4.
        (1, 0x11) => Some(pair::<4>(body).ok_or(Refused::Malformed)?),
        // PROXY, TCP over IPv6.
        (1, 0x21) => Some(pair::<16>(body).ok_or(Refused::Malformed)?),
        // Datagrams, Unix sockets, unspecified: nothing that we could use.
        (1, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => None,
        _ => return Err(Refused::Malformed),
    };
    Ok(Header { length, addresses })
}

/// Two addresses of `N` bytes, then two ports.
fn pair<const N: usize>(body: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (src, rest) = body.split_first_chunk::<N>()?;
    let (dst, rest) = rest.split_first_chunk::<N>()?;
    let (src_port, rest) = rest.split_first_chunk::<2>()?;
    let (dst_port, _) = rest.split_first_chunk::<2>()?;
    let address = |raw: &[u8], port: &[u8; 2]| -> Option<SocketAddr> {
        let ip: IpAddr = match raw.len() {
            4 => Ipv4Addr::from(<[u8; 4]>::try_from(raw).ok()?).into(),
            _ => Ipv6Addr::from(<[u8; 16]>::try_from(raw).ok()?).into(),
        };
        Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
    };
    Some((address(src, src_port)?, address(dst, dst_port)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version_2_header() -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[
            0x21,
            0x11,
            0,
            12 + 3,
            192,
            0,
            2,
            7,
            192,
            0,
            2,
            1,
            0x9c,
            0x40,
            0,
            22,
            0xee,
            0,
            0,
        ]);
        bytes
    }

    #[test]
    fn both_versions_name_source_and_destination() {
        let one = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 22\r\nSSH-2.0-x\r\n";
        let expected = Some((
            "192.0.2.7:40000".parse().unwrap(),
            "192.0.2.1:22".parse().unwrap(),
        ));
        assert_eq!(
            parse(one),
            Ok(Header {
                length: 41,
                addresses: expected
            })
        );
        let two = version_2_header();
        assert_eq!(
            parse(&two),
            Ok(Header {
                length: two.len(),
                addresses: expected
            })
        );
        assert_eq!(
            parse(b"PROXY UNKNOWN\r\n"),
            Ok(Header {
                length: 15,
                addresses: None
            })
        );
        assert!(
            parse(b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n")
                .unwrap()
                .addresses
                .is_some()
        );
    }

    #[test]
    fn every_beginning_of_a_header_asks_for_more() {
        for whole in [
            version_2_header(),
            b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 22\r\n".to_vec(),
        ] {
            for cut in 0..whole.len() {
                assert_eq!(parse(&whole[..cut]), Err(Refused::More), "{cut}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bad in [
            &b"SSH-2.0-OpenSSH\r\n"[..],
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 040 22\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 70000 22\r\n",
            b"PROXY TCP4 192.0.2.7  192.0.2.1 1 22\r\n",
            b"PROXY UDP4 192.0.2.7 192.0.2.1 1 22\r\n",
            &[b"PROXY ".as_slice(), &[b'x'; 200]].concat(),
            &[SIGNATURE.as_slice(), &[0x31, 0x11, 0, 12]].concat(),
            &[SIGNATURE.as_slice(), &[0x21, 0x11, 0xff, 0xff]].concat(),
            &[SIGNATURE.as_slice(), &[0x21, 0x11, 0, 4, 1, 2, 3, 4]].concat(),
        ] {
            assert_eq!(parse(bad), Err(Refused::Malformed), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn no_bytes_break_it() {
        let seeds = [
            version_2_header(),
            b"PROXY TCP6 2001:db8::1 ::1 1 2\r\nrest".to_vec(),
        ];
        let mut state = 3u64;
        for round in 0..100_000 {
            let mut bytes = seeds[round % 2].clone();
            for _ in 0..1 + round % 4 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 56) as u8;
            }
            if let Ok(header) = parse(&bytes) {
                assert!(header.length <= bytes.len() && header.length <= LONGEST);
            }
        }
    }
}
