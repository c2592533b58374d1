//! The server: three addresses, for one browser on this machine.

use super::choices::Choices;
use super::frames::stream;
use super::page::page;
use super::work::{LONGEST_RUN, Runs};
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes that a request's address may have.
const LONGEST_QUERY: usize = 1024;

/// Connections that may be open at a time; a browser has six.
const MOST_CONNECTIONS: usize = 64;

/// How long a request's head may take to come, and a connection may have nothing to ask.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// After this time, a connection ends with the answer that it is at.
const LONGEST_CONNECTION: Duration = Duration::from_secs(300);

/// No page may hold this one in a frame, and it talks to nobody but this server.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'";

struct Shared {
    port: u16,
    runs: Arc<Runs>,
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
        let shared = Arc::new(Shared { port: address.port(), runs: Arc::default() });
        let router = Router::new()
            .route("/", get(|| async { html() }))
            .route("/run", get(run))
            .route("/experiment.toml", get(experiment))
            .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard))
            .with_state(Arc::clone(&shared));
        announce(address);
        tokio::select! {
            ended = answer(listener, router) => ended,
            () = until(stop) => Ok(()),
        }
    });
    // What is at work is told by its reader, which is gone now.
    runtime.shutdown_background();
    served
}

/// Takes connections, a bounded number at a time, each for a bounded time.
async fn answer(listener: TcpListener, router: Router) -> std::io::Result<()> {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(std::io::Error::other)?;
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file handles, as a rule: some will be free again.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let _place = place;
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
            let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
            // How a connection ends is for its other side to know.
            if timeout(LONGEST_CONNECTION, connection.as_mut()).await.is_err() {
                connection.as_mut().graceful_shutdown();
                let _ = timeout(LONGEST_RUN + HEAD_TIME, connection).await;
            }
        });
    }
}

async fn until(stop: fn() -> bool) {
    while !stop() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Refuses what does not come from a page of this server, and what is not one of its few questions.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = match allowed(&request, shared.port) {
        Ok(()) => next.run(request).await,
        Err((status, message)) => (status, format!("{message}\n")).into_response(),
    };
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
    // Of a header that comes more than once, each must do.
    let all = |name: &'static str| {
        request.headers().get_all(name).iter().map(|value| value.to_str().unwrap_or("?"))
    };
    if request.method() != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "allowed: GET".to_string()));
    }
    // A name of another site that leads here would let that site's pages read the answers.
    if all("host").count() != 1 || all("host").any(|host| !own.iter().any(|own| own == host)) {
        return Err((StatusCode::FORBIDDEN, format!("allowed: http://{}", own[0])));
    }
    if all("origin").any(|origin| !own.iter().any(|host| origin == format!("http://{host}"))) {
        return Err((StatusCode::FORBIDDEN, "another page asks".to_string()));
    }
    let to_the_page = request.uri().path() == "/"
        && all("sec-fetch-mode").count() > 0
        && all("sec-fetch-mode").all(|mode| mode == "navigate");
    if all("sec-fetch-site").any(|site| site != "same-origin" && site != "none" && !to_the_page) {
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

/// Lines of JSON, as the run goes on. A new run ends the one before it.
async fn run(State(shared): State<Arc<Shared>>, Query(given): Given) -> Response {
    let choices = match Choices::of(&given) {
        Ok(choices) => choices,
        Err(message) => return refused(message),
    };
    let Some((run, receiver)) = shared.runs.begin(LONGEST_RUN) else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many runs at a time; try again\n").into_response();
    };
    std::thread::spawn(move || run.work(|run| stream(&choices, run)));
    let lines = ReceiverStream::new(receiver).map(Ok::<String, Infallible>);
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}
