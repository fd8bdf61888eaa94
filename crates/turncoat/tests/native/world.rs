//! The world's side. Time is the host's clock, and jumps to the next timer when the world has nothing to do.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use turncoat::config::Settings;
use turncoat::image::{Shelf, Shelved};
use turncoat_decoys::boot::{Outside, Snapshot};
use turncoat_event::Time;
use turncoat_kernel::image::Image;
use turncoat_kernel::{Conn, Input, Open, Out, Slice, Term, World};

use crate::cases::{Case, Seen};

pub const ROWS: u16 = 24;
pub const COLUMNS: u16 = 80;
/// Longer than any case takes, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(400);

/// The machine that all cases run on.
pub struct Stage {
    pub image: Shelved,
    pub shared: PathBuf,
    pub hostname: String,
    /// Files of the cover.
    pub files: Vec<turncoat_cover::File>,
    /// Environment of a command of root.
    pub environment: Vec<u8>,
    snapshot: Snapshot,
}

struct Below<'a>(&'a Image);

impl turncoat_cover::Image for Below<'_> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let ino = self.0.resolve(path.as_bytes()).ok()??;
        self.0.read_all(ino, 8 << 20).ok()
    }
    fn packages(&self) -> Vec<(String, String)> {
        let own = |p: turncoat_kernel::image::Package| (p.name.to_string(), p.version.to_string());
        self.0.packages().into_iter().map(own).collect()
    }
}

/// An empty screen.
pub fn blank() -> vt100::Parser {
    use std::num::NonZero;
    vt100::Parser::new(NonZero::new(ROWS).unwrap(), NonZero::new(COLUMNS).unwrap(), 0)
}

pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64
}

impl Stage {
    pub fn new() -> Stage {
        let shared = crate::common::shared();
        let shelf = Shelf::open(&shared.join("images")).unwrap();
        let shelved = shelf.find(None).unwrap().unwrap();
        let image = Image::open(File::open(&shelved.path).unwrap()).unwrap();
        let secret = [7u8; 32];
        let at = Time(now() as i64);
        let kernel = turncoat::machine::kernel(&image);
        let machine =
            turncoat::machine::make(&secret, &Settings::default(), &[], kernel, 0, at.seconds()).unwrap();
        let cover = machine.cover(&secret).unwrap();
        let files = cover.files_at(&Below(&image), at.seconds());
        let entropy: turncoat_decoys::machine::Entropy = Arc::new(|b: &mut [u8]| b.fill(9));
        let mut snapshot = Snapshot::boot(&cover, image, Outside::Unreachable, at, &entropy).unwrap();
        let mut seen = Seen::default();
        exec(&mut snapshot.world([3; 32]), "env -0", None, None, &mut seen);
        Stage {
            image: shelved,
            shared,
            hostname: cover.host.name.clone(),
            files,
            environment: seen.out,
            snapshot,
        }
    }

    pub fn fork(&mut self) -> World {
        self.snapshot.world([5; 32])
    }
}

