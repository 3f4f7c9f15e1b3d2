//! What others put into names, documents and answers: none of it draws on a terminal, forges a line of the log or leads credentials astray.

use k8s_openapi::api::events::v1::Event;
use reindex_operator::api::{Reindex, conditions::RECONCILING};
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use super::{assert_copied, failure};
use crate::support::{
    engine::Index,
    world::{SOURCE_PASSWORD, World, condition},
};

/// Clears the screen, begins a line of its own, turns the direction round and sets the title of the window.
const HOSTILE: &str = "C\u{1b}[2J\r\nINFO forged\u{202e}\u{9b}1m\u{2028}\u{1b}]0;owned\u{7}";
/// The same as people may see it.
const HARMLESS: &str = "C [2J  INFO forged  1m  ]0;owned";

/// It is one line, and makes a terminal do nothing but print it.
fn assert_plain(what: &str, text: &str) {
    let drawing = |c: char| c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
    assert!(!text.contains(drawing), "{what}: {text:?}");
}

/// Conditions, steps, events and the log.
fn assert_people_see_it_plainly(world: &World, reindex: &Reindex, told: &str) {
    let status = reindex.status.clone().unwrap();
    let conditions = status.conditions.iter().map(|condition| condition.message.clone());
    let messages: Vec<_> = conditions.chain(status.steps.iter().filter_map(|step| step.message.clone())).collect();
    assert!(messages.iter().any(|message| message.contains(told)), "{messages:?}");
    messages.iter().for_each(|message| assert_plain("status", message));
    let events: Vec<_> = world.api.list::<Event>().into_iter().filter_map(|event| event.note).collect();
    assert!(events.iter().any(|note| note.contains(told)), "{events:?}");
    events.iter().for_each(|note| assert_plain("event", note));
    let log = world.logs.text();
    assert!(log.contains(told) && !log.lines().any(|line| line.starts_with("INFO forged")), "{log}");
}

/// A document under that id which the destination refuses, quoting it.
fn refused(index: &mut Index) {
    for letter in ["A", "B", "C", "D", "E", "F"] {
        index.put(letter, json!({"annual_rate": "3.1"}));
    }
    index.put(HOSTILE, json!({"annual_rate": HOSTILE}));
    index.refresh();
}

#[tokio::test]
async fn an_id_with_control_characters_is_told_plainly_and_kept_as_it_is() {
    let mut world = World::with(|reindex| {
        reindex["spec"]["destination"]["mappings"] =
            json!({"dynamic": false, "properties": {"annual_rate": {"type": "float"}}});
        reindex["spec"]["acceptWarnings"] = json!(["FieldsNotIndexed"]);
    })
    .await;
    refused(world.source.state().index("product_info"));
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "DocumentFailures");
    assert_people_see_it_plainly(&world, &reindex, HARMLESS);
    let result = reindex.status.unwrap().result.unwrap();
    assert_eq!(result.failures[0].id.as_deref(), Some(HOSTILE), "by that one it is found");
}

#[tokio::test]
async fn a_document_that_differs_is_told_plainly_too() {
    let mut world = World::with(|reindex| reindex["spec"]["verification"] = json!({"level": "Identity"})).await;
    world.until_copying().await;
    world.destination.state().index("dest").at_refreshes.push(|index| index.put(HOSTILE, json!({})));
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "IdentityMismatch");
    assert_people_see_it_plainly(&world, &reindex, HARMLESS);
    let differences = reindex.status.unwrap().verification.unwrap().differences.unwrap();
    assert_eq!(differences.examples[0].id, HOSTILE);
}

