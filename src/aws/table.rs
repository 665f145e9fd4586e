//! The table: its name.

use std::fmt;

/// The environment variable that names the table. The template sets it.
pub const TABLE: &str = "ALB502_TABLE";

/// The name of a DynamoDB table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName(String);

/// The name is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{TABLE} is {0:?}; allowed is the name of a DynamoDB table, 3 to 255 characters of a-z, A-Z, 0-9, \
     _ - and ., or nothing"
)]
pub struct TableNameError(String);

impl TableName {
    /// Reads a name; `None` for an empty one, which says that there is no table.
    /// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html>
    ///
    /// # Errors
    /// When DynamoDB has no tables of such a name.
    pub fn parse(name: &str) -> Result<Option<Self>, TableNameError> {
        let is_known = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        match name.len() {
            0 => Ok(None),
            3..=255 if name.chars().all(is_known) => Ok(Some(Self(name.to_owned()))),
            _ => Err(TableNameError(name.to_owned())),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_and_none_is_no_table() {
        assert_eq!(TableName::parse("").unwrap(), None);
        for name in ["abc", "alb502", "Stack-Table_1.x", &"x".repeat(255)] {
            assert_eq!(TableName::parse(name).unwrap().unwrap().to_string(), name);
        }
        let arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/alb502";
        for name in ["ab", arn, "my table", "tablé", &"x".repeat(256)] {
            let error = TableName::parse(name).unwrap_err().to_string();
            assert!(error.contains(TABLE) && error.contains("allowed is"), "{error}");
        }
    }
}
