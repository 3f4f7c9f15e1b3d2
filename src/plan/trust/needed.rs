//! The authorities that a destination's nodes need: which of them can be had, and what the ConfigMap is to hold.
//!
//! A source whose authority can't be had is left out alone. Many tenants share a destination, and one of them must not hold up the
//! others.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{api::allowlist::LeftOut, plan::restart::Blocked};

use super::{MAX_BYTES, Seen};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// What was found of a source's authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its own, as certificates (DER).
    Own(Vec<Vec<u8>>),
    /// Its SearchCluster names none: a public one, which the operator itself trusts.
    Public,
    /// It can't be had.
    Fault(Blocked),
}

/// The sources of one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    config_map: String,
    /// A node reads the ConfigMap already, and by that none of Java's own authorities.
    is_read: bool,
    own: BTreeMap<String, Vec<Vec<u8>>>,
    public: BTreeSet<String>,
    left_out: Vec<LeftOut>,
    /// Those whose authority can't be had for a moment, and why the first of them can't.
    awaited: Vec<String>,
    waits: Option<Blocked>,
}

/// What the ConfigMap is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Certificates as PEM.
    pub text: String,
    /// Sources whose authorities are in it.
    sources: Vec<String>,
    /// Those whose are not.
    left_out: Vec<LeftOut>,
}

impl Needed {
    /// None yet. `is_read` is whether a node reads this ConfigMap already.
    pub fn new(config_map: &str, is_read: bool) -> Needed {
        Needed {
            config_map: config_map.to_owned(),
            is_read,
            own: BTreeMap::new(),
            public: BTreeSet::new(),
            left_out: vec![],
            awaited: vec![],
            waits: None,
        }
    }

    /// Adds a source, by `namespace/name`.
    pub fn add(&mut self, source: &str, found: Found) {
        match found {
            Found::Own(certificates) => {
                self.own.insert(source.to_owned(), certificates);
            }
            Found::Public => {
                self.public.insert(source.to_owned());
            }
            // A change without it would be followed by another one, and its restarts.
            Found::Fault(blocked) if blocked.passes => {
                self.awaited.push(source.to_owned());
                self.waits.get_or_insert(blocked);
            }
            Found::Fault(blocked) => self.left_out.push(left_out(source, blocked.reason, blocked.message)),
        }
    }

    /// Whether public authorities are needed: beside a list of others the nodes trust none of Java's own.
    pub fn needs_public(&self) -> bool {
        !self.public.is_empty() && (self.is_read || !self.own.is_empty())
    }

    /// Whether the ConfigMap has to hold anything.
    pub fn is_to_be_kept(&self) -> bool {
        !self.own.is_empty() || self.needs_public()
    }

    /// What the ConfigMap is to hold, where it holds the certificates (DER) `kept`: these first and as they stand, since none is taken
    /// out, then the sources' own, and last the `public` ones, which are many. A source that does not fit is left out.
    pub fn bundle(&self, kept: &[Vec<u8>], public: &[Vec<u8>]) -> Bundle {
        let mut pem = Pem::default();
        pem.add(kept);
        let mut bundle = Bundle { text: String::new(), sources: vec![], left_out: vec![] };
        let by_public = self.public.iter().filter(|_| self.needs_public()).map(|source| (source, public));
        for (source, certificates) in self.own.iter().map(|(source, own)| (source, own.as_slice())).chain(by_public) {
            if certificates.is_empty() {
                let message = format!(
                    "SearchCluster {source}, a source, names no authority, and the operator's image has no public ones: name it there in tls.caRef, even a public one"
                );
                bundle.left_out.push(left_out(source, "AuthorityUnknown", message));
            } else if pem.fits(certificates) {
                pem.add(certificates);
                bundle.sources.push(source.clone());
            } else {
                let message = format!(
                    "the authority of SearchCluster {source}, a source, does not fit into ConfigMap {}, which may hold {MAX_BYTES} bytes: take those that are not needed any more out of it",
                    self.config_map
                );
                bundle.left_out.push(left_out(source, "TooManyAuthorities", message));
            }
        }
        bundle.text = pem.text;
        bundle
    }

