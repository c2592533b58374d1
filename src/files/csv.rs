//! Tables of numbers as comma-separated text, and rows of text with proper quoting.

use super::error::{FileError, Place, shorten};
use super::{Array, MAX_VALUES, open};
use std::borrow::Cow;
use std::io::{BufRead, Read};
use std::path::Path;

/// Longest line read, in bytes: half a million numbers with all their digits.
const MAX_LINE: u64 = 1 << 24;

/// Reads a table of numbers as an n x d array, one line a row.
///
/// Fields are separated by commas and may be quoted. Blank lines are skipped, line ends are LF or CRLF, and a byte
/// order mark is ignored. A first line without any number in it is a header and is skipped.
///
/// # Errors
/// Located as `file:line:field`: a field that is not a finite number, also in a first line that has numbers (one
/// spoilt value does not make a header, whose row would be lost silently); a row whose length differs from the
/// first one's. Also a file without rows, a line above 16 MiB, text that is not UTF-8, more than [`MAX_VALUES`]
/// values.
pub fn read_csv(path: impl AsRef<Path>) -> Result<Array, FileError> {
    let path = path.as_ref();
    parse(open(path)?.0, path, MAX_VALUES)
}

fn parse(mut reader: impl BufRead, path: &Path, limit: usize) -> Result<Array, FileError> {
    let mut values: Vec<f64> = Vec::new();
    let (mut rows, mut columns) = (0, None);
    let (mut line, mut bytes, mut first) = (0, Vec::new(), true);
    loop {
        bytes.clear();
        let read = reader.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut bytes);
        if read.map_err(|e| FileError::io(path, "read", &e))? == 0 {
            break;
        }
        line += 1;
        let refuse = |found: String, allowed: &str, remedy: &str| {
            FileError::new(path, Place::Line(line), found, allowed, remedy)
        };
        if bytes.len() as u64 > MAX_LINE {
            let allowed = format!("at most {MAX_LINE} bytes");
            return Err(refuse(
                "a longer line".into(),
                &allowed,
                "check that this is a table, or save it as .npy",
            ));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            refuse("bytes that are not UTF-8".into(), "UTF-8 text", "check that this is a table of numbers")
        })?;
        let text = if line == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        if text.trim().is_empty() {
            continue;
        }
        let may_be_header = std::mem::take(&mut first);
        if may_be_header && is_header(text) {
            continue;
        }
        let mut fields = 0;
        for field in Fields::of(text) {
            fields += 1;
            let value = number(&field, fields).map_err(|(found, allowed, remedy)| {
                let mut remedy = remedy.to_string();
                if may_be_header {
                    remedy.push_str(" (a header line has no numbers in it)");
                }
                FileError::new(path, Place::Field { line, field: fields }, found, allowed, remedy)
            })?;
            if values.len() >= limit {
                let allowed = format!("at most {limit} values");
                return Err(refuse("more values".into(), &allowed, "keep fewer samples, or split the file"));
            }
            let memory = |_| {
                refuse(
                    "no memory for more values".into(),
                    "a table that fits in memory",
                    "keep fewer samples",
                )
            };
            values.try_reserve(1).map_err(memory)?;
            values.push(value);
        }
        match *columns.get_or_insert(fields) {
            wanted if wanted == fields => rows += 1,
            wanted => {
                let allowed = format!("{wanted} fields, as in the first row");
                return Err(refuse(format!("{fields} fields"), &allowed, "complete or remove the row"));
            }
        }
    }
    match columns {
        Some(columns) => Ok(Array { shape: vec![rows, columns as usize], values }),
        None => {
            let remedy = "write one sample a line, its numbers separated by commas";
            Err(FileError::new(path, Place::Whole, "no rows of numbers", "at least one row", remedy))
        }
    }
}

/// Whether no field of the line is a number (NaN and infinities are numbers here).
fn is_header(line: &str) -> bool {
    Fields::of(line).all(|field| field.is_ok_and(|text| text.trim().parse::<f64>().is_err()))
}

type Complaint = (String, &'static str, &'static str);

