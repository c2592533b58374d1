//! Which process works on which plan: processes and machines share a store without locks.
//!
//! A process holds a plan by creating a file that must not exist, which is atomic on network file systems too. The file names
//! the process, and every process rewrites a file of its own, its heartbeat, every few seconds. Whether a holder still lives is
//! told at once on its own machine, by its number and start time; elsewhere by whether its heartbeat changes within
//! 30 s of the observer's own clock, so that no two clocks are ever compared. The plan of a dead holder is taken
//! over by creating the next generation of the file, again one that must not exist: of two that try, one succeeds.
//!
//! Holds save work and nothing depends on them: results are a function of the plan, and appear whole. Where a holder was
//! taken for dead and was merely stopped, both write the same.

use crate::files::FileError;
use std::collections::HashMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The folder of a store for what is not finished: heartbeats, holds, results that are being written.
pub(super) const WORKING: &str = ".working";

/// How often a process shows that it lives.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);

/// A process of another machine whose heartbeat does not change for so long is dead: some six heartbeats.
const PATIENCE: Duration = Duration::from_secs(30);

const HELD: &str = "held-";
const PROCESS: &str = "process-";
const UNFINISHED: &str = "unfinished-";

/// A process, as it is named in a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Process {
    /// Host name, for people.
    host: String,
    /// What tells this boot of this machine, and the processes that it can see, from all others; empty where that is not known.
    machine: String,
    number: u32,
    /// When it started, in the machine's own units, so that a number that is used again is not taken for it.
    start: u64,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}~{}~{}", self.host, self.machine, self.number, self.start)
    }
}

/// State and start time of a process of this machine, where it exists.
fn stat(number: u32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name in parentheses may hold anything; the state is the first field after it, the start time the twentieth.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

static THIS: LazyLock<Process> = LazyLock::new(|| {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = fs::read_link("/proc/self/ns/pid");
    let machine = match (boot, namespace) {
        (Ok(boot), Ok(namespace)) => {
            let text = format!("{boot}{}", namespace.display());
            crate::files::sha256_hex(text.as_bytes())[..8].to_string()
        }
        _ => String::new(),
    };
    let number = std::process::id();
    let start = stat(number).map_or(0, |(_, start)| start);
    let host = host().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
    Process { host, machine, number, start }
});

/// The name of this machine.
pub(super) fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_string())
        .or_else(|_| std::env::var("HOSTNAME"))
        .or_else(|_| std::env::var("COMPUTERNAME"))
        .unwrap_or_else(|_| "unknown".to_string())
}

impl Process {
    fn parse(text: &str) -> Option<Process> {
        let mut parts = text.split('~');
        let (host, machine) = (parts.next()?.to_string(), parts.next()?.to_string());
        let (number, start) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(Process { host, machine, number, start })
    }

    /// Whether it lives, where this machine can tell.
    fn lives_here(&self) -> Option<bool> {
        let here = !self.machine.is_empty() && self.machine == THIS.machine;
        // One that ended and that nobody has asked about yet is a zombie.
        here.then(|| {
            stat(self.number).is_some_and(|(state, start)| start == self.start && !"ZX".contains(state))
        })
    }
}

/// Who holds a plan, as far as one look can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The name of its machine.
    pub host: String,
    /// Its number there.
    pub process: u32,
    /// Whether it lives; nothing for a process of another machine, of which only time can tell.
    pub lives: Option<bool>,
}

