//! Entries are read out of what the guard lets through without losing, moving or inventing a value; a range of values is never
//! taken for all of them. The input is what came over a connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bailiwick::directory::fuzzing::entry_decoder(bytes));