#[tokio::test]
async fn names_that_mean_something_in_an_address_mean_nothing_but_themselves() {
    let name = "100%25&x=1;a+b@c%2f..";
    let mut world = World::with(|reindex| {
        reindex["spec"]["source"]["index"] = json!(name);
        reindex["spec"]["destination"]["index"] = json!(name);
    })
    .await;
    {
        let mut source = world.source.state();
        let index = source.indices.remove("product_info").unwrap();
        source.indices.insert(name.to_owned(), index);
    }
    let reindex = world.end().await;
    assert!(condition(&reindex, "Complete").is_some(), "{}", world.story("it is Complete"));
    assert_eq!(world.destination.state().created, [name]);
    assert_eq!(world.destination.state().index(name).documents.len(), 6);
}

#[tokio::test]
async fn a_source_that_redirects_is_not_followed_and_the_password_stays() {
    let mut world = World::new().await;
    let elsewhere = MockServer::start().await;
    let redirecting = MockServer::start().await;
    for status in [301, 302, 307, 308] {
        redirecting.reset().await;
        let to = ResponseTemplate::new(status).insert_header("location", format!("{}/", elsewhere.uri()).as_str());
        Mock::given(any()).respond_with(to).mount(&redirecting).await;
        world.change_cluster("es-2", json!({"spec": {"endpoint": redirecting.uri()}}));
        let (reason, message) = world.until_stalled().await;
        assert_eq!(reason, "Redirected", "{message}");
        assert!(message.contains(&format!("HTTP status {status}")) && message.contains("not followed"), "{message}");
        assert!(!message.contains(&elsewhere.address().to_string()), "an address of somebody else's choice: {message}");
        assert!(!redirecting.received_requests().await.unwrap().is_empty(), "it was asked");
        assert!(elsewhere.received_requests().await.unwrap().is_empty(), "nobody was led there");
    }
    world.change_cluster("es-2", json!({"spec": {"endpoint": world.source.url()}}));
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    assert!(world.source.state().passwords_seen.contains(SOURCE_PASSWORD));
}

#[tokio::test]
async fn a_query_as_large_as_may_be_keeps_nobody_from_looking_at_tasks() {
    let mut world = World::new().await;
    world.until_copying().await;
    // More than is read of an answer: the engine quotes the query of every task, whoever it belongs to.
    world.destination.state().description_bytes = 40 << 20;
    world.round().await;
    let reindex = world.reindex().unwrap();
    let (reason, message) = condition(&reindex, RECONCILING).unwrap();
    assert_eq!(reason, "Copying", "{message}");
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

/// A node would follow where the operator doesn't: Elasticsearch's client for `_reindex` does, and shows its credentials there.
#[tokio::test]
async fn a_source_that_redirects_at_its_address_for_nodes_is_not_told_to_any() {
    let redirecting = MockServer::start().await;
    let to = ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:1/");
    Mock::given(any()).respond_with(to).mount(&redirecting).await;
    for remotes in [false, true] {
        let mut world = World::new().await;
        world.destination.state().allowlist.push(redirecting.address().to_string());
        match remotes {
            false => world.change_cluster("es-2", json!({"spec": {"remoteEndpoint": redirecting.uri()}})),
            true => {
                let remote = json!({"cluster": {"name": "es-2"}, "endpoint": redirecting.uri()});
                world.change_cluster("es-1", json!({"spec": {"remotes": [remote]}}));
            }
        }
        let (reason, message) = world.until_stalled().await;
        assert_eq!(reason, "Redirected", "{message}");
        assert!(message.contains(&redirecting.address().to_string()) && !message.contains("127.0.0.1:1/"), "{message}");
        assert!(world.destination.state().reindexes.is_empty(), "no node was told");
        assert!(!world.destination.state().passwords_seen.contains(SOURCE_PASSWORD), "nor shown the password");
        for request in redirecting.received_requests().await.unwrap() {
            assert!(!request.headers.contains_key("authorization"), "the operator shows nothing either");
        }
        world.change_cluster("es-2", json!({"spec": {"remoteEndpoint": null}}));
        world.change_cluster("es-1", json!({"spec": {"remotes": null}}));
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
    }
}
