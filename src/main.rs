//! Starts the command line and returns its exit code.

#![forbid(unsafe_code)]

/// SQLite's memory comes from it too, so that what a mailbox needed while it was opened goes back to the machine when its
/// connections are closed. Its settings stand in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    pillarbox::cli::run()
}
