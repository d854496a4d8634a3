//! The truth of one policy: subjects and clusters and when and validity, and not unless and not exceptSubjects. That one of its
//! rules speaks of the request was found before.

use std::net::IpAddr;

use ipnet::IpNet;

use super::facts::{Bound, Clearance, Lens};
use super::time;
use super::trace::{Note, Trace};
use super::truth::{Timed, Truth, Unknown};
use crate::model::{Circumstances, Request, SourceAddress, Values};
use crate::policy::ast::Effect;
use crate::policy::{AttributeTest, Conditions, Policy, RequiredClearance, Term};

/// Everything that the truth of a policy is a function of, but for what the directory is taken to say.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) bound: &'a Bound,
    pub(super) request: &'a Request,
    pub(super) circumstances: &'a Circumstances,
}

impl<'a> Scene<'a> {
    /// The truth of a policy. Stale facts may establish that a Deny applies, nothing else (DESIGN 3.9): what they say
    /// counts only where the policy is a Deny, is unknown without them, and is true with them.
    pub(super) fn truth<T: Trace>(
        self,
        policy: &'a Policy,
        lens: Lens<'a>,
        last_known: Option<Lens<'a>>,
        trace: &mut T,
    ) -> Timed {
        let certain = self.truth_through(policy, lens, trace);
        match (certain.truth, last_known) {
            (Truth::Unknown(_), Some(last_known)) if policy.effect == Effect::Deny => {
                let by_last_known = self.truth_through(policy, last_known, &mut super::trace::Off);
                if by_last_known.truth == Truth::True {
                    trace.note(|| Note {
                        part: "subjects".to_owned(),
                        detail: "the last known facts establish that it applies".to_owned(),
                        truth: Truth::True,
                    });
                    return Timed { truth: Truth::True, until: by_last_known.until.min(certain.until) };
                }
                Timed { truth: certain.truth, until: certain.until.min(by_last_known.until) }
            }
            _ => certain,
        }
    }

    fn truth_through<T: Trace>(self, policy: &'a Policy, lens: Lens<'a>, trace: &mut T) -> Timed {
        let mut all = Timed::TRUE;
        let mut and = |part: Timed| {
            if all.truth != Truth::False {
                all = all.and(part);
            }
            T::ON || all.truth != Truth::False
        };
        let _complete = and(!self.terms(&policy.except_subjects, "exceptSubjects", lens, trace))
            && and(self.terms(&policy.subjects, "subjects", lens, trace))
            && and(self.clusters(policy, trace))
            && and(!self.excused(policy, lens, trace))
            && and(self.conditions(&policy.when, "when", lens, trace))
            && and(self.validity(policy, trace));
        all
    }

    fn terms<T: Trace>(self, terms: &[Term], part: &str, lens: Lens<'a>, trace: &mut T) -> Timed {
        let mut any = Timed::FALSE;
        for (place, term) in terms.iter().enumerate() {
            let truth = self.term(term, lens);
            trace.note(|| Note { part: format!("{part}[{place}]"), detail: self.describe_term(term), truth });
            if any.truth != Truth::True {
                any = any.or(truth.always());
            }
            if any.truth == Truth::True && !T::ON {
                break;
            }
        }
        any
    }

    fn term(self, term: &Term, lens: Lens<'a>) -> Truth {
        let subject = &self.request.subject;
        match term {
            Term::Everyone => Truth::True,
            Term::User(name) => Truth::known(subject.user == **name),
            Term::Group(name) => Truth::known(subject.groups.iter().any(|group| **group == **name)),
            Term::Directory(group) => self.bound.is_member(*group, lens),
            Term::All(terms) => {
                terms.iter().fold(Timed::TRUE, |all, term| all.and(self.term(term, lens).always())).truth
            }
        }
    }

