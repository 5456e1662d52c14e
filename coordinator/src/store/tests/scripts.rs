//! The life of jobs, one script per promise.

use super::check;

#[tokio::test]
async fn jobs_go_out_in_the_sweeps_order_and_come_back_once() {
    check(
        "submit s: a b c      => jobs=3 new=3 done=0
         acquire w1 2         => a@1 b@1
         acquire w2 5         => c@1
         acquire w2 5         =>
         complete b@1         => new
         complete b@1         => same
         complete b@1 7       => diverged
         complete b@1 7       => diverged
         status s             => running=2 done=1 diverged=1 left=200
         complete a@1         => new
         complete c@1         => new
         status s             => done=3 diverged=1",
    )
    .await;
}

#[tokio::test]
async fn the_older_sweep_goes_first_and_equal_work_is_done_once() {
    check(
        "submit old: a b      => jobs=2 new=2 done=0
         submit new: c b a d  => jobs=4 new=2 done=0
         acquire w1 3         => a@1 b@1 c@1
         complete a@1         => new
         complete b@1         => new
         status old           => done=2
         status new           => pending=1 running=1 done=2 left=200
         submit third: a e    => jobs=2 new=1 done=1",
    )
    .await;
}

#[tokio::test]
async fn a_submission_may_come_again_longer_or_shorter() {
    check(
        "submit s: a b        => jobs=2 new=2 done=0
         submit s: a b        => jobs=2 new=0 done=0
         acquire w1 1         => a@1
         complete a@1         => new
         submit s: a b c      => jobs=3 new=1 done=1
         submit s: c d        => jobs=2 new=1 done=0
         acquire w1 9         => c@1 d@1
         submit s: b a        => jobs=2 new=0 done=1
         acquire w1 9         => b@1
         complete c@1         => new
         submit s: c          => jobs=1 new=0 done=1",
    )
    .await;
}

#[tokio::test]
async fn a_lease_that_never_reached_its_worker_goes_back_to_the_queue() {
    check(
        "submit s: a b c         => jobs=3 new=3 done=0
         acquire w1 2            => a@1 b@1
         acquire w2 1            => c@1
         recall w1 a@1 b@1       => 0
         recall w1 a@1           => 1
         complete b@1            => error: the lease on job …
         status s                => pending=1 running=2 left=300
         acquire w2 1            => b@2
         recall w1 a@1           => 0
         complete a@1            => new
         complete b@2            => new
         complete c@1            => new",
    )
    .await;
}

#[tokio::test]
async fn a_job_waits_for_its_inputs() {
    check(
        "submit s: p q t<p u<p,q => jobs=4 new=4 done=0
         status s                => blocked=2 pending=2 left=400
         acquire w1 9            => p@1 q@1
         complete p@1            => new
         acquire w1 9            => t@1
         acquire w1 9            =>
         complete q@1            => new
         acquire w1 9            => u@1
         submit s2: p v<p        => jobs=2 new=1 done=1
         acquire w1 9            => v@1",
    )
    .await;
}

#[tokio::test]
async fn a_sweep_whose_inputs_are_not_listed_changes_nothing() {
    check(
        "submit s: t<p           => error: sweep \"s\": job …
         status s                => error: there is no sweep \"s\"…
         submit other: p         => jobs=1 new=1 done=0
         submit s: t<p           => error: sweep \"s\": job …
         status s                => error: there is no sweep \"s\"…
         submit s: p t<p         => jobs=2 new=1 done=0",
    )
    .await;
}

#[tokio::test]
async fn an_input_that_failed_fails_what_needs_it_and_retry_brings_both_back() {
    check(
        "submit s: p t<p u<t x   => jobs=4 new=4 done=0
         acquire w1 1            => p@1
         fail p@1 invalid        => failed
         status s                => pending=1 failed=3 left=100
         failures s              => p invalid it broke
         submit s2: p t<p y<p    => jobs=3 new=1 done=0
         status s2               => failed=3
         retry s                 => 3
         status s                => blocked=2 pending=2 left=400
         acquire w1 1            => p@2
         complete p@2            => new
         retry s2                => 1
         acquire w1 9            => t@1 x@1 y@1",
    )
    .await;
}

