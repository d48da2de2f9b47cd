//! The SAT core, wrapped so that nothing else knows which solver it is.

use super::limits::Unknown;
use batsat::{Callbacks, ClauseKind, Lit, Solver, SolverInterface, SolverOpts, Var, lbool};

/// A propositional variable.
pub(super) type Variable = Var;

/// A growing set of clauses.
pub(super) struct Sat {
    solver: Solver<Conflicts>,
}

/// What the solver found under assumptions.
pub(super) enum Answer {
    /// The clauses can hold; read the variables with [`Sat::is_true`].
    Model,
    /// They cannot, because of these of the assumptions.
    Core(Vec<Variable>),
}

impl Sat {
    pub(super) fn new(max_conflicts: u64) -> Self {
        Self { solver: Solver::new(SolverOpts::default(), Conflicts { count: 0, max_conflicts }) }
    }

    /// A new variable, false unless a clause needs it to be true.
    pub(super) fn variable(&mut self) -> Variable {
        self.solver.new_var_default()
    }

    /// Demands that one of `positive` is true or one of `negative` is false.
    pub(super) fn clause(&mut self, positive: &[Variable], negative: &[Variable]) {
        let mut literals: Vec<Lit> = positive.iter().map(|variable| Lit::new(*variable, true)).collect();
        literals.extend(negative.iter().map(|variable| Lit::new(*variable, false)));
        self.solver.add_clause_reuse(&mut literals);
    }

    /// Looks for a model in which all of `assumed` are true.
    pub(super) fn solve(&mut self, assumed: &[Variable]) -> Result<Answer, Unknown> {
        let literals: Vec<Lit> = assumed.iter().map(|variable| Lit::new(*variable, true)).collect();
        let result = self.solver.solve_limited(&literals);
        if result == lbool::TRUE {
            Ok(Answer::Model)
        } else if result == lbool::FALSE {
            let core =
                assumed.iter().copied().filter(|variable| self.solver.unsat_core_contains_var(*variable));
            Ok(Answer::Core(core.collect()))
        } else {
            Err(Unknown { why: format!("no answer after {} conflicts", self.solver.cb().max_conflicts) })
        }
    }

    /// How many conflicts there were up to now.
    pub(super) fn conflicts(&self) -> u64 {
        self.solver.cb().count
    }

    /// The value of a variable in the last model.
    pub(super) fn is_true(&self, variable: Variable) -> bool {
        self.solver.value_var(variable) == lbool::TRUE
    }
}

/// Counts conflicts, because the solver's own budget cannot be set from outside.
struct Conflicts {
    count: u64,
    max_conflicts: u64,
}

impl Callbacks for Conflicts {
    fn on_new_clause(&mut self, _: &[Lit], _: ClauseKind) {
        self.count += 1;
    }

    fn stop(&self) -> bool {
        self.count > self.max_conflicts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_make_true_only_what_they_need() {
        let mut sat = Sat::new(100);
        let [selector, a, b, idle] = [(); 4].map(|()| sat.variable());
        sat.clause(&[a, b], &[selector]);
        assert!(matches!(sat.solve(&[selector]), Ok(Answer::Model)));
        assert_eq!(usize::from(sat.is_true(a)) + usize::from(sat.is_true(b)), 1);
        assert!(!sat.is_true(idle));
    }

    #[test]
    fn the_core_holds_only_the_guilty_assumptions() {
        let mut sat = Sat::new(100);
        let [first, second, third, a, b] = [(); 5].map(|()| sat.variable());
        sat.clause(&[a], &[first]);
        sat.clause(&[b], &[second]);
        sat.clause(&[a, b], &[third]);
        sat.clause(&[], &[a]);
        let Ok(Answer::Core(core)) = sat.solve(&[third, second, first]) else { panic!("`a` cannot be true") };
        assert_eq!(core, [first]);
        assert!(matches!(sat.solve(&[second, third]), Ok(Answer::Model)));
    }

    #[test]
    fn conflicts_are_limited() {
        // Seven pigeons do not fit into six holes, which takes the solver thousands of conflicts to see.
        let mut sat = Sat::new(50);
        let pigeons: Vec<Vec<Variable>> = (0..7).map(|_| (0..6).map(|_| sat.variable()).collect()).collect();
        for pigeon in &pigeons {
            sat.clause(pigeon, &[]);
        }
        for hole in 0..6 {
            for (at, pigeon) in pigeons.iter().enumerate() {
                for other in &pigeons[..at] {
                    sat.clause(&[], &[pigeon[hole], other[hole]]);
                }
            }
        }
        let Err(unknown) = sat.solve(&[]) else { panic!("the budget is too small for this") };
        assert_eq!(unknown.why, "no answer after 50 conflicts");
    }
}
