//! What the outside can see of us: metrics, audit lines, the log.

pub mod audit;
pub mod build;
pub mod log;
mod metrics;

pub use metrics::{DirectoryMetrics, Metrics, ServerMetrics, Stage};
/// Handles of metrics, for the modules that keep them: `prometheus` itself is used by this module alone.
pub use prometheus::{IntCounter, IntCounterVec, IntGauge};
