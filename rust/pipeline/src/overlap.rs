//! Overlaps reading, computing and writing inside a partition.

use lslm_runtime::Result;
use rayon::prelude::*;

/// Passes the chunks of `read` through `compute` to `write`, in order.
///
/// While one batch of chunks is computed on, the results of the batch before are written and the
/// next batch is read:
///
/// ```text
/// batch = read()
/// until batch is empty, join:
///     computed = compute(chunk) for each chunk of batch, on all threads
///     write(results) of the batch before, then next = read()
/// ```
///
/// `read` returns up to a few megabytes of chunks, and none at the end. Must run on a thread of the
/// pool, whose idle threads steal chunks, so that one large input occupies all of them.
pub(crate) fn overlap<C: Send, R: Send>(
    mut read: impl FnMut() -> Result<Vec<C>> + Send,
    compute: impl Fn(C) -> Result<R> + Sync,
    mut write: impl FnMut(R) -> Result<()> + Send,
) -> Result<()> {
    let mut batch = read()?;
    let mut results = Vec::new();
    while !batch.is_empty() {
        let (computed, (written, next)) = rayon::join(
            || batch.into_par_iter().with_max_len(1).map(&compute).collect::<Vec<Result<R>>>(),
            || (results.into_iter().try_for_each(&mut write), read()),
        );
        written?;
        results = computed.into_iter().collect::<Result<_>>()?;
        batch = next?;
    }
    results.into_iter().try_for_each(write)
}

#[cfg(test)]
mod tests {
    use lslm_runtime::threads;

    use super::*;

    #[test]
    fn results_are_written_in_reading_order() {
        let pool = threads::pool(2).unwrap();
        let mut batches = (0..20_u32).map(|b| (b * 10..b * 10 + 10).collect::<Vec<_>>());
        let mut written = Vec::new();
        pool.install(|| {
            overlap(
                || Ok(batches.next().unwrap_or_default()),
                |x| Ok(x * 2),
                |y| {
                    written.push(y);
                    Ok(())
                },
            )
        })
        .unwrap();
        assert_eq!(written, (0..200).map(|x| x * 2).collect::<Vec<_>>());
    }
}
