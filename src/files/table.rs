//! Tables: named columns of one length, and the formats that they are written in.

use super::csv::csv_bytes;
use super::error::FileError;
use super::npz::{NpzArray, npz_bytes};
use std::collections::HashSet;

/// The values of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Texts; an empty one is missing.
    Texts(Vec<String>),
    /// Truth values.
    Flags(Vec<bool>),
    /// Whole numbers, or none.
    Integers(Vec<Option<i64>>),
    /// Numbers; what is missing is not a number.
    Numbers(Vec<f64>),
}

impl Column {
    /// Whole numbers if all texts are such, numbers if all are, truth values if all are `true` or `false`, texts otherwise. Empty
    /// texts are missing and fit numbers of both kinds.
    pub fn of_texts(texts: Vec<String>) -> Column {
        let all = |fits: &dyn Fn(&str) -> bool| texts.iter().all(|text| text.is_empty() || fits(text));
        if texts.iter().all(String::is_empty) {
            Column::Texts(texts)
        } else if all(&|text| text.parse::<i64>().is_ok_and(|integer| integer.to_string() == text)) {
            Column::Integers(texts.iter().map(|text| text.parse().ok()).collect())
        } else if all(&is_number) {
            Column::Numbers(texts.iter().map(|text| text.parse().unwrap_or(f64::NAN)).collect())
        } else if texts.iter().all(|text| matches!(text.as_str(), "true" | "false")) {
            Column::Flags(texts.iter().map(|text| text == "true").collect())
        } else {
            Column::Texts(texts)
        }
    }

    /// How many values it has.
    pub fn len(&self) -> usize {
        match self {
            Column::Texts(texts) => texts.len(),
            Column::Flags(flags) => flags.len(),
            Column::Integers(integers) => integers.len(),
            Column::Numbers(numbers) => numbers.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of its values, in the order of these indices, which may repeat.
    ///
    /// # Panics
    /// An index is not below [`Column::len`].
    pub fn at(&self, indices: &[usize]) -> Column {
        match self {
            Column::Texts(texts) => Column::Texts(indices.iter().map(|&at| texts[at].clone()).collect()),
            Column::Flags(flags) => Column::Flags(indices.iter().map(|&at| flags[at]).collect()),
            Column::Integers(integers) => Column::Integers(indices.iter().map(|&at| integers[at]).collect()),
            Column::Numbers(numbers) => Column::Numbers(indices.iter().map(|&at| numbers[at]).collect()),
        }
    }

    /// A value as text; empty where it is missing.
    fn text(&self, at: usize) -> String {
        match self {
            Column::Texts(texts) => texts[at].clone(),
            Column::Flags(flags) => flags[at].to_string(),
            Column::Integers(integers) => {
                integers[at].map_or_else(String::new, |integer| integer.to_string())
            }
            Column::Numbers(numbers) if numbers[at].is_nan() => String::new(),
            Column::Numbers(numbers) => format!("{:?}", numbers[at]),
        }
    }
}

/// Whether a text is a number as programs write them: no word, such as `nan` or `inf`, and no digits of a name, such as `007`.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_padded = digits.starts_with('0') && digits[1..].starts_with(|c: char| c.is_ascii_digit());
    digits.starts_with(|c: char| c.is_ascii_digit()) && !is_padded && text.parse::<f64>().is_ok()
}

/// Named columns of one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    columns: Vec<(String, Column)>,
    names: HashSet<String>,
}

impl Table {
    /// Adds a column; where another one has its name, with a prime after it.
    ///
    /// # Panics
    /// The other columns have another length.
    pub fn push(&mut self, name: impl Into<String>, column: Column) {
        let mut name = name.into();
        let fits = self.columns.is_empty() || self.rows() == column.len();
        assert!(fits, "the column {name} does not fit into its table");
        while !self.names.insert(name.clone()) {
            name.push('\'');
        }
        self.columns.push((name, column));
    }

    /// The columns in their order.
    pub fn columns(&self) -> &[(String, Column)] {
        &self.columns
    }

