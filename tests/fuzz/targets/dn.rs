//! Names are compared by a normal form that is stable, and ordered by what stands below what. The input is one name a line.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bailiwick::directory::fuzzing::dn(bytes));
