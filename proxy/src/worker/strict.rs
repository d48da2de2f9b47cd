//! A strict look at the bytes of HTTP/1 requests before hyper reads them (RFC 9112; security cases, section 1).
//!
//! hyper is lenient where two readers of one message may disagree about where it ends: it drops `Content-Length` beside
//! `Transfer-Encoding`, takes a bare line feed for the end of a line, and collapses equal lengths. Its service never sees
//! it. So every head is held back until it is whole and free of doubt, and bodies are followed to their end to know where
//! the next head begins. Nothing is decided by this reading but to refuse: what passes is read by hyper alone, and should
//! the two ever disagree, a message is refused, not smuggled.
//!
//! A head that is refused becomes a request of our own, [`REFUSED`], which the service answers with the reason; then the
//! connection ends. A body that is refused is an error of the body, and ends the connection too.

use http::StatusCode;

use crate::message::head::{MAX_FIELDS, MAX_HEAD_BYTES};
use crate::telemetry::Reason;

/// What stands for a head that is refused. The service answers it only after this module says that it refused one.
pub(super) const REFUSED: &[u8] = b"WEFT-REFUSED / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// Its method.
pub(super) const REFUSED_METHOD: &str = "WEFT-REFUSED";

/// The longest line that begins a chunk, its extensions included.
const MAX_CHUNK_LINE: usize = 1024;

/// The most bytes of a trailer section.
const MAX_TRAILERS: usize = 16 * 1024;

/// Where the reading stands.
#[derive(Debug)]
pub(super) enum Strict {
    Head(Head),
    /// So many bytes of a body are to come.
    Fixed(u64),
    /// Before a chunk: so many bytes of its first line were searched in vain.
    ChunkLine(usize),
    /// So many bytes of a chunk are to come, and then the end of its line.
    Chunk(u64),
    /// So many bytes of that end were seen.
    ChunkEnd(u8),
    /// Trailers: bytes before the line that is being read, and bytes of it that were searched in vain.
    Trailers(usize, usize),
}

/// What may be done with some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// So many of them may pass. The others come again, with more behind them.
    Pass(usize),
    /// The head that begins here may not.
    Refuse(Doubt),
    /// The body that goes on here may not.
    Broken,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) reason: Reason,
    pub(super) status: StatusCode,
    /// In words.
    pub(super) what: &'static str,
}

const fn doubt<T>(what: &'static str) -> Result<T, Doubt> {
    Err(Doubt { reason: Reason::Malformed, status: Reason::Malformed.status(), what })
}

const fn too_much<T>(what: &'static str) -> Result<T, Doubt> {
    Err(Doubt { reason: Reason::HeaderLimit, status: Reason::HeaderLimit.status(), what })
}

/// A head that is being read.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Bytes in which no end of a line is left to be found.
    searched: usize,
    /// Where the line begins that is being read.
    line: usize,
    /// Whether the empty line was there that may stand before a request.
    had_empty: bool,
    had_request_line: bool,
    is_http10: bool,
    fields: usize,
    length: Option<u64>,
    is_chunked: bool,
}

impl Default for Strict {
    fn default() -> Self {
        Self::Head(Head::default())
    }
}

impl Strict {
    /// Whether what passed ends with a request.
    pub(super) fn is_between(&self) -> bool {
        matches!(self, Self::Head(_))
    }

