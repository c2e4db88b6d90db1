//! Named places at which a test may let the process die, to show that nothing acknowledged is lost.
//! `PILLARBOX_CRASH_AT=place.before_commit:3` aborts at the third passage. Release builds have none of it.

/// Dies here if the environment asks for it; does nothing in a release build.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static PLAN: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    let plan = PLAN.get_or_init(|| {
        let text = std::env::var("PILLARBOX_CRASH_AT").ok()?;
        let (name, count) = text.rsplit_once(':')?;
        Some((name.to_string(), AtomicU64::new(count.parse().ok()?)))
    });
    if let Some((at, left)) = plan
        && at == name
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        // abort, not exit: no destructor, no flush, as a cut cable would have it.
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_name: &str) {}
