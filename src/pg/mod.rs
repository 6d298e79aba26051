//! The parts of PostgreSQL's API that know nothing of codes: what is of use to any extension. The rules of OAuth
//! are below it in oauth/, the tables above it in table/.

pub mod jsonb;
pub mod texts;
