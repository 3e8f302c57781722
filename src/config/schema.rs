//! The published JSON Schema, generated from the types that read the file.
//!
//! Never here: a word of documentation; that stands at the types.

use schemars::generate::SchemaSettings;

use super::written::File;

/// Where the schema is published in the repository.
pub const SCHEMA_FILE: &str = "config/postern.schema.json";

/// The schema as text. `postern check --schema` prints it; a test keeps [`SCHEMA_FILE`] equal to it.
pub fn schema() -> String {
    let root = SchemaSettings::draft07().for_deserialize().into_generator().into_root_schema_for::<File>();
    let mut text = serde_json::to_string_pretty(&root).unwrap_or_default();
    text.push('\n');
    text
}
