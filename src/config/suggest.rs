//! "Did you mean …?": the nearest of the names that would have done.
//!
//! Never here: which names there are.

/// The known name nearest to what was written, if any is near enough to be a slip of the finger.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = match written.chars().count() {
        0..=2 => 1,
        3..=7 => 2,
        _ => 3,
    };
    // Texts of other lengths cannot be near; this keeps long inputs cheap.
    let near = |name: &str| name.len().abs_diff(written.len()) <= most * 4 && written.len() <= 256;
    known
        .into_iter()
        .filter(|name| near(name))
        .map(|name| (distance(written, name), name))
        .filter(|(far, name)| *far <= most && *far < name.chars().count())
        .min()
        .map(|(_, name)| name)
}

/// A hint that names the nearest known name, or else lists what there is.
pub(super) fn hint<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
    what: &str,
) -> String {
    if let Some(name) = nearest(written, known.clone()) {
        return format!("did you mean `{name}`?");
    }
    let mut names: Vec<String> = known.into_iter().take(13).map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        return format!("there are no {what} yet; declare it first");
    }
    let more = names.len() > 12;
    names.truncate(12);
    format!("the {what} are {}{}", names.join(", "), if more { ", …" } else { "" })
}

/// How many single letters differ; two swapped neighbours count as one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let at = |row: &[usize], i: usize| row.get(i).copied().unwrap_or(usize::MAX / 2);
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cost = at(&last, j) + usize::from(x != y);
            cost = cost.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                cost = cost.min(at(&before, j - 1) + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let known = ["permission", "public", "upstream", "orders:read"];
        assert_eq!(nearest("permision", known), Some("permission"));
        assert_eq!(nearest("upsrteam", known), Some("upstream"));
        assert_eq!(nearest("order:read", known), Some("orders:read"));
        assert_eq!(nearest("listen", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
