//! `bailiwick lookup` against a domain controller: what only such a one has is shown.

use std::process::{Command, Stdio};

use crate::samba::{BASE, Entry, GROUPS, PEOPLE, SERVICE, Samba};

/// What the command says of this user: exit code and text.
fn lookup(samba: &Samba, user: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let (url, ca, password) = (samba.urls().remove(0), samba.ca_file(), samba.password_file());
    let configuration = format!(
        "apiVersion: bailiwick.dev/v1alpha1\n\
         kind: Configuration\n\
         server:\n\
         \x20 listen: 127.0.0.1:0\n\
         \x20 deadline: 20s\n\
         \x20 tls: {{certFile: server.pem, keyFile: server.key}}\n\
         admin: {{listen: \"127.0.0.1:1\"}}\n\
         directory:\n\
         \x20 kind: ldap\n\
         \x20 ldap:\n\
         \x20   urls: [\"{url}\"]\n\
         \x20   tls: {{caFile: \"{ca}\"}}\n\
         \x20   bind: {{dn: \"{who}\", passwordFile: \"{password}\"}}\n\
         \x20   userSearch: {{base: \"{PEOPLE}\"}}\n\
         \x20   groupSearch: {{base: \"{BASE}\"}}\n\
         \x20   timeouts: {{connect: 5s, operation: 5s, total: 10s}}\n\
         policies: {{paths: [policies]}}\n",
        ca = ca.display(),
        who = samba.bind_name(SERVICE),
        password = password.display(),
    );
    std::fs::write(folder.path().join("config.yaml"), configuration).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bailiwick"))
        .args(["lookup", user, "--config", "config.yaml"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
}

#[test]
fn a_domain_its_token_groups_and_its_account_states_are_shown() {
    let samba = Samba::start();
    let dn = |name: &str, base: &str| format!("CN={name},{base}");
    samba.add(Entry::user("shown"));
    samba.add(Entry::group("leaf-shown", &[&dn("shown", PEOPLE)]));
    samba.add(Entry::group("mid-shown", &[&dn("leaf-shown", GROUPS)]));
    let (code, text) = lookup(&samba, "ADEX\\shown");
    println!("{text}");
    assert_eq!(code, 0, "{text}");
    for part in [
        "  kind       Active Directory: Samba Team",
        "  domain     ad.example.test, ADEX\n",
        "  strategy   tokenGroups  (`auto`: the best that Active Directory has)\n",
        "  names      sAMAccountName: shown, userPrincipalName: shown@ad.example.test\n",
        "  leaf-shown < mid-shown\n",
        "  Domain Users\n",
        "(objectSid=S-1-5-21-",
        "; in one page",
        "  account/disabled          no              Deny, if it were so\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("objectSid=\\01"), "{text}");
    let (code, text) = lookup(&samba, "ELSEWHERE\\shown");
    assert!(code == 4 && text.contains("none: such a name is nobody's in this domain"), "{code} {text}");
}
