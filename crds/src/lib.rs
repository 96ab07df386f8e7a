//! Custom resources of Roomkeeper: types, CEL rules, conditions, names and hashes.
