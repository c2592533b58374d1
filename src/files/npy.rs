//! NumPy's `.npy`: one array.
//!
//! The header is a Python dictionary with three known keys, and only that is understood: a general reader of
//! Python literals recurses as deeply as a hostile file asks. The length that the header promises is compared with
//! the length of the file before memory is taken.

use super::element::{Element, Kind, read_values};
use super::error::{FileError, Source, shorten};
use super::{Array, MAX_DIMS, MAX_VALUES, element_count, open};
use std::io::Read;
use std::path::Path;

/// The first bytes of an `.npy` file.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// Longest header accepted; NumPy itself refuses headers above 10,000 bytes unless told otherwise.
const MAX_HEADER: u64 = 1 << 16;

const SAVE_AGAIN: &str = "save it again with numpy.save(path, array)";

/// Reads the array of an `.npy` file.
///
/// Format versions 1, 2 and 3; floats of 4 and 8 bytes, signed and unsigned integers of 1 to 8 bytes and bool, in
/// either byte order, in C or Fortran order, of up to [`MAX_DIMS`] axes. The result is in C order. NaN and
/// infinities are returned as they stand.
///
/// # Errors
/// A file that cannot be opened; a header that is damaged or promises more or less data than the file holds; more
/// than [`MAX_VALUES`] values; an integer that an `f64` cannot hold exactly; any other element type.
pub fn read_npy(path: impl AsRef<Path>) -> Result<Array, FileError> {
    let path = path.as_ref();
    let (mut reader, length) = open(path)?;
    parse(&mut reader, length, true, MAX_VALUES, Source { path, array: "" })
}

/// Reads an array whose file or archive entry is `length` bytes long and may hold `limit` values.
pub(super) fn parse(
    reader: &mut dyn Read,
    length: u64,
    verified: bool,
    limit: usize,
    source: Source<'_>,
) -> Result<Array, FileError> {
    let cut = |e: std::io::Error| source.read_error("header", &e);
    let mut start = [0; 8];
    if length < 10 {
        let found = format!("{length} bytes, too few for a header");
        return Err(source.error("", found, "an .npy file", SAVE_AGAIN));
    }
    reader.read_exact(&mut start).map_err(cut)?;
    if !start.starts_with(MAGIC) {
        let found = "the first bytes are not those of an .npy file";
        return Err(source.error("", found, "a file that starts with \\x93NUMPY", SAVE_AGAIN));
    }
    let (fixed, header_length) = match (start[6], start[7]) {
        (1, 0) => {
            let mut bytes = [0; 2];
            reader.read_exact(&mut bytes).map_err(cut)?;
            (10, u64::from(u16::from_le_bytes(bytes)))
        }
        (2 | 3, 0) => {
            let mut bytes = [0; 4];
            reader.read_exact(&mut bytes).map_err(cut)?;
            (12, u64::from(u32::from_le_bytes(bytes)))
        }
        (major, minor) => {
            let found = format!("format version {major}.{minor}");
            return Err(source.error("header", found, "versions 1.0, 2.0 and 3.0", SAVE_AGAIN));
        }
    };
    let data_start = fixed + header_length;
    if header_length > MAX_HEADER || data_start > length {
        let found = format!("a header of {header_length} bytes in a file of {length} bytes");
        let allowed = format!("a header of at most {MAX_HEADER} bytes that lies within the file");
        return Err(source.error("header", found, allowed, SAVE_AGAIN));
    }
    let mut text = vec![0; header_length as usize];
    reader.read_exact(&mut text).map_err(cut)?;
    let header = Header::parse(&text, source)?;
    let count = element_count(&header.shape, limit, "header", source)?;
    // `count` is at most `limit`, so that the product is far from overflow.
    let (promised, held) = (count as u64 * header.element.size(), length - data_start);
    if promised != held {
        let found = format!("shape {:?} needs {promised} bytes of data, the file holds {held}", header.shape);
        return Err(source.error("header", found, "a header that agrees with the data", SAVE_AGAIN));
    }
    let stored = read_values(reader, count, header.element, verified, source)?;
    let values = if header.fortran_order { from_fortran(&header.shape, stored, source)? } else { stored };
    Ok(Array { shape: header.shape, values })
}

