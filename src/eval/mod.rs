//! From a request, facts and circumstances to a decision: total, synchronous, without clock, I/O or log; traced or not
//! by the same code.

mod account;
mod decide;
mod facts;
mod plan;
mod policy;
mod reply;
mod settings;
mod time;
mod trace;
mod truth;

pub use account::{AccountFinding, AccountProblem, account_findings};
pub use decide::{Cause, Evaluation, Would, decide, is_exempt, would};
pub use facts::{Bound, Prepared, View};
pub use plan::{Plan, circumstances, plan};
pub use reply::reply;
pub use settings::{
    Accounts, Default as DefaultDecision, Effect as AccountEffect, Settings, WhenUndetermined,
    WhenUnreachable,
};
pub use trace::{Evaluated, Note, Off, Recorder, Trace};
pub use truth::{Timed, Truth, Unknown};
