"""GitHub's webhook bodies, cut down to what matters and something that does not."""

from typing import Any

REPOSITORY = {"id": 1, "full_name": "octo/hello", "owner": {"login": "octo"}}
SENDER = {"id": 583231, "login": "octocat", "type": "User"}
SAID_AT = "2026-11-24T09:00:00Z"


def issue_opened(**changes: Any) -> dict[str, Any]:
    """`issues`, action `opened`."""
    issue = {"node_id": "I_1", "number": 7, "title": "It leaks", "body": "Here.", "created_at": SAID_AT, "labels": [], **changes}
    return {"action": "opened", "issue": issue, "repository": REPOSITORY, "sender": SENDER}


def issue_comment(**changes: Any) -> dict[str, Any]:
    """`issue_comment`, action `created`."""
    comment = {"node_id": "IC_1", "body": "Me too.", "created_at": SAID_AT, "user": SENDER, **changes}
    issue = {"node_id": "I_1", "number": 7, "title": "It leaks"}
    return {"action": "created", "issue": issue, "comment": comment, "repository": REPOSITORY, "sender": SENDER}


def review_comment(**changes: Any) -> dict[str, Any]:
    """`pull_request_review_comment`, action `created`."""
    comment = {"node_id": "PRRC_1", "body": "Why?", "created_at": SAID_AT, "path": "a.py", **changes}
    pull_request = {"node_id": "PR_1", "number": 8}
    return {"action": "created", "pull_request": pull_request, "comment": comment, "repository": REPOSITORY, "sender": SENDER}
