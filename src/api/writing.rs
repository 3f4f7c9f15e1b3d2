//! What becomes of a document between the source and the destination index.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schema;

/// How documents are written to the destination index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OpType {
    /// In the version that they have on the source; the highest version wins.
    #[default]
    Index,
    /// Only those whose `_id` isn't there yet.
    Create,
}

/// A script that every document goes through on the destination before it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    /// The script, such as `ctx._source.remove('internal')`. `ctx.op = 'noop'` leaves a document out; it is counted, and the destination
    /// is expected to hold that many fewer. `ctx.op = 'delete'` is refused. A script that changes `ctx._id` or `ctx._index` makes the
    /// numbers of documents differ where two become one or one goes elsewhere: then `verification.level` `Count` fails. At most 65535
    /// characters.
    #[schemars(length(min = 1, max = 65535))]
    #[x_kube(validation = Rule::new(r#"!self.matches('ctx\\s*([.]\\s*op|\\[\\s*[\'"]op[\'"]\\s*\\])\\s*=[^;=}]*[\'"]delete[\'"]')"#).message("must not set ctx.op to 'delete': the destination refuses deletes with external versions. Leave documents out with ctx.op = 'noop', or choose them with source.query"))]
    pub source: String,
    /// Its language, which the destination must know. Default: `painless`.
    #[serde(default = "painless")]
    #[schemars(length(min = 1, max = 64))]
    pub lang: String,
    /// What the script reads as `params`, such as `{currency: CNY}`. Values belong here and not into `source`: a script is compiled
    /// once for each text. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_form_object")]
    pub params: Option<Value>,
}

fn painless() -> String {
    "painless".to_owned()
}
