//! `turncoat replay`.
//!
//! The one place where an intruder's bytes reach the terminal, on request; even so only what moves text and colours, inside the
//! terminal: no title, no clipboard, no question that the terminal would answer, no other character set.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use turncoat_event::Direction;

use super::{Context, output_error, sessions};

#[derive(clap::Args)]
pub struct Args {
    /// The session's id, or the beginning or end of it, or `last`
    session: String,
    /// So many times as fast; 0: at once
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// The longest pause, in seconds
    #[arg(long, default_value_t = 3.0)]
    pause: f64,
    /// Which channel of the session
    #[arg(long, default_value_t = 0)]
    channel: u16,
}

pub fn run(context: &Context, args: &Args) -> Result<(), String> {
    let reader = context.reader()?;
    let row = sessions::find(&reader, &args.session)?;
    let frames = reader
        .recording(row.session)
        .map_err(|e| e.to_string())?
        .ok_or("this session has no recording")?;
    let mut filter = TerminalFilter::default();
    let mut last = None;
    let mut out = std::io::stdout().lock();
    for frame in frames.filter(|f| f.channel == args.channel && f.direction == Direction::Output) {
        let pause = last.map_or(0, |l| frame.time.since(l).max(0));
        last = Some(frame.time);
        if args.speed > 0.0 {
            let seconds = (pause as f64 / 1e9 / args.speed).min(args.pause.clamp(0.0, 3600.0));
            std::thread::sleep(Duration::from_secs_f64(seconds.max(0.0)));
        }
        out.write_all(&filter.pass(&frame.bytes))
            .and_then(|()| out.flush())
            .map_err(output_error)?;
    }
    if std::io::stdout().is_terminal() {
        // Colours, character sets and hidden cursors end with the replay.
        out.write_all(b"\x1b[0m\x1b[?25h\x1b[?1049l\r\n")
            .map_err(output_error)?;
    }
    Ok(())
}

/// Lets text and harmless sequences through, drops the others whole, across pieces.
#[derive(Default)]
pub struct TerminalFilter {
    state: State,
    held: Vec<u8>,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Text,
    Escape,
    /// `ESC [`: parameters until a final byte.
    Csi,
    /// A string (title, clipboard, device control) until BEL or `ESC \`.
    Quoted,
    QuotedEscape,
    /// `ESC (` and the like: one more byte.
    One,
}

impl TerminalFilter {
    /// What of these bytes may reach a terminal.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for &b in bytes {
            self.state = match (self.state, b) {
                (State::Text, 0x1b) => {
                    self.held.clear();
                    State::Escape
                }
                (State::Text, b'\n' | b'\r' | b'\t' | 0x08 | 0x07) => {
                    out.push(b);
                    State::Text
                }
                (State::Text, 0..=0x1f | 0x7f) => State::Text,
                (State::Text, _) => {
                    out.push(b);
                    State::Text
                }
                (State::Escape, b'[') => State::Csi,
                (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::Quoted,
                (State::Escape, b'(' | b')' | b'*' | b'+' | b'#' | b'%' | b' ') => State::One,
                (State::Escape, b'7' | b'8' | b'D' | b'E' | b'M' | b'H' | b'=' | b'>') => {
                    out.extend_from_slice(&[0x1b, b]);
                    State::Text
                }
                (State::Escape, _) => State::Text,
                (State::One, _) => State::Text,
                (State::Csi, 0x40..=0x7e) => {
                    if self.harmless(b) {
                        out.extend_from_slice(b"\x1b[");
                        out.extend_from_slice(&self.held);
                        out.push(b);
                    }
                    State::Text
                }
                (State::Csi, b'0'..=b'?') if self.held.len() < 64 => {
                    self.held.push(b);
                    State::Csi
                }
                (State::Csi, _) => State::Text,
                (State::Quoted, 0x07) => State::Text,
                (State::Quoted, 0x1b) => State::QuotedEscape,
                (State::Quoted | State::QuotedEscape, _)
                    if self.state == State::QuotedEscape && b == b'\\' =>
                {
                    State::Text
                }
                (State::Quoted | State::QuotedEscape, _) => State::Quoted,
            };
        }
        // C1 controls: as single bytes they are no UTF-8 and shown as such; encoded (C2 80..9F) they act on some terminals.
        let mut clean = Vec::with_capacity(out.len());
        for chunk in out.utf8_chunks() {
            clean.extend(
                chunk
                    .valid()
                    .chars()
                    .filter(|c| !('\u{80}'..='\u{9f}').contains(c))
                    .flat_map(|c| {
                        let mut buffer = [0; 4];
                        c.encode_utf8(&mut buffer).as_bytes().to_vec()
                    }),
            );
            if !chunk.invalid().is_empty() {
                clean.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        clean
    }

    /// Cursor, erasing, scrolling, colours, and a few private modes. Not: reports (`c`, `n`), window operations (`t`), others.
    fn harmless(&self, last: u8) -> bool {
        match last {
            b'A'..=b'H'
            | b'J'
            | b'K'
            | b'L'
            | b'M'
            | b'P'
            | b'S'
            | b'T'
            | b'X'
            | b'@'
            | b'd'
            | b'f'
            | b'r'
            | b's'
            | b'u'
            | b'm' => self
                .held
                .iter()
                .all(|b| b.is_ascii_digit() || *b == b';' || *b == b':'),
            b'h' | b'l' => matches!(
                self.held.as_slice(),
                b"?25" | b"?1049" | b"?47" | b"?1" | b"?7" | b"4"
            ),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_colours_pass_and_what_acts_does_not() {
        let mut f = TerminalFilter::default();
        assert_eq!(f.pass(b"a\x1b[1;31mred\x1b[0m\r\n"), b"a\x1b[1;31mred\x1b[0m\r\n");
        assert_eq!(f.pass(b"\x1b]0;title\x07b\x1b]52;c;ZXZpbA==\x1b\\c"), b"bc");
        assert_eq!(
            f.pass(b"\x1b[6n\x1b[c\x1b[>c\x1b[8;1;1t\x1bP$q\x1b\\x\x1b[5i"),
            b"x"
        );
        assert_eq!(f.pass(b"\x1b[?1000h\x1b[?25lz\x1b(0"), b"\x1b[?25lz");
        // Cut anywhere, the same comes out.
        let whole = b"\x1b]0;t\x1b\\ok\x1b[31mx\x1b[6ny";
        let mut f = TerminalFilter::default();
        let pieces: Vec<u8> = whole.iter().flat_map(|b| f.pass(&[*b])).collect();
        assert_eq!(pieces, b"ok\x1b[31mxy");
        assert_eq!(
            TerminalFilter::default().pass(b"\xc2\x9b31m\x9b31m"),
            "31m\u{fffd}31m".as_bytes()
        );
    }
}
