//! Where in a text something stands.

use std::ops::Range;
use std::sync::Arc;

/// A text that keys and values come from: the experiment file, or the text of one `--set`.
#[derive(Debug)]
pub(super) struct Source {
    /// The name that errors give.
    pub name: String,
    /// The text that places refer to.
    pub text: String,
    /// Whether lines and columns mean anything to the reader; they do not for `--set`.
    pub is_file: bool,
}

/// A range of bytes in a source. Small, because every value of every cell of a sweep carries one.
#[derive(Clone, Debug)]
pub(super) struct Place {
    source: Arc<Source>,
    start: u32,
    end: u32,
}

impl Place {
    /// The place of `span`, clipped to the text.
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Place {
        let clip = |mut at: usize| {
            at = at.min(source.text.len());
            while !source.text.is_char_boundary(at) {
                at -= 1;
            }
            u32::try_from(at).unwrap_or(u32::MAX)
        };
        let start = clip(span.start);
        Place { source: Arc::clone(source), start, end: clip(span.end).max(start) }
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    pub fn start(&self) -> usize {
        self.start as usize
    }

    /// The text that stands there.
    pub fn text(&self) -> &str {
        &self.source.text[self.start()..self.end as usize]
    }

    /// Line and column, counted from 1, in characters.
    pub fn line_and_column(&self) -> (usize, usize) {
        let before = &self.source.text[..self.start()];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }

    /// The beginning of an error message: `file.toml:3:14`, or the text of the `--set`.
    pub fn label(&self) -> String {
        if !self.source.is_file {
            return self.source.name.clone();
        }
        let (line, column) = self.line_and_column();
        format!("{}:{line}:{column}", self.source.name)
    }

    /// The line it stands in, cut to what fits a terminal, and the range of bytes to underline in it.
    pub fn excerpt(&self) -> (String, Range<usize>) {
        /// Characters of a line that are shown; with wide characters and the margin this stays below 200 columns.
        const SHOWN: usize = 90;
        /// Characters of a cut line that are shown before the place itself.
        const BEFORE: usize = 30;

        let text = &self.source.text;
        let line_start = text[..self.start()].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[line_start..].find('\n').map_or(text.len(), |at| line_start + at);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let start = text[line_start..self.start()].chars().count();
        let end_byte = (self.end as usize).min(line_start + line.len()).max(self.start());
        let marked = text[self.start()..end_byte].chars().count().max(1);
        let count = line.chars().count();

        let from = if count <= SHOWN { 0 } else { start.saturating_sub(BEFORE) };
        let mut shown = String::new();
        let mut span = 0..0;
        if from > 0 {
            shown.push('…');
        }
        for (at, character) in line.chars().enumerate().skip(from).take(SHOWN) {
            if at == start {
                span.start = shown.len();
            }
            // One column for one character, whatever the character.
            let plain = if character == '\t' { ' ' } else { character };
            shown.push(if plain.is_control() { '\u{fffd}' } else { plain });
            if at < start + marked && at >= start {
                span.end = shown.len();
            }
        }
        if from + SHOWN < count {
            shown.push('…');
        }
        if start >= count {
            // At the end of the line, where something is missing: underline one space there.
            span.start = shown.len();
            shown.push(' ');
            span.end = shown.len();
        }
        (shown, span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<Source> {
        Arc::new(Source { name: "a.toml".into(), text: text.into(), is_file: true })
    }

    #[test]
    fn columns_count_characters_from_one() {
        let source = source("first\n\"λμ\" = x\n");
        let at = source.text.find('x').unwrap_or(0);
        assert_eq!(Place::new(&source, at..at + 1).line_and_column(), (2, 8));
        assert_eq!(Place::new(&source, 0..0).line_and_column(), (1, 1));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let long = format!("{}X{}", "a".repeat(5000), "b".repeat(5000));
        let (shown, span) = Place::new(&source(&long), 5000..5001).excerpt();
        assert!(shown.chars().count() <= 92, "{shown}");
        assert_eq!(&shown[span], "X");
    }

    #[test]
    fn a_place_past_the_end_or_inside_a_character_is_clipped() {
        let source = source("é");
        assert_eq!(Place::new(&source, 1..99).text(), "é");
        assert_eq!(Place::new(&source, 99..99).line_and_column(), (1, 2));
    }
}
