//! The program under faults: killed at any moment, beside others on the same folder, out of disk.
//!
//! `CONTRAFLOW_FAULTS=full cargo test --test faults` kills fifty times instead of five.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// 24 runs of some tens of milliseconds.
const SWEEP: &str = r#"
seed     = 3
repeats  = 2
data     = { kind = "gaussian", dim = 4, samples = 128 }
augment  = { kind = "block", block = 2, variance = 0.5, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4, 4], init = { kind = "gaussian", std = 0.5 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "gd", rate = 0.01, steps = 1500 }
observe  = { times = { kind = "linear", every = 100 }, quantities = ["loss", "spectra", "x"] }
sweep    = { "augment.variance" = [0.1, 0.5, 1.0, 3.0], "dynamics.steps" = [1000, 1500, 2000] }
"#;

const RUNS: usize = 24;

fn full() -> bool {
    std::env::var("CONTRAFLOW_FAULTS").is_ok_and(|value| value == "full")
}

struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("sweep.toml"), SWEEP).unwrap();
        Place(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_contraflow"));
        command.args(arguments).current_dir(self.0.path());
        command
    }

    fn call(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The sweep into this folder, in a process of its own.
    fn start(&self, out: &str) -> Running {
        let arguments = ["run", "sweep.toml", "--jobs", "1", "--out", out];
        let child = self.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        Running(child)
    }
}

/// A process that does not outlive the test.
struct Running(Child);

