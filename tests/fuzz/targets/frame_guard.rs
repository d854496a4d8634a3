//! What the frame guard lets through does no harm to the decoders behind it, and how the stream was cut into pieces makes
//! no difference. The input is what came over a connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bailiwick::directory::fuzzing::frame_guard(bytes));
