//! Repair, normalise, filter, redact and deduplicate text, with a reason for every drop
