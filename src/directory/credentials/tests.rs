//! Passwords that are refused, and what that costs; time is handed in.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

struct Scene {
    folder: tempfile::TempDir,
    credentials: Credentials,
    start: Instant,
}

fn server(name: &str) -> ServerId {
    ServerId::new(name.into())
}

impl Scene {
    fn new(password: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let credentials = Credentials::new(Who::Simple("cn=svc".to_owned()), folder.path().join("password"));
        let scene = Self { folder, credentials, start: Instant::now() };
        scene.write(password);
        scene
    }

    fn write(&self, password: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join("password"), password).unwrap();
    }

    /// The same content, written at another time.
    fn touch(&self) {
        let file = std::fs::File::options().append(true).open(self.folder.path().join("password")).unwrap();
        let written = file.metadata().unwrap().modified().unwrap();
        file.set_modified(written + Duration::from_millis(5)).unwrap();
    }

    fn secret(&self) -> Secret {
        self.credentials.read().unwrap()
    }

    fn may(&self, at: &str, after: Duration) -> bool {
        self.credentials.may_be_sent(&self.secret(), &server(at), self.start + after).is_ok()
    }

    fn refuse(&self, at: &str, after: Duration) {
        let fault = CredentialsFault::Locked;
        self.credentials.refused(&self.secret(), &server(at), fault, self.start + after);
    }
}

#[test]
fn one_line_end_is_not_part_of_the_password_and_an_empty_one_is_refused() {
    let scene = Scene::new("");
    for (content, expected) in [
        (&b"pw\n"[..], Ok("pw")),
        (b"pw\r\n", Ok("pw")),
        (b" pw \n\n", Ok(" pw \n")),
        (b"\n", Err(PasswordFault::Empty)),
        (b"\xff", Err(PasswordFault::NotText)),
    ] {
        scene.write(content);
        let read = scene.credentials.read().map(|secret| secret.text);
        assert_eq!(read, expected.map(str::to_owned).map_err(LookupError::Password));
    }
    std::fs::remove_file(scene.folder.path().join("password")).unwrap();
    let gone = scene.credentials.read().err();
    assert_eq!(gone, Some(LookupError::Password(PasswordFault::Unreadable)));
}

#[test]
fn a_password_that_nobody_accepted_is_refused_everywhere_until_it_changes_or_is_touched() {
    let scene = Scene::new("old");
    assert!(scene.may("a", Duration::ZERO));
    scene.refuse("a", Duration::ZERO);
    assert!(!scene.may("a", MINUTE) && !scene.may("b", MINUTE));
    let refused = scene.credentials.may_be_sent(&scene.secret(), &server("b"), scene.start);
    assert_eq!(refused, Err(LookupError::Credentials(CredentialsFault::Locked)));
    scene.write("new");
    assert!(scene.may("a", MINUTE));
    scene.refuse("a", MINUTE);
    assert!(!scene.may("a", MINUTE * 2));
    scene.touch();
    assert!(scene.may("a", MINUTE * 2));
}

#[test]
fn a_wrong_password_is_sent_once_in_an_hour_and_then_ever_more_rarely() {
    let scene = Scene::new("wrong");
    let mut sent = Vec::new();
    for minute in 0..12 * 60 {
        for at in ["a", "b", "c"] {
            if scene.may(at, MINUTE * minute) {
                scene.refuse(at, MINUTE * minute);
                sent.push(minute);
            }
        }
    }
    assert_eq!(sent, [0, 65, 195, 435, 675], "minutes: by three servers and every minute, twelve hours long");
}

#[test]
fn one_server_that_is_behind_does_not_spoil_a_password_for_the_others_and_a_second_one_does() {
    let scene = Scene::new("new");
    scene.credentials.accepted(&scene.secret(), &server("a"));
    scene.refuse("b", Duration::ZERO);
    assert!(scene.may("a", MINUTE) && !scene.may("b", MINUTE) && scene.may("c", MINUTE));
    assert!(scene.credentials.is_accepted(&scene.secret()));
    scene.refuse("c", MINUTE);
    assert!(!scene.may("a", MINUTE * 2) && !scene.may("b", MINUTE * 2) && !scene.may("c", MINUTE * 2));
    assert!(!scene.credentials.is_accepted(&scene.secret()), "it has to be proven again, by one at a time");
    assert!(scene.may("a", MINUTE * 66));
    scene.credentials.accepted(&scene.secret(), &server("a"));
    assert!(scene.may("c", MINUTE * 66));
}

#[test]
fn what_became_of_an_older_password_says_nothing_of_the_newest() {
    let scene = Scene::new("old");
    scene.credentials.accepted(&scene.secret(), &server("a"));
    scene.write("new");
    assert!(!scene.credentials.is_accepted(&scene.secret()));
    scene.refuse("a", Duration::ZERO);
    assert!(!scene.may("b", MINUTE));
}

#[test]
fn a_change_is_seen_by_content_also_through_links_that_are_swapped() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |version: &str, password: &str| {
        std::fs::create_dir(path(version)).unwrap();
        std::fs::write(path(version).join("password"), password).unwrap();
        std::os::unix::fs::symlink(version, path("..new")).unwrap();
        std::fs::rename(path("..new"), path("..data")).unwrap();
    };
    write("..1", "old");
    std::os::unix::fs::symlink("..data/password", path("password")).unwrap();
    let credentials = Credentials::new(Who::Simple("cn=svc".to_owned()), path("password"));
    assert_eq!(credentials.look(), Ok(false), "the first look is no change");
    assert_eq!(credentials.look(), Ok(false));
    let old = credentials.newest();
    write("..2", "new");
    assert_eq!(credentials.look(), Ok(true));
    assert_ne!(credentials.newest(), old);
    write("..3", "new");
    assert_eq!(credentials.look(), Ok(false), "the same content");
    let new = credentials.newest();
    write("..4", "");
    assert_eq!(credentials.look(), Err(PasswordFault::Empty));
    assert_eq!(credentials.newest(), new, "an unusable file renews nothing");
}
