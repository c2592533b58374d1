//! The experiment files: those in `./experiments`, or the copies inside the program where that folder is not there.

use crate::experiment::Experiment;
use crate::settings::Problem;
use std::path::Path;

pub(super) const FOLDER: &str = "experiments";

macro_rules! copies {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../experiments/", $name, ".toml")))),*]
    };
}

/// Name and text of every experiment file of the repository.
const COPIES: &[(&str, &str)] = copies![
    "bias",
    "bias_strong",
    "figure_11a_paper",
    "figure_11a_released_code",
    "figure_11b_paper",
    "figure_11b_released_code",
    "figure_3_paper",
    "figure_3_released_code",
    "figures_5_6_paper",
    "figures_5_6_released_code",
    "flow_vs_sgd",
    "freeze",
    "freeze_fresh",
    "frozen_x",
    "lifetime",
    "mnist_pca",
    "phase_depth_augmentation",
    "population_limit",
    "rank_law",
    "resnet50_imagenet",
    "resnet_mnist",
    "resnet_mnist_d0",
    "resnet_shapes",
    "spectrum_of_data",
    "spectrum_of_data_mnist",
    "threshold",
    "threshold_dot",
    "threshold_large",
];

/// All experiments by name, in alphabetical order.
pub(super) fn available() -> Vec<(String, Result<Experiment, Problem>)> {
    let folder = Path::new(FOLDER);
    let Ok(entries) = std::fs::read_dir(folder) else {
        return COPIES
            .iter()
            .map(|(name, text)| {
                let file = format!("{FOLDER}/{name}.toml");
                ((*name).to_string(), Experiment::parse(&file, folder, text, &[]))
            })
            .collect();
    };
    let mut found: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| {
            let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
            (name, Experiment::read(&path, &[]))
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// The experiment of this name with `overrides`, each `key=value`.
pub(super) fn named(name: &str, overrides: &[String]) -> Result<Experiment, Problem> {
    let folder = Path::new(FOLDER);
    let path = folder.join(format!("{name}.toml"));
    match COPIES.iter().find(|(copy, _)| *copy == name) {
        Some((_, text)) if !path.exists() => {
            Experiment::parse(&path.to_string_lossy(), folder, text, overrides)
        }
        _ => Experiment::read(&path, overrides),
    }
}

/// Whether this is the text of the experiment file of this name: of the copy, or of the file that is in its place.
pub(super) fn is_text_of(name: &str, text: &str) -> bool {
    let file = Path::new(FOLDER).join(format!("{name}.toml"));
    COPIES.iter().any(|(copy, of)| *copy == name && *of == text)
        || std::fs::read_to_string(file).is_ok_and(|of| of == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_holds_a_copy_of_every_experiment_file_and_all_are_valid() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
        let mut files: Vec<String> = std::fs::read_dir(&root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".toml").map(String::from))
            .collect();
        files.sort();
        let copies: Vec<&str> = COPIES.iter().map(|(name, _)| *name).collect();
        assert_eq!(files, copies);
        for (name, text) in COPIES {
            if let Err(problem) = Experiment::parse(&format!("{name}.toml"), &root, text, &[]) {
                panic!("{problem}");
            }
        }
    }
}
