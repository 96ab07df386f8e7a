//! One watch per kind: into the store, into the look-ups, and on to whoever must look.

use std::{collections::HashSet, pin::pin, sync::Arc};

use futures::StreamExt as _;
use kube::{
    ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};

use crate::{
    api::{Guarded, Object},
    context::Context,
    kept::Kept,
    key::Key,
    served,
};

/// What a kind does about changes of its objects.
pub trait Follow: Object {
    /// Where its objects are kept.
    fn kept(context: &Context) -> &Kept<Self>;

    /// Terms under which an object is looked up.
    fn terms(&self) -> Vec<String>;

    /// The object is new or changed, and is in the store: triggers who must look, itself aside.
    fn changed(&self, key: &Key, context: &Context);

    /// The object is gone; `last` is its last known form.
    fn gone(key: &Key, last: Option<&Self>, context: &Context);
}

/// Takes an object as the API server just answered to our own write: the next decision is made from it, and not from the event of an
/// earlier write that comes late and would have the same done twice.
pub fn take<K: Follow>(context: &Context, object: &K) {
    if K::kept(context).answered(object, object.terms()) {
        object.changed(&Key::of(object), context);
    }
}

/// Follows a kind until dropped. Never ends by itself: what goes wrong is tried again with growing delays.
pub async fn follow<K: Follow>(context: Arc<Context>) {
    let namespaces = &context.process.settings.watch_namespaces;
    let api = served::api::<K>(&context.process.kube, namespaces);
    let stream = watcher(api, watcher::Config::default()).default_backoff().modify(|object| {
        // Nearly half of an object's metadata, and never looked at.
        object.managed_fields_mut().clear();
    });
    let mut stream = pin!(stream);
    let kept = K::kept(&context);
    let mut listed = HashSet::new();
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "the watch broke; tried again");
                continue;
            }
        };
        if let Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) = &event
            && !namespaces.is_empty()
            && !object.namespace().is_some_and(|namespace| namespaces.contains(&namespace))
        {
            continue;
        }
        match &event {
            Event::Init => {
                listed.clear();
                kept.listing();
            }
            Event::InitApply(object) => {
                // Its end and its name's new bearer can both have been missed.
                let key = Key::of(object);
                if kept.get(&key).is_some_and(|before| before.uid() != object.uid()) {
                    lost::<K>(&context, &key);
                }
                listed.insert(note(kept, object));
            }
            Event::InitDone => {
                // Taken, so that its memory is given back.
                let listed = std::mem::take(&mut listed);
                for key in kept.missing(&listed) {
                    lost::<K>(&context, &key);
                }
                kept.set_complete();
                for key in listed {
                    announce(&context, kept, &key);
                }
            }
            Event::Apply(object) => {
                let key = note(kept, object);
                announce(&context, kept, &key);
            }
            Event::Delete(object) => {
                let key = Key::of(object);
                kept.remove(&key);
                if let Some(uid) = object.uid() {
                    context.forget(&uid);
                }
                K::gone(&key, object.0.as_ref().ok(), &context);
            }
        }
    }
}

/// An object turns out to be gone without an event that said so.
fn lost<K: Follow>(context: &Context, key: &Key) {
    let last = K::kept(context).remove(key);
    if let Some(uid) = last.as_ref().and_then(kube::ResourceExt::uid) {
        context.forget(&uid);
    }
    K::gone(key, last.as_ref(), context);
}

fn note<K: Follow>(kept: &Kept<K>, object: &Guarded<K>) -> Key {
    kept.put(object, object.0.as_ref().map(Follow::terms).unwrap_or_default())
}

fn announce<K: Follow>(context: &Context, kept: &Kept<K>, key: &Key) {
    if let Some(object) = kept.get(key) {
        object.changed(key, context);
    }
    kept.trigger(key);
}
