//! `contraflow check FILE`: validates, and reads the input files, and runs nothing.

use super::verify::check_claims;
use super::{Check, DONE, print_line, refuse};
use crate::experiment::Experiment;

pub(super) fn check(arguments: &Check) -> u8 {
    let checked = Experiment::read(&arguments.file, &arguments.overrides)
        .and_then(|experiment| check_claims(&experiment).map(|()| experiment))
        .and_then(|experiment| experiment.check_files().map(|()| experiment));
    match checked {
        Ok(experiment) => {
            let cells = experiment.plans.len() / experiment.repeats.max(1);
            print_line(&format!(
                "{}: valid; {cells} {}, {} {}",
                arguments.file.display(),
                if cells == 1 { "cell" } else { "cells" },
                experiment.plans.len(),
                if experiment.plans.len() == 1 { "run" } else { "runs" },
            ));
            DONE
        }
        Err(problem) => refuse(&problem),
    }
}
