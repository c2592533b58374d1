//! The JSON Schema that editors use to complete and check experiment files.

use super::keys::{Constant, Key, Kind, Presence, ValueType};
use super::sweep::ZIP;
use serde_json::{Map, Value, json};

/// JSON Schema (draft 2020-12) of a file with these keys.
///
/// It says all that a schema can say about one table; what takes several keys together, the sweep among them, is
/// for `contraflow check`. A key that only the sweep gives a value is refused by the schema and accepted by the
/// reader: give it some value outside the sweep to please both.
pub fn json_schema(root: &'static [Key]) -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".into(), json!("contraflow experiment"));
    schema.extend(table(root, None));
    Value::Object(schema)
}

fn table(keys: &[Key], kind: Option<&Kind>) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    if let Some(kind) = kind {
        properties.insert("kind".into(), json!({ "const": kind.name }));
        required.push("kind");
    }
    for key in keys {
        let mut schema = value(&key.value);
        schema.insert("description".into(), json!(key.about));
        match &key.presence {
            Presence::Required => required.push(key.name),
            Presence::Optional => {}
            Presence::Default(default) => {
                schema.insert("default".into(), constant(default));
            }
        }
        properties.insert(key.name.into(), Value::Object(schema));
    }
    let mut schema = Map::new();
    schema.insert("type".into(), json!("object"));
    if let Some(kind) = kind {
        let source = if kind.source.is_empty() { String::new() } else { format!(" ({})", kind.source) };
        schema.insert("title".into(), json!(kind.name));
        schema.insert("description".into(), json!(format!("{}{source}", kind.about)));
    }
    schema.insert("properties".into(), Value::Object(properties));
    schema.insert("required".into(), json!(required));
    schema.insert("additionalProperties".into(), json!(false));
    schema
}

fn value(declared: &ValueType) -> Map<String, Value> {
    let schema = match *declared {
        ValueType::Number { min, min_allowed, max } => Value::Object(number(min, min_allowed, max)),
        ValueType::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        ValueType::Flag => json!({ "type": "boolean" }),
        ValueType::Text => json!({ "type": "string" }),
        ValueType::Path => json!({ "type": "string", "minLength": 1 }),
        ValueType::Choice(names) => json!({ "enum": names }),
        ValueType::Numbers { min, min_allowed, max } => {
            json!({ "type": "array", "items": number(min, min_allowed, max), "minItems": 1 })
        }
        ValueType::Integers { min, max, at_least } => {
            let items = json!({ "type": "integer", "minimum": min, "maximum": max });
            json!({ "type": "array", "items": items, "minItems": at_least })
        }
        ValueType::Choices(names) => {
            json!({ "type": "array", "items": { "enum": names }, "uniqueItems": true })
        }
        ValueType::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        ValueType::Keys(keys) => Value::Object(table(keys, None)),
        ValueType::OneOf(kinds) => json!({ "oneOf": all(kinds) }),
        ValueType::OneOrMoreOf(kinds) => {
            let one = json!({ "oneOf": all(kinds) });
            json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
        }
        // A range is a table, and an unquoted dotted key makes a table in the table.
        ValueType::Sweep => {
            let lists = json!({ "type": ["array", "object"], "minItems": 1 });
            let zip = json!({
                "type": "object",
                "description": "Lists of one length that move together",
                "additionalProperties": lists,
            });
            json!({ "type": "object", "properties": { ZIP: zip }, "additionalProperties": lists })
        }
    };
    match schema {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn all(kinds: &[Kind]) -> Vec<Value> {
    kinds.iter().map(|kind| Value::Object(table(kind.keys, Some(kind)))).collect()
}

fn number(min: f64, min_allowed: bool, max: f64) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".into(), json!("number"));
    if min.is_finite() {
        let key = if min_allowed { "minimum" } else { "exclusiveMinimum" };
        schema.insert(key.into(), json!(min));
    }
    if max.is_finite() {
        schema.insert("maximum".into(), json!(max));
    }
    schema
}

fn constant(constant_value: &Constant) -> Value {
    match constant_value {
        Constant::Number(number) => json!(number),
        Constant::Integer(integer) => json!(integer),
        Constant::Flag(flag) => json!(flag),
        Constant::Text(text) => json!(text),
        Constant::Texts(texts) => json!(texts),
        Constant::Table(items) => {
            Value::Object(items.iter().map(|(key, value)| (key.to_string(), constant(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::example::ROOT;

    #[test]
    fn the_schema_closes_every_table_and_selects_kinds_by_constant() {
        let schema = json_schema(ROOT);
        assert_eq!(schema["additionalProperties"], json!(false));
        let block = &schema["properties"]["augment"]["oneOf"][1];
        assert_eq!(block["properties"]["kind"], json!({ "const": "block" }));
        assert_eq!(block["properties"]["variance"]["exclusiveMinimum"], json!(0.0));
        assert_eq!(block["properties"]["sides"]["enum"], json!(["one", "two"]));
        assert_eq!(block["required"], json!(["kind", "block", "variance", "sides"]));
        assert_eq!(block["additionalProperties"], json!(false));
    }

    #[test]
    fn the_schema_knows_the_zip_of_the_sweep() {
        let sweep = &json_schema(ROOT)["properties"]["sweep"];
        let zip = &sweep["properties"]["zip"];
        assert_eq!(zip["type"], json!("object"), "a list is no zip");
        assert_eq!(zip["additionalProperties"], sweep["additionalProperties"]);
        assert_eq!(sweep["additionalProperties"]["type"], json!(["array", "object"]));
    }

    #[test]
    fn the_schema_states_ranges_defaults_and_descriptions() {
        let properties = &json_schema(ROOT)["properties"];
        assert_eq!(properties["repeats"]["default"], json!(1));
        assert_eq!(properties["repeats"]["minimum"], json!(1));
        assert_eq!(properties["encoder"]["oneOf"][0]["properties"]["widths"]["minItems"], json!(2));
        assert!(properties["seed"]["description"].as_str().is_some_and(|text| !text.is_empty()));
        assert_eq!(properties["figure"]["anyOf"][1]["type"], json!("array"));
        let covariance = &properties["data"]["oneOf"][0]["properties"]["covariance"];
        assert_eq!(covariance["default"], json!({ "kind": "isotropic", "variance": 1.0 }));
    }
}
