//! Reads a TOML file into a tree that remembers where everything stands.

use super::keys::Key;
use super::paths::{Target, assign, find};
use super::place::{Place, Source};
use super::problem::{Problem, shortened};
use super::sweep::{Assignment, ZIP, forget_swept, forget_zip};
use super::tree::{Entries, Node, Value, entries_from_toml};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// Largest experiment file that is read, in bytes. Data belong in files of their own.
pub const SIZE_LIMIT: usize = 1 << 20;

/// A parsed TOML file, not yet validated.
#[derive(Clone, Debug)]
pub struct Document {
    pub(super) root: Entries,
    /// The first line: what is missing at the root is missing there.
    pub(super) place: Place,
    pub(super) folder: Arc<Path>,
    /// What the sweep has put into this cell, to be named in errors.
    pub(super) cell: Vec<Assignment>,
}

impl Document {
    /// Reads and parses a file. Refuses what is not a readable file, not UTF-8, not TOML, or over
    /// [`SIZE_LIMIT`].
    pub fn read(path: impl AsRef<Path>) -> Result<Document, Problem> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let refused = |message: String| Problem::new(message).in_file(name.as_str());
        if path.is_dir() {
            return Err(refused("this is a folder; give the path of a TOML file".into()));
        }
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(SIZE_LIMIT as u64 + 1).read_to_end(&mut bytes)).map_err(
            |error| match error.kind() {
                ErrorKind::NotFound => refused("no such file".into()),
                _ => refused(format!("cannot be read: {error}")),
            },
        )?;
        if bytes.len() > SIZE_LIMIT {
            return Err(too_large(&name));
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let bad = error.as_bytes()[at];
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let (text, at) = match text.strip_prefix('\u{feff}') {
                    Some(rest) => (rest.to_string(), at.saturating_sub('\u{feff}'.len_utf8())),
                    None => (text, at),
                };
                let source = Arc::new(Source { name, text, is_file: true });
                let place = Place::new(&source, at..at + '\u{fffd}'.len_utf8());
                let message = format!("the byte 0x{bad:02X} is not UTF-8, which TOML files must be");
                return Err(Problem::at(&place, message).help("save the file as UTF-8"));
            }
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        Document::parse(&name, folder, &text)
    }

    /// Parses a text. `name` stands for it in errors; relative paths in it are taken from `folder`.
    pub fn parse(name: &str, folder: &Path, text: &str) -> Result<Document, Problem> {
        if text.len() > SIZE_LIMIT {
            return Err(too_large(name));
        }
        let folder = std::path::absolute(folder).map_err(|error| {
            Problem::new(format!("its folder {} cannot be used: {error}", folder.display())).in_file(name)
        })?;
        // Without the byte order mark, columns of the first line are what an editor shows.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_string();
        let source = Arc::new(Source { name: name.to_string(), text, is_file: true });
        let table = DeTable::parse(&source.text).map_err(|error| toml_problem(&source, 0, &error))?;
        Ok(Document {
            root: entries_from_toml(&source, 0, table.get_ref()),
            place: Place::new(&source, 0..0),
            folder: PathBuf::into_boxed_path(folder).into(),
            cell: Vec::new(),
        })
    }

    /// The text that was parsed, and the name that stands for it in errors.
    pub fn text(&self) -> (&str, &str) {
        let source = self.place.source();
        (&source.text, &source.name)
    }

    /// Whether the root has this key.
    pub fn has(&self, key: &str) -> bool {
        self.root.iter().any(|entry| entry.key == key)
    }

    /// Applies the text of one `--set`: a key path, `=`, and a TOML value. A word that is not TOML is taken as a
    /// string, so that `loss.kind=infonce-dot` needs no quotes. A key that is swept, alone or in a zip, is no
    /// longer swept when it is set; `sweep.KEY` and `sweep.zip.KEY` give it another list, in place of any other.
    /// Relative paths count from the folder of the file, as if they stood in it.
    pub fn set(&mut self, root: &'static [Key], text: &str) -> Result<(), Problem> {
        let name = format!("{}: --set {}", self.place.source().name, shortened(text));
        if text.len() > SIZE_LIMIT {
            return Err(too_large(&name));
        }
        let source = Arc::new(Source { name, text: text.to_string(), is_file: false });
        let whole = Place::new(&source, 0..text.len());
        let Some(equals) = text.find('=') else {
            return Err(Problem::at(
                &whole,
                "there is no `=`; allowed: key=value, such as augment.variance=0.5",
            ));
        };
        let trimmed = |from: usize, to: usize| {
            let part = &text[from..to];
            let start = from + part.len() - part.trim_start().len();
            start..start + part.trim().len()
        };
        let key_span = trimmed(0, equals);
        let value_span = trimmed(equals + 1, text.len());
        let key_place = Place::new(&source, key_span.clone());
        let value_place = Place::new(&source, value_span.clone());
        let (key, value) = (&text[key_span], &text[value_span.clone()]);
        if value.is_empty() {
            return Err(Problem::at(&value_place, format!("`{}` is given no value", shortened(key))));
        }
        let segments: Vec<&str> = key.split('.').collect();
        let target = find(root, &segments, &key_place)?;
        let node = match DeValue::parse(value) {
            Ok(parsed) => Node::from_toml(&source, value_span.start, &parsed),
            Err(_) if is_word(value) => Node { place: value_place, value: Value::Text(value.to_string()) },
            Err(error) => return Err(toml_problem(&source, value_span.start, &error)),
        };
        if target == Target::Sweep {
            let sweep = segments[0];
            match segments[1..] {
                [] => {}
                [ZIP] => forget_zip(root, &mut self.root, &node),
                [ZIP, ref zipped @ ..] => {
                    let zipped = zipped.join(".");
                    forget_swept(root, &mut self.root, &zipped);
                    return assign(root, &mut self.root, &[sweep, ZIP, &zipped], node, &key_place);
                }
                ref swept => {
                    let swept = swept.join(".");
                    forget_swept(root, &mut self.root, &swept);
                    return assign(root, &mut self.root, &[sweep, &swept], node, &key_place);
                }
            }
            return assign(root, &mut self.root, &segments, node, &key_place);
        }
        forget_swept(root, &mut self.root, key);
        assign(root, &mut self.root, &segments, node, &key_place)
    }

    /// Adds to a problem which cell of the sweep it concerns.
    pub(super) fn in_cell(&self, problem: Problem) -> Problem {
        if self.cell.is_empty() {
            return problem;
        }
        let values: Vec<String> =
            self.cell.iter().map(|a| format!("{} = {}", a.key, shortened(&a.value))).collect();
        problem.note(format!("in the cell of the sweep where {}", values.join(", ")))
    }
}

