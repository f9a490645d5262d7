//! The recorded exchanges: how one is sent to a Redmine, and how its answer is compared with the recorded one.
//!
//! A request names issues as `{a}` and secrets as `{key:dev-1}`, so that it can be sent to any instance. `keep` gives an
//! issue that was created its letter. `on` names the issue whose assignee and status an administrator sets before, to
//! what `before` says, and reads after: a 204 proves nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::real::{self, Accounts, Answer};

/// One instance in the course of a replay.
pub struct Replay<'a> {
    pub addr: SocketAddr,
    pub accounts: &'a Accounts,
    /// Issues by their letters.
    kept: BTreeMap<String, u64>,
}

impl<'a> Replay<'a> {
    pub fn new(addr: SocketAddr, accounts: &'a Accounts) -> Self {
        Self { addr, accounts, kept: BTreeMap::new() }
    }

    /// Sends one exchange's request; its answer, and what it left, in the form in which they are recorded.
    pub fn answer(&mut self, exchange: &Value) -> (Value, Value) {
        let on = exchange["on"].as_str().map(|letter| self.kept[letter]);
        if let Some(id) = on {
            let [assignee, status] = [&exchange["before"][0], &exchange["before"][1]];
            let body = json!({ "issue": { "assigned_to_id": assignee, "status_id": status } });
            let set = self.admin("PUT", id, &body.to_string());
            assert_eq!(set.status, 204, "{}", set.body);
        }
        let answer = self.send(exchange);
        if let Some(letter) = exchange["keep"].as_str() {
            let made: Value = serde_json::from_str(&answer.body).expect("what was made is JSON");
            let id = made["issue"]["id"].as_u64().expect("what was made has an id");
            self.kept.insert(letter.to_owned(), id);
        }
        let left = on.map_or(Value::Null, |id| {
            let issue: Value = serde_json::from_str(&self.admin("GET", id, "").body).expect("JSON");
            json!([issue["issue"]["assigned_to"]["id"], issue["issue"]["status"]["id"]])
        });
        (self.plain(&answer), left)
    }

    fn admin(&self, method: &str, id: u64, body: &str) -> Answer {
        real::call(self.addr, self.accounts, "admin", (method, &format!("/issues/{id}.json")), body)
    }

    fn send(&self, exchange: &Value) -> Answer {
        let request = &exchange["request"];
        let text = |member: &str| self.filled(request[member].as_str().unwrap_or_default());
        let mut head = format!("{} {} HTTP/1.1\r\n", text("method"), text("path"));
        if let Some(who) = exchange["as"].as_str() {
            head.extend(["X-Redmine-API-Key: ", self.key(who), "\r\n"]);
        }
        for line in request["headers"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            head.extend([self.filled(line).as_str(), "\r\n"]);
        }
        if let Some(kind) = request["content_type"].as_str() {
            head.extend(["Content-Type: ", kind, "\r\n"]);
        }
        real::send(self.addr, &head, text("body").as_bytes())
    }

    fn key(&self, who: &str) -> &str {
        self.accounts[who].key.as_deref().expect("a key")
    }

    /// The text with what it names put in.
    fn filled(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (letter, id) in &self.kept {
            filled = filled.replace(&format!("{{{letter}}}"), &id.to_string());
        }
        let base64 = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
        for (name, account) in self.accounts {
            let Some(key) = &account.key else { continue };
            filled = filled.replace(&format!("{{key:{name}}}"), key);
            filled = filled.replace(&format!("{{basic:{name}}}"), &base64(format!("{key}:anything")));
            filled = filled.replace(&format!("{{password:{name}}}"), &base64(format!("{name}:Passw0rd-{name}")));
        }
        filled
    }

    /// The answer without what another instance, or another moment, would answer.
    fn plain(&self, answer: &Answer) -> Value {
        let mut headers = Map::new();
        for name in ["content-type", "location", "www-authenticate"] {
            if let Some((_, value)) = answer.headers.iter().find(|(other, _)| other == name) {
                headers.insert(name.to_owned(), self.plain_text(value).into());
            }
        }
        let is_page = answer.headers.iter().any(|(_, value)| value.starts_with("text/html"));
        let body = if is_page {
            // Pages are as the theme has them.
            Value::Null
        } else if let Ok(value) = serde_json::from_str(&answer.body) {
            self.plain_value(value)
        } else {
            let pieces: Vec<String> = answer.body.split('<').map(|piece| self.plain_piece(piece)).collect();
            pieces.join("<").into()
        };
        json!({ "status": answer.status, "headers": headers, "body": body })
    }

    fn plain_value(&self, value: Value) -> Value {
        match value {
            Value::Object(members) => {
                let is_issue = members.contains_key("subject");
                let plain = members.into_iter().map(|(name, value)| {
                    let value = match (name.as_str(), value) {
                        ("id", Value::Number(id)) if is_issue => self.letter(&id.to_string()).into(),
                        // Journals are counted over all issues, and issues that other tests made are in no list here.
                        ("total_count", _) => "<count>".into(),
                        ("journals", Value::Array(all)) => {
                            all.into_iter().map(|journal| self.plain_value(without_id(journal))).collect()
                        }
                        (_, value) => self.plain_value(value),
                    };
                    (name, value)
                });
                Value::Object(plain.collect())
            }
            Value::Array(all) => all.into_iter().map(|value| self.plain_value(value)).collect(),
            Value::String(text) => self.plain_text(&text).into(),
            other => other,
        }
    }

    /// `tag>text` of XML.
    fn plain_piece(&self, piece: &str) -> String {
        match piece.split_once('>') {
            Some(("id", text)) => format!("id>{}", self.letter(text)),
            Some((tag, text)) if tag.contains("total_count") => {
                let rest = tag.split_once(" offset").map_or("", |(_, rest)| rest);
                format!("issues total_count=\"<count>\" offset{rest}>{text}")
            }
            Some((tag, text)) => format!("{tag}>{}", self.plain_text(text)),
            None => piece.to_owned(),
        }
    }

    fn plain_text(&self, text: &str) -> String {
        let is_date = text.len() >= 10 && text.starts_with("20") && text.as_bytes()[4] == b'-';
        let is_key = self.accounts.values().any(|account| account.key.as_deref() == Some(text));
        if is_date {
            return "<time>".to_owned();
        }
        if is_key {
            return "<key>".to_owned();
        }
        match text.split_once("/issues/") {
            Some((_, id)) => format!("/issues/{}", self.letter(id)),
            None => text.to_owned(),
        }
    }

    fn letter(&self, id: &str) -> String {
        let kept = self.kept.iter().find(|(_, kept)| kept.to_string() == id);
        kept.map_or_else(|| "{}".to_owned(), |(letter, _)| format!("{{{letter}}}"))
    }
}

fn without_id(journal: Value) -> Value {
    let Value::Object(mut members) = journal else { return journal };
    members.shift_remove("id");
    Value::Object(members)
}
