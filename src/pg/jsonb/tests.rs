//! Tests that the built bytes are those of PostgreSQL, and that they are read back. The regress
//! test jsonb compares both on a server.

use super::{Error, Jsonb, Object, Value};
use crate::oauth::{Members, NonEmpty};
use pgrx::pg_sys::JENTRY_ISNUMERIC;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `{"a": "xyz", "b": [null, true], "aa": 1.5}` as PostgreSQL stores it on a little-endian machine.
const OBJECT: [u32; 16] = [
    // An object of three members.
    0x2000_0003,
    // The names: the first one ends at 1, the others have 1 and 2 bytes.
    0x8000_0001,
    0x0000_0001,
    0x0000_0002,
    // A string of 3 bytes, one byte of padding and a container of 12 bytes, a number of 10 bytes.
    0x0000_0003,
    0x5000_000d,
    0x1000_000a,
    // The data: abaa, xyz and the padding.
    u32::from_le_bytes(*b"abaa"),
    u32::from_le_bytes(*b"xyz\0"),
    // An array of two: null, which ends at 0, and true.
    0x4000_0002,
    0xc000_0000,
    0x3000_0000,
    // The numeric.
    0x0000_0028,
    0x0001_8080,
    0x0000_1388,
    0,
];

fn object() -> Vec<u8> {
    let mut bytes: Vec<u8> = OBJECT.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.truncate(58);
    bytes
}

fn number(bytes: &[u8]) -> Value<'_> {
    let kind = JENTRY_ISNUMERIC;
    Value { kind, bytes }
}

fn built(value: &impl Serialize) -> Jsonb<'static> {
    Jsonb::build(value).unwrap()
}

#[test]
fn members_are_sorted_and_aligned() {
    let object = object();
    let sample = BTreeMap::from([("aa", number(&object[48..]))]);
    #[derive(Serialize)]
    struct Out<'a> {
        #[serde(flatten)]
        number: BTreeMap<&'a str, Value<'a>>,
        b: Vec<Option<bool>>,
        a: &'a str,
    }
    let out = Out {
        number: sample,
        b: vec![None, Some(true)],
        a: "xyz",
    };
    if cfg!(target_endian = "little") {
        assert_eq!(&*built(&out).0, object);
    }
}

#[test]
fn values_are_read_where_they_lie() {
    #[derive(Deserialize)]
    struct In<'a> {
        a: &'a str,
        b: Vec<Option<bool>>,
        #[serde(borrow)]
        aa: Value<'a>,
    }
    let jsonb = Jsonb(object().into());
    let read: In = jsonb.read().unwrap();
    assert_eq!((read.a, read.b), ("xyz", vec![None, Some(true)]));
    assert!(jsonb.0.as_ptr_range().contains(&read.a.as_ptr()));
    assert_eq!(read.aa, number(&jsonb.0[48..]));
}

#[test]
fn what_is_kept_is_the_same_to_the_byte() {
    let inner = Jsonb(object().into());
    let outer = built(&BTreeMap::from([
        ("x", inner.value()),
        ("yy", inner.value()),
    ]));
    let kept: BTreeMap<&str, Value> = outer.read().unwrap();
    assert_eq!(
        kept,
        BTreeMap::from([("x", inner.value()), ("yy", inner.value())])
    );
    let members: Members<Value> = inner.read().unwrap();
    assert_eq!(built(&members).0, inner.0);
}

#[test]
fn the_last_of_one_name_stays() {
    #[derive(Serialize)]
    struct Twice<'a> {
        #[serde(rename = "")]
        first: (),
        b: &'a str,
        #[serde(flatten)]
        over: BTreeMap<&'a str, Option<&'a str>>,
    }
    let twice = built(&Twice {
        first: (),
        b: "old",
        over: BTreeMap::from([("", None), ("b", Some("new"))]),
    });
    let read: BTreeMap<&str, Option<&str>> = twice.read().unwrap();
    assert_eq!(read, BTreeMap::from([("", None), ("b", Some("new"))]));
}

#[test]
fn every_number_of_members_is_read_back() {
    for number in [0, 1, 31, 32, 33, 63, 64, 65, 1000] {
        let texts: Vec<String> = (0..number).map(|at| "x".repeat(at % 7)).collect();
        assert_eq!(built(&texts).read(), Ok(texts.clone()));
        let members: BTreeMap<String, String> = texts
            .into_iter()
            .enumerate()
            .map(|(at, text)| (at.to_string(), text))
            .collect();
        assert_eq!(built(&members).read(), Ok(members));
    }
}

#[test]
fn empty_ones_are_read_back() {
    assert_eq!(
        built(&Members::<Value>::none()).value(),
        Jsonb::from(Object::default()).value()
    );
    let empty = vec![BTreeMap::<&str, bool>::new(), BTreeMap::new()];
    assert_eq!(built(&empty).read(), Ok(empty));
}

/// What the refusal says that a value of this type must be.
fn must_be<'a, T: Deserialize<'a>>(jsonb: &'a Jsonb) -> String {
    match jsonb.read::<T>() {
        Err(Error::MustBe(what)) => what,
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn a_refusal_says_what_it_has_to_be_and_not_what_it_is() {
    let text = "a non-empty string";
    let secret = built(&vec!["SECRET"]);
    assert_eq!(must_be::<BTreeMap<&str, &str>>(&secret), "a map");
    assert_eq!(must_be::<Vec<bool>>(&secret), "a boolean");
    assert_eq!(must_be::<Vec<Object>>(&secret), "an object");
    assert_eq!(must_be::<Vec<NonEmpty>>(&built(&vec![""])), text);
    let or_null = format!("{text}, null or left out");
    assert_eq!(must_be::<Vec<Option<NonEmpty>>>(&built(&vec![""])), or_null);
    let numbers = built(&vec![number(b"")]);
    assert_eq!(must_be::<Vec<NonEmpty>>(&numbers), text);
    assert_eq!(must_be::<Vec<f64>>(&numbers), "f64");
    assert!(numbers.read::<Vec<IgnoredAny>>().is_ok());
}

#[test]
fn what_is_no_jsonb_is_unfit() {
    let whole = object();
    for length in 0..whole.len() {
        let cut = Jsonb(whole[..length].into());
        assert!(cut.read::<Members<Value>>().is_err(), "{length}");
    }
    let mut not_utf8 = whole;
    not_utf8[28] = 0xff;
    let not_utf8 = Jsonb(not_utf8.into());
    assert_eq!(not_utf8.read::<Members<Value>>(), Err(Error::Unfit));
}

#[test]
fn what_has_no_form_is_unfit() {
    let unfit = |error: Result<Jsonb, Error>| assert_eq!(error.err(), Some(Error::Unfit));
    unfit(Jsonb::build(&1.5));
    unfit(Jsonb::build(&[1]));
    unfit(Jsonb::build(&"a scalar"));
    unfit(Jsonb::build(&BTreeMap::from([(true, ())])));
    unfit(Jsonb::build(&BTreeMap::from([((), "")])));
}

#[test]
fn kept_values_come_from_a_jsonb_alone() {
    assert!(serde_json::from_str::<Value>("{\"268435456\": \"x\"}").is_err());
}
