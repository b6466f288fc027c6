//! What differs between two texts, line by line.

/// The most lines on each side that are compared one by one; of more, all are shown as replaced.
const LINES_LIMIT: usize = 2_000;

/// Every line of both, in order: `-` for those of the old alone, `+` for those of the new, a space for those of both. Empty
/// if nothing differs.
pub(crate) fn diff(old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let begin = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    let (old_rest, new_rest) = (&old[begin..], &new[begin..]);
    let end =
        old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(one, other)| one == other).count();
    let (old_mid, new_mid) = (&old_rest[..old_rest.len() - end], &new_rest[..new_rest.len() - end]);
    let mut lines = Vec::new();
    lines.extend(old[..begin].iter().map(|line| (' ', *line)));
    compare(old_mid, new_mid, &mut lines);
    lines.extend(old[old.len() - end..].iter().map(|line| (' ', *line)));
    lines.into_iter().map(|(mark, line)| format!("{mark} {line}\n")).collect()
}

/// By their longest common subsequence.
fn compare<'a>(old: &[&'a str], new: &[&'a str], lines: &mut Vec<(char, &'a str)>) {
    if old.len() > LINES_LIMIT || new.len() > LINES_LIMIT {
        lines.extend(old.iter().map(|line| ('-', *line)));
        lines.extend(new.iter().map(|line| ('+', *line)));
        return;
    }
    // `common[i][j]`: how many lines old[i..] and new[j..] have in common, at most LINES_LIMIT.
    let width = new.len() + 1;
    let mut common = vec![0_u16; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len()
            || (i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_came_and_went_are_marked_and_the_rest_stays() {
        assert_eq!(diff("a\nb\n", "a\nb\n"), "");
        assert_eq!(diff("a\nb\nc\nd\n", "a\nx\nc\ny\nd\n"), "  a\n- b\n+ x\n  c\n+ y\n  d\n");
        assert_eq!(diff("", "a\n"), "+ a\n");
        assert_eq!(diff("a\na\na\n", "a\n"), "  a\n- a\n- a\n");
        let long = "x\n".repeat(5_000);
        assert_eq!(diff(&long, "y\n").lines().count(), 5_001);
    }
}
