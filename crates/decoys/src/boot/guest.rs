//! The kernel's world as a guest: calls and answers translated, nothing kept beside it.

use super::jobs::Jobs;
use super::life::Life;
use super::streams::Streams;
use super::{Below, Ground, accounts, events, kmsg, parts, streams};
use crate::auth::Accounts;
use crate::worlds::{Conn, Door, Guest, Input, NotConnected, Open, Opened, Produced, Program, Target, Wants};
use sha2::Digest;
use std::collections::BTreeSet;
use std::sync::Arc;
use turncoat_cover::past::refused::Refused;
use turncoat_event::{Bytes, Kind, Sha256, Time, kinds};
use turncoat_kernel::net::SockId;
use turncoat_kernel::vfs::ChangeKind;
use turncoat_kernel::{BadDisk, Down, Fact, Stamped};
use turncoat_kernel::{Input as KernelInput, Open as KernelOpen, Out, Slice, Term, World};

/// Where sshd's subsystem sftp is on Debian 12 (`Subsystem` in sshd_config).
const SFTP: &[u8] = b"/usr/lib/openssh/sftp-server";

/// A world behind a decoy.
pub struct KernelGuest {
    pub(super) world: World,
    /// Hashes of the files that were kept.
    pub(super) kept: BTreeSet<Sha256>,
    /// Bytes that may still be kept.
    pub(super) room: usize,
    /// Who may log in now.
    pub(super) accounts: Arc<Accounts>,
    /// Connections into the machine and to its sshd.
    pub(super) streams: Streams,
    /// What is logged meanwhile.
    pub(super) life: Option<Life>,
    /// What it stands on; without it, a machine that goes down stays so.
    pub(super) ground: Option<Arc<Ground>>,
    /// What starts by itself.
    pub(super) jobs: Jobs,
    /// The machine is down until then.
    pub(super) away: Option<Time>,
    /// It is going down, and will not be up before then.
    pub(super) leaves: Option<Time>,
    /// That it goes down has been said.
    pub(super) said: bool,
    /// What is to be said of it.
    pub(super) told: Vec<Kind>,
}

/// Seconds for which a machine is away that goes down: it boots, or somebody notices and switches it on.
fn away(ground: &Ground, how: Down, boot: u32) -> u64 {
    let mut s = ground.cover.stream(&format!("away {} {boot}", how.name()));
    let (low, high) = match how {
        Down::Reboot => (20, 60),
        Down::PowerOff | Down::Halt => (9 * 60, 48 * 60),
    };
    s.range(low, high).max(1) as u64
}

/// From the first message of the kernel to a listening sshd, in seconds.
fn boot_takes(ground: &Ground, boot: u32) -> i64 {
    ground.cover.stream(&format!("boot takes {boot}")).range(6, 14)
}

/// Bytes of files that are kept of one world.
const KEEP: usize = 64 << 20;
/// Files that are kept of one world.
const KEEP_FILES: usize = 1_000;
/// The largest file that is kept whole; a larger one is named in its event only.
const LARGEST: u64 = 1 << 20;

/// What programs of the machine write by themselves is not what an intruder brought.
fn own(path: &[u8]) -> bool {
    let ends = |s: &[u8]| path.ends_with(s);
    [&b"/var/log/"[..], b"/run/", b"/proc/", b"/sys/"]
        .iter()
        .any(|p| path.starts_with(p))
        || path.windows(13).any(|w| w == b"/__pycache__/")
        || ends(b"/.bash_history")
        || ends(b"/.lesshst")
}

impl KernelGuest {
    /// Takes a world in which these accounts are, and whose sshd listens at these sockets.
    pub fn new(world: World, accounts: Arc<Accounts>, sshd: Vec<SockId>) -> KernelGuest {
        KernelGuest {
            world,
            kept: BTreeSet::new(),
            room: KEEP,
            accounts,
            streams: Streams::new(sshd),
            life: None,
            ground: None,
            jobs: Jobs::default(),
            away: None,
            leaves: None,
            said: false,
            told: Vec::new(),
        }
    }

