//! Distinguished names (RFC 4514), kept as the server wrote them and compared by a normal form.
//!
//! The normal form knows no schema: every value is compared as `caseIgnoreMatch` compares (RFC 4518, without its
//! Unicode normalisation): lower case, outer spaces dropped, inner runs of spaces folded to one. Two names that a
//! server holds apart by case alone are therefore one here; no server in use has such names for people or groups.

use std::sync::OnceLock;

/// A distinguished name. Equality and hashing are those of the normal form. The default is the root's name, which is empty.
#[derive(Debug, Clone, Default)]
pub struct Dn {
    raw: Box<str>,
    /// Made when it is asked for, where it was dropped.
    normal: OnceLock<Box<str>>,
}

/// Why a text is no distinguished name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {at}")]
pub struct DnError {
    /// Where, in bytes from the start.
    pub at: usize,
    /// What is wrong.
    pub reason: &'static str,
}

impl Dn {
    /// Reads a distinguished name: RFC 4514, and of its ancestors (RFC 1779 and 2253) spaces around `,`, `+` and `=`,
    /// `;` as a separator, quoted values and the `OID.` prefix. The empty text is the root's name.
    ///
    /// # Errors
    /// Where the text is none of these.
    pub fn parse(text: &str) -> Result<Self, DnError> {
        let normal = Parser { bytes: text.as_bytes(), at: 0 }.name()?;
        Ok(Self { raw: text.into(), normal: OnceLock::from(Box::from(normal)) })
    }

    /// The same name without its normal form, which is made again when it is asked for: for names that are kept in numbers
    /// and seldom compared.
    #[must_use]
    pub fn compact(mut self) -> Self {
        self.normal = OnceLock::new();
        self
    }

    /// As the server wrote it: for requests.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// The normal form: for comparing. It is itself a distinguished name, equal to this one.
    #[must_use]
    pub fn normal(&self) -> &str {
        self.normal.get_or_init(|| {
            // It could be read before.
            let normal = Parser { bytes: self.raw.as_bytes(), at: 0 }.name();
            normal.map_or_else(|_| self.raw.clone(), Box::from)
        })
    }

    /// Whether this is `base` or stands below it.
    #[must_use]
    pub fn is_within(&self, base: &Self) -> bool {
        match self.normal().strip_suffix(base.normal()) {
            None => false,
            Some("") => true,
            Some(_) if base.normal().is_empty() => true,
            // A comma that is escaped is no border, and neither is the middle of a part.
            Some(_) => self.parents().any(|parent| parent == base.normal()),
        }
    }

    /// The nearest name that this and the other stand below, or that one of them is. The root's, where there is no other.
    #[must_use]
    pub fn common_ancestor(&self, other: &Self) -> Self {
        let mine = std::iter::once(self.normal()).chain(self.parents());
        let is_common = |name: &&str| {
            *name == other.normal() || name.is_empty() || other.parents().any(|parent| parent == *name)
        };
        let common = mine.into_iter().find(is_common).unwrap_or_default();
        Self { raw: common.into(), normal: OnceLock::from(Box::from(common)) }
    }

    /// The normal forms of the names above this one, the nearest first; the last is the root's, which is empty.
    fn parents(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(parent(self.normal()), |name| parent(name))
    }

    /// Whether this names what Active Directory keeps of a deleted object (`\0ADEL:`) or the loser of a replication
    /// conflict (`\0ACNF:`): such an entry is never somebody's group.
    #[must_use]
    pub fn is_remnant(&self) -> bool {
        let mut rest = self.normal();
        while let Some((before, after)) = rest.split_once(['\\', ',']) {
            if rest.as_bytes().get(before.len()) == Some(&b',') {
                return false;
            }
            if after.starts_with("0adel:") || after.starts_with("0acnf:") {
                return true;
            }
            // What is escaped is one character, or the first of two digits; neither is to be looked at again.
            let mut escaped = after.chars();
            escaped.next();
            rest = escaped.as_str();
        }
        false
    }
}

/// Of a name in normal form, the one above it: what follows the first comma that is not escaped.
fn parent(name: &str) -> Option<&str> {
    let mut escaped = false;
    let comma = name.find(|character| {
        let is_border = character == ',' && !escaped;
        escaped = character == '\\' && !escaped;
        is_border
    });
    match comma {
        Some(comma) => name.get(comma + 1..),
        None => (!name.is_empty()).then_some(""),
    }
}

impl PartialEq for Dn {
    fn eq(&self, other: &Self) -> bool {
        self.normal() == other.normal()
    }
}

impl Eq for Dn {}

impl std::hash::Hash for Dn {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.normal().hash(state);
    }
}

impl std::fmt::Display for Dn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.raw)
    }
}

