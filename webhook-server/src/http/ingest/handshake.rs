//! The validation handshake: Graph proves that it reaches the URL by having a token read back.

/// Longest token that is read back, in bytes after decoding. Real ones have about 120.
pub(super) const MAX_TOKEN_BYTES: usize = 4096;

/// Why a token is not read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadToken;

/// The validation token of a query, form-decoded; `None` where the query has none.
pub(super) fn token(query: Option<&str>) -> Option<Result<Vec<u8>, BadToken>> {
    let pair = |pair: &'_ str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name)? == b"validationToken").then(|| value.to_owned())
    };
    let value = query?.split('&').find_map(pair)?;
    // Decoding never lengthens, and at most thirds.
    if value.is_empty() || value.len() > 3 * MAX_TOKEN_BYTES {
        return Some(Err(BadToken));
    }
    Some(match decode(&value) {
        Some(token) if token.len() <= MAX_TOKEN_BYTES && str::from_utf8(&token).is_ok() => Ok(token),
        _ => Err(BadToken),
    })
}

/// `application/x-www-form-urlencoded`, strictly: a `%` that two hex digits do not follow is refused.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => (digit(bytes.next()?)? << 4) | digit(bytes.next()?)?,
            other => other,
        });
    }
    Some(out)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_query_without_a_token_is_no_handshake() {
        assert_eq!(token(None), None);
        assert_eq!(token(Some("")), None);
        assert_eq!(token(Some("validationtoken=x&a=b")), None);
    }

    #[test]
    fn a_bad_token_is_refused() {
        for query in [
            "validationToken=",
            "validationToken",
            "validationToken=%",
            "validationToken=%4",
            "validationToken=%zz",
            "validationToken=%ff",
        ] {
            assert_eq!(token(Some(query)), Some(Err(BadToken)), "{query}");
        }
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        assert_eq!(token(Some(&format!("validationToken={long}"))), Some(Err(BadToken)));
    }

    proptest! {
        #[test]
        fn any_token_comes_back_as_it_was_encoded(text in "\\PC{1,200}", before in "[a-z]{0,5}") {
            let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
            let query = format!("{before}=1&validationToken={encoded}");
            prop_assert_eq!(token(Some(&query)), Some(Ok(text.into_bytes())));
        }
    }
}
