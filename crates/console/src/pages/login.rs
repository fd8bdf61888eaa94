//! Coming in and going out.

use std::sync::Arc;
use std::time::Instant;

use maud::html;

use super::bare;
use crate::call::Call;
use crate::guard::set_cookie;
use crate::reply::{Refusal, Reply};
use crate::secret;
use crate::server::Console;

/// `GET /login`.
pub fn page(console: &Arc<Console>, call: &Call) -> Result<Reply, Refusal> {
    if call.visit.is_some() {
        return Ok(Reply::Goto("/".into()));
    }
    let wrong = call.query.text("wrong").is_some();
    Ok(Reply::Page(bare(
        "Log in",
        html! {
            h1 { "Turncoat" }
            @if wrong { p.alarm role="alert" { "That did not fit." } }
            @if console.settings.password.is_empty() {
                p { "The program printed a link when it started. It works once. For another one, run on that machine:" }
                pre { code { "turncoat console link" } }
                p.quiet { "A password can be set, too: " code { "turncoat console password" } "." }
            } @else {
                form method="post" action="/login" {
                    label for="password" { "Password" }
                    input id="password" type="password" name="password" required autofocus autocomplete="current-password";
                    button.main { "Log in" }
                }
                p.quiet { "Or by a link that works once: " code { "turncoat console link" } "." }
            }
        },
    )))
}

/// `GET /in/{word}`. Opens nothing by itself: programs that look at links beforehand must not use them up.
pub fn door(_: &Arc<Console>, call: &Call) -> Result<Reply, Refusal> {
    Ok(Reply::Page(bare(
        "Come in",
        html! {
            h1 { "Turncoat" }
            p { "This link works once." }
            form method="post" action="/in" {
                input type="hidden" name="word" value=(call.part("word"));
                button.main autofocus { "Come in" }
            }
        },
    )))
}

fn slow(console: &Console, call: &Call) -> Result<(), Refusal> {
    if console.visits.may_try(call.via.peer.ip(), Instant::now()) {
        Ok(())
    } else {
        Err(Refusal::new(429, "too many tries failed; wait half a minute"))
    }
}

fn welcome(console: &Console, call: &Call, how: &str) -> Result<Reply, Refusal> {
    let operator = format!("{how} {}", call.via.peer.ip().to_canonical());
    let word = console
        .visits
        .begin(operator.clone(), Instant::now())
        .ok_or_else(|| Refusal::new(500, "the system gives no random bytes"))?;
    console.host.note(&operator, "console login", None);
    Ok(Reply::Welcome("/".into(), set_cookie(&call.via, &word)))
}

fn refuse(console: &Console, call: &Call, how: &str) -> Result<Reply, Refusal> {
    console.visits.failed(call.via.peer.ip(), Instant::now());
    let operator = format!("{how} {}", call.via.peer.ip().to_canonical());
    console.host.note(&operator, "console login refused", None);
    Ok(Reply::Goto("/login?wrong=1".into()))
}

/// `POST /login`.
pub fn login(console: &Arc<Console>, call: &Call) -> Result<Reply, Refusal> {
    slow(console, call)?;
    let password = call.form.all("password").next().unwrap_or_default();
    let hash = &console.settings.password;
    if !hash.is_empty() && !password.is_empty() && secret::fits(password, hash) {
        welcome(console, call, "password")
    } else {
        refuse(console, call, "password")
    }
}

/// `POST /in`.
pub fn enter(console: &Arc<Console>, call: &Call) -> Result<Reply, Refusal> {
    slow(console, call)?;
    let word = call.form.text("word").unwrap_or_default();
    if console.visits.use_link(word, Instant::now()) {
        welcome(console, call, "link")
    } else {
        refuse(console, call, "link")
    }
}

/// `POST /logout`.
pub fn logout(console: &Arc<Console>, call: &Call) -> Result<Reply, Refusal> {
    if let Some(cookie) = &call.cookie {
        console.visits.end(cookie);
    }
    console.host.note(call.operator(), "console logout", None);
    Ok(Reply::Welcome("/login".into(), set_cookie(&call.via, "")))
}
