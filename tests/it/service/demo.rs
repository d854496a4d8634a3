//! `bailiwick demo`: what it prints works as printed.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::fixture::{BAILIWICK, PATIENCE, ended, run, signal_process};

#[test]
fn the_tour_shows_each_decision_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) = run(folder.path(), &["demo", "--once"]);
    assert_eq!(code, 0, "{out}{err}");
    for decision in ["   Allow", "   Deny: ", "   NoOpinion"] {
        assert!(out.lines().any(|line| line.starts_with(decision)), "no `{decision}`: {out}");
    }
    assert!(out.contains("reviews over HTTPS"), "{out}");
    assert!(!out.contains("curl "), "it does not stay: {out}");
}

fn is_command(line: &str) -> bool {
    [String::from("curl "), format!("{BAILIWICK} ")].iter().any(|begin| line.trim_start().starts_with(begin))
}

/// Commands of more than one line: what is indented as they are, until an empty line.
fn printed_commands(lines: &[String]) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    for paragraph in lines.split(|line| line.trim().is_empty()) {
        for line in paragraph {
            if is_command(line) {
                commands.push(format!("{line}\n"));
            } else if line.starts_with("    ") && is_command(&paragraph[0]) {
                commands.last_mut().unwrap().push_str(&format!("{line}\n"));
            }
        }
    }
    commands
}

fn in_bash(command: &str) -> String {
    let output = Command::new("bash").args(["-c", &format!("set -e\n{command}")]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}\n{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_printed_commands_work_as_printed_and_an_interrupt_ends_it() {
    let mut process = Command::new(BAILIWICK)
        .arg("demo")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| send.send(line)));
    let until = Instant::now() + PATIENCE;
    let mut lines: Vec<String> = Vec::new();
    while !lines.last().is_some_and(|line| line.contains("audit.log")) {
        match receive.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => lines.push(line),
            Err(error) => {
                process.kill().unwrap();
                process.wait().unwrap();
                panic!("{error}: {lines:?}");
            }
        }
    }
    let answers = std::panic::catch_unwind(|| {
        printed_commands(&lines).iter().map(|command| in_bash(command)).collect::<Vec<_>>()
    });
    signal_process(&process, "-INT");
    let ended = ended(&mut process, Instant::now() + Duration::from_secs(15));
    if ended.is_none() {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let answers = answers.unwrap();
    let [review, explanation, looked_up, metrics, ready] = answers.as_slice() else {
        panic!("{} commands", answers.len());
    };
    let review: serde_json::Value = serde_json::from_str(review).unwrap();
    assert_eq!(review["status"]["denied"], true, "{review}");
    let explanation: serde_json::Value = serde_json::from_str(explanation).unwrap();
    assert_eq!(explanation["facts"]["person"], "found", "{explanation}");
    assert!(looked_up.contains("  support < staff\n"), "{looked_up}");
    assert!(looked_up.contains(" holds facts: "), "{looked_up}");
    assert!(metrics.contains("bailiwick_decisions_total"), "{metrics}");
    assert!(ready.contains("readyz check passed"), "{ready}");
    assert_eq!(ended.expect("it ends").code(), Some(0));
}
