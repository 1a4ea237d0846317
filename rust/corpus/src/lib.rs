//! Documents in and out: text, JSONL, Parquet; gzip, zstd; standard input
