//! Results as one file for other programs: the tables of a store, and its trajectories, as rows or as arrays over all runs.

use super::overview::PlannedRuns;
use super::store::{Store, StoredRun};
use super::summary::{Told, aggregates, flaw, identity, labels, load, planned_directories, stopped, summary};
use crate::files::{self, Array, Column, FileError, MAX_VALUES, NpzArray, Place, Table, TableFormat};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportedTable {
    /// What the planned runs recorded over time.
    Trajectories,
    /// The table `summary.csv`.
    Summary,
    /// The table `aggregates.csv`.
    Aggregates,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// A table: one row a run and recorded time, and a column for each number in the arrays that follow time.
    Table(TableFormat),
    /// NumPy's archive: an array a column of a table; of trajectories, what the runs have recorded under one name stacked into
    /// one array whose first axis is the run.
    Npz,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Runs of which something is in the file.
    pub runs: usize,
    /// Rows of the table; of stacked arrays, the runs.
    pub rows: usize,
    /// Columns of the table, or arrays.
    pub columns: usize,
    /// Runs that are left out as they cannot be read, and why.
    pub unreadable: Vec<String>,
}

/// Writes results of `store` to `path`, whole or not at all; of trajectories those arrays that `arrays` names, or all if it names
/// none. Rows and arrays end with NaN, or nothing, where a run has recorded less than another.
///
/// Cost: reads all records; trajectories are read twice, and a table of them is held in parts of a million numbers or one run, beside
/// whatever says which run a row is; stacked arrays as a whole, and once more as a file.
///
/// # Errors
/// There is nothing to export; an array that no run has, or that has no place in a table; more than an archive holds; a run that is
/// replaced meanwhile; what cannot be written; `stop` says so.
pub fn export(
    store: &Store,
    planned: &PlannedRuns,
    table: ExportedTable,
    format: ExportFormat,
    arrays: &[String],
    path: &Path,
    stop: &dyn Fn() -> bool,
) -> Result<Exported, FileError> {
    let (table, runs, unreadable) = match table {
        ExportedTable::Trajectories => {
            let mut survey = Survey::of(store, planned, stop)?;
            survey.choose(arrays, format)?;
            return survey.write(format, path);
        }
        ExportedTable::Summary => summary(store, planned, stop)?,
        ExportedTable::Aggregates => aggregates(store, planned, stop)?,
    };
    if table.rows() == 0 {
        return Err(nothing(store));
    }
    match format {
        ExportFormat::Npz => files::write_atomically(path, &table.npz_bytes(&[])?)?,
        ExportFormat::Table(format) => files::write_table(path, format, std::iter::once(Ok(table.clone())))?,
    }
    Ok(Exported { runs, rows: table.rows(), columns: table.columns().len(), unreadable })
}

fn nothing(store: &Store) -> FileError {
    let remedy = "wait for `contraflow run`, or see what `contraflow status` says";
    FileError::new(store.root(), Place::Whole, "nothing to export", "a planned run with results", remedy)
}

/// The shape that holds an array of all runs.
#[derive(Debug)]
struct Shape {
    /// Of each axis, the longest.
    lengths: Vec<usize>,
    /// Whether the first axis is the recorded time, in all runs.
    follows_time: bool,
}

impl Shape {
    /// Numbers a recorded time.
    fn row_length(&self) -> usize {
        self.lengths[1..].iter().product()
    }
}

/// What there is to export, by one pass over the records.
struct Survey<'a> {
    store: &'a Store,
    stop: &'a dyn Fn() -> bool,
    directories: Vec<PathBuf>,
    /// One row a run.
    identity: Table,
    /// Recorded times of each run.
    times: Vec<usize>,
    shapes: BTreeMap<String, Shape>,
    unreadable: Vec<String>,
}