#[tokio::test]
async fn each_failure_has_its_budget() {
    check(
        "submit s: a b c         => jobs=3 new=3 done=0
         acquire w1 3            => a@1 b@1 c@1
         fail a@1 bug            => retry
         fail b@1 environment    => retry
         fail c@1 non_finite     => failed
         acquire w1 3            => a@2
         fail a@2 preempted      => retry
         acquire w1 3            => a@3
         fail a@3 bug            => failed
         failures s              => a bug it broke (2 attempts ended so); c non_finite it broke
         wait 1
         acquire w1 3            => b@2
         complete b@2            => new
         fail b@2 bug            => error: the lease on job …
         retry s                 => 2
         acquire w1 3            => a@4 c@2
         fail a@4 bug            => retry",
    )
    .await;
}

#[tokio::test]
async fn a_lease_expires_unless_it_is_renewed() {
    check(
        "submit s: a b           => jobs=2 new=2 done=0
         acquire w1 2            => a@1 b@1
         wait 5
         renew w1 a@1            => continue
         wait 4
         expire                  => b@1
         renew w1 b@1 a@1        => drop continue
         acquire w2 1            => b@2
         complete b@1            => error: the lease on job …
         fail b@1 bug            => error: the lease on job …
         release b@1             => error: the lease on job …
         complete b@2            => new
         complete b@1            => same
         wait 7
         extend 100              => 1
         wait 50
         expire                  =>
         complete a@1            => new",
    )
    .await;
}

#[tokio::test]
async fn a_job_that_loses_every_worker_fails() {
    let mut script = String::from("submit s: a => jobs=1 new=1 done=0\n");
    for attempt in 1..=9 {
        script += &format!("acquire w1 1 => a@{attempt}\nwait 9\nexpire => a@{attempt}\n");
    }
    script += "acquire w1 1 => a@10\nwait 9\nexpire => a@10!\nstatus s => failed=1\n";
    script += "failures s => a lost lost 10 times, so the job may be what kills its worker…\n";
    check(&script).await;
}

#[tokio::test]
async fn a_job_goes_on_from_its_furthest_checkpoint() {
    check(
        "submit s: a             => jobs=1 new=1 done=0
         acquire w1 1            => a@1
         renew w1 a@1+30         => continue
         renew w1 a@1+20         => continue
         status s                => running=1 left=79
         wait 9
         expire                  => a@1
         status s                => pending=1 left=70
         acquire w2 1            => a@2+30
         release a@2 60
         acquire w1 1            => a@3+60/30
         complete a@3            => new
         status s                => done=1",
    )
    .await;
}

#[tokio::test]
async fn the_checkpoint_before_the_last_one_is_kept() {
    check(
        "submit s: a             => jobs=1 new=1 done=0
         acquire w1 1            => a@1
         renew w1 a@1+10         => continue
         renew w1 a@1+20         => continue
         renew w1 a@1+30         => continue
         release a@1
         acquire w1 1            => a@2+30/20
         release a@2 30
         acquire w1 1            => a@3+30/20
         renew w1 a@3+25         => continue
         release a@3
         acquire w1 1            => a@4+25/20
         renew w1 a@4+40         => continue
         renew w1 a@4+35         => continue
         wait 9
         expire                  => a@4
         acquire w1 1            => a@5+40/25
         complete a@5            => new",
    )
    .await;
}

#[tokio::test]
async fn what_is_acknowledged_outlives_the_process() {
    check(
        "submit s: a b c         => jobs=3 new=3 done=0
         acquire w1 2            => a@1 b@1
         complete a@1            => new
         reopen
         status s                => pending=1 running=1 done=1 left=200
         complete a@1            => same
         renew w1 b@1            => continue
         reopen
         complete b@1            => new
         acquire w1 9            => c@1",
    )
    .await;
}

#[tokio::test]
async fn cancel_ends_what_nobody_else_wants() {
    check(
        "submit s: p a<p b       => jobs=3 new=3 done=0
         submit other: b         => jobs=1 new=0 done=0
         acquire w1 1            => p@1
         cancel s                => 2
         cancel s                => 0
         status s                => pending=1 cancelled=2 left=100
         renew w1 p@1            => drop
         complete p@1            => error: the lease on job …
         cancel other            => 1
         retry s                 => 3
         status s                => blocked=1 pending=2 left=300
         cancel s                => 3
         submit s: p a<p         => jobs=2 new=0 done=0
         status s                => blocked=1 pending=1 left=200",
    )
    .await;
}

#[tokio::test]
async fn a_worker_gets_only_what_it_can_run() {
    check(
        "submit s: a             => jobs=1 new=1 done=0
         acquire gpu1 5          =>
         acquire w1 5            => a@1",
    )
    .await;
}
