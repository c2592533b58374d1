//! Sweeps on a Slurm cluster: against commands that stand in for Slurm's, and against a real one on this machine where it is
//! installed and the tests run as root (on Debian: `apt-get install slurm-wlm munge`).
#![cfg(unix)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// 24 runs, of which one takes about as long as `steps` says.
fn sweep(steps: usize) -> String {
    format!(
        r#"
seed     = 3
repeats  = 4
data     = {{ kind = "gaussian", dim = 4, samples = 64 }}
augment  = {{ kind = "block", block = 2, variance = 0.5, sides = "one" }}
encoder  = {{ kind = "linear", widths = [4, 4, 4], init = {{ kind = "gaussian", std = 0.5 }} }}
loss     = {{ kind = "infonce-euclidean" }}
dynamics = {{ kind = "sgd", rate = 0.01, steps = {steps}, batch = 16 }}
observe  = {{ times = {{ kind = "linear", count = 5 }}, quantities = ["loss", "spectra"] }}
sweep    = {{ "augment.variance" = {{ from = 0.5, to = 3.0, count = 6 }} }}
"#
    )
}

const RUNS: usize = 24;

struct Place {
    folder: TempDir,
    /// What the commands find in their environment.
    environment: Vec<(&'static str, String)>,
}

impl Place {
    /// With these commands instead of Slurm's, each a shell script; none of Slurm's own are found.
    fn with_commands(commands: &[(&str, &str)]) -> Place {
        let folder = TempDir::new().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for (name, text) in commands {
            let path = bin.join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let place = Place { folder, environment: vec![("PATH", bin.display().to_string())] };
        fs::write(place.path("sweep.toml"), sweep(20)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).envs(self.environment.iter().cloned());
        command
    }

    fn call(&self, arguments: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_contraflow")).args(arguments).output().unwrap()
    }

    /// What a call that succeeds prints.
    fn said(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Submits the sweep into `out` with further arguments.
    fn submit(&self, more: &[&str]) -> String {
        self.said(&[&["run", "sweep.toml", "--out", "out", "--submit", "slurm"], more].concat())
    }

    fn list(&self, submission: usize, index: usize) -> Vec<String> {
        let text = fs::read_to_string(self.path(&format!("out/slurm/{submission}/{index}.txt"))).unwrap();
        text.lines().map(String::from).collect()
    }

    /// Asserts that what is in `out` is what a run on this machine alone gives, bit for bit.
    fn assert_as_a_local_run(&self) {
        self.said(&["run", "sweep.toml", "--out", "local"]);
        let mut compared = 0;
        for directory in fs::read_dir(self.path("local")).unwrap().map(|entry| entry.unwrap().path()) {
            for name in ["plan.toml", "record.npz", "state.npz"] {
                let Ok(local) = fs::read(directory.join(name)) else { continue };
                let other = self.path("out").join(directory.file_name().unwrap()).join(name);
                assert!(fs::read(&other).unwrap() == local, "{}", other.display());
                compared += 1;
            }
        }
        assert_eq!(compared, 3 * RUNS);
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Gives jobs the numbers 1, 2, … and keeps how it was called; `queue` is what squeue says.
const SBATCH: &str = "echo \"$@\" >> calls; wc -l < calls | tr -d ' '";
const SQUEUE: &str = "cat queue 2>/dev/null || true";
const SCONTROL: &str = "echo 'MaxArraySize            = 16'";

fn queue(place: &Place, tasks: &[(usize, usize, &str)]) {
    let lines = tasks.iter().map(|(job, index, state)| {
        let submission = place.path("out/slurm/1/submit.sh");
        format!("{job}_{index}|{state}|Resources|{} 0\n", submission.display())
    });
    fs::write(place.path("queue"), lines.collect::<String>()).unwrap();
}

/// The commands stand in the folder of the place and need the usual ones.
fn stand_in(commands: &[(&str, &str)]) -> Place {
    let mut place = Place::with_commands(commands);
    place.environment[0].1.push_str(":/usr/bin:/bin");
    place
}

#[test]
fn what_is_missing_is_dealt_to_arrays_below_the_longest() {
    let place = stand_in(&[("sbatch", SBATCH), ("squeue", SQUEUE), ("scontrol", SCONTROL)]);
    let said = place.submit(&[]);
    assert!(said.contains("job 1: 16 tasks\njob 2: 8 tasks\n24 runs submitted in 24 tasks"), "{said}");
    let calls = fs::read_to_string(place.path("calls")).unwrap();
    let script = place.path("out/slurm/1/submit.sh");
    let script = fs::canonicalize(script).unwrap();
    for (line, array, first) in [(0, "0-15", 0), (1, "0-7", 16)] {
        let words: Vec<&str> = calls.lines().nth(line).unwrap().split(' ').collect();
        assert_eq!(words[..2], ["--parsable", &format!("--array={array}")], "{calls}");
        assert_eq!(fs::canonicalize(place.path(words[2])).unwrap(), script, "{calls}");
        assert_eq!(words[3], first.to_string(), "{calls}");
    }
    let mut all: Vec<String> = (0..24).flat_map(|index| place.list(1, index)).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), RUNS);
    let said = place.submit(&["--tasks", "5", "--cpus", "2"]);
    assert!(said.contains("job 3: 5 tasks\n24 runs submitted in 5 tasks"), "{said}");
    assert!((0..5).all(|index| (4..=5).contains(&place.list(2, index).len())));
}

#[test]
fn only_what_no_task_in_the_queue_is_for_is_submitted_again() {
    let place = stand_in(&[("sbatch", SBATCH), ("squeue", SQUEUE), ("scontrol", SCONTROL)]);
    place.submit(&["--tasks", "12"]);
    queue(&place, &[(1, 0, "RUNNING"), (1, 3, "PENDING"), (1, 4, "COMPLETING"), (7, 5, "RUNNING")]);
    let done = &place.list(1, 9)[0];
    fs::write(place.path("list.txt"), done).unwrap();
    place.said(&["run", "sweep.toml", "--out", "out", "--only", "list.txt"]);

    let status = place.said(&["status", "out"]);
    assert!(status.contains("24 planned, 1 done"), "{status}");
    assert!(status.contains("Slurm: job 1: of 12 tasks 1 pending (Resources), 1 running"), "{status}");
    assert!(status.contains("no task in the queue is for 19 of the missing runs"), "{status}");

    let said = place.submit(&["--tasks", "19"]);
    assert!(said.contains("19 runs submitted in 19 tasks (1 done, 0 failed, 4 in the queue)"), "{said}");
    let again: Vec<String> = (0..19).flat_map(|index| place.list(2, index)).collect();
    for name in [0, 3].iter().flat_map(|&index| place.list(1, index)).chain([done.clone()]) {
        assert!(!again.contains(&name), "{name}");
    }
    // A user's own view of the queue hides nothing.
    let seen = "test -z \"$SQUEUE_STATES\" && cat queue || true";
    let mut viewing = stand_in(&[("sbatch", SBATCH), ("squeue", seen), ("scontrol", SCONTROL)]);
    viewing.environment.push(("SQUEUE_STATES", "RUNNING".to_string()));
    viewing.submit(&["--tasks", "12"]);
    queue(&viewing, &[(1, 0, "PENDING")]);
    let said = viewing.submit(&["--dry-run"]);
    assert!(said.contains("2 in the queue)"), "{said}");

    // Control: where the same numbers belong to another script, they are not tasks of this store.
    let text = fs::read_to_string(place.path("queue")).unwrap();
    fs::write(place.path("queue"), text.replace("/slurm/1/", "/slurm/8/")).unwrap();
    let said = place.submit(&["--dry-run"]);
    assert!(said.contains("(1 done, 0 failed, 0 in the queue)"), "{said}");
}

#[test]
fn a_cluster_that_refuses_an_array_keeps_those_before_it() {
    let refusing = "test -e calls && { echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2; exit 1; }\n";
    let sbatch = format!("{refusing}{SBATCH}");
    let place = stand_in(&[("sbatch", &sbatch), ("squeue", SQUEUE), ("scontrol", SCONTROL)]);
    let submit = ["run", "sweep.toml", "--out", "out", "--submit", "slurm"];
    let output = place.call(&submit);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "job 1: 16 tasks\n");
    assert!(errors(&output).contains("QOSMaxSubmitJobPerUserLimit"), "{}", errors(&output));
    assert!(errors(&output).contains("the same command submits what they leave"), "{}", errors(&output));

    queue(&place, &(0..16).map(|index| (1, index, "PENDING")).collect::<Vec<_>>());
    fs::remove_file(place.path("calls")).unwrap();
    let said = place.submit(&[]);
    assert!(said.contains("8 runs submitted in 8 tasks (0 done, 0 failed, 16 in the queue)"), "{said}");

    // What a site prints before the number does no harm; without a number, the lists stay for tasks that may be queued.
    let submitted = |sbatch: &str| {
        let place = stand_in(&[("sbatch", sbatch), ("squeue", SQUEUE), ("scontrol", SCONTROL)]);
        let output = place.call(&submit);
        (output, place)
    };
    let (output, _) = submitted("echo 'Welcome to 12 nodes'; echo; echo '77;cluster'");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("job 77: 16 tasks\n"), "{}", errors(&output));
    let (output, place_without_number) = submitted("echo submitted");
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("gave no job's number but \"submitted\""), "{}", errors(&output));
    assert!(place_without_number.path("out/slurm/1/0.txt").exists());

