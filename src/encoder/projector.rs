//! What stands between the representation r and the embedding z.

use super::initialisation;
use crate::settings::{Constant, Key, Kind, Presence, ValueType};

const RANK: Key = Key {
    name: "rank",
    value: ValueType::Integer { min: 1, max: 1_000_000 },
    presence: Presence::Required,
    about: "Number of ones among the projector's singular values, at most the width of the representation",
};

/// The kinds of projector that an experiment file can name.
pub const KINDS: &[Kind] = &[
    Kind { name: "none", keys: &[], about: "z = r", source: "" },
    Kind {
        name: "trainable",
        keys: &[
            Key {
                name: "widths",
                value: ValueType::Integers { min: 1, max: 1_000_000, at_least: 1 },
                presence: Presence::Optional,
                about: "Output widths of the projector's layers; absent: one layer as wide as the representation",
            },
            Key {
                name: "activation",
                value: ValueType::Choice(&["linear", "relu", "tanh"]),
                presence: Presence::Default(Constant::Text("linear")),
                about: "Activation between the projector's layers",
            },
            Key {
                name: "init",
                value: ValueType::OneOf(initialisation::KINDS),
                presence: Presence::Default(Constant::Table(&[("kind", Constant::Text("uniform-fan-in"))])),
                about: "How the projector's layers start; a file holds them as P1, P2, …",
            },
        ],
        about: "Dense trainable layers without bias, P1 …",
        source: "Jing et al. 2022, Tables 1 and 2",
    },
    Kind {
        name: "orthogonal",
        keys: &[],
        about: "A fixed random orthogonal matrix: all singular values 1",
        source: "Jing et al. 2022, Table 2",
    },
    Kind {
        name: "diagonal",
        keys: &[],
        about: "A trainable diagonal matrix that starts as the identity",
        source: "Jing et al. 2022, Table 2 and Proposition 1",
    },
    Kind {
        name: "low-rank",
        keys: &[RANK],
        about: "A fixed U diag(1, …, 1, 0, …, 0) Vᵀ with random orthogonal U, V",
        source: "Jing et al. 2022, Table 2 and Proposition 2",
    },
    Kind {
        name: "low-rank-diagonal",
        keys: &[RANK],
        about: "A fixed diag(1, …, 1, 0, …, 0)",
        source: "Jing et al. 2022, Table 2",
    },
    Kind {
        name: "subvector",
        keys: &[Key {
            name: "dims",
            value: ValueType::Integer { min: 1, max: 1_000_000 },
            presence: Presence::Required,
            about: "d0: the embedding is r[0:d0]; at most the width of the representation",
        }],
        about: "z = r[0:d0]",
        source: "Jing et al. 2022, DirectCLR",
    },
];
