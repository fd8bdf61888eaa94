//! `turncoat export`: JSON lines, CSV, asciicast.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use turncoat_event::Event;
use turncoat_intel::networks::Networks;
use turncoat_store::recording::asciicast;
use turncoat_store::{Filter, Source};

use super::{Context, events, moment, output_error, sessions};
use crate::process::out::mask;

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    /// One JSON object a line, as in docs/events.md
    Jsonl,
    /// Cowrie's JSON lines
    Cowrie,
    /// Comma-separated values; what a spreadsheet would take for a formula is quoted
    Csv,
    /// A session's recording, for terminal players
    Asciicast,
}

#[derive(clap::Args)]
pub struct Args {
    /// As what
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
    /// Where to; default: standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only this session's: its id, or the beginning or end of it, or `last`
    #[arg(long)]
    session: Option<String>,
    /// Only from this address or network
    #[arg(long, value_name = "SOURCE")]
    source: Option<Source>,
    /// Only of this kind, or a group of them, such as auth. (may be given again)
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Only from this time on (UTC), or so long ago
    #[arg(long, value_parser = moment, value_name = "TIME")]
    since: Option<turncoat_event::Time>,
    /// Only before this time (UTC), or so long ago
    #[arg(long, value_parser = moment, value_name = "TIME")]
    until: Option<turncoat_event::Time>,
    /// Also what the intruder typed (asciicast): it may hold passwords
    #[arg(long)]
    input: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<(), String> {
    let settings = context.settings()?;
    events::check_kinds(&args.kinds)?;
    let networks = crate::understand::networks(&settings)?;
    let reader = context.reader()?;
    let row = args
        .session
        .as_deref()
        .map(|s| sessions::find(&reader, s))
        .transpose()?;
    let mut to: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(BufWriter::new(
            File::create(path).map_err(|e| format!("{}: {e}", path.display()))?,
        )),
        None => Box::new(BufWriter::new(std::io::stdout().lock())),
    };
    if args.format == Format::Asciicast {
        let row = row.ok_or("asciicast is the recording of one session: name it with --session")?;
        let frames = reader
            .recording(row.session)
            .map_err(|e| e.to_string())?
            .ok_or("this session has no recording")?;
        asciicast(
            frames,
            0,
            args.input,
            &format!("session {}", row.session),
            &mut to,
        )
        .map_err(output_error)?;
        return to.flush().map_err(output_error);
    }
    if args.format == Format::Csv {
        writeln!(
            to,
            "seq,time,sensor,event,session,src_ip,src_port,dst_ip,dst_port,decoy,detail,src_country,src_asn,src_holder"
        )
        .map_err(output_error)?;
    }
    let mut filter = Filter {
        session: row.map(|r| r.session),
        source: args.source,
        kinds: args.kinds.clone(),
        since: args.since,
        until: args.until,
        ..Filter::default()
    };
    let end = reader.last_seq().map_err(|e| e.to_string())?;
    let mut after = 0;
    while after < end {
        filter.after = Some(after);
        let (events, cursor) = reader.events(&filter, 1000).map_err(|e| e.to_string())?;
        for mut event in events {
            mask(&mut event, &settings);
            let line = match args.format {
                Format::Csv => Some(csv(&event, &networks)),
                Format::Jsonl if !networks.is_empty() => Some(placed(&event, &networks)?),
                Format::Cowrie => crate::output::cowrie::translate(&event).map(|v| v.to_string()),
                _ => Some(serde_json::to_string(&event).map_err(|e| e.to_string())?),
            };
            if let Some(line) = line {
                writeln!(to, "{line}").map_err(output_error)?;
            }
        }
        if cursor <= after {
            break;
        }
        after = cursor;
    }
    to.flush().map_err(output_error)
}

/// An event as JSON with what is known of its source's network beside it.
fn placed(event: &Event, networks: &Networks) -> Result<String, String> {
    let mut v = serde_json::to_value(event).map_err(|e| e.to_string())?;
    let network = event.origin.src_ip.map(|a| networks.of(a)).unwrap_or_default();
    if let (Some(v), false) = (v.as_object_mut(), network.is_empty()) {
        v.insert("src_country".into(), network.country.into());
        v.insert("src_asn".into(), network.asn.into());
        v.insert("src_holder".into(), network.holder.into());
    }
    Ok(v.to_string())
}

fn csv(event: &Event, networks: &Networks) -> String {
    let o = &event.origin;
    let network = o.src_ip.map(|a| networks.of(a)).unwrap_or_default();
    let text = |it: Option<String>| it.unwrap_or_default();
    let cells = [
        event.seq.to_string(),
        event.time.to_string(),
        event.sensor.to_string(),
        event.kind.name().to_owned(),
        text(o.session.map(|s| s.to_string())),
        text(o.src_ip.map(|s| s.to_string())),
        text(o.src_port.map(|s| s.to_string())),
        text(o.dst_ip.map(|s| s.to_string())),
        text(o.dst_port.map(|s| s.to_string())),
        text(o.decoy.clone()),
        crate::show::fields(&event.kind),
        text(network.country),
        text(network.asn.map(|n| n.to_string())),
        text(network.holder),
    ];
    cells.iter().map(|c| cell(c)).collect::<Vec<_>>().join(",")
}

/// One cell: quoted where it must be; a leading sign that a spreadsheet would calculate with gets an apostrophe before it.
fn cell(text: &str) -> String {
    let text = crate::show::line(text);
    let formula = text.starts_with(['=', '+', '-', '@']);
    let guarded = if formula {
        format!("'{text}")
    } else {
        text.into_owned()
    };
    if formula || guarded.contains([',', '"']) {
        format!("\"{}\"", guarded.replace('"', "\"\""))
    } else {
        guarded
    }
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn cells_hold_what_they_are_given_and_calculate_nothing() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(cell("=cmd|' /C calc'!A0"), "\"'=cmd|' /C calc'!A0\"");
        assert_eq!(cell("two\nlines"), "two\\nlines");
    }
}
