//! A directory server for tests that plays OpenLDAP, Active Directory or 389 Directory Server, in this process and over
//! plain TCP on the loopback.
//!
//! ```ignore
//! let server = Persona::active_directory(COMPANY).await;
//! server.hold(|search| search.base.starts_with("OU=Groups"));
//! // ... what is tested asks ...
//! server.held(1).await;
//! server.change(|content| content.remove_value(LEAF, "member", ADA));
//! server.release();
//! ```
//!
//! A search is answered from the content of the moment at which it comes, even if the answer is held or late. What was
//! seen of slapd 2.5 and of Samba 4.17 is done as they do it; what only Windows does, as MS-ADTS says.

mod answer;
mod client;
mod connection;
mod content;
mod controls;
mod dirsync;
mod domain;
mod faults;
mod feed;
mod gate;
mod identity;
mod manner;
mod notify;
mod pages;
mod range;
mod reply;
mod rules;
pub mod samples;
mod seen;
mod server;
mod syncrepl;
mod view;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use content::{Content, Kind, MemberOf};
pub use faults::Fault;
pub use identity::{BUILTIN_USERS, DOMAIN_SID, guid, sid, sid_text, uuid_octets};
pub use manner::{Manner, PageCookies};
pub use reply::{Notice, Outcome};
pub use seen::{Asked, Seen};

use server::{Directory, Order, Server};

/// How long a test waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server. It ends when this is dropped.
pub struct Persona {
    server: Arc<Server>,
    kind: Kind,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Persona {
    /// An OpenLDAP with these entries, the suffix first.
    pub async fn open_ldap(ldif: &str) -> Self {
        Self::start(Kind::OpenLdap, ldif).await
    }

    /// A domain controller of Active Directory with these objects, the domain's root first. What every domain and every
    /// object has need not be said; a SID may be said as text.
    pub async fn active_directory(ldif: &str) -> Self {
        Self::start(Kind::ActiveDirectory, ldif).await
    }

    /// A 389 Directory Server with these entries, the suffix first.
    pub async fn ds389(ldif: &str) -> Self {
        Self::start(Kind::Ds389, ldif).await
    }

    async fn start(kind: Kind, ldif: &str) -> Self {
        Self::over(kind, Directory::new(Content::new(kind, ldif)), "DC1").await
    }

    /// Another server of the same directory, with a behaviour of its own.
    pub async fn twin(&self) -> Self {
        Self::over(self.kind, self.server.directory.clone(), "DC2").await
    }

    async fn over(kind: Kind, directory: Arc<Directory>, host: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(directory, Manner::of(kind), host, address);
        let accepting = tokio::spawn(server.clone().accept(listener));
        Self { server, kind, accepting: Mutex::new(Some(accepting)) }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub fn port(&self) -> u16 {
        self.server.address.port()
    }

    /// `ldap://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("ldap://{}", self.server.address)
    }

    /// Changes the content; whatever is done is visible at once, and feeds say it.
    pub fn change<T>(&self, change: impl FnOnce(&mut Content) -> T) -> T {
        let result = change(&mut self.server.directory.content());
        self.server.directory.tick();
        result
    }

    /// Changes the behaviour.
    pub fn set(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.server.manner.lock().unwrap());
        self.server.directory.tick();
    }

    /// Answers all binds with this.
    pub fn refuse_binds(&self, outcome: Outcome) {
        self.set(|manner| manner.refuses_binds = Some(outcome));
    }

    /// Hides attributes: the closure is told an entry's name and an attribute in lower case, or `entry` for all of it.
    pub fn hide(&self, hidden: impl Fn(&str, &str) -> bool + Send + Sync + 'static) {
        self.server.hide(Some(Arc::new(hidden)));
    }

    /// Hides nothing any more.
    pub fn reveal(&self) {
        self.server.hide(None);
    }

    /// From now on, changes do not reach this server.
    pub fn lag(&self) {
        self.server.lag(true);
    }

    /// All changes reach this server.
    pub fn catch_up(&self) {
        self.server.lag(false);
    }

