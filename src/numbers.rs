//! Numbers as people read them.

/// A count with thousands separators: `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number that need not be whole, as it was set, with thousands separators: `1,000,000`, `0.5`.
pub fn amount(number: f64) -> String {
    let text = number.to_string();
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    match whole.parse() {
        Ok(whole) => count(whole) + rest,
        Err(_) => text,
    }
}

/// A fraction (0 to 1) as a percentage with two meaningful digits: `0.33 %`, `3.4 %`, `41 %`. It says
/// `100 %` only for the whole and `0 %` only for nothing.
pub fn percent(fraction: f64) -> String {
    let value = fraction * 100.0;
    if value <= 0.0 {
        return "0 %".to_owned();
    }
    if 100.0 <= value {
        return "100 %".to_owned();
    }
    if value < 0.001 {
        return "below 0.001 %".to_owned();
    }
    let decimals = match value {
        value if value < 0.1 => 3,
        value if value < 1.0 => 2,
        value if !(10.0..99.0).contains(&value) => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let text = if text.starts_with("100") { "99.9".to_owned() } else { text };
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// A duration in seconds: `18 ms`, `5.2 s`, `30 s`.
pub fn seconds(seconds: f64) -> String {
    if seconds <= 0.0 {
        return "0 s".to_owned();
    }
    if seconds < 0.0995 {
        return format!("{:.0} ms", seconds * 1000.0);
    }
    let text = if seconds < 99.95 { format!("{seconds:.1}") } else { format!("{seconds:.0}") };
    format!("{} s", text.strip_suffix(".0").unwrap_or(&text))
}

/// `1 failure`, `2 failures`.
pub fn plural(number: u64, singular: &str) -> String {
    format!("{} {singular}{}", count(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        let amounts = [20.0, 0.5, 1_000_000.0, 1234.5].map(amount);
        assert_eq!(amounts, ["20", "0.5", "1,000,000", "1,234.5"]);
        let fractions =
            [0.0, 0.000_000_1, 0.000_041, 0.000_05, 0.0033, 0.034, 0.41, 0.9996, 0.99999, 1.0];
        let texts = [
            "0 %",
            "below 0.001 %",
            "0.004 %",
            "0.005 %",
            "0.33 %",
            "3.4 %",
            "41 %",
            "99.9 %",
            "99.9 %",
            "100 %",
        ];
        assert_eq!(fractions.map(percent), texts);
        assert_eq!(
            [0.0004, 0.018, 0.0999, 5.0, 5.23, 30.0, 120.4].map(seconds),
            ["0 ms", "18 ms", "0.1 s", "5 s", "5.2 s", "30 s", "120 s"]
        );
        assert_eq!([plural(1, "target"), plural(2, "target")], ["1 target", "2 targets"]);
    }
}
