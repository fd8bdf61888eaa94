//! Terminals alone: golden lines and bounds.
