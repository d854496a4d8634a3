//! The LDAP directory: whom it knows, and which groups they are in.

mod account;
mod entry;
mod error;
mod filter;
pub mod frame;
mod usernames;

pub use error::{LookupError, PasswordFault, ResultCode, Unreachable};
pub use filter::TemplateError;
pub use usernames::Usernames;