/// Attribute types that occur in names, by object identifier (RFC 4519, RFC 4524, RFC 2307).
const TYPES: [(&str, &str); 16] = [
    ("2.5.4.3", "cn"),
    ("2.5.4.4", "sn"),
    ("2.5.4.5", "serialnumber"),
    ("2.5.4.6", "c"),
    ("2.5.4.7", "l"),
    ("2.5.4.8", "st"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "o"),
    ("2.5.4.11", "ou"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "givenname"),
    ("0.9.2342.19200300.100.1.1", "uid"),
    ("0.9.2342.19200300.100.1.3", "mail"),
    ("0.9.2342.19200300.100.1.25", "dc"),
    ("1.2.840.113549.1.9.1", "email"),
    ("1.3.6.1.1.1.1.0", "uidnumber"),
];

/// The longer names of the same types.
const LONG_NAMES: [(&str, &str); 13] = [
    ("commonname", "cn"),
    ("surname", "sn"),
    ("countryname", "c"),
    ("localityname", "l"),
    ("stateorprovincename", "st"),
    ("streetaddress", "street"),
    ("organizationname", "o"),
    ("organizationalunitname", "ou"),
    ("gn", "givenname"),
    ("userid", "uid"),
    ("rfc822mailbox", "mail"),
    ("domaincomponent", "dc"),
    ("emailaddress", "email"),
];

/// A value of a name, before it is folded.
enum Value {
    /// Text, which may hold bytes that are not UTF-8 (from `\XX`).
    Text(Vec<u8>),
    /// The BER encoding of something that is no text.
    Ber(Vec<u8>),
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn name(mut self) -> Result<String, DnError> {
        let mut normal = String::with_capacity(self.bytes.len() + 8);
        self.spaces();
        if self.peek().is_none() {
            return Ok(normal);
        }
        loop {
            let mut assertions = vec![self.assertion()?];
            while self.peek() == Some(b'+') {
                self.at += 1;
                assertions.push(self.assertion()?);
            }
            assertions.sort_unstable();
            assertions.dedup();
            normal.push_str(&assertions.join("+"));
            match self.peek() {
                None => return Ok(normal),
                Some(b',' | b';') => {
                    self.at += 1;
                    normal.push(',');
                }
                Some(_) => return Err(self.error("expected `,` or `+`")),
            }
        }
    }

    /// One `type=value` in normal form; stands after it on `,`, `;`, `+` or the end.
    fn assertion(&mut self) -> Result<String, DnError> {
        self.spaces();
        let mut normal = self.attribute_type()?;
        self.spaces();
        if self.peek() != Some(b'=') {
            return Err(self.error("expected `=`"));
        }
        self.at += 1;
        self.spaces();
        normal.push('=');
        let value = match self.peek() {
            Some(b'#') => self.hex_value()?,
            Some(b'"') => self.quoted_value()?,
            _ => self.plain_value()?,
        };
        self.spaces();
        match value {
            Value::Text(bytes) => push_folded(&mut normal, &bytes),
            Value::Ber(bytes) => {
                normal.push('#');
                bytes.iter().for_each(|byte| push_hex(&mut normal, *byte));
            }
        }
        Ok(normal)
    }

    fn attribute_type(&mut self) -> Result<String, DnError> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) {
            self.at += 1;
        }
        let written = self.bytes.get(start..self.at).unwrap_or_default();
        let lower = String::from_utf8_lossy(written).to_ascii_lowercase();
        let lower = lower.strip_prefix("oid.").unwrap_or(&lower);
        let is_oid = lower.starts_with(|c: char| c.is_ascii_digit());
        let wrong = match lower.bytes().next() {
            None => true,
            Some(_) if is_oid => {
                !lower.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()))
            }
            Some(first) => !first.is_ascii_alphabetic() || lower.contains('.'),
        };
        if wrong {
            return Err(DnError { at: start, reason: "expected an attribute type" });
        }
        let known = TYPES.iter().chain(&LONG_NAMES).find(|(other, _)| *other == lower);
        Ok(known.map_or(lower, |(_, name)| name).to_owned())
    }

    fn plain_value(&mut self) -> Result<Value, DnError> {
        let mut value = Vec::new();
        while let Some(byte) = self.peek() {
            match byte {
                b',' | b';' | b'+' => break,
                b'\\' => value.push(self.escaped()?),
                b'"' | b'<' | b'>' => return Err(self.error("this character must be escaped")),
                0 => return Err(self.error("a NUL must be escaped")),
                _ => {
                    value.push(byte);
                    self.at += 1;
                }
            }
        }
        Ok(Value::Text(value))
    }

    fn quoted_value(&mut self) -> Result<Value, DnError> {
        self.at += 1;
        let mut value = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.error("the quoted value does not end")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Value::Text(value));
                }
                Some(b'\\') => value.push(self.escaped()?),
                Some(0) => return Err(self.error("a NUL must be escaped")),
                Some(byte) => {
                    value.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn escaped(&mut self) -> Result<u8, DnError> {
        self.at += 1;
        let first = self.peek().ok_or_else(|| self.error("nothing follows the backslash"))?;
        if let Some(high) = hex_digit(first) {
            let low = self.bytes.get(self.at + 1).copied().and_then(hex_digit);
            let low = low.ok_or_else(|| self.error("expected two hexadecimal digits"))?;
            self.at += 2;
            return Ok(high << 4 | low);
        }
        if !matches!(first, b' ' | b'"' | b'#' | b'+' | b',' | b';' | b'<' | b'=' | b'>' | b'\\') {
            return Err(self.error("this character cannot be escaped"));
        }
        self.at += 1;
        Ok(first)
    }

    fn hex_value(&mut self) -> Result<Value, DnError> {
        self.at += 1;
        let mut ber = Vec::new();
        while let Some(high) = self.peek().and_then(hex_digit) {
            let low = self.bytes.get(self.at + 1).copied().and_then(hex_digit);
            let low = low.ok_or_else(|| self.error("expected two hexadecimal digits"))?;
            ber.push(high << 4 | low);
            self.at += 2;
        }
        if ber.is_empty() {
            return Err(self.error("expected hexadecimal digits"));
        }
        Ok(text_of_ber(&ber).map_or_else(|| Value::Ber(ber.clone()), |text| Value::Text(text.to_vec())))
    }

    fn spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn error(&self, reason: &'static str) -> DnError {
        DnError { at: self.at, reason }
    }
}