impl<'a> Survey<'a> {
    /// Of the planned runs that have records.
    fn of(
        store: &'a Store,
        planned: &PlannedRuns,
        stop: &'a dyn Fn() -> bool,
    ) -> Result<Survey<'a>, FileError> {
        let (mut directories, mut told, mut times) = (Vec::new(), Vec::new(), Vec::new());
        let mut shapes = BTreeMap::new();
        let mut unreadable = Vec::new();
        for directory in planned_directories(store, planned) {
            if stop() {
                return Err(stopped(store));
            }
            let read = Told::read(store, &directory).and_then(|told| match told.has_no_record() {
                true => Ok(None),
                false => match load(store, &directory) {
                    Ok(run) => Ok(Some((told, run))),
                    Err(error) => Err(flaw(&error)),
                },
            });
            match read {
                Ok(None) => (),
                Ok(Some((run_told, run))) => {
                    add_shapes(&mut shapes, &run, &directory)?;
                    times.push(run.times().len());
                    told.push(run_told);
                    directories.push(directory);
                }
                Err(problem) => unreadable.push(problem),
            }
        }
        if directories.is_empty() {
            return Err(nothing(store));
        }
        let identity = identity(&told.iter().collect::<Vec<_>>());
        Ok(Survey { store, stop, directories, identity, times, shapes, unreadable })
    }

    /// The results of the run of this index, once more.
    fn load(&self, index: usize) -> Result<StoredRun, FileError> {
        if (self.stop)() {
            return Err(stopped(self.store));
        }
        let directory = &self.directories[index];
        let run = load(self.store, directory)?;
        let fits = |(name, shape): (&String, &Shape)| {
            run.arrays.get(name).is_none_or(|array| {
                let lengths = shape.lengths.iter().zip(&array.shape);
                array.shape.len() == shape.lengths.len()
                    && lengths.into_iter().all(|(most, length)| length <= most)
            })
        };
        if run.times().len() == self.times[index] && self.shapes.iter().all(fits) {
            return Ok(run);
        }
        let (found, allowed) = ("replaced by another run while it was exported", "runs that have ended");
        Err(FileError::new(directory, Place::Whole, found, allowed, "export again"))
    }

    /// Writes all of it.
    fn write(self, format: ExportFormat, path: &Path) -> Result<Exported, FileError> {
        let identified = self.identity.columns().len();
        let (rows, columns) = match format {
            ExportFormat::Npz => {
                let stacked = self.stacked()?;
                let more: Vec<(&str, NpzArray<'_>)> =
                    stacked.iter().map(|(name, array)| (name.as_str(), array.into())).collect();
                files::write_atomically(path, &self.identity.npz_bytes(&more)?)?;
                (self.directories.len(), stacked.len())
            }
            ExportFormat::Table(format) => {
                files::write_table(path, format, self.parts())?;
                (self.times.iter().sum(), self.shapes.values().map(Shape::row_length).sum())
            }
        };
        let (runs, columns) = (self.directories.len(), identified + columns);
        Ok(Exported { runs, rows, columns, unreadable: self.unreadable })
    }

    /// Keeps `time`, `step` and the arrays of these names, or all if there are none, each spectrum with its floor; a table has only
    /// arrays that follow time.
    fn choose(&mut self, names: &[String], format: ExportFormat) -> Result<(), FileError> {
        let fits = |shape: &Shape| format == ExportFormat::Npz || shape.follows_time;
        for name in names {
            let (found, remedy) = match self.shapes.get(name) {
                Some(shape) if fits(shape) => continue,
                Some(_) => ("does not follow time".to_string(), "ask for --format npz, or leave it out"),
                None => (format!("no array `{name}`"), "name one of these"),
            };
            let known: Vec<&str> =
                self.shapes.iter().filter(|(_, shape)| fits(shape)).map(|(name, _)| name.as_str()).collect();
            let (place, known) = (Place::Part(format!("array `{name}`")), known.join(", "));
            return Err(FileError::new(self.store.root(), place, found, known, remedy));
        }
        let is_floor_of = |floor: &str, name: &str| {
            floor.strip_prefix("floor_").is_some_and(|of| name.strip_prefix("sigma_") == Some(of))
        };
        let asked = |array: &String| {
            let accompanies = |name: &String| name == array || is_floor_of(array, name);
            names.is_empty() || names.iter().any(accompanies) || matches!(array.as_str(), "time" | "step")
        };
        self.shapes.retain(|name, shape| asked(name) && fits(shape));
        Ok(())
    }

    /// The arrays of all runs, stacked, by name.
    fn stacked(&self) -> Result<BTreeMap<String, Array>, FileError> {
        let runs = self.directories.len();
        let size = |shape: &Shape| shape.lengths.iter().product::<usize>().saturating_mul(runs);
        let total = self.shapes.values().map(size).fold(0, usize::saturating_add);
        if total >= MAX_VALUES {
            let (found, allowed) =
                (format!("{total} numbers"), format!("fewer than {MAX_VALUES} in an archive"));
            let remedy = "name the arrays that matter with --array, or ask for --format csv or parquet";
            return Err(FileError::new(self.store.root(), Place::Whole, found, allowed, remedy));
        }
        let mut stacked: BTreeMap<String, Array> = BTreeMap::new();
        for (name, shape) in &self.shapes {
            let axes = std::iter::once(runs).chain(shape.lengths.iter().copied()).collect();
            stacked.insert(name.clone(), Array { shape: axes, values: vec![f64::NAN; size(shape)] });
        }
        for index in 0..runs {
            let run = self.load(index)?;
            for (name, stacked) in &mut stacked {
                let lengths = &stacked.shape[1..];
                let size: usize = lengths.iter().product();
                if let Some(array) = run.arrays.get(name) {
                    let room = &mut stacked.values[index * size..][..size];
                    spread(&array.values, &array.shape, lengths, room);
                }
            }
        }
        Ok(stacked)
    }

    /// The rows of the runs, as many runs at a time as give some [`PART`] numbers.
    fn parts(&self) -> impl Iterator<Item = Result<Table, FileError>> {
        let columns: usize = self.shapes.values().map(Shape::row_length).sum();
        let mut next = 0;
        std::iter::from_fn(move || {
            let first = next;
            let mut numbers = 0;
            while next < self.directories.len() && (next == first || numbers < PART) {
                numbers += self.times[next] * columns;
                next += 1;
            }
            (next > first).then(|| self.part(first, next))
        })
    }

    /// The rows of the runs from index `first` to before `end`.
    fn part(&self, first: usize, end: usize) -> Result<Table, FileError> {
        let mut rows_of = Vec::new();
        let mut numbers: Vec<Vec<f64>> = vec![Vec::new(); self.shapes.len()];
        for index in first..end {
            let run = self.load(index)?;
            let times = run.times().len();
            rows_of.resize(rows_of.len() + times, index);
            for ((name, shape), numbers) in self.shapes.iter().zip(&mut numbers) {
                let begin = numbers.len();
                numbers.resize(begin + times * shape.row_length(), f64::NAN);
                if let Some(array) = run.arrays.get(name) {
                    let lengths = [&[times], &shape.lengths[1..]].concat();
                    spread(&array.values, &array.shape, &lengths, &mut numbers[begin..]);
                }
            }
        }
        let mut table = Table::default();
        for (name, column) in self.identity.columns() {
            table.push(name, column.at(&rows_of));
        }
        // When comes before what.
        let (when, what): (Vec<_>, Vec<_>) = self
            .shapes
            .iter()
            .zip(&numbers)
            .partition(|((name, _), _)| matches!(name.as_str(), "time" | "step"));
        for ((name, shape), numbers) in when.into_iter().rev().chain(what) {
            let length = shape.row_length();
            for (element, label) in labels(name, &shape.lengths[1..]).into_iter().enumerate() {
                let values = numbers.iter().skip(element).step_by(length.max(1)).copied();
                table.push(
                    label,
                    if name == "step" { whole(values) } else { Column::Numbers(values.collect()) },
                );
            }
        }
        Ok(table)
    }
}

