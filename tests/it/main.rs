//! The service from outside.

mod directory;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod faulty;
mod slapd;
