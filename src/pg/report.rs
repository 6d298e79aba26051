//! An error on its way from a worker to the caller.

use super::failure::{Failure, keep_sqlstate};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

/// Longer texts are cut off.
const BYTES: usize = 1024;

/// Message, detail and hint of an error, as stored in shared memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Report {
    sqlstate: i32,
    /// Where each of the three texts ends.
    ends: [u16; 3],
    texts: [u8; BYTES],
}

impl From<Failure> for Report {
    fn from(failure: Failure) -> Report {
        let mut report = Report {
            sqlstate: failure.sqlstate(),
            ends: [0; 3],
            texts: [0; BYTES],
        };
        let texts = [
            failure.message(),
            failure.detail().unwrap_or_default(),
            failure.hint().unwrap_or_default(),
        ];
        let mut end = 0;
        for (at, text) in texts.iter().enumerate() {
            let text = &text[..boundary(text, BYTES - end)];
            report.texts[end..end + text.len()].copy_from_slice(text.as_bytes());
            end += text.len();
            report.ends[at] = end as u16;
        }
        report
    }
}

/// The last place, up to `at`, where the text can be cut.
fn boundary(text: &str, at: usize) -> usize {
    let mut places = (0..=at.min(text.len())).rev();
    places.find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

impl Report {
    /// Raises the error here, or writes it to the log if the level is lower.
    pub fn report(&self, level: PgLogLevel) {
        let [message, detail, hint] = self.texts();
        let code = PgSqlErrorCode::from(self.sqlstate);
        let mut report = ErrorReport::new(code, message.to_owned(), "attesto_codes");
        if !detail.is_empty() {
            report = report.set_detail(detail);
        }
        if !hint.is_empty() {
            report = report.set_hint(hint);
        }
        if level == PgLogLevel::ERROR {
            keep_sqlstate(self.sqlstate);
        }
        report.report(level);
    }

    fn texts(&self) -> [&str; 3] {
        let [message, detail, hint] = self.ends.map(usize::from);
        [0..message, message..detail, detail..hint].map(|range| {
            let bytes = self.texts.get(range).unwrap_or_default();
            std::str::from_utf8(bytes).unwrap_or_default()
        })
    }
}
