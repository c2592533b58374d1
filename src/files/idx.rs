//! IDX, the format of the MNIST files: one array, big-endian, often gzip-compressed.

use super::element::{Element, Kind, read_values};
use super::error::{FileError, Source};
use super::{Array, MAX_DIMS, MAX_VALUES, element_count, open};
use flate2::bufread::MultiGzDecoder;
use std::io::{BufRead, Read};
use std::path::Path;

/// The first bytes of a gzip file.
pub(super) const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// Deflate cannot do better than this ratio, so that a header which promises more is a lie.
pub(super) const MAX_DEFLATE_RATIO: u64 = 1032;

/// Reads the array of an IDX file, gzip-compressed or not (the first bytes tell).
///
/// Element types 08 (u8), 09 (i8), 0B (i16), 0C (i32), 0D (f32) and 0E (f64), at most [`MAX_DIMS`] axes. A file of
/// images has the shape n x rows x columns; a file of labels has one axis.
///
/// # Errors
/// A file that cannot be opened; a wrong magic number; a header that promises more or less data than there are; more
/// than [`MAX_VALUES`] values; damaged compression.
pub fn read_idx(path: impl AsRef<Path>) -> Result<Array, FileError> {
    let path = path.as_ref();
    let (reader, length) = open(path)?;
    parse(reader, length, MAX_VALUES, Source { path, array: "" })
}

fn parse(
    mut reader: impl BufRead,
    length: u64,
    limit: usize,
    source: Source<'_>,
) -> Result<Array, FileError> {
    let start = reader.fill_buf().map_err(|e| source.read_error("", &e))?;
    if start.starts_with(GZIP_MAGIC) {
        let most = length.saturating_mul(MAX_DEFLATE_RATIO);
        parse_plain(&mut MultiGzDecoder::new(reader), most, false, limit, source)
    } else {
        parse_plain(&mut reader, length, true, limit, source)
    }
}

