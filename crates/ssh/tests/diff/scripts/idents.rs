//! The first lines: identification strings.

use super::{Script, plain, raw};
use crate::diff::{IDENT, Step, kexinit, usual};

pub(super) fn idents(out: &mut Vec<Script>) {
    let long = |n: usize| [b"SSH-2.0-".to_vec(), vec![b'a'; n], b"\r\n".to_vec()].concat();
    let cases: Vec<Vec<u8>> = [
        &b"SSH-2.0-OpenSSH_9.2p1\r\n"[..],
        b"SSH-2.0-x\n",
        b"SSH-2.0-x y z\r\n",
        b"SSH-1.99-x\r\n",
        b"SSH-1.5-x\r\n",
        b"SSH-1.0-x\r\n",
        b"SSH-3.0-x\r\n",
        b"SSH-2.1-x\r\n",
        b"SSH-2.99-x\r\n",
        b"SSH-0.0-x\r\n",
        b"SSH--1.0-x\r\n",
        b"SSH-+2.0-x\r\n",
        b"SSH- 2.0-x\r\n",
        b"SSH-2. 0-x\r\n",
        b"SSH-2.-5-x\r\n",
        b"SSH-2.0 -x\r\n",
        b"SSH-2 .0-x\r\n",
        b"SSH-02.00-x\r\n",
        b"SSH-4294967298.0-x\r\n",
        b"SSH-18446744073709551618.0-x\r\n",
        b"SSH-2.0-\r\n",
        b"SSH-2.0\r\n",
        b"SSH-2.\r\n",
        b"SSH-2\r\n",
        b"SSH-\r\n",
        b"SSH\r\n",
        b"\r\n",
        b"\n",
        b"\n\n",
        b"ssh-2.0-x\r\n",
        b"SSH-2.0-x\r",
        b"SSH-2.0-x\rSSH",
        b"SSH-2.0-x\r\r\n",
        b"SSH-2.0-a\0b\r\n",
        b"\0",
        b"SSH-2.0-\xff\xfe\r\n",
        b"SSH-2.0-\t\r\n",
        b"SSH-2.0- \r\n",
        b"SSH-2.0-a-b-c\r\n",
        b"SSH-2.0--\r\n",
        b"SSH-2.0-x",
        b"S",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"hello\r\nSSH-2.0-x\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
        b"OPTIONS sip:nm SIP/2.0\r\n\r\n",
        b"HELP\r\n",
        b"EHLO a\r\n",
        b"\r\n\r\n",
        b"SSH-2.0-Go\r\n",
        b"SSH-2.0-paramiko_3.0\r\n",
        b"SSH-2.0-libssh2_1.10\r\n",
        b"SSH-2.0-PuTTY_Release_0.78\r\n",
        b"SSH-2.0-PuTTY_Release_0.60\r\n",
        b"SSH-2.0-PuTTY_Release_0.64x\r\n",
        b"SSH-2.0-FuTTY\r\n",
        b"SSH-2.0-WinSCP_release_5.1\r\n",
        b"SSH-2.0-WinSCP_release_5.7.3\r\n",
        b"SSH-2.0-WinSCP_release_5.8\r\n",
        b"SSH-2.0-OpenSSH_6.6\r\n",
        b"SSH-2.0-OpenSSH_6.6.1\r\n",
        b"SSH-2.0-OpenSSH_6.5p1\r\n",
        b"SSH-2.0-OpenSSH_2.5\r\n",
        b"SSH-2.0-OpenSSH_3.9\r\n",
        b"SSH-2.0-OpenSSH_4.3\r\n",
        b"SSH-2.0-OpenSSH_5.3\r\n",
        b"SSH-2.0-OpenSSH_7.4\r\n",
        b"SSH-2.0-Probe-x\r\n",
        b"SSH-2.0-SSH_Version_Mapper\r\n",
        b"SSH-1.5-NmapNSE_1.0\r\n",
        b"SSH-2.0-Nmap-SSH2-Hostkey\r\n",
        b"SSH-1.5-SSH_Version_Mapper\r\n",
        b"SSH-2.0-Sun_SSH_1.0\r\n",
        b"SSH-2.0-3.0 SecureCRT\r\n",
        b"SSH-2.0-Cisco-1.25\r\n",
        b"SSH-2.0-TTSSH/2.5\r\n",
        b"SSH-2.0-Twisted_22\r\n",
        b"SSH-2.0-Twisted\r\n",
        b"SSH-2.0-dropbear_2022.83\r\n",
        b"SSH-9.9-OpenSSH_5.0\r\n",
        b"SSH-2.0-x\r\nSSH-2.0-y\r\n",
        b"SSH-2.0-x\n\n",
        b"SSH-2.0-x\r\n\r\n",
        b"SSH-2.0-x\r\nabcdefgh",
        b"SSH-2.0-x\r\n\0\0\0\0\0\0\0\0",
        b"SSH-2.0-x\r\nGET / HTTP/1.0\r\n\r\n",
        b"SSH-2.0-x\r\n\xff\xff\xff\xff\xff\xff\xff\xff",
        b"SSH-2.0-x\r\n\0\0\0\x05\x04\x02\0\0",
        b"SSH-2.0-x\n\0\0\0\x0c\x0a\x14\0\0\0\0\0\0\0\0\0\0",
    ]
    .iter()
    .map(|c| c.to_vec())
    .chain([
        long(200),
        long(245),
        long(246),
        long(247),
        long(255),
        long(256),
        long(1000),
        long(8183),
        long(8184),
        long(8185),
        long(8192),
        long(20000),
        vec![b'a'; 300],
        vec![b'a'; 8192],
        vec![b'a'; 8193],
        vec![b'a'; 9000],
        b"x\r\n".repeat(1100),
    ])
    .collect();
    for (i, c) in cases.iter().enumerate() {
        let name: String = c
            .iter()
            .take(24)
            .flat_map(|b| std::ascii::escape_default(*b))
            .map(char::from)
            .collect();
        out.push((format!("ident {i} {name}"), vec![raw(c)]));
        out.push((format!("ident+eof {i} {name}"), vec![raw(c), Step::Eof]));
    }
    out.push(("ident silent eof".into(), vec![Step::Eof]));
    out.push((
        "ident in pieces".into(),
        IDENT.iter().map(|b| raw(&[*b])).collect(),
    ));
    out.push(("ident and kexinit at once".into(), {
        let k = kexinit(&usual(), 0);
        vec![raw(&[IDENT, &plain(&k)].concat())]
    }));
}
