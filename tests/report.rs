//! The page of `contraflow report`: as a file, and in a real browser where Chromium is installed (on Debian: `apt-get install chromium`).

mod browser;

use browser::{Browser, chromium};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Two layers or three under weak and strong noise, with everything recorded that the page shows.
const SWEEP: &str = r#"
title    = "Two swept keys & <one> page"
claims   = ["eq-4", "eq-6"]
seed     = 5
repeats  = 2
data     = { kind = "gaussian", dim = 4, samples = 64 }
augment  = { kind = "isotropic", variance = 0.1, sides = "one" }
encoder  = { kind = "linear", widths = [4, 4, 4], init = { kind = "gaussian", std = 0.4 } }
loss     = { kind = "infonce-euclidean" }
dynamics = { kind = "flow", method = "dop853", rtol = 1e-9, atol = 1e-12, time_end = 20.0 }
observe  = { times = { kind = "log", first = 0.1, count = 12 }, quantities = ["loss", "spectra", "x", "ranks", "alignment", "imbalance"] }
sweep    = { "encoder.widths" = [[4, 4, 4], [4, 4, 4, 4]], "augment.variance" = [0.1, 0.5, 3.0] }
figure   = [
    { name = "spectra", kind = "spectrum", of = "end-to-end" },
    { name = "alignments", kind = "alignment", title = "Alignment at the end" },
]
"#;

fn contraflow(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_contraflow")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Results of the sweep, with their page.
fn results() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    static READY: OnceLock<PathBuf> = OnceLock::new();
    READY.get_or_init(|| {
        let folder = FOLDER.get_or_init(|| TempDir::new().unwrap()).path();
        let (file, out) = (folder.join("sweep.toml"), folder.join("results"));
        fs::write(&file, SWEEP).unwrap();
        let (file, out) = (file.display().to_string(), out.display().to_string());
        let run = contraflow(&["run", &file, "--out", &out]);
        assert!(run.status.success(), "{}", text(&run.stderr));
        let made = contraflow(&["report", &out]);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
        assert!(text(&made.stdout).ends_with("report.html: 1 experiment, 3 claims, to open in a browser\n"));
        PathBuf::from(out)
    })
}

fn page() -> PathBuf {
    results().join("report.html")
}

fn address(page: &Path) -> String {
    format!("file://{}", page.display())
}

/// What a page might fetch: addresses in attributes and in style, but for those that lead into the page itself.
fn references(html: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["src=\"", "href=\"", "url(", "@import", "action=\"", "srcset=\""] {
        for part in html.split(start).skip(1) {
            let reference: String = part.chars().take_while(|c| !matches!(c, '"' | ')' | ';')).collect();
            if !reference.starts_with('#') && !reference.starts_with("data:") {
                found.push(reference);
            }
        }
    }
    found
}

#[test]
fn the_page_holds_its_tables_formulas_and_controls_and_refers_to_nothing_outside() {
    let html = fs::read_to_string(page()).unwrap();
    assert!(html.len() < 5_000_000);
    for part in [
        "<table id=\"claims\">",
        "<math display=\"block\">",
        "<input type=\"range\" class=\"slider\"",
        "<table class=\"now-table\">",
        "class=\"heat square\"",
        "class=\"hypothesis\"",
        "<title>Two swept keys &amp; &lt;one&gt; page",
        "Content-Security-Policy",
        "<table class=\"values\">",
        "id=\"figure-spectra\"",
    ] {
        assert!(html.contains(part), "{part}");
    }
    // In the script `url(#${clip})` leads into the page, too.
    let inside: Vec<String> = references(&html);
    assert!(inside.is_empty(), "{inside:?}");
    assert_eq!(references("<img src=\"http://a.b/c\"><a href=\"#x\">"), ["http://a.b/c"]);
}

