//! What a request proves about its sender, in the form in which it is sent on.

use super::json;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use http::header::{AUTHORIZATION, COOKIE, HeaderName, ORIGIN};
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde_json::Value;
use std::fmt;

/// The credential of one request as headers, wherever the client had put it. Wiped when dropped; never printed.
#[derive(Clone, Default)]
pub struct Credential {
    headers: Vec<(HeaderName, SecretSlice<u8>)>,
    /// Some header proves who sends.
    is_proven: bool,
    /// Whom it acts as, and the header that says so.
    sudo: Option<(HeaderName, String)>,
    /// The page for which a browser speaks. It is no part of who the sender is.
    page: Option<HeaderValue>,
}

// === impl Credential ===

impl Credential {
    /// The gate's own account.
    pub fn service(token: &str) -> Self {
        let mut credential = Self::default();
        credential.add(AUTHORIZATION, format!("token {token}").into_bytes());
        credential
    }

    /// No credential at all (an anonymous read), or one that only names whom to act as.
    pub fn is_anonymous(&self) -> bool {
        !self.is_proven
    }

    /// Canonical bytes for a keyed fingerprint: every header that is sent, and whom it acts as. In whatever form a token
    /// is sent, it is one credential: who may not ask for its name has no other. The caller must not keep it.
    pub fn material(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut is_token = false;
        for (name, value) in &self.headers {
            let value = value.expose_secret();
            let proof = if *name == AUTHORIZATION { Proof::read(value) } else { Proof::Other(value.to_vec().into()) };
            // A second factor goes with a password, and says nothing beside a token.
            if is_token && *name != COOKIE {
                continue;
            }
            is_token |= matches!(proof, Proof::Token(_));
            push_framed(&mut bytes, name.as_str().as_bytes());
            push_framed(&mut bytes, proof.canonical().expose_secret());
        }
        if let Some((name, login)) = &self.sudo {
            push_framed(&mut bytes, name.as_str().as_bytes());
            push_framed(&mut bytes, login.to_ascii_lowercase().as_bytes());
        }
        bytes
    }

    /// Canonical bytes of whom a JWT is for, which stay when it is signed anew: its issuer, subject and audience, or the grant
    /// where the tracker itself signed it. None of any other credential, of one that acts as somebody else, and of claims that
    /// two readers could take differently. They are what the sender says, until the tracker has accepted this very token.
    pub fn subject(&self) -> Option<Vec<u8>> {
        let [(AUTHORIZATION, value)] = &self.headers[..] else { return None };
        let Proof::Token(token) = Proof::read(value.expose_secret()) else { return None };
        if self.sudo.is_some() {
            return None;
        }
        let claims = Claims::read(token.expose_secret())?;
        let parts = if claims.has("iss") { claims.subject() } else { claims.grant() }?;
        let mut bytes = Vec::new();
        for part in parts {
            push_framed(&mut bytes, part.as_bytes());
        }
        Some(bytes)
    }

    /// Whether two values of `Authorization` prove the same, in whatever form.
    pub(in crate::dialect) fn is_same_proof(one: &[u8], other: &[u8]) -> bool {
        match (Proof::read(one), Proof::read(other)) {
            // A token counts as a password, too; not each of them looks like one.
            (Proof::Token(token), Proof::Password { password, .. })
            | (Proof::Password { password, .. }, Proof::Token(token)) => {
                token.expose_secret() == password.expose_secret()
            }
            (one, other) => one.canonical().expose_secret() == other.canonical().expose_secret(),
        }
    }

    /// Whether this `Authorization` is a name with a password, and no token in that form.
    pub(in crate::dialect) fn is_password(value: &[u8]) -> bool {
        matches!(Proof::read(value), Proof::Password { .. })
    }

    /// Whether it is a token that begins so, in whatever form.
    pub(in crate::dialect) fn is_token_of(&self, prefix: &str) -> bool {
        let begins = |(name, value): &(HeaderName, SecretSlice<u8>)| {
            let proof = (*name == AUTHORIZATION).then(|| Proof::read(value.expose_secret()));
            matches!(proof, Some(Proof::Token(token)) if token.expose_secret().starts_with(prefix))
        };
        self.headers.iter().any(begins)
    }

