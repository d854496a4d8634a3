//! What a configuration may not say: refused before anything is served, with the place and the way out.

use std::path::Path;

use super::fixture::{PATIENT, Site, Transport, configuration, directory, policy, run};
use crate::slapd::{GROUPS, Slapd};

const NO_DIRECTORY: &str = "directory: {kind: none}";
/// A directory that nobody listens at: a configuration is refused before anybody is asked.
const LDAP: &str = "directory:\n  kind: ldap\n  ldap:\n    urls: [\"ldaps://127.0.0.1:1\"]\n    \
                    tls: {caFile: ca.pem}\n    bind: {dn: \"cn=svc,dc=example\", passwordFile: password}\n    \
                    userSearch: {base: \"dc=example\"}\n    groupSearch: {base: \"dc=example\"}\n";

/// One configuration that is refused: what is changed, the exit code, and what the message holds.
struct Refusal {
    directory: &'static str,
    /// Replacements in the text.
    written: &'static [(&'static str, &'static str)],
    /// Done to the folder.
    folder: fn(&Path),
    code: i32,
    says: &'static [&'static str],
}

fn nothing(_: &Path) {}

const SOUND: Refusal = Refusal { directory: NO_DIRECTORY, written: &[], folder: nothing, code: 0, says: &[] };

