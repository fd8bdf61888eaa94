//! `turncoat world rerun`: runs a recorded session's world again from its journal, and compares.
//!
//! The world starts from the same image, cover and entropy, gets the same inputs at the same instructions, and so does what it did
//! then. Where a checkpoint stands in the journal before the session began, it starts there. What comes out is compared with the digests that the journal holds, and with the session's recording byte by byte.

use std::collections::BTreeMap;
use std::io::Write;

use turncoat_decoys::boot::{KernelGuest, Snapshot};
use turncoat_decoys::journal::{Checkpoint, Ended, Entry, Reader, Report, Rerun, Step, lives};
use turncoat_decoys::worlds::{Conn, Produced};
use turncoat_event::{Direction, SessionId};
use turncoat_store::journal;
use turncoat_store::world::{checkpoint, checkpoints};

use super::replay::TerminalFilter;
use super::{Context, output_error, sessions};

#[derive(clap::Args)]
pub struct Args {
    /// The session's id, or the beginning or end of it, or `last`
    session: String,
    /// Print the system calls of the session's time on standard error
    #[arg(long)]
    strace: bool,
    /// Print what the session showed, as `replay --speed 0` does
    #[arg(long)]
    output: bool,
    /// Run the world from its birth, also where a checkpoint stands nearer to the session
    #[arg(long)]
    whole: bool,
}

/// What a session showed in the rerun, by channel.
#[derive(Default)]
struct Shown {
    session: Option<SessionId>,
    channels: BTreeMap<Conn, u16>,
    bytes: BTreeMap<u16, Vec<u8>>,
    begun: bool,
}

