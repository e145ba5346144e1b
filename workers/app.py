"""The composition root: everything a worker is made of, in one place. `celery -A workers.app` works too."""

from shared.app import app
from shared.settings import settings
from tasks import messages, prune, warm, webhooks
from tasks.collector import CollectorStep
from workers import health, lifecycle, own_tasks
from workers.memory import child, profile
from workers.memory.guard import GuardStep
from workers.watchdog import BeatStep

BATCH_TASKS = (webhooks.store, messages.store)
PERIODIC_TASKS = (prune.prune, warm.run)
HOOKS = (lifecycle, child, profile, health)  # imported for the signals they connect

own_tasks.load(settings())
app.steps["consumer"].update((CollectorStep, GuardStep, BeatStep))

__all__ = ["BATCH_TASKS", "HOOKS", "PERIODIC_TASKS", "app"]
