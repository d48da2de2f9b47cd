//! The acts: each tries one promise on the running mesh, and fails if it does not hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use weft_tests::client::{self, Call, Protocol};
use weft_tests::load::{Load, Tally, burst};
use weft_tests::{Context, Failure, Result};

use crate::show::Show;
use crate::stage::Stage;

/// How many requests a share is measured over.
const SAMPLE: u64 = 2000;

/// How far a measured share may be from the configured one, in points: over 2,000 draws, chance alone goes further once
/// in a hundred thousand times.
fn tolerance(percent: f64) -> f64 {
    let share = percent / 100.0;
    (440.0 * (share * (1.0 - share) / SAMPLE as f64).sqrt()).ceil()
}

const REVIEWS: &str = "http://reviews:9080/reviews/7";

/// A version gets the share of requests that the document says.
pub(crate) fn canary(show: &Show, stage: &Stage, title: &str, version: &str, percent: f64) -> Result<()> {
    show.step(title, || {
        let tally = burst(Protocol::Http1, stage.page()?.outbound(), &Call::get(REVIEWS), SAMPLE)?;
        require_no_failure(&tally)?;
        let measured = tally.percent(version);
        if (measured - percent).abs() > tolerance(percent) {
            return Err(Failure::new(format!("{version} got {measured:.1} % instead of {percent} %")));
        }
        Ok(format!("{}, measured over {SAMPLE} requests", shares(&tally)))
    })?;
    Ok(())
}

/// A user is routed by a header, whatever the canary says.
pub(crate) fn routed_by_header(show: &Show, stage: &Stage) -> Result<()> {
    show.step("routed by header", || {
        let call = Call::get(REVIEWS).header("end-user", "jason");
        let tally = burst(Protocol::Http2, stage.page()?.outbound(), &call, 100)?;
        require_no_failure(&tally)?;
        if tally.versions.keys().ne(["v2"]) {
            return Err(Failure::new(format!("jason was answered by {}", shares(&tally))));
        }
        // Version two asked ratings through its own sidecar, or it would not have answered.
        Ok("end-user: jason gets v2, 100 times of 100, each with ratings")
    })?;
    Ok(())
}

/// Access policy refuses, and says which document and line decided.
pub(crate) fn refused(show: &Show, stage: &Stage) -> Result<()> {
    show.step("refused by policy", || {
        let delete = Call::get("http://details:9080/details/7").method("DELETE");
        let detail = refusal(show, stage, &delete, "AccessPolicy bookinfo/details-readers")?;
        let drafts = Call::get("http://reviews:9080/reviews/drafts/1");
        refusal(show, stage, &drafts, "AccessPolicy bookinfo/no-drafts")?;
        Ok(detail)
    })?;
    Ok(())
}

/// The line of text of a refusal, which must name the policy and a line of its document.
fn refusal(show: &Show, stage: &Stage, call: &Call, policy: &str) -> Result<String> {
    let answer = client::call(Protocol::Http1, stage.page()?.outbound(), call)?;
    let said = answer.text().trim().to_owned();
    let line = said.split_once("(access.yaml:").and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
    let (403, true, Some(line)) = (answer.status, said.contains(policy), line) else {
        return Err(Failure::new(format!("expected a refusal by {policy}, got {answer}")));
    };
    let document = stage.mesh.read("access.yaml")?;
    let text = document.lines().nth(usize::saturating_sub(line, 1)).unwrap_or_default().trim();
    show.remark(&format!("access.yaml:{line}: {text}"));
    Ok(format!("{} {said}", answer.status))
}

/// A commit and a build move every proxy to the new release, and no request fails meanwhile.
pub(crate) fn new_release_under_load(show: &Show, stage: &Stage) -> Result<()> {
    show.step("new release under load", || {
        let load = stage.load()?;
        warm_up(&load)?;
        publish_shares(stage, ("90", "10"), ("50", "50"), "Half of reviews from version three")?;
        let sequence = stage.mesh.sequence()?;
        for proxy in stage.proxies() {
            proxy.wait_sequence(sequence)?;
        }
        warm_up(&load)?;
        let tally = stop(load)?;
        require_no_failure(&tally)?;
        Ok(format!(
            "all {} proxies run release {sequence}; {} requests meanwhile, 0 failed",
            stage.proxies().count(),
            tally.sent
        ))
    })?;
    canary(show, stage, "50/50 after the commit", "v3", 50.0)
}

