//! The official client libraries: one program for each language, which does against a real demo what people do with it.
//! Each ends with an error at the first thing that is not as it must be, and says `ok NAME` of the others.
//!
//! What a program needs is installed from its registry, by its lock file, into `tools/clients` beside what cargo builds;
//! a second run finds it there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::demo::Demo;
use super::processes::run;

/// What every program sees, in this order; `CACHE` is what its library calls what follows objects, if it has that.
const SEEN: [&str; 18] = [
    "version",
    "discovery",
    "create",
    "list",
    "get",
    "watch",
    "resume",
    "CACHE",
    "patch",
    "replace",
    "delete",
    "log",
    "access review",
    "refused by a policy",
    "refused by admission",
    "token",
    "service account",
    "password",
];

/// The folder of one language's program.
fn program_of(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/languages").join(language)
}

/// Where its library is, in a folder named after what these files say; filled by `install` if it is not there.
fn installed(language: &str, files: &[&str], install: impl FnOnce(&Path)) -> PathBuf {
    let content: String =
        files.iter().map(|file| std::fs::read_to_string(program_of(language).join(file)).unwrap()).collect();
    let key = format!(
        "{:016x}",
        content.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    );
    let tools = Path::new(env!("CARGO_BIN_EXE_bailiwick")).ancestors().nth(2).unwrap().join("tools/clients");
    let folder = tools.join(format!("{language}-{key}"));
    if !folder.join("complete").exists() {
        // What was begun and not ended is in nobody's way.
        let _gone = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let began = Instant::now();
        install(&folder);
        std::fs::write(folder.join("complete"), "").unwrap();
        println!("{language}: installed in {:.1?}", began.elapsed());
    }
    folder
}

/// A tool that has to be there; the packages are those of Debian.
fn tool(name: &str, packages: &str) -> Command {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", name]).output().unwrap();
    assert!(found.status.success(), "{name} is not installed: apt-get install {packages}");
    Command::new(name)
}

/// Runs the program against a demo of its own, and holds it to what it must have seen.
fn sees(language: &str, cache: Option<&str>, more: &[&str], program: impl FnOnce() -> Command) {
    let demo = Demo::start();
    let began = Instant::now();
    let printed = run(program().arg(demo.path("kubeconfigs")));
    println!("{language}: ran {:.1?}", began.elapsed());
    let seen: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("ok ")).collect();
    let expected = SEEN.iter().filter_map(|name| if *name == "CACHE" { cache } else { Some(*name) });
    let expected: Vec<&str> = expected.chain(more.iter().copied()).collect();
    assert_eq!(seen, expected, "{printed}");
}

#[test]
fn the_python_client_does_what_it_does_against_a_cluster() {
    let folder = installed("python", &["requirements.txt"], |folder| {
        run(tool("python3", "python3-venv").args(["-m", "venv"]).arg(folder));
        run(Command::new(folder.join("bin/pip"))
            .args([
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--require-hashes",
                "--only-binary=:all:",
                "-r",
            ])
            .arg(program_of("python").join("requirements.txt")));
    });
    sees("python", None, &[], || {
        let mut python = Command::new(folder.join("bin/python"));
        python.arg("-B").arg(program_of("python").join("client.py"));
        python
    });
}

#[test]
fn the_javascript_client_does_what_it_does_against_a_cluster() {
    let folder = installed("javascript", &["package.json", "package-lock.json"], |folder| {
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(program_of("javascript").join(file), folder.join(file)).unwrap();
        }
        run(tool("npm", "nodejs npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(folder));
    });
    // Node looks for packages from where the program lies.
    std::fs::copy(program_of("javascript").join("client.mjs"), folder.join("client.mjs")).unwrap();
    sees("javascript", Some("informer"), &[], || {
        let mut node = tool("node", "nodejs npm");
        node.arg(folder.join("client.mjs"));
        node
    });
}

#[test]
fn the_java_client_does_what_it_does_against_a_cluster() {
    let source = program_of("java").join("src/main/java/Client.java");
    let folder = installed("java", &["pom.xml"], |folder| {
        run(tool("mvn", "default-jdk-headless maven")
            .args(["-q", "-B", "-f"])
            .arg(program_of("java").join("pom.xml"))
            .arg("dependency:copy-dependencies")
            .arg(format!("-DoutputDirectory={}", folder.join("jars").display())));
    });
    let classes = tempfile::tempdir().unwrap();
    let jars = format!("{}/*", folder.join("jars").display());
    run(tool("javac", "default-jdk-headless").args(["-cp", &jars, "-d"]).arg(classes.path()).arg(source));
    sees("java", Some("informer"), &[], || {
        let mut java = tool("java", "default-jdk-headless");
        java.arg("-cp").arg(format!("{jars}:{}", classes.path().display())).arg("Client");
        java
    });
}

#[test]
fn the_go_client_does_what_it_does_against_a_cluster() {
    let folder = installed("go", &["go.mod", "go.sum", "main.go"], |folder| {
        run(tool("go", "golang-go")
            .args(["build", "-mod=readonly", "-buildvcs=false", "-o"])
            .arg(folder.join("client"))
            .arg(".")
            .current_dir(program_of("go")));
    });
    sees("go", Some("informer"), &["leader election"], || Command::new(folder.join("client")));
}

#[test]
fn the_rust_client_does_what_it_does_against_a_cluster() {
    let folder = installed("rust", &["Cargo.toml", "Cargo.lock", "src/main.rs"], |folder| {
        run(tool("cargo", "rustup")
            .args(["build", "--quiet", "--locked", "--manifest-path"])
            .arg(program_of("rust").join("Cargo.toml"))
            .env("CARGO_TARGET_DIR", folder));
    });
    sees("rust", Some("reflector"), &[], || Command::new(folder.join("debug/bailiwick-client-of-kube")));
}
