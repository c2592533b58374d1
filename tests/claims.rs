//! The audit as a whole: every claim at the quick level, its control, and the notes that speak of it.

use contraflow::claim::{self, Evidence, Verdict};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

fn verify(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_contraflow");
    let mut command = Command::new(program);
    command.arg("verify").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_claim_comes_to_its_recorded_verdict_and_every_control_is_rejected() {
    let output = verify(&["--json"]);
    let errors: Vec<String> =
        text(&output.stderr).lines().filter(|line| line.starts_with("error")).map(str::to_string).collect();
    assert_eq!(output.status.code(), Some(0), "{}", errors.join("\n"));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = found["claims"].as_array().unwrap();
    assert_eq!(found.len(), claim::all().len());
    for claim in found {
        let id = claim["id"].as_str().unwrap();
        let registered = claim::named(id).unwrap();
        let verdict = Verdict::named(claim["verdict"].as_str().unwrap()).unwrap();
        // No claim trains a real network, and here are no records of one.
        let is_judged = registered.evidence != Evidence::RealNetwork;
        let expected = if is_judged { registered.recorded() } else { Some(Verdict::Inconclusive) };
        assert_eq!(expected, Some(verdict), "{id}");
        assert_eq!(claim["source"], registered.source, "{id}");
        assert_eq!(claim["statement"], registered.statement, "{id}");
        for text in ["statement", "source", "summary"] {
            assert!(!claim[text].as_str().unwrap().is_empty(), "{id} has no {text}");
        }
        let needs_control = verdict != Verdict::Inconclusive;
        assert_eq!(claim["control"]["rejected"].as_bool(), needs_control.then_some(true), "{id}");
        assert!(
            !needs_control || !claim["evidence"].as_object().unwrap().is_empty(),
            "{id} shows no evidence"
        );
        for hypothesis in claim["hypotheses"].as_array().unwrap() {
            let held = hypothesis["held"].as_bool().unwrap();
            assert_eq!(held, hypothesis["first_violation"].is_null(), "{id}: {hypothesis}");
        }
        let counterexample = &claim["counterexample"];
        assert_eq!(counterexample.is_object(), verdict == Verdict::Refuted, "{id}");
        if let Some(plan) = counterexample["plan"].as_str() {
            replay(id, plan);
        } else if verdict == Verdict::Refuted {
            assert!(counterexample["matrices"].as_object().is_some_and(|m| !m.is_empty()), "{id}");
            assert!(counterexample["formula"].as_str().is_some_and(|f| !f.is_empty()), "{id}");
        }
    }
}

/// A counterexample that is a plan is one that the program accepts.
fn replay(id: &str, plan: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("counterexample.toml");
    std::fs::write(&file, plan).unwrap();
    let program = env!("CARGO_BIN_EXE_contraflow");
    let checked = Command::new(program).arg("check").arg(&file).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{id}: {}", text(&checked.stderr));
}

#[test]
fn a_claim_is_explained_in_depth_and_an_unknown_one_refused() {
    let explained = verify(&["eq-6"]);
    assert_eq!(explained.status.code(), Some(0));
    let shown = text(&explained.stdout);
    for part in
        ["eq-6  (Eq. 6, main text)", "verdict   refuted", "control, rejected", "counterexample:", "W1 ="]
    {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    assert!(text(&verify(&["eq-4"]).stdout).contains("verdict   holds"));
    let unknown = verify(&["lema-5"]);
    assert_eq!(unknown.status.code(), Some(2));
    let message = text(&unknown.stderr);
    assert!(
        message.contains("did you mean `lemma-5`?") && message.contains("contraflow list claims"),
        "{message}"
    );
}

#[test]
fn records_are_kept_and_used_again_where_a_folder_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let first = verify(&["theorem-2-corrected", "--json", "--out", out]);
    let again = verify(&["theorem-2-corrected", "--json", "--out", out]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    assert_eq!(first.stdout, again.stdout);
    assert!(folder.path().join("theorem_2_population").is_dir());
    assert!(!text(&again.stderr).contains("[1/"), "nothing is run again: {}", text(&again.stderr));
}

/// What stands between `[claim: ` and `]` in the notes.
fn marks(notes: &str) -> BTreeSet<String> {
    let parts = notes.split("[claim: ").skip(1);
    parts.filter_map(|part| part.split_once(']')).map(|(id, _)| id.to_string()).collect()
}

#[test]
fn the_notes_and_the_registry_match_both_ways() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("paper_notes.md");
    let marked = marks(&std::fs::read_to_string(path).unwrap());
    let registered: BTreeSet<String> = claim::all().iter().map(|claim| claim.id.to_string()).collect();
    let unknown: Vec<_> = marked.difference(&registered).collect();
    let missing: Vec<_> = registered.difference(&marked).collect();
    assert!(unknown.is_empty(), "the notes mark claims that do not exist: {unknown:?}");
    assert!(missing.is_empty(), "the notes do not mark {missing:?}");
}

#[test]
fn a_mark_without_a_claim_and_a_claim_without_a_mark_would_be_seen() {
    assert_eq!(marks("a [claim: eq-4] b [claim: x]").into_iter().collect::<Vec<_>>(), ["eq-4", "x"]);
    assert!(marks("[claim eq-4]").is_empty());
}

#[test]
fn experiment_files_name_claims_that_exist() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.toml");
    let check = |id: &str| {
        let experiment = include_str!("../experiments/figure_3_paper.toml");
        let claims = experiment.lines().find(|line| line.starts_with("claims")).unwrap();
        std::fs::write(&file, experiment.replace(claims, &format!("claims = [\"{id}\"]"))).unwrap();
        let program = env!("CARGO_BIN_EXE_contraflow");
        Command::new(program).arg("check").arg(&file).output().unwrap()
    };
    assert_eq!(check("eq-4").status.code(), Some(0), "{}", text(&check("eq-4").stderr));
    let refused = check("eq-44");
    assert_eq!(refused.status.code(), Some(2));
    let message = text(&refused.stderr);
    assert!(message.contains("there is no claim `eq-44`") && message.contains("x.toml:2"), "{message}");
}
