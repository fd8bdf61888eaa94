//! Open files of recordings, as many as there is room for.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use turncoat_event::SessionId;

use crate::{Layout, Result, StoreError, recording};

/// Recordings that stay open between batches.
const OPEN_FILES: usize = 256;

pub(super) struct Tape {
    pub(super) file: File,
    pub(super) length: u64,
    used: u64,
}

/// The open file of a session's recording; the longest unused one is closed when there are too many.
pub(super) fn tape<'a>(
    tapes: &'a mut HashMap<SessionId, Tape>,
    layout: &Layout,
    session: SessionId,
    now: u64,
) -> Result<&'a mut Tape> {
    if !tapes.contains_key(&session) && tapes.len() >= OPEN_FILES {
        // Half of them at once, so that the search is paid for seldom.
        let mut ages: Vec<(u64, SessionId)> = tapes.iter().map(|(id, t)| (t.used, *id)).collect();
        ages.sort_unstable();
        for (_, id) in ages.iter().take(OPEN_FILES / 2).filter(|(used, _)| *used != now) {
            tapes.remove(id);
        }
    }
    match tapes.entry(session) {
        std::collections::hash_map::Entry::Occupied(entry) => {
            let tape = entry.into_mut();
            tape.used = now;
            Ok(tape)
        }
        std::collections::hash_map::Entry::Vacant(entry) => {
            let path = layout.recording(session);
            if let Some(dir) = path.parent() {
                crate::layout::make_private(dir)?;
            }
            let mut file = recording::open_to_append(layout, session)?;
            private(path.clone());
            let mut length = file.metadata().map_err(StoreError::io(&path))?.len();
            if length < recording::MAGIC.len() as u64 {
                // New, or cut off at its birth (a kill, a full disk).
                file.set_len(0).map_err(StoreError::io(&path))?;
                file.write_all(recording::MAGIC).map_err(StoreError::io(&path))?;
                length = recording::MAGIC.len() as u64;
            }
            Ok(entry.insert(Tape {
                file,
                length,
                used: now,
            }))
        }
    }
}

pub(super) fn private(path: PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    // Not a reason to refuse work: the directory above is closed to others anyway.
    let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
}
