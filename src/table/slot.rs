//! Slots: the form in which the executor and the table access method hand rows to each other.

use super::{Columns, Values};
use pgrx::pg_sys;
use std::ptr;

/// A slot for rows of the table.
pub struct Slot(pub *mut pg_sys::TupleTableSlot);

impl Slot {
    pub fn of(rel: pg_sys::Relation) -> Slot {
        // SAFETY: rel is open.
        Slot(unsafe { pg_sys::table_slot_create(rel, ptr::null_mut()) })
    }

    /// Fills an empty slot with the values of another one, or NULLs, under `values`.
    pub fn fill<C: Columns>(&self, base: Option<&Slot>, values: &Values<C>) {
        // SAFETY: both slots have the table's descriptor, so the arrays have natts elements, of
        // which there are at least C::TYPES.len(). What is copied points into `base`, which the caller
        // holds until the new row is stored.
        unsafe {
            let natts = (*(*self.0).tts_tupleDescriptor).natts as usize;
            let datums = std::slice::from_raw_parts_mut((*self.0).tts_values, natts);
            let nulls = std::slice::from_raw_parts_mut((*self.0).tts_isnull, natts);
            datums.fill(pg_sys::Datum::null());
            nulls.fill(true);
            if let Some(Slot(base)) = base {
                if ((**base).tts_nvalid as usize) < natts {
                    pg_sys::slot_getsomeattrs_int(*base, natts as i32);
                }
                datums.copy_from_slice(std::slice::from_raw_parts((**base).tts_values, natts));
                nulls.copy_from_slice(std::slice::from_raw_parts((**base).tts_isnull, natts));
            }
            for (column, value) in &values.0 {
                datums[column.position()] = value.unwrap_or(pg_sys::Datum::null());
                nulls[column.position()] = value.is_none();
            }
            pg_sys::ExecStoreVirtualTuple(self.0);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // While an ERROR unwinds, PostgreSQL releases the pin and the memory itself.
        if !std::thread::panicking() {
            unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.0) };
        }
    }
}
