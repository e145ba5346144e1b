#!/bin/sh
# A base backup of a running PostgreSQL, verified: backup.sh DIRECTORY. Prints where it is.
#
# HEADRACE_REPLICATION_URL names the server as postgresql://headrace_replication:PASSWORD@host/replication. The programs must be of
# the server's major version. Beside it the server archives its log (archive_command): both together bring back any moment since.
set -eu

[ $# -eq 1 ] || { echo "usage: backup.sh DIRECTORY" >&2; exit 2; }
url=${HEADRACE_REPLICATION_URL:?set it to postgresql://headrace_replication:PASSWORD@host/replication}
target="$1/$(date -u +%Y%m%dT%H%M%SZ)"
umask 077

# Made beside its place and renamed into it: a backup that is there is whole.
pg_basebackup --dbname="$url" --pgdata="$target.part" --wal-method=stream --checkpoint=fast
pg_verifybackup --quiet "$target.part"
sync "$target.part"
mv "$target.part" "$target"
echo "$target"
