//! Arrays and tables in files: npy, npz, CSV and IDX are read with limits and checks, and everything is written
//! whole or not at all.
//!
//! No content of a file makes these functions panic or take memory that the size of the file does not justify: what
//! a header promises is compared with what is there first, and decompression has limits of its own. In files one
//! row is one sample.

mod csv;
mod element;
mod error;
mod idx;
mod npy;
mod npz;
#[cfg(feature = "parquet")]
mod parquet;
mod stream;
mod table;
mod write;

pub use csv::{csv_bytes, read_csv};
pub use error::{FileError, Place};
pub use idx::read_idx;
pub use npy::read_npy;
pub use npz::{NpzArray, NpzValues, npz_bytes, read_npz, write_npz};
pub use stream::{TableFormat, write_table};
pub use table::{Column, Table};
pub use write::{checksum, flush_file_system, sha256_hex, update, write_atomically, write_directly};

use error::Source;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Most values that are read from one file: 4 GiB of `f64`.
pub const MAX_VALUES: usize = 1 << 29;

/// Most axes of an array; NumPy's own limit was 32 for most of its life.
pub const MAX_DIMS: usize = 32;

/// An array in C order: the last index runs fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The length of each axis; empty for a single number.
    pub shape: Vec<usize>,
    /// As many values as the product of `shape`.
    pub values: Vec<f64>,
}

/// Reads samples, one a row, as an n x d array.
///
/// The name decides on the format: `.npy`, `.csv`, or IDX (`.idx`, `-idx3-ubyte`, `.idx3-ubyte`, each also with
/// `.gz`). Where it does not, the first bytes do. Axes after the first are flattened, so that n x 28 x 28 images
/// become n x 784.
///
/// # Errors
/// Whatever the format's own reader refuses; an array of fewer than two axes, without samples or without
/// coordinates; NaN or infinity, whose row and column are named; more than [`MAX_VALUES`] values.
pub fn read_samples(path: impl AsRef<Path>) -> Result<Array, FileError> {
    let path = path.as_ref();
    let source = Source { path, array: "" };
    let Array { shape, values } = match format_of(path)? {
        Format::Npy => read_npy(path)?,
        Format::Csv => read_csv(path)?,
        Format::Idx => read_idx(path)?,
        Format::Npz => {
            let remedy = "save the samples alone with numpy.save(path, array)";
            return Err(source.error(
                "",
                "an archive of arrays",
                "a file of one array (.npy, .csv, IDX)",
                remedy,
            ));
        }
        Format::Unknown => {
            let found = "neither its name nor its first bytes tell the format";
            return Err(source.error("", found, ".npy, .csv or IDX", "convert it and name it accordingly"));
        }
    };
    let &[rows, ref rest @ ..] = shape.as_slice() else {
        let found = "a single number";
        return Err(source.error(
            "",
            found,
            "an array of samples x coordinates",
            "save a two-dimensional array",
        ));
    };
    if rest.is_empty() {
        let found = format!("{rows} numbers along one axis, which may be labels or one sample");
        let remedy = "reshape it: (-1, 1) for samples of one coordinate, (1, -1) for one sample";
        return Err(source.error("", found, "an array of samples x coordinates", remedy));
    }
    let columns: usize = rest.iter().product();
    if rows == 0 || columns == 0 {
        let found = format!("{rows} samples of {columns} coordinates (shape {shape:?})");
        return Err(source.error("", found, "at least one of each", "write the samples again"));
    }
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        let place = format!("row {}, column {} (counted from 0)", at / columns, at % columns);
        let found = format!("found {}", values[at]);
        return Err(source.error(&place, found, "finite numbers", "drop the sample or fill the value in"));
    }
    Ok(Array { shape: vec![rows, columns], values })
}

enum Format {
    Npy,
    Npz,
    Csv,
    Idx,
    Unknown,
}

fn format_of(path: &Path) -> Result<Format, FileError> {
    let name = path.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let unpacked = name.strip_suffix(".gz").unwrap_or(&name);
    if name.ends_with(".npy") {
        return Ok(Format::Npy);
    } else if name.ends_with(".npz") {
        return Ok(Format::Npz);
    } else if name.ends_with(".csv") {
        return Ok(Format::Csv);
    } else if unpacked.ends_with(".idx") || (unpacked.ends_with("-ubyte") && unpacked.contains("idx")) {
        return Ok(Format::Idx);
    }
    // Enough to tell text from anything else.
    const GLANCE: u64 = 4096;
    let (reader, _) = open(path)?;
    let mut start = Vec::new();
    reader.take(GLANCE).read_to_end(&mut start).map_err(|e| FileError::io(path, "read", &e))?;
    Ok(if start.starts_with(npy::MAGIC) {
        Format::Npy
    } else if start.starts_with(npz::MAGIC) {
        Format::Npz
    } else if start.starts_with(&[0, 0]) || start.starts_with(idx::GZIP_MAGIC) {
        Format::Idx
    } else if start.contains(&0) {
        Format::Unknown
    } else {
        Format::Csv
    })
}

