//! How the documents of a source become rows.

/// How the documents of a source become rows of T + 1 tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Windows over all documents, one after the other: no padding, and documents are cut anywhere.
    #[default]
    Concat,
    /// Whole documents, as many as fit; only one that is longer than a row is cut.
    BestFit,
    /// One document, or a part of one that is longer than a row; the rest is padding.
    Document,
}

impl Packing {
    /// All kinds of packing.
    pub const ALL: [Self; 3] = [Self::Concat, Self::BestFit, Self::Document];

    /// Returns the name, as a state stores it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Concat => "concat",
            Self::BestFit => "best_fit",
            Self::Document => "document",
        }
    }

    /// Returns the packing called `name`, or `None`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|packing| packing.name() == name)
    }
}
