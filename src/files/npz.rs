//! NumPy's `.npz`: a zip archive of `.npy` files.
//!
//! Only what NumPy writes is understood: a directory at the end without the 64-bit extension (which archives above
//! 4 GiB need), members stored or deflated. The sizes in the directory are added up before anything is
//! decompressed, and no member may yield more than it announced.

use super::error::{FileError, Place, Source, shorten};
use super::idx::MAX_DEFLATE_RATIO;
use super::npy::header_bytes;
use super::{Array, MAX_DIMS, MAX_VALUES, npy, open, write_atomically};
use flate2::{Crc, CrcReader, read::DeflateDecoder};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The first bytes of an archive that holds anything.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";
const DIRECTORY_MAGIC: &[u8] = b"PK\x01\x02";
const END_MAGIC: &[u8] = b"PK\x05\x06";

const LOCAL_LENGTH: usize = 30;
const DIRECTORY_LENGTH: usize = 46;
const END_LENGTH: usize = 22;

/// Longest directory read, in bytes: room for more than 65,535 names of 200 characters.
const MAX_DIRECTORY: u64 = 1 << 24;

const SAVE_AGAIN: &str = "save it again with numpy.savez(path, name=array)";

/// Reads every array of an `.npz` archive, stored or deflated, by name (without `.npy`).
///
/// What [`super::read_npy`] says of an array holds for each of them; the limit of [`MAX_VALUES`] is for all together,
/// and so is one of as many bytes as those values take.
///
/// # Errors
/// A file that cannot be opened or is no archive; a damaged, encrypted or otherwise compressed member; one that is
/// not an array; two of the same name; sums above the limits; whatever is wrong with an array, which is named.
pub fn read_npz(path: impl AsRef<Path>) -> Result<BTreeMap<String, Array>, FileError> {
    let path = path.as_ref();
    let (reader, length) = open(path)?;
    parse(reader, length, MAX_VALUES, path)
}

/// A member as the directory describes it.
struct Member {
    name: String,
    deflated: bool,
    crc: u32,
    packed: u64,
    unpacked: u64,
    offset: u64,
}

fn parse<R: Read + Seek>(
    mut reader: R,
    length: u64,
    limit: usize,
    path: &Path,
) -> Result<BTreeMap<String, Array>, FileError> {
    let (members, directory_start) = directory(&mut reader, length, path)?;
    let whole = Source { path, array: "" };
    let (bytes, most) = (members.iter().map(|m| m.unpacked).sum::<u64>(), limit as u64 * 8);
    if bytes > most {
        let found = format!("{bytes} bytes when decompressed");
        return Err(whole.error(
            "",
            found,
            format!("at most {most} bytes"),
            "save fewer arrays in one archive",
        ));
    }
    let mut arrays = BTreeMap::new();
    let mut left = limit;
    for member in members {
        let source = Source { path, array: &member.name };
        let array = read_member(&mut reader, &member, directory_start, left, source)?;
        left -= array.values.len();
        if arrays.insert(member.name.clone(), array).is_some() {
            return Err(source.error("", "a second array of this name", "names that differ", SAVE_AGAIN));
        }
    }
    Ok(arrays)
}

