//! What is trusted: against a TLS server with a certificate for `es-1.test`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

fn pem(name: &str) -> Vec<u8> {
    std::fs::read(fixture_path(&format!("tls/{name}"))).unwrap()
}

/// A TLS server that gives one connection the answer to `GET /`; its port.
fn serve_tls() -> u16 {
    install_crypto();
    let chain = vec![CertificateDer::from_pem_slice(&pem("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(&pem("server.key")).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let body = fixture(ES, "info")["body"].to_string();
    std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::new(config)).unwrap(), socket);
        // A client that does not trust the certificate hangs up here.
        if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    port
}

async fn info_with(host: &str, tls: Tls) -> Result<String, SearchError> {
    let mut connection = connection(&format!("https://{host}:{}", serve_tls()));
    connection.tls = tls;
    Ok(SearchClient::connect(&connection)?.info().await?.cluster_name)
}

fn assert_untrusted(result: Result<String, SearchError>, expected: TlsFault) {
    let error = result.unwrap_err();
    assert!(error.is_untrusted() && !error.is_unreachable() && !error.is_retryable(), "{error:?}");
    assert!(matches!(error, SearchError::Tls { fault, .. } if fault == expected), "{error:?}");
    assert_eq!(error.reason(), "TlsUntrusted");
}

#[tokio::test]
async fn the_given_authority_is_trusted_for_the_name_on_the_certificate() {
    for host in ["127.0.0.1", "localhost"] {
        let tls = Tls { ca_pem: Some(pem("ca.pem")), server_name: Some("es-1.test".into()), ..Tls::default() };
        assert_eq!(info_with(host, tls).await.unwrap(), "es-dest");
    }
}

#[tokio::test]
async fn several_authorities_may_be_given() {
    let both = [pem("other-ca.pem"), pem("ca.pem")].concat();
    let tls = Tls { ca_pem: Some(both), server_name: Some("es-1.test".into()), ..Tls::default() };
    assert_eq!(info_with("127.0.0.1", tls).await.unwrap(), "es-dest");
}

#[tokio::test]
async fn another_authority_is_not_trusted() {
    let tls = Tls { ca_pem: Some(pem("other-ca.pem")), server_name: Some("es-1.test".into()), ..Tls::default() };
    assert_untrusted(info_with("127.0.0.1", tls).await, TlsFault::UnknownIssuer);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_trusted() {
    for (host, server_name) in [("127.0.0.1", None), ("localhost", None), ("127.0.0.1", Some("es-2.test".to_owned()))] {
        let tls = Tls { ca_pem: Some(pem("ca.pem")), server_name, ..Tls::default() };
        assert_untrusted(info_with(host, tls).await, TlsFault::WrongName);
    }
}

#[tokio::test]
async fn without_verification_everything_is_trusted() {
    let tls = Tls { insecure_skip_verify: true, ..Tls::default() };
    assert_eq!(info_with("127.0.0.1", tls).await.unwrap(), "es-dest");
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_that_is_away() {
    let (server, _client) = recorded(ES, "info").await;
    let mut connection = connection(&server.uri().replace("http:", "https:"));
    connection.tls.ca_pem = Some(pem("ca.pem"));
    let error = SearchClient::connect(&connection).unwrap().info().await.unwrap_err();
    assert!(matches!(error, SearchError::Tls { fault: TlsFault::Handshake, .. }), "{error:?}");
}

#[test]
fn an_authority_that_cannot_be_read_is_refused_at_once() {
    install_crypto();
    let half = [pem("ca.pem"), b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec()].concat();
    for (text, problem) in [
        (b"".to_vec(), "no certificate"),
        (b"not pem".to_vec(), "no certificate"),
        (pem("server.key"), "no certificate"),
        (b"-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n".to_vec(), "not valid PEM"),
        (half, "trust anchor"),
    ] {
        let mut connection = connection("https://es-1.test:9200");
        connection.tls.ca_pem = Some(text);
        let error = SearchClient::connect(&connection).unwrap_err();
        assert!(matches!(error, SearchError::InvalidCertificate { .. }), "{error:?}");
        assert!(error.public_message().contains(problem), "{error}");
    }
}

#[test]
fn a_server_name_must_be_a_dns_name() {
    install_crypto();
    for name in ["127.0.0.1", "[::1]", "", "a b"] {
        let mut connection = connection("https://es-1.test:9200");
        connection.tls = Tls { server_name: Some(name.into()), insecure_skip_verify: true, ..Tls::default() };
        let error = SearchClient::connect(&connection).unwrap_err();
        assert!(matches!(error, SearchError::InvalidEndpoint { .. }), "{name}: {error:?}");
    }
}
