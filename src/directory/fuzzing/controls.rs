//! What reading the value of a control promises.

use ldap3::controls::{PagedResults, RawControl};

use super::frames;
use crate::directory::about::PAGED_RESULTS;
use crate::directory::ber::{boolean, encoded, octets, sequence};
use crate::directory::frame::Peer;
use crate::directory::search::Part;
use crate::directory::{feed, paging};

/// Reads the bytes as the value of each control and message that we know, which no guard looks into but for paged results:
///
/// - it is understood or it is an error; nothing panics, and nothing recurses;
/// - what is understood is understood whole: where a part of it cannot be read, it is an error, and never less than was said;
/// - what the guard lets through as paged results `ldap3` reads without panic, and we as it does.
pub fn control_values(bytes: &[u8]) {
    feed::read_value(bytes);
    paged_results(bytes);
}

fn paged_results(value: &[u8]) {
    let ours = paging::cookie(&Part {
        entries: Vec::new(),
        cut: None,
        controls: vec![RawControl {
            ctype: PAGED_RESULTS.to_owned(),
            crit: false,
            val: Some(value.to_vec()),
        }],
    });
    let (found, _) = frames(Peer::Server, &done_with(value));
    if found.is_empty() {
        return;
    }
    let PagedResults { cookie, .. } =
        RawControl { ctype: String::new(), crit: false, val: Some(value.to_vec()) }.parse();
    assert_eq!(ours, Ok(cookie));
}

/// A SearchResultDone with this value of paged results.
fn done_with(value: &[u8]) -> Vec<u8> {
    let control = encoded(sequence(vec![octets(PAGED_RESULTS), boolean(false), octets(value)]));
    let wrap = |tag: u8, content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes();
        [&[tag, 0x84], length.as_slice(), content].concat()
    };
    let done: &[u8] = b"\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
    wrap(0x30, &[done, &wrap(0xa0, &control)].concat())
}
