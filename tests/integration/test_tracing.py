"""One trace from the HTTP request through the queue to the commit, over real processes; and nothing at all when it is off."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from celery import Celery
from pytest_celery import CeleryTestWorker

from shared.producer import Producer
from tests import signing
from tests.collector import Collector, Span, collecting
from tests.conftest import RunningStack
from tests.factory import as_json, message, queued, rows
from tests.foreground import foreground
from tests.running_ingress import Ingress, running
from tests.waiting import eventually

CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"
SECRET_TEXT = "a text that nobody but its reader is to see"


def posted(ingress: Ingress, name: str, traceparent: str) -> int:
    headers = {"Authorization": f"Bearer {ingress.api_key}", "traceparent": traceparent}
    body = json.dumps(as_json(name, text=SECRET_TEXT)).encode()
    return ingress.request("POST", "/v1/messages", body, headers).status


def the(spans: list[Span]) -> Span:
    (span,) = spans
    return span


def assert_whole(collector: Collector, request: Span, task: str) -> None:
    """From the request's span to the commit, in one trace and one line of parents."""
    trace = request.trace_id
    publish, one = the(collector.named("publish", trace)), the(collector.named(f"{task} message", trace))
    assert (request.service, request.kind) == ("headrace-ingress", "SERVER")
    assert publish.parent_id == request.span_id
    assert (one.service, one.kind, one.parent_id) == ("headrace-worker", "CONSUMER", request.span_id)
    batch = the(collector.named(f"{task} batch"))
    assert (one.trace_id, one.span_id) in batch.links
    if batch.trace_id == trace:
        transaction = the(collector.named("transaction", trace))
        assert (batch.parent_id, transaction.parent_id) == (one.span_id, batch.span_id)
        assert "commit" in transaction.events
        assert one.started <= transaction.started <= transaction.ended <= one.ended
        assert {span.parent_id for span in collector.named("messages.write", trace)} == {transaction.span_id}
    else:
        assert (batch.trace_id, batch.span_id) in one.links


def test_a_trace_goes_from_the_callers_request_through_the_queue_to_the_commit(
    clean: RunningStack, start_worker: Callable[..., CeleryTestWorker]
) -> None:
    with collecting() as collector:
        traced = {"HEADRACE_OTLP_URL": collector.url, "HEADRACE_TRACE_RATIO": "0"}
        worker = start_worker("w1", **traced)
        with running({**clean.environment, **traced}) as ingress:
            assert posted(ingress, "m-1", f"00-{CALLER}-00f067aa0ba902b7-01") == 202
            assert posted(ingress, "m-2", f"00-{'ab' * 16}-00f067aa0ba902b7-00") == 202  # whose caller does not record it
            assert posted(ingress, "m-3", "no such thing") == 202
            eventually("it is committed", lambda: collector.named("messages.store message"))
            eventually("the request's span arrived", lambda: collector.named("POST /v1/messages"))
        request = the(collector.named("POST /v1/messages"))
        assert (request.trace_id, request.parent_id) == (CALLER, "00f067aa0ba902b7")
        assert request.attributes["http.response.status_code"] == "202"
        assert_whole(collector, request, "messages.store")
        assert {span.trace_id for span in collector.spans} == {CALLER}
        assert SECRET_TEXT not in repr(collector.spans)
        assert ingress.api_key not in repr(collector.spans)
        eventually("the worker's line of the batch names the trace", lambda: CALLER in worker.logs())


def test_messages_of_many_requests_are_linked_to_the_one_batch_that_stores_them(
    clean: RunningStack, start_worker: Callable[..., CeleryTestWorker]
) -> None:
    with collecting() as collector:
        traced = {"HEADRACE_OTLP_URL": collector.url, "HEADRACE_TRACE_RATIO": "1"}
        with running({**clean.environment, **traced}) as ingress:
            for name in ("m-1", "m-2", "m-3"):  # one conversation, so one lane and one batch
                body = json.dumps({"type": "message.created", "data": as_json(name)}).encode()
                sent = ingress.request(
                    "POST", f"/v1/webhooks/{ingress.channel.id}", body, signing.standard(body, ingress.channel.secret)
                )
                assert sent.status == 202
            assert ingress.ready().status == 200
            start_worker("w1", **traced)
            eventually("all are committed", lambda: len(collector.named("webhooks.store message")) == 3)
        eventually("the requests arrived", lambda: len(collector.named("POST /v1/webhooks/{channel_id}")) == 3)
        requests = collector.named("POST /v1/webhooks/{channel_id}")
        assert len({request.trace_id for request in requests}) == 3
        for request in requests:
            assert_whole(collector, request, "webhooks.store")
        assert the(collector.named("webhooks.store batch")).attributes["messaging.batch.message_count"] == "3"
        assert not collector.named("GET /readyz")
        assert not any("readyz" in span.name for span in collector.spans)


