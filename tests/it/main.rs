//! The service from outside.
#![allow(clippy::disallowed_methods, reason = "tests have a clock and files")]

#[cfg(test)]
mod directory;
#[cfg(test)]
mod directory_faults;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod slapd;
