//! One plan a cell and repeat: everything that defines a run, checked before anything runs.

use super::figures;
use super::keys::{NETWORK_ROOT, ROOT};
use super::network;
use super::slurm::SlurmRequest;
use crate::augment::Augmentation;
use crate::data::Dataset;
use crate::dynamics::{Method, Recording, RecordingError, RosenbrockMethod};
use crate::encoder::Network;
use crate::files::{self, FileError};
use crate::loss::{Loss, Reduction};
use crate::observe::Quantity;
use crate::seed::Seed;
pub use crate::settings::Assignment;
use crate::settings::{CELL_LIMIT, Document, Key, Problem, Settings, UTMOST_CELL_LIMIT, beyond};
use crate::theory::{Population, ViewCovariances};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Steps that a flow may attempt where the plan does not say.
const DEFAULT_MAX_STEPS: u64 = 1_000_000;

/// Swept values take at most this many bytes of a directory's name, which stays below the usual limit of 255; the hash
/// tells apart what is cut off.
const LONGEST_NAME: usize = 180;

/// What an experiment is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Linear networks and their like, on vectors.
    Layers,
    /// A ResNet, on pictures: the file has a table `network`.
    RealNetwork,
}

impl Subject {
    /// The keys of its experiment files.
    fn root(self) -> &'static [Key] {
        match self {
            Subject::Layers => ROOT,
            Subject::RealNetwork => NETWORK_ROOT,
        }
    }

    /// The sections of a plan on which its numbers depend.
    fn numeric_sections(self) -> &'static [&'static str] {
        match self {
            Subject::Layers => &["data", "augment", "encoder", "loss", "dynamics", "observe"],
            Subject::RealNetwork => &["data", "views", "network", "method", "loss", "training", "observe"],
        }
    }

    /// Raised whenever a change alters the numbers that the same plan gives, so that old results are not taken for new.
    pub fn engine_revision(self) -> u32 {
        match self {
            Subject::Layers => 6,
            Subject::RealNetwork => 3,
        }
    }
}

/// An experiment file, expanded and checked.
#[derive(Debug)]
pub struct Experiment {
    /// The file's name without directory and extension.
    pub name: String,
    /// What it is about.
    pub subject: Subject,
    /// The title, or the name where there is none.
    pub title: String,
    /// Whether it is part of `contraflow reproduce`.
    pub reproduce: bool,
    /// Claims that it is evidence for.
    pub claims: Vec<String>,
    /// The figures that it asks for.
    pub figures: Vec<Settings>,
    /// Repeats a cell.
    pub repeats: usize,
    /// What its tasks ask of a Slurm cluster.
    pub slurm: SlurmRequest,
    /// What it was read from.
    pub origin: Origin,
    /// All plans, cell by cell, the repeats of a cell one after the other.
    pub plans: Vec<Plan>,
}

/// What an experiment was read from: enough to read it again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// The file's path, as it was given.
    pub file: String,
    /// The file's text.
    pub text: String,
    /// The overrides, each `key=value`.
    pub overrides: Vec<String>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it is about.
    pub subject: Subject,
    /// The swept values of this cell.
    pub assignments: Vec<Assignment>,
    /// Index of the cell in the sweep.
    pub cell: usize,
    /// Seed and repeat.
    pub seed: Seed,
    /// The resolved keys, for this repeat alone.
    pub settings: Settings,
    /// Hash of what the numbers depend on: 12 hexadecimal digits.
    pub hash: String,
}

