//! What the tree that `fill` makes looks like: how many parents there are, which znodes are below each, and how names
//! and data are made from a znode's number.

use std::ops::Range;

use clap::ValueEnum;

use super::znodes::{Znodes, put_number};
use crate::jute::JuteWrite;

/// The shape of a filled tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Shape {
    /// Names of ten digits, `--size` bytes of data, `--children` in each parent.
    Flat,
    /// As in a large installation: paths of 115 bytes in the mean, the last component 24, data 47 (0 to 94); a tenth of
    /// all znodes in one directory, `--children` in each other one; one in a thousand is ephemeral.
    Real,
}

/// In the real shape, one znode in so many is in the large directory.
const LARGE_SHARE: u64 = 10;
/// In the real shape, one znode in so many is ephemeral.
const EPHEMERAL_SHARE: u64 = 1000;
/// Bytes of data at most, and letters behind the digits of a name at most.
const DATA_BYTES_MAX: u64 = 94;
const LETTERS_MAX: u64 = 28;
/// Levels between the root and the parents of the real shape: with `/bench` and a parent's name, 90 bytes.
const LEVELS: [&str; 2] = ["/region-eu-central-production-1", "/registry-of-service-instances"];
const PARENT: &[u8] = b"/application-";
/// Data and names are cut out of this.
const LETTERS: [u8; 128] = {
    let mut letters = [0; 128];
    let mut i = 0;
    while i < letters.len() {
        letters[i] = b'a' + (i * 7 % 26) as u8;
        i += 1;
    }
    letters
};

impl Shape {
    /// The levels above all parents, from the top.
    pub(super) fn levels(self) -> &'static [&'static str] {
        match self {
            Self::Flat => &[],
            Self::Real => &LEVELS,
        }
    }

    /// How many parents hold so many znodes.
    pub(super) fn parents(self, znodes: &Znodes) -> u64 {
        match self {
            Self::Flat => znodes.count.div_ceil(znodes.children),
            Self::Real => 1 + (znodes.count - large(znodes)).div_ceil(znodes.children),
        }
    }

    /// The znodes below a parent.
    pub(super) fn below(self, znodes: &Znodes, parent: u64) -> Range<u64> {
        let first = match (self, parent) {
            (Self::Flat, _) => parent * znodes.children,
            (Self::Real, 0) => return 0..large(znodes),
            (Self::Real, _) => large(znodes) + (parent - 1) * znodes.children,
        };
        first..(first + znodes.children).min(znodes.count)
    }

    fn parent_of(self, znodes: &Znodes, index: u64) -> u64 {
        match self {
            Self::Flat => index / znodes.children,
            Self::Real if index < large(znodes) => 0,
            Self::Real => 1 + (index - large(znodes)) / znodes.children,
        }
    }

    /// Whether a znode belongs to a session.
    pub(super) fn is_ephemeral(self, index: u64) -> bool {
        self == Self::Real && index.is_multiple_of(EPHEMERAL_SHARE)
    }

    /// Appends a parent's path below the root.
    pub(super) fn put_parent(self, out: &mut Vec<u8>, parent: u64) {
        self.levels().iter().for_each(|level| out.extend_from_slice(level.as_bytes()));
        put_number(out, if self == Self::Flat { b"/" } else { PARENT }, parent);
    }

    /// Appends a znode's path below the root.
    pub(super) fn put_znode(self, out: &mut Vec<u8>, znodes: &Znodes, index: u64) {
        self.put_parent(out, self.parent_of(znodes, index));
        put_number(out, b"/", index);
        if self == Self::Real {
            out.extend_from_slice(letters(index, LETTERS_MAX));
        }
    }

    /// Appends a znode's data in the real shape, as a buffer of the wire.
    pub(super) fn put_data(self, out: &mut Vec<u8>, index: u64) {
        out.buffer(Some(letters(index.wrapping_add(1), DATA_BYTES_MAX)));
    }
}

/// How many znodes are in the large directory.
fn large(znodes: &Znodes) -> u64 {
    (znodes.count / LARGE_SHARE).max(1)
}

/// Between none and `max` letters, as many as the number says.
fn letters(number: u64, max: u64) -> &'static [u8] {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    &LETTERS[..(mixed % (max + 1)) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::znodes::Place;

    #[test]
    fn every_znode_is_below_its_parent_and_the_means_are_those_that_are_promised() {
        for (shape, children) in [(Shape::Flat, 7), (Shape::Real, 100)] {
            let znodes = Znodes { shape, children, filled: true, ..Znodes::new("/bench", 10_000, 100) };
            let (mut seen, mut path_bytes, mut name_bytes, mut data_bytes) = (0, 0, 0, 0);
            for parent in 0..shape.parents(&znodes) {
                for index in shape.below(&znodes, parent) {
                    assert_eq!(index, seen, "znodes follow each other from parent to parent");
                    assert_eq!(shape.parent_of(&znodes, index), parent);
                    let (mut path, mut data) = (Vec::new(), Vec::new());
                    znodes.put_path(&mut path, Place::Filled(index));
                    znodes.put_data(&mut data, index);
                    let name = path.iter().rev().take_while(|byte| **byte != b'/').count();
                    path_bytes += path.len() - 4;
                    name_bytes += name;
                    data_bytes += data.len() - 4;
                    seen += 1;
                }
            }
            assert_eq!(seen, znodes.count);
            let means = [path_bytes, name_bytes, data_bytes].map(|sum| (sum as f64 / seen as f64).round());
            let promised = if shape == Shape::Real { [115.0, 24.0, 47.0] } else { [28.0, 10.0, 100.0] };
            assert_eq!(means, promised, "{shape:?}");
        }
    }
}
