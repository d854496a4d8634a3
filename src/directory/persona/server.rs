//! What the connections of a server share, and what several servers of one directory do.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection;
use super::content::{Content, Event};
use super::faults::Fault;
use super::gate::Gate;
use super::manner::Manner;
use super::reply::{Notice, Outcome};
use super::seen::{Asked, Seen};
use super::view::{Hidden, View};

/// What is the same whichever server is asked.
pub(super) struct Directory {
    content: Mutex<Content>,
    /// Counts whatever makes feeds look.
    ticks: watch::Sender<u64>,
}

/// One server.
pub(super) struct Server {
    pub(super) directory: Arc<Directory>,
    pub(super) manner: Mutex<Manner>,
    pub(super) host: String,
    pub(super) address: SocketAddr,
    /// The content that it answers from while it lags behind.
    snapshot: Mutex<Option<Arc<View>>>,
    hidden: Mutex<Option<Hidden>>,
    /// The changes that feeds do not say: after one, and up to another.
    unsaid: Mutex<Vec<(u64, u64)>>,
    /// What is shown of the content where something is hidden.
    shown: Mutex<Option<Arc<View>>>,
    pub(super) seen: watch::Sender<Seen>,
    pub(super) gate: Gate,
    faults: Mutex<Vec<Rule>>,
    pub(super) frozen: watch::Sender<bool>,
    /// The last order to all connections.
    pub(super) orders: watch::Sender<Option<Order>>,
    /// How all feeds ended last.
    pub(super) ends: watch::Sender<Option<Outcome>>,
}

/// A fault, and what it befalls.
struct Rule {
    fault: Fault,
    matches: Box<dyn Fn(&Asked) -> bool + Send>,
    left: Option<usize>,
}

/// What every connection of a server is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    Close,
    Reset,
    Notice(u32, Notice),
}

impl Directory {
    pub(super) fn new(content: Content) -> Arc<Self> {
        Arc::new(Self { content: Mutex::new(content), ticks: watch::Sender::new(0) })
    }

    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap()
    }

    /// Lets feeds look.
    pub(super) fn tick(&self) {
        self.ticks.send_modify(|tick| *tick += 1);
    }

    pub(super) fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    pub(super) fn history(&self, after: u64, until: u64) -> Vec<Arc<Event>> {
        self.content().history(after, until)
    }
}

impl Server {
    pub(super) fn new(
        directory: Arc<Directory>,
        manner: Manner,
        host: &str,
        address: SocketAddr,
    ) -> Arc<Self> {
        Arc::new(Self {
            directory,
            manner: Mutex::new(manner),
            host: host.to_owned(),
            address,
            snapshot: Mutex::default(),
            hidden: Mutex::default(),
            unsaid: Mutex::default(),
            shown: Mutex::default(),
            seen: watch::Sender::default(),
            gate: Gate::default(),
            faults: Mutex::default(),
            frozen: watch::Sender::default(),
            orders: watch::Sender::default(),
            ends: watch::Sender::default(),
        })
    }

    pub(super) fn manner(&self) -> Manner {
        self.manner.lock().unwrap().clone()
    }

    /// The content as this server knows and shows it now.
    pub(super) fn view(&self) -> Arc<View> {
        let snapshot = self.snapshot.lock().unwrap().clone();
        let view = snapshot.unwrap_or_else(|| self.directory.content().view());
        let Some(hidden) = self.hidden.lock().unwrap().clone() else { return view };
        let mut shown = self.shown.lock().unwrap();
        match &*shown {
            Some(shown) if shown.number == view.number => shown.clone(),
            _ => shown.insert(Arc::new(view.without(hidden))).clone(),
        }
    }

    pub(super) fn hide(&self, hidden: Option<Hidden>) {
        *self.hidden.lock().unwrap() = hidden;
        *self.shown.lock().unwrap() = None;
    }

    /// Lets feeds say nothing of what happens from now on, or what happens from now on.
    pub(super) fn mute(&self, mutes: bool) {
        let now = self.directory.content().view().number;
        let mut unsaid = self.unsaid.lock().unwrap();
        match unsaid.last_mut() {
            Some((_, until)) if *until == u64::MAX && !mutes => *until = now,
            _ if mutes => unsaid.push((now, u64::MAX)),
            _ => {}
        }
    }

    pub(super) fn is_unsaid(&self, number: u64) -> bool {
        self.unsaid.lock().unwrap().iter().any(|(after, until)| number > *after && number <= *until)
    }

    pub(super) fn lag(&self, lags: bool) {
        *self.snapshot.lock().unwrap() = lags.then(|| self.directory.content().view());
        self.directory.tick();
    }

    pub(super) fn fault(
        &self,
        fault: Fault,
        left: Option<usize>,
        matches: Box<dyn Fn(&Asked) -> bool + Send>,
    ) {
        self.faults.lock().unwrap().push(Rule { fault, matches, left });
    }

    pub(super) fn heal(&self) {
        self.faults.lock().unwrap().clear();
    }

    /// The fault that befalls this search: the first that matches.
    pub(super) fn fault_for(&self, asked: &Asked) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let rule = faults.iter_mut().find(|rule| rule.left != Some(0) && (rule.matches)(asked))?;
        rule.left = rule.left.map(|left| left - 1);
        Some(rule.fault.clone())
    }

    /// Serves until it is dropped, which ends all connections.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    connections.spawn(connection::serve(stream, self.clone()));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}
