//! The program as a user meets it: exit statuses, messages, files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const GOOD: &str = r#"title    = "A small run"
seed     = 1
repeats  = 2
data     = { kind = "gaussian", dim = 4, samples = 32 }
augment  = { kind = "block", block = 2, variance = 0.5, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4], init = { kind = "gaussian", std = 0.5 } }
loss     = { kind = "infonce-euclidean", reduction = "mean" }
dynamics = { kind = "flow", method = "tsit5", rtol = 1e-6, atol = 1e-9, time_end = 1.0 }
observe  = { times = { kind = "linear", count = 5 }, quantities = ["loss", "spectra", "x"] }
sweep    = { "augment.variance" = [0.5, 3.0] }
figure   = { kind = "spectrum", of = "end-to-end" }
"#;

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Place { folder: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn call(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_contraflow"))
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    /// Names in the folder, sorted.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect()
}

/// Cell directories below `out`.
fn cells(out: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// Refused with status 2, with the file, line and column, with each of `said`, and with nothing written.
fn assert_refused(what: &str, content: impl AsRef<[u8]>, at: &str, said: &[&str]) {
    let place = Place::new();
    place.write("bad.toml", content);
    assert_refused_in(&place, what, at, said);
}

fn assert_refused_in(place: &Place, what: &str, at: &str, said: &[&str]) {
    let before = place.names();
    for verb in [&["check", "bad.toml"][..], &["run", "bad.toml", "--out", "out"]] {
        let output = place.call(verb);
        let errors = errors(&output);
        assert_eq!(status(&output), 2, "{what}: {errors}");
        assert!(errors.starts_with(&format!("bad.toml:{at}: error: ")), "{what}: {errors}");
        for part in said {
            assert!(errors.contains(part), "{what} does not say {part:?}: {errors}");
        }
        assert!(errors.len() < 4000, "{what}: a message of {} bytes", errors.len());
        assert!(output.stdout.is_empty(), "{what}");
        assert_eq!(place.names(), before, "{what}: something was written");
    }
}

fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replace(from, to)
}

#[test]
fn more_than_a_hundred_thousand_runs_ask_for_yes() {
    let place = Place::new();
    // Nothing runs: the file of its samples is missing, which is seen once the number of runs has passed.
    let many = with("repeats  = 2", "repeats  = 50001").replace(
        "{ kind = \"gaussian\", dim = 4, samples = 32 }",
        "{ kind = \"file\", path = \"missing.npy\" }",
    );
    place.write("many.toml", &many);
    place.write(
        "too_many.toml",
        many.replace("50001", "100000").replace("[0.5, 3.0]", "{ from = 1, to = 11, count = 11 }"),
    );
    let call = |file: &str, more: &[&str]| {
        let output = place.call(&[&["run", file, "--out", "out"], more].concat());
        assert_eq!(status(&output), 2, "{}", errors(&output));
        errors(&output)
    };
    assert!(call("many.toml", &[]).contains("are run with `--yes`"));
    assert!(call("many.toml", &["--yes"]).contains("missing.npy"));
    assert!(
        call("many.toml", &["--dry-run"]).contains("missing.npy"),
        "nothing runs, so it needs no consent"
    );
    let shown = call("too_many.toml", &["--yes"]);
    assert!(shown.contains("1100000 runs; allowed: at most 1000000") && !shown.contains("--yes"), "{shown}");
    assert_eq!(place.names(), ["many.toml", "too_many.toml"]);
}

#[test]
fn a_good_file_is_valid() {
    let place = Place::new();
    place.write("good.toml", GOOD);
    let output = place.call(&["check", "good.toml"]);
    assert_eq!(status(&output), 0, "{}", errors(&output));
    assert_eq!(lines(&output), ["good.toml: valid; 2 cells, 4 runs"]);
    assert_eq!(place.names(), ["good.toml"]);
}

#[test]
fn bad_keys_and_values_are_refused_with_their_place_and_the_remedy() {
    let long = "x".repeat(500);
    let cases: &[(&str, String, &str, &[&str])] = &[
        ("unknown key", with("samples = 32", "samples = 32, sampels = 3"), "4:56", &["sampels", "samples"]),
        ("unknown section", format!("{GOOD}augmentt = 3\n"), "12:1", &["augmentt", "augment"]),
        ("wrong type", with("samples = 32", "samples = \"32\""), "4:52", &["samples", "an integer"]),
        ("missing key", with(", time_end = 1.0", ""), "8:12", &["time_end"]),
        ("missing section", with("seed     = 1\n", ""), "1:1", &["seed"]),
        ("unknown kind", with("\"gaussian\", dim", "\"gausian\", dim"), "4:21", &["gausian", "gaussian"]),
        (
            "widths that do not chain",
            with("widths = [4, 4]", "widths = [5, 4]"),
            "6:40",
            &["5", "4 coordinates"],
        ),
        ("a single width", with("widths = [4, 4]", "widths = [4]"), "6:40", &["2"]),
        ("block larger than dim", with("block = 2", "block = 5"), "5:38", &["block = 5", "1 to 4"]),
        ("negative variance", with("[0.5, 3.0]", "[0.5, -3.0]"), "10:41", &["-3", "augment.variance"]),
        (
            "temperature 0",
            with("\"infonce-euclidean\", reduction = \"mean\"", "\"infonce-dot\", temperature = 0"),
            "7:50",
            &["temperature"],
        ),
        ("N = 1", with("samples = 32", "samples = 1"), "4:52", &["samples", "from 2"]),
        (
            "batch larger than samples",
            with(
                "\"flow\", method = \"tsit5\", rtol = 1e-6, atol = 1e-9, time_end = 1.0",
                "\"sgd\", rate = 0.1, steps = 3, batch = 33",
            ),
            "8:59",
            &["batch = 33", "2 to 32"],
        ),
        (
            "a sweep over an unknown key",
            with("\"augment.variance\" =", "\"augment.varience\" ="),
            "10:14",
            &["varience", "variance"],
        ),
        ("an empty sweep", with("[0.5, 3.0]", "[]"), "10:35", &["empty"]),
        ("an infinite value", with("rtol = 1e-6", "rtol = inf"), "8:54", &["rtol"]),
        ("x of a relu encoder", with("\"linear\", widths", "\"relu\", widths"), "9:67", &["linear encoder"]),
        ("a figure of what is not recorded", with(", \"spectra\", \"x\"", ""), "11:21", &["spectra"]),
        ("a figure of a layer that is not there", with("\"end-to-end\"", "\"w2\""), "11:38", &["w1"]),
        (
            "a first time beyond the end",
            with("{ kind = \"linear\", count = 5 }", "{ kind = \"log\", first = 7.0, count = 5 }"),
            "9:46",
            &["first = 7"],
        ),
        ("steps of a flow", with("count = 5", "every = 5"), "9:49", &["every"]),
        ("no recording times", with("count = 5", "count = 0"), "9:49", &["count"]),
        (
            "rank beyond the width",
            with("std = 0.5 } }", "std = 0.5 }, projector = { kind = \"low-rank\", rank = 9 } }"),
            "6:129",
            &["rank = 9", "1 to 4"],
        ),
        ("more than the memory holds", with("samples = 32", "samples = 999999999"), "4:52", &["GiB"]),
        (
            "more projector weights than the memory holds",
            with(
                "std = 0.5 } }",
                "std = 0.5 }, projector = { kind = \"trainable\", widths = [1000000, 1000000] } }",
            ),
            "6:40",
            &["GiB", "allowed"],
        ),
        (
            "more fresh inputs than the memory holds",
            with(
                "\"flow\", method = \"tsit5\", rtol = 1e-6, atol = 1e-9, time_end = 1.0",
                "\"sgd\", rate = 0.1, steps = 3, batch = 4",
            )
            .replace("\"x\"] }", "\"x\"], samples = 1000000000 }"),
            "9:103",
            &["GiB", "allowed"],
        ),
        (
            "more coordinates than the memory holds for X",
            with("dim = 4", "dim = 50000").replace("[4, 4]", "[50000, 2]"),
            "6:40",
            &["GiB"],
        ),
        (
            "more runs than anybody waits for",
            with("repeats  = 2", "repeats  = 100000"),
            "3:12",
            &["200000 runs; allowed: at most 100000", "up to 1000000 are run with `--yes`"],
        ),
        (
            "more layers than an archive holds",
            with("[4, 4]", &format!("[4{}]", ", 4".repeat(2000))),
            "6:40",
            &["at most 1000"],
        ),
        (
            "more weights than the memory holds",
            with("widths = [4, 4]", "widths = [4, 900000, 900000, 4]"),
            "6:40",
            &["GiB"],
        ),
        ("a huge name", with("\"end-to-end\"", &format!("\"{long}\"")), "11:38", &["w1"]),
        ("a syntax error", with("dim = 4,", "dim = = 4,"), "4:39", &[]),
        ("a duplicate key", with("repeats  = 2", "repeats  = 2\nrepeats  = 3"), "4:1", &["repeats"]),
    ];
    for (what, content, at, said) in cases {
        assert_refused(what, content, at, said);
    }
}

#[test]
fn recording_times_of_a_list_are_refused_where_they_do_not_fit_the_run() {
    let list = |times: &str| {
        with("{ kind = \"linear\", count = 5 }", &format!("{{ kind = \"list\", times = {times} }}"))
    };
    let steps = |times: &str| {
        list(times).replace(
            "\"flow\", method = \"tsit5\", rtol = 1e-6, atol = 1e-9, time_end = 1.0",
            "\"gd\", rate = 0.1, steps = 10",
        )
    };
    let cases: &[(&str, &str, &str, &[&str])] = &[
        ("a time at the start", "[0.0, 0.5]", "9:48", &["observe.times.times", "= 0.0", "greater than 0"]),
        ("a negative time", "[0.5, -0.5]", "9:53", &["-0.5", "greater than 0"]),
        (
            "times that descend",
            "[0.5, 0.25]",
            "9:47",
            &["0.25 stands after 0.5", "allowed", "ascending order"],
        ),
        ("a time given twice", "[0.5, 0.5]", "9:47", &["0.5 stands after 0.5", "each time once"]),
        (
            "a time beyond the end",
            "[0.5, 1.5]",
            "9:47",
            &["1.5 lies beyond the end, 1;", "up to the end", "run longer"],
        ),
        ("no times", "[]", "9:47", &["one or more numbers"]),
        ("no list", "0.5", "9:47", &["a list"]),
        ("an infinite time", "[inf]", "9:48", &["inf"]),
    ];
    for (what, times, at, said) in cases {
        assert_refused(what, list(times), at, said);
        assert_refused(what, steps(times), at, said);
    }
    assert_refused(
        "a list with a count",
        list("[0.5], count = 3"),
        "9:54",
        &["count", "\"log\", \"linear\""],
    );
    let wide = list("[0.2, 0.4, 0.6, 0.8]")
        .replace("widths = [4, 4]", "widths = [4, 200000, 4]")
        .replace("\"spectra\", \"x\"", "\"imbalance\"")
        .replace("figure ", "# ");
    assert_refused("matrices larger than memory", wide, "9:31", &["5 recordings", "GiB", "imbalance"]);

    // A list that fits, with its end and without, is refused by nobody.
    for content in [list("[0.25, 1.0]"), list("[0.25]"), steps("[0.25, 0.28, 1.0]")] {
        let place = Place::new();
        place.write("good.toml", content);
        let output = place.call(&["check", "good.toml"]);
        assert_eq!(status(&output), 0, "{}", errors(&output));
    }
}

#[test]
fn hostile_files_are_refused_at_once() {
    assert_refused("an empty file", "", "1:1", &["seed"]);
    assert_refused("invalid UTF-8", b"seed = 1\ntitle = \"\xff\"\n", "2:10", &["UTF-8"]);
    let brackets = format!("seed = {}", "[".repeat(10_000));
    let place = Place::new();
    place.write("bad.toml", &brackets);
    let output = place.call(&["check", "bad.toml"]);
    assert_eq!(status(&output), 2, "{}", errors(&output));
    assert!(errors(&output).starts_with("bad.toml:1:"), "{}", errors(&output));
    assert!(errors(&output).len() < 4000);
    let place = Place::new();
    place.write("bad.toml", vec![b'a'; 100 << 20]);
    let start = Instant::now();
    let output = place.call(&["check", "bad.toml"]);
    assert_eq!(status(&output), 2);
    assert!(
        errors(&output).starts_with("bad.toml:1:1: error: ") && errors(&output).contains("at most 1 MiB"),
        "{}",
        errors(&output)
    );
    assert!(errors(&output).len() < 4000);
    assert!(start.elapsed() < Duration::from_secs(20), "refused without reading it all");
    let place = Place::new();
    for (name, said) in [("missing.toml", "missing.toml"), (".", "folder")] {
        let output = place.call(&["run", name]);
        assert_eq!(status(&output), 2, "{}", errors(&output));
        assert!(errors(&output).contains(said), "{}", errors(&output));
    }
}

#[test]
fn bad_data_files_are_refused_with_the_place_in_the_experiment_file_and_in_the_data() {
    let data = "{ kind = \"gaussian\", dim = 4, samples = 32 }";
    let cases: &[(&str, &[u8], &[&str])] = &[
        ("data.npy", b"not an array", &["data.npy"]),
        (
            "data.npy",
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 4), }",
            &["data.npy"],
        ),
        ("data.csv", b"1,2,3,4\n5,6,7\n", &["data.csv:2"]),
        ("data.csv", b"1,2,3,4\n5,6,x,8\n", &["data.csv:2:3"]),
        ("data.csv", b"1,2,3,4\n5,6,nan,8\n", &["data.csv:2:3"]),
        ("data.csv", b"1,2,3,4\n", &["at least 2"]),
        ("data.csv", b"1,2,3\n4,5,6\n", &["3 coordinates"]),
        ("data.idx", b"\x00\x00\x08\x03\x00\x00\x00\x02", &["data.idx"]),
    ];
    for (name, content, said) in cases {
        let place = Place::new();
        place.write(name, content);
        place.write("bad.toml", with(data, &format!("{{ kind = \"file\", path = \"{name}\" }}")));
        let output = place.call(&["run", "bad.toml", "--out", "out"]);
        let errors = errors(&output);
        assert_eq!(status(&output), 2, "{name}: {errors}");
        assert!(errors.starts_with("bad.toml:4:") || errors.starts_with("bad.toml:6:"), "{name}: {errors}");
        for part in *said {
            assert!(errors.contains(part), "{name} does not say {part:?}: {errors}");
        }
        assert!(!place.path("out").exists(), "{name}: something was written");
    }
    let place = Place::new();
    place.write("bad.toml", with(data, "{ kind = \"file\", path = \"nowhere.npy\" }"));
    assert_refused_in(&place, "a missing data file", "4:36", &["nowhere.npy"]);
}

