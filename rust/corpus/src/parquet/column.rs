//! The leaves of a Parquet schema, and their values in a batch of rows.
//!
//! A leaf is a column of Parquet: a path to values of one physical type. Its definition levels say
//! how much of the path is there, its repetition levels which list is continued, so that rows with
//! nested fields can be copied to another file without being put together (Dremel, section 4).

use std::ops::Range;

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray, Int96};
use parquet::schema::types::ColumnDescriptor;

use crate::parquet::value::{base64, big_endian, date, decimal, half, quoted, timestamp, uuid};

/// What the physical values of a column represent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    /// The physical value itself; bytes are binary data.
    Plain,
    Half,
    Unsigned,
    Text,
    Json,
    Uuid,
    Date,
    Decimal {
        scale: usize,
    },
    Timestamp {
        per_second: i64,
        utc: bool,
    },
}

impl ValueKind {
    /// Returns the kind by the column's logical type, or by the older converted type.
    fn of(column: &ColumnDescriptor) -> Self {
        let scale = usize::try_from(column.type_scale()).unwrap_or(0);
        if let Some(logical) = column.logical_type_ref() {
            return match logical {
                LogicalType::String | LogicalType::Enum => Self::Text,
                LogicalType::Json => Self::Json,
                LogicalType::Uuid => Self::Uuid,
                LogicalType::Date => Self::Date,
                LogicalType::Decimal(_) => Self::Decimal { scale },
                LogicalType::Integer(integer) if !integer.is_signed => Self::Unsigned,
                LogicalType::Timestamp(timestamp) => Self::Timestamp {
                    per_second: match timestamp.unit {
                        TimeUnit::MILLIS => 1_000,
                        TimeUnit::MICROS => 1_000_000,
                        TimeUnit::NANOS => 1_000_000_000,
                    },
                    utc: timestamp.is_adjusted_to_u_t_c,
                },
                LogicalType::Float16 => Self::Half,
                // signed integers and times of day as they are; of geometry, variants and types
                // defined later the bytes
                _ => Self::Plain,
            };
        }
        match column.converted_type() {
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
            _ => Self::Plain,
        }
    }
}

/// The values of a batch that are not null, in the order of the rows.
#[derive(Clone, Debug)]
pub(super) enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

impl Values {
    pub(super) fn new(physical: Physical) -> Self {
        match physical {
            Physical::BOOLEAN => Self::Bool(Vec::new()),
            Physical::INT32 => Self::Int32(Vec::new()),
            Physical::INT64 => Self::Int64(Vec::new()),
            Physical::INT96 => Self::Int96(Vec::new()),
            Physical::FLOAT => Self::Float(Vec::new()),
            Physical::DOUBLE => Self::Double(Vec::new()),
            Physical::BYTE_ARRAY => Self::Bytes(Vec::new()),
            Physical::FIXED_LEN_BYTE_ARRAY => Self::Fixed(Vec::new()),
        }
    }

    /// Appends a range of values of the same physical type; returns their size in bytes.
    pub(super) fn extend(&mut self, from: &Self, range: Range<usize>) -> usize {
        fn append<T: Clone>(to: &mut Vec<T>, from: &[T], range: Range<usize>) -> usize {
            let added = from.get(range).unwrap_or_default();
            to.extend_from_slice(added);
            size_of_val(added)
        }
        match (self, from) {
            (Self::Bool(to), Self::Bool(from)) => append(to, from, range),
            (Self::Int32(to), Self::Int32(from)) => append(to, from, range),
            (Self::Int64(to), Self::Int64(from)) => append(to, from, range),
            (Self::Int96(to), Self::Int96(from)) => append(to, from, range),
            (Self::Float(to), Self::Float(from)) => append(to, from, range),
            (Self::Double(to), Self::Double(from)) => append(to, from, range),
            (Self::Bytes(to), Self::Bytes(from)) => {
                let size = from.get(range.clone()).unwrap_or_default().iter().map(ByteArray::len);
                size.sum::<usize>() + append(to, from, range)
            }
            (Self::Fixed(to), Self::Fixed(from)) => {
                let added = from.get(range.clone()).unwrap_or_default().iter();
                added.map(|value| value.len()).sum::<usize>() + append(to, from, range)
            }
            _ => 0,
        }
    }

