//! The keys of an experiment file. Kinds are declared where their concept lives; this is how they fit together.

use super::network;
use super::slurm::SLURM;
use crate::settings::{Constant, Key, Kind, Presence, ValueType};
use crate::{augment, data, encoder, loss, observe};

const METHOD: Key = Key {
    name: "method",
    value: ValueType::Choice(&["tsit5", "dopri5", "dop853"]),
    presence: Presence::Required,
    about: "Runge-Kutta method: Tsitouras 5(4), Dormand-Prince 5(4), or DOP853 for tight tolerances",
};

const METHOD_OF_POPULATION: Key = Key {
    name: "method",
    value: ValueType::Choice(&["tsit5", "dopri5", "dop853", "rodas5p"]),
    presence: Presence::Required,
    about: "An explicit method as for a flow, or the Rosenbrock method Rodas5P, whose steps stiffness does not limit",
};

const RTOL: Key = Key {
    name: "rtol",
    value: ValueType::Number { min: 1e-14, min_allowed: true, max: 0.1 },
    presence: Presence::Required,
    about: "Relative tolerance of a step",
};

const ATOL: Key = Key {
    name: "atol",
    value: ValueType::POSITIVE,
    presence: Presence::Required,
    about: "Absolute tolerance of a step, in the unit of the weights",
};

const TIME_END: Key = Key {
    name: "time_end",
    value: ValueType::POSITIVE,
    presence: Presence::Required,
    about: "Training time at which the run ends",
};

const MAX_STEPS: Key = Key {
    name: "max_steps",
    value: ValueType::Integer { min: 1, max: 1_000_000_000_000 },
    presence: Presence::Optional,
    about: "Limit on attempted steps; absent: one million",
};

const GRADIENT_NORM: Key = Key {
    name: "gradient_norm",
    value: ValueType::POSITIVE,
    presence: Presence::Optional,
    about: "The run has converged once the Euclidean norm of the gradient is at most this",
};

const RATE: Key = Key {
    name: "rate",
    value: ValueType::POSITIVE,
    presence: Presence::Required,
    about: "Learning rate; one step is a time of this",
};

const STEPS: Key = Key {
    name: "steps",
    value: ValueType::Integer { min: 1, max: 1_000_000_000_000 },
    presence: Presence::Required,
    about: "Number of steps",
};

/// The kinds of dynamics that an experiment file can name.
pub const DYNAMICS: &[Kind] = &[
    Kind {
        name: "flow",
        keys: &[METHOD, RTOL, ATOL, TIME_END, MAX_STEPS, GRADIENT_NORM],
        about: "Gradient flow Ẇ = -∂L/∂W on one fixed batch of all samples, with adaptive steps",
        source: "Jing et al. 2022, Lemma 1",
    },
    Kind {
        name: "gd",
        keys: &[RATE, STEPS, GRADIENT_NORM],
        about: "Gradient descent on one fixed batch of all samples",
        source: "",
    },
    Kind {
        name: "sgd",
        keys: &[
            RATE,
            STEPS,
            Key {
                name: "batch",
                value: ValueType::Integer { min: 2, max: 1_000_000_000 },
                presence: Presence::Required,
                about: "Samples a step, drawn without replacement; fresh noise every step",
            },
        ],
        about: "Stochastic gradient descent, no momentum, no weight decay",
        source: "released code of Jing et al. 2022",
    },
    Kind {
        name: "frozen-x",
        keys: &[METHOD, RTOL, ATOL, TIME_END, MAX_STEPS],
        about: "The flow with X held at its value at the start; for one layer W(t) = W(0) exp(X t)",
        source: "Jing et al. 2022, the assumption of Theorem 1",
    },
    Kind {
        name: "prescribed-x",
        keys: &[
            Key {
                name: "eigenvalues",
                value: ValueType::ANY_NUMBERS,
                presence: Presence::Required,
                about: "One a coordinate",
            },
            Key {
                name: "decay",
                value: ValueType::ANY,
                presence: Presence::Required,
                about: "Rate at which X decays; 0 for a constant X",
            },
            METHOD,
            RTOL,
            ATOL,
            TIME_END,
            MAX_STEPS,
        ],
        about: "The flow with X(t) = diag(eigenvalues) exp(-decay t), given and not computed",
        source: "",
    },
    Kind {
        name: "population",
        keys: &[
            METHOD_OF_POPULATION,
            RTOL,
            ATOL,
            TIME_END,
            MAX_STEPS,
            GRADIENT_NORM,
            Key {
                name: "batch",
                value: ValueType::Integer { min: 2, max: 1_000_000_000 },
                presence: Presence::Optional,
                about: "Adds the term of order 1/B that fresh batches of B samples have on average (infonce-euclidean only); absent: the limit",
            },
        ],
        about: "Gradient flow on infinitely many Gaussian samples, by closed forms; `samples` is ignored",
        source: "paper_notes.md, Beyond the paper",
    },
];

