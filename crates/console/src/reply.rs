//! Answers, and the headers that every one of them has.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use maud::Markup;
use serde_json::Value as Json;
use tokio::sync::mpsc::Receiver;

/// Nothing but our own files runs or styles, nothing is embedded, nothing leaves; a script cannot make markup of text.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Headers of every answer.
const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    // Not `no-referrer`: browsers would then hide a form's origin, which is checked.
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    ),
    ("cache-control", "no-store"),
];

/// What is answered.
pub enum Reply {
    /// A page.
    Page(Markup),
    /// JSON.
    Json(Json),
    /// A text of this content type, written by us.
    Text(&'static str, String),
    /// One of our own files, and the tag by which a browser knows that it has it.
    Asset(&'static str, &'static [u8], &'static str),
    /// Bytes to be kept, never to be shown.
    Download(String, &'static str, Vec<u8>),
    /// See there.
    Goto(String),
    /// See there, with a cookie.
    Welcome(String, String),
    /// Pieces, as they come.
    Stream(&'static str, Receiver<Bytes>),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Status.
    pub status: u16,
    /// One line for whoever asked.
    pub why: String,
}

impl Refusal {
    /// There is no such thing.
    pub fn absent(why: impl Into<String>) -> Refusal {
        Refusal {
            status: 404,
            why: why.into(),
        }
    }

    /// It was asked for wrongly.
    pub fn wrong(why: impl Into<String>) -> Refusal {
        Refusal {
            status: 400,
            why: why.into(),
        }
    }

    /// With another status.
    pub fn new(status: u16, why: impl Into<String>) -> Refusal {
        Refusal {
            status,
            why: why.into(),
        }
    }
}

impl From<turncoat_store::StoreError> for Refusal {
    fn from(error: turncoat_store::StoreError) -> Refusal {
        let status = match &error {
            turncoat_store::StoreError::Refused(_) => 400,
            turncoat_store::StoreError::Absent(_) => 404,
            turncoat_store::StoreError::Io { source, .. }
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                404
            }
            _ => 500,
        };
        Refusal {
            status,
            why: error.to_string(),
        }
    }
}

impl From<turncoat_store::rusqlite::Error> for Refusal {
    fn from(error: turncoat_store::rusqlite::Error) -> Refusal {
        turncoat_store::StoreError::from(error).into()
    }
}

/// The body of an answer.
pub enum Payload {
    /// All at once.
    Whole(Option<Bytes>),
    /// As it comes.
    Pieces(Receiver<Bytes>),
}

impl http_body::Body for Payload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Payload::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Payload::Pieces(from) => from.poll_recv(cx).map(|piece| piece.map(|b| Ok(Frame::data(b)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Payload::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Payload::Pieces(_) => SizeHint::default(),
        }
    }
}

/// A response with this body and everything that each has.
fn response(status: u16, kind: &str, body: Payload, more: &[(&str, &str)]) -> Response<Payload> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for (name, value) in HEADERS.iter().chain(&[("content-type", kind)]).chain(more) {
        // A value that cannot be one (there is none among ours) is left out.
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            headers.insert(name, value);
        }
    }
    response
}

fn whole(bytes: impl Into<Bytes>) -> Payload {
    Payload::Whole(Some(bytes.into()))
}

const HTML: &str = "text/html; charset=utf-8";

impl Reply {
    /// As a response. `known` is the tag of the copy that the browser has.
    pub fn into_response(self, known: Option<&str>) -> Response<Payload> {
        match self {
            Reply::Page(markup) => response(200, HTML, whole(markup.into_string()), &[]),
            Reply::Json(json) => response(200, "application/json", whole(json.to_string()), &[]),
            Reply::Text(kind, text) => response(200, kind, whole(text), &[]),
            Reply::Asset(kind, bytes, tag) => {
                let more = [("cache-control", "no-cache"), ("etag", tag)];
                if known == Some(tag) {
                    return response(304, kind, Payload::Whole(None), &more);
                }
                response(200, kind, whole(bytes), &more)
            }
            Reply::Download(name, kind, bytes) => {
                let name: String = name
                    .chars()
                    .filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c))
                    .collect();
                let how = format!("attachment; filename=\"{name}\"");
                response(200, kind, whole(bytes), &[("content-disposition", &how)])
            }
            Reply::Goto(place) => response(303, HTML, Payload::Whole(None), &[("location", &place)]),
            Reply::Welcome(place, cookie) => response(
                303,
                HTML,
                Payload::Whole(None),
                &[("location", &place), ("set-cookie", &cookie)],
            ),
            Reply::Stream(kind, from) => {
                // A proxy in between must not collect what is to be seen at once.
                response(200, kind, Payload::Pieces(from), &[("x-accel-buffering", "no")])
            }
        }
    }
}

impl Refusal {
    /// As a response: JSON below `/api/`, else a page.
    pub fn into_response(self, api: bool) -> Response<Payload> {
        let retry: &[(&str, &str)] = if self.status == 429 {
            &[("retry-after", "30")]
        } else {
            &[]
        };
        if api {
            let json = serde_json::json!({"error": self.why});
            return response(self.status, "application/json", whole(json.to_string()), retry);
        }
        let page = crate::pages::refusal(self.status, &self.why);
        response(self.status, HTML, whole(page.into_string()), retry)
    }
}
