//! The part of Linear's schema that the fake one has, word for word; a document that asks for more is refused.

use std::collections::BTreeMap;

use super::document::Selected;

/// Each type with its members, and the type of each.
pub type Types = BTreeMap<String, BTreeMap<String, Member>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// As written: `[String!]`.
    pub of: String,
    /// Its arguments, with their types as written.
    pub arguments: BTreeMap<String, String>,
}

pub const CUT: &str = "
type Query {
  issue(id: String!): Issue!
  issues(after: String, before: String, filter: IssueFilter, first: Int, includeArchived: Boolean, last: Int, orderBy: PaginationOrderBy, sort: [IssueSortInput!]): IssueConnection!
  issueLabels(after: String, before: String, filter: IssueLabelFilter, first: Int, includeArchived: Boolean, last: Int, orderBy: PaginationOrderBy): IssueLabelConnection!
  teams(after: String, before: String, filter: TeamFilter, first: Int, includeArchived: Boolean, last: Int, orderBy: PaginationOrderBy): TeamConnection!
  users(after: String, before: String, filter: UserFilter, first: Int, includeArchived: Boolean, includeDisabled: Boolean, last: Int, orderBy: PaginationOrderBy, sort: [UserSortInput!]): UserConnection!
  viewer: User!
  workflowStates(after: String, before: String, filter: WorkflowStateFilter, first: Int, includeArchived: Boolean, last: Int, orderBy: PaginationOrderBy): WorkflowStateConnection!
}
type Mutation {
  commentCreate(input: CommentCreateInput!): CommentPayload!
  issueAddLabel(id: String!, labelId: String!): IssuePayload!
  issueArchive(id: String!, trash: Boolean): IssueArchivePayload!
  issueBatchUpdate(ids: [UUID!]!, input: IssueUpdateInput!): IssueBatchPayload!
  issueCreate(input: IssueCreateInput!): IssuePayload!
  issueDelete(id: String!, permanentlyDelete: Boolean): IssueArchivePayload!
  issueRemoveLabel(id: String!, labelId: String!): IssuePayload!
  issueUnarchive(id: String!): IssueArchivePayload!
  issueUpdate(id: String!, input: IssueUpdateInput!): IssuePayload!
}
type CommentPayload { lastSyncId: Float! success: Boolean! }
type Issue {
  archivedAt: DateTime
  assignee: User
  createdAt: DateTime!
  creator: User
  delegate: User
  id: ID!
  identifier: String!
  labelIds: [String!]!
  labels(after: String, before: String, filter: IssueLabelFilter, first: Int, includeArchived: Boolean, last: Int, orderBy: PaginationOrderBy): IssueLabelConnection!
  number: Float!
  state: WorkflowState!
  team: Team!
  title: String!
  trashed: Boolean
  updatedAt: DateTime!
}
type IssueArchivePayload { entity: Issue lastSyncId: Float! success: Boolean! }
type IssueBatchPayload { issues: [Issue!]! lastSyncId: Float! success: Boolean! }
type IssueConnection { nodes: [Issue!]! pageInfo: PageInfo! }
type IssueLabel { id: ID! name: String! }
type IssueLabelConnection { nodes: [IssueLabel!]! pageInfo: PageInfo! }
type IssuePayload { issue: Issue lastSyncId: Float! success: Boolean! }
type PageInfo { endCursor: String hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String }
type Team { id: ID! key: String! name: String! }
type TeamConnection { nodes: [Team!]! pageInfo: PageInfo! }
type User { app: Boolean! displayName: String! email: String! id: ID! name: String! }
type UserConnection { nodes: [User!]! pageInfo: PageInfo! }
type WorkflowState { id: ID! name: String! type: String! }
type WorkflowStateConnection { nodes: [WorkflowState!]! pageInfo: PageInfo! }
input CommentCreateInput { body: String issueId: String }
input IssueCreateInput { assigneeId: String delegateId: String labelIds: [String!] stateId: String teamId: String! title: String }
input IssueUpdateInput {
  addedLabelIds: [String!]
  assigneeId: String
  delegateId: String
  description: String
  labelIds: [String!]
  priority: Int
  removedLabelIds: [String!]
  stateId: String
  teamId: String
  title: String
  trashed: Boolean
}
";

