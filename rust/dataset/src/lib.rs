//! Token datasets: shard format, writer, memory map, order, mixture
