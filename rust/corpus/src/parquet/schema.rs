//! The schema of a Parquet file, and one schema for the rows of several files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lslm_runtime::{Error, Result};
use parquet::basic::{Repetition, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, KeyValue};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor, Type, TypePtr};

use crate::options::ReadOptions;
use crate::parquet::column::Leaf;

/// The key under which Arrow's libraries keep their own form of the schema.
const ARROW_SCHEMA: &str = "ARROW:schema";

/// The schema of a Parquet file whose rows are documents.
#[derive(Debug)]
pub(crate) struct RowSchema {
    /// The file, or the first of several with this schema.
    path: PathBuf,
    pub(super) root: TypePtr,
    pub(super) leaves: Vec<Leaf>,
    /// The leaf of the text, and that of the id.
    pub(super) text: usize,
    pub(super) id: Option<usize>,
    /// The names of the two in the options.
    pub(super) text_key: String,
    pub(super) id_key: String,
    /// What the writer of the file kept beside the schema.
    key_values: Option<Vec<KeyValue>>,
}

impl RowSchema {
    /// Returns the schema of a file. A missing text column is an error.
    pub(crate) fn new(path: &Path, file: &FileMetaData, options: &ReadOptions) -> Result<Self> {
        let descriptor = file.schema_descr();
        let text = text_column(path, descriptor, &options.text_key)?;
        let leaves: Vec<Leaf> = descriptor.columns().iter().map(|c| Leaf::new(c)).collect();
        let is_id = |(index, leaf): &(usize, &Leaf)| {
            *index != text && leaf.name == options.id_key && leaf.is_id()
        };
        let id = leaves.iter().enumerate().find(is_id).map(|(index, _)| index);
        Ok(Self {
            path: path.to_owned(),
            root: descriptor.root_schema_ptr(),
            leaves,
            text,
            id,
            text_key: options.text_key.clone(),
            id_key: options.id_key.clone(),
            key_values: file.key_value_metadata().cloned(),
        })
    }

    /// Returns whether rows of the other file have the same columns.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.text == other.text
            && self.id == other.id
            && self.root.get_fields() == other.root.get_fields()
            && self.key_values == other.key_values
    }
}

/// One schema for the rows of several files: the columns of all of them.
#[derive(Debug)]
pub(crate) struct RowLayout {
    pub(super) root: TypePtr,
    pub(super) text: usize,
    key_values: Option<Vec<KeyValue>>,
    /// For each schema, the leaf in it of each leaf here.
    maps: Vec<(Arc<RowSchema>, Vec<Option<usize>>)>,
}

impl RowLayout {
    /// Returns the union of schemas, of which there is at least one: columns in the order in which
    /// they appear first, and what the first file keeps beside its schema. A column that is missing
    /// in a file is null there.
    ///
    /// A column of two types, and one that cannot be null and is missing in a file, are errors.
    pub(crate) fn unite(schemas: &[Arc<RowSchema>]) -> Result<Self> {
        let Some(first) = schemas.first() else {
            return Err(Error::invalid("no Parquet file to take the columns from"));
        };
        let mut fields: Vec<(TypePtr, &RowSchema)> = Vec::new();
        for schema in schemas {
            for field in schema.root.get_fields() {
                match fields.iter().find(|(known, _)| known.name() == field.name()) {
                    None => fields.push((Arc::clone(field), schema)),
                    Some((known, _)) if known == field => {}
                    Some((known, from)) => return Err(conflict(known, from, field, schema)),
                }
            }
        }
        for schema in schemas {
            for (field, from) in &fields {
                let is_here = schema.root.get_fields().iter().any(|f| f.name() == field.name());
                if !is_here && field.get_basic_info().repetition() == Repetition::REQUIRED {
                    return Err(missing(field, from, schema));
                }
            }
        }
        let is_first = fields.len() == first.root.get_fields().len();
        let fields: Vec<TypePtr> = fields.into_iter().map(|(field, _)| field).collect();
        let root =
            if is_first { Arc::clone(&first.root) } else { group(first.root.name(), fields)? };
        let mut key_values = first.key_values.clone();
        if !is_first && let Some(pairs) = &mut key_values {
            pairs.retain(|pair| pair.key != ARROW_SCHEMA); // it has the columns of one file only
        }
        let maps = schemas.iter().map(|s| (Arc::clone(s), map_leaves(&root, s))).collect();
        Ok(Self { root, text: first.text, key_values, maps })
    }

