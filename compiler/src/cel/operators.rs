//! Operators: comparisons, `in`, and arithmetic on literals.

use std::cmp::Ordering;
use std::ops::Range;

use weft_bundle::body::{
    Attribute, Comparison, FlagAttribute, ListAttribute, NumberAttribute, Predicate, StringMatch,
};
use weft_bundle::json::INTEGER_BOUND;

use super::Fault;
use super::lower::{Lowering, Placed};
use super::parse::{Order, Sign};
use super::term::Term;

impl Order {
    fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::AtMost => Self::AtLeast,
            Self::Greater => Self::Less,
            Self::AtLeast => Self::AtMost,
            same @ (Self::Equal | Self::Unequal) => same,
        }
    }

    fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::Unequal)
    }

    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Unequal => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
        }
    }

    fn spelling(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }

    /// The condition that this is of what equality would be.
    fn of_equality(self, equal: Predicate) -> Predicate {
        if self == Self::Unequal { equal.negated() } else { equal }
    }
}

impl Lowering {
    pub(super) fn compare(
        &mut self,
        order: Order,
        left: Placed,
        right: Placed,
        range: &Range<usize>,
    ) -> Option<Predicate> {
        if let Some(ordering) = ordering(&left.term, &right.term) {
            return Some(Predicate::constant(order.holds(ordering)));
        }
        if left.term.is_literal() && !right.term.is_literal() {
            return self.compare_with_literal(order.flipped(), right, left, range);
        }
        self.compare_with_literal(order, left, right, range)
    }

    fn compare_with_literal(
        &mut self,
        order: Order,
        left: Placed,
        right: Placed,
        range: &Range<usize>,
    ) -> Option<Predicate> {
        let equality = order.is_equality();
        match (left.term, right.term) {
            (Term::Attribute(of), Term::Text(text)) if equality => {
                let equal = self.equal(of, text, &right.range)?;
                Some(order.of_equality(equal))
            }
            (Term::Claim(path), Term::Text(text)) if equality => {
                let equal = Predicate::Text { of: Attribute::Claim(path), is: StringMatch::Exact(text) };
                Some(order.of_equality(equal))
            }
            (Term::Number(of), Term::Int(value)) | (Term::Milliseconds(of), Term::Duration(value)) => {
                self.number(order, of, value, &right.range)
            }
            (Term::Claim(path), Term::Int(value)) => {
                self.number(order, NumberAttribute::Claim(path), value, &right.range)
            }
            (Term::Claim(path), Term::Condition(condition)) if equality => {
                self.same(order, Predicate::Flag(FlagAttribute::Claim(path)), condition, range)
            }
            (Term::Condition(condition), Term::Claim(path)) if equality => {
                self.same(order, condition, Predicate::Flag(FlagAttribute::Claim(path)), range)
            }
            (Term::Condition(left), Term::Condition(right)) if equality => {
                self.same(order, left, right, range)
            }
            (Term::Address(_), Term::Text(_)) => {
                let fault = Fault::invalid(range, "an address is not compared with a text");
                self.refuse(
                    fault.help("write `inNetwork(source.address, '10.0.0.0/8')`, or with a single address"),
                )
            }
            (left, right) => self.refuse(mismatch(order, &left, &right, range)),
        }
    }

    fn number(
        &mut self,
        order: Order,
        of: NumberAttribute,
        value: i64,
        range: &Range<usize>,
    ) -> Option<Predicate> {
        if value.unsigned_abs() >= INTEGER_BOUND {
            return self.refuse(Fault::invalid(range, "numbers are compared up to 2^53"));
        }
        let is = match order {
            Order::Equal | Order::Unequal => Comparison::Equal,
            Order::Less => Comparison::Less,
            Order::AtMost => Comparison::AtMost,
            Order::Greater => Comparison::Greater,
            Order::AtLeast => Comparison::AtLeast,
        };
        Some(order.of_equality(Predicate::Number { of, is, value }))
    }

    /// Whether two conditions say the same; an error if either is one.
    fn same(
        &mut self,
        order: Order,
        left: Predicate,
        right: Predicate,
        range: &Range<usize>,
    ) -> Option<Predicate> {
        let equal = match (left.as_constant(), right.as_constant()) {
            (Some(true), _) => right,
            (Some(false), _) => right.negated(),
            (_, Some(true)) => left,
            (_, Some(false)) => left.negated(),
            (None, None) => Predicate::any_of([
                Predicate::all_of([left.clone(), right.clone()]),
                Predicate::all_of([left.negated(), right.negated()]),
            ]),
        };
        self.small(order.of_equality(equal), range)
    }

