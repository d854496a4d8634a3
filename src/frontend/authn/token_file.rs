//! Static bearer tokens: `token,user,uid,"group1,group2"`, a line each, re-read when the content changes.
//!
//! The format is that of kube-apiserver's `--token-auth-file`
//! (`k8s.io/apiserver/pkg/authentication/token/tokenfile`): CSV (RFC 4180) without comments or a heading, three
//! columns and more, of which the fourth lists groups. Where an API server warns (a token twice, an empty one),
//! this one does not load the file: a line that counts for nobody is a mistake.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::digest::{Digester, Trace};
use super::said::Said;
use crate::model::Subject;

/// The largest token file, in bytes.
pub const MAX_FILE_BYTES: u64 = 4 << 20;
/// How often the file is looked at.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// A line has at least a token, a user and a UID.
const MIN_COLUMNS: usize = 3;

/// The tokens of a file. Of each only a keyed hash is held.
pub struct TokenFile {
    path: PathBuf,
    digester: Digester,
    users: ArcSwap<HashMap<Trace, Subject>>,
    content: Mutex<Trace>,
}

/// A token file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A line of it is wrong. Says nothing of what stands there.
    #[error("{path}:{line}: {fault}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1 on.
        line: usize,
        /// What is wrong.
        fault: LineFault,
    },
    /// The system has no randomness for the key of the hashes.
    #[error("no randomness: {0}")]
    Randomness(getrandom::Error),
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// Less than a token, a user and a UID.
    #[error("must have at least {MIN_COLUMNS} columns (token, user name, user uid)")]
    Columns,
    /// Nobody can present an empty token.
    #[error("the token is empty")]
    EmptyToken,
    /// A user without a name.
    #[error("the user name is empty")]
    EmptyUser,
    /// Of two users with one token it would be unknown who came.
    #[error("the token stands in the file already")]
    Duplicate,
    /// A quotation mark within a field that does not begin with one, or text after the closing one.
    #[error("a quotation mark stands where none may stand")]
    Quote,
    /// A field in quotation marks that does not end.
    #[error("a quotation mark is not closed")]
    Unclosed,
}

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// Where it cannot be read or used.
    pub fn open(path: PathBuf) -> Result<Arc<Self>, TokenFileError> {
        let digester = Digester::new().map_err(TokenFileError::Randomness)?;
        let text = read(&path)?;
        let content = Mutex::new(digester.trace([text.as_str()]));
        let users = ArcSwap::from_pointee(users(&path, &text, &digester)?);
        Ok(Arc::new(Self { path, digester, users, content }))
    }

    /// Reads the file again, and says whether it changed. On an error the last good tokens stay.
    ///
    /// # Errors
    /// Where it cannot be read or used.
    pub fn reload(&self) -> Result<bool, TokenFileError> {
        let text = read(&self.path)?;
        let content = self.digester.trace([text.as_str()]);
        let mut before = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        if *before == content {
            return Ok(false);
        }
        self.users.store(Arc::new(users(&self.path, &text, &self.digester)?));
        *before = content;
        Ok(true)
    }

    /// Reads the file again and again, on this runtime, until nobody else holds it. Content is what is looked at,
    /// since Kubernetes swaps symbolic links.
    pub fn keep_fresh(self: &Arc<Self>, runtime: &tokio::runtime::Handle, every: Duration) {
        let file = Arc::downgrade(self);
        runtime.spawn(async move {
            let mut failing = false;
            loop {
                tokio::time::sleep(every).await;
                let Some(file) = file.upgrade() else { return };
                let reading = file.clone();
                let Ok(result) = tokio::task::spawn_blocking(move || reading.reload()).await else {
                    continue;
                };
                match &result {
                    Ok(true) => tracing::info!(path = %file.path.display(), "tokens changed"),
                    Err(error) if !failing => {
                        tracing::error!(%error, "token file not loaded; the last tokens stay")
                    }
                    Ok(false) | Err(_) => {}
                }
                failing = result.is_err();
            }
        });
    }

    pub(super) fn authenticate(&self, token: &str) -> Said {
        match self.users.load().get(&self.digester.trace([token])) {
            Some(subject) => Said::who(subject.clone(), "the bearer token stands in the token file"),
            None => Said::nothing("the bearer token does not stand in the token file"),
        }
    }
}