    /// The world can boot again.
    pub(crate) fn on(self, ground: Arc<Ground>) -> KernelGuest {
        KernelGuest {
            ground: Some(ground),
            ..self
        }
    }

    /// The machine boots, with the disk that it has; the kernel began at `booted`.
    fn boot(&mut self, ground: &Ground, booted: i64, now: Time, after: &str) {
        let cover = parts::after_boot(&ground.cover, booted);
        // The world's own randomness goes on: this seed is not used.
        let boot = parts::boot(&cover, &ground.image, ground.outside, now, [0; 32], false);
        let log =
            turncoat_cover::past::journal::boot_lines(&cover, &Below(&ground.image), &kmsg::lines(&cover));
        self.world.reboot(boot);
        if let Some(life) = &mut self.life {
            life.booted(&cover, now);
        }
        self.world.log(&log);
        let _ = self.world.daemon_log();
        self.world.init_listens();
        self.streams
            .booted(streams::serve_ssh(&mut self.world, &cover.ssh_ports()));
        if cover.telnet {
            let _ = self
                .world
                .inetd_listen("telnet", std::net::SocketAddr::from(([0, 0, 0, 0], 23)));
        }
        self.accounts = Arc::new(accounts::read(&mut self.world).after(&self.accounts));
        (self.away, self.leaves, self.said) = (None, None, false);
        let up = kinds::WorldUp {
            booted: Time(booted.saturating_mul(1_000_000_000)),
            after: after.into(),
        };
        self.told.push(up.into());
        self.jobs
            .read(&mut self.world, &ground.known, now, &cover.host.zone);
        self.jobs
            .boot(&mut self.world, &ground.known, now, &mut self.told);
    }

    /// The machine is down: it is away for a while.
    fn goes(&mut self, ground: &Ground, now: Time) -> Time {
        let until = self.up_at(ground, now);
        self.away = Some(until);
        until
    }

    /// When a machine that goes down now is up again.
    fn up_at(&self, ground: &Ground, now: Time) -> Time {
        let how = self.world.told_to_go().unwrap_or(Down::Reboot);
        let seconds = away(ground, how, self.world.boots());
        now.plus_nanos(i64::try_from(seconds).unwrap_or(60) * 1_000_000_000)
    }

    /// The world goes on living as a machine of this cover.
    pub fn living(self, life: Life) -> KernelGuest {
        KernelGuest {
            life: Some(life),
            ..self
        }
    }

    /// The world, for whoever looks into it: a rerun that traces it.
    pub fn world(&mut self) -> &mut World {
        &mut self.world
    }
}

/// Terminal modes as sent (RFC 4254 section 8): opcodes 1 to 159 with a 32-bit argument, ended by 0.
fn modes(encoded: &[u8]) -> Vec<(u8, u32)> {
    let mut out = Vec::new();
    let mut rest = encoded;
    while let [op @ 1..=159, a, b, c, d, more @ ..] = rest {
        if out.len() >= 256 {
            break;
        }
        out.push((*op, u32::from_be_bytes([*a, *b, *c, *d])));
        rest = more;
    }
    out
}

impl KernelGuest {
    /// Keeps the content of a file that somebody's login wrote. Gives its hash.
    fn keep(&mut self, f: &Stamped, out: &mut Vec<Produced>) -> Option<Sha256> {
        let Fact::File {
            change: ChangeKind::Written,
            path,
            size,
            ..
        } = &f.fact
        else {
            return None;
        };
        if f.conn.is_none() || *size == 0 || *size > LARGEST || self.kept.len() >= KEEP_FILES || own(path) {
            return None;
        }
        let content = self.world.read_file(path)?;
        let sha256 = Sha256(sha2::Sha256::digest(&content).into());
        if !self.kept.contains(&sha256) {
            self.room = self.room.checked_sub(content.len())?;
            self.kept.insert(sha256);
            let event = kinds::FileArtifact {
                path: Bytes(path.clone()),
                sha256,
                size: content.len() as u64,
                kept: content.len() as u64,
                how: "written".into(),
                url: None,
            };
            out.push(Produced::Artifact { sha256, content });
            out.push(Produced::Event {
                conn: f.conn.map(|c| Conn(c.0)),
                kind: Box::new(event.into()),
            });
        }
        Some(sha256)
    }
}

