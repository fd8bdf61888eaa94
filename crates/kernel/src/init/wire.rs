//! D-Bus messages (D-Bus specification, "Message Format"), little-endian: read from bytes that may be hostile, and written.

/// Most bytes of one message that are taken.
pub const MESSAGE_MAX: usize = 256 << 10;
/// Most values in one message, and how deep they nest.
const VALUES_MAX: usize = 32_768;
const DEPTH_MAX: usize = 16;

/// One value of a complete type.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Value {
    Byte(u8),
    Bool(bool),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    /// The bits of a double.
    F64(u64),
    Str(String),
    Path(String),
    Sig(String),
    /// Elements, all of this type.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    Entry(Box<(Value, Value)>),
    Variant(Box<Value>),
    /// An index into the descriptors that came with the message.
    Fd(u32),
}

impl Value {
    /// A string.
    pub fn str(s: &str) -> Value {
        Value::Str(s.to_owned())
    }

    /// An array of strings.
    pub fn strs<S: AsRef<str>>(all: &[S]) -> Value {
        Value::Array("s".into(), all.iter().map(|s| Value::str(s.as_ref())).collect())
    }

    /// Its type.
    pub fn sig(&self) -> String {
        match self {
            Value::Byte(_) => "y".into(),
            Value::Bool(_) => "b".into(),
            Value::I16(_) => "n".into(),
            Value::U16(_) => "q".into(),
            Value::I32(_) => "i".into(),
            Value::U32(_) => "u".into(),
            Value::I64(_) => "x".into(),
            Value::U64(_) => "t".into(),
            Value::F64(_) => "d".into(),
            Value::Str(_) => "s".into(),
            Value::Path(_) => "o".into(),
            Value::Sig(_) => "g".into(),
            Value::Fd(_) => "h".into(),
            Value::Variant(_) => "v".into(),
            Value::Array(of, _) => format!("a{of}"),
            Value::Struct(all) => format!("({})", all.iter().map(Value::sig).collect::<String>()),
            Value::Entry(e) => format!("{{{}{}}}", e.0.sig(), e.1.sig()),
        }
    }

    /// A string or a path.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Str(s) | Value::Path(s) => Some(s),
            _ => None,
        }
    }

    /// The strings of an array.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Value::Array(_, all) => all.iter().filter_map(Value::text).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }
}

/// What kind of message it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub enum Kind {
    #[default]
    Call,
    Return,
    Error,
    Signal,
}

/// A message.
#[derive(Clone, PartialEq, Debug, Default)]
#[allow(missing_docs)]
pub struct Message {
    pub kind: Kind,
    /// The sender does not want an answer.
    pub silent: bool,
    pub serial: u32,
    pub reply: Option<u32>,
    pub path: Option<String>,
    pub interface: Option<String>,
    pub member: Option<String>,
    pub error: Option<String>,
    pub destination: Option<String>,
    pub sender: Option<String>,
    pub body: Vec<Value>,
}

/// What stands at the beginning of some bytes.
#[derive(Clone, PartialEq, Debug)]
pub enum Read {
    /// A message of this many bytes.
    Whole(Box<Message>, usize),
    /// The message goes on beyond.
    More,
    /// No message: whoever says so is hung up on.
    Bad,
}

/// Reads the first message of these bytes.
pub fn read(b: &[u8]) -> Read {
    let Some(head) = b.get(..16) else {
        return Read::More;
    };
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if head[0] != b'l' || head[3] != 1 || !(1..=4).contains(&head[1]) || word(8) == 0 {
        return Read::Bad;
    }
    let (body, fields) = (word(4) as usize, word(12) as usize);
    if body > MESSAGE_MAX || fields > MESSAGE_MAX {
        return Read::Bad;
    }
    let start = (16 + fields).next_multiple_of(8);
    let end = start + body;
    if end > MESSAGE_MAX {
        return Read::Bad;
    }
    if b.len() < end {
        return Read::More;
    }
    let mut m = Message {
        kind: [Kind::Call, Kind::Return, Kind::Error, Kind::Signal][usize::from(head[1]) - 1],
        silent: head[2] & 1 != 0,
        serial: word(8),
        ..Message::default()
    };
    match parse(&mut m, &b[..16 + fields], &b[start..end]) {
        Some(()) => Read::Whole(Box::new(m), end),
        None => Read::Bad,
    }
}

