//! Inserts, changes and removes rows: through the table access method if the table is plain,
//! otherwise through the executor. Both do all that PostgreSQL does for such a statement
//! (docs/writes.md).

use super::lock::Purpose;
use super::row::Slot;
use super::row::{Row, Values};
use super::tuple::{Reason, check_identity, delete_tuple, end_change, insert_tuple, update_tuple};
use super::{Columns, LockWait, Table, Update};
use crate::error::Error;
use pgrx::pg_sys;

impl<C: Columns> Table<C> {
    /// Inserts a row. Waits until a concurrent insertion of the same key commits or aborts, and
    /// raises `exists` if the key exists.
    pub fn insert(&self, values: Values<C>, exists: fn() -> Error) -> Result<(), Error> {
        if !self.is_plain {
            return self.insert_by_executor(&values, exists);
        }
        let slot = Slot::of(self.rel);
        slot.fill(None, &values);
        insert_tuple(self.rel, &slot);
        self.insert_index_entries(&slot, Reason::Inserted, exists);
        end_change();
        Ok(())
    }

    /// Replaces a row version by a newer one.
    pub fn update(&self, row: &Row<C>, values: Values<C>, wait: LockWait) -> Result<Update, Error> {
        if self.is_plain {
            // Most rows are held by no other transaction and need no separate lock.
            let update = self.replace(row, &values, LockWait::GiveUp);
            if update != Update::Busy {
                return Ok(update);
            }
        }
        match self.lock_row(row, Purpose::of_update(self, &values), wait) {
            Update::Done if self.is_plain => Ok(self.replace(row, &values, LockWait::Wait)),
            Update::Done => self.update_by_executor(row, &values),
            update => Ok(update),
        }
    }

    /// Removes a row, unless another transaction holds it.
    pub fn delete(&self, row: &Row<C>) -> Result<Update, Error> {
        if !self.is_plain {
            return match self.lock_row(row, Purpose::KeyChange, LockWait::GiveUp) {
                Update::Done => self.delete_by_executor(row),
                update => Ok(update),
            };
        }
        let update = self.remove(row);
        if update == Update::Done {
            end_change();
        }
        Ok(update)
    }

    /// Writes a row again, unless another transaction holds it. If nobody follows the table's
    /// changes, the row moves to another place: an update would use up the room that the page keeps
    /// for heap-only updates.
    pub fn rewrite(&self, row: &Row<C>, values: Values<C>) -> Result<Update, Error> {
        if !self.is_plain || self.is_followed() {
            return self.update(row, values, LockWait::GiveUp);
        }
        let slot = Slot::of(self.rel);
        slot.fill(Some(&row.slot), &values);
        let update = self.remove(row);
        if update == Update::Done {
            insert_tuple(self.rel, &slot);
            self.insert_index_entries(&slot, Reason::Updated, || Error::Damaged);
            end_change();
        }
        Ok(update)
    }

    fn replace(&self, row: &Row<C>, values: &Values<C>, wait: LockWait) -> Update {
        check_identity(self.rel, pg_sys::CmdType::CMD_UPDATE);
        let slot = Slot::of(self.rel);
        slot.fill(Some(&row.slot), values);
        match update_tuple(self.rel, &row.slot, &slot, wait) {
            Ok(None) => {}
            Ok(Some(reason)) => self.insert_index_entries(&slot, reason, || Error::Damaged),
            Err(update) => return update,
        }
        end_change();
        Update::Done
    }

    fn remove(&self, row: &Row<C>) -> Update {
        check_identity(self.rel, pg_sys::CmdType::CMD_DELETE);
        delete_tuple(self.rel, &row.slot)
    }
}
