//! Prometheus metrics. Handles are fields, resolved at start; labels are bounded by configuration, never by requests.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Buckets for what takes from a microsecond to seconds, in seconds.
const LATENCY_BUCKETS: [f64; 19] = [
    0.000_001, 0.000_002, 0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001,
    0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 2.5,
];

/// Buckets for the age of facts, in seconds.
const AGE_BUCKETS: [f64; 10] = [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// All metrics of the process, in a registry of their own. Names and labels: DESIGN 8.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// `decisions_total{decision,cause}`.
    pub decisions: IntCounterVec,
    decision_duration: StageHistograms,
    /// `shadow_decisions_total{would}`.
    pub shadow_decisions: IntCounterVec,
    /// `exempt_total`.
    pub exempt: IntCounter,
    /// `http_requests_total{route,code}`.
    pub http_requests: IntCounterVec,
    /// `http_requests_in_flight`.
    pub http_in_flight: IntGauge,
    /// `overload_rejections_total`.
    pub overload_rejections: IntCounter,
    /// The directory's.
    pub directory: DirectoryMetrics,
    /// `facts_cache_requests_total{result}`: `hit`, `miss`, `stale`, `coalesced`, `negative`.
    pub cache_requests: IntCounterVec,
    /// `facts_cache_entries`.
    pub cache_entries: IntGauge,
    /// `facts_age_seconds`: the age of the facts that a decision used.
    pub facts_age: Histogram,
    /// `policy_set_info{revision}`, 1 for the revision in force.
    pub policy_set_info: IntGaugeVec,
    /// `policies{effect,enforcement}`.
    pub policies: IntGaugeVec,
    /// `policy_reloads_total{result}`: `success`, `failure`.
    pub policy_reloads: IntCounterVec,
    /// `policy_last_success_timestamp_seconds`.
    pub policy_last_success: Gauge,
    /// `config_reloads_total{result}`.
    pub config_reloads: IntCounterVec,
    /// `unresolved_policy_groups`: group names in policies that resolve to none or several groups.
    pub unresolved_policy_groups: IntGauge,
    /// `expression_errors_total`.
    pub expression_errors: IntCounter,
    /// `audit_dropped_total`.
    pub audit_dropped: IntCounter,
    /// `tls_certificate_expiry_timestamp_seconds{use}`.
    pub certificate_expiry: GaugeVec,
}

/// The metrics of the directory's client.
#[derive(Clone)]
pub struct DirectoryMetrics {
    /// `directory_operations_total{server,operation,result}`.
    pub operations: IntCounterVec,
    /// `directory_operation_duration_seconds{server,operation}`.
    pub operation_duration: HistogramVec,
    /// `directory_up{server}`.
    pub up: IntGaugeVec,
    /// `directory_pool_connections{server,state}`: `in_use`, `idle`.
    pub pool_connections: IntGaugeVec,
    /// `directory_pool_waiters{server}`.
    pub pool_waiters: IntGaugeVec,
    /// `directory_pool_wait_seconds{server}`.
    pub pool_wait: HistogramVec,
    /// `directory_breaker_open{server}`: 1 while the server is left alone.
    pub breaker_open: IntGaugeVec,
    /// `directory_invalidations_total{cause}`.
    pub invalidations: IntCounterVec,
    /// `directory_feed_up`: 1 while the change feed is up.
    pub feed_up: IntGauge,
    /// `directory_feed_lag_seconds`: since when the change feed has not confirmed that it told of everything.
    pub feed_lag: Gauge,
    /// `identity_mismatches_total`: entries that the server matched though their user name is another.
    pub identity_mismatches: IntCounter,
    /// `partial_lookups_total`: resolutions that may miss groups.
    pub partial_lookups: IntCounter,
}

/// The metrics of one server of the directory.
#[derive(Clone)]
pub struct ServerMetrics {
    /// `directory_up`.
    pub up: IntGauge,
    /// `directory_pool_connections`, with an operation under way.
    pub in_use: IntGauge,
    /// `directory_pool_connections`, without.
    pub idle: IntGauge,
    /// `directory_pool_waiters`.
    pub waiters: IntGauge,
    /// `directory_pool_wait_seconds`.
    pub wait: Histogram,
    /// `directory_breaker_open`.
    pub breaker_open: IntGauge,
}

/// A part of a review's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// All of it.
    Total,
    /// Getting facts.
    Facts,
    /// Planning and deciding.
    Evaluate,
}

