//! Who may ask what: decided before anything is read.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};

use crate::call::{Fields, Via};
use crate::host::Settings;
use crate::reply::Refusal;
use crate::secret::same;

/// Whom a route answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody: the login and our own files.
    Anybody,
    /// A logged-in operator.
    Operator,
    /// A logged-in operator, or whoever shows `console.token`.
    Token,
    /// The same, and where there is no token everybody on this machine.
    Metrics,
    /// Whoever shows `console.feed_token`, or a logged-in operator.
    Feed,
}

impl Access {
    /// In words, for the documentation.
    pub fn words(self) -> &'static str {
        match self {
            Access::Anybody => "everybody",
            Access::Operator => "a logged-in operator",
            Access::Token => "a logged-in operator, or `Authorization: Bearer` with `console.token`",
            Access::Metrics => "as the API; without a `console.token` also everybody on this machine",
            Access::Feed => {
                "`?token=` or `Authorization: Bearer` with `console.feed_token`; a logged-in operator"
            }
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &hyper::header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Host name and port of a Host header; the port that the scheme has where none is named.
fn host_and_port(host: &str, secure: bool) -> Option<(&str, u16)> {
    let standard = if secure { 443 } else { 80 };
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']')?;
            (name, rest.strip_prefix(':'))
        }
        None => host.split_once(':').map_or((host, None), |(n, p)| (n, Some(p))),
    };
    match port {
        None => Some((name, standard)),
        Some(port) => Some((name, port.parse().ok()?)),
    }
}

/// Refuses a request for another host: a name that somebody else's DNS points at us (DNS rebinding).
pub fn host(headers: &HeaderMap, via: &Via, settings: &Settings) -> Result<(), Refusal> {
    let refuse = || Refusal::new(421, "this console is not reached by that name; see console.hosts");
    if headers.get_all(HOST).iter().count() != 1 {
        return Err(refuse());
    }
    let host = header(headers, &HOST).ok_or_else(refuse)?;
    let (name, port) = host_and_port(host, via.secure).ok_or_else(refuse)?;
    // Behind a proxy of the operator's own the port is the proxy's: a configured name is known with any.
    if settings.hosts.iter().any(|h| h.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    let local = via.local.ip().to_canonical();
    let known = match name.parse::<IpAddr>() {
        Ok(address) => address.to_canonical() == local,
        Err(_) => name.eq_ignore_ascii_case("localhost") && local.is_loopback(),
    };
    if known && port == via.local.port() {
        Ok(())
    } else {
        Err(refuse())
    }
}

/// Refuses a form that another site's page sent.
pub fn origin(headers: &HeaderMap, via: &Via) -> Result<(), Refusal> {
    let refuse = || Refusal::new(403, "this came from another site");
    if let Some(site) = headers.get("sec-fetch-site")
        && site != "same-origin"
        && site != "none"
    {
        return Err(refuse());
    }
    let Some(origin) = headers.get(ORIGIN) else {
        // No browser: what a form must carry is still looked at.
        return Ok(());
    };
    let host = header(headers, &HOST).unwrap_or_default();
    let scheme = if via.secure { "https" } else { "http" };
    // Behind a proxy with TLS of its own the scheme differs, the host does not.
    let fine = origin
        .to_str()
        .is_ok_and(|o| o == format!("{scheme}://{host}") || o == format!("https://{host}"));
    if fine { Ok(()) } else { Err(refuse()) }
}

/// Name of the cookie. Cookies are shared between ports of a host, so that it names the port; over TLS it is bound to the host.
pub fn cookie_name(via: &Via) -> String {
    let prefix = if via.secure { "__Host-" } else { "" };
    format!("{prefix}turncoat-{}", via.local.port())
}

/// The cookie of our name.
pub fn cookie(headers: &HeaderMap, via: &Via) -> Option<String> {
    let name = cookie_name(via);
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|c| c.to_str().ok())
        .flat_map(|c| c.split(';'))
        .filter_map(|c| c.trim().split_once('='))
        .find(|(n, _)| *n == name)
        .map(|(_, v)| v.to_owned())
}

/// The Set-Cookie header for this word; an empty one takes the cookie away.
pub fn set_cookie(via: &Via, word: &str) -> String {
    let secure = if via.secure { "; Secure" } else { "" };
    let gone = if word.is_empty() { "; Max-Age=0" } else { "" };
    format!(
        "{}={word}; Path=/; HttpOnly; SameSite=Strict{secure}{gone}",
        cookie_name(via)
    )
}

/// The token that a request shows.
fn shown<'a>(headers: &'a HeaderMap, query: &'a Fields) -> &'a str {
    header(headers, &AUTHORIZATION)
        .and_then(|a| a.strip_prefix("Bearer "))
        .map(str::trim)
        .or_else(|| query.text("token"))
        .unwrap_or_default()
}

