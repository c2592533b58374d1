//! `contraflow export DIR`: the results of a store in one file.

use super::{DONE, Export, FAILED, INTERRUPTED, counted, interrupted, print_line, refuse};
use crate::files::TableFormat;
use crate::run::{self, ExportFormat, ExportedTable, Store};
use std::fs;
use std::path::{Path, PathBuf};

const FORMATS: [&str; 3] = ["csv", "npz", "parquet"];
const TABLES: [&str; 3] = ["trajectories", "summary", "aggregates"];

pub(super) fn export(arguments: &Export) -> u8 {
    let table = match arguments.table.as_str() {
        "summary" => ExportedTable::Summary,
        "aggregates" => ExportedTable::Aggregates,
        _ => ExportedTable::Trajectories,
    };
    if table != ExportedTable::Trajectories && !arguments.arrays.is_empty() {
        return refuse(&"error: --array: allowed with --table trajectories only; leave it out");
    }
    let store = Store::new(&arguments.dir);
    let planned = match store.planned() {
        Ok(planned) => planned,
        Err(error) => return refuse(&format!("error: {error}")),
    };
    let (path, format) = match target(arguments) {
        Ok(target) => target,
        Err(message) => return refuse(&format!("error: --out: {message}")),
    };
    let format = match format {
        "npz" => ExportFormat::Npz,
        "parquet" => ExportFormat::Table(TableFormat::Parquet),
        _ => ExportFormat::Table(TableFormat::Csv),
    };
    let exported = match run::export(&store, &planned, table, format, &arguments.arrays, &path, &interrupted)
    {
        Ok(exported) => exported,
        Err(_) if interrupted() => {
            eprintln!("interrupted; nothing was written");
            return INTERRUPTED;
        }
        Err(error) if error.io_kind().is_some() => {
            eprintln!("error: {error}");
            return FAILED;
        }
        Err(error) => return refuse(&format!("error: {error}")),
    };
    let size = match (table, format) {
        (ExportedTable::Trajectories, ExportFormat::Npz) => counted(exported.columns, "array"),
        _ => format!("{} of {}", counted(exported.rows, "row"), counted(exported.columns, "column")),
    };
    let of = match table {
        ExportedTable::Summary => counted(exported.runs, "run"),
        _ => format!("{} of {}", exported.runs, counted(planned.len(), "planned run")),
    };
    print_line(&format!("{}: {size}, from {of}", path.display()));
    for problem in &exported.unreadable {
        eprintln!("left out: {problem}; `contraflow run` does again what is damaged");
    }
    if exported.unreadable.is_empty() { DONE } else { FAILED }
}

/// A file to write, with links followed: a new one in a folder that is there, or a regular one.
pub(super) fn regular_file(out: &Path) -> Result<PathBuf, String> {
    let shown = out.display();
    let folder = out.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(format!("the folder {} is not there; make it first", folder.display()));
    }
    match fs::canonicalize(out) {
        Ok(path) if path.is_file() => Ok(path),
        Ok(_) => Err(format!("{shown} is not a regular file; name one, or a new one")),
        Err(_) => Ok(out.to_path_buf()),
    }
}

/// The file to write, with links followed, and its format: it must be of no use to the store, and may be there already if it looks
/// like an earlier export.
fn target(arguments: &Export) -> Result<(PathBuf, &str), String> {
    let Some(out) = &arguments.out else {
        let format = arguments.format.as_deref().unwrap_or("csv");
        return Ok((arguments.dir.join(format!("{}.{format}", arguments.table)), format));
    };
    let shown = out.display();
    let extension = out.extension().and_then(|extension| extension.to_str());
    let Some(extension) = FORMATS.into_iter().find(|format| extension == Some(format)) else {
        return Err(format!("{shown}; allowed: a name that ends in .csv, .npz or .parquet"));
    };
    if let Some(format) = arguments.format.as_deref().filter(|format| *format != extension) {
        return Err(format!("{shown} with --format {format}; allowed: a name that ends in .{format}"));
    }
    let path = regular_file(out)?;
    let folder =
        fs::canonicalize(path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new(".")));
    let (folder, store) = (folder.unwrap_or_default(), fs::canonicalize(&arguments.dir).unwrap_or_default());
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_another_table = TABLES.contains(&stem) && stem != arguments.table;
    if folder.starts_with(&store) && (folder != store || is_another_table) {
        return Err(format!(
            "{shown} is a place of the store's own files; name one outside of {}",
            store.display()
        ));
    }
    Ok((path, extension))
}
