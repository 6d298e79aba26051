//! How a worker carries out orders: in one transaction if possible, otherwise each in one of its
//! own.

use super::{Order, Outcome, PATIENCE, PAUSE};
use crate::codes::step::Step;
use crate::commit::{flush_on_commit, savepoint};
use crate::error::Error;
use crate::pg::backend::pause;
use crate::pg::session::{Owner, discard_session, foreign_code_ran, set_replication_role};
use crate::pg::transaction::{
    in_transaction_of_owner, or_roll_back, run_at_most, triggers_at_once, wait_at_most,
};
use crate::table::{Code, LockWait, Table, Update};
use std::time::{Duration, Instant};

/// The least time that an order may wait for a lock.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);

/// How long an order may take, including its triggers. Other orders wait behind it.
const LONGEST: Duration = Duration::from_secs(10);

/// Carries out orders in their sequence, as many as possible in one transaction. Each has its own
/// deadline.
pub fn commit(orders: &[(Order, Instant)]) -> Vec<Outcome> {
    let mut owner = None;
    let together = or_roll_back(|| {
        in_transaction_of_owner(|| (carry_out_together(orders, &mut owner), owner))
    });
    forget_foreign_code(owner);
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

/// Carries out the orders for the first order's table. The commit has the rights of its owner,
/// because functions in an index may defer work to the commit.
fn carry_out_together(orders: &[(Order, Instant)], owner: &mut Option<Owner>) -> Vec<Outcome> {
    flush_on_commit();
    let of_first = |order: &Order| {
        orders
            .first()
            .is_some_and(|(first, _)| first.head.table == order.head.table)
    };
    orders
        .iter()
        .map(|(order, _)| match of_first(order) {
            true => carry_out(order, owner),
            false => Outcome::Alone,
        })
        .collect()
}

fn carry_out(order: &Order, owner: &mut Option<Owner>) -> Outcome {
    let step = order.step();
    let write = |codes: &Table<Code>| {
        *owner = Some(codes.owner());
        match step.is_plain(codes, LockWait::GiveUp)? {
            Some(true) => write_step(&step, order, codes).map(outcome),
            Some(false) => Ok(Outcome::Alone),
            None => Ok(Outcome::Busy),
        }
    };
    match Table::with_oid(order.head.table, write) {
        Ok(outcome) => outcome.unwrap_or(Outcome::Busy),
        // An attempt in a transaction of its own will report the error.
        Err(_) => Outcome::Alone,
    }
}

fn write_step(step: &Step, order: &Order, codes: &Table<Code>) -> Result<Update, Error> {
    step.write_by_hash(codes, order.head.code_hash(), LockWait::GiveUp)
}

fn outcome(update: Update) -> Outcome {
    match update {
        Update::Done => Outcome::Done,
        Update::Gone => Outcome::Gone,
        Update::Busy => Outcome::Busy,
    }
}

/// Carries out an order in a transaction of its own, with everything that an administrator added to
/// the table.
fn commit_alone(order: &Order, deadline: Instant) -> Outcome {
    let (mut owner, step) = (None, order.step());
    let committed = or_roll_back(|| {
        in_transaction_of_owner(|| {
            flush_on_commit();
            set_replication_role(order.head.replication_role);
            triggers_at_once();
            let patience = deadline.saturating_duration_since(Instant::now());
            // The order may have waited behind slow ones.
            wait_at_most(patience.max(LEAST_PATIENCE));
            run_at_most(LONGEST);
            let update = Table::with_oid(order.head.table, |codes| {
                owner = Some(codes.owner());
                let update = write_step(&step, order, codes)?;
                if update == Update::Done {
                    savepoint::remember(&step, codes, order.head.code_hash());
                }
                Ok(update)
            });
            let update = update.unwrap_or_else(|error| error.raise());
            (update.map_or(Outcome::Busy, outcome), owner)
        })
    });
    forget_foreign_code(owner);
    committed.unwrap_or_else(|failure| Outcome::Failed(failure.into()))
}

/// Discards what an administrator's code left in this session, before the next order.
fn forget_foreign_code(owner: Option<Owner>) {
    if let Some(owner) = owner.filter(|_| foreign_code_ran()) {
        in_transaction_of_owner(|| (discard_session(owner), Some(owner)));
    }
}

/// Carries out one order, and tries again while it meets a lock, until its deadline.
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
