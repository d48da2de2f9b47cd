//! Choosing between `current` and `previous`, and going back.

use super::super::rollout::{Stage, bucket};
use super::*;

pub(super) fn held() -> Rollout {
    Rollout { hold: true, ..staged(&[("0s", 100)]) }
}

fn staged(stages: &[(&str, u64)]) -> Rollout {
    let stage = |(after, percent): &(&str, u64)| Stage { after: after.parse().unwrap(), percent: *percent };
    Rollout {
        id: "r".into(),
        start: NOW,
        salt: "r".into(),
        hold: false,
        abort: false,
        stages: stages.iter().map(stage).collect(),
    }
}

fn set(rollout: Rollout) -> impl FnOnce(&mut Timestamp) {
    |timestamp| timestamp.rollout = Some(rollout)
}

#[test]
fn nobody_moves_before_their_turn_and_everyone_at_it() {
    let mut bench = Bench::running();
    let rollout = staged(&[("10m", 1), ("1h", 100)]);
    let eligible = rollout.eligible_at(bucket("r", &cart(), "cart-1", false)).unwrap();
    assert_eq!(eligible, NOW.plus(HOUR));
    bench.publish_with(2, set(rollout));
    assert!(bench.unchanged().rollout.is_some());
    // The tag is stored meanwhile; what comes later comes from the clock alone.
    bench.now = UtcTime::from_unix(eligible.unix() - 1);
    bench.unchanged();
    bench.now = eligible;
    assert_eq!(bench.adopt().sequence, 2);
    // And nobody moves back when the stages change under them.
    bench.renew(set(staged(&[("9h", 1)])));
    bench.unchanged();
    bench.renew(set(held()));
    bench.unchanged();
}

#[test]
fn canaries_go_first() {
    let mut bench = Bench::with(root(), Config { canary: true, ..config() });
    bench.publish(1);
    bench.publish_with(2, set(staged(&[("0s", 1), ("1h", 100)])));
    assert_eq!(bench.adopt().sequence, 2);
}

#[test]
fn a_new_instance_begins_where_the_others_are() {
    for rollout in [staged(&[("1h", 100)]), held(), Rollout { abort: true, ..held() }] {
        let mut bench = Bench::new();
        let first = bench.publish(1);
        bench.publish_with(2, set(rollout));
        assert_eq!(bench.candidate().pin, first);
    }
    // Of the very first release there is no "before": one must begin, unless it is called back.
    let mut bench = Bench::new();
    bench.publish_with(1, set(staged(&[("1h", 100)])));
    assert_eq!(bench.candidate().pin.sequence, 1);
    bench.renew(set(Rollout { abort: true, ..held() }));
    assert_eq!(bench.reason(), "not-eligible");
}

#[test]
fn hold_freezes_and_abort_sends_back() {
    let mut bench = Bench::running();
    bench.publish_with(2, set(held()));
    bench.unchanged();
    bench.renew(set(staged(&[("0s", 100)])));
    let second = bench.adopt();
    bench.renew(set(Rollout { abort: true, ..held() }));
    assert_eq!(bench.adopt().sequence, 1);
    let standing = bench.unchanged();
    // `seen` is not `active`: going back never lowers it.
    assert_eq!((standing.seen, standing.active.map(|pin| pin.sequence)), (Some(second), Some(1)));
    bench.put_timestamp(Timestamp { version: 99, ..bench.next_timestamp(standing.active.unwrap()) });
    assert_eq!(bench.reason(), "rollback");
}

#[test]
fn a_rejected_release_waits_for_the_next() {
    let mut bench = Bench::running();
    let second = bench.publish(2);
    bench.candidate().reject(&bench.state).unwrap();
    assert_eq!(bench.resume().unwrap().pin.sequence, 1);
    bench.unchanged();
    bench.renew(|_| {});
    assert_eq!(bench.unchanged().rejected, [second]);
    // Also as what one would go back to.
    bench.publish_with(3, set(Rollout { abort: true, ..held() }));
    bench.unchanged();
    bench.renew(|timestamp| timestamp.rollout = None);
    assert_eq!(bench.adopt().sequence, 3);
    bench.publish(4);
    bench.adopt();
    assert!(bench.standing().rejected.is_empty());
}

#[test]
fn leaving_a_release_that_was_found_bad_is_for_good() {
    let mut bench = Bench::running();
    let second = bench.publish(2);
    bench.adopt();
    bench.updater.reject(&bench.state, second).unwrap();
    let installed = bench.resume().unwrap();
    assert_eq!(installed.pin.sequence, 1);
    bench.running = Some(installed.pin.sha256);
    let standing = bench.unchanged();
    assert_eq!((standing.seen, standing.rejected.as_slice()), (Some(second), [second].as_slice()));
    // The one before fails, too: nothing is left, and it says so.
    bench.updater.reject(&bench.state, installed.pin).unwrap();
    assert_eq!(bench.resume().unwrap_err().reason(), "no-bundle");
    bench.running = None;
    assert_eq!(bench.reason(), "rejected");
    bench.publish(3);
    assert_eq!(bench.adopt().sequence, 3);
}

#[test]
fn without_anything_to_run_the_release_before_is_better_than_none() {
    let mut bench = Bench::new();
    bench.publish(1);
    bench.publish(2);
    bench.candidate().reject(&bench.state).unwrap();
    assert_eq!(bench.adopt().sequence, 1);
}

#[test]
fn stages_that_make_no_sense_are_refused_when_signed_and_when_read() {
    let mut bench = Bench::running();
    let pin = bench.put_release(2, "x").pin;
    let bad = Timestamp { rollout: Some(staged(&[("1h", 10), ("0s", 100)])), ..bench.next_timestamp(pin) };
    assert!(sign_timestamp(&bad, &[&key(3)]).is_err());
    let payload = json::to_canonical(&bad).unwrap();
    let signed = Envelope::sign(envelope::PayloadType::Timestamp, payload, &[&key(3)]).unwrap();
    put(&bench.store, &ObjectName::latest(&Channel::stable()), &signed.encode());
    assert_eq!(bench.reason(), "bad-payload");
    bench.publish(2);
    bench.adopt();
}

#[test]
fn who_missed_the_release_before_a_rejected_one_takes_that() {
    let mut bench = Bench::running();
    bench.publish(2);
    let third = bench.publish(3);
    bench.candidate().reject(&bench.state).unwrap();
    assert_eq!(bench.adopt().sequence, 2);
    // Not settled: there is something newer that does not run.
    assert_eq!(bench.unchanged().rejected, [third]);
    let record = bench.state.files.borrow()["record.json"].clone();
    assert!(!String::from_utf8(record).unwrap().contains("etag"));
}
