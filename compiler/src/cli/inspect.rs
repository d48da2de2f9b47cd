//! `weft inspect`: what is in a file of a release, for people. Checks nothing.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use weft_bundle::json;
use weft_bundle::release::Digest;
use weft_bundle::release::envelope::Envelope;
use weft_bundle::release::payload::{Leaf, ServiceFile};

use super::{FINE, refuse};

/// Shows what is in a file of a release; checks nothing
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  weft inspect keys/root.json
  weft inspect release/channels/stable/latest.json
  weft inspect release/releases/1/services/shop/cart.json
  weft inspect release/blobs/sha256/0b7c…

`weft verify` says whether any of it can be believed.")]
pub struct Args {
    /// A root, timestamp, release, service file, denylist, manifest or body
    file: PathBuf,
}

/// Prints the file.
pub fn run(args: &Args) -> ExitCode {
    let shown = fs::read(&args.file).map_err(|error| error.to_string()).and_then(|bytes| show(&bytes));
    match shown {
        Ok(text) => {
            anstream::print!("{text}");
            FINE
        }
        Err(message) => refuse(format_args!("{}: {message}", args.file.display())),
    }
}

/// The file as text, whichever kind it is.
fn show(bytes: &[u8]) -> Result<String, String> {
    let mut out = String::new();
    if let Ok(file) = json::from_slice::<ServiceFile>(bytes) {
        show_service_file(&mut out, &file)?;
    } else if let Ok(envelope) = Envelope::decode(bytes) {
        show_envelope(&mut out, &envelope)?;
    } else if let Some(leaves) = leaves(bytes) {
        let _ = writeln!(out, "manifest   {} services, sha256 {}", leaves.len(), Digest::of(bytes));
        for leaf in &leaves {
            show_leaf(&mut out, leaf);
        }
    } else {
        let _ = writeln!(out, "body       {} bytes, sha256 {}", bytes.len(), Digest::of(bytes));
        out.push_str(&pretty(bytes)?);
    }
    Ok(out)
}

fn show_service_file(out: &mut String, file: &ServiceFile) -> Result<(), String> {
    show_envelope(out, &file.release)?;
    let proof = &file.proof;
    let _ = writeln!(out, "proof      leaf {} of {}, {} nodes", proof.index, proof.size, proof.path.len());
    show_leaf(out, &json::from_slice(&file.leaf.0).map_err(|error| format!("the leaf: {error}"))?);
    if let Some(body) = &file.body {
        let _ = writeln!(out, "body       {} bytes, sha256 {}", body.0.len(), Digest::of(&body.0));
        out.push_str(&pretty(&body.0)?);
    }
    Ok(())
}

fn show_envelope(out: &mut String, envelope: &Envelope) -> Result<(), String> {
    let payload = envelope.unverified_payload();
    let _ = writeln!(out, "payload    {}, sha256 {}", envelope.payload_type(), envelope.payload_digest());
    for id in envelope.key_ids() {
        let _ = writeln!(
            out,
            "signed by  {} (not checked)",
            if id.is_empty() { "a key it does not name" } else { id }
        );
    }
    out.push_str(&pretty(payload)?);
    Ok(())
}

fn show_leaf(out: &mut String, leaf: &Leaf) {
    let Leaf { length, schema, service, sha256 } = leaf;
    let _ = writeln!(out, "leaf       {service}: body of {length} bytes, format {schema}, sha256 {sha256}");
}

fn leaves(bytes: &[u8]) -> Option<Vec<Leaf>> {
    let lines = bytes.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
    lines.map(|line| json::from_slice(line).ok()).collect()
}

/// JSON with line breaks. Also text that breaks our own rules is shown, because that may be what one is looking for.
fn pretty(bytes: &[u8]) -> Result<String, String> {
    let value: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| format!("not a file of a release, nor any other JSON: {error}"))?;
    let text = serde_json::to_string_pretty(&value).map_err(|error| error.to_string())?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::verify::tests::Bench;

    #[test]
    fn every_object_of_a_release_can_be_shown() {
        let bench = Bench::new();
        let show_file = |name: &str| show(&fs::read(bench.release.join(name)).unwrap()).unwrap();
        for (name, expected) in [
            ("root/1.json", "\"threshold\": 1"),
            ("channels/stable/latest.json", "\"stale_after\""),
            ("releases/1/release.json", "\"predicateType\""),
            ("releases/1/services/shop/cart.json", "proof      leaf 1 of 2, 1 nodes"),
            ("releases/1/services/shop/cart.json", "leaf       shop/cart: body of "),
            ("releases/1/manifest.jsonl", "manifest   2 services"),
            (bench.body_name.as_str(), "\"trust_anchors\""),
        ] {
            let text = show_file(name);
            assert!(text.contains(expected), "{name}: {text}");
        }
        assert!(show(b"\xff").is_err());
        assert!(show(b"").is_err());
    }
}
