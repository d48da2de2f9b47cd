//! `weft init`: a policy repository that checks, builds and tests at once.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use weft_bundle::release::{MeshName, UtcTime};

use super::{FINE, ca, key, refuse, say};

/// Makes a policy repository that checks, builds and tests at once
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  weft init shop               a new directory `shop`
  weft init --mesh prod .      in this directory, for the mesh `prod`

Nothing that is already there is overwritten.")]
pub struct Args {
    /// Where to make it
    #[arg(default_value = ".")]
    directory: PathBuf,
    /// The name of the mesh; the directory's name if not given
    #[arg(long, value_name = "NAME")]
    mesh: Option<MeshName>,
}

/// The files, and what is in them; `@mesh@` stands for the mesh's name.
const FILES: [(&str, &str); 8] = [
    ("mesh.yaml", include_str!("init/mesh.yaml")),
    ("services.yaml", include_str!("init/services.yaml")),
    ("routes.yaml", include_str!("init/routes.yaml")),
    ("access.yaml", include_str!("init/access.yaml")),
    ("tests.yaml", include_str!("init/tests.yaml")),
    ("README.md", include_str!("init/README.md")),
    (".gitignore", include_str!("init/gitignore")),
    (".github/workflows/weft.yml", include_str!("init/weft.yml")),
];

/// Makes the files and keys, and says what to do next.
pub fn run(args: &Args) -> ExitCode {
    let mesh = match mesh_name(args) {
        Ok(mesh) => mesh,
        Err(message) => {
            return refuse(message);
        }
    };
    match make(&args.directory, &mesh) {
        Ok(()) => {
            let place = args.directory.display();
            say(format_args!("made a policy repository for the mesh `{mesh}` in {place}"));
            say(format_args!(
                "\nnext:\n  cd {place}\n  weft check\n  weft test\n  weft trace --from web 'GET http://api:8080/v1/items'"
            ));
            say(format_args!(
                "\nkeys/ holds private keys and is not for Git; README.md says what else there is"
            ));
            FINE
        }
        Err(message) => refuse(message),
    }
}

/// The name given, or the directory's own if it is fit for one.
fn mesh_name(args: &Args) -> Result<MeshName, String> {
    if let Some(name) = &args.mesh {
        return Ok(name.clone());
    }
    let absolute = std::path::absolute(&args.directory).map_err(|error| error.to_string())?;
    let own = absolute.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    own.parse().map_err(|_| format!("`{own}` cannot name a mesh: give a name with `--mesh`"))
}

fn make(directory: &Path, mesh: &MeshName) -> Result<(), String> {
    let taken = FILES
        .iter()
        .map(|(name, _)| *name)
        .chain(["keys", "ca/root.pem"])
        .find(|name| directory.join(name).exists());
    if let Some(taken) = taken {
        return Err(format!("`{}` is already there; nothing was made", directory.join(taken).display()));
    }
    let failed =
        |name: &str, error: &io::Error| format!("cannot write `{}`: {error}", directory.join(name).display());
    for (name, text) in FILES {
        write_new(&directory.join(name), &text.replace("@mesh@", mesh.as_str()))
            .map_err(|error| failed(name, &error))?;
    }
    let keys = directory.join("keys");
    let expires = UtcTime::from(SystemTime::now()).plus(key::LIFE);
    key::new(mesh, &keys, expires).map_err(|error| error.to_string())?;
    ca::make(&keys.join("ca"), &format!("{mesh}.example"))?;
    let root =
        fs::read_to_string(keys.join("ca/root.pem")).map_err(|error| failed("keys/ca/root.pem", &error))?;
    write_new(&directory.join("ca/root.pem"), &root).map_err(|error| failed("ca/root.pem", &error))
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::File::create_new(path)?.write_all(text.as_bytes())
}
