//! Formats values of Parquet columns as JSON and ISO 8601.

use crate::jsonl::write::push_string;

/// Returns `text` as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_string(&mut out, text);
    out
}

/// Returns `value / 10^scale` with all its digits.
pub(super) fn decimal(value: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale.min(60) + 1);
    let (whole, part) = digits.split_at(digits.len() - scale.min(60));
    let sign = if value < 0 { "-" } else { "" };
    let point = if part.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{part}")
}

/// Returns the big-endian integer in two's complement, or `None` unless it has 1 to 16 bytes.
pub(super) fn big_endian(bytes: &[u8]) -> Option<i128> {
    if bytes.is_empty() || bytes.len() > 16 {
        return None;
    }
    let mut all = [if bytes[0] & 0x80 == 0 { 0 } else { 0xff }; 16];
    all[16 - bytes.len()..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(all))
}

/// Returns the number of a half float (IEEE 754 binary16, little-endian).
pub(super) fn half(bytes: &[u8]) -> Option<f64> {
    let bits = u16::from_le_bytes(bytes.try_into().ok()?);
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let value = match exponent {
        0 => fraction * 2_f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    Some(if bits >> 15 == 1 { -value } else { value })
}

/// Returns bytes in Base64 (RFC 4648, section 4).
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            if digit <= chunk.len() {
                out.push(char::from(ALPHABET[bits >> (18 - 6 * digit) & 0x3f]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// Returns 16 bytes as a UUID, in five groups of hexadecimal digits.
pub(super) fn uuid(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Returns the date `days` after 1970-01-01 as ISO 8601, in the Gregorian calendar.
///
/// The algorithm is Howard Hinnant's `civil_from_days`: years start on 1 March, so that the leap
/// day is the last of its year.
pub(super) fn date(days: i64) -> String {
    // 719,468 days lie between 0000-03-01 and 1970-01-01, and an era of 400 years has 146,097
    let days = i128::from(days) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Returns the time `value / per_second` seconds after 1970 as ISO 8601. A fraction has all digits
/// of its unit.
pub(super) fn timestamp(value: i64, per_second: i64, utc: bool) -> String {
    let seconds = value.div_euclid(per_second);
    let part = value.rem_euclid(per_second);
    let of_day = seconds.rem_euclid(86_400);
    let digits = per_second.ilog10() as usize;
    let fraction = if part == 0 { String::new() } else { format!(".{part:0digits$}") };
    format!(
        "{}T{:02}:{:02}:{:02}{fraction}{}",
        date(seconds.div_euclid(86_400)),
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60,
        if utc { "Z" } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_written_as_iso_8601() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(-719_162), "0001-01-01");
        assert_eq!(date(20_780), "2026-11-23");
        assert_eq!(timestamp(1_555_814_442_000, 1_000, true), "2019-04-21T02:40:42Z");
        assert_eq!(timestamp(-1, 1_000_000, false), "1969-12-31T23:59:59.999999");
        date(i64::MAX);
        timestamp(i64::MIN, 1_000, true);
    }

    #[test]
    fn binary_data_is_base64() {
        // RFC 4648, section 10
        for (bytes, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn half_floats_are_numbers() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65_504.0), (1, 2_f64.powi(-24))]
        {
            assert_eq!(half(&u16::to_le_bytes(bits)), Some(value));
        }
        assert!(half(&[0, 0x7e]).unwrap().is_nan());
    }

    #[test]
    fn decimals_keep_all_digits() {
        assert_eq!(decimal(-5, 3), "-0.005");
        assert_eq!(decimal(12_345, 2), "123.45");
        assert_eq!(decimal(7, 0), "7");
        assert_eq!(big_endian(&[0xff, 0xfe]), Some(-2));
        assert_eq!(big_endian(&[0; 17]), None);
    }
}
