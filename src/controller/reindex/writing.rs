//! From a spec to how the destination is told to write.

use crate::{
    api::{ReindexSpec, reindex::KEEP_ROUTING, writing::OpType},
    search::{Script, Writing},
};

/// How documents are written.
pub fn writing(spec: &ReindexSpec) -> Writing<'_> {
    let destination = &spec.destination;
    Writing {
        create_only: destination.op_type == OpType::Create,
        pipeline: destination.pipeline.as_deref(),
        // Not said where it says nothing: an engine that doesn't know the word keeps it as well.
        routing: Some(destination.routing.as_str()).filter(|routing| *routing != KEEP_ROUTING),
        script: spec.script.as_ref().map(|script| Script {
            source: &script.source,
            lang: &script.lang,
            params: script.params.as_ref(),
        }),
    }
}
