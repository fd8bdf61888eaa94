//! Runs programs of an image in a world, on this terminal: `world [--image FILE] [--strace] [--facts] [--uid N] exec -- CMD…`,
//! `world … shell`, and `world … static PROGRAM…` (a program of the host is put into an empty world).

use std::io::{IsTerminal, Read, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use turncoat_kernel::image::Image;
use turncoat_kernel::vfs::boot::{Content, CoverFile, Plan};
use turncoat_kernel::vfs::{Timespec, makedev};
use turncoat_kernel::*;

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos() as u64)
}

fn boot(image: Option<Arc<Image>>, files: Vec<CoverFile>) -> World {
    let t = now();
    let start = t - 3 * 86_400_000_000_000 - 12_345_678_901;
    let stamp = Timespec::secs((start / 1_000_000_000) as i64);
    let mut standins = vec![StandInSpec::daemon(
        "sshd",
        "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups",
    )];
    standins[0].pid = Some(611);
    let mut kthreadd = StandInSpec::kthread("kthreadd");
    (kthreadd.pid, kthreadd.ppid) = (Some(2), 0);
    standins.push(kthreadd);
    standins.push(StandInSpec::daemon("cron", "/usr/sbin/cron -f"));
    World::boot(Boot {
        plan: Plan {
            image,
            lazy: None,
            root_dev: makedev(8, 1),
            root_source: "/dev/sda1".into(),
            root_options: "errors=remount-ro".into(),
            blocks: 4_900_000,
            blocks_used: 30_000,
            files: 1_248_480,
            installed: stamp,
            stamps: Default::default(),
            booted: stamp,
            limit_pages: 65_536,
            limit_inodes: 100_000,
        },
        files,
        facts: sysfs::facts::Facts::default(),
        hostname: b"srv01".to_vec(),
        machine: turncoat_cpu::Machine::default(),
        boot_time: start,
        now: t,
        entropy: [7; 32],
        limits: Limits::default(),
        standins,
        net: net::Net::new(net::facts::Facts::default()),
        sessions: 0,
        kmsg: vec![
            (6, 0, "Linux version 6.1.0-18-amd64".into()),
            (6, 1_200, "BIOS-provided physical RAM map:".into()),
        ],
    })
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let (mut image, mut strace, mut facts, mut uid) =
        ("/tmp/turncoat-dev.img".to_owned(), false, false, 0u32);
    while args.first().is_some_and(|a| a.starts_with("--")) {
        let a = args.remove(0);
        match a.as_str() {
            "--image" => image = args.remove(0),
            "--strace" => strace = true,
            "--facts" => facts = true,
            "--uid" => uid = args.remove(0).parse().unwrap_or(0),
            _ => {}
        }
    }
    let mode = args.first().cloned().unwrap_or_else(|| "shell".into());
    let rest: Vec<String> = args.into_iter().skip(1).filter(|a| a != "--").collect();
    let mut w = if mode == "static" {
        let bytes = std::fs::read(&rest[0]).expect("program");
        let name = rest[0].rsplit('/').next().unwrap_or("program").to_owned();
        let file = |path: String, perm, bytes: Vec<u8>| {
            CoverFile::new(path, perm, Timespec::secs(0), Content::Bytes(bytes.into()))
        };
        let mut files = vec![
            file(format!("/bin/{name}"), 0o755, bytes),
            file(
                "/etc/passwd".into(),
                0o644,
                b"root:x:0:0:root:/root:/bin/sh\n".to_vec(),
            ),
        ];
        if name == "busybox" {
            files.push(CoverFile {
                content: Content::Link(b"busybox".to_vec()),
                ..file("/bin/sh".into(), 0o777, Vec::new())
            });
        }
        for d in ["/root", "/tmp", "/proc", "/sys", "/dev", "/run"] {
            files.push(CoverFile {
                content: Content::Dir,
                ..file(d.into(), 0o755, Vec::new())
            });
        }
        boot(None, files)
    } else {
        let f = std::fs::File::open(&image).expect("image");
        boot(Some(Image::open(f).expect("image")), Vec::new())
    };
    let t0 = std::time::Instant::now();
    w.set_trace(strace);
    let quote = |s: &String| format!("'{}'", s.replace('\'', "'\\''"));
    let (term, command, account) = match mode.as_str() {
        "shell" => (Some(()), None, None),
        "static" => {
            let name = rest[0].rsplit('/').next().unwrap_or("program");
            let cmd: Vec<String> = rest[1..].iter().map(quote).collect();
            let direct = name != "busybox";
            let account = Account {
                user: b"root".to_vec(),
                uid,
                gid: uid,
                groups: vec![0],
                home: b"/root".to_vec(),
                shell: if direct {
                    format!("/bin/{name}").into_bytes()
                } else {
                    b"/bin/sh".to_vec()
                },
            };
            (
                None,
                Some(if direct {
                    cmd.join(" ")
                } else {
                    format!("busybox {}", cmd.join(" "))
                }),
                Some(account),
            )
        }
        "sh" => (None, Some(rest.join(" ")), None),
        _ => (
            None,
            Some(rest.iter().map(quote).collect::<Vec<_>>().join(" ")),
            None,
        ),
    };
    let (rows, cols) =
        rustix::termios::tcgetwinsize(std::io::stdout()).map_or((24, 80), |s| (s.ws_row, s.ws_col));
    let conn = w
        .open(Open {
            user: if uid == 0 {
                b"root".to_vec()
            } else {
                b"admin".to_vec()
            },
            account,
            env: vec![(b"LANG".to_vec(), b"C.UTF-8".to_vec())],
            term: term.map(|()| Term {
                name: std::env::var("TERM").unwrap_or("xterm".into()).into_bytes(),
                rows,
                cols,
                xpixel: 0,
                ypixel: 0,
                modes: Vec::new(),
            }),
            command: command.map(String::into_bytes),
            peer: "203.0.113.9:50022".parse().expect("address"),
            local: "192.0.2.10:22".parse().expect("address"),
            greet: true,
            method: String::new(),
            sshd: None,
        })
        .expect("open");
    let opened = t0.elapsed();
    let (tx, rx) = std::sync::mpsc::channel::<Vec<u8>>();
    let stdin_tty = std::io::stdin().is_terminal();
    let saved = stdin_tty
        .then(|| rustix::termios::tcgetattr(std::io::stdin()).ok())
        .flatten();
    if mode == "shell"
        && let Some(t) = &saved
    {
        let mut raw = t.clone();
        raw.make_raw();
        let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, &raw);
    }
    std::thread::spawn(move || {
        let mut b = [0; 4096];
        while let Ok(n) = std::io::stdin().read(&mut b) {
            if tx.send(b[..n].to_vec()).is_err() || n == 0 {
                break;
            }
        }
    });
    let mut status = 0;
    let mut eof = false;
    'all: loop {
        let slice = w.run(300_000, now());
        for l in w.take_trace() {
            eprintln!("{l}");
        }
        let (outs, fs) = w.drain();
        for o in outs {
            match o.out {
                Out::Data { stderr: false, bytes } => {
                    let _ = std::io::stdout().write_all(&bytes);
                }
                Out::Data { bytes, .. } => {
                    let _ = std::io::stderr().write_all(&bytes);
                }
                Out::Exit { status: s } => status = i32::from(s),
                Out::Signal { sig, .. } => status = 128 + i32::from(sig),
                Out::Eof | Out::Secret { .. } | Out::Entered => {}
                Out::Close => {
                    let _ = std::io::stdout().flush();
                    break 'all;
                }
            }
        }
        let _ = std::io::stdout().flush();
        if facts {
            for f in fs {
                eprintln!(
                    "fact {} pid {} {} {:?}\r",
                    f.seq,
                    f.pid,
                    String::from_utf8_lossy(&f.comm),
                    f.fact
                );
            }
        }
        let wait = match slice {
            Slice::Busy => Duration::ZERO,
            Slice::Dead => break,
            Slice::Idle { wake_at } => wake_at.map_or(Duration::from_secs(3600), |t| {
                Duration::from_nanos(t.saturating_sub(now()))
            }),
        };
        if wait.is_zero() {
            if let Ok(b) = rx.try_recv() {
                w.input(conn, Input::Data(b));
            }
        } else if !eof {
            match rx.recv_timeout(wait) {
                Ok(b) if b.is_empty() => {
                    eof = true;
                    w.input(conn, Input::Eof);
                }
                Ok(b) => w.input(conn, Input::Data(b)),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                    eof = true;
                    w.input(conn, Input::Eof);
                }
                Err(_) => {}
            }
        } else if wait > Duration::from_secs(20) {
            eprintln!("world: nothing will happen any more");
            status = 125;
            break;
        } else {
            std::thread::sleep(wait.min(Duration::from_millis(50)));
        }
    }
    if let Some(t) = saved {
        let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, &t);
    }
    for (k, n) in w.gaps() {
        eprintln!("world: unserved {n:>6} {k}");
    }
    if std::env::var_os("WORLD_STATS").is_some() {
        eprintln!(
            "world: opened in {opened:?}, ran {:?}, {} instructions, {} KiB",
            t0.elapsed(),
            w.retired(),
            w.memory() / 1024
        );
    }
    std::process::exit(status);
}
