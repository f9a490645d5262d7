"""What agents do with stock python-redmine: claim, move, hand over, release, close. Prints what each step answered and left.

    flows.py URL ACCOUNTS     ACCOUNTS is a file: {"dev-1": {"id": 5, "key": "..."}, ...}

One agent acts at a time. What is printed names no instance, so that two runs can be compared.
"""

import json
import sys

from redminelib import Redmine
from redminelib.exceptions import BaseRedmineError

URL = sys.argv[1]
with open(sys.argv[2], encoding='utf-8') as file:
    ACCOUNTS = json.load(file)


def client(who, **more):
    return Redmine(URL, key=ACCOUNTS[who]['key'], **more)


def left(issue_id):
    issue = client('admin').issue.get(issue_id)
    assignee = getattr(issue, 'assigned_to', None)
    return [assignee.id if assignee else None, issue.status.id]


def step(name, issue_id, action):
    """One line: what was done, what the client was told, and what the issue shows."""
    try:
        told = action()
    except BaseRedmineError as error:
        told = f'{type(error).__name__}: {error}'
    print(json.dumps({'step': name, 'told': told, 'left': left(issue_id)}), flush=True)


def flow(title):
    """A new issue for one flow."""
    issue = client('admin').issue.create(project_id='demo', subject=title)
    return issue.id


one, two = client('dev-1'), client('dev-2')

made = flow('update by number')
step('claim', made, lambda: one.issue.update(made, assigned_to_id=ACCOUNTS['dev-1']['id']))
step('claim again', made, lambda: one.issue.update(made, assigned_to_id=ACCOUNTS['dev-1']['id']))
step('move', made, lambda: one.issue.update(made, status_id=2))
step('note', made, lambda: one.issue.update(made, notes='working on it'))
step('a status that the workflow has not', made, lambda: one.issue.update(made, status_id=1))
step('release', made, lambda: one.issue.update(made, assigned_to_id=''))
step('claim of another', made, lambda: two.issue.update(made, assigned_to_id=ACCOUNTS['dev-2']['id']))
step('close', made, lambda: two.issue.update(made, status_id=5))

made = flow('claim and move in one')
step('claim and move', made, lambda: one.issue.update(made, assigned_to_id='me', status_id=2))
step('resolve', made, lambda: one.issue.update(made, status_id=3, notes='done'))
step('close', made, lambda: one.issue.update(made, status_id=5, assigned_to_id=''))

made = flow('a resource that is saved')
issue = one.issue.get(made)


def save(**values):
    for name, value in values.items():
        setattr(issue, name, value)
    issue.save()
    return True


step('claim', made, lambda: save(assigned_to_id=ACCOUNTS['dev-1']['id']))
step('move', made, lambda: save(status_id=2))
step('subject', made, lambda: save(subject='renamed'))
step('release', made, lambda: save(assigned_to_id=''))

made = flow('hand over')
step('claim', made, lambda: one.issue.update(made, assigned_to_id='me'))
step('hand over', made, lambda: one.issue.update(made, assigned_to_id=ACCOUNTS['dev-2']['id']))
step('release by none', made, lambda: two.issue.update(made, assigned_to_id='none'))

made = flow('what is refused')
step('nobody such', made, lambda: one.issue.update(made, assigned_to_id=999))
step('as dev-3', made, lambda: client('admin', impersonate='dev-3').issue.update(made, assigned_to_id='me'))
step('as nobody', made, lambda: client('admin', impersonate='nobody').issue.update(made, assigned_to_id='me'))
step('no such issue', made, lambda: one.issue.update(999999, assigned_to_id='me'))
step('a bad key', made, lambda: Redmine(URL, key='bad').issue.update(made, assigned_to_id='me'))
step('delete', made, lambda: one.issue.delete(made))

made = flow('next')
free = one.issue.filter(project_id='demo', assigned_to_id='!*', status_id='open', issue_id=made, limit=1)
step('next', made, lambda: [issue.subject for issue in free])
step('claim it', made, lambda: one.issue.update(free[0].id, assigned_to_id='me', status_id=2))
