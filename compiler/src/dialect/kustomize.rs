//! Kustomize's patches, which say how other documents are to be changed and are none themselves.
//!
//! A file is one if a `kustomization.yaml` lists it, under `patches`, `patchesStrategicMerge` or `patchesJson6902`. Kustomize is
//! run before documents come here; of an overlay that was not rendered the base is read as it is, and that the patches are left
//! alone is what `weft check --verbose` says.

use std::collections::BTreeSet;

use crate::source::{FileId, Sources};
use crate::yaml::tree::View;
use crate::yaml::{Document, NodeId};

/// The names that Kustomize looks for, of those that we read.
const NAMES: [&str; 2] = ["kustomization.yaml", "kustomization.yml"];

/// Whether a file of that path says how Kustomize builds its directory.
pub(super) fn is_kustomization(path: &str) -> bool {
    NAMES.contains(&path.rsplit('/').next().unwrap_or_default())
}

/// The files that a kustomization lists as patches, as it writes them. Patches that stand in it are no files.
pub(super) fn patches(document: &Document) -> Vec<String> {
    let root = document.root();
    let items = |key: &str| match document.get(root, key).map(|list| document.view(list)) {
        Some(View::Sequence(items)) => items.to_vec(),
        _ => Vec::new(),
    };
    let text = |node: NodeId| document.text(node);
    let path = |item: NodeId| document.get(item, "path").and_then(text);
    let named = ["patches", "patchesJson6902"].into_iter().flat_map(items).filter_map(path);
    let listed = items("patchesStrategicMerge");
    let listed = listed.into_iter().filter_map(text).filter(|text| !text.contains('\n'));
    named.chain(listed).map(str::to_owned).collect()
}

/// The files that are patches, of those that kustomizations list.
pub(super) fn patched<'p>(
    sources: &Sources,
    listed: impl Iterator<Item = &'p (FileId, Vec<String>)>,
) -> BTreeSet<FileId> {
    let files = listed.flat_map(|(from, paths)| paths.iter().filter_map(|path| sources.beside(*from, path)));
    files.collect()
}
