//! [`Sample`]: a uniform sample of documents that does not depend on their order.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Keeps documents of up to a given total size, each document with equal probability.
///
/// A document's priority is the hash of the seed and its content; the sample is the documents of
/// smallest priority that fit together. So it is the same for any order, any number of files and,
/// with [`Sample::merge`], any number of threads. Equal documents have equal priorities: all or
/// none of them are in the sample.
///
/// ```
/// use lslm_bpe::train::Sample;
///
/// let mut sample = Sample::new(0, 10);
/// for document in ["one", "two", "three", "four"] {
///     sample.offer(document.as_bytes());
/// }
/// assert!(sample.is_full() && sample.bytes() <= 10);
/// ```
#[derive(Clone, Debug)]
pub struct Sample {
    seed: u64,
    max_bytes: u64,
    /// By priority; equal documents are one entry with their number.
    kept: BTreeMap<(u64, Box<[u8]>), u64>,
    bytes: u64,
    /// Priorities from here on do not fit.
    end: Option<u64>,
}

impl Sample {
    /// Returns an empty sample of at most `bytes` bytes.
    pub fn new(seed: u64, bytes: u64) -> Self {
        Self { seed, max_bytes: bytes, kept: BTreeMap::new(), bytes: 0, end: None }
    }

    /// Offers one document.
    pub fn offer(&mut self, document: &[u8]) {
        let priority = xxh3_64_with_seed(document, self.seed);
        if self.end.is_none_or(|end| priority < end) {
            self.keep(priority, document.into(), 1);
        }
    }

    /// Adds `times` equal documents, then removes those that no longer fit.
    fn keep(&mut self, priority: u64, document: Box<[u8]>, times: u64) {
        self.bytes += document.len() as u64 * times;
        *self.kept.entry((priority, document)).or_default() += times;
        while self.bytes > self.max_bytes
            && let Some(last) = self.kept.last_entry()
        {
            let end = last.key().0;
            self.end = Some(end);
            while let Some(last) = self.kept.last_entry()
                && last.key().0 == end
            {
                let ((_, document), times) = last.remove_entry();
                self.bytes -= document.len() as u64 * times;
            }
        }
    }

    /// Offers all documents that `other` was offered; both must have the same seed and size.
    pub fn merge(&mut self, other: Self) {
        if let Some(end) = other.end {
            self.end = Some(self.end.map_or(end, |own| own.min(end)));
        }
        let end = self.end;
        self.kept.retain(|(priority, document), times| {
            let stays = end.is_none_or(|end| *priority < end);
            self.bytes -= if stays { 0 } else { document.len() as u64 * *times };
            stays
        });
        for ((priority, document), times) in other.kept {
            if self.end.is_none_or(|end| priority < end) {
                self.keep(priority, document, times);
            }
        }
    }

    /// Returns the bytes of the documents kept so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns whether documents were left out.
    pub fn is_full(&self) -> bool {
        self.end.is_some()
    }

    /// Returns the documents by priority, each with the number of times it was offered.
    pub fn documents(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.kept.iter().map(|((_, document), &times)| (&**document, times))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(documents: &[Vec<u8>], seed: u64, bytes: u64) -> Sample {
        let mut sample = Sample::new(seed, bytes);
        for document in documents {
            sample.offer(document);
        }
        sample
    }

    fn list(sample: &Sample) -> Vec<(Vec<u8>, u64)> {
        sample.documents().map(|(document, times)| (document.to_vec(), times)).collect()
    }

    /// The sample by definition.
    fn naive(documents: &[Vec<u8>], seed: u64, bytes: u64) -> Vec<(Vec<u8>, u64)> {
        let mut groups: BTreeMap<u64, Vec<&Vec<u8>>> = BTreeMap::new();
        for document in documents {
            groups.entry(xxh3_64_with_seed(document, seed)).or_default().push(document);
        }
        let mut left = bytes;
        let mut list = Vec::new();
        for group in groups.into_values() {
            let size: u64 = group.iter().map(|document| document.len() as u64).sum();
            let Some(rest) = left.checked_sub(size) else { break };
            left = rest;
            list.push((group[0].clone(), group.len() as u64));
        }
        list
    }

    proptest! {
        #[test]
        fn the_sample_does_not_depend_on_the_order(
            mut documents in proptest::collection::vec(
                proptest::collection::vec(0..2u8, 0..6), 0..60),
            cut in 0..60usize,
            seed in 0..9u64,
            bytes in 0..200u64,
        ) {
            let expected = naive(&documents, seed, bytes);
            prop_assert_eq!(&list(&take(&documents, seed, bytes)), &expected);
            let (one, two) = documents.split_at(cut.min(documents.len()));
            let mut both = take(two, seed, bytes);
            both.merge(take(one, seed, bytes));
            prop_assert_eq!(&list(&both), &expected);
            let size: u64 = expected.iter().map(|(d, times)| d.len() as u64 * times).sum();
            prop_assert_eq!(both.bytes(), size);
            documents.reverse();
            prop_assert_eq!(&list(&take(&documents, seed, bytes)), &expected);
        }
    }

    #[test]
    fn every_document_is_equally_likely() {
        let documents: Vec<Vec<u8>> = (0..100u8).map(|n| vec![n; 10]).collect();
        let mut times = [0; 100];
        for seed in 0..2000 {
            let sample = take(&documents, seed, 200);
            assert!(sample.is_full());
            assert_eq!(sample.bytes(), 200);
            for (document, _) in sample.documents() {
                times[usize::from(document[0])] += 1;
            }
        }
        // 400 expected, with a standard deviation of 18.
        assert!(times.iter().all(|times| (310..490).contains(times)), "{times:?}");
    }
}
