"""The gauges that the exporter alone fills.

Each ends with the exporter that said it: a queue that its successor does not know must not show its last value for ever.
Imported by it alone: where processes share counters, a metric without labels leaves a file of every process that knows it, and
command line tools come and go.
"""

from shared.metrics import Gauge

LANE_DEPTH = Gauge("headrace_lane_depth", "Messages waiting in a lane.", ["queue", "lane"], multiprocess_mode="livemostrecent")
LANES_WITHOUT_OWNER = Gauge(
    "headrace_lanes_without_owner", "Lanes that no live worker consumes.", ["queue"], multiprocess_mode="livemostrecent"
)
QUEUE_PAUSED = Gauge("headrace_queue_paused", "Lanes or queues that are paused.", ["queue"], multiprocess_mode="livemostrecent")
REFUSED = Gauge(
    "headrace_refused_messages", "Messages set aside in the broker: unreadable.", ["queue"], multiprocess_mode="livemostrecent"
)
DELAYED = Gauge("headrace_delayed_messages", "Messages that are not due yet.", multiprocess_mode="livemostrecent")
CONSUMERS = Gauge("headrace_consumers", "Workers whose lease stands.", multiprocess_mode="livemostrecent")
REDIS_MEMORY = Gauge("headrace_redis_memory_bytes", "Memory used.", ["server"], multiprocess_mode="livemostrecent")
REDIS_MEMORY_MAX = Gauge(
    "headrace_redis_memory_max_bytes", "Its maxmemory; 0: none.", ["server"], multiprocess_mode="livemostrecent"
)
REDIS_EVICTED = Gauge("headrace_redis_evicted_keys", "Evicted since it started.", ["server"], multiprocess_mode="livemostrecent")
REDIS_CLIENTS = Gauge("headrace_redis_clients", "Open connections.", ["server"], multiprocess_mode="livemostrecent")
REDIS_POLICY_OK = Gauge(
    "headrace_redis_policy_ok", "1 when set as it must be, NaN when it does not tell.", ["server", "policy"],
    multiprocess_mode="livemostrecent",
)  # fmt: skip
DB_CONNECTIONS = Gauge("headrace_db_connections", "Of all clients, by state.", ["state"], multiprocess_mode="livemostrecent")
DB_CONNECTIONS_MAX = Gauge("headrace_db_connections_max", "max_connections.", multiprocess_mode="livemostrecent")
DB_SIZE = Gauge("headrace_db_size_bytes", "Of the whole database.", multiprocess_mode="livemostrecent")
DB_OLDEST_TRANSACTION = Gauge(
    "headrace_db_oldest_transaction_seconds", "Age of the oldest open transaction.", multiprocess_mode="livemostrecent"
)
EXPORTER_REFRESHED = Gauge(
    "headrace_exporter_refreshed_timestamp_seconds", "When the exporter last asked.", multiprocess_mode="livemostrecent"
)
BUILD = Gauge("headrace_build_info", "1; its label says what runs.", ["version"], multiprocess_mode="livemostrecent")