impl Shown {
    fn see(&mut self, step: &Step<'_>) {
        match step {
            Step::Opened {
                session,
                channel,
                conn: Some(conn),
            } if *session == self.session => {
                self.begun = true;
                self.channels.insert(*conn, *channel);
            }
            Step::Opened { .. } => {}
            Step::Made { all, .. } => {
                for p in *all {
                    if let Produced::Data { conn, bytes, .. } = p
                        && let Some(channel) = self.channels.get(conn)
                    {
                        self.bytes.entry(*channel).or_default().extend_from_slice(bytes);
                    }
                }
            }
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// One line for the operator: why the world cannot be run again, or where the run is another.
pub fn run(context: &Context, args: &Args) -> Result<(), String> {
    let reader = context.reader()?;
    let row = sessions::find(&reader, &args.session)?;
    let world = row.world.ok_or("this session met no world")?;
    let bytes = journal::read(&context.layout, world)
        .map_err(|e| e.to_string())?
        .ok_or("its world has no journal (any more): it went with limits.journal = 0, by age, or when the source became a pseudonym")?;
    let place = Place::of(&bytes, row.session);
    let life = bytes.get(place.life..).unwrap_or_default();
    let entries = Reader::new(life).map_err(|e| e.to_string())?;
    let birth = entries.birth().clone();
    let (cover, image) = super::world::machine(context, true)?;
    let mut snapshot = Snapshot::boot_again(&cover, image, &birth)
        .map_err(|why| format!("this world cannot be run again: {why}"))?;
    let mut shown = Shown {
        session: Some(row.session),
        ..Shown::default()
    };
    let mut rerun = Rerun::new(entries, snapshot.guest(birth.seed));
    let checkpoints = checkpoints(&context.layout, world);
    let near = checkpoints
        .into_iter()
        .rev()
        .filter(|(at, _)| !args.whole && place.between(*at));
    let mut began = "at the world's birth".to_owned();
    for (at, path) in near {
        let read = checkpoint(&path).map_err(|e| e.to_string());
        let begun = read
            .and_then(|bytes| Checkpoint::unpack(&bytes))
            .and_then(|c| rerun.begin_at(&c, place.life as u64));
        match begun {
            Ok(()) => {
                began = format!("at the checkpoint {at} bytes into its journal");
                break;
            }
            Err(why) => super::print(&format!("passed    {at} bytes into its journal: {why}"))?,
        }
    }
    super::print(&format!("began     {began}"))?;
    let report = rerun.run(&mut |step, guest: &mut KernelGuest| {
        let before = shown.begun;
        shown.see(&step);
        if args.strace && shown.begun {
            if !before {
                guest.world().set_trace(true);
            }
            for line in guest.world().take_trace() {
                eprintln!("{}", crate::show::line(&line));
            }
        }
    });
    if args.output {
        let mut out = std::io::stdout().lock();
        for bytes in shown.bytes.values() {
            out.write_all(&TerminalFilter::default().pass(bytes))
                .map_err(output_error)?;
        }
    }
    told(&report, &world.to_string())?;
    let compared = compare(&reader, row.session, &shown)?;
    super::print(&format!("the session's recording is the same: {compared} bytes"))
}

/// Where a session began in its world's journal.
struct Place {
    /// Where the life begins in which it logged in; the first, if it did in none.
    life: usize,
    /// Where its first login stands.
    login: usize,
}

impl Place {
    fn of(journal: &[u8], session: SessionId) -> Place {
        let opens = |life: usize| {
            let mut reader = Reader::new(journal.get(life..).unwrap_or_default()).ok()?;
            loop {
                let login = life + reader.position();
                match reader.next_entry() {
                    Ok(Some(Entry::Open { session: Some(s), .. })) if s == session => {
                        return Some(Place { life, login });
                    }
                    Ok(Some(_)) => {}
                    _ => return None,
                }
            }
        };
        let place = lives(journal).into_iter().find_map(opens);
        place.unwrap_or(Place { life: 0, login: 0 })
    }

    /// Whether the run may begin at this byte of the journal.
    fn between(&self, at: u64) -> bool {
        (self.life as u64..=self.login as u64).contains(&at)
    }
}

/// Says how the run went.
fn told(report: &Report, world: &str) -> Result<(), String> {
    let digest: String = report.digest.iter().map(|b| format!("{b:02x}")).collect();
    match &report.ended {
        Ended::Whole | Ended::Full => {}
        Ended::Diverged { recorded, here } => {
            return Err(format!(
                "the run is another: at instruction {here} (recorded: {recorded}) the world {world} had made something else"
            ));
        }
        Ended::Cut => {
            return Err("what lies before the oldest checkpoint of this world was dropped when its journal grew beyond half of limits.journal: a session that began before that cannot be run again".into());
        }
        Ended::Damaged(why) => return Err(why.to_string()),
    }
    super::print(&format!(
        "world     {world}\ninputs    {}\nran       {} instructions\nmade      {} events and pieces of output, digest {digest}\ncompared  {} seals of the journal, all the same",
        report.inputs, report.retired, report.made, report.seals
    ))?;
    if report.ended == Ended::Full {
        super::print("the journal reached limits.journal here: what followed cannot be run again")?;
    }
    Ok(())
}

/// Compares what the session showed with its recording. What the record has may be shorter: what was never committed was never shown.
fn compare(reader: &turncoat_store::Reader, session: SessionId, shown: &Shown) -> Result<u64, String> {
    let mut recorded: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    for frame in reader
        .recording(session)
        .map_err(|e| e.to_string())?
        .into_iter()
        .flatten()
    {
        // Frames that the decoy itself made (commands, refusals) are on channels without a login.
        if frame.direction == Direction::Output && shown.bytes.contains_key(&frame.channel) {
            recorded.entry(frame.channel).or_default().extend(frame.bytes);
        }
    }
    let mut total = 0;
    for (channel, bytes) in &recorded {
        let here = shown.bytes.get(channel).map_or(&[][..], |b| b);
        if !here.starts_with(bytes) {
            let at = here.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            let some = |all: &[u8]| {
                let rest = all.get(at..).unwrap_or_default();
                crate::show::bytes(rest.get(..40).unwrap_or(rest))
            };
            return Err(format!(
                "the run is another: channel {channel} of the recording differs at byte {at}: recorded {:?}, here {:?}",
                some(bytes),
                some(here)
            ));
        }
        total += bytes.len() as u64;
    }
    Ok(total)
}
