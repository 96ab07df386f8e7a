//! Files with placeholders. A value is escaped for the file it goes into, and what it holds is not filled in again.

use std::fmt::Write as _;

/// How values are escaped, by the file's extension; other files are no templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    Markup,
    Json,
    Plain,
}

/// A file with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    escape: Escape,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(String),
}

/// Why a template cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FillError {
    /// There is no such setting.
    #[error("there is no setting for the placeholder {{{{{0}}}}}")]
    Missing(String),
    /// What is there would end a directive of the policy, or the header.
    #[error(
        "the value of {{{{{0}}}}} cannot stand in a header: no ';', ',', quotes, backslashes or control characters, and only ASCII"
    )]
    Unfit(String),
}

impl Template {
    /// The template, where a file of that name is one.
    pub(super) fn of(name: &str, text: &str) -> Option<Self> {
        let escape = match name.rsplit_once('.')?.1 {
            "html" | "xml" => Escape::Markup,
            "json" => Escape::Json,
            "txt" => Escape::Plain,
            _ => return None,
        };
        Some(Self { escape, parts: parts(text) })
    }

    /// Fills in.
    pub(super) fn fill<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Result<String, FillError> {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Placeholder(name) => {
                    let value = value(name).ok_or_else(|| FillError::Missing(name.clone()))?;
                    self.escape.put(value, &mut filled).ok_or_else(|| FillError::Unfit(name.clone()))?;
                }
            }
        }
        Ok(filled)
    }
}

fn parts(text: &str) -> Vec<Part> {
    let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some((before, after)) = rest.split_once("{{") {
        literal.push_str(before);
        let name = after.split_once("}}").map(|(name, _)| name).filter(|name| is_name(name));
        if let Some(name) = name {
            parts.push(Part::Text(std::mem::take(&mut literal)));
            parts.push(Part::Placeholder(name.to_owned()));
            rest = after.get(name.len() + 2..).unwrap_or_default();
        } else {
            // The second brace may begin a placeholder.
            literal.push('{');
            rest = rest.get(before.len() + 1..).unwrap_or_default();
        }
    }
    literal.push_str(rest);
    parts.push(Part::Text(literal));
    parts
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

impl Escape {
    /// `None`: the value cannot stand there.
    fn put(self, value: &str, into: &mut String) -> Option<()> {
        match self {
            Self::Markup => {
                for character in value.chars() {
                    match character {
                        '&' => into.push_str("&amp;"),
                        '<' => into.push_str("&lt;"),
                        '>' => into.push_str("&gt;"),
                        '"' => into.push_str("&quot;"),
                        '\'' => into.push_str("&#39;"),
                        other => into.push(other),
                    }
                }
            }
            Self::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                into.push_str(quoted.strip_prefix('"')?.strip_suffix('"')?);
            }
            Self::Plain => {
                let fits = |byte: u8| matches!(byte, b' '..=b'~') && !b";,\"'\\".contains(&byte);
                if !value.bytes().all(fits) {
                    return None;
                }
                into.write_str(value).ok()?;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        file: String,
        text: String,
        settings: BTreeMap<String, String>,
        filled: Option<String>,
        #[serde(default)]
        refused: bool,
    }

    #[test]
    fn the_cases_of_the_page_hold_here_too() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../../../addin/test/server/fill-cases.json")).unwrap();
        assert!(cases.len() >= 9);
        for case in cases {
            let template = Template::of(&case.file, &case.text).unwrap();
            let filled = template.fill(|name| case.settings.get(name).map(String::as_str));
            assert_eq!(filled.is_err(), case.refused, "{}: {filled:?}", case.text);
            assert_eq!(filled.ok(), case.filled, "{}", case.text);
        }
    }

    #[test]
    fn braces_that_are_no_placeholder_stay() {
        for (text, filled) in [
            ("{{{x}}}", "{1}"),
            ("{{x}", "{{x}"),
            ("{{x}}{{", "1{{"),
            ("{{x1}} {{x}}", "{{x1}} 1"),
            ("ä{{ä{{x}}ä", "ä{{ä1ä"),
        ] {
            let template = Template::of("a.html", text).unwrap();
            assert_eq!(template.fill(|name| (name == "x").then_some("1")).unwrap(), filled, "{text}");
        }
        for other in ["a.js", "a.css", "a.png", "html", "a.HTML"] {
            assert_eq!(Template::of(other, "{{x}}"), None, "{other}");
        }
    }
}
