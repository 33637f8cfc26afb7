#!/bin/bash
#SBATCH --job-name=fim-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=04:00:00
#SBATCH --output=%x-%j.log
#SBATCH --signal=TERM@120

set -euo pipefail

DATA=${DATA:?set DATA to a set made by: fim data build PATH --out DIR}
OUT=${OUT:?set OUT to a run folder that all nodes see}
GPUS=${SLURM_GPUS_ON_NODE:-4}
HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

srun --kill-on-bad-exit=1 torchrun \
    --nnodes="$SLURM_NNODES" \
    --nproc-per-node="$GPUS" \
    --rdzv-id="$SLURM_JOB_ID" \
    --rdzv-backend=c10d \
    --rdzv-endpoint="$HEAD:29500" \
    scripts/train.py --preset 80gb --data "$DATA" --out "$OUT" \
    --set model.backend=transformers \
    --set train.per_device_train_batch_size=4 \
    --set train.gradient_accumulation_steps=1
