//! The requests that the gate writes: of the client's headers only those that cannot change what a request means.

use super::super::{Credential, WireRequest};
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

/// A read of the gate's own.
pub fn get(target: String, credential: &Credential) -> WireRequest {
    WireRequest { method: Method::GET, target, headers: base(credential), body: Bytes::new() }
}

/// A write in the name of a client, or of the gate itself.
pub fn write(
    method: Method,
    target: String,
    (client, credential): (&HeaderMap, &Credential),
    body: Option<String>,
) -> WireRequest {
    let mut headers = base(credential);
    for name in &KEPT {
        if client.contains_key(name) {
            headers.remove(name);
        }
        for value in client.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    if body.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    }
    WireRequest { method, target, headers, body: body.unwrap_or_default().into() }
}

/// Who the credential is. An installation's token may not ask REST, and is told by GraphQL.
pub fn whoami(credential: &Credential) -> WireRequest {
    if !credential.is_token_of("ghs_") {
        return get("/user".to_owned(), credential);
    }
    document("query{viewer{login}}", &Value::Null, credential)
}

/// A query of the gate's own.
pub fn document(query: &str, variables: &Value, credential: &Credential) -> WireRequest {
    let body = json!({ "query": query, "variables": variables }).to_string();
    write(Method::POST, "/graphql".to_owned(), (&HeaderMap::new(), credential), Some(body))
}

fn base(credential: &Credential) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
    // GitHub answers 403 to whoever does not say what it is.
    headers.insert(USER_AGENT, HeaderValue::from_static("claimgate"));
    credential.apply(&mut headers);
    headers
}

/// The client's headers that survive. Two of them choose a version of the API and its features.
const KEPT: [HeaderName; 8] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    USER_AGENT,
    HeaderName::from_static("x-github-api-version"),
    HeaderName::from_static("graphql-features"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_headers_survive() {
        let mut client = HeaderMap::new();
        for name in [
            "accept",
            "x-github-api-version",
            "graphql-features",
            "authorization",
            "x-http-method-override",
            "if-match",
        ] {
            client.insert(name, HeaderValue::from_static("theirs"));
        }
        let sent =
            write(Method::PATCH, "/x".to_owned(), (&client, &Credential::service("ours")), Some("{}".to_owned()));
        let mut names: Vec<&str> = sent.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "accept",
                "accept-encoding",
                "authorization",
                "content-type",
                "graphql-features",
                "user-agent",
                "x-github-api-version"
            ]
        );
        assert_eq!(sent.headers["accept"], "theirs");
        assert_eq!(sent.headers["authorization"], "token ours");
    }

    #[test]
    fn an_installation_is_asked_for_by_graphql() {
        assert_eq!(whoami(&Credential::service("ghp_x")).target, "/user");
        let asked = whoami(&Credential::service("ghs_x"));
        assert_eq!((asked.method, asked.target.as_str()), (Method::POST, "/graphql"));
    }
}