/// The method of an adaptive integration.
#[derive(Clone, Copy, Debug)]
pub enum FlowMethod {
    /// An explicit Runge-Kutta method.
    Explicit(&'static Method),
    /// A Rosenbrock method, for stiff fields with a Jacobian.
    Rosenbrock(&'static RosenbrockMethod),
}

/// An adaptive integration.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Its method.
    pub method: FlowMethod,
    /// Relative tolerance of a step.
    pub rtol: f64,
    /// Absolute tolerance of a step.
    pub atol: f64,
    /// Training time at the end.
    pub time_end: f64,
    /// Limit on attempted steps.
    pub max_steps: u64,
    /// Gradient norm at which the run has converged.
    pub gradient_norm: Option<f64>,
}

/// How the weights move.
#[derive(Clone, Debug)]
pub enum Dynamics {
    /// Gradient flow on a fixed batch.
    Flow(Flow),
    /// Gradient descent on a fixed batch.
    Gd {
        /// Learning rate.
        rate: f64,
        /// Number of steps.
        steps: u64,
        /// Gradient norm at which the run has converged.
        gradient_norm: Option<f64>,
    },
    /// Stochastic gradient descent.
    Sgd {
        /// Learning rate.
        rate: f64,
        /// Number of steps.
        steps: u64,
        /// Samples a step.
        batch: usize,
    },
    /// The flow with X as at the start.
    FrozenX(Flow),
    /// The flow with X(t) = diag(eigenvalues) exp(-decay t).
    PrescribedX {
        /// Eigenvalues of X(0), one a coordinate.
        eigenvalues: Vec<f64>,
        /// Decay rate.
        decay: f64,
        /// The integration.
        flow: Flow,
    },
    /// The flow on infinitely many samples.
    Population {
        /// The integration.
        flow: Flow,
        /// Size of the fresh batches whose term of order 1/B is added.
        batch: Option<usize>,
    },
}

/// What a run trains on.
#[derive(Debug)]
pub enum Source {
    /// Samples and their augmentation.
    Samples {
        /// Samples.
        data: Dataset,
        /// Augmentation.
        augmentation: Augmentation,
    },
    /// Infinitely many of them: covariances alone.
    Population(ViewCovariances),
}

impl Source {
    /// Samples and augmentation, where there are any.
    pub fn samples(&self) -> Option<(&Dataset, &Augmentation)> {
        match self {
            Source::Samples { data, augmentation } => Some((data, augmentation)),
            Source::Population(_) => None,
        }
    }
}

/// The objects that a run needs, drawn or read.
#[derive(Debug)]
pub struct Prepared {
    /// What it trains on.
    pub source: Source,
    /// Network.
    pub network: Network,
    /// Its initial parameters.
    pub parameters: Vec<f64>,
}

impl Experiment {
    /// Reads an experiment file, applies `overrides` (each `key=value`), expands its sweep and checks every cell. Refuses more
    /// than [`CELL_LIMIT`] runs.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Experiment, Problem> {
        Experiment::of_document(Document::read(path)?, &stem(path), overrides, CELL_LIMIT)
    }

    /// As [`Experiment::read`], up to [`UTMOST_CELL_LIMIT`] runs.
    pub fn read_large(path: &Path, overrides: &[String]) -> Result<Experiment, Problem> {
        Experiment::of_document(Document::read(path)?, &stem(path), overrides, UTMOST_CELL_LIMIT)
    }

    /// Reads an experiment again, wherever the files are that it names: its plans are those of then but for hashes of files that
    /// cannot be read now.
    pub fn again(origin: &Origin) -> Result<Experiment, Problem> {
        let path = Path::new(&origin.file);
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let document = Document::parse(&origin.file, folder, &origin.text)?;
        Experiment::of_document(document, &stem(path), &origin.overrides, UTMOST_CELL_LIMIT)
    }

    /// As [`Experiment::read`], of a text; relative paths are taken from `folder`.
    pub fn parse(name: &str, folder: &Path, text: &str, overrides: &[String]) -> Result<Experiment, Problem> {
        let document = Document::parse(name, folder, text)?;
        Experiment::of_document(document, &stem(Path::new(name)), overrides, CELL_LIMIT)
    }

    fn of_document(
        mut document: Document,
        name: &str,
        overrides: &[String],
        limit: usize,
    ) -> Result<Experiment, Problem> {
        let (text, file) = document.text();
        let origin = Origin { file: file.to_string(), text: text.to_string(), overrides: overrides.to_vec() };
        let subject = if document.has("network") { Subject::RealNetwork } else { Subject::Layers };
        for text in overrides {
            document.set(subject.root(), text)?;
        }
        let mut plans = Vec::new();
        let mut head = None;
        let cells = document.resolve(subject.root(), limit)?;
        if let Some(first) = cells.first() {
            let runs = cells.len().saturating_mul(first.settings.integer("repeats"));
            if runs > limit {
                let message =
                    format!("{} cells times repeats are {runs} runs; allowed: at most {limit}", cells.len());
                let remedy = beyond(limit, "ask for fewer repeats, or split the file");
                return Err(first.settings.problem("repeats", message).help(remedy));
            }
        }
        for (index, cell) in cells.into_iter().enumerate() {
            match subject {
                Subject::Layers => {
                    check(&cell.settings)?;
                    check_figures(&cell.settings, &cell.assignments)?;
                }
                Subject::RealNetwork => network::check(&cell.settings, &cell.assignments)?,
            }
            let head = head.get_or_insert_with(|| cell.settings.clone());
            let (first, repeats) = (cell.settings.integer_u64("first_repeat"), head.integer_u64("repeats"));
            // A plan is one run; figures over a sweep would have nothing to stand on in its file, and no machine changes it.
            let alone = cell.settings.without("figure").without("slurm");
            for repeat in first..first + repeats {
                let settings = alone.with_integer("repeats", 1).with_integer("first_repeat", repeat);
                plans.push(Plan {
                    subject,
                    assignments: cell.assignments.clone(),
                    cell: index,
                    seed: Seed { seed: settings.integer_u64("seed"), repeat },
                    hash: String::new(),
                    settings,
                });
            }
        }
        let head = head.ok_or_else(|| Problem::new("the sweep has no cells"))?;
        let mut experiment = Experiment {
            name: name.to_string(),
            subject,
            title: head.optional_text("title").unwrap_or(name).to_string(),
            reproduce: head.flag("reproduce"),
            claims: head.optional_texts("claims").unwrap_or_default().to_vec(),
            figures: head.tables("figure").to_vec(),
            slurm: SlurmRequest::of(&head)?,
            repeats: head.integer("repeats"),
            origin,
            plans,
        };
        let mut names = HashSet::new();
        for figure in &experiment.figures {
            let name = experiment.figure_name(figure);
            if !names.insert(name.clone()) {
                let message = format!("two figures would write {name}.svg; give each a name of its own");
                let key = if figure.has("name") { "name" } else { "kind" };
                return Err(figure.problem(key, message));
            }
        }
        let mut checksums = Checksums::default();
        for plan in &mut experiment.plans {
            plan.hash = plan.compute_hash(&mut checksums);
        }
        Ok(experiment)
    }

