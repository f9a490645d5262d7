//! Programs in other languages as witnesses: each question with its length before it, an answer a line.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// What the program says to each question.
pub fn answers(command: &mut Command, questions: &[Vec<u8>]) -> Vec<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut framed = Vec::new();
    for question in questions {
        framed.extend_from_slice(&u32::try_from(question.len()).expect("a small question").to_be_bytes());
        framed.extend_from_slice(question);
    }
    // It reads to the end before it answers.
    child.stdin.take().expect("piped").write_all(&framed).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "the witness failed");
    let answers: Vec<String> = String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), questions.len());
    answers
}
