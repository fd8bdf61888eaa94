//! Alerts by e-mail: a small SMTP client (RFC 5321), with TLS from the start or by STARTTLS (RFC 3207), and PLAIN login (RFC 4954).
//!
//! Delivery is at least once: should we die between the server's answer and our commit, the same letter goes out again, with the same
//! `Message-ID`, by which mail programs and servers recognise it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use turncoat_event::Time;
use turncoat_event::bytes::base64_encode;

use super::{Letter, Way, loopback, text};
use crate::config::table::AlertMail;
use crate::output::tls::{Trust, tcp};

/// For one read or write.
const PATIENCE: Duration = Duration::from_secs(20);
/// For a whole conversation.
const TOTAL: Duration = Duration::from_secs(90);
/// The longest line of a server that is read, in bytes, and the most lines of one answer.
const LINE: u64 = 2_000;
const LINES: usize = 100;

enum Safety {
    /// TLS before the first word.
    Tls(Trust),
    /// TLS after STARTTLS, or no letter.
    Start(Trust),
    /// None: this machine only.
    Plain,
}

/// The way.
pub struct Mail {
    place: String,
    safety: Safety,
    login: Option<(String, String)>,
    from: String,
    to: Vec<String>,
}

/// An address that can stand in a command and a header as it is.
fn address(key: &str, text: &str) -> Result<String, String> {
    let sound = text.len() <= 254
        && text
            .split_once('@')
            .is_some_and(|(l, d)| !l.is_empty() && !d.is_empty())
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"<>,;:\\\"()[]".contains(&b));
    if sound {
        Ok(text.to_owned())
    } else {
        Err(format!("{key}: {text:?} is no address such as name@example.org"))
    }
}

