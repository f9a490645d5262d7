//! The live page at `/` of the admin listener: who holds what, who waits, what needs a look, the last refusals.
//!
//! Plain HTML that is whole without script. With it, the page shows what comes over `/events`: the same HTML, rendered once
//! for all who look. Nothing on it changes anything, and nothing is loaded from elsewhere.

use super::admin::{AdminBody, whole};
use super::status::{GateFacts, since};
use crate::effect::audit::rfc3339;
use crate::gate::{BoardView, Gate, Refusal, Standing, Waiting};
use crate::model::{Actor, ItemRecord, Time};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The page, and what those who look at it are sent.
pub(super) struct Page {
    gate: Arc<Gate>,
    facts: GateFacts,
    events: watch::Sender<Bytes>,
}

/// A row of the table of held items, as text.
struct HeldRow<'a> {
    record: &'a ItemRecord,
    standing: Standing,
    place: String,
    agent: String,
}

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");
const ICON: &str = include_str!("page/icon.svg");
/// Nothing from elsewhere, nothing inline, and nobody frames it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Rows of one table: the search finds the others.
const MOST_ROWS: usize = 300;
/// Refusals on the page.
const MOST_REFUSALS: usize = 100;
/// Names of one list of links.
const MOST_CHIPS: usize = 24;
/// Between two events at least.
const EVENT_EACH: Duration = Duration::from_millis(400);
/// Ages and silence change without an event of the gate's.
const AGAIN: Duration = Duration::from_secs(5);

// === impl Page ===

impl Page {
    pub(super) fn new(gate: Arc<Gate>, facts: GateFacts) -> Self {
        Self { gate, facts, events: watch::Sender::new(Bytes::new()) }
    }

    /// Answers for the page, its files and its events.
    pub(super) async fn answer(&self, path: &str, query: Option<&str>) -> Option<Response<AdminBody>> {
        Some(match path {
            "/" => page(self.whole(query).await),
            "/page.css" => file(STYLE, "text/css; charset=utf-8"),
            "/page.js" => file(SCRIPT, "text/javascript; charset=utf-8"),
            "/icon.svg" => file(ICON, "image/svg+xml"),
            "/events" => self.stream().await,
            _ => return None,
        })
    }

    /// Sends the board to all who look, as it changes. Runs until it is aborted.
    pub(super) async fn run(&self) {
        let mut changes = self.gate.board_changes();
        loop {
            tokio::time::sleep(EVENT_EACH).await;
            let waits = !self.gate.waiting().is_empty();
            let again = if waits { EVENT_EACH } else { AGAIN };
            if !matches!(tokio::time::timeout(again, changes.changed()).await, Ok(Ok(())) | Err(_)) {
                return;
            }
            if self.events.receiver_count() > 0 {
                self.events.send_replace(self.event().await);
            }
        }
    }

    async fn event(&self) -> Bytes {
        let html = self.parts("").await;
        let mut event = String::with_capacity(html.len() + 64);
        event.push_str("event: board\n");
        for line in html.lines() {
            let _ = writeln!(event, "data: {line}");
        }
        event.push('\n');
        event.into()
    }

    /// The board now, and then each time it changes.
    async fn stream(&self) -> Response<AdminBody> {
        let mut events = self.events.subscribe();
        events.mark_unchanged();
        let first = self.event().await;
        let frames = stream::unfold((events, Some(first)), |(mut events, first)| async move {
            let event = if let Some(first) = first {
                first
            } else {
                events.changed().await.ok()?;
                events.borrow_and_update().clone()
            };
            Some((Ok::<_, Infallible>(Frame::data(event)), (events, None)))
        });
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    async fn whole(&self, query: Option<&str>) -> String {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let words = pairs.into_iter().find(|(name, _)| name == "q").map(|(_, value)| value.into_owned());
        let words = words.unwrap_or_default();
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>claimgate: who holds what</title>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <link rel=\"icon\" href=\"/icon.svg\">\n<link rel=\"stylesheet\" href=\"/page.css\">\n\
             <noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n<script src=\"/page.js\" defer></script>\n\
             </head>\n<body>\n<a class=\"skip\" href=\"#board\">To the board</a>\n<header>\n<h1>claimgate</h1> <span id=\"live\" class=\"quiet\" role=\"status\"></span>\n\
             <form role=\"search\" action=\"/\" method=\"get\">\n<input type=\"search\" id=\"q\" name=\"q\" value=\"{}\" \
             aria-label=\"Search items, agents and refusals\" placeholder=\"item, agent, code\" autocomplete=\"off\">\n\
             <noscript><button>Search</button></noscript>\n</form>\n</header>\n<main id=\"board\" tabindex=\"-1\">\n{}</main>\n\
             <footer><p>Nothing on this page changes anything.</p></footer>\n\
             </body>\n</html>\n",
            escaped(&words),
            self.parts(&words).await
        )
    }

