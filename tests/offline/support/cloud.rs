//! Alibaba Cloud on 127.0.0.1: the calls on an instance and STS, with the races that the real ones have.
//!
//! Every signature is computed anew from what came over the wire, by other code than the operator's.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The AccessKey that is let in from the start.
pub const KEY_ID: &str = "LTAI-of-the-test";
/// Its secret.
pub const KEY_SECRET: &str = "s3cret-of-the-cloud";
/// The instance that exists from the start.
pub const INSTANCE: &str = "es-cn-destination";
/// Requests may be this old.
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// The cloud.
pub struct Cloud {
    address: String,
    state: Arc<Mutex<State>>,
}

/// An AccessKey that is known.
pub struct Key {
    /// Its secret.
    pub secret: String,
    /// The token that must come with it.
    pub token: Option<String>,
    /// The token is too old.
    pub expired: bool,
}

/// One call that was let in.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// `x-acs-action`.
    pub action: String,
    /// Parameters.
    pub query: BTreeMap<String, String>,
    /// Body; null without one.
    pub body: Value,
}

/// What the cloud knows.
pub struct State {
    /// AccessKeys by id.
    pub keys: BTreeMap<String, Key>,
    /// What DescribeInstance answers, by instance.
    pub instances: BTreeMap<String, Value>,
    /// PrivateLink endpoints of every instance.
    pub endpoints: Vec<Value>,
    /// Changes that were asked for, as ListActionRecords tells them; they are under way until [`Cloud::finish`].
    pub records: Vec<Value>,
    /// How far the cloud's clock is ahead.
    pub clock_ahead: SignedDuration,
    /// Which actions are refused next, with which status and code.
    pub refusals: VecDeque<(&'static str, u16, &'static str)>,
    /// How many looks after a change still show the instance as it was: `active`, and with its old settings.
    pub seen_late: usize,
    /// A record of a change appears only when it is finished.
    pub records_late: bool,
    /// After so many more looks somebody else changes the instance so.
    pub interference: Option<(usize, Value)>,
    /// Calls that were let in.
    pub calls: Vec<Seen>,
    /// The token that STS accepts, and how long what it gives lasts.
    pub oidc: (String, SignedDuration),
    /// Temporary AccessKeys that STS gave.
    pub assumed: usize,
    nonces: BTreeSet<String>,
    tokens: BTreeMap<String, (Value, String)>,
    /// The instance as it is, where looks don't show that yet.
    hidden: Option<(String, Value)>,
    requests: usize,
}

type Refusal = (u16, Value);

impl Cloud {
    /// With one instance, which is active.
    pub async fn start() -> Cloud {
        let state = State {
            keys: BTreeMap::from([(KEY_ID.into(), Key { secret: KEY_SECRET.into(), token: None, expired: false })]),
            instances: BTreeMap::from([(INSTANCE.into(), instance(INSTANCE))]),
            endpoints: vec![],
            records: vec![],
            clock_ahead: SignedDuration::ZERO,
            refusals: VecDeque::new(),
            seen_late: 0,
            records_late: false,
            interference: None,
            calls: vec![],
            oidc: ("token-of-the-service-account".into(), SignedDuration::from_hours(1)),
            assumed: 0,
            nonces: BTreeSet::new(),
            tokens: BTreeMap::new(),
            hidden: None,
            requests: 0,
        };
        let state = Arc::new(Mutex::new(state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(axum::serve(listener, router(state.clone())).into_future());
        Cloud { address, state }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it knows.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Every change that is under way ends well.
    pub fn finish(&self) {
        let mut state = self.state();
        state.show();
        for instance in state.instances.values_mut().filter(|instance| instance["status"] == "activating") {
            instance["status"] = json!("active");
        }
        for record in &mut state.records {
            record["stateType"] = json!("FINISHED");
            record["process"] = json!("100%");
        }
    }

    /// How often an action was called.
    pub fn count(&self, action: &str) -> usize {
        self.state().calls.iter().filter(|call| call.action == action).count()
    }
}

/// An instance as DescribeInstance tells it.
pub fn instance(id: &str) -> Value {
    json!({
        "instanceId": id, "status": "active", "updatedAt": "2026-01-01T00:00:00.000Z", "esVersion": "7.10_with_X-Pack",
        "archType": "public", "protocol": "HTTP", "domain": format!("{id}.elasticsearch.aliyuncs.com"), "port": 9200,
        "zoneCount": 1, "zoneInfos": [{"zoneId": "cn-hangzhou-i", "status": "NORMAL"}],
        "networkConfig": {"type": "vpc", "vsArea": "cn-hangzhou-i"},
        "esConfig": {"action.auto_create_index": "true", "http.cors.enabled": "false"},
    })
}

fn router(state: Arc<Mutex<State>>) -> Router {
    Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        let request = Request { method: method.to_string(), uri, headers, body };
        let (status, mut answer) = state.lock().unwrap().answer(&request).unwrap_or_else(|refusal| refusal);
        let mut state = state.lock().unwrap();
        state.requests += 1;
        if answer.get("RequestId").is_none() {
            answer["RequestId"] = json!(format!("request-{}", state.requests));
        }
        respond(status, &answer)
    })
}

fn respond(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "application/json;charset=utf-8")], body.to_string()).into_response()
}

