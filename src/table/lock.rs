//! Locks of rows and keys, and the transactions that hold them or wait for them.

use super::row::{Row, Slot, Values};
use super::{Columns, LockWait, Table, Update};
use pgrx::{check_for_interrupts, pg_sys};
use std::ptr;
use std::slice;

/// The purpose of a row lock.
#[derive(Clone, Copy, PartialEq)]
pub enum Purpose {
    /// A change that keeps all keys. A transaction that only holds the key does not stop it.
    Change,
    /// A removal, or a change to a column of a unique index, which a foreign key may reference.
    KeyChange,
}

impl Purpose {
    /// The purpose of an update that writes these values.
    pub(super) fn of_update<C: Columns>(table: &Table<C>, values: &Values<C>) -> Purpose {
        // SAFETY: the table is open. Its columns are counted from 1, after the system columns.
        unsafe {
            let kind = pg_sys::IndexAttrBitmapKind::INDEX_ATTR_BITMAP_KEY;
            let keys = pg_sys::RelationGetIndexAttrBitmap(table.rel, kind);
            let place = |column: C| {
                column.position() as i32 + 1 - pg_sys::FirstLowInvalidHeapAttributeNumber
            };
            let mut columns = values.0.iter();
            match columns.any(|(column, _)| pg_sys::bms_is_member(place(*column), keys)) {
                true => Purpose::KeyChange,
                false => Purpose::Change,
            }
        }
    }
}

impl<C: Columns> Table<C> {
    /// Locks a row version as a change that keeps all keys does.
    pub fn lock(&self, row: &Row<C>, wait: LockWait) -> Update {
        self.lock_row(row, Purpose::Change, wait)
    }

    /// Locks a row version until this transaction ends. Waits only for the transactions that hold
    /// the row. An update would instead queue up with others that want the row, and would have to
    /// wait for those as well.
    pub(super) fn lock_row(&self, row: &Row<C>, purpose: Purpose, wait: LockWait) -> Update {
        loop {
            check_for_interrupts!();
            match try_lock(self.rel, &row.slot, purpose) {
                pg_sys::TM_Result::TM_Ok => return Update::Done,
                pg_sys::TM_Result::TM_WouldBlock if wait == LockWait::GiveUp => {
                    return Update::Busy;
                }
                pg_sys::TM_Result::TM_WouldBlock => {
                    wait_for_holders(self.rel, row, purpose);
                }
                _ => return Update::Gone,
            }
        }
    }
}

fn try_lock(rel: pg_sys::Relation, row: &Slot, purpose: Purpose) -> pg_sys::TM_Result::Type {
    let mode = match purpose {
        Purpose::Change => pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
        Purpose::KeyChange => pg_sys::LockTupleMode::LockTupleExclusive,
    };
    let locked = Slot::of(rel);
    let mut failure = pg_sys::TM_FailureData::default();
    // SAFETY: the slot holds a stored row with its tid. The access method checks under the page's
    // lock that this version is still the newest.
    unsafe {
        let Some(lock) = (*(*rel).rd_tableam).tuple_lock else {
            return pg_sys::TM_Result::TM_Deleted;
        };
        let command = pg_sys::GetCurrentCommandId(true);
        let snapshot = pg_sys::GetActiveSnapshot();
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            lock(
                rel,
                &mut (*row.0).tts_tid,
                snapshot,
                locked.0,
                command,
                mode,
                pg_sys::LockWaitPolicy::LockWaitSkip,
                0,
                &mut failure,
            )
        })
    }
}

impl<C: Columns> Table<C> {
    /// Waits for the transactions that hold a row version against a change. Returns false if there
    /// are none.
    pub fn wait_for_holders(&self, row: &Row<C>) -> bool {
        wait_for_holders(self.rel, row, Purpose::Change)
    }
}

/// Waits until the transactions that hold a row version have ended. Returns false if there are none
/// but this one.
fn wait_for_holders<C: Columns>(rel: pg_sys::Relation, row: &Row<C>, purpose: Purpose) -> bool {
    let mut waited = false;
    for holder in holders(row, purpose) {
        // SAFETY: the transaction with this number may have ended by now.
        unsafe {
            if !pg_sys::TransactionIdIsCurrentTransactionId(holder)
                && pg_sys::TransactionIdIsInProgress(holder)
            {
                waited = true;
                let tid = &raw mut (*row.slot.0).tts_tid;
                pg_sys::XactLockTableWait(holder, rel, tid, pg_sys::XLTW_Oper::XLTW_Update);
            }
        }
    }
    waited
}

fn holders<C: Columns>(row: &Row<C>, purpose: Purpose) -> Vec<pg_sys::TransactionId> {
    // SAFETY: the slot of a heap table holds a row on a pinned page. The page's lock keeps the two
    // fields consistent.
    let (xmax, flags) = unsafe {
        let header = row.header();
        let slot = row.slot.0.cast::<pg_sys::BufferHeapTupleTableSlot>();
        pg_sys::LockBuffer((*slot).buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let found = (
            (*header).t_choice.t_heap.t_xmax,
            u32::from((*header).t_infomask),
        );
        pg_sys::LockBuffer((*slot).buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        found
    };
    let is_set = |flag| flags & flag != 0;
    if is_set(pg_sys::HEAP_XMAX_INVALID) {
        Vec::new()
    } else if is_set(pg_sys::HEAP_XMAX_IS_MULTI) {
        members(xmax, is_set(pg_sys::HEAP_XMAX_LOCK_ONLY), purpose)
    } else if purpose == Purpose::Change
        && flags & (pg_sys::HEAP_LOCK_MASK | pg_sys::HEAP_XMAX_LOCK_ONLY)
            == pg_sys::HEAP_XMAX_KEYSHR_LOCK | pg_sys::HEAP_XMAX_LOCK_ONLY
    {
        Vec::new()
    } else {
        vec![xmax]
    }
}

/// The members of a multixact that have to be waited for. If no key changes, these are all but
/// those that only hold the key.
fn members(
    multi: pg_sys::TransactionId,
    lock_only: bool,
    purpose: Purpose,
) -> Vec<pg_sys::TransactionId> {
    let mut members: *mut pg_sys::MultiXactMember = ptr::null_mut();
    // SAFETY: returns the number of members and their address, or -1 if there are none.
    unsafe {
        let multi = pg_sys::MultiXactId::from(multi.into_inner());
        let number = pg_sys::GetMultiXactIdMembers(multi, &mut members, false, lock_only);
        if number <= 0 {
            return Vec::new();
        }
        slice::from_raw_parts(members, number as usize)
            .iter()
            .filter(|member| {
                purpose == Purpose::KeyChange
                    || member.status != pg_sys::MultiXactStatus::MultiXactStatusForKeyShare
            })
            .map(|member| member.xid)
            .collect()
    }
}

/// Whether another transaction waits for this one to end, for example because it wants a row that
/// this one holds.
pub fn is_awaited() -> bool {
    // SAFETY: this is the tag of the lock that a transaction holds on its own id until it ends.
    unsafe {
        let xid = pg_sys::GetTopTransactionIdIfAny();
        let tag = pg_sys::LOCKTAG {
            locktag_field1: xid.into_inner(),
            locktag_field2: 0,
            locktag_field3: 0,
            locktag_field4: 0,
            locktag_type: pg_sys::LockTagType::LOCKTAG_TRANSACTION as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        };
        xid != pg_sys::InvalidTransactionId
            && pg_sys::LockHasWaiters(&tag, pg_sys::ExclusiveLock as _, false)
    }
}