/// Nothing of such a file is kept, so its place is its beginning.
fn too_large(name: &str) -> Problem {
    Problem::new("this is larger than an experiment file may be; allowed: at most 1 MiB")
        .in_file(format!("{name}:1:1"))
        .help("keep data in a file of its own and give its path")
}

fn toml_problem(source: &Arc<Source>, shift: usize, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let place = Place::new(source, span.start + shift..span.end + shift);
    let mut message = format!("this is not TOML: {}", error.message());
    if error.message() == "duplicate key" {
        message = format!("the key `{}` is given twice", shortened(place.text()));
    }
    Problem::at(&place, message)
}

/// Whether a `--set` value without quotes can only be meant as a string.
fn is_word(value: &str) -> bool {
    !value.starts_with(['"', '\'', '[', '{']) && !value.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::example::{GOOD, ROOT, accepted, good_but, parse, refused};
    use std::time::{Duration, Instant};

    fn after(sets: &[&str]) -> Result<crate::settings::Settings, Problem> {
        let mut document = parse(GOOD)?;
        for text in sets {
            document.set(ROOT, text)?;
        }
        document.validate(ROOT)
    }

    #[track_caller]
    fn set_refused(sets: &[&str], parts: &[&str]) {
        let shown = after(sets).map(|_| ()).expect_err("this should be refused").to_string();
        for part in parts {
            assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
        }
    }

    #[test]
    fn set_replaces_adds_and_creates_tables_on_the_way() -> Result<(), Problem> {
        let settings = after(&[
            "augment.variance=0.5",
            " repeats = 3 ",
            "encoder.projector.width=7",
            "title=plain words",
            "encoder.widths=[4, 2, 4]",
        ])?;
        assert_eq!(settings.table("augment").number("variance"), 0.5);
        assert_eq!(settings.integer("repeats"), 3);
        assert_eq!(settings.table("encoder").table("projector").integer("width"), 7);
        assert_eq!(settings.text("title"), "plain words");
        assert_eq!(settings.table("encoder").integers("widths"), [4, 2, 4]);
        assert_eq!(after(&["seed=1", "seed=2"])?.integer("seed"), 2, "the last one holds");
        Ok(())
    }

    #[test]
    fn set_inside_an_absent_table_starts_from_its_default() -> Result<(), Problem> {
        let settings = after(&["data.covariance.variance=2"])?;
        assert_eq!(settings.table("data").table("covariance").kind(), "isotropic");
        let other = after(&["data.covariance.exponent=2", "data.covariance.kind=power-law"])?;
        assert_eq!(other.table("data").table("covariance").number("exponent"), 2.0);
        Ok(())
    }

    #[test]
    fn set_replaces_a_whole_table() -> Result<(), Problem> {
        let settings = after(&["augment={ kind = 'isotropic', variance = 2, sides = 'two' }"])?;
        assert_eq!(settings.table("augment").kind(), "isotropic");
        Ok(())
    }

    #[test]
    fn set_of_an_unknown_key_lists_what_is_allowed_where_the_path_went_wrong() {
        set_refused(
            &["augment.varaince=1"],
            &[
                "a.toml: --set augment.varaince=1: error: unknown key `varaince` in `augment`; allowed: kind, variance, sides, block",
                "did you mean `variance`?",
            ],
        );
        set_refused(&["agment.variance=1"], &["unknown key `agment`; allowed: title, claims, seed"]);
        set_refused(&["seed.x=1"], &["`seed` is not a table"]);
        set_refused(&["=1"], &["unknown key ``"]);
    }

    #[test]
    fn set_of_a_wrong_value_is_located_in_its_own_text() {
        set_refused(
            &["augment.variance=-1"],
            &[
                "a.toml: --set augment.variance=-1: error: `augment.variance` = -1 is refused; allowed: a number greater than 0",
                "augment.variance=-1\n  |                  ^^",
            ],
        );
        set_refused(&["data.samples=0,5"], &["the string \"0,5\""]);
        set_refused(&["seed"], &["there is no `=`"]);
        set_refused(&["seed="], &["`seed` is given no value"]);
        set_refused(
            &["encoder.widths=[1, 2"],
            &["a.toml: --set encoder.widths=[1, 2: error: this is not TOML"],
        );
        set_refused(&["encoder.widths=[1, 2] 3"], &["this is not TOML"]);
        set_refused(&["augment={ kind = 'block' } }"], &["this is not TOML"]);
        set_refused(&["seed=1\nrepeats=3"], &["--set"]);
    }

    #[test]
    fn set_of_a_kind_that_does_not_fit_the_other_keys_is_refused() {
        set_refused(
            &["augment.kind=isotropic"],
            &["a.toml:4:29: error: unknown key `block`", "chosen at a.toml: --set augment.kind=isotropic"],
        );
    }

    #[test]
    fn set_cannot_reach_into_an_array_of_tables() -> Result<(), Problem> {
        let mut document = parse(&(GOOD.to_string() + "figure = [{ kind = \"loss\" }]"))?;
        let shown = document.set(ROOT, "figure.of=x").expect_err("refused").to_string();
        assert!(shown.contains("give the whole of `figure` instead"), "{shown}");
        Ok(())
    }

    #[test]
    fn toml_errors_keep_their_place() {
        assert!(
            refused("seed = 1\nseed = 2\n").starts_with("a.toml:2:1: error: the key `seed` is given twice")
        );
        assert!(refused("seed = 1\nx = [1,\n").starts_with("a.toml:"));
        assert!(refused("seed = = 1").starts_with("a.toml:1:8: error: this is not TOML"));
        assert!(refused("a\n").starts_with("a.toml:1:2: error: this is not TOML"));
        assert!(refused("title = \"open\n").starts_with("a.toml:1:"));
    }

    #[test]
    fn windows_line_ends_and_a_byte_order_mark_are_accepted_and_not_counted() {
        let text = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
        assert_eq!(accepted(&text), accepted(GOOD));
        let wrong = format!("\u{feff}x = 1\r\n{}", GOOD.replace('\n', "\r\n"));
        assert!(refused(&wrong).starts_with("a.toml:1:1: error: unknown key `x`"));
        let later = GOOD.replace("sides = \"one\"", "sides = \"three\"").replace('\n', "\r\n");
        assert!(refused(&later).starts_with("a.toml:4:64: error"), "{}", refused(&later));
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        let text = good_but("title = \"An example\"", "observe.\"é\" = 1");
        assert!(refused(&text).starts_with("a.toml:1:9: error: unknown key `é` in `observe`"));
        let text = good_but("\"block\", block = 8", "\"block\", \"λλλ\" = 1, block = 0");
        assert!(refused(&text.replace("\"λλλ\" = 1, ", "")).starts_with("a.toml:4:37"));
    }

    #[test]
    fn deep_nesting_is_refused_without_exhausting_the_stack() {
        let start = Instant::now();
        for text in [
            format!("x = {}{}", "[".repeat(10_000), "]".repeat(10_000)),
            format!("x = {}", "[".repeat(1_000_000)),
            format!("x = {}1{}", "{a=".repeat(10_000), "}".repeat(10_000)),
            format!("{}a = 1", "a.".repeat(10_000)),
            format!("[{}a]\nb = 1", "a.".repeat(10_000)),
            format!("{}\n", "[".repeat(1_000_000)),
        ] {
            let shown = refused(&text);
            assert!(shown.starts_with("a.toml:1:"), "{shown}");
            assert!(shown.lines().all(|line| line.chars().count() < 200), "{shown}");
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }

    #[test]
    fn no_line_of_an_error_is_longer_than_a_wide_terminal() {
        for text in [
            format!("x{} = 1", "x".repeat(100_000)),
            format!("title = \"{}\"\nseed = \"{}\"", "a".repeat(100_000), "\\t界".repeat(50_000)),
            format!("seed = \"{}\" x", "界".repeat(50_000)),
            format!("{}= 1", "\t".repeat(100_000)),
        ] {
            let shown = refused(&text);
            assert!(shown.lines().all(|line| line.chars().count() < 200), "{shown}");
        }
        let shown = parse(GOOD)
            .and_then(|mut d| d.set(ROOT, &format!("x{}=1", "y".repeat(9999))))
            .expect_err("refused");
        assert!(shown.to_string().lines().all(|line| line.chars().count() < 300), "{shown}");
    }

    #[test]
    fn files_that_cannot_be_read_are_refused_by_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shown = |path: &Path| Document::read(path).expect_err("refused").to_string();
        assert!(shown(folder.path()).ends_with("error: this is a folder; give the path of a TOML file"));
        let missing = folder.path().join("missing.toml");
        assert_eq!(shown(&missing), format!("{}: error: no such file", missing.display()));
    }

    #[test]
    fn a_file_over_the_limit_is_refused_at_once_and_not_printed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("large.toml");
        std::fs::write(&path, vec![b'a'; 100_000_000]).expect("written");
        let start = Instant::now();
        let shown = Document::read(&path).expect_err("refused").to_string();
        assert!(start.elapsed() < Duration::from_secs(2));
        assert!(
            shown.contains(
                ":1:1: error: this is larger than an experiment file may be; allowed: at most 1 MiB"
            ) && shown.len() < 1000,
            "{shown}"
        );
        assert!(parse(&" ".repeat(SIZE_LIMIT)).is_ok() && parse(&" ".repeat(SIZE_LIMIT + 1)).is_err());
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_shown_with_their_place() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("bad.toml");
        for start in [&b""[..], b"\xEF\xBB\xBF"] {
            let bytes = [start, b"seed = 1\ntitle = \"\xC3\xA9\xFFx\"\n"].concat();
            std::fs::write(&path, bytes).expect("written");
            let shown = Document::read(&path).expect_err("refused").to_string();
            assert!(shown.contains("bad.toml:2:11: error: the byte 0xFF is not UTF-8"), "{shown}");
        }
    }

    #[test]
    fn a_file_that_is_read_resolves_paths_against_its_own_folder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.toml");
        let text = good_but(
            "{ kind = \"gaussian\", dim = 16, samples = 1024 }",
            "{ kind = \"file\", path = \"x.npy\" }",
        );
        std::fs::write(&path, text).expect("written");
        let settings = Document::read(&path).and_then(|document| document.validate(ROOT)).expect("accepted");
        assert_eq!(settings.table("data").path("path"), folder.path().join("x.npy"));
    }
}