fn number(field: &Result<Cow<'_, str>, &'static str>, position: u64) -> Result<f64, Complaint> {
    let text = match field {
        Ok(text) => text.trim(),
        Err(problem) => {
            return Err((problem.to_string(), "a field, or a quoted field", "correct the quotes"));
        }
    };
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => {
            let found = format!("found `{}`, which is not finite", shorten(text));
            Err((found, "finite numbers", "drop the row or fill the value in"))
        }
        Err(_) if text.is_empty() => {
            Err(("an empty field".into(), "a number", "drop the row or fill the value in"))
        }
        Err(_) if position == 1 && text.contains([';', '\t']) => {
            Err((format!("found `{}`", shorten(text)), "a number", "separate the fields by commas"))
        }
        Err(_) => {
            Err((format!("found `{}`", shorten(text)), "a number such as -1.5e-3", "correct the field"))
        }
    }
}

/// The fields of one line.
struct Fields<'a> {
    rest: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn of(line: &'a str) -> Self {
        Fields { rest: Some(line.trim_end_matches(['\r', '\n'])) }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Cow<'a, str>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let Some(quoted) = rest.trim_start().strip_prefix('"') else {
            let (field, after) = match rest.split_once(',') {
                Some((field, after)) => (field, Some(after)),
                None => (rest, None),
            };
            self.rest = after;
            return Some(Ok(Cow::Borrowed(field)));
        };
        // Two quotes stand for one; a single one ends the field.
        let (mut at, mut doubled) = (0, false);
        let end = loop {
            match quoted[at..].find('"') {
                None => return Some(Err("a quote that is not closed on its line")),
                Some(found) if quoted[at + found + 1..].starts_with('"') => {
                    doubled = true;
                    at += found + 2;
                }
                Some(found) => break at + found,
            }
        };
        let (field, after) = (&quoted[..end], quoted[end + 1..].trim_start());
        self.rest = match after.strip_prefix(',') {
            Some(after) => Some(after),
            None if after.is_empty() => None,
            None => return Some(Err("text after a closing quote")),
        };
        Some(Ok(if doubled { Cow::Owned(field.replace("\"\"", "\"")) } else { Cow::Borrowed(field) }))
    }
}

