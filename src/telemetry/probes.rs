//! `/livez`, `/readyz` and `/metrics`.

use std::{future::Future, net::SocketAddr};

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use tokio::sync::watch;

use super::metrics::Metrics;

/// Serves until `shutdown` ends. `/livez` says that the process answers and nothing else: restarting it would not make a missing
/// apiserver appear. `/readyz` says that it could talk to the apiserver, as leader or as one who waits.
///
/// # Errors
/// The address can't be bound.
pub async fn serve(
    address: SocketAddr,
    metrics: Metrics,
    ready: watch::Receiver<bool>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route(
            "/readyz",
            get(move || {
                let ready = *ready.borrow();
                async move {
                    match ready {
                        true => Ok("ok"),
                        false => {
                            Err((axum::http::StatusCode::SERVICE_UNAVAILABLE, "not connected to the apiserver yet"))
                        }
                    }
                }
            }),
        )
        .route(
            "/metrics",
            get(move || {
                let text = metrics.text();
                async move { ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text) }
            }),
        );
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}