/// Holders of plans in the store at `root`, by the plans' hashes. Cost: reads one small file a hold.
pub(super) fn holders(root: &Path) -> HashMap<String, Holder> {
    let mut found: HashMap<String, (u32, Holder)> = HashMap::new();
    let Ok(entries) = fs::read_dir(root.join(WORKING)) else { return HashMap::new() };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((hash, generation)) = name.strip_prefix(HELD).and_then(|rest| rest.rsplit_once('.')) else {
            continue;
        };
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let (Ok(generation), Some(process)) = (generation.parse(), Process::parse(&text)) else { continue };
        let lives = process.lives_here();
        let holder = Holder { host: process.host, process: process.number, lives };
        // The last generation holds the plan; those before it are of the dead.
        match found.get(hash) {
            Some((last, _)) if *last > generation => {}
            _ => drop(found.insert(hash.to_string(), (generation, holder))),
        }
    }
    found.into_iter().map(|(hash, (_, holder))| (hash, holder)).collect()
}

/// Where this process writes the results of a plan until they are whole.
pub(super) fn unfinished(root: &Path, hash: &str) -> PathBuf {
    root.join(WORKING).join(format!("{UNFINISHED}{}~{hash}", *THIS))
}

/// The part of this process in the work on a store.
#[derive(Debug)]
pub(super) struct Holds {
    folder: PathBuf,
    beats: AtomicU64,
    /// Processes of other machines.
    watched: Mutex<HashMap<String, Watched>>,
    patience: Duration,
}

/// A heartbeat, and since when it has not changed.
#[derive(Debug)]
struct Watched {
    beat: Option<Vec<u8>>,
    since: Instant,
}

impl Holds {
    /// Takes part in the work on the store at `root`, which exists, and removes what the dead have left.
    pub fn join(root: &Path) -> Result<Holds, FileError> {
        let holds = Holds {
            folder: root.join(WORKING),
            beats: AtomicU64::new(0),
            watched: Mutex::default(),
            patience: PATIENCE,
        };
        holds.beat()?;
        holds.remove_of_the_dead(&[PROCESS, UNFINISHED]);
        Ok(holds)
    }

    /// Shows that this process lives.
    pub fn beat(&self) -> Result<(), FileError> {
        let beat = self.beats.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{PROCESS}{}", *THIS));
        self.in_folder(&path, "write", || fs::write(&path, beat.to_string()))
    }

    /// Does something in the folder, which another process that leaves may just have removed.
    fn in_folder<T>(
        &self,
        path: &Path,
        action: &str,
        work: impl Fn() -> io::Result<T>,
    ) -> Result<T, FileError> {
        const ATTEMPTS: usize = 100;
        let mut result = work();
        for _ in 0..ATTEMPTS {
            match &result {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                _ => break,
            }
            result = fs::create_dir(&self.folder)
                .or_else(|error| if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
                .and_then(|()| work());
        }
        result.map_err(|error| FileError::io(path, action, &error))
    }

    /// Takes the plan of this hash, unless one that lives holds it.
    pub fn take(&self, hash: &str) -> Result<Option<Held>, FileError> {
        let mut files = Vec::new();
        for generation in 0u32.. {
            let path = self.folder.join(format!("{HELD}{hash}.{generation}"));
            let create = || OpenOptions::new().write(true).create_new(true).open(&path);
            let taken = self.in_folder(&path, "create", || match create() {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
                result => result.map(Some),
            })?;
            if let Some(mut file) = taken {
                files.push(path.clone());
                let held = Held { files };
                file.write_all(THIS.to_string().as_bytes())
                    .map_err(|error| FileError::io(&path, "write", &error))?;
                return Ok(Some(held));
            }
            let holder = match fs::read(&path) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                // Let go in this moment: it is asked for again later.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                // Not of ours, and as nameless as one that has not written its name yet.
                Err(error) if error.kind() == ErrorKind::IsADirectory => String::new(),
                Err(error) => return Err(FileError::io(&path, "read", &error)),
            };
            if !self.is_dead(&holder, &path) {
                return Ok(None);
            }
            files.push(path);
        }
        Ok(None)
    }

