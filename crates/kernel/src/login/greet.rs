//! What somebody reads when he has logged in: the message of the day and his last login, as `records` wrote it down.

use super::Account;
use crate::abi::*;
use crate::tty::TtyId;
use crate::world::World;

impl World {
    /// What `pam_motd` says; nothing to whoever wants it quiet.
    pub(super) fn message_of_the_day(&mut self, a: &Account) -> Vec<u8> {
        let mut text = Vec::new();
        if self.slurp(&[&a.home[..], b"/.hushlogin"].concat()).is_ok() {
            return text;
        }
        let f = &self.facts_of;
        text.extend_from_slice(
            format!(
                "Linux {} {} {} x86_64\n",
                String::from_utf8_lossy(&self.hostname),
                f.release,
                f.version
            )
            .as_bytes(),
        );
        text.extend(self.slurp(b"/etc/motd").unwrap_or_default());
        text
    }

    /// What is on the screen before the shell's prompt.
    pub(super) fn greet(&mut self, a: &Account, t: TtyId) {
        let mut text = self.message_of_the_day(a);
        if text.is_empty() {
            return;
        }
        let last = self.slurp(b"/var/log/lastlog").unwrap_or_default();
        let at = a.uid as usize * 292;
        if last.len() >= at + 292 {
            let secs = le32(&last, at) as i64;
            if secs != 0 {
                let host = &last[at + 36..at + 292];
                let n = host.iter().position(|b| *b == 0).unwrap_or(host.len());
                let offset = self.facts_of.zone.map_or(0, |z| z.offset_at(secs));
                text.extend_from_slice(format!("Last login: {} from ", ctime(secs + offset)).as_bytes());
                text.extend_from_slice(&host[..n]);
                text.push(b'\n');
            }
        }
        let who = crate::tty::Caller::default();
        if let Ok(f) = self.ttys.open_slave(t, &who, true, false) {
            let mut rest = &text[..];
            while let Ok(n) = self.ttys.write(&f, &who, rest) {
                rest = rest.get(n..).unwrap_or(&[]);
                if n == 0 || rest.is_empty() {
                    break;
                }
            }
            self.ttys.close(&f);
        }
        self.tty_effects();
    }
}

/// `ctime(3)` of local seconds, without the newline.
fn ctime(secs: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = secs.div_euclid(86400);
    let s = secs.rem_euclid(86400);
    // Civil date from day number (proleptic Gregorian, eras of 400 years from 1 March).
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let d = doy - (153 * mp + 2) / 5 + 1;
    let m = if mp < 10 { mp + 3 } else { mp - 9 };
    let y = yoe + era * 400 + i64::from(m <= 2);
    format!(
        "{} {} {:2} {:02}:{:02}:{:02} {}",
        DAYS.get(days.rem_euclid(7) as usize).unwrap_or(&"Thu"),
        MONTHS.get(m as usize - 1).unwrap_or(&"Jan"),
        d,
        s / 3600,
        s / 60 % 60,
        s % 60,
        y
    )
}
