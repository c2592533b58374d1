//! The command-line program; see `contraflow::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    contraflow::cli::main()
}
