//! May they: one question, one answer, decided by Rego.
//!
//! A [`Question`] says who asks for which operation on what. An [`Evaluator`] answers with a [`Decision`]: allow (and
//! under which role), deny (and why), or needs a second person.
//!
//! - [`question`]: the one input shape, and its size bounds.
//! - [`decision`]: the one output shape.
//! - [`bundle`]: the default bundle, embedded from `bundle/*.rego`, and the site's folder; both compiled and hashed.
//! - [`screen`]: what a site's sources may not contain, found with the parser's own lexer.
//! - [`evaluator`]: the bounded threads, the deadline, the reload.
//!
//! The default bundle reads the operations table of `pact-schemas` as data, so a right is written down once.
//!
//! Invariants, as absences:
//! - No site rule can grant anything. Site rules are compiled in an engine of their own, which holds nothing of the
//!   default bundle, and they are asked only for `deny`, only after the default bundle said yes.
//! - No answer is a yes because something went wrong: undefined results, errors, a full queue, an input over its bound
//!   and a passed deadline are all refusals.
//! - No rule runs longer than its limit: engines stop between steps, single steps that could take long are refused
//!   when the bundle is read, and the caller stops waiting at the deadline whatever the thread does.
//! - No rule reads a clock, the network, the environment or a file: those builtins are not compiled in.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod bundle;
pub mod decision;
pub mod evaluator;
pub mod question;
pub mod screen;

mod pool;

pub use bundle::{Bundle, BundleError, Limits};
pub use decision::{Decision, DenyKind};
pub use evaluator::Evaluator;
pub use question::{Asker, AskerKind, Question, Target, VclusterRules};
