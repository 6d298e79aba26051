//! Holds back a statement's output to its client until the statement is committed, so that the
//! client learns nothing of a spend that could still be undone. PostgreSQL itself would send the
//! output when its buffer of 8 kB is full, or when a notice comes.

use pgrx::{PgMemoryContexts, pg_guard, pg_sys};
use std::cell::{Cell, OnceCell};
use std::ffi::{c_char, c_int};
use std::{ptr, slice};

/// How a backend speaks to its client: PQcommMethods of libpq/libpq.h, which pgrx does not declare.
#[repr(C)]
#[derive(Clone, Copy)]
struct Methods {
    comm_reset: unsafe extern "C-unwind" fn(),
    flush: unsafe extern "C-unwind" fn() -> c_int,
    flush_if_writable: unsafe extern "C-unwind" fn() -> c_int,
    is_send_pending: unsafe extern "C-unwind" fn() -> bool,
    putmessage: unsafe extern "C-unwind" fn(c_char, *const c_char, usize) -> c_int,
    putmessage_noblock: unsafe extern "C-unwind" fn(c_char, *const c_char, usize),
}

unsafe extern "C-unwind" {
    static mut PqCommMethods: *const Methods;
}

/// The kind of an ErrorResponse.
const ERROR: c_char = b'E' as c_char;
/// The header of a held message: its kind and its length. The body follows.
const HEADER: usize = 1 + size_of::<usize>();

/// The methods that were in place before, and the held messages. It has no destructor, because an
/// error may jump over the frame that uses it.
#[derive(Clone, Copy)]
struct Output {
    methods: &'static Methods,
    messages: pg_sys::StringInfo,
    committed: bool,
}

thread_local! {
    static OUTPUT: Cell<Option<Output>> = const { Cell::new(None) };
    /// The methods that hold messages back.
    static HOLDING: OnceCell<Methods> = const { OnceCell::new() };
}

/// Holds back all messages from now on, until the transaction ends in one of the two ways below.
pub fn hold() {
    // SAFETY: the methods of this backend's client are static. The messages live until they are
    // freed.
    unsafe {
        let messages = PgMemoryContexts::TopMemoryContext.switch_to(|_| pg_sys::makeStringInfo());
        let methods = &*PqCommMethods;
        OUTPUT.set(Some(Output {
            methods,
            messages,
            committed: false,
        }));
        let holding = || Methods {
            putmessage,
            ..*methods
        };
        PqCommMethods = HOLDING.with(|own| ptr::from_ref(own.get_or_init(holding)));
    }
}

/// Lets the next message, which says that the statement is complete, send the held ones first.
pub fn committed() {
    let output = OUTPUT.get();
    OUTPUT.set(output.map(|output| Output {
        committed: true,
        ..output
    }));
}

/// Drops the held messages of a transaction that is undone.
pub fn undone() {
    if let Some(output) = OUTPUT.take() {
        // SAFETY: `hold` found the methods and made the messages.
        unsafe { output.let_go() };
    }
}

/// An error is sent at once. Either the transaction that it ends is not committed, or the error
/// came after the commit.
#[pg_guard]
unsafe extern "C-unwind" fn putmessage(kind: c_char, body: *const c_char, length: usize) -> c_int {
    // SAFETY: it is called in the same way as PostgreSQL's own method.
    unsafe {
        match OUTPUT.get() {
            Some(output) if !output.committed && kind != ERROR => {
                output.keep(kind, body, length);
                return 0;
            }
            Some(output) => {
                OUTPUT.set(None);
                PqCommMethods = output.methods;
                if output.committed {
                    output.send();
                }
                output.let_go();
            }
            None => {}
        }
        ((*PqCommMethods).putmessage)(kind, body, length)
    }
}

impl Output {
    unsafe fn keep(&self, kind: c_char, body: *const c_char, length: usize) {
        let mut header = [kind as u8; HEADER];
        header[1..].copy_from_slice(&length.to_ne_bytes());
        // SAFETY: both are copied. PostgreSQL's messages have less than 2^31 bytes.
        unsafe {
            let header = header.as_ptr().cast();
            pg_sys::appendBinaryStringInfo(self.messages, header, HEADER as c_int);
            pg_sys::appendBinaryStringInfo(self.messages, body.cast(), length as c_int);
        }
    }

    unsafe fn send(&self) {
        // SAFETY: `keep` wrote these messages.
        unsafe {
            let held = &*self.messages;
            let mut rest = slice::from_raw_parts(held.data.cast::<u8>(), held.len as usize);
            while let Some(([kind, length @ ..], after)) = rest.split_first_chunk::<HEADER>() {
                let (body, after) = after.split_at(usize::from_ne_bytes(*length));
                (self.methods.putmessage)(*kind as c_char, body.as_ptr().cast(), body.len());
                rest = after;
            }
        }
    }

    unsafe fn let_go(&self) {
        unsafe {
            PqCommMethods = self.methods;
            pg_sys::pfree((*self.messages).data.cast());
            pg_sys::pfree(self.messages.cast());
        }
    }
}
