//! Look-ups over the objects of a kind, so that no reconciliation goes through all of them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::key::Key;

/// Objects by terms. An object has any number of terms, a term any number of objects. Names and terms are shared, because there
/// are very many.
#[derive(Debug, Default)]
pub struct Index {
    objects: HashMap<Arc<str>, Names>,
    terms: HashMap<Arc<Key>, Box<[Arc<str>]>>,
}

/// Most terms have one object.
#[derive(Debug)]
enum Names {
    One(Arc<Key>),
    Many(BTreeSet<Arc<Key>>),
}

impl Names {
    fn insert(&mut self, key: Arc<Key>) {
        match self {
            Self::One(present) if *present == key => {}
            Self::One(present) => *self = Self::Many(BTreeSet::from([Arc::clone(present), key])),
            Self::Many(all) => {
                all.insert(key);
            }
        }
    }

    /// Whether nothing is left.
    fn remove(&mut self, key: &Key) -> bool {
        match self {
            Self::One(present) => **present == *key,
            Self::Many(all) => {
                all.remove(key);
                all.is_empty()
            }
        }
    }
}

impl Index {
    /// Puts an object under exactly these terms.
    pub fn put(&mut self, key: &Arc<Key>, terms: Vec<String>) {
        if self.terms.get(key).is_some_and(|present| same(present, &terms)) {
            return;
        }
        self.remove(key);
        let terms: Box<[Arc<str>]> = terms.into_iter().map(|term| self.note(term, key)).collect();
        self.terms.insert(Arc::clone(key), terms);
    }

    /// Puts an object under one term more.
    pub fn add(&mut self, key: &Key, term: String) {
        let Some((key, terms)) = self.terms.get_key_value(key) else { return };
        if terms.iter().any(|present| **present == *term) {
            return;
        }
        let (key, mut terms) = (Arc::clone(key), terms.to_vec());
        terms.push(self.note(term, &key));
        self.terms.insert(key, terms.into());
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &Key) {
        for term in self.terms.remove(key).unwrap_or_default() {
            if self.objects.get_mut(&term).is_some_and(|names| names.remove(key)) {
                self.objects.remove(&term);
            }
        }
    }

    /// The objects under a term.
    pub fn get(&self, term: &str) -> Vec<Key> {
        match self.objects.get(term) {
            None => Vec::new(),
            Some(Names::One(key)) => vec![(**key).clone()],
            Some(Names::Many(keys)) => keys.iter().map(|key| (**key).clone()).collect(),
        }
    }

    fn note(&mut self, term: String, key: &Arc<Key>) -> Arc<str> {
        let known = self.objects.get_key_value(term.as_str()).map(|(term, _)| Arc::clone(term));
        let term = known.unwrap_or_else(|| term.into());
        self.objects
            .entry(Arc::clone(&term))
            .and_modify(|names| names.insert(Arc::clone(key)))
            .or_insert_with(|| Names::One(Arc::clone(key)));
        term
    }
}

fn same(present: &[Arc<str>], terms: &[String]) -> bool {
    present.len() == terms.len() && present.iter().zip(terms).all(|(present, term)| **present == **term)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_follow_the_object() {
        let (a, b) = (Arc::new(Key::new("n", "a")), Arc::new(Key::new("n", "b")));
        let mut index = Index::default();
        index.put(&a, vec!["user:1".to_owned(), "scope:x".to_owned()]);
        index.put(&b, vec!["scope:x".to_owned()]);
        index.add(&b, "user:1".to_owned());
        index.add(&b, "user:1".to_owned());
        assert_eq!(index.get("user:1"), [(*a).clone(), (*b).clone()]);
        index.put(&a, vec!["user:2".to_owned()]);
        assert_eq!(index.get("user:1"), std::slice::from_ref(&*b));
        assert_eq!(index.get("scope:x"), std::slice::from_ref(&*b));
        index.add(&Key::new("n", "c"), "user:3".to_owned());
        assert!(index.get("user:3").is_empty(), "what is not there has no terms");
        index.remove(&a);
        index.remove(&b);
        assert!(index.objects.is_empty() && index.terms.is_empty(), "nothing is left behind");
    }
}
