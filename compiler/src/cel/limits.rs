//! What is refused before it is parsed. The parser of the `cel` crate recurses over operators as well as over brackets,
//! so that a few kilobytes would overflow any stack.

use super::Fault;

/// The longest expression, in bytes.
pub(super) const LENGTH: usize = 1024;

/// The deepest nesting of brackets.
const NESTING: usize = 64;

/// The most operators in an expression: `.`, `[`, `(`, `?`, `+`, `&&` and so on.
const OPERATORS: usize = 200;

/// Refuses what is too long, too deep, or too long a chain. Brackets and operators in texts count, too; that errs on the
/// side of refusing, and no sensible text has that many.
pub(super) fn check(text: &str) -> Result<(), Vec<Fault>> {
    let refuse = |at: usize, message: String| Err(vec![Fault::not_supported(&(at..text.len()), message)]);
    if text.len() > LENGTH {
        return refuse(
            0,
            format!("the expression has {} bytes, more than the {LENGTH} that are allowed", text.len()),
        );
    }
    let (mut depth, mut operators, mut previous) = (0_usize, 0, b' ');
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING {
            return refuse(at, format!("the expression nests more than {NESTING} brackets"));
        }
        let doubled = byte == previous && matches!(byte, b'&' | b'|');
        if b".[({?+-*/%!<>=&|,".contains(&byte) && !doubled {
            operators += 1;
        }
        previous = if doubled { b' ' } else { byte };
        if operators > OPERATORS {
            return refuse(at, format!("the expression has more than {OPERATORS} operators"));
        }
    }
    Ok(())
}
