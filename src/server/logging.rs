//! Log lines on standard error, plain or JSON; and panics told without what they were about. Before each line that goes
//! to systemd's journal stands how grave it is, so that `journalctl -p warning` finds what somebody should look at.

use std::fmt;
use std::io::{IsTerminal, stderr};
use std::panic::PanicHookInfo;

use tracing::{Event, Level, Subscriber, error};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{Log, LogFormat};

/// Starts logging. `PILLARBOX_LOG` overrides the level, by module if need be (`info,pillarbox::login=debug`).
pub(super) fn start(log: &Log) {
    let filter = EnvFilter::try_from_env("PILLARBOX_LOG").unwrap_or_else(|_| EnvFilter::new(log.level.word()));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let plain = builder.with_ansi(stderr().is_terminal());
    // Started twice only in a test: the first one stays.
    let _ = match (log.format, is_to_the_journal()) {
        (LogFormat::Plain, false) => plain.try_init(),
        // The journal has its own time for each line.
        (LogFormat::Plain, true) => plain.without_time().map_event_format(Weighed).try_init(),
        (LogFormat::Json, false) => plain.json().flatten_event(true).try_init(),
        (LogFormat::Json, true) => plain.json().flatten_event(true).map_event_format(Weighed).try_init(),
    };
    std::panic::set_hook(Box::new(tell_panic));
}

/// What stands before a last word on standard error that is no line of the log: why the server does not start.
pub fn weight_of_a_failure() -> &'static str {
    if is_to_the_journal() { weight(Level::ERROR) } else { "" }
}

/// systemd.exec(5), JOURNAL_STREAM: device and inode of what it made standard error. Another one, a file or a terminal,
/// would show the weights as they are.
fn is_to_the_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    rustix::fs::fstat(stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// sd-daemon(3): what the journal takes off a line again, and knows the line's priority by.
fn weight(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

/// The same lines with their weight before them.
struct Weighed<F>(F);

impl<S, N, F> FormatEvent<S, N> for Weighed<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, cx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        writer.write_str(weight(*event.metadata().level()))?;
        self.0.format_event(cx, writer, event)
    }
}

/// Where a panic was, and its text only if that is a literal of the program: a composed one may quote mail.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let composed = "(its text may quote what a client sent and is not logged)";
    let text = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or(composed);
    error!(place, "a fault of the program: panic: {text}");
}
