//! What a filter means to Active Directory beyond what it says: identities as text, and the rules for bits and chains
//! (MS-ADTS 3.1.1.3.4.4). Elsewhere such a filter stays undefined.

use std::collections::HashSet;

use super::identity;
use super::view::View;
use crate::directory::embedded::filter::{Assertion, Extensible, Filter};
use crate::directory::embedded::values::Syntax;
use crate::model::Dn;

const BIT_AND: &str = "1.2.840.113556.1.4.803";
const BIT_OR: &str = "1.2.840.113556.1.4.804";
const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";

/// The filter with its rules replaced by the values that they match in this content.
pub(super) fn resolved(filter: &Filter, view: &View) -> Filter {
    let all = |filters: &[Filter]| filters.iter().map(|filter| resolved(filter, view)).collect();
    match filter {
        _ if !view.is_active_directory() => filter.clone(),
        Filter::And(filters) => Filter::And(all(filters)),
        Filter::Or(filters) => Filter::Or(all(filters)),
        Filter::Not(filter) => Filter::Not(Box::new(resolved(filter, view))),
        Filter::Equal(assertion) => Filter::Equal(read(assertion, view)),
        Filter::Extensible(it) => extensible(it, view),
        other => other.clone(),
    }
}

/// A SID, a GUID or a category may be given as text.
fn read(assertion: &Assertion, view: &View) -> Assertion {
    let text = assertion.normal.as_deref().and_then(|normal| std::str::from_utf8(normal).ok());
    let normal = match (&*assertion.attribute, text) {
        ("objectsid", Some(text)) => identity::sid(text),
        ("objectguid", Some(text)) if text.len() == 36 => Some(identity::guid(text)),
        ("objectcategory", Some(text)) if !text.contains('=') => {
            let dn = format!("cn={text},cn=schema,{}", view.domain.configuration.normal());
            Syntax::of("objectcategory").normal(dn.as_bytes()).map(Vec::from)
        }
        _ => None,
    };
    match normal {
        Some(normal) => Assertion { normal: Some(normal.into()), ..assertion.clone() },
        None => assertion.clone(),
    }
}

fn extensible(it: &Extensible, view: &View) -> Filter {
    let Ok(value) = std::str::from_utf8(&it.value) else { return Filter::Undefined };
    match &*it.rule {
        BIT_AND => bits(it, value, view, |held, asked| held & asked == asked),
        BIT_OR => bits(it, value, view, |held, asked| held & asked != 0),
        IN_CHAIN => in_chain(it, value, view),
        _ => Filter::Undefined,
    }
}

fn bits(it: &Extensible, value: &str, view: &View, matches: impl Fn(i64, i64) -> bool) -> Filter {
    let Ok(asked) = value.parse::<i64>() else { return Filter::Undefined };
    let held: HashSet<i64> = view
        .records
        .iter()
        .flat_map(|record| record.entry.values(&it.attribute))
        .filter_map(|value| std::str::from_utf8(value).ok()?.parse().ok())
        .collect();
    let held = held.into_iter().filter(|held| matches(*held, asked));
    Filter::Or(held.map(|held| equal(&it.attribute, &held.to_string())).collect())
}

/// The groups that have somebody as a member through any number of groups, or whom a group has so.
fn in_chain(it: &Extensible, value: &str, view: &View) -> Filter {
    let Ok(dn) = Dn::parse(value) else { return Filter::Undefined };
    let found: Vec<&str> = match &*it.attribute {
        "member" => {
            return Filter::Or(
                view.all_groups_of(&dn, |_| true)
                    .iter()
                    .map(|group| equal("distinguishedname", group.entry.dn.as_str()))
                    .collect(),
            );
        }
        "memberof" => {
            let is_in =
                |member: &Dn| view.all_groups_of(member, |_| true).iter().any(|group| group.entry.dn == dn);
            view.records
                .iter()
                .map(|record| &record.entry.dn)
                .filter(|dn| is_in(dn))
                .map(Dn::as_str)
                .collect()
        }
        _ => return Filter::Undefined,
    };
    Filter::Or(found.into_iter().map(|dn| equal("distinguishedname", dn)).collect())
}

fn equal(attribute: &str, value: &str) -> Filter {
    let normal = Syntax::of(attribute).normal(value.as_bytes());
    Filter::Equal(Assertion { attribute: attribute.into(), normal })
}
