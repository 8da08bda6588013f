//! Decides who may run which statement under which obligations.
//!
//! ```text
//! Document (as sent) -> compile -> Policy -> decide(Request) -> Decision { Allow | Hold | Deny, masks }
//! ```
//!
//! Start at [`Policy::decide`]. Deciding is total: there is no error. A statement that `sql` could not understand,
//! a session without a policy and a policy that does not compile all end in [`Effect::Deny`] with a reason.

mod batch;
pub mod code;
mod compile;
mod decide;
mod decision;
mod detect;
pub mod document;
mod mask;
mod pattern;
mod principal;

pub use code::Code;
pub use compile::{Ceiling, Policy, Problem, check};
pub use decide::Request;
pub use decision::{ColumnMask, Decision, Demand, Detection, Effect, Lifted, Refusal, Rule};
pub use detect::{Detectors, Effort, Found, Hints};
pub use document::Document;
pub use mask::{Kind, Mask, MaskKey, Value};
pub use principal::{Human, Principal, RoleGrant};
