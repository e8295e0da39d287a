//! Ten million ids of each form, with randomness as the module has it on a host: from the system, in
//! blocks.

use request_id_filter::generate::Generator;
use request_id_filter::policy::Form;

const IDS: usize = 10_000_000;

/// The ids of one generator as the bytes that they spell.
fn ids(form: Form, count: usize) -> impl Iterator<Item = [u8; 16]> {
    let mut generator = Generator::default();
    let mut block = [0; 1 << 16];
    let mut used = block.len();
    let mut now = 1_795_000_000_000;
    (0..count).map(move |number| {
        if used == block.len() {
            getrandom::fill(&mut block).expect("randomness");
            used = 0;
        }
        let random = block[used..used + 16].try_into().expect("16 bytes");
        used += 16;
        now += u64::from(number % 100 == 0); // A hundred thousand in a second.
        let id = generator.next(form, random, || Some(now)).expect("an id");
        spelt(form, id.as_bytes())
    })
}

/// The bytes that an id of this form spells, in lower case and with its hyphens in place.
fn spelt(form: Form, id: &[u8]) -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut digits = 0;
    for (place, &byte) in id.iter().enumerate() {
        let is_hyphen = form != Form::Hex32 && matches!(place, 8 | 13 | 18 | 23);
        let digit = match byte {
            b'-' if is_hyphen => continue,
            b'0'..=b'9' if !is_hyphen => byte - b'0',
            b'a'..=b'f' if !is_hyphen => byte - b'a' + 10,
            _ => panic!("{}", id.escape_ascii()),
        };
        let shift = if digits % 2 == 0 { 4 } else { 0 };
        bytes[digits / 2] |= digit << shift;
        digits += 1;
    }
    assert_eq!(digits, 32, "{}", id.escape_ascii());
    bytes
}

/// Whether bits that should be random are 0 and 1 equally often: chi-square with one degree of
/// freedom, which is above this for one in 10^12 good bits.
fn assert_even(ones: usize, bit: usize) {
    let half = IDS as f64 / 2.0;
    let chi_square = (ones as f64 - half).powi(2) / half * 2.0;
    assert!(chi_square < 51.0, "bit {bit}: {ones} ones, {chi_square}");
}

/// Half of the ids are one generator's and half another's, as of two VMs, at the same times: had they
/// anything in common, ids would come twice. `fixed` are the bits that are the same in all ids, `timed`
/// those that need not be even.
fn check(form: Form, fixed: u128, value: u128, timed: u128) {
    let both = ids(form, IDS / 2).chain(ids(form, IDS / 2));
    let mut all: Vec<u128> = both.map(u128::from_be_bytes).collect();
    let mut ones = [0; 128];
    for id in &all {
        assert_eq!(id & fixed, value, "{id:032x}");
        for (bit, ones) in ones.iter_mut().enumerate() {
            *ones += usize::from(id >> bit & 1 == 1);
        }
    }
    for (bit, ones) in ones.into_iter().enumerate() {
        if (fixed | timed) >> bit & 1 == 0 {
            assert_even(ones, bit);
        }
    }
    all.sort_unstable();
    assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "an id twice");
}

/// The places of version and variant.
const FIXED: u128 = 0x00000000_0000_f000_c000_000000000000;

#[test]
fn ten_million_uuid4_are_distinct_and_even() {
    check(
        Form::Uuid4,
        FIXED,
        0x00000000_0000_4000_8000_000000000000,
        0,
    );
}

#[test]
fn ten_million_uuid7_are_distinct_and_even() {
    // The time, and the counter below it.
    let timed = 0xffffffff_ffff_0fff_0000_000000000000;
    check(
        Form::Uuid7,
        FIXED,
        0x00000000_0000_7000_8000_000000000000,
        timed,
    );
}

#[test]
fn ten_million_hex32_are_distinct_and_even() {
    check(Form::Hex32, 0, 0, 0);
}
