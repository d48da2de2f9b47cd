//! Texts to trees: the `cel` crate's syntax tree in our own words, every node with the bytes it is written in.

use std::ops::Range;

use cel_interpreter::Program;
use cel_interpreter::common::ast::{
    CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators,
};

use super::Fault;
use crate::yaml::scalar::Short;

/// A part of an expression.
#[derive(Debug)]
pub(super) struct Node {
    /// The bytes it is written in; parentheses around it are not part of it.
    pub(super) range: Range<usize>,
    pub(super) kind: Kind,
}

/// What a part of an expression is.
#[derive(Debug)]
pub(super) enum Kind {
    Text(String),
    Int(i64),
    Bool(bool),
    List(Vec<Node>),
    Name(String),
    Field(Box<Node>, String),
    Has(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    If(Box<[Node; 3]>),
    Compare(Order, Box<Node>, Box<Node>),
    In(Box<Node>, Box<Node>),
    Arithmetic(Sign, Box<Node>, Box<Node>),
    Negate(Box<Node>),
    Call {
        name: String,
        target: Option<Box<Node>>,
        arguments: Vec<Node>,
    },
    Each {
        all: bool,
        list: Box<Node>,
        variable: String,
        condition: Box<Node>,
    },
    /// Good CEL of which we know that it has no predicate: what it is.
    Other(&'static str),
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// An operation on literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Plus,
    Minus,
    Times,
    Over,
    Modulo,
}

/// Parses an expression that is within the limits.
pub(super) fn parse(text: &str) -> Result<Node, Vec<Fault>> {
    match Program::compile(text) {
        Ok(program) => Ok(Reader { text, places: program.source_info() }.node(program.expression())),
        Err(errors) => {
            let mut faults: Vec<Fault> =
                errors.errors.iter().map(|error| syntax(text, error.pos, &error.msg)).collect();
            faults.sort_by_key(|fault| fault.range.start);
            // What follows the first error is mostly its consequence.
            faults.truncate(1);
            if faults.is_empty() {
                faults.push(Fault::invalid(&(0..text.len()), "the expression is not CEL"));
            }
            Err(faults)
        }
    }
}

/// A syntax error: line and column, in characters from 1, as a place in the text.
fn syntax(text: &str, (line, column): (isize, isize), message: &str) -> Fault {
    let number = |at: isize| usize::try_from(at.saturating_sub(1)).unwrap_or(0);
    let begin: usize = text.split_inclusive('\n').take(number(line)).map(str::len).sum();
    let rest = text.get(begin..).unwrap_or_default();
    let start = begin + rest.char_indices().nth(number(column)).map_or(rest.len(), |(at, _)| at);
    let end = start + text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    // The list of everything that could follow says nothing to people.
    let message = message.split(" expecting ").next().unwrap_or_default();
    let message = message.replace("'<EOF>'", "end of the expression");
    let message =
        message.replace("mismatched input ", "unexpected ").replace("extraneous input ", "unexpected ");
    let message = message.replace("token recognition error at: ", "nothing in CEL begins with ");
    Fault::invalid(&(start..end), format!("the expression is not CEL: {}", Short(&message)))
}

struct Reader<'p> {
    text: &'p str,
    places: &'p SourceInfo,
}

impl Reader<'_> {
    /// The recursion is bounded by the limits on the text, and runs on the parser's own stack.
    fn node(&self, expression: &IdedExpr) -> Node {
        let own = self.own(expression.id);
        match &expression.expr {
            Expr::Literal(literal) => Node { range: own, kind: literal_kind(literal) },
            Expr::Ident(name) => Node { range: own, kind: Kind::Name(name.clone()) },
            Expr::Select(select) => {
                let of = self.node(&select.operand);
                let end = self.after(of.range.end.max(own.end), &select.field);
                if select.test {
                    let start = self.before(own.start, operators::HAS);
                    let range = start..self.after(end, ")");
                    return Node { range, kind: Kind::Has(Box::new(of), select.field.clone()) };
                }
                Node { range: of.range.start..end, kind: Kind::Field(Box::new(of), select.field.clone()) }
            }
            Expr::List(list) => {
                let items: Vec<Node> = list.elements.iter().map(|item| self.node(item)).collect();
                let end = items.last().map_or(own.end, |item| item.range.end);
                Node { range: own.start..self.after(end, "]"), kind: Kind::List(items) }
            }
            Expr::Call(call) => self.call(call, own),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, own),
            Expr::Map(_) => Node { range: own, kind: Kind::Other("a map") },
            Expr::Struct(_) => Node { range: own, kind: Kind::Other("a message") },
            Expr::Unspecified => Node { range: own, kind: Kind::Other("nothing") },
        }
    }

    fn call(&self, call: &CallExpr, own: Range<usize>) -> Node {
        let target = call.target.as_ref().map(|target| self.node(target));
        let arguments: Vec<Node> = call.args.iter().map(|argument| self.node(argument)).collect();
        let parts = || target.iter().chain(&arguments).map(|node| &node.range);
        let start = parts().map(|range| range.start).min().unwrap_or(own.start).min(own.start);
        let end = parts().map(|range| range.end).max().unwrap_or(own.end).max(own.end);
        let name = call.func_name.as_str();
        match (operator(name, arguments), &target) {
            (Ok(kind), None) => {
                let end = if matches!(kind, Kind::Index(..)) { self.after(end, "]") } else { end };
                Node { range: start..end, kind }
            }
            (Ok(_), Some(_)) => Node { range: start..end, kind: Kind::Other("an operator with a target") },
            (Err(arguments), _) => {
                let start = if target.is_none() { self.before(own.start, name) } else { start };
                let kind = Kind::Call { name: name.to_owned(), target: target.map(Box::new), arguments };
                Node { range: start..self.after(end, ")"), kind }
            }
        }
    }

    /// `exists` and `all` as macros expand them; the other macros have no predicate.
    fn comprehension(&self, comprehension: &ComprehensionExpr, own: Range<usize>) -> Node {
        let list = self.node(&comprehension.iter_range);
        let start = list.range.start;
        let other = |end: usize| Node {
            range: start..end,
            kind: Kind::Other("a comprehension other than `exists` and `all`"),
        };
        let Expr::Call(step) = &comprehension.loop_step.expr else { return other(own.end) };
        let (true, true, [accumulator, condition]) = (
            comprehension.iter_var2.is_none()
                && comprehension.result.expr == Expr::Ident(comprehension.accu_var.clone()),
            matches!(comprehension.accu_init.expr, Expr::Literal(LiteralValue::Boolean(_))),
            step.args.as_slice(),
        ) else {
            return other(own.end);
        };
        let all = match step.func_name.as_str() {
            operators::LOGICAL_AND => true,
            operators::LOGICAL_OR => false,
            _ => return other(own.end),
        };
        if accumulator.expr != Expr::Ident(comprehension.accu_var.clone()) {
            return other(own.end);
        }
        let condition = self.node(condition);
        let range = start..self.after(condition.range.end, ")");
        let variable = comprehension.iter_var.clone();
        Node {
            range,
            kind: Kind::Each { all, list: Box::new(list), variable, condition: Box::new(condition) },
        }
    }

    /// The bytes that the parser remembers for a node: all of a literal or name, else its operator.
    fn own(&self, id: u64) -> Range<usize> {
        let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX).min(self.text.len());
        let (start, last) = self.places.offset_for(id).unwrap_or_default();
        let (start, end) = (place(start), place(last.saturating_add(1)));
        let whole =
            |at: usize| (at..=self.text.len()).find(|at| self.text.is_char_boundary(*at)).unwrap_or(at);
        whole(start)..whole(end.max(start))
    }

    /// The end of `token`, if nothing but white space and dots stands between it and `at`; else `at`.
    fn after(&self, at: usize, token: &str) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        let trimmed = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '.' || c == ',');
        if trimmed.starts_with(token) { at + (rest.len() - trimmed.len()) + token.len() } else { at }
    }

    /// The start of `token`, if nothing but white space stands between it and `at`; else `at`.
    fn before(&self, at: usize, token: &str) -> usize {
        let head = self.text.get(..at).unwrap_or_default().trim_end();
        head.strip_suffix(token).map_or(at, str::len)
    }
}