    /// Looks at bytes that follow those which passed.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Looked {
        let mut passed = 0;
        while let Some(rest) = bytes.get(passed..).filter(|rest| !rest.is_empty()) {
            match self.step(rest) {
                // More is needed than there is.
                Looked::Pass(0) => break,
                Looked::Pass(count) => passed += count,
                // What is before it passes first, and then it comes again, to be looked at from its beginning.
                Looked::Refuse(doubt) => {
                    *self = Self::default();
                    if passed == 0 {
                        return Looked::Refuse(doubt);
                    }
                    break;
                }
                Looked::Broken if passed == 0 => return Looked::Broken,
                Looked::Broken => break,
            }
        }
        Looked::Pass(passed)
    }

    fn step(&mut self, bytes: &[u8]) -> Looked {
        match self {
            Self::Head(head) => match head.look(bytes) {
                Ok(None) => Looked::Pass(0),
                Ok(Some(end)) => {
                    *self = head.body();
                    Looked::Pass(end)
                }
                Err(doubt) => Looked::Refuse(doubt),
            },
            Self::Fixed(left) => {
                let count = taken(left, bytes);
                if *left == 0 {
                    *self = Self::default();
                }
                Looked::Pass(count)
            }
            Self::Chunk(left) => {
                let count = taken(left, bytes);
                if *left == 0 {
                    *self = Self::ChunkEnd(0);
                }
                Looked::Pass(count)
            }
            Self::ChunkEnd(seen) => match (*seen, bytes.first()) {
                (0, Some(b'\r')) => {
                    *seen = 1;
                    Looked::Pass(1)
                }
                (1, Some(b'\n')) => {
                    *self = Self::ChunkLine(0);
                    Looked::Pass(1)
                }
                _ => Looked::Broken,
            },
            Self::ChunkLine(searched) => match line(bytes, searched, MAX_CHUNK_LINE) {
                Ok(None) => Looked::Pass(0),
                Ok(Some((line, end))) => match chunk_size(line) {
                    Some(0) => {
                        *self = Self::Trailers(0, 0);
                        Looked::Pass(end)
                    }
                    Some(size) => {
                        *self = Self::Chunk(size);
                        Looked::Pass(end)
                    }
                    None => Looked::Broken,
                },
                Err(Unclear) => Looked::Broken,
            },
            Self::Trailers(before, searched) => match line(bytes, searched, MAX_TRAILERS - *before) {
                Ok(None) => Looked::Pass(0),
                Ok(Some((b"", end))) => {
                    *self = Self::default();
                    Looked::Pass(end)
                }
                Ok(Some((line, end))) if field(line).is_ok() && *before + end < MAX_TRAILERS => {
                    (*before, *searched) = (*before + end, 0);
                    Looked::Pass(end)
                }
                Ok(Some(_)) | Err(Unclear) => Looked::Broken,
            },
        }
    }
}

/// So many of the bytes belong to what is left.
fn taken(left: &mut u64, bytes: &[u8]) -> usize {
    let there = bytes.len();
    let count = usize::try_from(*left).map_or(there, |left| left.min(there));
    *left -= count as u64;
    count
}

/// Not a line as RFC 9112 has it, or too long.
struct Unclear;

/// The first line, without its end, and the bytes of both; none if it is not whole.
fn line<'b>(
    bytes: &'b [u8],
    searched: &mut usize,
    most: usize,
) -> Result<Option<(&'b [u8], usize)>, Unclear> {
    let found = memchr::memchr(b'\n', bytes.get(*searched..).unwrap_or_default());
    let Some(end) = found.map(|place| *searched + place) else {
        *searched = bytes.len();
        return if bytes.len() > most { Err(Unclear) } else { Ok(None) };
    };
    let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Unclear)?;
    if has_controls(line) || line.len() > most { Err(Unclear) } else { Ok(Some((line, end + 1))) }
}