    /// Whether the process of this name is dead. `file` stands for one that has not written its name yet.
    fn is_dead(&self, name: &str, file: &Path) -> bool {
        if let Some(lives) = Process::parse(name).and_then(|process| process.lives_here()) {
            return !lives;
        }
        let key = if name.is_empty() { file.display().to_string() } else { name.to_string() };
        let beat = fs::read(self.folder.join(format!("{PROCESS}{name}"))).ok();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        match watched.get(&key) {
            Some(last) if last.beat == beat => last.since.elapsed() >= self.patience,
            _ => {
                watched.insert(key, Watched { beat, since: Instant::now() });
                false
            }
        }
    }

    /// Removes what processes that are dead have left in files and folders of these kinds. A hold outlives the one that died just
    /// after its plan was finished; of a plan that is not, the next process takes the first generation instead of a later one.
    fn remove_of_the_dead(&self, kinds: &[&str]) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(kind) = kinds.iter().find(|kind| name.starts_with(**kind)) else { continue };
            let rest = &name[kind.len()..];
            let process = match *kind {
                HELD => fs::read_to_string(entry.path()).ok(),
                UNFINISHED => rest.rsplit_once('~').map(|(process, _)| process.to_string()),
                _ => Some(rest.to_string()),
            };
            if process.is_some_and(|process| self.is_dead(&process, &entry.path())) {
                // Someone else may be about to do the same.
                let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
            }
        }
    }
}

