//! On which line of its file something stands. The lines of a file are counted once, by whichever thread asks first.

use std::sync::OnceLock;

use crate::source::Sources;
use crate::yaml::Span;

/// Where the lines of each file begin, by the number of the file.
pub(super) struct Lines<'s> {
    sources: &'s Sources,
    starts: Vec<OnceLock<Vec<u32>>>,
}

impl<'s> Lines<'s> {
    pub(super) fn of(sources: &'s Sources) -> Self {
        Self { sources, starts: sources.files.iter().map(|_| OnceLock::new()).collect() }
    }

    /// The line a span begins on, from 1.
    pub(super) fn line(&self, span: Span) -> u32 {
        let place = usize::try_from(span.file.0).unwrap_or(usize::MAX);
        let Some(starts) = self.starts.get(place) else { return 1 };
        let starts = starts.get_or_init(|| {
            let bytes = self.sources.file(span.file).map(|file| file.bytes.as_slice()).unwrap_or_default();
            let ends = memchr::memchr_iter(b'\n', bytes).filter_map(|end| u32::try_from(end + 1).ok());
            std::iter::once(0).chain(ends).collect()
        });
        u32::try_from(starts.partition_point(|start| *start <= span.start)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileId;

    #[test]
    fn a_line_begins_behind_the_end_of_the_one_before() {
        let sources = Sources::in_memory([("a.yaml", "one\n\nthree"), ("b.yaml", "")]);
        let lines = Lines::of(&sources);
        let line = |file, start| lines.line(Span::new(FileId(file), start, start + 1));
        assert_eq!([0, 3, 4, 5, 9, 99].map(|start| line(0, start)), [1, 1, 2, 3, 3, 3]);
        assert_eq!([line(1, 0), line(7, 0)], [1, 1]);
    }
}