/// Numbers held at a time where a table is written part by part.
const PART: usize = 1 << 20;

fn whole(values: impl Iterator<Item = f64>) -> Column {
    Column::Integers(values.map(|value| (!value.is_nan()).then_some(value as i64)).collect())
}

/// Makes room in `shapes` for the arrays of a run.
fn add_shapes(
    shapes: &mut BTreeMap<String, Shape>,
    run: &StoredRun,
    directory: &Path,
) -> Result<(), FileError> {
    for (name, array) in &run.arrays {
        let follows_time = run.has_time_axis(name);
        let Some(known) = shapes.get_mut(name) else {
            shapes.insert(name.clone(), Shape { lengths: array.shape.clone(), follows_time });
            continue;
        };
        if known.lengths.len() != array.shape.len() {
            let (found, allowed) = (
                format!("{} axes", array.shape.len()),
                format!("{}, as in the runs before", known.lengths.len()),
            );
            let remedy = "export the other arrays with --array";
            return Err(FileError::new(
                directory,
                Place::Part(format!("array `{name}`")),
                found,
                allowed,
                remedy,
            ));
        }
        known.follows_time &= follows_time;
        for (longest, length) in known.lengths.iter_mut().zip(&array.shape) {
            *longest = (*longest).max(*length);
        }
    }
    Ok(())
}

