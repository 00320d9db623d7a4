//! Disks and folders that refuse.

use layerwise::Error;
use layerwise::prelude::*;

use super::{Folder, small};
use crate::support::{state, text};

/// A model of 4 MB.
fn large(seed: u64) -> Sequential {
    Sequential::builder([1000]).add(Linear::new(1000)).seed(seed).build().expect("it fits")
}

fn action_and_path(error: &Error) -> String {
    let source = std::error::Error::source(error).expect("a cause").to_string();
    format!("{error}: {source}")
}

#[test]
fn a_file_that_is_not_there_and_a_folder_that_is_not_are_named() {
    let folder = Folder::new("refuse");
    let (nowhere, missing) = (folder.join("nowhere").join("a"), folder.join("missing"));
    let error = small(1).save(&nowhere).expect_err("no folder");
    assert!(action_and_path(&error).starts_with(&format!("cannot write {}: ", nowhere.display())));
    let mut model = small(1);
    let before = state(&model);
    let error = model.load(&missing).expect_err("no file");
    assert!(action_and_path(&error).starts_with(&format!("cannot read {}: ", missing.display())));
    // A folder is no file.
    assert!(model.load(&folder.0).is_err());
    assert_eq!(state(&model), before);
    assert!(text(model.save("/")).starts_with("cannot write /"));
    let path = folder.join("short");
    std::fs::write(&path, [1, 2]).expect("written");
    let want = format!("{}: needs at least 8 bytes, got 2; the file is cut off", path.display());
    assert_eq!(text(model.load(&path)), want);
}

#[test]
fn saving_replaces_a_file_and_leaves_nothing_else() {
    let folder = Folder::new("replace");
    let path = folder.join("weights.safetensors");
    small(1).save(&path).expect("saved");
    large(2).save(&path).expect("saved");
    small(3).save(&path).expect("saved");
    let mut model = small(4);
    model.load(&path).expect("it fits");
    assert_eq!(state(&model), state(&small(3)));
    assert_eq!(folder.names(), ["weights.safetensors"]);
}

#[cfg(feature = "mmap")]
#[test]
fn a_mapped_file_gives_the_same_bits() {
    let folder = Folder::new("mapped");
    let path = folder.join("weights.safetensors");
    large(1).save(&path).expect("saved");
    let mut model = large(2);
    model
        .load_weights(&layerwise::persist::WeightsFile::map(&path).expect("a good file"))
        .expect("it fits");
    assert_eq!(state(&model), state(&large(1)));
}

/// The other half of the two tests below: saves a model where it is told to, in a process that may not.
#[cfg(unix)]
#[test]
fn saves_where_it_is_told_to() {
    use layerwise::persist::{Checkpoint, CheckpointFolder};
    let Some(path) = std::env::var_os("LAYERWISE_TEST_SAVE").map(std::path::PathBuf::from) else {
        return;
    };
    let (model, optimizer) = (large(2), ModelOptimizer::new(Sgd::new(), 0.1));
    let checkpoint = Checkpoint::of(&model, &optimizer);
    let tried = [model.save(&path), checkpoint.save(&path)].into_iter();
    #[cfg(feature = "serde")]
    let tried = tried.chain([model.save_model(&path)]);
    for result in tried {
        println!("said: {}", action_and_path(&result.expect_err("it may not")));
    }
    let folder = CheckpointFolder::open(path.parent().expect("a folder")).expect("readable");
    assert!(folder.save(&checkpoint).is_err());
    assert_eq!(folder.latest().expect("readable"), None);
}

/// Runs [`saves_where_it_is_told_to`] by way of a shell; returns what it said.
#[cfg(unix)]
fn save_under(limits: &str, path: &std::path::Path, user: Option<u32>) -> String {
    use std::os::unix::process::CommandExt;
    let mut command = std::process::Command::new("sh");
    let test = "persist::disk::saves_where_it_is_told_to";
    command
        .arg("-c")
        .arg(format!("{limits} exec \"$0\" --exact {test} --nocapture --test-threads 1"));
    command.arg(std::env::current_exe().expect("this test")).env("LAYERWISE_TEST_SAVE", path);
    if let Some(user) = user {
        command.uid(user);
    }
    let output = command.output().expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    // Every way of writing says the same.
    let mut said: Vec<&str> =
        text.lines().filter_map(|line| Some(line.split_once("said: ")?.1)).collect();
    assert_eq!(said.len(), 2 + usize::from(cfg!(feature = "serde")), "{text}");
    said.dedup();
    assert_eq!(said.len(), 1, "{text}");
    said[0].into()
}

/// A limit on the size of files stands for the disk: the write fails halfway.
#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_leaves_the_old_file() {
    let folder = Folder::new("full");
    let path = folder.join("weights.safetensors");
    large(1).save(&path).expect("saved");
    // 2000 blocks of 512 bytes (some shells: 1024) are less than the file's 4 MB.
    let said = save_under("trap '' XFSZ; ulimit -f 2000;", &path, None);
    assert!(said.starts_with(&format!("cannot write {}: ", path.display())), "{said}");
    let mut model = large(3);
    model.load(&path).expect("the old file");
    assert_eq!(state(&model), state(&large(1)));
    assert_eq!(folder.names(), ["weights.safetensors"]);
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission_leaves_the_old_file() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let folder = Folder::new("forbidden");
    let path = folder.join("weights.safetensors");
    large(1).save(&path).expect("saved");
    std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o555)).expect("set");
    // The superuser may write everywhere: become nobody, if this is one.
    let root = std::fs::metadata(&folder.0).expect("there").uid() == 0;
    let said = save_under("", &path, root.then_some(65534));
    assert!(said.contains("ermission denied"), "{said}");
    std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o755)).expect("set");
    let mut model = large(3);
    model.load(&path).expect("the old file");
    assert_eq!(state(&model), state(&large(1)));
    assert_eq!(folder.names(), ["weights.safetensors"]);
}