    /// The name of a figure's files, without extension.
    pub fn figure_name(&self, figure: &Settings) -> String {
        figure.optional_text("name").map_or_else(|| self.name.replace('_', "-"), str::to_string)
    }

    /// The input files that are named and not there.
    pub fn missing_files(&self) -> Vec<PathBuf> {
        let mut missing: Vec<PathBuf> = self.plans.iter().flat_map(Plan::input_files).collect();
        missing.retain(|path| !path.exists());
        missing.sort();
        missing.dedup();
        missing
    }

    /// Reads every input file that the plans name, once, so that a bad one is refused before anything runs.
    pub fn check_files(&self) -> Result<(), Problem> {
        let mut seen = HashSet::new();
        for plan in self.plans.iter().filter(|plan| plan.subject == Subject::Layers) {
            if plan.input_files().is_empty() {
                continue;
            }
            let key: String =
                ["data", "augment", "encoder"].map(|name| plan.settings.table(name).to_toml()).concat();
            if seen.insert(key) {
                plan.prepare()?;
            }
        }
        Ok(())
    }
}

/// A swept value as part of a file's name: letters, digits, signs and dots, the rest as single dashes.
pub fn slug(value: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || "+-.".contains(c) { c } else { ' ' };
    let text: String = value.chars().map(kept).collect();
    text.split_whitespace().collect::<Vec<_>>().join("-")
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "experiment".into(), |stem| stem.to_string_lossy().into_owned())
}

/// Checksums of input files and folders, each read once.
#[derive(Default)]
struct Checksums(std::collections::HashMap<PathBuf, String>);

/// Of a folder with more files than this, names and lengths stand for what they hold: reading it all would take minutes.
const FILES_READ: usize = 64;

/// What a folder holds, in one line: not where it lies.
fn checksum_of_folder(folder: &Path) -> Result<String, FileError> {
    let told = |error: &std::io::Error| FileError::io(folder, "read", error);
    let (mut waiting, mut found) = (vec![folder.to_path_buf()], Vec::new());
    while let Some(inner) = waiting.pop() {
        for entry in std::fs::read_dir(&inner).map_err(|error| told(&error))? {
            let path = entry.map_err(|error| told(&error))?.path();
            let about = std::fs::metadata(&path).map_err(|error| told(&error))?;
            match about.is_dir() {
                true => waiting.push(path),
                false => found.push((path, about.len())),
            }
        }
    }
    found.sort();
    let mut text = String::new();
    let is_small = found.len() <= FILES_READ;
    for (path, length) in found {
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        let content = if is_small { files::checksum(&path)? } else { length.to_string() };
        let _ = writeln!(text, "{name:?} {content}");
    }
    Ok(files::sha256_hex(text.as_bytes()))
}

impl Checksums {
    fn of(&mut self, path: &Path) -> &str {
        self.0.entry(path.to_path_buf()).or_insert_with(|| {
            let checksum = if path.is_dir() { checksum_of_folder(path) } else { files::checksum(path) };
            checksum.unwrap_or_else(|_| "unreadable".to_string())
        })
    }
}

impl Plan {
    /// The loss and its reduction.
    pub fn loss(&self) -> (Loss, Reduction) {
        Loss::from_settings(self.settings.table("loss"))
    }

    /// How the weights move.
    pub fn dynamics(&self) -> Dynamics {
        dynamics(self.settings.table("dynamics"))
    }

    /// What to record.
    pub fn quantities(&self) -> Vec<Quantity> {
        let names = self.settings.table("observe").texts("quantities");
        names.iter().filter_map(|name| Quantity::named(name)).collect()
    }

    /// Fresh inputs over which spectra of embeddings are taken under sgd.
    pub fn observe_samples(&self) -> usize {
        self.settings.table("observe").integer("samples")
    }

    /// When to record.
    pub fn recording(&self) -> Recording {
        recording(self.settings.table("observe").table("times"))
    }

