"""What pycontribs' client is told of claim, move, edit, hand over and release, and what each step left.

flows.py BASE ACCOUNTS ISSUE: prints a line of JSON a step. BASE may end in the name of an agent.
"""

import json
import sys

from jira import JIRA
from jira.exceptions import JIRAError

base, accounts, issue = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]


def client(login):
    account = accounts[login]
    options = {"server": base, "check_update": False}
    return JIRA(options=options, basic_auth=(account["name"], account["secret"]), max_retries=2)


ann, bob = client("dev-1"), client("dev-2")


def left():
    fields = ann.issue(issue, fields="assignee,status,summary").fields
    assignee = fields.assignee.displayName if fields.assignee else None
    return [assignee, fields.status.name, fields.summary]


def step(name, call):
    try:
        told = call()
        told = told if isinstance(told, (str, bool, type(None))) else type(told).__name__
    except JIRAError as error:
        told = f"JIRAError {error.status_code} {error.text}"
    print(json.dumps({"step": name, "told": told, "left": left()}))


step("whose it is", lambda: ann.myself()["displayName"])
step("claim", lambda: ann.assign_issue(issue, accounts["dev-1"]["find"]))
if "refused" in sys.argv:
    step("claim of another", lambda: bob.assign_issue(issue, accounts["dev-2"]["find"]))
    step("move of another", lambda: bob.transition_issue(issue, "Start Progress"))
    step("edit of another", lambda: bob.issue(issue).update(fields={"assignee": accounts["dev-2"]["as"]}))
step("claim again", lambda: ann.assign_issue(issue, accounts["dev-1"]["find"]))
step("move", lambda: ann.transition_issue(issue, "start progress"))
step("comment", lambda: ann.add_comment(issue, "on it"))
step("edit", lambda: ann.issue(issue).update(summary="another", notify=False))
step("edit with the assignee", lambda: ann.issue(issue).update(fields={"summary": "third", "assignee": accounts["dev-1"]["as"]}))
step("move with a field", lambda: ann.transition_issue(issue, "31", fields={"priority": {"name": "High"}}, comment="please look"))
step("nobody of that name", lambda: ann.issue(issue).update(fields={"assignee": accounts["nobody"]["as"]}))
step("release", lambda: ann.assign_issue(issue, None))
step("finish", lambda: ann.transition_issue(issue, "Finish"))
