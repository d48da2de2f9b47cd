//! What policy repositories of 100, 1,000 and 10,000 services cost, against the targets.
//!
//! `cargo run --release -p weft --example scale` makes the repositories in a scratch directory, runs each command of
//! `weft` in a process of its own, and prints wall and CPU seconds, peak memory, and how they grow. It is a benchmark:
//! it prints figures and targets side by side, and fails only if a command does.
//!
//! * `… --example scale -- generate 1000 DIR` only writes such a repository.
//! * `… --example scale -- hostile` makes repositories that are meant to hurt, and says what each costs.

mod hostile;
mod measure;
mod repository;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use measure::{Cost, git, measured};

/// As `weft` itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 3] = [100, 1_000, 10_000];
const SEED: u64 = 1;

/// A failure ends the benchmark; there is nobody to handle it.
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        [] => compare(),
        ["generate", services, directory] => generate(services, Path::new(directory)),
        ["hostile", only @ ..] => hostile::run(only),
        ["stages", directory] => measure::stages(Path::new(directory)),
        // The processes that are measured are this program again, as `weft`.
        _ => return weft::cli::main(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn generate(services: &str, directory: &Path) -> Outcome {
    write(&repository::files(services.parse()?, SEED), directory)
}

fn write(files: &[(String, String)], directory: &Path) -> Outcome {
    for (path, text) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        fs::write(path, text)?;
    }
    Ok(())
}

/// What the commands cost on one size.
struct Size {
    check: Cost,
    build: Cost,
}

fn compare() -> Outcome {
    let scratch = tempfile::tempdir()?;
    let keys = scratch.path().join("keys");
    let keys = keys.to_str().ok_or("the scratch directory has an odd name")?;
    measured(&["key", "new", "--mesh", "scale", "--out", keys])?;
    println!("{:>8} {:22} {:>8} {:>8} {:>10}", "services", "command", "wall s", "CPU s", "peak MiB");
    let mut sizes = Vec::new();
    for services in SIZES {
        let directory = scratch.path().join(services.to_string());
        write(&repository::files(services, SEED), &directory)?;
        git(&directory, &["init", "--quiet"])?;
        git(&directory, &["add", "."])?;
        git(&directory, &["commit", "--quiet", "--message", "as it was"])?;
        sizes.push(measure_size(services, &directory, keys, scratch.path())?);
    }
    report_growth(&sizes);
    Ok(())
}

fn measure_size(services: usize, directory: &Path, keys: &str, scratch: &Path) -> Outcome<Size> {
    let place = directory.to_str().ok_or("the scratch directory has an odd name")?;
    let line = |name: &str, cost: &Cost, target: &str| {
        let (wall, cpu, peak) = (cost.wall.as_secs_f64(), cost.cpu, cost.peak_mib);
        println!("{services:>8} {name:22} {wall:>8.2} {cpu:>8.2} {peak:>10.0}  {target}");
    };
    let large = services == 10_000;
    let target = |text: &'static str| if large { text } else { "" };
    let check = measured(&["check", place])?;
    line("check", &check, target("target < 5 s, < 1024 MiB"));
    let out = scratch.join(format!("release-{services}"));
    let out = out.to_str().ok_or("the scratch directory has an odd name")?;
    let build = measured(&["build", place, "--out", out, "--key", keys])?;
    line("build", &build, target("target < 10 s"));
    let (path, text) = repository::changed(services - 1, SEED);
    fs::write(directory.join(path), text)?;
    let base = measured(&["check", place, "--base", "HEAD"])?;
    line("check --base HEAD", &base, target("target < 1.5 s"));
    let own = std::env::current_exe()?;
    print!("{}", String::from_utf8_lossy(&Command::new(own).args(["stages", place]).output()?.stdout));
    Ok(Size { check, build })
}

fn report_growth(sizes: &[Size]) {
    let [.., middle, large] = sizes else { return };
    for (name, small, large) in
        [("check", &middle.check, &large.check), ("build", &middle.build, &large.build)]
    {
        let (wall, cpu) = (large.wall.as_secs_f64() / small.wall.as_secs_f64(), large.cpu / small.cpu);
        println!(
            "{name}: ten times the services cost {wall:.1} times the wall and {cpu:.1} times the CPU time (target <= 12)"
        );
    }
}
