//! Paging by `$skiptoken`, which is the server's own and opaque to clients.

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

use crate::{errors::GraphError, graph::Call};

/// Where a list goes on: after that item, for exactly the same query.
pub(crate) struct PageToken;

impl PageToken {
    /// What the list goes on after; `None` on its first page.
    pub(crate) fn read(call: &Call<'_>) -> Result<Option<u128>, GraphError> {
        let Some(token) = call.query.get("$skiptoken") else { return Ok(None) };
        let invalid = || GraphError::bad_request("The $skiptoken is not valid for this request.");
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| invalid())?;
        let (after, rest) = bytes.split_first_chunk::<16>().ok_or_else(invalid)?;
        if rest != fingerprint(call) {
            return Err(invalid());
        }
        Ok(Some(u128::from_be_bytes(*after)))
    }

    /// `@odata.nextLink`: the same URL with a token.
    pub(crate) fn link(call: &Call<'_>, after: u128) -> String {
        let mut bytes = after.to_be_bytes().to_vec();
        bytes.extend(fingerprint(call));
        let token = BASE64URL_NOPAD.encode(&bytes);
        link(call, "$skiptoken", &token)
    }
}

/// The call's own URL with one option set to another value.
pub(crate) fn link(call: &Call<'_>, name: &str, value: &str) -> String {
    let mut query = String::new();
    for (name, value) in call.query.without(name).chain([(name, value)]) {
        let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        // A plus sign would be read as a space by some clients and as itself by others.
        query.push_str(&value.replace('+', "%20").replace("%24", "$").replace("%2C", ","));
    }
    format!("{}{}?{query}", call.request.origin, call.request.raw_path)
}

/// Of the path and every option but the token.
fn fingerprint(call: &Call<'_>) -> Vec<u8> {
    let mut digest = Sha256::new();
    digest.update(call.request.raw_path.to_ascii_lowercase());
    for (name, value) in call.query.without("$skiptoken") {
        for part in [name, value] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
    }
    digest.finalize().iter().copied().take(8).collect()
}

/// A number within bounds.
pub(crate) fn number(
    call: &Call<'_>,
    name: &str,
    most: usize,
    least: usize,
) -> Result<Option<usize>, GraphError> {
    let Some(text) = call.query.get(name) else { return Ok(None) };
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
        Ok(_) if name == "$top" => Err(GraphError::unsupported_query(format!(
            "Invalid page size specified: '{text}'. Must be between {least} and {most} inclusive."
        ))),
        _ => Err(GraphError::bad_request(format!("Invalid value '{text}' for {name} query option found."))),
    }
}