/// The operator that a call is, or its arguments again if it is a function.
fn operator(name: &str, arguments: Vec<Node>) -> Result<Kind, Vec<Node>> {
    let mut rest = arguments.into_iter();
    let kind = match (name, rest.next(), rest.next(), rest.next(), rest.len()) {
        (operators::CONDITIONAL, Some(condition), Some(then), Some(otherwise), 0) => {
            Kind::If(Box::new([condition, then, otherwise]))
        }
        (operators::LOGICAL_NOT, Some(part), None, ..) => Kind::Not(Box::new(part)),
        (operators::NEGATE, Some(part), None, ..) => Kind::Negate(Box::new(part)),
        (name, Some(left), Some(right), None, _) => return binary(name, left, right),
        (_, first, second, third, _) => {
            return Err([first, second, third].into_iter().flatten().chain(rest).collect());
        }
    };
    Ok(kind)
}

fn binary(name: &str, left: Node, right: Node) -> Result<Kind, Vec<Node>> {
    let order = match name {
        operators::EQUALS => Some(Order::Equal),
        operators::NOT_EQUALS => Some(Order::Unequal),
        operators::LESS => Some(Order::Less),
        operators::LESS_EQUALS => Some(Order::AtMost),
        operators::GREATER => Some(Order::Greater),
        operators::GREATER_EQUALS => Some(Order::AtLeast),
        _ => None,
    };
    let sign = match name {
        operators::ADD => Some(Sign::Plus),
        operators::SUBSTRACT => Some(Sign::Minus),
        operators::MULTIPLY => Some(Sign::Times),
        operators::DIVIDE => Some(Sign::Over),
        operators::MODULO => Some(Sign::Modulo),
        _ => None,
    };
    if !matches!(name, operators::LOGICAL_AND | operators::LOGICAL_OR | operators::INDEX | operators::IN)
        && order.is_none()
        && sign.is_none()
    {
        return Err(vec![left, right]);
    }
    let (left, right) = (Box::new(left), Box::new(right));
    Ok(match (name, order, sign) {
        (_, Some(order), _) => Kind::Compare(order, left, right),
        (_, _, Some(sign)) => Kind::Arithmetic(sign, left, right),
        (operators::LOGICAL_AND, ..) => Kind::And(left, right),
        (operators::LOGICAL_OR, ..) => Kind::Or(left, right),
        (operators::INDEX, ..) => Kind::Index(left, right),
        _ => Kind::In(left, right),
    })
}

fn literal_kind(literal: &LiteralValue) -> Kind {
    match literal {
        LiteralValue::Boolean(value) => Kind::Bool(*value.inner()),
        LiteralValue::Int(value) => Kind::Int(*value.inner()),
        LiteralValue::String(text) => Kind::Text(text.inner().to_owned()),
        LiteralValue::Bytes(_) => Kind::Other("bytes"),
        LiteralValue::Double(_) => Kind::Other("a number with a fraction"),
        LiteralValue::UInt(_) => Kind::Other("an unsigned number"),
        LiteralValue::Null => Kind::Other("`null`"),
    }
}
