"""Load on a running fleet, sent on an open-loop schedule, and the account of every message afterwards."""
