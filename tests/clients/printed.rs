//! What the demo prints to try works as printed, and is refused where it says so.

use std::process::Command;

use super::demo::Demo;
use super::kubectl::KUBECTLS;

#[test]
fn the_printed_commands_do_what_is_printed_beside_them() {
    let demo = Demo::start();
    let programs = demo.path("programs");
    std::fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(KUBECTLS.last().unwrap(), programs.join("kubectl")).unwrap();
    let output = demo.output();
    let lines = output.lines().filter(|line| line.starts_with("  ")).map(str::trim);
    let (mut export, mut tried) = ("", 0);
    for line in lines {
        // It says whose commands follow.
        if line.starts_with("export KUBECONFIG=") {
            export = line;
        }
        if !line.starts_with("kubectl ") {
            continue;
        }
        tried += 1;
        let ran = Command::new("bash")
            .args(["-c", &format!("{export}\n{line}")])
            .env_clear()
            .env("HOME", demo.path(""))
            .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
            .output()
            .unwrap();
        let is_refused = line.contains("# refused");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.success(), !is_refused, "{line}: {said}");
    }
    assert!(tried >= 8, "{output}");
}
