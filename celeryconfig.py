"""Celery's settings, each with its reason. Read by `shared.app`; what differs between machines comes from `shared.settings`."""

import orjson
from kombu import Queue, serialization

from shared.broker import transport
from shared.schedule import SCHEDULE
from shared.settings import settings
from shared.topology import MAINTENANCE, MESSAGES, STORE_MESSAGES

_settings = settings()

# orjson reads and writes bodies several times faster than the standard library. Registered under the name every stock client
# uses, because the wire format is the same JSON.
serialization.register(
    "json", lambda value: orjson.dumps(value).decode(), orjson.loads, content_type="application/json", content_encoding="utf-8"
)

transport.install()  # claims instead of pops, leases, lanes: docs/broker.md

broker_url = _settings.required("broker_url")
broker_connection_retry_on_startup = True  # a worker that starts before its broker waits instead of dying
broker_connection_max_retries = None  # for ever: an outage ends by itself, a worker that gave up does not
broker_connection_timeout = _settings.broker_timeout_seconds
broker_transport_options = {
    "lease_seconds": _settings.lease_seconds,
    "lanes": _settings.lanes,
    "socket_timeout": _settings.broker_timeout_seconds,  # kombu's default, none, blocks for ever on a half-open link
    "master_name": _settings.broker_master,  # only for sentinel://
    "socket_keepalive": True,
    "health_check_interval": 10,  # seconds; finds a link that died without a reset
}

# Each with a key of its own: queues that shared the default one would all get whatever is sent by exchange.
task_queues = [Queue(name, routing_key=name) for name in _settings.queues]
task_routes = {STORE_MESSAGES: {"queue": MESSAGES}}  # webhooks come from the ingress alone, straight to their lanes
task_default_queue = MAINTENANCE  # a task without a route is never mistaken for a customer's message
task_create_missing_queues = False  # a misspelt queue is an error, not a list that nobody reads

task_serializer = "json"
result_serializer = "json"
accept_content = ["json"]  # pickle runs what it reads
task_ignore_result = True  # the rows are the result; a result backend would double the broker's work
result_backend = None
result_expires = None  # nothing is kept, so beat need not send Celery's nightly clean-up
task_store_errors_even_if_ignored = False

task_acks_late = True  # acknowledged once its effect is committed
task_reject_on_worker_lost = True  # a lost child's task runs again
task_acks_on_failure_or_timeout = True  # for plain tasks, which beat starts anew; batch tasks settle each message by outcome

worker_consumer = "workers.consumer:KeepingConsumer"  # stock Celery drops what it cannot read; this one dead-letters it
worker_concurrency = _settings.worker_children
worker_prefetch_multiplier = max(1, _settings.prefetch_messages // _settings.worker_children)
worker_enable_prefetch_count_reduction = False  # it counts a batch as one message and would never give the credit back
worker_cancel_long_running_tasks_on_connection_loss = False  # the effect is idempotent; killing a committed batch wins nothing
worker_soft_shutdown_timeout = 0  # it sleeps inside the signal handler with the loop frozen; `tasks.collector` drains instead
worker_hijack_root_logger = False  # `shared.log` owns it
worker_redirect_stdouts = False
worker_send_task_events = True  # one a batch, see `tasks.collector`
task_send_sent_event = False  # one a message
worker_proc_alive_timeout = 30.0  # seconds until a forked child must be up; a busy machine needs more than the default 4
worker_disable_rate_limits = True  # none is set; skips a token bucket a message

enable_utc = True
timezone = "UTC"
# `headrace beat` sends these, once a tick by however many beats; `celery beat` would too, but once for each of it.
beat_schedule = {entry.task: {"task": entry.task, "schedule": entry.period_seconds} for entry in SCHEDULE}
