"""What the dashboards show. `python deploy/grafana/generate.py` writes it as JSON.

A query that is empty by nature ends in ``or vector(0)``: none is 0, and a gap means that nobody knows.
"""

from panel import Board, Panel

RATE = "[$__rate_interval]"


def rate(metric: str, by: str, where: str = "") -> str:
    """A second, summed up by labels."""
    return f"sum by ({by}) (rate(headrace_{metric}{where}{RATE}))"


def quantile(share: float, metric: str, by: str = "", where: str = "") -> str:
    """Of a histogram."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate(headrace_{metric}_bucket{where}{RATE})))"


WEBHOOKS = '{route="/v1/webhooks/{channel_id}", status="202"}'
API = '{route=~"/v1/(messages|conversations|stats).*"}'

OVERVIEW = Board(
    "overview",
    "Overview",
    [
        Panel("Messages settled", "ops", {"{{queue}} {{outcome}}": rate("messages_total", "queue, outcome")}),
        Panel("Lag: age of the oldest message", "s", {"{{queue}}": "headrace:queue_lag_seconds"}, limit=60),
        Panel("Waiting", "short", {"{{queue}}": "max by (queue) (headrace_queue_depth)"}),
        Panel("From accepted to committed, p95", "s", {"{{via}}": quantile(0.95, "end_to_end_seconds", "via")}, limit=0.5),
        Panel("HTTP answers", "ops", {"{{status}}": rate("ingress_request_seconds_count", "status", '{route=~"/v1/.*"}')}),
        Panel(
            "Error budgets: burn rate",
            "short",
            {"{{slo}}, 5 min": "headrace:slo_burn:rate_5m", "{{slo}}, 1 h": "headrace:slo_burn:rate_1h"},
            limit=14.4,
            note="1 uses up a 30-day budget in just 30 days",
        ),
        Panel("Dead letters kept", "short", {"{{queue}}": "max by (queue) (headrace_dead_letters)"}),
        Panel("Workers with a lease", "short", {"workers": "max(headrace_consumers)"}),
        Panel("Servers that answer", "short", {"{{target}}": "max by (target) (headrace_exporter_up)"}),
    ],
)

INGRESS = Board(
    "ingress",
    "Ingress",
    [
        Panel("Requests by route", "ops", {"{{route}}": rate("ingress_request_seconds_count", "route")}, width=12),
        Panel("Answers by status", "ops", {"{{status}}": rate("ingress_request_seconds_count", "status")}, width=12),
        Panel(
            "Acknowledgement of a webhook",
            "s",
            {f"p{share * 100:.0f}": quantile(share, "ingress_request_seconds", where=WEBHOOKS) for share in (0.5, 0.95, 0.99)},
            limit=0.1,
        ),
        Panel("API, p95", "s", {"{{route}}": quantile(0.95, "ingress_request_seconds", "route", API)}, limit=0.2),
        Panel(
            "Refused, share",
            "percentunit",
            {
                "4xx": f'(sum(rate(headrace_ingress_request_seconds_count{{status=~"4.."}}{RATE})) or vector(0))'
                f" / sum(rate(headrace_ingress_request_seconds_count{RATE}))",
                "5xx": f'(sum(rate(headrace_ingress_request_seconds_count{{status=~"5.."}}{RATE})) or vector(0))'
                f" / sum(rate(headrace_ingress_request_seconds_count{RATE}))",
            },
        ),
        Panel("Edges that answer", "short", {"{{instance}}": 'up{job="headrace-ingress"}'}),
    ],
)

QUEUES = Board(
    "queues",
    "Queues and lanes",
    [
        Panel("Waiting", "short", {"{{queue}}": "max by (queue) (headrace_queue_depth)"}),
        Panel("In flight", "short", {"{{queue}}": "max by (queue) (headrace_queue_in_flight)"}),
        Panel("Age of the oldest", "s", {"{{queue}}": "headrace:queue_lag_seconds"}, limit=60),
        Panel("Time to drain at the present rate", "s", {"{{queue}}": "headrace:queue_drain_seconds"}, limit=600),
        Panel("The ten deepest lanes", "short", {"{{queue}}.{{lane}}": "topk(10, max by (queue, lane) (headrace_lane_depth))"}),
        Panel("Lanes without an owner", "short", {"{{queue}}": "max by (queue) (headrace_lanes_without_owner)"}),
        Panel(
            "Messages in a batch, mean",
            "short",
            {"{{queue}}": f"{rate('batch_size_sum', 'queue')} / {rate('batch_size_count', 'queue')}"},
        ),
        Panel("Delivered again, share", "percentunit", {"{{queue}}": "headrace:redelivery_ratio15m"}, limit=0.01),
        Panel(
            "Paused, delayed, set aside",
            "short",
            {
                "{{queue}} paused": "max by (queue) (headrace_queue_paused)",
                "delayed": "max(headrace_delayed_messages)",
                "{{queue}} set aside": "max by (queue) (headrace_refused_messages)",
            },
        ),
    ],
)

DATABASE = Board(
    "database",
    "Database",
    [
        Panel("Statements, p95", "s", {"{{query}}": quantile(0.95, "db_query_seconds", "query")}, limit=0.1, width=12),
        Panel("Statements", "ops", {"{{query}}": rate("db_query_seconds_count", "query")}, width=12),
        Panel("Pools: connections", "short", {"{{server}} {{state}}": "sum by (server, state) (headrace_db_pool_connections)"}),
        Panel("Pools: wait, p95", "s", {"{{server}}": quantile(0.95, "db_pool_wait_seconds", "server")}, limit=0.1),
        Panel(
            "Server: connections",
            "short",
            {"{{state}}": "max by (state) (headrace_db_connections)", "max_connections": "max(headrace_db_connections_max)"},
        ),
        Panel("Slow statements in an hour", "short", {"{{query}}": "headrace:db_slow_queries:increase1h"}, limit=10),
        Panel("Repeated statements in an hour (N+1)", "short", {"{{task}}": "headrace:db_repeated_queries:increase1h"}),
        Panel("Transactions run again", "ops", {"{{cause}}": f"{rate('db_reruns_total', 'cause')} or vector(0)"}),
        Panel("Oldest transaction", "s", {"oldest": "max(headrace_db_oldest_transaction_seconds)"}, limit=300),
        Panel("Replica's lag", "s", {"{{server}}": "max by (server) (headrace_db_replica_lag_seconds) or vector(0)"}, limit=10),
        Panel("Size", "bytes", {"database": "max(headrace_db_size_bytes)"}),
    ],
)

CACHE = Board(
    "cache",
    "Cache",
    [
        Panel("Hit ratio", "percentunit", {"{{cache}}": "headrace:cache_hit_ratio15m"}, limit=0.8),
        Panel("Asked for", "ops", {"{{cache}} {{tier}} {{result}}": rate("cache_requests_total", "cache, tier, result")}),
        Panel(
            "Operations, p95",
            "s",
            {"{{tier}} {{operation}}": quantile(0.95, "cache_operation_seconds", "tier, operation")},
            limit=0.01,
        ),
        Panel("Entries in processes", "short", {"{{cache}}": "sum by (cache) (headrace_cache_entries)"}),
        Panel("Bytes in processes", "bytes", {"{{cache}}": "sum by (cache) (headrace_cache_bytes)"}),
        Panel(
            "Redis: memory",
            "bytes",
            {
                "used": 'max(headrace_redis_memory_bytes{server="cache"})',
                "maxmemory": 'max(headrace_redis_memory_max_bytes{server="cache"})',
            },
        ),
        Panel("Invalidations", "ops", {"{{cache}}": f"{rate('cache_invalidations_total', 'cache')} or vector(0)"}),
        Panel("Evicted by Redis", "short", {"keys": 'max(headrace_redis_evicted_keys{server="cache"})'}),
        Panel("Breakers: 0 closed, 2 open", "short", {"{{target}}": "max by (target) (headrace_breaker_state) or vector(0)"}),
    ],
)

WORKERS = Board(
    "workers",
    "Workers",
    [
        Panel("Workers with a lease", "short", {"workers": "max(headrace_consumers)"}),
        Panel("Batches", "ops", {"{{queue}}": rate("batch_size_count", "queue")}),
        Panel("One batch, p95", "s", {"{{queue}}": quantile(0.95, "batch_duration_seconds", "queue")}),
        Panel(
            "Children busy, mean",
            "short",
            {"children": f"sum(rate(headrace_batch_duration_seconds_sum{RATE}))"},
            note="seconds of batches a second: as many children as this always have one in hand",
        ),
        Panel(
            "Memory of a worker (PSS)",
            "bytes",
            {
                "{{worker}}": "headrace:worker_memory_bytes",
                "{{worker}} at most": "max by (worker) (headrace_worker_memory_max_bytes)",
            },
        ),
        Panel(
            "Memory of its processes (PSS)",
            "bytes",
            {"{{worker}} {{process}}": "max by (worker, process) (headrace_worker_pss_bytes)"},
        ),
        Panel("Children replaced in an hour", "short", {"{{reason}}": "headrace:worker_recycles:increase1h"}, limit=20),
        Panel("Lanes without an owner", "short", {"{{queue}}": "max by (queue) (headrace_lanes_without_owner)"}),
        Panel("Dead letters, share", "percentunit", {"{{queue}}": "headrace:messages_error_ratio5m"}, limit=0.01),
    ],
)

CAPACITY = Board(
    "capacity",
    "Capacity",
    [
        Panel("Settled", "ops", {"messages": f"sum(rate(headrace_messages_total{RATE}))"}),
        Panel(
            "Workers: wanted and running",
            "short",
            {"wanted": "sum(headrace_autoscaler_target) or vector(0)", "running": "max(headrace_consumers)"},
            note="wanted is 0 without an autoscaler",
        ),
        Panel("Time to drain", "s", {"{{queue}}": "headrace:queue_drain_seconds"}, limit=600),
        Panel("Broker: memory used", "percentunit", {"used": "headrace:broker_memory_used"}, limit=0.8),
        Panel("Database: connections used", "percentunit", {"used": "max(headrace:db_connections_used)"}, limit=0.85),
        Panel("Children busy, mean", "short", {"children": f"sum(rate(headrace_batch_duration_seconds_sum{RATE}))"}),
        Panel("Broker and cache: connections", "short", {"{{server}}": "max by (server) (headrace_redis_clients)"}),
        Panel("Database: size", "bytes", {"database": "max(headrace_db_size_bytes)"}),
        Panel("Broker: evicted keys, must be 0", "short", {"keys": 'max(headrace_redis_evicted_keys{server="broker"})'}),
    ],
)

BOARDS = (OVERVIEW, INGRESS, QUEUES, DATABASE, CACHE, WORKERS, CAPACITY)
