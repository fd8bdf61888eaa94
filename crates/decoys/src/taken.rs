//! Who took which bait last: so that the use of a stolen credential names the session that stole it.
//!
//! [`Noting`] stands before the recorder and looks at what passes; [`Taken`] is what it remembers, bounded by the number of baits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use turncoat_event::record::{Item, Recorder};
use turncoat_event::{Kind, Mark, Origin, Refused, SessionId, Watermark};

/// Baits remembered; a cover has about a dozen.
const MOST: usize = 256;

/// The session that last read each bait.
#[derive(Default)]
pub struct Taken(Mutex<BTreeMap<String, SessionId>>);

impl Taken {
    /// What the record knows of the time before: each bait with its last reader.
    pub fn new(known: impl IntoIterator<Item = (String, SessionId)>) -> Taken {
        Taken(Mutex::new(known.into_iter().take(MOST).collect()))
    }

    /// The session that read this bait last.
    pub fn by(&self, bait: &str) -> Option<SessionId> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(bait)
            .copied()
    }

    fn note(&self, item: &Item) {
        let Item::Event(draft) = item else { return };
        if let (Kind::BaitRead(b), Some(session)) = (&draft.kind, draft.origin.session) {
            let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if map.len() < MOST || map.contains_key(&b.bait) {
                map.insert(b.bait.clone(), session);
            }
        }
    }
}

/// A recorder that also remembers who took a bait.
pub struct Noting {
    /// Where everything goes.
    pub recorder: Arc<dyn Recorder>,
    /// What is remembered.
    pub taken: Arc<Taken>,
}

impl Recorder for Noting {
    fn submit(&self, item: Item) -> Result<Mark, Refused> {
        self.taken.note(&item);
        self.recorder.submit(item)
    }

    fn watermark(&self) -> &Watermark {
        self.recorder.watermark()
    }

    fn accepting(&self) -> bool {
        self.recorder.accepting()
    }

    fn pace(&self, origin: &Origin) -> Duration {
        self.recorder.pace(origin)
    }
}