/// Reads from a stream of `length` bytes, or of at most so many where that is not `verified`.
fn parse_plain(
    reader: &mut dyn Read,
    length: u64,
    verified: bool,
    limit: usize,
    source: Source<'_>,
) -> Result<Array, FileError> {
    let remedy = "download or write the file again";
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).map_err(|e| source.read_error("header", &e))?;
    let kind = match magic {
        [0, 0, 0x08, _] => Some(Kind::Uint8),
        [0, 0, 0x09, _] => Some(Kind::Int8),
        [0, 0, 0x0b, _] => Some(Kind::Int16),
        [0, 0, 0x0c, _] => Some(Kind::Int32),
        [0, 0, 0x0d, _] => Some(Kind::Float32),
        [0, 0, 0x0e, _] => Some(Kind::Float64),
        _ => None,
    };
    let dims = usize::from(magic[3]);
    let Some(kind) = kind else {
        let [a, b, c, d] = magic;
        let found = format!("the magic number {a:02x} {b:02x} {c:02x} {d:02x}");
        let allowed = "00 00, then 08, 09, 0b, 0c, 0d or 0e, then the number of axes";
        return Err(source.error("header", found, allowed, remedy));
    };
    if dims == 0 || dims > MAX_DIMS {
        return Err(source.error("header", format!("{dims} axes"), format!("1 to {MAX_DIMS} axes"), remedy));
    }
    let mut shape = Vec::with_capacity(dims);
    for _ in 0..dims {
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).map_err(|e| source.read_error("header", &e))?;
        shape.push(u32::from_be_bytes(bytes) as usize);
    }
    let element = Element { kind, big_endian: true };
    let count = element_count(&shape, limit, "header", source)?;
    let (promised, held) = (count as u64 * element.size(), length.saturating_sub(4 + 4 * dims as u64));
    if promised > held || (verified && promised < held) {
        let bound = if verified { "" } else { "at most " };
        let found = format!("shape {shape:?} needs {promised} bytes of data, the file holds {bound}{held}");
        return Err(source.error("header", found, "a header that agrees with the data", remedy));
    }
    let values = read_values(reader, count, element, verified, source)?;
    // Also makes the decompressor compare its checksum.
    if reader.read(&mut [0]).map_err(|e| source.read_error("end", &e))? != 0 {
        let found = format!("more data than shape {shape:?} needs");
        return Err(source.error("end", found, "a header that agrees with the data", remedy));
    }
    Ok(Array { shape, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn read(bytes: &[u8]) -> Result<Array, FileError> {
        let source = Source { path: Path::new("x-idx3-ubyte"), array: "" };
        parse(bytes, bytes.len() as u64, 1000, source)
    }

    fn refusal(bytes: &[u8]) -> String {
        read(bytes).expect_err("should be refused").to_string()
    }

    fn file(kind: u8, shape: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, kind, shape.len() as u8];
        bytes.extend(shape.iter().flat_map(|n| n.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_element_type_is_read() {
        macro_rules! check {
            ($($code:literal: $values:expr;)*) => {$(
                let data: Vec<u8> = $values.iter().flat_map(|v| v.to_be_bytes()).collect();
                let expected: Vec<f64> = $values.iter().map(|&v| f64::from(v)).collect();
                let array = read(&file($code, &[2, 1], &data)).unwrap();
                assert_eq!(array, Array { shape: vec![2, 1], values: expected });
            )*};
        }
        check! {
            0x08: [1u8, 255];
            0x09: [-128i8, 127];
            0x0b: [i16::MIN, 258];
            0x0c: [i32::MIN, 66051];
            0x0d: [1.5f32, -2.25];
            0x0e: [0.1f64, -1e300];
        }
    }

    #[test]
    fn a_compressed_file_reads_as_the_plain_one() {
        let plain = file(8, &[2, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(read(&gzip(&plain)).unwrap(), read(&plain).unwrap());
        assert_eq!(read(&plain).unwrap().shape, [2, 2, 2]);
    }

    #[test]
    fn a_wrong_magic_number_is_shown() {
        assert!(refusal(&[0, 0, 7, 1, 0, 0, 0, 0]).contains("the magic number 00 00 07 01"));
        assert!(refusal(b"P5 28 28").contains("50 35 20 32"));
    }

    #[test]
    fn no_axes_and_too_many_axes_are_refused() {
        assert!(refusal(&file(8, &[], &[1])).contains("0 axes"));
        assert!(refusal(&file(8, &[1; MAX_DIMS + 1], &[1])).contains("33 axes"));
        assert!(read(&file(8, &[1; MAX_DIMS], &[1])).is_ok());
    }

    #[test]
    fn every_truncation_and_any_surplus_is_refused_plain_and_compressed() {
        let plain = file(0x0b, &[2, 1], &[1, 2, 3, 4]);
        for whole in [plain.clone(), gzip(&plain)] {
            assert!(read(&whole).is_ok());
            for length in 0..whole.len() {
                assert!(read(&whole[..length]).is_err(), "{length} bytes were read");
            }
        }
        let mut more = plain.clone();
        more.push(0);
        assert!(refusal(&more).contains("needs 4 bytes of data, the file holds 5"));
        assert!(refusal(&gzip(&more)).contains("more data than"));
    }

    #[test]
    fn absurd_shapes_are_refused_before_memory_is_taken() {
        assert!(refusal(&file(0x0e, &[u32::MAX, u32::MAX, u32::MAX], &[])).contains("at most 1000 values"));
        assert!(refusal(&file(0x0e, &[0, u32::MAX, u32::MAX], &[])).contains("at most 1000 values"));
        assert!(refusal(&file(8, &[1000], &[1])).contains("needs 1000 bytes of data, the file holds 1"));
    }

    #[test]
    fn a_compressed_header_that_promises_more_than_compression_can_hold_is_refused() {
        let packed = gzip(&file(0x0e, &[MAX_VALUES as u32], &[]));
        let source = Source { path: Path::new("x"), array: "" };
        let error = parse(&packed[..], packed.len() as u64, MAX_VALUES, source).unwrap_err();
        assert!(error.found().contains("the file holds at most"), "{error}");
    }

    #[test]
    fn damaged_compression_is_called_so() {
        let mut packed = gzip(&file(8, &[4], &[1, 2, 3, 4]));
        let at = packed.len() - 6;
        packed[at] ^= 1;
        assert!(refusal(&packed).contains("damaged"), "{}", refusal(&packed));
    }
}
