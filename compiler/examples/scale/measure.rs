//! Wall and CPU time and peak memory of a process, from what Linux says of it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use weft::source::{Directory, Source};

use crate::Outcome;

/// What a command cost.
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// Seconds of all its threads, in the kernel and out of it.
    pub(crate) cpu: f64,
    pub(crate) peak_mib: f64,
    /// How it ended.
    pub(crate) code: Option<i32>,
    /// The last line that it said.
    pub(crate) said: String,
}

/// Runs this program as `weft` with these arguments, under GNU `time`: only who waits for a process learns its peak.
pub(crate) fn run(arguments: &[&str]) -> Outcome<Cost> {
    let own = std::env::current_exe()?;
    let start = Instant::now();
    let output = Command::new("/usr/bin/time")
        .args(["--quiet", "--format", "%U %S %M"])
        .arg(own)
        .args(arguments)
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start /usr/bin/time, which measures: {error}"))?;
    let wall = start.elapsed();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut lines = said.lines().rev().filter(|line| !line.trim().is_empty());
    let figures: Vec<f64> =
        lines.next().unwrap_or_default().split(' ').filter_map(|figure| figure.parse().ok()).collect();
    let [user, system, kib] = figures.as_slice() else {
        return Err(format!("`time` says nothing of {arguments:?}: {said}").into());
    };
    Ok(Cost {
        wall,
        cpu: user + system,
        peak_mib: kib / 1024.0,
        code: output.status.code(),
        said: lines.next().unwrap_or_default().chars().take(120).collect(),
    })
}

/// The same for a command that must succeed.
pub(crate) fn measured(arguments: &[&str]) -> Outcome<Cost> {
    let cost = run(arguments)?;
    match cost.code {
        Some(0) => Ok(cost),
        code => Err(format!("`weft {}` ended with {code:?}: {}", arguments.join(" "), cost.said).into()),
    }
}

/// Runs `git` in a directory, as nobody in particular.
pub(crate) fn git(directory: &Path, arguments: &[&str]) -> Outcome {
    let identity = ["-c", "user.name=scale", "-c", "user.email=scale@example.invalid", "-c", "gc.auto=0"];
    let status = Command::new("git").arg("-C").arg(directory).args(identity).args(arguments).status()?;
    if status.success() { Ok(()) } else { Err(format!("`git {}` failed", arguments.join(" ")).into()) }
}

/// Runs the steps of the compiler one after the other in this process, and prints what each took.
pub(crate) fn stages(directory: &Path) -> Outcome {
    let mut watch = Watch::start()?;
    let sources = Directory::new(directory).read()?;
    watch.lap("read")?;
    let mut parsed = weft::dialect::parse(&sources);
    watch.lap("parse")?;
    let (mesh, _) = weft::model::resolve::resolve(&sources, &mut parsed);
    watch.lap("resolve")?;
    let found = weft::analysis::analyse(&mesh);
    watch.lap("analyse")?;
    let emitted = weft::emit::emit(&mesh)?;
    watch.lap("lower and emit")?;
    let bytes: usize = emitted.iter().map(|body| body.bytes.len()).sum();
    println!(
        "         {} documents, {} findings, {:.1} MiB of bodies, {:.1} KiB each",
        parsed.documents.len(),
        found.len(),
        bytes as f64 / 1048576.0,
        bytes as f64 / 1024.0 / emitted.len().max(1) as f64
    );
    Ok(())
}

/// Prints the time of one step after the other.
struct Watch {
    wall: Instant,
    cpu: f64,
}

impl Watch {
    fn start() -> Outcome<Self> {
        Ok(Self { wall: Instant::now(), cpu: cpu_seconds()? })
    }

    fn lap(&mut self, step: &str) -> Outcome {
        let (wall, cpu) = (self.wall.elapsed().as_secs_f64(), cpu_seconds()? - self.cpu);
        println!("         - {step:20} {wall:>8.2} {cpu:>8.2} {:>10.0}", peak_mib()?);
        *self = Self::start()?;
        Ok(())
    }
}

/// CPU seconds of this process so far, in hundredths.
fn cpu_seconds() -> Outcome<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // After the name, which is in brackets; user and system time are the fields 14 and 15 of proc(5).
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / 100.0)
}

fn peak_mib() -> Outcome<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = kib.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok());
    Ok(kib.unwrap_or_default() / 1024.0)
}