    /// Holds the answers to searches that match. They are those of the moment at which the searches came.
    pub fn hold(&self, matches: impl Fn(&Asked) -> bool + Send + 'static) {
        self.server.gate.hold(Box::new(matches));
    }

    /// Waits until so many answers are held.
    pub async fn held(&self, count: usize) {
        self.until(|seen| seen.held >= count).await;
    }

    /// Lets all held answers go, and holds no more.
    pub fn release(&self) {
        self.server.gate.release();
    }

    /// Lets go what the oldest hold holds, and ends that hold.
    pub fn release_oldest(&self) {
        self.server.gate.release_oldest();
    }

    /// Lets so many held answers go; others are still held.
    pub fn release_some(&self, count: usize) {
        self.server.gate.release_some(count);
    }

    /// Lets this befall every search, but for those of the root DSE.
    pub fn fault(&self, fault: Fault) {
        self.fault_where(fault, |search| !search.is_of_the_root());
    }

    /// Lets this befall every search that matches. The first of several faults that match counts.
    pub fn fault_where(&self, fault: Fault, matches: impl Fn(&Asked) -> bool + Send + 'static) {
        self.server.fault(fault, None, Box::new(matches));
    }

    /// Lets this befall the next searches, but for those of the root DSE.
    pub fn fault_next(&self, count: usize, fault: Fault) {
        self.server.fault(fault, Some(count), Box::new(|search| !search.is_of_the_root()));
    }

    /// Ends all faults. What hangs already, hangs.
    pub fn heal(&self) {
        self.server.heal();
    }

    /// Neither reads nor answers, and accepts connections all the same.
    pub fn freeze(&self) {
        self.server.frozen.send_replace(true);
    }

    /// Goes on after [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.server.frozen.send_replace(false);
    }

    /// Closes all connections.
    pub fn close_all(&self) {
        self.server.orders.send_replace(Some(Order::Close));
    }

    /// Resets all connections.
    pub fn reset_all(&self) {
        self.server.orders.send_replace(Some(Order::Reset));
    }

    /// Sends all connections a notice of disconnection with this code, and closes them.
    pub fn disconnect_all(&self, code: u32, notice: Notice) {
        self.server.orders.send_replace(Some(Order::Notice(code, notice)));
    }

    /// Feeds stay up, but never say what happens from now on.
    pub fn mute_feeds(&self) {
        self.server.mute(true);
    }

    /// Feeds say what happens from now on.
    pub fn unmute_feeds(&self) {
        self.server.mute(false);
    }

    /// Ends all feeds with this result.
    pub fn end_feeds(&self, outcome: Outcome) {
        self.server.ends.send_replace(Some(outcome));
    }

    /// Ends the server: its connections are closed, and its port is nobody's.
    pub async fn down(&self) {
        let accepting = self.accepting.lock().unwrap().take();
        if let Some(accepting) = accepting {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// Starts it again after [`down`](Self::down), on its port.
    pub async fn up(&self) {
        let listener = TcpListener::bind(self.server.address).await.unwrap();
        let accepting = tokio::spawn(self.server.clone().accept(listener));
        *self.accepting.lock().unwrap() = Some(accepting);
    }

    /// What it saw so far.
    pub fn seen(&self) -> Seen {
        self.server.seen.borrow().clone()
    }

    /// Forgets what it saw, but for what is open or under way.
    pub fn forget(&self) {
        self.server.seen.send_modify(|seen| {
            let (open, in_flight) = (seen.open, seen.in_flight);
            let (feeds, held) = (seen.feeds, seen.held);
            *seen = Seen { open, in_flight, most_in_flight: in_flight, feeds, held, ..Seen::default() };
        });
    }

    /// Waits until it has seen this.
    pub async fn until(&self, is_so: impl Fn(&Seen) -> bool) {
        let mut seen = self.server.seen.subscribe();
        let waiting = seen.wait_for(|seen| is_so(seen));
        let waited = tokio::time::timeout(PATIENCE, waiting).await.map(|seen| seen.map(drop));
        assert!(waited.is_ok_and(|seen| seen.is_ok()), "it did not happen: {:?}", self.seen());
    }
}

impl Drop for Persona {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.lock().unwrap().take() {
            accepting.abort();
        }
    }
}
