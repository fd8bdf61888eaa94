//! What a connection's loop shares whatever protocol it speaks: released bytes on their way out, and waiting for a time.

use std::future::pending;
use tokio::time::Instant;
use turncoat_event::Released;

/// Released bytes of which the network has taken a part, or none.
#[derive(Default)]
pub(crate) struct Sending(Option<(Released, usize)>);

impl Sending {
    /// Whether bytes are on their way.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Whether none are.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Sends these next. Nothing else may be on its way.
    pub fn put(&mut self, bytes: Released) {
        self.0 = Some((bytes, 0));
    }

    /// What the network has not taken yet.
    pub fn rest(&self) -> &[u8] {
        let rest = self
            .0
            .as_ref()
            .and_then(|(bytes, done)| bytes.as_ref().get(*done..));
        rest.unwrap_or_default()
    }

    /// The network took so many bytes of the rest.
    pub fn took(&mut self, n: usize) {
        if let Some((bytes, done)) = &mut self.0 {
            *done += n;
            if *done >= bytes.as_ref().len() {
                self.0 = None;
            }
        }
    }
}

/// Waits until then; without a time, for ever.
pub(crate) async fn at(t: Option<Instant>) {
    match t {
        Some(t) => tokio::time::sleep_until(t).await,
        None => pending().await,
    }
}
