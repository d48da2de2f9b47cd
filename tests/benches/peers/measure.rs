//! What processes have used, and where they run.
//!
//! CPU time is that of all threads, from `/proc/PID/task/*/schedstat`, in nanoseconds; a thread that ended takes its time
//! with it, which no contender does while it is measured. Memory is the proportional set size, so pages that processes share
//! count once.

use std::fs;
use std::process::Command;
use std::time::Duration;

use weft_tests::{Context, Result, command};

/// Where contenders run.
const THEIR_CORE: &str = "0";

/// Where load and origin run.
const OUR_CORE: &str = "1";

/// The CPU time, user and system, that these processes have used so far.
pub(crate) fn cpu(processes: &[u32]) -> Result<Duration> {
    let mut nanoseconds: u64 = 0;
    for process in processes {
        let threads = format!("/proc/{process}/task");
        for thread in fs::read_dir(&threads).context(&threads)? {
            let path = thread.context(&threads)?.path().join("schedstat");
            let text = fs::read_to_string(&path).context(path.display())?;
            let used = text.split_whitespace().next().unwrap_or_default();
            nanoseconds += used.parse::<u64>().context(path.display())?;
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The memory of these processes, in KiB.
pub(crate) fn memory(processes: &[u32]) -> Result<u64> {
    let mut total = 0;
    for process in processes {
        let path = format!("/proc/{process}/smaps_rollup");
        let text = fs::read_to_string(&path).context(&path)?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
        total += line.trim().trim_end_matches(" kB").parse::<u64>().context(&path)?;
    }
    Ok(total)
}

/// A process and its children.
pub(crate) fn with_children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    std::iter::once(process).chain(children.split_whitespace().filter_map(|id| id.parse().ok())).collect()
}

/// A command that runs where contenders run.
pub(crate) fn pinned(program: &std::path::Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", THEIR_CORE]).arg(program);
    command
}

/// Moves a running process, with all its threads, to where contenders run.
pub(crate) fn pin(process: u32) -> Result<()> {
    taskset(THEIR_CORE, process)
}

/// Moves this process to where load and origin run. Threads that start later follow.
pub(crate) fn pin_ourselves() -> Result<()> {
    taskset(OUR_CORE, std::process::id())
}

fn taskset(core: &str, process: u32) -> Result<()> {
    let mut taskset = Command::new("taskset");
    taskset.args(["--all-tasks", "--cpu-list", "--pid", core, &process.to_string()]);
    command::run(&mut taskset)?.expect_code(0).map(|_| ())
}
