//! Which faults a request meets. The draws are arguments, as for a split.

use std::time::Duration;

use crate::body::{Abort, Delay, Fault};

/// What happens to one request before it is forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected<'r> {
    /// It waits this long, which is more than nothing.
    pub delay: Option<Duration>,
    /// Then it is answered like this.
    pub abort: Option<&'r Abort>,
}

/// The faults that two independent draws fall on, each evenly drawn from all `u64`: the first decides whether the request
/// waits, the second whether it is answered with an error.
pub fn inject(fault: &Fault, draws: [u64; 2]) -> Injected<'_> {
    let [wait, answer] = draws;
    let delay = fault.delay.as_ref().filter(|Delay { share, .. }| share.takes(wait));
    Injected {
        delay: delay.map(|delay| delay.fixed.get()).filter(|delay| !delay.is_zero()),
        abort: fault.abort.as_ref().filter(|abort| abort.share.takes(answer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Fraction;
    use crate::duration::DurationText;

    #[test]
    fn each_fault_has_a_draw_of_its_own() {
        let second = Duration::from_secs(1);
        let half = Fraction::percent(50);
        let delay = Delay { fixed: DurationText::new(second), share: half };
        let abort = Abort { status: 503, grpc_status: None, share: half };
        let both = Fault { delay: Some(delay.clone()), abort: Some(abort) };
        let met = |fault: &Fault, draws| {
            let Injected { delay, abort } = inject(fault, draws);
            (delay == Some(second), abort.is_some())
        };
        assert_eq!(met(&both, [0, 0]), (true, true));
        assert_eq!(met(&both, [0, 99]), (true, false));
        assert_eq!(met(&both, [99, 0]), (false, true));
        assert_eq!(met(&both, [99, 99]), (false, false));
        assert_eq!(met(&Fault::default(), [0, 0]), (false, false));
        let nothing = Delay { fixed: DurationText::default(), ..delay };
        assert_eq!(met(&Fault { delay: Some(nothing), abort: None }, [0, 0]), (false, false));
    }
}
