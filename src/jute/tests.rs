use super::*;

#[test]
fn null_and_empty_are_different_and_both_round_trip() {
    for value in [None, Some(&b""[..]), Some(b"abc")] {
        let mut out = Vec::new();
        out.buffer(value);
        assert_eq!(buffer(&out), Ok((&[][..], value)));
    }
}

#[test]
fn a_length_past_the_end_is_an_error_not_an_allocation() {
    let frame = [0x7f, 0xff, 0xff, 0xff, 1, 2, 3];
    assert_eq!(buffer(&frame), fail(JuteError::Length(i32::MAX)));
    assert!(vector(long)(&frame).is_err());
    assert_eq!(buffer(&[0xff, 0xff, 0xff, 0xfe]), fail(JuteError::Length(-2)));
}

#[test]
fn a_negative_vector_count_is_empty_except_null() {
    assert_eq!(vector(int)(&[0xff; 4]), Ok((&[][..], None)));
    assert_eq!(vector(int)(&[0xff, 0xff, 0xff, 0xfe]), Ok((&[][..], Some(vec![]))));
}

#[test]
fn astral_characters_travel_as_surrogates_and_are_read_in_both_forms() {
    let mut out = Vec::new();
    out.ustring("a\u{1f600}");
    assert_eq!(out, [0, 0, 0, 7, b'a', 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]);
    assert_eq!(text(&out).map(|(_, t)| t.into_owned()), Ok("a\u{1f600}".to_owned()));
    let utf8 = [&[0, 0, 0, 5][..], "a\u{1f600}".as_bytes()].concat();
    assert_eq!(text(&utf8).map(|(_, t)| t.into_owned()), Ok("a\u{1f600}".to_owned()));
}

#[test]
fn malformed_utf8_becomes_replacement_characters() {
    let lone = [0, 0, 0, 5, b'a', 0xed, 0xa0, 0xbd, b'b'];
    assert_eq!(text(&lone).map(|(_, t)| t.into_owned()), Ok("a\u{fffd}b".to_owned()));
    let cut = [0, 0, 0, 3, b'a', 0xff, 0xc3];
    assert_eq!(text(&cut).map(|(_, t)| t.into_owned()), Ok("a\u{fffd}\u{fffd}".to_owned()));
}