const COUNT: ValueType = ValueType::Integer { min: 1, max: 1_000_000 };

/// The kinds of recording times that an experiment file can name.
pub const TIMES: &[Kind] = &[
    Kind {
        name: "log",
        keys: &[
            Key {
                name: "first",
                value: ValueType::POSITIVE,
                presence: Presence::Required,
                about: "First recorded time after the start",
            },
            Key {
                name: "count",
                value: COUNT,
                presence: Presence::Required,
                about: "Number of times from the first to the end",
            },
        ],
        about: "Times in equal ratios; the start and the end are always recorded",
        source: "",
    },
    Kind {
        name: "linear",
        keys: &[
            Key {
                name: "count",
                value: COUNT,
                presence: Presence::Optional,
                about: "Number of times after the start; either this or every",
            },
            Key {
                name: "every",
                value: ValueType::Integer { min: 1, max: 1_000_000_000_000 },
                presence: Presence::Optional,
                about: "Distance in steps, for gd and sgd; either this or count",
            },
        ],
        about: "Times in equal distances; the start and the end are always recorded",
        source: "",
    },
    Kind {
        name: "list",
        keys: &[Key {
            name: "times",
            value: ValueType::POSITIVE_NUMBERS,
            presence: Presence::Required,
            about: "Training times, ascending, up to the end; gd and sgd round them up to whole steps",
        }],
        about: "Given times; the start and the end are always recorded",
        source: "",
    },
];

const NAME: Key = Key {
    name: "name",
    value: ValueType::Text,
    presence: Presence::Optional,
    about: "Name of the figure's files; absent: the experiment file's name",
};

const TITLE: Key = Key {
    name: "title",
    value: ValueType::Text,
    presence: Presence::Optional,
    about: "Title of the figure; absent: the experiment's",
};

const OF: Key = Key {
    name: "of",
    value: ValueType::Text,
    presence: Presence::Required,
    about: "Which spectrum: w1, w2, …, p1, …, end-to-end, embedding or representation",
};

const VALUE: Key = Key {
    name: "value",
    value: ValueType::Text,
    presence: Presence::Required,
    about: "Name of the array that is shown, such as sigma_end_to_end; `contraflow list arrays` has them",
};

const RANK: Key = Key {
    name: "rank",
    value: ValueType::Integer { min: 1, max: 1_000_000_000 },
    presence: Presence::Optional,
    about: "Which entry of the array's row, counted from 1; absent: the last one, the smallest singular value",
};

const RELATIVE: Key = Key {
    name: "relative",
    value: ValueType::Flag,
    presence: Presence::Default(Constant::Flag(false)),
    about: "Whether the value, and what predicts it, is divided by the value at the start",
};

const THEORY: Key = Key {
    name: "theory",
    value: ValueType::Text,
    presence: Presence::Optional,
    about: "Name of an array that predicts the value, of the same rank; dashed, in the shade of what it predicts",
};

const EACH: Key = Key {
    name: "each",
    value: ValueType::Texts,
    presence: Presence::Optional,
    about: "Swept keys of which every value has a figure of its own, with the value in its files' name",
};

const X_LABEL: Key = Key {
    name: "x_label",
    value: ValueType::Text,
    presence: Presence::Optional,
    about: "Title of the horizontal axis; absent: made of what it shows",
};

const Y_LABEL: Key = Key {
    name: "y_label",
    value: ValueType::Text,
    presence: Presence::Optional,
    about: "Title of the vertical axis; absent: made of what it shows",
};

const SCALES: ValueType = ValueType::Choice(&["log", "linear"]);

const X_SCALE: Key = Key {
    name: "x_scale",
    value: SCALES,
    presence: Presence::Default(Constant::Text("log")),
    about: "Scale of the horizontal axis; a logarithmic one has no place for 0",
};

const Y_SCALE: Key = Key {
    name: "y_scale",
    value: SCALES,
    presence: Presence::Default(Constant::Text("log")),
    about: "Scale of the vertical axis",
};

const SIZE: Key = Key {
    name: "size",
    value: ValueType::Choice(&["single-column", "double-column"]),
    presence: Presence::Optional,
    about: "Width on paper, 85 mm or 174 mm; absent: single-column",
};

