//! Words of others, such as a search engine's, before people see them.

/// The text on one line: what moves a terminal's cursor, begins a line or turns the direction of writing round becomes a space.
pub fn one_line(text: &str) -> String {
    text.chars().map(plain).collect()
}

/// The first so many characters of it; where there are more the last one is `…`.
pub fn bounded(text: &str, limit: usize) -> String {
    let mut line: String = text.chars().take(limit).map(plain).collect();
    if text.chars().nth(limit).is_some() {
        line.pop();
        line.push('…');
    }
    line
}

fn plain(c: char) -> char {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}') {
        true => ' ',
        false => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_draws() {
        assert_eq!(one_line("a\u{1b}[2J\r\nb\u{9b}\u{202e}\u{2028}ü\t\0…"), "a [2J  b   ü  …");
    }

    #[test]
    fn what_is_longer_is_cut_between_characters() {
        assert_eq!(bounded("üüüü", 4), "üüüü");
        assert_eq!(bounded("üüüüü", 4), "üüü…");
        assert_eq!(bounded("a\nb", 2), "a…");
    }
}