/// Rows of text as comma-separated lines (RFC 4180, but with LF line ends), for [`super::write_atomically`].
///
/// Fields that contain a comma, a quote, a line break or outer blanks are quoted, and so is the only field of a row
/// when it is empty, since a blank line is no row. The rows need not be of equal length.
pub fn csv_bytes<S: AsRef<str>, R: AsRef<[S]>>(rows: impl IntoIterator<Item = R>) -> Vec<u8> {
    let mut text = String::new();
    for row in rows {
        let row = row.as_ref();
        for (position, field) in row.iter().enumerate() {
            let field = field.as_ref();
            if position > 0 {
                text.push(',');
            }
            let alone_and_empty = row.len() == 1 && field.is_empty();
            if alone_and_empty || field.contains([',', '"', '\n', '\r']) || field.trim() != field {
                text.push('"');
                text.push_str(&field.replace('"', "\"\""));
                text.push('"');
            } else {
                text.push_str(field);
            }
        }
        text.push('\n');
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: impl AsRef<[u8]>) -> Result<Array, FileError> {
        parse(text.as_ref(), Path::new("x.csv"), 1000)
    }

    fn refusal(text: impl AsRef<[u8]>) -> String {
        read(text).expect_err("should be refused").to_string()
    }

    #[test]
    fn headers_blank_lines_crlf_quotes_spaces_and_a_missing_last_line_end_are_fine() {
        let wanted = Array { shape: vec![2, 2], values: vec![1.0, -2.5e-3, 3.0, 4.0] };
        for text in [
            "1,-2.5e-3\n3,4\n",
            "1,-2.5e-3\r\n3,4",
            "x,y\n1,-2.5e-3\n\n3,4\n\n",
            "\u{feff}\"a, b\",\"say \"\"c\"\"\"\n1,-2.5e-3\n3,4\n",
            "\n# x,y\n \"1\" , \"-2.5e-3\"\n +3. , 4.0 \n",
            ",name\n1,-0.0025\n3,4\n",
        ] {
            assert_eq!(read(text).unwrap(), wanted, "{text:?}");
        }
    }

    #[test]
    fn numbers_keep_every_bit() {
        let values = [0.1, 1.0 / 3.0, 5e-324, f64::MAX, -0.0];
        let rows: Vec<Vec<String>> = values.iter().map(|v| vec![format!("{v:?}")]).collect();
        let array = read(csv_bytes(&rows)).unwrap();
        assert_eq!(array.shape, [5, 1]);
        let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&array.values), bits(&values));
    }

    #[test]
    fn fields_that_are_not_finite_numbers_are_located() {
        for (text, start) in [
            ("1,2\n3,x\n", "x.csv:2:2: found `x`"),
            ("a,b\n1,2\n\n3,nan\n", "x.csv:4:2: found `nan`, which is not finite"),
            ("inf,2\n", "x.csv:1:1: found `inf`"),
            ("1,1e999\n", "x.csv:1:2: found `1e999`"),
            ("1,\n", "x.csv:1:2: an empty field"),
            ("1,2\n3;4\n", "x.csv:2:1: found `3;4`; allowed: a number; separate the fields by commas"),
            ("1,\"2\n", "x.csv:1:2: a quote that is not closed"),
            ("1,\"2\"3\n", "x.csv:1:2: text after a closing quote"),
        ] {
            let message = refusal(text);
            assert!(message.starts_with(start), "{message}");
        }
    }

    #[test]
    fn a_first_line_with_one_spoilt_number_is_not_taken_for_a_header() {
        let message = refusal("1.0,2.O\n3,4\n");
        assert!(message.starts_with("x.csv:1:2: found `2.O`"), "{message}");
        assert!(message.ends_with("(a header line has no numbers in it)"), "{message}");
    }

    #[test]
    fn only_the_first_line_can_be_a_header() {
        assert!(refusal("x,y\nx,y\n1,2\n").starts_with("x.csv:2:1:"));
    }

    #[test]
    fn ragged_rows_are_located_with_both_lengths() {
        for (text, start) in [
            ("1,2\n3\n", "x.csv:2: 1 fields; allowed: 2 fields"),
            ("1,2\n\n3,4,5\n", "x.csv:3: 3 fields; allowed: 2"),
        ] {
            let message = refusal(text);
            assert!(message.starts_with(start), "{message}");
        }
    }

    #[test]
    fn files_without_rows_or_text_or_with_too_much_of_either_are_refused() {
        for text in ["", "\n\n", "x,y\n"] {
            assert!(refusal(text).contains("no rows of numbers"));
        }
        assert!(refusal(b"1,2\n\xff\xfe\n").starts_with("x.csv:2: bytes that are not UTF-8"));
        assert!(refusal("1\n".repeat(1001)).starts_with("x.csv:1001: more values; allowed: at most 1000"));
        assert!(refusal(vec![b' '; MAX_LINE as usize + 1]).starts_with("x.csv:1: a longer line"));
    }

    #[test]
    fn written_rows_are_quoted_where_needed_and_nowhere_else() {
        let rows = [vec!["plain", "a,b", "say \"c\""], vec!["", "two\nlines", " blanks "], vec![""]];
        let text = String::from_utf8(csv_bytes(&rows)).unwrap();
        assert_eq!(text, "plain,\"a,b\",\"say \"\"c\"\"\"\n,\"two\nlines\",\" blanks \"\n\"\"\n");
    }

    #[test]
    fn what_is_written_on_one_line_is_read_back_field_by_field() {
        let row = ["plain", "a,b", "say \"c\"", "", " blanks ", "\"", "é"];
        let text = String::from_utf8(csv_bytes([row])).unwrap();
        let fields: Vec<String> = Fields::of(&text).map(|f| f.unwrap().into_owned()).collect();
        assert_eq!(fields, row);
    }
}