    /// What changes of the page, each part by its name.
    async fn parts(&self, words: &str) -> String {
        let board = match self.gate.board().await {
            Ok(board) => board,
            Err(error) => {
                return format!("<p class=\"notice\" data-part=\"facts\">{}</p>\n", escaped(&error.to_string()));
            }
        };
        let now = self.gate.ports().clock.now();
        let mut html = self.head(&board, now);
        let words = words.trim().to_lowercase();
        let held = held_rows(&board);
        let odd = |row: &&HeldRow<'_>| {
            matches!(row.standing, Standing::Doubt | Standing::Contested | Standing::Stale | Standing::Free)
        };
        look_section(&mut html, &held.iter().filter(odd).collect::<Vec<_>>(), &words, now);
        held_section(&mut html, &held, &words, now);
        waiting_section(&mut html, &board.waiting, &words);
        refusal_section(&mut html, &board.refusals, &words);
        html
    }

    /// What the gate is, and how many of what.
    fn head(&self, board: &BoardView, now: Time) -> String {
        let mut html = String::from("<div data-part=\"facts\">");
        for trouble in self.facts.troubles(&self.gate) {
            let _ = write!(html, "<p class=\"notice\">{}</p>", escaped(&trouble));
        }
        let modes = self.gate.rules().modes();
        let modes: Vec<String> = modes.iter().map(|(rule, _, mode)| format!("{rule}: {}", mode.as_str())).collect();
        let _ = write!(
            html,
            "<p class=\"facts\">Version {} before {} &middot; {} &middot; as of <time datetime=\"{at}\">{}</time></p>",
            escaped(self.facts.version.split(" (").next().unwrap_or_default()),
            escaped(&self.facts.upstream),
            escaped(&modes.join(", ")),
            clock(&rfc3339(now)),
            at = rfc3339(now),
        );
        let count = |wanted: Standing| board.items.iter().filter(|(_, standing)| *standing == wanted).count();
        let held = board.items.iter().filter(|(record, _)| record.holding.is_some()).count();
        let waiting: usize = board.waiting.iter().map(|waiting| waiting.count).sum();
        html.push_str("</div>\n<ul class=\"tiles\" data-part=\"tiles\" aria-label=\"Counts\">");
        for (count, name, class) in [
            (held, "held", ""),
            (waiting, "waiting", ""),
            (count(Standing::Doubt), "in doubt", "bad"),
            (count(Standing::Contested), "contested", "bad"),
            (count(Standing::Stale), "stale", "warn"),
            (count(Standing::Parked), "parked", ""),
        ] {
            let class = if count == 0 { "" } else { class };
            let _ = write!(html, "<li class=\"{class}\"><b>{count}</b> {name}</li>");
        }
        html.push_str("</ul>\n");
        html
    }
}

fn held_rows(board: &BoardView) -> Vec<HeldRow<'_>> {
    let row = |(record, standing): &'_ (ItemRecord, Standing)| {
        let agent = record.holding.as_ref().map(|held| held.actor.to_string());
        let agent = agent.or_else(|| record.doubts.first().map(|doubt| doubt.actor.to_string()));
        (record.locator.to_string(), agent.unwrap_or_default(), *standing)
    };
    let rows = board.items.iter().map(|item| (item, row(item)));
    rows.map(|((record, _), (place, agent, standing))| HeldRow { record, standing, place, agent }).collect()
}

