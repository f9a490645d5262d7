//! The shapes: one guarded request, bent along eight axes.
//!
//! Around a few requests that trackers obey, each choice of each axis is tried alone, pairs of choices are tried together,
//! and many shapes are bent blindly. The seed is fixed, so a shape's number names it for good.

use std::collections::BTreeSet;

/// Where the items are. `k` and `i` have look-alikes that trackers fold.
pub const REPO: &str = "acme/skit";
/// The item that is held.
pub const HELD: u64 = 1;

/// How many shapes are chosen blindly.
const BLIND: usize = 2_000;
const SEED: u64 = 0x5EED;

/// A guarded field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    Assignees,
    Labels,
    State,
}

/// One request as bytes.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Also in its header `x-shape`, which the gate takes from what it writes anew, and leaves on what it passes on.
    pub id: usize,
    pub bytes: Vec<u8>,
    /// Its announced body never comes whole.
    pub breaks_off: bool,
    /// The choices it is made of.
    pub told: String,
}

/// All of them, each once, with one in `every` pair.
pub fn shapes(every: usize) -> Vec<Shape> {
    let mut seen = BTreeSet::new();
    let mut shapes = Vec::new();
    for choice in choices(every) {
        if seen.insert(bytes(&choice, HELD, 0)) {
            let id = shapes.len();
            let breaks_off = FRAMINGS[choice[FRAMING]] == Framing::TooShort;
            shapes.push(Shape { id, bytes: bytes(&choice, HELD, id), breaks_off, told: tell(&choice, id) });
        }
    }
    shapes
}

// === the axes ===

type Choice = [usize; 8];

const PATH: usize = 0;
const METHOD: usize = 1;
const KIND: usize = 2;
const MEMBER: usize = 3;
const VALUE: usize = 4;
const FRAMING: usize = 5;
const QUERY: usize = 6;
const HEADER: usize = 7;

const SIZES: Choice = [
    PATHS.len(),
    METHODS.len(),
    KINDS.len(),
    MEMBERS.len(),
    VALUES.len(),
    FRAMINGS.len(),
    QUERIES.len(),
    HEADERS.len(),
];