    /// Draws or reads data, augmentation and network, and checks them against each other.
    pub fn prepare(&self) -> Result<Prepared, Problem> {
        let settings = &self.settings;
        let source = if settings.table("dynamics").kind() == "population" {
            Source::Population(population_covariances(settings)?)
        } else {
            let data = Dataset::from_settings(settings.table("data"), self.seed)?;
            check_dims(settings, data.dim, Some(data.count()))?;
            check_memory(settings, data.count())?;
            let augmentation =
                Augmentation::from_settings(settings.table("augment"), data.dim, data.count())?;
            Source::Samples { data, augmentation }
        };
        let (network, parameters) = Network::from_settings(settings.table("encoder"), self.seed)?;
        Ok(Prepared { source, network, parameters })
    }

    /// The name of the plan's directory: swept values, repeat, hash.
    pub fn directory_name(&self) -> String {
        let mut name = String::new();
        for assignment in &self.assignments {
            let _ = write!(name, "{}={},", assignment.key, slug(&assignment.value));
        }
        if name.len() > LONGEST_NAME {
            name.truncate(LONGEST_NAME);
            name.push(',');
        }
        let _ = write!(name, "repeat={}_{}", self.seed.repeat, self.hash);
        name
    }

    /// The files that its tables name.
    fn input_files(&self) -> Vec<PathBuf> {
        if self.subject == Subject::RealNetwork {
            let (data, network) = (self.settings.table("data"), self.settings.table("network"));
            let data = (data.kind() != "shapes").then(|| data.path("path").to_path_buf());
            return data.into_iter().chain(network.optional_path("weights").map(Path::to_path_buf)).collect();
        }
        let settings = &self.settings;
        let data = settings.table("data");
        let mut tables = vec![data, settings.table("augment"), settings.table("encoder").table("init")];
        if data.kind() != "file" {
            tables.push(data.table("covariance"));
        }
        let projector = settings.table("encoder").table("projector");
        if projector.kind() == "trainable" {
            tables.push(projector.table("init"));
        }
        tables
            .into_iter()
            .filter(|table| matches!(table.kind(), "file" | "full"))
            .map(|t| t.path("path").to_path_buf())
            .collect()
    }

    /// About how many bytes the run's results take on disk; of a real network, its weights and little else.
    pub fn result_bytes(&self) -> f64 {
        /// Plan, outcome and headers of arrays.
        const BESIDE: f64 = 8192.0;
        if self.subject == Subject::RealNetwork {
            let weights = network::weights(self.settings.table("network"));
            return 4.0 * weights + BESIDE;
        }
        let widths = all_widths(self.settings.table("encoder"));
        let weights: usize = widths.windows(2).map(|pair| pair[0] * pair[1]).sum();
        recorded_bytes(&self.settings).1 + 8.0 * weights as f64 + BESIDE
    }

    fn compute_hash(&self, checksums: &mut Checksums) -> String {
        let revision = self.subject.engine_revision();
        let mut text = format!("engine {revision}\nseed {} {}\n", self.seed.seed, self.seed.repeat);
        for section in self.subject.numeric_sections() {
            // A file counts by what it holds, not by where it lies.
            let table =
                self.settings.table(section).with_paths(&mut |path| PathBuf::from(checksums.of(path)));
            let _ = writeln!(text, "[{section}]\n{}", table.to_toml());
        }
        files::sha256_hex(text.as_bytes())[..12].to_string()
    }
}

fn flow(settings: &Settings) -> Flow {
    Flow {
        method: match Method::named(settings.text("method")) {
            Some(method) => FlowMethod::Explicit(method),
            // Validation admits known methods only.
            None => FlowMethod::Rosenbrock(RosenbrockMethod::all()[0]),
        },
        rtol: settings.number("rtol"),
        atol: settings.number("atol"),
        time_end: settings.number("time_end"),
        max_steps: settings.optional_integer_u64("max_steps").unwrap_or(DEFAULT_MAX_STEPS),
        gradient_norm: if matches!(settings.kind(), "flow" | "population") {
            settings.optional_number("gradient_norm")
        } else {
            None
        },
    }
}

fn dynamics(settings: &Settings) -> Dynamics {
    match settings.kind() {
        "flow" => Dynamics::Flow(flow(settings)),
        "gd" => Dynamics::Gd {
            rate: settings.number("rate"),
            steps: settings.integer_u64("steps"),
            gradient_norm: settings.optional_number("gradient_norm"),
        },
        "sgd" => Dynamics::Sgd {
            rate: settings.number("rate"),
            steps: settings.integer_u64("steps"),
            batch: settings.integer("batch"),
        },
        "frozen-x" => Dynamics::FrozenX(flow(settings)),
        "population" => {
            Dynamics::Population { flow: flow(settings), batch: settings.optional_integer("batch") }
        }
        _ => Dynamics::PrescribedX {
            eigenvalues: settings.numbers("eigenvalues").to_vec(),
            decay: settings.number("decay"),
            flow: flow(settings),
        },
    }
}

