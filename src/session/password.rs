//! The session password: a function of the id, the same on every server, with no secret in it (CL-09).

use crate::ids::SessionId;
use crate::proto::PASSWORD_LENGTH;

/// What the reference mixes into the id.
const SECRET: i64 = 0xB341_5C00;

/// The password of a session: 16 bytes of `java.util.Random`, seeded with the id.
#[must_use]
pub fn password(session: SessionId) -> [u8; PASSWORD_LENGTH] {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = ((session.0 ^ SECRET) as u64 ^ MULTIPLIER) & MASK;
    let mut password = [0; PASSWORD_LENGTH];
    for word in password.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        // Java hands out each 32-bit number low byte first.
        let number = (state >> 16) as u32;
        for (shift, byte) in (0..).step_by(8).zip(word) {
            *byte = (number >> shift) as u8;
        }
    }
    password
}
