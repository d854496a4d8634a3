//! A connection of one's own, for a change feed: searches that have no end, beside ordinary ones.

use std::sync::Arc;
use std::time::Instant;

use ldap3::asn1::{PL, StructureTag};
use ldap3::controls::{Control, RawControl};
use ldap3::{ResultEntry, Scope};
use tokio::runtime::Handle;

use super::about::About;
use super::conn::{Connection, Found, Query, ServerId};
use super::entry::Entry;
use super::search::{RawStream, finish, ldap_error};
use super::{LookupError, ResultCode};

/// A connection outside of the pool's slots, bound as any other. It is not renewed and not asked whether it works: that is
/// its owner's care. It ends with its owner and its streams, and when the pool is stopped.
pub(super) struct Dedicated {
    connection: Arc<Connection>,
}

/// A search that goes on until the server ends it or it is dropped, which abandons it. No operation's time-out applies.
///
/// What came and was not read is bounded ([`MAX_UNREAD`](super::bridge::MAX_UNREAD)): where it is more, the whole
/// connection waits for the reader. A reader that searches on the connection of its own stream must not let the stream
/// wait for that search.
pub(super) struct Stream {
    /// `None` when it ended.
    stream: Option<RawStream>,
    id: i32,
    connection: Arc<Connection>,
}

/// What a stream brings.
#[derive(Debug)]
pub(super) enum Streamed {
    /// An entry (RFC 4511, 4.5.2).
    Entry {
        /// Its name as it was sent: the DN, before which the extended forms of Active Directory may stand
        /// (`<GUID=...>;<SID=...>;`, MS-ADTS 3.1.1.3.4.1.5).
        name: String,
        /// The entry, with the DN alone for a name; why not, where it cannot be read. The stream goes on.
        entry: Result<Entry, LookupError>,
        /// The controls that came with it, as they came.
        controls: Vec<RawControl>,
    },
    /// An intermediate response (RFC 4511, 4.13), as it came.
    Intermediate {
        /// The OID of its kind.
        name: Option<String>,
        /// What that kind says.
        value: Option<Vec<u8>>,
    },
    /// The end; nothing comes after it.
    End {
        /// The result, which may be any.
        code: ResultCode,
        /// The controls that came with it, as they came.
        controls: Vec<RawControl>,
    },
}

impl Dedicated {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection }
    }

    /// To whom it is connected.
    pub(super) fn server(&self) -> ServerId {
        self.connection.id()
    }

    /// What the server said of itself.
    pub(super) fn about(&self) -> &Arc<About> {
        self.connection.about()
    }

    /// Whether operations may be sent on it.
    #[cfg(test)]
    pub(super) fn is_usable(&self) -> bool {
        self.connection.is_usable()
    }

    /// Where its work runs.
    pub(super) fn handle(&self) -> &Handle {
        self.connection.handle()
    }

    /// Searches, in one operation, which has its time-out as any other.
    pub(super) async fn search(&self, query: Query, deadline: Instant) -> Result<Found, LookupError> {
        self.connection.search(query, deadline).await
    }

    /// Begins a search that goes on.
    ///
    /// # Errors
    /// Where it cannot be sent. What the server says of it comes from the stream.
    pub(super) async fn stream(
        &self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[&str],
        controls: Vec<RawControl>,
    ) -> Result<Stream, LookupError> {
        let mut ldap = self.connection.link().ldap.clone();
        if !controls.is_empty() {
            ldap.with_controls(controls);
        }
        let attributes = attributes.iter().map(|name| (*name).to_owned()).collect();
        let mut sending = Sending { connection: &self.connection, is_known: false };
        let begun = ldap.streaming_search(base, scope, filter, attributes);
        let begun = tokio::time::timeout(self.connection.operation_timeout(), begun).await;
        let mut stream = begun.map_err(|_| LookupError::TimedOut)?.map_err(|error| {
            let error = ldap_error(error);
            sending.is_known = error != LookupError::Lost;
            error
        })?;
        sending.is_known = true;
        let id = stream.ldap_handle().last_id();
        Ok(Stream { stream: Some(stream), id, connection: self.connection.clone() })
    }
}

/// A search of which nobody knows whether it was sent ends the connection: without its message id, what comes could never
/// be told to be read.
struct Sending<'a> {
    connection: &'a Connection,
    is_known: bool,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if !self.is_known {
            self.connection.link().kill();
        }
    }
}

impl Stream {
    /// What comes next; `None` after the end. May be dropped while it waits, and nothing is lost.
    ///
    /// # Errors
    /// Where the connection is lost, after which nothing comes.
    pub(super) async fn next(&mut self) -> Result<Option<Streamed>, LookupError> {
        loop {
            let Some(stream) = &mut self.stream else { return Ok(None) };
            let next = stream.next().await.map_err(ldap_error);
            self.connection.link().state.was_read(self.id);
            match next {
                Ok(Some(result)) if result.is_ref() => {}
                Ok(Some(result)) => return Ok(Some(Streamed::read(result))),
                Ok(None) => {
                    let result = stream.res.as_mut();
                    let end = result.map(|result| Streamed::End {
                        code: ResultCode(result.rc),
                        controls: raw(std::mem::take(&mut result.ctrls)),
                    });
                    self.close();
                    return end.ok_or(LookupError::Lost).map(Some);
                }
                Err(error) => {
                    self.close();
                    return Err(error);
                }
            }
        }
    }

    /// Ends it, on both sides.
    fn close(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        let (id, connection) = (self.id, self.connection.clone());
        self.connection.handle().spawn(async move {
            finish(connection.link().ldap.clone(), stream).await;
            connection.link().state.is_over(id);
        });
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}

impl Streamed {
    fn read(result: ResultEntry) -> Self {
        let is_intermediate = result.is_intermediate();
        let (mut tag, controls) = (result.0, raw(result.1));
        if is_intermediate {
            let (mut name, mut value) = (None, None);
            for part in tag.expect_constructed().unwrap_or_default() {
                let id = part.id;
                match (id, part.expect_primitive()) {
                    (0, Some(bytes)) => name = String::from_utf8(bytes).ok(),
                    (1, Some(bytes)) => value = Some(bytes),
                    _ => {}
                }
            }
            return Self::Intermediate { name, value };
        }
        let name = take_extended_name(&mut tag).unwrap_or_default();
        Self::Entry { name, entry: Entry::decode(ResultEntry::new(tag)), controls }
    }
}

/// The name of an entry as it was sent; leaves the DN alone in its place.
fn take_extended_name(tag: &mut StructureTag) -> Option<String> {
    let PL::C(parts) = &mut tag.payload else { return None };
    let PL::P(bytes) = &mut parts.first_mut()?.payload else { return None };
    let name = String::from_utf8(bytes.clone()).ok()?;
    let mut dn = name.as_str();
    while let Some((_, rest)) = dn.strip_prefix('<').and_then(|rest| rest.split_once(">;")) {
        dn = rest;
    }
    *bytes = dn.as_bytes().to_vec();
    Some(name)
}

fn raw(controls: Vec<Control>) -> Vec<RawControl> {
    controls.into_iter().map(|control| control.1).collect()
}

#[cfg(test)]
mod tests;
