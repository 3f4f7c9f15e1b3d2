//! Which connections are shared.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;

/// The requests of each connection.
type Requests = Arc<Mutex<Vec<Vec<String>>>>;

/// A server that keeps its connections.
fn serve() -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = Arc::clone(&seen);
            let number = seen.lock().unwrap().len();
            seen.lock().unwrap().push(Vec::new());
            std::thread::spawn(move || answer_all(stream, number, &seen));
        }
    });
    (endpoint, requests)
}

fn answer_all(mut stream: TcpStream, number: usize, seen: &Requests) {
    let body = fixture(ES, "info")["body"].to_string();
    let (mut buffer, mut text) = ([0; 4096], String::new());
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        if text.ends_with("\r\n\r\n") {
            seen.lock().unwrap()[number].push(std::mem::take(&mut text));
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    }
}

#[tokio::test]
async fn clients_of_the_same_endpoint_share_a_connection_and_no_credentials() {
    install_crypto();
    let (endpoint, requests) = serve();
    let connections = Connections::default();
    for credentials in [Some(basic()), Some(api_key()), None] {
        let connection = Connection { credentials, ..connection(&endpoint) };
        connections.connect(&connection).unwrap().info().await.unwrap();
    }
    let requests = requests.lock().unwrap();
    let authorizations: Vec<Vec<Option<&str>>> = requests
        .iter()
        .map(|all| all.iter().map(|one| one.lines().find_map(|line| line.strip_prefix("authorization: "))).collect())
        .collect();
    let [shared] = authorizations.as_slice() else { panic!("{} connections", authorizations.len()) };
    let [Some(first), Some(second), None] = shared.as_slice() else { panic!("{shared:?}") };
    assert!(first.starts_with("Basic ") && second.starts_with("ApiKey "), "{shared:?}");
}

/// Who trusts something else must not be spared to look at the certificate.
#[tokio::test]
async fn clients_with_another_trust_share_nothing() {
    install_crypto();
    let (endpoint, requests) = serve();
    let connections = Connections::default();
    for server_name in [None, Some("es-1.test"), Some("es-2.test")] {
        let mut connection = connection(&endpoint);
        connection.tls.server_name = server_name.map(str::to_owned);
        connections.connect(&connection).unwrap().info().await.unwrap();
    }
    assert_eq!(requests.lock().unwrap().len(), 3);
}
