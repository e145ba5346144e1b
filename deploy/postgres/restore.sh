#!/bin/sh
# Puts a base backup and the archived log in the place of a lost cluster: restore.sh BACKUP ARCHIVE DATA [MOMENT].
#
# As the server's user, the server stopped. Then start the server: it reads the archive up to MOMENT ('2026-11-27 14:03:00+00'; without
# one to the end), opens for writing on a timeline of its own, and removes recovery.signal. Take a new base backup after it.
set -eu

[ $# -eq 3 ] || [ $# -eq 4 ] || { echo "usage: restore.sh BACKUP ARCHIVE DATA [MOMENT]" >&2; exit 2; }
backup=$1 archive=$2 data=$3 moment=${4:-}
[ -d "$archive" ] || { echo "restore.sh: no archive at $archive" >&2; exit 1; }
if [ -e "$data" ] && [ -n "$(ls -A "$data")" ]; then
    echo "restore.sh: $data is not empty: move it away, it may hold the last of the log (pg_wal)" >&2
    exit 1
fi
pg_verifybackup --quiet "$backup"
mkdir -p "$data"
cp -a "$backup/." "$data"
chmod 0700 "$data"
rm -f "$data/postmaster.pid"
{
    echo "restore_command = 'cp $archive/%f \"%p\"'"
    echo "recovery_target_timeline = 'latest'"
    [ -z "$moment" ] || echo "recovery_target_time = '$moment'"
    echo "recovery_target_action = 'promote'"
} >>"$data/postgresql.auto.conf"
touch "$data/recovery.signal"