impl KernelGuest {
    /// User and group of an account.
    fn ids(&self, user: &[u8]) -> Option<(u32, u32)> {
        self.accounts.get(user).map(|a| (a.uid, a.gid))
    }

    /// Reads the accounts again, and tells what a program did to them.
    fn accounts_changed(&mut self, conn: Option<Conn>, pid: u32, out: &mut Vec<Produced>) {
        let now = accounts::read(&mut self.world).after(&self.accounts);
        for change in now.changes(&self.accounts) {
            let event = kinds::UserChange {
                user: Bytes(change.user),
                change: change.what.into(),
                detail: change.detail,
                pid: Some(pid),
            };
            out.push(Produced::Event {
                conn,
                kind: Box::new(event.into()),
            });
        }
        if now != *self.accounts {
            self.accounts = Arc::new(now);
        }
    }
}

/// What of a number of 32 bits a terminal keeps (pty_change_window_size in sshpty.c).
fn short(n: u32) -> u16 {
    (n & 0xffff) as u16
}

/// A signal's name (sig2name in session.c): those of RFC 4254 section 6.10; no other one has a name.
fn signal_name(sig: u8) -> String {
    match sig {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        8 => "FPE",
        9 => "KILL",
        10 => "USR1",
        11 => "SEGV",
        12 => "USR2",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        _ => "SIG@openssh.com",
    }
    .into()
}

impl Guest for KernelGuest {
    fn open(&mut self, o: &Open) -> Result<Conn, String> {
        if self.world.going_down() {
            return Err("the machine is down".into());
        }
        let command = match &o.program {
            Program::Shell => None,
            Program::Command(c) => Some(c.clone()),
            Program::Subsystem(name) if name == b"sftp" => Some(SFTP.to_vec()),
            Program::Subsystem(_) => return Err("no such subsystem".into()),
            Program::Service(name) => {
                let made = self.world.serve(name, o.peer, o.local);
                return made.map(|c| Conn(c.0)).map_err(|e| e.name().to_string());
            }
        };
        let greet = command.is_none();
        let open = KernelOpen {
            user: o.user.clone(),
            account: None,
            env: o.env.clone(),
            term: o.terminal.as_ref().map(|t| Term {
                name: t.term.clone(),
                rows: short(t.rows),
                cols: short(t.columns),
                xpixel: short(t.pixels.0),
                ypixel: short(t.pixels.1),
                modes: modes(&t.modes),
            }),
            command,
            peer: o.peer,
            local: o.local,
            greet,
            method: o.method.to_string(),
            sshd: o.sshd,
        };
        self.world
            .open(open)
            .map(|c| Conn(c.0))
            .map_err(|e| e.name().to_string())
    }

    fn refused(&mut self, refused: &[Refused], now: Time) {
        if let (Some(life), None) = (&mut self.life, self.away) {
            life.hear(&mut self.world, refused, now, !self.jobs.nightly());
        }
    }

    fn connect(&mut self, user: &[u8], to: &Target) -> Result<Conn, NotConnected> {
        if self.world.going_down() {
            return Err(NotConnected::Down);
        }
        let who = self.ids(user).ok_or(NotConnected::Down)?;
        self.streams.connect(&mut self.world, to, who)
    }

    fn listen(&mut self, user: &[u8], door: &Door) -> Option<Opened> {
        if self.world.going_down() {
            return None;
        }
        let who = self.ids(user)?;
        self.streams.listen(&mut self.world, door, who)
    }

