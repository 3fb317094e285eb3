//! How wide text is on a terminal, and how it is broken to fit.
//!
//! A character takes no, one or two columns: combining marks none, those of East Asian scripts and most pictures two.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Lines of one cell; what is longer is cut, and said whole by `-o wide` and JSON.
const MAX_LINES: usize = 4;
/// What stands where a text was cut.
const CUT: char = '…';
/// A cell up to this width is not broken while another can be: times, states and most names.
const SHORT: usize = 16;

/// Columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// The text with blanks behind it, up to this width.
pub(super) fn padded(text: &str, wanted: usize) -> String {
    format!("{text}{:1$}", "", wanted.saturating_sub(width(text)))
}

/// The least width at which a text reads well: it is short, or its longest word stays whole.
pub(super) fn least_width(text: &str) -> usize {
    let longest = text.split(' ').map(width).max().unwrap_or(0);
    longest.max(width(text).min(SHORT))
}

/// Widths that take no more than `room` together. First what can be broken at blanks gives way, the widest most;
/// words are broken only where that is not enough.
pub(super) fn fitted(natural: &[usize], least: &[usize], room: usize) -> Vec<usize> {
    if natural.iter().sum::<usize>() <= room {
        return natural.to_vec();
    }
    let whole_words = least.iter().sum::<usize>() <= room;
    let (low, high) = if whole_words { (least, natural) } else { (&[][..], least) };
    let capped = |cap: usize| -> Vec<usize> {
        let low = low.iter().copied().chain(std::iter::repeat(1));
        high.iter().zip(low).map(|(high, low)| cap.min(*high).max(low)).collect()
    };
    let best = (1..=room).rev().map(capped).find(|widths| widths.iter().sum::<usize>() <= room);
    best.unwrap_or_else(|| capped(1))
}

/// The text in lines of at most this width, broken at blanks where there are any.
pub(super) fn wrapped(text: &str, limit: usize) -> Vec<String> {
    if width(text) <= limit {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let fits = |line: &String| line.is_empty() || width(line) + 1 + width(word) <= limit;
        match lines.last_mut() {
            Some(line) if fits(line) && width(word) <= limit => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            _ => break_word(word, limit, &mut lines),
        }
    }
    cut(lines, limit)
}

/// Puts a word on lines of its own, as many as it needs.
fn break_word(word: &str, limit: usize, lines: &mut Vec<String>) {
    let mut line = String::new();
    for c in word.chars() {
        if !line.is_empty() && width(&line) + c.width().unwrap_or(0) > limit {
            lines.push(std::mem::take(&mut line));
        }
        line.push(c);
    }
    lines.push(line);
    lines.retain(|line| !line.is_empty());
}

fn cut(mut lines: Vec<String>, limit: usize) -> Vec<String> {
    if lines.len() > MAX_LINES {
        lines.truncate(MAX_LINES);
        if let Some(last) = lines.last_mut() {
            while width(last) + 1 > limit && last.pop().is_some() {}
            last.push(CUT);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wide_and_combining_characters_take_the_columns_that_they_take() {
        assert_eq!((width("node"), width("節点"), width("e\u{301}"), width("")), (4, 4, 1, 0));
        assert_eq!(padded("節", 4), "節  ");
    }

    #[test]
    fn a_text_is_broken_at_blanks_and_else_within_a_word() {
        assert_eq!(wrapped("no longer than this", 10), ["no longer", "than this"]);
        assert_eq!(wrapped("file//etc/motd is", 10), ["file//etc/", "motd is"]);
        assert_eq!(wrapped("節点節点", 5), ["節点", "節点"]);
        assert_eq!(wrapped(&"word ".repeat(40), 9).last().unwrap(), "word wor…");
    }

    #[test]
    fn the_widest_gives_way_first_and_short_cells_stay_whole() {
        assert_eq!(fitted(&[8, 40, 10], &[8, 12, 10], 58), [8, 40, 10]);
        assert_eq!(fitted(&[8, 40, 10], &[8, 12, 10], 40), [8, 22, 10]);
        // Words have to be broken: those of the widest columns.
        assert_eq!(fitted(&[8, 40, 60], &[8, 40, 30], 48), [8, 20, 20]);
        assert_eq!(least_width("10m left (16:33)"), 16);
        assert_eq!(least_width("12 bytes, sha256 abababababab, 0644"), 16);
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked_and_no_row_than_the_room(
            text in "[a-z節 é]{0,60}", limit in 2_usize..30,
            cells in proptest::collection::vec((1_usize..90, 1_usize..90), 1..8),
        ) {
            for line in wrapped(&text, limit) {
                prop_assert!(width(&line) <= limit, "{line:?}");
            }
            let natural: Vec<usize> = cells.iter().map(|(a, b)| *a.max(b)).collect();
            let least: Vec<usize> = cells.iter().map(|(a, b)| *a.min(b)).collect();
            prop_assert!(fitted(&natural, &least, 66).iter().sum::<usize>() <= 66);
        }
    }
}
