//! Views of the next steps, prepared while a step is taken.

use super::images::Images;
use super::views::Augmentations;
use crate::seed::Seed;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

/// Batches that wait.
const WAITING: usize = 2;

/// A thread that prepares one batch of views after the other. It ends when nobody waits for them any more.
pub struct Prefetch {
    batches: Option<Receiver<Result<Vec<f32>, String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Prefetch {
    /// Prepares the views of these steps, each with the training pictures of its batch.
    pub fn new(
        images: Arc<Images>,
        augmentations: Arc<Augmentations>,
        seed: Seed,
        steps: impl Iterator<Item = (u64, Vec<usize>)> + Send + 'static,
    ) -> Prefetch {
        let (sender, receiver) = sync_channel(WAITING);
        let length = images.train.channels() * images.train.size().pow(2);
        let thread = std::thread::spawn(move || {
            for (step, indices) in steps {
                let mut views = vec![0.0; 2 * indices.len() * length];
                let views = augmentations.views(&images, &indices, seed, step, &mut views).map(|()| views);
                if sender.send(views).is_err() {
                    return;
                }
            }
        });
        Prefetch { batches: Some(receiver), thread: Some(thread) }
    }

    /// The views of the next step; nothing after the last one.
    pub fn next(&self) -> Option<Result<Vec<f32>, String>> {
        self.batches.as_ref()?.recv().ok()
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        // A thread that waits for room is told first that nobody waits for it.
        drop(self.batches.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resnet::example;

    #[test]
    fn batches_come_in_order_and_a_reader_that_leaves_early_is_not_waited_for() {
        let plan = example::plan(&[]);
        let images = Arc::new(Images::from_settings(plan.settings.table("data"), plan.seed).unwrap());
        let augmentations = Arc::new(Augmentations::from_settings(plan.settings.table("views")));
        let steps = (0..50).map(|step| (step, vec![step as usize % 10, 3]));
        let prefetch = Prefetch::new(images.clone(), augmentations.clone(), plan.seed, steps);
        for step in 0..5u64 {
            let views = prefetch.next().unwrap().unwrap();
            let mut expected = vec![0.0; views.len()];
            augmentations.views(&images, &[step as usize % 10, 3], plan.seed, step, &mut expected).unwrap();
            assert!(views == expected, "step {step}");
        }
        drop(prefetch);
        let short = Prefetch::new(images, augmentations, plan.seed, (0..1).map(|step| (step, vec![0, 1])));
        assert!(short.next().is_some() && short.next().is_none());
    }
}
