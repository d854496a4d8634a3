//! What is looked at before a directory is relied on: whether it has the bases of the searches, and whether it maintains
//! `memberOf`, which not every one does that has the attribute.

use ldap3::Scope;

use super::super::about::unfit;
use super::super::groups::MEMBER_ATTRIBUTES;
use super::super::ranges;
use super::super::search::{Query, Step};
use super::super::{LookupError, ResultCode};
use super::{Resolver, Search};
use crate::model::Dn;

/// How many groups are looked at for one whose members can show that `memberOf` is maintained.
const GROUPS_TO_PROVE_BY: usize = 10;

/// Shows that there is an entry to search below: a name that is not written right would make every search fail.
pub(super) async fn base(directory: &impl Search, key: &str, base: &str) -> Result<(), LookupError> {
    let query = Query {
        attributes: vec!["1.1".to_owned()],
        limit: 1,
        step: Step::Proof,
        ..Query::new(base.to_owned(), Scope::Base)
    };
    match directory.search(query).await {
        Err(LookupError::Refused(ResultCode::NO_SUCH_OBJECT)) => {
            let why =
                format!("has no entry `{base}`, which is `{key}`; or the service's account may not read it");
            Err(unfit("the directory server", why))
        }
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

impl Resolver {
    /// Shows by a group that has members that these name it: a server that does not maintain `memberOf` answers as if nobody
    /// were in any group. `by_one` is for one that maintains it by itself, for all or for none, but does not show it on some
    /// members: foreign security principals (MS-ADTS 3.1.1.1.6).
    pub(super) async fn prove_member_of(
        &self,
        directory: &impl Search,
        by_one: bool,
    ) -> Result<(), LookupError> {
        let query = Query {
            filter: "(|(member=*)(uniqueMember=*))".to_owned(),
            attributes: MEMBER_ATTRIBUTES.map(str::to_owned).to_vec(),
            limit: GROUPS_TO_PROVE_BY,
            step: Step::Proof,
            ..Query::new(self.groups.base.clone(), Scope::Subtree)
        };
        let found = directory.search(query).await?;
        let mut missing = None;
        for group in &found.entries {
            for attribute in ["member", "uniquemember"] {
                // A range of the members is enough here.
                let Some(member) = group.any_text(attribute) else { continue };
                let query = Query {
                    attributes: vec!["memberOf".to_owned()],
                    limit: 1,
                    step: Step::Proof,
                    ..Query::new(member.to_owned(), Scope::Base)
                };
                // Groups may list names that no entry has.
                let Ok(found) = ranges::search(directory, query).await else { continue };
                let Some(member) = found.entries.first() else { continue };
                let names = member.texts("memberof")?;
                if names.iter().any(|name| Dn::parse(name).is_ok_and(|name| name == group.dn)) {
                    return Ok(());
                }
                let why = format!(
                    "does not maintain memberOf, which `groupSearch.strategy: memberOf` needs: it is missing on a member of {}",
                    group.dn
                );
                let unfit = unfit("the directory server", why);
                if !by_one {
                    return Err(unfit);
                }
                missing.get_or_insert(unfit);
            }
        }
        missing.map_or(Ok(()), Err)
    }
}