/// `{n}` is the item's number. Bytes that are no text stand as they go out.
const PATHS: [&str; 93] = [
    "/api/v1/repos/acme/skit/issues/{n}",
    "/api/v1/repos/acme/skit/issues/{n}/",
    "/api/v1/repos/acme/skit/issues/{n}//",
    "/api/v1/repos/acme/skit/pulls/{n}",
    "/api/v1/repos/acme/skit/pulls/{n}/",
    "/api/v1/repos/ACME/Skit/issues/{n}",
    "/api/v1/repos/acme/s%E2%84%AAit/issues/{n}",
    "/api/v1/repos/acme/sk%C4%B0t/issues/{n}",
    "/api/v1/repos/acme/s\u{212A}it/issues/{n}",
    "/api/v1/repos/acme/sk\u{130}t/issues/{n}",
    "/%61pi/v1/%72epos/acme/s\u{212A}it/%69ssues/{n}",
    "/api%2fv1/repos/acme/sk\u{130}t/issues/{n}",
    "/api/v1%2Frepos%2Facme%2Fsk\u{130}t%2Fissues%2F{n}",
    "/api/v1/repos/acme%2Fskit/issues/{n}",
    "/api/v1/repos/acme/s%6Bit/issues/{n}",
    "/api/v1/repos/acme/s%6bit/pulls/{n}",
    "/api/v1/repos/acme/skit/%69ssues/{n}",
    "/api/v1/repos/acme/skit/Issues/{n}",
    "/API/v1/repos/acme/skit/issues/{n}",
    "/api/v1/repos/acme/skit/issues/%3{n}",
    "/api/v1/repos/acme/skit/issues/0{n}",
    "/api/v1/repos/acme/skit/issues/000000000000000000000{n}",
    "/api/v1/repos/acme/skit/issues/+{n}",
    "/api/v1/repos/acme/skit/issues/%2B{n}",
    "/api/v1/repos/acme/skit/issues/%2b0{n}",
    "/api/v1/repos/acme/skit/issues/{n}.0",
    "/api/v1/repos/acme/skit/issues/{n};x",
    "/api/v1/repos/acme/skit/issues/{n}%00",
    "/api/v1/repos/acme/skit/issues/{n}%20",
    "/api/v1/repos/acme/skit/issues/{n}#x",
    "/api/v1/repos/acme/skit/issues/{n}\\",
    "/api/v1/repos/acme/skit/issues\\{n}",
    "/api/v1/repos/acme/skit/issues//{n}",
    "/api/v1/repos/acme//skit/issues/{n}",
    "/api/v1//repos/acme/skit/issues/{n}",
    "/api//v1/repos/acme/skit/pulls/{n}",
    "//api/v1/repos/acme/skit/issues/{n}",
    "///api///v1///repos///acme///skit///issues///{n}///",
    "/./api/v1/repos/acme/skit/issues/{n}",
    "/api/v1/./repos/acme/skit/issues/{n}",
    "/x/../api/v1/repos/acme/skit/issues/{n}",
    "/x/%2e%2e/api/v1/repos/acme/skit/issues/{n}",
    "/x/..%2Fapi/v1/repos/acme/skit/issues/{n}",
    "/api/v1/repos/acme/skit/contents/../issues/{n}",
    "/api/v1/repos/acme/skit/contents/..%2Fissues%2F{n}",
    "/api/v1/repos/acme/skit/issues/{n}/../{n}",
    "/api/v1/repos/acme/skit.git/issues/{n}",
    "/api/v1/repos/acme/skit/issues/{n}\"",
    "/api/v1/repos/acme/skit/issues/{n}|",
    "/api/v1/repos/acme/\"skit/../skit/issues/{n}",
    "/api/v1/repos/acme/skit/issues/%zz{n}",
    "/api/v1/repos/acme/skit/issues/{n}%",
    "/api/v1/repos/acme/skit/issues/\u{661}",
    "/api/v1/repos/\u{FF41}cme/skit/issues/{n}",
    "/api/v1/repos/acme/skit/issues/18446744073709551617",
    "/api/v1/repos/acme/skit/issues/-0{n}",
    "/api/v1/repos/acme/skit/issues/{n}/assignees",
    "/api/v1/repos/acme/skit/issues/{n}/assignees/",
    "/api/v1/repos/acme/skit/issues/+{n}/assignees",
    "/api/v1/repos/acme/skit/issues/{n}//assignees",
    "/api/v1/repos/acme/skit/issues/{n}/assignees/dev-b",
    "/api/v1/repos/acme/skit/pulls/{n}/assignees",
    "/api/v1/repos/acme/skit/issues/{n}/labels",
    "/api/v1/repos/acme/skit/issues/{n}/labels/",
    "/api/v1/repos/acme/skit/issues/0{n}/labels",
    "/api/v1/repos/acme/skit/issues/{n}//labels",
    "/api/v1/repos/acme/skit/issues/{n}/%6Cabels",
    "/api/v1/repos/acme/s\u{212A}it/issues/{n}/%6Cabels",
    "/api/v1/repos/acme/skit/issues/{n}/labels/1",
    "/api/v1/repos/acme/skit/issues/{n}/labels/01",
    "/api/v1/repos/acme/skit/issues/{n}/labels/+1",
    "/api/v1/repos/acme/skit/issues/{n}/labels/backlog",
    "/api/v1/repos/acme/skit/issues/{n}/labels/%62acklog",
    "/api/v1/repos/acme/skit/issues",
    "/api/v1/repos/acme/skit/pulls",
    "http://gate.test/api/v1/repos/acme/skit/issues/{n}",
    "http://elsewhere.test/api/v1/repos/acme/skit/issues/{n}",
    "http:///api/v1/repos/acme/skit/issues/{n}",
    "/as/me/api/v1/repos/acme/skit/issues/{n}",
    "/as/me//api/v1/repos/acme/skit/issues/{n}",
    "/as/me/as/me/api/v1/repos/acme/skit/issues/{n}",
    "/forge/api/v1/repos/acme/skit/issues/{n}",
    "/acme/skit/issues/assignee",
    "/acme/skit.git/issuesX/status",
    "/api/v1/repos/acme/skit/issues/{n}/labels/s%2Fheld",
    "/api/v1/repos/acme/skit/issues/{n}/labels/s%2fheld/",
    "/api/v1/repos/acme/skit/issues/{n}//labels//backlog",
    "/api/v1/repos/acme/skit/issues/{n}/labels/s/held",
    "/api/v1/repos/acme/skit/issues/{n}/labels/s%252Fheld",
    "/api/v1//repos/acme/skit/pulls//{n}",
    "/acme/skit/issues/{n}/a-new-button",
    "/acme/skit/issues/{n}/assignee",
    "/acme/skit/issues/{n}/comments",
];