    /// Returns the bytes of a value, or `None` if the column has no bytes.
    pub(super) fn bytes(&self, index: usize) -> Option<&[u8]> {
        match self {
            Self::Bytes(values) => values.get(index).map(ByteArray::data),
            Self::Fixed(values) => values.get(index).map(|value| value.data()),
            _ => None,
        }
    }

    /// Returns a value as JSON. Numbers that JSON does not have, such as NaN, are null.
    pub(super) fn json(&self, index: usize, kind: ValueKind) -> String {
        self.try_json(index, kind).unwrap_or_else(|| "null".to_owned())
    }

    fn try_json(&self, index: usize, kind: ValueKind) -> Option<String> {
        let number = |value: i64| match kind {
            ValueKind::Date => quoted(&date(value)),
            ValueKind::Decimal { scale } => decimal(i128::from(value), scale),
            ValueKind::Timestamp { per_second, utc } => quoted(&timestamp(value, per_second, utc)),
            _ => value.to_string(),
        };
        Some(match self {
            Self::Bool(values) => values.get(index)?.to_string(),
            Self::Int32(values) => match (*values.get(index)?, kind) {
                (value, ValueKind::Unsigned) => value.cast_unsigned().to_string(),
                (value, _) => number(i64::from(value)),
            },
            Self::Int64(values) => match (*values.get(index)?, kind) {
                (value, ValueKind::Unsigned) => value.cast_unsigned().to_string(),
                (value, _) => number(value),
            },
            Self::Int96(values) => {
                // the deprecated timestamp: nanoseconds of the day, then the Julian day
                let parts = values.get(index)?.data();
                let nanos = i128::from(parts[0]) | i128::from(parts[1]) << 32;
                let days = i128::from(parts[2]) - 2_440_588;
                let total = days * 86_400_000_000_000 + nanos;
                quoted(&timestamp(i64::try_from(total).ok()?, 1_000_000_000, false))
            }
            // serde_json writes a number that JSON does not have as null
            Self::Float(values) => serde_json::to_string(values.get(index)?).ok()?,
            Self::Double(values) => serde_json::to_string(values.get(index)?).ok()?,
            Self::Bytes(_) | Self::Fixed(_) => bytes_json(self.bytes(index)?, kind)?,
        })
    }
}

/// Returns a value of bytes as JSON: text as a string, binary data as a string in Base64.
fn bytes_json(bytes: &[u8], kind: ValueKind) -> Option<String> {
    Some(match kind {
        ValueKind::Text => quoted(&String::from_utf8_lossy(bytes)),
        ValueKind::Decimal { scale } => match big_endian(bytes) {
            Some(value) => decimal(value, scale),
            None => quoted(&base64(bytes)),
        },
        ValueKind::Uuid => quoted(&uuid(bytes)),
        ValueKind::Half => serde_json::to_string(&half(bytes)?).ok()?,
        ValueKind::Json => {
            let text = String::from_utf8_lossy(bytes);
            match serde_json::from_str::<&serde_json::value::RawValue>(&text) {
                Ok(value) => value.get().to_owned(),
                Err(_) => quoted(&text),
            }
        }
        _ => quoted(&base64(bytes)),
    })
}

/// One leaf of a schema.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// The names from the top to the leaf, joined by dots.
    pub(super) name: String,
    pub(super) kind: ValueKind,
    pub(super) physical: Physical,
    /// The definition level of a value that is not null.
    pub(super) max_def: i16,
    /// The number of lists around a value.
    pub(super) max_rep: i16,
}

impl Leaf {
    pub(super) fn new(column: &ColumnDescriptor) -> Self {
        Self {
            name: column.path().string(),
            kind: ValueKind::of(column),
            physical: column.physical_type(),
            max_def: column.max_def_level(),
            max_rep: column.max_rep_level(),
        }
    }