#[derive(Clone)]
struct StageHistograms {
    total: Histogram,
    facts: Histogram,
    evaluate: Histogram,
}

impl Metrics {
    /// A registry with every metric in it.
    ///
    /// # Errors
    /// Only where two metrics were given one name: a mistake in this file, which its test shows.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let keep = Keep(&registry);
        let stages = keep.histograms(
            "decision_duration_seconds",
            "Time of a review, by stage",
            &["stage"],
            &LATENCY_BUCKETS,
        )?;
        let metrics = Self {
            decisions: keep.counters("decisions_total", "Reviews answered", &["decision", "cause"])?,
            decision_duration: StageHistograms {
                total: stages.with_label_values(&["total"]),
                facts: stages.with_label_values(&["facts"]),
                evaluate: stages.with_label_values(&["evaluate"]),
            },
            shadow_decisions: keep.counters(
                "shadow_decisions_total",
                "Reviews by what they would be with all shadow policies enforced",
                &["would"],
            )?,
            exempt: keep.counter("exempt_total", "Reviews of exempt subjects, answered before any policy")?,
            http_requests: keep.counters(
                "http_requests_total",
                "HTTP requests answered",
                &["route", "code"],
            )?,
            http_in_flight: keep.gauge("http_requests_in_flight", "HTTP requests being answered")?,
            overload_rejections: keep
                .counter("overload_rejections_total", "Reviews refused because too many were in flight")?,
            directory: DirectoryMetrics {
                operations: keep.counters(
                    "directory_operations_total",
                    "LDAP operations",
                    &["server", "operation", "result"],
                )?,
                operation_duration: keep.histograms(
                    "directory_operation_duration_seconds",
                    "Time of an LDAP operation",
                    &["server", "operation"],
                    &LATENCY_BUCKETS,
                )?,
                up: keep.gauges(
                    "directory_up",
                    "Whether the last contact with the server succeeded",
                    &["server"],
                )?,
                pool_connections: keep.gauges(
                    "directory_pool_connections",
                    "Connections to the server",
                    &["server", "state"],
                )?,
                pool_waiters: keep.gauges(
                    "directory_pool_waiters",
                    "Operations that wait for a connection to the server",
                    &["server"],
                )?,
                pool_wait: keep.histograms(
                    "directory_pool_wait_seconds",
                    "Time that an operation waited for a connection to the server",
                    &["server"],
                    &LATENCY_BUCKETS,
                )?,
                breaker_open: keep.gauges(
                    "directory_breaker_open",
                    "Whether the server is left alone because it failed",
                    &["server"],
                )?,
                invalidations: keep.counters(
                    "directory_invalidations_total",
                    "Facts that were made stale",
                    &["cause"],
                )?,
                feed_up: keep.gauge("directory_feed_up", "Whether the change feed is up")?,
                feed_lag: keep.float(
                    "directory_feed_lag_seconds",
                    "Since when the change feed has not confirmed that it told of everything",
                )?,
                identity_mismatches: keep.counter(
                    "identity_mismatches_total",
                    "Entries that the server matched though their user name differs from the one asked for",
                )?,
                partial_lookups: keep
                    .counter("partial_lookups_total", "Resolutions that may miss groups because of a cap")?,
            },
            cache_requests: keep.counters(
                "facts_cache_requests_total",
                "Look-ups in the cache of facts",
                &["result"],
            )?,
            cache_entries: keep.gauge("facts_cache_entries", "Subjects in the cache of facts")?,
            facts_age: keep.histogram(
                "facts_age_seconds",
                "Age of the facts that a decision used",
                &AGE_BUCKETS,
            )?,
            policy_set_info: keep.gauges("policy_set_info", "The policy set in force", &["revision"])?,
            policies: keep.gauges("policies", "Policies in force", &["effect", "enforcement"])?,
            policy_reloads: keep.counters("policy_reloads_total", "Loads of the policy set", &["result"])?,
            policy_last_success: keep
                .float("policy_last_success_timestamp_seconds", "When the policy set in force was loaded")?,
            config_reloads: keep.counters(
                "config_reloads_total",
                "Loads of the configuration",
                &["result"],
            )?,
            unresolved_policy_groups: keep.gauge(
                "unresolved_policy_groups",
                "Group names in policies that resolve to none or several groups",
            )?,
            expression_errors: keep.counter("expression_errors_total", "Expressions that failed")?,
            audit_dropped: keep
                .counter("audit_dropped_total", "Audit lines dropped because the sink was slow")?,
            certificate_expiry: keep.floats(
                "tls_certificate_expiry_timestamp_seconds",
                "When a certificate in use expires",
                &["use"],
            )?,
            registry: registry.clone(),
        };
        let build = keep.gauges("build_info", "The running build", &["version", "commit"])?;
        build.with_label_values(&[super::build::VERSION, super::build::COMMIT]).set(1);
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// Records how long a stage took.
    pub fn observe(&self, stage: Stage, took: Duration) {
        let histogram = match stage {
            Stage::Total => &self.decision_duration.total,
            Stage::Facts => &self.decision_duration.facts,
            Stage::Evaluate => &self.decision_duration.evaluate,
        };
        histogram.observe(took.as_secs_f64());
    }

