//! Clients other than OpenSSH's, scanners and crackers against the SSH decoy: each does what it does with a real server.
//!
//! A client that this machine does not have is named with its Debian package, and passed over. `TURNCOAT_ALL_CLIENTS=1` makes that a
//! failure (`.ci/run` installs those that are small).

mod common;

use std::process::{Command, Stdio};

use common::ssh::{directory, start, text};

const PORT: u16 = 24027;

/// One client: its name, the file that shows that it is here, its package, what is run, and what its output must and must not have.
struct Client {
    name: &'static str,
    file: &'static str,
    package: &'static str,
    script: &'static str,
    has: &'static [&'static str],
}

const SSH: &str = "-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o PubkeyAuthentication=no";

const CLIENTS: &[Client] = &[
    Client {
        name: "sftp",
        file: "/usr/bin/sftp",
        package: "openssh-client",
        script: "printf 'put f /tmp/sftp1\nget /tmp/sftp1 back1\nls -l /tmp/sftp1\nrm /tmp/sftp1\n' | sshpass -p letmein sftp $SSH -P $PORT root@127.0.0.1 && cmp f back1 && echo same",
        has: &["same", "/tmp/sftp1"],
    },
    Client {
        name: "scp over sftp",
        file: "/usr/bin/scp",
        package: "openssh-client",
        script: "sshpass -p letmein scp $SSH -P $PORT f root@127.0.0.1:/tmp/scp1 && sshpass -p letmein scp $SSH -P $PORT root@127.0.0.1:/tmp/scp1 back2 && cmp f back2 && echo same",
        has: &["same"],
    },
    Client {
        name: "scp, old protocol",
        file: "/usr/bin/scp",
        package: "openssh-client",
        script: "sshpass -p letmein scp -O $SSH -P $PORT f root@127.0.0.1:/tmp/scp2 && sshpass -p letmein scp -O $SSH -P $PORT root@127.0.0.1:/tmp/scp2 back3 && cmp f back3 && echo same",
        has: &["same"],
    },
    Client {
        name: "ssh-keyscan",
        file: "/usr/bin/ssh-keyscan",
        package: "openssh-client",
        script: "ssh-keyscan -p $PORT 127.0.0.1 2>&1",
        has: &[
            "ssh-ed25519 AAAA",
            "ecdsa-sha2-nistp256 AAAA",
            "ssh-rsa AAAA",
            "OpenSSH_",
        ],
    },
    Client {
        name: "ssh-copy-id",
        file: "/usr/bin/ssh-copy-id",
        package: "openssh-client",
        script: "mkdir -p .ssh && ssh-keygen -q -t ed25519 -N '' -f copied && HOME=$PWD sshpass -p letmein ssh-copy-id -f -i copied.pub -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -p $PORT root@127.0.0.1 2>&1; \
                 ssh -F none -i copied -o IdentitiesOnly=yes -o PasswordAuthentication=no -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -p $PORT root@127.0.0.1 'echo by key'",
        has: &["by key"],
    },
    Client {
        name: "ControlMaster",
        file: "/usr/bin/ssh",
        package: "openssh-client",
        script: "printf '#!/bin/sh\\necho letmein\\n' > ask && chmod 700 ask && SSH_ASKPASS=./ask SSH_ASKPASS_REQUIRE=force ssh $SSH -M -S ctl -f -N -p $PORT root@127.0.0.1 && for i in 1 2 3; do ssh -S ctl -p $PORT root@127.0.0.1 \"echo channel $i\" & done; wait; ssh -S ctl -O exit -p $PORT root@127.0.0.1",
        has: &["channel 1", "channel 2", "channel 3"],
    },
    Client {
        name: "dbclient",
        file: "/usr/bin/dbclient",
        package: "dropbear-bin",
        script: "DROPBEAR_PASSWORD=letmein dbclient -y -y -p $PORT root@127.0.0.1 'id -u; exit 3'; echo status $?",
        has: &["0\nstatus 3"],
    },
    Client {
        name: "plink",
        file: "/usr/bin/plink",
        package: "putty-tools",
        script: "export HOME=$PWD; echo y | plink -ssh -P $PORT -pw letmein root@127.0.0.1 'id -u; exit 3'; echo status $?",
        has: &["0\nstatus 3"],
    },
    Client {
        name: "pscp, both protocols",
        file: "/usr/bin/pscp",
        package: "putty-tools",
        script: "export HOME=$PWD; echo y | pscp -q -P $PORT -pw letmein f root@127.0.0.1:/tmp/pscp1 && pscp -q -scp -batch -P $PORT -pw letmein root@127.0.0.1:/tmp/pscp1 back4 && cmp f back4 && echo same",
        has: &["same"],
    },
    Client {
        name: "paramiko",
        file: "/usr/lib/python3/dist-packages/paramiko/__init__.py",
        package: "python3-paramiko",
        script: r#"/usr/bin/python3 -W ignore -c "
import os, paramiko
c = paramiko.SSHClient(); c.set_missing_host_key_policy(paramiko.AutoAddPolicy())
c.connect('127.0.0.1', int(os.environ['PORT']), 'root', 'letmein', allow_agent=False, look_for_keys=False)
i, o, e = c.exec_command('id -u; exit 3'); print('said', o.read(), o.channel.recv_exit_status())
s = c.open_sftp(); s.put('f', '/tmp/par1'); print('size', s.stat('/tmp/par1').st_size)
""#,
        has: &["said b'0\\n' 3", "size 70000"],
    },
    Client {
        name: "asyncssh",
        file: "/usr/lib/python3/dist-packages/asyncssh/__init__.py",
        package: "python3-asyncssh",
        script: r#"/usr/bin/python3 -W ignore -c "
import asyncio, asyncssh, os
async def main():
    async with asyncssh.connect('127.0.0.1', int(os.environ['PORT']), username='root', password='letmein', known_hosts=None, client_keys=None) as c:
        r = await c.run('id -u; exit 3'); print('said', repr(r.stdout), r.exit_status)
asyncio.run(main())
""#,
        has: &["said '0\\n' 3"],
    },
    Client {
        name: "libssh2 in curl",
        file: "/usr/bin/curl",
        package: "curl",
        script: "curl -sk -u root:letmein -T f sftp://127.0.0.1:$PORT/tmp/curl1 && curl -sk -u root:letmein sftp://127.0.0.1:$PORT/tmp/curl1 -o back5 && cmp f back5 && echo sftp same; \
                 curl -sk -u root:letmein scp://127.0.0.1:$PORT/tmp/curl1 -o back6 && cmp f back6 && echo scp same",
        has: &["sftp same", "scp same"],
    },
    Client {
        name: "hydra",
        file: "/usr/bin/hydra",
        package: "hydra",
        script: "hydra -l root -P words -s $PORT -t 2 127.0.0.1 ssh 2>&1",
        has: &["login: root   password: letmein"],
    },
    Client {
        name: "medusa",
        file: "/usr/bin/medusa",
        package: "medusa",
        script: "medusa -h 127.0.0.1 -n $PORT -u root -P words -M ssh 2>&1",
        has: &["User: root Password: letmein [SUCCESS]"],
    },
    Client {
        name: "ncrack",
        file: "/usr/bin/ncrack",
        package: "ncrack",
        script: "ncrack -v -f -T5 --user root -P words ssh://127.0.0.1:$PORT 2>&1",
        has: &["'root' 'letmein'"],
    },
    Client {
        name: "nmap",
        file: "/usr/bin/nmap",
        package: "nmap",
        script: "nmap -Pn -sV -p $PORT --script ssh2-enum-algos,ssh-hostkey,ssh-auth-methods,sshv1 --script-args ssh.user=root 127.0.0.1",
        has: &[
            "OpenSSH 9.2p1 Debian 2+deb12u",
            "(protocol 2.0)",
            "kex_algorithms: (12)",
            "(ED25519)",
            "publickey",
            "password",
        ],
    },
];