    /// Returns whether the values can be ids: integers or strings.
    pub(super) fn is_id(&self) -> bool {
        self.max_rep == 0
            && match self.physical {
                Physical::INT32 | Physical::INT64 => {
                    matches!(self.kind, ValueKind::Plain | ValueKind::Unsigned)
                }
                Physical::BYTE_ARRAY => matches!(self.kind, ValueKind::Plain | ValueKind::Text),
                _ => false,
            }
    }
}

/// The values of one leaf in a batch of rows.
#[derive(Debug)]
pub(super) struct LeafBatch {
    pub(super) values: Values,
    /// The definition level of each entry; empty if no value can be null.
    pub(super) defs: Vec<i16>,
    /// The repetition level of each entry; empty without lists.
    pub(super) reps: Vec<i16>,
    /// Where each row starts, in entries and in values; and where the last one ends.
    starts: Vec<(u32, u32)>,
}

impl LeafBatch {
    pub(super) fn new(leaf: &Leaf) -> Self {
        Self {
            values: Values::new(leaf.physical),
            defs: Vec::new(),
            reps: Vec::new(),
            starts: Vec::new(),
        }
    }

    /// Decodes the next `rows` rows of a row group, and returns their number: fewer at its end.
    pub(super) fn load(
        &mut self,
        leaf: &Leaf,
        reader: &mut ColumnReader,
        rows: usize,
    ) -> parquet::errors::Result<usize> {
        fn read<T: DataType>(
            reader: &mut ColumnReaderImpl<T>,
            rows: usize,
            (defs, reps): (&mut Vec<i16>, &mut Vec<i16>),
            values: &mut Vec<T::T>,
        ) -> parquet::errors::Result<usize> {
            values.clear();
            let mut total = 0;
            // one call may stop at the end of a page
            while total < rows {
                let (records, ..) =
                    reader.read_records(rows - total, Some(defs), Some(reps), values)?;
                if records == 0 {
                    break;
                }
                total += records;
            }
            Ok(total)
        }
        self.defs.clear();
        self.reps.clear();
        let levels = (&mut self.defs, &mut self.reps);
        macro_rules! read_values {
            ($($reader:ident => $values:ident),+ $(,)?) => {
                match (reader, &mut self.values) {
                    $((ColumnReader::$reader(reader), Values::$values(values)) => {
                        read(reader, rows, levels, values)
                    })+
                    // a reader of another type than the schema's: as if the column had ended
                    _ => Ok(0),
                }
            };
        }
        let rows = read_values! {
            BoolColumnReader => Bool,
            Int32ColumnReader => Int32,
            Int64ColumnReader => Int64,
            Int96ColumnReader => Int96,
            FloatColumnReader => Float,
            DoubleColumnReader => Double,
            ByteArrayColumnReader => Bytes,
            FixedLenByteArrayColumnReader => Fixed,
        }?;
        self.find_rows(leaf, rows);
        Ok(rows)
    }

    fn find_rows(&mut self, leaf: &Leaf, rows: usize) {
        self.starts.clear();
        let entries = if leaf.max_def > 0 { self.defs.len() } else { rows };
        let mut values = 0;
        for entry in 0..entries {
            if leaf.max_rep == 0 || self.reps.get(entry) == Some(&0) {
                self.starts.push((entry as u32, values));
            }
            values += u32::from(leaf.max_def == 0 || self.defs[entry] == leaf.max_def);
        }
        self.starts.push((entries as u32, values));
    }

    /// Returns the entries and the values of row `row` of the batch.
    pub(super) fn row(&self, row: usize) -> (Range<usize>, Range<usize>) {
        let at = |row: usize| {
            let start = self.starts.get(row).or(self.starts.last()).copied().unwrap_or_default();
            (start.0 as usize, start.1 as usize)
        };
        let ((entry, value), (next_entry, next_value)) = (at(row), at(row + 1));
        (entry..next_entry, value..next_value)
    }
}
