//! The rules of a definition (`x-kubernetes-validations`), which are written in CEL.

use std::sync::Arc;

use cel::{Context, ExecutionError, Program, extractors::This};
use serde_json::Value;
use url::Url;

/// What every broken rule says, with its field. Rules that compare with the old value hold for a new object.
pub fn broken(schema: &Value, value: &Value, old: Option<&Value>, field: &str) -> Vec<String> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let mut found: Vec<_> =
        rules.filter_map(|rule| fault(rule, value, old)).map(|why| format!("{field}: {why}")).collect();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            let old = old.and_then(|old| old.get(name));
            found.extend(broken(schema, value, old, &format!("{field}.{name}")));
        }
    }
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(broken(&schema["items"], item, None, &format!("{field}[{at}]")));
    }
    found
}

fn fault(rule: &Value, value: &Value, old: Option<&Value>) -> Option<String> {
    let text = rule["rule"].as_str().unwrap_or_default();
    if text.contains("oldSelf") && old.is_none() {
        return None;
    }
    match holds(text, value, old) {
        Ok(true) => None,
        Ok(false) => Some(rule["message"].as_str().unwrap_or(text).to_owned()),
        Err(error) => Some(format!("the rule {text} can't be tried: {error}")),
    }
}

fn holds(rule: &str, value: &Value, old: Option<&Value>) -> Result<bool, String> {
    let program = Program::compile(rule).map_err(|error| error.to_string())?;
    let mut context = Context::default();
    context.add_variable("self", value).map_err(|error| error.to_string())?;
    if let Some(old) = old {
        context.add_variable("oldSelf", old).map_err(|error| error.to_string())?;
    }
    add_urls(&mut context).map_err(|error| error.to_string())?;
    match program.execute(&context) {
        Ok(cel::Value::Bool(holds)) => Ok(holds),
        Ok(other) => Err(format!("it is no condition but {other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Kubernetes' functions for URLs, as far as the rules here use them. A URL stays its text.
fn add_urls(context: &mut Context<'_, '_>) -> Result<(), cel::DeclarationError> {
    context.add_function("isURL", |text: Arc<String>| Url::parse(&text).is_ok())?;
    context.add_function("url", |text: Arc<String>| part(&text, |_| text.to_string()))?;
    context.add_function("getScheme", |This(text): This<Arc<String>>| part(&text, |url| url.scheme().to_owned()))?;
    context.add_function("getHostname", |This(text): This<Arc<String>>| {
        part(&text, |url| url.host_str().unwrap_or_default().to_owned())
    })?;
    context.add_function("getPort", |This(text): This<Arc<String>>| part(&text, |url| written_port(&text, url)))
}

fn part(text: &str, of: impl Fn(&Url) -> String) -> Result<cel::Value, ExecutionError> {
    let url = Url::parse(text).map_err(|error| ExecutionError::function_error("url", error))?;
    Ok(cel::Value::String(Arc::new(of(&url))))
}

/// The port as it is written: one that the scheme implies counts too if it stands there, and `url` leaves that out.
fn written_port(text: &str, url: &Url) -> String {
    let authority =
        text.split_once("://").map_or("", |(_, rest)| rest).split(['/', '?', '#']).next().unwrap_or_default();
    match (url.port(), authority.rsplit_once(':')) {
        (Some(port), _) => port.to_string(),
        (None, Some((_, port))) if port.parse::<u16>().is_ok() => port.to_owned(),
        (None, _) => String::new(),
    }
}