/// The kinds of figure that an experiment file can name.
pub const FIGURES: &[Kind] = &[
    Kind {
        name: "spectrum",
        keys: &[OF, THEORY, NAME, TITLE, SIZE],
        about: "Sorted singular values at the end, one line a cell of the sweep, median and range over repeats",
        source: "Jing et al. 2022, Figures 3 and 11",
    },
    Kind {
        name: "spectrum-over-time",
        keys: &[
            OF,
            Key {
                name: "time_scale",
                value: ValueType::Choice(&["log", "linear"]),
                presence: Presence::Default(Constant::Text("log")),
                about: "Scale of the time axis",
            },
            NAME,
            TITLE,
            SIZE,
        ],
        about: "Every singular value over training time, median and range over repeats",
        source: "Jing et al. 2022, Figure 6",
    },
    Kind {
        name: "alignment",
        keys: &[
            Key {
                name: "layers",
                value: ValueType::Text,
                presence: Presence::Default(Constant::Text("1_2")),
                about: "Which adjacent layers, as in the record's alignment arrays",
            },
            NAME,
            TITLE,
            SIZE,
        ],
        about: "Heat map of the absolute alignment matrix at the end, median over repeats",
        source: "Jing et al. 2022, Figure 5",
    },
    Kind {
        name: "against",
        keys: &[
            VALUE,
            RANK,
            RELATIVE,
            Key {
                name: "x",
                value: ValueType::Text,
                presence: Presence::Required,
                about: "Swept key on the horizontal axis, such as augment.variance; encoder.widths is the number of layers, \
                        and \"start\" the value itself at the start",
            },
            Key {
                name: "at",
                value: ValueType::NON_NEGATIVE_NUMBERS,
                presence: Presence::Optional,
                about: "Recorded training times, a series each; absent: the end of the run",
            },
            THEORY,
            Key {
                name: "limit",
                value: ValueType::Text,
                presence: Presence::Optional,
                about: "Name of an array without times that the value tends to; dashed, labelled t → ∞",
            },
            Key {
                name: "threshold",
                value: ValueType::ANY,
                presence: Presence::Optional,
                about: "Value of x that a vertical line marks",
            },
            Key {
                name: "threshold_label",
                value: ValueType::Text,
                presence: Presence::Optional,
                about: "A few words for that line",
            },
            X_SCALE,
            Y_SCALE,
            EACH,
            NAME,
            TITLE,
            SIZE,
            X_LABEL,
            Y_LABEL,
        ],
        about: "A value against a swept parameter: points with the range over repeats, one series for each combination \
                of the other swept keys and of the times",
        source: "",
    },
    Kind {
        name: "map",
        keys: &[
            VALUE,
            RANK,
            RELATIVE,
            Key {
                name: "x",
                value: ValueType::Text,
                presence: Presence::Required,
                about: "Swept key of the columns, ascending to the right; encoder.widths is the number of layers",
            },
            Key {
                name: "y",
                value: ValueType::Text,
                presence: Presence::Required,
                about: "Swept key of the rows, ascending upwards; encoder.widths is the number of layers",
            },
            Key {
                name: "at",
                value: ValueType::NON_NEGATIVE_NUMBERS,
                presence: Presence::Optional,
                about: "Recorded training times, a figure each; absent: the end of the run",
            },
            Key {
                name: "value_scale",
                value: SCALES,
                presence: Presence::Default(Constant::Text("linear")),
                about: "Scale of the colours",
            },
            Key {
                name: "range",
                value: ValueType::ANY_NUMBERS,
                presence: Presence::Optional,
                about: "The two ends of the colours; absent: those of the values of all these maps together",
            },
            Key {
                name: "marks",
                value: ValueType::Text,
                presence: Presence::Optional,
                about: "Name of an array: cells in which its median over repeats is 1 get a dot",
            },
            Key {
                name: "mark_label",
                value: ValueType::Text,
                presence: Presence::Optional,
                about: "What the dots mean",
            },
            NAME,
            TITLE,
            SIZE,
            X_LABEL,
            Y_LABEL,
            Key {
                name: "value_label",
                value: ValueType::Text,
                presence: Presence::Optional,
                about: "Title of the colours; absent: made of what they show",
            },
        ],
        about: "Heat map of a value over two swept parameters, median over repeats; one figure for each combination of \
                the other swept keys",
        source: "",
    },
    Kind {
        name: "over-time",
        keys: &[VALUE, RANK, RELATIVE, THEORY, X_SCALE, Y_SCALE, EACH, NAME, TITLE, SIZE, X_LABEL, Y_LABEL],
        about: "A value over training time, one line a cell of the sweep, median and range over repeats",
        source: "",
    },
];