/// A login's command until it ends. `screen`: on a terminal, with keys. `seconds`: of the world's time, then the connection is closed.
pub fn exec(
    world: &mut World,
    command: &str,
    mut screen: Option<(&mut vt100::Parser, &[Vec<u8>])>,
    seconds: Option<u64>,
    seen: &mut Seen,
) {
    let opened = world.open(Open {
        user: b"root".to_vec(),
        account: None,
        env: Vec::new(),
        term: screen.is_some().then(|| Term {
            name: b"xterm".to_vec(),
            rows: ROWS,
            cols: COLUMNS,
            xpixel: 0,
            ypixel: 0,
            modes: Vec::new(),
        }),
        command: Some(command.as_bytes().to_vec()),
        peer: "192.0.2.9:40000".parse().unwrap(),
        local: "192.0.2.1:22".parse().unwrap(),
        greet: false,
        method: String::new(),
        sshd: None,
    });
    let conn: Conn = match opened {
        Ok(conn) => conn,
        Err(errno) => {
            seen.err.extend(format!("(refused: {errno:?})\n").bytes());
            seen.status = -1;
            return;
        }
    };
    if screen.is_none() {
        world.input(conn, Input::Eof);
    }
    let began = Instant::now();
    let mut ahead = 0;
    let mut keys = 0;
    let end = seconds.map(|s| now() + s * 1_000_000_000);
    loop {
        if end.is_some_and(|t| now() + ahead > t) {
            world.input(conn, Input::Close);
            for _ in 0..50 {
                world.run(1_000_000, now() + ahead);
                world.drain();
            }
            return;
        }
        if began.elapsed() > PATIENCE {
            seen.err.extend(b"(it does not end)\n");
            seen.status = -1;
            return;
        }
        let slice = world.run(5_000_000, now() + ahead);
        for line in world.take_trace() {
            eprintln!("{line}");
        }
        let (outputs, _) = world.drain();
        for o in outputs.into_iter().filter(|o| o.conn == conn) {
            match o.out {
                Out::Data { bytes, stderr } => match &mut screen {
                    Some((parser, _)) => parser.process(&bytes),
                    None if stderr => seen.err.extend(bytes),
                    None => seen.out.extend(bytes),
                },
                Out::Exit { status } => seen.status = status.into(),
                Out::Signal { sig, .. } => seen.status = -i32::from(sig),
                Out::Close => return,
                Out::Eof | Out::Secret { .. } | Out::Entered => {}
            }
        }
        match slice {
            Slice::Busy => {}
            Slice::Dead => return,
            Slice::Idle { wake_at } => {
                // A program that waits for a moment only is not at rest.
                let soon = wake_at.filter(|t| *t < now() + ahead + 1_500_000_000);
                if let Some((parser, typed)) = &mut screen
                    && soon.is_none()
                    && let Some(k) = typed.get(keys)
                {
                    seen.screens.push(parser.screen().contents());
                    world.input(conn, Input::Data(k.clone()));
                    keys += 1;
                } else if let Some(t) = wake_at {
                    ahead += t.saturating_sub(now() + ahead);
                } else {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }
}

/// The script that lists files, those that a condition of find(1) chooses.
pub fn listing(which: &str) -> String {
    include_str!("files.sh").replace("$WHICH", which)
}

fn files(world: &mut World) -> Vec<u8> {
    let mut seen = Seen::default();
    exec(world, &listing("-cnewer /.begin"), None, None, &mut seen);
    seen.out.extend(seen.err);
    seen.out
}

fn begin(world: &mut World) {
    exec(
        world,
        "touch -d '1 second ago' /.begin",
        None,
        None,
        &mut Seen::default(),
    );
}

/// Runs a case.
pub fn run(mut world: World, case: &Case) -> Seen {
    let mut seen = Seen::default();
    begin(&mut world);
    world.set_trace(std::env::var_os("TURNCOAT_STRACE").is_some());
    exec(&mut world, &case.script, None, None, &mut seen);
    world.set_trace(false);
    seen.files = files(&mut world);
    if std::env::var_os("TURNCOAT_GAPS").is_some() {
        for (what, n) in world.gaps() {
            eprintln!("gap {}: {what} {n}", case.name);
        }
    }
    seen
}

/// Runs a case on a terminal.
pub fn terminal(mut world: World, case: &Case) -> Seen {
    let mut seen = Seen::default();
    begin(&mut world);
    let mut parser = blank();
    exec(
        &mut world,
        &case.script,
        Some((&mut parser, &case.keys)),
        None,
        &mut seen,
    );
    seen.screens.push(parser.screen().contents());
    seen.files = files(&mut world);
    seen
}

/// The directory that the image is unpacked in, made once.
pub fn unpacked(stage: &Stage) -> PathBuf {
    let id = stage
        .image
        .path
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let dir: &Path = &stage.shared.join(format!("native-{id}"));
    let lock = File::create(stage.shared.join("lock")).unwrap();
    lock.lock().unwrap();
    if !dir.exists() {
        for old in std::fs::read_dir(&stage.shared).unwrap().flatten() {
            if old.file_name().to_string_lossy().starts_with("native-") {
                let _ = std::fs::remove_dir_all(old.path());
            }
        }
        let half = stage.shared.join("native-half");
        let _ = std::fs::remove_dir_all(&half);
        turncoat::image::export(&stage.image, &half).unwrap();
        std::fs::rename(&half, dir).unwrap();
    }
    dir.to_owned()
}
