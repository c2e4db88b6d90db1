//! All numbers of the server in Prometheus' text format (version 0.0.4): counters that only grow, gauges that go up and
//! down, and histograms of times in seconds.

use std::fmt::Write;
use std::time::Instant;

use crate::imap::Host;
use crate::metrics::{CLASSES_MICROS, COMMANDS, COMMITS, HistogramReading, METRICS};

/// The whole page.
pub(super) fn page(host: &Host, started: Instant) -> String {
    let mut page = Page::default();
    for counter in METRICS.list() {
        page.family(&format!("{}_total", counter.name), "counter", counter.meaning);
        page.line("", counter.count);
    }
    let (store, sessions) = (&host.store, &host.sessions);
    let gauges = [
        ("uptime_seconds", "Since the start.", started.elapsed().as_secs()),
        ("sessions", "Sessions just now, of IMAP and LMTP.", sessions.count() as u64),
        ("sessions_signed_in", "Of these, the ones that somebody logged in to.", sessions.count_signed_in() as u64),
        ("accounts_open", "Accounts whose store is open.", store.accounts_open() as u64),
        ("database_connections", "SQLite connections open.", store.open_connections() as u64),
        ("snapshot_bytes", "Memory for open mailboxes.", u64::try_from(store.snapshot_bytes()).unwrap_or(0)),
        ("disk_free_bytes", "Free on the disk of the mail store.", store.free_bytes()),
        ("disk_is_low", "1: no new mail is taken for want of disk.", store.is_disk_low().into()),
    ];
    for (name, meaning, value) in gauges {
        page.family(name, "gauge", meaning);
        page.line("", value);
    }
    page.family("build_info", "gauge", "1, with the version.");
    page.line(concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1);
    page.family("command_seconds", "histogram", "IMAP commands by their word; IDLE counts with no time.");
    for (command, reading) in COMMANDS.read() {
        page.histogram(&format!("command=\"{command}\""), &reading);
    }
    page.family("store_commit_seconds", "histogram", "Commits of the mail store, each with its sync.");
    page.histogram("", &COMMITS.read());
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
    family: String,
}

// Writing into a String cannot fail, so what `write!` says is let go.
impl Page {
    fn family(&mut self, name: &str, kind: &str, meaning: &str) {
        self.family = format!("pillarbox_{name}");
        let family = &self.family;
        let _ = write!(self.text, "# HELP {family} {meaning}\n# TYPE {family} {kind}\n");
    }

    /// `labels`: with their braces, or nothing.
    fn line(&mut self, labels: &str, value: u64) {
        let _ = writeln!(self.text, "{}{labels} {value}", self.family);
    }

    /// `labels`: without braces.
    fn histogram(&mut self, labels: &str, reading: &HistogramReading) {
        let family = &self.family;
        let comma = if labels.is_empty() { "" } else { "," };
        let mut so_far = 0;
        for (at, count) in reading.classes.iter().enumerate() {
            so_far += count;
            let bound = CLASSES_MICROS.get(at).map_or("+Inf".to_owned(), |micros| seconds(*micros));
            let _ = writeln!(self.text, "{family}_bucket{{{labels}{comma}le=\"{bound}\"}} {so_far}");
        }
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(self.text, "{family}_sum{braced} {}", seconds(reading.micros));
        let _ = writeln!(self.text, "{family}_count{braced} {so_far}");
    }
}

fn seconds(micros: u64) -> String {
    (micros as f64 / 1e6).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_adds_up_to_its_count() {
        let mut page = Page::default();
        page.family("x_seconds", "histogram", "X.");
        page.histogram(
            "command=\"FETCH\"",
            &HistogramReading { classes: [2, 0, 0, 0, 1, 0, 0, 0, 4], micros: 1_500_000 },
        );
        let lines: Vec<&str> = page.text.lines().collect();
        assert_eq!(
            lines[..3],
            [
                "# HELP pillarbox_x_seconds X.",
                "# TYPE pillarbox_x_seconds histogram",
                "pillarbox_x_seconds_bucket{command=\"FETCH\",le=\"0.0005\"} 2",
            ]
        );
        assert_eq!(lines[6], "pillarbox_x_seconds_bucket{command=\"FETCH\",le=\"0.25\"} 3");
        assert_eq!(
            lines[10..],
            [
                "pillarbox_x_seconds_bucket{command=\"FETCH\",le=\"+Inf\"} 7",
                "pillarbox_x_seconds_sum{command=\"FETCH\"} 1.5",
                "pillarbox_x_seconds_count{command=\"FETCH\"} 7",
            ]
        );
    }
}
