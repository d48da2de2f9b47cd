//! Prints what a snapshot test of a policy repository would keep: its findings, then the body of each service.
//!
//! ```sh
//! cargo run -p weft --example snapshot -- policy-examples/bookinfo
//! ```
//!
//! A test in your own repository is the same loop with `insta::assert_snapshot!(part.name, part.text)` in it.

use std::error::Error;
use std::io::Write;

use weft::source::{Directory, Source};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("which directory? give a policy repository as argument")?;
    let sources = Directory::new(directory).read()?;
    let mut out = std::io::stdout().lock();
    for part in weft::snapshot::of(&sources)? {
        writeln!(out, "── {}\n{}", part.name, part.text)?;
    }
    Ok(())
}
