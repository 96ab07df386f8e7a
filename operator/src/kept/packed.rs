//! Objects in few bytes: as JSON, compressed against another object of the same kind, from which most differ in a few names only.
//! As in every JSON of Kubernetes, times come out in whole seconds.

use std::sync::{Arc, PoisonError, RwLock};

use lz4_flex::block::{compress_with_dict, decompress_with_dict};
use serde::{Serialize, de::DeserializeOwned};

/// A dictionary beyond this would not be used: LZ4 looks back no further.
const LONGEST: usize = 64 * 1024;

/// Packs objects of one kind.
#[derive(Debug, Default)]
pub(super) struct Packer {
    /// An object that others are compressed against. Replaced by one that has more to offer; what was packed before keeps its
    /// own.
    dictionary: RwLock<Arc<[u8]>>,
}

/// A packed object.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    dictionary: Arc<[u8]>,
    length: u32,
    bytes: Arc<[u8]>,
}

impl Packer {
    /// Packs; `None` for what cannot be written as JSON.
    pub(super) fn pack(&self, object: &impl Serialize) -> Option<Packed> {
        let json = serde_json::to_vec(object).ok()?;
        let length = u32::try_from(json.len()).ok()?;
        let dictionary = self.dictionary(&json);
        let bytes = compress_with_dict(&json, &dictionary).into();
        Some(Packed { dictionary, length, bytes })
    }

    fn dictionary(&self, json: &[u8]) -> Arc<[u8]> {
        let known = Arc::clone(&self.dictionary.read().unwrap_or_else(PoisonError::into_inner));
        // Noticeably longer only, so that there are few over a lifetime.
        if json.len() > LONGEST || json.len() <= known.len() + known.len() / 4 {
            return known;
        }
        let better: Arc<[u8]> = json.into();
        *self.dictionary.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&better);
        better
    }
}

impl Packed {
    /// The object; `None` never, unless memory is broken.
    pub(super) fn unpack<K: DeserializeOwned>(&self) -> Option<K> {
        let length = usize::try_from(self.length).ok()?;
        let json = decompress_with_dict(&self.bytes, length, &self.dictionary).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_differs_little_takes_little() {
        let packer = Packer::default();
        let object = |number: u32| {
            let message = "the Graph subscription lives; it is renewed in time ".repeat(20);
            serde_json::json!({"metadata": {"name": format!("user-{number}")}, "status": {"message": message}})
        };
        let first = packer.pack(&object(1)).unwrap();
        let second = packer.pack(&object(2)).unwrap();
        assert!(second.bytes.len() < 64, "{} bytes", second.bytes.len());
        assert_eq!(second.unpack::<serde_json::Value>(), Some(object(2)));
        assert_eq!(first.unpack::<serde_json::Value>(), Some(object(1)));
    }

    proptest! {
        /// Whatever came before, and whichever dictionary is the present one.
        #[test]
        fn every_object_comes_out_as_it_went_in(texts in proptest::collection::vec(".{0,200}", 1..20)) {
            let packer = Packer::default();
            let packed: Vec<Packed> = texts.iter().map(|text| packer.pack(text).unwrap()).collect();
            for (packed, text) in packed.iter().zip(&texts) {
                let unpacked = packed.unpack::<String>();
                prop_assert_eq!(unpacked.as_ref(), Some(text));
            }
        }
    }
}
