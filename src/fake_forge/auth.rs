//! Who asks: every way in that the API knows, with the real order of precedence.

use base64::Engine as _;
use http::HeaderMap;

use super::body::{self, Pairs};
use super::options::{Feature, Options};
use super::store::{ForgeState, Token, TokenScope};

/// Who a request is from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Who {
    /// None when anonymous.
    pub(super) user: Option<u64>,
    /// What the credential is good for.
    pub(super) scope: TokenScope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuthError {
    /// A credential that nobody has, on a forge that minds.
    BadCredential,
    /// A session cookie on the API, without the header that proves it is no forgery.
    MissingCsrf,
    SudoForbidden,
    SudoUnknown,
}

/// The API's way: parameter `token`, then `access_token`, then the header, then Basic, then the session cookie.
pub(super) fn on_api(
    state: &ForgeState,
    headers: &HeaderMap,
    form: &Pairs,
    options: &Options,
) -> Result<Who, AuthError> {
    let Some(who) = signed_in(state, headers, form, options)? else {
        return Ok(Who::default());
    };
    let sudo = form.first("sudo").filter(|name| !name.is_empty()).or_else(|| text(headers, "sudo"));
    let Some(name) = sudo else { return Ok(who) };
    if !who.user.and_then(|id| state.users.get(&id)).is_some_and(|user| user.admin) {
        return Err(AuthError::SudoForbidden);
    }
    let user = state.user_named(name).ok_or(AuthError::SudoUnknown)?;
    Ok(Who { user: Some(user.id), ..who })
}

/// The web's way: the session cookie and nothing else.
pub(super) fn on_web(state: &ForgeState, headers: &HeaderMap) -> Who {
    Who { user: session(state, headers), scope: TokenScope::All }
}

/// Whether a form is the user's own. Up to Forgejo 13 it carries the session's token, if the session was given one; from
/// 14 on the browser says where it comes from.
pub(super) fn is_own_form(state: &ForgeState, headers: &HeaderMap, form: &Pairs, options: &Options) -> bool {
    if options.has(Feature::OriginCsrf) {
        let host = text(headers, "host").unwrap_or("");
        let said = |name| text(headers, name).filter(|value| !value.is_empty());
        return match (said("sec-fetch-site"), said("origin")) {
            (Some(site), _) => matches!(site, "same-origin" | "none"),
            (None, Some(origin)) => origin.split_once("://").is_some_and(|(_, authority)| authority == host),
            (None, None) => true,
        };
    }
    let Some(expected) = session_value(state, headers).and_then(|session| state.csrf.get(session)) else { return true };
    text(headers, "x-csrf-token").or_else(|| form.first("_csrf")) == Some(expected.as_str())
}

/// Query and urlencoded body as one list of parameters, body first.
pub(super) fn parameters(headers: &HeaderMap, query: &Pairs, body: &[u8], options: &Options) -> Pairs {
    let mut pairs = if body::is_urlencoded(headers) { body::pairs_of(body, options) } else { Pairs::default() };
    pairs.extend(query);
    pairs
}

fn signed_in(
    state: &ForgeState,
    headers: &HeaderMap,
    form: &Pairs,
    options: &Options,
) -> Result<Option<Who>, AuthError> {
    let strict = options.has(Feature::StrictTokens);
    let by_parameter =
        ["token", "access_token"].iter().find_map(|key| form.first(key).filter(|token| !token.is_empty()));
    if let Some(token) = by_parameter.or_else(|| header_token(headers)) {
        return checked(state.tokens.get(token).map(of_token), strict);
    }
    if let Some((name, password)) = basic(headers) {
        return checked(by_password(state, &name, &password), strict);
    }
    let by_session = session(state, headers).filter(|_| !options.has(Feature::SessionOnWebOnly));
    let Some(user) = by_session else {
        return Ok(None);
    };
    if headers.contains_key("x-csrf-token") {
        Ok(Some(Who { user: Some(user), scope: TokenScope::All }))
    } else {
        Err(AuthError::MissingCsrf)
    }
}

fn checked(who: Option<Who>, strict: bool) -> Result<Option<Who>, AuthError> {
    if who.is_none() && strict { Err(AuthError::BadCredential) } else { Ok(who) }
}

fn of_token(token: &Token) -> Who {
    Who { user: Some(token.user), scope: token.scope }
}

/// The scheme and the proof of `Authorization`: exactly two words, apart by any white space.
fn authorization(headers: &HeaderMap) -> Option<(&str, &str)> {
    let mut words = text(headers, "authorization")?.split_whitespace();
    let (scheme, proof) = (words.next()?, words.next()?);
    words.next().is_none().then_some((scheme, proof))
}

/// The scheme `token` counts only in lower case, `bearer` in any.
fn header_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = authorization(headers)?;
    (scheme == "token" || scheme.eq_ignore_ascii_case("bearer")).then_some(token)
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, proof) = authorization(headers)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = base64::engine::general_purpose::STANDARD.decode(proof).ok()?;
    let plain = String::from_utf8(plain).ok()?;
    plain.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()))
}

/// A token as password counts whatever the name is; a token may also stand where the name does.
fn by_password(state: &ForgeState, name: &str, password: &str) -> Option<Who> {
    let token = state.tokens.get(password).or_else(|| {
        let instead_of_name = password.is_empty() || password == "x-oauth-basic";
        state.tokens.get(name).filter(|_| instead_of_name)
    });
    if let Some(token) = token {
        return Some(of_token(token));
    }
    let user = state.user_named(name.strip_suffix("@x.test").unwrap_or(name))?;
    (user.password.as_deref() == Some(password)).then_some(Who { user: Some(user.id), scope: TokenScope::All })
}

fn session(state: &ForgeState, headers: &HeaderMap) -> Option<u64> {
    session_value(state, headers).and_then(|value| state.sessions.get(value).copied())
}

fn session_value<'a>(state: &ForgeState, headers: &'a HeaderMap) -> Option<&'a str> {
    let cookies = headers.get_all("cookie").iter().filter_map(|line| line.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(name, value)| (name == "i_like_gitea" && state.sessions.contains_key(value)).then_some(value))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
