//! Parquet files: columns of tables, without compression beyond the encodings of the format.

use super::error::FileError;
use super::table::{Column, Table};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A Parquet file that takes tables with the same columns one after the other, each as a row group.
pub(super) struct ParquetWriter<W: Write + Send> {
    path: PathBuf,
    writer: SerializedFileWriter<W>,
}

impl<W: Write + Send> ParquetWriter<W> {
    /// A writer to `file` of tables that have the columns of `example`; `path` is for errors.
    pub(super) fn new(path: &Path, file: W, example: &Table) -> Result<Self, FileError> {
        let begun = schema(example).and_then(|schema| {
            let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
            SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))
        });
        let writer = begun.map_err(|error| failed(path, &error))?;
        Ok(ParquetWriter { path: path.to_path_buf(), writer })
    }

    /// Adds the rows of a table.
    pub(super) fn write(&mut self, table: &Table) -> Result<(), FileError> {
        self.write_group(table).map_err(|error| failed(&self.path, &error))
    }

    fn write_group(&mut self, table: &Table) -> parquet::errors::Result<()> {
        let mut group = self.writer.next_row_group()?;
        for (_, column) in table.columns() {
            let Some(mut writer) = group.next_column()? else { break };
            match column {
                Column::Texts(texts) => {
                    let values: Vec<ByteArray> = texts.iter().map(|text| text.as_str().into()).collect();
                    writer.typed::<ByteArrayType>().write_batch(&values, None, None)?;
                }
                Column::Flags(flags) => {
                    writer.typed::<BoolType>().write_batch(flags, None, None)?;
                }
                Column::Numbers(numbers) => {
                    writer.typed::<DoubleType>().write_batch(numbers, None, None)?;
                }
                Column::Integers(integers) => {
                    let present: Vec<i16> =
                        integers.iter().map(|integer| i16::from(integer.is_some())).collect();
                    let values: Vec<i64> = integers.iter().flatten().copied().collect();
                    writer.typed::<Int64Type>().write_batch(&values, Some(&present), None)?;
                }
            }
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }

    /// Writes what closes the file.
    pub(super) fn finish(self) -> Result<(), FileError> {
        let ParquetWriter { path, writer } = self;
        writer.close().map(|_| ()).map_err(|error| failed(&path, &error))
    }
}

fn schema(table: &Table) -> parquet::errors::Result<Type> {
    let field = |(name, column): &(String, Column)| {
        let (physical, repetition, logical) = match column {
            Column::Texts(_) => (Physical::BYTE_ARRAY, Repetition::REQUIRED, Some(LogicalType::String)),
            Column::Flags(_) => (Physical::BOOLEAN, Repetition::REQUIRED, None),
            Column::Integers(_) => (Physical::INT64, Repetition::OPTIONAL, None),
            Column::Numbers(_) => (Physical::DOUBLE, Repetition::REQUIRED, None),
        };
        let builder = Type::primitive_type_builder(name, physical);
        Ok(Arc::new(builder.with_repetition(repetition).with_logical_type(logical).build()?))
    };
    let fields = table.columns().iter().map(field).collect::<parquet::errors::Result<_>>()?;
    Type::group_type_builder("contraflow").with_fields(fields).build()
}

fn failed(path: &Path, error: &parquet::errors::ParquetError) -> FileError {
    FileError::io(path, "write Parquet", &std::io::Error::other(error.to_string()))
}