fn refusal(status: u16, code: &str, message: &str) -> Refusal {
    (status, json!({"Code": code, "Message": message, "HostId": "elasticsearch.cn-hangzhou.aliyuncs.com"}))
}

struct Request {
    method: String,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn query(&self) -> BTreeMap<String, String> {
        let query = self.uri.query().unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// The signature as the documentation says it.
    fn signature(&self, signed: &str, secret: &str) -> (String, String) {
        let mut query: Vec<_> = self.uri.query().unwrap_or_default().split('&').collect();
        query.sort_unstable();
        let headers: Vec<_> = signed.split(';').map(|name| format!("{name}:{}", self.header(name).trim())).collect();
        let canonical = [
            self.method.as_str(),
            self.uri.path(),
            &query.join("&"),
            &headers.join("\n"),
            "",
            signed,
            self.header("x-acs-content-sha256"),
        ]
        .join("\n");
        let text = format!("ACS3-HMAC-SHA256\n{}", hex(&Sha256::digest(&canonical)));
        (canonical, hex(&hmac(secret.as_bytes(), text.as_bytes())))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 2104, for secrets of at most 64 bytes.
fn hmac(secret: &[u8], text: &[u8]) -> Vec<u8> {
    let padded = |with: u8| -> Vec<u8> {
        let mut block = [with; 64];
        block.iter_mut().zip(secret).for_each(|(byte, secret)| *byte ^= secret);
        block.to_vec()
    };
    let inner = Sha256::digest([padded(0x36), text.to_vec()].concat());
    Sha256::digest([padded(0x5c), inner.to_vec()].concat()).to_vec()
}

impl State {
    /// `Err` is an answer too.
    fn answer(&mut self, request: &Request) -> Result<(u16, Value), Refusal> {
        if request.uri.path() == "/" {
            return self.assume_role(request);
        }
        self.authenticate(request)?;
        self.refuse(request.header("x-acs-action"))?;
        let call = Seen {
            action: request.header("x-acs-action").to_owned(),
            query: request.query(),
            body: serde_json::from_slice(&request.body).unwrap_or_default(),
        };
        self.calls.push(call.clone());
        let parts: Vec<_> = request.uri.path().trim_start_matches('/').split('/').collect();
        let ["openapi", "instances", id, below @ ..] = parts.as_slice() else {
            return Err(refusal(404, "InvalidApi.NotFound", "no such path"));
        };
        if !self.instances.contains_key(*id) {
            return Err(refusal(400, "InstanceNotFound", "The instanceId provided does not exist."));
        }
        match (call.action.as_str(), request.method.as_str(), below) {
            ("DescribeInstance", "GET", []) => Ok((200, json!({"Result": self.describe(id)}))),
            ("UpdateInstanceSettings", "POST", ["instance-settings"]) => self.update(id, &call),
            ("ListActionRecords", "GET", ["action-records"]) => {
                let asked = &call.query["requestId"];
                let told = |record: &&Value| !self.records_late || record["stateType"] == "FINISHED";
                let found: Vec<_> =
                    self.records.iter().filter(|record| record["requestId"] == **asked).filter(told).collect();
                Ok((200, json!({"Result": found})))
            }
            ("ListVpcEndpoints", "GET", ["vpc-endpoints"]) => {
                let number = |name: &str| call.query[name].parse::<usize>().unwrap();
                let (page, size) = (number("page"), number("size"));
                let found: Vec<_> = self.endpoints.iter().skip((page - 1) * size).take(size).collect();
                Ok((200, json!({"Result": found})))
            }
            (action, method, below) => {
                Err(refusal(404, "InvalidApi.NotFound", &format!("{action} is not {method} of {below:?}")))
            }
        }
    }

    fn authenticate(&mut self, request: &Request) -> Result<(), Refusal> {
        let missing = || refusal(400, "IncompleteSignature", "The request signature does not conform.");
        let authorization = request.header("authorization").strip_prefix("ACS3-HMAC-SHA256 ").ok_or_else(missing)?;
        let fields: BTreeMap<_, _> = authorization.split(',').filter_map(|field| field.split_once('=')).collect();
        let (id, signed, signature) = (fields["Credential"], fields["SignedHeaders"], fields["Signature"]);
        let mut wanted = vec![
            "host",
            "x-acs-action",
            "x-acs-content-sha256",
            "x-acs-date",
            "x-acs-signature-nonce",
            "x-acs-version",
        ];
        if !request.body.is_empty() {
            wanted.push("content-type");
        }
        if !wanted.iter().all(|name| signed.split(';').any(|signed| signed == *name)) {
            return Err(missing());
        }
        let date: Timestamp = request
            .header("x-acs-date")
            .parse()
            .map_err(|_| refusal(400, "InvalidTimeStamp.Format", "Specified date value is not well formatted."))?;
        if (Timestamp::now() + self.clock_ahead).duration_since(date).abs() > SKEW {
            return Err(refusal(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired."));
        }
        let key = self
            .keys
            .get(id)
            .ok_or_else(|| refusal(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found."))?;
        let (canonical, expected) = request.signature(signed, &key.secret);
        let hash = hex(&Sha256::digest(&request.body));
        if signature != expected || request.header("x-acs-content-sha256") != hash {
            // As the real one does: with the server's own canonical request, in which the token stands.
            let message =
                format!("Specified signature does not match our calculation. server canonical request: {canonical}");
            return Err(refusal(400, "SignatureDoesNotMatch", &message));
        }
        if let Some(token) = &key.token {
            if !signed.contains("x-acs-security-token") || request.header("x-acs-security-token") != token {
                return Err(refusal(
                    400,
                    "InvalidSecurityToken.MismatchWithAccessKey",
                    "Specified token is not of this key.",
                ));
            }
            if key.expired {
                return Err(refusal(400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired."));
            }
        }
        if request.header("x-acs-version") != "2017-06-13" {
            return Err(refusal(400, "InvalidVersion", "Specified parameter Version is not valid."));
        }
        match self.nonces.insert(request.header("x-acs-signature-nonce").to_owned()) {
            true => Ok(()),
            false => Err(refusal(400, "SignatureNonceUsed", "Specified signature nonce was used already.")),
        }
    }

    fn refuse(&mut self, action: &str) -> Result<(), Refusal> {
        match self.refusals.front() {
            Some((refused, status, code)) if *refused == action => {
                let answer = refusal(*status, code, "refused by the test");
                self.refusals.pop_front();
                Err(answer)
            }
            _ => Ok(()),
        }
    }

    /// What a look shows, which may be behind.
    fn describe(&mut self, id: &str) -> Value {
        if self.hidden.is_some() {
            match self.seen_late {
                0 => self.show(),
                _ => self.seen_late -= 1,
            }
        }
        let shown = self.instances[id].clone();
        match self.interference.take() {
            Some((1, change)) => json_patch::merge(self.instances.get_mut(id).unwrap(), &change),
            Some((more, change)) => self.interference = Some((more - 1, change)),
            None => {}
        }
        shown
    }

    fn show(&mut self) {
        if let Some((id, real)) = self.hidden.take() {
            self.instances.insert(id, real);
        }
    }

    fn update(&mut self, id: &str, call: &Seen) -> Result<(u16, Value), Refusal> {
        if let Some((body, request)) = self.tokens.get(&call.query["clientToken"]) {
            return match *body == call.body {
                true => Ok((200, json!({"RequestId": request}))),
                false => Err(refusal(400, "IdempotentParameterMismatch", "The token was used with another body.")),
            };
        }
        if self.hidden.is_some() || self.instances[id]["status"] != "active" {
            return Err(refusal(400, "InstanceStatusNotSupportCurrentAction", "The instance is being changed."));
        }
        let request = format!("change-{}", self.tokens.len() + 1);
        self.tokens.insert(call.query["clientToken"].clone(), (call.body.clone(), request.clone()));
        let mut real = self.instances[id].clone();
        // The whole of it: what is left out is reset.
        real["esConfig"] = call.body["esConfig"].clone();
        real["status"] = json!("activating");
        real["updatedAt"] = json!(format!("2026-01-01T00:00:{:02}.000Z", self.tokens.len()));
        self.hidden = Some((id.to_owned(), real));
        if self.seen_late == 0 {
            self.show();
        }
        self.records.push(json!({
            "actionName": "UpdateInstanceSettings", "requestId": request, "stateType": "ACTIVATING", "process": "10%",
        }));
        Ok((200, json!({"RequestId": request, "Result": true})))
    }

    fn assume_role(&mut self, request: &Request) -> Result<(u16, Value), Refusal> {
        let query = request.query();
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(&request.body).into_owned().collect();
        let right = request.method == "POST"
            && query.get("Action").is_some_and(|action| action == "AssumeRoleWithOIDC")
            && query.get("Version").is_some_and(|version| version == "2015-04-01")
            && form.contains_key("RoleArn")
            && form.contains_key("OIDCProviderArn")
            && form.contains_key("RoleSessionName");
        if !right {
            return Err(refusal(400, "MissingParameter", "a parameter is missing"));
        }
        if form["OIDCToken"] != self.oidc.0 {
            let message = format!("the token {} is expired", form["OIDCToken"]);
            return Err(refusal(400, "AuthenticationFail.OIDCToken.Expired", &message));
        }
        self.refuse("AssumeRoleWithOIDC")?;
        self.assumed += 1;
        let (id, token) = (format!("STS.{}", self.assumed), format!("t0ken-{}", self.assumed));
        let key = Key { secret: KEY_SECRET.into(), token: Some(token.clone()), expired: false };
        self.keys.insert(id.clone(), key);
        let expires = (Timestamp::now() + self.oidc.1).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        Ok((
            200,
            json!({"Credentials": {
                "AccessKeyId": id, "AccessKeySecret": KEY_SECRET, "SecurityToken": token, "Expiration": expires,
            }}),
        ))
    }
}
