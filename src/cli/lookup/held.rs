//! What the running service holds of a user.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::super::admin::{Door, address};
use crate::config::Admin;
use crate::http::{self, Route};

/// How long the service may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// The longest answer, in bytes: somebody in 100,000 groups, each with its path.
const MAX_ANSWER: usize = 64 << 20;

/// What the running service says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service {
    /// Where it was asked.
    pub(super) address: String,
    /// What it holds, as `GET /facts` shows it; `null` where it does not say.
    pub(super) holds: Option<Holds>,
    /// Why it does not say.
    pub(super) silent_because: Option<String>,
}

/// The answer of `GET /facts`. A service of another version may say less.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Holds(Value);

impl Holds {
    #[cfg(test)]
    pub(super) fn new(answer: Value) -> Self {
        Self(answer)
    }

    /// The text at this place (RFC 6901); empty where there is none.
    pub(super) fn text(&self, place: &str) -> &str {
        self.0.pointer(place).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn number(&self, place: &str) -> Option<f64> {
        self.0.pointer(place)?.as_f64()
    }

    pub(super) fn is(&self, place: &str) -> bool {
        self.0.pointer(place).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn has(&self, place: &str) -> bool {
        self.0.pointer(place).is_some_and(|value| !value.is_null())
    }

    /// The groups of the facts, each by its DN, or by its name where it has none; `None` where there are no facts.
    pub(super) fn groups(&self) -> Option<BTreeSet<&str>> {
        let groups = self.0.pointer("/facts/groups")?.as_array()?;
        let called = |group| ["dn", "name"].iter().find_map(|key| Value::get(group, key)?.as_str());
        Some(groups.iter().filter_map(called).collect())
    }
}

impl Service {
    /// Asks the service of this configuration.
    pub(super) async fn ask(admin: &Admin, user: &str) -> Self {
        let (holds, silent_because) = match get(admin, user).await {
            Ok(holds) => (Some(holds), None),
            Err(why) => (None, Some(why)),
        };
        Self { address: address(admin).to_string(), holds, silent_because }
    }
}

async fn get(admin: &Admin, user: &str) -> Result<Holds, String> {
    let Door { url, mut client } = Door::of(admin, "lookup")
        .map_err(|failure| failure.message.trim_start_matches("error: ").to_owned())?;
    if let Some(file) = &admin.token_file {
        let token = http::read_token(file).map_err(|error| format!("{}: {error}", file.display()))?;
        client = client.with_bearer_token(&token).map_err(|error| error.to_string())?;
    }
    let url = format!("{url}{}?user={}", Route::Facts.path(), percent_encoded(user));
    let answer = client.with_max_body(MAX_ANSWER).get(&url, Instant::now() + DEADLINE).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let body = Holds(serde_json::from_slice(&answer.body).unwrap_or_default());
    if answer.status.is_success() && body.has("/state") {
        return Ok(body);
    }
    let message = match body.text("/message") {
        "" => "no answer of a service of this version",
        message => message,
    };
    Err(format!("HTTP {}: {message}", answer.status.as_u16()))
}

/// A value in a query (RFC 3986, 2.1): whatever is not unreserved is encoded.
fn percent_encoded(text: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_value_of_a_query() {
        assert_eq!(percent_encoded("CORP\\a b+&user=x#é"), "CORP%5Ca%20b%2B%26user%3Dx%23%C3%A9");
    }
}
