//! Merge patches (RFC 7386) and the common operations of JSON patches (RFC 6902).

use serde_json::{Map, Value};

/// Merges; null removes.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(object) = target.as_object_mut() else { return };
    for (key, value) in fields {
        match value {
            Value::Null => drop(object.remove(key)),
            value => merge(object.entry(key).or_insert(Value::Null), value),
        }
    }
}

/// Applies every operation, or says which one can't be.
pub fn json_patch(target: &mut Value, operations: &Value) -> Result<(), String> {
    for operation in operations.as_array().into_iter().flatten() {
        apply(target, operation).ok_or_else(|| format!("this operation of the patch can't be applied: {operation}"))?;
    }
    Ok(())
}

fn apply(target: &mut Value, operation: &Value) -> Option<()> {
    let path = operation["path"].as_str()?;
    let value = &operation["value"];
    if operation["op"] == "test" {
        return (target.pointer(path) == Some(value)).then_some(());
    }
    let (parent, last) = path.rsplit_once('/')?;
    let last = last.replace("~1", "/").replace("~0", "~");
    match (target.pointer_mut(parent)?, operation["op"].as_str()?) {
        (Value::Object(object), "add") => drop(object.insert(last, value.clone())),
        (Value::Object(object), "replace") => *object.get_mut(&last)? = value.clone(),
        (Value::Object(object), "remove") => drop(object.remove(&last)?),
        (Value::Array(items), "add") if last == "-" => items.push(value.clone()),
        (Value::Array(items), "add") => {
            let at = last.parse().ok().filter(|at| *at <= items.len())?;
            items.insert(at, value.clone());
        }
        (Value::Array(items), "replace") => *items.get_mut(last.parse::<usize>().ok()?)? = value.clone(),
        (Value::Array(items), "remove") => {
            let at = last.parse().ok().filter(|at| *at < items.len())?;
            items.remove(at);
        }
        _ => return None,
    }
    Some(())
}
