//! Tests of procfs.
