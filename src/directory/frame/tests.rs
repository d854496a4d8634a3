use std::panic::{AssertUnwindSafe, catch_unwind};

use ldap3::{LdapConnAsync, LdapConnSettings, Scope, StdStream};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const LIMITS: Limits = Limits { max_message: 1 << 20, max_depth: 16 };

/// The result of a search, with message id 1.
const DONE: &[u8] = b"\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
/// The entry `cn=a` with `cn: a`.
const ENTRY: &[u8] = b"\x30\x18\x02\x01\x01\x64\x13\x04\x04cn=a\x30\x0b\x30\x09\x04\x02cn\x31\x03\x04\x01a";
/// A result with a referral and a control, `1.2` with the value `x`.
const DONE_WITH_MORE: &[u8] = b"\x30\x22\x02\x01\x01\x65\x0f\x0a\x01\x0a\x04\x00\x04\x00\xa3\x06\x04\x04\
    ldap\xa0\x0c\x30\x0a\x04\x031.2\x04\x03xyz";
const REFERENCE: &[u8] = b"\x30\x0b\x02\x01\x01\x73\x06\x04\x04ldap";
const INTERMEDIATE: &[u8] = b"\x30\x0d\x02\x01\x01\x79\x08\x80\x031.2\x81\x01x";
/// The last page of a paged search.
const PAGED: &[u8] = b"\x30\x31\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00\xa0\x23\x30\x21\x04\x16\
    1.2.840.113556.1.4.319\x04\x07\x30\x05\x02\x01\x00\x04\x00";

fn frames(peer: Peer, bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
    let mut guard = FrameGuard::new(peer, LIMITS);
    guard.push(bytes);
    std::iter::from_fn(|| guard.next().transpose()).collect()
}

fn refused(bytes: &[u8]) -> FrameError {
    frames(Peer::Server, bytes).unwrap_err()
}

/// A response of message id 1 with this operation and content, and what follows it.
fn response(operation: u8, body: &[u8], rest: &[u8]) -> Vec<u8> {
    message(&[b"\x02\x01\x01", tlv(operation, body).as_slice(), rest].concat())
}

fn message(content: &[u8]) -> Vec<u8> {
    tlv(0x30, content)
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x84], length.as_slice(), content].concat()
}

#[test]
fn every_response_of_a_server_becomes_a_frame() {
    for bytes in [DONE, ENTRY, DONE_WITH_MORE, REFERENCE, INTERMEDIATE, PAGED] {
        let frames = frames(Peer::Server, bytes).unwrap();
        assert_eq!(frames.len(), 1, "{bytes:x?}");
        assert_eq!((frames[0].message_id, frames[0].operation), (1, bytes[5]), "{bytes:x?}");
        assert_eq!(frames[0].bytes, bytes);
    }
}

#[test]
fn messages_that_came_together_are_told_apart() {
    let frames = frames(Peer::Server, &[ENTRY, ENTRY, DONE, &DONE[..5]].concat()).unwrap();
    assert_eq!(frames.iter().map(|frame| frame.operation).collect::<Vec<_>>(), [0x64, 0x64, 0x65]);
}

#[test]
fn eighty_three_kilobytes_of_nested_sequences_are_too_deep() {
    let headers: Vec<u8> = (0..16_600_u32)
        .rev()
        .flat_map(|left| [&[0x30, 0x83], &(left * 5).to_be_bytes()[1..]].concat())
        .collect();
    assert_eq!(headers.len(), 83_000);
    assert_eq!(refused(&headers), FrameError::TooDeep { limit: 16 });
}

#[test]
fn a_length_is_refused_before_its_content_is_awaited() {
    let limit = LIMITS.max_message;
    assert_eq!(refused(b"\x30\x84\x7f\xff\xff\xff"), FrameError::TooLarge { length: 0x7fff_ffff + 6, limit });
    assert_eq!(
        refused(b"\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff"),
        FrameError::TooLarge { length: usize::MAX, limit }
    );
}

