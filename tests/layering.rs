//! Holds the modules to the import direction of ARCHITECTURE.md's code map (DESIGN 10): nothing imports upwards, a
//! third-party crate is used only by the module that owns it, and no file grows beyond what one can read.
//!
//! The sources are read as tokens, without comments, strings and test code; no crate is needed for that.
#![allow(clippy::disallowed_methods, reason = "it reads the sources")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "all of this is a test: it fails by a panic")]

#[path = "layering/code.rs"]
mod code;

use std::collections::BTreeSet;
use std::path::Path;

use code::{Code, FromRoot};

/// A file longer than this has more than one subject.
const MAX_LINES: usize = 600;

/// The binary only hands over to the library.
const MAX_MAIN_LINES: usize = 40;

/// One module at the top of the library, and the modules that it may import.
struct Module {
    name: &'static str,
    may_import: &'static [&'static str],
}

/// In reading order: a module may only import what stands above it.
#[rustfmt::skip]
const MODULES: &[Module] = &[
    Module { name: "model", may_import: &[] },
    Module { name: "document", may_import: &[] },
    Module { name: "cel", may_import: &["model"] },
    Module { name: "policy", may_import: &["model", "document", "cel"] },
    Module { name: "eval", may_import: &["model", "cel", "policy"] },
    Module { name: "analysis", may_import: &["model", "policy", "eval"] },
    Module { name: "convert", may_import: &["model", "document", "policy"] },
    Module { name: "review", may_import: &["model"] },
    Module { name: "telemetry", may_import: &["model"] },
    Module { name: "tls", may_import: &["telemetry"] },
    Module { name: "directory", may_import: &["model", "telemetry", "tls"] },
    Module { name: "cluster", may_import: &["model", "telemetry"] },
    Module { name: "cache", may_import: &["model", "telemetry"] },
    Module { name: "store", may_import: &["model", "document", "policy", "telemetry"] },
    Module { name: "authz", may_import: &[
        "model", "cel", "policy", "eval", "telemetry", "tls", "directory", "cluster", "cache", "store",
    ] },
    Module { name: "server", may_import: &["telemetry", "tls"] },
    Module { name: "http", may_import: &["model", "review", "telemetry", "store", "authz", "server"] },
    Module { name: "frontend", may_import: &[
        "model", "document", "cel", "review", "telemetry", "tls", "directory", "cache", "server",
    ] },
    Module { name: "config", may_import: &[
        "model", "document", "policy", "eval", "review", "telemetry", "tls", "directory", "cluster", "cache", "store", "authz",
        "server", "http", "frontend",
    ] },
    Module { name: "cli", may_import: &[
        "model", "document", "cel", "policy", "eval", "analysis", "convert", "review", "telemetry", "tls", "directory",
        "cluster", "cache", "store", "authz", "server", "http", "frontend", "config",
    ] },
];

/// Third-party crates that only some modules may use, by the name that stands in the source. A name that ends with `*`
/// stands for all crates that begin so.
#[rustfmt::skip]
const OWNED_CRATES: &[(&str, &[&str])] = &[
    ("actix_*", &["server", "http", "frontend"]),
    ("h2", &["server", "http", "frontend"]),
    ("hickory_*", &["directory"]),
    ("ldap3", &["directory"]),
    ("lber", &["directory"]),
    ("moka", &["cache"]),
    ("prometheus", &["telemetry"]),
    ("openssl", &["tls"]),
    ("tokio_openssl", &["tls"]),
    ("hyper*", &["tls"]),
    ("granit_parser", &["document"]),
    ("cel", &["cel"]),
    ("redb", &["frontend"]),
    ("kube*", &["cluster"]),
    ("k8s_openapi", &["cluster"]),
    ("clap*", &["cli"]),
];

#[test]
fn every_module_imports_only_what_the_table_lets_it() {
    let sources = sources_below("src");
    assert!(sources.len() > 10, "the sources were found");
    let faults = faults(&sources);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn no_file_has_more_lines_than_one_can_read() {
    let long: Vec<String> = ["src", "tests", "benches"]
        .iter()
        .flat_map(|folder| sources_below(folder))
        .filter(|source| source.text.lines().count() > MAX_LINES)
        .map(|source| format!("{} has {} lines", source.path, source.text.lines().count()))
        .collect();
    assert!(long.is_empty(), "more than {MAX_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn the_table_itself_has_no_upward_import() {
    for (index, module) in MODULES.iter().enumerate() {
        for import in module.may_import {
            let above = MODULES[..index].iter().any(|other| other.name == *import);
            assert!(above, "`{}` may import `{import}`, which does not stand above it", module.name);
        }
    }
}

#[test]
fn the_code_map_of_architecture_md_says_the_same() {
    let text = read("ARCHITECTURE.md");
    let rows: Vec<(String, BTreeSet<String>)> = text
        .lines()
        .skip_while(|line| !line.starts_with("## Code map"))
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let imports = cells[2].split(", ").filter(|name| *name != "-").map(str::to_owned).collect();
            (cells[0].trim_matches('`').to_owned(), imports)
        })
        .collect();
    let table: Vec<(String, BTreeSet<String>)> = MODULES
        .iter()
        .map(|module| {
            (module.name.to_owned(), module.may_import.iter().map(|name| (*name).to_owned()).collect())
        })
        .collect();
    assert_eq!(rows, table);
}

