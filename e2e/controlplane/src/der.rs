//! An X.509 client certificate, written out in DER.
//!
//! Kubernetes takes a user's groups from several organisation entries of one subject (kubernetes.io, "X.509 client certificates");
//! rcgen's distinguished name holds one value per type. Structure: RFC 5280, section 4.1; algorithm: RFC 5758, section 3.2.

use jiff::{Timestamp, tz::TimeZone};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTF8_STRING: u8 = 0x0c;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const GENERALIZED_TIME: u8 = 0x18;
const UTC_TIME: u8 = 0x17;
/// `[0] EXPLICIT`: the version; `[3] EXPLICIT`: the extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

const COMMON_NAME: &[u8] = &[0x06, 3, 0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x06, 3, 0x55, 0x04, 0x0a];
const ECDSA_WITH_SHA256: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const KEY_USAGE: &[u8] = &[0x06, 3, 0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x06, 3, 0x55, 0x1d, 0x25];
const CLIENT_AUTH: &[u8] = &[0x06, 8, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
const TRUE: &[u8] = &[0x01, 1, 0xff];
/// A bit string with the first bit set: `digitalSignature`.
const DIGITAL_SIGNATURE: &[u8] = &[BIT_STRING, 2, 7, 0x80];

/// What a client certificate says.
pub(crate) struct ClientCertificate<'a> {
    /// Common name of the authority: its whole subject.
    pub(crate) issuer: &'a str,
    /// Common name: the user.
    pub(crate) user: &'a str,
    /// Organisations: the groups.
    pub(crate) groups: &'a [&'a str],
    /// Public key, as a `SubjectPublicKeyInfo`.
    pub(crate) public_key: &'a [u8],
    /// A number that the authority has not used before; the first bit is cleared.
    pub(crate) serial: [u8; 16],
    /// Start of its validity.
    pub(crate) not_before: Timestamp,
    /// End of its validity.
    pub(crate) not_after: Timestamp,
}

impl ClientCertificate<'_> {
    /// The part that the authority signs with ECDSA and SHA-256.
    pub(crate) fn to_be_signed(&self) -> Vec<u8> {
        let mut serial = self.serial;
        // Positive and without a leading zero octet.
        serial[0] = serial[0] & 0x7f | 0x40;
        element(
            SEQUENCE,
            &[
                &element(VERSION, &[&element(INTEGER, &[&[2]])]),
                &element(INTEGER, &[&serial]),
                &element(SEQUENCE, &[ECDSA_WITH_SHA256]),
                &name(self.issuer, &[]),
                &element(SEQUENCE, &[&time(self.not_before), &time(self.not_after)]),
                &name(self.user, self.groups),
                self.public_key,
                &element(
                    EXTENSIONS,
                    &[&element(
                        SEQUENCE,
                        &[
                            &element(
                                SEQUENCE,
                                &[KEY_USAGE, TRUE, &element(OCTET_STRING, &[DIGITAL_SIGNATURE])],
                            ),
                            &element(
                                SEQUENCE,
                                &[
                                    EXTENDED_KEY_USAGE,
                                    &element(OCTET_STRING, &[&element(SEQUENCE, &[CLIENT_AUTH])]),
                                ],
                            ),
                        ],
                    )],
                ),
            ],
        )
    }
}

/// The certificate: the signed part with its signature (a DER `ECDSA-Sig-Value`).
pub(crate) fn certificate(to_be_signed: &[u8], signature: &[u8]) -> Vec<u8> {
    element(
        SEQUENCE,
        &[
            to_be_signed,
            &element(SEQUENCE, &[ECDSA_WITH_SHA256]),
            // No unused bits at its end.
            &element(BIT_STRING, &[&[0], signature]),
        ],
    )
}

fn name(common_name: &str, organizations: &[&str]) -> Vec<u8> {
    let part = |kind: &[u8], value: &str| {
        element(SET, &[&element(SEQUENCE, &[kind, &element(UTF8_STRING, &[value.as_bytes()])])])
    };
    let mut parts: Vec<u8> = organizations.iter().flat_map(|value| part(ORGANIZATION, value)).collect();
    parts.extend(part(COMMON_NAME, common_name));
    element(SEQUENCE, &[&parts])
}

/// Two digits of the year until 2049, four from then on: RFC 5280, section 4.1.2.5.
fn time(at: Timestamp) -> Vec<u8> {
    let utc = at.to_zoned(TimeZone::UTC);
    if utc.year() < 2050 {
        element(UTC_TIME, &[utc.strftime("%y%m%d%H%M%SZ").to_string().as_bytes()])
    } else {
        element(GENERALIZED_TIME, &[utc.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()])
    }
}

fn element(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let length: usize = content.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            // At most eight bytes, so the truncation takes nothing away.
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or(0x7f));
            out.extend(bytes);
        }
    }
    for part in content {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_encoded_in_the_shortest_form() {
        assert_eq!(element(INTEGER, &[&[1]]), [2, 1, 1]);
        assert_eq!(element(OCTET_STRING, &[&[0; 127]])[..2], [4, 127]);
        assert_eq!(element(OCTET_STRING, &[&[0; 128]])[..3], [4, 0x81, 128]);
        assert_eq!(element(OCTET_STRING, &[&[0; 200], &[0; 100]])[..4], [4, 0x82, 1, 44]);
    }

    #[test]
    fn groups_are_separate_entries_in_order() {
        let bytes = name("u", &["a", "b"]);
        let part = |kind: u8, value: u8| [SET, 10, SEQUENCE, 8, 6, 3, 0x55, 4, kind, UTF8_STRING, 1, value];
        let expected = [&[SEQUENCE, 36][..], &part(10, b'a'), &part(10, b'b'), &part(3, b'u')].concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn times_change_their_form_in_2050() {
        assert_eq!(time("2049-12-31T23:59:59Z".parse().unwrap())[2..], *b"491231235959Z");
        assert_eq!(time("2050-01-01T00:00:00Z".parse().unwrap())[2..], *b"20500101000000Z");
    }
}
