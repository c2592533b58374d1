//! The keys of an experiment file about a real network: a ResNet on pictures instead of linear layers on vectors.
//!
//! A file is of this form where it has a table `network`. What both forms share (seed, repeats, sweep, figures) is declared
//! once, in `keys`.

use super::figures;
use super::pictures::{PICTURES, VIEWS};
use crate::loss;
use crate::settings::{Assignment, Constant, Key, Kind, Presence, Problem, Settings, ValueType};

const WIDTH: Key = Key {
    name: "width",
    value: ValueType::Integer { min: 1, max: 4096 },
    presence: Presence::Default(Constant::Integer(16)),
    about: "Channels of the first stage; the representation has four times as many coordinates",
};

const STEM: Key = Key {
    name: "stem",
    value: ValueType::Choice(&["cifar", "imagenet"]),
    presence: Presence::Default(Constant::Text("imagenet")),
    about: "cifar: a 3x3 convolution; imagenet: a 7x7 convolution and a maximum over 3x3, both with stride 2",
};

const WEIGHTS: Key = Key {
    name: "weights",
    value: ValueType::Path,
    presence: Presence::Optional,
    about: "Weights to begin from, with torchvision's names: a .safetensors file, or a PyTorch checkpoint (.pth, .pt)",
};

/// The kinds of network.
pub const NETWORKS: &[Kind] = &[
    Kind {
        name: "resnet-8",
        keys: &[WIDTH, WEIGHTS],
        about: "Three stages of one basic block, 3x3 stem; representation of 4 width coordinates",
        source: "He et al. 2016, section 4.2",
    },
    Kind {
        name: "resnet-20",
        keys: &[WIDTH, WEIGHTS],
        about: "Three stages of three basic blocks, 3x3 stem; representation of 4 width coordinates",
        source: "He et al. 2016, section 4.2",
    },
    Kind {
        name: "resnet-18",
        keys: &[STEM, WEIGHTS],
        about: "Four stages of two basic blocks; representation of 512 coordinates",
        source: "He et al. 2016, Table 1; names and shapes as in torchvision",
    },
    Kind {
        name: "resnet-50",
        keys: &[STEM, WEIGHTS],
        about: "Four stages of 3, 4, 6 and 3 bottleneck blocks, stride in the 3x3 convolution; representation of 2048 coordinates",
        source: "He et al. 2016, Table 1; names and shapes as in torchvision",
    },
];

const D0: Key = Key {
    name: "d0",
    value: ValueType::Integer { min: 1, max: 1_000_000 },
    presence: Presence::Required,
    about: "Coordinates that the loss sees; at most those of the representation",
};

const OUT: Key = Key {
    name: "out",
    value: ValueType::Integer { min: 1, max: 1_000_000 },
    presence: Presence::Default(Constant::Integer(128)),
    about: "Coordinates of the embedding",
};

/// The kinds of projector between representation and loss.
pub const PROJECTORS: &[Kind] = &[
    Kind {
        name: "nonlinear",
        keys: &[
            OUT,
            Key {
                name: "hidden",
                value: ValueType::Integer { min: 1, max: 1_000_000 },
                presence: Presence::Optional,
                about: "Coordinates of the hidden layer; absent: as many as the representation has",
            },
        ],
        about: "Two layers, each a linear map without bias and a BatchNorm, ReLU between them",
        source: "Jing et al. 2022, Table 1",
    },
    Kind {
        name: "linear",
        keys: &[OUT],
        about: "One trainable linear map without bias",
        source: "Jing et al. 2022, Tables 1 and 2",
    },
    Kind {
        name: "orthogonal",
        keys: &[],
        about: "A fixed random orthogonal matrix",
        source: "Jing et al. 2022, Table 2",
    },
    Kind {
        name: "diagonal",
        keys: &[],
        about: "A trainable diagonal matrix that starts as the identity",
        source: "Jing et al. 2022, Table 2",
    },
    Kind {
        name: "low-rank",
        keys: &[D0],
        about: "A fixed U diag(1, …, 1, 0, …, 0) Vᵀ with d0 ones and random orthogonal U, V",
        source: "Jing et al. 2022, Table 2",
    },
    Kind {
        name: "low-rank-diagonal",
        keys: &[D0],
        about: "A fixed diag(1, …, 1, 0, …, 0) with d0 ones",
        source: "Jing et al. 2022, Table 2",
    },
    Kind {
        name: "none",
        keys: &[],
        about: "The loss sees the representation",
        source: "Jing et al. 2022, Table 1",
    },
];

