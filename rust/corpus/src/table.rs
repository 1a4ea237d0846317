//! Documents in a Parquet file: one a row, row groups as units of work.
//!
//! The columns are read as they are, without Arrow: a text is copied once, from its page.

use std::fs::File;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use lslm_runtime::{Error, Result, Task};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray, Int96};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use crate::input::Input;
use crate::json::{self, Metadata};
use crate::options::{ReadOptions, Utf8Policy};
use crate::reader::Found;
use crate::statistics::BadReason;
use crate::utf8;

/// How many rows are decoded at a time; their bytes stay in the pages until they are used.
const BATCH: usize = 256;

/// The name of the column in which a writer of ours keeps the other fields.
pub(crate) const METADATA: &str = "metadata";

/// Calls the parquet crate, which answers some broken files with a panic.
fn guarded<T>(path: &Path, call: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    let broken =
        |what: String| Error::format(path, None, format!("broken Parquet ({what}): get it again"));
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(broken(error.to_string())),
        Err(_) => Err(broken("its pages contradict each other".into())),
    }
}

fn open(path: &Path, file: File) -> Result<SerializedFileReader<File>> {
    guarded(path, || SerializedFileReader::new(file))
}

/// The stored bytes of each row group; an error if the text column is not there.
pub(crate) fn row_group_sizes(path: &Path, file: &File, options: &ReadOptions) -> Result<Vec<u64>> {
    let file = file.try_clone().map_err(Error::io(path))?;
    let reader = open(path, file)?;
    text_column(path, reader.metadata().file_metadata().schema_descr(), &options.text_key)?;
    let size = |group: &parquet::file::metadata::RowGroupMetaData| {
        u64::try_from(group.compressed_size()).unwrap_or(0).max(1)
    };
    guarded(path, || Ok(reader.metadata().row_groups().iter().map(size).collect()))
}

fn text_column(path: &Path, schema: &SchemaDescriptor, key: &str) -> Result<usize> {
    let name = |column: &ColumnDescriptor| column.path().string();
    let Some(place) = schema.columns().iter().position(|column| name(column) == key) else {
        let names: Vec<String> = schema.columns().iter().map(|column| name(column)).collect();
        return Err(Error::format(
            path,
            None,
            format!("no column {key:?}; name one of {} as the text key", names.join(", ")),
        ));
    };
    let column = &schema.columns()[place];
    let is_text = matches!(column.physical_type(), Physical::BYTE_ARRAY);
    if column.max_rep_level() > 0 || !is_text {
        return Err(Error::format(
            path,
            None,
            format!("the column {key:?} holds no strings; name another text key"),
        ));
    }
    Ok(place)
}

/// What the values of a column mean, where their physical type does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Plain,
    Unsigned,
    Text,
    Json,
    Uuid,
    Date,
    Decimal { scale: usize },
    Timestamp { per_second: i64, utc: bool },
}

impl Meaning {
    fn of(column: &ColumnDescriptor) -> Option<Self> {
        let scale = usize::try_from(column.type_scale()).unwrap_or(0);
        if let Some(logical) = column.logical_type_ref() {
            return Some(match logical {
                LogicalType::String | LogicalType::Enum => Self::Text,
                LogicalType::Json => Self::Json,
                LogicalType::Uuid => Self::Uuid,
                LogicalType::Date => Self::Date,
                LogicalType::Decimal(_) => Self::Decimal { scale },
                LogicalType::Integer(integer) if !integer.is_signed => Self::Unsigned,
                LogicalType::Integer(_) | LogicalType::Time(_) => Self::Plain,
                LogicalType::Timestamp(timestamp) => Self::Timestamp {
                    per_second: match timestamp.unit {
                        TimeUnit::MILLIS => 1_000,
                        TimeUnit::MICROS => 1_000_000,
                        TimeUnit::NANOS => 1_000_000_000,
                    },
                    utc: timestamp.is_adjusted_to_u_t_c,
                },
                // half floats, geometry, variants and what is to come
                _ => return None,
            });
        }
        Some(match column.converted_type() {
            ConvertedType::UTF8 | ConvertedType::ENUM => Self::Text,
            ConvertedType::JSON => Self::Json,
            ConvertedType::DATE => Self::Date,
            ConvertedType::DECIMAL => Self::Decimal { scale },
            ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64 => Self::Unsigned,
            ConvertedType::TIMESTAMP_MILLIS => Self::Timestamp { per_second: 1_000, utc: true },
            ConvertedType::TIMESTAMP_MICROS => Self::Timestamp { per_second: 1_000_000, utc: true },
            ConvertedType::BSON | ConvertedType::INTERVAL => return None,
            _ => Self::Plain,
        })
    }
}

