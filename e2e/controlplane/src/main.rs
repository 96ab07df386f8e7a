//! A real kube-apiserver and etcd, built from pinned Go modules, for tests and the demo.

fn main() {}