#[test]
fn what_is_not_definite_ber_is_refused() {
    for (bytes, error) in [
        (b"\x30\x80\x02\x01\x01".as_slice(), FrameError::IndefiniteLength),
        (b"\x30\x05\x02\x01\x01\x65\x80", FrameError::IndefiniteLength),
        (b"\x30\x89", FrameError::BadLength),
        (b"\x30\xff", FrameError::BadLength),
        (b"\x31\x00", FrameError::BadTag(0x31)),
        (b"GET / HTTP/1.1\r\n", FrameError::BadTag(b'G')),
        (b"\x30\x06\x02\x01\x01\x7f\x65\x00", FrameError::BadTag(0x7f)),
        // The result code announces five octets where two are left.
        (b"\x30\x08\x02\x01\x01\x65\x03\x0a\x05\x00", FrameError::ChildOverrun),
        // The operation reaches past the message.
        (b"\x30\x06\x02\x01\x01\x65\x07\x0a", FrameError::ChildOverrun),
        (b"\x30\x06\x02\x01\x01\x65\x01\x0a", FrameError::Truncated),
        (b"\x30\x04\x02\x01\x01\x65", FrameError::Truncated),
    ] {
        assert_eq!(refused(bytes), error, "{bytes:x?}");
    }
}

#[test]
fn message_ids_are_integers_between_0_and_2_to_the_31() {
    let with_id = |id: &[u8]| message(&[id, &DONE[5..]].concat());
    for id in [
        b"\x02\x00".as_slice(), // none
        b"\x02\x01\xff",        // -1
        b"\x02\x05\x00\x80\x00\x00\x00",
        b"\x02\x04\x80\x00\x00\x00",
        b"\x04\x01\x01", // an octet string
        b"\x22\x00",     // constructed
        b"\x02\x01\x00", // 0, and no notification
    ] {
        assert_eq!(refused(&with_id(id)), FrameError::BadMessageId, "{id:x?}");
    }
    assert_eq!(refused(b"\x30\x00"), FrameError::BadMessageId);
    let largest = frames(Peer::Server, &with_id(b"\x02\x04\x7f\xff\xff\xff")).unwrap();
    assert_eq!(largest[0].message_id, i32::MAX);
}

#[test]
fn each_peer_sends_its_own_operations() {
    assert_eq!(refused(b"\x30\x03\x02\x01\x01"), FrameError::BadOperation(0));
    assert_eq!(refused(b"\x30\x05\x02\x01\x01\x42\x00"), FrameError::BadOperation(0x42));
    assert_eq!(refused(b"\x30\x05\x02\x01\x01\x45\x00"), FrameError::BadOperation(0x45));
    assert_eq!(refused(b"\x30\x05\x02\x01\x01\x7e\x00"), FrameError::BadOperation(0x7e));
    assert_eq!(frames(Peer::Client, DONE), Err(FrameError::BadOperation(0x65)));
    assert_eq!(frames(Peer::Client, b"\x30\x05\x02\x01\x01\x42\x00").unwrap()[0].operation, 0x42);
    assert_eq!(frames(Peer::Client, b"\x30\x05\x02\x01\x00\x42\x00"), Err(FrameError::BadMessageId));
}

#[test]
fn results_have_their_three_parts() {
    for body in [
        b"".as_slice(),
        b"\x0a\x01\x00",
        b"\x0a\x01\x00\x04\x00",
        b"\x0a\x00\x04\x00\x04\x00",                     // a code of no octets
        b"\x0a\x05\x00\x00\x00\x00\x00\x04\x00\x04\x00", // and of five
        b"\x02\x01\x00\x04\x00\x04\x00",                 // an integer
        b"\x0a\x01\x00\x24\x00\x04\x00",                 // a constructed DN
        b"\x0a\x01\x00\x04\x01\xff\x04\x00",             // a DN that is not UTF-8
        b"\x0a\x01\x00\x04\x00\x04\x01\xff",             // such a message
        b"\x0a\x01\x00\x04\x00\x04\x00\x83\x00",         // a primitive referral
        b"\x0a\x01\x00\x04\x00\x04\x00\xa3\x02\x24\x00", // a constructed URI
        b"\x0a\x01\x00\x04\x00\x04\x00\xa7\x00",         // constructed credentials
        b"\x0a\x01\x00\x04\x00\x04\x00\x8a\x01\xff",     // a name that is not UTF-8
        b"\x0a\x01\x00\x04\x00\x04\x00\xab\x00",         // a constructed value
    ] {
        for operation in [0x61, 0x65, 0x78] {
            let error = refused(&response(operation, body, b""));
            assert!(
                matches!(error, FrameError::BadShape { operation: it, .. } if it == operation),
                "{body:x?}: {error}"
            );
        }
    }
}

