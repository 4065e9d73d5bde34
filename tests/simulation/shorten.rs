//! From a plan that breaks a law to a short one that breaks the same.

use crate::{
    laws::Law,
    plan::{Plan, Step},
    run::run,
};

/// How many shorter plans are tried at most.
const TRIES: usize = 2_000;

/// Leaves out steps, many at once and then fewer, as long as `law` is still broken: delta debugging.
pub(crate) fn shorten(plan: &Plan, law: Law) -> Plan {
    let mut steps = plan.steps.clone();
    let mut tries = 0;
    let mut size = steps.len().div_ceil(2);
    while size > 0 && tries < TRIES {
        let mut from = 0;
        let mut is_shorter = false;
        while from < steps.len() {
            let to = (from + size).min(steps.len());
            let rest: Vec<Step> = [&steps[..from], &steps[to..]].concat();
            tries += 1;
            if breaks(&plan.with(rest.clone()), law) {
                (steps, is_shorter) = (rest, true);
            } else {
                from = to;
            }
        }
        if !is_shorter || size > steps.len() {
            size = if size == 1 { 0 } else { size / 2 };
        }
    }
    plan.with(steps)
}

fn breaks(plan: &Plan, law: Law) -> bool {
    run(plan, false).violation.is_some_and(|violation| violation.law == law)
}