/// Reorders values whose first index runs fastest into C order, whose last index does.
fn from_fortran(shape: &[usize], stored: Vec<f64>, source: Source<'_>) -> Result<Vec<f64>, FileError> {
    if shape.len() < 2 || stored.is_empty() {
        return Ok(stored);
    }
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &n in shape {
        strides.push(stride);
        stride *= n;
    }
    let mut values = Vec::new();
    values.try_reserve_exact(stored.len()).map_err(|_| {
        let remedy = "save it in C order: numpy.ascontiguousarray(array)";
        source.error(
            "",
            "no memory to reorder it from Fortran order",
            "an array that fits in memory twice",
            remedy,
        )
    })?;
    let mut index = vec![0; shape.len()];
    let mut offset = 0;
    for _ in 0..stored.len() {
        values.push(stored[offset]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            offset += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            offset -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    Ok(values)
}

struct Header {
    element: Element,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    fn parse(bytes: &[u8], source: Source<'_>) -> Result<Self, FileError> {
        let refuse = |found: String| {
            let allowed = "a dictionary of `descr`, `fortran_order` and `shape`";
            source.error("header", found, allowed, SAVE_AGAIN)
        };
        let text = std::str::from_utf8(bytes).map_err(|_| refuse("bytes that are not text".into()))?;
        let mut cursor = Cursor { rest: text };
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        cursor.expect('{').map_err(refuse)?;
        while !cursor.accept('}') {
            let key = cursor.string().map_err(refuse)?;
            cursor.expect(':').map_err(refuse)?;
            let again = match key {
                "descr" if cursor.peek() == Some('[') => {
                    let allowed = "an array of plain numbers";
                    let remedy = "save the columns as one array of numbers";
                    return Err(source.error("header", "a structured element type", allowed, remedy));
                }
                "descr" => descr.replace(cursor.string().map_err(refuse)?).is_some(),
                "fortran_order" => fortran_order.replace(cursor.boolean().map_err(refuse)?).is_some(),
                "shape" => shape.replace(cursor.shape().map_err(refuse)?).is_some(),
                other => return Err(refuse(format!("the key `{}`", shorten(other)))),
            };
            if again {
                return Err(refuse(format!("the key `{key}` twice")));
            }
            if !cursor.accept(',') {
                cursor.expect('}').map_err(refuse)?;
                break;
            }
        }
        if let Some(extra) = cursor.peek() {
            return Err(refuse(format!("`{extra}` after the dictionary")));
        }
        let descr = descr.ok_or_else(|| refuse("no key `descr`".into()))?;
        let element = element_of(descr).ok_or_else(|| {
            let found = format!("element type `{}`", shorten(descr));
            let allowed = "f4, f8, i1 to i8, u1 to u8 and bool, in either byte order";
            source.error("header", found, allowed, "save array.astype('f8') instead")
        })?;
        Ok(Header {
            element,
            fortran_order: fortran_order.ok_or_else(|| refuse("no key `fortran_order`".into()))?,
            shape: shape.ok_or_else(|| refuse("no key `shape`".into()))?,
        })
    }
}

/// The element type that NumPy calls `descr`.
fn element_of(descr: &str) -> Option<Element> {
    let big_endian = match descr.chars().next()? {
        '<' | '|' => false,
        '>' => true,
        '=' => cfg!(target_endian = "big"),
        _ => return None,
    };
    let kind = match &descr[1..] {
        "f4" => Kind::Float32,
        "f8" => Kind::Float64,
        "i1" => Kind::Int8,
        "i2" => Kind::Int16,
        "i4" => Kind::Int32,
        "i8" => Kind::Int64,
        "u1" => Kind::Uint8,
        "u2" => Kind::Uint16,
        "u4" => Kind::Uint32,
        "u8" => Kind::Uint64,
        "b1" => Kind::Bool,
        _ => return None,
    };
    Some(Element { kind, big_endian })
}

/// Reads the few Python literals a header is made of.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn accept(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.rest = &self.rest[wanted.len_utf8()..];
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.accept(wanted) { Ok(()) } else { Err(self.instead_of(&format!("`{wanted}`"))) }
    }

    fn instead_of(&self, wanted: &str) -> String {
        match self.rest {
            "" => format!("the end where {wanted} belongs"),
            rest => format!("`{}` where {wanted} belongs", shorten(rest)),
        }
    }

    /// A quoted text; escapes, which no header needs, are not understood.
    fn string(&mut self) -> Result<&'a str, String> {
        let quote = match self.peek() {
            Some(quote @ ('\'' | '"')) => quote,
            _ => return Err(self.instead_of("a quoted text")),
        };
        let (text, rest) =
            self.rest[1..].split_once(quote).ok_or_else(|| self.instead_of("a quoted text that ends"))?;
        self.rest = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        self.peek();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(self.instead_of("True or False"))
    }

    fn shape(&mut self) -> Result<Vec<usize>, String> {
        self.expect('(')?;
        let mut shape = Vec::new();
        while !self.accept(')') {
            self.peek();
            let digits = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let (number, rest) = self.rest.split_at(digits);
            let length = number.parse().map_err(|_| self.instead_of("the length of an axis"))?;
            if shape.len() == MAX_DIMS {
                return Err(format!("more than {MAX_DIMS} axes"));
            }
            shape.push(length);
            // Python 2 wrote its long integers with this suffix.
            self.rest = rest.strip_prefix('L').unwrap_or(rest);
            if !self.accept(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(shape)
    }
}

/// The header that goes before the data of a little-endian array in C order, padded to 64 bytes as the format asks.
pub(super) fn header_bytes(descr: &str, shape: &[usize]) -> Vec<u8> {
    let axes: String = match shape {
        [length] => format!("{length},"),
        _ => shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
    };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({axes}), }}");
    const FIXED: usize = 10;
    while !(FIXED + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    // At most `MAX_DIMS` axes of 20 digits each, which the caller checks: always below 65,536 bytes.
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray_npy::WriteNpyExt;

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((header.len() as u16).to_le_bytes()),
            _ => bytes.extend((header.len() as u32).to_le_bytes()),
        }
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Array, FileError> {
        let source = Source { path: Path::new("x.npy"), array: "" };
        parse(&mut &bytes[..], bytes.len() as u64, true, 1000, source)
    }

    fn typed(descr: &str, shape: &str, data: &[u8]) -> Result<Array, FileError> {
        read(&file(1, &format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"), data))
    }

    fn refusal(bytes: &[u8]) -> String {
        read(bytes).expect_err("should be refused").to_string()
    }

    #[test]
    fn every_element_type_is_read_in_both_byte_orders() {
        macro_rules! check {
            ($($name:literal: $t:ty, $values:expr;)*) => {$(
                let values: [$t; 3] = $values;
                let expected: Vec<f64> = values.iter().map(|&v| v as f64).collect();
                let little: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                let big: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
                assert_eq!(typed(concat!("<", $name), "(3,)", &little).unwrap().values, expected, $name);
                assert_eq!(typed(concat!(">", $name), "(3,)", &big).unwrap().values, expected, $name);
            )*};
        }
        check! {
            "f4": f32, [1.5, -2.25e-3, f32::MAX];
            "f8": f64, [0.1, -1e300, 5e-324];
            "i1": i8, [1, -128, 127];
            "i2": i16, [258, i16::MIN, i16::MAX];
            "i4": i32, [66051, i32::MIN, i32::MAX];
            "i8": i64, [1, -(1 << 53), 1 << 53];
            "u1": u8, [1, 0, 255];
            "u2": u16, [258, 0, u16::MAX];
            "u4": u32, [66051, 0, u32::MAX];
            "u8": u64, [1, 0, 1 << 53];
        }
        assert_eq!(typed("|b1", "(3,)", &[1, 0, 1]).unwrap().values, [1.0, 0.0, 1.0]);
    }

    #[test]
    fn versions_1_2_and_3_are_read_and_others_refused() {
        let header = "{\"descr\": \"<f8\", \"fortran_order\": False, \"shape\": (1,)}\n";
        for version in 1..=3 {
            assert_eq!(read(&file(version, header, &2.5f64.to_le_bytes())).unwrap().values, [2.5]);
        }
        assert!(refusal(&file(4, header, &2.5f64.to_le_bytes())).contains("format version 4.0"));
    }

    #[test]
    fn fortran_order_is_turned_into_c_order() {
        let array = ndarray::Array3::from_shape_fn((2, 3, 4), |(i, j, k)| (100 * i + 10 * j + k) as f64);
        let mut transposed = ndarray::Array3::zeros(ndarray::ShapeBuilder::f((2, 3, 4)));
        transposed.assign(&array);
        let mut bytes = Vec::new();
        transposed.write_npy(&mut bytes).unwrap();
        assert!(
            bytes.windows(21).any(|w| w == b"'fortran_order': True"),
            "the sample is not in Fortran order"
        );
        let read = read(&bytes).unwrap();
        assert_eq!(read.shape, [2, 3, 4]);
        assert_eq!(read.values, array.iter().copied().collect::<Vec<_>>());
    }

    #[test]
    fn shapes_with_no_axes_and_with_empty_axes_are_read() {
        assert_eq!(
            typed("<f8", "()", &3.0f64.to_le_bytes()).unwrap(),
            Array { shape: vec![], values: vec![3.0] }
        );
        assert_eq!(typed("<f8", "(0, 5)", &[]).unwrap(), Array { shape: vec![0, 5], values: vec![] });
        assert_eq!(typed("<f8", "(1L, 1L)", &3.0f64.to_le_bytes()).unwrap().shape, [1, 1]);
    }

    #[test]
    fn a_shape_that_promises_more_or_less_than_the_file_holds_is_refused() {
        let message = typed("<f8", "(2, 2)", &[0; 24]).unwrap_err().to_string();
        assert!(message.contains("[2, 2] needs 32 bytes of data, the file holds 24"), "{message}");
        assert!(typed("<f8", "(2, 2)", &[0; 40]).is_err());
    }

    #[test]
    fn absurd_shapes_are_refused_before_memory_is_taken() {
        for shape in [
            "(18446744073709551615, 18446744073709551615)",
            "(99999999999999999999999,)",
            "(4611686018427387904, 4)",
            "(0, 18446744073709551615, 18446744073709551615)",
            "(1001,)",
        ] {
            // An empty axis does not excuse the others: their product would overflow in whoever multiplies them.
            let data: &[u8] = if shape.starts_with("(0") { &[] } else { &[0; 8] };
            assert!(typed("<f8", shape, data).is_err(), "{shape} was read");
        }
        let many = format!("({})", "1,".repeat(MAX_DIMS + 1));
        assert!(typed("<f8", &many, &[0; 8]).unwrap_err().to_string().contains("axes"));
    }

    #[test]
    fn a_negative_length_is_refused_where_it_stands() {
        let message = typed("<f8", "(-1, 2)", &[0; 16]).unwrap_err().to_string();
        assert!(message.contains("`-1, 2)"), "{message}");
    }

    #[test]
    fn damaged_headers_are_refused() {
        for header in [
            "",
            "{",
            "{}",
            "[]",
            "{'descr': '<f8', 'shape': (1,)}",
            "{'descr': '<f8', 'fortran_order': 1, 'shape': (1,)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': 1}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'extra': 2}",
            "{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1,)} x",
            "{'descr': '<f8, 'fortran_order': False, 'shape': (1,)}",
            "{'descr': 'é8', 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '', 'fortran_order': False, 'shape': (1,)}",
        ] {
            assert!(read(&file(1, header, &[0; 8])).is_err(), "{header:?} was read");
        }
        assert!(read(&file(1, &"{".repeat(60_000), &[])).is_err());
    }

    #[test]
    fn a_header_longer_than_the_file_is_refused_before_memory_is_taken() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([2, 0, 255, 255, 255, 255]);
        assert!(refusal(&bytes).contains("a header of 4294967295 bytes in a file of 12 bytes"));
    }

    #[test]
    fn element_types_that_are_not_numbers_name_the_remedy() {
        for descr in ["<c16", "|O", "<U5", "<M8[s]", "<f2"] {
            let message = typed(descr, "(1,)", &[0; 8]).unwrap_err().to_string();
            assert!(message.contains("astype('f8')"), "{message}");
        }
        let header = "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,)}";
        assert!(refusal(&file(1, header, &[0; 8])).contains("structured"));
    }

    #[test]
    fn an_integer_that_would_be_rounded_is_refused() {
        let data: Vec<u8> = [0i64, (1 << 53) + 1].iter().flat_map(|v| v.to_le_bytes()).collect();
        let message = typed("<i8", "(2,)", &data).unwrap_err().to_string();
        assert!(message.contains("value 1 ") && message.contains("9007199254740993"), "{message}");
        assert!(typed("<i8", "(1,)", &i64::MIN.to_le_bytes()).is_err());
        assert!(typed("<u8", "(1,)", &u64::MAX.to_le_bytes()).is_err());
        assert!(typed("|b1", "(1,)", &[2]).is_err());
    }

    #[test]
    fn every_truncation_of_a_file_is_refused() {
        let data: Vec<u8> = [1.0f64, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut whole = header_bytes("<f8", &[2, 1]);
        whole.extend(data);
        assert_eq!(read(&whole).unwrap(), Array { shape: vec![2, 1], values: vec![1.0, 2.0] });
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length} bytes were read");
        }
    }

    #[test]
    fn no_change_of_one_header_byte_makes_the_reader_fail_in_any_other_way_than_by_an_error() {
        let mut whole = header_bytes("<f8", &[1, 2]);
        whole.extend([0; 16]);
        for at in 0..whole.len() - 16 {
            for byte in 0..=255 {
                let mut changed = whole.clone();
                changed[at] = byte;
                if let Ok(array) = read(&changed) {
                    assert_eq!(array.values.len(), array.shape.iter().product::<usize>());
                }
            }
        }
    }
}
