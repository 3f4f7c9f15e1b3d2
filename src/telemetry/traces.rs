//! Traces for OpenTelemetry: passes over objects and the requests in them, as OTLP over HTTP.
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT` says where they are collected; without it there are none. The other variables of its specification are read by
//! its own library.

use std::{
    fmt::{self, Debug},
    time::Duration,
};

use async_trait::async_trait;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, HttpExporterBuilderSet, SpanExporter, SpanExporterBuilder, WithHttpConfig,
};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::{Layer, filter, registry::LookupSpan};

use super::TRACES;

/// How long the collector may take to be reached, and to answer.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesFault {
    /// There is no HTTP client.
    #[error("failed to make an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The environment says something that can't be.
    #[error("failed to read the environment's OTEL_ variables: {0}")]
    Environment(#[from] ExporterBuildError),
}

/// What sends them, if the environment says where to.
///
/// # Errors
/// [`TracesFault`].
pub fn from_environment() -> Result<Option<SdkTracerProvider>, TracesFault> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    if names.iter().all(|name| std::env::var_os(name).is_none_or(|endpoint| endpoint.is_empty())) {
        return Ok(None);
    }
    Ok(Some(provider(SpanExporter::builder().with_http())?))
}

/// What sends them as `exporter` says, by the operator's own HTTP client.
///
/// # Errors
/// [`TracesFault`].
pub fn provider(exporter: SpanExporterBuilder<HttpExporterBuilderSet>) -> Result<SdkTracerProvider, TracesFault> {
    let client = Client { http: crate::http::builder(CONNECT, ANSWER).build()?, runtime: Handle::current() };
    let exporter = exporter.with_http_client(client).build()?;
    let name = std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| "reindex-operator".to_owned());
    let resource = Resource::builder().with_service_name(name).build();
    Ok(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
}

/// What makes them of spans of the target [`TRACES`], and of no others.
pub fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let ours = filter::filter_fn(|metadata| metadata.is_span() && metadata.target() == TRACES);
    let layer = tracing_opentelemetry::layer().with_location(false).with_threads(false).with_tracked_inactivity(false);
    layer.with_tracer(provider.tracer("reindex-operator")).with_filter(ours)
}

/// The operator's own HTTP client, for a library that calls it from a thread of its own.
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

impl Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (http, request) = (self.http.clone(), reqwest::Request::try_from(request)?);
        let exchange = async move {
            let answer = http.execute(request).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let mut response = Response::new(answer.bytes().await?);
            (*response.status_mut(), *response.headers_mut()) = (status, headers);
            Ok::<_, reqwest::Error>(response)
        };
        Ok(self.runtime.spawn(exchange).await??)
    }
}
