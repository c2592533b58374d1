//! `contraflow explore`: runs that are tried out live in a browser.

#[cfg(feature = "explore")]
pub(super) fn explore() -> u8 {
    let announce = |address| {
        super::print_line(&format!("http://{address}/"));
        eprintln!("for a browser on this machine; Ctrl-C ends it");
    };
    match crate::explore::serve(super::interrupted, &announce) {
        Ok(()) => super::DONE,
        Err(error) => {
            eprintln!("error: nothing can be served on 127.0.0.1: {error}");
            super::FAILED
        }
    }
}

#[cfg(not(feature = "explore"))]
pub(super) fn explore() -> u8 {
    super::refuse(
        &"error: this build has no `explore`; build it with the feature: cargo run --release --features explore -- explore",
    )
}