    /// Sets its headers.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            if let Ok(mut value) = HeaderValue::from_bytes(value.expose_secret()) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        if let Some((name, Ok(login))) = self.sudo.as_ref().map(|(name, login)| (name, HeaderValue::from_str(login))) {
            headers.insert(name, login);
        }
        if let Some(page) = &self.page {
            headers.insert(ORIGIN, page.clone());
        }
    }

    /// The same sender, whatever page it speaks for: what the tracker says of it may be told to others.
    pub(in crate::dialect) fn without_page(&self) -> Self {
        Self { page: None, ..self.clone() }
    }

    /// Whom it acts as, where it is an administrator's.
    pub fn sudo(&self) -> Option<&str> {
        self.sudo.as_ref().map(|(_, login)| login.as_str())
    }

    /// Adds a header that proves who sends. The value must be one that a header can carry.
    pub(in crate::dialect) fn add(&mut self, name: HeaderName, value: Vec<u8>) {
        self.is_proven = true;
        self.headers.push((name, value.into()));
    }

    /// Adds one that goes with a proof, and is none by itself: a second factor, a form's token, whom to act as.
    pub(in crate::dialect) fn add_beside(&mut self, name: HeaderName, value: Vec<u8>) {
        self.headers.push((name, value.into()));
    }

    /// Sets the page for which a browser speaks: the tracker's answers to its reads and writes are for that page.
    pub(in crate::dialect) fn speak_for(&mut self, page: &HeaderValue) {
        self.page = Some(page.clone());
    }

    /// Sets whom it acts as, by this header. Trackers find a login in any case of letters.
    pub(in crate::dialect) fn act_as(&mut self, header: HeaderName, login: &str) {
        self.sudo = Some((header, login.to_owned()));
    }

    /// What kinds of proof there are, by name, for an operator.
    pub(in crate::dialect) fn kinds(&self) -> String {
        let mut kinds: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        kinds.extend(self.sudo.as_ref().map(|(name, _)| name.as_str()));
        if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }
    }
}

// === impl Proof ===

/// What an `Authorization` proves, whichever way it is written.
enum Proof {
    Token(SecretString),
    Password { login: String, password: SecretString },
    Other(SecretSlice<u8>),
}

impl Proof {
    /// Two words, of which the first is a scheme in any case. A token counts as a password too, whatever the name is, or
    /// as the name beside what is no password.
    fn read(value: &[u8]) -> Self {
        let other = || Self::Other(value.to_vec().into());
        let Ok(text) = std::str::from_utf8(value) else { return other() };
        let mut words = text.split_whitespace();
        let (Some(scheme), Some(proof), None) = (words.next(), words.next(), words.next()) else { return other() };
        if ["token", "bearer"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Self::Token(proof.into());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return other();
        }
        let Some(plain) = LENIENT.decode(proof).ok().and_then(|plain| String::from_utf8(plain).ok()) else {
            return other();
        };
        match plain.split_once(':') {
            Some((name, "" | "x-oauth-basic")) => Self::Token(name.into()),
            Some((_, password)) if is_token(password) => Self::Token(password.into()),
            Some((name, password)) => Self::Password { login: name.to_ascii_lowercase(), password: password.into() },
            None => other(),
        }
    }

    fn canonical(self) -> SecretSlice<u8> {
        match self {
            Self::Token(token) => format!("token {}", token.expose_secret()).into_bytes().into(),
            Self::Password { login, password } => {
                format!("basic {login}:{}", password.expose_secret()).into_bytes().into()
            }
            Self::Other(value) => value,
        }
    }
}

/// A token of a forge's own (40 hexadecimal digits, or GitHub's with their prefixes), or a signed one of its OAuth.
fn is_token(text: &str) -> bool {
    let own = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    own || GITHUB_TOKENS.iter().any(|prefix| text.starts_with(prefix))
        || (text.starts_with("eyJ") && text.split('.').count() == 3)
}

// === impl Claims ===

/// What a JWT says (RFC 7519, 4.1). Read strictly: an issuer could write names that the tracker, which checks its signature,
/// reads as others than this.
struct Claims(Vec<json::Member>);

impl Claims {
    fn read(token: &str) -> Option<Self> {
        let parts: Vec<Vec<u8>> =
            token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).ok()).collect::<Option<_>>()?;
        let [_, payload, _] = &parts[..] else { return None };
        json::read_object(payload, &["iss", "sub", "aud", "gnt", "tt"]).ok().map(Self)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|member| member.name == name)
    }

    fn value(&self, name: &str) -> Option<Value> {
        let member = self.0.iter().find(|member| member.name == name)?;
        serde_json::from_str(member.value.get()).ok()
    }

    /// Issuer, subject and audience. The first part is no name of a header, with which the material of a credential begins.
    fn subject(&self) -> Option<Vec<String>> {
        let text = |claim: &Value| claim.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let (issuer, subject) = (text(&self.value("iss")?)?, text(&self.value("sub")?)?);
        let mut audience: Vec<String> = match &self.value("aud")? {
            Value::Array(all) => all.iter().map(text).collect::<Option<_>>()?,
            one => vec![text(one)?],
        };
        audience.sort_unstable();
        audience.dedup();
        if audience.is_empty() {
            return None;
        }
        Some(["subject of a JWT".to_owned(), issuer, subject].into_iter().chain(audience).collect())
    }

    /// The grant (`gnt`) of an access token (`tt` is 0) that the tracker's own OAuth signed. It names no issuer, and the tracker
    /// accepts such a token from itself alone. The number is one account's for one application, and stays when the token is
    /// refreshed.
    fn grant(&self) -> Option<Vec<String>> {
        if self.value("tt")?.as_u64() != Some(0) {
            return None;
        }
        let grant = self.value("gnt")?.as_u64().filter(|grant| *grant > 0)?;
        Some(vec!["grant of a JWT".to_owned(), grant.to_string()])
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.kinds())
    }
}