#[test]
fn entries_references_and_intermediate_responses_have_their_shapes() {
    for (operation, body) in [
        (0x64, b"".as_slice()),
        (0x64, b"\x04\x01\xff\x30\x00"),
        (0x64, b"\x04\x00"),
        (0x64, b"\x04\x00\x04\x00"),
        (0x64, b"\x04\x00\x30\x00\x30\x00"),
        (0x64, b"\x04\x00\x30\x02\x30\x00"),
        (0x64, b"\x04\x00\x30\x05\x30\x03\x04\x01a"),
        (0x64, b"\x04\x00\x30\x07\x30\x05\x04\x01a\x30\x00"),
        (0x64, b"\x04\x00\x30\x09\x30\x07\x04\x01a\x31\x02\x31\x00"),
        (0x73, b""),
        (0x73, b"\x02\x01\x00"),
        (0x73, b"\x04\x01\xff"),
        (0x79, b"\xa1\x00"),
        (0x79, b"\x80\x01\xff"),
    ] {
        let error = refused(&response(operation, body, b""));
        assert!(
            matches!(error, FrameError::BadShape { operation: it, .. } if it == operation),
            "{body:x?}: {error}"
        );
    }
}

#[test]
fn controls_have_their_shape() {
    let control = |content: &[u8]| tlv(0xa0, &tlv(0x30, content));
    let paged = |value: &[u8]| control(&[tlv(0x04, b"1.2.840.113556.1.4.319"), tlv(0x04, value)].concat());
    for rest in [
        tlv(0x80, b""),
        tlv(0xa1, b""),
        tlv(0x8a, b"1.3.6.1.4.1.1466.20036"),
        tlv(0xa0, b"\x04\x00"),
        [tlv(0xa0, b""), tlv(0xa0, b"")].concat(),
        control(b""),
        control(b"\x24\x00"),
        control(b"\x04\x01\xff"),
        control(b"\x04\x031.2\x01\x00"),
        control(b"\x04\x031.2\x21\x00"),
        control(b"\x04\x031.2\x02\x01\x00"),
        control(b"\x04\x031.2\x01\x01\xff\x24\x00"),
        control(b"\x04\x031.2\x04\x00\x04\x00"),
        control(b"\x04\x161.2.840.113556.1.4.319"),
        paged(b""),
        paged(&[0x30; 4096]),
        paged(b"\x30\x03\x02\x01\x00"),
        paged(b"\x30\x05\x02\x01\x00\x04\x01"),
        paged(b"\x30\x05\x02\x01\x00\x04\x00\x00"),
        paged(b"\x30\x04\x02\x00\x04\x00"),
    ] {
        let error = refused(&response(0x65, &DONE[7..], &rest));
        assert!(matches!(error, FrameError::BadControls(_)), "{rest:x?}: {error}");
    }
}

#[test]
fn a_notice_of_disconnection_is_recognised_in_both_forms() {
    let name = tlv(0x8a, b"1.3.6.1.4.1.1466.20036");
    let result = b"\x0a\x01\x34\x04\x00\x04\x00";
    let standard =
        message(&[b"\x02\x01\x00".as_slice(), &tlv(0x78, &[result.as_slice(), &name].concat())].concat());
    let active_directory = message(&[b"\x02\x01\x00".as_slice(), &tlv(0x78, result), &name].concat());
    for bytes in [standard, active_directory] {
        assert_eq!(frames(Peer::Server, &bytes).unwrap()[0].disconnection_notice(), Some(52));
    }
    assert_eq!(frames(Peer::Server, DONE).unwrap()[0].disconnection_notice(), None);
}

#[test]
fn an_element_more_than_allowed_is_too_many() {
    let mut guard = FrameGuard::new(Peer::Client, Limits { max_message: 4 << 20, max_depth: 16 });
    let elements = [0x05, 0x00].repeat(MAX_ELEMENTS - 2);
    guard.push(&message(&[b"\x02\x01\x01".as_slice(), &tlv(0x63, &elements)].concat()));
    assert_eq!(guard.next(), Err(FrameError::TooManyElements));
}

#[test]
fn after_an_error_the_stream_stays_closed() {
    let mut guard = FrameGuard::new(Peer::Server, LIMITS);
    guard.push(b"\x30\x80");
    assert_eq!(guard.next(), Err(FrameError::IndefiniteLength));
    guard.push(DONE);
    assert_eq!(guard.next(), Err(FrameError::IndefiniteLength));
}

