//! What a statement sends to its client, held back until the statement is committed: of a spend that
//! could still be undone nobody hears. PostgreSQL itself would send what does not fit into its buffer
//! of 8 kB, and all of it as soon as a notice comes.

use pgrx::{PgMemoryContexts, pg_guard, pg_sys};
use std::cell::{Cell, OnceCell};
use std::ffi::{c_char, c_int};
use std::{ptr, slice};

/// PQcommMethods of libpq/libpq.h, which is not among pgrx's bindings: how a backend speaks to its client.
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
/// A held message is its kind, its length and its body.
const HEADER: usize = 1 + size_of::<usize>();

/// What was there before, and what is held. It has no destructor: an error may jump over who works on it.
#[derive(Clone, Copy)]
struct Output {
    methods: &'static Methods,
    messages: pg_sys::StringInfo,
    committed: bool,
}

thread_local! {
    static OUTPUT: Cell<Option<Output>> = const { Cell::new(None) };
    /// Those that hold back.
    static HOLDING: OnceCell<Methods> = const { OnceCell::new() };
}

/// Holds back what comes from now on, until the transaction ends in one of the two ways below.
pub fn hold() {
    // SAFETY: the methods of this backend's client are static. The messages live until they are freed.
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

/// The next message, which says that the statement is complete, takes along what is held.
pub fn committed() {
    let output = OUTPUT.get();
    OUTPUT.set(output.map(|output| Output {
        committed: true,
        ..output
    }));
}

/// Of what is undone nothing is said.
pub fn undone() {
    if let Some(output) = OUTPUT.take() {
        // SAFETY: what `hold` found and made.
        unsafe { output.let_go() };
    }
}

/// An error is said at once: it ends a transaction that is not committed, or comes after the commit.
#[pg_guard]
unsafe extern "C-unwind" fn putmessage(kind: c_char, body: *const c_char, length: usize) -> c_int {
    // SAFETY: called as PostgreSQL calls its own.
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
        // SAFETY: copies both. PostgreSQL's messages have less than 2^31 bytes.
        unsafe {
            let header = header.as_ptr().cast();
            pg_sys::appendBinaryStringInfo(self.messages, header, HEADER as c_int);
            pg_sys::appendBinaryStringInfo(self.messages, body.cast(), length as c_int);
        }
    }

    unsafe fn send(&self) {
        // SAFETY: messages as `keep` wrote them.
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
