//! The schema of the record: events, identifiers and time. No I/O.
