//! Trees to predicates: types are checked and conditions made in one walk.

use std::ops::Range;

use weft_bundle::body::{Attribute, ClaimPath, Predicate, StringMatch};

use super::environment::{Environment, What};
use super::parse::{Kind, Node};
use super::term::Term;
use super::{Fault, literals};
use crate::diagnostic::did_you_mean;
use crate::yaml::scalar::Short;

/// The most regular expressions of one predicate: each is as much work as many comparisons.
const REGEXES: usize = 16;

/// The predicate of an expression, or everything that is wrong with it.
pub(super) fn lower(node: &Node, environment: Environment) -> Result<Predicate, Vec<Fault>> {
    let mut lowering = Lowering { environment, faults: Vec::new(), variables: Vec::new() };
    let predicate = lowering.condition(node).and_then(|predicate| lowering.bounded(predicate, &node.range));
    match predicate {
        Some(predicate) if lowering.faults.is_empty() => Ok(predicate),
        _ => {
            let mut faults = lowering.faults;
            faults.sort_by_key(|fault| (fault.range.start, fault.range.end));
            faults.dedup();
            Err(faults)
        }
    }
}

/// Something in the expression, and where.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) term: Term,
    pub(super) range: Range<usize>,
}

pub(super) struct Lowering {
    environment: Environment,
    pub(super) faults: Vec<Fault>,
    /// Variables of `exists` and `all`; one at most.
    variables: Vec<(String, Term)>,
}

/// Every method gives none after it has put down what is wrong.
impl Lowering {
    pub(super) fn refuse<T>(&mut self, fault: Fault) -> Option<T> {
        self.faults.push(fault);
        None
    }

    /// A part that must be true or false.
    fn condition(&mut self, node: &Node) -> Option<Predicate> {
        let term = self.term(node)?;
        match term.into_condition() {
            Ok(condition) => Some(condition),
            Err(term) => {
                let message = format!("this is {}, and must be true or false", term.describe());
                self.refuse(Fault::invalid(&node.range, message))
            }
        }
    }

    pub(super) fn placed(&mut self, node: &Node) -> Option<Placed> {
        Some(Placed { term: self.term(node)?, range: node.range.clone() })
    }

    /// The recursion is as deep as the tree, which the limits on the text bound.
    fn term(&mut self, node: &Node) -> Option<Term> {
        let range = &node.range;
        Some(match &node.kind {
            Kind::Text(text) => Term::Text(text.clone()),
            Kind::Int(value) => Term::Int(*value),
            Kind::Bool(value) => Term::Condition(Predicate::constant(*value)),
            Kind::List(items) => self.list(items)?,
            Kind::Name(name) => self.name(name, range)?,
            Kind::Field(of, field) => self.field(of, field, range)?,
            Kind::Has(of, field) => Term::Condition(self.has(of, field, range)?),
            Kind::Index(of, index) => self.index(of, index)?,
            Kind::And(left, right) => {
                let (left, right) = (self.condition(left), self.condition(right));
                Term::Condition(Predicate::all_of([left?, right?]))
            }
            Kind::Or(left, right) => {
                let (left, right) = (self.condition(left), self.condition(right));
                Term::Condition(Predicate::any_of([left?, right?]))
            }
            Kind::Not(part) => Term::Condition(self.condition(part)?.negated()),
            Kind::If(parts) => Term::Condition(self.choice(parts, range)?),
            Kind::Compare(order, left, right) => {
                let (left, right) = (self.placed(left), self.placed(right));
                Term::Condition(self.compare(*order, left?, right?, range)?)
            }
            Kind::In(item, list) => {
                let (item, list) = (self.placed(item), self.placed(list));
                Term::Condition(self.is_in(item?, list?, range)?)
            }
            Kind::Arithmetic(sign, left, right) => {
                let (left, right) = (self.placed(left), self.placed(right));
                self.arithmetic(*sign, left?, right?, range)?
            }
            Kind::Negate(part) => match self.term(part)? {
                Term::Int(value) => match value.checked_neg() {
                    Some(value) => Term::Int(value),
                    None => return self.refuse(Fault::invalid(range, "the number is too large")),
                },
                other => {
                    let message = format!("`-` is for literal numbers, and this is {}", other.describe());
                    return self.refuse(Fault::invalid(range, message));
                }
            },
            Kind::Call { name, target, arguments } => self.call(name, target.as_deref(), arguments, range)?,
            Kind::Each { all, list, variable, condition } => {
                Term::Condition(self.each(*all, list, variable, condition, range)?)
            }
            Kind::Other(what) => {
                return self
                    .refuse(Fault::not_supported(range, format!("{what} has no use in a condition here")));
            }
        })
    }

    fn list(&mut self, items: &[Node]) -> Option<Term> {
        let mut terms = Vec::new();
        for item in items {
            let term = self.term(item)?;
            if !term.is_literal() || matches!(term, Term::List(_)) {
                let fault =
                    Fault::not_supported(&item.range, "an item of a list that is not a plain literal");
                return self.refuse(fault.help("compare with each item on its own, joined by `||`"));
            }
            terms.push((term, item.range.clone()));
        }
        Some(Term::List(terms))
    }

