"""What is made up of the description alone would be of repositories that do not exist: half of it is led to one that does."""

import hashlib

import schemathesis

OWNER, REPOSITORY = "acme", "app"
# One label is not both set and removed.
LABELS = {"set_labels": ["in-progress", "todo", "priority"], "labels": ["backlog", "Backlog"]}
OTHERS = ["backlog", "blocked", "done"]
PEOPLE = ["ann", "bob"]


def chosen(value, of):
    """Some number below `of`, always the same for a value."""
    return hashlib.sha256(repr(value).encode()).digest()[0] % of


def is_name(value):
    return isinstance(value, str) and value != ""


def labels(member, names):
    if not isinstance(names, list):
        return names
    of = LABELS.get(member, OTHERS)
    return [of[chosen(name, len(of))] if is_name(name) else name for name in names]


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    if path_parameters and chosen(path_parameters, 2):
        for name, value in (("owner", OWNER), ("repository", REPOSITORY)):
            if is_name(path_parameters.get(name)):
                path_parameters[name] = value
        number = path_parameters.get("number")
        if isinstance(number, int) and number > 0:
            path_parameters["number"] = 1 + number % 40
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    for name in ("set_labels", "remove_labels"):
        if query and name in query:
            query[name] = labels(name, query[name])
    return query


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict) or not chosen(body, 2):
        return body
    if is_name(body.get("repository")) and "/" in body["repository"]:
        body["repository"] = f"{OWNER}/{REPOSITORY}"
    if is_name(body.get("item")) and "#" in body["item"]:
        body["item"] = f"{OWNER}/{REPOSITORY}#{1 + chosen(body['item'], 40)}"
    if is_name(body.get("to")) and " " not in body["to"]:
        body["to"] = PEOPLE[chosen(body["to"], len(PEOPLE))]
    if is_name(body.get("assignee")) and " " not in body["assignee"]:
        body["assignee"] = PEOPLE[0]
    for name in ("labels", "exclude_labels", "set_labels", "remove_labels"):
        if name in body:
            body[name] = labels(name, body[name])
    return body
