//! What a check did not look at, for whoever asks with `--verbose`: documents of other programs and patches of Kustomize, by
//! kind, and hidden files.

use std::collections::{BTreeMap, BTreeSet};

use super::remark;
use crate::Skipped;
use crate::diagnostic::human::harmless;
use crate::source::Sources;

/// Prints it to standard error, as notes.
pub(super) fn tell(sources: &Sources, skipped: &[Skipped]) {
    for line in lines(sources, skipped) {
        remark(line);
    }
}

/// One line for each kind, then one for what is hidden.
fn lines(sources: &Sources, skipped: &[Skipped]) -> Vec<String> {
    let mut by_kind: BTreeMap<(bool, &str), (usize, BTreeSet<&str>)> = BTreeMap::new();
    for document in skipped {
        let kind = document.kind.as_deref().unwrap_or("without `apiVersion` and `kind`");
        let (count, files) = by_kind.entry((document.is_patch, kind)).or_default();
        *count += 1;
        files.insert(sources.path(document.file));
    }
    let listed = |names: Vec<&str>| {
        names.iter().map(|name| format!("`{}`", harmless(name))).collect::<Vec<_>>().join(", ")
    };
    let mut lines: Vec<String> = Vec::new();
    for ((is_patch, kind), (count, files)) in by_kind {
        let documents = match (is_patch, count) {
            (true, 1) => "patch of Kustomize,",
            (true, _) => "patches of Kustomize,",
            (false, 1) => "document",
            (false, _) => "documents",
        };
        let files = listed(files.into_iter().collect());
        lines.push(format!("left alone: {count} {documents} {}, in {files}", harmless(kind)));
    }
    if !sources.hidden.is_empty() {
        let hidden = listed(sources.hidden.iter().map(String::as_str).collect());
        lines.push(format!("left alone: what is hidden, {hidden}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_could_say_what_was_skipped() {
        let scratch = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = scratch.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let chart = "apiVersion: helm.example/v2\nkind: Release\nmetadata: { name: a }\n";
        write("a.yaml", &format!("{chart}---\n{chart}"));
        write("b/values.YML", "replicas: 1\n");
        write("c.YAML", chart);
        write(
            "d/kustomization.yaml",
            "resources: [ ../base ]\npatches: [ { path: web.yaml }, { patch: '- op: remove' } ]\n",
        );
        write(
            "d/web.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: a }\nspec: { template: { spec: {} } }\n",
        );
        write(".hidden.yaml", chart);
        write(".github/workflows/ci.yaml", chart);
        let sources = crate::source::Source::read(&crate::source::Directory::new(scratch.path())).unwrap();
        let compilation = crate::compile(&sources);
        assert_eq!(compilation.summary.skipped, 6);
        assert_eq!(
            lines(&sources, &compilation.skipped),
            [
                "left alone: 3 documents helm.example/v2 Release, in `a.yaml`, `c.YAML`",
                "left alone: 2 documents without `apiVersion` and `kind`, in `b/values.YML`, `d/kustomization.yaml`",
                "left alone: 1 patch of Kustomize, apps/v1 Deployment, in `d/web.yaml`",
                "left alone: what is hidden, `.github/`, `.hidden.yaml`",
            ]
        );
    }
}
