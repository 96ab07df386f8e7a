//! `$expand`.

use http::StatusCode;

use super::{Parser, PropertyId, Query, expression, query::selected};
use crate::{
    errors::GraphError,
    metadata::{EVENT_LINKS, Names},
};

/// Most properties in one `$expand`.
const EXPANDED: usize = 20;
/// The exceptions of a series.
const EXCEPTIONS: &str = "exceptionOccurrences";

/// What `$expand` asks for beside an event's own properties.
#[derive(Debug, Default)]
pub(crate) struct Expansion {
    /// Extended properties.
    pub(crate) properties: Vec<PropertyId>,
    /// The exceptions of a series.
    pub(crate) exceptions: Option<Inner>,
}

/// What is asked for of something expanded.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) selected: Option<Vec<&'static str>>,
    pub(crate) properties: Vec<PropertyId>,
}

/// What `$expand` asks for of an event. Its forms are
/// `singleValueExtendedProperties($filter=id eq 'A' or id eq 'B')` (graph-facts §6.4) and
/// `exceptionOccurrences($select=…;$expand=…)`. `known` are the properties that may be selected.
pub(crate) fn expand(query: &Query, known: &[&'static str]) -> Result<Expansion, GraphError> {
    let Some(text) = query.get("$expand") else { return Ok(Expansion::default()) };
    let mut expansion = Expansion::default();
    let mut seen = Vec::new();
    for (name, options) in items(text, "event", EVENT_LINKS)? {
        if seen.contains(&name) {
            return Err(not_simulated(text));
        }
        seen.push(name);
        match name {
            "singleValueExtendedProperties" => expansion.properties = extended(options, text)?,
            EXCEPTIONS => expansion.exceptions = Some(inner(options, text, known)?),
            _ => return Err(not_simulated(text)),
        }
    }
    Ok(expansion)
}

/// Whether exceptions are asked for as they are, bodies included.
pub(crate) fn has_whole_exceptions(text: &str) -> bool {
    expression::split(text, ',').into_iter().map(str::trim).any(|item| {
        let Some(options) = item.strip_prefix(EXCEPTIONS) else { return false };
        !expression::split(within(options), ';').into_iter().any(|one| one.trim().starts_with("$select="))
    })
}

/// The options of an item, without their brackets.
fn within(options: &str) -> &str {
    options.strip_prefix('(').and_then(|options| options.strip_suffix(')')).unwrap_or_default()
}

fn inner(options: &str, text: &str, known: &[&'static str]) -> Result<Inner, GraphError> {
    let mut inner = Inner::default();
    if options.is_empty() {
        return Ok(inner);
    }
    for option in expression::split(within(options), ';') {
        match option.trim().split_once('=') {
            Some(("$select", list)) if inner.selected.is_none() => {
                inner.selected = Some(selected(list, "event", known, &[EVENT_LINKS])?);
            }
            Some(("$expand", list)) if inner.properties.is_empty() => {
                match items(list, "event", EVENT_LINKS)?.as_slice() {
                    [("singleValueExtendedProperties", options)] => {
                        inner.properties = extended(options, text)?;
                    }
                    _ => return Err(not_simulated(text)),
                }
            }
            _ => return Err(not_simulated(text)),
        }
    }
    Ok(inner)
}

fn extended(options: &str, text: &str) -> Result<Vec<PropertyId>, GraphError> {
    let filter = match expression::split(within(options), ';').as_slice() {
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
    fn expand_has_few_forms() {
        let parse = |text: &str| {
            let expansion = expand(&Query::parse(text).unwrap(), &["id", "start"]);
            expansion.map(|all| all.properties).map_err(|error| error.status.as_u16())
        };
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
            ("$expand=exceptionOccurrences($top=1)".to_owned(), 501),
            ("$expand=exceptionOccurrences($select=id;$select=id)".to_owned(), 501),
            ("$expand=exceptionOccurrences($expand=attachments)".to_owned(), 501),
            ("$expand=exceptionOccurrences,exceptionOccurrences".to_owned(), 501),
            ("$expand=exceptionOccurrences($select=uid)".to_owned(), 400),
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

    #[test]
    fn exceptions_have_options_of_their_own() {
        let one = format!("singleValueExtendedProperties($filter=id eq '{ID}')");
        let text = format!("exceptionOccurrences($select=id,start;$expand={one}),{one}");
        let query = Query::parse(&format!("$expand={text}")).unwrap();
        let expansion = expand(&query, &["id", "start"]).unwrap();
        let inner = expansion.exceptions.unwrap();
        assert_eq!(inner.selected, Some(vec!["id", "start"]));
        assert_eq!((inner.properties.len(), expansion.properties.len()), (1, 1));
        for (text, whole) in [
            (text.as_str(), false),
            (one.as_str(), false),
            ("exceptionOccurrences", true),
            ("exceptionOccurrences($expand=x($select=id))", true),
            ("x,exceptionOccurrences( $select=id)", false),
        ] {
            assert_eq!(has_whole_exceptions(text), whole, "{text}");
        }
    }
}
