//! The known name that an unknown one was probably meant to be.

/// Names less alike than this (0 to 1) are no suggestion.
const LEAST_SIMILARITY: f64 = 0.6;

/// The most similar candidate. For dotted paths the last part alone counts too: a right key in a wrong table.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    candidates
        .map(|candidate| (similarity(name, candidate), candidate))
        .filter(|(score, _)| *score >= LEAST_SIMILARITY)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.to_owned())
}

fn similarity(name: &str, candidate: &str) -> f64 {
    let whole = strsim::normalized_damerau_levenshtein(name, candidate);
    let last = if last_part(name) == last_part(candidate) { LEAST_SIMILARITY } else { 0.0 };
    whole.max(last)
}

fn last_part(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(_, last)| last)
}
