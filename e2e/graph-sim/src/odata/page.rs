//! Paging by `$skiptoken`, which is the server's own and opaque to clients.

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

use crate::{errors::GraphError, graph::Call};

/// The token's option.
const TOKEN: &str = "$skiptoken";
/// Options that say where a list goes on, and so differ from page to page.
const PLACE: [&str; 2] = [TOKEN, "$skip"];

/// Which page of a list is asked for. The second page of every list is empty and has more to follow: Graph has such pages
/// here and there (graph-facts §10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageToken {
    after: Option<u128>,
    is_empty: bool,
}

impl PageToken {
    pub(crate) fn read(call: &Call<'_>) -> Result<Self, GraphError> {
        let Some(token) = call.query.get(TOKEN) else { return Ok(Self { after: None, is_empty: false }) };
        let read = || {
            let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
            let (kind, rest) = bytes.split_first()?;
            let (after, rest) = rest.split_first_chunk::<16>()?;
            let known = *kind <= 1 && rest == fingerprint(call);
            known.then(|| Self { after: Some(u128::from_be_bytes(*after)), is_empty: *kind == 1 })
        };
        read().ok_or_else(|| GraphError::bad_request("The $skiptoken is not valid for this request."))
    }

    /// What the page comes after; `None` for the first one.
    pub(crate) fn after(self) -> Option<u128> {
        self.after
    }

    /// Entries on this page, of a list with that many on others.
    pub(crate) fn size(self, most: usize) -> usize {
        if self.is_empty { 0 } else { most }
    }

    /// `@odata.nextLink` of a list that goes on after its entry `last`: the same URL with a token. An empty page has no last
    /// entry.
    pub(crate) fn link(self, call: &Call<'_>, last: Option<u128>) -> Option<String> {
        self.link_with(call, last, &[])
    }

    /// The same with `$skip`, for lists that count.
    pub(crate) fn link_by_skip(self, call: &Call<'_>, skip: usize) -> Option<String> {
        self.link_with(call, Some(skip as u128), &[("$skip", &skip.to_string())])
    }

    fn link_with(self, call: &Call<'_>, last: Option<u128>, options: &[(&str, &str)]) -> Option<String> {
        let after = last.or(self.after)?;
        let mut bytes = vec![u8::from(self.after.is_none())];
        bytes.extend(after.to_be_bytes());
        bytes.extend(fingerprint(call));
        let token = BASE64URL_NOPAD.encode(&bytes);
        let mut query = String::new();
        let options = options.iter().copied().chain([(TOKEN, token.as_str())]);
        for (name, value) in call.query.without(&PLACE).chain(options) {
            let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(name);
            query.push('=');
            // A plus sign would be read as a space by some clients and as itself by others.
            query.push_str(&value.replace('+', "%20").replace("%24", "$").replace("%2C", ","));
        }
        Some(format!("{}{}?{query}", call.request.origin, call.request.raw_path))
    }
}

/// Of the path and every option but those that differ from page to page.
fn fingerprint(call: &Call<'_>) -> Vec<u8> {
    let mut digest = Sha256::new();
    digest.update(call.request.raw_path.to_ascii_lowercase());
    for (name, value) in call.query.without(&PLACE) {
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