    /// What is told, after the ConfigMap was written or could not be; None where there was nothing to be kept in it.
    pub fn seen(self, written: Option<Result<Bundle, Blocked>>) -> Option<Seen> {
        let is_own = |source: &String| self.own.contains_key(source);
        let (mut sources, further, kept) = match written {
            None => (vec![], vec![], Ok(())),
            Some(Ok(bundle)) => (bundle.sources, bundle.left_out, Ok(())),
            Some(Err(blocked)) => (self.own.keys().chain(&self.public).cloned().collect(), vec![], Err(blocked)),
        };
        let needs_nodes = sources.iter().any(is_own) || !self.awaited.is_empty();
        sources.extend(self.awaited);
        sources.sort();
        let mut left_out = self.left_out;
        left_out.extend(further);
        left_out.sort_by(|one, other| one.source.cmp(&other.source));
        let kept = self.waits.map_or(kept, Err);
        let is_of_interest = !sources.is_empty() || !left_out.is_empty();
        is_of_interest.then_some(Seen { sources, left_out, needs_nodes, kept })
    }
}

fn left_out(source: &str, reason: &str, message: String) -> LeftOut {
    LeftOut { source: source.to_owned(), reason: reason.to_owned(), message }
}

/// Certificates as PEM, each once.
#[derive(Default)]
struct Pem {
    text: String,
    held: BTreeSet<Vec<u8>>,
}

impl Pem {
    fn add(&mut self, certificates: &[Vec<u8>]) {
        for certificate in certificates {
            if self.held.insert(certificate.clone()) {
                self.text += &pem(certificate);
            }
        }
    }

    /// Whether these can be added. What is there already always can.
    fn fits(&self, certificates: &[Vec<u8>]) -> bool {
        let new: BTreeSet<&Vec<u8>> =
            certificates.iter().filter(|certificate| !self.held.contains(*certificate)).collect();
        let bytes: usize = new.iter().map(|certificate| pem(certificate).len()).sum();
        bytes == 0 || self.text.len() + bytes <= MAX_BYTES
    }
}

