//! Lists, page by page.

use http::header::{HeaderName, LINK};
use serde_json::Value;

use super::body::Pairs;
use super::call::ForgeCall;
use super::reply::FakeReply;
use super::store::{ForgeState, Issue};

/// As the real one is configured by default.
const DEFAULT_PAGE: usize = 30;

const LARGEST_PAGE: usize = 50;

/// Which page is asked for, and how long it is.
pub(super) fn page_asked(call: &ForgeCall) -> (usize, usize) {
    let number = |key: &str| call.query.first(key).and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    let size = match number("limit") {
        0 => DEFAULT_PAGE,
        limit => limit.min(LARGEST_PAGE),
    };
    (number("page").max(1), size)
}

/// One page of rows, with the headers that lead to the others.
pub(super) fn page(
    state: &ForgeState,
    call: &ForgeCall,
    rows: &[&Issue],
    show: fn(&ForgeState, &Issue) -> Value,
) -> FakeReply {
    let (at, size) = page_asked(call);
    let shown: Vec<Value> = rows.iter().skip((at - 1) * size).take(size).map(|issue| show(state, issue)).collect();
    let link = links(&format!("{}{}", state.root, call.path.joined()), &call.query, at, rows.len().div_ceil(size));
    let total = rows.len().to_string();
    let reply = FakeReply::ok(&Value::from(shown)).with(HeaderName::from_static("x-total-count"), &total);
    let exposed = HeaderName::from_static("access-control-expose-headers");
    if link.is_empty() {
        return reply.with(exposed, "X-Total-Count");
    }
    reply.with(exposed, "X-Total-Count, Link").with(LINK, &link)
}

fn links(url: &str, query: &Pairs, at: usize, last: usize) -> String {
    let to = |page: usize, name: &str| {
        let mut pairs: Vec<(String, String)> = query.iter().filter(|(key, _)| key != "page").cloned().collect();
        pairs.push(("page".into(), page.to_string()));
        pairs.sort_by(|one, other| one.0.cmp(&other.0));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        format!("<{url}?{query}>; rel=\"{name}\"")
    };
    let forward = (at < last).then(|| [to(at + 1, "next"), to(last, "last")]);
    let back = (at > 1).then(|| [to(1, "first"), to(at - 1, "prev")]);
    forward.into_iter().chain(back).flatten().collect::<Vec<_>>().join(",")
}
