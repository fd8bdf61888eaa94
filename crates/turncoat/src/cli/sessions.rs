//! `turncoat sessions` and `turncoat show`.

use turncoat_store::{Filter, Reader, SessionRow, Source};

use super::{Context, moment, print};
use crate::process::out::mask;
use crate::show;

#[derive(clap::Args)]
pub struct ListArgs {
    /// Only those that are open
    #[arg(long)]
    open: bool,
    /// Only from this address or network
    #[arg(long, value_name = "SOURCE")]
    source: Option<Source>,
    /// Only with this decoy
    #[arg(long)]
    decoy: Option<String>,
    /// Only those in which these words were typed or named
    #[arg(long, value_name = "WORDS")]
    text: Option<String>,
    /// Only from this time on (UTC), or so long ago, such as 2h or 7d
    #[arg(long, value_parser = moment, value_name = "TIME")]
    since: Option<turncoat_event::Time>,
    /// The most to list
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct ShowArgs {
    /// The session's id, or the beginning or end of it, or `last`
    session: String,
    /// One JSON object a line: the session, then its events
    #[arg(long)]
    json: bool,
}

pub fn list(context: &Context, args: &ListArgs) -> Result<(), String> {
    let reader = context.reader()?;
    let filter = Filter {
        source: args.source,
        decoy: args.decoy.clone(),
        text: args.text.clone(),
        since: args.since,
        ..Filter::default()
    };
    let networks = crate::understand::networks(&context.settings()?)?;
    let rows = reader
        .sessions(&filter, args.open, args.limit)
        .map_err(|e| e.to_string())?;
    if args.json {
        return rows
            .iter()
            .try_for_each(|row| print(&serde_json::to_string(row).map_err(|e| e.to_string())?));
    }
    if rows.is_empty() {
        return print("no sessions");
    }
    print(&format!(
        "{:8}  {:19}  {:>8}  {:15}  {:6}  {:12}  {:>5}  {:>8}  {:>9}  {}",
        "session",
        "opened (UTC)",
        "lasted",
        "source",
        "decoy",
        "user",
        "tries",
        "commands",
        "artifacts",
        "end"
    ))?;
    for row in rows {
        let id = row.session.to_string();
        let user = row
            .user
            .as_ref()
            .map(|u| show::bytes(u.as_slice()))
            .unwrap_or_else(|| "-".into());
        let network = row.src_ip.map(|a| networks.of(a).to_string()).unwrap_or_default();
        let line = format!(
            "{:8}  {}  {:>8}  {:15}  {:6}  {:12}  {:>5}  {:>8}  {:>9}  {:10}  {network}",
            id.get(28..).unwrap_or(&id),
            show::time(row.opened),
            lasted(&row),
            row.src_ip.map(|a| a.to_string()).unwrap_or_default(),
            show::line(row.decoy.as_deref().unwrap_or("-")),
            show::short(&user, 12),
            row.attempts,
            row.commands,
            row.artifacts,
            show::line(row.reason.as_deref().unwrap_or("open")),
        );
        print(show::line(&line).trim_end())?;
    }
    Ok(())
}

fn lasted(row: &SessionRow) -> String {
    let until = row.closed.unwrap_or_else(crate::process::now);
    let seconds = until.since(row.opened).max(0) / 1_000_000_000;
    match seconds {
        0..=99 => format!("{seconds}s"),
        100..=5999 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3600),
    }
}

/// The session that the operator means.
///
/// # Errors
/// One line when there is none, or several.
pub fn find(reader: &Reader, named: &str) -> Result<SessionRow, String> {
    let tell = |e: turncoat_store::StoreError| e.to_string();
    let found = if named == "last" {
        reader.sessions(&Filter::default(), false, 1).map_err(tell)?
    } else {
        reader.sessions_named(named).map_err(tell)?
    };
    let count = found.len();
    match found.into_iter().next() {
        None => Err(format!(
            "there is no session {}; `turncoat sessions` lists them",
            show::line(named)
        )),
        Some(row) if count == 1 => Ok(row),
        Some(_) => Err(format!(
            "{} names {count} sessions; give more of the id",
            show::line(named)
        )),
    }
}

pub fn show(context: &Context, args: &ShowArgs) -> Result<(), String> {
    let settings = context.settings()?;
    let reader = context.reader()?;
    let row = find(&reader, &args.session)?;
    if args.json {
        print(&serde_json::to_string(&row).map_err(|e| e.to_string())?)?;
    } else {
        print(&format!("session   {}", row.session))?;
        let place = |ip: Option<std::net::IpAddr>, port: Option<u16>| match (ip, port) {
            (Some(ip), Some(port)) => std::net::SocketAddr::new(ip, port).to_string(),
            (Some(ip), None) => ip.to_string(),
            _ => "-".into(),
        };
        print(&format!("source    {}", place(row.src_ip, row.src_port)))?;
        print(&format!(
            "decoy     {} at {}",
            show::line(row.decoy.as_deref().unwrap_or("-")),
            place(row.dst_ip, row.dst_port)
        ))?;
        if let Some(client) = &row.client {
            print(&format!("client    {}", show::bytes(client.as_slice())))?;
        }
        print(&format!(
            "time      {} UTC, {}",
            show::time(row.opened),
            lasted(&row)
        ))?;
        print(&format!("recorded  {}", show::size(row.recorded)))?;
        for sha in reader.artifacts_of(row.session).map_err(|e| e.to_string())? {
            print(&format!("artifact  {sha}"))?;
        }
        print("")?;
    }
    let mut after = 0;
    loop {
        let filter = Filter {
            session: Some(row.session),
            after: Some(after),
            ..Filter::default()
        };
        let (events, cursor) = reader.events(&filter, 1000).map_err(|e| e.to_string())?;
        for mut event in events {
            mask(&mut event, &settings);
            if args.json {
                print(&serde_json::to_string(&event).map_err(|e| e.to_string())?)?;
            } else {
                print(&format!(
                    "{} {:18} {}",
                    show::time(event.time),
                    event.kind.name(),
                    show::fields(&event.kind)
                ))?;
            }
        }
        if cursor <= after || cursor >= row.last_seq {
            return Ok(());
        }
        after = cursor;
    }
}
