//! `$filter` on a list of events: the documented forms, joined by `and` (graph-facts §6.4, §7).

use jiff::Timestamp;

use super::content::Event;
use crate::{
    errors::GraphError,
    odata::{Parser, PropertyId, Token, with_offset},
};

/// Clauses in one filter.
const CLAUSES: usize = 10;

enum Clause {
    Modified(fn(&Timestamp, &Timestamp) -> bool, Timestamp),
    Property(PropertyId, Test),
}

enum Test {
    Is(String),
    IsNot(String),
    NotNull,
    IsNull,
    Contains(String),
    StartsWith(String),
}

pub(super) struct Filter(Vec<Clause>);

fn invalid() -> GraphError {
    GraphError::new(
        http::StatusCode::BAD_REQUEST,
        "ErrorInvalidUrlQueryFilter",
        "The query filter contains one or more invalid nodes.",
    )
}

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Self, GraphError> {
        let mut parser = Parser::new(text)?;
        let mut clauses = Vec::new();
        loop {
            clauses.push(clause(&mut parser)?);
            if clauses.len() > CLAUSES {
                return Err(invalid());
            }
            if !parser.takes("and") {
                break;
            }
        }
        parser.end()?;
        Ok(Self(clauses))
    }

    pub(super) fn admits(&self, event: &Event) -> bool {
        self.0.iter().all(|clause| match clause {
            Clause::Modified(compare, time) => compare(&event.modified, time),
            Clause::Property(id, test) => test.passes(event.private.extended.get(id)),
        })
    }
}

impl Test {
    /// Comparisons of values ignore case (graph-facts §6.4). An event without the property passes none but `eq null`.
    fn passes(&self, value: Option<&String>) -> bool {
        let Some(value) = value else { return matches!(self, Self::IsNull) };
        let value = value.to_lowercase();
        match self {
            Self::Is(other) => value == other.to_lowercase(),
            Self::IsNot(other) => value != other.to_lowercase(),
            Self::NotNull => true,
            Self::IsNull => false,
            Self::Contains(part) => value.contains(&part.to_lowercase()),
            Self::StartsWith(part) => value.starts_with(&part.to_lowercase()),
        }
    }
}

fn clause(parser: &mut Parser) -> Result<Clause, GraphError> {
    match parser.word()?.as_str() {
        "lastModifiedDateTime" => {
            let compare: fn(&Timestamp, &Timestamp) -> bool = match parser.word()?.as_str() {
                "ge" => |a, b| a >= b,
                "gt" => |a, b| a > b,
                "le" => |a, b| a <= b,
                "lt" => |a, b| a < b,
                _ => return Err(invalid()),
            };
            let time = with_offset(&parser.word()?).ok_or_else(invalid)?;
            Ok(Clause::Modified(compare, time))
        }
        "singleValueExtendedProperties/Any" | "singleValueExtendedProperties/any" => any(parser),
        _ => Err(invalid()),
    }
}

/// `(ep: ep/id eq '…' and ep/value eq '…')`.
fn any(parser: &mut Parser) -> Result<Clause, GraphError> {
    parser.sign('(')?;
    let variable = parser.word()?;
    parser.sign(':')?;
    let (id, value) = (format!("{variable}/id"), format!("{variable}/value"));
    parser.keyword(&id)?;
    parser.keyword("eq")?;
    let property = PropertyId::parse(&parser.text()?)?;
    parser.keyword("and")?;
    let word = parser.word()?;
    let test = match word.as_str() {
        "contains" | "startswith" => {
            parser.sign('(')?;
            parser.keyword(&value)?;
            parser.sign(',')?;
            let part = parser.text()?;
            parser.sign(')')?;
            if word == "contains" { Test::Contains(part) } else { Test::StartsWith(part) }
        }
        _ if word == value => match (parser.word()?.as_str(), parser.next()) {
            ("eq", Some(Token::Text(text))) => Test::Is(text),
            ("ne", Some(Token::Text(text))) => Test::IsNot(text),
            ("ne", Some(Token::Word(null))) if null == "null" => Test::NotNull,
            ("eq", Some(Token::Word(null))) if null == "null" => Test::IsNull,
            _ => return Err(invalid()),
        },
        _ => return Err(invalid()),
    };
    parser.sign(')')?;
    Ok(Clause::Property(property, test))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "String {00020329-0000-0000-C000-000000000046} Name cecp-x";

    #[test]
    fn the_documented_forms_are_understood() {
        for good in [
            format!("singleValueExtendedProperties/Any(ep: ep/id eq '{ID}' and ep/value ne null)"),
            format!("singleValueExtendedProperties/any(x:x/id eq '{ID}' and contains(x/value, 'a'))"),
            format!(
                "singleValueExtendedProperties/Any(ep: ep/id eq '{ID}' and ep/value eq 'a') and lastModifiedDateTime ge 2026-01-01T00:00:00Z"
            ),
            "lastModifiedDateTime ge 2026-01-01T00:00:00.0000000Z".to_owned(),
        ] {
            assert!(Filter::parse(&good).is_ok(), "{good}");
        }
        for bad in [
            String::new(),
            "subject eq 'x'".to_owned(),
            "lastModifiedDateTime ge 2026-01-01".to_owned(),
            "lastModifiedDateTime ge '2026-01-01T00:00:00Z'".to_owned(),
            format!("singleValueExtendedProperties/Any(ep: ep/id eq '{ID}')"),
            format!("singleValueExtendedProperties/Any(ep: xx/id eq '{ID}' and ep/value ne null)"),
            format!("singleValueExtendedProperties/Any(ep: ep/id eq '{ID}' and ep/value gt 'a')"),
            format!(
                "singleValueExtendedProperties/Any(ep: ep/id eq '{ID}' and ep/value ne null) or id eq 'x'"
            ),
        ] {
            assert!(Filter::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_compared_without_case() {
        let value = "Green".to_owned();
        assert!(Test::Is("green".to_owned()).passes(Some(&value)));
        assert!(!Test::IsNot("GREEN".to_owned()).passes(Some(&value)));
        assert!(Test::Contains("REE".to_owned()).passes(Some(&value)));
        assert!(Test::StartsWith("gr".to_owned()).passes(Some(&value)));
        assert!(Test::NotNull.passes(Some(&value)) && !Test::NotNull.passes(None));
        assert!(!Test::IsNot("x".to_owned()).passes(None) && Test::IsNull.passes(None));
    }
}