#[test]
fn a_second_run_redoes_nothing_and_results_do_not_depend_on_the_number_of_jobs() {
    let place = Place::new();
    place.write("good.toml", GOOD);
    for (out, jobs) in [("one", "1"), ("two", "2")] {
        let output = place.call(&["run", "good.toml", "--out", out, "--jobs", jobs]);
        assert_eq!(status(&output), 0, "{}", errors(&output));
        assert_eq!(lines(&output).len(), 4);
    }
    let (one, two) = (cells(&place.path("one")), cells(&place.path("two")));
    assert_eq!(one.len(), 4);
    for (a, b) in one.iter().zip(&two) {
        assert_eq!(a.file_name(), b.file_name());
        for file in ["record.npz", "state.npz", "plan.toml"] {
            assert_eq!(fs::read(a.join(file)).unwrap(), fs::read(b.join(file)).unwrap(), "{file}");
        }
    }
    let name = one[0].file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.starts_with("augment.variance=0.5,repeat=0_"), "{name}");
    let outcome = |cell: &Path| fs::read_to_string(cell.join("outcome.json")).unwrap();
    let before: Vec<String> = one.iter().map(|cell| outcome(cell)).collect();
    fs::remove_dir_all(&one[2]).unwrap();
    let output = place.call(&["run", "good.toml", "--out", "one"]);
    assert!(errors(&output).contains("[1/1]"), "only the missing one runs: {}", errors(&output));
    let after: Vec<String> = cells(&place.path("one")).iter().map(|cell| outcome(cell)).collect();
    assert_eq!(before[0], after[0]);
    assert_eq!(before[3], after[3]);
    assert_eq!(fs::read(one[2].join("state.npz")).unwrap(), fs::read(two[2].join("state.npz")).unwrap());
    let summary = fs::read_to_string(place.path("one").join("summary.csv")).unwrap();
    assert_eq!(summary.lines().count(), 5);
    assert!(
        summary.starts_with("directory,augment.variance,seed,repeat,ending,finished,planned,time,steps"),
        "{summary}"
    );
}