impl std::fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenFile").field("path", &self.path).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<String, TokenFileError> {
    use std::io::{Error, ErrorKind, Read};
    let unreadable = |error| TokenFileError::Unreadable { path: path.to_owned(), error };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= MAX_FILE_BYTES) {
        Ok(text)
    } else {
        Err(unreadable(Error::new(ErrorKind::FileTooLarge, format!("longer than {MAX_FILE_BYTES} bytes"))))
    }
}

fn users(path: &Path, text: &str, digester: &Digester) -> Result<HashMap<Trace, Subject>, TokenFileError> {
    let mut users = HashMap::new();
    let mut lines = Records::new(text);
    while let Some((line, record)) = lines.next() {
        let user =
            record.and_then(|record| user(&record).map(|(token, user)| (digester.trace([&*token]), user)));
        let fault = match user {
            Ok((trace, user)) => match users.insert(trace, user) {
                None => continue,
                Some(_) => LineFault::Duplicate,
            },
            Err(fault) => fault,
        };
        return Err(TokenFileError::Line { path: path.to_owned(), line, fault });
    }
    Ok(users)
}

fn user(record: &[String]) -> Result<(String, Subject), LineFault> {
    let [token, user, uid, more @ ..] = record else { return Err(LineFault::Columns) };
    if token.is_empty() {
        return Err(LineFault::EmptyToken);
    }
    if user.is_empty() {
        return Err(LineFault::EmptyUser);
    }
    let groups = more.first().map(String::as_str).unwrap_or_default().split(',');
    let groups = groups.filter(|group| !group.is_empty()).map(str::to_owned).collect();
    Ok((token.clone(), Subject { user: user.clone(), uid: uid.clone(), groups, ..Subject::default() }))
}

/// The records of CSV as Go's `encoding/csv` reads it: empty lines are none, quoted fields may span lines, spaces
/// count.
struct Records<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

/// How a field ended.
enum End {
    Field,
    Record,
}