fn remove(folder: &Path, name: &str) {
    std::fs::remove_file(folder.join(name)).unwrap();
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

/// Of the shape of a policy that speaks of this condition.
fn condition(folder: &Path, condition: &str) {
    let text = policy("all", "Allow", "[{kind: Everyone}]", "[pods]").replace("  message: by all\n", "");
    write(folder, "policies/all.yaml", &text.replace("---\n", &format!("  when: {condition}\n")));
}

fn refusals() -> Vec<Refusal> {
    let mut refusals = written();
    refusals.extend(files());
    refusals
}

/// What is wrong with the text: exit code 5.
fn written() -> Vec<Refusal> {
    let sound = || Refusal { code: 5, ..SOUND };
    vec![
        Refusal {
            written: &[("  deadline: 3s", "  dedline: 3s")],
            says: &["config.yaml:8:3", "dedline", "deadline"],
            ..sound()
        },
        Refusal { written: &[("policies:", "polices:")], says: &["config.yaml:11:1", "polices"], ..sound() },
        Refusal {
            written: &[("deadline: 3s", "deadline: 3 parsecs")],
            says: &["config.yaml:8:13"],
            ..sound()
        },
        Refusal {
            directory: LDAP,
            written: &[(
                "groupSearch: {base: \"dc=example\"}",
                "groupSearch: {base: \"dc=example\"}\n    timeouts: {total: 3s}",
            )],
            says: &["config.yaml:", "timeouts.total", "server.deadline"],
            ..sound()
        },
        Refusal {
            written: &[
                ("listen: 127.0.0.1:0\n", "listen: 0.0.0.0:0\n"),
                (", clientCAFile: ca.pem}", "}"),
                ("  clients: [{name: kube-apiserver, clusters: [prod-1]}]\n", ""),
            ],
            says: &["config.yaml:4:11", "loopback", "clientCAFile"],
            ..sound()
        },
        Refusal {
            written: &[("audit:", "decisions: {whenUndetermined: Unavailable}\naudit:")],
            says: &["config.yaml:13:31", "caller.failurePolicy: Deny"],
            ..sound()
        },
        Refusal {
            written: &[("audit:", "decisions: {default: Deny}\naudit:")],
            says: &["config.yaml:13:22", "caller.position"],
            ..sound()
        },
        Refusal {
            folder: |folder| condition(folder, "{location: {networks: [10.0.0.0/8]}}"),
            says: &["all.yaml:", "trustedClusters"],
            ..sound()
        },
        Refusal {
            directory: LDAP,
            folder: |folder| {
                write(folder, "password", "secret");
                condition(folder, "{directory: {department: [risk]}}");
                let vocabulary = "apiVersion: bailiwick.dev/v1alpha1\nkind: Vocabulary\nmetadata: {name: words}\n\
                                  spec: {attributes: {department: {type: string}}}\n";
                write(folder, "policies/words.yaml", vocabulary);
            },
            says: &[".yaml:", "department", "directory.ldap.attributes"],
            ..sound()
        },
        Refusal {
            directory: LDAP,
            written: &[("ldaps://", "ldap://")],
            folder: |folder| write(folder, "password", "secret"),
            says: &["config.yaml:", "startTLS"],
            ..sound()
        },
        Refusal {
            folder: |folder| write(folder, "policies/all.yaml", "kind: AccessPolicy\n"),
            says: &["all.yaml:1:1", "apiVersion"],
            ..sound()
        },
    ]
}

/// What is wrong with the files that it names: 1 where one is not there or cannot be read, 5 where it is not what it
/// should be.
fn files() -> Vec<Refusal> {
    let missing = || Refusal { code: 1, ..SOUND };
    let broken = || Refusal { code: 5, ..SOUND };
    vec![
        Refusal { folder: |folder| remove(folder, "config.yaml"), says: &["config.yaml"], ..missing() },
        Refusal {
            folder: |folder| remove(folder, "server.pem"),
            says: &["server.pem", "no such file"],
            ..missing()
        },
        Refusal {
            folder: |folder| remove(folder, "server.key"),
            says: &["server.key", "no such file"],
            ..missing()
        },
        Refusal { folder: |folder| remove(folder, "ca.pem"), says: &["ca.pem", "no such file"], ..missing() },
        Refusal {
            // A folder cannot be read by anybody, not even by root.
            folder: |folder| {
                remove(folder, "server.key");
                std::fs::create_dir(folder.join("server.key")).unwrap();
            },
            says: &["server.key", "cannot be read"],
            ..missing()
        },
        Refusal { folder: |folder| remove(folder, "admin-token"), says: &["admin-token"], ..missing() },
        Refusal {
            folder: |folder| std::fs::remove_dir_all(folder.join("policies")).unwrap(),
            says: &["policies"],
            ..missing()
        },
        Refusal { directory: LDAP, says: &["password"], ..missing() },
        Refusal {
            directory: LDAP,
            written: &[("caFile: ca.pem", "caFile: other.pem")],
            folder: |folder| write(folder, "password", "secret"),
            says: &["other.pem", "no such file"],
            ..missing()
        },
        Refusal {
            written: &[("path: audit.log", "path: no/such/folder/audit.log")],
            says: &["audit"],
            ..missing()
        },
        Refusal {
            folder: |folder| write(folder, "server.key", "no key at all"),
            says: &["server.key", "PEM"],
            ..broken()
        },
        Refusal {
            folder: |folder| {
                let other = bailiwick::tls::Authority::new("other").unwrap().client("other", &[]).unwrap();
                write(folder, "server.key", &other.key_pem);
            },
            says: &["server.key", "does not match"],
            ..broken()
        },
    ]
}

#[test]
fn a_configuration_that_cannot_be_served_is_refused_with_its_place_and_code() {
    let mut wrong = String::new();
    for (number, refusal) in refusals().iter().enumerate() {
        let site = Site::new(&[("all.yaml", &policy("all", "Allow", "[{kind: Everyone}]", "[pods]"))]);
        let mut text = configuration(refusal.directory);
        for (from, to) in refusal.written {
            assert!(text.contains(from), "{from}: {text}");
            text = text.replace(from, to);
        }
        site.write("config.yaml", &text);
        let folder = site.path("");
        (refusal.folder)(&folder);
        let (code, out, err) = run(&folder, &["serve", "--config", "config.yaml"]);
        let is_silent = out.is_empty() && !err.contains("\"serving\"");
        let says_all = refusal.says.iter().all(|words| err.contains(words));
        if code != refusal.code || !is_silent || !says_all || err.contains("error: error:") {
            wrong +=
                &format!("{number}: {code}, not {} with {:?}:\n{out}{err}\n", refusal.code, refusal.says);
        }
        // Who asks beforehand is told the same.
        let (checked, _, said) = run(&folder, &["check", "--config", "config.yaml"]);
        if checked != refusal.code && !refusal.says.contains(&"audit") {
            wrong += &format!("{number}: check says {checked}, serve {code}:\n{said}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_directory_of_another_kind_than_configured_ends_the_start_by_its_name() {
    let slapd = Slapd::start("", "");
    let site = Site::new(&[("all.yaml", &policy("all", "Allow", "[{kind: Everyone}]", "[pods]"))]);
    let sound = configuration(&directory(&slapd, Transport::Ldaps, PATIENT, ""));
    let groups = format!("groupSearch: {{base: \"{GROUPS}\"");
    let url = slapd.ldaps_url();
    for (from, to, said) in [
        (
            "userSearch:",
            "flavour: activeDirectory\n    userSearch:",
            ["is OpenLDAP, and `flavour` is `activeDirectory`", &url],
        ),
        (&groups, &format!("{groups}, strategy: tokenGroups"), ["`groupSearch.strategy: tokenGroups`", &url]),
        (
            &groups,
            "groupSearch: {base: \"ou=grups,dc=example,dc=test\"",
            ["has no entry `ou=grups,dc=example,dc=test`", "`groupSearch.base`"],
        ),
    ] {
        let text = sound.replacen(from, to, 1);
        assert_ne!(text, sound);
        site.write("config.yaml", &text);
        let (code, out, err) = run(&site.path(""), &["serve", "--config", "config.yaml"]);
        assert_eq!((code, out.as_str()), (5, ""), "{err}");
        assert!(said.iter().all(|said| err.contains(said)), "{err}");
        assert!(!err.contains("\"serving\""), "{err}");
    }
}