/// Reads types as the specification writes them; descriptions, defaults and directives are left out.
pub fn types(sdl: &str) -> Types {
    let mut text = String::new();
    for (at, part) in sdl.split("\"\"\"").enumerate() {
        if at.is_multiple_of(2) {
            text.push_str(part);
        }
    }
    let text: String =
        text.lines().map(|line| line.split('#').next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let spaced = ["{", "}", "(", ")", ":", "[", "]", "!", "@", "="]
        .iter()
        .fold(text, |text, mark| text.replace(mark, &format!(" {mark} ")));
    let words: Vec<&str> =
        spaced.split(|letter: char| letter.is_whitespace() || letter == ',').filter(|it| !it.is_empty()).collect();
    let (mut types, mut at) = (Types::new(), 0);
    while at < words.len() {
        if !matches!(words[at], "type" | "input" | "interface") || words.get(at + 2).is_some_and(|next| *next == ":") {
            at += 1;
            continue;
        }
        let name = words[at + 1].to_owned();
        while words[at] != "{" {
            at += 1;
        }
        at += 1;
        let mut members = BTreeMap::new();
        while words[at] != "}" {
            at = member(&words, at, &mut members);
        }
        types.insert(name, members);
    }
    types
}

fn member(words: &[&str], mut at: usize, members: &mut BTreeMap<String, Member>) -> usize {
    let name = words[at].to_owned();
    let mut arguments = BTreeMap::new();
    at += 1;
    if words[at] == "(" {
        at += 1;
        while words[at] != ")" {
            let argument = words[at].to_owned();
            let (of, next) = of_type(words, at + 2);
            arguments.insert(argument, of);
            at = next;
        }
        at += 1;
    }
    let (of, next) = of_type(words, at + 1);
    members.insert(name, Member { of, arguments });
    next
}

/// A type, and what comes after it, its default and its directives.
fn of_type(words: &[&str], mut at: usize) -> (String, usize) {
    let mut of = String::new();
    while words[at] == "[" {
        of.push('[');
        at += 1;
    }
    of.push_str(words[at]);
    at += 1;
    while matches!(words[at], "]" | "!") {
        of.push_str(words[at]);
        at += 1;
    }
    if words[at] == "=" {
        at += 2;
    }
    while words[at] == "@" {
        at += 2;
        if words[at] == "(" {
            while words[at] != ")" {
                at += 1;
            }
            at += 1;
        }
    }
    (of, at)
}

/// The name in a type as it is written.
pub fn bare(of: &str) -> &str {
    of.trim_matches(['[', ']', '!'])
}

/// Why a selection of this type is none.
pub fn check(types: &Types, of: &str, selections: &[Selected]) -> Result<(), String> {
    for field in selections.iter().filter(|field| field.name != "__typename") {
        let members = types.get(of).ok_or_else(|| format!("{of} has no members"))?;
        let known = members
            .get(&field.name)
            .ok_or_else(|| format!("Cannot query field \"{}\" on type \"{of}\".", field.name))?;
        for (name, value) in &field.arguments {
            let of = known
                .arguments
                .get(name)
                .ok_or_else(|| format!("Unknown argument \"{name}\" on field \"{}\".", field.name))?;
            let input = types.get(bare(of)).filter(|_| bare(of).ends_with("Input"));
            if let (Some(input), Some(value)) = (input, value.as_object()) {
                let stray = value.keys().find(|name| !input.contains_key(*name));
                if let Some(stray) = stray {
                    return Err(format!("Field \"{stray}\" is not defined by type \"{}\".", bare(of)));
                }
            }
        }
        let missing =
            known.arguments.iter().find(|(name, of)| of.ends_with('!') && !field.arguments.contains_key(*name));
        if let Some((name, _)) = missing {
            return Err(format!("Argument \"{name}\" of \"{}\" is required.", field.name));
        }
        let is_object = types.contains_key(bare(&known.of));
        if is_object == field.selections.is_empty() {
            return Err(format!("Field \"{}\" must have a selection of subfields, or none.", field.name));
        }
        if is_object {
            check(types, bare(&known.of), &field.selections)?;
        }
    }
    Ok(())
}

/// The real schema, where somebody has put it.
pub fn real() -> Option<String> {
    let place = std::env::var("CLAIMGATE_LINEAR_SCHEMA").ok();
    let found = place.and_then(|place| std::fs::read_to_string(place).ok());
    if found.is_none() {
        eprintln!(
            "SKIPPED: CLAIMGATE_LINEAR_SCHEMA names no file with Linear's schema (packages/sdk/src/schema.graphql)"
        );
    }
    found
}

#[test]
fn the_fake_one_has_a_part_of_the_real_schema() {
    let Some(sdl) = real() else { return };
    let (real, cut) = (types(&sdl), types(CUT));
    assert!(real["Mutation"].len() > 300 && cut.len() >= 20, "{} {}", real["Mutation"].len(), cut.len());
    for (name, members) in &cut {
        let known = real.get(name).unwrap_or_else(|| panic!("the schema has no {name}"));
        for (member, cut) in members {
            let known = known.get(member).unwrap_or_else(|| panic!("{name} has no {member}"));
            assert_eq!(cut, known, "{name}.{member}");
        }
    }
}
