//! Policies and a directory without a service: for `explain`, `test` and `check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Handle;

use super::Failure;
use super::service::Embedded;
use crate::config::{self, DirectoryKind};
use crate::directory::{self, Attribute, Bind, Directory, Settings, Usernames};
use crate::document::Source;
use crate::eval::{Bound, Prepared, View};
use crate::model::{Facts, GroupNames};
use crate::policy::PolicySet;
use crate::store::read_sources;
use crate::telemetry::Metrics;

/// How long one look-up may take: nobody's API server is waiting.
const DEADLINE: Duration = Duration::from_secs(10);

/// A directory that is asked for one command.
pub(super) struct People {
    directory: Arc<Directory>,
    usernames: Usernames,
    _embedded: Option<Embedded>,
}

/// What was found of one subject.
pub(super) enum Found {
    /// No directory user.
    Outside,
    /// This.
    Facts(Box<Prepared>),
    /// The directory did not answer.
    Unreachable,
}

/// Reads the policies below these paths.
pub(super) fn read_policies(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    read_sources(paths).map_err(Failure::operational)
}

impl People {
    /// An LDIF file, served by the process itself and asked like any other directory. `attributes` maps names that policies
    /// use to LDAP attributes; a name that is not in it is its own attribute.
    pub(super) fn from_ldif(
        path: &Path,
        names: impl Iterator<Item = String>,
        attributes: &BTreeMap<String, String>,
        handle: &Handle,
    ) -> Result<Self, Failure> {
        let mut settings = Settings::new(Vec::new(), Bind::External, "");
        for name in names {
            let from = attributes.get(&name).unwrap_or(&name).clone();
            settings.attributes.insert(name, Attribute { from });
        }
        settings.timeouts.connect = DEADLINE;
        settings.timeouts.operation = DEADLINE;
        settings.timeouts.total = DEADLINE;
        let embedded = Embedded::start(path, settings, handle)?;
        let directory = connect(embedded.settings.clone(), handle)?;
        Ok(Self { directory, usernames: Usernames::default(), _embedded: Some(embedded) })
    }

    /// The directory that a configuration names; `None` where it names none.
    pub(super) fn of(configured: config::People, handle: &Handle) -> Result<Option<Self>, Failure> {
        let (settings, embedded) = match configured.kind {
            DirectoryKind::None => return Ok(None),
            DirectoryKind::Ldap(settings) => (*settings, None),
            DirectoryKind::Embedded { ldif, settings } => {
                let embedded = Embedded::start(&ldif, *settings, handle)?;
                (embedded.settings.clone(), Some(embedded))
            }
        };
        let directory = connect(settings, handle)?;
        Ok(Some(Self { directory, usernames: configured.usernames, _embedded: embedded }))
    }

    /// Binds a policy set: resolves the group names that it uses.
    pub(super) async fn bind(&self, set: Arc<PolicySet>) -> Result<Bound, Failure> {
        let mut names = GroupNames::default();
        for name in set.group_names() {
            let resolved = self
                .directory
                .resolve_group_name(name, Instant::now() + DEADLINE)
                .await
                .map_err(|error| Failure::operational(format!("the group `{name}`: {error}")))?;
            names.names.insert(name.to_owned(), resolved);
        }
        Ok(Bound::new(set, &names, 0))
    }

    /// Looks a user up by the directory's name for them, and tells how.
    pub(super) async fn lookup(&self, name: &str) -> directory::Lookup {
        self.directory.lookup(name, Instant::now() + DEADLINE).await
    }

    /// Looks a user up.
    pub(super) async fn find(&self, bound: &Bound, user: &str) -> Result<Found, Failure> {
        let Some(name) = self.usernames.directory_name(user) else { return Ok(Found::Outside) };
        match self.directory.resolve(name, None, Instant::now() + DEADLINE).await {
            Ok(facts) => Ok(Found::prepared(bound, facts)),
            Err(error) => Err(Failure::operational(format!("the user `{user}`: {error}"))),
        }
    }
}

impl Found {
    /// Facts that are at hand.
    pub(super) fn prepared(bound: &Bound, facts: Facts) -> Self {
        Self::Facts(Box::new(bound.prepare(Arc::new(facts))))
    }

    /// As the evaluation sees it.
    pub(super) fn view(&self) -> View<'_> {
        match self {
            Self::Outside => View::Outside,
            Self::Facts(prepared) => View::Current(prepared),
            Self::Unreachable => View::Unreachable,
        }
    }
}

fn connect(settings: Settings, handle: &Handle) -> Result<Arc<Directory>, Failure> {
    let metrics = Metrics::new().map_err(Failure::operational)?;
    Ok(Directory::new(settings, &metrics, handle.clone())?)
}

/// An instant as people write it: RFC 3339.
pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| format!("`{text}` is no time: write 2026-11-23T10:00:00Z"))
}
