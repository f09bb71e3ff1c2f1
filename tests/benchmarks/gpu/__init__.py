"""Pretraining on one GPU, measured by a clock: `just bench-gpu --minutes 10`.

Films are drawn, packed in the real format and held by the device. Each case runs the program itself in a process of its
own, the most wanted first; each result is in the file as soon as it is known, and a later call measures what lacks one.
Beside it, on the same GPU: a transcription of the published step with its views ready, and a loader as published.

Needs torch, torchvision, timm, numpy and safetensors; the loader needs Pillow too.
"""