#[test]
fn every_client_works_as_with_a_real_server() {
    let dir = directory("clients");
    let mut r = start(&dir, &format!("127.0.0.1:{PORT}"), &[]);
    let place = dir.join("client");
    std::fs::create_dir_all(&place).unwrap();
    let content: Vec<u8> = (0..70_000u32).map(|i| (i * 31 % 251) as u8).collect();
    std::fs::write(place.join("f"), content).unwrap();
    std::fs::write(place.join("words"), "toor\nletmein\n").unwrap();
    let mut failures = Vec::new();
    for c in CLIENTS {
        if !std::path::Path::new(c.file).exists() {
            eprintln!("{}: not tried, package {} is not installed", c.name, c.package);
            assert!(
                std::env::var_os("TURNCOAT_ALL_CLIENTS").is_none(),
                "{} is needed",
                c.package
            );
            continue;
        }
        let o = Command::new("timeout")
            .args(["60", "sh", "-c", c.script])
            .current_dir(&place)
            .env("PORT", PORT.to_string())
            .env("SSH", SSH)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (out, err) = (text(&o.stdout), text(&o.stderr));
        let all = format!("{out}{err}");
        let honeypot = ["honeypot", "Cowrie", "Kippo"].iter().any(|w| all.contains(w));
        if honeypot || !c.has.iter().all(|w| out.contains(w)) {
            failures.push(format!("{}: {:?}\n{all}", c.name, o.status));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(r.stop().is_some_and(|code| code == 0));
    let _ = std::fs::remove_dir_all(&dir);
}
