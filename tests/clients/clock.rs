//! What may be done at one hour and not at another, without a restart: the process is shown a clock that the test sets.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::demo::{Demo, eventually};

/// Where libfaketime is; `./test --all` installs it.
fn library() -> String {
    let found = super::processes::run(std::process::Command::new("find").args([
        "/usr/lib",
        "-name",
        "libfaketime.so.1",
        "-print",
        "-quit",
    ]));
    assert!(!found.trim().is_empty(), "libfaketime is not installed: apt-get install faketime");
    found.trim().to_owned()
}

/// Allows what is asked for, in London's office hours alone.
const OFFICE_HOURS: &str = "
apiVersion: bailiwick.dev/v1alpha1
kind: AccessPolicy
metadata: {name: support-reads-in-office-hours}
spec:
  effect: Allow
  subjects: [{kind: DirectoryGroup, name: support}]
  rules: [{apiGroups: [\"\"], resources: [configmaps], namespaces: [payments-prod], verbs: [get, list]}]
  when: {time: {days: [Mon-Fri], hours: [\"08:00-18:00\"], timeZone: Europe/London}}
";

#[test]
fn the_hour_counts_and_passes_without_a_restart() {
    let clock = tempfile::NamedTempFile::new().unwrap();
    // kubectl keeps the real time: the certificates that the demo makes have to be good by it as well.
    let monday = TimeZone::UTC.to_datetime(Timestamp::now()).date().checked_sub(7.days()).unwrap();
    let monday = monday.nth_weekday(-1, Weekday::Monday).unwrap();
    let set = |days: i64, time: &str| {
        let day = monday.checked_add(days.days()).unwrap();
        std::fs::write(clock.path(), format!("@{day} {time}\n")).unwrap();
    };
    set(0, "10:00:00");
    let demo = Demo::start_by(&[
        ("LD_PRELOAD", &library()),
        ("FAKETIME_TIMESTAMP_FILE", &clock.path().display().to_string()),
        ("FAKETIME_NO_CACHE", "1"),
        // Deadlines and the ages of facts are measured by another clock.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("TZ", "UTC"),
    ]);
    std::fs::write(demo.path("policies/support.yaml"), OFFICE_HOURS).unwrap();
    let nina = demo.kubectl("nina");
    let reads = || nina.run(&["get", "configmaps", "-n", "payments-prod"]).code == 0;
    eventually("it is Monday morning, and she may", reads);
    set(0, "22:30:00");
    eventually("it is Monday night, and she may not", || !reads());
    set(1, "09:00:00");
    eventually("it is Tuesday morning, and she may again", reads);
}