impl Head {
    /// The bytes of the whole head; none if it is not whole yet.
    fn look(&mut self, bytes: &[u8]) -> Result<Option<usize>, Doubt> {
        while let Some(place) = memchr::memchr(b'\n', bytes.get(self.searched..).unwrap_or_default()) {
            let end = self.searched + place;
            let line = bytes.get(self.line..end).unwrap_or_default();
            let Some(line) = line.strip_suffix(b"\r") else {
                return doubt("a line that does not end in CR and LF");
            };
            if has_controls(line) {
                return doubt("a control character");
            }
            (self.searched, self.line) = (end + 1, end + 1);
            if end >= usize::from(MAX_HEAD_BYTES) {
                return too_much("a head that is too large");
            }
            if line.is_empty() && self.had_request_line {
                return self.framing().map(|()| Some(end + 1));
            }
            self.line(line)?;
        }
        self.searched = bytes.len();
        match bytes.len() > usize::from(MAX_HEAD_BYTES) {
            true => too_much("a head that is too large"),
            false => Ok(None),
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Doubt> {
        if !self.had_request_line {
            if line.is_empty() {
                return if std::mem::replace(&mut self.had_empty, true) {
                    doubt("empty lines before a request")
                } else {
                    Ok(())
                };
            }
            self.had_request_line = true;
            return self.request_line(line);
        }
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return too_much("too many header fields");
        }
        let (name, value) = field(line)?;
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value),
            _ => Ok(()),
        }
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Doubt> {
        let mut parts = line.split(|byte| *byte == b' ');
        let (method, target, version) = (parts.next(), parts.next(), parts.next());
        let (Some(method), Some(target), Some(version), None) = (method, target, version, parts.next())
        else {
            return doubt("a request line that is not a method, a target and a version");
        };
        if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
            return doubt("a method that is none");
        }
        // What is behind `#` never belongs to a request, and who keeps it matches another path than who drops it.
        if target.is_empty() || !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
            return doubt("a target that is none");
        }
        match version {
            b"HTTP/1.1" => Ok(()),
            b"HTTP/1.0" => {
                self.is_http10 = true;
                Ok(())
            }
            _ if version.starts_with(b"HTTP/") => Err(Doubt {
                reason: Reason::Malformed,
                status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                what: "a version that is neither 1.1 nor 1.0",
            }),
            _ => doubt("a request line that is not a method, a target and a version"),
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Doubt> {
        let plain = value.iter().all(u8::is_ascii_digit) && (value == b"0" || !value.starts_with(b"0"));
        let number = std::str::from_utf8(value).ok().filter(|_| plain).and_then(|text| text.parse().ok());
        match (number, self.length.replace(number.unwrap_or_default())) {
            (Some(_), None) => Ok(()),
            (None, _) => doubt("a length that is not a plain number"),
            (Some(_), Some(_)) => doubt("several lengths"),
        }
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Doubt> {
        if !value.eq_ignore_ascii_case(b"chunked") {
            return doubt("a transfer coding that is not `chunked` alone");
        }
        if std::mem::replace(&mut self.is_chunked, true) { doubt("several transfer codings") } else { Ok(()) }
    }

    fn framing(&self) -> Result<(), Doubt> {
        match (self.is_chunked, self.length) {
            (true, Some(_)) => doubt("a length beside a transfer coding"),
            (true, None) if self.is_http10 => doubt("a transfer coding on HTTP/1.0"),
            (true, None) | (false, _) => Ok(()),
        }
    }

    fn body(&self) -> Strict {
        match (self.is_chunked, self.length) {
            (true, _) => Strict::ChunkLine(0),
            (false, Some(length)) if length > 0 => Strict::Fixed(length),
            (false, _) => Strict::default(),
        }
    }
}

/// Name and value of a field.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Doubt> {
    let Some(colon) = memchr::memchr(b':', line) else {
        return doubt("a header field without a colon");
    };
    let (name, value) = line.split_at(colon);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return doubt("a header field without a plain name, or on two lines");
    }
    if name.contains(&b'_') && means_framing(name) {
        return doubt("`_` in the name of a header field that some take for `-`");
    }
    Ok((name, value.get(1..).unwrap_or_default().trim_ascii()))
}

/// Whether a name with `_` for `-` is one by which messages end, are routed, or are believed.
fn means_framing(name: &[u8]) -> bool {
    let name: Vec<u8> = name.iter().map(|b| if *b == b'_' { b'-' } else { b.to_ascii_lowercase() }).collect();
    matches!(name.as_slice(), b"content-length" | b"transfer-encoding")
        || [&b"x-weft-"[..], b"x-forwarded-"].iter().any(|prefix| name.starts_with(prefix))
}

/// The size of a chunk; none if the line is not a plain number, or has extensions that are not plain.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let (size, extension) = match memchr::memchr(b';', line) {
        Some(place) => (line.get(..place)?, line.get(place + 1..)?),
        None => (line, &b"x"[..]),
    };
    let plain = (1..=15).contains(&size.len()) && size.iter().all(u8::is_ascii_hexdigit);
    let named = extension.first().is_some_and(|byte| is_token(*byte)) && !extension.ends_with(b" ");
    let size = std::str::from_utf8(size).ok().filter(|_| plain && named)?;
    u64::from_str_radix(size, 16).ok()
}

