//! What is sent to a collector of traces while a Reindex runs.

use std::collections::BTreeSet;

use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use reindex_operator::telemetry::traces;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

use crate::{
    local::{Folder, ended, manifests, run_until},
    support::world::{DESTINATION_PASSWORD, NAME, SOURCE_PASSWORD, World},
};

/// The fields of a protobuf message that hold bytes: number and content.
fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(message: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (byte, rest) = message.split_first().expect("a number");
            *message = rest;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                varint(&mut message);
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)).unwrap(),
            5 => 4,
            other => panic!("a field of type {other}"),
        };
        let (content, rest) = message.split_at(length);
        message = rest;
        if key & 7 == 2 {
            found.push((key >> 3, content));
        }
    }
    found
}

/// Contents of all fields of this number.
fn all(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    fields(message).into_iter().filter(move |(found, _)| *found == number).map(|(_, content)| content)
}

/// What a test asks of a span; numbers are those of opentelemetry/proto/trace/v1/trace.proto.
#[derive(Debug)]
struct Span {
    name: String,
    id: Vec<u8>,
    parent: Vec<u8>,
    /// Names and text values.
    attributes: BTreeSet<(String, String)>,
}

fn span(message: &[u8]) -> Span {
    let bytes = |number| all(message, number).next().unwrap_or_default().to_vec();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let attributes = all(message, 9).map(|attribute| {
        let value = all(attribute, 2).next().unwrap_or_default();
        (text(all(attribute, 1).next().unwrap_or_default()), text(all(value, 1).next().unwrap_or_default()))
    });
    Span { name: text(&bytes(5)), id: bytes(2), parent: bytes(4), attributes: attributes.collect() }
}

#[tokio::test]
async fn passes_and_their_requests_are_sent_and_nothing_that_is_secret() {
    let collector = MockServer::start().await;
    Mock::given(path("/v1/traces")).respond_with(ResponseTemplate::new(200)).mount(&collector).await;
    let (world, folder) = (World::new().await, Folder::new("traces"));
    let endpoint = format!("{}/v1/traces", collector.uri());
    let provider = traces::provider(SpanExporter::builder().with_http().with_endpoint(endpoint)).unwrap();
    let guard = tracing_subscriber::registry().with(traces::layer(&provider)).set_default();
    let copied = run_until(manifests(&world, |_| {}), &folder, ended).await;
    drop(guard);
    tokio::task::spawn_blocking(move || provider.shutdown()).await.unwrap().expect("all are sent");

    let requests = collector.received_requests().await.unwrap();
    let spans: Vec<_> = requests
        .iter()
        .flat_map(|request| all(&request.body, 1))
        .flat_map(|of_resource| all(of_resource, 2))
        .flat_map(|of_scope| all(of_scope, 2))
        .map(span)
        .collect();
    let uid = copied.metadata.uid.unwrap();
    let has = |span: &Span, name: &str, value: &str| span.attributes.contains(&(name.to_owned(), value.to_owned()));
    let passes: Vec<_> = spans.iter().filter(|span| span.name == "pass").collect();
    let is_of_it = |span: &&&Span| {
        [("kind", "Reindex"), ("namespace", "search"), ("name", NAME), ("uid", uid.as_str())]
            .iter()
            .all(|(name, value)| has(span, name, value))
    };
    let of_it: Vec<_> = passes.iter().filter(is_of_it).collect();
    assert!(!of_it.is_empty(), "{spans:#?}");
    let started: Vec<_> = spans.iter().filter(|span| has(span, "call", "reindex")).collect();
    assert_eq!(started.len(), 1, "the copy was begun once: {spans:#?}");
    assert_eq!(started[0].name, "reindex");
    assert!(started[0].attributes.iter().any(|(name, _)| name == "status"), "{started:?}");
    assert!(of_it.iter().any(|pass| pass.id == started[0].parent), "it is in a pass: {started:?}");
    assert!(passes.iter().all(|pass| pass.parent.is_empty()), "a pass is the root of its trace");

    let sent: String = requests.iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect();
    let address = |url: String| url.trim_start_matches("http://").to_owned();
    for secret in [
        SOURCE_PASSWORD,
        DESTINATION_PASSWORD,
        "_reindex?",
        &address(world.source.url()),
        &address(world.destination.url()),
    ] {
        assert!(!sent.contains(secret), "{secret} was sent");
    }
}