fn recording(settings: &Settings) -> Recording {
    match settings.kind() {
        "log" => Recording::Log { first: settings.number("first"), count: settings.integer_u64("count") },
        "list" => Recording::List { times: settings.numbers("times").to_vec() },
        _ => match settings.optional_integer_u64("every") {
            Some(every) => Recording::Every { every },
            None => Recording::Linear { count: settings.optional_integer_u64("count").unwrap_or(1) },
        },
    }
}

/// Everything that can be refused without drawing or reading.
fn check(settings: &Settings) -> Result<(), Problem> {
    let data = settings.table("data");
    Dataset::check(data)?;
    Network::check(settings.table("encoder"))?;
    if data.kind() == "file" {
        if let Some(dim) = data.optional_integer("pca") {
            check_dims(settings, dim, None)?;
        }
    } else {
        check_dims(settings, data.integer("dim"), Some(data.integer("samples")))?;
    }
    // How many samples a file holds is known once it is read; see `Plan::prepare`.
    let unread = data.kind() == "file" || settings.table("dynamics").kind() == "population";
    check_memory(settings, if unread { 0 } else { data.integer("samples") })?;
    check_observe(settings)?;
    let dynamics = settings.table("dynamics");
    if dynamics.kind() == "sgd" && settings.table("augment").kind() == "file" {
        let message = "augment = \"file\" gives one fixed second view, but sgd draws fresh noise every step; use flow or gd, or an additive augmentation";
        return Err(settings.problem("augment.kind", message));
    }
    if data.kind() == "file"
        && settings.table("augment").kind() == "file"
        && (data.flag("standardise") || data.has("pca"))
    {
        let message = "standardise and pca would change the first view and leave the second as it is in its file; transform both files beforehand";
        return Err(settings.problem("augment.kind", message));
    }
    check_population(settings)?;
    check_predictions(settings)?;
    if matches!(dynamics.kind(), "frozen-x" | "prescribed-x") && !is_plain_linear(settings) {
        let message = format!(
            "dynamics = \"{}\" needs a linear encoder without bias and without projector, for which the gradient is -W X",
            dynamics.kind()
        );
        return Err(settings.problem("dynamics.kind", message));
    }
    Ok(())
}

/// The covariances of Gaussian samples under additive noise, without drawing any.
fn population_covariances(settings: &Settings) -> Result<ViewCovariances, Problem> {
    let data = settings.table("data");
    let factor = Dataset::gaussian_factor(data)?;
    let augment = settings.table("augment");
    let augmentation = Augmentation::from_settings(augment, factor.nrows(), data.integer("samples"))?;
    match augmentation.noise_factor() {
        Some((noise, sides)) => Ok(ViewCovariances::new(&factor, &noise, sides)),
        None => Err(augment.problem("kind", "the population limit needs additive noise")),
    }
}

/// Whether the population limit exists for the plan.
fn check_population(settings: &Settings) -> Result<(), Problem> {
    let dynamics = settings.table("dynamics");
    if dynamics.kind() != "population" {
        return Ok(());
    }
    let wrong = |key: &str, message: String| {
        Err(settings.problem(key, format!("{message}, for dynamics = \"population\"")))
    };
    let kind = settings.table("data").kind();
    if kind != "gaussian" {
        return wrong(
            "data.kind",
            format!("data of kind \"{kind}\" has no closed form; allowed: \"gaussian\""),
        );
    }
    if !is_plain_linear(settings) {
        let message = "the population limit is that of linear layers; allowed: encoder = \"linear\" without bias and without projector";
        return wrong("encoder.kind", message.into());
    }
    if settings.table("augment").kind() == "file" {
        let message = "given views have no closed form; allowed: additive noise";
        return wrong("augment.kind", message.into());
    }
    let (loss, reduction) = Loss::from_settings(settings.table("loss"));
    if reduction == Reduction::Sum {
        let message = "the sum over infinitely many samples is infinite; allowed: \"mean\"";
        return wrong("loss.reduction", message.into());
    }
    // Whether a limit exists does not depend on the covariances.
    let one = crate::matrix::Matrix::identity(1, 1);
    let limit = Population::new(&loss, ViewCovariances::new(&one, &one, crate::augment::Sides::One));
    let limit = match limit {
        Ok(limit) => limit,
        Err(error) => {
            return wrong("loss.kind", format!("{error}; allowed: \"infonce-euclidean\", \"infonce-dot\""));
        }
    };
    if let Some(batch) = dynamics.optional_integer("batch") {
        if let Err(error) = limit.with_batch(batch as f64) {
            let message = format!("{error}; allowed: batch with loss = \"infonce-euclidean\"");
            return wrong("dynamics.batch", message);
        }
        if dynamics.text("method") == "rodas5p" {
            let message =
                "batch has no Jacobian; allowed: an explicit method, \"tsit5\", \"dopri5\" or \"dop853\"";
            return wrong("dynamics.method", message.into());
        }
    }
    let quantities = settings.table("observe").texts("quantities");
    if let Some(name) = quantities.iter().find(|name| matches!(name.as_str(), "uniformity" | "separability"))
    {
        let message = format!("the quantity {name} is one of samples, of which there are none; leave it out");
        return wrong("observe.quantities", message);
    }
    Ok(())
}