/// Whether there is a control character other than a tab. Without leaving early, which lets the compiler look at many
/// bytes at once.
fn has_controls(line: &[u8]) -> bool {
    line.iter().fold(false, |found, byte| found | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f))
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of some bytes, given whole: how many pass, and what is said of the rest.
    fn whole(bytes: &[u8]) -> (usize, Looked) {
        let mut strict = Strict::default();
        let Looked::Pass(passed) = strict.look(bytes) else { return (0, Strict::default().look(bytes)) };
        (passed, strict.look(&bytes[passed..]))
    }

    /// The same, one byte more each time.
    fn dripped(bytes: &[u8]) -> (usize, Looked) {
        let (mut strict, mut passed) = (Strict::default(), 0);
        for end in 1..=bytes.len() {
            match strict.look(&bytes[passed..end]) {
                Looked::Pass(count) => passed += count,
                refused => return (passed, refused),
            }
        }
        (passed, Looked::Pass(0))
    }

    const NEXT: &str = "GET /next HTTP/1.1\r\nhost: a\r\n\r\n";

    #[test]
    fn what_is_plain_passes_whole_in_whatever_pieces() {
        for message in [
            NEXT.to_owned(),
            format!("\r\n{NEXT}"),
            format!("POST / HTTP/1.1\r\ncontent-length:  5\t\r\nx:\r\n\r\nhello{NEXT}"),
            format!("POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n{NEXT}"),
            format!("POST / HTTP/1.0\r\ncontent-length: 1\r\n\r\n\n{NEXT}"),
            format!("POST / HTTP/1.1\r\nTransfer-Encoding:\tChunked\r\n\r\n0\r\n\r\n{NEXT}"),
            format!(
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nA;a=b;c=\"d e\"\r\n0123\n\r\n789\r\n00\r\nx: y\r\n\r\n{NEXT}"
            ),
        ] {
            let bytes = message.as_bytes();
            assert_eq!(whole(bytes), (bytes.len(), Looked::Pass(0)), "{message:?}");
            assert_eq!(dripped(bytes), (bytes.len(), Looked::Pass(0)), "{message:?}");
        }
    }

    #[test]
    fn doubtful_heads_are_refused_once_they_are_and_nothing_of_them_passes() {
        for head in [
            "POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 5\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 5, 5\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 05\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 18446744073709551616\r\n",
            "POST / HTTP/1.1\r\ncontent_length: 5\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked, chunked\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding : chunked\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding:\x0bchunked\r\n",
            "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\n",
            "GET / HTTP/1.1\r\nx: 1\r2\r\n",
            "GET / HTTP/1.1\r\nx: 1\r\n 2\r\n",
            "GET /\r\n",
            "GET  / HTTP/1.1\r\n",
            "GET /a b HTTP/1.1\r\n",
            "GET /#a HTTP/1.1\r\n",
            "GET /\u{c0} HTTP/1.1\r\n",
            "GET / HTTP/2.0\r\n",
            "GET / HTTP/1.2\r\n",
            "\r\n\r\n",
            " GET / HTTP/1.1\r\n",
        ] {
            let (passed, looked) = whole(head.as_bytes());
            assert!(passed == 0 && matches!(looked, Looked::Refuse(_)), "{head:?}: {looked:?}");
            assert_eq!(dripped(head.as_bytes()), (0, looked), "{head:?}");
            // Also behind a request that is plain, which passes.
            let behind = format!("{NEXT}{head}");
            assert_eq!(whole(behind.as_bytes()), (NEXT.len(), looked), "{head:?}");
        }
    }

    #[test]
    fn doubtful_chunks_break_the_body() {
        for chunk in [
            "+2\r\n",
            "0x2\r\n",
            "-2\r\n",
            "2_\r\n",
            " 2\r\n",
            "2 \r\n",
            "2;\r\n",
            "2 ;x\r\n",
            "2\n",
            "\r\n",
            "ffffffffffffffff\r\n",
            "2;x\n",
            "2;a\rb\r\n",
            "2\r\nhi!",
            "2\r\nhi\n",
            "2\r\nhi\r!",
            "0\r\nx\r\n",
            "0\r\nx: y\n",
            "0\r\n y\r\n",
        ] {
            let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
            let message = format!("{head}{chunk}");
            let (passed, looked) = whole(message.as_bytes());
            assert!(passed < message.len() && looked == Looked::Broken, "{chunk:?}: {passed} {looked:?}");
            assert_eq!(dripped(message.as_bytes()).1, Looked::Broken, "{chunk:?}");
        }
    }

    #[test]
    fn everything_has_a_bound() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(usize::from(MAX_HEAD_BYTES)));
        assert!(
            matches!(whole(long.as_bytes()).1, Looked::Refuse(doubt) if doubt.reason == Reason::HeaderLimit)
        );
        let many = format!("GET / HTTP/1.1\r\n{}", "x: y\r\n".repeat(MAX_FIELDS + 1));
        assert!(
            matches!(whole(many.as_bytes()).1, Looked::Refuse(doubt) if doubt.reason == Reason::HeaderLimit)
        );
        let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        let extension = format!("{head}2;{}", "x".repeat(MAX_CHUNK_LINE));
        assert_eq!(whole(extension.as_bytes()).1, Looked::Broken);
        let trailers = format!("{head}0\r\n{}", "x: y\r\n".repeat(MAX_TRAILERS / 6 + 1));
        assert_eq!(whole(trailers.as_bytes()).1, Looked::Broken);
    }
}
