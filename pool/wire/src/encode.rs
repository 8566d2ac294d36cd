//! The messages a pool itself sends, appended to a buffer the caller reuses.
//!
//! [`frontend`] is for server connections, [`backend`] for client connections. Forwarded
//! messages never come through here: they go out as the bytes they came in as.

pub mod backend;
pub mod frontend;

use crate::tag::Tag;

/// Appends a message: the tag, a length patched in afterwards, and what `body` writes.
pub fn message<T: Tag>(out: &mut Vec<u8>, tag: T, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag.byte());
    length_prefixed(out, body);
}

/// Appends an Int32 length that counts itself, and what `body` writes: a message without tag.
pub(crate) fn length_prefixed(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let len = i32::try_from(out.len() - start).expect("a message the pool writes is small");
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

/// Appends a NUL-terminated string. A NUL inside would end the field early and let the rest pass
/// for other fields, so those are left out.
pub(crate) fn cstr(out: &mut Vec<u8>, text: &[u8]) {
    if memchr::memchr(0, text).is_none() {
        out.extend_from_slice(text);
    } else {
        out.extend(text.iter().copied().filter(|&byte| byte != 0));
    }
    out.push(0);
}

pub(crate) fn int32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests;
