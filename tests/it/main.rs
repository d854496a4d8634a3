mod directory;
mod slapd;
