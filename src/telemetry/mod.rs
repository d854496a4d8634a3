//! What the outside can see of us: metrics, audit lines, the log.

mod metrics;

pub use metrics::{DirectoryMetrics, Metrics, Stage};