    fn hold(&mut self, conn: Conn, on: bool) -> bool {
        if Streams::has(conn) {
            return self.streams.hold(conn, on);
        }
        self.world.pause(turncoat_kernel::Conn(conn.0), on);
        true
    }

    fn unlisten(&mut self, id: u32) {
        self.streams.unlisten(&mut self.world, id);
    }

    fn input(&mut self, conn: Conn, input: Input) {
        if Streams::has(conn) {
            match input {
                Input::Data(b) => self.streams.data(&mut self.world, conn, &b),
                Input::Eof | Input::Hangup => self.streams.eof(&mut self.world, conn),
                Input::Close => self.streams.close(&mut self.world, conn),
                Input::Resize(..) | Input::Signal(_) | Input::Answer { .. } => {}
            }
            return;
        }
        let input = match input {
            Input::Data(b) => KernelInput::Data(b),
            Input::Eof => KernelInput::Eof,
            Input::Resize(cols, rows, (x, y)) => KernelInput::Resize {
                rows: short(rows),
                cols: short(cols),
                xpixel: short(x),
                ypixel: short(y),
            },
            Input::Signal(name) => KernelInput::Signal(name.into_bytes()),
            Input::Hangup => KernelInput::Hangup,
            Input::Close => KernelInput::Close,
            Input::Answer { spoil } => KernelInput::Answer { spoil },
        };
        self.world.input(turncoat_kernel::Conn(conn.0), input);
    }

    fn room(&self, conn: Conn) -> usize {
        if Streams::has(conn) {
            return self.streams.room(conn);
        }
        self.world.room(turncoat_kernel::Conn(conn.0))
    }

    fn set_password(&mut self, user: &[u8], hash: &str) {
        self.world.set_password(user, hash.as_bytes());
        Arc::make_mut(&mut self.accounts).given(user, hash);
    }

    fn add_key(&mut self, user: &[u8], line: &[u8]) {
        let Some(a) = self.accounts.get(user) else { return };
        let dir = [&a.home[..], b"/.ssh"].concat();
        let owner = (a.uid, a.gid);
        self.world.add_line(&dir, b"authorized_keys", line, owner);
        self.accounts = Arc::new(accounts::read(&mut self.world).after(&self.accounts));
    }

    fn accounts(&self) -> Arc<Accounts> {
        self.accounts.clone()
    }

    fn run(&mut self, budget: u64, now: Time) -> Wants {
        let ground = self.ground.clone();
        if let (Some(until), Some(ground)) = (self.away, &ground) {
            if now < until {
                return Wants::Sleep(Some(until));
            }
            let booted = now.seconds() - boot_takes(ground, self.world.boots());
            self.boot(ground, booted, now, "reboot");
        }
        if let Some(life) = &mut self.life {
            life.tell(&mut self.world, now, !self.jobs.nightly());
        }
        if let Some(ground) = &ground {
            let zone = &ground.cover.host.zone;
            self.jobs.fire(&mut self.world, now, zone, &mut self.told);
        }
        let slice = self.world.run(budget, now.0.max(0) as u64);
        if self.world.sshd_is_back()
            && let Some(ground) = &ground
        {
            let ports = ground.cover.ssh_ports();
            let listening = streams::serve_ssh(&mut self.world, &ports);
            self.streams.sshd(listening);
        }
        let moved = self.streams.step(&mut self.world);
        if let Some(ground) = &ground
            && self.leaves.is_none()
            && self.world.going_down()
        {
            self.leaves = Some(self.up_at(ground, now));
        }
        if let Some(ground) = &ground
            && self.world.happened(|f| ground.known.touched_by(f))
        {
            let zone = &ground.cover.host.zone;
            self.jobs.read(&mut self.world, &ground.known, now, zone);
        }
        match slice {
            Slice::Busy => Wants::Run,
            Slice::Idle { .. } if moved => Wants::Run,
            Slice::Idle { wake_at } => {
                let wake = wake_at.map(|t| Time(i64::try_from(t).unwrap_or(i64::MAX)));
                Wants::Sleep(wake.into_iter().chain(self.jobs.due()).min())
            }
            Slice::Dead => match ground {
                Some(ground) => Wants::Sleep(Some(self.goes(&ground, now))),
                None => Wants::Dead,
            },
        }
    }