/// Somebody who can write to the release directory changes the page's policy in a new release. The page's proxy refuses
/// it and goes on; put right, it is taken.
pub(crate) fn tampered(show: &Show, stage: &Stage) -> Result<()> {
    show.step("tampered bundle", || {
        let page = stage.page()?;
        let load = stage.load()?;
        warm_up(&load)?;
        let before = page.sequence();
        let staging = stage.mesh.root().join("staging");
        publish_copy(&stage.mesh.release(), &staging)?;
        stage.mesh.edit("routes.yaml", "weight: 50", "weight: 60")?;
        stage.mesh.commit("Change the weights once more")?;
        stage.mesh.weft(&["build", "policy", "--out", "staging", "--key", "keys"])?.expect_code(0)?;
        let body = body_of(&staging, "bookinfo/productpage")?;
        let good = std::fs::read(staging.join(&body)).context(&body)?;
        let evil = String::from_utf8_lossy(&good).replacen("\"weight\":60", "\"weight\":99", 1);
        std::fs::write(staging.join(&body), evil.as_bytes()).context(&body)?;
        show.remark(&format!("one weight changed in {body} of a signed release"));
        let refused = page.rejected("digest");
        publish_copy(&staging, &stage.mesh.release())?;
        page.wait_rejected("digest", refused)?;
        let reason = log_line(&page.log(), "digest");
        show.remark(&format!("productpage's log: {reason}"));
        show.remark(&format!("weft_bundle_rejected_total{{reason=\"digest\"}} {}", page.rejected("digest")));
        warm_up(&load)?;
        if page.sequence() != before {
            return Err(Failure::new("the page's proxy took a release that was tampered with"));
        }
        let newest = stage.mesh.sequence()?;
        std::fs::write(staging.join(&body), &good).context(&body)?;
        publish_copy(&staging, &stage.mesh.release())?;
        page.wait_sequence(newest)?;
        let tally = stop(load)?;
        require_no_failure(&tally)?;
        Ok(format!("refused (digest), put right, then taken; {} requests meanwhile, 0 failed", tally.sent))
    })?;
    Ok(())
}

/// With the release directory gone, a proxy restarts from its own state.
pub(crate) fn without_release_directory(show: &Show, stage: &mut Stage) -> Result<()> {
    let release = stage.mesh.release();
    let away = stage.mesh.root().join("release.away");
    show.step("no release directory", || {
        std::fs::rename(&release, &away).context(release.display())?;
        let before = stage.page()?.sequence();
        stage.restart_page(show)?;
        let after = stage.page()?.sequence();
        if after != before {
            return Err(Failure::new(format!("served {before:?} before the restart and {after:?} after it")));
        }
        let tally = burst(Protocol::Http1, stage.page()?.outbound(), &Call::get(REVIEWS), 200)?;
        require_no_failure(&tally)?;
        Ok(format!("restarted from its state, release {}; 200 requests, 0 failed", after.unwrap_or_default()))
    })?;
    std::fs::rename(&away, &release).context(away.display())
}

fn require_no_failure(tally: &Tally) -> Result<()> {
    match tally.failed() {
        0 => Ok(()),
        _ => Err(Failure::new(tally.to_string())),
    }
}

fn shares(tally: &Tally) -> String {
    let share = |version: &String| format!("{version} {:.1} %", tally.percent(version));
    tally.versions.keys().map(share).collect::<Vec<_>>().join(", ")
}

/// Load has something to say only when it flows.
fn warm_up(load: &[Load; 2]) -> Result<()> {
    load.iter().try_for_each(|load| load.wait_for_more(50))
}

fn stop(load: [Load; 2]) -> Result<Tally> {
    let mut total = Tally::default();
    for load in load {
        total.merge(load.stop()?);
    }
    Ok(total)
}

fn publish_shares(stage: &Stage, from: (&str, &str), to: (&str, &str), message: &str) -> Result<()> {
    stage.mesh.edit("routes.yaml", &format!("weight: {}", from.0), &format!("weight: {}", to.0))?;
    stage.mesh.edit("routes.yaml", &format!("weight: {}", from.1), &format!("weight: {}", to.1))?;
    stage.mesh.commit(message)?;
    stage.mesh.build().map(drop)
}

/// The body of a service in the newest release of a directory, relative to it.
fn body_of(release: &Path, service: &str) -> Result<String> {
    let releases = release.join("releases");
    let entries = std::fs::read_dir(&releases).context(releases.display())?;
    let newest: u64 =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).max().unwrap_or_default();
    let manifest = releases.join(newest.to_string()).join("manifest.jsonl");
    let text = std::fs::read_to_string(&manifest).context(manifest.display())?;
    let leaves = text
        .lines()
        .filter_map(|line| serde_json::from_str::<BTreeMap<String, serde_json::Value>>(line).ok());
    let leaf = leaves.into_iter().find(|leaf| leaf.get("service").and_then(|s| s.as_str()) == Some(service));
    let digest = leaf.and_then(|leaf| Some(leaf.get("sha256")?.as_str()?.to_owned()));
    let digest = digest.ok_or_else(|| Failure::new(format!("{service} is not in {}", manifest.display())))?;
    Ok(format!("blobs/sha256/{digest}"))
}

/// Copies a release directory over another as a publisher writes it: `latest.json` last, each file renamed into place.
fn publish_copy(from: &Path, to: &Path) -> Result<()> {
    let mut files = Vec::new();
    list(from, from, &mut files)?;
    files.sort_by_key(|path| path.ends_with("latest.json"));
    for path in files {
        let target = to.join(&path);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).context(parent.display())?;
        }
        let temporary = target.with_extension("tmp");
        std::fs::copy(from.join(&path), &temporary).context(temporary.display())?;
        std::fs::rename(&temporary, &target).context(target.display())?;
    }
    Ok(())
}

/// The files below a directory, relative to `root`.
fn list(root: &Path, directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(directory).context(directory.display())? {
        let path = entry.context(directory.display())?.path();
        if path.is_dir() {
            list(root, &path, files)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            files.push(relative.to_path_buf());
        }
    }
    Ok(())
}

/// The newest line of a log that holds this word, shortened.
fn log_line(log: &str, word: &str) -> String {
    let line = log.lines().rev().find(|line| line.contains(word)).unwrap_or_default();
    line.chars().take(240).collect()
}