#[test]
fn a_plan_file_repeats_its_cell_bit_for_bit() {
    let place = Place::new();
    place.write("good.toml", GOOD);
    assert_eq!(status(&place.call(&["run", "good.toml", "--out", "out"])), 0);
    let cell = cells(&place.path("out")).pop().unwrap();
    let plan = cell.join("plan.toml");
    assert_eq!(status(&place.call(&["run", plan.to_str().unwrap(), "--out", "again"])), 0);
    let again = cells(&place.path("again")).pop().unwrap();
    assert_eq!(fs::read(cell.join("record.npz")).unwrap(), fs::read(again.join("record.npz")).unwrap());
    let hash = |cell: &Path| cell.to_string_lossy().rsplit('_').next().unwrap().to_string();
    assert_eq!(hash(&cell), hash(&again));
}

#[test]
fn set_overrides_keys_and_is_checked_like_the_file() {
    let place = Place::new();
    place.write("good.toml", GOOD);
    let set = |text: &str| place.call(&["check", "good.toml", "--set", text]);
    assert_eq!(lines(&set("repeats=5")), ["good.toml: valid; 2 cells, 10 runs"]);
    assert_eq!(lines(&set("augment.variance=0.1")), ["good.toml: valid; 1 cell, 2 runs"]);
    for (text, said) in [
        ("augment.varience=1", "variance"),
        ("augment.block=9", "1 to 4"),
        ("dynamics.rtol=fast", "rtol"),
        ("repeats", "="),
    ] {
        let output = set(text);
        assert_eq!(status(&output), 2, "{text}");
        assert!(errors(&output).contains(said), "{text}: {}", errors(&output));
        assert!(errors(&output).starts_with("good.toml: --set "), "{text}: {}", errors(&output));
    }
}

