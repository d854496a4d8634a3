//! The LDAP directory: whom it knows, and which groups they are in.

mod account;
mod breaker;
mod bridge;
mod credentials;
mod entry;
mod error;
mod filter;
pub mod frame;
mod link;
mod settings;
mod usernames;

pub use error::{LookupError, PasswordFault, ResultCode, Unreachable};
pub use filter::TemplateError;
pub use settings::{
    Attribute, Bind, ChangeFeed, Flavour, GroupSearch, MatchRule, PoolSettings, Settings, SettingsError,
    SettingsProblem, Strategy, Timeouts, TlsSettings, UserSearch,
};
pub use usernames::Usernames;
