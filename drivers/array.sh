#!/usr/bin/env bash
# One task of an array of processes: its share of the units of a plan, by the number that Slurm, Kubernetes or the caller
# gives it. The plan, the checkpoints and the folder of the units lie where every task sees them.
#
#   scratchproof plan CASE -o work/plan.json
#   sbatch --array=0-7 drivers/array.sh work/plan.json          # or kubectl apply -f drivers/kubernetes.yaml
#   scratchproof reduce work/plan.json work/units -o DIR
#
#SBATCH --job-name=scratchproof
#SBATCH --cpus-per-task=8
set -euo pipefail

plan=${1:?"the plan is missing: array.sh PLAN"}
share=${SLURM_ARRAY_TASK_ID:-${JOB_COMPLETION_INDEX:-${SHARE:?"no array: set SHARE and SHARES"}}}
shares=${SLURM_ARRAY_TASK_COUNT:-${SHARES:?"set SHARES, the number of tasks"}}
if [ -n "${SLURM_ARRAY_TASK_MIN:-}" ]; then
    share=$((share - SLURM_ARRAY_TASK_MIN))
fi

exec "${SCRATCHPROOF:-scratchproof}" worker "$plan" --only "$share/$shares"
