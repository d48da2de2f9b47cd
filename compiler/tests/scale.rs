//! What a service gets does not depend on how large the mesh is.

#[path = "../examples/scale/repository.rs"]
mod repository;

use std::collections::BTreeMap;

use weft::compile;
use weft::emit::emit;
use weft::source::Sources;

fn bodies(services: usize, seed: u64) -> BTreeMap<String, Vec<u8>> {
    let compilation = compile(&Sources::in_memory(repository::files(services, seed)));
    // Retries multiply along its long chains of calls, which is rightly said of it, and no error.
    assert!(!compilation.has_errors(), "{:?}", compilation.diagnostics);
    emit(&compilation.mesh)
        .expect("every body loads")
        .into_iter()
        .map(|body| (body.service, body.bytes))
        .collect()
}

#[test]
fn bundle_size_follows_the_dependencies_not_the_mesh() {
    let (small, large) = (bodies(100, 7), bodies(300, 7));
    assert_eq!((small.len(), large.len()), (100, 300));
    for (service, body) in &small {
        assert!(large.get(service) == Some(body), "{service} has another body in the larger mesh");
    }
}

#[test]
fn a_repository_is_the_same_every_time_and_another_with_another_seed() {
    assert_eq!(repository::files(100, 7), repository::files(100, 7));
    assert_ne!(repository::files(100, 7), repository::files(100, 8));
    let (path, text) = repository::changed(99, 7);
    let files: BTreeMap<_, _> = repository::files(100, 7).into_iter().collect();
    assert!(files.get(&path).is_some_and(|before| *before != text));
}
