//! The JSON schema of the configuration, for editors: read from the built-in file, which has every key, its type, its default
//! and what it means.

use serde_json::{Map, Value, json};

use super::{
    Action, By, DEFAULTS, Editors, Forwarded, InstanceSource, LogFormat, Mode, OnceAnswer, OnceWhat, Outside, Tracker,
    Unnamed, Verify, WebMode, Whose,
};

/// Keys that take one of a few words.
fn choices() -> Vec<(&'static str, Vec<&'static str>)> {
    macro_rules! words {
        ($name:ident) => {
            $name::ALL.iter().map(|(word, _)| *word).collect()
        };
    }
    vec![
        ("assignment.mode", words!(Mode)),
        ("workflow.mode", words!(Mode)),
        ("limits.mode", words!(Mode)),
        ("singleton.mode", words!(Mode)),
        ("once.mode", words!(Mode)),
        ("web.mode", words!(WebMode)),
        ("identity.unnamed", words!(Unnamed)),
        ("identity.sources", words!(InstanceSource)),
        ("limits.of", words!(Whose)),
        ("singleton.actions", words!(Action)),
        ("once.what", words!(OnceWhat)),
        ("once.answer", words!(OnceAnswer)),
        ("once.by", words!(By)),
        ("assignment.release_by", words!(By)),
        ("assignment.outside", words!(Outside)),
        ("assignment.verify", words!(Verify)),
        ("workflow.move.by", words!(By)),
        ("workflow.dependencies_by", words!(By)),
        ("workflow.edit_labels", words!(Editors)),
        ("server.forwarded", words!(Forwarded)),
        ("upstream.tracker", words!(Tracker)),
        ("log.format", words!(LogFormat)),
    ]
}

/// The schema, draft 2020-12. An error: the built-in file is not what it should be.
pub fn schema() -> anyhow::Result<Value> {
    let defaults: toml::Table = DEFAULTS.parse()?;
    let mut properties = Map::new();
    for (name, value) in &defaults {
        properties.insert(name.clone(), of_value(name, value));
    }
    Ok(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The configuration of claimgate",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    }))
}

/// The schema of the value at this path, as the default shows it.
fn of_value(path: &str, value: &toml::Value) -> Value {
    let mut schema = match value {
        toml::Value::Table(table) => {
            let properties: Map<String, Value> =
                table.iter().map(|(name, value)| (name.clone(), of_value(&format!("{path}.{name}"), value))).collect();
            return json!({ "type": "object", "additionalProperties": false, "properties": properties });
        }
        toml::Value::Array(items) => {
            let tables = items.first().and_then(toml::Value::as_table).cloned();
            let items = match tables.or_else(|| example(path)) {
                Some(table) => of_value(path, &toml::Value::Table(table)),
                None => with_words(path, json!({ "type": "string" })),
            };
            json!({ "type": "array", "items": items })
        }
        toml::Value::Boolean(_) => json!({ "type": "boolean" }),
        toml::Value::Integer(_) => json!({ "type": "integer", "minimum": 0 }),
        toml::Value::Float(_) => json!({ "type": "number" }),
        toml::Value::String(_) | toml::Value::Datetime(_) => with_words(path, json!({ "type": "string" })),
    };
    if let Some(text) = explanation(path) {
        schema["description"] = text.into();
    }
    // An example in a comment is no default.
    if explanation(path).is_some()
        && let Ok(default) = serde_json::to_value(value)
    {
        schema["default"] = default;
    }
    schema
}

fn with_words(path: &str, mut schema: Value) -> Value {
    if let Some((_, words)) = choices().into_iter().find(|(key, _)| *key == path) {
        schema["enum"] = json!(words);
    }
    schema
}

/// The comment above a key of the built-in file, as one text.
fn explanation(path: &str) -> Option<String> {
    let (wanted, key) = path.rsplit_once('.').unwrap_or(("", path));
    let (mut section, mut comment) = (String::new(), Vec::new());
    for line in DEFAULTS.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.trim_matches(['[', ']']).clone_into(&mut section);
        }
        if section == wanted && line.split(" = ").next() == Some(key) && line.contains(" = ") {
            return Some(comment.join(" ")).filter(|text| !text.is_empty());
        }
        comment.clear();
    }
    None
}

/// The table that a comment shows of a list that is empty by default: `#   [[singleton]]` and the keys below it.
fn example(path: &str) -> Option<toml::Table> {
    let head = format!("#   [[{path}]]");
    let mut lines = DEFAULTS.lines().skip_while(|line| *line != head);
    lines.next()?;
    let lines = lines.take_while(|line| line.starts_with('#'));
    let keys = lines.filter_map(|line| {
        let rest = line.strip_prefix("#   ")?;
        let (key, _) = rest.split_once(" = ")?;
        key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(rest)
    });
    keys.collect::<Vec<_>>().join("\n").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layers, read};

    fn at<'a>(schema: &'a Value, path: &str) -> &'a Value {
        path.split('.').fold(schema, |schema, name| {
            let schema = if schema["type"] == "array" { &schema["items"] } else { schema };
            &schema["properties"][name]
        })
    }

    /// Each word that the schema offers is taken, and another is not: so no list is of another key.
    #[test]
    fn the_words_are_those_that_are_read() {
        let schema = schema().unwrap();
        for (path, words) in choices() {
            let found = at(&schema, path);
            let listed = if found["type"] == "array" { &found["items"]["enum"] } else { &found["enum"] };
            assert_eq!(*listed, json!(words), "{path}");
            let of_list =
                ["singleton", "once", "workflow.move"].iter().any(|list| path.starts_with(&format!("{list}.")));
            if of_list || path == "upstream.tracker" {
                continue;
            }
            let is_read = |word: &str| {
                let (section, key) = path.rsplit_once('.').unwrap();
                let value = if found["type"] == "array" { format!("[{word:?}]") } else { format!("{word:?}") };
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), format!("[{section}]\n{key} = {value}\n")).unwrap();
                let file = Some(file.path().to_owned());
                match read(&Layers { file, ..Layers::default() }) {
                    Ok(_) => true,
                    Err(errors) => !errors.to_string().contains(&format!("`{word}`")),
                }
            };
            assert!(words.iter().all(|word| is_read(word)), "{path}: {words:?}");
            assert!(!is_read("nonsense"), "{path} takes any word");
        }
    }

    #[test]
    fn every_key_has_a_type_and_an_explanation() {
        let schema = schema().unwrap();
        for (path, kind) in [
            ("server.listen", "string"),
            ("server.workers", "integer"),
            ("metrics.enabled", "boolean"),
            ("workflow.states", "array"),
            ("workflow.move.from", "array"),
            ("singleton.agents", "array"),
            ("once.key", "string"),
            ("server.listener.instance", "string"),
            ("server.listener.tls", "boolean"),
        ] {
            assert_eq!(at(&schema, path)["type"], kind, "{path}: {schema:#}");
        }
        assert!(at(&schema, "ledger.doubt_period")["description"].as_str().is_some_and(|text| text.len() > 40));
        assert_eq!(at(&schema, "server.listen")["default"], "127.0.0.1:8480");
    }
}
