"""The composition root: everything a worker is made of, in one place. `celery -A workers.app` works too."""

from shared.app import app
from shared.settings import settings
from tasks import messages, prune, warm, webhooks
from tasks.collector import CollectorStep
from workers import lifecycle, own_tasks
from workers.memory import child, profile
from workers.memory.guard import GuardStep

BATCH_TASKS = (webhooks.store, messages.store)
PERIODIC_TASKS = (prune.prune, warm.run)
HOOKS = (lifecycle, child, profile)  # imported for the signals they connect

own_tasks.load(settings())
app.steps["consumer"].update((CollectorStep, GuardStep))

__all__ = ["BATCH_TASKS", "HOOKS", "PERIODIC_TASKS", "app"]
