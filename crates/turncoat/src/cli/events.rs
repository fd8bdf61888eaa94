//! `turncoat events`.

use std::time::Duration;

use turncoat_event::SessionId;
use turncoat_store::{Filter, Source};

use super::{Context, moment, print, sessions};
use crate::process::out::mask;
use crate::show;

#[derive(clap::Args)]
pub struct Args {
    /// Go on and show events as they come
    #[arg(long, short)]
    follow: bool,
    /// Only this session's: its id, or the beginning or end of it, or `last`
    #[arg(long)]
    session: Option<String>,
    /// Only from this address or network
    #[arg(long, value_name = "SOURCE")]
    source: Option<Source>,
    /// Only of this kind, such as auth.attempt, or a group of them, such as auth. (may be given again)
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Only with this decoy
    #[arg(long)]
    decoy: Option<String>,
    /// Only where these words were typed or named
    #[arg(long, value_name = "WORDS")]
    text: Option<String>,
    /// Only from this time on (UTC), or so long ago, such as 2h or 7d
    #[arg(long, value_parser = moment, value_name = "TIME")]
    since: Option<turncoat_event::Time>,
    /// Only before this time (UTC), or so long ago
    #[arg(long, value_parser = moment, value_name = "TIME")]
    until: Option<turncoat_event::Time>,
    /// The most to list; the newest are listed
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Refuses kinds that do not exist.
pub fn check_kinds(kinds: &[String]) -> Result<(), String> {
    for kind in kinds {
        let known = turncoat_event::Kind::NAMES
            .iter()
            .any(|n| n == kind || (kind.ends_with('.') && n.starts_with(kind.as_str())));
        if !known {
            return Err(format!(
                "there is no event kind {}; docs/events.md lists them",
                show::line(kind)
            ));
        }
    }
    Ok(())
}

pub fn run(context: &Context, args: &Args) -> Result<(), String> {
    let settings = context.settings()?;
    check_kinds(&args.kinds)?;
    let reader = context.reader()?;
    let session: Option<SessionId> = args
        .session
        .as_deref()
        .map(|s| sessions::find(&reader, s))
        .transpose()?
        .map(|row| row.session);
    let mut filter = Filter {
        session,
        source: args.source,
        kinds: args.kinds.clone(),
        decoy: args.decoy.clone(),
        text: args.text.clone(),
        since: args.since,
        until: args.until,
        newest_first: true,
        ..Filter::default()
    };
    let one = |mut event: turncoat_event::Event| -> Result<(), String> {
        mask(&mut event, &settings);
        if args.json {
            print(&serde_json::to_string(&event).map_err(|e| e.to_string())?)
        } else {
            print(&show::event(&event))
        }
    };
    let newest = reader.last_seq().map_err(|e| e.to_string())?;
    filter.before = Some(newest + 1);
    let (mut events, _) = reader.events(&filter, args.limit).map_err(|e| e.to_string())?;
    events.reverse();
    events.into_iter().try_for_each(one)?;
    if !args.follow {
        return Ok(());
    }
    filter.newest_first = false;
    filter.before = None;
    let mut after = newest;
    loop {
        std::thread::sleep(Duration::from_millis(100));
        filter.after = Some(after);
        let (events, cursor) = reader.events(&filter, 1000).map_err(|e| e.to_string())?;
        events.into_iter().try_for_each(one)?;
        after = after.max(cursor);
    }
}
