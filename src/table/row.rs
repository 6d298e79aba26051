//! A row version, the values of a new one, and the slot in which the executor and the table access
//! method exchange rows.

use super::{Columns, Table};
use crate::pg::jsonb::Jsonb;
use crate::pg::memory::room;
use pgrx::varlena::varlena_to_byte_slice;
use pgrx::{FromDatum, IntoDatum, pg_sys};
use std::marker::PhantomData;
use std::ptr;

/// A row version, as it was found.
pub struct Row<'t, C: Columns> {
    pub(super) slot: Slot,
    pub(super) table: PhantomData<&'t Table<C>>,
}

/// Names a row version among those of its table.
#[derive(Clone, Copy, PartialEq)]
pub struct Version {
    block: (u16, u16),
    offset: u16,
    written_by: pg_sys::TransactionId,
}

/// New values by column. A column that is left out is NULL in a new row and unchanged in an updated
/// one.
pub struct Values<C>(pub(super) Vec<(C, Option<pg_sys::Datum>)>);

impl<C> Default for Values<C> {
    fn default() -> Values<C> {
        Values(Vec::new())
    }
}

impl<C> Values<C> {
    pub fn set<T: IntoDatum>(mut self, column: C, value: T) -> Values<C> {
        self.0.push((column, value.into_datum()));
        self
    }
}

impl<C: Columns> Values<C> {
    /// The values of a whole new row, by column position.
    pub(super) fn of_a_row(&self) -> Vec<Written> {
        let mut all: Vec<Written> = (0..C::TYPES.len()).map(|at| (at, None)).collect();
        for (column, value) in &self.0 {
            all[column.position()].1 = *value;
        }
        all
    }

    /// The values that are set, by column position.
    pub(super) fn by_position(&self) -> Vec<Written> {
        let written = |(column, value): &(C, _)| (column.position(), *value);
        self.0.iter().map(written).collect()
    }
}

/// The position of a column, and the value written to it.
pub(super) type Written = (usize, Option<pg_sys::Datum>);

/// The text in a datum.
pub(super) fn text_of<'a>(datum: pg_sys::Datum) -> Option<&'a str> {
    // SAFETY: the caller passes the datum of a text.
    unsafe { FromDatum::from_datum(datum, false) }
}

/// Whether two values of a column type are identical, to the bit.
fn is_same(of_type: pg_sys::Oid, one: pg_sys::Datum, other: pg_sys::Datum) -> bool {
    match of_type {
        pg_sys::TIMESTAMPTZOID | pg_sys::BOOLOID => one == other,
        // SAFETY: all other types are varlena. The detoasted values live as long as the memory
        // context of the call.
        _ => unsafe {
            let bytes = |datum: pg_sys::Datum| {
                varlena_to_byte_slice(pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr()))
            };
            bytes(one) == bytes(other)
        },
    }
}