/// The kinds of method.
pub const METHODS: &[Kind] = &[
    Kind {
        name: "simclr",
        keys: &[Key {
            name: "projector",
            value: ValueType::OneOf(PROJECTORS),
            presence: Presence::Required,
            about: "What stands between representation and loss",
        }],
        about: "InfoNCE on the embeddings of two views, through a projector",
        source: "Chen et al. 2020; Jing et al. 2022",
    },
    Kind {
        name: "directclr",
        keys: &[D0],
        about: "InfoNCE on the first d0 coordinates of the representation, without projector",
        source: "Jing et al. 2022, section 6",
    },
    Kind {
        name: "random-features",
        keys: &[D0],
        about: "InfoNCE on d0 coordinates of the representation that are drawn anew in every step",
        source: "Jing et al. 2022, appendix F",
    },
];

const RATE: Key = Key {
    name: "rate",
    value: ValueType::POSITIVE,
    presence: Presence::Required,
    about: "Learning rate after the warm-up, as it is used (no rule multiplies it by the batch)",
};

const MOMENTUM: Key = Key {
    name: "momentum",
    value: ValueType::Number { min: 0.0, min_allowed: true, max: 0.999_999 },
    presence: Presence::Default(Constant::Number(0.9)),
    about: "Momentum of the velocity",
};

const WEIGHT_DECAY: Key = Key {
    name: "weight_decay",
    value: ValueType::NON_NEGATIVE,
    presence: Presence::Default(Constant::Number(1e-6)),
    about: "Weight decay; biases and the scales and shifts of BatchNorm have none",
};

/// The kinds of optimiser.
pub const OPTIMISERS: &[Kind] = &[
    Kind {
        name: "lars",
        keys: &[
            RATE,
            MOMENTUM,
            WEIGHT_DECAY,
            Key {
                name: "trust",
                value: ValueType::POSITIVE,
                presence: Presence::Default(Constant::Number(0.001)),
                about: "Trust coefficient: each weight's step is trust |w| / |g| times the rate",
            },
        ],
        about: "Layer-wise adaptive rate scaling; biases and norms are neither adapted nor decayed",
        source: "You et al. 2017; recipe of Jing et al. 2022",
    },
    Kind {
        name: "sgd",
        keys: &[RATE, MOMENTUM, WEIGHT_DECAY],
        about: "Stochastic gradient descent with momentum",
        source: "",
    },
];

const TRAINING_KEYS: &[Key] = &[
    Key {
        name: "optimiser",
        value: ValueType::OneOf(OPTIMISERS),
        presence: Presence::Required,
        about: "How the weights move",
    },
    Key {
        name: "epochs",
        value: ValueType::Integer { min: 1, max: 1_000_000 },
        presence: Presence::Required,
        about: "Passes over the training pictures",
    },
    Key {
        name: "warmup_epochs",
        value: ValueType::Integer { min: 0, max: 1_000_000 },
        presence: Presence::Default(Constant::Integer(0)),
        about: "Epochs in which the rate grows linearly from 0; then it falls along half a cosine to 0",
    },
    Key {
        name: "batch",
        value: ValueType::Integer { min: 2, max: 1_000_000 },
        presence: Presence::Required,
        about: "Pictures a step, each with two views; a rest at the end of an epoch that does not fill a batch is left out",
    },
    Key {
        name: "pieces",
        value: ValueType::Integer { min: 1, max: 100_000 },
        presence: Presence::Default(Constant::Integer(1)),
        about: "Pieces into which a batch is cut to save memory: the loss sees the whole batch, BatchNorm a piece",
    },
    Key {
        name: "precision",
        value: ValueType::Choice(&["float32", "bfloat16"]),
        presence: Presence::Default(Constant::Text("float32")),
        about: "Of activations and their gradients; weights, statistics and loss are float32",
    },
];

const OBSERVE_KEYS: &[Key] = &[
    Key {
        name: "every",
        value: ValueType::Integer { min: 1, max: 1_000_000 },
        presence: Presence::Default(Constant::Integer(1)),
        about: "Epochs between two records; the start and the end are always recorded",
    },
    Key {
        name: "images",
        value: ValueType::Integer { min: 2, max: 1_000_000 },
        presence: Presence::Default(Constant::Integer(1000)),
        about: "Test pictures over which spectra are taken (all, where there are fewer), and training pictures for X and gradients",
    },
    Key {
        name: "neighbours",
        value: ValueType::Integer { min: 1, max: 10_000 },
        presence: Presence::Default(Constant::Integer(20)),
        about: "k of the k-nearest-neighbour accuracy",
    },
    Key {
        name: "first",
        value: ValueType::Integers { min: 1, max: 1_000_000, at_least: 1 },
        presence: Presence::Optional,
        about: "Further linear probes, on the first so many coordinates of the representation",
    },
];

/// The losses that see a real network.
const LOSSES: &[Kind] = &[loss::COSINE];

pub(super) const DATA: Key = Key {
    name: "data",
    value: ValueType::OneOf(PICTURES),
    presence: Presence::Required,
    about: "Where pictures come from",
};

pub(super) const VIEW: Key = Key {
    name: "views",
    value: ValueType::Keys(VIEWS),
    presence: Presence::Required,
    about: "How the two views of a picture come about; {} for the paper's recipe",
};