impl Mail {
    /// From the settings.
    ///
    /// # Errors
    /// One line for the operator.
    pub fn new(s: &AlertMail, trust: &mut dyn FnMut() -> Result<Trust, String>) -> Result<Mail, String> {
        let wrong = || "alert.mail.server: expected \"smtps://HOST:465\" or \"smtp://HOST:587\"".to_owned();
        let (scheme, place) = s.server.split_once("://").ok_or_else(wrong)?;
        let place = match (place.rsplit_once(':'), scheme) {
            (Some((_, port)), _) if port.parse::<u16>().is_ok() => place.to_owned(),
            (_, "smtps") => format!("{place}:465"),
            _ => format!("{place}:587"),
        };
        let safety = match scheme {
            "smtps" => Safety::Tls(trust()?),
            "smtp" => Safety::Start(trust()?),
            "smtp+plain" if loopback(&place) => Safety::Plain,
            "smtp+plain" => {
                return Err(
                    "alert.mail.server: smtp+plain:// is for loopback only; use smtp:// or smtps://".into(),
                );
            }
            _ => return Err(wrong()),
        };
        if s.to.is_empty() {
            return Err("alert.mail.to: name at least one receiver".into());
        }
        let login = (!s.user.is_empty()).then(|| (s.user.clone(), s.password.clone()));
        Ok(Mail {
            place,
            safety,
            login,
            from: address("alert.mail.from", &s.from)?,
            to: s
                .to
                .iter()
                .map(|a| address("alert.mail.to", a))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The message with its headers (RFC 5322), lines ended by CR LF.
    fn message(&self, letter: &Letter) -> String {
        let domain = self.from.rsplit_once('@').map_or("localhost", |(_, d)| d);
        let m = &letter.message;
        let id = |n: u64| {
            format!(
                "<{}.{n}.{:x}.{}@{domain}>",
                m.incident,
                m.opened.millis(),
                letter.sensor
            )
        };
        let mut out = format!(
            "From: {}\r\nTo: {}\r\nSubject: {}\r\nDate: {}\r\nMessage-ID: {}\r\n",
            self.from,
            self.to.join(", "),
            encoded(&text::subject(letter)),
            date(m.time),
            id(m.number)
        );
        if m.number > 1 {
            // Mail programs show an incident as one thread.
            out.push_str(&format!("In-Reply-To: {0}\r\nReferences: {0}\r\n", id(1)));
        }
        out.push_str(
            "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n",
        );
        for line in base64_encode(text::body(letter).as_bytes()).as_bytes().chunks(76) {
            out.push_str(&String::from_utf8_lossy(line));
            out.push_str("\r\n");
        }
        out
    }
}

/// A header's text in the encoded form (RFC 2047), in words of at most 75 characters.
fn encoded(text: &str) -> String {
    let mut words = Vec::new();
    let mut piece = String::new();
    for c in text.chars().take(300) {
        if piece.len() + c.len_utf8() > 42 {
            words.push(std::mem::take(&mut piece));
        }
        piece.push(c);
    }
    words.push(piece);
    words
        .iter()
        .map(|w| format!("=?utf-8?B?{}?=", base64_encode(w.as_bytes())))
        .collect::<Vec<_>>()
        .join("\r\n ")
}

/// A date as RFC 5322 has it.
fn date(t: Time) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (y, mo, d, h, mi, s, _) = t.civil();
    let day = usize::try_from(t.seconds().div_euclid(86_400).rem_euclid(7)).unwrap_or(0);
    let month = MONTHS
        .get((mo as usize).saturating_sub(1))
        .copied()
        .unwrap_or("Jan");
    format!(
        "{}, {d:02} {month} {y:04} {h:02}:{mi:02}:{s:02} +0000",
        DAYS.get(day).copied().unwrap_or("Thu")
    )
}

/// A conversation.
struct Talk<S: Read + Write> {
    stream: BufReader<S>,
    until: Instant,
}

impl<S: Read + Write> Talk<S> {
    fn new(stream: S, until: Instant) -> Talk<S> {
        Talk {
            stream: BufReader::new(stream),
            until,
        }
    }

    /// One answer: its code and its lines.
    fn answer(&mut self) -> Result<(u16, Vec<String>), String> {
        let mut lines = Vec::new();
        loop {
            if Instant::now() > self.until || lines.len() >= LINES {
                return Err("the server takes too long".into());
            }
            let mut line = Vec::new();
            let n = (&mut self.stream)
                .take(LINE)
                .read_until(b'\n', &mut line)
                .map_err(|e| e.to_string())?;
            if n == 0 {
                return Err("the server ended the conversation".into());
            }
            if line.last() != Some(&b'\n') {
                return Err("the server answers with a line that does not end".into());
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let code = line
                .get(..3)
                .and_then(|c| c.parse::<u16>().ok())
                .ok_or("the server does not speak SMTP")?;
            let last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if last {
                return Ok((code, lines));
            }
        }
    }

    /// Waits for an answer of this class.
    fn expect(&mut self, class: u16) -> Result<Vec<String>, String> {
        let (code, lines) = self.answer()?;
        if code / 100 == class {
            return Ok(lines);
        }
        Err(crate::show::short(&format!("{code} {}", lines.join(" ")), 300))
    }

    fn say(&mut self, line: &str) -> Result<(), String> {
        let stream = self.stream.get_mut();
        stream
            .write_all(format!("{line}\r\n").as_bytes())
            .and_then(|()| stream.flush())
            .map_err(|e| e.to_string())
    }

    fn ask(&mut self, line: &str, class: u16) -> Result<Vec<String>, String> {
        self.say(line)?;
        self.expect(class)
    }

    /// Everything after a connection that is as safe as it will be.
    fn deliver(&mut self, mail: &Mail, me: &str, message: &str) -> Result<(), String> {
        let offers = self.ask(&format!("EHLO {me}"), 2)?;
        if let Some((user, password)) = &mail.login {
            let ways = offers
                .iter()
                .find_map(|o| o.to_ascii_uppercase().strip_prefix("AUTH ").map(str::to_owned));
            let ways = ways.ok_or("the server offers no login; leave alert.mail.user empty")?;
            let plain = base64_encode(format!("\0{user}\0{password}").as_bytes());
            if ways.split_whitespace().any(|w| w == "PLAIN") {
                self.ask(&format!("AUTH PLAIN {plain}"), 2)
            } else {
                self.ask("AUTH LOGIN", 3)?;
                self.ask(&base64_encode(user.as_bytes()), 3)?;
                self.ask(&base64_encode(password.as_bytes()), 2)
            }
            .map_err(|e| format!("login as {user}: {e}"))?;
        }
        self.ask(&format!("MAIL FROM:<{}>", mail.from), 2)?;
        let mut taken = 0;
        let mut refused = String::new();
        for to in &mail.to {
            match self.ask(&format!("RCPT TO:<{to}>"), 2) {
                Ok(_) => taken += 1,
                Err(why) => refused = format!("{to}: {why}"),
            }
        }
        if taken == 0 {
            return Err(refused);
        }
        self.ask("DATA", 3)?;
        // No line of the message begins with a dot: headers are ours, and the body is base64.
        self.say(&format!("{message}."))?;
        self.expect(2)?;
        // The letter is the server's now, whatever it says to this.
        let _ = self.say("QUIT");
        Ok(())
    }
}

impl Way for Mail {
    fn send(&mut self, letter: &Letter) -> Result<(), String> {
        let until = Instant::now() + TOTAL;
        let message = self.message(letter);
        let stream = tcp(&self.place, PATIENCE)?;
        let me = match stream.local_addr().map(|a| a.ip()) {
            Ok(std::net::IpAddr::V6(a)) => format!("[IPv6:{a}]"),
            Ok(a) => format!("[{a}]"),
            Err(_) => "localhost".into(),
        };
        let said = match &self.safety {
            Safety::Plain => {
                let mut talk = Talk::new(stream, until);
                talk.expect(2).and_then(|_| talk.deliver(self, &me, &message))
            }
            Safety::Tls(trust) => {
                let mut talk = Talk::new(trust.over(stream, &self.place)?, until);
                talk.expect(2).and_then(|_| talk.deliver(self, &me, &message))
            }
            Safety::Start(trust) => start_tls(stream, &me, until).and_then(|stream| {
                let mut talk = Talk::new(trust.over(stream, &self.place)?, until);
                talk.deliver(self, &me, &message)
            }),
        };
        said.map_err(|e| format!("{}: {e}", self.place))
    }
}

/// Reads a server's answers from bytes until they end or make no sense. How many there were: what the fuzzer drives.
pub fn answers(bytes: &[u8]) -> usize {
    struct Said<'a>(&'a [u8]);
    impl Read for Said<'_> {
        fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(to)
        }
    }
    impl Write for Said<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut talk = Talk::new(Said(bytes), Instant::now() + TOTAL);
    std::iter::from_fn(|| talk.answer().ok()).count()
}