/// Reads the list of members; returns it with the place where it starts, before which all data lie.
fn directory<R: Read + Seek>(
    reader: &mut R,
    length: u64,
    path: &Path,
) -> Result<(Vec<Member>, u64), FileError> {
    let source = Source { path, array: "" };
    let damaged = |found: String| source.error("directory", found, "a whole .npz archive", SAVE_AGAIN);
    // The end record is followed by a comment of at most 65,535 bytes.
    let tail_start = length.saturating_sub(END_LENGTH as u64 + u64::from(u16::MAX));
    let tail = read_at(reader, tail_start, (length - tail_start) as usize, source)?;
    let end = (0..(tail.len() + 1).saturating_sub(END_LENGTH)).rev().find(|&at| {
        tail[at..].starts_with(END_MAGIC)
            && usize::from(u16_at(&tail, at + 20)) == tail.len() - at - END_LENGTH
    });
    let Some(end) = end else {
        let remedy = "name a file written by numpy.savez, and copy it again if it was cut short";
        return Err(source.error("", "no zip directory at its end", "an .npz archive", remedy));
    };
    let count = u16_at(&tail, end + 10);
    let (size, start) = (u64::from(u32_at(&tail, end + 12)), u64::from(u32_at(&tail, end + 16)));
    if u16_at(&tail, end + 4) != 0 || u16_at(&tail, end + 6) != 0 || u16_at(&tail, end + 8) != count {
        return Err(damaged("an archive in several volumes".into()));
    }
    if count == u16::MAX || start == u64::from(u32::MAX) || size > MAX_DIRECTORY {
        let allowed = "fewer than 65,535 arrays in less than 4 GiB";
        return Err(source.error(
            "directory",
            "a larger archive",
            allowed,
            "save fewer arrays in one archive",
        ));
    }
    if start + size != tail_start + end as u64 {
        return Err(damaged("a directory that is not where the end record says".into()));
    }
    let bytes = read_at(reader, start, size as usize, source)?;
    let mut members = Vec::new();
    let mut rest = &bytes[..];
    for _ in 0..count {
        if rest.len() < DIRECTORY_LENGTH || !rest.starts_with(DIRECTORY_MAGIC) {
            return Err(damaged(format!("{} entries instead of {count}", members.len())));
        }
        let name_end = DIRECTORY_LENGTH + usize::from(u16_at(rest, 28));
        let entry_end = name_end + usize::from(u16_at(rest, 30)) + usize::from(u16_at(rest, 32));
        if rest.len() < entry_end {
            return Err(damaged("an entry that is cut short".into()));
        }
        let full_name = String::from_utf8_lossy(&rest[DIRECTORY_LENGTH..name_end]);
        let Some(name) = full_name.strip_suffix(".npy") else {
            let found = format!("the member `{}`", shorten(&full_name));
            return Err(source.error("directory", found, "arrays (.npy) only", SAVE_AGAIN));
        };
        let this = Source { path, array: name };
        let deflated = match u16_at(rest, 10) {
            0 => false,
            8 => true,
            method => {
                let found = format!("compression method {method}");
                return Err(this.error("", found, "stored (0) and deflated (8) members", SAVE_AGAIN));
            }
        };
        if u16_at(rest, 8) & 1 != 0 {
            return Err(this.error("", "an encrypted member", "members without encryption", SAVE_AGAIN));
        }
        let (packed, unpacked) = (u64::from(u32_at(rest, 20)), u64::from(u32_at(rest, 24)));
        if packed.max(unpacked) == u64::from(u32::MAX) {
            return Err(this.error(
                "",
                "4 GiB or more",
                "less than 4 GiB",
                "split the array, or save it as .npy",
            ));
        }
        let possible = if deflated { unpacked <= packed * MAX_DEFLATE_RATIO } else { unpacked == packed };
        if !possible {
            let found = format!("{packed} bytes that announce {unpacked}");
            return Err(this.error("", found, "sizes that agree with the compression method", SAVE_AGAIN));
        }
        let (crc, offset) = (u32_at(rest, 16), u64::from(u32_at(rest, 42)));
        members.push(Member { name: name.to_string(), deflated, crc, packed, unpacked, offset });
        rest = &rest[entry_end..];
    }
    if !rest.is_empty() {
        return Err(damaged(format!("more than {count} entries")));
    }
    Ok((members, start))
}

fn read_member<R: Read + Seek>(
    reader: &mut R,
    member: &Member,
    directory_start: u64,
    limit: usize,
    source: Source<'_>,
) -> Result<Array, FileError> {
    let damaged = |found: &str| source.error("", found, "a whole .npz archive", SAVE_AGAIN);
    if member.offset + LOCAL_LENGTH as u64 > directory_start {
        return Err(damaged("data that start outside the archive"));
    }
    let local = read_at(reader, member.offset, LOCAL_LENGTH, source)?;
    if !local.starts_with(MAGIC) {
        return Err(damaged("data that do not start where the directory says"));
    }
    let skipped = LOCAL_LENGTH as u64 + u64::from(u16_at(&local, 26)) + u64::from(u16_at(&local, 28));
    let start = member.offset + skipped;
    if start + member.packed > directory_start {
        return Err(damaged("data that end outside the archive"));
    }
    reader.seek(SeekFrom::Start(start)).map_err(|e| source.read_error("", &e))?;
    let packed = reader.take(member.packed);
    if member.deflated {
        finish_member(&mut CrcReader::new(DeflateDecoder::new(packed)), member, limit, source)
    } else {
        finish_member(&mut CrcReader::new(packed), member, limit, source)
    }
}

