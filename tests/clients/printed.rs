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
    let lines = || output.lines().filter(|line| line.starts_with("  ")).map(str::trim);
    let export =
        lines().find(|line| line.starts_with("export KUBECONFIG=")).expect("it says whose commands they are");
    let commands: Vec<&str> = lines().filter(|line| line.starts_with("kubectl ")).collect();
    assert!(commands.len() >= 6, "{output}");
    for command in commands {
        let ran = Command::new("bash")
            .args(["-c", &format!("{export}\n{command}")])
            .env_clear()
            .env("HOME", demo.path(""))
            .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
            .output()
            .unwrap();
        let is_refused = command.contains("# refused");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.success(), !is_refused, "{command}: {said}");
    }
}
