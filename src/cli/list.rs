//! `contraflow list [TOPIC]`: what an experiment file can name.

use super::{DONE, embedded, print_line, refuse};
use crate::settings::{Kind, describe};
use crate::{augment, claim, data, encoder, experiment, loss, observe, record};

const TOPICS: &[(&str, &[Kind])] = &[
    ("losses", loss::KINDS),
    ("data", data::KINDS),
    ("covariances", data::COVARIANCES),
    ("augmentations", augment::KINDS),
    ("encoders", encoder::KINDS),
    ("initialisations", encoder::INITIALISATIONS),
    ("projectors", encoder::PROJECTORS),
    ("dynamics", experiment::DYNAMICS),
    ("times", experiment::TIMES),
    ("figures", experiment::FIGURES),
    ("pictures", experiment::PICTURES),
    ("views", VIEWS),
    ("networks", experiment::NETWORKS),
    ("methods", experiment::METHODS),
    ("network-projectors", experiment::PROJECTORS),
    ("optimisers", experiment::OPTIMISERS),
];

/// The table `views` has no kinds.
const VIEWS: &[Kind] = &[Kind {
    name: "views",
    keys: experiment::VIEWS,
    about: "How the two views of a picture come about",
    source: "Jing et al. 2022, the recipe for ImageNet",
}];

pub(super) fn list(topic: Option<&str>) -> u8 {
    let names = || {
        let kinds = TOPICS.iter().map(|(name, _)| *name);
        kinds.chain(["quantities", "arrays", "experiments", "claims"]).collect::<Vec<_>>().join("\n")
    };
    match topic {
        None => print_line(&names()),
        Some("quantities") => {
            for (name, about) in observe::Quantity::NAMES.iter().zip(observe::Quantity::ABOUT) {
                print_line(&format!("{name:<12} {about}"));
            }
        }
        Some("arrays") => {
            for (name, shape, about) in record::ARRAYS {
                print_line(&format!("{name:<24} {shape:<10} {about}"));
            }
        }
        Some("experiments") => {
            for (name, experiment) in embedded::available() {
                match experiment {
                    Ok(experiment) => print_line(&format!("{name:<32} {}", experiment.title)),
                    Err(problem) => eprintln!("{problem}"),
                }
            }
        }
        Some("claims") => {
            for claim in claim::all() {
                print_line(&format!("{:<33} {} {}", claim.id, claim.source, claim.statement));
            }
        }
        Some(name) => match TOPICS.iter().find(|(topic, _)| *topic == name) {
            Some((_, kinds)) => print_line(describe(kinds).trim_end()),
            None => {
                let topics = names().replace('\n', ", ");
                return refuse(&format!("error: there is nothing to list under `{name}`; allowed: {topics}"));
            }
        },
    }
    DONE
}
