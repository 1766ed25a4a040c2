#!/usr/bin/env bash
# The Slurm launcher on a real slurmctld and slurmd: one node, on this machine. Needs root (Debian or Ubuntu).
#
#   bash tests/runs/slurm_real.sh [WORK_DIRECTORY]
#
# Installs slurm-wlm where it is missing, runs `check_launcher` (workers killed half-way, a clean stop, the
# same records), then a job whose time limit comes before its end, and stops what it started.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:-$(mktemp -d /tmp/slurm-real.XXXXXX)}
python=${PYTHON:-$here/.venv/bin/python}
[ "$(id -u)" = 0 ] || { echo "slurm_real: needs root"; exit 77; }
command -v slurmctld >/dev/null && command -v munged >/dev/null ||
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null; }

mkdir -p "$work/state" "$work/spool" /run/munge && chown munge: /run/munge && chmod 755 /run/munge
host=$(hostname -s)
cat > "$work/slurm.conf" <<CONF
ClusterName=rlnet
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ReturnToService=2
KillWait=10
JobRequeue=1
MinJobAge=300
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$work/slurm.conf
started=()
stop() { for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done; }
trap stop EXIT
munge -n >/dev/null 2>&1 && unmunge </dev/null >/dev/null 2>&1 ||
  { runuser -u munge -- munged --foreground >"$work/munged.log" 2>&1 & started+=($!); }
slurmctld -D >"$work/ctld.out" 2>&1 & started+=($!)
slurmd -D >"$work/slurmd.out" 2>&1 & started+=($!)
for _ in $(seq 120); do
  sinfo -h -o %T 2>/dev/null | grep -q idle && break
  kill -0 "${started[@]}" 2>/dev/null || { echo "slurm_real: a daemon ended:"; tail -n 3 "$work"/*.out "$work"/*.log; exit 77; }
  sleep 1
done
sinfo -h -o %T | grep -q idle || { echo "slurm_real: no idle node:"; tail -n 5 "$work"/*.out "$work"/*.log; exit 77; }
echo "slurm_real: $(slurmctld -V) is up with one node"
export OMP_NUM_THREADS=1
"$python" - "$work" <<'PY'
import sys
from pathlib import Path

from rlnet_bench.runs.check_launcher import check_launcher, tiny_plan
from rlnet_bench.runs.launch import Workers
from rlnet_bench.runs.slurm_launch import SlurmLauncher
from rlnet_bench.runs.store import Store

work = Path(sys.argv[1])
made = iter(range(9))
options = {"timeout_min": 30}
report = check_launcher(lambda: SlurmLauncher(work / f"logs{next(made)}", options=options), folder=work / "check")
report.raise_if_failed()
print(f"slurm_real: check_launcher passed, {len(report.killed)} worker killed")

plan = tiny_plan(frames=200_000, seeds=1)
store = Store.create(work / "limit")
store.add_plan(plan)
limits = {"timeout_min": 1, "slurm_signal_delay_s": 30}
workers = Workers(store, plan, 1, SlurmLauncher(work / "limit-logs", options=limits))
workers.start()
resumed = []
def look():
    log = store.folder(plan.groups[0]) / "log.txt"
    if log.exists() and "resumed: frames" in log.read_text():
        resumed.append(True)
        raise KeyboardInterrupt
try:
    workers.wait(look)
except KeyboardInterrupt:
    pass
assert resumed or store.status(plan.groups[0])["status"] == "ok", store.status(plan.groups[0])
assert store.status(plan.groups[0])["attempts"] <= 1
print("slurm_real: the job left at its time limit, was queued again and went on from its checkpoint" if resumed
      else "slurm_real: the job ended before its time limit; make it longer")
PY
