//! What is done about campaigns: rules decide, alerts tell, blocks close the protected side.
//!
//! [`when`] is the language of conditions, [`act`] that of actions; [`blocks`] keeps what is closed and until when, never beyond the
//! allow-list. All of it is pure: the process that decides passes facts and time in, and sends what comes out to the processes that act.

pub mod act;
pub mod blocks;
pub mod engine;
pub mod happen;
pub mod incident;
pub mod memory;
pub mod net;
pub mod nft;
pub mod settings;
pub mod when;