    fn clusters<T: Trace>(self, policy: &Policy, trace: &mut T) -> Timed {
        if policy.clusters.is_empty() {
            return Timed::TRUE;
        }
        let truth = match &self.circumstances.cluster {
            None => Truth::Unknown(Unknown::Cluster),
            Some(cluster) => Truth::known(policy.clusters.iter().any(|pattern| pattern.matches(cluster))),
        };
        trace.note(|| Note {
            part: "clusters".to_owned(),
            detail: match &self.circumstances.cluster {
                Some(cluster) => format!("the cluster is `{cluster}`"),
                None => "the cluster is not known".to_owned(),
            },
            truth,
        });
        truth.always()
    }

    fn excused<T: Trace>(self, policy: &'a Policy, lens: Lens<'a>, trace: &mut T) -> Timed {
        let mut any = Timed::FALSE;
        for (place, unless) in policy.unless.iter().enumerate() {
            let part = if T::ON { format!("unless[{place}]") } else { String::new() };
            let excuse = self.conditions(unless, &part, lens, trace);
            if any.truth != Truth::True {
                any = any.or(excuse);
            }
            if any.truth == Truth::True && !T::ON {
                break;
            }
        }
        any
    }

    fn conditions<T: Trace>(
        self,
        conditions: &'a Conditions,
        part: &str,
        lens: Lens<'a>,
        trace: &mut T,
    ) -> Timed {
        let Conditions { time, location, clearance, attributes } = conditions;
        let mut all = Timed::TRUE;
        let mut and = |name: &str, truth: Timed, detail: &dyn Fn() -> String, trace: &mut T| {
            trace.note(|| Note { part: format!("{part}.{name}"), detail: detail(), truth: truth.truth });
            if all.truth != Truth::False {
                all = all.and(truth);
            }
            T::ON || all.truth != Truth::False
        };
        if let Some(networks) = location
            && !and("location", self.location(networks).always(), &|| self.describe_source(), trace)
        {
            return all;
        }
        if let Some(required) = clearance
            && !and(
                "clearance",
                self.clearance(required, lens).always(),
                &|| self.describe_clearance(lens),
                trace,
            )
        {
            return all;
        }
        for test in attributes {
            let detail = || describe_attribute(test, lens);
            if !and("directory", attribute(test, lens).always(), &detail, trace) {
                return all;
            }
        }
        if let Some(window) = time {
            let now = self.circumstances.now;
            let detail = || {
                format!(
                    "it is {}",
                    now.to_zoned_datetime(window.condition.time_zone.clone()).strftime("%A %H:%M %Q")
                )
            };
            let _last = and("time", time::window(window, now), &detail, trace);
        }
        all
    }

    fn validity<T: Trace>(self, policy: &Policy, trace: &mut T) -> Timed {
        let truth = time::validity(&policy.validity, self.circumstances.now);
        if policy.validity != crate::policy::ast::Validity::default() {
            trace.note(|| Note {
                part: "validity".to_owned(),
                detail: format!("it is {}", self.circumstances.now),
                truth: truth.truth,
            });
        }
        truth
    }

    fn location(self, networks: &[IpNet]) -> Truth {
        match self.circumstances.source {
            SourceAddress::Known(address) => {
                Truth::known(networks.iter().any(|network| network.contains(&address)))
            }
            unknown => Truth::Unknown(Unknown::Source(unknown)),
        }
    }

    fn clearance(self, required: &RequiredClearance, lens: Lens<'a>) -> Truth {
        let set = self.bound.set();
        let from_extra;
        let held = match &set.settings().clearance_extra_key {
            Some(key) => {
                let trusted = self
                    .circumstances
                    .cluster
                    .as_ref()
                    .is_some_and(|cluster| set.settings().trusted_clusters.contains(&**cluster));
                match self.request.subject.extra.get(key) {
                    Some(values) if trusted && !values.is_empty() => {
                        from_extra = Clearance::read(set, values);
                        &from_extra
                    }
                    _ => return Truth::Unknown(Unknown::Clearance),
                }
            }
            None => match lens {
                Lens::Empty => &Clearance::Absent,
                Lens::Known(prepared) => prepared.clearance(),
                Lens::Unknown(why) => return Truth::Unknown(why),
            },
        };
        match held {
            Clearance::Absent => Truth::False,
            Clearance::Unknown => Truth::Unknown(Unknown::Clearance),
            Clearance::Held { level, compartments } => Truth::known(
                required.level.is_none_or(|least| *level >= least)
                    && required.compartments.iter().all(|compartment| compartments.contains(compartment)),
            ),
        }
    }