/// True when the route answers whoever asks. `visit`: he is logged in.
pub fn may(
    access: Access,
    visit: bool,
    headers: &HeaderMap,
    query: &Fields,
    via: &Via,
    settings: &Settings,
) -> bool {
    let bearer = header(headers, &AUTHORIZATION)
        .and_then(|a| a.strip_prefix("Bearer "))
        .unwrap_or_default();
    visit
        || match access {
            Access::Anybody => true,
            Access::Operator => false,
            Access::Token => same(bearer, &settings.token),
            Access::Metrics if settings.token.is_empty() => via.peer.ip().to_canonical().is_loopback(),
            Access::Metrics => same(bearer, &settings.token),
            Access::Feed => same(shown(headers, query), &settings.feed_token),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(local: &str, secure: bool) -> Via {
        Via {
            peer: "127.0.0.1:50000".parse().unwrap(),
            local: local.parse().unwrap(),
            secure,
        }
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (n, v) in list {
            map.append(*n, v.parse().unwrap());
        }
        map
    }

    #[test]
    fn only_our_own_names_are_answered() {
        let mut settings = Settings::default();
        let asks =
            |h: &str, at: &str, s: &Settings| host(&headers(&[("host", h)]), &via(at, false), s).is_ok();
        for fine in ["127.0.0.1:4780", "localhost:4780", "LOCALHOST:4780"] {
            assert!(asks(fine, "127.0.0.1:4780", &settings), "{fine}");
        }
        assert!(asks("[::1]:4780", "[::1]:4780", &settings));
        assert!(asks("127.0.0.1:4780", "[::ffff:127.0.0.1]:4780", &settings));
        assert!(asks("192.0.2.1", "192.0.2.1:80", &settings));
        for bad in [
            "evil.example:4780",
            "127.0.0.1.evil.example:4780",
            "127.0.0.1",
            "127.0.0.1:4781",
            "127.0.0.2:4780",
            "",
            "[::1:4780",
            "localhost:x",
            "[]:4780",
        ] {
            assert!(!asks(bad, "127.0.0.1:4780", &settings), "{bad}");
        }
        assert!(!asks("localhost:4780", "192.0.2.1:4780", &settings));
        assert!(host(&headers(&[]), &via("127.0.0.1:4780", false), &settings).is_err());
        let twice = headers(&[("host", "127.0.0.1:4780"), ("host", "127.0.0.1:4780")]);
        assert!(host(&twice, &via("127.0.0.1:4780", false), &settings).is_err());
        settings.hosts = vec!["decoys.example.net".into()];
        assert!(asks("decoys.example.net", "192.0.2.1:4780", &settings));
    }

    #[test]
    fn forms_of_other_sites_are_refused() {
        let at = via("127.0.0.1:4780", false);
        let h = ("host", "127.0.0.1:4780");
        assert!(origin(&headers(&[h]), &at).is_ok());
        assert!(origin(&headers(&[h, ("origin", "http://127.0.0.1:4780")]), &at).is_ok());
        for bad in [
            "null",
            "http://evil.example",
            "http://127.0.0.1:4781",
            "http://127.0.0.1:4780.evil.example",
        ] {
            assert!(origin(&headers(&[h, ("origin", bad)]), &at).is_err(), "{bad}");
        }
        let cross = [h, ("sec-fetch-site", "cross-site")];
        assert!(origin(&headers(&cross), &at).is_err());
        let other_port = [h, ("sec-fetch-site", "same-site")];
        assert!(origin(&headers(&other_port), &at).is_err());
    }

    #[test]
    fn each_access_wants_its_own_token() {
        let at = via("127.0.0.1:4780", false);
        let mut away = at;
        away.peer = "192.0.2.9:1".parse().unwrap();
        let mut settings = Settings::default();
        let none = Fields::default();
        let bearer = headers(&[("authorization", "Bearer t")]);
        let asked = Fields::parse(b"token=f");
        let may = |a, h: &HeaderMap, q: &Fields, v: &Via, s: &Settings| super::may(a, false, h, q, v, s);
        for access in [Access::Operator, Access::Token, Access::Feed] {
            assert!(!may(access, &bearer, &asked, &at, &settings), "{access:?}");
        }
        assert!(may(Access::Metrics, &headers(&[]), &none, &at, &settings));
        assert!(!may(Access::Metrics, &headers(&[]), &none, &away, &settings));
        settings.token = "t".into();
        settings.feed_token = "f".into();
        assert!(!may(Access::Metrics, &headers(&[]), &none, &at, &settings));
        assert!(may(Access::Metrics, &bearer, &none, &away, &settings));
        assert!(may(Access::Token, &bearer, &none, &away, &settings));
        assert!(!may(Access::Operator, &bearer, &asked, &at, &settings));
        assert!(may(Access::Feed, &headers(&[]), &asked, &away, &settings));
        assert!(!may(Access::Feed, &bearer, &none, &away, &settings));
        assert!(!may(
            Access::Token,
            &headers(&[]),
            &Fields::parse(b"token=t"),
            &at,
            &settings
        ));
        assert!(super::may(
            Access::Operator,
            true,
            &headers(&[]),
            &none,
            &away,
            &settings
        ));
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let at = via("127.0.0.1:4780", false);
        let h = headers(&[("cookie", "a=b; turncoat-4781=no; turncoat-4780=yes")]);
        assert_eq!(cookie(&h, &at).as_deref(), Some("yes"));
        assert_eq!(
            set_cookie(&at, "w"),
            "turncoat-4780=w; Path=/; HttpOnly; SameSite=Strict"
        );
        assert!(set_cookie(&via("127.0.0.1:4780", true), "").starts_with("__Host-turncoat-4780=;"));
    }
}
