//! `Edm.Guid`.

use uuid::Uuid;

/// Characters of a GUID in its one form, `8-4-4-4-12` hexadecimal digits. The parser takes others too, of other lengths.
const LENGTH: usize = 36;

/// Reads an id that a client sent.
pub(crate) fn guid(text: &str) -> Option<Uuid> {
    if text.len() == LENGTH { Uuid::try_parse(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hyphenated_form_is_taken() {
        let id = "2189c720-90d5-44ff-818b-fe585706ee90";
        assert_eq!(guid(id).map(|id| id.to_string()).as_deref(), Some(id));
        assert_eq!(guid(&id.to_uppercase()), guid(id));
        for bad in [
            "",
            "2189c72090d544ff818bfe585706ee90",
            "{2189c720-90d5-44ff-818b-fe585706ee90}",
            "urn:uuid:2189c720-90d5-44ff-818b-fe585706ee90",
            "{2189c72090d544ff818bfe585706ee90}xx",
            "2189c72-090d5-44ff-818b-fe585706ee90",
            "2189c720-90d5-44ff-818b-fe585706eeg0",
            "2189c720 90d5 44ff 818b fe585706ee90",
        ] {
            assert_eq!(guid(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_id_reads_back(id: u128) {
            let id = Uuid::from_u128(id);
            proptest::prop_assert_eq!(guid(&id.to_string()), Some(id));
        }
    }
}
