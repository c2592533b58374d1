//! A table written part by part, whole or not at all.

use super::error::{FileError, Place};
#[cfg(feature = "parquet")]
use super::parquet::ParquetWriter;
use super::table::Table;
use super::write::replace;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// A format of tables that can be written part by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Comma-separated values.
    Csv,
    /// Parquet, in a build with the feature of this name.
    Parquet,
}

/// Writes a table of which `parts` gives one part after the other, all with the same columns, to `path`: whole or not at all, as
/// [`super::write_atomically`]. Holds one part at a time.
///
/// # Errors
/// Those of `parts` and of [`super::write_atomically`]; Parquet in a build without it.
pub fn write_table(
    path: impl AsRef<Path>,
    format: TableFormat,
    parts: impl Iterator<Item = Result<Table, FileError>>,
) -> Result<(), FileError> {
    let path = path.as_ref();
    match format {
        TableFormat::Csv => replace(path, |file| write_csv(path, file, parts)),
        TableFormat::Parquet => write_parquet(path, parts),
    }
}

fn write_csv(
    path: &Path,
    file: &mut File,
    parts: impl Iterator<Item = Result<Table, FileError>>,
) -> Result<(), FileError> {
    let failed = |error: &std::io::Error| FileError::io(path, "write", error);
    let mut file = BufWriter::new(file);
    for (index, part) in parts.enumerate() {
        let part = part?;
        if index == 0 {
            file.write_all(&part.csv_header()).map_err(|error| failed(&error))?;
        }
        file.write_all(&part.csv_rows()).map_err(|error| failed(&error))?;
    }
    file.flush().map_err(|error| failed(&error))
}

#[cfg(feature = "parquet")]
fn write_parquet(
    path: &Path,
    mut parts: impl Iterator<Item = Result<Table, FileError>>,
) -> Result<(), FileError> {
    let Some(first) = parts.next() else {
        return Err(FileError::new(path, Place::Whole, "no table", "at least one part", "add a part"));
    };
    let first = first?;
    replace(path, |file| {
        let mut writer = ParquetWriter::new(path, BufWriter::new(file), &first)?;
        writer.write(&first)?;
        drop(first);
        parts.try_for_each(|part| writer.write(&part?))?;
        writer.finish()
    })
}

#[cfg(not(feature = "parquet"))]
fn write_parquet(path: &Path, _: impl Iterator<Item = Result<Table, FileError>>) -> Result<(), FileError> {
    let remedy = "choose another format, or build with `cargo build --release --features parquet`";
    Err(FileError::new(path, Place::Whole, "this build cannot write Parquet", "csv or npz", remedy))
}
