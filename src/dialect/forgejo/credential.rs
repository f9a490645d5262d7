//! Who sends a request, as the tracker would see it (manual: forgejo, section 3.1).
//!
//! A token in the query or in a form body wins over the `Authorization` header, `token` over `access_token`; `sudo` in
//! query or form wins over the header. What is sent on is always headers, so later versions that read the query
//! differently see the same sender. With an `Authorization` no cookie is sent on: only one of them can count.

use super::super::credential::SUDO;
use super::super::{Credential, Head, ParseError, form};
use super::encoding::{Encoding, encoding};
use http::header::{AUTHORIZATION, COOKIE, HeaderName, ORIGIN};
use http::{HeaderMap, Method};

/// The credential of this request. `body` counts only where the tracker would look for a token in it.
pub fn read(head: &Head<'_>, body: &[u8]) -> Result<Credential, ParseError> {
    if SIGNATURES.iter().any(|name| head.headers.contains_key(name)) {
        return Err(refuse("an HTTP signature does not survive the gate, which writes the request anew: use a token"));
    }
    let pairs = parameters(head, body)?;
    let mut credential = Credential::default();
    match token(&pairs)? {
        Some(token) => {
            let value = format!("token {token}").into_bytes();
            only_one_account(head.headers, &value)?;
            credential.add(AUTHORIZATION, value);
        }
        None => copy_headers(head.headers, &mut credential)?,
    }
    for name in ONE_TIME {
        if let Some(value) = single(head.headers, &name)? {
            credential.add_beside(name, value);
        }
    }
    if let Some(login) = sudo(head.headers, &pairs)? {
        credential.act_as(SUDO, &login);
    }
    if let Some(page) = head.headers.get(ORIGIN) {
        credential.speak_for(page);
    }
    Ok(credential)
}

/// Whether [`read`] looks at this header of a request without a body.
pub fn may_identify(header: &HeaderName) -> bool {
    [AUTHORIZATION, COOKIE, ORIGIN, SUDO, CSRF].contains(header)
        || ONE_TIME.contains(header)
        || SIGNATURES.contains(header)
}

/// Names that decide who sends, in query and form.
pub fn is_parameter(name: &str) -> bool {
    matches!(name, "token" | "access_token" | "sudo")
}

/// Every pair in which the tracker looks for a token.
fn parameters(head: &Head<'_>, body: &[u8]) -> Result<Vec<(String, String)>, ParseError> {
    let mut pairs = Vec::new();
    let reads_body = [Method::POST, Method::PUT, Method::PATCH].contains(head.method);
    if reads_body && !body.is_empty() && matches!(encoding(head.headers), Ok(Encoding::Form)) {
        pairs = form::read_pairs(body)?;
    }
    pairs.extend(form::read_query(head.target.query())?);
    pairs.retain(|(name, _)| is_parameter(name));
    Ok(pairs)
}

fn token(pairs: &[(String, String)]) -> Result<Option<&str>, ParseError> {
    let token = parameter(pairs, "token")?;
    let access = parameter(pairs, "access_token")?;
    match (token, access) {
        (Some(one), Some(other)) if one != other => Err(refuse("`token` and `access_token` name two credentials")),
        (one, other) => Ok(one.or(other)),
    }
}

/// The one value of that name. An empty one counts as none, as in the tracker.
fn parameter<'a>(pairs: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, ParseError> {
    let mut values = pairs.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
    let first = values.next();
    if values.any(|other| Some(other) != first) {
        return Err(refuse(&format!("`{name}` is given twice, with two values: send it once")));
    }
    let value = first.filter(|value| !value.is_empty());
    match value {
        Some(value) if !value.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(refuse(&format!("`{name}` holds what no token or name has")))
        }
        value => Ok(value),
    }
}

fn copy_headers(headers: &HeaderMap, credential: &mut Credential) -> Result<(), ParseError> {
    if let Some(value) = authorization(headers)?.filter(|value| !value.is_empty()) {
        credential.add(AUTHORIZATION, value);
        return Ok(());
    }
    // HTTP/2 may split cookies.
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(http::HeaderValue::as_bytes).collect();
    if !cookies.is_empty() {
        credential.add(COOKIE, cookies.join(&b"; "[..]));
        if let Some(value) = single(headers, &CSRF)? {
            credential.add_beside(CSRF, value);
        }
    }
    Ok(())
}

/// The one `Authorization`. Two lines that prove the same are one: git and git-lfs each add theirs.
fn authorization(headers: &HeaderMap) -> Result<Option<Vec<u8>>, ParseError> {
    let mut values = headers.get_all(AUTHORIZATION).iter().map(http::HeaderValue::as_bytes);
    let first = values.next();
    if first.is_some_and(|first| values.any(|other| !Credential::is_same_proof(first, other))) {
        return Err(refuse(
            "the header `authorization` is given twice, with two different credentials, which may be one account's: send the \
             one that is meant, best a token as `Authorization: token …`",
        ));
    }
    Ok(first.map(<[u8]>::to_vec))
}