impl<'a> Records<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.chars().peekable(), line: 1 }
    }

    /// The next record and the line that it begins at.
    fn next(&mut self) -> Option<(usize, Result<Vec<String>, LineFault>)> {
        while self.end_of_line() {}
        self.rest.peek()?;
        let line = self.line;
        let mut fields = Vec::new();
        loop {
            let field = if self.rest.next_if_eq(&'"').is_some() { self.quoted() } else { self.plain() };
            match field {
                Ok((field, end)) => {
                    fields.push(field);
                    if matches!(end, End::Record) {
                        return Some((line, Ok(fields)));
                    }
                }
                Err(fault) => return Some((line, Err(fault))),
            }
        }
    }

    fn plain(&mut self) -> Result<(String, End), LineFault> {
        let mut field = String::new();
        loop {
            if let Some(end) = self.end() {
                return Ok((field, end));
            }
            match self.rest.next() {
                Some('"') => return Err(LineFault::Quote),
                Some(character) => field.push(character),
                None => return Ok((field, End::Record)),
            }
        }
    }

    fn quoted(&mut self) -> Result<(String, End), LineFault> {
        let mut field = String::new();
        loop {
            match self.rest.next() {
                Some('"') if self.rest.next_if_eq(&'"').is_some() => field.push('"'),
                Some('"') => return self.end().map(|end| (field, end)).ok_or(LineFault::Quote),
                Some(character) => {
                    self.line += usize::from(character == '\n');
                    field.push(character);
                }
                None => return Err(LineFault::Unclosed),
            }
        }
    }

    /// Takes what ends a field, if that comes next.
    fn end(&mut self) -> Option<End> {
        if self.rest.next_if_eq(&',').is_some() {
            Some(End::Field)
        } else if self.rest.peek().is_none() || self.end_of_line() {
            Some(End::Record)
        } else {
            None
        }
    }

    fn end_of_line(&mut self) -> bool {
        let mut ahead = self.rest.clone();
        let _ = ahead.next_if_eq(&'\r');
        let is_end = ahead.next() == Some('\n');
        if is_end {
            self.rest = ahead;
            self.line += 1;
        }
        is_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        folder: tempfile::TempDir,
    }

    impl Fixture {
        fn new(text: &str) -> Self {
            let this = Self { folder: tempfile::tempdir().unwrap() };
            std::fs::write(this.path(), text).unwrap();
            this
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("tokens.csv")
        }
    }

    fn open(text: &str) -> Result<Arc<TokenFile>, TokenFileError> {
        TokenFile::open(Fixture::new(text).path())
    }

    fn who(file: &TokenFile, token: &str) -> Option<(String, String, Vec<String>)> {
        match file.authenticate(token) {
            Said::Who(subject, _) => Some((subject.user, subject.uid, subject.groups)),
            _ => None,
        }
    }

    #[test]
    fn a_token_is_a_user_with_a_uid_and_groups() {
        let text = "t1,ada,1,\"dev,ops\"\r\n\nt2,bob,2\n\"t,3\",\"c\"\"c\",3,dev,ignored\nt4,eve,4,\"\"";
        let file = open(text).unwrap();
        let of = |user: &str, uid: &str, groups: &[&str]| {
            Some((user.to_owned(), uid.to_owned(), groups.iter().map(|group| (*group).to_owned()).collect()))
        };
        assert_eq!(who(&file, "t1"), of("ada", "1", &["dev", "ops"]));
        assert_eq!(who(&file, "t2"), of("bob", "2", &[]));
        assert_eq!(who(&file, "t,3"), of("c\"c", "3", &["dev"]));
        assert_eq!(who(&file, "t4"), of("eve", "4", &[]));
        for other in ["", "t", "t11", "T1", "t1 ", "ada"] {
            assert_eq!(who(&file, other), None, "{other:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_record_is_read_as_it_was_written(
            records in proptest::collection::vec(proptest::collection::vec("\\PC{0,8}|[\",\r\n ]{0,6}", 2..5), 1..5),
        ) {
            let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let line = |record: &Vec<String>| record.iter().map(quoted).collect::<Vec<_>>().join(",");
            let text = records.iter().map(line).collect::<Vec<_>>().join("\n");
            let mut read = Records::new(&text);
            let found: Vec<Vec<String>> =
                std::iter::from_fn(|| read.next()).map(|(_, record)| record.unwrap()).collect();
            proptest::prop_assert_eq!(found, records);
        }

        #[test]
        fn nothing_in_a_file_brings_the_reader_down(text in "[a,\"\r\n]{0,40}") {
            let mut read = Records::new(&text);
            let lines: Vec<usize> = std::iter::from_fn(|| read.next()).map(|(line, _)| line).take(100).collect();
            proptest::prop_assert!(lines.is_sorted());
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_without_the_token() {
        for (text, line, fault) in [
            ("t1,ada,1\nsecret,bob", 2, LineFault::Columns),
            ("# a comment\n", 1, LineFault::Columns),
            (",ada,1", 1, LineFault::EmptyToken),
            ("t1,,1", 1, LineFault::EmptyUser),
            ("secret,ada,1\n\nsecret,bob,2\n", 3, LineFault::Duplicate),
            ("secret,a\"da,1", 1, LineFault::Quote),
            ("\"secret\"x,ada,1", 1, LineFault::Quote),
            ("t1,\"a\nb\",1\nt2,\"ada,1", 3, LineFault::Unclosed),
        ] {
            let error = open(text).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
            let TokenFileError::Line { line: found, fault: said, .. } = error else { panic!("{error}") };
            assert_eq!((found, said), (line, fault), "{text:?}");
        }
    }

    #[test]
    fn a_file_is_read_again_and_a_broken_one_keeps_the_last_tokens() {
        let fixture = Fixture::new("t1,ada,1");
        let file = TokenFile::open(fixture.path()).unwrap();
        assert!(!file.reload().unwrap());
        std::fs::write(fixture.path(), "t1").unwrap();
        assert!(file.reload().is_err() && who(&file, "t1").is_some());
        std::fs::write(fixture.path(), "t2,ada,1").unwrap();
        assert!(file.reload().unwrap());
        assert!(who(&file, "t1").is_none() && who(&file, "t2").is_some());
        std::fs::remove_file(fixture.path()).unwrap();
        assert!(file.reload().is_err() && who(&file, "t2").is_some());
    }
}
