//! The circumstances of a request: time, source address, cluster.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

/// What surrounds a request. The clock is read once a review, outside of the pure modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// When the decision is to hold.
    pub now: Timestamp,
    /// Which cluster asks: from the path, or `server.cluster`; `None` where neither says so.
    pub cluster: Option<Arc<str>>,
    /// Where the user sits, as far as it can be believed.
    pub source: SourceAddress,
}

/// The address of the user's machine. No review carries it by itself (kubernetes/kubernetes#121014): whatever
/// authenticated the user must put it into `extra`, and it is believed only from the clusters that are trusted with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceAddress {
    /// Exactly one address, from a trusted cluster; IPv4-mapped IPv6 addresses are unwrapped.
    Known(IpAddr),
    /// The request carries none.
    Missing,
    /// The request carries several.
    Several,
    /// What the request carries is no address.
    Malformed,
    /// The cluster is not in `location.trustedClusters`.
    Untrusted,
}

impl SourceAddress {
    /// Why it is not known, in words; `None` where it is.
    #[must_use]
    pub fn unknown_because(self) -> Option<&'static str> {
        match self {
            Self::Known(_) => None,
            Self::Missing => Some("the request carries no source address"),
            Self::Several => Some("the request carries several source addresses"),
            Self::Malformed => Some("the request's source address is malformed"),
            Self::Untrusted => Some("the cluster is not trusted with source addresses"),
        }
    }
}
