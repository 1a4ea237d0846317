//! A row of CSV with the names of its columns.

use std::path::Path;
use std::sync::Arc;

use csv::ByteRecord;
use lslm_runtime::{Error, Result};

use crate::encoding::TextEncoding;
use crate::jsonl::write::{ObjectBuilder, push_string};
use crate::options::{ReadOptions, Utf8Policy};
/// The names of the columns.
#[derive(Debug)]
pub(crate) struct CsvHeader {
    names: Vec<String>,
    pub(super) text: usize,
    pub(super) id: Option<usize>,
}

impl CsvHeader {
    /// Returns the columns of the first row. A missing text column is an error.
    pub(super) fn new(
        path: &Path,
        row: &ByteRecord,
        encoding: TextEncoding,
        options: &ReadOptions,
    ) -> Result<Self> {
        let decode = |name: &[u8]| match encoding.decode(name, Utf8Policy::Replace) {
            Ok((name, _)) => name.into_owned(),
            Err(_) => String::new(),
        };
        let names: Vec<String> = row.iter().map(decode).collect();
        let refuse = |reason: String| Err(Error::format(path, 0, reason));
        if let Some((index, name)) =
            names.iter().enumerate().find(|(index, name)| names[..*index].contains(name))
        {
            return refuse(format!("two columns are called {name:?} (column {})", index + 1));
        }
        let position = |key: &str| names.iter().position(|name| name == key);
        let Some(text) = position(&options.text_key) else {
            return refuse(format!(
                "no column {:?}; name one of {} as the text key",
                options.text_key,
                names.join(", ")
            ));
        };
        let id = position(&options.id_key);
        Ok(Self { names, text, id })
    }
}

/// A row of CSV without its text. All values are strings.
#[derive(Clone, Debug)]
pub(crate) struct CsvRow {
    pub(super) header: Arc<CsvHeader>,
    pub(super) values: Arc<[String]>,
}

impl CsvRow {
    /// Appends the row as a JSON object with `text` at its place.
    pub(crate) fn write_json(&self, text: &str, out: &mut String) {
        let mut object = ObjectBuilder::default();
        for (index, (name, value)) in self.header.names.iter().zip(&*self.values).enumerate() {
            let value = if index == self.header.text { text } else { value };
            object.push_with(name, |out| push_string(out, value));
        }
        out.push_str(&object.into_text().unwrap_or_default());
    }

    /// Returns the fields other than text and id as a JSON object, `None` if there are none.
    pub(crate) fn others(&self) -> Option<String> {
        let mut object = ObjectBuilder::default();
        for (index, (name, value)) in self.header.names.iter().zip(&*self.values).enumerate() {
            if index != self.header.text && Some(index) != self.header.id {
                object.push_with(name, |out| push_string(out, value));
            }
        }
        object.into_text()
    }
}