/// The content of a BER string (OCTET, UTF8, Printable, IA5) of less than 128 bytes.
fn text_of_ber(ber: &[u8]) -> Option<&[u8]> {
    let (&[tag, length], content) = ber.split_first_chunk::<2>()?;
    let is_text = matches!(tag, 0x04 | 0x0c | 0x13 | 0x16);
    (is_text && length < 0x80 && usize::from(length) == content.len()).then_some(content)
}

/// Appends a value: folded, and escaped in the one way of the normal form.
fn push_folded(normal: &mut String, value: &[u8]) {
    let start = normal.len();
    let mut space = false;
    let mut before = |normal: &mut String, is_space: bool| {
        if space && !is_space && normal.len() > start {
            normal.push(' ');
        }
        space = is_space;
        !is_space
    };
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            if before(normal, c == ' ') {
                push_char(normal, c, start);
            }
        }
        for byte in chunk.invalid() {
            before(normal, false);
            normal.push('\\');
            push_hex(normal, *byte);
        }
    }
}

fn push_char(normal: &mut String, c: char, start: usize) {
    match c {
        ',' | ';' | '+' | '"' | '\\' | '<' | '>' | '=' => normal.extend(['\\', c]),
        '#' if normal.len() == start => normal.push_str("\\#"),
        '\0'..='\x1f' | '\x7f' => {
            normal.push('\\');
            push_hex(normal, u8::try_from(c).unwrap_or_default());
        }
        _ => normal.extend(c.to_lowercase()),
    }
}

