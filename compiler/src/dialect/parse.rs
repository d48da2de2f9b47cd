//! From sources to documents: dispatch by `apiVersion` and `kind`, then each kind's own struct, then its own checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use serde::Deserialize;

use super::check::Checker;
use super::kinds::{Entry, GROUPS, KINDS, NEIGHBOURS, reason};
use super::{
    Kind, Metadata, Parsed, ParsedDocument, Skipped, UNKNOWN_KIND, broken, kubernetes, kustomize, object_name,
};
use crate::diagnostic::{self, Diagnostic, Severity, did_you_mean};
use crate::parallel;
use crate::progress::{Progress, Silent, Stage};
use crate::source::{FileId, SourceFile, Sources};
use crate::yaml::de::listed;
use crate::yaml::scalar::Short;
use crate::yaml::{self, Document, Fields, MISSING_FIELD, NodeId, Opaque, Span, Spanned, tree::View};

/// Reads every document of every file. What was wrong with the sources themselves comes along.
pub fn parse(sources: &Sources) -> Parsed {
    parse_watched(sources, &Silent)
}

/// The same. Each file is a step of progress.
pub fn parse_watched(sources: &Sources, progress: &dyn Progress) -> Parsed {
    let read = each_file(sources, progress, |file, source| Arc::new(parse_file(file, source)));
    joined(sources, read.iter())
}

/// The files that were read last, with what was in them: two revisions of a repository have nearly all in common.
#[derive(Clone, Debug, Default)]
pub struct Known {
    files: BTreeMap<FileId, (Content, Arc<Parsed>)>,
}

/// SHA-256 of a file, which stands for its bytes.
type Content = [u8; 32];

/// Reads documents, except those of files that are known: same number, same bytes. Then these files are the known ones.
/// [`Sources::align`] gives the files of two revisions the same numbers. Each file is a step of progress.
pub fn parse_with(sources: &Sources, known: &mut Known, progress: &dyn Progress) -> Parsed {
    let read = each_file(sources, progress, |file, source| {
        let content = content(&source.bytes);
        let before = known.files.get(&file).filter(|(known, _)| *known == content);
        let parsed = before.map(|(_, parsed)| Arc::clone(parsed));
        (content, parsed.unwrap_or_else(|| Arc::new(parse_file(file, source))))
    });
    let parsed = joined(sources, read.iter().map(|(_, parsed)| parsed));
    known.files = sources.iter().map(|(file, _)| file).zip(read).collect();
    parsed
}

fn each_file<R: Send>(
    sources: &Sources,
    progress: &dyn Progress,
    read: impl Fn(FileId, &SourceFile) -> R + Sync,
) -> Vec<R> {
    progress.begin(Stage::Parsing, sources.files.len());
    let files: Vec<(FileId, &SourceFile)> = sources.iter().collect();
    parallel::map(&files, |_, (file, source)| {
        let read = read(*file, source);
        progress.step();
        read
    })
}

fn joined<'p>(sources: &Sources, files: impl Iterator<Item = &'p Arc<Parsed>>) -> Parsed {
    let mut parsed = Parsed { diagnostics: sources.diagnostics.clone(), ..Parsed::default() };
    let files: Vec<&Arc<Parsed>> = files.collect();
    let patches = kustomize::patched(sources, files.iter().flat_map(|file| &file.patches));
    for ((file, _), own) in sources.iter().zip(files) {
        match patches.contains(&file) {
            true => parsed.leave(file, own),
            false => parsed.add(own),
        }
    }
    diagnostic::sort(&mut parsed.diagnostics);
    parsed
}

fn content(bytes: &[u8]) -> Content {
    let mut content = Content::default();
    content.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    content
}

/// Reads every document of one file.
fn parse_file(file: FileId, SourceFile { path, bytes }: &SourceFile) -> Parsed {
    let mut parsed = Parsed::default();
    let stream = yaml::parse(file, bytes);
    if !stream.diagnostics.is_empty() {
        parsed.guessed = broken::objects(&String::from_utf8_lossy(bytes));
    }
    if kustomize::is_kustomization(path) {
        let listed: Vec<String> = stream.documents.iter().flat_map(kustomize::patches).collect();
        parsed.patches.extend((!listed.is_empty()).then_some((file, listed)));
    }
    parsed.diagnostics = stream.diagnostics;
    for document in &stream.documents {
        Reader { file, document, before: parsed.diagnostics.len(), parsed: &mut parsed }
            .object(document.root());
    }
    parsed
}

/// An object with a `spec` and nothing else.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Closed<T> {
    api_version: Spanned<String>,
    kind: Spanned<String>,
    metadata: Metadata,
    spec: Spanned<T>,
}