    pub(super) fn is_in(&mut self, item: Placed, list: Placed, range: &Range<usize>) -> Option<Predicate> {
        match (item.term, list.term) {
            (_, Term::List(items)) if items.is_empty() => {
                self.refuse(Fault::invalid(&list.range, "the list is empty"))
            }
            (item_term, Term::List(items)) => {
                let mut parts = Vec::new();
                for (term, place) in items {
                    let left = Placed { term: item_term.clone(), range: item.range.clone() };
                    parts.push(self.compare(Order::Equal, left, Placed { term, range: place }, range)?);
                }
                self.small(Predicate::any_of(parts), range)
            }
            (Term::Text(name), Term::Headers) => Some(Predicate::Has(self.header(&name, &item.range)?)),
            (Term::Text(name), Term::Claims) => {
                Some(Predicate::Has(Attribute::Claim(weft_bundle::body::ClaimPath(vec![name]))))
            }
            (Term::Text(text), Term::Texts(of)) => {
                Some(Predicate::Contains { of, is: StringMatch::Exact(text) })
            }
            (Term::Text(text), Term::Claim(path)) => {
                Some(Predicate::Contains { of: ListAttribute::Claim(path), is: StringMatch::Exact(text) })
            }
            (item_term, Term::Texts(_) | Term::Claim(_) | Term::Headers | Term::Claims) => {
                let message =
                    format!("this is {}, and only a literal text can be looked for", item_term.describe());
                self.refuse(Fault::not_supported(&item.range, message))
            }
            (_, other) => {
                let message =
                    format!("this is {}, and `in` is for lists, headers and claims", other.describe());
                self.refuse(Fault::invalid(&list.range, message))
            }
        }
    }

    /// Literals are computed here; what is known only of a request is not computed with.
    pub(super) fn arithmetic(
        &mut self,
        sign: Sign,
        left: Placed,
        right: Placed,
        range: &Range<usize>,
    ) -> Option<Term> {
        match (left.term, right.term) {
            (Term::Int(left), Term::Int(right)) => {
                let result = match sign {
                    Sign::Plus => left.checked_add(right),
                    Sign::Minus => left.checked_sub(right),
                    Sign::Times => left.checked_mul(right),
                    Sign::Over => left.checked_div(right),
                    Sign::Modulo => left.checked_rem(right),
                };
                match result {
                    Some(value) => Some(Term::Int(value)),
                    None => self.refuse(Fault::invalid(range, "the result is not a number of 64 bits")),
                }
            }
            (Term::Text(left), Term::Text(right)) if sign == Sign::Plus => Some(Term::Text(left + &right)),
            (left, right) if left.is_literal() && right.is_literal() => {
                let message = format!("no arithmetic with {} and {}", left.describe(), right.describe());
                self.refuse(Fault::invalid(range, message))
            }
            _ => {
                let fault = Fault::not_supported(range, "arithmetic with what is known only of a request");
                self.refuse(fault.help("move the arithmetic to the literal side"))
            }
        }
    }
}

/// How two literals of one type are ordered.
fn ordering(left: &Term, right: &Term) -> Option<Ordering> {
    match (left, right) {
        (Term::Text(left), Term::Text(right)) => Some(left.cmp(right)),
        (Term::Int(left), Term::Int(right)) | (Term::Duration(left), Term::Duration(right)) => {
            Some(left.cmp(right))
        }
        _ => None,
    }
}

fn mismatch(order: Order, left: &Term, right: &Term, range: &Range<usize>) -> Fault {
    let spelling = order.spelling();
    let (one, other) = (left.describe(), right.describe());
    if !left.is_literal() && !right.is_literal() && (one == other || one == "a claim" || other == "a claim") {
        return Fault::not_supported(
            range,
            format!("`{spelling}` between two things known only of a request"),
        )
        .note("proxies compare with literals");
    }
    if one == other && !order.is_equality() {
        return Fault::not_supported(range, format!("`{spelling}` orders numbers only, and this is {one}"));
    }
    if order.is_equality() && one == other {
        return Fault::not_supported(range, format!("`{spelling}` does not compare {one}"));
    }
    let fault = Fault::invalid(range, format!("`{spelling}` compares {one} with {other}"));
    match (left, right) {
        (Term::Milliseconds(_), Term::Int(_) | Term::Text(_)) => fault.help("write `duration('250ms')`"),
        (Term::Attribute(_), Term::Int(value)) => {
            fault.help(format!("write `'{value}'`, or take its `size`"))
        }
        _ => fault,
    }
}