pub(super) const NETWORK: Key = Key {
    name: "network",
    value: ValueType::OneOf(NETWORKS),
    presence: Presence::Required,
    about: "The network",
};

pub(super) const METHOD: Key = Key {
    name: "method",
    value: ValueType::OneOf(METHODS),
    presence: Presence::Required,
    about: "What the loss sees",
};

pub(super) const LOSS: Key = Key {
    name: "loss",
    value: ValueType::OneOf(LOSSES),
    presence: Presence::Default(Constant::Table(&[
        ("kind", Constant::Text("infonce-cosine")),
        ("temperature", Constant::Number(0.1)),
    ])),
    about: "The loss",
};

pub(super) const TRAINING: Key = Key {
    name: "training",
    value: ValueType::Keys(TRAINING_KEYS),
    presence: Presence::Required,
    about: "How the network is trained",
};

pub(super) const OBSERVE: Key = Key {
    name: "observe",
    value: ValueType::Keys(OBSERVE_KEYS),
    presence: Presence::Required,
    about: "What is recorded, and when; {} for the defaults",
};

/// Coordinates of the representation.
pub fn representation_dim(network: &Settings) -> usize {
    match network.kind() {
        "resnet-18" => 512,
        "resnet-50" => 2048,
        _ => 4 * network.integer("width"),
    }
}

/// About how many weights a network has.
pub(super) fn weights(network: &Settings) -> f64 {
    match network.kind() {
        "resnet-18" => 11.2e6,
        "resnet-50" => 23.5e6,
        // Of width 16: 77,000 and 270,000.
        "resnet-8" => 300.0 * (network.integer("width") as f64).powi(2),
        _ => 1060.0 * (network.integer("width") as f64).powi(2),
    }
}

/// Spectra that are recorded.
const SPECTRA: [&str; 2] = ["embedding", "representation"];

/// What of the quantities of linear networks is recorded.
const RECORDED: &[&str] = &["loss", "spectra", "ranks", "network"];

/// Kinds of figure that a real network has values for.
const FIGURES: [&str; 4] = ["spectrum", "spectrum-over-time", "over-time", "against"];

/// Everything that can be refused without reading.
pub(super) fn check(settings: &Settings, swept: &[Assignment]) -> Result<(), Problem> {
    let dim = representation_dim(settings.table("network"));
    let method = settings.table("method");
    let projector = (method.kind() == "simclr").then(|| method.table("projector"));
    let narrowed = match (method.kind(), projector) {
        (_, Some(projector)) => {
            matches!(projector.kind(), "low-rank" | "low-rank-diagonal").then_some(projector)
        }
        _ => Some(method),
    };
    if let Some(table) = narrowed.filter(|table| table.integer("d0") > dim) {
        let d0 = table.integer("d0");
        let message = format!("d0 = {d0}, but the representation has {dim} coordinates; allowed: 1 to {dim}");
        return Err(table.problem("d0", message));
    }
    let observe = settings.table("observe");
    if let Some(first) =
        observe.optional_integers("first").and_then(|first| first.iter().find(|d0| **d0 > dim))
    {
        let message =
            format!("first holds {first}, but the representation has {dim} coordinates; allowed: 1 to {dim}");
        return Err(observe.problem("first", message));
    }
    let loss = settings.table("loss");
    if loss.text("reduction") != "mean" {
        return Err(loss.problem("reduction", "a real network is trained on the mean; allowed: \"mean\""));
    }
    let training = settings.table("training");
    let (batch, pieces) = (training.integer("batch"), training.integer("pieces"));
    if batch % pieces != 0 || batch / pieces < 2 {
        let message = format!(
            "pieces = {pieces} cut a batch of {batch} unevenly, or into single pictures, which BatchNorm cannot use; \
             allowed: divisors of {batch} up to {}",
            batch / 2
        );
        return Err(training.problem("pieces", message));
    }
    let (warmup, epochs) = (training.integer("warmup_epochs"), training.integer("epochs"));
    if warmup >= epochs {
        let message = format!(
            "warmup_epochs = {warmup} leave nothing of {epochs} epochs; allowed: 0 to {}",
            epochs - 1
        );
        return Err(training.problem("warmup_epochs", message));
    }
    for figure in settings.tables("figure") {
        figures::check_name(figure)?;
        if !FIGURES.contains(&figure.kind()) {
            let message = format!(
                "a real network has no figure of kind {}; allowed: {}",
                figure.kind(),
                FIGURES.join(", ")
            );
            return Err(figure.problem("kind", message));
        }
        if matches!(figure.kind(), "over-time" | "against") {
            figures::check(figure, swept, RECORDED)?;
        } else if !SPECTRA.contains(&figure.text("of")) {
            let message =
                format!("of = \"{}\" is not recorded; allowed: {}", figure.text("of"), SPECTRA.join(", "));
            return Err(figure.problem("of", message));
        }
    }
    Ok(())
}
