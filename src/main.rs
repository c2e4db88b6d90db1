//! Starts the command line and returns its exit code.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    pillarbox::cli::run()
}
