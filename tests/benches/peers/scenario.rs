//! What is measured.

use std::net::SocketAddr;
use std::time::Duration;

use weft_tests::Result;

use crate::contender::{Contender, Http, Place, Running, Shape, Until};
use crate::load::{self, Aim, Speech};
use crate::measure;
use crate::report::{Figures, say, table};

/// The name that requests are for.
pub(crate) const AUTHORITY: &str = "api";

/// What one scenario measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    /// CPU time per request, in microseconds.
    Cpu,
    /// Time to an answer at 1,000 requests a second, in microseconds, less what the origin takes alone.
    Latency,
    /// KiB in use before there is load, and for each of 1,000 connections that nobody uses.
    Memory,
    /// Milliseconds from the start of the process to the first answer.
    Start,
}

/// One scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    shape: Shape,
    measure: Measure,
}

/// All of them.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "http1",
        title: "HTTP/1.1, clear text",
        shape: Shape::Plain(Http::One),
        measure: Measure::Cpu,
    },
    Scenario {
        name: "http2",
        title: "HTTP/2, clear text (nginx: HTTP/1.1 to the origin)",
        shape: Shape::Plain(Http::Two),
        measure: Measure::Cpu,
    },
    Scenario {
        name: "mesh-http1",
        title: "a hop of two proxies with mutual TLS, HTTP/1.1",
        shape: Shape::Hop(Http::One),
        measure: Measure::Cpu,
    },
    Scenario {
        name: "mesh-http2",
        title: "a hop of two proxies with mutual TLS, HTTP/2",
        shape: Shape::Hop(Http::Two),
        measure: Measure::Cpu,
    },
    Scenario {
        name: "new-tls",
        title: "a new connection with mutual TLS for each request",
        shape: Shape::Terminate,
        measure: Measure::Cpu,
    },
    Scenario {
        name: "routes",
        title: "HTTP/1.1, clear text, 1,000 routes",
        shape: Shape::Routes(1000),
        measure: Measure::Cpu,
    },
    Scenario {
        name: "access",
        title: "a hop with mutual TLS, HTTP/1.1, 1,000 access rules",
        shape: Shape::Access(1000),
        measure: Measure::Cpu,
    },
    Scenario {
        name: "latency",
        title: "added time at 1,000 requests/s, a hop with mutual TLS, HTTP/1.1",
        shape: Shape::Hop(Http::One),
        measure: Measure::Latency,
    },
    Scenario {
        name: "memory",
        title: "memory, connections in clear text",
        shape: Shape::Plain(Http::One),
        measure: Measure::Memory,
    },
    Scenario {
        name: "memory-tls",
        title: "memory, connections with mutual TLS",
        shape: Shape::Terminate,
        measure: Measure::Memory,
    },
    Scenario {
        name: "start",
        title: "from start to the first answer, 1,000 routes",
        shape: Shape::Routes(1000),
        measure: Measure::Start,
    },
];

/// How many connections stand idle.
const IDLE: usize = 1000;

/// The pace of [`Measure::Latency`], and how long it is kept.
const PER_SECOND: u32 = 1000;
const PACED: u32 = 3000;

impl Scenario {
    /// Measures all contenders, and prints what they showed.
    ///
    /// # Errors
    /// One does not start, or a request fails.
    pub(crate) fn run(
        &self,
        place: &Place,
        contenders: &[Box<dyn Contender>],
        rounds: u32,
        requests: u64,
    ) -> Result<()> {
        say(format_args!("\n{}: {}", self.name, self.title));
        if self.measure == Measure::Start {
            return self.starts(place, contenders, rounds);
        }
        let mut running = Vec::new();
        for contender in contenders {
            match contender.start(self.shape, place, Until::Listening)? {
                Some(started) => running.push((contender.name(), started)),
                None => say(format_args!("  {} cannot do this", contender.name())),
            }
        }
        match self.measure {
            Measure::Cpu => self.cpu(place, &running, rounds, requests),
            Measure::Latency => self.latency(place, &running, rounds),
            Measure::Memory => self.memory(place, &running),
            Measure::Start => Ok(()),
        }
    }

    fn speech(&self, place: &Place) -> Result<Speech> {
        Ok(match self.shape {
            Shape::Plain(Http::Two) | Shape::Hop(Http::Two) => Speech::Http2,
            Shape::Terminate => Speech::NewTls(load::tls(&place.identity("default/web")?)?),
            Shape::Plain(Http::One) | Shape::Hop(Http::One) | Shape::Routes(_) | Shape::Access(_) => {
                Speech::Http1
            }
        })
    }

