//! The service from outside.

#[cfg(test)]
mod directory;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod slapd;