impl Running {
    /// Waits for its end; its status and what it said.
    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.0.wait().unwrap().code(), said)
    }

    fn signal(&self, name: &str) {
        let number = self.0.id().to_string();
        assert!(Command::new("kill").args([name, &number]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Results by cell and file; of outcomes, which tell the time that a run took, only that they are there.
fn results(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for cell in fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        for file in fs::read_dir(&cell).unwrap().map(|entry| entry.unwrap().path()) {
            let name = file.strip_prefix(out).unwrap().to_string_lossy().into_owned();
            let content = if name.ends_with("outcome.json") { Vec::new() } else { fs::read(&file).unwrap() };
            found.insert(name, content);
        }
    }
    found
}

fn finished(out: &Path) -> usize {
    let Ok(entries) = fs::read_dir(out) else { return 0 };
    entries.flatten().filter(|entry| entry.path().join("outcome.json").exists()).count()
}

/// Waits until this many runs are there.
fn wait_for(out: &Path, runs: usize) {
    let start = Instant::now();
    while finished(out) < runs {
        assert!(start.elapsed() < Duration::from_secs(60), "{} of {runs} runs", finished(out));
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs that a process says it has done itself.
fn done(said: &str) -> usize {
    said.lines().filter(|line| line.contains("steps done") || line.contains("time reached")).count()
}

fn undisturbed(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let (status, said) = place.start("undisturbed").end();
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(done(&said), RUNS, "{said}");
    let results = results(&place.path("undisturbed"));
    assert_eq!(results.len(), 4 * RUNS);
    results
}

#[test]
fn a_sweep_that_is_killed_again_and_again_ends_with_the_results_of_an_undisturbed_one() {
    let place = Place::new();
    let out = place.path("out");
    let kills = if full() { 50 } else { 5 };
    for kill in 0..kills {
        let running = place.start("out");
        // From before the first file to the middle of the sweep.
        std::thread::sleep(Duration::from_millis(if full() { 3 + kill % 11 * 7 } else { 5 + kill * 47 }));
        running.signal("-KILL");
        drop(running);
        if out.join("planned.json").exists() {
            let status = String::from_utf8(place.call(&["status", "out"]).stdout).unwrap();
            assert!(status.contains(" 0 running,"), "the dead do not run: {status}");
        }
    }
    let before = finished(&out);
    let (status, said) = place.start("out").end();
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(done(&said), RUNS - before, "what was there is not done again: {said}");
    assert!(results(&out) == undisturbed(&place), "results differ");
    assert!(!out.join(".working").exists(), "something was left behind");
}

#[test]
fn two_processes_share_a_sweep_and_both_end_when_all_of_it_is_done() {
    let place = Place::new();
    let (first, second) = (place.start("out"), place.start("out"));
    let ((status, said), (other_status, other_said)) = (first.end(), second.end());
    assert_eq!((status, other_status), (Some(0), Some(0)), "{said}{other_said}");
    assert_eq!(done(&said) + done(&other_said), RUNS, "{said}{other_said}");
    assert!(results(&place.path("out")) == undisturbed(&place), "results differ");
}

#[test]
fn what_a_killed_process_held_is_done_by_the_one_beside_it() {
    let place = Place::new();
    let out = place.path("out");
    let (first, second) = (place.start("out"), place.start("out"));
    wait_for(&out, 3);
    // Between two runs it holds none.
    let named = format!("process {}", first.0.id());
    let start = Instant::now();
    loop {
        let status = String::from_utf8(place.call(&["status", "out"]).stdout).unwrap();
        if status.contains("24 planned") && status.contains(&named) {
            break;
        }
        assert!(finished(&out) < RUNS && start.elapsed() < Duration::from_secs(60), "{status}");
    }
    first.signal("-KILL");
    let (ended, said) = second.end();
    assert_eq!(ended, Some(0), "{said}");
    assert_eq!(finished(&out), RUNS);
    let status = String::from_utf8(place.call(&["status", "out"]).stdout).unwrap();
    assert_eq!(status, "sweep: 24 planned, 24 done, 0 running, 0 failed, 0 missing\n");
}

/// Gives all files below a folder, and itself, this time of their last change; returns how many.
fn set_times(folder: &Path, time: SystemTime) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            count += set_times(&entry.path(), time);
        } else if let Ok(file) = File::options().append(true).open(entry.path()) {
            // It may be gone by now.
            count += usize::from(file.set_modified(time).is_ok());
        }
    }
    count + usize::from(File::open(folder).and_then(|folder| folder.set_modified(time)).is_ok())
}

/// A clock that was set back leaves files of the future, one that was wrong those of long ago.
#[test]
fn the_times_of_files_mean_nothing_whichever_way_a_clock_goes() {
    let place = Place::new();
    let out = place.path("out");
    let year = Duration::from_secs(365 * 24 * 3600);
    let times = [SystemTime::now() + 70 * year, UNIX_EPOCH, SystemTime::now() + year];
    for (runs, time) in (3..).step_by(4).zip(times) {
        let (first, second) = (place.start("out"), place.start("out"));
        wait_for(&out, runs);
        assert!(set_times(&out, time) > 4 * runs);
        first.signal("-KILL");
        second.signal("-KILL");
        drop((first, second));
        // What the dead held and left, too.
        set_times(&out, time);
        let status = String::from_utf8(place.call(&["status", "out"]).stdout).unwrap();
        assert!(status.contains(&format!("24 planned, {} done, 0 running", finished(&out))), "{status}");
    }
    let before = finished(&out);
    let running = place.start("out");
    wait_for(&out, before + 2);
    set_times(&out, UNIX_EPOCH);
    let (status, said) = running.end();
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(done(&said), RUNS - before, "what was there is not done again: {said}");
    assert!(results(&out) == undisturbed(&place), "results differ");
    assert!(!out.join(".working").exists(), "something was left behind");
}

#[test]
fn a_stopped_process_is_waited_for_and_goes_on() {
    let place = Place::new();
    let out = place.path("out");
    let (first, mut second) = (place.start("out"), place.start("out"));
    wait_for(&out, 2);
    // It lives, so that what it holds is not taken from it.
    first.signal("-STOP");
    std::thread::sleep(Duration::from_millis(50));
    let status = String::from_utf8(place.call(&["status", "out"]).stdout).unwrap();
    // One, unless it was stopped just between two runs.
    let held = status.matches(&format!("process {}", first.0.id())).count();
    wait_for(&out, RUNS - held);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(finished(&out), RUNS - held, "{status}");
    if held == 1 {
        assert!(second.0.try_wait().unwrap().is_none(), "it did not wait for the run that another one holds");
    }
    first.signal("-CONT");
    let ((status, said), (other_status, other_said)) = (first.end(), second.end());
    assert_eq!((status, other_status), (Some(0), Some(0)), "{said}{other_said}");
    assert_eq!(done(&said) + done(&other_said), RUNS, "{said}{other_said}");
}

#[test]
fn signals_end_a_run_within_two_seconds_and_leave_a_store_that_goes_on() {
    for signal in ["-INT", "-TERM"] {
        let place = Place::new();
        let out = place.path("out");
        let running = place.start("out");
        wait_for(&out, 2);
        let asked = Instant::now();
        running.signal(signal);
        let (status, said) = running.end();
        assert_eq!(status, Some(130), "{signal}: {said}");
        assert!(asked.elapsed() < Duration::from_secs(2), "{signal}");
        assert!(finished(&out) < RUNS && !out.join(".working").exists(), "{signal}");
        assert_eq!(place.start("out").end().0, Some(0));
        assert_eq!(finished(&out), RUNS);
    }
}

/// One run of some ten seconds, with records on the way.
const LONG: &str = r#"
seed     = 3
data     = { kind = "gaussian", dim = 16, samples = 10000 }
augment  = { kind = "isotropic", variance = 1e-6, sides = "two" }
encoder  = { kind = "linear", widths = [16, 16, 16], init = { kind = "spectrum", decay = 0.35 } }
loss     = { kind = "infonce-dot", temperature = 0.1 }
dynamics = { kind = "sgd", rate = 0.01, steps = 100000, batch = 128 }
observe  = { times = { kind = "linear", every = 1000 }, quantities = ["loss", "spectra"] }
"#;

#[test]
fn a_long_run_that_is_killed_goes_on_from_its_last_checkpoint_to_the_same_bits() {
    let place = Place::new();
    fs::write(place.path("sweep.toml"), LONG).unwrap();
    let out = place.path("out");
    let undisturbed = place.start("undisturbed");
    let running = place.start("out");
    let checkpoint = || {
        let entries = fs::read_dir(out.join(".working")).ok()?;
        let mut names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.find(|name| name.starts_with("checkpoint-") && name.ends_with(".npz"))
    };
    let start = Instant::now();
    while checkpoint().is_none() {
        // One is due after four seconds.
        assert!(start.elapsed() < Duration::from_secs(30), "no checkpoint");
        std::thread::sleep(Duration::from_millis(20));
    }
    running.signal("-KILL");
    drop(running);
    // Signals leave one too.
    let running = place.start("out");
    std::thread::sleep(Duration::from_millis(1500));
    running.signal("-TERM");
    let (status, said) = running.end();
    assert_eq!(status, Some(130), "{said}");
    assert!(said.contains("goes on from step "), "{said}");
    let (status, said) = place.start("out").end();
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("goes on from step "), "{said}");
    assert_eq!(undisturbed.end().0, Some(0));
    assert!(results(&out) == results(&place.path("undisturbed")), "results differ");
    assert!(!out.join(".working").exists(), "the checkpoint was left behind");
}

