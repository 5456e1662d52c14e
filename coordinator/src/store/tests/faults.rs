//! Files that are not what they should be, full disks, crashes at any moment.

use super::*;

async fn open_error(file: &std::path::Path) -> String {
    let error = SqliteStore::open(file).await.expect_err("must be refused");
    error.to_string()
}

#[tokio::test]
async fn a_file_that_is_no_store_of_ours_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("text.sqlite");
    std::fs::write(&text, "no database at all, but long enough ".repeat(50)).expect("a file");
    let error = open_error(&text).await;
    assert!(
        error.contains("text.sqlite") && error.contains("not a database"),
        "{error}"
    );

    let error = open_error(&folder.path().join("nowhere/store.sqlite")).await;
    assert!(error.contains("nowhere/store.sqlite"), "{error}");
}

#[tokio::test]
async fn a_store_of_a_newer_program_is_left_alone() {
    let world = World::new().await;
    world.store.plant_newer_migration().await;
    let error = open_error(&world.folder.path().join("store.sqlite")).await;
    assert!(error.contains("made by a newer program"), "{error}");
}

#[tokio::test]
async fn a_result_that_an_older_program_hid_behind_a_new_training_is_there_again() {
    for phase in ["failed", "cancelled"] {
        let mut world = World::new().await;
        for line in ["submit s: a b", "acquire w1 1", "complete a@1"] {
            world.run(line).await.expect(line);
        }
        world.store.plant_ended_redo(phase).await;
        let hidden = world.run("status s").await.expect("status");
        assert_eq!(hidden, format!("pending=1 {phase}=1 left=100"));
        world.reopen().await;
        let status = world.run("status s").await.expect("status");
        assert_eq!(status, "pending=1 done=1 left=100");
        assert_eq!(world.run("complete a@1").await.expect("known"), "same");
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_takes_nothing_with_it() {
    let mut world = World::new().await;
    for line in ["submit s: a", "acquire w1 1"] {
        world.run(line).await.expect(line);
    }
    world.store.limit_pages(Some(0)).await;
    let many = (0..2000).map(|i| job(&format!("m{i}"), &[])).collect();
    let error = world.submit("big", many).await.expect_err("does not fit");
    assert!(matches!(error, StoreError::DiskFull(_)), "{error}");
    let error = world
        .store
        .status("big")
        .await
        .expect_err("nothing was stored");
    assert!(matches!(error, StoreError::UnknownSweep(_)), "{error}");

    world.store.limit_pages(None).await;
    assert_eq!(world.run("complete a@1").await.expect("recorded"), "new");
}

/// A copy of the files is what a crash at that moment would leave.
#[tokio::test]
async fn every_answer_is_in_the_files() {
    let mut world = World::new().await;
    let script = [
        ("submit s: a b", "pending=2 left=200"),
        ("acquire w1 1", "pending=1 running=1 left=200"),
        ("renew w1 a@1+40", "pending=1 running=1 left=159"),
        ("complete a@1", "pending=1 done=1 left=100"),
        ("cancel s", "done=1 cancelled=1"),
        ("retry s", "pending=1 done=1 left=100"),
    ];
    for (line, expect) in script {
        world.run(line).await.expect(line);
        let crashed = tempfile::tempdir().expect("a folder");
        for file in ["store.sqlite", "store.sqlite-wal"] {
            let from = world.folder.path().join(file);
            std::fs::copy(from, crashed.path().join(file)).expect("a copy");
        }
        let file = crashed.path().join("store.sqlite");
        let store = SqliteStore::open(&file).await.expect("recovers");
        let status = store.status("s").await.expect("status");
        assert_eq!(show(&status), expect, "after {line}");
    }
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let mut world = World::new().await;
    world.run("submit s: a").await.expect("submitted");
    world.store.close().await;
    let error = world.run("cancel s").await.expect_err("closed");
    assert!(matches!(error, StoreError::Closed), "{error}");
    let log = world.folder.path().join("store.sqlite-wal");
    assert!(!log.exists(), "the log was not written back");
    world.reopen().await;
    assert_eq!(
        world.run("status s").await.expect("status"),
        "pending=1 left=100"
    );
}
