//! LDIF content records (RFC 2849): the directory that the demo and the tests carry with them.
//!
//! ```
//! use bailiwick::directory::ldif::Ldif;
//!
//! let ldif = Ldif::parse("version: 1\n\ndn: cn=ada,dc=example\ncn: ada\ndescription:: ZsO8cg==\n")?;
//! let entry = &ldif.entries()[0];
//! assert_eq!(entry.dn.as_str(), "cn=ada,dc=example");
//! assert_eq!(entry.values("Description").next(), Some("für".as_bytes()));
//!
//! let error = Ldif::parse("dn: dc=example\nobjectClass domain\n").unwrap_err();
//! assert_eq!(error.to_string(), "line 2: no `:` after the attribute's name");
//! # Ok::<(), bailiwick::directory::ldif::LdifError>(())
//! ```

use std::collections::{HashMap, HashSet};

use crate::model::Dn;
use crate::model::dn::DnError;

/// How large an LDIF may be, in bytes: it is held in memory, and 16 MiB are some 50,000 people.
pub const MAX_LDIF_BYTES: usize = 16 << 20;

/// The entries of an LDIF, in its order, each DN once.
#[derive(Debug, Clone, Default)]
pub struct Ldif {
    entries: Vec<Entry>,
}

/// One entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name.
    pub dn: Dn,
    /// Its attributes in the order of the file. An attribute that is given on several lines is here once, with all values.
    pub attributes: Vec<Attribute>,
}

/// An attribute of an entry.
#[derive(Debug, Clone)]
pub struct Attribute {
    /// Its description as the file spells it: the type, perhaps with options (`cn;lang-de`).
    pub description: String,
    /// At least one value, no two the same.
    pub values: Vec<Vec<u8>>,
}

/// Why an LDIF is not read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct LdifError {
    /// The line, counted from 1; of a folded line the first.
    pub line: usize,
    /// What is wrong.
    pub fault: LdifFault,
}

/// What is wrong with a line of LDIF.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LdifFault {
    /// The whole text is too large.
    #[error("more than {MAX_LDIF_BYTES} bytes")]
    TooLarge,
    /// The version is not 1.
    #[error("the version is not 1")]
    Version,
    /// A continuation without a line to continue.
    #[error("nothing to continue: a line that starts with a space continues the one before")]
    Continuation,
    /// A line without a colon.
    #[error("no `:` after the attribute's name")]
    Colon,
    /// A description that RFC 4512, section 2.5, does not allow.
    #[error("`{0}` is no attribute description")]
    Description(String),
    /// A value that is not base64 (RFC 4648, section 4).
    #[error("the value is not base64")]
    Base64,
    /// A value that stands in a file of its own. Nothing is read but the LDIF itself.
    #[error("a value from a URL (`:<`) is not supported")]
    Url,
    /// A record that does not start with its DN.
    #[error("a record starts with `dn:`")]
    NoDn,
    /// A DN within a record.
    #[error("a `dn:` within a record: is an empty line missing before it?")]
    DnWithin,
    /// A DN that is none.
    #[error("the DN does not follow RFC 4514: {0}")]
    Dn(#[from] DnError),
    /// A DN that is not UTF-8.
    #[error("the DN is not UTF-8")]
    DnUtf8,
    /// A DN that is there already.
    #[error("the DN is there already, in line {0}")]
    DuplicateDn(usize),
    /// A record without attributes.
    #[error("an entry without attributes")]
    NoAttributes,
    /// A value that the attribute has already.
    #[error("`{0}` has this value already")]
    DuplicateValue(String),
    /// A record that changes an entry instead of describing it.
    #[error("change records (`{0}:`) are not supported, only entries")]
    ChangeRecord(String),
}

impl Ldif {
    /// Reads a text.
    ///
    /// # Errors
    /// Where the text is no LDIF of content records, with the line.
    pub fn parse(text: &str) -> Result<Self, LdifError> {
        if text.len() > MAX_LDIF_BYTES {
            return Err(LdifError { line: 1, fault: LdifFault::TooLarge });
        }
        let mut reader = Reader::default();
        for line in unfold(text)? {
            let number = line.number;
            reader.line(line).map_err(|fault| LdifError { line: number, fault })?;
        }
        reader.end_of_record()?;
        Ok(Self { entries: reader.entries })
    }

    /// The entries in the order of the file.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Entry {
    /// The values of the attribute with this description, whatever its case.
    pub fn values(&self, description: &str) -> impl Iterator<Item = &[u8]> {
        self.attributes
            .iter()
            .filter(move |attribute| attribute.description.eq_ignore_ascii_case(description))
            .flat_map(|attribute| attribute.values.iter().map(Vec::as_slice))
    }
}

/// A line with its continuations. An empty one separates records.
struct Line {
    number: usize,
    text: String,
}

