//! The journal as other services see it: reads from any member, proposals to the leader.
//!
//! - [`Journal`]: reads and proposals, each tried again until it is decided or its [`Patience`] ends.
//!   A request whose answer was lost is found by its id: [`Journal::recall`].
//! - `leader`: who leads, as far as is known, and how that is found out. It is configured nowhere: any member tells who leads,
//!   and one that does not lead often knows who does.
//! - `verdict`: what another attempt could change, and what it could not.
//!
//! Nothing is done twice by trying again: reads change nothing, and a proposal carries a request id, so that the journal
//! answers a repeated one with its first outcome. Nothing here signs or judges what is proposed.

mod journal;
mod leader;
mod verdict;

pub use journal::{Journal, MAX_PROPOSALS, PAUSE, Patience, Recalled, committed};
