//! How long an `echo` takes while hostile worlds run beside it: `neighbours IMAGE [HOSTILE]`. Prints medians and 99th percentiles.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use turncoat_cover::{Cover, Given, Seed};
use turncoat_decoys::boot::{Outside, Snapshot};
use turncoat_decoys::machine::Entropy;
use turncoat_decoys::worlds::{
    Bounds, Conn, Handle, Input, Open, Output, Produced, Program, Scope, Terminal, Worlds,
};
use turncoat_event::record::{Item, Recorder, Refused};
use turncoat_event::{Committer, Mark, Origin, Time, Watermark};
use turncoat_kernel::image::Image;

/// Programs that do what they can to be in the way.
const HOSTILE: [&str; 8] = [
    "while :; do :; done",
    "f() { f | f & }; f",
    "yes > /root/file",
    "cat /dev/zero > /dev/null",
    "find / > /dev/null; while :; do find / > /dev/null; done",
    "i=0; while :; do mkdir -p /tmp/d/$i; i=$((i+1)); done",
    "for i in 1 2 3 4 5 6 7 8; do (while :; do :; done) & done; wait",
    "perl -e 'my @a; push @a, \"x\" x 100000 while 1'",
];

/// A record that takes everything at once.
struct Nowhere(AtomicU64, Watermark);

impl Recorder for Nowhere {
    fn submit(&self, _: Item) -> Result<Mark, Refused> {
        Ok(Mark(self.0.fetch_add(1, Ordering::Relaxed) + 1))
    }
    fn watermark(&self) -> &Watermark {
        &self.1
    }
    fn accepting(&self) -> bool {
        true
    }
}

fn open(program: Program) -> Open {
    let a = "192.0.2.1:5".parse().expect("address");
    Open {
        link: 1,
        user: b"root".to_vec(),
        terminal: (program == Program::Shell).then(Terminal::default),
        program,
        env: Vec::new(),
        peer: a,
        local: a,
        method: "password",
        sshd: None,
    }
}

/// Times of so many lines, sorted.
async fn echoes(
    shell: &Handle,
    conn: Conn,
    out: &mut mpsc::UnboundedReceiver<Output>,
    times: u32,
) -> Vec<Duration> {
    let mut all = Vec::new();
    for n in 0..times {
        let t = Instant::now();
        let line = format!("echo $(({n}+1000000))\r");
        shell.input(conn, Input::Data(line.into_bytes()), Mark(0));
        let want = format!("{}\r\n", n + 1_000_000);
        let mut seen = Vec::new();
        while !seen.windows(want.len()).any(|w| w == want.as_bytes()) {
            match tokio::time::timeout(Duration::from_secs(30), out.recv()).await {
                Ok(Some(o)) => {
                    if let Produced::Data { bytes, .. } = o.what {
                        seen.extend(bytes);
                    }
                }
                _ => return all,
            }
        }
        all.push(t.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    all.sort_unstable();
    all
}

fn at(all: &[Duration], percent: usize) -> f64 {
    all.get((all.len() * percent / 100).min(all.len().saturating_sub(1)))
        .map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let image = Image::open(std::fs::File::open(&args[1]).expect("image")).expect("image");
    let hostile: usize = args.get(2).and_then(|n| n.parse().ok()).unwrap_or(50);
    let now = || Time::from_system(std::time::SystemTime::now());
    let given = Given {
        made: now().seconds() - 86_400,
        receiving: Default::default(),
        wishes: Default::default(),
        kernel: None,
    };
    let cover = Cover::new(Seed([5; 32]), &given).expect("cover");
    let entropy: Entropy = Arc::new(|b: &mut [u8]| b.fill(9));
    let snapshot = Snapshot::boot(&cover, image, Outside::Timeout, now(), &entropy).expect("machine");
    let snapshot = Mutex::new(snapshot);
    let (_committer, watermark) = Committer::new();
    let made = entropy.clone();
    let worlds = Worlds::start(
        Arc::new(move || snapshot.lock().expect("no panic").fresh(&made)),
        Scope::Source,
        Bounds::default(),
        std::thread::available_parallelism().map_or(2, |n| n.get()),
        Arc::new(Nowhere(AtomicU64::new(0), watermark)),
        Arc::new(now),
        entropy,
    )
    .expect("threads");
    let enter = |n: usize| {
        let source = IpAddr::from([10, 0, (n / 256) as u8, (n % 256) as u8]);
        worlds.enter(source, Mark(0)).expect("room").0
    };
    let waiting = Arc::new(AtomicU64::new(0));
    let (tx, mut rx) = mpsc::unbounded_channel();
    let shell = enter(0);
    let conn = shell
        .open(
            open(Program::Shell),
            Origin::default(),
            0,
            Mark(0),
            tx,
            waiting.clone(),
        )
        .await
        .expect("login");
    tokio::time::sleep(Duration::from_secs(3)).await;
    echoes(&shell, conn, &mut rx, 20).await;
    let quiet = echoes(&shell, conn, &mut rx, 200).await;
    println!(
        "quiet: median {:.2} ms, p99 {:.2} ms",
        at(&quiet, 50),
        at(&quiet, 99)
    );
    let (sink, mut drain) = mpsc::unbounded_channel();
    tokio::spawn(async move { while drain.recv().await.is_some() {} });
    for n in 0..hostile {
        let program = Program::Command(HOSTILE[n % HOSTILE.len()].as_bytes().to_vec());
        let world = enter(n + 1);
        let unread = Arc::new(AtomicU64::new(0));
        let _ = world
            .open(open(program), Origin::default(), 0, Mark(0), sink.clone(), unread)
            .await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let loud = echoes(&shell, conn, &mut rx, 200).await;
    println!(
        "beside {hostile} hostile worlds: median {:.2} ms, p99 {:.2} ms, {:.1} times the quiet p99; {} of 200 answered",
        at(&loud, 50),
        at(&loud, 99),
        at(&loud, 99) / at(&quiet, 99),
        loud.len()
    );
}
