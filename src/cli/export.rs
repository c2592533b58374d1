//! `contraflow export DIR`: the results of a store in one file.

use super::{DONE, Export, FAILED, counted, print_line, refuse};
use crate::files::TableFormat;
use crate::run::{self, ExportFormat, ExportedTable, Store};

pub(super) fn export(arguments: &Export) -> u8 {
    let table = match arguments.table.as_str() {
        "summary" => ExportedTable::Summary,
        "aggregates" => ExportedTable::Aggregates,
        _ => ExportedTable::Trajectories,
    };
    let format = match arguments.format.as_str() {
        "npz" => ExportFormat::Npz,
        "parquet" => ExportFormat::Table(TableFormat::Parquet),
        _ => ExportFormat::Table(TableFormat::Csv),
    };
    if table != ExportedTable::Trajectories && !arguments.arrays.is_empty() {
        return refuse(&"error: --array: allowed with --table trajectories only; leave it out");
    }
    let path = arguments
        .out
        .clone()
        .unwrap_or_else(|| arguments.dir.join(format!("{}.{}", arguments.table, arguments.format)));
    let store = Store::new(&arguments.dir);
    let planned = match store.planned() {
        Ok(planned) => planned,
        Err(error) => return refuse(&format!("error: {error}")),
    };
    let exported = match run::export(&store, &planned, table, format, &arguments.arrays, &path) {
        Ok(exported) => exported,
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
        eprintln!("left out: {problem}; `contraflow run` does the run again");
    }
    if exported.unreadable.is_empty() { DONE } else { FAILED }
}