/// An object with a `spec`, and a `status` that some controller wrote.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open<T> {
    api_version: Spanned<String>,
    kind: Spanned<String>,
    metadata: Metadata,
    spec: Spanned<T>,
    #[serde(default, rename = "status")]
    _status: Opaque,
}

/// What every object has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    api_version: Spanned<String>,
    kind: Spanned<String>,
    metadata: Metadata,
}

pub(super) struct Reader<'a> {
    file: FileId,
    document: &'a Document,
    parsed: &'a mut Parsed,
    /// How many findings there were before this object.
    before: usize,
}

impl<'a> Reader<'a> {
    /// One object, which may be a list of objects.
    fn object(&mut self, node: NodeId) {
        let document = self.document;
        let api_version = document.get(node, "apiVersion").and_then(|node| document.text(node));
        let kind = document.get(node, "kind").and_then(|node| document.text(node));
        match (api_version, kind) {
            (Some(api_version), Some(kind)) => self.dispatch(node, api_version, kind),
            (Some(api_version), None) if GROUPS.contains(&group_of(api_version)) => {
                self.headless(node, "kind");
            }
            (None, Some(_))
                if document.get(node, "metadata").is_some() && document.get(node, "spec").is_some() =>
            {
                self.headless(node, "apiVersion");
            }
            (_, _) => self.parsed.skipped.push(Skipped { kind: None, file: self.file, is_patch: false }),
        }
    }

    fn dispatch(&mut self, node: NodeId, api_version: &str, kind: &str) {
        let group = group_of(api_version);
        let version = api_version.rsplit('/').next().unwrap_or_default();
        if api_version == "v1" && kind == "List" {
            return self.list(node);
        }
        let facts = ["v1", "apps/v1", "batch/v1"].contains(&api_version);
        if facts && !self.concerns_us(node, kind) {
            return self.foreign(node, api_version, kind);
        }
        let entry = KINDS.iter().find(|entry| entry.group == group && entry.kind == kind);
        match entry {
            Some(entry) if entry.versions.contains(&version) => {
                self.before = self.parsed.diagnostics.len();
                let object = self.object_of(node);
                let twice = self.document.duplicate_keys(node).into_iter();
                let twice = twice.map(|twice| Diagnostic { object: object.clone(), ..twice });
                self.parsed.diagnostics.extend(twice);
                let before = self.parsed.documents.len();
                (entry.read)(self, node);
                if self.parsed.documents.len() == before {
                    self.parsed.unread.extend(object);
                }
            }
            Some(entry) if !group.is_empty() => self.unknown_version(node, entry, api_version),
            None if GROUPS.contains(&group) => {
                // `HTTPRouteList` and the like, as the API server answers.
                let item = kind.strip_suffix("List").unwrap_or_default();
                match KINDS.iter().any(|entry| entry.group == group && entry.kind == item) {
                    true => self.list(node),
                    false => self.unknown_kind(node, group, kind),
                }
            }
            Some(_) | None => self.foreign(node, api_version, kind),
        }
    }

    /// The objects of a `List`.
    fn list(&mut self, node: NodeId) {
        let Some(items) = self.document.get(node, "items") else { return self.headless(node, "items") };
        match self.document.view(items) {
            View::Sequence(items) => {
                for item in items {
                    self.object(*item);
                }
            }
            View::Scalar(_) | View::Mapping(_) | View::Tagged => {
                let span = self.document.span(items);
                self.report(Diagnostic::error(yaml::INVALID_VALUE, "`items` is not a list").at(span));
            }
        }
    }

    pub(super) fn weft<T: Deserialize<'a>>(
        &mut self,
        node: NodeId,
        kind: fn(Box<Spanned<T>>) -> Kind,
        check: fn(&Spanned<T>, &mut Checker<'_>),
    ) {
        if let Some(Closed { api_version, kind: name, metadata, spec }) =
            self.read::<Closed<T>>(node, Fields::Strict)
        {
            self.checked(node, Header { api_version, kind: name, metadata }, spec, kind, check);
        }
    }

    pub(super) fn custom<T: Deserialize<'a>>(
        &mut self,
        node: NodeId,
        kind: fn(Box<Spanned<T>>) -> Kind,
        check: fn(&Spanned<T>, &mut Checker<'_>),
    ) {
        if let Some(Open { api_version, kind: name, metadata, spec, .. }) =
            self.read::<Open<T>>(node, Fields::Strict)
        {
            self.checked(node, Header { api_version, kind: name, metadata }, spec, kind, check);
        }
    }

