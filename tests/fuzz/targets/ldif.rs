//! LDIF is read or refused with the line, and what was read is read again from what is written of it. The input is the text.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bailiwick::directory::fuzzing::ldif(bytes));