/// A token beside a name with its password: Forgejo 17 takes the password, older versions and Gitea the token.
fn only_one_account(headers: &HeaderMap, token: &[u8]) -> Result<(), ParseError> {
    let lines = headers.get_all(AUTHORIZATION).iter().map(http::HeaderValue::as_bytes);
    let mut others = lines.filter(|line| !line.is_empty() && !Credential::is_same_proof(line, token));
    if others.any(Credential::is_password) {
        return Err(refuse(
            "the request has a password in `authorization` and a token in its query or form, and versions of the tracker \
             differ in which of them counts, also where both are one account's: send the token alone, as \
             `Authorization: token …`, or the password alone",
        ));
    }
    Ok(())
}

fn sudo(headers: &HeaderMap, pairs: &[(String, String)]) -> Result<Option<String>, ParseError> {
    if let Some(login) = parameter(pairs, "sudo")? {
        return Ok(Some(login.to_owned()));
    }
    let Some(value) = single(headers, &SUDO)? else { return Ok(None) };
    let login = String::from_utf8(value).ok().filter(|login| login.bytes().all(|byte| byte.is_ascii_graphic()));
    login.map(|login| (!login.is_empty()).then_some(login)).ok_or_else(|| refuse("the header `Sudo` holds no name"))
}

fn single(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Vec<u8>>, ParseError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(|value| value.as_bytes().to_vec());
    if values.any(|other| Some(other.as_bytes()) != value.as_deref()) {
        return Err(refuse(&format!("the header `{name}` is given twice, with two values: send it once")));
    }
    Ok(value)
}

fn refuse(text: &str) -> ParseError {
    ParseError::Ambiguous(text.to_owned())
}