    fn aim(&self, address: SocketAddr) -> Aim {
        let path = match self.shape {
            Shape::Routes(count) | Shape::Access(count) => format!("/part{}/items/42", count / 2),
            Shape::Plain(_) | Shape::Hop(_) | Shape::Terminate => "/v1/items/42".to_owned(),
        };
        Aim { address, authority: AUTHORITY, path }
    }

    fn cpu(
        &self,
        place: &Place,
        running: &[(&'static str, Running)],
        rounds: u32,
        requests: u64,
    ) -> Result<()> {
        let speech = self.speech(place)?;
        // Handshakes take some twenty times as long.
        let requests = if self.shape == Shape::Terminate { requests / 10 } else { requests };
        let mut all: Vec<_> = running.iter().map(|(name, _)| Figures { name, rounds: Vec::new() }).collect();
        for (_, contender) in running {
            load::block_on(load::flood(&speech, &self.aim(contender.address), requests / 5))?;
        }
        for _ in 0..rounds {
            for ((_, contender), figures) in running.iter().zip(&mut all) {
                let processes = contender.processes();
                let before = measure::cpu(&processes)?;
                load::block_on(load::flood(&speech, &self.aim(contender.address), requests))?;
                let used = measure::cpu(&processes)? - before;
                // Counts of requests are far below 2^52.
                figures.rounds.push(used.as_secs_f64() * 1e6 / requests as f64);
            }
        }
        table("µs of CPU per request", &all);
        Ok(())
    }

    fn latency(&self, place: &Place, running: &[(&'static str, Running)], rounds: u32) -> Result<()> {
        let shares = [(0.5, "p50, µs added"), (0.99, "p99, µs added"), (0.999, "p99.9, µs added")];
        let empty =
            || -> Vec<_> { running.iter().map(|(name, _)| Figures { name, rounds: Vec::new() }).collect() };
        let mut all = shares.map(|_| empty());
        for _ in 0..rounds {
            let alone = load::block_on(load::paced(&self.aim(place.origin.http1), PER_SECOND, PACED))?;
            for (number, (_, contender)) in running.iter().enumerate() {
                let taken = load::block_on(load::paced(&self.aim(contender.address), PER_SECOND, PACED))?;
                for ((share, _), figures) in shares.iter().zip(&mut all) {
                    if let Some(figures) = figures.get_mut(number) {
                        let added = at(&taken, *share).saturating_sub(at(&alone, *share));
                        figures.rounds.push(added.as_secs_f64() * 1e6);
                    }
                }
            }
        }
        for ((_, what), figures) in shares.iter().zip(&all) {
            table(what, figures);
        }
        Ok(())
    }

    fn memory(&self, place: &Place, running: &[(&'static str, Running)]) -> Result<()> {
        let speech = self.speech(place)?;
        let (mut idle, mut each) = (Vec::new(), Vec::new());
        for (name, contender) in running {
            let aim = self.aim(contender.address);
            // What the first requests allocate belongs to the program, not to a connection.
            load::block_on(load::flood(&speech, &aim, 200))?;
            let before = measure::memory(&contender.processes())?;
            let after = load::block_on(async {
                let kept = load::idle(&speech, &aim, IDLE).await?;
                let after = measure::memory(&contender.processes())?;
                drop(kept);
                Ok::<_, weft_tests::Failure>(after)
            })?;
            idle.push(Figures { name, rounds: vec![before as f64 / 1024.0] });
            each.push(Figures { name, rounds: vec![after.saturating_sub(before) as f64 / IDLE as f64] });
        }
        table("MiB idle", &idle);
        table("KiB for a connection", &each);
        Ok(())
    }

    fn starts(&self, place: &Place, contenders: &[Box<dyn Contender>], rounds: u32) -> Result<()> {
        let mut all: Vec<_> =
            contenders.iter().map(|one| Figures { name: one.name(), rounds: Vec::new() }).collect();
        for _ in 0..rounds {
            for (contender, figures) in contenders.iter().zip(&mut all) {
                let Some(running) = contender.start(self.shape, place, Until::Spawned)? else { continue };
                let aim = self.aim(running.address);
                load::block_on(load::first(&aim))?;
                figures.rounds.push(running.started.elapsed().as_secs_f64() * 1e3);
            }
        }
        table("ms", &all);
        Ok(())
    }
}

/// The time that this share of answers took at most; `taken` is in order.
fn at(taken: &[Duration], share: f64) -> Duration {
    // Counts are far below 2^52.
    let place = (taken.len() as f64 * share) as usize;
    taken.get(place.min(taken.len().saturating_sub(1))).copied().unwrap_or_default()
}
