//! Which forge to be: the recorded one, or a newer one.

use std::collections::BTreeSet;

/// How a fake forge behaves for its whole life. What changes at run time is in [`super::Vices`].
#[derive(Debug, Clone)]
pub struct Options {
    /// What `/api/v1/version` says.
    pub version: String,
    /// The start of every `url` member; its own address when absent. Without a trailing slash.
    pub root_url: Option<String>,
    /// Below which path everything is served, such as `/forge`; empty for none.
    pub sub_path: String,
    /// Whether redirects name the whole address, `root_url` first, instead of a path alone.
    pub absolute_redirects: bool,
    /// The status of the redirect from a repository's old name: 302 (1.15), 307 or 301 (later).
    pub redirect_status: u16,
    /// What the version can do beyond 1.15.
    pub features: BTreeSet<Feature>,
    /// Where the number spaces begin.
    pub first_ids: FirstIds,
    /// How many requests the log keeps; the oldest go first.
    pub log_capacity: usize,
}

/// Something that newer forges do and the recorded 1.15 does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Labels of an issue may be given by name, in a body (Forgejo 8).
    LabelNames,
    /// The last part of `DELETE …/labels/{x}` is a name first, of the repository's and then of its owner's labels, and only
    /// then a number (Forgejo 13).
    LabelNameInPath,
    /// `DELETE …/labels/{x}` answers 200 and what is left to `Accept: application/vnd.github+json` (Forgejo 13).
    GithubLabelList,
    /// `GET …/assignees` lists those who may write or are collaborators of a team (Gitea 1.15, Forgejo 7).
    AssigneeList,
    /// Whoever may read pull requests may be assigned: in a public repository everybody (Forgejo 7).
    ReadersAssignable,
    /// `[cors] ENABLED = true`: answers of the API carry `Access-Control-Allow-Origin`, and preflights are answered.
    Cors,
    /// A list of issues comes in the order that `sort` names (Forgejo 10).
    SortedLists,
    /// `GET …/timeline` exists (Forgejo 7).
    Timeline,
    /// `POST` and `DELETE …/issues/{n}/assignees` exist (Gitea 1.27).
    AssigneeRoutes,
    /// `DELETE …/issues/{n}` exists (Forgejo 7).
    DeleteIssue,
    /// `//` in a path is one slash, and all trailing slashes go (Forgejo 7).
    CollapseSlashes,
    /// JSON keys fold as in Go's encoding/json: `ſ` (U+017F) is an s, the Kelvin sign (U+212A) a k (Forgejo 16).
    GoJsonFolding,
    /// Labels flagged exclusive push out others of their scope (Forgejo 7).
    ExclusiveLabels,
    /// A bad credential is 401 even on a public page.
    StrictTokens,
    /// `PATCH …/pulls/{n}` removes assignees too, instead of only adding (Forgejo 7).
    PullAssigneesReplace,
    /// Web bulk routes answer 404 for issues of another repository, and exist below `/pulls` (Forgejo 7).
    WebChecksRepository,
    /// Only `open` and `closed` are states; others are 412 (Gitea 1.26).
    StrictState,
    /// The session cookie counts for nothing on the API (Forgejo 7).
    SessionOnWebOnly,
    /// A form proves itself by `Sec-Fetch-Site` or `Origin` against `Host`, not by a token (Forgejo 14).
    OriginCsrf,
    /// `GET /login/oauth/userinfo` answers for any token (Forgejo 7 to 14).
    Userinfo,
    /// The web's `{type:issues|pulls}` is not anchored: `issuesX` and `Xpulls` will do (Forgejo 7 to 13).
    UnanchoredTypes,
    /// A repository of the web may end in `.rss` or `.atom`, before its `.git` (Forgejo 7).
    Feeds,
    /// A form also fills members that are pointers (not seen; newer binders were not tried).
    FormPointers,
    /// A `;` separates parameters as `&` does (built with Go up to 1.16).
    SemicolonPairs,
    /// JSON keys fold as in Go's encoding/json/v2 when it is told to: without `_` and `-` (Gitea 1.26).
    JsonV2Folding,
}

/// The first id given out in each number space.
#[derive(Debug, Clone, Copy)]
pub struct FirstIds {
    /// Of repositories.
    pub repo: u64,
    /// Of labels, over all repositories.
    pub label: u64,
    /// Of issues, over all repositories (the immutable, global id).
    pub issue: u64,
    /// Of comments and timeline entries.
    pub comment: u64,
}

impl Default for FirstIds {
    fn default() -> Self {
        Self { repo: 1, label: 1, issue: 101, comment: 1001 }
    }
}

impl Default for Options {
    /// The recorded one: Gitea 1.15.11.
    fn default() -> Self {
        Self {
            version: "1.15.11".into(),
            root_url: None,
            sub_path: String::new(),
            absolute_redirects: false,
            redirect_status: 302,
            features: BTreeSet::new(),
            first_ids: FirstIds::default(),
            log_capacity: 200_000,
        }
    }
}

impl Options {
    /// As Forgejo 15 (read in the source, not recorded).
    pub fn forgejo_15() -> Self {
        use Feature::{
            AssigneeList, CollapseSlashes, DeleteIssue, ExclusiveLabels, GithubLabelList, LabelNameInPath, LabelNames,
            OriginCsrf, PullAssigneesReplace, ReadersAssignable, SessionOnWebOnly, SortedLists, StrictTokens, Timeline,
            WebChecksRepository,
        };
        let features = BTreeSet::from([
            AssigneeList,
            CollapseSlashes,
            DeleteIssue,
            ExclusiveLabels,
            GithubLabelList,
            LabelNameInPath,
            LabelNames,
            OriginCsrf,
            PullAssigneesReplace,
            ReadersAssignable,
            SessionOnWebOnly,
            SortedLists,
            StrictTokens,
            Timeline,
            WebChecksRepository,
        ]);
        Self { version: "15.0.3+gitea-1.22.0".into(), redirect_status: 301, features, ..Self::default() }
    }

    /// As Forgejo 17 (read in the source of its development version, and tried).
    pub fn forgejo_17() -> Self {
        let mut forge = Self::forgejo_15();
        forge.features.insert(Feature::GoJsonFolding);
        Self { version: "17.0.0+gitea-1.22.0".into(), ..forge }
    }

    /// The two generations that a test should hold for: the recorded one and the newest.
    pub fn generations() -> [Self; 2] {
        [Self::default(), Self::forgejo_17()]
    }

    /// Whatever any version reads, this one reads. `DELETE` of an issue stays away: it is open to administrators only, and
    /// the fake one does not tell those apart.
    pub fn most_forgiving() -> Self {
        use Feature::{
            AssigneeRoutes, Feeds, FormPointers, GoJsonFolding, JsonV2Folding, SemicolonPairs, StrictTokens,
            UnanchoredTypes,
        };
        let mut forge = Self::forgejo_15();
        forge.features.remove(&Feature::DeleteIssue);
        // A bad credential beside a good one must not be what saves an item.
        forge.features.remove(&StrictTokens);
        forge.features.extend([
            AssigneeRoutes,
            Feeds,
            FormPointers,
            GoJsonFolding,
            JsonV2Folding,
            SemicolonPairs,
            UnanchoredTypes,
        ]);
        forge
    }

    /// With one more feature.
    #[must_use]
    pub fn with(mut self, feature: Feature) -> Self {
        self.features.insert(feature);
        self
    }

    /// With this `ROOT_URL` in every link.
    #[must_use]
    pub fn root_url(mut self, url: impl Into<String>) -> Self {
        self.root_url = Some(url.into());
        self
    }

    pub(super) fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }
}
