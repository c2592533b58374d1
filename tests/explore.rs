//! `contraflow explore`: who is answered, what is computed, and the page in a real browser where Chromium is installed.
#![cfg(all(feature = "explore", unix))]

mod browser;

use browser::{Browser, chromium};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A running server.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_contraflow"))
            .arg("explore")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        // On this machine alone, on a port that was free.
        let port = line.trim().strip_prefix("http://127.0.0.1:").and_then(|rest| rest.strip_suffix('/'));
        Server { port: port.unwrap_or_else(|| panic!("{line}")).parse().unwrap(), child }
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Status and body of an answer to a request in these words.
    fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        (status, if chunked { unchunked(body) } else { body.to_string() })
    }

    fn get(&self, path: &str, headers: &str) -> (u16, String) {
        let port = self.port;
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{headers}\r\n"
        ))
    }

    fn stop(mut self) -> Option<i32> {
        let asked = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unchunked(body: &str) -> String {
    let mut whole = Vec::new();
    let mut rest = body.as_bytes();
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        whole.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    String::from_utf8(whole).unwrap()
}

#[test]
fn only_a_page_of_its_own_is_answered_and_only_within_bounds() {
    let server = Server::start();
    let port = server.port;
    assert_eq!(server.get("/", "").0, 200);
    assert_eq!(server.get("/", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n").0, 200);
    assert_eq!(
        server.get("/experiment.toml?depth=3", &format!("Origin: http://127.0.0.1:{port}\r\n")).0,
        200
    );
    let host = |host: &str| server.ask(&format!("GET / HTTP/1.1\r\n{host}Connection: close\r\n\r\n")).0;
    assert_eq!(host(&format!("Host: localhost:{port}\r\n")), 200);
    for wrong in [
        "Host: evil.example\r\n".to_string(),
        format!("Host: evil.example:{port}\r\n"),
        format!("Host: 127.0.0.1:{port}.evil.example\r\n"),
        "Host: 127.0.0.1\r\n".to_string(),
        format!("Host: 127.0.0.1:{port}\r\nHost: evil.example\r\n"),
    ] {
        assert!(matches!(host(&wrong), 400 | 403), "{wrong}");
    }
    for wrong in [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: http://127.0.0.1:1\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        assert_eq!(server.get("/run?dim=2", wrong).0, 403, "{wrong}");
    }
    let long = format!("/run?loss={}", "x".repeat(2000));
    for (path, status) in [
        ("/run?samples=1000000000", 400),
        ("/run?variance=1e308", 400),
        ("/run?time_end=inf", 400),
        ("/run?path=/etc/passwd", 400),
        ("/experiment.toml?depth=7", 400),
        (long.as_str(), 414),
        ("/../Cargo.toml", 404),
        ("/etc/passwd", 404),
    ] {
        assert_eq!(server.get(path, "").0, status, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"] {
        let request = format!(
            "{method} /run HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(server.ask(&request).0, 405, "{method}");
    }
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn the_saved_file_repeats_what_was_shown_to_the_last_bit() {
    let server = Server::start();
    for query in [
        "dim=4&depth=2&dynamics=flow&samples=64&time_end=5",
        "dim=4&dynamics=sgd&samples=200&steps=300&batch=16",
        "dim=3&depth=3",
    ] {
        let (status, toml) = server.get(&format!("/experiment.toml?{query}"), "");
        assert_eq!(status, 200, "{toml}");
        let (status, lines) = server.get(&format!("/run?{query}"), "");
        assert_eq!(status, 200, "{lines}");
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let frames: Vec<&Value> = lines.iter().filter_map(|line| line.get("frame")).collect();
        assert_eq!(lines.last().unwrap()["end"]["finished"], true, "{query}");

        let folder = TempDir::new().unwrap();
        let file = folder.path().join("explored.toml");
        fs::write(&file, toml).unwrap();
        let out = folder.path().join("out");
        let arguments = ["run", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
        let run = Command::new(env!("CARGO_BIN_EXE_contraflow")).args(arguments).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let is_run = |path: &Path| path.join("record.npz").exists();
        let run =
            fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).find(|path| is_run(path)).unwrap();
        let record = contraflow::files::read_npz(run.join("record.npz")).unwrap();
        assert_eq!(frames.len(), record["time"].values.len());
        let mut compared = 0;
        for (at, frame) in frames.iter().enumerate() {
            assert_eq!(frame["time"].as_f64().unwrap().to_bits(), record["time"].values[at].to_bits());
            for (name, array) in frame["arrays"].as_object().unwrap() {
                let row = array[1].as_array().unwrap();
                for (k, value) in row.iter().enumerate() {
                    let recorded = record[name.as_str()].values[at * row.len() + k];
                    assert_eq!(value.as_f64().unwrap().to_bits(), recorded.to_bits(), "{name} at {at}");
                    compared += 1;
                }
            }
        }
        assert!(compared > 1000);
    }
}

#[test]
fn the_page_shows_the_run_keeps_its_setting_in_the_address_and_follows_the_sliders() {
    let Some(chromium) = chromium() else {
        println!("skipped: Chromium is not installed here");
        return;
    };
    let server = Server::start();
    let mut browser = Browser::start(&chromium, 1200, 900);
    browser.open(&format!("{}?dim=4&seed=7&time_end=2", server.address()));
    let done = "new Promise((done) => { const look = () => document.querySelector('.state').textContent.startsWith('Done') ? done(true) : setTimeout(look, 50); look(); })";
    assert_eq!(browser.value(done), json!(true));
    assert_eq!(browser.text("document.querySelector('.now').textContent"), "t = 2");
    assert_eq!(browser.text("document.querySelector('[name=seed]').value"), "7");
    assert_eq!(browser.value("document.querySelectorAll('[data-panel=alignment] td').length"), json!(16));
    let points = "[...document.querySelectorAll('[data-panel=spectra] polyline')].map((line) => line.getAttribute('points')).join(' ')";
    let before = browser.text(points);
    assert!(!before.is_empty());
    // What has no effect under infinitely many samples cannot be moved.
    assert_eq!(browser.value("document.querySelector('[name=samples]').disabled"), json!(true));

    let place = "(() => { const slider = document.querySelector('.choice input[aria-label^=\"variance\"]'); slider.value = 1000; slider.dispatchEvent(new Event('input')); })()";
    browser.value(place);
    assert_eq!(browser.text("document.querySelector('[name=variance]').value"), "10");
    browser.value("new Promise((done) => setTimeout(done, 400))");
    assert_eq!(browser.value(done), json!(true));
    assert_ne!(browser.text(points), before);
    let address = browser.text("location.search");
    assert!(address.contains("variance=10") && address.contains("seed=7"), "{address}");
    assert!(browser.text("document.querySelector('.save').href").contains("variance=10"));
    let there = browser.text(points);

    // The same address shows the same again.
    browser.open("about:blank");
    browser.open(&format!("{}{address}", server.address()));
    assert_eq!(browser.value(done), json!(true));
    assert_eq!(browser.text(points), there);
    browser.value("(() => { const slider = document.querySelector('.slider'); slider.value = 10; slider.dispatchEvent(new Event('input')); })()");
    assert_ne!(browser.text(points), there);

    // Whoever takes the slider before the first frame is shown sees this run and not the one before, and how it ended.
    let first = "document.querySelector('.now-table tbody tr').cells[1].textContent";
    browser.value("document.querySelector('.now-values').open = true");
    browser.value("(() => { const scale = document.querySelector('[name=scale]'); scale.value = 1; scale.dispatchEvent(new Event('input')); })()");
    let taken = "new Promise((done) => { const slider = document.querySelector('.slider'); const take = () => { slider.value = 0; slider.dispatchEvent(new Event('input')); document.querySelector('.state').textContent.startsWith('Done') && location.search.includes('scale=1') ? done(true) : setTimeout(take, 5); }; take(); })";
    assert_eq!(browser.value(taken), json!(true));
    let seen = browser.text(first);
    browser.value("document.querySelector('.again').click()");
    browser.value("new Promise((done) => setTimeout(done, 400))");
    assert_eq!(browser.value(done), json!(true));
    browser.value("(() => { const slider = document.querySelector('.slider'); slider.value = 0; slider.dispatchEvent(new Event('input')); })()");
    assert_eq!(browser.text(first), seen);

    // A value beyond the bounds is not run, and the page says what is allowed.
    browser.value("(() => { const dim = document.querySelector('[name=dim]'); dim.value = 99; dim.dispatchEvent(new Event('input')); })()");
    browser.value("new Promise((done) => setTimeout(done, 400))");
    let state = browser.text("document.querySelector('.state').textContent");
    assert!(state.contains("dim = 99; allowed: numbers from 2 to 32"), "{state}");
    browser.value("(() => { const dim = document.querySelector('[name=dim]'); dim.value = 4; dim.dispatchEvent(new Event('input')); })()");

    // A setting that cannot be says why, in the words of the program.
    browser.value("(() => { const loss = document.querySelector('[name=loss]'); loss.value = 'infonce-cosine'; loss.dispatchEvent(new Event('change')); })()");
    browser.value("new Promise((done) => setTimeout(done, 400))");
    let state = browser.text("document.querySelector('.state').textContent");
    assert!(state.starts_with("Refused: ") && state.contains("cosine"), "{state}");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    let own = server.address();
    assert!(browser.requests.iter().all(|request| request.starts_with(&own)), "{:?}", browser.requests);
}