impl<C: Columns> Row<'_, C> {
    /// Whether this transaction wrote this row version, so that no other transaction can see it.
    pub fn is_of_this_transaction(&self) -> bool {
        // SAFETY: the header's inserting transaction is always set. If it is known to be committed,
        // as in every frozen row, its number may have wrapped around to this transaction's.
        unsafe {
            let header = &*self.header();
            u32::from(header.t_infomask) & pg_sys::HEAP_XMIN_COMMITTED == 0
                && pg_sys::TransactionIdIsCurrentTransactionId(header.t_choice.t_heap.t_xmin)
        }
    }

    /// Whether the transaction that wrote this row version is committed, and no crash can undo that.
    pub fn is_for_good(&self) -> bool {
        if self.is_of_this_transaction() {
            return false;
        }
        // SAFETY: as above. PostgreSQL notes in the header that a transaction is committed only when
        // that is on disk.
        unsafe {
            let header = &*self.header();
            u32::from(header.t_infomask) & pg_sys::HEAP_XMIN_COMMITTED != 0
                || !pg_sys::XLogNeedsFlush(pg_sys::TransactionIdGetCommitLSN(
                    header.t_choice.t_heap.t_xmin,
                ))
        }
    }

    pub fn version(&self) -> Version {
        // SAFETY: as above.
        let written_by = unsafe { (*self.header()).t_choice.t_heap.t_xmin };
        // SAFETY: the slot holds a stored row.
        let tid = unsafe { (*self.slot.0).tts_tid };
        Version {
            block: (tid.ip_blkid.bi_hi, tid.ip_blkid.bi_lo),
            offset: tid.ip_posid,
            written_by,
        }
    }

    /// Whether this transaction inserted the row, so that every version of it is its own.
    pub fn is_new(&self) -> bool {
        // SAFETY: as above.
        let flags = u32::from(unsafe { (*self.header()).t_infomask });
        flags & pg_sys::HEAP_UPDATED == 0 && self.is_of_this_transaction()
    }

    /// Whether the row contains all these values.
    pub(super) fn has_all(&self, written: &[Written]) -> bool {
        written.iter().all(|(at, value)| {
            let (stored, is_null) = self.datum_at(*at);
            match value {
                None => is_null,
                Some(value) => !is_null && is_same(C::TYPES[*at], *value, stored),
            }
        })
    }

    /// The tid of the row.
    pub(super) fn place(&self) -> pg_sys::Datum {
        // SAFETY: the slot holds a stored row.
        unsafe { pg_sys::Datum::from(&raw mut (*self.slot.0).tts_tid) }
    }

    pub(super) fn header(&self) -> *const pg_sys::HeapTupleHeaderData {
        // SAFETY: the slot holds a stored row, and the tuple that it returns lies on a pinned page.
        unsafe {
            let mut copied = false;
            (*pg_sys::ExecFetchSlotHeapTuple(self.slot.0, false, &mut copied)).t_data
        }
    }

    /// Whether a column is not NULL.
    pub fn has(&self, column: C) -> bool {
        !self.datum(column).1
    }

    /// The value of a column, or `None` if it is NULL.
    pub fn get<T: FromDatum>(&self, column: C) -> Option<T> {
        let (datum, is_null) = self.datum(column);
        // SAFETY: T is the Rust type of the column.
        unsafe { T::from_datum(datum, is_null) }
    }

    /// The value of a text column.
    pub fn text(&self, column: C) -> Option<&str> {
        self.get(column)
    }

    /// The value of a jsonb column, in place.
    pub fn jsonb(&self, column: C) -> Option<Jsonb<'_>> {
        self.get(column)
    }

    /// The value of a text[] column. None of its elements is NULL.
    pub fn texts(&self, column: C) -> Option<Vec<&str>> {
        let (datum, is_null) = self.datum(column);
        let (mut elements, mut nulls, mut number) = (ptr::null_mut(), ptr::null_mut(), 0);
        // SAFETY: the column is a text[]. The detoasted array lives as long as the memory context
        // of the call, and so longer than the row.
        unsafe {
            if is_null {
                return None;
            }
            let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast();
            let align = pg_sys::TYPALIGN_INT as std::ffi::c_char;
            pg_sys::deconstruct_array(
                array,
                pg_sys::TEXTOID,
                -1,
                false,
                align,
                &mut elements,
                &mut nulls,
                &mut number,
            );
            let mut texts = room(number as usize);
            for at in 0..number as usize {
                texts.push(FromDatum::from_datum(*elements.add(at), *nulls.add(at))?);
            }
            Some(texts)
        }
    }

    fn datum(&self, column: C) -> (pg_sys::Datum, bool) {
        self.datum_at(column.position())
    }

    fn datum_at(&self, attribute: usize) -> (pg_sys::Datum, bool) {
        // SAFETY: the slot holds a stored row of the table, which has at least C::TYPES.len()
        // attributes; that was checked when it was opened.
        unsafe {
            let slot = self.slot.0;
            if ((*slot).tts_nvalid as usize) <= attribute {
                pg_sys::slot_getsomeattrs_int(slot, attribute as i32 + 1);
            }
            (
                *(*slot).tts_values.add(attribute),
                *(*slot).tts_isnull.add(attribute),
            )
        }
    }
}

/// A slot for rows of the table.
pub struct Slot(pub *mut pg_sys::TupleTableSlot);

impl Slot {
    pub fn of(rel: pg_sys::Relation) -> Slot {
        // SAFETY: rel is open.
        Slot(unsafe { pg_sys::table_slot_create(rel, ptr::null_mut()) })
    }

    /// Fills an empty slot with the values of `base`, or NULLs, and puts `values` over them.
    pub fn fill<C: Columns>(&self, base: Option<&Slot>, values: &Values<C>) {
        // SAFETY: both slots have the table's descriptor, so the arrays have natts elements, at
        // least C::TYPES.len(). The copied datums point into `base`, which the caller holds until
        // the new row is stored.
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
        // While an ERROR unwinds, PostgreSQL itself releases the pin and the memory.
        if !std::thread::panicking() {
            unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.0) };
        }
    }
}
