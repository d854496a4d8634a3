//! JSON in one pass, strictly: shapes say what may stand in a place, and everything else is an error that names the place.
//!
//! `serde_json` reads the text; this adds what it does not do: no key twice, a bound on depth, paths in errors, and no
//! tree of values in between.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::error::{Problem, ReviewError, Step, quoted};
use super::{MAX_DEPTH, MAX_REQUIREMENTS, MAX_VALUES};

/// What is common to one reading: how far it got, and why it failed.
#[derive(Default)]
pub(super) struct Context {
    by_hand: bool,
    depth: Cell<usize>,
    requirements: Cell<usize>,
    values: Cell<usize>,
    selector_values: Cell<usize>,
    problem: RefCell<Option<Problem>>,
    steps: RefCell<Vec<Step>>,
}

/// What may stand in a place, and what is made of it.
pub(super) trait Shape<'de>: Sized {
    /// What is made of it.
    type Value;
    /// What may stand here, in words.
    const EXPECTED: &'static str;

    /// `null`, which is the same as an absent field wherever this is defined.
    fn null(self) -> Result<Self::Value, Problem> {
        self.scalar("null")
    }

    /// A boolean or a number.
    fn scalar(self, found: &'static str) -> Result<Self::Value, Problem> {
        Err(Problem::WrongType { expected: Self::EXPECTED, found })
    }

    /// A string.
    fn text(self, _text: Cow<'de, str>) -> Result<Self::Value, Problem> {
        self.scalar("a string")
    }

    /// A list.
    fn list<A: SeqAccess<'de>>(self, context: &Context, _items: A) -> Result<Self::Value, A::Error> {
        self.scalar("a list").map_err(|problem| context.fail(problem))
    }

    /// An object.
    fn object<A: MapAccess<'de>>(self, fields: Fields<'_, 'de, A>) -> Result<Self::Value, A::Error> {
        let context = fields.context;
        self.scalar("an object").map_err(|problem| context.fail(problem))
    }
}

/// The fields of an object that is being read; hands out each key once.
pub(super) struct Fields<'c, 'de, A> {
    pub(super) context: &'c Context,
    map: A,
    seen: Keys<'de>,
}

/// A string; absent is empty.
pub(super) struct Text;

/// A list of strings; `None` where it is `null`.
pub(super) struct Texts;

/// Any value, of which only depth and keys are looked at.
pub(super) struct Anything;

/// Reads a shape from whatever serde reads from.
pub(super) struct Reader<'c, S> {
    pub(super) context: &'c Context,
    pub(super) shape: S,
}

impl Context {
    /// For what people write by hand: unknown fields are errors.
    pub(super) fn by_hand() -> Self {
        Self { by_hand: true, ..Self::default() }
    }

    /// Whether unknown fields are errors.
    pub(super) fn is_by_hand(&self) -> bool {
        self.by_hand
    }

    /// Keeps what is wrong here, for [`Context::error`].
    pub(super) fn fail<E: Error>(&self, problem: Problem) -> E {
        self.problem.replace(Some(problem));
        E::custom("not a review")
    }

    /// What was wrong, or, where it was not JSON at all, what the parser says.
    pub(super) fn error(self, parser: &serde_json::Error) -> ReviewError {
        match self.problem.into_inner() {
            Some(problem) => ReviewError::at(&self.steps.into_inner(), problem),
            None => ReviewError::of_document(Problem::NotJson(parser.to_string())),
        }
    }

    /// Counts a requirement of a selector.
    pub(super) fn count_requirement<E: Error>(&self) -> Result<(), E> {
        self.count(&self.requirements, MAX_REQUIREMENTS, Problem::TooManyRequirements)
    }

    /// Whether further requirements are to be passed over; never of what people write by hand, where they are an error.
    pub(super) fn is_full_of_requirements(&self) -> bool {
        !self.by_hand && self.requirements.get() >= MAX_REQUIREMENTS
    }

    /// Counts a value of a requirement, apart from all other values: whoever adds them must not crowd out the groups. Of
    /// what people write by hand too many are an error.
    pub(super) fn has_room_for_selector_value<E: Error>(&self) -> Result<bool, E> {
        if self.by_hand {
            return self.count(&self.selector_values, MAX_VALUES, Problem::TooManyValues).map(|()| true);
        }
        let count = self.selector_values.get().saturating_add(1);
        self.selector_values.set(count);
        Ok(count <= MAX_VALUES)
    }

    fn count<E: Error>(&self, counter: &Cell<usize>, most: usize, problem: Problem) -> Result<(), E> {
        counter.set(counter.get() + 1);
        if counter.get() > most { Err(self.fail(problem)) } else { Ok(()) }
    }

    fn within(&self, step: impl FnOnce() -> Step) {
        self.steps.borrow_mut().push(step());
    }

    /// The next item of a list.
    pub(super) fn item<'de, S: Shape<'de>, A: SeqAccess<'de>>(
        &self,
        items: &mut A,
        index: usize,
        shape: S,
    ) -> Result<Option<S::Value>, A::Error> {
        items
            .next_element_seed(Reader { context: self, shape })
            .inspect_err(|_| self.within(|| Step::Index(index)))
    }
}

