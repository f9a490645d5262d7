//! The two generations of forges that the gate must serve alike: the recorded Gitea 1.15, and Forgejo 17.
//!
//! A test that asks [`forge`] what to start runs as the first. [`also_as_forgejo_17!`] names tests of a module that run as
//! the other, too, under `forgejo_17::`.

use std::cell::Cell;

use claimgate::fake_forge::Options;

thread_local! {
    /// A test asks on the thread that the harness gave it.
    static NEWEST: Cell<bool> = const { Cell::new(false) };
}

/// The forge of this run of a test.
pub fn forge() -> Options {
    if NEWEST.get() { Options::forgejo_17() } else { Options::default() }
}

/// Runs a test's body before Forgejo 17.
pub fn as_forgejo_17(test: fn()) {
    let _then = Reset;
    NEWEST.set(true);
    test();
}

/// A thread may run another test next, whatever becomes of this one.
struct Reset;

impl Drop for Reset {
    fn drop(&mut self) {
        NEWEST.set(false);
    }
}

/// Runs these tests of the module once more, before Forgejo 17.
macro_rules! also_as_forgejo_17 {
    ($($test:ident),* $(,)?) => {
        mod forgejo_17 {
            $(
                #[test]
                fn $test() {
                    $crate::generations::as_forgejo_17(super::$test);
                }
            )*
        }
    };
}

#[test]
fn a_test_gets_the_forge_that_it_runs_before() {
    assert_eq!(forge().version, "1.15.11");
    as_forgejo_17(|| assert!(forge().version.starts_with("17.")));
    assert_eq!(forge().version, "1.15.11");
}
