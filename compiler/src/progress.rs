//! How far long work has come, for whoever watches.
//!
//! The library tells; it knows no terminal and no clock. [`Silent`] is for callers whom it does not matter to.

/// A part of the work, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Files are read.
    Reading,
    /// Documents are made of them.
    Parsing,
    /// References are bound.
    Resolving,
    /// Analyses run.
    Analysing,
    /// Bodies are written.
    Emitting,
}

impl Stage {
    /// What is done, in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Parsing => "parsing",
            Self::Resolving => "resolving",
            Self::Analysing => "analysing",
            Self::Emitting => "emitting",
        }
    }
}

/// Is told how far the work has come. Called often and from any thread, so it had better be quick.
pub trait Progress: Sync {
    /// A stage begins, of so many steps; 0 if they are not counted.
    fn begin(&self, stage: Stage, steps: usize);

    /// A step of the stage is done.
    fn step(&self);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _stage: Stage, _steps: usize) {}

    fn step(&self) {}
}
