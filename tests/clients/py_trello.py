"""Claims and moves one card with py-trello as it comes from its registry: what it was told, a line each.

py_trello.py KEY TOKEN BOARD CARD MEMBER LIST
"""

import json
import sys

from trello import Board, Card, TrelloClient

key, token, board, card, member, target = sys.argv[1:]
client = TrelloClient(api_key=key, api_secret=None, token=token)
card = Card(Board(client=client, board_id=board), card)


def step(what, call):
    try:
        call()
        print(json.dumps({"what": what, "told": "ok"}))
    except Exception as error:  # noqa: BLE001
        print(json.dumps({"what": what, "error": f"{type(error).__name__}: {error}"}))


step("assign", lambda: card.assign(member))
step("move", lambda: card.change_list(target))
