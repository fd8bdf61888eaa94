//! What a field of an event can be, and what the rest of the program may ask of any field.
//!
//! The table in [`crate::kinds`] only says `name: Type`; everything that differs by type (documentation,
//! JSON Schema, the text that search sees, masking) is said once here.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use crate::{Bytes, SessionId, Sha256, Time, WorldId};

/// A type that a field of an event can have.
pub trait Field {
    /// How the documentation names it.
    fn type_name() -> String
    where
        Self: Sized;
    /// Its JSON Schema.
    fn schema() -> Value
    where
        Self: Sized;
    /// True for types whose values may be left out.
    fn optional() -> bool
    where
        Self: Sized,
    {
        false
    }
    /// True when this value is left out of the written form.
    fn absent(&self) -> bool {
        false
    }
    /// Appends the value as search and CSV show it.
    fn text(&self, out: &mut String);
    /// Replaces every byte string in it by what `mask` makes of it.
    fn mask(&mut self, _mask: &dyn Fn(&[u8]) -> Bytes) {}
}

macro_rules! shown {
    ($($ty:ty, $name:literal, $schema:expr;)+) => {
        $(impl Field for $ty {
            fn type_name() -> String { $name.into() }
            fn schema() -> Value { $schema }
            fn text(&self, out: &mut String) {
                use std::fmt::Write;
                let _ = write!(out, "{self}");
            }
        })+
    };
}

shown! {
    bool, "boolean", json!({"type": "boolean"});
    u8, "number", json!({"type": "integer", "minimum": 0, "maximum": 255});
    u16, "number", json!({"type": "integer", "minimum": 0, "maximum": 65535});
    u32, "number", json!({"type": "integer", "minimum": 0});
    u64, "number", json!({"type": "integer", "minimum": 0});
    i32, "number", json!({"type": "integer"});
    i64, "number", json!({"type": "integer"});
    IpAddr, "address", json!({"type": "string"});
    SocketAddr, "address:port", json!({"type": "string"});
    Time, "time", json!({"type": "string", "format": "date-time"});
    SessionId, "session id", json!({"type": "string", "format": "uuid"});
    WorldId, "world id", json!({"type": "string", "format": "uuid"});
    Sha256, "SHA-256", json!({"type": "string", "pattern": "^[0-9a-f]{64}$"});
}

impl Field for String {
    fn type_name() -> String {
        "string".into()
    }
    fn schema() -> Value {
        json!({"type": "string"})
    }
    fn text(&self, out: &mut String) {
        out.push_str(self);
    }
    fn mask(&mut self, mask: &dyn Fn(&[u8]) -> Bytes) {
        *self = mask(self.as_bytes()).to_text_lossy().into_owned();
    }
}

impl Field for Bytes {
    fn type_name() -> String {
        "bytes".into()
    }
    fn schema() -> Value {
        json!({"$ref": "#/$defs/bytes"})
    }
    fn text(&self, out: &mut String) {
        out.push_str(&self.to_text_lossy());
    }
    fn mask(&mut self, mask: &dyn Fn(&[u8]) -> Bytes) {
        *self = mask(self.as_slice());
    }
}

impl<T: Field> Field for Option<T> {
    fn type_name() -> String {
        T::type_name()
    }
    fn schema() -> Value {
        T::schema()
    }
    fn optional() -> bool {
        true
    }
    fn absent(&self) -> bool {
        self.is_none()
    }
    fn text(&self, out: &mut String) {
        if let Some(value) = self {
            value.text(out);
        }
    }
    fn mask(&mut self, mask: &dyn Fn(&[u8]) -> Bytes) {
        if let Some(value) = self {
            value.mask(mask);
        }
    }
}

impl<T: Field> Field for Vec<T> {
    fn type_name() -> String {
        format!("list of {}", T::type_name())
    }
    fn schema() -> Value {
        json!({"type": "array", "items": T::schema()})
    }
    fn text(&self, out: &mut String) {
        for (i, value) in self.iter().enumerate() {
            if i > 0 {
                out.push(' ');
            }
            value.text(out);
        }
    }
    fn mask(&mut self, mask: &dyn Fn(&[u8]) -> Bytes) {
        for value in self {
            value.mask(mask);
        }
    }
}