fn push_hex(text: &mut String, byte: u8) {
    for digit in [byte >> 4, byte & 15] {
        text.extend(char::from_digit(u32::from(digit), 16));
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dn(text: &str) -> Dn {
        Dn::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    #[test]
    fn a_name_is_within_those_that_it_stands_below_and_no_others() {
        let leaf = dn("uid=a\\,b,ou=People,dc=x");
        for base in ["", "dc=x", "OU=people,DC=X", "uid=a\\2cb,ou=people,dc=x"] {
            assert!(leaf.is_within(&dn(base)), "{base}");
        }
        for other in ["dc=y", "ou=ople,dc=x", "cn=b,ou=people,dc=x", "uid=c,uid=a\\,b,ou=people,dc=x"] {
            assert!(!leaf.is_within(&dn(other)), "{other}");
        }
        assert!(!dn("cn=a\\,dc=x").is_within(&dn("dc=x")), "that comma is part of the value");
    }

    #[test]
    fn the_common_ancestor_is_the_nearest() {
        for (one, other, common) in [
            ("ou=a,dc=x", "ou=b,dc=x", "dc=x"),
            ("ou=a,dc=x", "OU=A,dc=x", "ou=a,dc=x"),
            ("ou=b,ou=a,dc=x", "ou=a,dc=x", "ou=a,dc=x"),
            ("dc=x", "dc=y", ""),
            ("", "dc=y", ""),
            ("cn=g\\,dc=x,dc=z", "dc=x,dc=z", "dc=z"),
        ] {
            assert_eq!(dn(one).common_ancestor(&dn(other)), dn(common), "{one} {other}");
            assert_eq!(dn(other).common_ancestor(&dn(one)), dn(common), "{other} {one}");
        }
    }

    #[test]
    fn names_that_a_server_takes_for_one_are_equal() {
        for class in [
            &[
                "uid=u1,ou=People,dc=Example,dc=org",
                "UID=u1 , OU=People,DC=Example, dc=org",
                "uid=U1;ou=people;dc=example;dc=org",
            ][..],
            &[
                "cn=a\\,b,o=x",
                "cn=a\\2Cb,o=x",
                "cn=\"a,b\",o=x",
                "2.5.4.3=A\\2cb,O=X",
                "OID.2.5.4.3=a\\,b,organizationName=x",
            ],
            &["cn=Lučić", "cn=lu\\C4\\8Di\\C4\\87", "cn=Lu\\c4\\8di\\c4\\87"],
            &["ou=Sales+cn=J. Smith,dc=x", "cn=j.  smith + ou=sales,dc=x"],
            &["cn=#04024869", "cn=Hi", "commonName=\\48i"],
            &["cn=a", "cn=\\ a\\ ", "cn= a "],
            &["CN=gone\\0ADEL:1,DC=x", "cn=gone\nDEL:1,dc=x"],
            &["", "  "],
        ] {
            for other in class {
                assert_eq!(dn(class[0]), dn(other), "{other}");
            }
        }
    }

    #[test]
    fn names_that_differ_are_not_equal() {
        for (one, other) in [
            ("cn=a,dc=x", "cn=a"),
            ("cn=a b", "cn=ab"),
            ("cn=a\\,dc\\=x", "cn=a,dc=x"),
            ("cn=a\\+ou\\=b", "cn=a+ou=b"),
            ("cn=\\#0402", "cn=#0500"),
            ("cn=u1", "cn=ｕ１"),
            ("cn=\\ff", "cn=\\\\ff"),
        ] {
            assert_ne!(dn(one), dn(other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_name_says_where() {
        for (text, at) in [
            ("cn", 2),
            ("=x", 0),
            ("cn=a,", 5),
            ("cn=a,,dc=x", 5),
            ("cn=a\\", 5),
            ("cn=a\\4", 5),
            ("cn=a\\zz", 5),
            ("cn=\"a", 5),
            ("cn=#0", 4),
            ("cn=#", 4),
            ("cn=a\0", 4),
            ("cn=a<", 4),
            ("2..5=x", 0),
            ("cn=\"a\"b", 6),
        ] {
            assert_eq!(Dn::parse(text).map_err(|error| error.at), Err(at), "{text:?}");
        }
    }

    #[test]
    fn what_is_left_of_deleted_entries_is_known_by_its_name() {
        assert!(dn("CN=x\\0ADEL:3f7a,CN=Deleted Objects,DC=x").is_remnant());
        assert!(dn("CN=x\nCNF:3f7a,OU=groups,DC=x").is_remnant());
        assert!(dn("CN=a\\,b\\0ADEL:3f7a,DC=x").is_remnant());
        for name in
            ["CN=DEL:x,OU=groups,DC=x", "CN=a,CN=b\\0ADEL:1", "CN=a\\\\0ADEL:1", "CN=a\\,b,CN=c\\0ADEL:1", ""]
        {
            assert!(!dn(name).is_remnant(), "{name}");
        }
    }

    fn escape_every_byte(value: &str) -> String {
        value.bytes().map(|byte| format!("\\{byte:02X}")).collect()
    }

    fn escape_specials(value: &str) -> String {
        let escaped = |c: char| match c {
            ',' | ';' | '+' | '"' | '\\' | '<' | '>' | '=' | '#' | ' ' => format!("\\{c}"),
            '\0' => "\\00".to_owned(),
            _ => c.to_string(),
        };
        value.chars().map(escaped).collect()
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,40}|[a-c=,+;#\"\\\\ 0-9\n\0]{0,30}") {
            if let Ok(dn) = Dn::parse(&text) {
                prop_assert_eq!(&Dn::parse(dn.normal()).unwrap(), &dn);
                prop_assert_eq!(dn.as_str(), text);
            }
        }

        #[test]
        fn however_a_value_is_escaped_it_is_the_same_value(value in any::<String>(), next in "[ -~]{0,12}") {
            let one = dn(&format!("cn={},o={}", escape_every_byte(&value), escape_specials(&next)));
            let other = dn(&format!("CN={} , O={}", escape_specials(&value), escape_every_byte(&next)));
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(&dn(one.normal()), &one);
            let again = dn(one.normal());
            prop_assert_eq!(again.normal(), one.normal());
        }

        #[test]
        fn the_order_of_a_multi_valued_rdn_has_no_meaning(mut parts in prop::collection::vec("(cn|ou|uid)=[a-z]{1,3}", 1..5)) {
            let one = dn(&parts.join("+"));
            parts.reverse();
            prop_assert_eq!(one, dn(&parts.join(" + ")));
        }
    }
}
