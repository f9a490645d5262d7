//! The thin binary: arguments in, exit code out.

use std::process::ExitCode;

/// Guarded writes allocate on one thread and free on another, which glibc's allocator does slowly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    claimgate::cli::main()
}
