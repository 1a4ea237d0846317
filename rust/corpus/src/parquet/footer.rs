//! The footer of a Parquet file: its row groups and its schema.

use std::fs::File;
use std::path::Path;

use lslm_runtime::{Error, Result, panics};
use parquet::basic::Compression;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::options::ReadOptions;
use crate::parquet::schema::RowSchema;

/// The column in which lslm writes the metadata, as JSON objects.
pub(crate) const METADATA_COLUMN: &str = "metadata";

/// Calls the parquet crate, which panics on some broken files. A panic and an error both become an
/// [`Error::Format`].
pub(super) fn catch_broken<T>(
    path: &Path,
    call: impl FnOnce() -> parquet::errors::Result<T>,
) -> Result<T> {
    let broken =
        |what: String| Error::format(path, None, format!("broken Parquet ({what}): get it again"));
    match panics::catch(call) {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(broken(error.to_string())),
        None => Err(broken("its pages contradict each other".into())),
    }
}

/// Reads the footer of `file`.
pub(super) fn open(path: &Path, file: File) -> Result<SerializedFileReader<File>> {
    catch_broken(path, || SerializedFileReader::new(file))
}

/// Returns the stored bytes of each row group, and the schema. A missing text column is an error.
pub(crate) fn row_groups(
    path: &Path,
    file: &File,
    options: &ReadOptions,
) -> Result<(Vec<u64>, RowSchema)> {
    let file = file.try_clone().map_err(Error::io(path))?;
    let reader = open(path, file)?;
    let schema = RowSchema::new(path, reader.metadata().file_metadata(), options)?;
    let mut columns = reader.metadata().row_groups().iter().flat_map(RowGroupMetaData::columns);
    if let Some(codec) = columns.find_map(|column| unread_codec(column.compression())) {
        return Err(Error::format(
            path,
            None,
            format!(
                "Parquet compressed with {codec}, which is not read: rewrite it, for example with \
                 pyarrow.parquet.write_table(table, path, compression=\"zstd\")"
            ),
        ));
    }
    let sizes = catch_broken(path, || {
        Ok(reader.metadata().row_groups().iter().map(stored_bytes).collect())
    })?;
    Ok((sizes, schema))
}

/// Returns the name of a compression that this build of the parquet crate does not decode.
fn unread_codec(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::BROTLI(_) => Some("brotli"),
        Compression::LZO => Some("LZO"),
        _ => None,
    }
}

/// Returns the stored bytes of a row group, at least one, so that progress advances with each.
pub(super) fn stored_bytes(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.compressed_size()).unwrap_or(0).max(1)
}
