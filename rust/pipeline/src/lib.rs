//! One parallel, resumable pass: corpus, clean, bpe, dataset
