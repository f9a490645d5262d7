//! Who sends a request, as Jira would see it (manual: jira, section 5).
//!
//! `Authorization` and the cookies of a session; the parameters `os_username` and `os_password` of old versions become a
//! header. What signs the address that a request was sent to is no credential that the gate can read an issue with.

use super::super::{Credential, Head, ParseError};
use super::body::refuse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, ORIGIN};

/// The credential of this request.
pub fn read(head: &Head<'_>) -> Result<Credential, ParseError> {
    let mut credential = Credential::default();
    let header = one(head.headers, &AUTHORIZATION)?.filter(|value| !value.is_empty());
    match (header, of_query(head)?) {
        (Some(_), Some(_)) => {
            return Err(refuse(
                "the request has two credentials, a header and parameters: send the header Authorization",
            ));
        }
        (Some(value), None) => {
            let scheme = value.split(' ').next().unwrap_or_default();
            if ["jwt", "oauth", "dpop"].iter().any(|signed| scheme.eq_ignore_ascii_case(signed)) {
                return Err(refuse(
                    "this credential signs the address that the request was sent to, so that the gate cannot read the issue \
                     with it: use an API token, a personal access token or OAuth 2.0",
                ));
            }
            credential.add(AUTHORIZATION, value.into_bytes());
        }
        (None, Some(value)) => credential.add(AUTHORIZATION, value),
        (None, None) => {}
    }
    if let Some(session) = session(head.headers) {
        credential.add(COOKIE, session);
    }
    if let Some(page) = head.headers.get(ORIGIN) {
        credential.speak_for(page);
    }
    Ok(credential)
}

/// The gate's own account: `email:token` of Cloud, or a personal access token.
pub fn service(token: &str) -> Credential {
    let mut credential = Credential::default();
    let value = match token.split_once(':') {
        Some(_) => format!("Basic {}", STANDARD.encode(token)),
        None => format!("Bearer {token}"),
    };
    credential.add(AUTHORIZATION, value.into_bytes());
    credential
}

/// Whether a parameter of a query says who sends.
pub fn is_parameter(name: &str) -> bool {
    matches!(name, "os_username" | "os_password" | "os_authType" | "jwt" | "access_token")
}

fn of_query(head: &Head<'_>) -> Result<Option<Vec<u8>>, ParseError> {
    if !head.target.query().is_some_and(|query| query.contains("os_") || query.contains("jwt") || query.contains('%')) {
        return Ok(None);
    }
    let pairs = head.target.pairs()?;
    let value = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    if value("jwt").is_some() {
        return Err(refuse("the parameter `jwt` signs the address that the request was sent to: use an API token"));
    }
    match (value("os_username"), value("os_password")) {
        (None, None) => Ok(None),
        (Some(name), Some(password)) if !name.contains(':') => {
            Ok(Some(format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))).into_bytes()))
        }
        _ => Err(refuse("`os_username` and `os_password` go together")),
    }
}

/// The cookies that prove who sends, in the order in which they came. HTTP/2 may split them.
fn session(headers: &HeaderMap) -> Option<Vec<u8>> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let own = |cookie: &&str| cookie.split_once('=').is_some_and(|(name, _)| PROOFS.contains(&name.trim()));
    let kept: Vec<&str> = all.flat_map(|value| value.split(';').map(str::trim)).filter(own).collect();
    (!kept.is_empty()).then(|| kept.join("; ").into_bytes())
}

fn one(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, ParseError> {
    let mut all = headers.get_all(name).iter();
    let (first, second) = (all.next(), all.next());
    if second.is_some() {
        return Err(refuse(format!("the header {name} is given twice: send it once")));
    }
    let text = |value: &http::HeaderValue| value.to_str().map(|text| text.trim().to_owned());
    first.map(text).transpose().map_err(|_| refuse(format!("the header {name} holds what no credential has")))
}

/// Cookies of Server and Data Center, of Crowd, and of Cloud.
const PROOFS: [&str; 6] = [
    "JSESSIONID",
    "seraph.rememberme.cookie",
    "crowd.token_key",
    "studio.crowd.tokenkey",
    "cloud.session.token",
    "tenant.session.token",
];

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::*;

    fn check(target: &str, headers: &[(&str, &str)], expected: Result<&[(&str, &str)], &str>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let head = Head { method: &http::Method::PUT, target: &Target::parse(target), headers: &map };
        match (read(&head), expected) {
            (Ok(credential), Ok(wanted)) => {
                let mut sent = HeaderMap::new();
                credential.apply(&mut sent);
                let sent: Vec<(&str, &str)> =
                    sent.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
                assert_eq!(sent, wanted, "{target} {headers:?}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{target}: {error}"),
            (read, _) => panic!("{target} {headers:?}: {read:?}"),
        }
    }

    #[test]
    fn what_proves_who_sends() {
        const BASIC: (&str, &str) = ("authorization", "Basic YTpi");
        let path = "/rest/api/2/issue/A-1";
        check(path, &[], Ok(&[]));
        check(path, &[BASIC], Ok(&[BASIC]));
        check(path, &[("authorization", "Bearer pat")], Ok(&[("authorization", "Bearer pat")]));
        check(path, &[("cookie", "theme=dark; JSESSIONID=x; a=b")], Ok(&[("cookie", "JSESSIONID=x")]));
        check(path, &[BASIC, ("cookie", "JSESSIONID=x")], Ok(&[BASIC, ("cookie", "JSESSIONID=x")]));
        check("/x?os_username=a&os_password=b", &[], Ok(&[BASIC]));
        check("/x?%6fs_username=a&os_password=b", &[], Ok(&[BASIC]));
        check("/x?os_username=a&os_password=b", &[BASIC], Err("two credentials"));
        check("/x?os_username=a", &[], Err("go together"));
        check("/x?jwt=a", &[], Err("signs the address"));
        check(path, &[("authorization", "JWT a.b.c")], Err("signs the address"));
        check(path, &[("authorization", "OAuth oauth_signature=\"x\"")], Err("signs the address"));
        check(path, &[BASIC, BASIC], Err("given twice"));
    }

    #[test]
    fn the_gate_signs_in_either_way() {
        let sent = |token: &str| {
            let mut headers = HeaderMap::new();
            service(token).apply(&mut headers);
            headers[AUTHORIZATION].to_str().unwrap().to_owned()
        };
        assert_eq!(sent("a:b"), "Basic YTpi");
        assert_eq!(sent("pat"), "Bearer pat");
    }
}