#[test]
fn equal_results_give_equal_pages_wherever_the_experiment_file_is_now() {
    let before = fs::read(page()).unwrap();
    let other = TempDir::new().unwrap();
    let moved = other.path().join("moved");
    let copied = Command::new("cp").args(["-r"]).arg(results()).arg(&moved).status().unwrap();
    assert!(copied.success());
    fs::remove_file(moved.join("report.html")).unwrap();
    let out = other.path().join("page.html");
    let made = contraflow(&["report", &moved.display().to_string(), "--out", &out.display().to_string()]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert!(fs::read(&out).unwrap() == before, "another page");
}

#[test]
fn a_folder_without_results_is_refused_and_a_lost_record_is_told_of() {
    let empty = TempDir::new().unwrap();
    let refused = contraflow(&["report", &empty.path().display().to_string()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused.stderr).contains("no results; allowed: a folder that"),
        "{}",
        text(&refused.stderr)
    );

    let moved = empty.path().join("moved");
    assert!(Command::new("cp").args(["-r"]).arg(results()).arg(&moved).status().unwrap().success());
    let lost = fs::read_dir(&moved)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("record.npz"))
        .find(|record| record.exists())
        .unwrap();
    fs::remove_file(&lost).unwrap();
    let made = contraflow(&["report", &moved.display().to_string()]);
    assert_eq!(made.status.code(), Some(1));
    assert!(text(&made.stderr).contains("record.npz"), "{}", text(&made.stderr));
    assert!(moved.join("report.html").exists());
}

/// Results in `folder` of the sweep with these overrides.
fn other_results(folder: &Path, overrides: &[&str]) -> (PathBuf, Output) {
    let (file, out) = (folder.join("sweep.toml"), folder.join("other"));
    let without_figures = SWEEP.split("figure   =").next().unwrap();
    fs::write(&file, without_figures).unwrap();
    let (file, shown) = (file.display().to_string(), out.display().to_string());
    let sets = overrides.iter().flat_map(|set| ["--set", set]);
    let arguments: Vec<&str> = ["run", &file, "--out", &shown].into_iter().chain(sets).collect();
    let run = contraflow(&arguments);
    (out, run)
}

#[test]
fn layers_of_any_shape_and_runs_that_diverge_are_shown() {
    for overrides in [
        &["sweep={ \"encoder.widths\" = [[4, 4, 2], [4, 6, 2], [4, 6, 6], [4, 2, 4], [4, 3]] }"][..],
        &["sweep={ \"dynamics.rate\" = [0.1, 1e6] }", "dynamics={ kind = \"gd\", rate = 0.1, steps = 50 }"],
    ] {
        let folder = TempDir::new().unwrap();
        let (out, run) = other_results(folder.path(), overrides);
        assert!(!text(&run.stderr).contains("error:"), "{}", text(&run.stderr));
        let made = contraflow(&["report", &out.display().to_string()]);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    }
}

#[test]
fn the_page_is_never_too_large() {
    let folder = TempDir::new().unwrap();
    let title = format!("title={:?}", "x".repeat(100_000));
    let overrides = [
        "encoder.widths=[192, 192, 192]",
        "data.dim=192",
        "sweep={ \"augment.variance\" = [0.1, 0.2] }",
        "dynamics={ kind = \"gd\", rate = 0.1, steps = 3 }",
        &title,
    ];
    let (out, run) = other_results(folder.path(), &overrides);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let made = contraflow(&["report", &out.display().to_string()]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let html = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(html.len() < 5_000_000, "{} bytes", html.len());
    assert!(html.contains("the alignment of layers is too large"));
}

#[test]
fn special_files_are_refused_and_links_followed() {
    let folder = TempDir::new().unwrap();
    let results = results().display().to_string();
    let target = folder.path().join("target.html");
    fs::write(&target, "before").unwrap();
    let link = folder.path().join("link.html");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&target, &link).unwrap();
    #[cfg(unix)]
    {
        assert_eq!(
            contraflow(&["report", &results, "--out", &link.display().to_string()]).status.code(),
            Some(0)
        );
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&target).unwrap().starts_with("<!DOCTYPE html>"));
    }
    for wrong in [folder.path().to_path_buf(), folder.path().join("none").join("page.html")] {
        let refused = contraflow(&["report", &results, "--out", &wrong.display().to_string()]);
        assert_eq!(refused.status.code(), Some(2), "{}", wrong.display());
    }
}

