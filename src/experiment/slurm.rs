//! What an experiment asks of a Slurm cluster: nothing that its results depend on.

use crate::settings::{Key, Presence, Problem, Settings, ValueType};

const fn text(name: &'static str, about: &'static str) -> Key {
    Key { name, value: ValueType::Text, presence: Presence::Optional, about }
}

const fn number(name: &'static str, max: usize, about: &'static str) -> Key {
    let value = ValueType::Integer { min: 1, max: max as u64 };
    Key { name, value, presence: Presence::Optional, about }
}

/// Most tasks of one submission; clusters allow fewer.
const MOST_TASKS: usize = 1_000_000;

/// The keys of the table `slurm`.
pub(super) const SLURM: &[Key] = &[
    text("partition", "Partition that tasks are submitted to; absent: the cluster's default"),
    text("time", "Time limit of a task, such as \"04:00:00\"; absent: the partition's"),
    text("memory", "Memory of a task, such as \"4G\"; absent: the cluster's default"),
    number("cpus", 1024, "Cores of a task, and its runs at a time; absent: 1"),
    number(
        "tasks",
        MOST_TASKS,
        "Tasks that share the runs; absent: 32, or fewer where they would find nothing to do",
    ),
    Key {
        name: "options",
        value: ValueType::Texts,
        presence: Presence::Optional,
        about: "Further options of sbatch, such as [\"--account=theory\"]",
    },
];

/// Options that have keys of their own, or that the tasks themselves need.
const TAKEN: [&str; 15] = [
    "array",
    "clusters",
    "cpus-per-task",
    "help",
    "job-name",
    "mem",
    "open-mode",
    "output",
    "partition",
    "test-only",
    "time",
    "usage",
    "version",
    "wait",
    "wrap",
];

/// What each task of a submission asks of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlurmRequest {
    /// The partition; none: the cluster's default.
    pub partition: Option<String>,
    /// The time limit of a task in Slurm's notation; none: the partition's.
    pub time: Option<String>,
    /// The memory of a task in Slurm's notation; none: the cluster's default.
    pub memory: Option<String>,
    /// Cores of a task; none: one.
    pub cpus: Option<usize>,
    /// How many tasks share the runs; none: as many as are of use.
    pub tasks: Option<usize>,
    /// Further options of sbatch, each with its two dashes.
    pub options: Vec<String>,
}

impl SlurmRequest {
    /// Of an experiment file's settings.
    pub(super) fn of(settings: &Settings) -> Result<SlurmRequest, Problem> {
        let Some(table) = settings.optional_table("slurm") else { return Ok(SlurmRequest::default()) };
        let refused = |key: &str, message: String| table.problem(key, message);
        let text = |key: &str| match table.optional_text(key).map(slurm_word) {
            None => Ok(None),
            Some(Ok(word)) => Ok(Some(word)),
            Some(Err(message)) => Err(refused(key, format!("`slurm.{key}` is refused; {message}"))),
        };
        let options = table.optional_texts("options").unwrap_or_default().to_vec();
        for option in &options {
            check_option(option).map_err(|message| refused("options", message))?;
        }
        Ok(SlurmRequest {
            partition: text("partition")?,
            time: text("time")?,
            memory: text("memory")?,
            cpus: table.optional_integer("cpus"),
            tasks: table.optional_integer("tasks"),
            options,
        })
    }
}

/// A value for an option of sbatch, which stands in a line of a script; the error says what is allowed.
pub fn slurm_word(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:+/".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        Ok(text.to_string())
    } else {
        Err("allowed: letters, digits and _ - . , : + /".to_string())
    }
}

