//! How a worker carries out orders: together in one transaction where it can, else each in one of its own.

use super::process::{in_transaction, in_transaction_of_owner, or_roll_back, wait_at_most};
use super::{Order, Outcome, PATIENCE, PAUSE, pause};
use crate::error::Error;
use crate::table::{Code, Rival, Table, Update, set_local, triggers_at_once};
use crate::undo;
use pgrx::pg_sys;
use std::ffi::c_int;
use std::time::Instant;

/// Carries out orders, those that can be in one transaction, in their order. Each has its own deadline.
pub fn commit(orders: &[(Order, Instant)]) -> Vec<Outcome> {
    let together = or_roll_back(|| {
        in_transaction(|| {
            undo::flush_on_commit();
            orders.iter().map(|(order, _)| carry_out(order)).collect()
        })
    });
    let mut outcomes = together.unwrap_or_else(|_| vec![Outcome::Alone; orders.len()]);
    for ((order, deadline), outcome) in orders.iter().zip(&mut outcomes) {
        if let Outcome::Alone = outcome {
            *outcome = commit_alone(order, *deadline);
        }
    }
    // A worker that was terminated while it waited for a standby must not answer.
    pgrx::check_for_interrupts!();
    outcomes
}

fn carry_out(order: &Order) -> Outcome {
    let write = |codes: &Table<Code>| match codes.is_plain() {
        true => write_order(order, codes).map(outcome),
        false => Ok(Outcome::Alone),
    };
    match Table::with_oid(order.table, write) {
        Ok(outcome) => outcome.unwrap_or(Outcome::Busy),
        // Said by an attempt of its own.
        Err(_) => Outcome::Alone,
    }
}

fn write_order(order: &Order, codes: &Table<Code>) -> Result<Update, Error> {
    order
        .step
        .write_by_hash(codes, order.code_hash(), Rival::GiveUp)
}

fn outcome(update: Update) -> Outcome {
    match update {
        Update::Done => Outcome::Done,
        Update::Gone => Outcome::Gone,
        Update::Busy => Outcome::Busy,
    }
}

/// Carries out an order in a transaction of its own, with all that an administrator has added to the table.
fn commit_alone(order: &Order, deadline: Instant) -> Outcome {
    let committed = or_roll_back(|| {
        in_transaction_of_owner(|| {
            undo::flush_on_commit();
            set_replication_role(order.replication_role);
            triggers_at_once();
            wait_at_most(deadline.saturating_duration_since(Instant::now()));
            let mut owner = None;
            let update = Table::with_oid(order.table, |codes| {
                owner = Some(codes.owner());
                write_order(order, codes)
            });
            let update = update.unwrap_or_else(|error| error.raise());
            (update.map_or(Outcome::Busy, outcome), owner)
        })
    });
    // What a trigger has set for the session is not for the next order.
    in_transaction(|| unsafe { pg_sys::ResetAllOptions() });
    committed.unwrap_or_else(|failure| Outcome::Failed(failure.into()))
}

fn set_replication_role(role: c_int) {
    // SAFETY: reads a variable of this process.
    if role != unsafe { pg_sys::SessionReplicationRole } {
        let names = [c"origin", c"replica", c"local"];
        let name = usize::try_from(role).ok().and_then(|at| names.get(at));
        set_local(c"session_replication_role", name.unwrap_or(&c"origin"));
    }
}

/// Carries out one order, again and again while it finds a lock and there is patience left.
pub fn commit_patiently(order: Order) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match commit(&[(order, deadline)]).first() {
            Some(Outcome::Busy) if Instant::now() < deadline => {
                pause(PAUSE);
            }
            outcome => return outcome.copied().unwrap_or(Outcome::Unknown),
        }
    }
}