    /// The exposition text (`text/plain; version=0.0.4`) and its content type.
    ///
    /// # Errors
    /// Where a metric cannot be written as text.
    pub fn render(&self) -> Result<(Vec<u8>, String), prometheus::Error> {
        let encoder = TextEncoder::new();
        let mut text = Vec::with_capacity(16 * 1024);
        encoder.encode(&self.registry.gather(), &mut text)?;
        Ok((text, encoder.format_type().to_owned()))
    }
}

impl DirectoryMetrics {
    /// The metrics of one server.
    #[must_use]
    pub fn of(&self, server: &str) -> ServerMetrics {
        ServerMetrics {
            up: self.up.with_label_values(&[server]),
            in_use: self.pool_connections.with_label_values(&[server, "in_use"]),
            idle: self.pool_connections.with_label_values(&[server, "idle"]),
            waiters: self.pool_waiters.with_label_values(&[server]),
            wait: self.pool_wait.with_label_values(&[server]),
            breaker_open: self.breaker_open.with_label_values(&[server]),
        }
    }

    /// Removes what is labelled with this server.
    pub fn forget(&self, server: &str) {
        forget(&self.operations, server);
        forget(&self.operation_duration, server);
        forget(&self.up, server);
        forget(&self.pool_connections, server);
        forget(&self.pool_waiters, server);
        forget(&self.pool_wait, server);
        forget(&self.breaker_open, server);
    }
}

/// Removes every metric of a family that has this value for the label `server`.
fn forget<B: MetricVecBuilder>(family: &MetricVec<B>, server: &str) {
    for metric in family.collect().iter().flat_map(|family| family.get_metric()) {
        let labels: HashMap<&str, &str> =
            metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
        if labels.get("server") == Some(&server) {
            // It may have gone meanwhile.
            let _ = family.remove(&labels);
        }
    }
}

/// Makes metrics with the common prefix and registers them.
struct Keep<'a>(&'a Registry);

impl Keep<'_> {
    fn register<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(format!("bailiwick_{name}"), help)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::with_opts(Self::opts(name, help))?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Self::opts(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::with_opts(Self::opts(name, help))?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Self::opts(name, help), labels)?)
    }

    fn float(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.register(Gauge::with_opts(Self::opts(name, help))?)
    }

    fn floats(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        self.register(GaugeVec::new(Self::opts(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
        let options = HistogramOpts::from(Self::opts(name, help)).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(options)?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::from(Self::opts(name, help)).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, labels)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_name_of_its_own() {
        let metrics = Metrics::new().unwrap();
        metrics.exempt.inc();
        let text = String::from_utf8(metrics.render().unwrap().0).unwrap();
        assert!(text.contains("bailiwick_exempt_total 1"), "{text}");
    }

    #[test]
    fn a_server_that_is_forgotten_leaves_nothing_and_takes_nothing_else_with_it() {
        let metrics = Metrics::new().unwrap();
        for server in ["ldaps://a", "ldaps://b"] {
            metrics.directory.of(server).up.set(1);
            for (operation, result) in [("bind", "success"), ("search", "timeout")] {
                metrics.directory.operations.with_label_values(&[server, operation, result]).inc();
                metrics.directory.operation_duration.with_label_values(&[server, operation]).observe(0.1);
            }
        }
        metrics.directory.forget("ldaps://a");
        let text = String::from_utf8(metrics.render().unwrap().0).unwrap();
        assert!(!text.contains("ldaps://a"), "{text}");
        for name in ["directory_up", "directory_operations_total", "directory_pool_wait_seconds_count"] {
            assert!(text.contains(&format!("bailiwick_{name}{{")) && text.contains("ldaps://b"), "{text}");
        }
    }
}
