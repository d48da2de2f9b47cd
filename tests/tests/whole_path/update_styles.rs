//! The five ways in which a source directory changes under a proxy (BUNDLE, section 4).

use std::fs;
use std::path::Path;

use crate::forge::{self, LATEST};
use crate::small::{Small, require_mark, wait_mark};

#[test]
fn rename_over() {
    let small = Small::new();
    let proxy = small.start();
    // As `weft build` publishes: each file under a temporary name, renamed into place, `latest.json` last.
    for mark in ["two", "three", "four"] {
        small.publish(mark);
        wait_mark(&proxy, mark);
    }
}

/// What kubelet does: a new directory, a new link beside the old, a rename over it, the old directory gone.
#[test]
fn config_map_swap_three_times_in_a_row() {
    let small = Small::new();
    let volume = small.mesh.root().join("volume");
    fs::create_dir(&volume).unwrap();
    let swap = |generation: usize| {
        let fresh = volume.join(format!("..2026_{generation}"));
        fs::create_dir(&fresh).unwrap();
        // A ConfigMap is flat, so it holds the packed layout: one service, its body inside.
        forge::pack(&small.mesh, "default/web", &fresh);
        std::os::unix::fs::symlink(fresh.file_name().unwrap(), volume.join("..data_tmp")).unwrap();
        let old = fs::read_link(volume.join("..data")).ok();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
        if let Some(old) = old {
            fs::remove_dir_all(volume.join(old)).unwrap();
        }
    };
    swap(1);
    for name in ["root.json", "latest.json", "service.json"] {
        std::os::unix::fs::symlink(Path::new("..data").join(name), volume.join(name)).unwrap();
    }
    let mut setup = small.setup();
    setup.source.clone_from(&volume);
    let proxy = setup.start().unwrap();
    require_mark(&proxy, "one");
    for (generation, mark) in [(2, "two"), (3, "three"), (4, "four")] {
        small.publish(mark);
        swap(generation);
        wait_mark(&proxy, mark);
    }
}

#[test]
fn in_place_write() {
    let small = Small::new();
    let proxy = small.start();
    for mark in ["two", "three"] {
        let aside = format!("aside-{mark}");
        small.publish_aside(mark, &aside);
        forge::copy_all_but_latest(&small.mesh.root().join(&aside), &small.mesh.release());
        let bytes = fs::read(small.mesh.root().join(&aside).join(LATEST)).unwrap();
        // The same file, truncated and written: a reader may see it empty or half, and must come back for the rest.
        fs::write(small.mesh.release().join(LATEST), bytes).unwrap();
        wait_mark(&proxy, mark);
    }
}

#[test]
fn delete_and_create() {
    let small = Small::new();
    let proxy = small.start();
    for mark in ["two", "three"] {
        let aside = format!("aside-{mark}");
        small.publish_aside(mark, &aside);
        forge::copy_all_but_latest(&small.mesh.root().join(&aside), &small.mesh.release());
        let missing = proxy.rejected("missing");
        fs::remove_file(small.mesh.release().join(LATEST)).unwrap();
        // It has seen that there is nothing, and serves on.
        proxy.wait_rejected("missing", missing).unwrap();
        require_mark(&proxy, if mark == "two" { "one" } else { "two" });
        fs::copy(small.mesh.root().join(&aside).join(LATEST), small.mesh.release().join(LATEST)).unwrap();
        wait_mark(&proxy, mark);
    }
}

#[test]
fn whole_directory_replaced() {
    let small = Small::new();
    let proxy = small.start();
    for mark in ["two", "three"] {
        small.publish_aside(mark, "fresh");
        fs::rename(small.mesh.release(), small.mesh.root().join(format!("before-{mark}"))).unwrap();
        fs::rename(small.mesh.root().join("fresh"), small.mesh.release()).unwrap();
        wait_mark(&proxy, mark);
    }
}
