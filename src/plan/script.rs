//! What a script may not do.

/// Whether the script sets `ctx.op` to `delete`, as far as its text shows.
///
/// A delete carries the document's external version, and the engine answers 400 only when the first one comes: after a part of the copy.
/// Admission refuses the plain cases with the same meaning; here comments are left out and every assignment is looked at. What a script
/// computes (`ctx.op = params.what`) is the engine's to refuse.
pub fn deletes(source: &str) -> bool {
    let code = without_comments(source);
    let mut rest = code.as_str();
    while let Some(at) = rest.find("ctx") {
        rest = &rest[at + "ctx".len()..];
        if let Some(value) = assigned_op(rest)
            && (value.contains("'delete'") || value.contains("\"delete\""))
        {
            return true;
        }
    }
    false
}

/// What is assigned where the text goes on with `.op = …` or `['op'] = …`, up to the end of the statement.
fn assigned_op(after_ctx: &str) -> Option<&str> {
    let after = after_ctx.trim_start();
    let after_op = match after.strip_prefix('.') {
        Some(field) => field.trim_start().strip_prefix("op")?,
        None => {
            let key = after.strip_prefix('[')?.trim_start();
            let key = key.strip_prefix("'op'").or_else(|| key.strip_prefix("\"op\""))?;
            key.trim_start().strip_prefix(']')?
        }
    };
    let value = after_op.trim_start().strip_prefix('=').filter(|value| !value.starts_with('='))?;
    value.split([';', '}']).next()
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