/// The values of a batch that are not null.
#[derive(Debug)]
enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

/// One column and the batch of it that is being given out.
struct Column {
    index: usize,
    name: String,
    meaning: Meaning,
    /// The definition level of a value that is there.
    defined: i16,
    reader: Option<ColumnReader>,
    levels: Vec<i16>,
    values: Values,
    next: usize,
}

impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Column").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Column {
    fn new(index: usize, column: &ColumnDescriptor) -> Option<Self> {
        if column.max_rep_level() > 0 {
            return None;
        }
        let values = match column.physical_type() {
            Physical::BOOLEAN => Values::Bool(Vec::new()),
            Physical::INT32 => Values::Int32(Vec::new()),
            Physical::INT64 => Values::Int64(Vec::new()),
            Physical::INT96 => Values::Int96(Vec::new()),
            Physical::FLOAT => Values::Float(Vec::new()),
            Physical::DOUBLE => Values::Double(Vec::new()),
            Physical::BYTE_ARRAY => Values::Bytes(Vec::new()),
            Physical::FIXED_LEN_BYTE_ARRAY => Values::Fixed(Vec::new()),
        };
        Some(Self {
            index,
            name: column.path().string(),
            meaning: Meaning::of(column)?,
            defined: column.max_def_level(),
            reader: None,
            levels: Vec::new(),
            values,
            next: 0,
        })
    }

    /// Decodes the next rows of the row group; returns how many.
    fn load(&mut self, rows: usize) -> parquet::errors::Result<usize> {
        fn read<T: DataType>(
            reader: &mut ColumnReaderImpl<T>,
            rows: usize,
            levels: &mut Vec<i16>,
            values: &mut Vec<T::T>,
        ) -> parquet::errors::Result<usize> {
            values.clear();
            let mut total = 0;
            // one call may stop early at the end of a page
            while total < rows {
                let (records, ..) =
                    reader.read_records(rows - total, Some(levels), None, values)?;
                if records == 0 {
                    break;
                }
                total += records;
            }
            Ok(total)
        }
        self.levels.clear();
        self.next = 0;
        let levels = &mut self.levels;
        match (&mut self.reader, &mut self.values) {
            (Some(ColumnReader::BoolColumnReader(r)), Values::Bool(v)) => read(r, rows, levels, v),
            (Some(ColumnReader::Int32ColumnReader(r)), Values::Int32(v)) => {
                read(r, rows, levels, v)
            }
            (Some(ColumnReader::Int64ColumnReader(r)), Values::Int64(v)) => {
                read(r, rows, levels, v)
            }
            (Some(ColumnReader::Int96ColumnReader(r)), Values::Int96(v)) => {
                read(r, rows, levels, v)
            }
            (Some(ColumnReader::FloatColumnReader(r)), Values::Float(v)) => {
                read(r, rows, levels, v)
            }
            (Some(ColumnReader::DoubleColumnReader(r)), Values::Double(v)) => {
                read(r, rows, levels, v)
            }
            (Some(ColumnReader::ByteArrayColumnReader(r)), Values::Bytes(v)) => {
                read(r, rows, levels, v)
            }
            (Some(ColumnReader::FixedLenByteArrayColumnReader(r)), Values::Fixed(v)) => {
                read(r, rows, levels, v)
            }
            _ => Ok(0),
        }
    }

    /// The place in `values` of row `row` of the batch; `None` for a null. Asked once for each row,
    /// in order.
    fn place(&mut self, row: usize) -> Option<usize> {
        if self.defined > 0 && self.levels.get(row).copied() != Some(self.defined) {
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    fn bytes(&self, place: usize) -> Option<&[u8]> {
        match &self.values {
            Values::Bytes(values) => values.get(place).map(ByteArray::data),
            Values::Fixed(values) => values.get(place).map(|value| value.data()),
            _ => None,
        }
    }

    /// The value as JSON; `None` for bytes that are no text.
    fn json(&self, place: usize) -> Option<String> {
        let number = |value: i64| match self.meaning {
            Meaning::Date => quoted(&date(value)),
            Meaning::Decimal { scale } => decimal(i128::from(value), scale),
            Meaning::Timestamp { per_second, utc } => quoted(&timestamp(value, per_second, utc)),
            _ => value.to_string(),
        };
        let float = |value: f64, text: String| if value.is_finite() { text } else { "null".into() };
        Some(match &self.values {
            Values::Bool(values) => values.get(place)?.to_string(),
            Values::Int32(values) => match (*values.get(place)?, self.meaning) {
                (value, Meaning::Unsigned) => value.cast_unsigned().to_string(),
                (value, _) => number(i64::from(value)),
            },
            Values::Int64(values) => match (*values.get(place)?, self.meaning) {
                (value, Meaning::Unsigned) => value.cast_unsigned().to_string(),
                (value, _) => number(value),
            },
            Values::Int96(values) => {
                // the old form of a timestamp: nanoseconds of the day, then the Julian day
                let parts = values.get(place)?.data();
                let nanos = i128::from(parts[0]) | i128::from(parts[1]) << 32;
                let days = i128::from(parts[2]) - 2_440_588;
                let total = days * 86_400_000_000_000 + nanos;
                quoted(&timestamp(i64::try_from(total).ok()?, 1_000_000_000, false))
            }
            Values::Float(values) => {
                let value = *values.get(place)?;
                float(f64::from(value), serde_json::to_string(&value).ok()?)
            }
            Values::Double(values) => {
                let value = *values.get(place)?;
                float(value, serde_json::to_string(&value).ok()?)
            }
            Values::Bytes(_) | Values::Fixed(_) => {
                let bytes = self.bytes(place)?;
                match self.meaning {
                    Meaning::Text => quoted(&String::from_utf8_lossy(bytes)),
                    Meaning::Decimal { scale } => decimal(big_endian(bytes)?, scale),
                    Meaning::Uuid => quoted(&uuid(bytes)),
                    Meaning::Json => {
                        let text = std::str::from_utf8(bytes).ok()?;
                        match serde_json::from_str::<&serde_json::value::RawValue>(text) {
                            Ok(value) => value.get().to_owned(),
                            Err(_) => quoted(text),
                        }
                    }
                    _ => quoted(std::str::from_utf8(bytes).ok()?),
                }
            }
        })
    }
}

/// The rows of some row groups of one file.
pub(crate) struct Rows {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    text: Column,
    id: Option<Column>,
    others: Vec<Column>,
    utf8: Utf8Policy,
    groups: Range<usize>,
    /// Rows of the open row group that are not decoded yet.
    left: usize,
    /// Rows of the batch, and the next of them.
    batch: usize,
    row: usize,
    /// The next row's number in the file.
    position: u64,
    /// For the progress: stored bytes of the groups that are done, and of the open one, with its rows.
    consumed: u64,
    group_bytes: u64,
    in_group: u64,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Rows {
    pub(crate) fn open(
        input: &Input,
        range: Option<Range<u64>>,
        options: &ReadOptions,
    ) -> Result<Self> {
        let path = input.path();
        let reader = open(path, input.file()?)?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let place = text_column(path, schema, &options.text_key)?;
        let (mut text, mut id, mut others) = (None, None, Vec::new());
        for (index, descriptor) in schema.columns().iter().enumerate() {
            let Some(mut column) = Column::new(index, descriptor) else {
                if index == place {
                    return Err(Error::format(
                        path,
                        None,
                        format!("the column {:?} holds no strings", options.text_key),
                    ));
                }
                continue;
            };
            if index == place {
                column.meaning = Meaning::Text;
                text = Some(column);
            } else if column.name == options.id_key && is_id(&column) {
                id = Some(column);
            } else {
                others.push(column);
            }
        }
        let Some(text) = text else {
            return Err(Error::format(path, None, "no text column; name another text key"));
        };
        let all = reader.metadata().num_row_groups();
        let groups = match range {
            None => 0..all,
            Some(range) => (range.start as usize).min(all)..(range.end as usize).min(all),
        };
        let before = reader.metadata().row_groups()[..groups.start].iter();
        let position = before.map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).sum();
        Ok(Self {
            path: path.to_owned(),
            reader,
            text,
            id,
            others,
            utf8: options.utf8,
            groups,
            left: 0,
            batch: 0,
            row: 0,
            position,
            consumed: 0,
            group_bytes: 0,
            in_group: 0,
        })
    }

    /// The stored bytes that were read so far, in proportion to the rows.
    pub(crate) fn consumed(&self) -> u64 {
        let left = (self.left + self.batch - self.row) as u64;
        let done = u128::from(self.in_group.saturating_sub(left));
        let share = u128::from(self.group_bytes) * done / u128::from(self.in_group.max(1));
        self.consumed + share as u64
    }

    pub(crate) fn next(&mut self, task: &Task) -> Result<Option<Found>> {
        while self.row == self.batch {
            task.check()?;
            if self.left > 0 {
                self.load_batch()?;
            } else if let Some(group) = self.groups.next() {
                self.open_group(group)?;
            } else {
                return Ok(None);
            }
        }
        let row = self.row;
        self.row += 1;
        let position = self.position;
        self.position += 1;
        Ok(Some(self.document(row, position)))
    }

    fn columns(&mut self) -> impl Iterator<Item = &mut Column> {
        std::iter::once(&mut self.text).chain(&mut self.id).chain(&mut self.others)
    }

    fn open_group(&mut self, group: usize) -> Result<()> {
        let metadata = self.reader.metadata().row_group(group);
        let rows = u64::try_from(metadata.num_rows()).unwrap_or(0);
        self.consumed += self.group_bytes;
        self.group_bytes = u64::try_from(metadata.compressed_size()).unwrap_or(0).max(1);
        self.in_group = rows;
        let path = self.path.clone();
        guarded(&path, || {
            let group = self.reader.get_row_group(group)?;
            let columns = std::iter::once(&mut self.text).chain(&mut self.id);
            for column in columns.chain(&mut self.others) {
                column.reader = Some(group.get_column_reader(column.index)?);
            }
            Ok(())
        })?;
        self.left = rows as usize;
        Ok(())
    }

    fn load_batch(&mut self) -> Result<()> {
        let rows = self.left.min(BATCH);
        let path = self.path.clone();
        let whole = guarded(&path, || {
            let mut whole = true;
            for column in self.columns() {
                whole &= column.load(rows)? == rows;
            }
            Ok(whole)
        })?;
        if !whole {
            let reason =
                "broken Parquet (a column has fewer rows than its row group): get it again";
            return Err(Error::format(&self.path, None, reason));
        }
        self.left -= rows;
        (self.batch, self.row) = (rows, 0);
        Ok(())
    }

    fn document(&mut self, row: usize, position: u64) -> Found {
        let mut id = None;
        if let Some(column) = &mut self.id
            && let Some(place) = column.place(row)
        {
            id = match column.bytes(place) {
                Some(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
                None => column.json(place),
            };
        }
        let mut metadata = Metadata::default();
        for column in &mut self.others {
            let value = match column.place(row) {
                None => Some("null".to_owned()),
                Some(place) => column.json(place),
            };
            let Some(value) = value else { continue };
            if column.name == METADATA && column.meaning == Meaning::Json {
                match json::fields(&value) {
                    Ok(fields) => {
                        for (name, value) in fields {
                            metadata.push(&name, value);
                        }
                        continue;
                    }
                    Err(_) if value == "null" => continue,
                    Err(_) => {}
                }
            }
            metadata.push(&column.name, &value);
        }
        let Some(place) = self.text.place(row) else {
            let detail = format!("the column {:?} is null", self.text.name);
            return Found::Bad { position, reason: BadReason::NullText, detail };
        };
        match utf8::decode(self.text.bytes(place).unwrap_or_default(), self.utf8) {
            Err(offset) => Found::Bad {
                position,
                reason: BadReason::IllFormedUtf8,
                detail: format!("not UTF-8, {offset} bytes into the text"),
            },
            Ok((text, replaced)) => Found::Document {
                text: text.into_owned(),
                replaced,
                id,
                metadata: metadata.finish(),
            },
        }
    }
}

fn is_id(column: &Column) -> bool {
    match column.values {
        Values::Int32(_) | Values::Int64(_) => {
            matches!(column.meaning, Meaning::Plain | Meaning::Unsigned)
        }
        Values::Bytes(_) => matches!(column.meaning, Meaning::Plain | Meaning::Text),
        _ => false,
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    json::push_string(&mut out, text);
    out
}

/// `value / 10^scale`, with all its digits.
fn decimal(value: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale.min(60) + 1);
    let (whole, part) = digits.split_at(digits.len() - scale.min(60));
    let sign = if value < 0 { "-" } else { "" };
    let point = if part.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{part}")
}

fn big_endian(bytes: &[u8]) -> Option<i128> {
    if bytes.is_empty() || bytes.len() > 16 {
        return None;
    }
    let mut all = [if bytes[0] & 0x80 == 0 { 0 } else { 0xff }; 16];
    all[16 - bytes.len()..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(all))
}

fn uuid(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The date that lies `days` after 1970-01-01, in the Gregorian calendar, as ISO 8601.
fn date(days: i64) -> String {
    // 400 years are 146,097 days; count them from 1 March, so that the leap day comes last
    let days = i128::from(days) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A moment counted in `per_second` from 1970 on, as ISO 8601 with as many digits as it has.
fn timestamp(value: i64, per_second: i64, utc: bool) -> String {
    let seconds = value.div_euclid(per_second);
    let part = value.rem_euclid(per_second);
    let of_day = seconds.rem_euclid(86_400);
    let digits = per_second.ilog10() as usize;
    let fraction = if part == 0 { String::new() } else { format!(".{part:0digits$}") };
    format!(
        "{}T{:02}:{:02}:{:02}{fraction}{}",
        date(seconds.div_euclid(86_400)),
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60,
        if utc { "Z" } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_written_as_iso_8601() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(-719_162), "0001-01-01");
        assert_eq!(date(20_780), "2026-11-23");
        assert_eq!(timestamp(1_555_814_442_000, 1_000, true), "2019-04-21T02:40:42Z");
        assert_eq!(timestamp(-1, 1_000_000, false), "1969-12-31T23:59:59.999999");
        date(i64::MAX);
        timestamp(i64::MIN, 1_000, true);
    }

    #[test]
    fn decimals_keep_their_digits() {
        assert_eq!(decimal(-5, 3), "-0.005");
        assert_eq!(decimal(12_345, 2), "123.45");
        assert_eq!(decimal(7, 0), "7");
        assert_eq!(big_endian(&[0xff, 0xfe]), Some(-2));
        assert_eq!(big_endian(&[0; 17]), None);
    }
}