/// Joins folded lines and drops comments, which may be folded themselves (RFC 2849, notes 2 and 3).
fn unfold(text: &str) -> Result<Vec<Line>, LdifError> {
    let mut lines: Vec<Line> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        match (line.strip_prefix(' '), lines.last_mut()) {
            (None, _) => lines.push(Line { number, text: line.to_owned() }),
            (Some(rest), Some(last)) if !last.text.is_empty() => last.text.push_str(rest),
            (Some(_), _) => return Err(LdifError { line: number, fault: LdifFault::Continuation }),
        }
    }
    lines.retain(|line| !line.text.starts_with('#'));
    Ok(lines)
}

#[derive(Default)]
struct Reader {
    entries: Vec<Entry>,
    /// The line of each DN.
    seen: HashMap<Dn, usize>,
    record: Option<Record>,
    /// Whether a version may still come.
    started: bool,
}

/// The record that is being read.
struct Record {
    line: usize,
    entry: Entry,
    /// What the entry has: the description in lower case and the value.
    values: HashSet<(String, Vec<u8>)>,
    /// Where each attribute stands in the entry.
    places: HashMap<String, usize>,
}

impl Reader {
    fn line(&mut self, line: Line) -> Result<(), LdifFault> {
        if line.text.is_empty() {
            return self.end_of_record().map_err(|error| error.fault);
        }
        let (description, value) = split(&line.text)?;
        let lower = description.to_ascii_lowercase();
        let started = std::mem::replace(&mut self.started, true);
        match (lower.as_str(), &mut self.record) {
            ("version", None) if !started => {
                if value == b"1" {
                    Ok(())
                } else {
                    Err(LdifFault::Version)
                }
            }
            ("dn", None) => self.start_record(line.number, value),
            ("dn", Some(_)) => Err(LdifFault::DnWithin),
            (_, None) => Err(LdifFault::NoDn),
            ("changetype" | "control", Some(_)) => Err(LdifFault::ChangeRecord(lower)),
            (_, Some(record)) => record.add(description, lower, value),
        }
    }

    fn start_record(&mut self, line: usize, dn: Vec<u8>) -> Result<(), LdifFault> {
        let dn = Dn::parse(&String::from_utf8(dn).map_err(|_| LdifFault::DnUtf8)?)?;
        if let Some(&first) = self.seen.get(&dn) {
            return Err(LdifFault::DuplicateDn(first));
        }
        self.seen.insert(dn.clone(), line);
        let entry = Entry { dn, attributes: Vec::new() };
        self.record = Some(Record { line, entry, values: HashSet::new(), places: HashMap::new() });
        Ok(())
    }

    fn end_of_record(&mut self) -> Result<(), LdifError> {
        let Some(record) = self.record.take() else { return Ok(()) };
        if record.entry.attributes.is_empty() {
            return Err(LdifError { line: record.line, fault: LdifFault::NoAttributes });
        }
        self.entries.push(record.entry);
        Ok(())
    }
}

impl Record {
    fn add(&mut self, description: &str, lower: String, value: Vec<u8>) -> Result<(), LdifFault> {
        if !self.values.insert((lower.clone(), value.clone())) {
            return Err(LdifFault::DuplicateValue(description.to_owned()));
        }
        let attributes = &mut self.entry.attributes;
        let place = *self.places.entry(lower).or_insert(attributes.len());
        match attributes.get_mut(place) {
            Some(attribute) => attribute.values.push(value),
            None => attributes.push(Attribute { description: description.to_owned(), values: vec![value] }),
        }
        Ok(())
    }
}

/// Splits a line into description and value.
fn split(line: &str) -> Result<(&str, Vec<u8>), LdifFault> {
    let (description, rest) = line.split_once(':').ok_or(LdifFault::Colon)?;
    if !is_description(description) {
        return Err(LdifFault::Description(description.to_owned()));
    }
    if let Some(encoded) = rest.strip_prefix(':') {
        let value = super::base64::decode(encoded.trim_matches(' ')).ok_or(LdifFault::Base64)?;
        return Ok((description, value));
    }
    if rest.starts_with('<') {
        return Err(LdifFault::Url);
    }
    Ok((description, rest.trim_start_matches(' ').as_bytes().to_vec()))
}

