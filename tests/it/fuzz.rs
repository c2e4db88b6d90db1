//! What tests/fuzz drives for hours, played here in seconds: every stored seed and find through its property, and a
//! bounded number of inputs made of them by chance. The chance has a seed, which is printed: PILLARBOX_SEED chooses
//! another, PILLARBOX_FUZZ_INPUTS how many inputs each target gets.

#[path = "../fuzz/properties/mod.rs"]
mod properties;
#[path = "../fuzz/seeds.rs"]
mod seeds;

use pillarbox::control::Request;
use properties::{Property, TARGETS};
use std::panic::catch_unwind;
use std::path::Path;

/// Inputs made by chance for each target.
const INPUTS: u64 = 5000;
/// Longest input made.
const LONGEST: usize = 4096;

/// The control socket's room needs SQLite and tokio to be built, so libFuzzer does not drive it.
const ONLY_HERE: &[(&str, Property)] = &[("control", question)];

fn targets() -> impl Iterator<Item = (&'static str, Property)> {
    TARGETS.iter().chain(ONLY_HERE).copied()
}

fn tests() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
}

#[test]
fn every_seed_and_find_holds() {
    for (target, property) in targets() {
        for input in seeds::of(target, tests()) {
            holds(target, property, &input);
        }
    }
}

#[test]
fn inputs_made_by_chance_hold() {
    let number = |name: &str, usual: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => usual,
    };
    let (seed, inputs) = (number("PILLARBOX_SEED", 1), number("PILLARBOX_FUZZ_INPUTS", INPUTS));
    println!("PILLARBOX_SEED={seed} PILLARBOX_FUZZ_INPUTS={inputs}");
    // The targets take about the same time; each has its own chance, so that one alone can be played again.
    std::thread::scope(|scope| {
        for (target, property) in targets() {
            scope.spawn(move || {
                let seeds = seeds::of(target, tests());
                let mut chance = Chance(seed ^ target.bytes().fold(7, |sum, b| sum * 31 + u64::from(b)));
                for _ in 0..inputs {
                    holds(target, property, &chance.input(&seeds));
                }
            });
        }
    });
}

#[test]
fn every_target_has_its_program_for_the_fuzzer() {
    let manifest = std::fs::read_to_string(tests().join("fuzz/Cargo.toml")).expect("tests/fuzz/Cargo.toml");
    for (target, _) in TARGETS {
        let program =
            std::fs::read_to_string(tests().join(format!("fuzz/fuzz_targets/{target}.rs"))).unwrap_or_default();
        assert!(program.contains(&format!("properties::{target}::check(")), "fuzz_targets/{target}.rs");
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is not in tests/fuzz/Cargo.toml");
    }
}

/// Plays one input; when the property does not hold, the input is told in the form of tests/fuzz/finds.
fn holds(target: &str, property: Property, input: &[u8]) {
    let input = input.to_vec();
    let shown = input.escape_ascii().to_string();
    if catch_unwind(move || property(&input)).is_err() {
        let shown = shown.get(..20_000).unwrap_or(&shown);
        panic!("{target} does not hold for this input, a line for tests/fuzz/finds/{target}.txt:\n{shown}");
    }
}

/// A line of JSON is a question or is not, and a question is read the same when it is asked again.
fn question(line: &[u8]) {
    let Ok(request) = serde_json::from_slice::<Request>(line) else { return };
    let again = serde_json::to_vec(&request).expect("a question is text");
    assert_eq!(serde_json::from_slice::<Request>(&again).expect("our own"), request);
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// A stretch of an input, perhaps empty.
    fn stretch(&mut self, of: &[u8]) -> std::ops::Range<usize> {
        let from = self.below(of.len() + 1);
        from..from + self.below((of.len() - from).min(64) + 1)
    }

    /// A seed with one to six changes.
    fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(6) {
            let at = self.below(input.len() + 1);
            let here = self.stretch(&input);
            match self.below(7) {
                0 => input.insert(at, self.next() as u8),
                1 => drop(input.drain(here)),
                2 if at < input.len() => input[at] ^= 1 << self.below(8),
                3 if at < input.len() => input[at] = b" ()[]{}<>\"\\/*%$,:;=+-@0\r\n\0\xff"[self.below(27)],
                4 => {
                    let copy = input[here].to_vec();
                    let times = 1 + self.below(8);
                    input.splice(at..at, copy.repeat(times));
                }
                5 => {
                    let other = &seeds[self.below(seeds.len())];
                    let there = self.stretch(other);
                    input.splice(here, other[there].iter().copied());
                }
                _ => input.truncate(at),
            }
        }
        input.truncate(LONGEST);
        input
    }
}
