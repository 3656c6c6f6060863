//! Text from outside, made safe to show, and folded to a width.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The text with everything that could move a cursor, hide or reorder letters, or break a line written as an escape
/// (`\u{202e}`). Letters of every script stay.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if hidden(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// JSON with the same characters of its strings written as JSON's own escapes, which every reader undoes.
#[must_use]
pub fn json(text: String) -> String {
    if !text.contains(|character| hidden(character) && character != '\n') {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 64);
    for character in text.chars() {
        // Outside of strings JSON has no such character but the line end.
        if hidden(character) && character != '\n' {
            for unit in character.encode_utf16(&mut [0; 2]) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Control characters, marks of direction, characters of no width, separators of lines, tags, and private or unassigned
/// specials.
fn hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}')
}

/// The text in at most so many letters, its end left out.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let mut letters = text.chars();
    let head: String = letters.by_ref().take(most).collect();
    match letters.next() {
        None => head,
        Some(_) => head.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Columns that the text takes in a terminal.
#[must_use]
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The text in lines of at most `room` columns, broken at blanks; a longer word is cut.
pub(super) fn fold(text: &str, room: usize) -> Vec<String> {
    fold_after(text, room, room)
}

/// The same with another room in the first line.
pub(super) fn fold_after(text: &str, first: usize, others: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    // Columns of the last line, counted on: measuring it anew for every letter would cost the square of a long word.
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let room = if lines.len() == 1 { first } else { others };
        if used > 0 && used + 1 + width(word) <= room {
            push(&mut lines, ' ');
            used += 1;
        } else if used > 0 {
            lines.push(String::new());
            used = 0;
        }
        for character in word.chars() {
            let room = if lines.len() == 1 { first } else { others };
            let more = UnicodeWidthChar::width(character).unwrap_or(0);
            if used > 0 && used + more > room {
                lines.push(String::new());
                used = 0;
            }
            push(&mut lines, character);
            used += more;
        }
    }
    lines
}

fn push(lines: &mut [String], character: char) {
    if let Some(line) = lines.last_mut() {
        line.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::{fold, printable, width};

    #[test]
    fn what_moves_or_hides_is_shown() {
        assert_eq!(printable("a\u{1b}[31mb\u{202e}c\nd"), "a\\u{1b}[31mb\\u{202e}c\\u{a}d");
        assert_eq!(
            printable("\u{200b}\u{feff}\u{2066}\u{e0041}\u{9b}"),
            "\\u{200b}\\u{feff}\\u{2066}\\u{e0041}\\u{9b}"
        );
        assert_eq!(printable("솔라 GLM-4.5 é ✓"), "솔라 GLM-4.5 é ✓");
    }

    #[test]
    fn lines_fit() {
        assert_eq!(fold("one two  three", 7), ["one two", "three"]);
        assert_eq!(fold("unbreakable", 4), ["unbr", "eaka", "ble"]);
        assert_eq!(fold("", 4), [""]);
        for line in fold("가나다라 마바사아자차카타파하", 9) {
            assert!(width(&line) <= 9, "{line}");
        }
    }
}
