//! The service from outside.

#[cfg(test)]
mod faulty;
