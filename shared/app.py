"""The Celery application. Tasks register on it; `workers.app` composes it into a worker."""

from celery import Celery

app = Celery("headrace", config_source="celeryconfig")
