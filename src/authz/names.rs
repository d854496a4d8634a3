//! Group names of policies, resolved from the policies' side: once a revision, and again now and then, since a group can be
//! renamed, deleted or given a namesake.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::changes::Names;
use crate::directory::Directory;
use crate::model::{GroupNames, Resolved};
use crate::policy::PolicySet;

/// How many names are asked for at a time.
const CONCURRENCY: usize = 16;

/// For how long at most a new policy set waits for its names; those that are not resolved by then are unknown.
const DEADLINE: Duration = Duration::from_secs(5);

/// After which time names are resolved again.
pub(super) const REFRESH: Duration = Duration::from_secs(60);

/// After which time names are resolved again for which the directory did not answer; each time in a row doubles it, up to
/// [`REFRESH`].
pub(super) const RETRY: Duration = Duration::from_secs(2);

/// Resolves the names of a policy set: those that are not known, and those that may mean something else now. What the
/// directory does not answer keeps its last resolution, and is unknown where it has none, or where a change told of that very
/// name (`told`). Returns what is to be asked for again.
pub(super) async fn resolve(
    directory: &Arc<Directory>,
    set: &PolicySet,
    known: &GroupNames,
    again: &Names,
    told: &Names,
) -> (GroupNames, Names) {
    let names: BTreeSet<String> = set.group_names().map(str::to_owned).collect();
    let asked: Vec<String> = names
        .iter()
        .filter(|name| again.contains(name) || !known.names.contains_key(*name))
        .cloned()
        .collect();
    let deadline = Instant::now() + DEADLINE;
    let mut resolved = GroupNames { names: Default::default(), generation: known.generation };
    let mut missed = Names::None;
    let mut answers = futures_util::stream::iter(asked)
        .map(|name| async move {
            let answer = directory.resolve_group_name(&name, deadline).await;
            (name, answer)
        })
        .buffer_unordered(CONCURRENCY);
    while let Some((name, answer)) = answers.next().await {
        match answer {
            Ok(answer) => {
                resolved.names.insert(name, answer);
            }
            Err(error) => {
                tracing::warn!(group = %name, %error, "a policy's group name could not be resolved");
                // Whoever did not answer one will not answer a thousand in time. But one bad name is no outage: the others
                // are asked for.
                if !error.is_of_one_question() {
                    missed = Names::All;
                    break;
                }
                missed.add(BTreeSet::from([name]));
            }
        }
    }
    drop(answers);
    let is_in_doubt =
        |name: &str| matches!(&missed, Names::Some(missed) if missed.contains(name)) && told.contains(name);
    for name in names.into_iter().filter(|name| !is_in_doubt(name)) {
        if let Some(last) = known.names.get(&name) {
            resolved.names.entry(name).or_insert_with(|| last.clone());
        }
    }
    if resolved.names != known.names {
        resolved.generation += 1;
    }
    (resolved, missed)
}

/// Says in the log which names are no longer one group's, and which are again.
pub(super) fn say(before: &GroupNames, now: &GroupNames) {
    for (group, now) in &now.names {
        let before = before.names.get(group);
        match now {
            now if before == Some(now) => {}
            Resolved::None => tracing::warn!(%group, "no group has the name that a policy uses"),
            Resolved::Several => tracing::warn!(%group, "several groups have the name that a policy uses"),
            Resolved::Group(_) if matches!(before, Some(Resolved::None | Resolved::Several)) => {
                tracing::info!(%group, "the name that a policy uses is one group's now");
            }
            Resolved::Group(_) => {}
        }
    }
}