fn pem(certificate: &[u8]) -> String {
    let mut text = format!("{BEGIN}\n");
    let encoded = BASE64_STANDARD.encode(certificate);
    // Base64 is made of ASCII.
    for line in encoded.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

/// The blocks of a text of certificates (PEM), each for itself: one that is spoilt spoils no other.
pub fn blocks(text: &str) -> impl Iterator<Item = String> {
    text.split(BEGIN).skip(1).map(|rest| format!("{BEGIN}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(byte: u8) -> Found {
        Found::Own(vec![vec![byte; 100]])
    }

    fn fault() -> Found {
        Found::Fault(Blocked::by("AuthorityUnknown", "no Secret".into()))
    }

    fn needed(is_read: bool, sources: &[(&str, Found)]) -> Needed {
        let mut needed = Needed::new("es-1-reindex-sources", is_read);
        sources.iter().for_each(|(source, found)| needed.add(source, found.clone()));
        needed
    }

    fn reasons(left_out: &[LeftOut]) -> Vec<(&str, &str)> {
        left_out.iter().map(|left| (left.source.as_str(), left.reason.as_str())).collect()
    }

    fn certificates(text: &str) -> usize {
        text.matches(BEGIN).count()
    }

    #[test]
    fn a_bundle_keeps_what_is_there_and_holds_everything_once() {
        let two = needed(false, &[("n/a", own(1)), ("n/b", Found::Own(vec![vec![1; 100], vec![2; 10]]))]);
        let first = two.bundle(&[], &[]);
        assert_eq!((certificates(&first.text), first.sources.len()), (2, 2));
        assert!(first.text.lines().all(|line| line.len() <= 64), "{}", first.text);
        let kept = [vec![1; 100], vec![2; 10]];
        assert_eq!(two.bundle(&kept, &[]), first, "an unchanged world is the same text");
        let third = needed(false, &[("n/0", own(3)), ("n/b", own(1))]).bundle(&kept, &[]);
        assert!(third.text.starts_with(&first.text), "what is kept stays where it is");
        assert_eq!(certificates(&third.text), 3);
    }

    #[test]
    fn who_is_faulty_is_left_out_alone() {
        let mixed = needed(false, &[("n/a", fault()), ("n/b", own(2))]);
        let bundle = mixed.bundle(&[], &[]);
        let seen = mixed.seen(Some(Ok(bundle))).unwrap();
        assert_eq!(seen.sources, ["n/b"]);
        assert_eq!(reasons(&seen.left_out), [("n/a", "AuthorityUnknown")]);
        assert!(seen.is_ready());
        let alone = needed(false, &[("n/a", fault())]);
        assert!(!alone.is_to_be_kept());
        let seen = alone.seen(None).unwrap();
        assert_eq!((seen.kept.is_ok(), seen.needs_nodes, seen.left_out.len()), (true, false, 1));
    }

    #[test]
    fn who_is_faulty_for_a_moment_is_waited_for() {
        let passing = Found::Fault(Blocked::passing("KubernetesError", "no answer".into()));
        let mixed = needed(false, &[("n/a", passing), ("n/b", own(2))]);
        let bundle = mixed.bundle(&[], &[]);
        assert_eq!(certificates(&bundle.text), 1, "the other one is kept meanwhile");
        let seen = mixed.seen(Some(Ok(bundle))).unwrap();
        assert_eq!((seen.sources.len(), seen.left_out.len(), seen.needs_nodes), (2, 0, true));
        assert_eq!(seen.kept.unwrap_err().reason, "KubernetesError");
    }

    #[test]
    fn public_authorities_are_added_only_beside_others() {
        let public = [vec![8; 50], vec![9; 50]];
        let alone = needed(false, &[("n/p", Found::Public)]);
        assert!(!alone.is_to_be_kept());
        assert_eq!(alone.seen(None), None, "Java's own authorities do");
        let mixed = needed(false, &[("n/a", own(1)), ("n/p", Found::Public), ("n/q", Found::Public)]);
        let bundle = mixed.bundle(&[], &public);
        assert_eq!((certificates(&bundle.text), bundle.sources.len(), bundle.left_out.len()), (3, 3, 0));
        let faulty = needed(false, &[("n/a", fault()), ("n/p", Found::Public)]);
        assert!(!faulty.is_to_be_kept(), "no list is made that they would be missing in");
        let read = needed(true, &[("n/p", Found::Public)]);
        let bundle = read.bundle(&[vec![1; 100]], &public);
        assert_eq!(certificates(&bundle.text), 3, "nodes read the list of a source that nobody needs any more");
        let seen = read.seen(Some(Ok(bundle))).unwrap();
        assert_eq!((seen.sources.as_slice(), seen.needs_nodes), (["n/p".to_owned()].as_slice(), false));
    }

    #[test]
    fn an_image_without_public_authorities_leaves_their_sources_out() {
        let mixed = needed(false, &[("n/a", own(1)), ("n/p", Found::Public)]);
        let bundle = mixed.bundle(&[], &[]);
        assert_eq!((certificates(&bundle.text), bundle.sources.as_slice()), (1, ["n/a".to_owned()].as_slice()));
        assert_eq!(reasons(&bundle.left_out), [("n/p", "AuthorityUnknown")]);
        assert!(bundle.left_out[0].message.contains("tls.caRef"), "{}", bundle.left_out[0].message);
    }

    #[test]
    fn who_does_not_fit_is_left_out_and_who_is_there_stays() {
        let large = |byte| Found::Own(vec![vec![byte; MAX_BYTES / 2]]);
        let many = needed(false, &[("n/a", large(1)), ("n/b", large(2)), ("n/c", own(3)), ("n/p", Found::Public)]);
        let bundle = many.bundle(&[], &[vec![4; MAX_BYTES / 2]]);
        assert_eq!(bundle.sources, ["n/a", "n/c"]);
        assert_eq!(reasons(&bundle.left_out), [("n/b", "TooManyAuthorities"), ("n/p", "TooManyAuthorities")]);
        assert!(bundle.text.len() <= MAX_BYTES);
        assert!(
            bundle.left_out[0].message.contains("ConfigMap es-1-reindex-sources"),
            "{}",
            bundle.left_out[0].message
        );
        let kept = [vec![2; MAX_BYTES / 2]];
        assert_eq!(many.bundle(&kept, &[]).sources, ["n/b", "n/c"], "whoever was there first");
        let beyond = [vec![1; MAX_BYTES / 2], vec![2; MAX_BYTES / 2]];
        assert_eq!(many.bundle(&beyond, &[]).sources, ["n/a", "n/b"], "a person put them all there");
    }

    #[test]
    fn a_config_map_that_can_t_be_written_is_told_with_all_that_is_needed() {
        let mixed = needed(false, &[("n/p", Found::Public), ("n/a", own(1)), ("n/f", fault())]);
        let seen = mixed.seen(Some(Err(Blocked::by("SourcesNotOurs", "it is somebody's".into())))).unwrap();
        assert_eq!((seen.sources.len(), seen.left_out.len(), seen.needs_nodes), (2, 1, true));
        assert_eq!(seen.kept.unwrap_err().reason, "SourcesNotOurs");
    }
}
