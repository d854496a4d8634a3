//! What a search finds, and how its server shows it.

use std::sync::Arc;

use super::content::Record;
use super::controls::Wishes;
use super::dirsync;
use super::feed::is_found;
use super::identity;
use super::manner::Manner;
use super::pages::Pages;
use super::range;
use super::reply::{Outcome, Reply};
use super::rules;
use super::server::Directory;
use super::view::View;
use crate::directory::embedded::filter::Filter;
use crate::directory::embedded::message::Search;
use crate::directory::embedded::tree::{Held, Node, Scope, kind};
use crate::directory::embedded::values::Syntax;
use crate::directory::ldif::Entry;
use crate::model::Dn;

const TOKEN_GROUPS: &str = "tokengroups";

/// Whoever asks, and of whom.
pub(super) struct Question<'a> {
    pub(super) directory: &'a Directory,
    pub(super) view: &'a Arc<View>,
    pub(super) manner: &'a Manner,
    pub(super) host: &'a str,
    pub(super) is_bound: bool,
    pub(super) search: &'a Search,
    pub(super) wishes: &'a Wishes,
}

impl Question<'_> {
    /// All responses to a search that is no feed.
    pub(super) fn answer(&self, pages: &mut Pages) -> Vec<Reply> {
        if let Some(paged) = self.wishes.paged.as_ref().filter(|paged| !paged.cookie.is_empty()) {
            return pages.next(paged, self.manner);
        }
        let found = match self.found() {
            Ok(found) => found,
            Err(outcome) => return vec![Reply::Done(outcome)],
        };
        match &self.wishes.paged {
            Some(paged) => pages.first(paged, self.limited(found, None), self.manner),
            None => self.limited(found, self.manner.max_page_size),
        }
    }

    /// Where the search begins, if it may at all.
    pub(super) fn base(&self) -> Result<Dn, Outcome> {
        let Self { view, search, .. } = self;
        if self.wishes.unknown {
            return Err(Outcome::new(12, "critical extension is not recognized"));
        }
        if !self.is_bound && !self.manner.anonymous_search {
            let text = "000004DC: LdapErr: DSID-0C090C7B, comment: In order to perform this operation a \
                        successful bind must be completed on the connection., data 0, v2580";
            return Err(Outcome::new(1, text));
        }
        let dn = match self.by_identity() {
            Some(named) => named.ok_or_else(|| Outcome::new(32, ""))?,
            None => Dn::parse(&search.base).map_err(|_| Outcome::new(34, "invalid DN"))?,
        };
        match view.tree().entry(&dn) {
            Some(_) => Ok(dn),
            None if self.shows_deleted() && dn == dirsync::deleted_objects(view) => Ok(dn),
            None => {
                let matched = view.tree().matched(&dn).to_owned();
                Err(Outcome { matched, ..Outcome::new(32, "") })
            }
        }
    }

    /// The object that a base of `<GUID=...>` or `<SID=...>` names (MS-ADTS 3.1.1.3.1.2.4).
    fn by_identity(&self) -> Option<Option<Dn>> {
        let inner = self.search.base.strip_prefix('<')?.strip_suffix('>')?;
        let (kind, value) = inner.split_once('=').filter(|_| self.view.is_active_directory())?;
        let (attribute, octets) = match kind.to_ascii_uppercase().as_str() {
            "GUID" if value.contains('-') => ("objectGUID", Some(identity::guid(value))),
            "GUID" => ("objectGUID", octets(value)),
            "SID" => ("objectSid", identity::sid(value).or_else(|| octets(value))),
            _ => return None,
        };
        let record = octets.and_then(|octets| self.view.with(attribute, &octets));
        Some(record.map(|record| record.entry.dn.clone()))
    }

    fn found(&self) -> Result<Vec<Reply>, Outcome> {
        let Self { view, search, .. } = self;
        if search.base.is_empty() && search.scope == Scope::Base {
            let root = self.manner.root_dse(view, self.host);
            // Active Directory has no object class there, and does not look.
            let matches = view.is_active_directory() || self.filter().matches(&root) == Some(true);
            return Ok(matches.then(|| self.entry(&root)).into_iter().collect());
        }
        let base = self.base()?;
        let asks_for_tokens = search.attributes.iter().any(|wanted| wanted == TOKEN_GROUPS);
        if view.is_active_directory() && asks_for_tokens && search.scope != Scope::Base {
            return Err(Outcome::new(
                1,
                "00002020: operational_search_post_process failed for attribute 'tokenGroups' - Cannot provide tokenGroups attribute, this is not a BASE search",
            ));
        }
        let filter = self.filter();
        let found = view.tree().search(&base, search.scope, &filter).into_iter().flatten();
        let mut replies: Vec<Reply> =
            found.filter(|node| self.is_in_context(&base, &node.dn)).map(|node| self.entry(node)).collect();
        if self.shows_deleted() {
            let container = dirsync::deleted_objects(view);
            if base == container && search.scope == Scope::Base {
                let class = Held::new("objectClass", vec![b"container".to_vec()], &[]);
                replies.push(self.entry(&Node::new(container, vec![class], Vec::new())));
            }
            let deleted = self.deleted().filter(|record| is_found(self, &base, &filter, record));
            replies.extend(deleted.map(|record| self.entry(&view.node(&record))));
        }
        let is_root = base == view.domain.root && search.scope == Scope::Subtree;
        if is_root && self.manner.gives_references && !self.wishes.domain_scope {
            let (dns, configuration) = (&view.domain.dns, view.domain.configuration.as_str());
            replies.push(Reply::Reference(vec![format!("ldap://{dns}/{configuration}")]));
        }
        Ok(replies)
    }

    /// Whether deleted objects are shown, and the container that they are in.
    fn shows_deleted(&self) -> bool {
        self.view.is_active_directory() && self.wishes.show_deleted && self.manner.sees_deleted
    }

    /// What is left of the objects that were deleted.
    fn deleted(&self) -> impl Iterator<Item = Record> {
        let history = self.directory.history(0, self.view.number);
        let gone = history.into_iter().filter(|event| event.after.is_none());
        gone.filter_map(|event| {
            let before = event.before.as_ref()?;
            Some(dirsync::tombstone(before, self.view, event.number))
        })
    }

    pub(super) fn filter(&self) -> Filter {
        rules::resolved(&self.search.filter, self.view)
    }

    /// The configuration is a naming context of its own, though it stands below the domain's root.
    pub(super) fn is_in_context(&self, base: &Dn, dn: &Dn) -> bool {
        let is_apart = |dn: &Dn| super::content::is_within(dn, &self.view.domain.configuration);
        !self.view.is_active_directory() || is_apart(base) == is_apart(dn)
    }

    /// What is shown of an entry that was found.
    pub(super) fn entry(&self, node: &Node) -> Reply {
        let attributes = self.dressed(self.attributes(node));
        Reply::Entry { dn: self.named(&node.dn, None), attributes, controls: Vec::new() }
    }

    /// How a name is written: with the identities of what it names, where that is asked for.
    pub(super) fn named(&self, dn: &Dn, entry: Option<&Entry>) -> String {
        let entry = entry.or_else(|| self.view.record(dn).map(|record| &record.entry));
        match (self.wishes.extended_dn, entry) {
            (Some(as_text), Some(entry)) => dirsync::extended(entry, as_text),
            _ => dn.as_str().to_owned(),
        }
    }

    /// The same for the names among the values.
    pub(super) fn dressed(&self, mut attributes: Vec<(String, Vec<Vec<u8>>)>) -> Vec<(String, Vec<Vec<u8>>)> {
        let is_name = |description: &str| Syntax::of(kind(&description.to_ascii_lowercase())) == Syntax::Name;
        for (description, values) in attributes.iter_mut().filter(|_| self.wishes.extended_dn.is_some()) {
            for value in values.iter_mut().filter(|_| is_name(description)) {
                let dn = std::str::from_utf8(value).ok().and_then(|text| Dn::parse(text).ok());
                *value = dn.map_or_else(|| value.clone(), |dn| self.named(&dn, None).into_bytes());
            }
        }
        attributes
    }

    pub(super) fn attributes(&self, node: &Node) -> Vec<(String, Vec<Vec<u8>>)> {
        let Self { search, wishes, .. } = self;
        let selected: Vec<&Held> = search.selected(node).collect();
        let is_selected = |held: &Held| selected.iter().any(|chosen| std::ptr::eq(*chosen, held));
        let mut shown = Vec::new();
        match (&wishes.matched_values, self.manner.max_val_range) {
            (Some(filters), _) => {
                shown.extend(selected.iter().filter_map(|held| matching_values(held, filters)))
            }
            (None, Some(max)) => {
                for held in &node.attributes {
                    shown.extend(range::parts(held, is_selected(held), search, max));
                }
            }
            (None, None) => shown.extend(selected.iter().map(|held| held.shown(search.types_only))),
        }
        if self.view.is_active_directory()
            && search.attributes.iter().any(|wanted| wanted == TOKEN_GROUPS)
            && !self.manner.hides_token_groups
            && !self.view.hides(node.dn.as_str(), TOKEN_GROUPS)
        {
            let sids = self.view.token_groups(&node.dn);
            shown.extend((!sids.is_empty()).then(|| ("tokenGroups".to_owned(), sids)));
        }
        shown
    }

    /// The result, cut by the limits of the request, of the server and of a page.
    pub(super) fn limited(&self, mut replies: Vec<Reply>, page: Option<usize>) -> Vec<Reply> {
        let asked = usize::try_from(self.search.size_limit)
            .ok()
            .filter(|limit| *limit > 0 && !self.manner.ignores_size_limits);
        let limit = [asked, self.manner.size_limit, page].into_iter().flatten().min().unwrap_or(usize::MAX);
        let entries = replies.iter().filter(|reply| matches!(reply, Reply::Entry { .. })).count();
        let is_root = self.search.base.is_empty() && self.search.scope == Scope::Base;
        if entries > limit && !is_root {
            replies.truncate(limit);
            replies.push(Reply::Done(Outcome::new(4, "")));
        } else {
            replies.push(Reply::Done(Outcome::success()));
        }
        replies
    }
}

/// Those values of an attribute that a filter of the matched values control is true of (RFC 3876, section 3).
fn matching_values(held: &Held, filters: &[Filter]) -> Option<(String, Vec<Vec<u8>>)> {
    let alone = |value: &Vec<u8>| {
        Node::new(Dn::default(), vec![Held::new(&held.description, vec![value.clone()], &[])], Vec::new())
    };
    let is_wanted =
        |value: &&Vec<u8>| filters.iter().any(|filter| filter.matches(&alone(value)) == Some(true));
    let values: Vec<Vec<u8>> = held.values.iter().filter(is_wanted).cloned().collect();
    (!values.is_empty()).then(|| (held.description.clone(), values))
}

/// Octets from hexadecimal digits.
fn octets(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().as_chunks::<2>().0.iter();
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
