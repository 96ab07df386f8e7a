//! `$filter` on a list of events: the documented forms, joined by `and` (graph-facts §6.4, §7).

use jiff::Timestamp;

use super::content::Event;
use crate::{
    errors::GraphError,
    metadata::{EVENT_LINKS, EVENT_PROPERTIES},
    odata::{Parser, PropertyId, Token, date, invalid, is_graphs, with_offset},
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

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Self, GraphError> {
        let mut parser = Parser::new(text)?;
        let mut clauses = Vec::new();
        loop {
            clauses.push(clause(&mut parser, text)?);
            if clauses.len() > CLAUSES {
                return Err(beyond(text));
            }
            if !parser.takes("and") {
                break;
            }
        }
        if parser.takes("or") {
            return Err(beyond(text));
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

/// A filter in another form than those that are understood: what Graph could understand is told from what it could not.
fn beyond(text: &str) -> GraphError {
    if is_graphs(text, &[EVENT_PROPERTIES, EVENT_LINKS]) {
        GraphError::not_simulated(&format!("$filter={text} on events"))
    } else {
        invalid()
    }
}

fn clause(parser: &mut Parser, filter: &str) -> Result<Clause, GraphError> {
    if parser.peek() == Some(&Token::Sign('(')) {
        return Err(beyond(filter));
    }
    match parser.word()?.as_str() {
        "lastModifiedDateTime" => {
            let compare: fn(&Timestamp, &Timestamp) -> bool = match parser.word()?.as_str() {
                "ge" => |a, b| a >= b,
                "gt" => |a, b| a > b,
                "le" => |a, b| a <= b,
                "lt" => |a, b| a < b,
                "eq" => |a, b| a == b,
                "ne" => |a, b| a != b,
                _ => return Err(invalid()),
            };
            let literal = parser.word()?;
            let other = || if date(&literal).is_some() { beyond(filter) } else { invalid() };
            let time = with_offset(&literal).ok_or_else(other)?;
            Ok(Clause::Modified(compare, time))
        }
        "singleValueExtendedProperties/Any" | "singleValueExtendedProperties/any" => any(parser, filter),
        _ => Err(beyond(filter)),
    }
}

/// `(ep: ep/id eq '…' and ep/value eq '…')`.
fn any(parser: &mut Parser, filter: &str) -> Result<Clause, GraphError> {
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
        "cast" => return Err(beyond(filter)),
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
            "lastModifiedDateTime ne 2026-01-01T00:00Z".to_owned(),
        ] {
            assert!(Filter::parse(&good).is_ok(), "{good}");
        }
        for bad in [
            String::new(),
            "subject is 'x'".to_owned(),
            "colour eq 'x'".to_owned(),
            "lastModifiedDateTime ge 20260101".to_owned(),
            "lastModifiedDateTime ge subject".to_owned(),
            "lastModifiedDateTime ge '2026-01-01T00:00:00Z'".to_owned(),
            format!("singleValueExtendedProperties/Any(ep: ep/id eq '{ID}')"),
            format!("singleValueExtendedProperties/Any(ep: xx/id eq '{ID}' and ep/value ne null)"),
            format!("singleValueExtendedProperties/Any(ep: ep/id eq '{ID}' and ep/value gt 'a')"),
            format!(
                "singleValueExtendedProperties/Any(ep: ep/id eq '{ID}' and ep/value ne null) or colour eq 'x'"
            ),
        ] {
            assert_eq!(Filter::parse(&bad).err().map(|error| error.status.as_u16()), Some(400), "{bad}");
        }
        for graphs in [
            "subject eq 'x'".to_owned(),
            "not (subject eq 'x')".to_owned(),
            "(isAllDay eq true)".to_owned(),
            "lastModifiedDateTime ge 2026-01-01".to_owned(),
            "lastModifiedDateTime ge 2026-01-01T00:00:00Z or subject eq 'x'".to_owned(),
            format!(
                "singleValueExtendedProperties/Any(ep: ep/id eq '{ID}' and cast(ep/value, Edm.Int32) gt 7)"
            ),
            ["lastModifiedDateTime ge 2026-01-01T00:00:00Z"; CLAUSES + 1].join(" and "),
        ] {
            assert_eq!(
                Filter::parse(&graphs).err().map(|error| error.status.as_u16()),
                Some(501),
                "{graphs}"
            );
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
