//! Scrolls: what a search found, given out a page at a time, whatever is written meanwhile.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::{Value, json};

use super::{Refusal, State, no_such_index, refusal};

/// More than any test has.
const ALL: u64 = 1_000_000;

/// One that is open.
#[derive(Debug)]
pub struct Scroll {
    left: VecDeque<Value>,
    page: usize,
    /// The first page without its hits.
    answer: Value,
}

/// `POST <index>/_search?scroll=…`: the first page.
pub fn begin(
    state: &mut State,
    name: &str,
    body: &Value,
    preference: Option<&String>,
) -> Result<(u16, Value), Refusal> {
    let mut whole = body.clone();
    whole["size"] = json!(ALL);
    let index = state.indices.get(name).ok_or_else(|| no_such_index(name))?;
    let mut answer = index.asked_for(preference).answer_search(&whole, name)?;
    let hits = answer["hits"]["hits"].take();
    let mut left: VecDeque<Value> = hits.as_array().cloned().unwrap_or_default().into();
    if let (Some(id), Some(max)) = (body["slice"]["id"].as_u64(), body["slice"]["max"].as_u64()) {
        left.retain(|hit| slice_of(hit, max) == id);
    }
    let id = format!("scroll-{}", state.number());
    answer["_scroll_id"] = json!(id);
    answer["hits"]["total"] = json!({"value": left.len(), "relation": "eq"});
    let page = body["size"].as_u64().unwrap_or(10) as usize;
    state.scrolls.insert(id.clone(), Scroll { left, page, answer });
    next(state, &id)
}

fn slice_of(hit: &Value, max: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    hit["_id"].as_str().hash(&mut hasher);
    hasher.finish() % max
}

/// `POST _search/scroll`: the next page.
pub fn next(state: &mut State, id: &str) -> Result<(u16, Value), Refusal> {
    let missing =
        || refusal(404, "search_context_missing_exception", &format!("No search context found for id [{id}]"));
    let scroll = state.scrolls.get_mut(id).ok_or_else(missing)?;
    let page = scroll.page.min(scroll.left.len());
    let mut answer = scroll.answer.clone();
    answer["hits"]["hits"] = scroll.left.drain(..page).collect();
    Ok((200, answer))
}

/// `DELETE _search/scroll`.
pub fn end(state: &mut State, id: &str) -> Value {
    let freed = state.scrolls.remove(id).is_some();
    json!({"succeeded": true, "num_freed": u8::from(freed)})
}
