//! Durable events, search, artifacts, recordings, outbox.