/// Decodes a response as `ldap3` and its callers do.
fn decode(frame: &Frame) {
    let (rest, message) = lber::parse::parse_tag(&frame.bytes).expect("the guard accepted it");
    assert!(rest.is_empty());
    let parts = message.expect_constructed().expect("a sequence");
    let operation = parts.into_iter().nth(1).expect("an operation");
    match frame.operation {
        0x64 => drop(ldap3::SearchEntry::construct(ldap3::ResultEntry::new(operation))),
        0x73 => drop(ldap3::parse_refs(operation)),
        0x79 => {}
        _ => drop(ldap3::LdapResult::from(lber::structures::Tag::StructureTag(operation))),
    }
}

/// Real messages with a few octets changed: most of what a guard has to tell apart.
fn nearly_responses() -> impl Strategy<Value = Vec<u8>> {
    let corpus = prop::sample::select(vec![DONE, ENTRY, DONE_WITH_MORE, REFERENCE, INTERMEDIATE, PAGED]);
    let octet = prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![0x00, 0x01, 0x04, 0x0a, 0x30, 0x31, 0x80, 0xa0, 0xff])
    ];
    (corpus, prop::collection::vec((any::<prop::sample::Index>(), octet), 0..4)).prop_map(
        |(bytes, changes)| {
            let mut bytes = bytes.to_vec();
            for (at, octet) in changes {
                let at = at.index(bytes.len());
                bytes[at] = octet;
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for peer in [Peer::Server, Peer::Client] {
            drop(frames(peer, &bytes));
        }
    }

    #[test]
    fn what_is_accepted_decodes_without_panic(bytes in nearly_responses()) {
        for frame in frames(Peer::Server, &bytes).unwrap_or_default() {
            prop_assert!(catch_unwind(AssertUnwindSafe(|| decode(&frame))).is_ok(), "{:x?}", frame.bytes);
        }
    }

    #[test]
    fn chunks_give_the_frames_of_the_whole(
        messages in prop::collection::vec(nearly_responses(), 0..5),
        sizes in prop::collection::vec(1_usize..9, 1..200),
    ) {
        let bytes = messages.concat();
        let mut guard = FrameGuard::new(Peer::Server, LIMITS);
        let mut found = Vec::new();
        let mut failed = None;
        let mut rest = bytes.as_slice();
        let mut sizes = sizes.into_iter().cycle();
        while failed.is_none() && !rest.is_empty() {
            let (chunk, later) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
            rest = later;
            guard.push(chunk);
            loop {
                match guard.next() {
                    Ok(Some(frame)) => found.push(frame),
                    Ok(None) => break,
                    Err(error) => { failed = Some(error); break; }
                }
            }
        }
        let mut whole = FrameGuard::new(Peer::Server, LIMITS);
        whole.push(&bytes);
        for frame in found {
            prop_assert_eq!(whole.next(), Ok(Some(frame)));
        }
        prop_assert_eq!(whole.next(), failed.map_or(Ok(None), Err));
    }
}

/// Answers a search of `ldap3` with these bytes, and tells whether its connection task survived them.
async fn ldap3_survives(bytes: &[u8]) -> bool {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(theirs));
    let (connection, mut ldap) = LdapConnAsync::with_settings(settings, "ldapi://%2F").await.unwrap();
    let driver = tokio::spawn(connection.drive());
    ours.set_nonblocking(true).unwrap();
    let mut ours = tokio::net::UnixStream::from_std(ours).unwrap();
    let mut stream = ldap.streaming_search("", Scope::Base, "(objectClass=*)", vec!["1.1"]).await.unwrap();
    let mut request = [0; 512];
    assert!(ours.read(&mut request).await.unwrap() > 0);
    ours.write_all(bytes).await.unwrap();
    drop(ours);
    while let Ok(Some(_)) = stream.next().await {}
    drop((stream, ldap));
    driver.await.is_ok()
}

#[test]
fn ldap3_survives_what_is_accepted_in_answer_to_a_search() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&nearly_responses(), |bytes| {
            for frame in frames(Peer::Server, &bytes).unwrap_or_default() {
                if matches!(frame.operation, 0x64 | 0x65 | 0x73 | 0x79) {
                    prop_assert!(runtime.block_on(ldap3_survives(&frame.bytes)), "{:x?}", frame.bytes);
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn without_the_guard_ldap3_does_not_survive_a_result_without_a_message() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let short = response(0x65, b"\x0a\x01\x00\x04\x00", b"");
    assert!(runtime.block_on(ldap3_survives(DONE)));
    assert!(!runtime.block_on(ldap3_survives(&short)), "so the guard's work is not needed any longer");
    assert!(frames(Peer::Server, &short).is_err());
}
