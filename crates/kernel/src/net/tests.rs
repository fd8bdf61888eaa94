//! Sockets alone.
