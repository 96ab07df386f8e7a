//! Patterns of the allow list: text with placeholders such as `<guid>`.

use uuid::Uuid;

/// A text in which placeholders stand for what changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Guid,
    Id,
    User,
    Time,
    Opaque,
    Count,
}

/// Longest id of an event, in characters.
const LONGEST_ID: usize = 512;
/// Longest token of a page, in characters.
const LONGEST_OPAQUE: usize = 4_096;

impl Pattern {
    /// `None` where a placeholder is unknown, or two of them touch.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('<') {
            let (name, after) = after.split_once('>')?;
            if before.is_empty() && matches!(parts.last(), Some(Part::Place(_))) {
                return None;
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Place(Place::named(name)?));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Some(Self(parts))
    }

    /// Whether the whole text is of this form.
    pub(crate) fn fits(&self, text: &str) -> bool {
        fits(&self.0, text)
    }
}

/// A placeholder ends where the text after it begins, for the first time or later.
fn fits(parts: &[Part], text: &str) -> bool {
    match parts {
        [] => text.is_empty(),
        [Part::Text(wanted), rest @ ..] => {
            text.strip_prefix(wanted.as_str()).is_some_and(|text| fits(rest, text))
        }
        [Part::Place(place)] => place.takes(text),
        [Part::Place(place), rest @ ..] => text
            .char_indices()
            .filter_map(|(at, _)| text.split_at_checked(at))
            .any(|(taken, left)| place.takes(taken) && fits(rest, left)),
    }
}

impl Place {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "guid" => Self::Guid,
            "id" => Self::Id,
            "user" => Self::User,
            "time" => Self::Time,
            "opaque" => Self::Opaque,
            "count" => Self::Count,
            _ => return None,
        })
    }

    fn takes(self, text: &str) -> bool {
        let length = text.chars().count();
        match self {
            Self::Guid => length == 36 && Uuid::try_parse(text).is_ok(),
            Self::Id => (1..=LONGEST_ID).contains(&length) && !text.contains(char::is_control),
            Self::User => {
                Self::Guid.takes(text)
                    || text.split_once('@').is_some_and(|(name, domain)| {
                        !name.is_empty() && !domain.is_empty() && !domain.contains('@') && length <= 113
                    })
            }
            Self::Time => is_time(text),
            Self::Opaque => (1..=LONGEST_OPAQUE).contains(&length),
            Self::Count => (1..=9).contains(&length) && text.bytes().all(|byte| byte.is_ascii_digit()),
        }
    }
}

/// `2026-11-01T00:00:00Z`, with or without fractions of a second.
fn is_time(text: &str) -> bool {
    let Some((whole, fraction)) =
        text.strip_suffix('Z').map(|text| text.split_once('.').unwrap_or((text, "0")))
    else {
        return false;
    };
    let form = whole.chars().map(|c| if c.is_ascii_digit() { '0' } else { c });
    form.eq("0000-00-00T00:00:00".chars())
        && (1..=9).contains(&fraction.len())
        && fraction.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "2189c720-90d5-44ff-818b-fe585706ee90";

    fn fits(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern).unwrap().fits(text)
    }

    #[test]
    fn placeholders_take_their_form_and_nothing_else() {
        assert!(fits("Name cecp-<guid>')", &format!("Name cecp-{GUID}')")));
        assert!(!fits("Name cecp-<guid>')", &format!("Name cecp-{GUID} or id eq 'x')")));
        assert!(fits("<user>", GUID) && fits("<user>", "user1@contoso.example"));
        assert!(
            !fits("<user>", "user1") && !fits("<user>", "@contoso.example") && !fits("<guid>", "user1@x")
        );
        assert!(fits("<time>", "2026-11-01T00:00:00Z") && fits("<time>", "2026-11-01T00:00:00.5Z"));
        assert!(!fits("<time>", "2026-11-01") && !fits("<time>", "2026-11-01T00:00:00"));
        assert!(fits("<id>", "AAMk/+=") && !fits("<id>", "") && !fits("<id>", "a\nb"));
        assert!(fits("<count>", "50") && !fits("<count>", "x") && !fits("<count>", ""));
        assert!(fits("id,start", "id,start") && !fits("id,start", "id,start,body"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["<nobody>", "<guid", "<guid><id>"] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }
}
