//! Which requests are GraphQL: all of Linear's API is one path (manual: linear).

use super::super::{Head, ParseError};
use http::Method;

/// What a request is, by its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointMatch {
    /// Nothing of the API's.
    Other,
    /// A document: what it asks for stands in the body, or in the query.
    Graphql,
    /// Not understood.
    Refuse(ParseError),
}

/// The path of the API.
pub const PATH: &str = "/graphql";

pub fn classify(head: &Head<'_>) -> EndpointMatch {
    let target = head.target;
    let reads = |reading: &[String]| reading.iter().any(|segment| segment.trim().eq_ignore_ascii_case("graphql"));
    if *head.method == Method::OPTIONS || !target.readings().any(reads) {
        return EndpointMatch::Other;
    }
    if let Some(why) = target.ambiguity() {
        return EndpointMatch::Refuse(ParseError::Ambiguous(format!(
            "the path can be read in two ways: {why}; ask {PATH}"
        )));
    }
    match target.segments() {
        [only] if only == "graphql" => EndpointMatch::Graphql,
        // Nothing is served there, whatever it may become.
        _ if matches!(*head.method, Method::GET | Method::HEAD) => EndpointMatch::Other,
        _ => EndpointMatch::Refuse(ParseError::UnknownRoute(format!(
            "{} is not where Linear's API is: ask {PATH}",
            target.path()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Target;
    use super::*;
    use http::HeaderMap;

    #[test]
    fn one_path_is_the_api() {
        for (request, wanted) in [
            ("POST /graphql", "graphql"),
            ("POST /graphql/", "graphql"),
            ("POST //graphql", "graphql"),
            ("GET /graphql?query=%7Ba%7D", "graphql"),
            ("PUT /graphql", "graphql"),
            ("OPTIONS /graphql", "other"),
            ("POST /oauth/token", "other"),
            ("POST /", "other"),
            ("GET /x/graphql", "other"),
            ("POST /x/graphql", "refuse"),
            ("POST /GraphQL", "refuse"),
            ("POST /%67raphql", "refuse"),
            ("POST /x/../graphql", "refuse"),
        ] {
            let (method, target) = request.split_once(' ').unwrap();
            let (method, target, headers) = (method.parse().unwrap(), Target::parse(target), HeaderMap::new());
            let shown = match classify(&Head { method: &method, target: &target, headers: &headers }) {
                EndpointMatch::Other => "other",
                EndpointMatch::Graphql => "graphql",
                EndpointMatch::Refuse(_) => "refuse",
            };
            assert_eq!(shown, wanted, "{request}");
        }
    }
}
