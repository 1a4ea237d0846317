//! The nearest known name to one that is unknown.

/// Returns the entry of `known` that is nearest to `name`, or `None` if even that is too far to be
/// a typing error: more edits than a third of the longer name's bytes.
///
/// An edit is the insertion, deletion or replacement of one byte. Of equally near entries the
/// first is returned.
///
/// ```
/// use lslm_runtime::suggest::nearest;
///
/// let known = ["gpt2", "cl100k_base"];
/// assert_eq!(nearest("cl100k_bas", known), Some("cl100k_base"));
/// assert_eq!(nearest("something", known), None);
/// ```
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance * 3 <= name.len().max(candidate.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns the Levenshtein distance in bytes, by the usual table of which one row is kept.
fn edit_distance(a: &str, b: &str) -> usize {
    // not Python's difflib, as in lslm.config: errors of the Rust API are complete without Python
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substitution = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_get_a_suggestion_and_other_names_do_not() {
        assert_eq!(nearest("cl100k_bas", ["gpt2", "cl100k_base"]), Some("cl100k_base"));
        assert_eq!(nearest("something", ["gpt2", "cl100k_base"]), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }
}
