//! Microsoft Graph client over a closed list of calls and fields, with an audit hook.
