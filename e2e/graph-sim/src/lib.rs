//! A strict simulator of Microsoft Graph's calendar, directory and subscription APIs.
