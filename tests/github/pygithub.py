"""What the stock client PyGithub is told: `race` claims each issue by all agents at once, `flows` does what an agent does in a day.

The argument is a file: {mode, owner, repo, issues, agents: [{base, token, login}]}. Prints one JSON value.
"""

import json
import sys
import threading

import github

plan = json.load(open(sys.argv[1]))
name = plan["owner"] + "/" + plan["repo"]


# It waits between requests by itself otherwise.
AT_ONCE = {"retry": None, "seconds_between_requests": None, "seconds_between_writes": None}


def client(agent):
    return github.Github(base_url=agent["base"], auth=github.Auth.Token(agent["token"]), **AT_ONCE)


def told(call):
    try:
        return call()
    except github.GithubException as error:
        return [error.status, (error.data or {}).get("message")]


def race():
    barrier = threading.Barrier(len(plan["agents"]), timeout=100)
    ends = [[None] * len(plan["agents"]) for _ in plan["issues"]]

    def agent(at):
        own = plan["agents"][at]
        repo = client(own).get_repo(name)
        for number, issue in enumerate(plan["issues"]):
            found = repo.get_issue(issue)
            barrier.wait()
            refused = told(lambda: found.add_to_assignees(own["login"]) if at % 2 else found.edit(assignees=[own["login"]]))
            ends[number][at] = refused[0] if refused else own["login"] + "@" + str(at)

    threads = [threading.Thread(target=agent, args=(at,)) for at in range(len(plan["agents"]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ends


def shown(issue):
    return {
        "number": issue.number,
        "title": issue.title,
        "state": issue.state,
        "assignees": [user.login for user in issue.assignees],
        "labels": [label.name for label in issue.labels],
    }


def flows():
    own = plan["agents"][0]
    repo = client(own).get_repo(name)
    steps = []
    listed = repo.get_issues(assignee="none")
    steps.append(["list", [issue.number for issue in listed]])
    paged = github.Github(base_url=own["base"], auth=github.Auth.Token(own["token"]), per_page=3, **AT_ONCE).get_repo(name)
    steps.append(["paginate", [issue.number for issue in paged.get_issues(state="all")]])
    issue = repo.get_issue(plan["issues"][0])

    def step(what, call):
        refused = told(call)
        again = repo.get_issue(issue.number)
        steps.append([what, refused if isinstance(refused, list) else None, shown(again)])

    step("claim", lambda: issue.add_to_assignees(own["login"]))
    step("label", lambda: issue.add_to_labels("in-progress"))
    step("unlabel", lambda: issue.remove_from_labels("todo"))
    step("comment", lambda: issue.create_comment("on it"))
    steps.append(["comments", [comment.body for comment in issue.get_comments()]])
    step("labels", lambda: issue.set_labels("done", "area/ui"))
    step("close", lambda: issue.edit(state="closed", state_reason="completed"))
    step("reopen", lambda: issue.edit(state="open"))
    step("title", lambda: issue.edit(title="better"))
    step("release", lambda: issue.remove_from_assignees(own["login"]))
    step("edit", lambda: issue.edit(assignees=[own["login"]]))
    step("missing", lambda: repo.get_issue(9999))
    return steps


print(json.dumps(race() if plan["mode"] == "race" else flows()))
