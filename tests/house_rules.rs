//! The house: a room imports rooms of a lower rank only, never a sibling of its own rank.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms and their ranks; the table of the crate's documentation and of the README.
const RANKS: &[(&str, u32)] = &[
    ("matrix", 0),
    ("files", 0),
    ("seed", 0),
    ("real", 0),
    ("settings", 0),
    ("record", 1),
    ("data", 1),
    ("augment", 2),
    ("encoder", 2),
    ("loss", 2),
    ("gradient", 3),
    ("stream", 3),
    ("dynamics", 4),
    ("observe", 4),
    ("theory", 4),
    ("experiment", 5),
    ("run", 6),
    ("claim", 7),
    ("resnet", 7),
    ("figure", 8),
    ("page", 9),
    ("report", 10),
    ("explore", 10),
    ("cli", 11),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The rooms that a text names as `crate::room`, also inside `use crate::{a, b}`.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split("crate::").skip(1) {
        let names = match part.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default(),
            None => part,
        };
        let whole_list = part.starts_with('{');
        for name in names.split(',').take(if whole_list { usize::MAX } else { 1 }) {
            let name: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push(name);
        }
    }
    found
}

/// Imports of `text`, a file of `room`, that the ranks forbid.
fn violations(room: &str, text: &str, ranks: &BTreeMap<&str, u32>) -> Vec<String> {
    let own = ranks[room];
    imports(text)
        .into_iter()
        .filter(|name| name != room)
        .filter(|name| ranks.get(name.as_str()).is_some_and(|rank| *rank >= own))
        .collect()
}

#[test]
fn every_room_imports_only_rooms_of_a_lower_rank() {
    let ranks: BTreeMap<&str, u32> = RANKS.iter().copied().collect();
    let mut seen = Vec::new();
    for path in rust_files(&source()) {
        let relative = path.strip_prefix(source()).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_string_lossy();
        let room = first.trim_end_matches(".rs");
        if matches!(room, "lib" | "main") {
            continue;
        }
        assert!(
            ranks.contains_key(room),
            "{room} has no rank; give it one here and in the crate's documentation"
        );
        let text = fs::read_to_string(&path).unwrap();
        let found = violations(room, &text, &ranks);
        assert!(found.is_empty(), "{} imports {found:?}", relative.display());
        seen.push(room.to_string());
    }
    for (room, _) in RANKS {
        assert!(seen.iter().any(|name| name == room), "{room} has a rank and no file");
    }
}

#[test]
fn an_import_of_a_higher_room_or_of_a_sibling_is_found() {
    let ranks: BTreeMap<&str, u32> = RANKS.iter().copied().collect();
    assert_eq!(violations("loss", "use crate::observe::Observer;", &ranks), ["observe"]);
    assert_eq!(violations("loss", "use crate::{matrix, encoder};", &ranks), ["encoder"]);
    assert!(violations("loss", "use crate::matrix::Matrix;", &ranks).is_empty());
}

#[test]
fn only_the_matrix_room_names_the_decomposition_crates() {
    for path in rust_files(&source()) {
        let relative = path.strip_prefix(source()).unwrap().to_path_buf();
        if relative.starts_with("matrix") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for forbidden in ["faer::", ".svd(", "symmetric_eigenvalues()", "ndarray_linalg"] {
            assert!(!text.contains(forbidden), "{} names {forbidden}", relative.display());
        }
    }
}

/// What of `text`, besides its tests, tells the time of day, of this machine or of a file system.
fn wall_clocks(text: &str) -> Vec<&'static str> {
    let program = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let clocks = ["SystemTime", "UNIX_EPOCH", ".modified()", ".accessed()", ".created()", "mtime", "ctime"];
    clocks.into_iter().filter(|clock| program.contains(clock)).collect()
}

/// The clock may go backwards, and machines that share a store have their own: nothing may depend on one.
#[test]
fn nothing_reads_the_time_of_day() {
    for path in rust_files(&source()) {
        let found = wall_clocks(&fs::read_to_string(&path).unwrap());
        assert!(
            found.is_empty(),
            "{} reads {found:?}; std::time::Instant never goes backwards",
            path.display()
        );
    }
    assert_eq!(wall_clocks("let now = std::time::SystemTime::now();"), ["SystemTime"]);
    assert_eq!(wall_clocks("fs::metadata(path)?.modified()? > then"), [".modified()"]);
}

#[test]
fn the_documentation_of_the_crate_shows_every_room() {
    let text = fs::read_to_string(source().join("lib.rs")).unwrap();
    for (room, rank) in RANKS {
        let line = text.lines().find(|line| line.starts_with("//!") && line.contains(&format!("`{room}`")));
        let line = line.unwrap_or_else(|| panic!("lib.rs does not show {room}"));
        assert!(line.contains(&format!("| {rank} |")), "lib.rs gives {room} another rank: {line}");
    }
}
