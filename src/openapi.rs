//! `warranty openapi`: what callers by JSON reach through the gateway, as OpenAPI 3.1, read from the contracts' descriptors.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::PathBuf,
};

use clap::Args;
use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, MethodDescriptor,
};
use serde_json::{Map, Value, json};

use crate::contract::DESCRIPTORS;

const PACKAGE: &str = "aopre.warranty.v1";

/// What `warranty openapi` needs.
#[derive(Args, Clone, Debug)]
pub struct OpenapiArgs {
    /// Write the contracts' descriptors instead, as the gateway's transcoder reads them
    #[arg(long, value_name = "FILE")]
    descriptors: Option<PathBuf>,
}

/// Prints the document, or writes the descriptors.
pub fn print(args: &OpenapiArgs) -> anyhow::Result<()> {
    match &args.descriptors {
        Some(path) => fs::write(path, DESCRIPTORS)?,
        None => println!("{:#}", document()),
    }
    Ok(())
}

/// The document: each unary method at its `google.api.http` path.
pub fn document() -> Value {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("the contracts' descriptors are whole");
    let mut writer = Writer { comments: comments(&pool), schemas: BTreeMap::new() };
    let status = pool.get_message_by_name("google.rpc.Status").expect("the contracts import it");
    writer.message(&status);
    let (mut paths, mut tags) = (Map::new(), Vec::new());
    for service in pool.services().filter(|service| service.package_name() == PACKAGE) {
        let comment = writer.comment(&service.parent_file(), service.path());
        tags.push(json!({"name": service.name(), "description": comment}));
        for method in service.methods() {
            if let Some((verb, path)) = route(&method) {
                let operation = writer.operation(&method, verb, &path);
                let at = paths.entry(path).or_insert_with(|| json!({}));
                at[verb] = operation;
            }
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "aopre warranty",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The warranty system's unary calls as JSON, through the gateway. Field names, rules and reasons are those of the gRPC contracts.",
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": writer.schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    })
}

/// The verb and path of a unary method.
fn route(method: &MethodDescriptor) -> Option<(&'static str, String)> {
    if method.is_client_streaming() || method.is_server_streaming() {
        return None;
    }
    let http = method.parent_pool().get_extension_by_name("google.api.http")?;
    let options = method.options();
    let rule = options.get_extension(&http);
    let rule = rule.as_message()?;
    ["get", "post"].into_iter().find_map(|verb| {
        let path = rule.get_field_by_name(verb)?.as_str()?.to_owned();
        (!path.is_empty()).then_some((verb, path))
    })
}

/// Comments by file and place in it.
type Comments = HashMap<(String, Vec<i32>), String>;

fn comments(pool: &DescriptorPool) -> Comments {
    let mut comments = HashMap::new();
    for file in pool.files() {
        for place in file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location) {
            if let Some(comment) = &place.leading_comments {
                let comment = comment.lines().map(str::trim).collect::<Vec<_>>().join("\n");
                comments.insert((file.name().to_owned(), place.path.clone()), comment.trim().to_owned());
            }
        }
    }
    comments
}

struct Writer {
    comments: Comments,
    schemas: BTreeMap<String, Value>,
}

impl Writer {
    fn comment(&self, file: &FileDescriptor, path: &[i32]) -> String {
        self.comments.get(&(file.name().to_owned(), path.to_vec())).cloned().unwrap_or_default()
    }

    fn operation(&mut self, method: &MethodDescriptor, verb: &str, path: &str) -> Value {
        let comment = self.comment(&method.parent_file(), method.path());
        let bound: Vec<&str> = path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        let mut parameters = Vec::new();
        for name in &bound {
            if let Some(field) = field_at(&method.input(), name) {
                parameters.push(self.parameter(&field, name, "path"));
            }
        }
        if verb == "get" {
            self.query(&method.input(), "", &bound, &mut parameters);
        }
        let answer = self.message(&method.output());
        let mut operation = json!({
            "operationId": method.name(),
            "tags": [method.parent_service().name()],
            "summary": comment.lines().next().unwrap_or_default(),
            "description": comment,
            "parameters": parameters,
            "responses": {
                "200": {"description": "Done.", "content": {"application/json": {"schema": answer}}},
                "default": {
                    "description": "Refused or failed; the reason stands in a google.rpc.ErrorInfo among the details.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/google.rpc.Status"}}},
                },
            },
        });
        if verb == "post" {
            // What the path says the body need not.
            let schema =
                if bound.is_empty() { self.message(&method.input()) } else { self.object(&method.input(), &bound) };
            operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        }
        operation
    }

    fn parameter(&mut self, field: &FieldDescriptor, name: &str, place: &str) -> Value {
        let schema = self.field(field);
        let comment = self.comment(&field.parent_file(), field.path());
        json!({"name": name, "in": place, "required": place == "path", "description": comment, "schema": schema})
    }

    /// A part of a message is written with a point: `filed_until_date.year`.
    fn query(&mut self, message: &MessageDescriptor, prefix: &str, bound: &[&str], parameters: &mut Vec<Value>) {
        for field in message.fields() {
            let name = format!("{prefix}{}", field.name());
            match field.kind() {
                _ if bound.contains(&name.as_str()) => {}
                Kind::Message(part) if !part.full_name().starts_with("google.protobuf.") => {
                    self.query(&part, &format!("{name}."), bound, parameters);
                }
                _ => parameters.push(self.parameter(&field, &name, "query")),
            }
        }
    }

    /// A reference to a message's schema, which is written where it is not there yet.
    fn message(&mut self, message: &MessageDescriptor) -> Value {
        match message.full_name() {
            "google.protobuf.Timestamp" => return json!({"type": "string", "format": "date-time"}),
            "google.protobuf.Duration" => return json!({"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?s$"}),
            "google.protobuf.Any" => {
                return json!({"type": "object", "properties": {"@type": {"type": "string"}}, "additionalProperties": true});
            }
            _ => {}
        }
        let name = short(message.full_name());
        if !self.schemas.contains_key(name) {
            // Stands there first: a message may hold itself.
            self.schemas.insert(name.to_owned(), Value::Null);
            let object = self.object(message, &[]);
            self.schemas.insert(name.to_owned(), object);
        }
        reference(name)
    }

    fn object(&mut self, message: &MessageDescriptor, without: &[&str]) -> Value {
        let mut properties = Map::new();
        for field in message.fields().filter(|field| !without.contains(&field.name())) {
            let mut schema = self.field(&field);
            let comment = self.comment(&field.parent_file(), field.path());
            schema["description"] = Value::String(comment);
            properties.insert(field.json_name().to_owned(), schema);
        }
        let comment = self.comment(&message.parent_file(), message.path());
        json!({"type": "object", "description": comment, "properties": properties})
    }

    /// As JSON writes it (ProtoJSON): 64 bits as a string, bytes in base64, an enum by its name.
    fn field(&mut self, field: &FieldDescriptor) -> Value {
        if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            let value = self.field(&entry.map_entry_value_field());
            return json!({"type": "object", "additionalProperties": value});
        }
        let one = match field.kind() {
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Double | Kind::Float => json!({"type": "number"}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
                json!({"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"})
            }
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Uint32 | Kind::Fixed32 => {
                json!({"type": "integer", "format": "int32"})
            }
            Kind::Enum(values) => self.values(&values),
            Kind::Message(message) => self.message(&message),
        };
        if field.is_list() { json!({"type": "array", "items": one}) } else { one }
    }

    fn values(&mut self, values: &EnumDescriptor) -> Value {
        let name = short(values.full_name());
        if !self.schemas.contains_key(name) {
            let names: Vec<String> = values.values().map(|value| value.name().to_owned()).collect();
            let mut lines = vec![self.comment(&values.parent_file(), values.path())];
            for value in values.values() {
                lines.push(format!(
                    "- {}: {}",
                    value.name(),
                    self.comment(&value.parent_enum().parent_file(), value.path())
                ));
            }
            let schema = json!({"type": "string", "enum": names, "description": lines.join("\n")});
            self.schemas.insert(name.to_owned(), schema);
        }
        reference(name)
    }
}

fn short(full: &str) -> &str {
    full.strip_prefix(PACKAGE).map_or(full, |rest| rest.trim_start_matches('.'))
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The field at `product.model`.
fn field_at(message: &MessageDescriptor, path: &str) -> Option<FieldDescriptor> {
    match path.split_once('.') {
        None => message.get_field_by_name(path),
        Some((first, rest)) => match message.get_field_by_name(first)?.kind() {
            Kind::Message(part) => field_at(&part, rest),
            _ => None,
        },
    }
}