fn parse(m: &mut Message, head: &[u8], body: &[u8]) -> Option<()> {
    let mut r = Reader {
        b: head,
        at: 12,
        left: VALUES_MAX,
    };
    let Value::Array(_, fields) = r.value(b"a(yv)", 0)? else {
        return None;
    };
    let mut signature = String::new();
    for f in fields {
        let Value::Struct(f) = f else { return None };
        let [Value::Byte(code), Value::Variant(v)] = &f[..] else {
            return None;
        };
        match (code, &**v) {
            (1, Value::Path(s)) => m.path = Some(s.clone()),
            (2, Value::Str(s)) => m.interface = Some(s.clone()),
            (3, Value::Str(s)) => m.member = Some(s.clone()),
            (4, Value::Str(s)) => m.error = Some(s.clone()),
            (5, Value::U32(n)) => m.reply = Some(*n),
            (6, Value::Str(s)) => m.destination = Some(s.clone()),
            (7, Value::Str(s)) => m.sender = Some(s.clone()),
            (8, Value::Sig(s)) => signature.clone_from(s),
            (1..=8, _) => return None,
            _ => {}
        }
    }
    let mut r = Reader {
        b: body,
        at: 0,
        left: VALUES_MAX,
    };
    let mut rest = signature.as_bytes();
    while !rest.is_empty() {
        let n = one(rest, 0)?;
        m.body.push(r.value(&rest[..n], 0)?);
        rest = &rest[n..];
    }
    (r.at == body.len()).then_some(())
}

/// Bytes of the first complete type of a signature.
fn one(sig: &[u8], depth: usize) -> Option<usize> {
    if depth > DEPTH_MAX {
        return None;
    }
    match sig.first()? {
        b'a' => Some(1 + one(sig.get(1..)?, depth + 1)?),
        open @ (b'(' | b'{') => {
            let close = if *open == b'(' { b')' } else { b'}' };
            let mut at = 1;
            while *sig.get(at)? != close {
                at += one(sig.get(at..)?, depth + 1)?;
            }
            (at > 1).then_some(at + 1)
        }
        b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'v' | b'h' => {
            Some(1)
        }
        _ => None,
    }
}

fn alignment(sig: u8) -> usize {
    match sig {
        b'n' | b'q' => 2,
        b'b' | b'i' | b'u' | b's' | b'o' | b'a' | b'h' => 4,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 1,
    }
}

struct Reader<'a> {
    b: &'a [u8],
    at: usize,
    /// Values that may still come.
    left: usize,
}

