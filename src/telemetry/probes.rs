//! `/livez`, `/readyz` and `/metrics`.

use std::future::Future;

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};

use super::metrics::Metrics;

/// Serves until `shutdown` ends. `/livez` says that the process answers and nothing else: restarting it would not make a missing
/// apiserver appear. `/readyz` says whether the apiserver answered when it was last asked for the lease (`in_touch`), by a leader or by one
/// that stands by: who can't see the lease can't take over.
///
/// # Errors
/// The listener is broken.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    in_touch: watch::Receiver<bool>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let readiness = move || {
        let answer = match *in_touch.borrow() {
            true => (StatusCode::OK, "ok"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "the apiserver does not answer"),
        };
        std::future::ready(answer)
    };
    let metrics = move || {
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        std::future::ready(([(CONTENT_TYPE, content_type)], metrics.text()))
    };
    let app = Router::new()
        .route("/livez", get(|| std::future::ready("ok")))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics));
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}
