//! `weft schema`: prints the JSON Schemas of the Weft kinds, as in `schemas/`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::refuse;
use crate::diagnostic::hint;
use crate::schema::{ALL, SchemaFile, schemas};

/// Prints the JSON Schema of a kind of weft.dev/v1alpha1
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  weft schema                    the schema of every kind, for an editor
  weft schema Service            the schema of one kind
  weft schema --out schemas      every schema, a file each

In an editor with the YAML language server, begin a document with
  # yaml-language-server: $schema=schemas/weft.json

Exit status: 0 done, 2 could not do it")]
pub struct Args {
    /// The kind, in any case, such as `Service`; every kind if not given
    kind: Option<String>,
    /// Write every schema into this directory instead
    #[arg(long, value_name = "DIR", conflicts_with = "kind")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let result = match (&args.out, &args.kind) {
        (Some(directory), _) => write_all(directory),
        (None, kind) => find(kind.as_deref().unwrap_or(ALL)).and_then(|schema| print(&schema)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => refuse(message),
    }
}

fn find(kind: &str) -> Result<SchemaFile, String> {
    let schemas = schemas();
    let known: Vec<&str> = schemas.iter().map(|schema| schema.kind).collect();
    match schemas.iter().find(|schema| schema.kind.eq_ignore_ascii_case(kind)) {
        Some(schema) => Ok(schema.clone()),
        None => {
            let hint = Some(hint(kind, known.iter().copied())).filter(|hint| !hint.is_empty());
            let hint = hint.unwrap_or_else(|| format!("; known are {}", known.join(", ")));
            Err(format!("there is no kind `{kind}`{hint}"))
        }
    }
}

/// A reader that has seen enough, such as `head`, is no error.
fn print(schema: &SchemaFile) -> Result<(), String> {
    match std::io::stdout().write_all(schema.text().as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write the schema: {error}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_all(directory: &Path) -> Result<(), String> {
    let failed = |path: &Path, error: std::io::Error| format!("cannot write `{}`: {error}", path.display());
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    for schema in schemas() {
        let path = directory.join(schema.file);
        std::fs::write(&path, schema.text()).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        _args: Args,
    }

    #[test]
    fn the_arguments_fit_together() {
        Alone::command().debug_assert();
    }

    #[test]
    fn a_kind_is_found_in_any_case() {
        assert_eq!(find("service").unwrap().kind, "Service");
        assert_eq!(find(ALL).unwrap().file, "weft.json");
    }

    #[test]
    fn a_near_kind_is_offered() {
        assert_eq!(find("Servce").unwrap_err(), "there is no kind `Servce`; did you mean `Service`?");
        assert!(find("Deployment").unwrap_err().ends_with(
            "known are all, Mesh, Service, ExternalService, AccessPolicy, TrafficPolicy, TokenProvider, Telemetry, \
             PolicyTest"
        ));
    }

    #[test]
    fn every_schema_is_written() {
        let directory = tempfile::tempdir().unwrap();
        write_all(&directory.path().join("new")).unwrap();
        assert_eq!(std::fs::read_dir(directory.path().join("new")).unwrap().count(), schemas().len());
    }
}
