//! Decodes one column of a Parquet file, a batch of rows at a time.

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray, Int96};
use parquet::schema::types::ColumnDescriptor;

use crate::parquet::value::{big_endian, date, decimal, quoted, timestamp, uuid};

/// What the physical values of a column represent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    /// The physical value itself.
    Plain,
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
    /// Returns the kind by the column's logical type, or by the older converted type; `None` if it
    /// is not supported.
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
                // half floats, geometry, variants and types defined later
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

/// The values of a batch that are not null, in the order of the rows.
#[derive(Debug)]
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

/// One column without repetition, and its values in the current batch.
pub(super) struct ParquetColumn {
    /// The index in the schema.
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) kind: ValueKind,
    /// The definition level of a value that is not null.
    defined_level: i16,
    /// The reader of the open row group.
    pub(super) reader: Option<ColumnReader>,
    /// The definition level of each row; empty if the column cannot be null.
    levels: Vec<i16>,
    values: Values,
    /// The index of the next value that is not null.
    next_value: usize,
}

impl std::fmt::Debug for ParquetColumn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetColumn").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ParquetColumn {
    /// Returns the column, or `None` if it has lists or an unsupported type.
    pub(super) fn new(index: usize, column: &ColumnDescriptor) -> Option<Self> {
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
            kind: ValueKind::of(column)?,
            defined_level: column.max_def_level(),
            reader: None,
            levels: Vec::new(),
            values,
            next_value: 0,
        })
    }

    /// Decodes the next `rows` rows of the row group, and returns their number: fewer at its end.
    pub(super) fn load(&mut self, rows: usize) -> parquet::errors::Result<usize> {
        fn read<T: DataType>(
            reader: &mut ColumnReaderImpl<T>,
            rows: usize,
            levels: &mut Vec<i16>,
            values: &mut Vec<T::T>,
        ) -> parquet::errors::Result<usize> {
            values.clear();
            let mut total = 0;
            // one call may stop at the end of a page
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
        macro_rules! read_values {
            ($($reader:ident => $values:ident),+ $(,)?) => {
                match (&mut self.reader, &mut self.values) {
                    $((Some(ColumnReader::$reader(reader)), Values::$values(values)) => {
                        read(reader, rows, &mut self.levels, values)
                    })+
                    // a reader of another type than the schema's: as if the column had ended
                    _ => Ok(0),
                }
            };
        }
        self.levels.clear();
        self.next_value = 0;
        read_values! {
            BoolColumnReader => Bool,
            Int32ColumnReader => Int32,
            Int64ColumnReader => Int64,
            Int96ColumnReader => Int96,
            FloatColumnReader => Float,
            DoubleColumnReader => Double,
            ByteArrayColumnReader => Bytes,
            FixedLenByteArrayColumnReader => Fixed,
        }
    }

    /// Returns the index in `values` of row `row` of the batch, or `None` for a null.
    ///
    /// Must be called once for each row, in order.
    pub(super) fn value_index(&mut self, row: usize) -> Option<usize> {
        if self.defined_level > 0 && self.levels.get(row).copied() != Some(self.defined_level) {
            return None;
        }
        self.next_value += 1;
        Some(self.next_value - 1)
    }

    /// Returns the bytes of a value, or `None` if the column has no bytes.
    pub(super) fn bytes(&self, index: usize) -> Option<&[u8]> {
        match &self.values {
            Values::Bytes(values) => values.get(index).map(ByteArray::data),
            Values::Fixed(values) => values.get(index).map(|value| value.data()),
            _ => None,
        }
    }

    /// Returns a value as JSON, or `None` for bytes that are not UTF-8.
    pub(super) fn json(&self, index: usize) -> Option<String> {
        let number = |value: i64| match self.kind {
            ValueKind::Date => quoted(&date(value)),
            ValueKind::Decimal { scale } => decimal(i128::from(value), scale),
            ValueKind::Timestamp { per_second, utc } => quoted(&timestamp(value, per_second, utc)),
            _ => value.to_string(),
        };
        let float = |value: f64, text: String| if value.is_finite() { text } else { "null".into() };
        Some(match &self.values {
            Values::Bool(values) => values.get(index)?.to_string(),
            Values::Int32(values) => match (*values.get(index)?, self.kind) {
                (value, ValueKind::Unsigned) => value.cast_unsigned().to_string(),
                (value, _) => number(i64::from(value)),
            },
            Values::Int64(values) => match (*values.get(index)?, self.kind) {
                (value, ValueKind::Unsigned) => value.cast_unsigned().to_string(),
                (value, _) => number(value),
            },
            Values::Int96(values) => {
                // the deprecated timestamp: nanoseconds of the day, then the Julian day
                let parts = values.get(index)?.data();
                let nanos = i128::from(parts[0]) | i128::from(parts[1]) << 32;
                let days = i128::from(parts[2]) - 2_440_588;
                let total = days * 86_400_000_000_000 + nanos;
                quoted(&timestamp(i64::try_from(total).ok()?, 1_000_000_000, false))
            }
            Values::Float(values) => {
                let value = *values.get(index)?;
                float(f64::from(value), serde_json::to_string(&value).ok()?)
            }
            Values::Double(values) => {
                let value = *values.get(index)?;
                float(value, serde_json::to_string(&value).ok()?)
            }
            Values::Bytes(_) | Values::Fixed(_) => {
                let bytes = self.bytes(index)?;
                match self.kind {
                    ValueKind::Text => quoted(&String::from_utf8_lossy(bytes)),
                    ValueKind::Decimal { scale } => decimal(big_endian(bytes)?, scale),
                    ValueKind::Uuid => quoted(&uuid(bytes)),
                    ValueKind::Json => {
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

    /// Returns whether the values can be ids: integers or strings.
    pub(super) fn is_id(&self) -> bool {
        match self.values {
            Values::Int32(_) | Values::Int64(_) => {
                matches!(self.kind, ValueKind::Plain | ValueKind::Unsigned)
            }
            Values::Bytes(_) => matches!(self.kind, ValueKind::Plain | ValueKind::Text),
            _ => false,
        }
    }
}
