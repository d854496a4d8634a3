//! Tests in a network of their own: a namespace with nothing in it but a loopback, that ends with the test.

use std::path::PathBuf;
use std::process::Command;

use crate::processes::{program, run};

/// Set for the test within.
const INSIDE: &str = "BAILIWICK_TEST_NAMESPACE";

/// Whether this is a network of one's own. Where it is not, the test of this name has been run in one when this returns; it
/// failed if that one did.
///
/// The mounts are its own as well, so that it may have another `/etc/resolv.conf`.
pub fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare = program("unshare", "util-linux");
    ip();
    let ran = run(Command::new(unshare)
        .args(["--net", "--mount", "--", "sh", "-c"])
        .arg("ip link set lo up && exec \"$0\" \"$1\" --exact --nocapture --test-threads 1")
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(INSIDE, "1"));
    assert!(ran.contains(" 1 passed;"), "{ran}");
    println!("{ran}");
    false
}

/// The name of a test, for [`is_inside`], from its module and function.
pub fn name(module: &str, function: &str) -> String {
    format!("{}::{function}", module.split_once("::").map_or(module, |(_, module)| module))
}

pub fn ip() -> PathBuf {
    program("ip", "iproute2")
}

pub fn iptables(arguments: &str) {
    assert!(std::env::var_os(INSIDE).is_some(), "the packets of the whole machine");
    run(Command::new(program("iptables", "iptables")).args(arguments.split(' ')));
}