#[test]
fn evidence_that_is_not_there_or_damaged_or_of_other_settings_judges_nothing() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let shown = out.display().to_string();
    let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let file = experiments.join("figure_11b_paper.toml").display().to_string();
    // figure-11b wants this experiment and no other, with these settings and no others.
    let page = |name: &str, set: &[&str]| {
        let store = out.join(name);
        let store_shown = store.display().to_string();
        let run = contraflow(&[&["run", &file, "--out", &store_shown][..], set].concat());
        assert!(run.status.success(), "{}", text(&run.stderr));
        let made = contraflow(&["report", &store_shown]);
        (store, made.status.code(), fs::read_to_string(out.join(name).join("report.html")).unwrap())
    };
    let (_, status, other) = page("other", &["--set", "dynamics.steps=20", "--set", "repeats=1"]);
    assert_eq!(status, Some(0));
    assert!(other.contains("here with other settings") && !other.contains("id=\"claim-figure-11b\""));

    let (store, status, own) = page("own", &[]);
    assert_eq!(status, Some(0));
    assert!(own.contains("id=\"claim-figure-11b\"") && own.contains("badge consistent"));
    // Both in one folder: each has anchors of its own.
    assert_eq!(contraflow(&["report", &shown]).status.code(), Some(0));
    let both = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(
        both.contains("id=\"experiment-figure-11b-paper\"")
            && both.contains("id=\"experiment-figure-11b-paper-2\"")
    );
    assert!(both.contains("badge consistent"));
    let mut ids: Vec<&str> = both.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an anchor stands twice");

    // A record that is a valid archive and not the one that was written.
    let mut runs: Vec<PathBuf> = fs::read_dir(&store)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    runs.sort();
    fs::copy(runs[0].join("record.npz"), runs[1].join("record.npz")).unwrap();
    let made = contraflow(&["report", &store.display().to_string()]);
    assert_eq!(made.status.code(), Some(1));
    let html = fs::read_to_string(store.join("report.html")).unwrap();
    assert!(html.contains("of which runs are missing") && !html.contains("id=\"claim-figure-11b\""));
}

/// A browser at the page; none where there is no Chromium.
fn at_page(page: &Path, width: u32, height: u32) -> Option<Browser> {
    let Some(chromium) = chromium() else {
        println!("skipped: Chromium is not installed here");
        return None;
    };
    let mut browser = Browser::start(&chromium, width, height);
    browser.open(&address(page));
    Some(browser)
}

#[test]
fn the_page_has_no_errors_and_no_request_leaves_it() {
    let Some(mut browser) = at_page(&page(), 1200, 900) else { return };
    assert_eq!(browser.value("document.querySelectorAll('.plot polyline').length > 3"), json!(true));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    assert_eq!(browser.requests, [address(&page())]);

    // The control: a page with an error and a picture from elsewhere.
    let folder = TempDir::new().unwrap();
    let wrong = folder.path().join("wrong.html");
    fs::write(&wrong, "<!DOCTYPE html><img src=\"http://127.0.0.1:9/\"><script>nothing()</script>").unwrap();
    browser.open(&address(&wrong));
    assert!(browser.complaints.iter().any(|complaint| complaint.contains("nothing is not defined")));
    assert!(browser.requests.contains(&"http://127.0.0.1:9/".to_string()), "{:?}", browser.requests);

    // The policy of the page forbids such a picture, should one ever be written into it.
    let tainted = folder.path().join("tainted.html");
    let html = fs::read_to_string(page()).unwrap();
    fs::write(&tainted, html.replacen("<main", "<img src=\"http://127.0.0.1:9/tainted\"><main", 1)).unwrap();
    browser.open(&address(&tainted));
    assert_eq!(browser.requests, [address(&tainted)]);
    assert!(browser.complaints.iter().any(|complaint| complaint.contains("Content Security Policy")));
}

