//! The inputs that fuzzing began with and those that it found, replayed without a fuzzer (`tests/fuzz`).

#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn every_target_takes_its_corpus() {
    for (name, run) in targets::ALL {
        let inputs = files(&corpus().join(name));
        assert!(inputs.len() > 2, "{name} has a corpus");
        for input in inputs {
            let data = std::fs::read(&input).unwrap();
            let taken = std::panic::catch_unwind(|| run(&data));
            assert!(taken.is_ok(), "{}", input.display());
        }
    }
}

#[test]
fn every_target_has_a_program_and_every_folder_a_target() {
    let known: BTreeSet<&str> = targets::ALL.iter().map(|(name, _)| *name).collect();
    let folders = files(&corpus());
    let folders: BTreeSet<&str> = folders.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(folders, known);
    let programs = files(&corpus().join("../src/bin"));
    let programs: BTreeSet<&str> = programs.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!(programs, known);
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}
