//! The third stage: does the request pass all checks? Mutating plugins first, then validating ones, each over what the
//! one before left.