    fn describe_term(self, term: &Term) -> String {
        match term {
            Term::Everyone => "everyone".to_owned(),
            Term::User(name) => format!("user `{name}`"),
            Term::Group(name) => format!("group `{name}`"),
            Term::Directory(group) => match self.bound.set().group_refs().get(group.0 as usize) {
                Some(crate::policy::ast::GroupRef::Name(name)) => format!("directory group `{name}`"),
                Some(crate::policy::ast::GroupRef::Dn(dn)) => format!("directory group `{}`", dn.as_str()),
                Some(crate::policy::ast::GroupRef::Id(id)) => format!("directory group `{id}`"),
                None => "directory group".to_owned(),
            },
            Term::All(terms) => {
                let all: Vec<String> = terms.iter().map(|term| self.describe_term(term)).collect();
                format!("all of {}", all.join(" and "))
            }
        }
    }

    fn describe_source(self) -> String {
        match self.circumstances.source {
            SourceAddress::Known(address) => format!("the source address is {address}"),
            unknown => unknown.unknown_because().unwrap_or_default().to_owned(),
        }
    }

    fn describe_clearance(self, lens: Lens<'_>) -> String {
        let set = self.bound.set();
        let values = match (&set.settings().clearance_extra_key, set.clearance_attribute(), lens) {
            (Some(key), _, _) => self.request.subject.extra.get(key).map(Vec::as_slice),
            (None, Some(attribute), Lens::Known(prepared)) => {
                match prepared.facts().attributes.get(attribute) {
                    Some(Values::Known(values)) => Some(&**values),
                    Some(Values::Unreadable) => return "the clearance cannot be read".to_owned(),
                    None => None,
                }
            }
            _ => None,
        };
        match values {
            Some(values) => format!("the clearance is `{}`", values.join("`, `")),
            None => "there is no clearance".to_owned(),
        }
    }
}

fn attribute(test: &AttributeTest, lens: Lens<'_>) -> Truth {
    let prepared = match lens {
        Lens::Empty => return Truth::False,
        Lens::Unknown(why) => return Truth::Unknown(why),
        Lens::Known(prepared) => prepared,
    };
    if prepared.facts().person == crate::model::Person::Ambiguous {
        return Truth::Unknown(Unknown::AmbiguousPerson);
    }
    match prepared.facts().attributes.get(&test.attribute) {
        None => Truth::False,
        Some(Values::Unreadable) => Truth::Unknown(Unknown::UnreadableAttribute),
        Some(Values::Known(values)) => {
            let wanted = |value: &String| test.any_of.iter().any(|wanted| **wanted == **value);
            Truth::known(values.iter().any(wanted))
        }
    }
}

fn describe_attribute(test: &AttributeTest, lens: Lens<'_>) -> String {
    let values = match lens {
        Lens::Known(prepared) => prepared.facts().attributes.get(&test.attribute),
        Lens::Empty | Lens::Unknown(_) => None,
    };
    match values {
        Some(Values::Known(values)) => format!("`{}` is `{}`", test.attribute, values.join("`, `")),
        Some(Values::Unreadable) => format!("`{}` cannot be read", test.attribute),
        None => format!("`{}` is absent", test.attribute),
    }
}

/// The source address of a request: exactly one, well-formed, from a cluster that is trusted with it.
pub(super) fn source_address(values: Option<&Vec<String>>, trusted: bool) -> SourceAddress {
    let Some(values) = values else { return SourceAddress::Missing };
    match &**values {
        [] => SourceAddress::Missing,
        _ if !trusted => SourceAddress::Untrusted,
        [one] => match one.parse::<IpAddr>() {
            Ok(address) => SourceAddress::Known(address.to_canonical()),
            Err(_) => SourceAddress::Malformed,
        },
        _ => SourceAddress::Several,
    }
}