const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");
const ONE_TIME: [HeaderName; 2] = [HeaderName::from_static("x-gitea-otp"), HeaderName::from_static("x-forgejo-otp")];
const SIGNATURES: [HeaderName; 2] =
    [HeaderName::from_static("signature"), HeaderName::from_static("x-ssh-certificate")];

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::*;

    /// `expected` lists the headers that are sent on.
    fn check(request: &str, headers: &[(&str, &str)], body: &str, expected: Result<&[(&str, &str)], &str>) {
        let (method, target) = request.split_once(' ').unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let head = Head { method: &method.parse().unwrap(), target: &Target::parse(target), headers: &map };
        match (read(&head, body.as_bytes()), expected) {
            (Ok(credential), Ok(wanted)) => {
                let mut sent = HeaderMap::new();
                credential.apply(&mut sent);
                let mut sent: Vec<(&str, &str)> =
                    sent.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
                sent.sort_unstable();
                assert_eq!(sent, wanted, "{request} {headers:?} {body}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{request}: {error}"),
            (read, expected) => panic!("{request} {headers:?} {body}: {read:?}, expected {expected:?}"),
        }
    }

    /// Whoever remembers a credential by the headers that may identify has all that it is read from.
    #[test]
    fn no_other_header_identifies() {
        use proptest::prelude::*;
        let values = ["token a", "Basic YW5uOnNlY3JldA==", "i_like_gitea=s", "bob", "1", "", "https://page.example"];
        let names = prop::sample::select(vec![
            "authorization",
            "cookie",
            "origin",
            "sudo",
            "x-csrf-token",
            "x-gitea-otp",
            "x-forgejo-otp",
            "signature",
            "x-ssh-certificate",
            "content-type",
            "accept",
            "private-token",
            "x-forwarded-user",
            "proxy-authorization",
        ]);
        let headers = prop::collection::vec((names, prop::sample::select(values.to_vec())), 0..6);
        proptest!(|(headers in headers, query in prop::sample::select(vec!["", "?token=b", "?sudo=eve"]))| {
            let (mut all, mut identifying) = (HeaderMap::new(), HeaderMap::new());
            for (name, value) in headers {
                let (name, value) = (HeaderName::from_static(name), http::HeaderValue::from_static(value));
                if may_identify(&name) {
                    identifying.append(name.clone(), value.clone());
                }
                all.append(name, value);
            }
            let target = Target::parse(&format!("/x{query}"));
            let read = |headers| read(&Head { method: &Method::GET, target: &target, headers }, b"");
            match (read(&all), read(&identifying)) {
                (Ok(one), Ok(other)) => prop_assert!(one.material() == other.material() && one.kinds() == other.kinds()),
                (one, other) => prop_assert_eq!(one.err(), other.err()),
            }
        });
    }

    #[test]
    fn is_what_the_tracker_sees() {
        const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
        const JSON: (&str, &str) = ("content-type", "application/json");
        let a = ("authorization", "token a");
        check("PATCH /x", &[], "", Ok(&[]));
        check("PATCH /x", &[a], "", Ok(&[a]));
        check("PATCH /x", &[("authorization", "Bearer a")], "", Ok(&[("authorization", "Bearer a")]));
        check(
            "PATCH /x",
            &[("authorization", "Basic cm9vdDE6YQ==")],
            "",
            Ok(&[("authorization", "Basic cm9vdDE6YQ==")]),
        );
        // Two lines are one where they prove the same, in whatever form.
        let b = ("authorization", "token b");
        let hex = "0123456789abcdef0123456789abcdef01234567";
        let (token, bearer) = (format!("token {hex}"), format!("Bearer {hex}"));
        let basic = ("authorization", "Basic eDowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3");
        check("PATCH /x", &[a, a], "", Ok(&[a]));
        check("PATCH /x", &[a, ("authorization", "bearer  a")], "", Ok(&[a]));
        check("PATCH /x", &[basic, ("authorization", &token), ("authorization", &bearer)], "", Ok(&[basic]));
        check("PATCH /x", &[a, b], "", Err("two different credentials"));
        check("PATCH /x", &[a, ("authorization", "")], "", Err("two different credentials"));
        // A password beside a token: versions differ in which of them counts.
        let password = ("authorization", "Basic YW5uOnNlY3JldA==");
        check("PATCH /x?token=b", &[password], "", Err("versions of the tracker"));
        check("PATCH /x?token=b", &[password], "", Err("send the token alone"));
        check("PATCH /x", &[password, a], "", Err("send the one that is meant, best a token"));
        check("PATCH /x", &[password, FORM], "access_token=b", Err("versions of the tracker"));
        check(&format!("PATCH /x?token={hex}"), &[basic], "", Ok(&[("authorization", &token)]));
        check("PATCH /x?token=", &[password], "", Ok(&[password]));
        // The query wins over the header, the form is read with it, `token` comes first.
        check("PATCH /x?token=b", &[a], "", Ok(&[("authorization", "token b")]));
        check("PATCH /x?%74oken=b", &[a], "", Ok(&[("authorization", "token b")]));
        check("PATCH /x?access_token=b", &[a], "", Ok(&[("authorization", "token b")]));
        check("PATCH /x?token=", &[a], "", Ok(&[a]));
        check("PATCH /x?token=&access_token=b", &[a], "", Ok(&[("authorization", "token b")]));
        check("PATCH /x?token=b&access_token=b", &[], "", Ok(&[("authorization", "token b")]));
        check("PATCH /x?token=b&access_token=c", &[], "", Err("two credentials"));
        check("PATCH /x?token=b&token=c", &[], "", Err("`token` is given twice"));
        check("PATCH /x?token=b&token=b", &[], "", Ok(&[("authorization", "token b")]));
        check("PATCH /x?token=&token=b", &[], "", Err("`token` is given twice"));
        check("PATCH /x?token=b%0d%0ax", &[], "", Err("no token or name"));
        check("PATCH /x", &[a, FORM], "token=b", Ok(&[("authorization", "token b")]));
        check("PATCH /x?token=c", &[a, FORM], "token=b", Err("given twice"));
        check("PATCH /x", &[a, JSON], "token=b", Ok(&[a]));
        check("GET /x", &[a, FORM], "token=b", Ok(&[a]));
        check("DELETE /x", &[a, FORM], "token=b", Ok(&[a]));
        check("GET /x?Token=b", &[a], "", Ok(&[a]));
        check("GET /x?token=b;c", &[a], "", Err("two ways"));
        // Impersonation.
        check("PATCH /x?sudo=bob", &[a], "", Ok(&[a, ("sudo", "bob")]));
        check("PATCH /x", &[a, ("sudo", "bob")], "", Ok(&[a, ("sudo", "bob")]));
        check("PATCH /x?sudo=eve", &[a, ("sudo", "bob")], "", Ok(&[a, ("sudo", "eve")]));
        check("PATCH /x", &[a, ("sudo", "bob"), FORM], "sudo=eve", Ok(&[a, ("sudo", "eve")]));
        check("PATCH /x", &[a, ("sudo", "bob"), ("sudo", "bob")], "", Ok(&[a, ("sudo", "bob")]));
        check("PATCH /x", &[a, ("sudo", "bob"), ("sudo", "eve")], "", Err("`sudo` is given twice"));
        check("PATCH /x?sudo=bob&sudo=eve", &[a], "", Err("`sudo` is given twice"));
        check("PATCH /x", &[a, ("sudo", "")], "", Ok(&[a]));
        // Second factor, sessions, signatures, and what a trusted front would add.
        check("PATCH /x", &[a, ("x-gitea-otp", "1")], "", Ok(&[a, ("x-gitea-otp", "1")]));
        let session = [("cookie", "i_like_gitea=s"), ("cookie", "lang=en"), ("x-csrf-token", "c")];
        check("PATCH /x", &session, "", Ok(&[("cookie", "i_like_gitea=s; lang=en"), ("x-csrf-token", "c")]));
        check("PATCH /x", &[a, ("cookie", "i_like_gitea=s"), ("x-csrf-token", "c")], "", Ok(&[a]));
        check("PATCH /x", &[a, ("signature", "keyId=1")], "", Err("signature"));
        check("PATCH /x", &[a, ("x-ssh-certificate", "1")], "", Err("signature"));
        check("PATCH /x", &[a, ("x-webauth-user", "root")], "", Ok(&[a]));
    }
}
