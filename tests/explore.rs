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
use std::time::{Duration, Instant};
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

    /// A connection on which this has been said.
    fn say(&self, words: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(words.as_bytes()).unwrap();
        stream
    }

    /// All of an answer to a request in these words.
    fn answer(&self, request: &str) -> String {
        let mut answer = Vec::new();
        self.say(request).read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Status and body of an answer to a request in these words.
    fn ask(&self, request: &str) -> (u16, String) {
        let answer = self.answer(request);
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
        // Not only the first of several counts.
        &format!("Origin: http://127.0.0.1:{port}\r\nOrigin: http://evil.example\r\n"),
        "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n",
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
    let twice = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Mode: cors\r\n";
    assert_eq!(server.get("/", twice).0, 403);
    let twice = format!("Origin: http://127.0.0.1:{port}\r\nOrigin: http://localhost:{port}\r\n");
    assert_eq!(server.get("/experiment.toml", &twice).0, 200);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn every_answer_forbids_frames_guesses_and_copies() {
    let server = Server::start();
    let port = server.port;
    let request = |method: &str, path: &str, host: &str| {
        let end = "Content-Length: 0\r\nConnection: close\r\n\r\n";
        server.answer(&format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{end}")).to_lowercase()
    };
    let own = format!("127.0.0.1:{port}");
    let long = format!("/run?loss={}", "x".repeat(2000));
    for (status, answer) in [
        (200, request("GET", "/", &own)),
        (400, request("GET", "/run?dim=1", &own)),
        (403, request("GET", "/", "evil.example")),
        (404, request("GET", "/etc/passwd", &own)),
        (405, request("POST", "/run", &own)),
        (414, request("GET", &long, &own)),
    ] {
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{status}: {answer}");
        let head = answer.split("\r\n\r\n").next().unwrap();
        for header in [
            "content-security-policy: frame-ancestors 'none'",
            "x-frame-options: deny",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(header), "{status} lacks {header}: {head}");
        }
    }
}

#[test]
fn connections_that_never_finish_their_request_are_closed_and_others_answered() {
    let server = Server::start();
    // More than there are places.
    let half: Vec<TcpStream> = (0..80).map(|_| server.say("GET / HTTP/1.1\r\nHost: 127.0.0.1")).collect();
    let start = Instant::now();
    assert_eq!(server.get("/", "").0, 200);
    for mut stream in half {
        let mut said = Vec::new();
        // Either an answer that says that this took too long, or none.
        let _ = stream.read_to_end(&mut said);
        assert!(!String::from_utf8_lossy(&said).contains("200 OK"));
    }
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
}

#[test]
fn runs_whose_readers_never_read_leave_their_places_to_newer_ones() {
    let server = Server::start();
    let port = server.port;
    // More than the system keeps for a reader that does not read.
    let run = |seed: u32| {
        let query = format!("dim=32&depth=6&dynamics=gd&samples=8&steps=2000&seed={seed}");
        server.say(&format!("GET /run?{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"))
    };
    let mut unread = Vec::new();
    for seed in 0..8 {
        // A browser asks again where there is no place yet.
        let start = Instant::now();
        loop {
            let mut stream = run(seed);
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            unread.push(stream);
            if &status == b"HTTP/1.1 200" {
                break;
            }
            assert_eq!(&status, b"HTTP/1.1 503");
            assert!(start.elapsed() < Duration::from_secs(20), "no place for run {seed}");
            std::thread::sleep(Duration::from_millis(200));
        }
        // So long that it waits for its reader.
        std::thread::sleep(Duration::from_millis(700));
    }
}

#[test]
fn a_run_that_another_one_ends_says_so() {
    let server = Server::start();
    let long = "/run?dim=32&dynamics=flow&samples=2048&time_end=1000&depth=6";
    let last = std::thread::scope(|scope| {
        let first = scope.spawn(|| server.get(long, "").1);
        std::thread::sleep(Duration::from_millis(500));
        let newer = server.get("/run?dim=2", "").1;
        assert!(newer.contains("time reached"), "{newer}");
        first.join().unwrap()
    });
    let last: Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    let ending = last["end"]["ending"].as_str().unwrap();
    assert!(ending.contains("another run has begun"), "{last}");
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
    assert!(state.contains("dimension d = 99; allowed: whole numbers from 2 to 32"), "{state}");
    // Nor by asking again; what is seen is of the setting before, and dimmed.
    let outdated = "document.querySelector('.live-run').classList.contains('outdated')";
    browser.value("document.querySelector('.again').click()");
    let state = browser.text("document.querySelector('.state').textContent");
    assert!(state.contains("dimension d = 99; allowed") && state.contains("dimmed"), "{state}");
    assert_eq!(browser.value(outdated), json!(true));
    browser.value("(() => { const dim = document.querySelector('[name=dim]'); dim.value = 4; dim.dispatchEvent(new Event('input')); })()");
    browser.value("new Promise((done) => setTimeout(done, 400))");
    assert_eq!(browser.value(done), json!(true));
    assert_eq!(browser.value(outdated), json!(false));

    // A setting that cannot be says why, in the words of the program.
    browser.value("(() => { const loss = document.querySelector('[name=loss]'); loss.value = 'infonce-cosine'; loss.dispatchEvent(new Event('change')); })()");
    browser.value("new Promise((done) => setTimeout(done, 400))");
    let state = browser.text("document.querySelector('.state').textContent");
    assert!(state.starts_with("Refused: ") && state.contains("cosine"), "{state}");
    assert_eq!(browser.value(outdated), json!(true));

    // One press of an arrow key is one layer.
    browser.value("document.querySelector('.choice input[aria-label^=\"layers\"]').focus()");
    browser.press("ArrowRight");
    assert_eq!(browser.text("document.querySelector('[name=depth]').value"), "3");

    // What the address says in a way that is not understood is told, and left as at first.
    let odd = "?loss=evil&variance=abc&seed=1e3&dim=99&colour=red&depth=3&depth=4&time_end=2";
    browser.open(&format!("{}{odd}", server.address()));
    assert_eq!(browser.value(done), json!(true));
    let fields = "['loss', 'variance', 'seed', 'dim', 'depth', 'time_end'].map((name) => document.querySelector(`[name=${name}]`).value).join(' ')";
    assert_eq!(browser.text(fields), "infonce-euclidean 1.5 20 16 3 2");
    let told = browser.text("document.querySelector('.not-understood').textContent");
    for part in [
        "loss = evil, allowed: infonce-euclidean, infonce-dot",
        "k = abc, allowed: numbers from 0 to 10",
        "seed = 1e3, allowed: whole numbers",
        "dimension d = 99, allowed: whole numbers from 2 to 32",
        "there is no colour",
        "layers L is given twice",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    browser.open(&format!("{}?depth=3", server.address()));
    assert_eq!(browser.text("document.querySelector('.not-understood').textContent"), "");

    // The time slider grows with a run that is not followed.
    browser.open(&format!("{}?dynamics=sgd&steps=20000&dim=8", server.address()));
    let more = "new Promise((done) => { const slider = document.querySelector('.slider'); const look = () => Number(slider.max) >= 2 ? done(true) : setTimeout(look, 5); look(); })";
    assert_eq!(browser.value(more), json!(true));
    browser.value("(() => { const slider = document.querySelector('.slider'); slider.value = 1; slider.dispatchEvent(new Event('input')); })()");
    assert_eq!(browser.value(done), json!(true));
    browser.value("new Promise((done) => setTimeout(done, 200))");
    assert!(browser.value("Number(document.querySelector('.slider').max)").as_f64() > Some(100.0));
    assert_eq!(browser.text("document.querySelector('.slider').value"), "1");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    let own = server.address();
    assert!(browser.requests.iter().all(|request| request.starts_with(&own)), "{:?}", browser.requests);
}
