//! Runs at work: how many there may be, for how long, and which of them is to stop.

use serde_json::json;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Runs that may be at work at a time: one, and those that have been told to stop and are about to.
const MOST_RUNS: usize = 4;

/// How long a run may be at work: whoever waits longer is better served by the saved file.
pub(super) const LONGEST_RUN: Duration = Duration::from_secs(60);

/// Lines that wait for a slow reader.
const WAITING_LINES: usize = 64;

/// How often a slow reader is looked at.
const PATIENCE: Duration = Duration::from_millis(5);

/// Why a run is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nobody listens any more.
    Unheard,
    /// Another run has begun.
    Superseded,
    /// It has been at work for this long.
    TooLong(Duration),
}

/// Who is told of a run.
pub(super) trait Listener {
    /// Why the run is to stop, if it is.
    fn stop(&self) -> Option<Stop>;
    /// Whether this line is on its way; if it is not, the run is to stop.
    fn send(&self, line: String) -> bool;
    /// The line after which there is none; it may get lost only where nobody listens.
    fn send_last(&self, line: String);
}

/// All runs of a server.
#[derive(Default)]
pub(super) struct Runs {
    /// Number of the newest run: the others stop.
    newest: AtomicU64,
    at_work: AtomicUsize,
}

impl Runs {
    /// A new run and its lines, where there is a place for it: only then the one before it is to stop.
    pub(super) fn begin(self: &Arc<Self>, longest: Duration) -> Option<(Run, Receiver<String>)> {
        let place = Place(Arc::clone(self));
        if self.at_work.fetch_add(1, Ordering::SeqCst) >= MOST_RUNS {
            return None;
        }
        let number = self.newest.fetch_add(1, Ordering::SeqCst) + 1;
        let (sender, receiver) = mpsc::channel(WAITING_LINES + 1);
        Some((Run { place, number, since: Instant::now(), longest, sender }, receiver))
    }
}

/// Counts a run for as long as it lives.
struct Place(Arc<Runs>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One run, and the way to its reader.
pub(super) struct Run {
    place: Place,
    number: u64,
    since: Instant,
    longest: Duration,
    sender: Sender<String>,
}

impl Run {
    /// Does the work; if that fails, the reader is told.
    pub(super) fn work(self, work: impl FnOnce(&Run)) {
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| work(&self))) {
            let message = format!(
                "{}; this is a mistake in contraflow: please report it together with the saved file",
                in_words(cause.as_ref())
            );
            self.send_last(format!("{}\n", json!({ "failed": message })));
        }
    }
}

impl Listener for Run {
    fn stop(&self) -> Option<Stop> {
        if self.sender.is_closed() {
            Some(Stop::Unheard)
        } else if self.place.0.newest.load(Ordering::SeqCst) != self.number {
            Some(Stop::Superseded)
        } else {
            (self.since.elapsed() >= self.longest).then_some(Stop::TooLong(self.longest))
        }
    }

    fn send(&self, mut line: String) -> bool {
        loop {
            // One place is kept for the last line.
            if self.sender.capacity() > 1 {
                match self.sender.try_send(line) {
                    Ok(()) => return true,
                    Err(TrySendError::Closed(_)) => return false,
                    Err(TrySendError::Full(back)) => line = back,
                }
            }
            // A reader that never reads is not waited for once the run is to stop.
            if self.stop().is_some() {
                return false;
            }
            std::thread::sleep(PATIENCE);
        }
    }

    fn send_last(&self, line: String) {
        let _ = self.sender.try_send(line);
    }
}

/// What a panic says.
fn in_words(cause: &(dyn Any + Send)) -> &str {
    match (cause.downcast_ref::<&str>(), cause.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "it does not say why",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn lines(mut receiver: Receiver<String>) -> Vec<String> {
        std::iter::from_fn(|| receiver.blocking_recv()).collect()
    }

    #[test]
    fn a_run_that_finds_no_place_stops_none_of_the_others() {
        let runs = Arc::new(Runs::default());
        let mut at_work: Vec<_> = (0..MOST_RUNS).map(|_| runs.begin(LONG).unwrap()).collect();
        assert!(runs.begin(LONG).is_none() && runs.begin(LONG).is_none());
        assert_eq!(at_work[MOST_RUNS - 1].0.stop(), None);
        assert_eq!(at_work[0].0.stop(), Some(Stop::Superseded));
        // Whoever was refused has left no trace: one place free is one run more.
        at_work.remove(0);
        let newer = runs.begin(LONG).unwrap();
        assert!(runs.begin(LONG).is_none());
        assert_eq!((at_work[2].0.stop(), newer.0.stop()), (Some(Stop::Superseded), None));
    }

    #[test]
    fn a_reader_that_never_reads_holds_its_place_only_until_another_run_begins_and_is_told_why() {
        let runs = Arc::new(Runs::default());
        let (run, receiver) = runs.begin(LONG).unwrap();
        let sending = std::thread::spawn(move || {
            let sent = (0..).take_while(|k| run.send(format!("{k}"))).count();
            run.send_last("last".to_string());
            sent
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(!sending.is_finished(), "it waits for its reader");
        let _newer = runs.begin(LONG).unwrap();
        assert_eq!(sending.join().unwrap(), WAITING_LINES);
        assert_eq!(runs.at_work.load(Ordering::SeqCst), 1);
        assert_eq!(lines(receiver).last().map(String::as_str), Some("last"));
    }

    #[test]
    fn a_run_is_to_stop_after_its_time_and_when_its_reader_has_gone() {
        let runs = Arc::new(Runs::default());
        let (run, receiver) = runs.begin(Duration::ZERO).unwrap();
        assert_eq!(run.stop(), Some(Stop::TooLong(Duration::ZERO)));
        assert!(run.send("there is room".to_string()));
        drop(receiver);
        assert_eq!(run.stop(), Some(Stop::Unheard));
        assert!(!run.send("into the void".to_string()));
    }

    #[test]
    fn work_that_fails_is_told_and_leaves_its_place() {
        let runs = Arc::new(Runs::default());
        let (run, receiver) = runs.begin(LONG).unwrap();
        run.work(|run| {
            assert!(run.send("first".to_string()));
            panic!("index {} out of bounds", 7);
        });
        let told = lines(receiver);
        assert_eq!(told[0], "first");
        let last: serde_json::Value = serde_json::from_str(&told[1]).unwrap();
        assert!(last["failed"].as_str().unwrap().contains("index 7 out of bounds"), "{told:?}");
        assert_eq!(runs.at_work.load(Ordering::SeqCst), 0);

        let (run, receiver) = runs.begin(LONG).unwrap();
        run.work(|run| run.send_last("done".to_string()));
        assert_eq!(lines(receiver), ["done"]);
    }
}
