//! A row of a Parquet file: its values with their levels, and as JSON.

use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Repetition};
use parquet::column::reader::ColumnReader;
use parquet::schema::types::Type;

use crate::jsonl::members::members;
use crate::jsonl::write::{ObjectBuilder, push_string};
use crate::parquet::column::{LeafBatch, ValueKind};
use crate::parquet::footer::METADATA_COLUMN;
use crate::parquet::schema::{RowSchema, count_leaves};

/// The values of consecutive rows, other than their texts.
#[derive(Debug)]
pub(crate) struct RowBatch {
    pub(super) schema: Arc<RowSchema>,
    /// By leaf; `None` for the text and for leaves that are not read.
    pub(super) leaves: Vec<Option<LeafBatch>>,
}

impl RowBatch {
    pub(super) fn new(schema: &Arc<RowSchema>) -> Self {
        let leaves = schema.leaves.iter().map(|_| None).collect();
        Self { schema: Arc::clone(schema), leaves }
    }

    /// Decodes the next `rows` rows of the leaves that have a reader. Returns whether all have them.
    pub(super) fn load(
        schema: &Arc<RowSchema>,
        readers: &mut [Option<ColumnReader>],
        rows: usize,
    ) -> parquet::errors::Result<(Self, bool)> {
        let mut batch = Self::new(schema);
        let mut is_complete = true;
        for (index, reader) in readers.iter_mut().enumerate() {
            let Some(reader) = reader else { continue };
            let leaf = &schema.leaves[index];
            let mut values = LeafBatch::new(leaf);
            is_complete &= values.load(leaf, reader, rows)? == rows;
            batch.leaves[index] = Some(values);
        }
        Ok((batch, is_complete))
    }

    /// Returns the id of a row as it is spelled, if it has one.
    pub(super) fn id(&self, row: usize) -> Option<String> {
        let index = self.schema.id?;
        let leaf = self.leaves[index].as_ref()?;
        let (_, values) = leaf.row(row);
        if values.is_empty() {
            return None;
        }
        Some(match leaf.values.bytes(values.start) {
            Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            None => leaf.values.json(values.start, self.schema.leaves[index].kind),
        })
    }
}

/// A row of a batch.
#[derive(Clone, Debug)]
pub(crate) struct ParquetRow {
    pub(super) batch: Arc<RowBatch>,
    pub(super) row: usize,
}

impl ParquetRow {
    /// Appends the row as a JSON object with `text` at its place.
    pub(crate) fn write_json(&self, text: &str, out: &mut String) {
        let mut object = ObjectBuilder::default();
        let metadata = self.metadata_members();
        let id_key = &self.batch.schema.id_key;
        let has_typed_id = metadata.iter().any(|(name, _)| name == id_key);
        // beside a metadata column, the column of ids is for the documents that have one
        let is_no_id = self.metadata_leaf().is_some() && self.batch.id(self.row).is_none();
        let mut cursor = RowCursor::new(self, Some(text));
        for (field, leaf) in self.fields() {
            if is_metadata(field) && !metadata.is_empty() {
                for (name, value) in &metadata {
                    object.push(name, value);
                }
            } else if !(is_metadata(field) || self.is_id(leaf) && (has_typed_id || is_no_id)) {
                object.push_with(field.name(), |out| cursor.field(field, leaf, (0, 0), out));
            }
        }
        out.push_str(&object.into_text().unwrap_or_else(|| "{}".to_owned()));
    }

    /// Returns the fields other than text and id as a JSON object, `None` if there are none. With
    /// `keep_typed`, an id that is not a string is left in it.
    pub(crate) fn others(&self, keep_typed: bool) -> Option<String> {
        let mut object = ObjectBuilder::default();
        let schema = &self.batch.schema;
        let has_id = self.batch.id(self.row).is_some();
        let mut cursor = RowCursor::new(self, None);
        for (field, leaf) in self.fields() {
            let is_text = leaf == schema.text && count_leaves(field) == 1;
            let is_kept_id = keep_typed && schema.leaves[leaf].kind != ValueKind::Text;
            if is_text || (self.is_id(leaf) && !(has_id && is_kept_id)) {
                continue;
            }
            if is_metadata(field) {
                for (name, value) in self.metadata_members() {
                    let is_kept = keep_typed && !value.starts_with('"');
                    if name != schema.id_key || !has_id || is_kept {
                        object.push(&name, &value);
                    }
                }
                continue;
            }
            object.push_with(field.name(), |out| cursor.field(field, leaf, (0, 0), out));
        }
        object.into_text()
    }

