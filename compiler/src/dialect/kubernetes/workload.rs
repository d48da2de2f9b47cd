//! What runs behind a Service: the labels, the account and the ports of its pods.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use crate::yaml::Spanned;

/// The group of Deployments, StatefulSets, DaemonSets and ReplicaSets.
pub const APPS_GROUP: &str = "apps";

/// The group of Jobs and CronJobs.
pub const BATCH_GROUP: &str = "batch";

/// The kinds that make pods from a template, with the way to it.
pub const KINDS: [(&str, &[&str]); 6] = [
    ("Deployment", &["spec", "template"]),
    ("StatefulSet", &["spec", "template"]),
    ("DaemonSet", &["spec", "template"]),
    ("ReplicaSet", &["spec", "template"]),
    ("Job", &["spec", "template"]),
    ("CronJob", &["spec", "jobTemplate", "spec", "template"]),
];

/// The `spec` of one of [`KINDS`]: pods made from one template.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// What each pod is made from.
    pub template: PodTemplate,
    /// Whether it has come to its end, so that there are no pods of it.
    #[serde(skip)]
    pub is_over: bool,
}

/// `apps/v1 ReplicaSet`, its `spec`.
#[derive(Clone, Debug, Deserialize)]
pub struct ReplicaSet {
    template: PodTemplate,
    replicas: Option<u32>,
}

impl From<ReplicaSet> for Workload {
    /// One without replicas is what a Deployment keeps of a former version.
    fn from(ReplicaSet { template, replicas }: ReplicaSet) -> Self {
        Self { template, is_over: replicas == Some(0) }
    }
}

/// `batch/v1 CronJob`, its `spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CronJob {
    job_template: JobTemplate,
}

/// `JobTemplateSpec`.
#[derive(Clone, Debug, Deserialize)]
struct JobTemplate {
    spec: Workload,
}

impl From<CronJob> for Workload {
    fn from(spec: CronJob) -> Self {
        spec.job_template.spec
    }
}

/// `batch/v1 Job`, its `spec` and `status`.
#[derive(Clone, Debug, Deserialize)]
pub struct Job {
    spec: Workload,
    #[serde(default)]
    status: JobStatus,
}

/// `JobStatus`.
#[derive(Clone, Debug, Default, Deserialize)]
struct JobStatus {
    #[serde(default)]
    conditions: Vec<PodCondition>,
}

impl From<Job> for Workload {
    fn from(Job { spec, status }: Job) -> Self {
        let ends = |condition: &PodCondition| {
            matches!(condition.kind.as_str(), "Complete" | "Failed") && condition.status == "True"
        };
        let is_over = status.conditions.iter().any(ends);
        Self { is_over, ..spec }
    }
}

/// `PodTemplateSpec`.
#[derive(Clone, Debug, Deserialize)]
pub struct PodTemplate {
    /// Of which only the labels are needed.
    #[serde(default)]
    pub metadata: TemplateMetadata,
    /// The pod.
    pub spec: PodSpec,
}

/// The `metadata` of a template, which has no name.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TemplateMetadata {
    /// The labels of its pods.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// `v1 Pod`, its `spec` and `status`.
#[derive(Clone, Debug, Deserialize)]
pub struct Pod {
    /// What it runs.
    pub spec: PodSpec,
    /// What the cluster says of it; nothing for one that is only wanted.
    #[serde(default)]
    pub status: PodStatus,
}

/// `PodSpec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// The account it runs as; [`DEFAULT_ACCOUNT`] if not set.
    pub service_account_name: Option<Spanned<String>>,
    /// The old name of [`Self::service_account_name`].
    pub service_account: Option<Spanned<String>>,
    /// What runs beside each other.
    #[serde(default)]
    pub containers: Vec<Container>,
    /// What runs before them, and beside them if it is always restarted.
    #[serde(default)]
    pub init_containers: Vec<Container>,
}

/// The account of pods that name none. Every namespace has it.
pub const DEFAULT_ACCOUNT: &str = "default";

impl PodSpec {
    /// The account that is written, if one is.
    pub fn account(&self) -> Option<&Spanned<String>> {
        let written = self.service_account_name.as_ref().or(self.service_account.as_ref());
        written.filter(|account| !account.is_empty())
    }

    /// The ports that its containers declare.
    pub fn ports(&self) -> impl Iterator<Item = &Spanned<ContainerPort>> {
        let beside = self.init_containers.iter().filter(|container| container.is_restarted());
        self.containers.iter().chain(beside).flat_map(|container| &container.ports)
    }
}

/// `Container`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// The ports that it says it listens on.
    #[serde(default)]
    pub ports: Vec<Spanned<ContainerPort>>,
    /// `Always` for an init container that runs beside the others.
    pub restart_policy: Option<String>,
}

impl Container {
    fn is_restarted(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

/// `ContainerPort`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    /// The name that Services may use.
    pub name: Option<Spanned<String>>,
    /// The number.
    pub container_port: Spanned<u16>,
    /// `TCP` (if not set), `UDP` or `SCTP`.
    pub protocol: Option<Spanned<String>>,
}

impl ContainerPort {
    /// Whether it is for connections, datagrams or what else a protocol's name says.
    pub fn speaks(&self, protocol: &str) -> bool {
        self.protocol.as_deref().map_or("TCP", String::as_str) == protocol
    }
}

/// `PodStatus`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Its address; none before it has one.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    /// `Running` for one that may be called.
    pub phase: Option<String>,
    /// Of which `Ready` counts.
    #[serde(default)]
    pub conditions: Vec<PodCondition>,
}

/// `PodCondition` and `JobCondition`.
#[derive(Clone, Debug, Deserialize)]
pub struct PodCondition {
    /// Which condition.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
}

impl PodStatus {
    /// Whether nothing of the pod runs any more, nor will.
    pub fn is_over(&self) -> bool {
        self.phase.as_deref().is_some_and(|phase| matches!(phase, "Succeeded" | "Failed"))
    }

    /// The address of a pod that runs and is ready. One that says nothing of its phase or readiness is taken to be.
    pub fn address(&self) -> Option<IpAddr> {
        let runs = self.phase.as_deref().is_none_or(|phase| phase == "Running");
        let waits = |condition: &PodCondition| condition.kind == "Ready" && condition.status != "True";
        let ready = !self.conditions.iter().any(waits);
        self.pod_ip.as_deref().filter(|_| runs && ready)?.parse().ok()
    }
}
