//! The table of routes: path, whom it answers, what it takes and gives, and who serves it. The dispatch, `docs/openapi.json` and the table
//! in `docs/console.md` come from it.

use std::sync::Arc;

use hyper::Method;
use turncoat_store::Reader;

use crate::call::{Call, decode};
use crate::guard::Access;
use crate::reply::{Refusal, Reply};
use crate::server::Console;
use crate::{api, assets, live, metrics, pages};

/// A field of a query or a form.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
}

/// What a route gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// A page.
    Page,
    /// JSON of this shape (a name in [`crate::shapes`]).
    Json(&'static str),
    /// A text of this content type.
    Text(&'static str),
    /// Bytes to be kept.
    Download(&'static str),
    /// Server-sent events.
    Stream,
    /// One of our own files.
    Asset,
    /// It does something, and leads on.
    Goto,
}

impl Gives {
    /// A page, for which whoever is not logged in is led to the login.
    pub fn is_page(self) -> bool {
        self == Gives::Page
    }
}

/// Who serves a route.
#[derive(Clone, Copy)]
pub enum Serve {
    /// Without the record.
    Plain(fn(&Arc<Console>, &Call) -> Result<Reply, Refusal>),
    /// With a reader of the record.
    Read(fn(&Arc<Console>, &Reader, &Call) -> Result<Reply, Refusal>),
    /// On the waiting thread: begins a stream and must not block.
    Live(fn(&Arc<Console>, &Call) -> Result<Reply, Refusal>),
}

/// One route.
pub struct Route {
    /// GET (which HEAD is, too) or POST.
    pub method: Method,
    /// The path, with `{name}` for a part that differs.
    pub path: &'static str,
    /// Whom it answers.
    pub access: Access,
    /// What it is for.
    pub about: &'static str,
    /// Fields of its query, or of its form.
    pub takes: &'static [Field],
    /// What it gives.
    pub gives: Gives,
    /// Who serves it.
    pub serve: Serve,
}

type Reading = fn(&Arc<Console>, &Reader, &Call) -> Result<Reply, Refusal>;
type Doing = fn(&Arc<Console>, &Call) -> Result<Reply, Refusal>;

const fn page(path: &'static str, about: &'static str, takes: &'static [Field], serve: Reading) -> Route {
    Route {
        method: Method::GET,
        path,
        access: Access::Operator,
        about,
        takes,
        gives: Gives::Page,
        serve: Serve::Read(serve),
    }
}

const fn open(path: &'static str, about: &'static str, gives: Gives, serve: Doing) -> Route {
    Route {
        method: Method::GET,
        path,
        access: Access::Anybody,
        about,
        takes: &[],
        gives,
        serve: Serve::Plain(serve),
    }
}

const fn json(
    path: &'static str,
    about: &'static str,
    takes: &'static [Field],
    shape: &'static str,
    serve: Reading,
) -> Route {
    Route {
        method: Method::GET,
        path,
        access: Access::Token,
        about,
        takes,
        gives: Gives::Json(shape),
        serve: Serve::Read(serve),
    }
}

const fn act(
    path: &'static str,
    access: Access,
    about: &'static str,
    takes: &'static [Field],
    gives: Gives,
    serve: Doing,
) -> Route {
    Route {
        method: Method::POST,
        path,
        access,
        about,
        takes,
        gives,
        serve: Serve::Plain(serve),
    }
}

const fn stream(path: &'static str, about: &'static str, takes: &'static [Field], serve: Doing) -> Route {
    Route {
        method: Method::GET,
        path,
        access: Access::Token,
        about,
        takes,
        gives: Gives::Stream,
        serve: Serve::Live(serve),
    }
}

const fn field(name: &'static str, about: &'static str) -> Field {
    Field { name, about }
}

const CSRF: Field = field("csrf", "the login's word for forms");
const LIMIT: Field = field("limit", "at most so many");

const SEARCH: &[Field] = &[
    field(
        "q",
        "words that all must be there, and `key:value` for the fields below",
    ),
    field(
        "kind",
        "kind of event, or a beginning that ends in a dot, such as `auth.`",
    ),
    field("source", "address or network"),
    field("session", "id of a session"),
    field("decoy", "name of a decoy"),
    field("since", "a time in UTC such as 2026-11-23T12:00:00Z"),
    field("until", "a time in UTC; events before it"),
    field("before", "only events with a lower number: the next page"),
    field("after", "only events with a higher number"),
];

const SESSIONS: &[Field] = &[
    field(
        "q",
        "words that something typed or named in the session must have",
    ),
    field("source", "address or network"),
    field("decoy", "name of a decoy"),
    field("since", "a time in UTC"),
    field("until", "a time in UTC; sessions opened before it: the next page"),
    field("open", "1: only those that are open"),
    field("in", "1: only those that got in"),
];

/// All routes.
pub const ROUTES: &[Route] = &[
    page(
        "/",
        "Now: who is inside, alerts, the last day",
        &[],
        pages::now::page,
    ),
    page(
        "/campaigns",
        "Campaigns, latest first",
        &[],
        pages::campaigns::page,
    ),
    page(
        "/campaigns/{id}",
        "One campaign: links, stages, sessions, and what can be done",
        &[],
        pages::campaign::page,
    ),
    page(
        "/campaigns/{id}/report",
        "A campaign told in plain words",
        &[],
        pages::report::page,
    ),
    page(
        "/sessions",
        "Sessions, newest first",
        SESSIONS,
        pages::sessions::page,
    ),
    page(
        "/sessions/{id}",
        "One session: replay, events, programs, files, network",
        &[field("after", "events after this number")],
        pages::session::page,
    ),
    page(
        "/artifacts/{sha256}",
        "One artifact as bytes and as strings",
        &[field("at", "first byte shown")],
        pages::artifact::page,
    ),
    page(
        "/search",
        "Events that have words or fields",
        SEARCH,
        pages::search::page,
    ),
    page(
        "/decoys",
        "What listens, what it shows, how it is, what is planted",
        &[],
        pages::decoys::page,
    ),
    open("/login", "The login", Gives::Page, pages::login::page),
    open(
        "/in/{word}",
        "The door that a link opens once",
        Gives::Page,
        pages::login::door,
    ),
    act(
        "/login",
        Access::Anybody,
        "Logs in with the password",
        &[field("password", "the password")],
        Gives::Goto,
        pages::login::login,
    ),
    act(
        "/in",
        Access::Anybody,
        "Logs in with the word of a link, which works once",
        &[field("word", "the word")],
        Gives::Goto,
        pages::login::enter,
    ),
    act(
        "/logout",
        Access::Operator,
        "Ends the login",
        &[CSRF],
        Gives::Goto,
        pages::login::logout,
    ),
    act(
        "/campaigns/merge",
        Access::Operator,
        "Joins two campaigns; it stays so",
        &[CSRF, field("a", "a campaign"), field("b", "the other")],
        Gives::Goto,
        pages::campaign::merge,
    ),
    act(
        "/campaigns/{id}/split",
        Access::Operator,
        "Takes sessions out of a campaign into one of their own; it stays so",
        &[CSRF, field("session", "a session; may stand several times")],
        Gives::Goto,
        pages::campaign::split,
    ),
    act(
        "/campaigns/{id}/block",
        Access::Operator,
        "Closes the protected side to a campaign's sources",
        &[CSRF, field("for", "how long, such as 24h")],
        Gives::Goto,
        pages::campaign::block,
    ),
    act(
        "/blocks/lift",
        Access::Operator,
        "Lifts a block",
        &[
            CSRF,
            field("net", "the address or network"),
            field("back", "where to go on"),
        ],
        Gives::Goto,
        pages::campaign::lift,
    ),
    act(
        "/artifacts/{sha256}/archive",
        Access::Operator,
        "The artifact in an archive encrypted with the password `infected`",
        &[CSRF],
        Gives::Download("application/zip"),
        pages::artifact::archive,
    ),
    stream(
        "/live/events",
        "Events as they are recorded, in plain words",
        &[],
        live::events,
    ),
    stream(
        "/live/sessions/{id}",
        "A session's terminal as it is recorded",
        &[field("channel", "channel of the session, 0 for the first")],
        live::session,
    ),
    json(
        "/api/v1/now",
        "What the page Now says at its head",
        &[],
        "now",
        pages::now::json,
    ),
    json("/api/v1/status", "How the program is", &[], "status", api::status),
    json(
        "/api/v1/events",
        "Events, newest first, or oldest first with `after`",
        {
            const ALL: &[Field] = &[
                SEARCH[0], SEARCH[1], SEARCH[2], SEARCH[3], SEARCH[4], SEARCH[5], SEARCH[6], SEARCH[7],
                SEARCH[8], LIMIT,
            ];
            ALL
        },
        "events",
        api::events,
    ),
    json(
        "/api/v1/sessions",
        "Sessions, newest first",
        {
            const ALL: &[Field] = &[
                SESSIONS[0],
                SESSIONS[1],
                SESSIONS[2],
                SESSIONS[3],
                SESSIONS[4],
                SESSIONS[5],
                SESSIONS[6],
                LIMIT,
            ];
            ALL
        },
        "sessions",
        api::sessions,
    ),
    json(
        "/api/v1/sessions/{id}",
        "One session",
        &[],
        "session",
        api::session,
    ),
    json(
        "/api/v1/sessions/{id}/recording",
        "A session's recording, in pieces of at most 1 MiB",
        &[
            field("channel", "channel of the session, 0 for the first"),
            field("from", "number of the first frame; `next` of the piece before"),
        ],
        "recording",
        api::recording,
    ),
    json(
        "/api/v1/campaigns",
        "Campaigns, latest first",
        &[LIMIT],
        "campaigns",
        api::campaigns,
    ),
    json(
        "/api/v1/campaigns/{id}",
        "One campaign with its sessions, links and techniques",
        &[],
        "campaign",
        api::campaign,
    ),
    Route {
        method: Method::GET,
        path: "/api/v1/campaigns/{id}/report",
        access: Access::Token,
        about: "A campaign's report",
        takes: &[field("format", "`json` (else), `md`, `html` or `stix`")],
        gives: Gives::Download("text/markdown; text/html; application/json"),
        serve: Serve::Read(api::report),
    },
    json(
        "/api/v1/artifacts/{sha256}",
        "What is known of an artifact",
        &[],
        "artifact",
        api::artifact,
    ),
    json(
        "/api/v1/charts",
        "What the charts show",
        &[],
        "charts",
        api::charts,
    ),
    json("/api/v1/planted", "What is planted", &[], "planted", api::planted),
    json("/api/v1/blocks", "What is blocked", &[], "blocks", api::blocks),
    Route {
        method: Method::GET,
        path: "/api/v1/openapi.json",
        access: Access::Token,
        about: "This API as an OpenAPI document",
        takes: &[],
        gives: Gives::Json("openapi"),
        serve: Serve::Plain(api::openapi),
    },
    Route {
        method: Method::GET,
        path: "/metrics",
        access: Access::Metrics,
        about: "Metrics in the text form of Prometheus",
        takes: &[],
        gives: Gives::Text("text/plain; version=0.0.4"),
        serve: Serve::Read(metrics::page),
    },
    Route {
        method: Method::GET,
        path: "/feed/blocks.txt",
        access: Access::Feed,
        about: "Blocked addresses, one network a line, for firewalls that fetch it",
        takes: &[field("token", "`console.feed_token`")],
        gives: Gives::Text("text/plain"),
        serve: Serve::Plain(api::feed_text),
    },
    Route {
        method: Method::GET,
        path: "/feed/blocks.json",
        access: Access::Feed,
        about: "Blocked addresses with their ends",
        takes: &[field("token", "`console.feed_token`")],
        gives: Gives::Json("blocks"),
        serve: Serve::Plain(api::feed_json),
    },
    open(
        "/assets/{name}",
        "Our own scripts, styles and pictures",
        Gives::Asset,
        assets::serve,
    ),
    open("/favicon.ico", "Our picture", Gives::Asset, assets::serve),
];

/// What stands for the parts of a path, by their names.
pub type Parts = Vec<(&'static str, String)>;

/// The route of a request, and what stands for the parts of its path.
///
/// # Errors
/// There is none, or not with this method.
pub fn find(method: &Method, path: &str) -> Result<(&'static Route, Parts), Refusal> {
    let mut other = false;
    for route in ROUTES {
        let Some(parts) = fits(route.path, path) else {
            continue;
        };
        if route.method == *method {
            return Ok((route, parts));
        }
        other = true;
    }
    if other {
        return Err(Refusal::new(405, "not with this method"));
    }
    Err(Refusal::absent("there is no such page"))
}

fn fits(pattern: &'static str, path: &str) -> Option<Parts> {
    let mut parts = Vec::new();
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(parts),
            (Some(w), Some(g)) => match w.strip_prefix('{').and_then(|w| w.strip_suffix('}')) {
                Some(name) if !g.is_empty() => parts.push((name, decode(g.as_bytes(), false))),
                None if w == g => {}
                _ => return None,
            },
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_their_routes() {
        let get = |p: &str| find(&Method::GET, p).map(|(r, parts)| (r.path, parts));
        assert_eq!(get("/").unwrap().0, "/");
        let (path, parts) = get("/campaigns/C%2D1/report").unwrap();
        assert_eq!((path, parts[0].1.as_str()), ("/campaigns/{id}/report", "C-1"));
        assert_eq!(get("/nothing").unwrap_err().status, 404);
        assert_eq!(get("/sessions/").unwrap_err().status, 404);
        assert_eq!(get("/logout").unwrap_err().status, 405);
        assert_eq!(find(&Method::PUT, "/").err().unwrap().status, 405);
        // A fixed path wins over one with a part only by its place in the table: no two GETs or POSTs may fit the same path.
        for (n, route) in ROUTES.iter().enumerate() {
            let filled = route
                .path
                .replace("{id}", "x")
                .replace("{sha256}", "y")
                .replace("{word}", "z");
            let first = ROUTES
                .iter()
                .position(|r| r.method == route.method && fits(r.path, &filled).is_some());
            assert_eq!(first, Some(n), "{}", route.path);
        }
    }
}
