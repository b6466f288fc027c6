//! Compares versions of Debian packages (deb-version(7)).

use std::cmp::Ordering;

/// Which of two versions is the later one.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let ((a_epoch, a_rest), (b_epoch, b_rest)) = (epoch(a), epoch(b));
    let ((a_upstream, a_revision), (b_upstream, b_revision)) = (revision(a_rest), revision(b_rest));
    a_epoch
        .cmp(&b_epoch)
        .then_with(|| compare_part(a_upstream.as_bytes(), b_upstream.as_bytes()))
        .then_with(|| compare_part(a_revision.as_bytes(), b_revision.as_bytes()))
}

fn epoch(version: &str) -> (u64, &str) {
    match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    }
}

fn revision(version: &str) -> (&str, &str) {
    version.rsplit_once('-').unwrap_or((version, ""))
}

/// Letters and numbers in turns: letters by [`weight`], numbers by value.
fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let order = compare_letters(&mut a, &mut b).then_with(|| compare_number(&mut a, &mut b));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

fn compare_letters(a: &mut &[u8], b: &mut &[u8]) -> Ordering {
    loop {
        let (left, right) = (letter(a), letter(b));
        if left.is_none() && right.is_none() {
            return Ordering::Equal;
        }
        let order = weight(left).cmp(&weight(right));
        if order != Ordering::Equal {
            return order;
        }
        (*a, *b) = (&a[1..], &b[1..]);
    }
}

fn letter(text: &[u8]) -> Option<u8> {
    text.first().copied().filter(|byte| !byte.is_ascii_digit())
}

/// `~` before the end, the end before letters, letters before all else.
fn weight(letter: Option<u8>) -> u16 {
    match letter {
        Some(b'~') => 0,
        None => 1,
        Some(byte) if byte.is_ascii_alphabetic() => u16::from(byte),
        Some(byte) => 256 + u16::from(byte),
    }
}

fn compare_number(a: &mut &[u8], b: &mut &[u8]) -> Ordering {
    let (left, right) = (number(a), number(b));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Takes the digits at the front, without leading zeros.
fn number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    &digits[digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_their_order() {
        let rising = [
            "0~~",
            "0~",
            "0",
            "0a",
            "0+",
            "1.0~rc1-1",
            "1.0-1~bpo1",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1+deb13u1",
            "1.2",
            "1.10",
            "1.10a",
            "1.10+dfsg",
            "2.0",
            "6.12.94",
            "6.12.107",
            "1:0.1",
            "2:0",
        ];
        for (place, low) in rising.iter().enumerate() {
            assert_eq!(compare(low, low), Ordering::Equal);
            for high in &rising[place + 1..] {
                assert_eq!(compare(low, high), Ordering::Less, "{low} {high}");
                assert_eq!(compare(high, low), Ordering::Greater, "{high} {low}");
            }
        }
        assert_eq!(compare("1.0", "1.00"), Ordering::Equal);
        assert_eq!(compare("1.0", "1.0-0"), Ordering::Equal);
        assert_eq!(compare("0:1", "1"), Ordering::Equal);
    }
}