    /// Returns the columns, each with its first leaf.
    fn fields(&self) -> impl Iterator<Item = (&Type, usize)> {
        let mut next = 0;
        self.batch.schema.root.get_fields().iter().map(move |field| {
            let leaf = next;
            next += count_leaves(field);
            (&**field, leaf)
        })
    }

    fn is_id(&self, leaf: usize) -> bool {
        self.batch.schema.id == Some(leaf)
    }

    fn metadata_leaf(&self) -> Option<usize> {
        self.fields().find(|(field, _)| is_metadata(field)).map(|(_, leaf)| leaf)
    }

    /// Returns the members of the object in the metadata column, other than a text.
    fn metadata_members(&self) -> Vec<(String, String)> {
        let index = self.metadata_leaf();
        let Some(leaf) = index.and_then(|index| self.batch.leaves[index].as_ref()) else {
            return Vec::new();
        };
        let (_, values) = leaf.row(self.row);
        if values.is_empty() {
            return Vec::new();
        }
        let value = leaf.values.json(values.start, ValueKind::Json);
        match members(&value) {
            Ok(members) => members
                .into_iter()
                .filter(|(name, _)| *name != self.batch.schema.text_key)
                .map(|(name, value)| (name.into_owned(), value.to_owned()))
                .collect(),
            Err(_) if value == "null" => Vec::new(),
            Err(_) => vec![(METADATA_COLUMN.to_owned(), value)],
        }
    }
}

/// Puts the nested values of one row together again.
///
/// ```text
/// field(type):      optional and not defined here -> null
///                   repeated: no entry here -> [], else one item, and one more for each next entry
///                             that repeats this list
/// content(type):    leaf -> its next value; list, map -> array, object; group -> its fields
/// ```
/// What is null or empty has one entry in each leaf below it.
struct RowCursor<'a> {
    batch: &'a RowBatch,
    /// By leaf: the next entry, the end of the row's entries, and the next value.
    positions: Vec<(usize, usize, usize)>,
    /// The text to write; without one, a struct is written without it.
    text: Option<&'a str>,
}

impl<'a> RowCursor<'a> {
    fn new(row: &'a ParquetRow, text: Option<&'a str>) -> Self {
        let position = |leaf: &Option<LeafBatch>| {
            let Some(leaf) = leaf else { return (0, 1, 0) };
            let (entries, values) = leaf.row(row.row);
            (entries.start, entries.end, values.start)
        };
        let positions = row.batch.leaves.iter().map(position).collect();
        Self { batch: &row.batch, positions, text }
    }

    /// Returns the definition level of the next entry of a leaf.
    fn def(&self, leaf: usize) -> i16 {
        let max_def = self.batch.schema.leaves[leaf].max_def;
        let Some(values) = &self.batch.leaves[leaf] else { return max_def };
        values.defs.get(self.positions[leaf].0).copied().unwrap_or(max_def)
    }

    /// Returns whether the next entry of a leaf continues a list of this level.
    fn repeats(&self, leaf: usize, level: i16) -> bool {
        let (entry, end, _) = self.positions[leaf];
        let values = self.batch.leaves[leaf].as_ref();
        entry < end && values.and_then(|values| values.reps.get(entry)) == Some(&level)
    }

    /// Skips one entry, which has no value, of each leaf of a field.
    fn skip(&mut self, field: &Type, leaf: usize) {
        (leaf..leaf + count_leaves(field)).for_each(|leaf| self.positions[leaf].0 += 1);
    }

    /// Appends a field whose first leaf is `leaf`; `levels` are those of definition and repetition
    /// of what is around it.
    fn field(&mut self, field: &Type, leaf: usize, levels: (i16, i16), out: &mut String) {
        let (def, rep) = levels;
        match field.get_basic_info().repetition() {
            Repetition::REQUIRED => self.content(field, leaf, levels, out),
            Repetition::OPTIONAL if self.def(leaf) > def => {
                self.content(field, leaf, (def + 1, rep), out);
            }
            Repetition::OPTIONAL => {
                out.push_str("null");
                self.skip(field, leaf);
            }
            Repetition::REPEATED => {
                self.items(field, leaf, levels, ["[", "]"], out, |me, l, out| {
                    me.content(field, leaf, l, out);
                });
            }
        }
    }