def test_a_stock_client_and_a_producer_that_trace_by_themselves_are_followed(
    clean: RunningStack, stock_client: Celery, start_worker: Callable[..., CeleryTestWorker]
) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    from tests.factory import new_account

    account = new_account()
    with collecting() as collector:
        start_worker("w1", HEADRACE_OTLP_URL=collector.url)
        headers = {"traceparent": f"00-{CALLER}-00f067aa0ba902b7-01"}
        argument = {"account_id": account, **as_json("m-1")}
        stock_client.send_task("messages.store", args=[argument], queue="messages", headers=headers)
        with TracerProvider().get_tracer("theirs").start_as_current_span("their request") as span:
            theirs = f"{span.get_span_context().trace_id:032x}"
            payload = queued(account, message("m-2")).payload
            producer = Producer(clean.broker_url)
            producer.enqueue("messages.store", argument | {"message_id": "m-3"}, account_id=account, order_key="c-1")
            producer.close()
        assert theirs.encode() in payload
        assert b"traceparent" not in queued(account, message("m-4")).payload
        assert trace.get_current_span().get_span_context().is_valid is False
        eventually("both are followed", lambda: len(collector.named("messages.store message")) == 2)
        assert {span.trace_id for span in collector.named("messages.store message")} == {CALLER, theirs}


def test_a_collector_that_is_away_costs_nobody_a_message_and_no_shutdown_its_time(
    clean: RunningStack, start_worker: Callable[..., CeleryTestWorker]
) -> None:
    traced = {"HEADRACE_OTLP_URL": "http://127.0.0.1:9", "HEADRACE_TRACE_RATIO": "1"}
    worker = start_worker("w1", **traced)
    with running({**clean.environment, **traced}) as ingress:
        assert posted(ingress, "m-1", "") == 202
        eventually("it is stored", lambda: rows("SELECT 1 FROM messages"))
        assert ingress.process.stop(within=10) == 0
    worker.kill("SIGTERM")
    assert worker.container.wait(15) == 0


def test_off_nothing_of_it_is_loaded(clean: RunningStack) -> None:
    """Parts of OpenTelemetry that redis-py loads by itself, where they are installed, aside."""
    program = """
import sys, workers.app, workers.ingress.server
from shared import tracing
tracing.configure("test")
ours = ("shared.otel", "opentelemetry.sdk.trace", "opentelemetry.exporter")
print([name for name in sys.modules if name.startswith(ours)], tracing.on(), repr(tracing.traceparent()))
"""
    environment = {**os.environ, **clean.environment}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == "[] False ''\n"


def test_tracing_without_the_extra_is_refused_in_one_line(clean: RunningStack) -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None
from shared import tracing
from shared.errors import ConfigurationError
try:
    tracing.configure("test")
except ConfigurationError as error:
    print(error)
"""
    environment = {**os.environ, **clean.environment, "HEADRACE_OTLP_URL": "http://127.0.0.1:9"}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "pip install 'headrace[otel]'" in ended.stdout
    assert ended.stdout.count("\n") == 1


def test_a_worker_without_the_extra_says_so_and_ends(clean: RunningStack, tmp_path: Path) -> None:
    (tmp_path / "opentelemetry.py").write_text("raise ImportError(name='opentelemetry')\n")
    faulty = {"HEADRACE_OTLP_URL": "http://127.0.0.1:9", "PYTHONPATH": str(tmp_path)}
    with foreground("worker", {**clean.environment, **faulty}) as worker:
        assert worker.process.wait(60) == 1
        assert worker.log.endswith("pip install 'headrace[otel]', or unset it\n"), worker.log
        assert "Traceback" not in worker.log
