//! What both HTTP clients have in common: they call an address that somebody wrote down, and no other.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect, retry};

/// A client that follows no redirect, tries nothing again by itself, and takes no proxy from the environment: what it carries must reach
/// nobody else.
pub fn builder(connect_timeout: Duration, timeout: Duration) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("reindex-operator/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .connect_timeout(connect_timeout)
        .timeout(timeout)
}