#[test]
fn a_run_that_diverges_fails_with_its_record_and_is_not_repeated_unless_asked() {
    let place = Place::new();
    let flow = "kind = \"flow\", method = \"tsit5\", rtol = 1e-6, atol = 1e-9, time_end = 1.0";
    let euclidean = "\"infonce-euclidean\", reduction = \"mean\"";
    place.write(
        "bad.toml",
        with(flow, "kind = \"gd\", rate = 1e6, steps = 100")
            .replace(euclidean, "\"infonce-dot\", temperature = 0.1")
            .replace("repeats  = 2", "repeats  = 1"),
    );
    let output = place.call(&["run", "bad.toml", "--out", "out"]);
    assert_eq!(status(&output), 1, "{}", errors(&output));
    assert!(lines(&output).iter().any(|line| line.contains("non-finite at step")), "{:?}", lines(&output));
    let cell = &cells(&place.path("out"))[0];
    assert!(cell.join("record.npz").exists() && !cell.join("state.npz").exists());
    let outcome = fs::read_to_string(cell.join("outcome.json")).unwrap();
    assert!(outcome.contains("\"ending\": \"non-finite\"") && outcome.contains("\"finished\": false"));
    let again = place.call(&["run", "bad.toml", "--out", "out"]);
    assert_eq!(status(&again), 1);
    assert!(errors(&again).contains("--retry") && !errors(&again).contains("[1/"), "{}", errors(&again));
    let retried = place.call(&["run", "bad.toml", "--out", "out", "--retry"]);
    assert_eq!(status(&retried), 1);
    assert!(errors(&retried).contains("[1/"), "{}", errors(&retried));
}

