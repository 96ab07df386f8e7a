//! Tokens of `$filter`, and a cursor over them.

use crate::{errors::GraphError, metadata::Names};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A name, path, operator or unquoted literal.
    Word(String),
    /// A quoted text.
    Text(String),
    /// One of `( ) , :`.
    Sign(char),
}

/// A cursor over the tokens of one expression.
pub(crate) struct Parser {
    tokens: std::vec::IntoIter<Token>,
    peeked: Option<Token>,
}

impl Parser {
    pub(crate) fn new(expression: &str) -> Result<Self, GraphError> {
        Ok(Self { tokens: tokens(expression).ok_or_else(invalid)?.into_iter(), peeked: None })
    }

    pub(crate) fn next(&mut self) -> Option<Token> {
        self.peeked.take().or_else(|| self.tokens.next())
    }

    pub(crate) fn peek(&mut self) -> Option<&Token> {
        if self.peeked.is_none() {
            self.peeked = self.tokens.next();
        }
        self.peeked.as_ref()
    }

    pub(crate) fn word(&mut self) -> Result<String, GraphError> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            _ => Err(invalid()),
        }
    }

    /// That word and no other.
    pub(crate) fn keyword(&mut self, keyword: &str) -> Result<(), GraphError> {
        if self.word()? == keyword { Ok(()) } else { Err(invalid()) }
    }

    pub(crate) fn text(&mut self) -> Result<String, GraphError> {
        match self.next() {
            Some(Token::Text(text)) => Ok(text),
            _ => Err(invalid()),
        }
    }

    pub(crate) fn sign(&mut self, sign: char) -> Result<(), GraphError> {
        if self.next() == Some(Token::Sign(sign)) { Ok(()) } else { Err(invalid()) }
    }

    /// Takes that word if it comes next.
    pub(crate) fn takes(&mut self, keyword: &str) -> bool {
        let here = matches!(self.peek(), Some(Token::Word(word)) if word == keyword);
        if here {
            self.peeked = None;
        }
        here
    }

    pub(crate) fn end(&mut self) -> Result<(), GraphError> {
        if self.next().is_none() { Ok(()) } else { Err(invalid()) }
    }
}

/// Splits at a separator outside of quotes and brackets.
pub(super) fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut depth) = (false, 0_usize);
    text.split(|c| {
        match c {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == separator && !quoted && depth == 0
    })
    .collect()
}

/// Words of `$filter` that are neither paths nor literals.
const OPERATORS: Names = Names::new("and or not eq ne gt ge lt le in has add sub mul div mod");
const FUNCTIONS: Names = Names::new(
    "startswith endswith contains cast isof tolower toupper length concat indexof substring trim year month day \
     hour minute second date time now",
);
const LITERALS: Names = Names::new("null true false");

/// Whether an expression that is not understood here is one that Graph could have a meaning for: brackets match, and its
/// words are operators, functions, literals, and paths that begin with one of those names or a lambda's variable.
pub(crate) fn is_graphs(expression: &str, properties: &[Names]) -> bool {
    let Some(tokens) = tokens(expression) else { return false };
    let mut variables = Vec::new();
    for pair in tokens.windows(2) {
        if let [Token::Word(name), Token::Sign(':')] = pair {
            variables.push(name.as_str());
        }
    }
    let (mut depth, mut named) = (0_usize, false);
    for token in &tokens {
        match token {
            Token::Sign('(') => depth += 1,
            Token::Sign(')') => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            Token::Sign(_) | Token::Text(_) => {}
            Token::Word(word) => {
                let first = word.split('/').next().unwrap_or_default();
                let path = properties.iter().any(|names| names.has(first));
                named |= path;
                let known = OPERATORS.has(word) || FUNCTIONS.has(word) || LITERALS.has(word);
                let literal = word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+'));
                if !(path || known || literal || word.starts_with("Edm.") || variables.contains(&first)) {
                    return false;
                }
            }
        }
    }
    let ended = match tokens.last() {
        Some(Token::Word(word)) => !OPERATORS.has(word),
        Some(Token::Text(_) | Token::Sign(')')) => true,
        _ => false,
    };
    depth == 0 && named && ended
}

/// An expression that is not understood.
pub(crate) fn invalid() -> GraphError {
    GraphError::new(
        http::StatusCode::BAD_REQUEST,
        "ErrorInvalidUrlQueryFilter",
        "The query filter contains one or more invalid nodes.",
    )
}

fn tokens(expression: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = expression.chars().peekable();
    while let Some(&c) = chars.peek() {
        match c {
            ' ' => {
                chars.next();
            }
            '\'' => {
                chars.next();
                let mut text = String::new();
                loop {
                    match chars.next()? {
                        '\'' if chars.next_if_eq(&'\'').is_some() => text.push('\''),
                        '\'' => break,
                        other => text.push(other),
                    }
                }
                tokens.push(Token::Text(text));
            }
            '(' | ')' | ',' | ':' => {
                chars.next();
                tokens.push(Token::Sign(c));
            }
            _ => {
                // A time holds colons; the variable of a lambda ends at one.
                let literal = c.is_ascii_digit();
                let part = |c: &char| {
                    c.is_ascii_alphanumeric()
                        || matches!(c, '_' | '.' | '/' | '-' | '+' | '$')
                        || (literal && *c == ':')
                };
                let mut word = String::new();
                while let Some(c) = chars.next_if(part) {
                    word.push(c);
                }
                if word.is_empty() {
                    return None;
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Some(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_text_survives_its_quotes(text: String) {
            let quoted = format!("'{}'", text.replace('\'', "''"));
            proptest::prop_assert_eq!(tokens(&quoted), Some(vec![Token::Text(text)]));
        }

        #[test]
        fn no_expression_is_too_strange(expression: String) {
            let rest = tokens(&expression).map_or(0, |tokens| tokens.len());
            proptest::prop_assert!(rest <= expression.len());
        }
    }

    #[test]
    fn what_graph_could_understand_is_told_from_nonsense() {
        let names = [Names::new("subject start categories mail")];
        for good in [
            "subject eq 'x'",
            "start/dateTime ge '2026-01-01'",
            "not (startswith(mail, 'a') or mail in ('b', 'c'))",
            "categories/any(c: c eq 'x' and cast(c/y, Edm.Int32) gt -7)",
            "mail",
        ] {
            assert!(is_graphs(good, &names), "{good}");
        }
        for bad in [
            "",
            "'x'",
            "1 eq 1",
            "subject eq",
            "subject is 'x'",
            "colour eq 'x'",
            "(subject eq 'x'",
            "subject)(",
            "Subject eq 'x'",
        ] {
            assert!(!is_graphs(bad, &names), "{bad}");
        }
    }

    #[test]
    fn texts_are_split_outside_of_quotes_and_brackets() {
        assert_eq!(split("a(b,c),'d,(',e", ','), ["a(b,c)", "'d,('", "e"]);
        assert_eq!(split("", ','), [""]);
    }

    #[test]
    fn texts_double_their_quotes_and_times_keep_their_colons() {
        let all = tokens("Any(ep: ep/id eq 'o''neil') and t ge 2026-01-02T03:04:05Z").unwrap();
        assert!(all.contains(&Token::Text("o'neil".to_owned())));
        assert!(all.contains(&Token::Word("2026-01-02T03:04:05Z".to_owned())));
        assert!(all.contains(&Token::Word("ep".to_owned())) && all.contains(&Token::Sign(':')));
        for bad in ["'open", "a ; b", "a = \"b\"", "{x}"] {
            assert_eq!(tokens(bad), None, "{bad}");
        }
    }
}
