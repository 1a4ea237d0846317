//! Reading and writing beside computing, inside a partition.

use lslm_runtime::Result;
use rayon::prelude::*;

/// Computes on one batch of chunks while the results of the one before go to `write`, in order, and
/// the next is read.
///
/// `read` returns up to a few megabytes of chunks, none at the end. Must run on a thread of the
/// pool: idle threads of it take chunks, so one large input keeps all of them busy.
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
    fn overlapped_results_keep_the_order_of_reading() {
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