#[test]
fn an_upward_import_is_found_in_each_way_of_writing_it() {
    for text in [
        "use crate::authz::Reply;",
        "use crate::authz;",
        "pub(crate) use crate::{model::Request, authz::{self, Reply}};",
        "use crate::{{authz}};",
        "fn f() -> crate::authz::Reply { todo!() }",
        "fn f() { let _ = Some(crate::authz::x()); }",
        "macro_rules! m { () => { $crate::authz::x() } }",
        "use super::authz;",
        "use bailiwick::authz;",
        "mod inner { use super::super::authz::Reply; }",
        "/* not */ use /* hidden */ crate :: authz :: Reply;",
        "fn f() { let quote = '\"'; crate::authz::x(); let other = '\"'; }",
        "fn f<'a>(x: &'a str) { crate::authz::x(); }",
        r##"fn f() { let _ = r#" " "#; crate::authz::x(); }"##,
    ] {
        assert_eq!(faults_of("policy/mod.rs", text).len(), 1, "{text}");
    }
}

#[test]
fn an_import_of_the_whole_crate_is_found() {
    for text in ["use crate as root;", "use crate::*;", "use crate::{self as root};", "use super::*;"] {
        assert_eq!(faults_of("policy/mod.rs", text).len(), 1, "{text}");
    }
}