impl Drop for Holds {
    fn drop(&mut self) {
        self.remove_of_the_dead(&[PROCESS, UNFINISHED, HELD]);
        let _ = fs::remove_file(self.folder.join(format!("{PROCESS}{}", *THIS)));
        // The last one leaves nothing behind.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// A plan that this process holds, until this value is dropped.
#[derive(Debug)]
pub(super) struct Held {
    /// Holds of the dead, and the own one.
    files: Vec<PathBuf>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Results are in place by now: whoever takes the plan next sees them.
        for file in &self.files {
            let _ = fs::remove_file(file).or_else(|_| fs::remove_dir_all(file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(machine: &str, number: u32, start: u64) -> String {
        Process { host: "elsewhere".into(), machine: machine.into(), number, start }.to_string()
    }

    fn hold(root: &Path, hash: &str, generation: u32, process: &str) {
        fs::create_dir_all(root.join(WORKING)).unwrap();
        fs::write(root.join(WORKING).join(format!("{HELD}{hash}.{generation}")), process).unwrap();
    }

    #[test]
    fn a_name_says_who_it_is_of() {
        let this = THIS.clone();
        assert_eq!(Process::parse(&this.to_string()), Some(this.clone()));
        assert_eq!(this.lives_here(), if this.machine.is_empty() { None } else { Some(true) });
        assert_eq!(Process::parse("x~y~z"), None);
        assert_eq!(Process::parse("a~b~1~2~3"), None);
    }

    #[test]
    fn a_plan_is_held_by_one_and_free_again_when_that_one_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (Holds::join(folder.path()).unwrap(), Holds::join(folder.path()).unwrap());
        let held = a.take("x").unwrap().unwrap();
        assert!(b.take("x").unwrap().is_none() && a.take("x").unwrap().is_none());
        assert!(b.take("y").unwrap().is_some());
        assert_eq!(holders(folder.path())["x"].process, std::process::id());
        drop(held);
        assert!(b.take("x").unwrap().is_some());
        drop((a, b));
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "something was left behind");
    }

    #[test]
    fn a_hold_that_outlived_its_holder_goes_with_the_next_process_that_leaves() {
        if THIS.machine.is_empty() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let holds = Holds::join(folder.path()).unwrap();
        hold(folder.path(), "finished", 0, &other(&THIS.machine, u32::MAX, 1));
        hold(folder.path(), "alive", 0, &THIS.to_string());
        drop(holds);
        let left = holders(folder.path());
        assert!(left.contains_key("alive") && !left.contains_key("finished"), "{left:?}");
    }

    #[test]
    fn of_many_that_want_a_plan_one_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        // A dead one is in the way.
        hold(folder.path(), "x", 0, &other(&THIS.machine, u32::MAX, 1));
        let holds = Holds::join(folder.path()).unwrap();
        let barrier = std::sync::Barrier::new(8);
        let taken: Vec<Option<Held>> = std::thread::scope(|scope| {
            let take = || {
                barrier.wait();
                holds.take("x").unwrap()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(taken.iter().flatten().count(), 1);
    }

    #[test]
    fn a_dead_holder_of_this_machine_is_known_at_once_and_one_that_lives_is_left_alone() {
        if THIS.machine.is_empty() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let holds = Holds::join(folder.path()).unwrap();
        hold(folder.path(), "ended", 0, &other(&THIS.machine, u32::MAX, 1));
        // The number is in use again, by this process, which started at another time.
        hold(folder.path(), "reused", 0, &other(&THIS.machine, THIS.number, THIS.start + 1));
        hold(folder.path(), "alive", 0, &THIS.to_string());
        for hash in ["ended", "reused"] {
            assert_eq!(holders(folder.path())[hash].lives, Some(false));
            let held = holds.take(hash).unwrap().expect(hash);
            assert_eq!(holders(folder.path())[hash].lives, Some(true));
            assert!(holds.take(hash).unwrap().is_none());
            drop(held);
        }
        assert!(holds.take("alive").unwrap().is_none());
        assert_eq!(fs::read_dir(folder.path().join(WORKING)).unwrap().count(), 2);
    }

    #[test]
    fn a_holder_of_another_machine_is_dead_when_its_heart_stands_still_and_not_while_it_beats() {
        let folder = tempfile::tempdir().unwrap();
        let mut holds = Holds::join(folder.path()).unwrap();
        holds.patience = Duration::from_millis(200);
        let (beating, silent) = (other("0badcafe", 1, 1), other("0badcafe", 2, 1));
        for (hash, process) in [("beating", beating.as_str()), ("silent", &silent), ("nameless", "")] {
            hold(folder.path(), hash, 0, process);
        }
        // One has created its file and not written its name, and others are no holds at all: they count as any other.
        fs::write(folder.path().join(WORKING).join(format!("{HELD}garbage.0")), b"\xff\xfe").unwrap();
        fs::create_dir(folder.path().join(WORKING).join(format!("{HELD}folder.0"))).unwrap();
        for hash in ["beating", "silent", "nameless", "garbage", "folder"] {
            assert!(holds.take(hash).unwrap().is_none(), "{hash}");
        }
        for beat in 0..6 {
            fs::write(holds.folder.join(format!("{PROCESS}{beating}")), beat.to_string()).unwrap();
            assert!(holds.take("beating").unwrap().is_none(), "beat {beat}");
            std::thread::sleep(Duration::from_millis(60));
        }
        assert!(holds.take("silent").unwrap().is_some());
        for hash in ["nameless", "garbage", "folder"] {
            assert!(holds.take(hash).unwrap().is_some(), "{hash}");
        }
        assert_eq!(holders(folder.path())["beating"].lives, None);
    }

    #[test]
    fn what_the_dead_have_left_is_removed_and_what_the_living_write_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let working = folder.path().join(WORKING);
        let dead = other(&THIS.machine, u32::MAX, 1);
        for name in [format!("{UNFINISHED}{dead}~hash"), format!("{UNFINISHED}{}~hash", *THIS)] {
            fs::create_dir_all(working.join(name)).unwrap();
        }
        fs::write(working.join(format!("{PROCESS}{dead}")), "7").unwrap();
        let holds = Holds::join(folder.path()).unwrap();
        if !THIS.machine.is_empty() {
            let mut left: Vec<_> = fs::read_dir(&working)
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            left.sort();
            assert_eq!(left, [format!("{PROCESS}{}", *THIS), format!("{UNFINISHED}{}~hash", *THIS)]);
        }
        drop(holds);
    }
}