    /// What belongs to the API server, which has checked it: unknown fields are no concern of ours.
    pub(super) fn fact<T: Deserialize<'a>>(&mut self, node: NodeId, kind: fn(Box<Spanned<T>>) -> Kind) {
        if let Some(Open { api_version, kind: name, metadata, spec, .. }) =
            self.read::<Open<T>>(node, Fields::Lenient)
        {
            self.checked(node, Header { api_version, kind: name, metadata }, spec, kind, |_, _| ());
        }
    }

    /// A fact that has its fields beside `metadata`, so that the object is read twice.
    pub(super) fn beside_metadata<T: Deserialize<'a>>(
        &mut self,
        node: NodeId,
        kind: fn(Box<Spanned<T>>) -> Kind,
    ) {
        let header = self.read::<Header>(node, Fields::Lenient);
        let fields = self.read::<Spanned<T>>(node, Fields::Lenient);
        if let (Some(header), Some(fields)) = (header, fields) {
            self.checked(node, header, fields, kind, |_, _| ());
        }
    }

    /// A fact of which only the metadata is needed.
    pub(super) fn header_only(&mut self, node: NodeId, kind: fn(Box<Spanned<()>>) -> Kind) {
        if let Some(header) = self.read::<Header>(node, Fields::Lenient) {
            let nothing = Spanned::new((), self.document.span(node));
            self.checked(node, header, nothing, kind, |_, _| ());
        }
    }

    /// Whether a ConfigMap or a Secret holds certificates, and a workload pods; others, such as a patch of the number of
    /// copies, are no concern of a mesh.
    fn concerns_us(&self, node: NodeId, kind: &str) -> bool {
        match kind {
            "ConfigMap" => {
                let data = self.document.get(node, "data");
                data.is_some_and(|data| self.document.get(data, kubernetes::CA_KEY).is_some())
            }
            "Secret" => kubernetes::secret::concerns_us(self.document, node),
            _ => match kubernetes::workload::KINDS.iter().find(|(known, _)| *known == kind) {
                Some((_, way)) => {
                    let steps = way.iter().chain(&["spec"]);
                    steps.into_iter().try_fold(node, |at, step| self.document.get(at, step)).is_some()
                }
                None => true,
            },
        }
    }

    /// A Secret's certificates. Its keys are never read.
    pub(super) fn secret(&mut self, node: NodeId) {
        let Some(header) = self.read::<Header>(node, Fields::Lenient) else { return };
        let object = object_name(&header.kind, &header.metadata);
        let mut found = Vec::new();
        let secret = kubernetes::secret::read(self.document, node, &mut |finding| found.push(finding));
        self.parsed.diagnostics.extend(found.into_iter().map(|finding| finding.object(object.clone())));
        let secret = Spanned::new(secret, self.document.span(node));
        self.checked(node, header, secret, Kind::Secret, |_, _| ());
    }

    fn read<T: Deserialize<'a>>(&mut self, node: NodeId, fields: Fields) -> Option<T> {
        let outcome = yaml::deserialize(self.document, node, fields);
        let object = self.object_of(node);
        let about = outcome
            .diagnostics
            .into_iter()
            .map(|diagnostic| Diagnostic { object: object.clone(), ..diagnostic });
        self.parsed.diagnostics.extend(about);
        outcome.value
    }

    fn checked<T>(
        &mut self,
        node: NodeId,
        header: Header,
        spec: Spanned<T>,
        kind: fn(Box<Spanned<T>>) -> Kind,
        check: fn(&Spanned<T>, &mut Checker<'_>),
    ) {
        let object = object_name(&header.kind, &header.metadata);
        let mut checker = Checker::new(&object, &mut self.parsed.diagnostics);
        match header.kind.as_str() {
            // Host names are made of it, so it is one label, as in Kubernetes.
            "Service" => checker.label(&header.metadata.name, "a service"),
            _ => checker.subdomain(&header.metadata.name, "an object"),
        }
        if let Some(namespace) = &header.metadata.namespace {
            checker.label(namespace, "a namespace");
        }
        check(&spec, &mut checker);
        let mut findings = self.parsed.diagnostics.iter().skip(self.before);
        let sound = !findings.any(|finding| finding.severity == Severity::Error);
        self.parsed.documents.push(Arc::new(ParsedDocument {
            file: self.file,
            span: self.document.span(node),
            sound,
            api_version: header.api_version,
            kind: header.kind,
            metadata: header.metadata,
            spec: kind(Box::new(spec)),
        }));
    }

    /// Kind, namespace and name as far as they can be seen without reading the object.
    fn object_of(&self, node: NodeId) -> Option<String> {
        let document = self.document;
        let text = |of: NodeId, key| document.get(of, key).and_then(|node| document.text(node));
        let metadata = document.get(node, "metadata")?;
        let (kind, name) = (text(node, "kind")?, text(metadata, "name")?);
        Some(match kind {
            "Mesh" | "Namespace" | "GatewayClass" => format!("{kind} {}", Short(name)),
            kind => {
                let namespace = text(metadata, "namespace").unwrap_or(super::DEFAULT_NAMESPACE);
                format!("{} {}/{}", Short(kind), Short(namespace), Short(name))
            }
        })
    }

    // ------------------------------------------------------------------------------------ what is not read

    /// An object that lacks what would say what it is.
    fn headless(&mut self, node: NodeId, field: &str) {
        let span = self.first_line(node);
        self.report(Diagnostic::error(MISSING_FIELD, format!("the document has no `{field}`")).at(span));
    }

    fn unknown_version(&mut self, node: NodeId, entry: &Entry, api_version: &str) {
        let known: Vec<String> = entry.versions.iter().map(|v| format!("{}/{v}", entry.group)).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let message = format!("`{}` is not a known version of {}", Short(api_version), entry.kind);
        let span = self.value_span(node, "apiVersion");
        let diagnostic = Diagnostic::error(UNKNOWN_KIND, message).at(span);
        self.report(diagnostic.help(format!("known is {}", listed(&known))));
    }

    fn unknown_kind(&mut self, node: NodeId, group: &str, kind: &str) {
        let span = self.value_span(node, "kind");
        let known: Vec<&str> = KINDS.iter().filter(|e| e.group == group).map(|e| e.kind).collect();
        let diagnostic = match reason(group, kind) {
            Some(reason) => {
                Diagnostic::error(UNKNOWN_KIND, format!("{kind} is not supported")).with_note(reason)
            }
            None => Diagnostic::error(
                UNKNOWN_KIND,
                format!("`{}` is not a kind of {group} that is known", Short(kind)),
            ),
        };
        let diagnostic = match did_you_mean(kind, known.iter().copied()) {
            Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
            None => diagnostic,
        };
        let help = match known.is_empty() {
            true => format!("no kind of {group} is supported yet"),
            false => {
                format!("of {group}, the supported kinds are {}", listed(&known).replace(" or ", " and "))
            }
        };
        self.report(diagnostic.at(span).help(help));
    }

    /// A document of another program, unless a slip made it one: then a policy would be left out without a word.
    fn foreign(&mut self, node: NodeId, api_version: &str, kind: &str) {
        let kind_and_version = format!("{} {}", Short(api_version), Short(kind));
        self.parsed.skipped.push(Skipped { kind: Some(kind_and_version), file: self.file, is_patch: false });
        let group = group_of(api_version);
        let ours = KINDS.iter().filter(|entry| entry.kind == kind && !entry.group.is_empty());
        let entry = ours.clone().find(|entry| is_slip(api_version, group, entry.group));
        let slip = did_you_mean(group, GROUPS).filter(|near| {
            !GROUPS.contains(&group) && !NEIGHBOURS.contains(&group) && strsim::osa_distance(group, near) <= 2
        });
        let (message, near) = match (entry, slip) {
            (Some(entry), _) => {
                let version = entry.versions.first().copied().unwrap_or_default();
                let message = format!("`{}` is not where the kind {kind} is", Short(api_version));
                (message, format!("{}/{version}", entry.group))
            }
            (None, Some(near)) => {
                (format!("nothing is known of the group `{}`", Short(group)), near.to_owned())
            }
            (None, None) => return,
        };
        let span = self.value_span(node, "apiVersion");
        self.report(
            Diagnostic::error(UNKNOWN_KIND, message).at(span).label(format!("did you mean `{near}`?")),
        );
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.parsed.diagnostics.push(diagnostic);
    }

    fn value_span(&self, node: NodeId, key: &str) -> Span {
        self.document.span(self.document.get(node, key).unwrap_or(node))
    }

    /// Where an object begins: its first key.
    fn first_line(&self, node: NodeId) -> Span {
        match self.document.view(node) {
            View::Mapping([(key, _), ..]) => self.document.span(*key),
            View::Mapping([]) | View::Scalar(_) | View::Sequence(_) | View::Tagged => {
                self.document.span(node)
            }
        }
    }
}

/// The group of an `apiVersion`; empty for Kubernetes' core.
fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Whether an `apiVersion` is that of a group of ours with a part left out: the version, or labels at one end.
fn is_slip(api_version: &str, group: &str, ours: &str) -> bool {
    let shortened = |text: &str| {
        !text.is_empty()
            && (ours.strip_suffix(text).is_some_and(|rest| rest.ends_with('.'))
                || ours.strip_prefix(text).is_some_and(|rest| rest.starts_with('.')))
    };
    api_version == ours || shortened(group)
}