fn finish_member<R: Read>(
    reader: &mut CrcReader<R>,
    member: &Member,
    limit: usize,
    source: Source<'_>,
) -> Result<Array, FileError> {
    let array = npy::parse(reader, member.unpacked, !member.deflated, limit, source)?;
    let surplus = reader.read(&mut [0]).map_err(|e| source.read_error("end", &e))?;
    if surplus != 0 || reader.crc().sum() != member.crc {
        let found =
            if surplus != 0 { "more data than announced" } else { "data that differ from their checksum" };
        return Err(source.error("", found, "a whole .npz archive", SAVE_AGAIN));
    }
    Ok(array)
}

/// Reads `length` bytes, which the caller has limited, from `start`.
fn read_at<R: Read + Seek>(
    reader: &mut R,
    start: u64,
    length: usize,
    source: Source<'_>,
) -> Result<Vec<u8>, FileError> {
    let mut bytes = vec![0; length];
    let read = reader.seek(SeekFrom::Start(start)).and_then(|_| reader.read_exact(&mut bytes));
    read.map_err(|e| source.read_error("", &e))?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The values of an array to be written, and with them its element type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NpzValues<'a> {
    /// 8-byte floats.
    F64(&'a [f64]),
    /// 8-byte signed integers.
    I64(&'a [i64]),
    /// 8-byte unsigned integers.
    U64(&'a [u64]),
    /// Texts, padded with zeros to the longest; none may end in a zero character, which cannot be told from padding.
    Texts(&'a [String]),
    /// Truth values.
    Flags(&'a [bool]),
}

/// An array to be written, in C order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NpzArray<'a> {
    /// The length of each axis; empty for a single number.
    pub shape: &'a [usize],
    /// As many values as the product of `shape`.
    pub values: NpzValues<'a>,
}

impl<'a> NpzArray<'a> {
    /// An array of 8-byte floats; `values` in C order, as many as the product of `shape`.
    pub fn f64(shape: &'a [usize], values: &'a [f64]) -> Self {
        NpzArray { shape, values: NpzValues::F64(values) }
    }

    /// An array of 8-byte signed integers; `values` in C order, as many as the product of `shape`.
    pub fn i64(shape: &'a [usize], values: &'a [i64]) -> Self {
        NpzArray { shape, values: NpzValues::I64(values) }
    }

    /// An array of 8-byte unsigned integers; `values` in C order, as many as the product of `shape`.
    pub fn u64(shape: &'a [usize], values: &'a [u64]) -> Self {
        NpzArray { shape, values: NpzValues::U64(values) }
    }

    /// An array of texts; `values` in C order, as many as the product of `shape`.
    pub fn texts(shape: &'a [usize], values: &'a [String]) -> Self {
        NpzArray { shape, values: NpzValues::Texts(values) }
    }

    /// An array of truth values in C order, as many as the product of `shape`.
    pub fn flags(shape: &'a [usize], values: &'a [bool]) -> Self {
        NpzArray { shape, values: NpzValues::Flags(values) }
    }

    /// The array as an `.npy` file.
    fn bytes(&self) -> Vec<u8> {
        match self.values {
            NpzValues::F64(v) => self.with_data("<f8", v.iter().map(|v| v.to_le_bytes())),
            NpzValues::I64(v) => self.with_data("<i8", v.iter().map(|v| v.to_le_bytes())),
            NpzValues::U64(v) => self.with_data("<u8", v.iter().map(|v| v.to_le_bytes())),
            NpzValues::Flags(v) => self.with_data("|b1", v.iter().map(|v| [u8::from(*v)])),
            NpzValues::Texts(v) => self.with_texts(v),
        }
    }

    /// Characters of four bytes, as NumPy has them.
    fn with_texts(&self, texts: &[String]) -> Vec<u8> {
        let longest = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(1);
        let mut bytes = header_bytes(&format!("<U{longest}"), self.shape);
        for text in texts {
            let padded = text.chars().map(u32::from).chain(std::iter::repeat(0));
            bytes.extend(padded.take(longest).flat_map(u32::to_le_bytes));
        }
        bytes
    }

    fn with_data<const SIZE: usize>(
        &self,
        descr: &str,
        data: impl ExactSizeIterator<Item = [u8; SIZE]>,
    ) -> Vec<u8> {
        let mut bytes = header_bytes(descr, self.shape);
        bytes.reserve_exact(SIZE * data.len());
        data.for_each(|number| bytes.extend(number));
        bytes
    }

    fn len(&self) -> usize {
        match self.values {
            NpzValues::F64(v) => v.len(),
            NpzValues::I64(v) => v.len(),
            NpzValues::U64(v) => v.len(),
            NpzValues::Texts(v) => v.len(),
            NpzValues::Flags(v) => v.len(),
        }
    }
}

impl<'a> From<&'a Array> for NpzArray<'a> {
    fn from(array: &'a Array) -> Self {
        NpzArray::f64(&array.shape, &array.values)
    }
}

/// An `.npz` archive of `entries`, (name, array) in the order given, which `numpy.load` reads.
///
/// The same entries give the same bytes on every machine: the members carry the earliest time a zip archive can and
/// are stored, because the output of a compressor changes with its version.
///
/// # Errors
/// A name that is empty, longer than 1,000 bytes or there twice; a shape that disagrees with the number of values or
/// has more than [`MAX_DIMS`] axes; 65,535 or more arrays; 4 GiB or more.
pub fn npz_bytes(entries: &[(&str, NpzArray<'_>)]) -> Result<Vec<u8>, FileError> {
    archive(entries, Path::new("npz archive"))
}

/// Writes [`npz_bytes`] to `path`, whole or not at all.
///
/// # Errors
/// Those of [`npz_bytes`] and of [`write_atomically`].
pub fn write_npz(path: impl AsRef<Path>, entries: &[(&str, NpzArray<'_>)]) -> Result<(), FileError> {
    let path = path.as_ref();
    write_atomically(path, &archive(entries, path)?)
}

fn archive(entries: &[(&str, NpzArray<'_>)], path: &Path) -> Result<Vec<u8>, FileError> {
    const LONGEST_NAME: usize = 1000;
    let too_large = || {
        let (allowed, remedy) =
            ("fewer than 65,535 arrays in less than 4 GiB", "record fewer quantities or times");
        FileError::new(path, Place::Whole, "more data than an archive holds", allowed, remedy)
    };
    let count = u16::try_from(entries.len()).ok().filter(|&n| n != u16::MAX).ok_or_else(too_large)?;
    let mut names = BTreeSet::new();
    // Checked before anything is built; the headers make up the small difference, which is checked at the end.
    let total: usize = entries.iter().map(|(_, array)| array.len()).sum();
    if total > MAX_VALUES {
        return Err(too_large());
    }
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, array) in entries {
        let source = Source { path, array: name };
        if name.is_empty() || name.len() > LONGEST_NAME || !names.insert(name) {
            let found = "a name that is empty, too long or there twice";
            return Err(source.error("", found, "distinct names of 1 to 1,000 bytes", "rename the array"));
        }
        let product = array.shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        if array.shape.len() > MAX_DIMS || product != Some(array.len()) {
            let found = format!("shape {:?} for {} values", array.shape, array.len());
            let allowed = format!("at most {MAX_DIMS} axes whose product is the number of values");
            return Err(source.error("", found, allowed, "correct the shape"));
        }
        let file_name = format!("{name}.npy");
        let data = array.bytes();
        let (size, offset) = match (u32::try_from(data.len()), u32::try_from(bytes.len())) {
            (Ok(size), Ok(offset)) => (size, offset),
            _ => return Err(too_large()),
        };
        let mut crc = Crc::new();
        crc.update(&data);
        // Common to the local header and the directory. Version 2.0 is what folders and deflate need and every reader
        // has; bit 11 says that names are UTF-8; then method 0, and midnight of 1 January 1980, the earliest there is.
        let mut common = Vec::new();
        for field in [20u16, 1 << 11, 0, 0, 1 << 5 | 1] {
            common.extend(field.to_le_bytes());
        }
        for field in [crc.sum(), size, size] {
            common.extend(field.to_le_bytes());
        }
        common.extend((file_name.len() as u16).to_le_bytes());
        common.extend([0; 2]); // no extra field
        bytes.extend(MAGIC);
        bytes.extend(&common);
        bytes.extend(file_name.as_bytes());
        bytes.extend(data);
        directory.extend(DIRECTORY_MAGIC);
        directory.extend(20u16.to_le_bytes()); // made by version 2.0 for no particular system
        directory.extend(&common);
        directory.extend([0; 10]); // no comment, first volume, no attributes
        directory.extend(offset.to_le_bytes());
        directory.extend(file_name.as_bytes());
    }
    let fits = |length: usize| u32::try_from(length).ok().filter(|&n| n != u32::MAX).ok_or_else(too_large);
    let (size, start) = (fits(directory.len())?, fits(bytes.len())?);
    fits(bytes.len() + directory.len() + END_LENGTH)?;
    bytes.append(&mut directory);
    bytes.extend(END_MAGIC);
    bytes.extend([0; 4]); // first and only volume
    bytes.extend(count.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]); // no comment
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::DeflateEncoder};
    use std::io::{Cursor, Write};

    fn read(bytes: &[u8]) -> Result<BTreeMap<String, Array>, FileError> {
        parse(Cursor::new(bytes), bytes.len() as u64, 1000, Path::new("x.npz"))
    }

    fn refusal(bytes: &[u8]) -> String {
        read(bytes).expect_err("should be refused").to_string()
    }

    /// An archive of one deflated member that announces `unpacked` bytes.
    fn deflated(name: &str, data: &[u8], unpacked: u32) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        let packed = encoder.finish().unwrap();
        let mut crc = Crc::new();
        crc.update(data);
        let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 33, 0];
        for field in [crc.sum(), packed.len() as u32, unpacked] {
            common.extend(field.to_le_bytes());
        }
        common.extend([name.len() as u8, 0, 0, 0]);
        let mut bytes = [MAGIC, &common, name.as_bytes(), &packed].concat();
        let start = bytes.len() as u32;
        bytes.extend([DIRECTORY_MAGIC, &[20, 0], &common, &[0; 14], name.as_bytes()].concat());
        let size = bytes.len() as u32 - start;
        bytes.extend([END_MAGIC, &[0, 0, 0, 0, 1, 0, 1, 0]].concat());
        bytes.extend(size.to_le_bytes());
        bytes.extend(start.to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    fn sample() -> Vec<u8> {
        let w = [0.1, -2.5, 1e-300, 4.0, 5.0, 6.0];
        npz_bytes(&[
            ("W1", NpzArray::f64(&[2, 3], &w)),
            ("step", NpzArray::i64(&[2], &[-1, 7])),
            ("seed", NpzArray::u64(&[], &[9])),
            ("größe", NpzArray::f64(&[0, 4], &[])),
        ])
        .unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let arrays = read(&sample()).unwrap();
        assert_eq!(arrays.keys().collect::<Vec<_>>(), ["W1", "größe", "seed", "step"]);
        assert_eq!(arrays["W1"], Array { shape: vec![2, 3], values: vec![0.1, -2.5, 1e-300, 4.0, 5.0, 6.0] });
        assert_eq!(arrays["step"], Array { shape: vec![2], values: vec![-1.0, 7.0] });
        assert_eq!(arrays["seed"], Array { shape: vec![], values: vec![9.0] });
        assert_eq!(arrays["größe"], Array { shape: vec![0, 4], values: vec![] });
        assert!(read(&npz_bytes(&[]).unwrap()).unwrap().is_empty());
    }

    #[test]
    fn the_same_arrays_give_the_same_bytes() {
        assert_eq!(sample(), sample());
        // Pinned: a change of these bytes would change the checksums of every stored result.
        let bytes = npz_bytes(&[("a", NpzArray::f64(&[1], &[1.0]))]).unwrap();
        assert_eq!(
            super::super::sha256_hex(&bytes),
            "91fc667b97f424fbd7415c550673d6b7a65a26f3cba2471716dd51369e06af96"
        );
    }

    #[test]
    fn another_program_reads_what_is_written() {
        let mut archive = ndarray_npy::NpzReader::new(Cursor::new(sample())).unwrap();
        let w: ndarray::Array2<f64> = archive.by_name("W1").unwrap();
        assert_eq!(w, ndarray::array![[0.1, -2.5, 1e-300], [4.0, 5.0, 6.0]]);
        let step: ndarray::Array1<i64> = archive.by_name("step").unwrap();
        assert_eq!(step, ndarray::array![-1, 7]);
    }

    #[test]
    fn what_another_program_writes_is_read() {
        let mut writer = ndarray_npy::NpzWriter::new(Cursor::new(Vec::new()));
        writer.add_array("a", &ndarray::array![[1i32, 2], [3, 4]]).unwrap();
        writer.add_array("b", &ndarray::array![0.5f32]).unwrap();
        let arrays = read(writer.finish().unwrap().get_ref()).unwrap();
        assert_eq!(arrays["a"], Array { shape: vec![2, 2], values: vec![1.0, 2.0, 3.0, 4.0] });
        assert_eq!(arrays["b"], Array { shape: vec![1], values: vec![0.5] });
    }

    #[test]
    fn a_file_of_numpy_savez_compressed_is_read() {
        // numpy.savez_compressed(f, W1=numpy.arange(6.).reshape(2, 3), b1=numpy.array([-1, 2], '>i2'))
        let bytes: Vec<u8> = NUMPY_HEX.as_bytes().chunks(2).map(hex_byte).collect();
        let arrays = read(&bytes).unwrap();
        assert_eq!(arrays["W1"], Array { shape: vec![2, 3], values: vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0] });
        assert_eq!(arrays["b1"], Array { shape: vec![2], values: vec![-1.0, 2.0] });
    }

    fn hex_byte(digits: &[u8]) -> u8 {
        u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
    }

    const NUMPY_HEX: &str = "\
        504b03042d000000080000002100f0cd3b46ffffffffffffffff0600140057312e6e707901001000b0000000000000005700\
        0000000000009bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e9366a1aea3a09e965f54529498179f5f94920a12774b\
        cc294e058a17672416a402f91a463a0ac69a3a0ab50a64032e0614f0c11eca7080501c505a004a8b380000504b03042d0000\
        0008000000210057c390c8ffffffffffffffff0600140062312e6e707901001000840000000000000048000000000000009b\
        ec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e9769a4aea3a09e965f54529498179f5f94920a12774bcc294e058a1767\
        2416a402f91a463a9a3a0ab50a1400aeffff199800504b01022d032d000000080000002100f0cd3b4657000000b000000006\
        000000000000000000000080010000000057312e6e7079504b01022d032d00000008000000210057c390c848000000840000\
        0006000000000000000000000080018f00000062312e6e7079504b05060000000002000200680000000f0100000000";

    #[test]
    fn files_that_are_no_archives_are_refused() {
        for bytes in [&b""[..], b"PK", b"not a zip archive at all, but long enough for one", &[0; 100_000]] {
            assert!(refusal(bytes).contains("no zip directory at its end"));
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = sample();
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length} of {} bytes were read", whole.len());
        }
    }

    #[test]
    fn no_change_of_one_byte_makes_the_reader_panic_or_return_other_values() {
        let npy = [header_bytes("<f8", &[2]), vec![1; 16]].concat();
        for whole in [sample(), deflated("a.npy", &npy, npy.len() as u32)] {
            let wanted: Vec<Array> = read(&whole).unwrap().into_values().collect();
            for at in 0..whole.len() {
                for flip in [1, 2, 16, 128, 255] {
                    let mut changed = whole.clone();
                    changed[at] ^= flip;
                    // Names may change their spelling, and with it their order, unnoticed; data may not.
                    for array in read(&changed).into_iter().flat_map(BTreeMap::into_values) {
                        assert!(wanted.contains(&array), "byte {at} ^ {flip} gave {array:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_archive_that_announces_more_than_the_limit_is_refused_before_it_is_decompressed() {
        let npy = [header_bytes("<f8", &[1000]), vec![0; 8000]].concat();
        let message = refusal(&deflated("a.npy", &npy, npy.len() as u32));
        assert!(message.contains("8128 bytes when decompressed; allowed: at most 8000"), "{message}");
    }

    #[test]
    fn a_bomb_that_announces_little_stops_at_what_it_announced() {
        let npy = [header_bytes("<f8", &[2]), vec![0; 1 << 20]].concat();
        let message = refusal(&deflated("a.npy", &npy, 128 + 16));
        assert!(message.contains("array `a`: more data than announced"), "{message}");
    }

    #[test]
    fn sizes_that_no_compression_can_reach_are_refused() {
        let npy = [header_bytes("|u1", &[900]), vec![0; 900]].concat();
        let packed = deflated("a.npy", &npy, 4_000_000_000);
        let message = refusal(&packed);
        assert!(message.contains("that announce 4000000000"), "{message}");
    }

    #[test]
    fn many_small_numbers_count_against_the_limit_as_what_they_become() {
        let npy = [header_bytes("|u1", &[1001]), vec![0; 1001]].concat();
        let message = refusal(&deflated("a.npy", &npy, npy.len() as u32));
        assert!(
            message.contains("array `a`, header: shape [1001]; allowed: at most 1000 values"),
            "{message}"
        );
    }

    #[test]
    fn members_that_are_no_arrays_or_not_readable_are_named() {
        assert!(refusal(&deflated("a.txt", b"x", 1)).contains("the member `a.txt`"));
        let npy = [header_bytes("<f8", &[1]), vec![0; 8]].concat();
        let mut bytes = deflated("a.npy", &npy, npy.len() as u32);
        let entry = bytes.len() - END_LENGTH - DIRECTORY_LENGTH - 5;
        bytes[entry + 10] = 12;
        assert!(refusal(&bytes).contains("array `a`: compression method 12"));
        bytes[entry + 10] = 8;
        bytes[entry + 8] = 1;
        assert!(refusal(&bytes).contains("array `a`: an encrypted member"));
    }

    #[test]
    fn two_arrays_of_one_name_are_refused_in_reading_and_writing() {
        let value = [1.0];
        let array = NpzArray::f64(&[1], &value);
        assert!(npz_bytes(&[("a", array), ("a", array)]).unwrap_err().to_string().contains("there twice"));
        let mut bytes = npz_bytes(&[("a", array), ("b", array)]).unwrap();
        for at in 0..bytes.len() - 5 {
            if &bytes[at..at + 5] == b"b.npy" {
                bytes[at] = b'a';
            }
        }
        assert!(refusal(&bytes).contains("array `a`: a second array of this name"));
    }

    #[test]
    fn shapes_that_disagree_with_their_values_are_not_written() {
        for shape in [&[2, 2][..], &[], &[usize::MAX, 2], &[1; MAX_DIMS + 1]] {
            let values = if shape.len() > MAX_DIMS { vec![0.0] } else { vec![0.0; 3] };
            let error = npz_bytes(&[("a", NpzArray::f64(shape, &values))]).unwrap_err();
            assert!(error.to_string().contains("correct the shape"), "{error}");
        }
    }

    #[test]
    fn an_archive_is_written_to_disk_and_read_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.npz");
        let array = Array { shape: vec![1, 2], values: vec![1.0, f64::NAN.copysign(1.0)] };
        write_npz(&path, &[("W1", (&array).into())]).unwrap();
        let read = read_npz(&path).unwrap();
        assert_eq!(read["W1"].shape, [1, 2]);
        assert_eq!(read["W1"].values[1].to_bits(), array.values[1].to_bits());
    }
}
