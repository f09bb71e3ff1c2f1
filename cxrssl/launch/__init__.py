"""How a command becomes several processes, here or on a cluster: torchrun (one machine), slurm (a job of SLURM).

Never: torch or submitit imported by a command that starts nothing, or knowledge of what the command does: an entry
point is a name.
"""
