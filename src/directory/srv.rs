//! Servers that are found by SRV records (RFC 2782).
//!
//! `_ldap._tcp.DOMAIN` names them; with LDAPS, `_ldaps._tcp.DOMAIN` does, where there are such records. Active Directory
//! has only the former, for port 389, so with LDAPS 636 is meant where they say 389, and 3269 where they say 3268.
//!
//! Whoever answers for the DNS could name any server, and the name in the record is the one that the certificate must
//! have. So only names below the configured domain are taken, unless the configuration says which name the certificate has.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::conn::{Origin, jitter};
use super::pool::Pool;
use super::settings::{Security, Server};
use super::{LookupError, Unreachable};

/// More servers are not used: each has its own metrics, connections and breaker.
pub(super) const MAX_SERVERS: usize = 32;
/// Records are asked for again when they expire, but not more often than this,
pub(super) const SHORTEST_LIFE: Duration = Duration::from_secs(30);
/// and not more rarely than this.
const LONGEST_LIFE: Duration = Duration::from_secs(60 * 60);
/// While no server is known, records are asked for again after this, and twice that, up to [`SHORTEST_LIFE`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// How long one resolution may take.
const BUDGET: Duration = Duration::from_secs(5);
/// How long a name server may take to answer one query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// Where to look for servers, and what to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Srv {
    /// What stands behind `_ldap._tcp.`.
    pub(super) domain: String,
    pub(super) security: Security,
    /// Whether the certificate must have a configured name, whatever the records say.
    pub(super) has_server_name: bool,
    /// Empty: those of the system.
    pub(super) nameservers: Vec<SocketAddr>,
    pub(super) shortest_life: Duration,
}

/// A record that names a server.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    priority: u16,
    weight: u16,
    port: u16,
    /// Without the dot at its end.
    target: String,
}

/// What the DNS said.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    records: Vec<Record>,
    life: Duration,
    /// Whether these are the records of LDAPS itself.
    is_ldaps: bool,
}

/// Follows the records until the pool stops: the pool has the servers that they name.
pub(super) async fn follow(pool: Arc<Pool>, srv: Srv, origin: impl Fn(Server) -> Arc<Origin>) {
    let mut stopped = pool.stopped();
    let mut order = Order::default();
    let mut retry = FIRST_RETRY.min(srv.shortest_life);
    let mut said = None;
    loop {
        let found = srv.resolve().await.and_then(|answer| {
            let servers = order.servers(&srv, &answer)?;
            Ok((servers, answer.life))
        });
        let wait = match found {
            Ok((servers, life)) => {
                said = None;
                retry = FIRST_RETRY.min(srv.shortest_life);
                pool.update(servers, &origin);
                life.clamp(srv.shortest_life, LONGEST_LIFE)
            }
            Err(reason) => {
                if said != Some(reason) {
                    tracing::warn!(
                        domain = srv.domain,
                        reason,
                        "SRV records of the directory cannot be used; what was known stays"
                    );
                }
                said = Some(reason);
                let unknown = pool.is_unknown(LookupError::Unreachable(Unreachable {
                    server: format!("_ldap._tcp.{}", srv.domain).into(),
                    reason: reason.into(),
                }));
                let wait = if unknown { retry } else { srv.shortest_life };
                retry = (retry * 2).min(srv.shortest_life);
                wait
            }
        };
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

const NO_RECORDS: &str = "there are no such SRV records";
const NO_ANSWER: &str = "the DNS does not answer";
const NO_SERVICE: &str = "its SRV records say that there is no such service";
const OUTSIDE: &str = "its SRV records name no server below the domain";

impl Srv {
    async fn resolve(&self) -> Result<Answer, &'static str> {
        tokio::time::timeout(BUDGET, self.ask()).await.unwrap_or(Err(NO_ANSWER))
    }

    async fn ask(&self) -> Result<Answer, &'static str> {
        let resolver = self.resolver().map_err(|_| "the DNS cannot be asked")?;
        if self.security == Security::Tls
            && let Some((records, life)) = records(&resolver, "_ldaps", &self.domain).await?
        {
            return Ok(Answer { records, life, is_ldaps: true });
        }
        let (records, life) = records(&resolver, "_ldap", &self.domain).await?.ok_or(NO_RECORDS)?;
        Ok(Answer { records, life, is_ldaps: false })
    }

    /// Made anew each time: the system's configuration may have changed, and what is cached is the list of servers.
    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let mut builder = if self.nameservers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let nameservers = self.nameservers.iter().map(|address| {
                let connection = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = address.port();
                    connection
                });
                NameServerConfig::new(address.ip(), true, connection.to_vec())
            });
            let config = ResolverConfig::from_parts(None, Vec::new(), nameservers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        (options.timeout, options.try_tcp_on_error, options.cache_size) = (QUERY_TIMEOUT, true, 0);
        builder.build()
    }

    /// Whether a server of this name may be one of ours.
    fn takes(&self, target: &str) -> bool {
        is_host(target) && (self.has_server_name || is_within(target, trusted(&self.domain)))
    }

    fn server(&self, record: &Record, is_ldaps: bool) -> Server {
        let port = match (self.security, record.port) {
            (Security::Tls, 389) if !is_ldaps => 636,
            (Security::Tls, 3268) if !is_ldaps => 3269,
            (_, port) => port,
        };
        let scheme = if self.security == Security::Tls { "ldaps" } else { "ldap" };
        let label = format!("{scheme}://{}:{port}", record.target).into();
        Server { label, host: record.target.clone(), port, security: self.security }
    }
}

