//! `bailiwick lookup` with the embedded directory and no service: what is shown, in the words of `tests/commands`, and how it
//! ends. `BLESS=1 cargo test lookup` writes the words anew.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A person with everything that is awkward to show, a disabled one, one who is locked, two of one name, and one whose name
/// the directory takes for another's.
const PEOPLE: &str = "\
dn: dc=example
objectClass: domain
dc: example

dn: uid=ada,dc=example
objectClass: inetOrgPerson
uid: ada
departmentNumber: engines
departmentNumber:: G1szMW1yZWQKbmV4dA==
description:: /w==

dn: uid=ben,dc=example
objectClass: inetOrgPerson
uid: ben
nsAccountLock: TRUE

dn: uid=cleo,dc=example
objectClass: inetOrgPerson
uid: cleo
nsAccountLock: perhaps

dn: cn=dora east,dc=example
objectClass: inetOrgPerson
uid: dora

dn: cn=dora west,dc=example
objectClass: inetOrgPerson
uid: dora

dn: cn=inner,dc=example
objectClass: groupOfNames
cn: inner
member: uid=ada,dc=example
member: uid=ben,dc=example
member: uid=cleo,dc=example

dn: cn=middle,dc=example
objectClass: groupOfNames
cn: middle
member: cn=inner,dc=example

dn: cn=outer,dc=example
objectClass: groupOfNames
cn:: G1sySm91dGVy
member: cn=middle,dc=example

dn: cn=aside,dc=example
objectClass: groupOfNames
cn: aside
member: uid=ada,dc=example
";

struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// A folder with a configuration of the embedded directory: `ldap` are lines of that section. Nobody serves at port 1.
fn site(ldap: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let configuration = format!(
        "apiVersion: bailiwick.dev/v1alpha1\n\
         kind: Configuration\n\
         server:\n\
         \x20 listen: 127.0.0.1:0\n\
         \x20 deadline: 20s\n\
         \x20 tls: {{certFile: server.pem, keyFile: server.key}}\n\
         admin: {{listen: \"127.0.0.1:1\"}}\n\
         directory:\n\
         \x20 kind: embedded\n\
         \x20 ldif: people.ldif\n\
         \x20 ldap:\n\
         \x20   attributes: {{department: {{from: departmentNumber}}, about: {{from: description}}}}\n\
         \x20   timeouts: {{connect: 5s, operation: 5s, total: 10s}}\n\
         {ldap}\n\
         \x20 usernames: {{stripPrefix: \"oidc:\", exclude: [\"*-robot\"]}}\n\
         policies: {{paths: [policies]}}\n"
    );
    fs::write(folder.path().join("config.yaml"), configuration).unwrap();
    fs::write(folder.path().join("people.ldif"), PEOPLE).unwrap();
    folder
}

fn lookup(site: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_bailiwick"))
        .arg("lookup")
        .args(arguments)
        .args(["--config", "config.yaml"])
        .current_dir(site)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(!err.contains("panicked"), "{err}");
    Ran { code: output.status.code().unwrap(), out, err }
}

