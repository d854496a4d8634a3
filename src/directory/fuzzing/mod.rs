//! What holds for whatever comes from outside, as functions of the bytes: each is the body of a fuzz target (`tests/fuzz`),
//! and fails by an assertion. Only in builds of fuzz targets, and of tests, which run them over the kept corpora.

mod controls;
mod entries;
mod frames;
mod names;

pub use controls::control_values;
pub use entries::entry_decoder;
pub use frames::frame_guard;
pub use names::{dn, ldif};

use super::frame::{Frame, FrameError, FrameGuard, Limits, Peer};

/// Small enough that every limit can be broken by a short input.
const LIMITS: Limits = Limits { max_message: 1 << 16, max_depth: 16 };

/// The messages in these bytes, and how they end; `None` for "more may follow".
fn frames(peer: Peer, bytes: &[u8]) -> (Vec<Frame>, Option<FrameError>) {
    let mut guard = FrameGuard::new(peer, LIMITS);
    guard.push(bytes);
    let mut found = Vec::new();
    let end = drain(&mut guard, &mut found);
    (found, end)
}

fn drain(guard: &mut FrameGuard, found: &mut Vec<Frame>) -> Option<FrameError> {
    loop {
        match guard.next() {
            Ok(Some(frame)) => found.push(frame),
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// A property, and the folder of inputs that are kept for it.
    type Target = (&'static str, fn(&[u8]));

    const TARGETS: [Target; 5] = [
        ("frame_guard", super::frame_guard),
        ("entry_decoder", super::entry_decoder),
        ("control_values", super::control_values),
        ("dn", super::dn),
        ("ldif", super::ldif),
    ];

    #[test]
    fn what_the_fuzz_targets_keep_still_holds() {
        for (name, holds) in TARGETS {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
            let mut kept: Vec<_> =
                std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            kept.sort();
            assert!(kept.len() > 10, "{name}: {} inputs", kept.len());
            for path in kept {
                let bytes = std::fs::read(&path).unwrap();
                let outcome = std::panic::catch_unwind(|| holds(&bytes));
                assert!(outcome.is_ok(), "{}", path.display());
            }
        }
    }
}