impl<'de, A: MapAccess<'de>> Fields<'_, 'de, A> {
    /// The next key, which the object did not have yet.
    pub(super) fn next(&mut self) -> Result<Option<Cow<'de, str>>, A::Error> {
        let Some(key) = self.map.next_key_seed(Key)? else { return Ok(None) };
        if self.seen.insert(key.clone()) {
            return Ok(Some(key));
        }
        Err(self.context.fail(Problem::DuplicateKey(quoted(&key))))
    }

    /// The value of the key that was handed out last.
    pub(super) fn value<S: Shape<'de>>(&mut self, key: &str, shape: S) -> Result<S::Value, A::Error> {
        self.map
            .next_value_seed(Reader { context: self.context, shape })
            .inspect_err(|_| self.context.within(|| Step::Key(key.to_owned())))
    }

    /// The value of a key that is not known.
    pub(super) fn unknown(&mut self, key: &str) -> Result<(), A::Error> {
        if self.context.by_hand {
            return Err(self.context.fail(Problem::UnknownField(quoted(key))));
        }
        self.value(key, Anything)
    }
}

impl<'de> Shape<'de> for Text {
    type Value = String;
    const EXPECTED: &'static str = "a string";

    fn null(self) -> Result<String, Problem> {
        Ok(String::new())
    }

    fn text(self, text: Cow<'de, str>) -> Result<String, Problem> {
        Ok(text.into_owned())
    }
}

impl<'de> Shape<'de> for Texts {
    type Value = Option<Vec<String>>;
    const EXPECTED: &'static str = "a list of strings";

    fn null(self) -> Result<Self::Value, Problem> {
        Ok(None)
    }

    fn list<A: SeqAccess<'de>>(self, context: &Context, mut items: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = context.item(&mut items, texts.len(), Item)? {
            context.count(&context.values, MAX_VALUES, Problem::TooManyValues)?;
            texts.push(text);
        }
        Ok(Some(texts))
    }
}

/// A string in a list, where `null` does not stand for anything.
pub(super) struct Item;

impl<'de> Shape<'de> for Item {
    type Value = String;
    const EXPECTED: &'static str = "a string";

    fn text(self, text: Cow<'de, str>) -> Result<String, Problem> {
        Ok(text.into_owned())
    }
}

impl<'de> Shape<'de> for Anything {
    type Value = ();
    const EXPECTED: &'static str = "anything";

    fn scalar(self, _found: &'static str) -> Result<(), Problem> {
        Ok(())
    }

    fn list<A: SeqAccess<'de>>(self, context: &Context, mut items: A) -> Result<(), A::Error> {
        let mut index = 0;
        while context.item(&mut items, index, Anything)?.is_some() {
            index += 1;
        }
        Ok(())
    }

    fn object<A: MapAccess<'de>>(self, mut fields: Fields<'_, 'de, A>) -> Result<(), A::Error> {
        while let Some(key) = fields.next()? {
            fields.value(&key, Anything)?;
        }
        Ok(())
    }
}

impl<'de, S: Shape<'de>> DeserializeSeed<'de> for Reader<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<S> Reader<'_, S> {
    fn enter<E: Error>(&self) -> Result<(), E> {
        let depth = self.context.depth.get() + 1;
        if depth > MAX_DEPTH {
            return Err(self.context.fail(Problem::TooDeep));
        }
        self.context.depth.set(depth);
        Ok(())
    }
}

impl<'de, S: Shape<'de>> Visitor<'de> for Reader<'_, S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(S::EXPECTED)
    }

    fn visit_unit<E: Error>(self) -> Result<S::Value, E> {
        self.shape.null().map_err(|problem| self.context.fail(problem))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<S::Value, E> {
        self.shape.scalar("a boolean").map_err(|problem| self.context.fail(problem))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<S::Value, E> {
        self.shape.scalar("a number").map_err(|problem| self.context.fail(problem))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<S::Value, E> {
        self.shape.scalar("a number").map_err(|problem| self.context.fail(problem))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<S::Value, E> {
        self.shape.scalar("a number").map_err(|problem| self.context.fail(problem))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<S::Value, E> {
        self.shape.text(Cow::Borrowed(text)).map_err(|problem| self.context.fail(problem))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<S::Value, E> {
        self.shape.text(Cow::Owned(text.to_owned())).map_err(|problem| self.context.fail(problem))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<S::Value, A::Error> {
        self.enter()?;
        let value = self.shape.list(self.context, items)?;
        self.context.depth.set(self.context.depth.get() - 1);
        Ok(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<S::Value, A::Error> {
        self.enter()?;
        let value = self.shape.object(Fields { context: self.context, map, seen: Keys::default() })?;
        self.context.depth.set(self.context.depth.get() - 1);
        Ok(value)
    }
}

/// A key, borrowed from the text unless it holds escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// As many keys as any object of a review has are compared one by one, without an allocation.
const FEW: usize = 12;

/// The keys that an object has so far. Seeded hashing beyond the first few, since a requester may choose some of them.
#[derive(Default)]
struct Keys<'de> {
    few: [Cow<'de, str>; FEW],
    count: usize,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    /// Whether the key is new.
    fn insert(&mut self, key: Cow<'de, str>) -> bool {
        if self.few.iter().take(self.count).any(|seen| *seen == key) {
            return false;
        }
        if let Some(free) = self.few.get_mut(self.count) {
            *free = key;
            self.count += 1;
            return true;
        }
        self.many.insert(key)
    }
}