/// Whether the theory says anything of the plan, where it is asked.
fn check_predictions(settings: &Settings) -> Result<(), Problem> {
    let (observe, encoder) = (settings.table("observe"), settings.table("encoder"));
    let quantities = observe.texts("quantities");
    let wants = |name: &str| quantities.iter().any(|quantity| quantity == name);
    let refuse = |message: &str| Err(observe.problem("quantities", message));
    let additive = settings.table("augment").kind() != "file";
    if wants("augmented") && (!additive || encoder.kind() != "linear") {
        return refuse("the quantity augmented needs a linear encoder and additive noise");
    }
    if wants("bias")
        && (encoder.kind() != "linear"
            || !encoder.flag("bias")
            || encoder.table("projector").kind() != "none")
    {
        return refuse("the quantity bias needs a linear encoder with biases and without projector");
    }
    for name in ["theory", "population", "lifetime"] {
        if wants(name)
            && (!additive || !is_plain_linear(settings) || settings.table("data").kind() == "mixture")
        {
            let message = format!(
                "the quantity {name} needs gaussian data or a file, additive noise, and a linear encoder without bias and without projector"
            );
            return refuse(&message);
        }
    }
    if wants("theory") && settings.table("loss").text("reduction") == "sum" {
        return refuse(
            "the quantity theory counts time for the mean over samples; allowed: reduction = \"mean\"",
        );
    }
    let dynamics = settings.table("dynamics");
    if wants("theory") && dynamics.kind() == "population" && dynamics.has("batch") {
        return refuse("the quantity theory is that of the limit, and batch leaves it; take out one of them");
    }
    if (wants("theory") || wants("population"))
        && settings.table("data").kind() == "file"
        && settings.table("loss").kind() == "infonce-dot"
    {
        let message = "the dot product depends on the mean of the data, which the limit does not have; allowed: gaussian data, or loss = \"infonce-euclidean\"";
        return refuse(message);
    }
    if wants("lifetime") && !(wants("spectra") && wants("theory")) {
        return refuse("the quantity lifetime needs spectra and theory beside it");
    }
    let loss = settings.table("loss").kind();
    if (wants("population") || wants("theory")) && loss == "infonce-cosine" {
        return refuse("the cosine loss has no population limit; leave out population and theory");
    }
    if wants("separability")
        && (loss != "infonce-euclidean" || !matches!(settings.table("dynamics").kind(), "flow" | "gd"))
    {
        return refuse(
            "the quantity separability needs loss = \"infonce-euclidean\" and a fixed batch, dynamics = \"flow\" or \"gd\"",
        );
    }
    Ok(())
}

fn is_plain_linear(settings: &Settings) -> bool {
    let encoder = settings.table("encoder");
    encoder.kind() == "linear" && !encoder.flag("bias") && encoder.table("projector").kind() == "none"
}

/// Whether the widths, the augmentation, the batch and a prescribed X fit data of `dim` coordinates.
fn check_dims(settings: &Settings, dim: usize, count: Option<usize>) -> Result<(), Problem> {
    let width = settings.table("encoder").integers("widths")[0];
    if width != dim {
        let message = format!(
            "widths start with {width}, but the data has {dim} coordinates; allowed: a first width of {dim}"
        );
        return Err(settings.problem("encoder.widths", message));
    }
    Augmentation::check(settings.table("augment"), dim)?;
    let dynamics = settings.table("dynamics");
    if dynamics.kind() == "prescribed-x" && dynamics.numbers("eigenvalues").len() != dim {
        let given = dynamics.numbers("eigenvalues").len();
        let message = format!("{given} eigenvalues for {dim} coordinates; allowed: one a coordinate");
        return Err(dynamics.problem("eigenvalues", message));
    }
    if let (Some(count), "sgd") = (count, dynamics.kind()) {
        let batch = dynamics.integer("batch");
        if batch > count {
            let message =
                format!("batch = {batch} is larger than the {count} samples; allowed: 2 to {count}");
            return Err(dynamics.problem("batch", message));
        }
    }
    Ok(())
}