/// A name or an OID, with options (RFC 4512, section 2.5).
fn is_description(text: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
    };
    let mut parts = text.split(';');
    let kind = parts.next().unwrap_or_default();
    let named = word(kind) && kind.starts_with(|first: char| first.is_ascii_alphabetic());
    let numbered =
        kind.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|octet| octet.is_ascii_digit()));
    (named || numbered) && parts.all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (usize, LdifFault) {
        let LdifError { line, fault } = Ldif::parse(text).unwrap_err();
        (line, fault)
    }

    fn only_entry(text: &str) -> Entry {
        let ldif = Ldif::parse(text).unwrap();
        assert_eq!(ldif.entries().len(), 1);
        ldif.entries()[0].clone()
    }

    fn values<'a>(entry: &'a Entry, name: &str) -> Vec<&'a str> {
        entry.values(name).map(|value| std::str::from_utf8(value).unwrap()).collect()
    }

    #[test]
    fn records_are_separated_by_empty_lines_and_any_line_ends() {
        for text in [
            "version: 1\ndn: dc=a\ndc: a\n\n\n\ndn: dc=b\ndc: b",
            "dn: dc=a\r\ndc: a\r\n\r\ndn: dc=b\r\ndc: b\r\n",
            "\n# people\n\ndn: dc=a\n# within\ndc: a\n\ndn: dc=b\ndc: b\n\n",
        ] {
            let ldif = Ldif::parse(text).unwrap();
            let names: Vec<_> = ldif.entries().iter().map(|entry| entry.dn.as_str()).collect();
            assert_eq!(names, ["dc=a", "dc=b"], "{text:?}");
        }
        assert!(Ldif::parse("").unwrap().entries().is_empty());
    }

    #[test]
    fn lines_and_comments_are_folded_with_one_space() {
        let entry = only_entry(
            "dn: cn=a\n ,dc=x\n# a comment\n  that goes on: here\ncn: a\ndescription: one\n  two\n",
        );
        assert_eq!(entry.dn.as_str(), "cn=a,dc=x");
        assert_eq!(values(&entry, "description"), ["one two"]);
        assert_eq!(entry.attributes.len(), 2);
    }

    #[test]
    fn values_of_one_attribute_are_gathered_whatever_the_case_of_its_name() {
        let entry = only_entry("dn: cn=a\nmember: cn=x\ncn: a\nMember: cn=y\nmember;lang-de: cn=z\nempty:\n");
        assert_eq!(values(&entry, "MEMBER"), ["cn=x", "cn=y"]);
        assert_eq!(entry.attributes[0].description, "member");
        assert_eq!(values(&entry, "member;lang-de"), ["cn=z"]);
        assert_eq!(values(&entry, "empty"), [""]);
    }

    #[test]
    fn base64_carries_any_bytes_and_names_beyond_ascii() {
        let entry = only_entry("dn:: Y249SsO8cmdlbixkYz14\ncn:: SsO8cmdlbg==\nobjectSid:: AQUA\n /w==\n");
        assert_eq!(entry.dn.as_str(), "cn=Jürgen,dc=x");
        assert_eq!(values(&entry, "cn"), ["Jürgen"]);
        assert_eq!(entry.values("objectSid").collect::<Vec<_>>(), [[1, 5, 0, 255]]);
    }

    #[test]
    fn a_fault_is_reported_with_its_line() {
        let after = |rest: &str| format!("dn: dc=a\ndc: a\n{rest}\n");
        for (text, line, expected) in [
            (after("cn"), 3, LdifFault::Colon),
            (after("cn: x\n\n\ncn: y"), 6, LdifFault::NoDn),
            (after("dn: dc=b"), 3, LdifFault::DnWithin),
            (after("cn:: ?"), 3, LdifFault::Base64),
            (after("cn:: QQ="), 3, LdifFault::Base64),
            (after("cn:< file:///etc/passwd"), 3, LdifFault::Url),
            (after("c_n: x"), 3, LdifFault::Description("c_n".into())),
            (after(": x"), 3, LdifFault::Description(String::new())),
            (after("DC: a"), 3, LdifFault::DuplicateValue("DC".into())),
            (after("changetype: add"), 3, LdifFault::ChangeRecord("changetype".into())),
            (after("control: 1.2"), 3, LdifFault::ChangeRecord("control".into())),
            (after("\n continued"), 4, LdifFault::Continuation),
            (after("\ndn: dc=b\nversion: 1\n\nversion: 1"), 7, LdifFault::NoDn),
            (after("\ndn: DC=A\ndc: a"), 4, LdifFault::DuplicateDn(1)),
            ("dn:: /w==\ndc: a".into(), 1, LdifFault::DnUtf8),
            ("version: 2".into(), 1, LdifFault::Version),
            (" x".into(), 1, LdifFault::Continuation),
            ("objectClass: top".into(), 1, LdifFault::NoDn),
        ] {
            assert_eq!(fault(&text), (line, expected), "{text}");
        }
    }

    #[test]
    fn an_entry_needs_attributes() {
        assert_eq!(
            Ldif::parse("dn: dc=a").unwrap_err(),
            LdifError { line: 1, fault: LdifFault::NoAttributes }
        );
        assert_eq!(fault("dn: dc=a\n\ndn: dc=b\ndc: b").1, LdifFault::NoAttributes);
    }

    #[test]
    fn a_text_above_the_bound_is_refused() {
        assert_eq!(fault(&"#".repeat(MAX_LDIF_BYTES + 1)).1, LdifFault::TooLarge);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_text_is_read_or_refused(text in "(dn: dc=[a-c]\n|cn:{1,2} ?[A-Za-z=]{0,5}\n|\n| x\n|#\n|\\PC{0,9}\n){0,9}") {
            if let Ok(ldif) = Ldif::parse(&text) {
                proptest::prop_assert!(ldif.entries().iter().all(|entry| !entry.attributes.is_empty()));
            }
        }
    }
}
