//! A presentation of a code: by code_take, or by code_redeem with what the client sent.

use super::lifecycle::{self, Entry};
use super::meta::Meta;
use super::step::{Step, is_live, is_redeemed};
use super::{families, reuse, runs};
use crate::error::Error;
use crate::oauth::Confirmation;
use crate::oauth::numeric_date::{from_timestamp, seconds};
use crate::oauth::redemption::{Asked, Reason, Sent, failure};
use crate::pg::jsonb::Jsonb;
use crate::settings::{REPLAY_GRACE, REVOKE_ON_REUSE};
use crate::table::{Code, Row, Table, Update, Version};
use pgrx::check_for_interrupts;

type Codes = Table<Code>;

/// How often a presentation fails to write its step on one version of the row before it gives up.
/// Others may have changed the row in between, and have rolled back. After this many attempts it is
/// clear that only this transaction sees the row in its present state.
const ATTEMPTS: usize = 10;

/// The failed attempts on the row version that was found last. A row that others change, as
/// completions of one code do, is tried again for as long as they change it.
#[derive(Default)]
pub struct Attempts {
    on: Option<Version>,
    failed: usize,
}

impl Attempts {
    /// Counts an attempt that found the row changed.
    pub fn failed(&mut self, on: Version) {
        if self.on.replace(on) != Some(on) {
            self.failed = 0;
        }
        self.failed += 1;
    }

    /// A worker waited for the row, or its table, as long as it may.
    pub fn waited(&mut self, on: Version) {
        (self.on, self.failed) = (Some(on), ATTEMPTS);
    }

    pub fn check(&self, on: Version) -> Result<(), Error> {
        match self.on == Some(on) && self.failed >= ATTEMPTS {
            true => Err(Error::Locked),
            false => Ok(()),
        }
    }
}

pub enum Presentation<'a> {
    /// By code_take, which checks nothing of the client's request.
    Take,
    /// By code_redeem.
    Redeem(Redemption<'a>),
}

/// What a client sent to redeem a code.
pub struct Redemption<'a> {
    pub sent: Sent<'a>,
    /// What a success is marked with, in the same write. `None`: it is not marked.
    pub meta: Option<Meta<'a>>,
    /// The time of the call, as a timestamp.
    pub now: i64,
}

