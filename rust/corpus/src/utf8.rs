//! Decodes bytes as UTF-8 under a [`Utf8Policy`].

use std::borrow::Cow;

use crate::options::Utf8Policy;

/// Returns `bytes` as text, and the number of ill-formed sequences that were replaced. The error,
/// under [`Utf8Policy::Refuse`] only, is the offset of the first ill-formed byte.
pub(crate) fn decode(bytes: &[u8], policy: Utf8Policy) -> Result<(Cow<'_, str>, u64), usize> {
    // `basic` is the faster flavour for text that is nearly always well-formed
    if let Ok(text) = simdutf8::basic::from_utf8(bytes) {
        return Ok((Cow::Borrowed(text), 0));
    }
    match policy {
        Utf8Policy::Refuse => {
            Err(std::str::from_utf8(bytes).map_or_else(|e| e.valid_up_to(), str::len))
        }
        Utf8Policy::Replace => {
            let mut text = String::with_capacity(bytes.len() + 16);
            let mut replaced = 0;
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                if !chunk.invalid().is_empty() {
                    text.push(char::REPLACEMENT_CHARACTER);
                    replaced += 1;
                }
            }
            Ok((Cow::Owned(text), replaced))
        }
    }
}

/// The same as [`decode`] for owned bytes, which are not copied when they are well-formed.
pub(crate) fn decode_owned(bytes: Vec<u8>, policy: Utf8Policy) -> Result<(String, u64), usize> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, 0)),
        Err(error) => decode(error.as_bytes(), policy).map(|(text, n)| (text.into_owned(), n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_maximal_ill_formed_sequence_is_one_replacement() {
        // Unicode 17, table 3-8: truncated sequences, and bytes that start none
        let bytes = b"\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64";
        let (text, replaced) = decode(bytes, Utf8Policy::Replace).unwrap();
        assert_eq!(text, "a\u{fffd}\u{fffd}\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}d");
        assert_eq!(replaced, 6);
        assert_eq!(decode(bytes, Utf8Policy::Refuse), Err(1));
    }

    proptest! {
        #[test]
        fn decode_equals_from_utf8_lossy(bytes: Vec<u8>) {
            let (text, replaced) = decode(&bytes, Utf8Policy::Replace).unwrap();
            prop_assert_eq!(&text, &String::from_utf8_lossy(&bytes));
            prop_assert_eq!(replaced == 0, std::str::from_utf8(&bytes).is_ok());
            let owned = decode_owned(bytes.clone(), Utf8Policy::Replace).unwrap();
            prop_assert_eq!((text.into_owned(), replaced), owned);
        }
    }
}
