//! What went wrong with a file, in a form that tells the reader what to do next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Where in a file something was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    Whole,
    /// A line of text, counted from 1.
    Line(u64),
    /// A field of a line, both counted from 1; shown as `file:line:field`.
    Field {
        /// Line, counted from 1.
        line: u64,
        /// Field within the line, counted from 1.
        field: u64,
    },
    /// A named part: the header, an array of an archive, a row and column.
    Part(String),
}

/// A file that cannot be read or written as asked.
///
/// Its `Display` is one line that names the file, where in it, what was found, what is allowed and the remedy.
/// It is one pointer in size, so that results stay small.
#[derive(Debug)]
pub struct FileError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    file: PathBuf,
    place: Place,
    found: String,
    allowed: String,
    remedy: String,
    kind: Option<io::ErrorKind>,
}

impl FileError {
    /// An error of the contents of `file`: what was found at `place`, what is allowed there, and what to do.
    pub fn new(
        file: impl Into<PathBuf>,
        place: Place,
        found: impl Into<String>,
        allowed: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (found, allowed, remedy) = (found.into(), allowed.into(), remedy.into());
        FileError(Box::new(Parts { file: file.into(), place, found, allowed, remedy, kind: None }))
    }

    /// An error that the operating system reported while `action` ("open", "write", ...) was tried on `file`.
    pub fn io(file: impl Into<PathBuf>, action: &str, error: &io::Error) -> Self {
        let (allowed, remedy) = match error.kind() {
            io::ErrorKind::NotFound => {
                ("a file that exists", "check the path and the folder it is relative to")
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                ("a path that this user may use", "change its permissions or choose another path")
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                ("a disk with room", "free some space or choose another folder")
            }
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                ("a folder, or a path where nothing is yet", "name another folder")
            }
            io::ErrorKind::UnexpectedEof => ("a file that is whole", "copy or write the file again"),
            _ => ("a file the operating system can serve", "check the path and the disk it is on"),
        };
        let mut made =
            FileError::new(file, Place::Whole, format!("cannot {action}: {error}"), allowed, remedy);
        made.0.kind = Some(error.kind());
        made
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.0.file
    }

    /// Where in the file.
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// What was found there.
    pub fn found(&self) -> &str {
        &self.0.found
    }

    /// What is allowed there.
    pub fn allowed(&self) -> &str {
        &self.0.allowed
    }

    /// What to do about it.
    pub fn remedy(&self) -> &str {
        &self.0.remedy
    }

    /// The operating system's reason, where it is the operating system that refused.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        self.0.kind
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { file, place, found, allowed, remedy, .. } = &*self.0;
        write!(f, "{}", file.display())?;
        match place {
            Place::Whole => {}
            Place::Line(line) => write!(f, ":{line}")?,
            Place::Field { line, field } => write!(f, ":{line}:{field}")?,
            Place::Part(part) => write!(f, ", {part}")?,
        }
        write!(f, ": {found}; allowed: {allowed}; {remedy}")
    }
}

impl std::error::Error for FileError {}

/// The file that a parser is working on and the part of it, so that its errors can say so.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    /// The array of an archive, or empty for the file itself.
    pub(super) array: &'a str,
}

impl Source<'_> {
    /// An error at `part` of this source (empty: the source as a whole).
    pub(super) fn error(
        &self,
        part: &str,
        found: impl Into<String>,
        allowed: impl Into<String>,
        remedy: impl Into<String>,
    ) -> FileError {
        let place = match (self.array, part) {
            ("", "") => Place::Whole,
            ("", part) => Place::Part(part.to_string()),
            (array, "") => Place::Part(format!("array `{}`", shorten(array))),
            (array, part) => Place::Part(format!("array `{}`, {part}", shorten(array))),
        };
        FileError::new(self.path, place, found, allowed, remedy)
    }

    /// The error of a read that failed in `part`: cut short, damaged, or refused by the operating system.
    pub(super) fn read_error(&self, part: &str, error: &io::Error) -> FileError {
        let remedy = "copy or write the file again";
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                self.error(part, "the data end too early", "a file that is whole", remedy)
            }
            // The decompressor's verdict on its input; no operating system error has these kinds on a read.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => self.error(
                part,
                format!("the compressed data are damaged ({error})"),
                "a file that is whole",
                remedy,
            ),
            _ => FileError::io(self.path, "read", error),
        }
    }
}

/// A text from a file as an error message may show it: at most 40 characters, control characters escaped.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut shown: String = text.chars().take(LONGEST).flat_map(|c| c.escape_debug()).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_file_place_finding_rule_and_remedy() {
        let place = Place::Field { line: 3, field: 2 };
        let error = FileError::new("x.csv", place, "found \"a\"", "a number", "correct the field");
        assert_eq!(error.to_string(), "x.csv:3:2: found \"a\"; allowed: a number; correct the field");
        let part = Source { path: Path::new("r.npz"), array: "W1" }
            .error("header", "no shape", "a shape", "save it");
        assert_eq!(part.to_string(), "r.npz, array `W1`, header: no shape; allowed: a shape; save it");
    }

    #[test]
    fn a_refusal_by_the_operating_system_keeps_its_kind_and_names_a_remedy() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = FileError::io("x.npy", "open", &denied);
        assert_eq!(error.io_kind(), Some(io::ErrorKind::PermissionDenied));
        assert!(error.to_string().contains("change its permissions"), "{error}");
    }

    #[test]
    fn what_a_file_says_is_shown_short_and_without_control_characters() {
        assert_eq!(shorten("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(shorten(&"x".repeat(50)), format!("{}…", "x".repeat(40)));
    }
}
