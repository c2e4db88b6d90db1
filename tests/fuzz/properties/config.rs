//! The configuration file: any text is a configuration or is refused with a place and a sentence.

use pillarbox::config::Config;
use std::path::Path;

pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match super::in_linear_time(text.len(), || Config::parse(Path::new("p.toml"), &text)) {
        Ok(config) => assert!(config.needs_restart_for(&config).is_empty()),
        Err(bad) => {
            let told = bad.to_string();
            assert!(told.starts_with("p.toml") && told.len() > "p.toml: ".len(), "{told:?}");
        }
    }
}