    // Refused from the first on, nothing is left behind.
    let output = place.call(&["run", "sweep.toml", "--out", "none", "--submit", "slurm"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_dir(place.path("none/slurm")).unwrap().count(), 0);
}

#[test]
fn the_script_asks_for_what_the_file_and_the_flags_say() {
    let place = stand_in(&[("sbatch", SBATCH), ("squeue", SQUEUE), ("scontrol", SCONTROL)]);
    let table = "\n[slurm]\npartition = \"long\"\ntime = \"04:00:00\"\nmemory = \"4G\"\ncpus = 2\ntasks = 3\n\
        options = [\"--account=theory\", \"--comment=two words\"]\n";
    fs::write(place.path("sweep.toml"), sweep(20) + table).unwrap();
    let file = place.submit(&["--dry-run"]);
    for line in [
        "#SBATCH --job-name=sweep",
        "#SBATCH --partition=long",
        "#SBATCH --time=04:00:00",
        "#SBATCH --mem=4G",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --account=theory",
        "#SBATCH --comment=\"two words\"",
        "sbatch --array=0-2 submit.sh 0",
    ] {
        assert!(file.lines().any(|found| found == line), "{line} is not in:\n{file}");
    }
    assert!(file.contains("--jobs 2 --only "), "{file}");
    let flags = ["--partition", "short", "--time", "10", "--memory", "1G", "--cpus", "4", "--tasks", "2"];
    let flagged = place.submit(&[&flags[..], &["--dry-run", "--retry", "--set", "seed=5"]].concat());
    for part in [
        "#SBATCH --partition=short\n",
        "#SBATCH --time=10\n",
        "#SBATCH --mem=1G\n",
        "#SBATCH --cpus-per-task=4\n",
        "sbatch --array=0-1 submit.sh 0\n",
        " --set seed=5 --retry ",
        "24 runs in 2 tasks (0 done, 0 failed, 0 in the queue)",
        "on 8 cores",
    ] {
        assert!(flagged.contains(part), "{part} is not in:\n{flagged}");
    }
    assert!(!place.path("out").exists(), "a dry run writes nothing");
    for (flags, said) in [
        (&["--partition", "short"][..], "--submit"),
        (&["--submit", "slurm", "--partition", "a b"], "allowed: letters"),
        (&["--submit", "slurm", "--jobs", "2"], "cannot be used with"),
        (&["--submit", "slurm", "--shard", "0/2"], "cannot be used with"),
        (&["--submit", "pbs"], "possible values: slurm"),
    ] {
        let output = place.call(&[&["run", "sweep.toml", "--out", "out"], flags].concat());
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert!(errors(&output).contains(said), "{flags:?}: {}", errors(&output));
    }
}

/// The script itself, with all that a path and an override can hold, run by a shell.
#[test]
fn each_task_does_the_runs_of_its_list_wherever_the_folder_lies() {
    let sbatch = "for i in 0 1 2 3; do SLURM_ARRAY_TASK_ID=$i SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=0 \
        SLURM_ARRAY_TASK_MAX=3 sh \"$3\" \"$4\" >> log 2>&1 || exit 1; done; echo 1";
    let place = stand_in(&[("sbatch", sbatch), ("squeue", SQUEUE), ("scontrol", SCONTROL)]);
    let folder = place.path("a 'folder' \"with\" $HOME, %A & ü");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("sweep.toml");
    fs::copy(place.path("sweep.toml"), &file).unwrap();
    let (file, out) = (file.to_str().unwrap(), folder.join("out"));
    let title = "title='it\"s $(id) `id` \\ %A'";
    let out_text = out.to_str().unwrap();
    let arguments = ["run", file, "--out", out_text, "--set", title, "--submit", "slurm", "--tasks", "4"];
    place.said(&arguments);
    let log = fs::read_to_string(place.path("log")).unwrap();
    assert!(place.said(&["status", out_text]).contains("24 planned, 24 done"), "{log}");
    assert!(place.said(&arguments).contains("nothing to submit: 24 done, 0 failed, 0 in the queue"));
    // Slurm takes backslashes out of the names of logs, and then finds no folder for them.
    for out in ["x\ny", "x\\y"] {
        let output = place.call(&["run", file, "--out", out, "--submit", "slurm"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains("cannot stand in a script"), "{}", errors(&output));
    }
}

#[test]
fn without_slurm_it_says_so_and_leaves_nothing() {
    let place = Place::with_commands(&[]);
    let output = place.call(&["run", "sweep.toml", "--out", "out", "--submit", "slurm"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("there is no `sbatch` here; call this where"), "{}", errors(&output));
    assert!(!place.path("out/slurm/1").exists());

    let broken =
        [("sbatch", SBATCH), ("squeue", "echo 'cannot connect' >&2; exit 1"), ("scontrol", SCONTROL)];
    let place = stand_in(&broken);
    place.submit(&[]);
    let status = place.said(&["status", "out"]);
    assert!(status.contains("Slurm: unknown: `squeue` failed (exit status: 1): cannot connect"), "{status}");
    // What is in the queue is not known, so nothing is submitted twice.
    let output = place.call(&["run", "sweep.toml", "--out", "out", "--submit", "slurm"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("cannot connect"), "{}", errors(&output));
}

#[test]
fn a_list_names_the_runs_that_are_done_and_nothing_else() {
    let place = Place::with_commands(&[]);
    let all = place.said(&["run", "sweep.toml", "--out", "out", "--dry-run"]);
    let some: Vec<&str> = all.lines().skip(5).step_by(7).take(3).collect();
    fs::write(place.path("list.txt"), some.join("\n") + "\n\n").unwrap();
    let said = place.said(&["run", "sweep.toml", "--out", "out", "--only", "list.txt"]);
    assert_eq!(said.lines().count(), 3, "{said}");
    for path in &some {
        assert!(place.path(path).join("outcome.json").exists(), "{path}");
    }
    let status = place.said(&["status", "out"]);
    assert!(status.contains("24 planned, 3 done") && !status.contains("Slurm"), "{status}");
    let stale = ["run", "sweep.toml", "--out", "out", "--only", "list.txt", "--set", "augment.block=1"];
    let output = place.call(&stale);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("is not a run of sweep.toml; allowed: "), "{}", errors(&output));
    let output = place.call(&["run", "sweep.toml", "--only", "nowhere.txt"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("nowhere.txt"), "{}", errors(&output));
}

/// A Slurm of one node on this machine, with keys, ports and files of its own. It ends with the test.
struct Cluster {
    folder: TempDir,
}

impl Cluster {
    /// None where Slurm is not installed or may not be started.
    fn start() -> Option<Cluster> {
        let found = |name: &str| Command::new("sh").args(["-c", &format!("command -v {name}")]).output();
        let installed = ["munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel"]
            .iter()
            .all(|name| found(name).is_ok_and(|output| output.status.success()));
        let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
        if !installed || !root {
            return None;
        }
        let cluster = Cluster { folder: TempDir::new().unwrap() };
        let at = |name: &str| cluster.path(name).display().to_string();
        let host = String::from_utf8(Command::new("uname").arg("-n").output().unwrap().stdout).unwrap();
        let host = host.trim().split('.').next().unwrap().to_string();
        for name in ["state", "spool"] {
            fs::create_dir(cluster.path(name)).unwrap();
        }
        let mut key = vec![0; 1024];
        std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut key).unwrap();
        fs::write(cluster.path("munge.key"), key).unwrap();
        fs::set_permissions(cluster.path("munge.key"), fs::Permissions::from_mode(0o400)).unwrap();
        // Both are held until each has its number.
        let ports = [0, 0].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
        let [control, node] = ports.map(|port| port.local_addr().unwrap().port());
        let configuration = format!(
            "ClusterName=contraflow\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={control}\nSlurmdPort={node}\n\
             AuthType=auth/munge\nAuthInfo=socket={socket}\nCredType=cred/munge\nSlurmUser=root\nSlurmdUser=root\n\
             StateSaveLocation={state}\nSlurmdSpoolDir={spool}\n\
             SlurmctldPidFile={control_pid}\nSlurmdPidFile={node_pid}\n\
             SlurmctldLogFile={control_log}\nSlurmdLogFile={node_log}\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nMpiDefault=none\nReturnToService=2\n\
             SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nMaxArraySize=16\nKillWait=5\n\
             SchedulerParameters=sched_interval=1,batch_sched_delay=1\n\
             NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN\n\
             PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n",
            socket = at("munge.socket"),
            state = at("state"),
            spool = at("spool"),
            control_pid = at("slurmctld.pid"),
            node_pid = at("slurmd.pid"),
            control_log = at("slurmctld.log"),
            node_log = at("slurmd.log"),
        );
        fs::write(cluster.path("slurm.conf"), configuration).unwrap();
        let start = |name: &str, arguments: &[String]| {
            let mut command = Command::new(name);
            let output =
                command.args(arguments).env("SLURM_CONF", cluster.path("slurm.conf")).output().unwrap();
            assert!(output.status.success(), "{name}: {}", errors(&output));
        };
        let munge = [
            "--force".to_string(),
            format!("--key-file={}", at("munge.key")),
            format!("--socket={}", at("munge.socket")),
            format!("--pid-file={}", at("munged.pid")),
            format!("--log-file={}", at("munged.log")),
            format!("--seed-file={}", at("munged.seed")),
        ];
        start("munged", &munge);
        start("slurmctld", &[]);
        start("slurmd", &[]);
        let begun = Instant::now();
        while !cluster.answer("sinfo", &["--noheader", "--format=%T"]).contains("idle") {
            let logs = ["slurmctld.log", "slurmd.log"].map(|name| fs::read_to_string(cluster.path(name)));
            assert!(begun.elapsed() < Duration::from_secs(60), "the node does not come up: {logs:?}");
            sleep(Duration::from_millis(100));
        }
        Some(cluster)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What one of Slurm's commands prints.
    fn answer(&self, name: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(name);
        let output = command.args(arguments).env("SLURM_CONF", self.path("slurm.conf")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn wait_until_the_queue_is_empty(&self) {
        let begun = Instant::now();
        while !self.answer("squeue", &["--noheader"]).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(120), "{}", self.answer("squeue", &[]));
            sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for name in ["slurmd", "slurmctld", "munged"] {
            let Ok(number) = fs::read_to_string(self.path(&format!("{name}.pid"))) else { continue };
            let _ = Command::new("kill").arg(number.trim()).status();
            // The next one is still needed until this one is gone.
            let process = Path::new("/proc").join(number.trim());
            let begun = Instant::now();
            while process.exists() && begun.elapsed() < Duration::from_secs(10) {
                sleep(Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn a_real_cluster_does_a_sweep_as_two_arrays_and_again_what_was_cancelled() {
    let Some(cluster) = Cluster::start() else {
        println!("skipped: Slurm and munge are not installed here, or the tests do not run as root");
        return;
    };
    let configuration = cluster.path("slurm.conf").display().to_string();
    let place = Place { folder: TempDir::new().unwrap(), environment: vec![("SLURM_CONF", configuration)] };
    // Half a second and more a run, so that one is under way when it is cancelled.
    fs::write(place.path("sweep.toml"), sweep(20_000)).unwrap();
    let said = place.submit(&["--partition", "debug", "--time", "10", "--memory", "0"]);
    assert!(said.contains(": 16 tasks\n") && said.contains(": 8 tasks\n24 runs submitted"), "{said}");

    let begun = Instant::now();
    let task = loop {
        let running = cluster.answer("squeue", &["--noheader", "--array", "--states=RUNNING", "--format=%i"]);
        if let Some(task) = running.lines().next() {
            break task.trim().to_string();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing runs: {}", cluster.answer("squeue", &[]));
        sleep(Duration::from_millis(50));
    };
    cluster.answer("scancel", &[&task]);
    let status = place.said(&["status", "out"]);
    assert!(status.contains("Slurm: job ") && status.contains("running"), "{status}");
    // What waits or runs is not submitted a second time: at most the cancelled run is.
    let said = place.submit(&["--dry-run"]);
    assert!(said.contains("1 run in 1 task (") || said.contains("nothing to submit"), "{said}");
    cluster.wait_until_the_queue_is_empty();

    let status = place.said(&["status", "out"]);
    assert!(status.contains("24 planned, 23 done"), "{task} was not cancelled in time: {status}");
    assert!(status.contains("no task in the queue is for 1 of the missing runs"), "{status}");
    let said = place.submit(&[]);
    assert!(
        said.contains(": 1 task\n1 run submitted in 1 task (23 done, 0 failed, 0 in the queue)"),
        "{said}"
    );
    cluster.wait_until_the_queue_is_empty();
    let said = place.submit(&[]);
    assert!(said.contains("nothing to submit: 24 done, 0 failed, 0 in the queue"), "{said}");
    place.assert_as_a_local_run();
}
