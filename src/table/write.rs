//! Writing rows, and the index entries that lead to them.

use super::slot::Slot;
use super::{Rival, Update, primary_key};
use pgrx::{PgBox, pg_sys};
use std::ptr;

/// All indexes of the table, also those that an administrator added.
pub struct Indexes {
    estate: *mut pg_sys::EState,
    relation: *mut pg_sys::ResultRelInfo,
    /// The one index whose conflicts are ours to report.
    pkey: *mut pg_sys::List,
}

impl Indexes {
    /// `speculative`: for insertions that may meet their key.
    pub fn open(rel: pg_sys::Relation, speculative: bool) -> Indexes {
        // SAFETY: rel is open; a range table index of 0 says that there is no range table.
        unsafe {
            let relation =
                PgBox::<pg_sys::ResultRelInfo>::alloc_node(pg_sys::NodeTag::T_ResultRelInfo)
                    .into_pg();
            pg_sys::InitResultRelInfo(relation, rel, 0, ptr::null_mut(), 0);
            pg_sys::ExecOpenIndices(relation, speculative);
            Indexes {
                estate: pg_sys::CreateExecutorState(),
                relation,
                pkey: pg_sys::lappend_oid(ptr::null_mut(), primary_key(rel)),
            }
        }
    }

    pub fn close(self) {
        // SAFETY: opened by `open`, and not used after this.
        unsafe {
            pg_sys::ExecCloseIndices(self.relation);
            pg_sys::FreeExecutorState(self.estate);
        }
    }

    /// Whether a committed row, or one of this transaction, has the key of this one. Waits for a
    /// rival whose insertion is still open.
    pub fn conflict(&self, slot: &Slot) -> bool {
        let mut conflicting = pg_sys::ItemPointerData::default();
        // SAFETY: relation, estate and pkey are those of `open`.
        unsafe {
            !pg_sys::ExecCheckIndexConstraints(
                self.relation,
                slot.0,
                self.estate,
                &mut conflicting,
                #[cfg(feature = "pg18")]
                &mut (*slot.0).tts_tid,
                self.pkey,
            )
        }
    }

    /// Inserts the row so that rivals of the same key wait on a token of it, then its index
    /// entries. False: a rival came first, and the row was taken back.
    pub fn insert_speculatively(&self, slot: &Slot) -> bool {
        // SAFETY: the steps, and their order, of the executor's ON CONFLICT DO NOTHING. The calls
        // through the access method's table are guarded, so that their errors unwind.
        unsafe {
            let rel = (*self.relation).ri_RelationDesc;
            let xid = pg_sys::GetCurrentTransactionId();
            let token = pg_sys::SpeculativeInsertionLockAcquire(xid);
            let am = &*(*rel).rd_tableam;
            if let Some(insert) = am.tuple_insert_speculative {
                let command = pg_sys::GetCurrentCommandId(true);
                pg_sys::ffi::pg_guard_ffi_boundary(|| {
                    insert(rel, slot.0, command, 0, ptr::null_mut(), token)
                });
            }
            let mut conflict = false;
            self.insert_entries(slot, false, Some(&mut conflict), false);
            if let Some(complete) = am.tuple_complete_speculative {
                pg_sys::ffi::pg_guard_ffi_boundary(|| complete(rel, slot.0, token, !conflict));
            }
            pg_sys::SpeculativeInsertionLockRelease(xid);
            !conflict
        }
    }

    fn insert_entries(
        &self,
        slot: &Slot,
        update: bool,
        conflict: Option<&mut bool>,
        _only_summarizing: bool,
    ) {
        // SAFETY: the slot holds a row that was just stored, with its tid.
        unsafe {
            pg_sys::ExecInsertIndexTuples(
                self.relation,
                slot.0,
                self.estate,
                update,
                conflict.is_some(),
                conflict.map_or(ptr::null_mut(), |c| c as *mut bool),
                self.pkey,
                #[cfg(not(any(feature = "pg14", feature = "pg15")))]
                _only_summarizing,
            );
        }
    }
}

pub fn insert_index_entries(rel: pg_sys::Relation, slot: &Slot, only_summarizing: bool) {
    let indexes = Indexes::open(rel, false);
    indexes.insert_entries(slot, true, None, only_summarizing);
    indexes.close();
}

/// The index entries that an updated row needs.
pub enum Entries {
    /// A heap-only tuple: the indexes still lead to it.
    None,
    /// Heap-only, but block range indexes need to know.
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    Summarizing,
    /// On another page, or with another key.
    All,
}

pub fn update_tuple(
    rel: pg_sys::Relation,
    old: &Slot,
    new: &Slot,
    rival: Rival,
) -> Result<Entries, Update> {
    let mut failure = pg_sys::TM_FailureData::default();
    let mut lock = pg_sys::LockTupleMode::LockTupleExclusive;
    let mut entries = Default::default();
    // SAFETY: old holds a stored row with its tid. The access method checks on its own, under the
    // page's lock, that the version at this tid is still the newest one. A crosscheck snapshot would
    // be for foreign keys under REPEATABLE READ.
    let result = unsafe {
        let Some(update) = (*(*rel).rd_tableam).tuple_update else {
            return Err(Update::Gone);
        };
        let command = pg_sys::GetCurrentCommandId(true);
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            update(
                rel,
                &mut (*old.0).tts_tid,
                new.0,
                command,
                pg_sys::GetActiveSnapshot(),
                ptr::null_mut(),
                rival == Rival::Wait,
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
    return Ok(if entries { Entries::All } else { Entries::None });
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    Ok(match entries {
        pg_sys::TU_UpdateIndexes::TU_None => Entries::None,
        pg_sys::TU_UpdateIndexes::TU_Summarizing => Entries::Summarizing,
        _ => Entries::All,
    })
}

/// Deletes a row that nobody holds.
pub fn delete_tuple(rel: pg_sys::Relation, old: &Slot) -> Update {
    let mut failure = pg_sys::TM_FailureData::default();
    // SAFETY: as in update_tuple.
    let result = unsafe {
        let Some(delete) = (*(*rel).rd_tableam).tuple_delete else {
            return Update::Gone;
        };
        let command = pg_sys::GetCurrentCommandId(true);
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            delete(
                rel,
                &mut (*old.0).tts_tid,
                command,
                pg_sys::GetActiveSnapshot(),
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

/// Inserts a row whose key was deleted by this transaction; its index entries are still to come.
pub fn insert_tuple(rel: pg_sys::Relation, new: &Slot) {
    // SAFETY: the slot holds a row of this table.
    unsafe {
        if let Some(insert) = (*(*rel).rd_tableam).tuple_insert {
            let command = pg_sys::GetCurrentCommandId(true);
            pg_sys::ffi::pg_guard_ffi_boundary(|| insert(rel, new.0, command, 0, ptr::null_mut()));
        }
    }
}
