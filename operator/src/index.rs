//! Look-ups over the objects of a kind, so that no reconciliation goes through all of them.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::key::Key;

/// Objects by terms. An object has any number of terms, a term any number of objects.
#[derive(Debug, Default)]
pub struct Index {
    objects: HashMap<String, BTreeSet<Key>>,
    terms: HashMap<Key, Vec<String>>,
}

impl Index {
    /// Puts an object under exactly these terms.
    pub fn put(&mut self, key: &Key, terms: Vec<String>) {
        if self.terms.get(key).is_some_and(|present| *present == terms) {
            return;
        }
        self.remove(key);
        for term in &terms {
            self.objects.entry(term.clone()).or_default().insert(key.clone());
        }
        self.terms.insert(key.clone(), terms);
    }

    /// Puts an object under one term more.
    pub fn add(&mut self, key: &Key, term: String) {
        let terms = self.terms.entry(key.clone()).or_default();
        if !terms.contains(&term) {
            self.objects.entry(term.clone()).or_default().insert(key.clone());
            terms.push(term);
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &Key) {
        for term in self.terms.remove(key).unwrap_or_default() {
            if let Some(objects) = self.objects.get_mut(&term) {
                objects.remove(key);
                if objects.is_empty() {
                    self.objects.remove(&term);
                }
            }
        }
    }

    /// The objects under a term.
    pub fn get(&self, term: &str) -> Vec<Key> {
        self.objects.get(term).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// The objects that are not among `listed`: they vanished while nobody watched.
    pub fn missing_from(&self, listed: &HashSet<Key>) -> Vec<Key> {
        self.terms.keys().filter(|key| !listed.contains(*key)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_follow_the_object() {
        let (a, b) = (Key::new("n", "a"), Key::new("n", "b"));
        let mut index = Index::default();
        index.put(&a, vec!["user:1".to_owned(), "scope:x".to_owned()]);
        index.put(&b, vec!["scope:x".to_owned()]);
        index.add(&b, "user:1".to_owned());
        assert_eq!(index.get("user:1"), [a.clone(), b.clone()]);
        index.put(&a, vec!["user:2".to_owned()]);
        assert_eq!(index.get("user:1"), std::slice::from_ref(&b));
        assert_eq!(index.get("scope:x"), std::slice::from_ref(&b));
        assert_eq!(index.missing_from(&HashSet::from([a.clone()])), std::slice::from_ref(&b));
        index.remove(&a);
        index.remove(&b);
        assert!(index.objects.is_empty() && index.terms.is_empty(), "nothing is left behind");
    }
}
