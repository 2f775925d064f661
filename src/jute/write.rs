//! Encoding: appends to any buffer.

use bytes::BufMut;

/// Jute on top of a growing buffer.
pub trait JuteWrite: BufMut {
    /// Four bytes.
    fn int(&mut self, value: i32) {
        self.put_i32(value);
    }

    /// Eight bytes.
    fn long(&mut self, value: i64) {
        self.put_i64(value);
    }

    /// One byte, 0 or 1.
    fn boolean(&mut self, value: bool) {
        self.put_u8(u8::from(value));
    }

    /// A buffer; `None` is null.
    fn buffer(&mut self, value: Option<&[u8]>) {
        match value {
            Some(bytes) => {
                self.length(bytes.len());
                self.put_slice(bytes);
            }
            None => self.int(-1),
        }
    }

    /// A string. A character beyond the basic plane becomes two surrogates of three bytes each (CESU-8), as Java writes it.
    fn ustring(&mut self, value: &str) {
        if value.bytes().all(|b| b < 0xf0) {
            self.buffer(Some(value.as_bytes()));
        } else {
            self.buffer(Some(&cesu8(value)));
        }
    }

    /// A string or null.
    fn ustring_or_null(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.ustring(value),
            None => self.int(-1),
        }
    }

    /// The count that stands before a vector's items, or the length before bytes.
    fn length(&mut self, length: usize) {
        // Frames are bounded by jute.maxbuffer, which is an i32: a longer value cannot have come in.
        self.int(i32::try_from(length).unwrap_or(i32::MAX));
    }
}

impl<B: BufMut + ?Sized> JuteWrite for B {}

fn cesu8(value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() * 3 / 2);
    for c in value.chars() {
        if u32::from(c) < 0x10000 {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.extend([0xe0 | (*unit >> 12) as u8, 0x80 | (*unit >> 6 & 0x3f) as u8, 0x80 | (*unit & 0x3f) as u8]);
        }
    }
    out
}
