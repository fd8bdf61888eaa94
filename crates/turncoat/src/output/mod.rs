//! What an output does with an event: a file of JSON lines, Cowrie's format, syslog, a heartbeat address.

pub mod cowrie;
pub mod file;
pub mod network;
pub mod tls;

use turncoat_event::Event;

use crate::config::Settings;

/// One output, in the `out` process.
pub trait Sink: Send {
    /// Gets ready; the number of the last event that is there already, where the output itself knows it, else 0.
    ///
    /// # Errors
    /// One line; the caller tries again.
    fn resume(&mut self) -> Result<u64, String>;
    /// Writes or sends one event; `json` is its written form.
    ///
    /// # Errors
    /// One line; nothing of the event is there then, and the caller tries again.
    fn deliver(&mut self, event: &Event, json: &str) -> Result<(), String>;
    /// Everything delivered so far leaves this process.
    ///
    /// # Errors
    /// One line; the caller tries again.
    fn flush(&mut self) -> Result<(), String>;
}

/// The outputs that are configured, by name, in the order of their numbers.
pub fn configured(settings: &Settings) -> Vec<String> {
    [
        ("jsonl", &settings.output_jsonl.path),
        ("cowrie", &settings.output_cowrie.path),
        ("syslog", &settings.output_syslog.to),
        ("heartbeat", &settings.heartbeat.url),
    ]
    .into_iter()
    .filter(|(_, on)| !on.is_empty())
    .map(|(name, _)| name.to_owned())
    .collect()
}

/// The same outputs, ready to work. What they need from files is read here, before this process is confined.
///
/// # Errors
/// One line for the operator.
pub fn sinks(settings: &Settings) -> Result<Vec<Box<dyn Sink>>, String> {
    let s = settings;
    let mut all: Vec<Box<dyn Sink>> = Vec::new();
    for name in configured(settings) {
        match name.as_str() {
            "jsonl" => {
                let o = &s.output_jsonl;
                all.push(Box::new(file::Lines::new(
                    &o.path,
                    o.rotate.0,
                    o.keep,
                    "seq",
                    |_, json| Some(json.to_owned()),
                )));
            }
            "cowrie" => {
                let o = &s.output_cowrie;
                let write = |event: &Event, _: &str| cowrie::translate(event).map(|v| v.to_string());
                all.push(Box::new(file::Lines::new(
                    &o.path,
                    o.rotate.0,
                    o.keep,
                    "turncoat_seq",
                    write,
                )));
            }
            "syslog" => {
                let o = &s.output_syslog;
                all.push(Box::new(network::Syslog::new(&o.to, &o.ca, o.facility)?));
            }
            _ => all.push(Box::new(network::Beat::new(&s.heartbeat.url, &s.heartbeat.ca)?)),
        }
    }
    Ok(all)
}