/// Says STARTTLS. What the server sent before the handshake and nobody asked for would be read as if it had come under TLS
/// (CVE-2011-0411): such a server is refused.
fn start_tls(stream: TcpStream, me: &str, until: Instant) -> Result<TcpStream, String> {
    let mut talk = Talk::new(stream, until);
    talk.expect(2)?;
    let offers = talk.ask(&format!("EHLO {me}"), 2)?;
    if !offers.iter().any(|o| o.trim().eq_ignore_ascii_case("STARTTLS")) {
        return Err("the server offers no STARTTLS, and nothing is sent without TLS".into());
    }
    talk.ask("STARTTLS", 2)?;
    if !talk.stream.buffer().is_empty() {
        return Err("the server spoke before TLS began".into());
    }
    Ok(talk.stream.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::text::tests::{HOSTILE, letter};

    #[test]
    fn headers_cannot_be_added_by_what_an_intruder_wrote() {
        let mail = Mail {
            place: "127.0.0.1:25".into(),
            safety: Safety::Plain,
            login: None,
            from: "turncoat@example.org".into(),
            to: vec!["soc@example.org".into()],
        };
        for text in HOSTILE {
            let message = mail.message(&letter(text));
            assert_eq!(message.matches("\r\n\r\n").count(), 1);
            let head = message.split("\r\n\r\n").next().unwrap();
            assert!(!head.contains("Bcc") && message.bytes().all(|b| b.is_ascii()));
            assert!(message.lines().all(|l| l.len() <= 200 && !l.starts_with('.')));
            assert!(message.replace("\r\n", "").find(['\r', '\n']).is_none());
        }
        let message = mail.message(&letter("x"));
        assert!(
            message.contains("\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"),
            "{message}"
        );
        assert!(message.contains("In-Reply-To: <I-3.1."), "{message}");
    }

    #[test]
    fn a_server_may_say_anything() {
        let mut x = 3u64;
        for n in 0..2_000u64 {
            let mut said = Vec::new();
            for _ in 0..(n % 200) {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                said.push(*b"250-35 \r\nA\xff4".get((x >> 33) as usize % 13).unwrap_or(&0));
            }
            assert!(answers(&said) <= said.len());
        }
    }
}