/// Copies `values` of shape `shape` to the beginnings of the axes of a larger array.
fn spread(values: &[f64], shape: &[usize], larger: &[usize], into: &mut [f64]) {
    let [length, inner @ ..] = shape else {
        into[..values.len()].copy_from_slice(values);
        return;
    };
    if inner == &larger[1..] {
        into[..values.len()].copy_from_slice(values);
        return;
    }
    let (from, to) = (inner.iter().product::<usize>(), larger[1..].iter().product::<usize>());
    for row in 0..*length {
        spread(&values[row * from..][..from], inner, &larger[1..], &mut into[row * to..][..to]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::SMALL_EXPERIMENT;
    use super::super::schedule::run;
    use super::*;
    use crate::experiment::Experiment;
    use std::cell::Cell;

    fn done(folder: &Path) -> (Experiment, Store) {
        let store = Store::new(folder.join("records"));
        let experiment = Experiment::parse("test.toml", folder, SMALL_EXPERIMENT, &[]).unwrap();
        run(&experiment, &store, 1, false, &|| false, &|_| ()).unwrap();
        (experiment, store)
    }

    #[test]
    fn an_export_that_is_stopped_at_any_time_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (experiment, store) = done(folder.path());
        let planned = PlannedRuns::of(&experiment);
        let tables = [ExportedTable::Trajectories, ExportedTable::Summary, ExportedTable::Aggregates];
        let csv = ExportFormat::Table(TableFormat::Csv);
        for (table, format) in tables.into_iter().flat_map(|table| [(table, csv), (table, ExportFormat::Npz)])
        {
            let path = folder.path().join("file");
            let mut last = 0;
            for allowed in 0.. {
                let asked = Cell::new(0);
                let stop = || {
                    asked.set(asked.get() + 1);
                    asked.get() > allowed
                };
                let exported = export(&store, &planned, table, format, &[], &path, &stop);
                if exported.is_ok() {
                    break;
                }
                assert_eq!(exported.unwrap_err().io_kind(), Some(std::io::ErrorKind::Interrupted));
                assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{table:?} {format:?}");
                last = allowed + 1;
            }
            // Trajectories are read twice.
            let reads = if table == ExportedTable::Trajectories { 2 } else { 1 };
            assert_eq!(last, reads * experiment.plans.len());
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_run_that_is_replaced_while_it_is_exported_is_an_error_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let (experiment, store) = done(folder.path());
        let record = store.directory(&experiment.plans[0]).join("record.npz");
        let arrays = files::read_npz(&record).unwrap();
        for format in [ExportFormat::Table(TableFormat::Csv), ExportFormat::Npz] {
            for longer in [true, false] {
                let survey = Survey::of(&store, &PlannedRuns::of(&experiment), &|| false).unwrap();
                let mut changed = arrays.clone();
                for array in changed.values_mut() {
                    let row: usize = array.shape[1..].iter().product();
                    if longer {
                        array.values.extend(vec![0.0; row]);
                    } else {
                        array.values.truncate(array.values.len() - row);
                    }
                    array.shape[0] = array.values.len() / row.max(1);
                }
                let entries: Vec<_> =
                    changed.iter().map(|(name, array)| (name.as_str(), array.into())).collect();
                files::write_npz(&record, &entries).unwrap();
                let path = folder.path().join("file");
                let error = survey.write(format, &path).unwrap_err().to_string();
                assert!(error.contains("replaced by another run"), "{error}");
                assert!(!path.exists());
                let entries: Vec<_> =
                    arrays.iter().map(|(name, array)| (name.as_str(), array.into())).collect();
                files::write_npz(&record, &entries).unwrap();
            }
        }
    }

    #[test]
    fn arrays_spread_over_larger_ones_leave_the_rest_as_it_was() {
        let values: Vec<f64> = (1..=6).map(f64::from).collect();
        let mut into = [0.0; 24];
        spread(&values, &[1, 2, 3], &[2, 3, 4], &mut into);
        let mut expected = [0.0; 24];
        for (row, column) in (0..2).flat_map(|row| (0..3).map(move |column| (row, column))) {
            expected[4 * row + column] = values[3 * row + column];
        }
        assert_eq!(into, expected);
        let mut into = [0.0; 8];
        spread(&values, &[2, 3], &[2, 4], &mut into);
        assert_eq!(into, [1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0, 0.0]);
        spread(&[7.0], &[], &[], &mut into[..1]);
        spread(&[8.0, 9.0], &[2], &[3], &mut into[1..4]);
        assert_eq!(into[..4], [7.0, 8.0, 9.0, 0.0]);
    }
}