const METHODS: [&str; 9] = ["PATCH", "POST", "PUT", "DELETE", "patch", "PA!TCH", "GET", "HEAD", "QUERY"];

/// What the body is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Json,
    Form,
    Multipart,
    Nothing,
}

use Writing::{Form, Json, Multipart, Nothing};

/// Lines of the head, and the body behind them.
const KINDS: [(&[&str], Writing); 43] = [
    (&["application/json"], Json),
    (&[], Json),
    (&[], Nothing),
    (&[], Form),
    (&["application/json"], Nothing),
    (&["Application/JSON"], Json),
    (&["application/json; charset=utf-8"], Json),
    (&["application/json; charset=utf-16"], Json),
    (&["application/json;"], Json),
    (&["text/x-json"], Json),
    (&["foo/json"], Json),
    (&["json"], Json),
    (&["text/plain"], Json),
    (&[""], Json),
    (&["application/json; x=form-urlencoded"], Json),
    (&["application/json; x=form-urlencoded"], Form),
    (&["application/json; x=multipart/form-data; boundary=b"], Multipart),
    (&["application/x-www-form-urlencoded"], Form),
    (&["application/x-www-form-urlencoded"], Json),
    (&["application/x-www-form-urlencoded"], Nothing),
    (&["application/x-www-form-urlencoded; charset=UTF-8"], Form),
    (&["application/x-www-form-urlencoded; json"], Form),
    (&["application/X-WWW-form-urlencoded"], Form),
    (&["form-urlencoded"], Form),
    (&["multipart/form-data; boundary=b"], Multipart),
    (&["multipart/form-data; boundary=\"b\""], Multipart),
    (&["multipart/form-data; json; boundary=b"], Multipart),
    (&["application/json", "application/x-www-form-urlencoded"], Json),
    (&["application/x-www-form-urlencoded", "application/json"], Json),
    (&["application/x-www-form-urlencoded", "application/json"], Form),
    (&["application/json, application/x-www-form-urlencoded"], Json),
    (&["application/json;charset=utf8"], Json),
    (&["application/json; charset=\"UTF-8\";"], Json),
    (&["application/vnd.api+json"], Json),
    (&["application/merge-patch+json"], Json),
    (&["application/vnd.api+JSON; charset=utf-8"], Json),
    (&["application/json", "application/json"], Json),
    (&["application/json; multipart/form-data; boundary=b"], Multipart),
    (&["application/x-www-form-urlencoded;"], Form),
    (&["Multipart/Form-Data; boundary=b"], Multipart),
    (&["multipart/form-data; boundary=c"], Multipart),
    (&["text/plain; json"], Json),
    (&["text/plain"], Form),
];