/// How a presentation ended.
pub enum Answer {
    /// The code was live, and this call spent it.
    Ok(Entry),
    /// The code was redeemed before (RFC 6749, section 4.1.2). Holds the meta to return.
    Consumed(Jsonb<'static>),
    /// Nothing is handed out.
    Error(Reason),
}

impl Answer {
    /// How many bytes of it go to the client.
    pub fn size(&self) -> usize {
        match self {
            Answer::Ok(entry) => entry.data.size(),
            Answer::Consumed(meta) => meta.size(),
            Answer::Error(_) => 0,
        }
    }
}

/// The result of writing a presentation's step.
pub enum Write {
    Ended(Update),
    /// An open transaction had written the row, and has ended since.
    Waited,
    /// A worker has to write it, after this backend has let go of the table.
    Ordered,
}

/// How far a presentation has come.
pub enum Presented {
    Answered(Answer),
    /// The answer is valid only after this step is written to this version of the row, or a later
    /// one.
    Ordered(Step, Answer, Version),
}

/// Presents a code. Calls `write` with the step that is due, and `write` makes it last. An answer
/// is given only when nothing is left to write.
pub fn present(
    codes: &Codes,
    code_hash: &str,
    presentation: &Presentation,
    attempts: &mut Attempts,
    write: impl Fn(&Step, &Row<Code>, &Answer) -> Result<Write, Error>,
) -> Result<Presented, Error> {
    loop {
        check_for_interrupts!();
        let Some(row) = codes.find(code_hash) else {
            return Ok(Presented::Answered(Answer::Error(Reason::Unknown)));
        };
        let (step, answer) = presentation.judge(codes, &row)?;
        let Some(step) = step else {
            return Ok(Presented::Answered(answer));
        };
        attempts.check(row.version())?;
        match write(&step, &row, &answer)? {
            Write::Ended(Update::Done) => return Ok(Presented::Answered(answer)),
            Write::Ended(Update::Gone) => attempts.failed(row.version()),
            Write::Ended(Update::Busy) => return Err(Error::Locked),
            Write::Waited => {}
            Write::Ordered => return Ok(Presented::Ordered(step, answer, row.version())),
        }
    }
}

impl Presentation<'_> {
    /// The name of the SQL function.
    pub fn function(&self) -> &'static str {
        match self {
            Presentation::Take => "code_take",
            Presentation::Redeem(_) => "code_redeem",
        }
    }

    /// The answer to a presentation of this row, and the step to be written before it is given.
    fn judge(&self, codes: &Codes, row: &Row<Code>) -> Result<(Option<Step>, Answer), Error> {
        let spent_by_crash = is_live(row) && runs::is_over(codes, row)?;
        let is_live = is_live(row) && !spent_by_crash;
        let failure = match self {
            Presentation::Take => None,
            Presentation::Redeem(redemption) => redemption.failure(row, is_live)?,
        };
        if is_live {
            return self.judge_live(codes, row, failure);
        }
        if let Some(reason) = failure {
            return Ok((None, Answer::Error(reason)));
        }
        if spent_by_crash || self.is_second_try(row) {
            return Ok((None, Answer::Error(Reason::Spent)));
        }
        let answer = match is_redeemed(row) {
            true => Answer::Consumed(reuse::redemption(row)?),
            false => Answer::Error(Reason::Spent),
        };
        let revokes = matches!(self, Presentation::Redeem(_)) && REVOKE_ON_REUSE.get();
        Ok((Step::of_another(codes, row, revokes)?, answer))
    }

    fn judge_live(
        &self,
        codes: &Codes,
        row: &Row<Code>,
        failure: Option<Reason>,
    ) -> Result<(Option<Step>, Answer), Error> {
        let meta = self.meta();
        let closed = |reason| Ok((Some(Step::Close), Answer::Error(reason)));
        if let Some(reason) = failure {
            return closed(reason);
        }
        let of_meta = meta.and_then(|meta| meta.family_id.as_deref());
        if families::is_code_revoked(codes, row, of_meta)? {
            return closed(Reason::Revoked);
        }
        let meta = meta.map(|meta| meta.jsonb.to_static());
        let entry = lifecycle::entry(row)?;
        Ok((Some(Step::Spend(meta)), Answer::Ok(entry)))
    }

    fn meta(&self) -> Option<&Meta<'_>> {
        match self {
            Presentation::Take => None,
            Presentation::Redeem(redemption) => redemption.meta.as_ref(),
        }
    }

    /// Whether this counts as a second try of the client that spent the code. Only a client that
    /// has proved a key can be told from a thief of the code.
    fn is_second_try(&self, row: &Row<Code>) -> bool {
        let Presentation::Redeem(redemption) = self else {
            return false;
        };
        let asks_for_key = row.has(Code::CodeChallenge) || row.has(Code::Cnf);
        let spent_at: Option<i64> = row.get(Code::ConsumedAt);
        let grace = seconds(REPLAY_GRACE.get()).unsigned_abs();
        // A spend that lies in the future is no second try for longer than the grace, either: the
        // clock was set back.
        let is_within = |spent_at: i64| redemption.now.abs_diff(spent_at) < grace;
        asks_for_key && spent_at.is_some_and(is_within)
    }
}

impl Redemption<'_> {
    /// The first thing that the client fails to prove.
    fn failure(&self, row: &Row<Code>, is_live: bool) -> Result<Option<Reason>, Error> {
        let cnf = row.jsonb(Code::Cnf);
        let cnf: Option<Confirmation> = cnf.as_ref().map(Jsonb::read).transpose()?;
        let expires_at: i64 = row.get(Code::ExpiresAt).ok_or(Error::Damaged)?;
        let asked = Asked {
            client_id: row.text(Code::ClientId).ok_or(Error::Damaged)?,
            redirect_uri: row.text(Code::RedirectUri).ok_or(Error::Damaged)?,
            code_challenge: row.text(Code::CodeChallenge),
            dpop_jkt: cnf.map(|cnf| cnf.jkt.as_str()),
            expires_at: is_live.then(|| from_timestamp(expires_at)),
        };
        Ok(failure(asked, self.sent, from_timestamp(self.now)))
    }
}