    /// How many values each column has.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| column.len())
    }

    /// The names as a line of comma-separated values.
    pub(super) fn csv_header(&self) -> Vec<u8> {
        csv_bytes([self.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>()])
    }

    /// The rows as comma-separated values, as in [`csv_bytes`]; what is missing is empty.
    pub(super) fn csv_rows(&self) -> Vec<u8> {
        let row = |at: usize| self.columns.iter().map(|(_, column)| column.text(at)).collect::<Vec<_>>();
        csv_bytes((0..self.rows()).map(row))
    }

    /// Comma-separated values with a header, as in [`csv_bytes`]; what is missing is empty.
    pub fn csv_bytes(&self) -> Vec<u8> {
        [self.csv_header(), self.csv_rows()].concat()
    }

    /// An archive with an array a column, as in [`npz_bytes`], and `more` arrays: texts, whole numbers where none is missing, numbers.
    ///
    /// # Errors
    /// Those of [`npz_bytes`].
    pub fn npz_bytes(&self, more: &[(&str, NpzArray<'_>)]) -> Result<Vec<u8>, FileError> {
        let shape = [self.rows()];
        let arrays: Vec<(&str, Column)> =
            self.columns.iter().map(|(name, column)| (name.as_str(), whole(column))).collect();
        let integers: Vec<Vec<i64>> = arrays
            .iter()
            .map(|(_, column)| match column {
                Column::Integers(integers) => integers.iter().map(|integer| integer.unwrap_or(0)).collect(),
                _ => Vec::new(),
            })
            .collect();
        let columns = arrays.iter().zip(&integers).map(|((name, column), integers)| {
            let array = match column {
                Column::Texts(texts) => NpzArray::texts(&shape, texts),
                Column::Flags(flags) => NpzArray::flags(&shape, flags),
                Column::Integers(_) => NpzArray::i64(&shape, integers),
                Column::Numbers(numbers) => NpzArray::f64(&shape, numbers),
            };
            (*name, array)
        });
        npz_bytes(&columns.chain(more.iter().copied()).collect::<Vec<_>>())
    }
}

/// A column whose whole numbers, if it has such, are all there; with gaps they become numbers.
fn whole(column: &Column) -> Column {
    match column {
        Column::Integers(integers) if integers.contains(&None) => Column::Numbers(
            integers.iter().map(|integer| integer.map_or(f64::NAN, |integer| integer as f64)).collect(),
        ),
        column => column.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn texts_become_the_narrowest_type_that_holds_all_of_them() {
        assert_eq!(
            Column::of_texts(texts(&["3", "", "-1"])),
            Column::Integers(vec![Some(3), None, Some(-1)])
        );
        assert_eq!(Column::of_texts(texts(&["3", "0.5"])), Column::Numbers(vec![3.0, 0.5]));
        let Column::Numbers(numbers) = Column::of_texts(texts(&["0.5", ""])) else { panic!("numbers") };
        assert!(numbers[0] == 0.5 && numbers[1].is_nan());
        assert_eq!(Column::of_texts(texts(&["true", "false"])), Column::Flags(vec![true, false]));
        let words = [
            &["3", "flow"][..],
            &["", ""],
            &["true", ""],
            &["[8, 8]"],
            &["007", "10"],
            &["nan"],
            &["1.0", "inf"],
        ];
        for words in words {
            assert_eq!(Column::of_texts(texts(words)), Column::Texts(texts(words)));
        }
    }

    #[test]
    fn a_table_is_written_with_what_is_missing_left_empty() {
        let mut table = Table::default();
        table.push("a.b", Column::Texts(texts(&["x, y", ""])));
        table.push("n", Column::Integers(vec![None, Some(7)]));
        table.push("v", Column::Numbers(vec![f64::NAN, 1e-300]));
        table.push("f", Column::Flags(vec![true, false]));
        let text = String::from_utf8(table.csv_bytes()).unwrap();
        assert_eq!(text, "a.b,n,v,f\n\"x, y\",,,true\n,7,1e-300,false\n");
    }

    #[test]
    fn a_name_that_is_there_gets_a_prime() {
        let mut table = Table::default();
        for _ in 0..3 {
            table.push("a", Column::Numbers(vec![]));
        }
        let names: Vec<_> = table.columns().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "a'", "a''"]);
    }

    #[test]
    #[should_panic(expected = "the column b does not fit")]
    fn a_column_of_another_length_is_refused() {
        let mut table = Table::default();
        table.push("a", Column::Numbers(vec![1.0]));
        table.push("b", Column::Numbers(vec![]));
    }
}