    /// Appends the items of a repeated field between two brackets.
    fn items(
        &mut self,
        repeated: &Type,
        leaf: usize,
        (def, rep): (i16, i16),
        [open, close]: [&str; 2],
        out: &mut String,
        item: impl Fn(&mut Self, (i16, i16), &mut String),
    ) {
        out.push_str(open);
        if self.def(leaf) <= def {
            self.skip(repeated, leaf);
        } else {
            item(self, (def + 1, rep + 1), out);
            while self.repeats(leaf, rep + 1) {
                out.push(',');
                item(self, (def + 1, rep + 1), out);
            }
        }
        out.push_str(close);
    }

    /// Appends a field that is there.
    fn content(&mut self, field: &Type, leaf: usize, levels: (i16, i16), out: &mut String) {
        if field.is_primitive() {
            return self.value(leaf, out);
        }
        let fields = field.get_fields();
        let is_wrapped = fields.len() == 1
            && fields[0].get_basic_info().has_repetition()
            && fields[0].get_basic_info().repetition() == Repetition::REPEATED;
        if is_wrapped && is_list(field) {
            let repeated = &fields[0];
            self.items(
                repeated,
                leaf,
                levels,
                ["[", "]"],
                out,
                |me, levels, out| match list_element(field, repeated) {
                    Some(element) => me.field(element, leaf, levels, out),
                    None => me.content(repeated, leaf, levels, out),
                },
            );
        } else if is_wrapped && is_map(field) && has_string_keys(&fields[0]) {
            let pair = fields[0].get_fields();
            self.items(&fields[0], leaf, levels, ["{", "}"], out, |me, levels, out| {
                me.field(&pair[0], leaf, levels, out);
                out.push(':');
                me.field(&pair[1], leaf + 1, levels, out);
            });
        } else if is_wrapped && is_map(field) {
            self.items(&fields[0], leaf, levels, ["[", "]"], out, |me, levels, out| {
                me.content(&fields[0], leaf, levels, out);
            });
        } else {
            self.members(fields, leaf, levels, out);
        }
    }

    fn members(
        &mut self,
        fields: &[Arc<Type>],
        mut leaf: usize,
        levels: (i16, i16),
        out: &mut String,
    ) {
        out.push('{');
        let mut is_first = true;
        for field in fields {
            let is_text = leaf == self.batch.schema.text && field.is_primitive();
            if !(is_text && self.text.is_none()) {
                if !is_first {
                    out.push(',');
                }
                is_first = false;
                push_string(out, field.name());
                out.push(':');
                self.field(field, leaf, levels, out);
            }
            leaf += count_leaves(field);
        }
        out.push('}');
    }

    fn value(&mut self, leaf: usize, out: &mut String) {
        if leaf == self.batch.schema.text {
            push_string(out, self.text.unwrap_or_default());
        } else if let Some(values) = &self.batch.leaves[leaf] {
            let kind = self.batch.schema.leaves[leaf].kind;
            out.push_str(&values.values.json(self.positions[leaf].2, kind));
            self.positions[leaf].0 += 1;
            self.positions[leaf].2 += 1;
        }
    }
}

/// Returns whether a column is the one in which lslm writes the fields of JSONL.
fn is_metadata(field: &Type) -> bool {
    field.name() == METADATA_COLUMN
        && field.is_primitive()
        && matches!(field.get_basic_info().logical_type_ref(), Some(LogicalType::Json))
        && field.get_basic_info().repetition() != Repetition::REPEATED
}

fn is_list(field: &Type) -> bool {
    let info = field.get_basic_info();
    matches!(info.logical_type_ref(), Some(LogicalType::List))
        || info.converted_type() == ConvertedType::LIST
}

fn is_map(field: &Type) -> bool {
    let info = field.get_basic_info();
    matches!(info.logical_type_ref(), Some(LogicalType::Map))
        || matches!(info.converted_type(), ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE)
}

/// Returns the element inside the repeated group of a list; `None` if that group is the element, by
/// the rules for older writers (parquet-format, LogicalTypes.md, "Lists").
fn list_element<'t>(list: &Type, repeated: &'t Type) -> Option<&'t Type> {
    if repeated.is_primitive() || repeated.get_fields().len() != 1 {
        return None;
    }
    let is_element =
        repeated.name() == "array" || repeated.name() == format!("{}_tuple", list.name());
    (!is_element).then(|| &*repeated.get_fields()[0])
}

/// Returns whether the group of a map has two fields, of which the first is a required string.
fn has_string_keys(pair: &Type) -> bool {
    if pair.is_primitive() || pair.get_fields().len() != 2 {
        return false;
    }
    let key = pair.get_fields()[0].get_basic_info();
    let is_string = matches!(key.logical_type_ref(), Some(LogicalType::String))
        || key.converted_type() == ConvertedType::UTF8;
    is_string && key.repetition() == Repetition::REQUIRED
}
