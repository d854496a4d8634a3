//! `pods/log`.
//!
//! Semantics: `k8s.io/kubernetes/pkg/registry/core/pod/strategy.go` (`LogLocation`) and the options of
//! `k8s.io/api/core/v1.PodLogOptions`.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::watch;

use super::answer::{Answer, Body};
use super::logs::{Line, Logs};
use super::meta::{self, items, text_at};
use super::stages::{Storing, Target};
use super::{Call, negotiate};
use crate::frontend::request_info::RequestInfo;
use crate::frontend::status::ApiError;

/// What of a log is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Options {
    follow: bool,
    timestamps: bool,
    tail: Option<usize>,
    most_bytes: Option<usize>,
    since: Option<Timestamp>,
}

/// Gives the log of a pod.
pub(super) fn log(call: &Call<'_>, target: &Target<'_>) -> Result<Answer, ApiError> {
    let storing = Storing::begin(call);
    let stored = target.stored(call.frontend);
    storing.end("read the log of", &stored);
    let pod = stored?;
    container(&pod, call.info.first("container").unwrap_or_default())?;
    let options = Options::read(call.info, call.now)?;
    if !negotiate::accepted(call.headers)
        .iter()
        .any(|range| range.kind != "application/vnd.kubernetes.protobuf")
    {
        return Err(ApiError::not_acceptable("only the following media types are accepted: text/plain"));
    }
    let uid = meta::text(&pod, "uid").to_owned();
    let logs = Arc::clone(&call.frontend.logs);
    if logs.after(&uid, 0).is_empty() {
        begin(call, target, &pod);
    }
    // Subscribed to before it is read, so that nothing comes between.
    let follower = if options.follow { logs.follow(&uid) } else { None };
    let mut lines = logs.after(&uid, 0);
    let latest = lines.last().map_or(0, |line| line.number);
    if let Some(since) = options.since {
        lines.retain(|line| line.time >= since);
    }
    if let Some(tail) = options.tail {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    let mut writer = Writer { options, written: 0 };
    let start = writer.write(&lines);
    let mut answer = Answer::text(200, "");
    answer.body = match follower {
        None => Body::Whole(start),
        Some(follower) => {
            let following = Following { logs, uid, follower, latest, writer };
            let rest = stream::unfold(following, |mut following| async {
                Some((following.next().await?, following))
            });
            Body::Stream(stream::iter([start]).chain(rest).boxed_local())
        }
    };
    Ok(answer)
}

/// Begins the log of a pod that was there before anybody could note anything.
fn begin(call: &Call<'_>, target: &Target<'_>, pod: &Value) {
    let (logs, uid) = (&call.frontend.logs, meta::text(pod, "uid"));
    let time = meta::text(pod, "creationTimestamp").parse().unwrap_or(call.now);
    let text = format!("pod {}/{} is there", meta::text(pod, "namespace"), meta::text(pod, "name"));
    logs.note(uid, time, text);
    // It may have gone meanwhile, and then nobody else would end it.
    if target.stored(call.frontend).is_err() {
        logs.end(uid);
    }
}

/// Whether the container that is asked for is one of the pod, or the only one.
fn container(pod: &Value, asked: &str) -> Result<(), ApiError> {
    let names = |list: &str| -> Vec<&str> {
        items(pod, &format!("/spec/{list}")).map(|container| text_at(container, "/name")).collect()
    };
    let (containers, init, ephemeral) =
        (names("containers"), names("initContainers"), names("ephemeralContainers"));
    let name = meta::text(pod, "name");
    match (asked, &*containers) {
        ("", [_]) if init.is_empty() && ephemeral.is_empty() => Ok(()),
        ("", _) => {
            let mut message = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                containers.join(" ")
            );
            if !init.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(ApiError::bad_request(message))
        }
        (asked, _) if [&containers, &init, &ephemeral].iter().any(|names| names.contains(&asked)) => Ok(()),
        (asked, _) => Err(ApiError::bad_request(format!("container {asked} is not valid for pod {name}"))),
    }
}

impl Options {
    fn read(info: &RequestInfo, now: Timestamp) -> Result<Self, ApiError> {
        if info.is_set("previous") {
            return Err(ApiError::bad_request("previous terminated container not found"));
        }
        let number = |key: &str| match info.first(key) {
            None | Some("") => Ok(None),
            Some(text) => text.parse::<u32>().map(Some).map_err(|_| {
                ApiError::bad_request(format!(
                    "{key}: Invalid value: {text:?}: must be a number, 0 or greater"
                ))
            }),
        };
        let since = match (number("sinceSeconds")?, info.first("sinceTime").filter(|text| !text.is_empty())) {
            (Some(_), Some(_)) => {
                return Err(ApiError::bad_request(
                    "at most one of `sinceTime` or `sinceSeconds` may be specified",
                ));
            }
            (Some(seconds), None) => now.checked_sub(SignedDuration::from_secs(seconds.into())).ok(),
            (None, Some(text)) => Some(text.parse().map_err(|_| {
                ApiError::bad_request(format!(
                    "sinceTime: Invalid value: {text:?}: it is no time as RFC 3339 has it"
                ))
            })?),
            (None, None) => None,
        };
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Self {
            follow: info.is_set("follow"),
            timestamps: info.is_set("timestamps"),
            tail: number("tailLines")?.map(size),
            most_bytes: number("limitBytes")?.map(size),
            since,
        })
    }
}

/// Writes lines until the client has as many bytes as it wants.
struct Writer {
    options: Options,
    written: usize,
}

impl Writer {
    fn write(&mut self, lines: &[Line]) -> Bytes {
        let mut text = String::new();
        for line in lines {
            if self.options.timestamps {
                text.push_str(&format!("{:.9} ", line.time));
            }
            text.push_str(&line.text);
            text.push('\n');
        }
        let mut bytes = text.into_bytes();
        if let Some(most) = self.options.most_bytes {
            bytes.truncate(most.saturating_sub(self.written));
        }
        self.written = self.written.saturating_add(bytes.len());
        bytes.into()
    }

    fn is_full(&self) -> bool {
        self.options.most_bytes.is_some_and(|most| self.written >= most)
    }
}

/// A log that is followed.
struct Following {
    logs: Arc<Logs>,
    uid: String,
    follower: watch::Receiver<u64>,
    latest: u64,
    writer: Writer,
}

impl Following {
    /// What was written since; `None` where the pod is gone, or the client has enough.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.writer.is_full() {
                return None;
            }
            let lines = self.logs.after(&self.uid, self.latest);
            if let Some(last) = lines.last() {
                self.latest = last.number;
                return Some(self.writer.write(&lines));
            }
            self.follower.changed().await.ok()?;
        }
    }
}
