//! Errors that show the place and say what would be right.

use super::place::Place;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::fmt;

/// A reason why a file or a `--set` was refused.
///
/// Displayed, its first line is `file:line:column: error: message`; below it stands the line of the file with the
/// place marked, and what to do about it.
#[derive(Clone)]
pub struct Problem(Box<Detail>);

#[derive(Clone)]
struct Detail {
    message: String,
    file: Option<String>,
    place: Option<Place>,
    help: Vec<String>,
    notes: Vec<String>,
}

impl Problem {
    /// A problem without a place.
    pub fn new(message: impl Into<String>) -> Problem {
        let message = message.into();
        Problem(Box::new(Detail { message, file: None, place: None, help: Vec::new(), notes: Vec::new() }))
    }

    /// A problem of the text at `place`.
    pub(super) fn at(place: &Place, message: impl Into<String>) -> Problem {
        let mut problem = Problem::new(message);
        problem.0.place = Some(place.clone());
        problem
    }

    /// Names the file of a problem that has no place in it.
    #[must_use]
    pub fn in_file(mut self, name: impl Into<String>) -> Problem {
        self.0.file = Some(name.into());
        self
    }

    /// Adds a remedy.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Problem {
        self.0.help.push(text.into());
        self
    }

    /// Adds something worth knowing that is not a remedy.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Problem {
        self.0.notes.push(text.into());
        self
    }

    /// What is wrong, without place and remedy.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Line and column in the file, counted from 1, in characters; none for a `--set` or the file as a whole.
    pub fn line_and_column(&self) -> Option<(usize, usize)> {
        self.0.place.as_ref().filter(|place| place.source().is_file).map(Place::line_and_column)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Detail { message, file, place, help, notes } = &*self.0;
        let label = place.as_ref().map(Place::label).or_else(|| file.clone());
        if let Some(label) = label {
            write!(f, "{}: ", printable(&label))?;
        }
        write!(f, "error: {}", printable(message))?;
        let mut group = Group::with_level(Level::ERROR);
        if let Some(place) = place {
            let (line, span) = place.excerpt();
            let snippet = Snippet::source(line)
                .line_start(place.line_and_column().0)
                .annotation(AnnotationKind::Primary.span(span));
            group = group.element(snippet);
        }
        for text in help {
            group = group.element(Level::HELP.message(printable(text)));
        }
        for text in notes {
            group = group.element(Level::NOTE.message(printable(text)));
        }
        if !group.is_empty() {
            // Lines are cut to size already; the renderer is kept from cutting them again.
            let rendered = Renderer::plain().term_width(1000).render(&[group]);
            write!(f, "\n{rendered}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Problem {}

/// `text` with control characters made visible, so that no file can steer the terminal.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// `text` cut to what an error message can hold.
pub fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_string(),
    }
}

/// The name among `allowed` that `given` was most likely meant to be.
pub fn meant<'a>(given: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer than any declared name, and short enough to compare at once.
    const LONGEST: usize = 64;
    let given: Vec<char> = given.chars().take(LONGEST + 1).collect();
    if given.len() > LONGEST {
        return None;
    }
    // One slip in four letters, and one more: what differs by more than that is another word.
    let limit = 1 + given.len() / 4;
    allowed
        .into_iter()
        .map(|name| (edit_distance(&given, &name.chars().collect::<Vec<_>>()), name))
        .filter(|(distance, name)| *distance <= limit && *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Fewest insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
fn edit_distance(one: &[char], other: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let replaced = last[j - 1] + usize::from(one[i - 1] != other[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                best = best.min(before_last[j - 2] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::place::Source;
    use std::sync::Arc;

    #[test]
    fn the_first_line_is_for_editors_and_the_excerpt_marks_the_value() {
        let text = "seed = 1\nrepeats = 0\n";
        let source = Arc::new(Source { name: "a.toml".into(), text: text.into(), is_file: true });
        let problem = Problem::at(&Place::new(&source, 19..20), "`repeats` = 0 is too small").help("use 1");
        let shown = problem.to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "a.toml:2:11: error: `repeats` = 0 is too small");
        assert!(shown.contains("2 | repeats = 0\n  |           ^"), "{shown}");
        assert!(shown.contains("= help: use 1"), "{shown}");
    }

    #[test]
    fn a_problem_of_the_whole_file_names_it() {
        assert_eq!(Problem::new("no such file").in_file("a.toml").to_string(), "a.toml: error: no such file");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert!(
            !Problem::new("\u{1b}[2J\nx").in_file("a\u{7}").to_string().contains(['\u{1b}', '\u{7}', '\n'])
        );
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_another_word_is_not() {
        let names = ["variance", "variances", "block", "sides"];
        assert_eq!(meant("varaince", names), Some("variance"));
        assert_eq!(meant("blok", names), Some("block"));
        assert_eq!(meant("temperature", names), None);
        assert_eq!(meant("x", ["b"]), None);
        assert_eq!(meant(&"v".repeat(100_000), names), None);
    }
}