    fn away(&self) -> Option<Time> {
        self.away.or(self.leaves)
    }

    fn disk(&mut self) -> Option<Vec<u8>> {
        let ground = self.ground.clone()?;
        self.world.disk(&ground.base)
    }

    fn restore(&mut self, disk: &[u8], now: Time) -> Result<(), BadDisk> {
        let ground = self
            .ground
            .clone()
            .ok_or(BadDisk("there is nothing to lay it on"))?;
        self.world.restore(disk)?;
        // It had been up for a while when somebody came.
        let up = ground
            .cover
            .stream(&format!("up again {}", now.seconds() / 3600))
            .range(150, 1_500);
        self.world.crash();
        self.boot(&ground, now.seconds() - up, now, "disk");
        Ok(())
    }

    fn retired(&self) -> u64 {
        self.world.retired()
    }

    fn freeze(&mut self, most: usize) -> Option<Vec<u8>> {
        self.write(most)
    }

    fn thaw(&mut self, frozen: &[u8]) -> Result<(), turncoat_freeze::Damaged> {
        self.read(frozen)
    }

    fn rest(&mut self) {
        self.world.rest();
    }

    fn drain(&mut self, out: &mut Vec<Produced>) {
        let (outputs, facts) = self.world.drain();
        let changer = facts.iter().rev().find(|f| accounts::touches(&f.fact));
        let changer = changer.map(|f| (f.conn.map(|c| Conn(c.0)), f.pid));
        for f in facts {
            let conn = f.conn.map(|c| Conn(c.0));
            let kept = self.keep(&f, out);
            let boots = self.world.boots();
            let seconds = |how| self.ground.as_ref().map_or(0, |g| away(g, how, boots));
            for mut kind in events::kinds(f, seconds) {
                if let (Kind::FileWrite(w), Some(_)) = (&mut kind, kept) {
                    w.sha256 = kept;
                }
                out.push(Produced::Event {
                    conn,
                    kind: Box::new(kind),
                });
            }
        }
        if let Some((conn, pid)) = changer {
            self.accounts_changed(conn, pid, out);
        }
        for kind in self.told.drain(..) {
            out.push(Produced::Event {
                conn: None,
                kind: Box::new(kind),
            });
        }
        self.streams.drain(out);
        for o in outputs {
            let conn = Conn(o.conn.0);
            out.push(match o.out {
                Out::Data { stderr, bytes } => Produced::Data { conn, stderr, bytes },
                Out::Eof => Produced::Eof { conn },
                Out::Exit { status } => Produced::Exit {
                    conn,
                    status: status.into(),
                },
                Out::Signal { sig, core } => Produced::Killed {
                    conn,
                    signal: signal_name(sig),
                    core,
                },
                Out::Secret { user, secret } => Produced::Secret { conn, user, secret },
                Out::Entered => Produced::Entered { conn },
                Out::Close => continue,
            });
        }
        if self.ground.is_some() && self.world.going_down() && !std::mem::replace(&mut self.said, true) {
            out.push(Produced::Down);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn modes_end_at_zero_and_at_what_is_cut() {
        assert_eq!(
            super::modes(&[53, 0, 0, 0, 1, 128, 0, 0, 0x96, 0, 0]),
            vec![(53, 1), (128, 0x9600)]
        );
        assert_eq!(super::modes(&[53, 0, 0]), vec![]);
        assert_eq!(super::modes(&[]), vec![]);
    }
}