fn check_option(option: &str) -> Result<(), String> {
    let shown = crate::settings::shortened(option);
    let name = option.strip_prefix("--").map(|rest| rest.split('=').next().unwrap_or_default());
    match name {
        // Slurm takes the beginning of a name for the name.
        Some(name) if !name.is_empty() && TAKEN.iter().any(|taken| taken.starts_with(name)) => Err(format!(
            "the option {shown:?} is set by contraflow or by a key of `slurm`, or keeps tasks from being submitted or found; \
             allowed: other options"
        )),
        Some(name) if is_option_name(name) && !option.chars().any(char::is_control) => Ok(()),
        _ => Err(format!("the option {shown:?} is refused; allowed: --NAME or --NAME=VALUE, in one line")),
    }
}

fn is_option_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::super::Experiment;
    use super::*;
    use std::path::Path;

    const SMALL: &str = "seed = 1\ndata = { kind = \"gaussian\", dim = 3, samples = 8 }\n\
        augment = { kind = \"isotropic\", variance = 0.5, sides = \"one\" }\n\
        encoder = { kind = \"linear\", widths = [3, 3], init = { kind = \"gaussian\", std = 0.5 } }\n\
        loss = { kind = \"infonce-euclidean\" }\ndynamics = { kind = \"gd\", rate = 0.1, steps = 4 }\n\
        observe = { times = { kind = \"linear\", count = 2 }, quantities = [\"loss\"] }\n";

    fn read(slurm: &str) -> Result<Experiment, Problem> {
        Experiment::parse("a.toml", Path::new("/"), &format!("{SMALL}{slurm}"), &[])
    }

    #[test]
    fn the_table_is_read_and_no_plan_keeps_it() -> Result<(), Problem> {
        let asked = "[slurm]\npartition = \"short,long\"\ntime = \"1-04:00:00\"\nmemory = \"4G\"\ncpus = 2\ntasks = 7\n\
            options = [\"--account=theory\", \"--comment=two words\", \"--exclusive\"]\n";
        let (plain, with) = (read("")?, read(asked)?);
        assert_eq!(plain.slurm, SlurmRequest::default());
        assert_eq!(with.slurm.partition.as_deref(), Some("short,long"));
        assert_eq!(with.slurm.time.as_deref(), Some("1-04:00:00"));
        assert_eq!(with.slurm.memory.as_deref(), Some("4G"));
        assert_eq!((with.slurm.cpus, with.slurm.tasks), (Some(2), Some(7)));
        assert_eq!(with.slurm.options, ["--account=theory", "--comment=two words", "--exclusive"]);
        assert_eq!(with.plans[0].hash, plain.plans[0].hash);
        assert_eq!(with.plans[0].settings.to_toml(), plain.plans[0].settings.to_toml());
        Ok(())
    }

    #[test]
    fn what_would_break_out_of_its_line_is_refused_where_it_stands() {
        for (line, said) in [
            ("partition = \"a b\"", "`slurm.partition` is refused; allowed: letters"),
            ("time = \"1\\n#SBATCH --uid=0\"", "`slurm.time` is refused"),
            ("memory = \"\"", "`slurm.memory` is refused"),
            ("memory = \"$(id)\"", "`slurm.memory` is refused"),
            ("cpus = 0", "allowed: an integer from 1"),
            ("options = [\"account=x\"]", "allowed: --NAME"),
            ("options = [\"--\"]", "allowed: --NAME"),
            ("options = [\"--comment=a\\nrm -rf\"]", "in one line"),
            ("options = [\"--array=0-9\"]", "is set by contraflow"),
            ("options = [\"--arr=0-9\"]", "is set by contraflow"),
            ("options = [\"--array 0-9\"]", "allowed: --NAME"),
            ("options = [\"--mem=4G\"]", "or by a key of `slurm`"),
            ("queue = \"long\"", "unknown key `queue` in `slurm`"),
        ] {
            let shown = read(&format!("[slurm]\n{line}\n")).map(|_| ()).expect_err(line).to_string();
            assert!(shown.starts_with("a.toml:9:") && shown.contains(said), "{said:?} is not in:\n{shown}");
        }
        let shown = read("sweep = { slurm.cpus = [1, 2] }\n").map(|_| ()).expect_err("refused").to_string();
        assert!(shown.contains("the same in all cells"), "{shown}");
    }
}