/// What somebody should look at, and what can be done about it.
fn look_section(html: &mut String, rows: &[&HeldRow<'_>], words: &str, now: Time) {
    html.push_str(
        "<section aria-labelledby=\"look-title\"><h2 id=\"look-title\">Needs a look</h2><div data-part=\"look\">",
    );
    if rows.is_empty() {
        html.push_str("<p class=\"none\">Nothing is in doubt, contested or stale.</p>");
    } else {
        let cells: Vec<String> = (rows.iter())
            .map(|row| {
                let why = match row.standing {
                    Standing::Doubt | Standing::Free => format!(
                        "A write was sent and its outcome is not known; the item is closed to others for {} s more at most.",
                        row.record.doubt_left(now).as_secs()
                    ),
                    Standing::Contested => {
                        "Somebody wrote it past the gate while it was held: see who is assigned at the tracker.".to_owned()
                    }
                    _ => "Its holder is silent: ask it, or release the item.".to_owned(),
                };
                format!(
                    "<th scope=\"row\">{}</th><td class=\"who\">{}</td><td>{}</td><td class=\"told\">{why}</td>",
                    escaped(&row.place),
                    escaped(&row.agent),
                    state(row.standing)
                )
            })
            .collect();
        table(html, "look", ["Item", "Agent", "State", "What that means"].as_slice(), &cells, words);
    }
    html.push_str("</div></section>\n");
}

fn held_section(html: &mut String, rows: &[HeldRow<'_>], words: &str, now: Time) {
    html.push_str(
        "<section aria-labelledby=\"held-title\"><h2 id=\"held-title\">Who holds what</h2><div data-part=\"held\">",
    );
    let (mut agents, mut projects) = (BTreeMap::new(), BTreeMap::new());
    for row in rows.iter().filter(|row| row.record.holding.is_some()) {
        *agents.entry(row.agent.as_str()).or_insert(0_usize) += 1;
        *projects.entry(row.record.locator.project_name()).or_insert(0_usize) += 1;
    }
    chips(html, "By agent", &agents);
    chips(html, "By repository", &projects);
    let cells: Vec<String> = rows
        .iter()
        .map(|row| {
            let held = row.record.holding.as_ref();
            let time = |at: Option<Time>| at.map_or_else(|| "-".to_owned(), |at| ago(at, now));
            let status = held.map(|held| held.last_seen.to_string()).unwrap_or_default();
            format!(
                "<th scope=\"row\">{}</th><td class=\"who\">{}</td><td>{}</td><td>{}</td><td class=\"wide\">{}</td><td class=\"wide quiet\">{}</td>",
                escaped(&row.place),
                escaped(&row.agent),
                state(row.standing),
                time(held.map(|held| held.since)),
                time(held.map(|held| held.renewed)),
                escaped(&status)
            )
        })
        .collect();
    if cells.is_empty() {
        html.push_str("<p class=\"none\">Nobody holds anything.</p>");
    } else {
        table(html, "held", &["Item", "Agent", "State", "Held for", "Last heard of", "At the tracker"], &cells, words);
    }
    html.push_str("</div></section>\n");
}

fn waiting_section(html: &mut String, waiting: &[Waiting], words: &str) {
    html.push_str("<section aria-labelledby=\"wait-title\"><h2 id=\"wait-title\">Who waits for a turn</h2><div data-part=\"wait\">");
    let cells: Vec<String> = waiting
        .iter()
        .map(|waiting| {
            let place = waiting.place.as_ref().map_or_else(|| format!("item {}", waiting.key), ToString::to_string);
            let agents: Vec<String> = waiting.agents.iter().map(Actor::to_string).collect();
            format!(
                "<th scope=\"row\">{}</th><td>{} waiting</td><td>{}</td>",
                escaped(&place),
                waiting.count,
                escaped(&agents.join(", "))
            )
        })
        .collect();
    if cells.is_empty() {
        html.push_str("<p class=\"none\">Nobody waits.</p>");
    } else {
        table(html, "wait", &["Item", "Requests", "Agents"], &cells, words);
    }
    html.push_str("</div></section>\n");
}

fn refusal_section(html: &mut String, refusals: &[Arc<Refusal>], words: &str) {
    html.push_str(
        "<section aria-labelledby=\"no-title\"><h2 id=\"no-title\">Refused lately</h2><div data-part=\"no\">",
    );
    let cells: Vec<String> = refusals
        .iter()
        .map(|refusal| {
            let class = if refusal.observed { "state observed" } else { "state quiet" };
            let code =
                if refusal.observed { format!("{} (observed only)", refusal.code) } else { refusal.code.clone() };
            format!(
                "<td><time datetime=\"{at}\" title=\"{at}\">{}</time></td><th scope=\"row\">{}</th><td class=\"who\">{}</td>\
                 <td><span class=\"{class}\">{}</span></td><td class=\"told\">{}</td>",
                clock(&refusal.time),
                escaped(refusal.resource.as_deref().unwrap_or("-")),
                escaped(&refusal.agent()),
                escaped(&code),
                escaped(&refusal.text),
                at = escaped(&refusal.time),
            )
        })
        .collect();
    if cells.is_empty() {
        html.push_str("<p class=\"none\">Nothing was refused.</p>");
    } else {
        let most = if words.is_empty() { MOST_REFUSALS } else { cells.len() };
        table(html, "no", &["At", "Item", "Agent", "Code", "What it was told"], &cells[..most.min(cells.len())], words);
    }
    html.push_str("</div></section>\n");
}

/// A table of those rows that have the words in them.
fn table(html: &mut String, name: &str, heads: &[&str], rows: &[String], words: &str) {
    let found: Vec<&String> = rows.iter().filter(|row| words.is_empty() || text_of(row).contains(words)).collect();
    let _ = write!(
        html,
        "<div class=\"scroll\" role=\"region\" aria-labelledby=\"{name}-title\" tabindex=\"0\"><table id=\"{name}\"><thead><tr>"
    );
    for head in heads {
        let class = if matches!(*head, "Last heard of" | "At the tracker") { " class=\"wide\"" } else { "" };
        let _ = write!(html, "<th scope=\"col\"{class}>{head}</th>");
    }
    html.push_str("</tr></thead><tbody>");
    for row in found.iter().take(MOST_ROWS) {
        let _ = write!(html, "<tr data-row>{row}</tr>");
    }
    html.push_str("</tbody></table></div>");
    let hidden = if found.is_empty() { "" } else { " hidden" };
    let _ = write!(html, "<p class=\"none\" id=\"{name}-none\"{hidden}>Nothing here has these words in it.</p>");
    if found.len() > MOST_ROWS {
        let _ = write!(html, "<p class=\"none\" data-cut>{} more: search for them.</p>", found.len() - MOST_ROWS);
    }
}

/// Links that search for each of these names.
fn chips(html: &mut String, title: &str, counts: &BTreeMap<&str, usize>) {
    if counts.is_empty() {
        return;
    }
    let mut sorted: Vec<(&&str, &usize)> = counts.iter().collect();
    sorted.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
    let _ = write!(html, "<ul class=\"chips\" aria-label=\"{title}\">");
    for (name, count) in sorted.iter().take(MOST_CHIPS) {
        let query: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let _ = write!(html, "<li><a href=\"/?q={query}\">{} <b>{count}</b></a></li>", escaped(name));
    }
    html.push_str("</ul>");
}

fn state(standing: Standing) -> String {
    let name = match standing {
        Standing::Free => "doubt",
        other => other.as_str(),
    };
    format!("<span class=\"state {name}\">{name}</span>")
}

/// How long ago, with the time for whoever wants it.
fn ago(at: Time, now: Time) -> String {
    let full = rfc3339(at);
    format!("<time datetime=\"{full}\" title=\"{full}\">{}</time>", since(now.since(at)))
}

/// The time of the day of an RFC 3339 time.
fn clock(time: &str) -> String {
    escaped(time.get(11..19).unwrap_or(time))
}

/// A row's text in small letters, without its tags.
fn text_of(row: &str) -> String {
    let mut text = String::with_capacity(row.len());
    let mut inside = false;
    for letter in row.chars() {
        match letter {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            letter if !inside => text.extend(letter.to_lowercase()),
            _ => {}
        }
    }
    for (entity, letter) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")] {
        text = text.replace(entity, letter);
    }
    text
}

/// A text that stands in HTML as itself, on one line.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            letter if letter.is_control() => html.push('\u{fffd}'),
            letter => html.push(letter),
        }
    }
    html
}

