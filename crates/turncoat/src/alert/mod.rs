//! How people are told of incidents: mail, a web address, syslog.
//!
//! `record` puts each [`Letter`] into the outbox, in the transaction that decided it; `out` sends it by a [`Way`] and says whether it was
//! taken. Each letter has an id that stays the same however often it is sent, so that a receiver who gets it twice (a crash between his
//! answer and our commit) can tell. Text of an intruder is escaped for each receiver, links and addresses are defanged ([`text`]), and
//! nothing in it can call a person's name or be fetched by a preview.

pub mod cef;
pub mod mail;
pub mod text;
pub mod webhook;

use serde::{Deserialize, Serialize};

use crate::config::Settings;
use crate::output::tls::Trust;
use crate::respond::incident::Message;

/// A message with what makes it once-only, as it waits in the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Stays the same however often it is sent.
    pub id: String,
    /// The install that sends it.
    pub sensor: String,
    /// What it says.
    pub message: Message,
}

impl Letter {
    /// The letter of a message.
    pub fn new(sensor: &str, message: Message) -> Letter {
        Letter {
            // Numbers of incidents begin anew with a new record: the time of the first message makes them different.
            id: format!(
                "{}.{}.{:x}",
                message.incident,
                message.number,
                message.opened.millis()
            ),
            sensor: sensor.to_owned(),
            message,
        }
    }
}

/// One way to tell.
pub trait Way: Send {
    /// Hands a letter over; when it returns, the receiver has taken it.
    ///
    /// # Errors
    /// One line: what the receiver said, or why there is none.
    fn send(&mut self, letter: &Letter) -> Result<(), String>;
}

/// The ways that are configured, by name, in the order of their numbers.
pub fn configured(settings: &Settings) -> Vec<&'static str> {
    [
        ("mail", &settings.alert_mail.server),
        ("webhook", &settings.alert_webhook.url),
        ("cef", &settings.alert_cef.to),
    ]
    .into_iter()
    .filter(|(_, on)| !on.is_empty())
    .map(|(name, _)| name)
    .collect()
}

/// The same ways, ready to work. Certificates are read here, before the process that sends is confined.
///
/// # Errors
/// One line for the operator.
pub fn ways(settings: &Settings) -> Result<Vec<Box<dyn Way>>, String> {
    let mut trust = None;
    let mut trusted = || -> Result<Trust, String> {
        match &trust {
            Some(known) => Ok(Trust::clone(known)),
            None => Ok(trust
                .insert(Trust::read(&settings.alert.ca).map_err(|e| format!("alert.ca: {e}"))?)
                .clone()),
        }
    };
    configured(settings)
        .into_iter()
        .map(|name| -> Result<Box<dyn Way>, String> {
            Ok(match name {
                "mail" => Box::new(mail::Mail::new(&settings.alert_mail, &mut trusted)?),
                "webhook" => Box::new(webhook::Webhook::new(&settings.alert_webhook, &mut trusted)?),
                _ => Box::new(cef::Cef::new(&settings.alert_cef.to, &mut trusted)?),
            })
        })
        .collect()
}

/// True for a host that is this machine: what goes there needs no TLS.
fn loopback(place: &str) -> bool {
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|a| a.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_would_send_in_the_clear_are_refused() {
        let mut s = Settings::default();
        assert!(configured(&s).is_empty() && ways(&s).is_ok_and(|w| w.is_empty()));
        s.alert_mail.server = "smtp+plain://mail.example:25".into();
        s.alert_mail.from = "a@b.example".into();
        s.alert_mail.to = vec!["c@d.example".into()];
        assert!(ways(&s).err().is_some_and(|e| e.contains("loopback")));
        s.alert_mail.server = "smtp+plain://127.0.0.1:25".into();
        assert!(ways(&s).is_ok());
        s.alert_mail.to = vec!["c@d.example\r\nBcc: x".into()];
        assert!(ways(&s).err().is_some_and(|e| e.starts_with("alert.mail.to")));
        s.alert_mail.server.clear();
        s.alert_webhook.url = "http://hooks.example/x".into();
        assert!(ways(&s).err().is_some_and(|e| e.contains("https://")));
        s.alert_webhook.url = "http://[::1]:8080/x".into();
        assert!(ways(&s).is_ok());
        s.alert_webhook.url.clear();
        s.alert_cef.to = "ftp://x".into();
        assert!(ways(&s).err().is_some_and(|e| e.starts_with("alert.cef.to")));
    }
}
