//! What a control's value says is understood whole or is an error. The input is the value.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bailiwick::directory::fuzzing::control_values(bytes));