fn page(html: String) -> Response<AdminBody> {
    let mut response = file_of(html.into(), "text/html; charset=utf-8");
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn file(text: &'static str, kind: &'static str) -> Response<AdminBody> {
    let mut response = file_of(Bytes::from_static(text.as_bytes()), kind);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn file_of(body: Bytes, kind: &'static str) -> Response<AdminBody> {
    let mut response = Response::new(whole(body));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_somebody_chose_becomes_markup() {
        let odd = "<img src=x onerror='a(\"b\")'>&\u{1b}\n";
        assert_eq!(escaped(odd), "&lt;img src=x onerror=&#39;a(&quot;b&quot;)&#39;&gt;&amp;\u{fffd}\u{fffd}");
        assert!(text_of(&format!("<td class=\"x\">{}</td>", escaped(odd))).contains("<img src=x"));
        assert!(!text_of("<td class=\"held\">Bob</td>").contains("held") && text_of("<td>Bob</td>").contains("bob"));
    }

    #[test]
    fn the_search_shows_what_has_its_words() {
        let rows = ["<td>Ann</td>".to_owned(), "<td>bob</td>".to_owned()];
        let shown = |words: &str| {
            let mut html = String::new();
            table(&mut html, "held", &["Agent"], &rows, words);
            (html.matches("data-row").count(), html.contains("<p class=\"none\" id=\"held-none\">"))
        };
        assert_eq!((shown(""), shown("ann"), shown("cid")), ((2, false), (1, false), (0, true)));
    }

    #[test]
    fn a_long_table_says_that_it_is_cut() {
        let rows: Vec<String> = (0..MOST_ROWS + 2).map(|number| format!("<td>{number}</td>")).collect();
        let mut html = String::new();
        table(&mut html, "held", &["Item"], &rows, "");
        assert!(html.matches("data-row").count() == MOST_ROWS && html.contains("data-cut>2 more"), "{html}");
    }
}
