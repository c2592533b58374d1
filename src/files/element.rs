//! Numbers as files hold them, and their conversion to `f64`.

use super::error::{FileError, Source};
use std::io::Read;

/// The kind of a number in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Float32,
    Float64,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Bool,
}

/// A number's kind and byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) kind: Kind,
    pub(super) big_endian: bool,
}

/// Largest magnitude up to which every integer is an `f64`.
const EXACT: u64 = 1 << 53;

impl Element {
    /// Bytes a number takes.
    pub(super) fn size(self) -> u64 {
        match self.kind {
            Kind::Int8 | Kind::Uint8 | Kind::Bool => 1,
            Kind::Int16 | Kind::Uint16 => 2,
            Kind::Float32 | Kind::Int32 | Kind::Uint32 => 4,
            Kind::Float64 | Kind::Int64 | Kind::Uint64 => 8,
        }
    }

    /// Appends the numbers in `bytes` (whole numbers only) to `out`; says what cannot be an `f64` exactly.
    fn append(self, bytes: &[u8], out: &mut Vec<f64>) -> Result<(), String> {
        let big = self.big_endian;
        match self.kind {
            Kind::Float32 => each(bytes, big, out, |b| Ok(f64::from(f32::from_le_bytes(b)))),
            Kind::Float64 => each(bytes, big, out, |b| Ok(f64::from_le_bytes(b))),
            Kind::Int8 => each(bytes, big, out, |b| Ok(f64::from(i8::from_le_bytes(b)))),
            Kind::Int16 => each(bytes, big, out, |b| Ok(f64::from(i16::from_le_bytes(b)))),
            Kind::Int32 => each(bytes, big, out, |b| Ok(f64::from(i32::from_le_bytes(b)))),
            Kind::Int64 => each(bytes, big, out, |b| {
                let v = i64::from_le_bytes(b);
                if v.unsigned_abs() <= EXACT { Ok(v as f64) } else { Err(format!("the integer {v}")) }
            }),
            Kind::Uint8 => each(bytes, big, out, |b| Ok(f64::from(u8::from_le_bytes(b)))),
            Kind::Uint16 => each(bytes, big, out, |b| Ok(f64::from(u16::from_le_bytes(b)))),
            Kind::Uint32 => each(bytes, big, out, |b| Ok(f64::from(u32::from_le_bytes(b)))),
            Kind::Uint64 => each(bytes, big, out, |b| {
                let v = u64::from_le_bytes(b);
                if v <= EXACT { Ok(v as f64) } else { Err(format!("the integer {v}")) }
            }),
            Kind::Bool => each(bytes, big, out, |[b]: [u8; 1]| match b {
                0 | 1 => Ok(f64::from(b)),
                _ => Err(format!("the byte {b} as a truth value")),
            }),
        }
    }
}

fn each<const N: usize>(
    bytes: &[u8],
    big_endian: bool,
    out: &mut Vec<f64>,
    convert: impl Fn([u8; N]) -> Result<f64, String>,
) -> Result<(), String> {
    for chunk in bytes.as_chunks::<N>().0 {
        let mut number = *chunk;
        if big_endian {
            number.reverse();
        }
        out.push(convert(number)?);
    }
    Ok(())
}

/// Reads `count` numbers of kind `element`.
///
/// Where `verified` (the file was seen to be long enough) memory is taken at once, otherwise as the data arrive, so
/// that a compressed file which only claims to be large costs nothing.
pub(super) fn read_values(
    reader: &mut dyn Read,
    count: usize,
    element: Element,
    verified: bool,
    source: Source<'_>,
) -> Result<Vec<f64>, FileError> {
    // A multiple of every element size.
    const CHUNK: usize = 1 << 16;
    let memory = || {
        let found = format!("{count} numbers, for which there is no memory");
        source.error("", found, "an array that fits in memory", "use a smaller array or a larger machine")
    };
    let mut values = Vec::new();
    if verified {
        values.try_reserve_exact(count).map_err(|_| memory())?;
    }
    let mut buffer = vec![0; CHUNK];
    let size = element.size() as usize;
    while values.len() < count {
        let now = (count - values.len()).min(CHUNK / size);
        let bytes = &mut buffer[..now * size];
        reader.read_exact(bytes).map_err(|e| source.read_error("data", &e))?;
        values.try_reserve(now).map_err(|_| memory())?;
        if let Err(found) = element.append(bytes, &mut values) {
            let place = format!("value {} (counted from 0 in storage order)", values.len());
            let allowed = "integers of magnitude up to 2^53, and 0 or 1 for truth values";
            return Err(source.error(&place, found, allowed, "store such values as 8-byte floats"));
        }
    }
    Ok(values)
}