/// How many times a run records, and about how many bytes that takes.
fn recorded_bytes(settings: &Settings) -> (f64, f64) {
    let observe = settings.table("observe");
    let times = observe.table("times");
    let count = match times.kind() {
        // The end may be one more.
        "list" => Some(times.numbers("times").len() as u64 + 1),
        _ => times.optional_integer_u64("count"),
    };
    let recordings = match count {
        Some(count) => count as f64,
        None => {
            let dynamics = settings.table("dynamics");
            let steps = if matches!(dynamics.kind(), "gd" | "sgd") {
                dynamics.integer_u64("steps") as f64
            } else {
                0.0
            };
            steps / times.optional_integer_u64("every").unwrap_or(1) as f64
        }
    };
    let wants = |name: &str| observe.texts("quantities").iter().any(|quantity| quantity == name);
    let widths = all_widths(settings.table("encoder"));
    let inner: f64 = widths[1..widths.len() - 1].iter().map(|&w| (w as f64).powi(2)).sum();
    let matrices = f64::from(u8::from(wants("alignment"))) + f64::from(u8::from(wants("imbalance")));
    let spectra: f64 = widths.iter().map(|&w| 2.0 * w as f64).sum::<f64>() + 64.0;
    let bytes = 8.0 * recordings * (matrices * inner + spectra);
    (recordings, bytes)
}

fn check_observe(settings: &Settings) -> Result<(), Problem> {
    let observe = settings.table("observe");
    let times = observe.table("times");
    let (recordings, bytes) = recorded_bytes(settings);
    if bytes > machine_memory() {
        let message = format!(
            "{recordings} recordings need about {:.1} GiB, more than this machine has; allowed: what fits; record less often, or without alignment and imbalance",
            bytes / f64::from(1 << 30)
        );
        return Err(times.problem("kind", message));
    }
    if times.kind() == "linear" && times.has("count") == times.has("every") {
        return Err(
            times.problem("kind", "linear times need either count, or every (in steps, for gd and sgd)")
        );
    }
    let recording = recording(times);
    let checked = match dynamics(settings.table("dynamics")) {
        Dynamics::Gd { rate, steps, .. } | Dynamics::Sgd { rate, steps, .. } => {
            recording.steps(rate, steps).map(|_| ())
        }
        Dynamics::Flow(flow)
        | Dynamics::FrozenX(flow)
        | Dynamics::PrescribedX { flow, .. }
        | Dynamics::Population { flow, .. } => recording.times(flow.time_end).map(|_| ()),
    };
    checked.map_err(|error| {
        let key = match error {
            RecordingError::First { .. } => "first",
            RecordingError::StepsOfFlow => "every",
            RecordingError::Order { .. } | RecordingError::Beyond { .. } => "times",
            RecordingError::Zero | RecordingError::TooDense { .. } => "count",
            RecordingError::End { .. } => "kind",
        };
        times.problem(key, error.to_string())
    })?;
    let wants_x = observe.texts("quantities").iter().any(|name| name == "x");
    let encoder = settings.table("encoder");
    let projector = encoder.table("projector");
    let curved = projector.kind() == "trainable" && projector.text("activation") != "linear";
    if wants_x && (encoder.kind() != "linear" || encoder.flag("bias") || curved) {
        let message = "the quantity x needs a linear encoder without bias: only then is the gradient -W X";
        return Err(observe.problem("quantities", message));
    }
    Ok(())
}

/// Whether the figures show what is recorded, and over what is swept.
fn check_figures(settings: &Settings, swept: &[Assignment]) -> Result<(), Problem> {
    let quantities = settings.table("observe").texts("quantities");
    let wants = |name: &str| quantities.iter().any(|quantity| quantity == name);
    let encoder = settings.table("encoder");
    let depth = encoder.integers("widths").len() - 1;
    for figure in settings.tables("figure") {
        figures::check_name(figure)?;
        if matches!(figure.kind(), "against" | "map" | "over-time") {
            figures::check(figure, swept, quantities)?;
            continue;
        }
        if figure.kind() == "spectrum" && figure.has("theory") {
            figures::check_array(figure, "theory", quantities)?;
        }
        let needed = if figure.kind() == "alignment" { "alignment" } else { "spectra" };
        if !wants(needed) {
            let message =
                format!("a figure of kind {} needs \"{needed}\" among observe.quantities", figure.kind());
            return Err(figure.problem("kind", message));
        }
        if figure.kind() == "alignment" {
            let pairs = adjacent_pairs(encoder);
            if !pairs.iter().any(|pair| pair == figure.text("layers")) {
                let allowed =
                    if pairs.is_empty() { "none: it has one layer".to_string() } else { pairs.join(", ") };
                let message = format!(
                    "layers = \"{}\" are not adjacent dense layers of this encoder; allowed: {allowed}",
                    figure.text("layers")
                );
                return Err(figure.problem("layers", message));
            }
            continue;
        }
        let of = figure.text("of");
        let layer = of.strip_prefix('w').and_then(|l| l.parse::<usize>().ok());
        let known = match (of, layer) {
            ("embedding", _) => true,
            ("end-to-end", _) => encoder.kind() == "linear",
            ("representation", _) => encoder.table("projector").kind() != "none",
            (_, Some(layer)) => (1..=depth).contains(&layer),
            _ => of.starts_with('p') && encoder.table("projector").kind() == "trainable",
        };
        if !known {
            let message = format!(
                "of = \"{of}\" is not a spectrum of this encoder; allowed: w1 to w{depth}, embedding, end-to-end (linear encoders), representation and p1 … (with a projector)"
            );
            return Err(figure.problem("of", message));
        }
    }
    Ok(())
}

