//! Log lines on standard error, plain or JSON; and panics told without what they were about.

use std::io::{IsTerminal, stderr};
use std::panic::PanicHookInfo;

use tracing::error;
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging. `PILLARBOX_LOG` overrides the level, by module if need be (`info,pillarbox::login=debug`).
pub(super) fn start(log: &Log) {
    let filter = EnvFilter::try_from_env("PILLARBOX_LOG").unwrap_or_else(|_| EnvFilter::new(log.level.word()));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    // Started twice only in a test: the first one stays.
    let _ = match log.format {
        LogFormat::Plain => builder.with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    std::panic::set_hook(Box::new(tell_panic));
}

/// Where a panic was, and its text only if that is a literal of the program: a composed one may quote mail.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let composed = "(its text may quote what a client sent and is not logged)";
    let text = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or(composed);
    error!(place, "a fault of the program: panic: {text}");
}