/// The records of a service, and how long they hold; `None` where there are none.
async fn records(
    resolver: &TokioResolver,
    service: &str,
    domain: &str,
) -> Result<Option<(Vec<Record>, Duration)>, &'static str> {
    let name = Name::from_ascii(format!("{service}._tcp.{domain}.")).map_err(|_| "it is no domain's name")?;
    let found = match resolver.lookup(name, RecordType::SRV).await {
        Ok(found) => found,
        Err(NetError::Dns(DnsError::NoRecordsFound(_))) => return Ok(None),
        Err(error) => {
            tracing::debug!(domain, service, %error, "no answer of the DNS");
            return Err(NO_ANSWER);
        }
    };
    let mut records = Vec::new();
    let mut life = LONGEST_LIFE;
    for record in found.answers() {
        let RData::SRV(srv) = &record.data else { continue };
        life = life.min(Duration::from_secs(record.ttl.into()));
        let target = srv.target.to_ascii().to_ascii_lowercase();
        let target = target.strip_suffix('.').unwrap_or(&target).to_owned();
        records.push(Record { priority: srv.priority, weight: srv.weight, port: srv.port, target });
    }
    Ok(if records.is_empty() { None } else { Some((records, life)) })
}

/// The order of servers. It changes with the records only: each server keeps the lot that it drew for its weight, so that
/// the connections stay where they are.
#[derive(Debug, Default)]
struct Order {
    lots: HashMap<(String, u16), f64>,
    /// What was said to be refused.
    refused: Vec<String>,
}

impl Order {
    /// The servers that the records name, the best first: by priority, and at random by weight.
    fn servers(&mut self, srv: &Srv, answer: &Answer) -> Result<Vec<Server>, &'static str> {
        if answer.records.iter().all(|record| record.target.is_empty()) {
            return Err(NO_SERVICE);
        }
        let (taken, refused): (Vec<&Record>, Vec<&Record>) =
            answer.records.iter().partition(|record| record.port != 0 && srv.takes(&record.target));
        let refused: Vec<String> =
            refused.iter().map(|record| record.target.clone()).take(MAX_SERVERS).collect();
        if refused != self.refused {
            if !refused.is_empty() {
                tracing::warn!(
                    domain = srv.domain,
                    ?refused,
                    "SRV records name servers that are not taken: they are not below the domain"
                );
            }
            self.refused = refused;
        }
        let mut lots = HashMap::new();
        for record in &taken {
            let key = (record.target.clone(), record.port);
            let lot = self.lots.get(&key).copied().unwrap_or_else(jitter);
            lots.insert(key, lot);
        }
        self.lots = lots;
        let mut ordered: Vec<_> =
            taken.into_iter().map(|record| (record.priority, -self.rank(record), record)).collect();
        ordered.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut servers: Vec<Server> = Vec::new();
        for (_, _, record) in ordered {
            let server = srv.server(record, answer.is_ldaps);
            if servers.len() < MAX_SERVERS && !servers.contains(&server) {
                servers.push(server);
            }
        }
        if servers.is_empty() { Err(OUTSIDE) } else { Ok(servers) }
    }

    /// Greater is earlier. Taking `u^(1/w)` in falling order is RFC 2782's drawing by weight, one after the other
    /// (Efraimidis and Spirakis, 2006); a weight of 0 has a very small chance, as it says.
    fn rank(&self, record: &Record) -> f64 {
        let lot = self.lots.get(&(record.target.clone(), record.port)).copied().unwrap_or_default();
        let weight = if record.weight == 0 { 0.001 } else { f64::from(record.weight) };
        // The logarithm orders as the power does, and small ones stay apart.
        lot.max(f64::MIN_POSITIVE).ln() / weight
    }
}

/// Whose names are believed: the domain without what stands before its last label of a service or site
/// (`Hamburg._sites.dc._msdcs.example.com`).
fn trusted(domain: &str) -> &str {
    let last = domain.rfind("._").map(|dot| dot + 1).or(domain.starts_with('_').then_some(0));
    match last.and_then(|start| domain.get(start..)) {
        Some(rest) => rest.split_once('.').map_or("", |(_, domain)| domain),
        None => domain,
    }
}

/// Whether a host's name is the domain's or below it.
fn is_within(host: &str, domain: &str) -> bool {
    let Some(at) = host.len().checked_sub(domain.len()) else { return false };
    let (before, rest) = (host.get(..at).unwrap_or_default(), host.get(at..).unwrap_or_default());
    !domain.is_empty() && rest.eq_ignore_ascii_case(domain) && (before.is_empty() || before.ends_with('.'))
}

fn is_host(name: &str) -> bool {
    let is_octet = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    name.split('.').all(|label| !label.is_empty() && label.bytes().all(is_octet))
}

/// Whether SRV records can be asked for below this name.
pub(super) fn is_domain(name: &str) -> bool {
    // RFC 1035, 2.3.4: 255 octets with `_ldaps._tcp.` and the lengths.
    const MAX_DOMAIN: usize = 240;
    name.len() <= MAX_DOMAIN
        && is_host(name)
        && name.split('.').all(|label| label.len() <= 63)
        && !trusted(name).is_empty()
        && name.parse::<std::net::IpAddr>().is_err()
}

#[cfg(test)]
mod nameserver;
#[cfg(test)]
mod tests;
