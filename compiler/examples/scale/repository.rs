//! Policy repositories of any size, by a fixed recipe.
//!
//! Services come in *teams* of fifty, one namespace each, with one file per service. The first team is the platform,
//! which everybody calls; the others call among themselves. A service calls eight others, always later ones of its team
//! or of the platform, so that nothing calls in a circle. Each has five HTTPRoutes of four rules: exact paths, canaries
//! by header and by weight, methods, timeouts, header edits, some regular expressions; one or two access policies; and
//! a traffic policy.
//!
//! What a service looks like depends on its number and the seed alone, never on how many services there are: the same
//! service of a larger repository has the same neighbours, and must get the same body.

use std::fmt::Write;

/// Services of one team.
pub(crate) const TEAM: usize = 50;
/// How many services a service calls.
const CALLS: usize = 8;
/// How far apart in its team the services may be that a service calls.
const REACH: usize = 10;
const PLATFORM: &str = "platform";
const PORT: u16 = 8080;
/// One route for each.
const AREAS: [&str; 5] = ["items", "users", "search", "reports", "assets"];
const WORDS: [&str; 12] = [
    "orders", "cart", "stock", "billing", "shipping", "reviews", "ratings", "profile", "catalog", "quotes",
    "alerts", "ledger",
];

/// The files of a repository of this many services, a multiple of [`TEAM`]: paths and texts, sorted by path.
pub(crate) fn files(services: usize, seed: u64) -> Vec<(String, String)> {
    let mesh = "apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata:
  name: scale
spec:
  trustDomain: scale.example
  defaults:
    access: deny
    peerTLS: strict
    timeouts:
      request: 15s
";
    let mut files = vec![("mesh.yaml".to_owned(), mesh.to_owned())];
    for number in 0..services {
        let service = Service::new(number, seed);
        files.push((format!("{}/{}.yaml", service.namespace, service.name), service.documents()));
    }
    files.sort();
    files
}

