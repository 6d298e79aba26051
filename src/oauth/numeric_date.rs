//! Converts between unix seconds (a JWT NumericDate, RFC 7519, section 2) and PostgreSQL's
//! timestamps, which count microseconds from 2000-01-01.

const EPOCH_2000: i64 = 946_684_800;
const MICROSECONDS: i64 = 1_000_000;
/// 4714-11-24 BC, the first instant that a timestamptz can hold.
const FIRST: i64 = -210_866_803_200;
/// 9999-12-31 23:59:59. A later time is a mistake, such as a time of today in milliseconds.
const LAST: i64 = 253_402_300_799;

/// The timestamp of an instant, or `None` if it is after the year 9999 or before the first
/// timestamptz.
pub fn to_timestamp(seconds: i64) -> Option<i64> {
    (FIRST..=LAST)
        .contains(&seconds)
        .then(|| (seconds - EPOCH_2000) * MICROSECONDS)
}

/// The unix second of a timestamp.
pub fn from_timestamp(timestamp: i64) -> i64 {
    timestamp.div_euclid(MICROSECONDS) + EPOCH_2000
}

/// The first whole second that is not before a timestamp.
pub fn from_timestamp_up(timestamp: i64) -> i64 {
    -(-timestamp).div_euclid(MICROSECONDS) + EPOCH_2000
}

/// The start of a timestamp's second.
pub fn whole_second(timestamp: i64) -> i64 {
    timestamp.div_euclid(MICROSECONDS) * MICROSECONDS
}

/// Converts seconds to a timestamp's microseconds.
pub fn seconds(seconds: i32) -> i64 {
    i64::from(seconds) * MICROSECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epochs() {
        assert_eq!(to_timestamp(946_684_800), Some(0));
        assert_eq!(from_timestamp(0), 946_684_800);
        assert_eq!(to_timestamp(0), Some(-946_684_800_000_000));
    }

    #[test]
    fn round_trips_up_to_both_ends() {
        for seconds in [FIRST, -1, 0, 1, 1_800_000_000, LAST] {
            assert_eq!(to_timestamp(seconds).map(from_timestamp), Some(seconds));
        }
    }

    #[test]
    fn outside_is_none() {
        for seconds in [FIRST - 1, LAST + 1, i64::MIN, i64::MAX] {
            assert_eq!(to_timestamp(seconds), None);
        }
    }

    #[test]
    fn a_fraction_belongs_to_the_second_before() {
        assert_eq!(from_timestamp(-1), EPOCH_2000 - 1);
    }

    #[test]
    fn rounded_up_a_fraction_belongs_to_the_second_after() {
        let seconds = [-1, 0, 1, MICROSECONDS].map(from_timestamp_up);
        assert_eq!(seconds, [0, 0, 1, 1].map(|second| EPOCH_2000 + second));
    }
}
