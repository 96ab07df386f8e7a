//! `$filter` on the list of users.

use super::users::value;
use crate::{
    errors::GraphError,
    metadata::{USER_LINKS, USER_PROPERTIES},
    odata::{Parser, Token, is_graphs},
    world::User,
};

/// Properties that can be compared with here.
const COMPARED: [&str; 3] = ["id", "mail", "userPrincipalName"];
/// Properties that are true or false: Graph refuses to compare them with a text.
const FLAGS: [&str; 5] = [
    "accountEnabled",
    "isManagementRestricted",
    "isResourceAccount",
    "onPremisesSyncEnabled",
    "showInAddressList",
];

/// `property eq 'value'`, the one form.
pub(super) struct Filter {
    property: &'static str,
    value: String,
}

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Self, GraphError> {
        if let Ok(filter) = simple(text) {
            return Ok(filter);
        }
        if is_graphs(text, &[USER_PROPERTIES, USER_LINKS]) && !mixes_types(text) {
            return Err(GraphError::not_simulated(&format!("$filter={text} on users")));
        }
        Err(GraphError::unsupported_query("Unsupported or invalid query filter clause specified."))
    }

    pub(super) fn admits(&self, user: &User) -> bool {
        value(user, self.property).as_str().is_some_and(|value| value.eq_ignore_ascii_case(&self.value))
    }
}

fn simple(text: &str) -> Result<Filter, GraphError> {
    let mut parser = Parser::new(text)?;
    let property = parser.word()?;
    parser.keyword("eq")?;
    let value = parser.text()?;
    parser.end()?;
    let property = COMPARED.into_iter().find(|known| *known == property);
    property
        .map(|property| Filter { property, value })
        .ok_or_else(|| GraphError::unsupported_query("Another property than those that are compared here."))
}

/// Whether a property that is true or false is compared with a text.
fn mixes_types(text: &str) -> bool {
    let Ok(mut parser) = Parser::new(text) else { return false };
    let mut before = [None, None];
    while let Some(token) = parser.next() {
        if let ([Some(Token::Word(property)), Some(Token::Word(_))], Token::Text(_)) = (&before, &token)
            && FLAGS.contains(&property.as_str())
        {
            return true;
        }
        let [_, last] = before;
        before = [last, Some(token)];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_understood_what_graph_understands_and_what_nobody_does() {
        let status = |text: &str| Filter::parse(text).map_or_else(|error| error.status.as_u16(), |_| 200);
        for (text, expected) in [
            ("mail eq 'a'", 200),
            ("userPrincipalName eq 'o''neil'", 200),
            ("mail eq 'a' and accountEnabled eq true", 501),
            ("proxyAddresses/any(p:p eq 'smtp:x')", 501),
            ("manager/id eq 'x'", 501),
            ("displayName eq 'a'", 501),
            ("accountEnabled eq 'true'", 400),
            ("mail eq 'a' and accountEnabled eq 'true'", 400),
            ("shoeSize eq 'a'", 400),
            ("Mail eq 'a'", 400),
            ("mail eq", 400),
            ("mail = 'a'", 400),
            ("", 400),
        ] {
            assert_eq!(status(text), expected, "{text}");
        }
    }
}
