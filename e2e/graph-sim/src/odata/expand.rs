//! `$expand`.

use http::StatusCode;

use super::{Parser, PropertyId, Query, expression};
use crate::{
    errors::GraphError,
    metadata::{EVENT_LINKS, Names},
};

/// Most properties in one `$expand`.
const EXPANDED: usize = 20;

/// The extended properties of an event that `$expand` asks for. Its one form is
/// `singleValueExtendedProperties($filter=id eq 'A' or id eq 'B')` (graph-facts §6.4).
pub(crate) fn expand(query: &Query) -> Result<Vec<PropertyId>, GraphError> {
    let Some(text) = query.get("$expand") else { return Ok(Vec::new()) };
    let options = match items(text, "event", EVENT_LINKS)?.as_slice() {
        [("singleValueExtendedProperties", options)] => *options,
        _ => return Err(not_simulated(text)),
    };
    let inner = options.strip_prefix('(').and_then(|options| options.strip_suffix(')')).unwrap_or_default();
    let filter = match expression::split(inner, ';').as_slice() {
        [""] => {
            return Err(GraphError::new(
                StatusCode::BAD_REQUEST,
                "ErrorInvalidUrlQuery",
                "Expanding singleValueExtendedProperties requires a $filter on id.",
            ));
        }
        [option] => option.trim().strip_prefix("$filter=").ok_or_else(|| not_simulated(text))?,
        _ => return Err(not_simulated(text)),
    };
    let mut parser = Parser::new(filter)?;
    let mut properties = Vec::new();
    loop {
        parser.keyword("id")?;
        parser.keyword("eq")?;
        properties.push(PropertyId::parse(&parser.text()?)?);
        if properties.len() > EXPANDED {
            return Err(GraphError::not_simulated("more than 20 extended properties in one $expand"));
        }
        if !parser.takes("or") {
            break;
        }
    }
    parser.end()?;
    Ok(properties)
}

/// Refuses to expand a type of which nothing can be expanded here.
pub(crate) fn no_expansion(query: &Query, type_name: &str, links: Names) -> Result<(), GraphError> {
    let Some(text) = query.get("$expand") else { return Ok(()) };
    items(text, type_name, links)?;
    Err(not_simulated(text))
}

/// What is expanded, each with its options in brackets; a name that the type does not have is refused.
fn items<'a>(text: &'a str, type_name: &str, links: Names) -> Result<Vec<(&'a str, &'a str)>, GraphError> {
    let mut items = Vec::new();
    for item in expression::split(text, ',') {
        let item = item.trim();
        let (name, options) = item.split_at_checked(item.find('(').unwrap_or(item.len())).unwrap_or_default();
        // A path goes on beyond the link.
        let link = name.split('/').next().unwrap_or_default();
        if !links.has(link) && name != "*" {
            return Err(GraphError::bad_request(format!(
                "Parsing OData Select and Expand failed: Could not find a property named '{name}' on type 'microsoft.graph.{type_name}'."
            )));
        }
        items.push((name, options));
    }
    Ok(items)
}

fn not_simulated(text: &str) -> GraphError {
    GraphError::not_simulated(&format!("$expand={text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "String {00020329-0000-0000-C000-000000000046} Name cecp-X";

    #[test]
    fn expand_has_one_form() {
        let parse = |text: &str| expand(&Query::parse(text).unwrap()).map_err(|error| error.status.as_u16());
        assert_eq!(parse("").unwrap().len(), 0);
        let one = format!("$expand=singleValueExtendedProperties($filter=id eq '{ID}')");
        assert_eq!(parse(&one).unwrap(), [PropertyId::parse(ID).unwrap()]);
        let two = format!("$expand=singleValueExtendedProperties($filter=id eq '{ID}' or id eq '{ID},;)')");
        assert_eq!(parse(&two).unwrap().len(), 2);
        for (bad, status) in [
            ("$expand=attachments".to_owned(), 501),
            ("$expand=attachments($select=name;$top=1),calendar".to_owned(), 501),
            ("$expand=calendar/events".to_owned(), 501),
            ("$expand=*".to_owned(), 501),
            (format!("{one},attachments"), 501),
            (format!("{one},{}", one.replace("$expand=", "")), 501),
            ("$expand=singleValueExtendedProperties($select=id)".to_owned(), 501),
            (one.replace("')", "';$select=id)"), 501),
            (one.replace("')", &format!("'{})", format!(" or id eq '{ID}'").repeat(20))), 501),
            ("$expand=".to_owned(), 400),
            ("$expand=attachment".to_owned(), 400),
            ("$expand=Attachments".to_owned(), 400),
            ("$expand=attachments,".to_owned(), 400),
            ("$expand=singleValueExtendedProperties".to_owned(), 400),
            ("$expand=singleValueExtendedProperties()".to_owned(), 400),
            ("$expand=singleValueExtendedProperties($filter=id ne 'x')".to_owned(), 400),
            ("$expand=singleValueExtendedProperties($filter=id eq 'x'".to_owned(), 400),
        ] {
            assert_eq!(parse(&bad), Err(status), "{bad}");
        }
    }
}