/// Labels of the pairs of dense trainable layers without anything between them but an activation: 1_2, 2_3, 2_p1, …
fn adjacent_pairs(encoder: &Settings) -> Vec<String> {
    let depth = encoder.integers("widths").len() - 1;
    let mut labels: Vec<String> = (1..=depth).map(|l| l.to_string()).collect();
    let projector = encoder.table("projector");
    if projector.kind() == "trainable" {
        let layers = projector.optional_integers("widths").map_or(1, <[usize]>::len);
        labels.extend((1..=layers).map(|l| format!("p{l}")));
    }
    labels.windows(2).map(|pair| format!("{}_{}", pair[0], pair[1])).collect()
}

/// Widths from the input through the encoder and the projector.
fn all_widths(encoder: &Settings) -> Vec<usize> {
    let mut widths = encoder.integers("widths").to_vec();
    let projector = encoder.table("projector");
    let last = widths[widths.len() - 1];
    match projector.kind() {
        "none" => {}
        "trainable" => widths.extend(projector.optional_integers("widths").unwrap_or(&[last])),
        _ => widths.push(last),
    }
    widths
}

/// Refuses sizes that cannot fit into this machine's memory, for one run at a time.
fn check_memory(settings: &Settings, samples: usize) -> Result<(), Problem> {
    let (data, encoder) = (settings.table("data"), settings.table("encoder"));
    let (dynamics, observe) = (settings.table("dynamics"), settings.table("observe"));
    let widths = all_widths(encoder);
    let (dim, samples) = (widths[0] as f64, samples as f64);
    let outputs: f64 = widths.iter().map(|&w| w as f64).sum();
    let weights: f64 = widths.windows(2).map(|w| w[0] as f64 * w[1] as f64).sum();
    let sgd = dynamics.kind() == "sgd";
    let batch = if sgd { (dynamics.integer("batch") as f64).min(samples) } else { samples };
    let wants_x =
        observe.texts("quantities").iter().any(|name| name == "x") || dynamics.kind().ends_with("-x");
    // Samples, views, activations with their gradients, the kernel's block of 64 rows; fresh inputs with their
    // activations; some twenty copies of the weights in the stages of a Runge-Kutta method; X with its eigenvectors.
    let of_samples = dim * samples + 2.0 * batch * (dim + 3.0 * outputs) + 70.0 * batch;
    let of_inputs = if sgd && data.kind() != "file" {
        observe.integer("samples") as f64 * (2.0 * dim + outputs)
    } else {
        0.0
    };
    // A Rosenbrock method keeps the Jacobian, two factorisations and the block that it is made from.
    let stiff = dynamics.kind() == "population" && dynamics.text("method") == "rodas5p";
    let jacobian = if stiff { 4.0 * weights * weights } else { 0.0 };
    let of_weights = 20.0 * weights + jacobian + if wants_x { 6.0 * dim * dim } else { 0.0 };
    let bytes = 8.0 * (of_samples + of_inputs + of_weights);
    let machine = machine_memory();
    if bytes > machine {
        let gib = |bytes: f64| bytes / f64::from(1 << 30);
        let (key, what) = if of_weights > of_samples.max(of_inputs) {
            ("encoder.widths", format!("widths {}", listed(&widths)))
        } else if of_inputs > of_samples {
            ("observe.samples", format!("{} fresh inputs of {dim} coordinates", observe.integer("samples")))
        } else if data.kind() == "file" {
            ("data.path", format!("{samples} samples of {dim} coordinates"))
        } else {
            ("data.samples", format!("{samples} samples of {dim} coordinates"))
        };
        let message = format!(
            "{what} need about {:.1} GiB; allowed: what fits into this machine's {:.1} GiB",
            gib(bytes),
            gib(machine)
        );
        return Err(settings.problem(key, message));
    }
    Ok(())
}

/// A list of widths, cut where it is long.
fn listed(widths: &[usize]) -> String {
    let shown: Vec<String> = widths.iter().take(8).map(ToString::to_string).collect();
    let rest = if widths.len() > shown.len() { ", …" } else { "" };
    format!("[{}{rest}]", shown.join(", "))
}

/// Bytes of memory that this machine has, or 16 GiB where it does not say.
fn machine_memory() -> f64 {
    let kib = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    });
    kib.map_or(f64::from(1 << 30) * 16.0, |kib| kib * 1024.0)
}
