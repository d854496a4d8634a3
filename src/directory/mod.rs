//! The LDAP directory: whom it knows, and which groups they are in.

mod base64;
pub mod embedded;
pub mod frame;
pub mod ldif;
