//! Where log lines go: standard error, as text for people or JSON for machines.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One readable line.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug)]
pub enum LogError {
    /// The filter does not parse.
    Filter(tracing_subscriber::filter::ParseError),
    /// It was set up before.
    Twice,
}

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Filter(error) => write!(f, "the log filter is not understood: {error}"),
            Self::Twice => f.write_str("logging was set up before"),
        }
    }
}

impl std::error::Error for LogError {}

/// How lines are written, once logging is set up.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// How lines are written.
pub(super) fn format() -> LogFormat {
    FORMAT.get().copied().unwrap_or_default()
}

/// Sends log lines to standard error from now on. The filter is written as `info,access=off,weft_proxy=debug`.
///
/// # Errors
/// The filter does not parse, or logging was set up before.
pub fn start(filter: &str, format: LogFormat) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(filter).map_err(LogError::Filter)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
    set.map_err(|_| LogError::Twice)?;
    FORMAT.set(format).map_err(|_| LogError::Twice)
}