#[test]
fn look_ups_are_shown_as_they_were() {
    let usual = site("");
    let bounded = site("    groupSearch: {maxDepth: 2}");
    let cases = [
        ("found", &usual, "oidc:ada", 0),
        ("disabled", &usual, "oidc:ben", 3),
        ("unreadable", &usual, "oidc:cleo", 3),
        ("several", &usual, "oidc:dora", 4),
        ("other-name", &usual, "oidc:ADA", 4),
        ("nobody", &usual, "oidc:nobody", 4),
        ("excluded", &usual, "oidc:x-robot", 4),
        ("without-prefix", &usual, "ada", 4),
        ("system", &usual, "system:kube-scheduler", 4),
        ("bounded", &bounded, "oidc:ada", 0),
    ];
    let mut differences = String::new();
    for (name, site, user, code) in cases {
        for (ending, output) in [("txt", "-o=text"), ("json", "-o=json")] {
            let ran = lookup(site.path(), &[user, output]);
            let shown = stable(&ran.out);
            let path =
                Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/commands/lookup-{name}.{ending}"));
            if std::env::var_os("BLESS").is_some() {
                fs::write(&path, &shown).unwrap();
            }
            if fs::read_to_string(&path).unwrap_or_default() != shown || ran.code != code {
                differences.push_str(&format!("{name}.{ending}: code {}\n{shown}{}\n", ran.code, ran.err));
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// Ports and times are not what these tests are about: ports become PORT, and times N.N where they stood.
fn stable(out: &str) -> String {
    let mut shown = String::new();
    for line in out.lines() {
        let mut parts = line.split("127.0.0.1:");
        let mut masked = parts.next().unwrap().to_owned();
        for part in parts {
            masked += "127.0.0.1:PORT";
            masked += part.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        let mut words: Vec<String> = Vec::new();
        for word in masked.split(' ') {
            let number = word.trim_end_matches(',');
            let is_time = number.contains('.') && number.chars().all(|c| c.is_ascii_digit() || c == '.');
            if !is_time {
                words.push(word.to_owned());
                continue;
            }
            // In a column it may be wider or narrower: its end stays where it is.
            let spaces = words.iter().rev().take_while(|word| word.is_empty()).count();
            words.truncate(words.len() - spaces);
            let width = if spaces == 0 { 0 } else { spaces + word.len() };
            words.push(format!("{:>width$}", word.replace(number, "N.N")));
        }
        shown += &words.join(" ");
        shown.push('\n');
    }
    shown
}

#[test]
fn the_form_for_machines_has_the_same_keys_whoever_is_looked_up() {
    let site = site("");
    let keys = |user: &str| -> Vec<String> {
        let ran = lookup(site.path(), &[user, "-o=json"]);
        let json: Value = serde_json::from_str(&ran.out).unwrap();
        json.as_object().unwrap().keys().cloned().collect()
    };
    let expected = [
        "account",
        "accountDenies",
        "attributes",
        "caller",
        "considered",
        "differs",
        "directoryName",
        "dn",
        "error",
        "flavour",
        "groups",
        "id",
        "milliseconds",
        "outsideBecause",
        "partialBecause",
        "person",
        "searches",
        "server",
        "service",
        "strategy",
        "strippedPrefix",
        "unlistedSearches",
        "user",
    ];
    for user in ["oidc:ada", "oidc:nobody", "system:x", "oidc:dora"] {
        let mut keys = keys(user);
        keys.sort();
        assert_eq!(keys, expected, "{user}");
    }
    let ran = lookup(site.path(), &["oidc:ada", "-o=json"]);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    let search = json["searches"][1].as_object().unwrap();
    for key in [
        "step",
        "level",
        "base",
        "scope",
        "filter",
        "attributes",
        "limit",
        "controls",
        "milliseconds",
        "entries",
    ] {
        assert!(search.contains_key(key), "{key}: {search:?}");
    }
    let outer = json["groups"].as_array().unwrap().iter().find(|group| group["dn"] == "cn=outer,dc=example");
    let path: Vec<&str> =
        outer.unwrap()["path"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(path, ["inner", "middle", "\u{1b}[2Jouter"]);
}

#[test]
fn nothing_that_the_directory_says_is_obeyed_by_a_terminal_and_no_secret_is_shown() {
    let site = site("");
    for output in ["-o=text", "-o=json"] {
        for user in ["oidc:ada", "oidc:\u{1b}[31mada\u{9b}2J\n"] {
            let ran = lookup(site.path(), &[user, output]);
            for text in [&ran.out, &ran.err] {
                assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{text}");
                assert!(!text.contains("cn=bailiwick-itself"), "{text}");
            }
        }
    }
}

#[test]
fn a_look_up_that_cannot_begin_is_told_by_its_exit_code() {
    let folder = site("");
    assert_eq!(lookup(folder.path(), &[]).code, 2, "no user");
    assert_eq!(lookup(Path::new("/"), &["ada"]).code, 1, "no configuration");
    fs::write(folder.path().join("people.ldif"), "no ldif").unwrap();
    let ran = lookup(folder.path(), &["oidc:ada"]);
    assert!(ran.code == 5 && ran.err.starts_with("error: "), "{} {}", ran.code, ran.err);
    let wrong = site("    groupSearch: {maxDepth: 0}");
    assert_eq!(lookup(wrong.path(), &["oidc:ada"]).code, 5);
    let unfit = site("    groupSearch: {strategy: tokenGroups}");
    let ran = lookup(unfit.path(), &["oidc:ada"]);
    assert_eq!(ran.code, 5, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("cannot do `groupSearch.strategy: tokenGroups`"), "{}", ran.err);
    assert!(ran.out.contains("none: there was nobody to ask"), "{}", ran.out);
    let nobody = site("");
    let path = nobody.path().join("config.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("directory:\n").unwrap();
    let after = rest.split_once("policies:").unwrap().1;
    fs::write(&path, format!("{before}directory: {{kind: none}}\npolicies:{after}")).unwrap();
    let ran = lookup(nobody.path(), &["ada"]);
    assert!(ran.code == 4 && ran.out.contains("directory.kind: none"), "{} {}{}", ran.code, ran.out, ran.err);
}
