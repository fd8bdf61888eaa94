//! The web console: API and pages.
