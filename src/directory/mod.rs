//! The LDAP directory: whom it knows, and which groups they are in.

pub mod frame;
