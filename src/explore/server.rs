//! The server: three addresses, for one browser on this machine.

use super::choices::Choices;
use super::frames::stream;
use super::page::page;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes that a request's address may have.
const LONGEST_QUERY: usize = 1024;

/// Runs that may be at work at a time: one, and those that have been told to stop and are about to.
const MOST_RUNS: usize = 4;

/// Lines that wait for a slow reader.
const WAITING_LINES: usize = 64;

/// No page may hold this one in a frame, and it talks to nobody but this server.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'";

struct Shared {
    port: u16,
    /// Number of the last run that was asked for: the others stop.
    last: AtomicU64,
    at_work: AtomicUsize,
}

/// Serves the page on 127.0.0.1 until `stop`. `announce` is told the address once it is there.
///
/// # Errors
/// Where no port can be had.
pub fn serve(stop: fn() -> bool, announce: &dyn Fn(SocketAddr)) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared =
            Arc::new(Shared { port: address.port(), last: AtomicU64::new(0), at_work: AtomicUsize::new(0) });
        let router = Router::new()
            .route("/", get(|| async { html() }))
            .route("/run", get(run))
            .route("/experiment.toml", get(experiment))
            .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard))
            .with_state(Arc::clone(&shared));
        announce(address);
        tokio::select! {
            ended = axum::serve(listener, router) => ended,
            () = until(stop) => Ok(()),
        }
    });
    // What is at work is told by its reader, which is gone now.
    runtime.shutdown_background();
    served
}

async fn until(stop: fn() -> bool) {
    while !stop() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Refuses what does not come from a page of this server, and what is not one of its few questions.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if let Err((status, message)) = allowed(&request, shared.port) {
        return (status, format!("{message}\n")).into_response();
    }
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why a request is refused, if it is.
fn allowed(request: &Request, port: u16) -> Result<(), (StatusCode, String)> {
    let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let text = |headers: &HeaderMap, name| {
        headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?").to_string())
    };
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "allowed: GET".to_string()));
    }
    // A name of another site that leads here would let that site's pages read the answers.
    let hosts = headers.get_all(header::HOST).iter().count();
    if hosts != 1 || text(headers, header::HOST).is_none_or(|host| !own.contains(&host)) {
        return Err((StatusCode::FORBIDDEN, format!("allowed: http://{}", own[0])));
    }
    if let Some(origin) = text(headers, header::ORIGIN)
        && !own.iter().any(|host| origin == format!("http://{host}"))
    {
        return Err((StatusCode::FORBIDDEN, "another page asks".to_string()));
    }
    let site = text(headers, header::HeaderName::from_static("sec-fetch-site"));
    let to_the_page = request.uri().path() == "/"
        && text(headers, header::HeaderName::from_static("sec-fetch-mode")).as_deref() == Some("navigate");
    if site.is_some_and(|site| site != "same-origin" && site != "none" && !to_the_page) {
        return Err((StatusCode::FORBIDDEN, "another page asks".to_string()));
    }
    if request.uri().query().is_some_and(|query| query.len() > LONGEST_QUERY) {
        return Err((
            StatusCode::URI_TOO_LONG,
            format!("allowed: at most {LONGEST_QUERY} bytes after the ?"),
        ));
    }
    Ok(())
}

fn html() -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page(POLICY).into_string()).into_response()
}

type Given = Query<Vec<(String, String)>>;

fn refused(message: String) -> Response {
    (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response()
}

async fn experiment(Query(given): Given) -> Response {
    match Choices::of(&given) {
        Ok(choices) => {
            let headers = [
                (header::CONTENT_TYPE, "application/toml; charset=utf-8"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"explored.toml\""),
            ];
            (headers, choices.to_toml()).into_response()
        }
        Err(message) => refused(message),
    }
}

/// Counts a run that is at work for as long as it lives.
struct AtWork(Arc<Shared>);

impl AtWork {
    fn begin(shared: &Arc<Shared>) -> Option<AtWork> {
        let count = shared.at_work.fetch_add(1, Ordering::SeqCst);
        let at_work = AtWork(Arc::clone(shared));
        (count < MOST_RUNS).then_some(at_work)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Lines of JSON, as the run goes on. A new run ends the one before it.
async fn run(State(shared): State<Arc<Shared>>, Query(given): Given) -> Response {
    let choices = match Choices::of(&given) {
        Ok(choices) => choices,
        Err(message) => return refused(message),
    };
    let number = shared.last.fetch_add(1, Ordering::SeqCst) + 1;
    let Some(at_work) = AtWork::begin(&shared) else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many runs at a time; try again\n").into_response();
    };
    let (sender, receiver) = mpsc::channel::<String>(WAITING_LINES);
    std::thread::spawn(move || {
        // A stiff run may have no new line to send for long: it is asked here whether anybody listens.
        let is_old = || at_work.0.last.load(Ordering::SeqCst) != number || sender.is_closed();
        stream(&choices, &is_old, &|line| sender.blocking_send(line).is_ok());
    });
    let lines = ReceiverStream::new(receiver).map(Ok::<String, Infallible>);
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}
