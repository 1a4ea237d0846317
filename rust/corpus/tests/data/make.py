"""Makes foreign.parquet: columns of every kind as another writer writes them (pyarrow; see its created_by)."""

import datetime
import decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

utc = datetime.UTC
table = pa.table(
    {
        "id": pa.array([1, 2, None, 4], pa.int64()),
        "content": pa.array(["one\n", None, "drei ß", ""], pa.string()),
        "large": pa.array(["a", "b", None, '"d"'], pa.large_string()),
        "kind": pa.array(["x", "y", "x", None]).dictionary_encode(),
        "flag": pa.array([True, None, False, True]),
        "small": pa.array([255, 0, None, 7], pa.uint8()),
        "big": pa.array([2**64 - 1, 0, None, 1], pa.uint64()),
        "negative": pa.array([-(2**63), -1, None, 0], pa.int64()),
        "score": pa.array([0.1, float("nan"), None, -1e300], pa.float64()),
        "half": pa.array([0.1, float("inf"), None, 2.0], pa.float32()),
        "price": pa.array(
            [decimal.Decimal("-1.05"), None, decimal.Decimal("12.30"), decimal.Decimal(0)],
            pa.decimal128(20, 2),
        ),
        "day": pa.array(
            [
                datetime.date(2024, 2, 29),
                None,
                datetime.date(1969, 12, 31),
                datetime.date(1970, 1, 1),
            ]
        ),
        "when": pa.array(
            [datetime.datetime(2019, 4, 21, 2, 40, 42, tzinfo=utc), None, None, None],
            pa.timestamp("us", "UTC"),
        ),
        "local": pa.array(
            [datetime.datetime(2019, 4, 21, 2, 40, 42, 500000), None, None, None],
            pa.timestamp("ms"),
        ),
        "raw": pa.array([b"bytes", b"\xff\xfe", None, b""]),
        "tags": pa.array([["a", "b"], [], None, ["c"]]),
        "nested": pa.array(
            [{"url": "u", "n": 1}, None, {"url": None, "n": 2}, {"url": "v", "n": None}]
        ),
    }
)
pq.write_table(
    table, Path(__file__).with_name("foreign.parquet"), row_group_size=3, compression="snappy"
)

brotli = pa.table({"text": ["a", "b"]})
pq.write_table(brotli, Path(__file__).with_name("brotli.parquet"), compression="brotli")
