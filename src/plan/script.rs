//! What a script may not do.

/// Whether the script sets `ctx.op` to `delete`, as far as its text shows.
///
/// A delete carries the document's external version, and the engine answers 400 only when the first one comes: after a part of the copy.
/// Admission refuses the plain cases with the same meaning; here comments are left out and every assignment is looked at. What a script
/// computes (`ctx.op = params.what`) is the engine's to refuse.
pub fn deletes(source: &str) -> bool {
    let code = without_comments(source);
    assignments(&code)
        .any(|(field, value)| field == "op" && (value.contains("'delete'") || value.contains("\"delete\"")))
}

/// Fields of `ctx` that say which document is written where, or whether.
const IDENTITY: [&str; 5] = ["_id", "_routing", "_version", "_index", "op"];

/// The first field of `ctx` that is assigned and says which document is written where, or whether; as far as the text shows.
pub fn reassigned(source: &str) -> Option<&'static str> {
    let code = without_comments(source);
    let assigned: Vec<&str> = assignments(&code).map(|(field, _)| field).collect();
    IDENTITY.into_iter().find(|field| assigned.contains(field))
}

/// Fields of `ctx` that are assigned, and what.
fn assignments(code: &str) -> impl Iterator<Item = (&str, &str)> {
    code.match_indices("ctx").filter_map(|(at, name)| assigned(&code[at + name.len()..]))
}

/// The field and what is assigned to it where the text goes on with `.field = …` or `['field'] = …`, up to the end of the statement.
fn assigned(after_ctx: &str) -> Option<(&str, &str)> {
    let after = after_ctx.trim_start();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let (field, rest) = match after.strip_prefix('.') {
        Some(field) => {
            let field = field.trim_start();
            field.split_at(field.find(|c: char| !is_name(c)).unwrap_or(field.len()))
        }
        None => {
            let key = after.strip_prefix('[')?.trim_start();
            let quote = key.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
            let (field, rest) = key[1..].split_once(quote)?;
            (field, rest.trim_start().strip_prefix(']')?)
        }
    };
    let value = rest.trim_start().strip_prefix('=').filter(|value| !value.starts_with('='))?;
    Some((field, value.split([';', '}']).next()?))
}

/// The text without `// …` and `/* … */`, outside of quoted text.
fn without_comments(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source.chars().peekable();
    let mut quote = None;
    while let Some(c) = rest.next() {
        match (quote, c, rest.peek()) {
            (Some(_), '\\', _) => {
                code.push(c);
                code.extend(rest.next());
                continue;
            }
            (Some(open), _, _) if open == c => quote = None,
            (None, '\'' | '"', _) => quote = Some(c),
            (None, '/', Some('/')) => {
                rest.by_ref().find(|c| *c == '\n');
                code.push('\n');
                continue;
            }
            (None, '/', Some('*')) => {
                rest.next();
                let mut last = ' ';
                rest.by_ref().find(|c| std::mem::replace(&mut last, *c) == '*' && *c == '/');
                code.push(' ');
                continue;
            }
            _ => {}
        }
        code.push(c);
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_deletes_is_known_in_every_spelling() {
        for source in [
            "ctx.op = 'delete'",
            "ctx.op=\"delete\"",
            "ctx['op'] = 'delete'",
            "ctx [ \"op\" ] = 'delete';",
            "if (ctx._source.old) { ctx.op = 'delete' } else { ctx.op = 'noop' }",
            "ctx.op = ctx._source.old ? 'delete' : 'index'",
            "ctx /* the context */ . op = // well\n 'delete'",
            "def a = 'a // not a comment'; ctx.op = 'delete'",
        ] {
            assert!(deletes(source), "{source}");
        }
    }

    #[test]
    fn fields_that_say_which_document_it_is_are_known_when_they_are_assigned() {
        assert_eq!(reassigned("ctx._source.a = 1; ctx._id = ctx._source.a"), Some("_id"));
        assert_eq!(reassigned("ctx [ \"_routing\" ] = 'a'"), Some("_routing"));
        assert_eq!(reassigned("/* ctx._id = 1 */ if (ctx._id == 'a') { ctx._source._id = 1 }"), None);
        assert_eq!(reassigned("ctx._ideal = 1"), None);
    }

    #[test]
    fn a_script_that_only_looks_like_it_may_run() {
        for source in [
            "ctx.op = 'noop'",
            "ctx._source.op = 'delete'",
            "if (ctx.op == 'delete') { return }",
            "ctx.op = 'noop'; ctx._source.what = 'delete'",
            "if (a) { ctx.op = 'noop' } else { ctx._source.what = 'delete' }",
            "// ctx.op = 'delete' is refused\nctx._source.remove('a')",
            "/* ctx.op = 'delete' */ ctx.op = 'noop'",
            "ctx.operation = 'delete'",
            "ctx._source.text = \"it's\"; /* ctx.op = 'delete' */",
            "",
            "ctx",
            "/*",
            "'\\",
        ] {
            assert!(!deletes(source), "{source}");
        }
    }
}