/// What the three panels show.
fn panels(browser: &mut Browser) -> Vec<String> {
    let points = |panel: &str| {
        format!(
            "[...document.querySelectorAll('[data-panel={panel}] polyline')].map((line) => line.getAttribute('points')).join(' ')"
        )
    };
    let colours = "[...document.querySelectorAll('[data-panel=alignment] td')].map((cell) => cell.style.background).join(' ')";
    let table = "document.querySelector('.now-table').textContent";
    vec![
        browser.text(&points("spectra")),
        browser.text(&points("eigenvalues")),
        browser.text(colours),
        browser.text(table),
        browser.text("document.querySelector('.now').textContent"),
        browser.text("document.querySelector('.cursor').style.left"),
    ]
}

fn slide(browser: &mut Browser, frame: usize) {
    browser.value(&format!(
        "(() => {{ const slider = document.querySelector('.slider'); slider.value = {frame}; slider.dispatchEvent(new Event('input')); }})()"
    ));
}

#[test]
fn the_slider_moves_spectra_alignment_and_eigenvalues_together() {
    let Some(mut browser) = at_page(&page(), 1200, 900) else { return };
    browser.value("document.querySelector('.now-values').open = true");
    let end = panels(&mut browser);
    assert!(end.iter().all(|shown| !shown.is_empty()), "{end:?}");
    let last = browser.value("Number(document.querySelector('.slider').max)").as_u64().unwrap() as usize;
    slide(&mut browser, last);
    assert_eq!(panels(&mut browser), end, "nothing moves where the slider does not");
    slide(&mut browser, 2);
    let early = panels(&mut browser);
    for (index, (then, now)) in end.iter().zip(&early).enumerate() {
        assert_ne!(then, now, "panel {index} stands still");
    }

    // From the keyboard as well, one recorded time a key.
    browser.value("document.querySelector('.slider').focus()");
    browser.press("ArrowRight");
    let next = panels(&mut browser);
    assert!(early.iter().zip(&next).all(|(then, now)| then != now));

    // What is shown at the end is what the record holds.
    slide(&mut browser, last);
    let shown = browser.text("document.querySelector('.now-table tbody tr').cells[1].textContent");
    let column = browser.text("document.querySelector('.now-table thead tr').cells[1].textContent");
    assert_eq!(column, "singular value of C");
    let directory = browser.text("document.querySelector('.explorer .directory').textContent");
    let record = contraflow::files::read_npz(results().join(directory).join("record.npz")).unwrap();
    let sigma = &record["sigma_embedding"];
    let expected = sigma.values[(sigma.shape[0] - 1) * sigma.shape[1]];
    // Records are carried in 32 bits and shown in five digits.
    assert!((shown.parse::<f64>().unwrap() / expected - 1.0).abs() < 1e-4, "{shown} for {expected}");

    // Another run is shown at the same time.
    slide(&mut browser, 4);
    let then = browser.text("document.querySelector('.now').textContent");
    browser.value("(() => { const run = document.querySelector('select.run'); run.value = 1; run.dispatchEvent(new Event('change')); })()");
    assert_eq!(browser.text("document.querySelector('.now').textContent"), then);
    slide(&mut browser, last);

    // It plays by itself, and ends at the end.
    browser.value("document.querySelector('.play').click()");
    let played =
        "new Promise((done) => setTimeout(() => done(document.querySelector('.slider').value), 2500))";
    assert_eq!(browser.text(played), last.to_string());
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn the_table_of_verdicts_sorts_and_filters() {
    let Some(mut browser) = at_page(&page(), 1200, 900) else { return };
    let shown = "[...document.querySelectorAll('#claims tbody tr:not([hidden]) th')].map((cell) => cell.textContent.trim()).join(' ')";
    assert_eq!(browser.text(shown), "eq-4 eq-6 eq-6-corrected");
    browser.value("document.querySelector('[data-key=verdict]').click()");
    // Holds before refuted.
    assert_eq!(browser.text(shown), "eq-4 eq-6-corrected eq-6");
    browser.value("document.querySelector('[data-key=verdict]').click()");
    assert_eq!(browser.text(shown), "eq-6 eq-4 eq-6-corrected");
    let sort = "document.querySelector('[data-key=verdict]').closest('th').getAttribute('aria-sort')";
    assert_eq!(browser.text(sort), "descending");

    browser.value("document.querySelector('.filters input[value=refuted]').click()");
    assert_eq!(browser.text(shown), "eq-4 eq-6-corrected");
    assert_eq!(browser.text("document.querySelector('#claim-count').textContent"), "2 of 3 claims");
    browser.value("document.querySelector('#claim-search').focus()");
    for key in ["c", "o", "r", "r", "e", "c"] {
        browser.press(key);
    }
    assert_eq!(browser.text(shown), "eq-6-corrected");
    let target =
        browser.text("document.querySelector('#claims tbody tr:not([hidden]) a').getAttribute('href')");
    assert_eq!(
        browser.text(&format!("document.querySelector('{target} h3').textContent")),
        "eq-6-corrected ✓ holds"
    );
}

#[test]
fn charts_tell_values_zoom_toggle_series_and_change_their_scales() {
    let Some(mut browser) = at_page(&page(), 1200, 900) else { return };
    let lines = "document.querySelectorAll('#figure-spectra .plot polyline').length";
    let ticks = "[...document.querySelectorAll('#figure-spectra .plot text')].map((text) => text.textContent).join('|')";
    let readout = "document.querySelector('#figure-spectra .readout').textContent";
    assert_eq!(browser.value(lines), json!(6));
    browser.value("document.querySelector('#figure-spectra .legend input').click()");
    assert_eq!(browser.value(lines), json!(5));
    browser.value("document.querySelector('#figure-spectra .legend input').click()");

    let before = browser.text(ticks);
    browser.value("document.querySelector('#figure-spectra .log-y').click()");
    let linear = browser.text(ticks);
    assert_ne!(before, linear);
    browser.value("document.querySelector('#figure-spectra .log-y').click()");
    assert_eq!(browser.text(ticks), before);

    // Drag over the middle, then reset.
    browser.value("document.querySelector('#figure-spectra .plot').scrollIntoView({ block: 'center', behavior: 'instant' })");
    let place = browser.value("(({ x, y, width, height }) => [x, y, width, height])(document.querySelector('#figure-spectra .plot').getBoundingClientRect())");
    let [x, y, width, height] = [0, 1, 2, 3].map(|k| place[k].as_f64().unwrap());
    browser.mouse("mouseMoved", x + 0.3 * width, y + 0.3 * height);
    assert!(browser.text(readout).contains(" at rank of the singular value "), "{}", browser.text(readout));
    browser.mouse("mousePressed", x + 0.3 * width, y + 0.3 * height);
    browser.mouse("mouseMoved", x + 0.6 * width, y + 0.6 * height);
    browser.mouse("mouseReleased", x + 0.6 * width, y + 0.6 * height);
    assert_ne!(browser.text(ticks), before);
    browser.value("document.querySelector('#figure-spectra .reset').click()");
    assert_eq!(browser.text(ticks), before);

    // The same by keys, from the first value on; the value told is that of the table.
    browser.open(&address(&page()));
    browser.value("document.querySelector('#figure-spectra .plot').focus({ preventScroll: true })");
    browser.press("ArrowRight");
    let told = browser.text(readout);
    let value =
        browser.text("document.querySelector('#figure-spectra table.values td').textContent.split(' ')[0]");
    let number = told.split(": ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_string();
    assert_eq!(number.parse::<f64>().unwrap(), value.parse::<f64>().unwrap(), "{told}");
    browser.press("+");
    assert_ne!(browser.text(ticks), before);
    browser.press("0");
    assert_eq!(browser.text(ticks), before);
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn a_cell_of_the_sweep_opens_its_run() {
    let Some(mut browser) = at_page(&page(), 1200, 900) else { return };
    let directory = "document.querySelector('.explorer .directory').textContent";
    assert!(
        browser.text(directory).contains("encoder.widths=4-4-4,augment.variance=0.1,repeat=0"),
        "{}",
        browser.text(directory)
    );
    browser.value("document.querySelector('.sweep td[data-cell=\"5\"] a').click()");
    // The address has changed, and what follows from it is there after that.
    browser.value("new Promise((done) => setTimeout(done, 100))");
    assert!(browser.text("location.hash").ends_with("#run-sweep-5"));
    assert!(
        browser.text(directory).contains("encoder.widths=4-4-4-4,augment.variance=3.0,repeat=0"),
        "{}",
        browser.text(directory)
    );
    // Three layers have two pairs, and the legend has one spectrum more.
    assert_eq!(browser.value("document.querySelectorAll('.layers option').length"), json!(2));
    let legend = "document.querySelectorAll('[data-panel=spectra] .key').length";
    assert_eq!(browser.value(legend), json!(5));

    // Another quantity gives other numbers; X ≻ 0 fails under strong noise, and the strip says when.
    let first = "document.querySelector('.sweep td[data-cell]').textContent";
    let before = browser.text(first);
    browser.value("(() => { const choice = document.querySelector('.quantity'); choice.value = 'loss'; choice.dispatchEvent(new Event('change')); })()");
    assert_ne!(browser.text(first), before);
    let strip = browser.text("[...document.querySelectorAll('.hypothesis')].find((one) => one.textContent.includes('≻ 0')).textContent");
    assert!(strip.contains("fails at"), "{strip}");

    // A negative eigenvalue is one, and not something below a floor.
    browser.value("document.querySelector('.now-values').open = true");
    slide(&mut browser, 0);
    let eigenvalue =
        browser.text("[...document.querySelector('.now-table tbody tr').cells].at(-1).textContent");
    assert!(eigenvalue.parse::<f64>().is_ok_and(|value| value < 0.0), "{eigenvalue}");

    // And back, as from any link.
    browser.value("history.back()");
    browser.value("new Promise((done) => setTimeout(done, 100))");
    assert_eq!(browser.text("location.hash"), "");

    // An address with such a run leads to it.
    browser.open("about:blank");
    browser.open(&format!("{}#run-sweep-4", address(&page())));
    assert!(
        browser.text(directory).contains("encoder.widths=4-4-4-4,augment.variance=0.5"),
        "{}",
        browser.text(directory)
    );
}

#[test]
fn zooms_have_bounds_and_odd_addresses_do_no_harm() {
    let Some(mut browser) = at_page(&page(), 1200, 900) else { return };
    browser.value("document.querySelector('#figure-spectra .plot').focus({ preventScroll: true })");
    for key in ["-", "+"] {
        for _ in 0..60 {
            browser.press(key);
        }
        let lines =
            browser.value("document.querySelectorAll('#figure-spectra .plot line').length").as_u64().unwrap();
        assert!(lines < 500, "{lines} lines after many {key}");
        let svg = browser.text("document.querySelector('#figure-spectra .plot').innerHTML");
        assert!(!svg.contains("NaN") && !svg.contains("Infinity"));
        browser.press("0");
    }
    browser.open("about:blank");
    browser.open(&format!("{}#50%", address(&page())));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    browser.value("document.querySelector('.filters input[value=refuted]').click()");
    assert_eq!(browser.text("document.querySelector('#claim-count').textContent"), "2 of 3 claims");
}

/// The contrast of two colours as WCAG defines it.
const CONTRAST: &str = "((one, other) => {
    const luminance = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
})";

#[test]
fn light_and_dark_are_readable_everything_has_a_name_and_a_phone_is_wide_enough() {
    let Some(mut browser) = at_page(&page(), 360, 740) else { return };
    assert_eq!(browser.value("document.documentElement.scrollWidth"), json!(360));
    let mut papers = Vec::new();
    for theme in ["light", "dark"] {
        browser.value(&format!(
            "(() => {{ const theme = document.querySelector('#theme'); theme.value = '{theme}'; theme.dispatchEvent(new Event('change')); }})()"
        ));
        // To be looked at.
        browser.screenshot(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("report-{theme}.png")), true);
        papers.push(browser.text("getComputedStyle(document.body).backgroundColor"));
        for element in ["body", ".small", "a[href]", ".refuted", ".holds", ".readout", ".plot"] {
            let colours = format!(
                "getComputedStyle(document.querySelector('{element}')).color, getComputedStyle(document.body).backgroundColor"
            );
            let contrast = browser.value(&format!("{CONTRAST}({colours})")).as_f64().unwrap();
            assert!(contrast >= 4.5, "{theme}: {element} has a contrast of {contrast}");
        }
        let lines = format!(
            "Math.min(...[...document.querySelectorAll('#figure-spectra .plot polyline')].map((line) => {CONTRAST}(line.getAttribute('stroke'), getComputedStyle(document.body).backgroundColor)))"
        );
        // Yellow on paper is the least of a scale that keeps its order for all kinds of colour vision.
        let least = browser.value(&lines).as_f64().unwrap();
        assert!(least >= 1.5, "{theme}: a line has a contrast of {least}");
        let cells = format!(
            "Math.min(...[...document.querySelectorAll('table.heat td')].filter((cell) => cell.style.color).map((cell) => {CONTRAST}(cell.style.color, cell.style.backgroundColor)))"
        );
        let least = browser.value(&cells).as_f64().unwrap();
        assert!(least >= 4.5, "{theme}: a cell has a contrast of {least}");
    }
    assert_ne!(papers[0], papers[1]);
    assert!(browser.value(&format!("{CONTRAST}('rgb(0,0,0)', 'rgb(255,255,255)')")).as_f64().unwrap() > 20.9);

    let nodes = browser.call("Accessibility.getFullAXTree", json!({}));
    let wanted = ["button", "checkbox", "slider", "combobox", "searchbox", "image", "link", "table"];
    let nameless: Vec<&Value> = nodes["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|node| node["ignored"] != json!(true))
        .filter(|node| wanted.iter().any(|role| node["role"]["value"] == json!(role)))
        .filter(|node| node["name"]["value"].as_str().unwrap_or_default().trim().is_empty())
        // Tables of measurements stand under their name in a list of terms.
        .filter(|node| node["role"]["value"] != json!("table"))
        .collect();
    assert!(nameless.is_empty(), "{nameless:?}");
}

#[test]
fn without_script_tables_formulas_and_figures_are_there() {
    let Some(chromium) = chromium() else {
        println!("skipped: Chromium is not installed here");
        return;
    };
    let mut browser = Browser::start(&chromium, 1200, 900);
    browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    browser.open(&address(&page()));
    let visible = |browser: &mut Browser, element: &str| {
        browser.value(&format!("document.querySelector('{element}').getBoundingClientRect().height > 0"))
            == json!(true)
    };
    for element in ["#claims", "math", ".paper svg", "table.heat", ".hypothesis"] {
        assert!(visible(&mut browser, element), "{element}");
    }
    // Controls that would do nothing are not shown.
    for element in [".play", ".live", "#claim-search"] {
        assert!(!visible(&mut browser, element), "{element}");
    }
}
