//! "Did you mean".

use super::render::quoted;

/// Words longer than this are compared with nothing: an edit distance costs the product of the lengths.
const MAX_COMPARED_BYTES: usize = 64;

/// The help `did you mean ...` where one of the candidates is near to what was written: a third of its characters may be
/// wrong, and case does not count.
#[must_use]
pub fn did_you_mean<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(written, candidates).map(|nearest| format!("did you mean {}?", quoted(nearest)))
}

/// The same, or else the list of all candidates, which should be few.
#[must_use]
pub fn did_you_mean_or_list<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
) -> Option<String> {
    let candidates = candidates.into_iter();
    did_you_mean(written, candidates.clone()).or_else(|| {
        let all: Vec<String> = candidates.map(quoted).collect();
        (!all.is_empty()).then(|| format!("known here: {}", all.join(", ")))
    })
}

fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > MAX_COMPARED_BYTES {
        return None;
    }
    let lower = written.to_lowercase();
    let allowed = written.chars().count().div_ceil(3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(written.len()) <= allowed * 2)
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let fields = ["verbs", "resources", "apiGroups"];
        assert_eq!(did_you_mean("verb", fields).as_deref(), Some("did you mean `verbs`?"));
        assert_eq!(did_you_mean("apigroups", fields).as_deref(), Some("did you mean `apiGroups`?"));
        assert_eq!(did_you_mean("resuorces", fields).as_deref(), Some("did you mean `resources`?"));
        assert_eq!(did_you_mean("colour", fields), None);
    }

    #[test]
    fn a_very_long_word_is_compared_with_nothing() {
        let long = "a".repeat(1 << 20);
        assert_eq!(did_you_mean(&long, [long.as_str()]), None);
    }
}