/// Opens a regular file; returns it with its length in bytes.
fn open(path: &Path) -> Result<(BufReader<File>, u64), FileError> {
    // Asked before opening, because opening a named pipe would wait for its other end.
    let before = std::fs::metadata(path).map_err(|e| FileError::io(path, "open", &e))?;
    if !before.is_file() {
        let found = if before.is_dir() { "a folder" } else { "neither a file nor a folder" };
        let remedy = "name a file, or copy the data into one";
        return Err(FileError::new(path, Place::Whole, found, "a regular file", remedy));
    }
    let file = File::open(path).map_err(|e| FileError::io(path, "open", &e))?;
    let length = file.metadata().map_err(|e| FileError::io(path, "open", &e))?.len();
    Ok((BufReader::with_capacity(1 << 16, file), length))
}

/// The number of values in an array of this shape.
///
/// Empty axes count as 1 towards the limit: then no product of axes can overflow later.
fn element_count(shape: &[usize], limit: usize, part: &str, source: Source<'_>) -> Result<usize, FileError> {
    let product = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n.max(1)));
    match product {
        Some(product) if product <= limit => Ok(if shape.contains(&0) { 0 } else { product }),
        _ => {
            let allowed = format!("at most {limit} values");
            Err(source.error(
                part,
                format!("shape {shape:?}"),
                allowed,
                "keep fewer samples, or split the file",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Folder(tempfile::tempdir().unwrap())
        }

        fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        }
    }

    fn npy(shape: &[usize], values: &[f64]) -> Vec<u8> {
        let mut bytes = npy::header_bytes("<f8", shape);
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        bytes
    }

    const IDX: &[u8] = &[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4];

    #[test]
    fn samples_are_read_from_every_format_by_name_and_by_first_bytes() {
        let folder = Folder::new();
        let wanted = Array { shape: vec![1, 4], values: vec![1.0, 2.0, 3.0, 4.0] };
        let npy = npy(&[1, 2, 2], &wanted.values);
        for (name, bytes) in [
            ("a.npy", &npy[..]),
            ("A.NPY", &npy),
            ("a", &npy),
            ("a.csv", b"1,2,3,4\n"),
            ("a.txt", b"p,q,r,s\n1,2,3,4\n"),
            ("a.idx", IDX),
            ("train-images-idx3-ubyte", IDX),
            ("train-images.idx3-ubyte", IDX),
            ("a.bin", IDX),
        ] {
            assert_eq!(read_samples(folder.file(name, bytes)).unwrap(), wanted, "{name}");
        }
    }

    #[test]
    fn arrays_that_are_not_samples_by_coordinates_are_refused() {
        let folder = Folder::new();
        for (shape, part) in [
            (&[][..], "a single number"),
            (&[1], "which may be labels"),
            (&[0, 3], "0 samples of 3"),
            (&[3, 0], "3 samples of 0"),
        ] {
            let values = vec![1.0; shape.iter().product()];
            let message = read_samples(folder.file("a.npy", &npy(shape, &values))).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn nan_and_infinity_are_refused_with_row_and_column() {
        let folder = Folder::new();
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let bytes = npy(&[2, 3], &[0.0, 0.0, 0.0, 0.0, 0.0, bad]);
            let message = read_samples(folder.file("a.npy", &bytes)).unwrap_err().to_string();
            assert!(message.contains("row 1, column 2"), "{message}");
        }
        assert!(read_samples(folder.file("b.npy", &npy(&[1, 1], &[f64::MAX]))).is_ok());
    }

    #[test]
    fn archives_and_unknown_files_are_refused_with_a_remedy() {
        let folder = Folder::new();
        for name in ["a.npz", "a"] {
            let message = read_samples(folder.file(name, b"PK\x03\x04")).unwrap_err().to_string();
            assert!(message.contains("numpy.save"), "{message}");
        }
        let message = read_samples(folder.file("a.bin", b"\x89HDF\0")).unwrap_err().to_string();
        assert!(message.contains("convert it"), "{message}");
    }

    #[test]
    fn missing_files_folders_and_empty_files_are_refused_by_every_reader() {
        let folder = Folder::new();
        let empty = folder.file("empty", b"");
        type Reader = fn(&Path) -> Result<(), FileError>;
        let readers: [Reader; 6] = [
            |p| read_npy(p).map(drop),
            |p| read_npz(p).map(drop),
            |p| read_csv(p).map(drop),
            |p| read_idx(p).map(drop),
            |p| read_samples(p).map(drop),
            // A checksum of nothing is fine; the other two are not.
            |p| {
                if p.ends_with("empty") {
                    Err(FileError::new(p, Place::Whole, "", "", ""))
                } else {
                    checksum(p).map(drop)
                }
            },
        ];
        for read in readers {
            let missing = read(&folder.0.path().join("missing")).unwrap_err();
            assert_eq!(missing.io_kind(), Some(std::io::ErrorKind::NotFound));
            assert!(missing.to_string().contains("check the path"), "{missing}");
            let directory = read(folder.0.path()).unwrap_err().to_string();
            assert!(directory.contains("a folder; allowed: a regular file"), "{directory}");
            assert!(read(&empty).is_err());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_without_read_permission_is_refused_unless_the_user_may_read_everything() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new();
        let path = folder.file("a.npy", &npy(&[1, 1], &[1.0]));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o0)).unwrap();
        let all_powerful = File::open(&path).is_ok();
        match read_npy(&path) {
            Ok(_) => assert!(all_powerful),
            Err(e) => {
                assert!(!all_powerful);
                assert_eq!(e.io_kind(), Some(std::io::ErrorKind::PermissionDenied));
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_device_that_never_ends_is_refused() {
        let message = read_samples("/dev/zero").unwrap_err().to_string();
        assert!(message.contains("neither a file nor a folder"), "{message}");
    }
}
