//! The keys of pictures and of how two views of one come about.

use crate::settings::{Constant, Key, Kind, Presence, ValueType};

const COUNT: ValueType = ValueType::Integer { min: 2, max: 100_000_000 };

const IMAGES: Key = Key {
    name: "images",
    value: COUNT,
    presence: Presence::Optional,
    about: "Training pictures that are taken, as many of each class; absent: all",
};

const TEST_IMAGES: Key = Key {
    name: "test_images",
    value: COUNT,
    presence: Presence::Optional,
    about: "Test pictures that are taken, as many of each class; absent: all",
};

const SIZES: ValueType = ValueType::Integer { min: 8, max: 1024 };

const SIZE: Key = Key {
    name: "size",
    value: SIZES,
    presence: Presence::Optional,
    about: "Height and width to which pictures are resampled; absent: as they are",
};

const PATH: Key = Key {
    name: "path",
    value: ValueType::Path,
    presence: Presence::Required,
    about: "The folder of the files",
};

/// The kinds of pictures.
pub const PICTURES: &[Kind] = &[
    Kind {
        name: "shapes",
        keys: &[
            Key {
                name: "images",
                value: COUNT,
                presence: Presence::Default(Constant::Integer(4000)),
                about: "Training pictures",
            },
            Key {
                name: "test_images",
                value: COUNT,
                presence: Presence::Default(Constant::Integer(1000)),
                about: "Test pictures",
            },
            Key {
                name: "size",
                value: SIZES,
                presence: Presence::Default(Constant::Integer(32)),
                about: "Height and width",
            },
        ],
        about: "Ten classes of shapes of random colour, place, size and turn on a random background: drawn, nothing is read",
        source: "",
    },
    Kind {
        name: "cifar10",
        keys: &[PATH, IMAGES, TEST_IMAGES, SIZE],
        about: "CIFAR-10, binary version: a folder with data_batch_1.bin to data_batch_5.bin and test_batch.bin",
        source: "Krizhevsky 2009",
    },
    Kind {
        name: "cifar100",
        keys: &[PATH, IMAGES, TEST_IMAGES, SIZE],
        about: "CIFAR-100, binary version, fine labels: a folder with train.bin and test.bin",
        source: "Krizhevsky 2009",
    },
    Kind {
        name: "idx",
        keys: &[PATH, IMAGES, TEST_IMAGES, SIZE],
        about: "MNIST and its like: a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and \
                t10k-labels-idx1-ubyte, compressed (.gz) or not",
        source: "LeCun et al. 1998",
    },
    Kind {
        name: "folder",
        keys: &[
            PATH,
            IMAGES,
            TEST_IMAGES,
            Key {
                name: "size",
                value: SIZES,
                presence: Presence::Default(Constant::Integer(224)),
                about: "Height and width of views; test pictures are scaled to 256/224 of it and cut in the middle",
            },
        ],
        about: "train/CLASS/*.jpg (jpeg, png) and val/CLASS/*.jpg, read from disk whenever they are needed",
        source: "",
    },
];

const fn probability(name: &'static str, default: f64, about: &'static str) -> Key {
    Key {
        name,
        value: ValueType::Number { min: 0.0, min_allowed: true, max: 1.0 },
        presence: Presence::Default(Constant::Number(default)),
        about,
    }
}

/// The keys of views: the paper's recipe where nothing is said.
pub const VIEWS: &[Key] = &[
    Key {
        name: "crop_min",
        value: ValueType::Number { min: 0.0, min_allowed: false, max: 1.0 },
        presence: Presence::Default(Constant::Number(0.08)),
        about: "Smallest part of the area that a random resized crop keeps; 1: no crop",
    },
    probability("flip", 0.5, "Probability of a horizontal flip"),
    probability("jitter", 0.8, "Probability of colour jitter"),
    probability("brightness", 0.4, "Jitter: factor of brightness up to 1 plus or minus this"),
    probability("contrast", 0.4, "Jitter: factor of contrast up to 1 plus or minus this"),
    probability("saturation", 0.2, "Jitter: factor of saturation up to 1 plus or minus this"),
    Key {
        name: "hue",
        value: ValueType::Number { min: 0.0, min_allowed: true, max: 0.5 },
        presence: Presence::Default(Constant::Number(0.1)),
        about: "Jitter: shift of the hue up to plus or minus so many turns",
    },
    probability("grayscale", 0.2, "Probability that colours are lost"),
    probability("blur_first", 1.0, "Probability of a Gaussian blur of the first view"),
    probability("blur_second", 0.1, "The same of the second view"),
    probability("solarise_first", 0.0, "Probability that bright values of the first view are inverted"),
    probability("solarise_second", 0.2, "The same of the second view"),
    Key {
        name: "noise_variance",
        value: ValueType::NON_NEGATIVE,
        presence: Presence::Default(Constant::Number(0.0)),
        about: "Variance of one draw of Gaussian noise that is added to values between 0 and 1, after everything else: the theory's knob",
    },
    Key {
        name: "noise_sides",
        value: ValueType::Choice(&["one", "two"]),
        presence: Presence::Default(Constant::Text("two")),
        about: "one: the first view carries no noise; two: both carry independent draws",
    },
];
