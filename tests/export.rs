//! Results for people: `summary.csv`, `aggregates.csv` and `contraflow export`, against the records themselves.

use contraflow::files::{Array, read_npz};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Two depths and two rates, of which the second diverges; six repeats.
const SWEEP: &str = r#"
seed     = 3
repeats  = 6
data     = { kind = "gaussian", dim = 4, samples = 32 }
augment  = { kind = "block", block = 2, variance = 0.5, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4], init = { kind = "gaussian", std = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "gd", rate = 0.1, steps = 8 }
observe  = { times = { kind = "linear", every = 2 }, quantities = ["loss", "spectra", "alignment", "theory"] }
sweep    = { "encoder.widths" = [[4, 4], [4, 3, 2]], "dynamics.rate" = [0.1, 1e300] }
"#;

const RUNS: usize = 24;

struct Place(TempDir);

impl Place {
    /// With the sweep done in `out`.
    fn with_results() -> Place {
        let place = Place(TempDir::new().unwrap());
        fs::write(place.path("sweep.toml"), SWEEP).unwrap();
        // Half of the runs diverge.
        assert_eq!(place.call(&["run", "sweep.toml", "--out", "out"]).status.code(), Some(1));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn call(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_contraflow"));
        command.current_dir(self.0.path()).args(arguments).output().unwrap()
    }

    /// What an export that succeeds prints.
    fn export(&self, arguments: &[&str]) -> String {
        let output = self.call(&[&["export", "out"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What an export that is refused says; it leaves nothing.
    fn refusal(&self, arguments: &[&str], status: i32) -> String {
        let before = names(self.0.path());
        let output = self.call(&[&["export", "out"], arguments].concat());
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", errors(&output));
        assert_eq!(names(self.0.path()), before, "{arguments:?}");
        errors(&output)
    }

    /// All runs, by the names of their directories.
    fn runs(&self) -> BTreeMap<String, Run> {
        let mut runs = BTreeMap::new();
        for name in names(&self.path("out")) {
            let directory = self.path("out").join(&name);
            if let Ok(arrays) = read_npz(directory.join("record.npz")) {
                let outcome = fs::read_to_string(directory.join("outcome.json")).unwrap();
                runs.insert(name, Run { arrays, outcome: serde_json::from_str(&outcome).unwrap() });
            }
        }
        runs
    }
}

struct Run {
    arrays: BTreeMap<String, Array>,
    outcome: Value,
}

impl Run {
    fn is_finished(&self) -> bool {
        self.outcome["finished"] == true
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Rows by column name, quotes undone.
fn rows(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut lines = text.lines().map(fields);
    let header = lines.next().unwrap();
    lines.map(|fields| header.iter().cloned().zip(fields).collect()).collect()
}

fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().unwrap().push(other),
        }
    }
    fields
}

fn number(text: &str) -> f64 {
    if text.is_empty() { f64::NAN } else { text.parse().unwrap() }
}

/// The array of this name in an archive that is not compressed.
fn stored_array(archive: &[u8], name: &str) -> (String, Vec<f64>) {
    let magic = [name.as_bytes(), b".npy\x93NUMPY"].concat();
    let at = archive.windows(magic.len()).position(|window| window == magic).unwrap() + magic.len();
    let length = usize::from(u16::from_le_bytes([archive[at + 2], archive[at + 3]]));
    let header = String::from_utf8(archive[at + 4..at + 4 + length].to_vec()).unwrap();
    let shape = header.split("'shape': (").nth(1).unwrap().split(')').next().unwrap();
    let count: usize = shape
        .split(", ")
        .filter(|n| !n.is_empty())
        .map(|n| n.trim_end_matches(',').parse::<usize>().unwrap())
        .product();
    let numbers = archive[at + 4 + length..].chunks(8).take(count);
    (shape.to_string(), numbers.map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect())
}

#[test]
fn a_table_of_trajectories_has_every_number_of_every_run_at_its_place() {
    let place = Place::with_results();
    assert!(place.export(&[]).starts_with("out/trajectories.csv: "));
    let text = fs::read_to_string(place.path("out/trajectories.csv")).unwrap();
    let header = fields(text.lines().next().unwrap());
    let first = [
        "directory",
        "encoder.widths",
        "dynamics.rate",
        "seed",
        "repeat",
        "ending",
        "finished",
        "time",
        "step",
    ];
    assert_eq!(header[..9], first);
    let rows = rows(&text);
    let runs = place.runs();
    assert_eq!(runs.len(), RUNS);
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        let run = &runs[&row["directory"]];
        let time = found.entry(&row["directory"]).or_insert(0);
        assert_eq!(row["ending"], run.outcome["ending"].as_str().unwrap());
        assert_eq!(row["repeat"], run.outcome["repeat"].to_string());
        assert_eq!(row["finished"], run.is_finished().to_string());
        assert_eq!(row["encoder.widths"], run.outcome["swept"]["encoder.widths"].as_str().unwrap());
        for (column, text) in row.iter().filter(|(column, _)| !first[..7].contains(&column.as_str())) {
            let (name, index) = column.split_once('[').unwrap_or((column, "]"));
            let index: Vec<usize> =
                index.trim_end_matches(']').split(',').filter_map(|n| n.parse().ok()).collect();
            let expected = run.arrays.get(name).and_then(|array| {
                let inside = index.iter().zip(&array.shape[1..]).all(|(index, length)| index < length);
                let flat = array.shape[1..].iter().zip(&index).fold(*time, |flat, (n, i)| flat * n + i);
                inside.then(|| array.values[flat])
            });
            let expected = expected.unwrap_or(f64::NAN);
            assert!(
                number(text) == expected || (text.is_empty() && expected.is_nan()),
                "{column} of {}: {text}, not {expected}",
                row["directory"]
            );
        }
        *time += 1;
    }
    for (directory, times) in found {
        assert_eq!(times, runs[directory].arrays["time"].values.len(), "{directory}");
    }
    // Deeper runs have more layers; what has no row a time is not in the table.
    assert!(
        header.contains(&"sigma_w2[1]".to_string()) && header.contains(&"alignment_1_2[1,2]".to_string())
    );
    assert!(!header.iter().any(|name| name.starts_with("theory_rank")));
    assert!(runs.values().any(|run| run.arrays.contains_key("theory_rank")));
}

#[test]
fn arrays_are_stacked_over_runs_and_filled_up_with_nan() {
    let place = Place::with_results();
    let said = place.export(&["--format", "npz", "--array", "sigma_end_to_end", "--array", "theory_rank"]);
    // Identity, time and step, the two, and the floor of the spectrum.
    assert!(said.contains("out/trajectories.npz: 12 arrays, from 24 of 24 planned runs"), "{said}");
    let archive = fs::read(place.path("out/trajectories.npz")).unwrap();
    let runs = place.runs();
    // Directories are in the order of the plan; the tables tell it.
    place.export(&["--array", "time", "--out", "time.csv"]);
    let mut order = Vec::new();
    for row in rows(&fs::read_to_string(place.path("time.csv")).unwrap()) {
        if order.last() != Some(&row["directory"]) {
            order.push(row["directory"].clone());
        }
    }
    let (shape, stacked) = stored_array(&archive, "sigma_end_to_end");
    assert_eq!(shape, "24, 5, 4");
    for (at, value) in stacked.iter().enumerate() {
        let (run, time, index) = (at / 20, at / 4 % 5, at % 4);
        let array = &runs[&order[run]].arrays["sigma_end_to_end"];
        let inside = time < array.shape[0] && index < array.shape[1];
        let expected = if inside { array.values[time * array.shape[1] + index] } else { f64::NAN };
        assert!(*value == expected || (value.is_nan() && expected.is_nan()), "{run} {time} {index}");
    }
    assert_eq!(stored_array(&archive, "floor_end_to_end").0, "24, 5");
    let (shape, ranks) = stored_array(&archive, "theory_rank");
    assert_eq!(shape, "24,");
    for (directory, rank) in order.iter().zip(ranks) {
        let expected = runs[directory].arrays.get("theory_rank").map_or(f64::NAN, |array| array.values[0]);
        assert!(rank == expected || (rank.is_nan() && expected.is_nan()), "{directory}: {rank}");
    }
}

/// Linear between the two values around it.
fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let position = part * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

#[test]
fn aggregates_are_over_the_finished_repeats_of_each_planned_cell() {
    let place = Place::with_results();
    // Another experiment in the same folder is not mixed in, with the same swept keys or without.
    let single: Vec<&str> = SWEEP.lines().filter(|line| !line.starts_with("sweep")).collect();
    fs::write(place.path("single.toml"), single.join("\n")).unwrap();
    place.call(&["run", "sweep.toml", "--out", "out", "--set", "dynamics.steps=4"]);
    place.call(&["run", "single.toml", "--out", "out", "--set", "dynamics.steps=4"]);
    assert_eq!(place.call(&["run", "sweep.toml", "--out", "out"]).status.code(), Some(1));
    let text = fs::read_to_string(place.path("out/aggregates.csv")).unwrap();
    let summary = fs::read_to_string(place.path("out/summary.csv")).unwrap();
    let summary = rows(&summary);
    assert_eq!(summary.len(), 2 * RUNS + 6);
    assert_eq!(summary.iter().filter(|row| row["planned"] == "true").count(), RUNS);
    let runs = place.runs();
    let aggregates = rows(&text);
    let mut cells = 0;
    for row in &aggregates {
        let values: Vec<f64> = summary
            .iter()
            .filter(|run| run["planned"] == "true" && runs[&run["directory"]].is_finished())
            .filter(|run| ["encoder.widths", "dynamics.rate"].iter().all(|key| run[*key] == row[*key]))
            .map(|run| {
                let (name, index) = row["quantity"].split_once('[').unwrap_or((&row["quantity"], "0"));
                let array = &runs[&run["directory"]].arrays[name];
                let length: usize = array.shape[1..].iter().product();
                let last = &array.values[array.values.len() - length..];
                let value = last[index.trim_end_matches(']').parse::<usize>().unwrap()];
                if name == row["quantity"] {
                    assert_eq!(number(&run[name]), value, "summary and record");
                }
                value
            })
            .collect();
        let finished = if row["dynamics.rate"] == "0.1" { 6 } else { 0 };
        assert_eq!(
            [&row["repeats"], &row["failed"], &row["planned"]],
            [&finished.to_string(), &(6 - finished).to_string(), "6"]
        );
        assert_eq!(values.len(), finished);
        if finished == 0 {
            assert!(row["median"].is_empty() && row["max"].is_empty(), "{row:?}");
            continue;
        }
        for (column, part) in [("min", 0.0), ("q25", 0.25), ("median", 0.5), ("q75", 0.75), ("max", 1.0)] {
            let (found, expected) = (number(&row[column]), quantile(&values, part));
            // Two ways to round a mean of two numbers.
            let rounding =
                4.0 * f64::EPSILON * values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
            assert!((found - expected).abs() <= rounding, "{column}: {found}, not {expected}");
        }
        let (low, high) = (number(&row["median_low"]), number(&row["median_high"]));
        assert!(number(&row["min"]) <= low && low <= number(&row["median"]), "{row:?}");
        assert!(number(&row["median"]) <= high && high <= number(&row["max"]), "{row:?}");
        cells += usize::from(row["quantity"] == "loss");
    }
    // Of the four cells two have diverged: they are there, and have nothing to tell.
    assert_eq!(cells, 2);
    assert_eq!(aggregates.iter().filter(|row| row["quantity"] == "loss").count(), 4);
    let depths = |quantity: &str| {
        let rows = aggregates.iter().filter(|row| row["quantity"] == quantity && row["repeats"] == "6");
        rows.map(|row| row["encoder.widths"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(depths("sigma_w1[3]"), ["[4, 4]"]);
    assert_eq!(depths("sigma_w2[1]"), ["[4, 3, 2]"]);
    // Control: with what the folder holds besides there would be more repeats.
    let all = summary.iter().filter(|row| row["dynamics.rate"] == "0.1" && row["encoder.widths"] == "[4, 4]");
    assert_eq!(all.count(), 12);

    for table in ["summary", "aggregates"] {
        place.export(&["--table", table, "--out", "exported.csv"]);
        let kept = fs::read(place.path("out").join(format!("{table}.csv"))).unwrap();
        assert_eq!(fs::read(place.path("exported.csv")).unwrap(), kept, "{table}");
    }
    place.export(&["--table", "aggregates", "--format", "npz"]);
    let archive = fs::read(place.path("out/aggregates.npz")).unwrap();
    let expected: Vec<f64> = aggregates.iter().map(|row| number(&row["median"])).collect();
    // As text, in which NaN equals itself.
    assert_eq!(format!("{:?}", stored_array(&archive, "median").1), format!("{expected:?}"));
}

/// What a run is swept over may be called like what it records, and a vector may be as long as the time is.
#[test]
fn columns_are_what_their_names_say() {
    let place = Place(TempDir::new().unwrap());
    let lines: Vec<&str> = SWEEP.lines().filter(|line| !line.starts_with("sweep")).collect();
    let losses = "sweep = { loss = [{ kind = \"infonce-euclidean\" }, { kind = \"infonce-dot\", temperature = 1.0 }] }";
    fs::write(place.path("losses.toml"), format!("{}\n{losses}\n", lines.join("\n"))).unwrap();
    assert_eq!(place.call(&["run", "losses.toml", "--out", "out"]).status.code(), Some(0));
    let summary = rows(&fs::read_to_string(place.path("out/summary.csv")).unwrap());
    assert!(summary.iter().all(|row| row["loss (swept)"].contains("infonce") && number(&row["loss"]) > 0.0));
    place.export(&[]);
    place.export(&["--format", "npz"]);

    let flow = "{ kind = \"population\", method = \"tsit5\", rtol = 1e-6, atol = 1e-9, time_end = 1.0 }";
    let population: Vec<String> = lines
        .iter()
        .map(|line| match line.split(' ').next().unwrap() {
            "dynamics" => format!("dynamics = {flow}"),
            "observe" => "observe = { times = { kind = \"linear\", count = 3 }, quantities = [\"loss\", \"spectra\", \"theory\"] }".to_string(),
            _ => (*line).to_string(),
        })
        .collect();
    fs::write(place.path("population.toml"), population.join("\n")).unwrap();
    assert_eq!(place.call(&["run", "population.toml", "--out", "limit"]).status.code(), Some(0));
    let cell = names(&place.path("limit")).into_iter().find(|name| name.starts_with("repeat")).unwrap();
    let record = read_npz(place.path("limit").join(cell).join("record.npz")).unwrap();
    assert_eq!(record["theory_limit"].shape, record["time"].shape, "as long as the time, and another thing");
    let summary = rows(&fs::read_to_string(place.path("limit/summary.csv")).unwrap());
    assert!(!summary[0].contains_key("theory_limit"), "{:?}", summary[0].keys());
}

#[test]
fn what_cannot_be_exported_is_refused_and_what_is_damaged_is_left_out_and_told() {
    let place = Place::with_results();
    let said = place.refusal(&["--array", "sigma"], 2);
    assert!(said.contains("no array `sigma`") && said.contains("sigma_w1"), "{said}");
    let said = place.refusal(&["--array", "theory_rank"], 2);
    assert!(said.contains("does not follow time") && said.contains("--format npz"), "{said}");
    let said = place.refusal(&["--table", "summary", "--array", "loss"], 2);
    assert!(said.contains("--table trajectories"), "{said}");
    fs::create_dir(place.path("folder.csv")).unwrap();
    let run = place.runs().into_keys().next().unwrap();
    for (out, reason) in [
        ("nowhere/file.csv", "the folder nowhere is not there"),
        ("folder.csv", "not a regular file"),
        ("/dev/null", "ends in .csv"),
        ("-", "ends in .csv"),
        ("sweep.toml", "ends in .csv"),
        ("out/planned.json", "ends in .csv"),
        ("out/summary.csv", "the store's own files"),
        (&format!("out/{run}/record.csv"), "the store's own files"),
    ] {
        let said = place.refusal(&["--out", out], 2);
        assert!(said.contains(reason), "{out}: {said}");
    }
    let said = place.refusal(&["--out", "file.npz", "--format", "csv"], 2);
    assert!(said.contains("ends in .csv"), "{said}");
    let said = place.refusal(&["--format", "xlsx"], 2);
    assert!(said.contains("csv, npz, parquet"), "{said}");
    if !cfg!(feature = "parquet") {
        let said = place.refusal(&["--format", "parquet"], 2);
        assert!(said.contains("--features parquet"), "{said}");
    }
    let output = place.call(&["export", "."]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("contraflow run"), "{}", errors(&output));
    #[cfg(unix)]
    {
        // What a link leads to is replaced, and the link stays.
        fs::write(place.path("real.npz"), "old").unwrap();
        std::os::unix::fs::symlink("real.npz", place.path("link.npz")).unwrap();
        place.export(&["--table", "aggregates", "--out", "link.npz"]);
        assert!(fs::symlink_metadata(place.path("link.npz")).unwrap().is_symlink());
        assert!(fs::read(place.path("real.npz")).unwrap().starts_with(b"PK"));
    }

    let directory = run;
    let record = place.path("out").join(&directory).join("record.npz");
    let bytes = fs::read(&record).unwrap();
    fs::write(&record, &bytes[..bytes.len() / 2]).unwrap();
    for table in ["trajectories", "summary", "aggregates", "gone"] {
        let mut table = table;
        if table == "gone" {
            // The outcome, without which there is no telling what the folder is.
            fs::remove_file(place.path("out").join(&directory).join("outcome.json")).unwrap();
            table = "summary";
        }
        let output = place.call(&["export", "out", "--table", table, "--out", "partly.csv"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains(&directory), "{}", errors(&output));
        let rows = rows(&fs::read_to_string(place.path("partly.csv")).unwrap());
        if table == "aggregates" {
            continue;
        }
        let runs: std::collections::BTreeSet<&String> = rows.iter().map(|row| &row["directory"]).collect();
        assert_eq!(runs.len(), RUNS - 1);
        assert!(!runs.contains(&directory));
    }
}

#[cfg(feature = "parquet")]
#[test]
fn a_parquet_file_holds_what_the_csv_file_holds() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    let place = Place::with_results();
    for table in ["trajectories", "summary", "aggregates"] {
        place.export(&["--table", table, "--format", "parquet", "--out", "table.parquet"]);
        place.export(&["--table", table, "--out", "table.csv"]);
        let expected = rows(&fs::read_to_string(place.path("table.csv")).unwrap());
        let reader = SerializedFileReader::new(fs::File::open(place.path("table.parquet")).unwrap()).unwrap();
        let mut count = 0;
        for (row, expected) in reader.get_row_iter(None).unwrap().zip(&expected) {
            let row = row.unwrap();
            assert_eq!(row.get_column_iter().count(), expected.len());
            for (name, field) in row.get_column_iter() {
                let text = &expected[name];
                match field {
                    Field::Bool(found) => assert_eq!(found.to_string(), *text, "{name}"),
                    Field::Str(found) => assert_eq!(found, text, "{name}"),
                    Field::Long(found) => assert_eq!(found.to_string(), *text, "{name}"),
                    Field::Null => assert!(text.is_empty(), "{name}"),
                    Field::Double(found) => {
                        assert!(
                            *found == number(text) || (found.is_nan() && text.is_empty()),
                            "{name}: {found}, not {text}"
                        );
                    }
                    other => panic!("{name}: {other}"),
                }
            }
            count += 1;
        }
        assert_eq!(count, expected.len());
    }
}