#[test]
fn shards_do_each_their_part_and_together_all() {
    let place = Place::new();
    let shard = |shard: &str| {
        let output = place.call(&["run", "sweep.toml", "--out", "out", "--shard", shard]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    };
    shard("1/3");
    assert_eq!(finished(&place.path("out")), RUNS / 3);
    let status = String::from_utf8(place.call(&["status", "out"]).stdout).unwrap();
    assert!(status.starts_with("sweep: 24 planned, 8 done, 0 running, 0 failed, 16 missing\n"), "{status}");
    assert!(status.contains("nothing is running"), "{status}");
    shard("0/3");
    shard("2/3");
    assert!(results(&place.path("out")) == undisturbed(&place), "results differ");
    let wrong = place.call(&["run", "sweep.toml", "--out", "out", "--shard", "3/3"]);
    assert_eq!(wrong.status.code(), Some(2));
    // A task of a Slurm array has its part without being told.
    let task = place
        .command(&["run", "sweep.toml", "--out", "task"])
        .envs(
            [("ID", "4"), ("COUNT", "4"), ("MIN", "1"), ("MAX", "4")]
                .map(|(name, value)| (format!("SLURM_ARRAY_TASK_{name}"), value)),
        )
        .output()
        .unwrap();
    assert_eq!((task.status.code(), finished(&place.path("task"))), (Some(0), RUNS / 4));
}

#[test]
fn a_dry_run_tells_what_there_is_to_do_and_does_nothing() {
    let place = Place::new();
    let told = || {
        let output = place.call(&["run", "sweep.toml", "--out", "out", "--dry-run", "--jobs", "2"]);
        assert_eq!(output.status.code(), Some(0));
        let lines: Vec<String> =
            String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect();
        assert_eq!(lines.len(), RUNS + 1);
        lines
    };
    let lines = told();
    let last = &lines[RUNS];
    assert!(last.starts_with("24 runs, 0 done; 24 to do: ") && last.contains("a factor of ten"), "{last}");
    assert!(!place.path("out").exists());
    assert_eq!(place.call(&["run", "sweep.toml", "--out", "out", "--shard", "0/2"]).status.code(), Some(0));
    let last = &told()[RUNS];
    assert!(
        last.starts_with("24 runs, 12 done; 12 to do: ") && last.contains("by the runs that are there"),
        "{last}"
    );
    // What it names is what a run makes, and the size it tells is that of what is written, to a factor of two.
    assert_eq!(place.call(&["run", "sweep.toml", "--out", "out"]).status.code(), Some(0));
    assert!(lines[..RUNS].iter().all(|line| place.path(line).is_dir()), "{lines:?}");
    let sizes = fs::read_dir(place.path("out"))
        .unwrap()
        .map(|cell| cell.unwrap().path())
        .filter(|cell| cell.is_dir());
    let bytes: u64 = sizes
        .flat_map(|cell| fs::read_dir(cell).unwrap())
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    let promised: f64 = lines[RUNS].rsplit_once("about ").unwrap().1.trim_end_matches(" MB").parse().unwrap();
    let ratio = 1e6 * promised / bytes as f64;
    assert!((0.4..2.5).contains(&ratio), "{promised} MB for {bytes} bytes");
}

#[test]
fn status_of_what_is_no_store_is_refused() {
    let place = Place::new();
    let output = place.call(&["status", "nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("contraflow run FILE --out DIR"));
}

#[test]
fn a_full_disk_and_a_read_only_one_are_errors_and_what_is_there_is_kept() {
    let place = Place::new();
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=400k", "tmpfs", disk.to_str().unwrap()];
    if !Command::new("mount").args(mount).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    {
        println!("skipped: this user may not mount a small disk");
        return;
    }
    let output = place.call(&["run", "sweep.toml", "--out", "disk/out"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let kept = finished(&disk.join("out"));
    let grown =
        Command::new("mount").args(["-o", "remount,size=40m", disk.to_str().unwrap()]).status().unwrap();
    let again = place.call(&["run", "sweep.toml", "--out", "disk/out"]);
    let whole = results(&disk.join("out"));
    // And where nothing can be written at all.
    let locked = Command::new("mount").args(["-o", "remount,ro", disk.to_str().unwrap()]).status().unwrap();
    let complete = place.call(&["run", "sweep.toml", "--out", "disk/out"]);
    let more = place.call(&["run", "sweep.toml", "--out", "disk/out", "--set", "repeats=3"]);
    let told = place.call(&["status", "disk/out"]);
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("free some space"), "{said}");
    assert!(kept > 0 && kept < RUNS, "{kept}");
    assert!(grown.success());
    assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(!String::from_utf8_lossy(&again.stderr).contains("done again"), "half a result was kept");
    assert!(whole == undisturbed(&place), "results differ");
    assert!(locked.success());
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(complete.status.code(), Some(0), "nothing was to be written: {}", said(&complete));
    assert_eq!(more.status.code(), Some(1), "{}", said(&more));
    assert!(
        said(&more).contains("Read-only") && said(&more).contains("choose another path"),
        "{}",
        said(&more)
    );
    assert!(String::from_utf8_lossy(&told.stdout).starts_with("sweep: 24 planned, 24 done"));
}