/// A body as JSON (`V` is the value) and the same as a form (`V` likewise), and what it is about.
const MEMBERS: [(&str, &str); 56] = [
    (r#"{"assignees":V}"#, "assignees=V"),
    (r#"{"assignee":V}"#, "assignee=V"),
    (r#"{"assignee":V,"assignees":V}"#, "assignee=V&assignees=V"),
    (r#"{"ASSIGNEES":V}"#, "ASSIGNEES=V"),
    (r#"{"Assignees":V}"#, "assignees[]=V"),
    (r#"{"Assignee":V}"#, "assignees[0]=V"),
    ("{\"a\u{17F}\u{17F}ignees\":V}", "a%C5%BF%C5%BFignees=V"),
    (r#"{"a\u017f\u017fignees":V}"#, "a\u{17F}signees=V"),
    ("{\"as\u{17F}ignee\":V}", "as%c5%bfignee=V"),
    (r#"{"\u0061ssignees":V}"#, "%61ssignees=V"),
    (r#"{"\u0041SSIGNEES":V}"#, "%41ssignees=V"),
    (r#"{"\u0061ssigne":V}"#, "assigne=V"),
    (r#"{"\\":":0,",":0,":{":0,":[":[\""],"assignees":V}}"#, "x=1&y=%22&assignees=V"),
    (r#"{"assign_ees":V}"#, "assign_ees=V"),
    (r#"{"assign-ee":V}"#, "assign-ee=V"),
    (r#"{"assignees ":V}"#, "assignees+=V"),
    (r#"{" assignees":V}"#, "+assignees=V"),
    (r#"{"assignees\u0000":V}"#, "assignees%00=V"),
    (r#"{"title":"t","assignees":V}"#, "title=t&assignees=V"),
    (r#"{"assignees":V,"title":"t"}"#, "assignees=V&title=t"),
    (r#"{"title":1,"assignees":V}"#, "title=t;assignees=V"),
    (r#"{"assignees":V,"title":[}"#, "title=%zz&assignees=V"),
    (r#"{"assignees":null,"assignees":V}"#, "assignees=&assignees=V"),
    (r#"{"assignees":V,"assignees":null}"#, "assignees=V&assignees="),
    (r#"{"assignees":null,"ASSIGNEES":V}"#, "x=1&&assignees=V"),
    (r#"{"assignees":V,"ASSIGNEES":V}"#, "x&assignees=V"),
    (r#"{"x":{"assignees":V},"assignees":V}"#, "x=assignees=V&assignees=V"),
    (r#"{"x":{"assignees":V}}"#, "title=t&token=token-of-dev-b"),
    (r#"{"x":"}","assignees":V}"#, "x=%7D&assignees=V&_method=PATCH"),
    (r#"{"assignees":V}{"title":"t"}"#, "assignees=V&token=token-of-dev-b"),
    (r#"{"title":"t"}{"assignees":V}"#, "token=token-of-dev-b&assignees=V&token=no"),
    (r#"{"assignees":V} trailing"#, "assignees=V&sudo=kim"),
    (r#"{"assignees":V}]"#, "assignees=V#x"),
    (r#"{"assignees":V,}"#, "assignees=V\r\n"),
    ("  \r\n\t{ \"assignees\" :\tV }\n", "&assignees=V&"),
    ("\u{FEFF}{\"assignees\":V}", "\u{FEFF}assignees=V"),
    (r#"[{"assignees":V}]"#, "?assignees=V"),
    (r#"["t","b",V,"closed",1]"#, "t=b"),
    (r#"{"assignees":V"#, "assignees"),
    ("", ""),
    ("null", "null"),
    ("{}", "title=t"),
    (r#"{"title":"t"}"#, "body=t"),
    (r#"{"state":V}"#, "state=V"),
    (r#"{"State":V}"#, "State=V"),
    ("{\"\u{17F}tate\":V}", "%C5%BFtate=V"),
    (r#"{"labels":V}"#, "labels=V"),
    (r#"{"Labels":V}"#, "LABELS=V"),
    (r#"{"title":"edited","assignees":V}"#, "body=edited&assignees=V"),
    (r#"{"title":"t","assignee":"kim","assignees":["KIM"],"state":V}"#, "title=t&assignees=kim&state=V"),
    (r#"{"body":"b","assignees":["kim"],"labels":V,"state":"open"}"#, "title=t&assignees=kim&labels=V"),
    (r#"{"title":"","milestone":null,"assignees":V}"#, "title=&assignees=V"),
    (r#"{"title":"\ud83d","assignees":V}"#, "title=%ED%A0%BD&assignees=V"),
    (r#"{"title":"\ud83d\","assignees":V,"x":"\"}"#, "title=;&assignees=V"),
    (r#"{"title":"t","assignees":["kim"],"ref":V}"#, "status=close&content=t"),
    (r#"{"content":"t","status":"close"}"#, "issue_ids=1&action=close&content=t"),
];

/// A value in JSON, and in a form.
const VALUES: [(&str, &str); 32] = [
    (r#"["dev-b"]"#, "dev-b"),
    ("[]", ""),
    ("null", "null"),
    (r#""dev-b""#, "DEV-B"),
    (r#""""#, "%20"),
    (r#"["dev-b","kim"]"#, "dev-b,kim"),
    (r#"["DEV-B"]"#, "Dev-b"),
    (r#"["\u0064ev-b"]"#, "%64ev-b"),
    ("[\"\u{212A}im\",\"dev-b\"]", "%E2%84%AAim"),
    (r#"["dev-b",null]"#, "dev-b%00"),
    (r#"[""]"#, "+"),
    ("[null]", "dev-b+"),
    (r#"[["dev-b"]]"#, "[dev-b]"),
    ("{}", "{}"),
    ("1", "1"),
    ("true", "true"),
    ("[1,2]", "2"),
    ("[2.7]", "2.7"),
    ("[1,\"other\"]", "1,2"),
    (r#"["other"]"#, "other"),
    // What the held item carries, in another case, beside a rival, and beside what nobody knows.
    (r#"["BACKLOG","s/held"]"#, "BACKLOG"),
    (r#"["backlog","s/held","s/rival"]"#, "1,4,5"),
    ("[1,4,5]", "4,5"),
    ("[1,4,4711]", "4711"),
    (r#""closed""#, "closed"),
    (r#""CLOSED""#, "CLOSED"),
    (r#""open""#, "open"),
    ("\"\\ud800\"", "%ff"),
    (r#"["kim"]"#, "kim"),
    (r#""kim""#, "kim,kim"),
    ("[1,4]", "1"),
    (r#"["","dev-b"]"#, "&assignees=dev-b"),
];

/// How the body's length is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    ByteByByte,
    Extended,
    Trailed,
    Both,
    BothTheOtherWay,
    TwiceTheSame,
    Padded,
    Signed,
    Zero,
    Unsaid,
    TooShort,
    Identity,
    Doubled,
    OldVersion,
    BareLineFeeds,
}

const FRAMINGS: [Framing; 17] = [
    Framing::Length,
    Framing::Chunked,
    Framing::ByteByByte,
    Framing::Extended,
    Framing::Trailed,
    Framing::Both,
    Framing::BothTheOtherWay,
    Framing::TwiceTheSame,
    Framing::Padded,
    Framing::Signed,
    Framing::Zero,
    Framing::Unsaid,
    Framing::TooShort,
    Framing::Identity,
    Framing::Doubled,
    Framing::OldVersion,
    Framing::BareLineFeeds,
];

const QUERIES: [&str; 29] = [
    "",
    "?",
    "?assignees=dev-b",
    "?assignees=",
    "?assignees=dev-b&assignees=kim",
    "?%61ssignees=dev-b",
    "?ASSIGNEES=dev-b",
    "?assignees[]=dev-b",
    "?assignee=dev-b",
    "?a%C5%BFsignees=dev-b",
    "?title=x;assignees=dev-b",
    "?title=%zz&assignees=dev-b",
    "?assignees=dev-b%00",
    "??assignees=dev-b",
    "?&&assignees=dev-b&",
    "?assignees=dev-b#x",
    "?#assignees=dev-b",
    "?assignees=\u{212A}im",
    "?x=1",
    "?token=token-of-dev-b",
    "?access_token=token-of-dev-b",
    "?token=token-of-dev-b&assignees=dev-b",
    "?token=no&token=token-of-dev-b",
    "?sudo=kim",
    "?sudo=dev-b&token=token-of-dev-b",
    "?state=closed",
    "?labels=2",
    "?x=y&assignees[0]=dev-b",
    "?status=close&action=close&issue_ids=1",
];

const HEADERS: [&[&str]; 32] = [
    &[],
    &["x-http-method-override: PATCH"],
    &["x-http-method: PATCH", "x-method-override: PATCH"],
    &["x-original-url: /api/v1/repos/acme/skit/issues/1"],
    &["x-rewrite-url: /api/v1/repos/acme/skit/issues/1"],
    &["content-encoding: identity"],
    &["content-encoding: gzip"],
    &["transfer-coding: gzip"],
    &["content_type: application/x-www-form-urlencoded"],
    &["content-type : application/x-www-form-urlencoded"],
    &["expect: 100-continue"],
    &["expect: a-miracle"],
    &["upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__"],
    &["upgrade: websocket", "connection: upgrade"],
    &["connection: content-type"],
    &["connection: authorization, x-shape"],
    &["connection: content-length"],
    &["sudo: kim"],
    &["sudo: dev-b"],
    &["authorization: token token-of-kim-not"],
    &["cookie: i_like_gitea=guess"],
    &["x-webauth-user: kim"],
    &["x-forwarded-user: kim", "x-forwarded-for: 127.0.0.1"],
    &["claimgate-agent: me"],
    &["claimgate-agent: me", "claimgate-agent: you"],
    &["if-match: *"],
    &["accept: text/html"],
    &["te: trailers", "trailer: content-type"],
    &["x-long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\u{e9}"],
    &["content-encoding: "],
    &["content-encoding: identity, identity"],
    &["content-encoding: identity", "content-encoding: gzip"],
];

// === choosing ===

/// Whole requests that a tracker obeys; the axes are bent around each.
fn bases() -> [Choice; 5] {
    let mut state = [0; 8];
    (state[MEMBER], state[VALUE]) = (index(MEMBERS.iter().map(|row| row.0), r#"{"state":V}"#), value(r#""closed""#));
    let mut add = [0; 8];
    add[PATH] = index(PATHS.into_iter(), "/api/v1/repos/acme/skit/issues/{n}/labels");
    (add[MEMBER], add[VALUE]) = (index(MEMBERS.iter().map(|row| row.0), r#"{"labels":V}"#), value("[1,2]"));
    add[METHOD] = index(METHODS.into_iter(), "POST");
    let mut replace = add;
    replace[METHOD] = index(METHODS.into_iter(), "PUT");
    let mut call = [0; 8];
    call[PATH] = index(PATHS.into_iter(), "/api/v1/repos/acme/skit/issues/{n}/assignees");
    call[METHOD] = add[METHOD];
    [[0; 8], call, state, add, replace]
}

fn value(json: &str) -> usize {
    index(VALUES.iter().map(|row| row.0), json)
}

fn index<'a>(mut among: impl Iterator<Item = &'a str>, wanted: &str) -> usize {
    among.position(|one| one == wanted).expect("it is among them")
}

/// Each single choice and, of the pairs, one in `every`, around each base; the plain one has all that are asked for.
fn choices(every: usize) -> Vec<Choice> {
    let mut all = Vec::new();
    for (at, base) in bases().into_iter().enumerate() {
        all.push(base);
        for (axis, size) in SIZES.into_iter().enumerate() {
            all.extend((0..size).map(|i| with(base, axis, i)));
        }
        let mut pairs = pairs(base);
        let every = if at == 0 { every } else { every * 8 };
        // A stride in order would meet the same partners again and again.
        shuffle(&mut pairs);
        all.extend(pairs.into_iter().step_by(every));
    }
    let mut random = SEED;
    for _ in 0..BLIND {
        let base = bases()[draw(&mut random, 5)];
        // Half of the axes stay as they are, or nearly nothing would be understood at all.
        let bend = |axis: usize| {
            if draw(&mut random, 2) == 0 { base[axis] } else { draw(&mut random, SIZES[axis]) }
        };
        all.push(std::array::from_fn(bend));
    }
    all
}

fn pairs(base: Choice) -> Vec<Choice> {
    let axes = (0..SIZES.len()).flat_map(|one| (one + 1..SIZES.len()).map(move |other| (one, other)));
    let bend = |(one, other): (usize, usize)| {
        (0..SIZES[one]).flat_map(move |i| (0..SIZES[other]).map(move |j| with(with(base, one, i), other, j)))
    };
    axes.flat_map(bend).collect()
}

fn with(base: Choice, axis: usize, choice: usize) -> Choice {
    let mut bent = base;
    bent[axis] = choice;
    bent
}

fn shuffle(all: &mut [Choice]) {
    let mut random = SEED;
    for at in (1..all.len()).rev() {
        all.swap(at, draw(&mut random, at + 1));
    }
}

/// Below `end`; splitmix64.
fn draw(state: &mut u64, end: usize) -> usize {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    usize::try_from((mixed ^ (mixed >> 31)) % end as u64).expect("below a usize")
}

fn tell(choice: &Choice, id: usize) -> String {
    format!(
        "{id}: {} {:?}{:?} {:?} {:?} V={:?} {:?} {:?}",
        METHODS[choice[METHOD]],
        PATHS[choice[PATH]],
        QUERIES[choice[QUERY]],
        KINDS[choice[KIND]],
        MEMBERS[choice[MEMBER]].0,
        VALUES[choice[VALUE]],
        FRAMINGS[choice[FRAMING]],
        HEADERS[choice[HEADER]],
    )
}

// === writing ===

fn bytes(choice: &Choice, number: u64, id: usize) -> Vec<u8> {
    let framing = FRAMINGS[choice[FRAMING]];
    let path = PATHS[choice[PATH]].replace("{n}", &number.to_string());
    let version = if framing == Framing::OldVersion { "1.0" } else { "1.1" };
    let mut lines = vec![
        format!("{} {path}{} HTTP/{version}", METHODS[choice[METHOD]], QUERIES[choice[QUERY]]),
        "host: gate.test".to_owned(),
        "connection: close".to_owned(),
        "authorization: token token-of-dev-b".to_owned(),
        format!("x-shape: {id}"),
    ];
    let (kinds, writing) = KINDS[choice[KIND]];
    lines.extend(kinds.iter().map(|kind| format!("content-type: {kind}")));
    lines.extend(HEADERS[choice[HEADER]].iter().map(|line| (*line).to_owned()));
    let body = body(writing, choice);
    let (more, framed) = framed(framing, &body);
    lines.extend(more);
    let end = if framing == Framing::BareLineFeeds { "\n" } else { "\r\n" };
    // The empty line ends the head.
    lines.extend([String::new(), String::new()]);
    let mut bytes = lines.join(end).into_bytes();
    bytes.extend_from_slice(&framed);
    bytes
}

fn body(writing: Writing, choice: &Choice) -> Vec<u8> {
    let (json, form) = MEMBERS[choice[MEMBER]];
    let (as_json, as_form) = VALUES[choice[VALUE]];
    match writing {
        Nothing => Vec::new(),
        Json => json.replace('V', as_json).into_bytes(),
        Form => form.replace('V', as_form).into_bytes(),
        Multipart => {
            let pairs = form.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let part = |(name, value): (&str, &str)| {
                let value = value.replace('V', as_form);
                format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            };
            let parts: String = pairs.map(part).collect();
            format!("{parts}--b--\r\n").into_bytes()
        }
    }
}

/// Header lines that tell the length, and the body as it goes out with them.
fn framed(framing: Framing, body: &[u8]) -> (Vec<String>, Vec<u8>) {
    let length = |shown: String| format!("content-length: {shown}");
    let plain = length(body.len().to_string());
    let chunked = "transfer-encoding: chunked".to_owned();
    let whole = |extension: &str, trailers: &str| {
        let mut out = Vec::new();
        if !body.is_empty() {
            out.extend_from_slice(format!("{:x}{extension}\r\n", body.len()).as_bytes());
            out.extend_from_slice(body);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
        out
    };
    match framing {
        Framing::Length | Framing::OldVersion | Framing::BareLineFeeds => (vec![plain], body.to_vec()),
        Framing::Chunked => (vec![chunked], whole("", "")),
        Framing::ByteByByte => {
            let pieces = body.iter().flat_map(|byte| [&b"1\r\n"[..], &[*byte], b"\r\n"].concat());
            (vec![chunked], pieces.chain(*b"0\r\n\r\n").collect())
        }
        Framing::Extended => (vec![chunked], whole(";a=b", "")),
        Framing::Trailed => {
            let trailers = "content-type: application/x-www-form-urlencoded\r\nauthorization: token token-of-kim\r\n";
            (vec![chunked], whole("", trailers))
        }
        Framing::Both => (vec![length("2".to_owned()), chunked], whole("", "")),
        Framing::BothTheOtherWay => (vec![chunked, length("2".to_owned())], whole("", "")),
        Framing::TwiceTheSame => (vec![plain.clone(), plain], body.to_vec()),
        Framing::Padded => (vec![length(format!("0{}", body.len()))], body.to_vec()),
        Framing::Signed => (vec![length(format!("+{}", body.len()))], body.to_vec()),
        Framing::Zero => (vec![length("0".to_owned())], body.to_vec()),
        Framing::Unsaid => (Vec::new(), body.to_vec()),
        Framing::TooShort => (vec![length((body.len() + 3).to_string())], body.to_vec()),
        Framing::Identity => (vec!["transfer-encoding: identity".to_owned(), plain], body.to_vec()),
        Framing::Doubled => (vec![chunked.clone(), chunked], whole("", "")),
    }
}
