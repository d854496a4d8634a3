//! A client for the servers of a test.

use std::time::Duration;

use tempfile::TempDir;

use super::Persona;
use crate::directory::{Bind, Settings};

/// What no answer takes, on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(20);

impl Persona {
    /// Settings of a client of these servers, the preferred one first, and the folder with its password. All that is
    /// looked for is below the suffix of the samples. It is patient.
    pub fn settings(servers: &[&Self]) -> (Settings, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let password_file = folder.path().join("password");
        std::fs::write(&password_file, "secret").unwrap();
        let bind = Bind::Simple { dn: "cn=svc".to_owned(), password_file };
        let urls = servers.iter().map(|server| server.url()).collect();
        let mut settings = Settings::new(urls, bind, "dc=corp,dc=example");
        settings.tls.insecure_plaintext = true;
        settings.timeouts.connect = PATIENCE;
        settings.timeouts.operation = PATIENCE;
        settings.timeouts.total = PATIENCE;
        (settings, folder)
    }
}