const EXPERIMENT_TITLE: Key = Key {
    name: "title",
    value: ValueType::Text,
    presence: Presence::Optional,
    about: "What the experiment shows",
};

const CLAIMS: Key = Key {
    name: "claims",
    value: ValueType::Texts,
    presence: Presence::Optional,
    about: "Claims that the experiment is evidence for",
};

const SEED: Key = Key {
    name: "seed",
    value: ValueType::Integer { min: 0, max: u64::MAX >> 1 },
    presence: Presence::Required,
    about: "Root of all random streams",
};

const REPEATS: Key = Key {
    name: "repeats",
    value: ValueType::Integer { min: 1, max: 100_000 },
    presence: Presence::Default(Constant::Integer(1)),
    about: "Independent repeats of every cell",
};

const FIRST_REPEAT: Key = Key {
    name: "first_repeat",
    value: ValueType::Integer { min: 0, max: 1_000_000_000 },
    presence: Presence::Default(Constant::Integer(0)),
    about: "Index of the first repeat, so that a plan can name one of many",
};

const REPRODUCE: Key = Key {
    name: "reproduce",
    value: ValueType::Flag,
    presence: Presence::Default(Constant::Flag(false)),
    about: "Whether the experiment is part of `contraflow reproduce`",
};

const SWEEP: Key = Key {
    name: "sweep",
    value: ValueType::Sweep,
    presence: Presence::Optional,
    about: "Maps key paths to lists or ranges; several keys make a grid, those in its table zip move together",
};

const FIGURE: Key = Key {
    name: "figure",
    value: ValueType::OneOrMoreOf(FIGURES),
    presence: Presence::Optional,
    about: "What to draw",
};

const SLURM_REQUEST: Key = Key {
    name: "slurm",
    value: ValueType::Keys(SLURM),
    presence: Presence::Optional,
    about: "What a task asks of a Slurm cluster, for `contraflow run --submit slurm`",
};

/// The keys of an experiment file about linear networks and their like.
pub const ROOT: &[Key] = &[
    EXPERIMENT_TITLE,
    CLAIMS,
    SEED,
    REPEATS,
    FIRST_REPEAT,
    REPRODUCE,
    Key {
        name: "data",
        value: ValueType::OneOf(data::KINDS),
        presence: Presence::Required,
        about: "Where the samples x come from",
    },
    Key {
        name: "augment",
        value: ValueType::OneOf(augment::KINDS),
        presence: Presence::Required,
        about: "How the second view x' comes from x",
    },
    Key {
        name: "encoder",
        value: ValueType::OneOf(encoder::KINDS),
        presence: Presence::Required,
        about: "The network",
    },
    Key {
        name: "loss",
        value: ValueType::OneOf(loss::KINDS),
        presence: Presence::Required,
        about: "The loss",
    },
    Key {
        name: "dynamics",
        value: ValueType::OneOf(DYNAMICS),
        presence: Presence::Required,
        about: "How the weights move",
    },
    Key {
        name: "observe",
        value: ValueType::Keys(&[
            Key {
                name: "times",
                value: ValueType::OneOf(TIMES),
                presence: Presence::Required,
                about: "When to record",
            },
            Key {
                name: "quantities",
                value: ValueType::Choices(observe::Quantity::NAMES),
                presence: Presence::Required,
                about: "What to record",
            },
            Key {
                name: "samples",
                value: ValueType::Integer { min: 2, max: 1_000_000_000 },
                presence: Presence::Default(Constant::Integer(1000)),
                about: "Fresh inputs over which spectra of embeddings are taken under sgd",
            },
        ]),
        presence: Presence::Required,
        about: "What is recorded, and when",
    },
    SWEEP,
    FIGURE,
    SLURM_REQUEST,
];

/// The keys of an experiment file about a real network.
pub const NETWORK_ROOT: &[Key] = &[
    EXPERIMENT_TITLE,
    CLAIMS,
    SEED,
    REPEATS,
    FIRST_REPEAT,
    REPRODUCE,
    network::DATA,
    network::VIEW,
    network::NETWORK,
    network::METHOD,
    network::LOSS,
    network::TRAINING,
    network::OBSERVE,
    SWEEP,
    FIGURE,
    SLURM_REQUEST,
];
