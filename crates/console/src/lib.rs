//! The console: the record, the campaigns and what is done about them, in a browser and as a JSON API.
//!
//! It is served by the process that writes the record, over listening sockets that it is given ([`serve`]). It reads the record with a
//! reader of its own ([`readers`]) and asks the program for everything that changes something ([`Host`]), in the words of the command
//! line's requests. One table of routes ([`routes`]) drives the dispatch, the OpenAPI document and the documentation.
//!
//! Three things keep it safe. Who may ask is decided before anything is read ([`guard`]: Host header, origin, [`visits`], tokens). What is
//! shown was an intruder's once: templates escape it, [`words`] makes the invisible visible and links dead, and the policy in [`reply`]
//! forbids every script and style but our own files. And everything is bounded: connections, headers, bodies, rows, streams ([`server`]).

pub mod archive;
pub mod assets;
pub mod call;
pub mod chart;
pub mod guard;
pub mod host;
pub mod live;
pub mod metrics;
pub mod openapi;
pub mod origins;
pub mod pages;
pub mod readers;
pub mod reply;
pub mod routes;
pub mod search;
pub mod secret;
pub mod server;
pub mod shapes;
pub mod tally;
pub mod visits;
pub mod words;

mod api;

pub use host::{Host, Settings, Tls};
pub use server::{Console, serve};
