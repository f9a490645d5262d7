//! No credential that passes the gate is to be found anywhere afterwards, wherever Jira takes one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::json;

use super::fake::Flavour;
use super::support::{gate, jira};
use crate::e2e::{Client, stop_and_verify};

const TALKATIVE: &str = "[log]\nlevel = \"trace\"";

/// Where Jira takes a secret.
#[derive(Clone, Copy, Debug)]
enum Spot {
    /// Cloud: an API token beside an address. Server: a password.
    Basic,
    Bearer,
    Jwt,
    OAuth1,
    Cookie(&'static str),
    Query(&'static str),
    /// What a form of the pages carries.
    XsrfToken,
    Text,
}

const PLACES: [Spot; 14] = [
    Spot::Basic,
    Spot::Bearer,
    Spot::Jwt,
    Spot::OAuth1,
    Spot::Cookie("JSESSIONID"),
    Spot::Cookie("seraph.rememberme.cookie"),
    Spot::Cookie("cloud.session.token"),
    Spot::Cookie("tenant.session.token"),
    Spot::Cookie("atlassian.xsrf.token"),
    Spot::Query("os_password"),
    Spot::Query("jwt"),
    Spot::Query("access_token"),
    Spot::XsrfToken,
    Spot::Text,
];

struct Carrier {
    secret: String,
    query: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

fn carrier(place: Spot, number: usize, account: &serde_json::Value) -> Carrier {
    let secret = format!("ATATTc0ffee{:034x}", 0x9e37_79b9_7f4a_7c15_u128.wrapping_mul(number as u128 + 1));
    let mut carrier = Carrier { query: String::new(), headers: Vec::new(), body: account.to_string(), secret };
    let secret = carrier.secret.clone();
    match place {
        Spot::Basic => {
            let proof = STANDARD.encode(format!("dev-1:{secret}"));
            carrier.headers.push(("authorization", format!("Basic {proof}")));
        }
        Spot::Bearer => carrier.headers.push(("authorization", format!("Bearer {secret}"))),
        Spot::Jwt => carrier.headers.push(("authorization", format!("JWT {secret}"))),
        Spot::OAuth1 => carrier.headers.push(("authorization", format!("OAuth oauth_token=\"{secret}\""))),
        Spot::Cookie(name) => carrier.headers.push(("cookie", format!("{name}={secret}"))),
        Spot::Query(name) => carrier.query = format!("?os_username=dev-1&{name}={secret}"),
        Spot::XsrfToken => carrier.headers.push(("x-atlassian-token", secret)),
        Spot::Text => carrier.body = json!({ "fields": { "summary": secret, "assignee": account } }).to_string(),
    }
    carrier
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_kept_or_told() {
    let jira = jira(Flavour::DataCenter).await;
    let gate = gate(&jira, TALKATIVE).await;
    let account = jira.named("dev-1");
    let issue = jira.add_issue("GLO", "one");
    let path = format!("/rest/api/2/issue/{issue}");
    let carriers: Vec<Carrier> =
        PLACES.iter().enumerate().map(|(number, place)| carrier(*place, number, &account)).collect();
    let (mut told, mut opened) = (Vec::new(), 0);
    for (place, carrier) in PLACES.iter().zip(&carriers) {
        // The secret is a real one, so that what it opens is met, too.
        if let Some(user) = jira.rows().users.get_mut("dev-1") {
            (user.secret, user.session) = (carrier.secret.clone(), Some(carrier.secret.clone()));
        }
        let mut client = Client::new(gate.address, "dev-1");
        client.authorization = None;
        let headers: Vec<(&str, &str)> = std::iter::once(("content-type", "application/json"))
            .chain(carrier.headers.iter().map(|(name, value)| (*name, value.as_str())))
            .collect();
        let end = if matches!(place, Spot::Text) { "" } else { "/assignee" };
        for body in [carrier.body.clone(), carrier.body.replace(':', "")] {
            let target = format!("{path}{end}{}", carrier.query);
            let answer = client.send(Method::PUT, &target, &headers, body.into()).await;
            opened += usize::from(answer.status == 204);
            // What Jira itself says of the item holds no secret.
            told.push((format!("{place:?}"), format!("{:?} {}", answer.headers, answer.text())));
        }
        let read = client.send(Method::GET, &format!("{path}/transitions{}", carrier.query), &headers, "".into()).await;
        told.push((format!("read by {place:?}"), format!("{:?} {}", read.headers, read.text())));
    }
    assert!(opened >= 4, "{opened}");
    for page in ["/claims", "/refusals", "/status", "/metrics"] {
        told.push((page.to_owned(), gate.operator().get(page).await.text()));
    }
    told.push(("standard output".to_owned(), gate.stdout()));
    told.push(("standard error".to_owned(), gate.stderr()));
    for entry in std::fs::read_dir(gate.state_dir()).expect("a directory").flatten() {
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        told.push((entry.path().display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    assert!(gate.stderr().contains("\"level\":\"TRACE\""), "the log was as talkative as it can be");
    for carrier in &carriers {
        let forms = [carrier.secret.clone(), STANDARD.encode(format!("dev-1:{}", carrier.secret))];
        let leaks = told.iter().filter(|(_, text)| forms.iter().any(|form| text.contains(form)));
        let leaks: Vec<&String> = leaks.map(|(place, _)| place).collect();
        assert!(leaks.is_empty(), "{}: {leaks:?}", carrier.secret);
    }
    stop_and_verify(gate, opened).await;
}