#[test]
#[cfg(unix)]
fn an_interrupted_run_leaves_no_half_results_and_goes_on() {
    let place = Place::new();
    let flow = "kind = \"flow\", method = \"tsit5\", rtol = 1e-6, atol = 1e-9, time_end = 1.0";
    // A thousand runs of a few milliseconds: the signal meets one of them in the middle.
    place.write(
        "long.toml",
        with(flow, "kind = \"gd\", rate = 1e-4, steps = 2000").replace("repeats  = 2", "repeats  = 500"),
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_contraflow"))
        .args(["run", "long.toml", "--out", "out"])
        .current_dir(place.folder.path())
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !place.path("out").exists() || cells(&place.path("out")).len() < 3 {
        assert!(Instant::now() < deadline, "no results after a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
    let kill = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let names: Vec<PathBuf> = cells(&place.path("out"));
    assert!(names.len() < 1000, "the signal came before the end");
    for cell in &names {
        let name = cell.file_name().unwrap().to_string_lossy();
        assert!(!name.starts_with('.'), "{name} is left over");
        for file in ["plan.toml", "record.npz", "state.npz", "outcome.json"] {
            assert!(cell.join(file).exists(), "{name} lacks {file}");
        }
    }
}

#[test]
fn a_store_that_cannot_be_written_is_a_failure_and_says_so() {
    let place = Place::new();
    place.write("good.toml", GOOD);
    place.write("file", "in the way");
    let output = place.call(&["run", "good.toml", "--out", "file/out"]);
    assert_eq!(status(&output), 1, "{}", errors(&output));
    assert!(errors(&output).contains("file/out"), "{}", errors(&output));
}

#[test]
fn reproduce_draws_the_experiments_of_the_folder_and_prints_what_they_show() {
    let place = Place::new();
    fs::create_dir(place.path("experiments")).unwrap();
    place.write("experiments/my_figure.toml", format!("reproduce = true\n{GOOD}"));
    place.write("experiments/other.toml", GOOD);
    place.write(
        "experiments/with_data.toml",
        format!("reproduce = true\n{GOOD}").replace(
            "{ kind = \"gaussian\", dim = 4, samples = 32 }",
            "{ kind = \"file\", path = \"nowhere.npy\" }",
        ),
    );
    let output = place.call(&["reproduce", "--out", "drawn"]);
    assert_eq!(status(&output), 0, "{}", errors(&output));
    assert!(errors(&output).contains("with_data: skipped"), "{}", errors(&output));
    let text = lines(&output).join("\n");
    assert!(text.contains("my-figure") && text.contains("augment.variance = 3.0: largest"), "{text}");
    assert!(!text.contains("other"), "{text}");
    let svg = fs::read_to_string(place.path("drawn/my-figure.svg")).unwrap();
    assert!(svg.contains("A small run") && svg.contains("2 seeds"));
    let png = fs::read(place.path("drawn/my-figure.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
    // Nothing is hard-coded: another file, another figure; the same file, the same bytes.
    let again = place.call(&["reproduce", "my-figure", "--out", "drawn"]);
    assert_eq!(status(&again), 0);
    assert_eq!(svg, fs::read_to_string(place.path("drawn/my-figure.svg")).unwrap());
    let changed = format!("reproduce = true\n{GOOD}").replace("[0.5, 3.0]", "[0.5, 2.0, 3.0]");
    place.write("experiments/my_figure.toml", changed);
    assert_eq!(status(&place.call(&["reproduce", "my_figure", "--out", "drawn"])), 0);
    assert_ne!(svg, fs::read_to_string(place.path("drawn/my-figure.svg")).unwrap());
    let unknown = place.call(&["reproduce", "figure_99"]);
    assert_eq!(status(&unknown), 2);
    assert!(errors(&unknown).contains("my_figure"), "{}", errors(&unknown));
}

#[test]
fn reproduce_prints_in_order_whatever_is_ready_first() {
    let place = Place::new();
    fs::create_dir(place.path("experiments")).unwrap();
    let flow = "kind = \"flow\", method = \"tsit5\", rtol = 1e-6, atol = 1e-9, time_end = 1.0";
    let steps = |count: usize| {
        let text = with(flow, &format!("kind = \"gd\", rate = 1e-3, steps = {count}"));
        format!("reproduce = true\nclaims = [\"eq-4\"]\n{text}")
    };
    // The longer ones are begun first, and are ready last.
    place.write("experiments/a_long.toml", steps(3000));
    place.write("experiments/b_short.toml", steps(1));
    place.write("experiments/c_middle.toml", steps(300));
    let output = place.call(&["reproduce", "--out", "drawn", "--jobs", "2"]);
    assert_eq!(status(&output), 0, "{}", errors(&output));
    let text = lines(&output).join("\n");
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
    assert!(at("a-long") < at("b-short") && at("b-short") < at("c-middle") && at("c-middle") < at("eq-4"));
    let said = errors(&output);
    let runs = |name: &str| said.lines().filter(|line| line.contains(&format!("/12] {name}/"))).count();
    assert_eq!([runs("a_long"), runs("b_short"), runs("c_middle")], [4, 4, 4], "{said}");
    // One thread and records that are there: the same words.
    let again = place.call(&["reproduce", "--out", "drawn", "--jobs", "1"]);
    assert_eq!(lines(&again), lines(&output));
}

#[test]
#[cfg(unix)]
fn an_interrupted_reproduce_says_so_and_goes_on() {
    let place = Place::new();
    fs::create_dir(place.path("experiments")).unwrap();
    let flow = "kind = \"flow\", method = \"tsit5\", rtol = 1e-6, atol = 1e-9, time_end = 1.0";
    let long =
        with(flow, "kind = \"gd\", rate = 1e-4, steps = 2000").replace("repeats  = 2", "repeats  = 500");
    place.write("experiments/long.toml", format!("reproduce = true\n{long}"));
    place.write("experiments/short.toml", format!("reproduce = true\n{GOOD}"));
    let child = Command::new(env!("CARGO_BIN_EXE_contraflow"))
        .args(["reproduce", "--out", "drawn"])
        .current_dir(place.folder.path())
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let records = place.path("drawn/records/long");
    while !records.exists() || cells(&records).len() < 3 {
        assert!(Instant::now() < deadline, "no results after a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
    let kill = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(status(&output), 130, "{}", errors(&output));
    assert!(errors(&output).contains("finished runs are kept"), "{}", errors(&output));
    assert!(lines(&output).is_empty() && !place.path("drawn/long.svg").exists());
    let kept = cells(&records).len();
    assert!(kept < 1000, "the signal came before the end");
    // What was left is done by another call, and what was kept stays.
    let output = place.call(&["reproduce", "short", "--out", "drawn"]);
    assert_eq!(status(&output), 0, "{}", errors(&output));
    assert_eq!(cells(&records).len(), kept);
}

#[test]
fn schema_and_lists_name_every_kind() {
    let place = Place::new();
    let schema = place.call(&["schema"]);
    let parsed: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert_eq!(parsed["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let of_network = String::from_utf8(place.call(&["schema", "--network"]).stdout).unwrap();
    for name in ["resnet-50", "random-features", "warmup_epochs", "noise_variance"] {
        assert!(of_network.contains(name) && !parsed.to_string().contains(name), "{name}");
    }
    for topic in lines(&place.call(&["list"])) {
        let output = place.call(&["list", &topic]);
        assert_eq!(status(&output), 0, "{topic}");
        assert!(!output.stdout.is_empty(), "{topic}");
    }
    let losses = lines(&place.call(&["list", "losses"])).join("\n");
    let text = String::from_utf8(schema.stdout).unwrap();
    for name in ["infonce-euclidean", "infonce-dot", "infonce-cosine"] {
        assert!(losses.contains(name) && text.contains(name));
    }
    let unknown = place.call(&["list", "colours"]);
    assert_eq!(status(&unknown), 2);
    assert!(errors(&unknown).contains("losses"));
    assert_eq!(status(&place.call(&["fly"])), 2);
}

#[test]
fn damaged_results_are_reported_and_done_again() {
    let place = Place::new();
    place.write("good.toml", GOOD);
    assert_eq!(status(&place.call(&["run", "good.toml", "--out", "out"])), 0);
    let cells = cells(&place.path("out"));
    let record = fs::read(cells[0].join("record.npz")).unwrap();
    let mut broken = record.clone();
    broken[200] ^= 1;
    fs::write(cells[0].join("record.npz"), broken).unwrap();
    fs::remove_file(cells[1].join("state.npz")).unwrap();
    fs::write(cells[2].join("outcome.json"), "{").unwrap();
    let again = place.call(&["run", "good.toml", "--out", "out"]);
    assert_eq!(status(&again), 0, "{}", errors(&again));
    assert!(errors(&again).contains("record.npz has another checksum"), "{}", errors(&again));
    assert!(errors(&again).contains("[3/3]") && !errors(&again).contains("[4/"), "{}", errors(&again));
    assert_eq!(fs::read(cells[0].join("record.npz")).unwrap(), record);
    let idle = place.call(&["run", "good.toml", "--out", "out"]);
    assert!(errors(&idle).contains("nothing to run, all 4 are there"), "{}", errors(&idle));
}

#[test]
fn the_summary_has_a_row_for_everything_in_the_store() {
    let place = Place::new();
    place.write("good.toml", GOOD);
    let rows = || fs::read_to_string(place.path("out/summary.csv")).unwrap().lines().count() - 1;
    assert_eq!(status(&place.call(&["run", "good.toml", "--out", "out", "--set", "repeats=3"])), 0);
    assert_eq!(rows(), 6);
    assert_eq!(status(&place.call(&["run", "good.toml", "--out", "out"])), 0);
    assert_eq!(rows(), 6);
    let sweep = "sweep={ seed = [7, 8], \"augment.block\" = [1] }";
    assert_eq!(status(&place.call(&["run", "good.toml", "--out", "out", "--set", sweep])), 0);
    assert_eq!(rows(), 10);
    let summary = fs::read_to_string(place.path("out/summary.csv")).unwrap();
    let header: Vec<&str> = summary.lines().next().unwrap().split(',').collect();
    assert_eq!(header.iter().filter(|name| **name == "seed").count(), 1, "{header:?}");
    assert!(header.contains(&"augment.variance") && header.contains(&"augment.block"), "{header:?}");
}

#[test]
fn what_would_draw_or_restart_the_wrong_thing_is_refused() {
    let figure = "{ kind = \"spectrum\", of = \"end-to-end\" }";
    let spectra = "\"spectra\", \"x\"";
    let alignment = with(figure, "{ kind = \"alignment\", layers = \"2_3\" }")
        .replace(spectra, "\"alignment\"")
        .replace("widths = [4, 4]", "widths = [4, 4, 4]");
    assert_refused("layers that are not adjacent", alignment, "11:43", &["2_3", "1_2"]);
    let twice =
        with(figure, "[{ kind = \"spectrum\", of = \"w1\" }, { kind = \"spectrum\", of = \"embedding\" }]");
    assert_refused("two figures of one name", twice, "11:56", &["bad.svg", "name of its own"]);
    let endless = with(
        "\"flow\", method = \"tsit5\", rtol = 1e-6, atol = 1e-9, time_end = 1.0",
        "\"sgd\", rate = 0.1, steps = 1000000000000, batch = 2",
    )
    .replace("count = 5", "every = 1");
    assert_refused("more recordings than memory", endless, "9:31", &["GiB", "record less often"]);
    let wide = with("widths = [4, 4]", "widths = [4, 200000, 4]")
        .replace(spectra, "\"imbalance\"")
        .replace("figure ", "# ");
    assert_refused("matrices larger than memory", wide, "9:31", &["GiB", "imbalance"]);

    // A file with more layers or biases than the network has would train something else without a word.
    let place = Place::new();
    place.write(
        "good.toml",
        with("widths = [4, 4]", "widths = [4, 4, 4], bias = true").replace(", \"x\"", ""),
    );
    assert_eq!(status(&place.call(&["run", "good.toml", "--out", "out"])), 0);
    let state = cells(&place.path("out"))[0].join("state.npz");
    fs::copy(state, place.path("state.npz")).unwrap();
    let from_file = |encoder: &str| {
        let text = with("widths = [4, 4], init = { kind = \"gaussian\", std = 0.5 }", encoder)
            .replace(", \"x\"", "");
        place.write("restart.toml", text);
        place.call(&["run", "restart.toml", "--out", "again"])
    };
    let file = "init = { kind = \"file\", path = \"state.npz\" }";
    for (encoder, extra) in [
        (format!("widths = [4, 4, 4], {file}"), "array b1"),
        (format!("widths = [4, 4], bias = true, {file}"), "array W2"),
    ] {
        let output = from_file(&encoder);
        let said = errors(&output);
        assert_eq!(status(&output), 2, "{said}");
        assert!(said.contains(extra) || said.contains("array b2"), "{said}");
    }
    assert_eq!(status(&from_file(&format!("widths = [4, 4, 4], bias = true, {file}"))), 0);
}

/// [`GOOD`] with another figure.
fn figure(keys: &str) -> String {
    with("kind = \"spectrum\", of = \"end-to-end\"", keys)
}

#[test]
fn figures_over_what_is_not_swept_or_not_recorded_are_refused_with_their_place_and_the_remedy() {
    let against = "kind = \"against\", value = \"loss\", x = \"augment.variance\"";
    let map = "kind = \"map\", value = \"loss\", x = \"augment.variance\", y = \"data.samples\"";
    let over_time = "kind = \"over-time\", value = \"loss\"";
    let two = |keys: &str| figure(keys).replace("[0.5, 3.0] }", "[0.5, 3.0], \"data.samples\" = [16, 32] }");
    for (what, content) in [
        ("against", figure(&format!("{against}, theory = \"sigma_w1\", threshold = 2"))),
        ("the value at the start", figure("kind = \"against\", value = \"loss\", x = \"start\"")),
        ("marks without a label", two(&format!("{map}, marks = \"loss\", range = [0, 1]"))),
        ("over time", figure(&format!("{over_time}, each = [\"augment.variance\"]"))),
    ] {
        let place = Place::new();
        place.write("good.toml", content);
        let output = place.call(&["check", "good.toml"]);
        assert_eq!(status(&output), 0, "{what}: {}", errors(&output));
    }
    let long = "x".repeat(500);
    let cases: &[(&str, String, &str, &[&str])] = &[
        (
            "an unknown array",
            figure("kind = \"over-time\", value = \"sigma_end_to_edn\""),
            "11:42",
            &["no array of a record", "did you mean `sigma_end_to_end`", "eig_x"],
        ),
        ("a huge name", figure(&format!("kind = \"over-time\", value = \"{long}\"")), "11:42", &["eig_x"]),
        (
            "an unknown prediction",
            figure(&format!("{over_time}, theory = \"theory\"")),
            "11:59",
            &["theory = \"theory\" is no array"],
        ),
        (
            "an array that is not recorded",
            figure("kind = \"over-time\", value = \"effective_rank_end_to_end\""),
            "11:42",
            &["\"ranks\" among observe.quantities"],
        ),
        (
            "x that is not swept",
            figure("kind = \"against\", value = \"loss\", x = \"data.samples\""),
            "11:52",
            &["x names \"data.samples\", which is not swept; allowed: augment.variance", "would sweep it"],
        ),
        (
            "x with a slip",
            figure("kind = \"against\", value = \"loss\", x = \"augment.varience\""),
            "11:52",
            &["did you mean `augment.variance`"],
        ),
        (
            "x without numbers",
            figure(&against.replace("augment.variance", "augment.sides"))
                .replace("\"augment.variance\" = [0.5, 3.0]", "\"augment.sides\" = [\"one\", \"two\"]"),
            "11:52",
            &["has the value one in the sweep", "keys with numbers"],
        ),
        (
            "a map of one key",
            two(&map.replace("data.samples", "augment.variance")),
            "11:72",
            &["two different"],
        ),
        ("y that is not swept", figure(map), "11:72", &["y names \"data.samples\"", "not swept"]),
        ("a range of three", two(&format!("{map}, range = [0, 1, 2]")), "11:96", &["3 numbers", "two"]),
        ("a range the wrong way", two(&format!("{map}, range = [1, 0]")), "11:96", &["lower end first"]),
        (
            "a logarithmic range from 0",
            two(&format!("{map}, value_scale = \"log\", range = [0, 1]")),
            "11:117",
            &["greater than 0"],
        ),
        (
            "a label without marks",
            two(&format!("{map}, mark_label = \"collapsed\"")),
            "11:101",
            &["with marks"],
        ),
        (
            "each of a key that is not swept",
            figure(&format!("{over_time}, each = [\"data.samples\"]")),
            "11:57",
            &["each names \"data.samples\", which is not swept"],
        ),
        (
            "each of the axis",
            figure(&format!("{against}, each = [\"augment.variance\"]")),
            "11:79",
            &["take it out of each"],
        ),
        (
            "rank of a number",
            figure(&format!("{over_time}, rank = 2")),
            "11:57",
            &["a single number", "no rank"],
        ),
        (
            "a constant over time",
            figure("kind = \"over-time\", value = \"pca_variances\""),
            "11:21",
            &["recorded over time", "pca_variances"],
        ),
        (
            "a time of a constant",
            figure(&format!("{}, at = [1.0]", against.replace("loss", "pca_variances"))),
            "11:86",
            &["at needs a value that is recorded over time"],
        ),
        (
            "a label without a threshold",
            figure(&format!("{against}, threshold_label = \"here\"")),
            "11:90",
            &["with threshold"],
        ),
        (
            "a threshold off the axis",
            figure(&format!("{against}, threshold = 0")),
            "11:84",
            &["greater than 0", "linear"],
        ),
    ];
    for (what, content, at, said) in cases {
        assert_refused(what, content, at, said);
    }
}

#[test]
fn reproduce_draws_figures_over_parameters_and_their_cells_can_be_repeated() {
    let place = Place::new();
    fs::create_dir(place.path("experiments")).unwrap();
    let figures = "[
        { kind = \"against\", name = \"curve\", value = \"sigma_end_to_end\", x = \"augment.variance\", at = [0.4, 1.0] },
        { kind = \"map\", name = \"map\", value = \"loss\", x = \"augment.variance\", y = \"data.samples\" },
        { kind = \"over-time\", name = \"time\", value = \"loss\", each = [\"data.samples\"] },
    ]";
    let text = with("{ kind = \"spectrum\", of = \"end-to-end\" }", figures)
        .replace("[0.5, 3.0] }", "[0.5, 3.0], \"data.samples\" = [16, 32] }");
    place.write("experiments/over.toml", format!("reproduce = true\n{text}"));
    let output = place.call(&["reproduce", "over", "--out", "drawn"]);
    assert_eq!(status(&output), 0, "{}", errors(&output));
    for name in ["curve", "map", "time-16", "time-32"] {
        assert!(place.path(&format!("drawn/{name}.png")).exists(), "{name}");
    }
    let text = lines(&output).join("\n");
    assert!(text.contains("\n  k = 3.0, N = 16: at t = 0.4: "), "{text}");

    // The plan of a cell has no sweep for such a figure to stand on, and repeats the cell all the same.
    let cell = &cells(&place.path("drawn/records/over"))[0];
    fs::copy(cell.join("plan.toml"), place.path("plan.toml")).unwrap();
    let again = place.call(&["run", "plan.toml", "--out", "again"]);
    assert_eq!(status(&again), 0, "{}", errors(&again));
    let record = |cell: &Path| fs::read(cell.join("record.npz")).unwrap();
    assert_eq!(record(&cells(&place.path("again"))[0]), record(cell));

    // A time that is not recorded fails, with what is beside it.
    let text = fs::read_to_string(place.path("experiments/over.toml")).unwrap();
    place.write("experiments/over.toml", text.replace("[0.4, 1.0]", "[0.5]"));
    let output = place.call(&["reproduce", "over", "--out", "drawn"]);
    assert_eq!(status(&output), 1);
    assert!(errors(&output).contains("at = 0.5 is no recorded time"), "{}", errors(&output));
}
