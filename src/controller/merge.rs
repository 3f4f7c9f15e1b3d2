//! Several watches of a kind, one a namespace, told as if they were one.
//!
//! A watch begins with a list (Init, InitApply …, InitDone), and does so again whenever it broke off for too long. A store takes each list for
//! everything that there is, and would lose at its end what the other watches told. So the first lists are kept back until the last of them is
//! complete, and told as one; a later list is told as the changes that it amounts to.

use std::collections::BTreeMap;

use kube::{
    Resource, ResourceExt,
    runtime::{reflector::Store, watcher::Event},
};

/// What came of several watches so far.
pub struct Merge<K> {
    /// One for each watch.
    lists: Vec<List<K>>,
    /// The first lists were told.
    is_told: bool,
}

/// A list that is being read, by the names of its objects.
struct List<K> {
    namespace: String,
    objects: BTreeMap<String, K>,
    is_complete: bool,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Merge<K> {
    /// Of watches of these namespaces.
    pub fn of(namespaces: impl IntoIterator<Item = String>) -> Merge<K> {
        let list = |namespace| List { namespace, objects: BTreeMap::new(), is_complete: false };
        Merge { lists: namespaces.into_iter().map(list).collect(), is_told: false }
    }

    /// What is to be told when the watch of that number tells this. `store` holds what was told before.
    pub fn take(&mut self, number: usize, event: Event<K>, store: &Store<K>) -> Vec<Event<K>> {
        let Some(list) = self.lists.get_mut(number) else { return vec![] };
        match event {
            // One that breaks off in the middle of its list begins it anew.
            Event::Init => {
                list.objects.clear();
                list.is_complete = false;
                vec![]
            }
            Event::InitApply(object) => {
                list.objects.insert(object.name_any(), object);
                vec![]
            }
            Event::InitDone if self.is_told => list.changes(store),
            Event::InitDone => {
                list.is_complete = true;
                self.first()
            }
            change if self.is_told => vec![change],
            Event::Apply(object) => {
                list.objects.insert(object.name_any(), object);
                vec![]
            }
            Event::Delete(object) => {
                list.objects.remove(&object.name_any());
                vec![]
            }
        }
    }

    /// All lists as one, once none is missing.
    fn first(&mut self) -> Vec<Event<K>> {
        if self.lists.iter().any(|list| !list.is_complete) {
            return vec![];
        }
        self.is_told = true;
        let objects = self.lists.iter_mut().flat_map(|list| std::mem::take(&mut list.objects).into_values());
        std::iter::once(Event::Init).chain(objects.map(Event::InitApply)).chain([Event::InitDone]).collect()
    }
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> List<K> {
    /// What this list, read again, changes: who is not on it any more is gone.
    fn changes(&mut self, store: &Store<K>) -> Vec<Event<K>> {
        let objects = std::mem::take(&mut self.objects);
        let is_gone = |known: &K| {
            known.meta().namespace.as_ref() == Some(&self.namespace) && !objects.contains_key(&known.name_any())
        };
        let known = store.state();
        let gone = known.iter().filter(|known| is_gone(known)).map(|known| Event::Delete(K::clone(known)));
        let gone: Vec<_> = gone.collect();
        gone.into_iter().chain(objects.into_values().map(Event::Apply)).collect()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::reflector::store::{Writer, store};

    use super::*;

    /// Two watches, of the namespaces `a` and `b`, and the store that is told.
    struct World {
        merge: Merge<ConfigMap>,
        writer: Writer<ConfigMap>,
        store: Store<ConfigMap>,
        /// Every event that was told, in one word each.
        told: Vec<String>,
    }

    impl World {
        fn new() -> World {
            let (store, writer) = store();
            World { merge: Merge::of(["a".to_owned(), "b".to_owned()]), writer, store, told: vec![] }
        }

        fn take(&mut self, number: usize, event: Event<ConfigMap>) {
            for event in self.merge.take(number, event, &self.store) {
                self.told.push(match &event {
                    Event::Init => "init".to_owned(),
                    Event::InitDone => "done".to_owned(),
                    Event::InitApply(object) => format!("first {}", full(object)),
                    Event::Apply(object) => format!("apply {}", full(object)),
                    Event::Delete(object) => format!("delete {}", full(object)),
                });
                self.writer.apply_watcher_event(&event);
            }
        }

        fn list(&mut self, number: usize, names: &[&str]) {
            self.take(number, Event::Init);
            for name in names {
                self.take(number, Event::InitApply(object(number, name)));
            }
            self.take(number, Event::InitDone);
        }

        fn told(&mut self) -> Vec<String> {
            std::mem::take(&mut self.told)
        }

        fn known(&self) -> Vec<String> {
            let mut known: Vec<_> = self.store.state().iter().map(|object| full(object)).collect();
            known.sort();
            known
        }
    }

    fn full(object: &ConfigMap) -> String {
        format!("{}/{}", object.namespace().unwrap(), object.name_any())
    }

    /// Of the namespace that this watch is of.
    fn object(number: usize, name: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some(["a", "b"][number].to_owned());
        object.metadata.name = Some(name.to_owned());
        object
    }

    #[test]
    fn the_first_lists_are_told_as_one_when_the_last_is_complete() {
        let mut world = World::new();
        world.list(1, &["x", "y"]);
        assert_eq!((world.told(), world.known()), (vec![], vec![]));
        world.list(0, &["x"]);
        assert_eq!(world.told(), ["init", "first a/x", "first b/x", "first b/y", "done"]);
        assert_eq!(world.known(), ["a/x", "b/x", "b/y"]);
    }

    #[test]
    fn changes_before_the_last_list_is_complete_are_kept_back_too() {
        let mut world = World::new();
        world.list(1, &["x", "y"]);
        world.take(1, Event::Delete(object(1, "x")));
        world.take(1, Event::Apply(object(1, "z")));
        world.list(0, &[]);
        assert_eq!(world.known(), ["b/y", "b/z"]);
    }

    #[test]
    fn a_first_list_that_breaks_off_is_forgotten() {
        let mut world = World::new();
        world.take(0, Event::Init);
        world.take(0, Event::InitApply(object(0, "deleted-meanwhile")));
        world.list(1, &[]);
        world.list(0, &["x"]);
        assert_eq!(world.known(), ["a/x"]);
        // One that was complete is so no more when it is begun anew.
        let mut world = World::new();
        world.list(0, &["x"]);
        world.take(0, Event::Init);
        world.list(1, &["y"]);
        assert_eq!(world.told(), [""; 0]);
        world.take(0, Event::InitDone);
        assert_eq!(world.known(), ["b/y"]);
    }

    #[test]
    fn changes_are_told_as_they_come() {
        let mut world = World::new();
        world.list(0, &["x"]);
        world.list(1, &["x"]);
        world.told();
        world.take(0, Event::Apply(object(0, "y")));
        world.take(1, Event::Delete(object(1, "x")));
        assert_eq!(world.told(), ["apply a/y", "delete b/x"]);
        assert_eq!(world.known(), ["a/x", "a/y"]);
    }

    #[test]
    fn a_later_list_changes_its_own_namespace_only() {
        let mut world = World::new();
        world.list(0, &["x", "y"]);
        world.list(1, &["x", "y"]);
        world.told();
        world.list(0, &["y", "z"]);
        assert_eq!(world.told(), ["delete a/x", "apply a/y", "apply a/z"]);
        assert_eq!(world.known(), ["a/y", "a/z", "b/x", "b/y"]);
    }

    #[test]
    fn a_later_list_that_breaks_off_changes_nothing() {
        let mut world = World::new();
        world.list(0, &["x"]);
        world.list(1, &[]);
        world.told();
        world.take(0, Event::Init);
        world.take(0, Event::InitApply(object(0, "y")));
        world.list(0, &["x"]);
        assert_eq!(world.told(), ["apply a/x"]);
    }
}
