//! The kinds of private data: their names in a configuration, in counts, and as placeholders.

/// A kind of private data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// An e-mail address.
    Email,
    /// A public IPv4 address.
    Ipv4,
    /// A public IPv6 address.
    Ipv6,
    /// A hardware address.
    Mac,
    /// A telephone number.
    Phone,
    /// A number of an identity card: Chinese, or of Hong Kong.
    Identity,
    /// A number of a passport, after that word.
    Passport,
    /// A unified social credit code, which Chinese organisations and sole traders have.
    CreditCode,
    /// A US social security number.
    Ssn,
    /// A number of a bank card.
    Card,
    /// An international bank account number.
    Iban,
    /// A name in QQ or WeChat, after that word.
    Account,
    /// A key or token of an online service.
    ApiKey,
    /// A JSON web token.
    Jwt,
    /// A private key in PEM form.
    PrivateKey,
}

/// What a [`Kind`] is called.
#[derive(Debug)]
pub(crate) struct KindEntry {
    /// The kind.
    pub(crate) kind: Kind,
    /// Its name in a configuration.
    pub(crate) name: &'static str,
    /// The name under which its matches are counted.
    pub(crate) count: &'static str,
    /// What stands for a match.
    pub(crate) placeholder: &'static str,
}

macro_rules! kinds {
    ($($kind:ident $name:literal $placeholder:literal,)+) => {
        [$(KindEntry {
            kind: Kind::$kind,
            name: $name,
            count: concat!("redact.", $name),
            placeholder: $placeholder,
        }),+]
    };
}

/// All kinds, in the order of [`Kind`].
pub(crate) static KINDS: [KindEntry; 15] = kinds![
    Email "email" "<EMAIL>",
    Ipv4 "ipv4" "<IPV4>",
    Ipv6 "ipv6" "<IPV6>",
    Mac "mac" "<MAC>",
    Phone "phone" "<PHONE>",
    Identity "identity" "<IDENTITY>",
    Passport "passport" "<PASSPORT>",
    CreditCode "credit_code" "<CREDIT_CODE>",
    Ssn "ssn" "<SSN>",
    Card "card" "<CARD>",
    Iban "iban" "<IBAN>",
    Account "account" "<ACCOUNT>",
    ApiKey "api_key" "<API_KEY>",
    Jwt "jwt" "<JWT>",
    PrivateKey "private_key" "<PRIVATE_KEY>",
];

impl Kind {
    /// Returns the name and placeholder.
    pub(crate) fn entry(self) -> &'static KindEntry {
        &KINDS[self as usize]
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KindSet(u16);

impl KindSet {
    #[cfg(test)]
    pub(crate) const ALL: Self = Self((1 << KINDS.len()) - 1);
    pub(crate) const NONE: Self = Self(0);

    #[must_use]
    pub(crate) fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u16)
    }

    pub(crate) fn has(self, kind: Kind) -> bool {
        self.0 >> (kind as u16) & 1 == 1
    }
}