/// The path of a file, and its text with one rule sent elsewhere: what a pull request might change.
pub(crate) fn changed(number: usize, seed: u64) -> (String, String) {
    let service = Service::new(number, seed);
    let text = service.documents().replacen("/v2\n", "/v3\n", 1);
    (format!("{}/{}.yaml", service.namespace, service.name), text)
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers everywhere, and none left over from one service to the next.
struct Draw(u64);

impl Draw {
    fn new(seed: u64, number: usize) -> Self {
        Self(seed ^ (number as u64).wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

fn pick(words: &[&'static str], number: usize) -> &'static str {
    words.iter().cycle().nth(number % words.len()).copied().unwrap_or_default()
}

struct Service {
    number: usize,
    seed: u64,
    namespace: String,
    name: String,
}

impl Service {
    fn new(number: usize, seed: u64) -> Self {
        let word = pick(&WORDS, Draw::new(seed, number).below(WORDS.len()));
        let namespace = match number / TEAM {
            0 => PLATFORM.to_owned(),
            team => format!("team-{team:04}"),
        };
        Self { number, seed, namespace, name: format!("{word}-{number:06}") }
    }

    fn place(&self) -> usize {
        self.number % TEAM
    }

    fn first_of_team(&self) -> usize {
        self.number - self.place()
    }

    /// The numbers of the services that it calls, sorted.
    fn calls(&self) -> Vec<usize> {
        let mut draw = Draw::new(!self.seed, self.number);
        let (team, place) = (self.first_of_team(), self.place());
        let later: Vec<usize> = (place + 1..TEAM.min(place + 1 + REACH)).map(|place| team + place).collect();
        if team == 0 {
            return later.into_iter().take(CALLS).collect();
        }
        let mut calls = later;
        while calls.len() > CALLS - 2 {
            calls.remove(draw.below(calls.len()));
        }
        while calls.len() < CALLS {
            let platform = draw.below(TEAM);
            if !calls.contains(&platform) {
                calls.push(platform);
            }
        }
        calls.sort_unstable();
        calls
    }

    /// The services of its own team that call it.
    fn callers(&self) -> Vec<Self> {
        let earlier = self.number.saturating_sub(REACH).max(self.first_of_team())..self.number;
        let earlier = earlier.map(|number| Self::new(number, self.seed));
        earlier.filter(|caller| caller.calls().contains(&self.number)).collect()
    }

    /// Every ninth of ten services has the tenth as its canary.
    fn canary(&self) -> Option<Self> {
        (self.place() % 10 == 8).then(|| Self::new(self.number + 1, self.seed))
    }

    fn documents(&self) -> String {
        let mut text = String::new();
        self.service(&mut text).expect("a string takes what is written");
        self.access(&mut text).expect("a string takes what is written");
        self.traffic(&mut text).expect("a string takes what is written");
        for (place, area) in AREAS.iter().enumerate() {
            // No two services have the same lists, as nothing is to be gained from what would not be so in life.
            let area = format!("{area}-{}", self.number);
            self.route(&mut text, place, &area).expect("a string takes what is written");
        }
        text
    }

    fn header(&self, text: &mut String, api: &str, kind: &str, suffix: &str) -> std::fmt::Result {
        write!(
            text,
            "---\napiVersion: {api}\nkind: {kind}\nmetadata:\n  name: {}{suffix}\n  namespace: {}\nspec:\n",
            self.name, self.namespace
        )
    }

    fn service(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "# {} of {}", self.name, self.namespace)?;
        self.header(text, "weft.dev/v1alpha1", "Service", "")?;
        writeln!(text, "  ports:\n  - name: http\n    port: {PORT}\n    protocol: http")?;
        writeln!(text, "  endpoints:\n    static:")?;
        for copy in 1..=3 {
            let (high, low) = (self.number / 250, 1 + self.number % 250);
            let version = if copy == 3 { "v2" } else { "v1" };
            writeln!(text, "    - address: 10.{copy}.{high}.{low}\n      labels: {{ version: {version} }}")?;
        }
        writeln!(text, "  subsets:")?;
        for version in ["v1", "v2"] {
            writeln!(text, "  - {{ name: {version}, labels: {{ version: {version} }} }}")?;
        }
        let calls: Vec<Self> = self.calls().into_iter().map(|call| Self::new(call, self.seed)).collect();
        writeln!(text, "  calls:{}", if calls.is_empty() { " []" } else { "" })?;
        for call in &calls {
            match call.namespace == self.namespace {
                true => writeln!(text, "  - name: {}", call.name)?,
                false => writeln!(text, "  - name: {}\n    namespace: {}", call.name, call.namespace)?,
            }
        }
        Ok(())
    }

    fn access(&self, text: &mut String) -> std::fmt::Result {
        self.header(text, "weft.dev/v1alpha1", "AccessPolicy", "-callers")?;
        writeln!(
            text,
            "  targetRefs:\n  - kind: Service\n    name: {}\n  action: allow\n  rules:",
            self.name
        )?;
        let callers = self.callers();
        if self.namespace == PLATFORM {
            writeln!(text, "  - to:\n    - methods: [ GET, HEAD, POST ]")?;
        } else {
            writeln!(text, "  - from:\n    - namespace: {PLATFORM}")?;
            writeln!(text, "    to:\n    - methods: [ GET ]\n      paths:\n      - exact: /health")?;
            if !callers.is_empty() {
                writeln!(text, "  - from:")?;
            }
            for caller in &callers {
                writeln!(text, "    - service: {}", caller.name)?;
            }
        }
        if self.number % 4 == 1 {
            self.header(text, "weft.dev/v1alpha1", "AccessPolicy", "-no-admin")?;
            let name = &self.name;
            writeln!(text, "  targetRefs:\n  - kind: Service\n    name: {name}\n  action: deny\n  rules:")?;
            writeln!(text, "  - to:\n    - paths:\n      - prefix: /admin\n      - prefix: /debug")?;
        }
        Ok(())
    }

    fn traffic(&self, text: &mut String) -> std::fmt::Result {
        self.header(text, "weft.dev/v1alpha1", "TrafficPolicy", "")?;
        writeln!(text, "  targetRefs:\n  - kind: Service\n    name: {}", self.name)?;
        writeln!(text, "  timeouts:\n    request: 10s\n    idle: 2m")?;
        let policy = pick(&["peak-ewma", "round-robin", "random"], self.number);
        writeln!(text, "  loadBalancer:\n    policy: {policy}")?;
        if self.number.is_multiple_of(5) {
            writeln!(
                text,
                "  retry:\n    attempts: 1\n    perTry: 2s\n    on: [ connect-failure, \"503\" ]"
            )?;
        }
        Ok(())
    }

    /// A route of four rules; in each pair of them one is more specific than the other, or they have no request in common.
    fn route(&self, text: &mut String, place: usize, area: &str) -> std::fmt::Result {
        self.header(text, "gateway.networking.k8s.io/v1", "HTTPRoute", &format!("-{area}"))?;
        let name = &self.name;
        writeln!(
            text,
            "  parentRefs:\n  - group: \"\"\n    kind: Service\n    name: {name}\n    port: {PORT}"
        )?;
        writeln!(text, "  rules:\n  - name: health\n    matches:\n    - path:\n        type: Exact")?;
        writeln!(text, "        value: /{area}/health\n{}", self.backend(&self.name, 1))?;
        self.canary_rule(text, area)?;
        if place == 3 && self.number.is_multiple_of(3) {
            writeln!(
                text,
                "  - name: by-number\n    matches:\n    - path:\n        type: RegularExpression"
            )?;
            writeln!(text, "        value: \"/{area}/[0-9]+(/(lines|totals))?\"\n{}", self.backend(name, 1))?;
        } else {
            writeln!(text, "  - name: reads\n    matches:")?;
            for method in ["GET", "HEAD"] {
                writeln!(text, "    - path:\n        type: PathPrefix\n        value: /{area}/v1")?;
                writeln!(text, "      method: {method}")?;
            }
            writeln!(text, "    timeouts:\n      request: 3s\n      backendRequest: 500ms")?;
            writeln!(text, "{}", self.backend(name, 1))?;
        }
        let rest = if place == 3 { "/list" } else { "" };
        writeln!(text, "  - name: rest\n    matches:\n    - path:\n        type: PathPrefix")?;
        writeln!(text, "        value: /{area}{rest}\n    filters:\n    - type: RequestHeaderModifier")?;
        writeln!(
            text,
            "      requestHeaderModifier:\n        set:\n        - name: x-area\n          value: {area}"
        )?;
        writeln!(text, "{}", self.backend(name, 1))
    }

    fn canary_rule(&self, text: &mut String, area: &str) -> std::fmt::Result {
        writeln!(text, "  - name: canary\n    matches:\n    - path:\n        type: PathPrefix")?;
        writeln!(
            text,
            "        value: /{area}/v2\n      headers:\n      - name: x-canary\n        value: \"yes\""
        )?;
        match self.canary() {
            Some(canary) => {
                writeln!(text, "{}", self.backend(&self.name, 90))?;
                writeln!(text, "    - name: {}\n      port: {PORT}\n      weight: 10", canary.name)
            }
            None => writeln!(text, "{}", self.backend(&self.name, 1)),
        }
    }

    fn backend(&self, name: &str, weight: u32) -> String {
        let weight = if weight == 1 { String::new() } else { format!("\n      weight: {weight}") };
        format!("    backendRefs:\n    - name: {name}\n      port: {PORT}{weight}")
    }
}