    /// Returns what the first file keeps beside its schema, with or without Arrow's form of it.
    pub(super) fn key_values(&self, with_arrow_schema: bool) -> Option<Vec<KeyValue>> {
        let mut pairs = self.key_values.clone()?;
        pairs.retain(|pair| with_arrow_schema || pair.key != ARROW_SCHEMA);
        Some(pairs)
    }

    /// Returns the leaf in `schema` of each leaf here; `None` for a schema of another corpus.
    pub(super) fn map_of(&self, schema: &Arc<RowSchema>) -> Option<&[Option<usize>]> {
        let found = self.maps.iter().find(|(known, _)| Arc::ptr_eq(known, schema));
        found.map(|(_, map)| map.as_slice())
    }
}

/// Returns the leaf in `schema` of each leaf below `root`.
fn map_leaves(root: &Type, schema: &RowSchema) -> Vec<Option<usize>> {
    let own = schema.root.get_fields();
    let is_same = own == root.get_fields(); // also with two columns of one name
    let mut map = Vec::new();
    for (index, field) in root.get_fields().iter().enumerate() {
        let position = if is_same {
            Some(index)
        } else {
            own.iter().position(|own| own.name() == field.name())
        };
        let first = position.map(|p| own[..p].iter().map(|f| count_leaves(f)).sum::<usize>());
        map.extend((0..count_leaves(field)).map(|leaf| first.map(|first| first + leaf)));
    }
    map
}

/// Returns the number of leaves of a field.
pub(super) fn count_leaves(field: &Type) -> usize {
    if field.is_primitive() { 1 } else { field.get_fields().iter().map(|f| count_leaves(f)).sum() }
}

fn group(name: &str, fields: Vec<TypePtr>) -> Result<TypePtr> {
    let invalid = |error: ParquetError| Error::invalid(error.to_string());
    Type::group_type_builder(name).with_fields(fields).build().map(Arc::new).map_err(invalid)
}

fn conflict(known: &Type, from: &RowSchema, field: &Type, schema: &RowSchema) -> Error {
    Error::invalid(format!(
        "the column {:?} is {} in {} and {} in {}: one Parquet file cannot hold both; write          jsonl.zst, or process these files apart",
        field.name(),
        spelled(known),
        from.path.display(),
        spelled(field),
        schema.path.display()
    ))
}

fn missing(field: &Type, from: &RowSchema, schema: &RowSchema) -> Error {
    Error::invalid(format!(
        "the column {:?} of {} is never null, and missing in {}: write jsonl.zst, or process          these files apart",
        field.name(),
        from.path.display(),
        schema.path.display()
    ))
}

/// Returns a type in words of the Parquet specification, such as `optional INT64` or `required
/// BYTE_ARRAY (String)`.
fn spelled(field: &Type) -> String {
    let info = field.get_basic_info();
    let repetition = if info.has_repetition() { info.repetition() } else { Repetition::REQUIRED };
    let physical = if field.is_primitive() {
        field.get_physical_type().to_string()
    } else {
        let names: Vec<&str> = field.get_fields().iter().map(|field| field.name()).collect();
        format!("a group of {}", names.join(", "))
    };
    let logical = info.logical_type_ref().map(|logical| format!(" ({logical:?})"));
    format!("{} {physical}{}", repetition.to_string().to_lowercase(), logical.unwrap_or_default())
}

/// Returns the index of the column `key`, which must have strings and no repetition.
fn text_column(path: &Path, schema: &SchemaDescriptor, key: &str) -> Result<usize> {
    let name = |column: &ColumnDescriptor| column.path().string();
    let Some(index) = schema.columns().iter().position(|column| name(column) == key) else {
        let names: Vec<String> = schema.columns().iter().map(|column| name(column)).collect();
        return Err(Error::format(
            path,
            None,
            format!("no column {key:?}; name one of {} as the text key", names.join(", ")),
        ));
    };
    let column = &schema.columns()[index];
    if column.max_rep_level() > 0 || column.physical_type() != Physical::BYTE_ARRAY {
        let reason = format!("the column {key:?} has no strings; name another text key");
        return Err(Error::format(path, None, reason));
    }
    Ok(index)
}
