//! Writes rows through the table access method, and the index entries that lead to them.

use super::row::Slot;
use super::shape::owner;
use super::{LockWait, Update};
use crate::pg::session::as_owner_alone;
use pgrx::{PgBox, pg_sys};
use std::ptr;

/// Why a row needs index entries.
#[derive(Clone, Copy, PartialEq)]
pub enum Reason {
    /// The row is new.
    Inserted,
    /// The row is a newer version, on another page or with another key.
    Updated,
    /// The row is a heap-only tuple. Only block range indexes need to know it.
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    Summarized,
}

/// Inserts entries for a stored row into all indexes of the table, including an administrator's
/// own. Waits until a concurrent insertion of the same unique key commits or aborts, and raises
/// 23505 if the key exists.
pub fn insert_index_entries(rel: pg_sys::Relation, slot: &Slot, reason: Reason) {
    // SAFETY: rel is open, and the slot holds a row of it with its tid. The range table index 0
    // means that there is no range table.
    unsafe {
        let relation =
            PgBox::<pg_sys::ResultRelInfo>::alloc_node(pg_sys::NodeTag::T_ResultRelInfo).into_pg();
        pg_sys::InitResultRelInfo(relation, rel, 0, ptr::null_mut(), 0);
        pg_sys::ExecOpenIndices(relation, false);
        let insert = || insert_entries(relation, slot, reason);
        match calls_functions(relation) {
            // The functions in an index must not get the rights of the caller or of a worker.
            true => as_owner_alone(owner(rel), insert),
            false => insert(),
        }
        pg_sys::ExecCloseIndices(relation);
    }
}

/// Whether an index of the table has an expression or a predicate.
unsafe fn calls_functions(relation: *mut pg_sys::ResultRelInfo) -> bool {
    // SAFETY: the indexes are open.
    unsafe {
        (0..(*relation).ri_NumIndices as usize).any(|at| {
            let index = *(*relation).ri_IndexRelationInfo.add(at);
            !(*index).ii_Expressions.is_null() || !(*index).ii_Predicate.is_null()
        })
    }
}

unsafe fn insert_entries(relation: *mut pg_sys::ResultRelInfo, slot: &Slot, reason: Reason) {
    // SAFETY: the indexes are open, and the slot holds a row of their table with its tid.
    unsafe {
        let estate = pg_sys::CreateExecutorState();
        pg_sys::ExecInsertIndexTuples(
            relation,
            slot.0,
            estate,
            reason != Reason::Inserted,
            false,
            ptr::null_mut(),
            ptr::null_mut(),
            #[cfg(not(any(feature = "pg14", feature = "pg15")))]
            {
                reason == Reason::Summarized
            },
        );
        pg_sys::FreeExecutorState(estate);
    }
}

/// Stores a newer version of a row. Returns why it needs index entries. A heap-only tuple needs
/// none, because the row's existing entries lead to it.
pub fn update_tuple(
    rel: pg_sys::Relation,
    old: &Slot,
    new: &Slot,
    wait: LockWait,
) -> Result<Option<Reason>, Update> {
    let mut failure = pg_sys::TM_FailureData::default();
    let mut lock = pg_sys::LockTupleMode::LockTupleExclusive;
    let mut entries = Default::default();
    // SAFETY: old holds a stored row with its tid. The access method checks under the page's lock
    // that the version at this tid is still the newest. Only foreign keys under REPEATABLE READ
    // need a crosscheck snapshot.
    let result = unsafe {
        let Some(update) = (*(*rel).rd_tableam).tuple_update else {
            return Err(Update::Gone);
        };
        let command = pg_sys::GetCurrentCommandId(true);
        let snapshot = pg_sys::GetActiveSnapshot();
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            update(
                rel,
                &mut (*old.0).tts_tid,
                new.0,
                command,
                snapshot,
                ptr::null_mut(),
                wait == LockWait::Wait,
                &mut failure,
                &mut lock,
                &mut entries,
            )
        })
    };
    match result {
        pg_sys::TM_Result::TM_Ok => {}
        pg_sys::TM_Result::TM_BeingModified => return Err(Update::Busy),
        _ => return Err(Update::Gone),
    }
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    return Ok(entries.then_some(Reason::Updated));
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    Ok(match entries {
        pg_sys::TU_UpdateIndexes::TU_None => None,
        pg_sys::TU_UpdateIndexes::TU_Summarizing => Some(Reason::Summarized),
        _ => Some(Reason::Updated),
    })
}

/// Deletes a row, unless another transaction holds it.
pub fn delete_tuple(rel: pg_sys::Relation, old: &Slot) -> Update {
    let mut failure = pg_sys::TM_FailureData::default();
    // SAFETY: as in update_tuple.
    let result = unsafe {
        let Some(delete) = (*(*rel).rd_tableam).tuple_delete else {
            return Update::Gone;
        };
        let command = pg_sys::GetCurrentCommandId(true);
        let snapshot = pg_sys::GetActiveSnapshot();
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            delete(
                rel,
                &mut (*old.0).tts_tid,
                command,
                snapshot,
                ptr::null_mut(),
                false,
                &mut failure,
                false,
            )
        })
    };
    match result {
        pg_sys::TM_Result::TM_Ok => Update::Done,
        pg_sys::TM_Result::TM_BeingModified => Update::Busy,
        _ => Update::Gone,
    }
}

/// Stores a new row, without its index entries.
pub fn insert_tuple(rel: pg_sys::Relation, new: &Slot) {
    // SAFETY: the slot holds a row of this table.
    unsafe {
        if let Some(insert) = (*(*rel).rd_tableam).tuple_insert {
            let command = pg_sys::GetCurrentCommandId(true);
            pg_sys::ffi::pg_guard_ffi_boundary(|| insert(rel, new.0, command, 0, ptr::null_mut()));
        }
    }
}

/// Raises PostgreSQL's own error if a publication could not pass the change on to its subscribers.
pub fn check_identity(rel: pg_sys::Relation, command: pg_sys::CmdType::Type) {
    // SAFETY: rel is open.
    unsafe { pg_sys::CheckCmdReplicaIdentity(rel, command) };
}

/// Makes the change visible to later statements, and to later calls in this one.
pub fn end_change() {
    // SAFETY: the executor does the same after each statement.
    unsafe { pg_sys::CommandCounterIncrement() };
}