#[test]
fn what_is_no_import_is_left_alone() {
    for text in [
        "use crate::model::Request; use super::model::Request;",
        "// use crate::authz::Reply;\n/* use crate::authz; /* nested */ */",
        "/// See [`crate::authz::Reply`].\nfn f() {}",
        "fn f() -> &'static str { \"crate::authz::Reply \\\" openssl::x\" }",
        "#[cfg(test)]\nmod tests { use crate::authz::Reply; fn f() { openssl::x(); } }",
        "#[cfg(test)] use crate::authz::{Reply, Fault};\nfn f() {}",
        "#[cfg(test)] #[allow(dead_code)] fn f() { crate::authz::x(); }\nfn g() {}",
        "fn f(authz: u8) { self::authz::x(); inner::openssl::x(); }",
        "use self::super::model::Request;",
    ] {
        assert_eq!(faults_of("policy/mod.rs", text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_module_of_test_code_in_a_file_of_its_own_is_left_alone() {
    let sources = [
        Source::new("lib.rs", "pub mod policy;"),
        Source::new("policy/mod.rs", "#[cfg(test)]\nmod tests;"),
        Source::new("policy/tests.rs", "use crate::authz::Reply;"),
        Source::new("policy/tests/more.rs", "use crate::authz::Reply;"),
    ];
    assert_eq!(faults(&sources), Vec::<String>::new());
}

#[test]
fn what_stands_after_test_code_is_read() {
    let text = "#[cfg(test)] use crate::authz::{Reply};\n#[cfg(test)] mod t { fn f() {} }\nuse crate::cli;";
    assert_eq!(faults_of("policy/mod.rs", text), ["src/policy/mod.rs:3: `policy` must not import `cli`"]);
}

#[test]
fn a_crate_is_found_outside_of_its_owner() {
    for text in [
        "use openssl::ssl::Ssl;",
        "use {openssl::ssl::Ssl, std::io};",
        "use ::openssl as other;",
        "extern crate openssl;",
        "fn f() { ::openssl::init(); }",
        "#[openssl::main] fn f() {}",
        "fn f(_: hyper_util::rt::TokioIo<u8>) {}",
        "use actix_web::web;",
    ] {
        assert_eq!(faults_of("directory/mod.rs", text).len(), 1, "{text}");
    }
    assert_eq!(faults_of("tls/mod.rs", "use openssl::ssl::Ssl;"), Vec::<String>::new());
    assert_eq!(faults_of("authz/mod.rs", "use crate::cel::Expression;"), Vec::<String>::new());
    assert_eq!(faults_of("authz/mod.rs", "use cel::Program;").len(), 1);
}

#[test]
fn an_unknown_module_a_wrong_order_and_a_fat_binary_are_found() {
    assert_eq!(faults(&[Source::new("utils.rs", "")]), ["src/utils.rs: the table knows no module `utils`"]);
    let upside_down = Source::new("lib.rs", "pub mod policy;\npub mod model;");
    assert_eq!(
        faults(&[upside_down]),
        ["src/lib.rs: `model` stands below `policy`; the reading order is the table's"]
    );
    let unknown = Source::new("lib.rs", "pub mod utils;");
    assert_eq!(faults(&[unknown]), ["src/lib.rs: the table knows no module `utils`"]);
    let main = Source::new("main.rs", "fn main() { bailiwick::authz::x(); }");
    assert_eq!(faults(&[main]), ["src/main.rs:1: `main` must not import `authz`"]);
    let main = Source::new("main.rs", "fn main() { bailiwick::cli::run() }");
    assert_eq!(faults(&[main]), Vec::<String>::new());
    let main = Source::new("main.rs", &"\n".repeat(MAX_MAIN_LINES + 1));
    assert_eq!(faults(&[main]).len(), 1);
}

/// A source file: its path below `src`, with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: format!("src/{path}"), text: text.to_owned() }
    }

    /// The modules that lead to this file: `src/policy/ast.rs` is `[policy, ast]`; `lib.rs` is none.
    fn module_path(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        path.split('/').filter(|part| !matches!(*part, "mod" | "lib")).collect()
    }
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sources_below(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder)) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.ends_with(".rs") {
                let text = read(&path);
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn faults_of(path: &str, text: &str) -> Vec<String> {
    faults(&[Source::new(path, text)])
}

/// Everything in these sources that the tables forbid, a line each.
fn faults(sources: &[Source]) -> Vec<String> {
    let read: Vec<(&Source, Code)> =
        sources.iter().map(|source| (source, Code::read(&source.text))).collect();
    let tests: Vec<Vec<String>> = read
        .iter()
        .flat_map(|(source, code)| {
            let within: Vec<String> = source.module_path().iter().map(|part| (*part).to_owned()).collect();
            code.test_modules.iter().map(move |name| [within.clone(), vec![name.clone()]].concat())
        })
        .collect();
    let mut faults = Vec::new();
    for (source, code) in &read {
        let path = source.module_path();
        if tests.iter().any(|test| path.len() >= test.len() && path.iter().zip(test).all(|(a, b)| a == b)) {
            continue;
        }
        match path.first() {
            None => faults.extend(order_faults(source, code)),
            Some(&"main") => {
                if source.text.lines().count() > MAX_MAIN_LINES {
                    faults.push(format!("{}: more than {MAX_MAIN_LINES} lines", source.path));
                }
                faults.extend(import_faults(source, code, "main", &["cli"]));
            }
            Some(name) => match MODULES.iter().find(|module| module.name == *name) {
                Some(module) => faults.extend(import_faults(source, code, name, module.may_import)),
                None => faults.push(format!("{}: the table knows no module `{name}`", source.path)),
            },
        }
    }
    faults
}

fn order_faults(source: &Source, code: &Code) -> Vec<String> {
    let mut faults = Vec::new();
    let mut last: Option<usize> = None;
    for name in &code.modules {
        let Some(place) = MODULES.iter().position(|module| module.name == name) else {
            faults.push(format!("{}: the table knows no module `{name}`", source.path));
            continue;
        };
        if let Some(above) = last.filter(|above| *above > place) {
            let above = MODULES[above].name;
            faults.push(format!(
                "{}: `{name}` stands below `{above}`; the reading order is the table's",
                source.path
            ));
        }
        last = Some(place);
    }
    faults
}

fn import_faults(source: &Source, code: &Code, module: &str, may_import: &[&str]) -> Vec<String> {
    let depth = source.module_path().len();
    let mut faults = BTreeSet::new();
    for path in &code.paths {
        let place = format!("{}:{}", source.path, path.line);
        match path.names_from_the_root(depth) {
            FromRoot::Module(name) if name == "*" || name == "self" => {
                faults.insert(format!("{place}: `{module}` must not import the whole crate"));
            }
            FromRoot::Module(name) if MODULES.iter().all(|other| other.name != name) => {}
            FromRoot::Module(name) if name != module && !may_import.contains(&name) => {
                faults.insert(format!("{place}: `{module}` must not import `{name}`"));
            }
            FromRoot::Module(_) | FromRoot::Inside => {}
            FromRoot::Crate(name) => {
                let owner = OWNED_CRATES.iter().find(|(owned, _)| is_called(name, owned));
                if let Some((_, owners)) = owner.filter(|(_, owners)| !owners.contains(&module)) {
                    let owners = owners.join(", ");
                    faults.insert(format!(
                        "{place}: `{module}` must not use the crate `{name}` ({owners} may)"
                    ));
                }
            }
        }
    }
    faults.into_iter().collect()
}

fn is_called(name: &str, owned: &str) -> bool {
    owned.strip_suffix('*').map_or(name == owned, |prefix| name.starts_with(prefix))
}