fn push_framed(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
    bytes.extend_from_slice(part);
}

/// As trackers decode it: unused bits may be set.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How GitHub's tokens begin: personal ones, those of OAuth and of apps.
const GITHUB_TOKENS: [&str; 6] = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"];

/// Forgejo's and Gitea's impersonation header.
pub(in crate::dialect) const SUDO: HeaderName = HeaderName::from_static("sudo");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn material_tells_credentials_apart() {
        let service = |token| Credential::service(token);
        let mut acting = service("a");
        acting.act_as(SUDO, "Bob");
        let mut same = service("a");
        same.act_as(SUDO, "bob");
        let all = [Credential::default(), service("a"), service("b"), acting.clone()];
        for (i, one) in all.iter().enumerate() {
            for (j, other) in all.iter().enumerate() {
                assert_eq!(one.material() == other.material(), i == j, "{i} {j}");
            }
        }
        assert_eq!(acting.material(), same.material(), "the tracker folds the name");
    }

    /// Each line is one credential, in all forms that the tracker reads alike.
    #[test]
    fn forms_of_one_credential_are_one() {
        const HEX: &str = "0123456789abcdef0123456789abcdef01234567";
        let basic = |plain: &str| format!("Basic {}", LENIENT.encode(plain));
        let lines = [
            ["token X", "Bearer X", "bearer X", "token  X", "TOKEN\tX ", "token\u{a0}X"].map(str::to_owned).to_vec(),
            ["token x", "bearer x"].map(str::to_owned).to_vec(),
            vec![
                format!("token {HEX}"),
                basic(&format!("a:{HEX}")),
                basic(&format!("b:{HEX}")),
                basic(&format!("{HEX}:")),
            ],
            vec!["token ghs_x".to_owned(), basic("x-access-token:ghs_x"), basic("ghs_x:")],
            vec![basic("ann:secret"), basic("Ann:secret"), basic("ann:secret").replace("Basic", "basic ")],
            vec![basic("ann:Secret")],
            vec![basic("bob:secret")],
            // "ann:a" ends in bits that mean nothing.
            vec!["Basic YW5uOmE=".to_owned(), "Basic YW5uOmF=".to_owned(), "Basic YW5uOmE".to_owned()],
            vec!["token X Y".to_owned()],
            vec!["Digest X".to_owned()],
            vec!["X".to_owned()],
        ];
        let material = |value: &str| {
            let mut credential = Credential::default();
            credential.add(AUTHORIZATION, value.as_bytes().to_vec());
            credential.material()
        };
        let all: Vec<(usize, &String)> =
            lines.iter().enumerate().flat_map(|(at, line)| line.iter().map(move |form| (at, form))).collect();
        for (one, form) in &all {
            for (other, rival) in &all {
                assert_eq!(material(form) == material(rival), one == other, "{form:?} {rival:?}");
            }
        }
        let with_code = |value: &str, code: &str| {
            let mut credential = Credential::default();
            credential.add(AUTHORIZATION, value.as_bytes().to_vec());
            credential.add(HeaderName::from_static("x-forgejo-otp"), code.as_bytes().to_vec());
            credential.material()
        };
        assert_eq!(with_code("token X", "1"), material("token X"), "a code says nothing beside a token");
        assert_ne!(with_code(&basic("ann:secret"), "1"), material(&basic("ann:secret")));
    }

    #[test]
    fn applies_as_sensitive_headers_and_prints_nothing() {
        let mut credential = Credential::service("hush");
        credential.act_as(SUDO, "bob");
        let mut headers = HeaderMap::new();
        credential.apply(&mut headers);
        assert_eq!(headers["authorization"], "token hush");
        assert!(headers["authorization"].is_sensitive());
        assert_eq!(headers["sudo"], "bob");
        assert_eq!(format!("{credential:?}"), "Credential(authorization, sudo)");
        assert!(!credential.is_anonymous());
        let mut only_sudo = Credential::default();
        only_sudo.act_as(SUDO, "bob");
        assert!(only_sudo.is_anonymous());
    }
}