    fn name(&mut self, name: &str, range: &Range<usize>) -> Option<Term> {
        if let Some((_, term)) = self.variables.iter().rev().find(|(variable, _)| variable == name) {
            return Some(term.clone());
        }
        if self.environment.has_object(name) {
            return Some(Term::Object(name.to_owned()));
        }
        let known: Vec<(&str, &str, &str)> = (self.environment.attributes())
            .filter_map(|known| known.name.split_once('.').map(|(object, field)| (known.name, object, field)))
            .collect();
        let mut objects: Vec<&str> = known.iter().map(|(_, object, _)| *object).collect();
        objects.dedup();
        let whole = known.iter().find(|(_, _, field)| *field == name).map(|(whole, ..)| *whole);
        let near = whole.or_else(|| did_you_mean(name, objects.iter().copied()));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("attributes begin with {}", listed(&objects)),
        };
        self.refuse(Fault::invalid(range, format!("there is no attribute `{name}`")).help(help))
    }

    fn field(&mut self, of: &Node, field: &str, range: &Range<usize>) -> Option<Term> {
        match self.term(of)? {
            Term::Object(object) => self.attribute(&object, field, range),
            Term::Headers => Some(Term::Attribute(self.header(field, range)?)),
            Term::Claims => Some(Term::Claim(ClaimPath(vec![field.to_owned()]))),
            Term::Claim(path) => Some(Term::Claim(inside(path, field))),
            other => {
                let message = format!("`.{field}` of {}, which has no fields", other.describe());
                self.refuse(Fault::invalid(range, message))
            }
        }
    }

    fn attribute(&mut self, object: &str, field: &str, range: &Range<usize>) -> Option<Term> {
        let name = format!("{object}.{field}");
        let Some(known) = self.environment.find(&name) else {
            let all: Vec<&str> = self.environment.attributes().map(|known| known.name).collect();
            let prefix = format!("{object}.");
            let own: Vec<&str> = all.iter().filter_map(|name| name.strip_prefix(&prefix)).collect();
            let help = match did_you_mean(&name, all) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("`{object}` has {}", listed(&own)),
            };
            let fault = Fault::invalid(range, format!("there is no attribute `{name}`")).help(help);
            return self.refuse(fault);
        };
        if let Some(needs) = known.needs
            && self.environment != Environment::Everything
            && (self.environment, name.starts_with("response.")) != (Environment::AccessLog, true)
        {
            let fault = Fault::not_supported(range, format!("`{name}` is not supported yet"));
            return self.refuse(fault.note(format!("it needs {}", needs.what)).help(needs.instead));
        }
        Some(match known.what {
            What::Text(attribute) => Term::Attribute(attribute.clone()),
            What::Number(number) => Term::Number(number.clone()),
            What::Milliseconds(number) => Term::Milliseconds(number.clone()),
            What::Address(address) => Term::Address(address),
            What::Texts(list) => Term::Texts(list.clone()),
            What::Headers => Term::Headers,
            What::Claims => Term::Claims,
        })
    }

    /// The header of that name, which must be one that a request can have.
    pub(super) fn header(&mut self, name: &str, range: &Range<usize>) -> Option<Attribute> {
        let lower = name.to_ascii_lowercase();
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            let message = format!("`{}` is not the name of a header field", Short(name));
            return self.refuse(Fault::invalid(range, message));
        }
        if lower != name {
            let fault =
                Fault::invalid(range, format!("no header is called `{name}`: their names are in lower case"));
            return self.refuse(fault.help(format!("write `{lower}`")));
        }
        if name == "host" {
            let fault = Fault::invalid(range, "not every request has a header `host`, though it has a host");
            return self.refuse(fault.help("write `request.host`"));
        }
        Some(Attribute::Header(lower))
    }

    fn has(&mut self, of: &Node, field: &str, range: &Range<usize>) -> Option<Predicate> {
        let term = match self.term(of)? {
            Term::Object(object) => self.attribute(&object, field, range)?,
            Term::Headers => Term::Attribute(self.header(field, range)?),
            Term::Claims => Term::Claim(ClaimPath(vec![field.to_owned()])),
            Term::Claim(path) => Term::Claim(inside(path, field)),
            other => other,
        };
        match term {
            Term::Attribute(attribute) => Some(Predicate::Has(attribute)),
            Term::Claim(path) => Some(Predicate::Has(Attribute::Claim(path))),
            _ => self.refuse(Fault::not_supported(range, "`has` tests headers, claims and other texts")),
        }
    }

    fn index(&mut self, of: &Node, index: &Node) -> Option<Term> {
        let (of, key) = (self.placed(of), self.placed(index));
        let (of, key) = (of?, key?);
        let Term::Text(name) = key.term else {
            let message = format!("the index is {}, and must be a literal text", key.term.describe());
            return self.refuse(Fault::invalid(&key.range, message));
        };
        match of.term {
            Term::Headers => Some(Term::Attribute(self.header(&name, &key.range)?)),
            Term::Claims => Some(Term::Claim(ClaimPath(vec![name]))),
            Term::Claim(path) => Some(Term::Claim(inside(path, &name))),
            Term::Object(object) => {
                let fault = Fault::invalid(&key.range, format!("`{object}` is not a map"));
                self.refuse(fault.help(format!("write `{object}.{}`", Short(&name))))
            }
            other => {
                let message = format!("this is {}, and only headers and claims have names", other.describe());
                self.refuse(Fault::invalid(&of.range, message))
            }
        }
    }

    /// `c ? a : b`, exactly: where `c` is an error, so is the whole, which the first part sees to.
    fn choice(&mut self, parts: &[Node; 3], range: &Range<usize>) -> Option<Predicate> {
        let [condition, then, otherwise] = parts;
        let parts = (self.condition(condition), self.condition(then), self.condition(otherwise));
        let (condition, then, otherwise) = (parts.0?, parts.1?, parts.2?);
        match condition.as_constant() {
            Some(true) => return Some(then),
            Some(false) => return Some(otherwise),
            None => {}
        }
        let contrary = condition.clone().negated();
        let choice = Predicate::any_of([
            Predicate::all_of([condition.clone(), contrary.clone()]),
            Predicate::all_of([condition, then]),
            Predicate::all_of([contrary, otherwise]),
        ]);
        self.small(choice, range)
    }

    fn each(
        &mut self,
        all: bool,
        list: &Node,
        variable: &str,
        condition: &Node,
        range: &Range<usize>,
    ) -> Option<Predicate> {
        let Term::List(items) = self.term(list)? else {
            return self
                .refuse(Fault::not_supported(&list.range, "`exists` and `all` are for literal lists"));
        };
        if !self.variables.is_empty() {
            return self.refuse(Fault::not_supported(range, "`exists` and `all` inside one another"));
        }
        if items.is_empty() {
            return self.refuse(Fault::invalid(&list.range, "the list is empty"));
        }
        let mut parts = Vec::new();
        for (item, _) in items {
            self.variables.push((variable.to_owned(), item));
            let part = self.condition(condition);
            self.variables.pop();
            parts.push(part?);
        }
        let joined = if all { Predicate::all_of(parts) } else { Predicate::any_of(parts) };
        self.small(joined, range)
    }

    /// Keeps what is built twice from growing without bound.
    pub(super) fn small(&mut self, predicate: Predicate, range: &Range<usize>) -> Option<Predicate> {
        if predicate.size() <= Predicate::MAX_SIZE {
            return Some(predicate);
        }
        let message = format!("this comes to more than {} comparisons", Predicate::MAX_SIZE);
        self.refuse(Fault::not_supported(range, message).help("say it in several rules"))
    }

    /// The cost of evaluating it, which proxies pay for every request.
    fn bounded(&mut self, predicate: Predicate, range: &Range<usize>) -> Option<Predicate> {
        let predicate = self.small(predicate, range)?;
        if predicate.depth() > Predicate::MAX_DEPTH {
            let message = format!("`&&` and `||` alternate more than {} times", Predicate::MAX_DEPTH);
            return self.refuse(Fault::not_supported(range, message).help("say it in several rules"));
        }
        let regexes = regexes(&predicate);
        if regexes > REGEXES {
            let message = format!("this comes to {regexes} regular expressions, more than {REGEXES}");
            let fault = Fault::not_supported(range, message).note("`contains` and `matches` are ones");
            return self.refuse(fault.help("join the patterns with `|`, or say it in several rules"));
        }
        Some(predicate)
    }

    /// Whether a text is this one.
    pub(super) fn equal(&mut self, of: Attribute, text: String, range: &Range<usize>) -> Option<Predicate> {
        match literals::exact(&of, &text) {
            Ok(Some(id)) => Some(Predicate::Identity(weft_bundle::body::IdentityMatch::Exact(id))),
            Ok(None) => Some(Predicate::Text { of, is: StringMatch::Exact(text) }),
            Err(never) => self.refuse(never.at(range)),
        }
    }
}

fn inside(ClaimPath(mut names): ClaimPath, name: &str) -> ClaimPath {
    names.push(name.to_owned());
    ClaimPath(names)
}

fn regexes(predicate: &Predicate) -> usize {
    match predicate {
        Predicate::All(parts) | Predicate::Any(parts) => parts.iter().map(regexes).sum(),
        Predicate::Not(part) => regexes(part),
        Predicate::Text { is: StringMatch::Regex(_), .. }
        | Predicate::Contains { is: StringMatch::Regex(_), .. } => 1,
        _ => 0,
    }
}

/// `` `a`, `b` and `c` ``
pub(super) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