impl Reader<'_> {
    fn take(&mut self, n: usize) -> Option<&[u8]> {
        let b = self.b.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(b)
    }

    fn align(&mut self, to: usize) -> Option<()> {
        let n = self.at.next_multiple_of(to) - self.at;
        self.take(n).map(drop)
    }

    fn word(&mut self) -> Option<u32> {
        self.align(4)?;
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn long(&mut self) -> Option<u64> {
        self.align(8)?;
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn short(&mut self) -> Option<u16> {
        self.align(2)?;
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A text of this length and the zero byte behind it.
    fn text(&mut self, n: usize) -> Option<String> {
        let b = self.take(n.checked_add(1)?)?;
        let (zero, text) = b.split_last()?;
        if *zero != 0 || text.contains(&0) {
            return None;
        }
        String::from_utf8(text.to_vec()).ok()
    }

    /// A value of this complete type.
    fn value(&mut self, sig: &[u8], depth: usize) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        if depth > DEPTH_MAX {
            return None;
        }
        Some(match sig.first()? {
            b'y' => Value::Byte(*self.take(1)?.first()?),
            b'b' => match self.word()? {
                n @ 0..=1 => Value::Bool(n == 1),
                _ => return None,
            },
            b'n' => Value::I16(self.short()? as i16),
            b'q' => Value::U16(self.short()?),
            b'i' => Value::I32(self.word()? as i32),
            b'u' => Value::U32(self.word()?),
            b'h' => Value::Fd(self.word()?),
            b'x' => Value::I64(self.long()? as i64),
            b't' => Value::U64(self.long()?),
            b'd' => Value::F64(self.long()?),
            b's' => {
                let n = self.word()? as usize;
                Value::Str(self.text(n)?)
            }
            b'o' => {
                let n = self.word()? as usize;
                Value::Path(self.text(n)?)
            }
            b'g' => {
                let n = usize::from(*self.take(1)?.first()?);
                Value::Sig(self.text(n)?)
            }
            b'v' => {
                let n = usize::from(*self.take(1)?.first()?);
                let sig = self.text(n)?;
                if one(sig.as_bytes(), 0)? != sig.len() {
                    return None;
                }
                Value::Variant(Box::new(self.value(sig.as_bytes(), depth + 1)?))
            }
            b'a' => self.array(sig.get(1..)?, depth)?,
            b'(' => {
                self.align(8)?;
                Value::Struct(self.members(sig.get(1..sig.len() - 1)?, depth)?)
            }
            b'{' => {
                self.align(8)?;
                let mut m = self.members(sig.get(1..sig.len() - 1)?, depth)?.into_iter();
                match (m.next(), m.next(), m.next()) {
                    (Some(k), Some(v), None) => Value::Entry(Box::new((k, v))),
                    _ => return None,
                }
            }
            _ => return None,
        })
    }

    fn members(&mut self, sig: &[u8], depth: usize) -> Option<Vec<Value>> {
        let (mut rest, mut out) = (sig, Vec::new());
        while !rest.is_empty() {
            let n = one(rest, 0)?;
            out.push(self.value(&rest[..n], depth + 1)?);
            rest = &rest[n..];
        }
        Some(out)
    }

    fn array(&mut self, of: &[u8], depth: usize) -> Option<Value> {
        let n = self.word()? as usize;
        self.align(alignment(*of.first()?))?;
        let end = self.at.checked_add(n).filter(|e| *e <= self.b.len())?;
        let mut out = Vec::new();
        while self.at < end {
            out.push(self.value(of, depth + 1)?);
        }
        (self.at == end).then(|| Value::Array(String::from_utf8_lossy(of).into_owned(), out))
    }
}

/// The bytes of a message.
pub fn write(m: &Message) -> Vec<u8> {
    let mut body = Writer(Vec::new());
    for v in &m.body {
        body.value(v);
    }
    let kind = match m.kind {
        Kind::Call => 1,
        Kind::Return => 2,
        Kind::Error => 3,
        Kind::Signal => 4,
    };
    // Only calls are answered.
    let silent = u8::from(m.silent || m.kind != Kind::Call);
    let mut w = Writer(vec![b'l', kind, silent, 1]);
    w.word(body.0.len() as u32);
    w.word(m.serial);
    w.value(&fields(m));
    w.align(8);
    w.0.extend_from_slice(&body.0);
    w.0
}

fn fields(m: &Message) -> Value {
    let signature: String = m.body.iter().map(Value::sig).collect();
    let text = |s: &Option<String>| s.clone().map(Value::Str);
    let all = [
        (1, m.path.clone().map(Value::Path)),
        (2, text(&m.interface)),
        (3, text(&m.member)),
        (4, text(&m.error)),
        (5, m.reply.map(Value::U32)),
        (6, text(&m.destination)),
        (7, text(&m.sender)),
        (8, Some(signature).filter(|s| !s.is_empty()).map(Value::Sig)),
    ];
    let one = |(code, v): (u8, Option<Value>)| {
        Some(Value::Struct(vec![
            Value::Byte(code),
            Value::Variant(Box::new(v?)),
        ]))
    };
    Value::Array("(yv)".into(), all.into_iter().filter_map(one).collect())
}

struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        let n = self.0.len().next_multiple_of(to);
        self.0.resize(n, 0);
    }

    fn word(&mut self, n: u32) {
        self.align(4);
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    fn long(&mut self, n: u64) {
        self.align(8);
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    fn text(&mut self, s: &str) {
        self.0.extend_from_slice(s.as_bytes());
        self.0.push(0);
    }

    fn value(&mut self, v: &Value) {
        match v {
            Value::Byte(n) => self.0.push(*n),
            Value::Bool(b) => self.word((*b).into()),
            Value::I16(n) => {
                self.align(2);
                self.0.extend_from_slice(&n.to_le_bytes());
            }
            Value::U16(n) => {
                self.align(2);
                self.0.extend_from_slice(&n.to_le_bytes());
            }
            Value::I32(n) => self.word(*n as u32),
            Value::U32(n) | Value::Fd(n) => self.word(*n),
            Value::I64(n) => self.long(*n as u64),
            Value::U64(n) | Value::F64(n) => self.long(*n),
            Value::Str(s) | Value::Path(s) => {
                self.word(s.len() as u32);
                self.text(s);
            }
            Value::Sig(s) => {
                self.0.push(s.len() as u8);
                self.text(s);
            }
            Value::Array(of, all) => self.array(of, all),
            Value::Struct(all) => {
                self.align(8);
                all.iter().for_each(|v| self.value(v));
            }
            Value::Entry(e) => {
                self.align(8);
                self.value(&e.0);
                self.value(&e.1);
            }
            Value::Variant(v) => {
                self.value(&Value::Sig(v.sig()));
                self.value(v);
            }
        }
    }

    fn array(&mut self, of: &str, all: &[Value]) {
        self.word(0);
        let length = self.0.len() - 4;
        self.align(alignment(of.bytes().next().unwrap_or(b'y')));
        let start = self.0.len();
        all.iter().for_each(|v| self.value(v));
        let n = (self.0.len() - start) as u32;
        if let Some(at) = self.0.get_mut(length..length + 4) {
            at.copy_from_slice(&n.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn sample() -> Message {
        Message {
            serial: 7,
            path: Some("/org/freedesktop/systemd1".into()),
            interface: Some("org.freedesktop.systemd1.Manager".into()),
            member: Some("ListUnitsByPatterns".into()),
            body: vec![
                Value::strs::<&str>(&[]),
                Value::strs(&["ssh.service", "x"]),
                Value::Array(
                    "{sv}".into(),
                    vec![Value::Entry(Box::new((
                        Value::str("k"),
                        Value::Variant(Box::new(Value::Struct(vec![Value::U64(1), Value::Bool(true)]))),
                    )))],
                ),
                Value::Byte(3),
                Value::I16(-2),
                Value::I64(-3),
            ],
            ..Message::default()
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = write(&sample());
        assert_eq!(read(&bytes), Read::Whole(Box::new(sample()), bytes.len()));
        for n in 0..bytes.len() {
            assert_eq!(read(&bytes[..n]), Read::More);
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        let mut rng = Rng::new([7; 32]);
        let whole = write(&sample());
        for _ in 0..20_000 {
            let mut b = whole.clone();
            for _ in 0..rng.u64() % 6 {
                let at = rng.u64() as usize % b.len();
                b[at] = rng.u64() as u8;
            }
            b.truncate(rng.u64() as usize % (2 * b.len()));
            if let Read::Whole(m, n) = read(&b) {
                assert!(n <= b.len());
                // What was understood can be said again.
                assert!(matches!(read(&write(&m)), Read::Whole(..)));
            }
        }
    }
}
